package slacksim

import (
	"fmt"
	"slices"
	"time"
)

// Kind names a sort of violation.
type Kind string

// What a client can do wrong. Slack forgives some of it silently; a client that does any of it is not well made.
const (
	LateAck           Kind = "late_ack"            // more than AckTimeout after the envelope was sent
	DoubleAck         Kind = "double_ack"          // more acks on a connection than envelopes
	MisplacedAck      Kind = "misplaced_ack"       // on a connection that did not deliver the envelope
	UnknownAck        Kind = "unknown_ack"         // of an envelope that was never sent, such as hello
	UnwantedPayload   Kind = "unwanted_payload"    // an ack payload where accepts_response_payload is false
	BadPayload        Kind = "bad_payload"         // an ack payload or response_url message that Slack would not show
	BadFrame          Kind = "bad_frame"           // not JSON, not text, not masked
	FrameTooBig       Kind = "frame_too_big"       // 20 KiB or more; closed with 1009
	Fragmented        Kind = "fragmented"          // an ack in several frames, which Slack ignores
	DataAfterClose    Kind = "data_after_close"    // a data frame behind the client's own close frame
	Vanished          Kind = "vanished"            // TCP gone without a close frame: a killed process, or a careless client
	BadPong           Kind = "bad_pong"            // does not echo the ping
	NoPong            Kind = "no_pong"             // DeadAfter pings in a row unanswered
	ReusedTicket      Kind = "reused_ticket"       // dialled a second time
	OpenStorm         Kind = "open_storm"          // apps.connections.open more than once per second and connection
	TooManySockets    Kind = "too_many_websockets" // an eleventh socket
	CalledDuringPause Kind = "called_during_pause" // a call before Retry-After had passed
	WrongToken        Kind = "wrong_token"         // the other kind of token, or an app token outside the header
	MissingScope      Kind = "missing_scope"
	OverLimit         Kind = "over_limit"       // blocks or text beyond Block Kit's limits
	Malformed         Kind = "malformed"        // a request Slack cannot read: bad JSON, unknown method, metadata of a wrong shape
	Haunting          Kind = "haunting"         // touching a message again after message_not_found
	ReplyToReply      Kind = "reply_to_reply"   // thread_ts of a message that is itself a reply
	SpentURL          Kind = "spent_url"        // a response_url used more than 5 times or after its time
	InsecureRequest   Kind = "insecure_request" // apps.connections.open by GET
)

// A Violation is one thing a well-made client does not do.
type Violation struct {
	Kind Kind      `json:"kind"`
	At   time.Time `json:"at"`
	Conn int       `json:"conn,omitempty"`
	Text string    `json:"text"` // a sentence
}

func (v Violation) String() string {
	if v.Conn != 0 {
		return fmt.Sprintf("%s: %s (connection %d)", v.Kind, v.Text, v.Conn)
	}
	return fmt.Sprintf("%s: %s", v.Kind, v.Text)
}

// maxViolations bounds the list; what comes after is only counted.
const maxViolations = 1000

type breaches struct {
	list   []Violation
	counts map[Kind]int
}

// Violations lists what the client did wrong so far, without the kinds in except, oldest first, at most a thousand. A
// test that kills its client will want to except [Vanished].
func (w *Workspace) Violations(except ...Kind) []Violation {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []Violation
	for _, v := range w.breaches.list {
		if !slices.Contains(except, v.Kind) {
			list = append(list, v)
		}
	}
	return list
}

// CountViolations says how often one kind happened, beyond the bound of the list too.
func (w *Workspace) CountViolations(kind Kind) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.breaches.counts[kind]
}

// violate writes a violation down. The caller holds mu.
func (w *Workspace) violate(kind Kind, conn int, format string, args ...any) {
	v := Violation{Kind: kind, At: w.now(), Conn: conn, Text: fmt.Sprintf(format, args...)}
	if w.breaches.counts == nil {
		w.breaches.counts = map[Kind]int{}
	}
	w.breaches.counts[kind]++
	if len(w.breaches.list) < maxViolations {
		w.breaches.list = append(w.breaches.list, v)
	}
	w.note(Event{Kind: Violated, Conn: conn, Type: string(kind), Text: v.Text})
}
