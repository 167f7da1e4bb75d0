package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Kind says what an entry records.
type Kind string

const (
	Opened    Kind = "opened"    // entry 0: the journal itself
	Requested Kind = "requested" // somebody asked for a room to be closed
	Refused   Kind = "refused"   // somebody asked or pressed and was not allowed; belongs to no case
	Offered   Kind = "offered"   // the card is about to be sent: people in the room, deadline
	Shown     Kind = "shown"     // the card is in Slack
	Confirmed Kind = "confirmed" // the requester pressed Close room
	Cancelled Kind = "cancelled" // somebody pressed Cancel, or the card could not be shown
	Expired   Kind = "expired"   // nobody confirmed, or it could not be attempted in time
	Attempted Kind = "attempted" // claimed; a CloseRoom leaves now
	Answered  Kind = "answered"  // what that CloseRoom came to, as far as ZEGO's answer says
	Requeued  Kind = "requeued"  // certainly not executed; waits for another turn
	Looked    Kind = "looked"    // who is in the room after a call without a clear answer
	Ended     Kind = "ended"     // the outcome

	Reviewed   Kind = "reviewed"   // somebody else looked at the case and found it right
	Contested  Kind = "contested"  // somebody else looked at the case and objects
	Checkpoint Kind = "checkpoint" // what happened in a day or a week; belongs to no case
)

// ends reports whether an entry of this kind ends its case.
func (k Kind) ends() bool { return k == Cancelled || k == Expired || k == Ended }

// Micros is a point in time in microseconds since 1970, UTC.
type Micros int64

// MicrosOf converts t; the zero time is 0.
func MicrosOf(t time.Time) Micros {
	if t.IsZero() {
		return 0
	}
	return Micros(t.UnixMicro())
}

// Time converts back; 0 is the zero time.
func (m Micros) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(m)).UTC()
}

// Facts are what an entry states. Which fields are set depends on the kind; none of
// them ever holds a secret. The order of the fields is the order in the hashed JSON:
// new ones go to the end.
type Facts struct {
	Journal string `json:"journal,omitempty"` // opened: the journal's id
	Format  int    `json:"format,omitempty"`  // opened: version of this encoding

	By   string `json:"by,omitempty"`   // Slack user id of who acted
	Name string `json:"name,omitempty"` // what they were called then: decoration
	Team string `json:"team,omitempty"` // their workspace

	Room    string  `json:"room,omitempty"`     // requested: byte for byte; refused: at most its first 128 bytes
	Reason  string  `json:"reason,omitempty"`   // requested: whole, as typed
	Sends   string  `json:"sends,omitempty"`    // requested: the part of the reason that everyone in the room will see
	From    string  `json:"from,omitempty"`     // requested, refused: channel of the command
	Channel string  `json:"channel,omitempty"`  // requested: channel of the card
	AgainOf int64   `json:"again_of,omitempty"` // requested: the case this one tries again
	Others  []int64 `json:"others,omitempty"`   // requested: open cases of other people for the same room

	Action string `json:"action,omitempty"` // refused: what they wanted
	Why    string `json:"why,omitempty"`    // refused, cancelled, expired, requeued, ended: a stable word
	Detail string `json:"detail,omitempty"` // the same in a sentence
	About  int64  `json:"about,omitempty"`  // refused: the case pressed; ended: the case that decided this one

	People  *int   `json:"people,omitempty"`  // offered, looked: people in the room, service users not counted
	Missing string `json:"missing,omitempty"` // offered, looked: why People is not known
	Until   Micros `json:"until,omitempty"`   // when the state that this entry leads to runs out
	Turn    Micros `json:"turn,omitempty"`    // requeued: not attempted again before
	TS      string `json:"ts,omitempty"`      // shown: the card's ts
	Call    int    `json:"call,omitempty"`    // attempted, answered, requeued: which CloseRoom of this case

	Effect    string `json:"effect,omitempty"`     // answered: done, absent, not done, unknown
	Code      *int   `json:"code,omitempty"`       // answered: ZEGO's code, if it answered
	Message   string `json:"message,omitempty"`    // answered: ZEGO's words
	RequestID string `json:"request_id,omitempty"` // answered: ZEGO's id of the call
	Took      int64  `json:"took_us,omitempty"`    // answered: µs from the start of the call to the answer
	Late      bool   `json:"late,omitempty"`       // answered: after the call had been given up as unclear

	Outcome State `json:"outcome,omitempty"` // ended: closed, absent, failed, unknown

	Workspace string           `json:"workspace,omitempty"` // requested: address of the Slack workspace, for links
	Note      string           `json:"note,omitempty"`      // reviewed, contested: the reviewer's words
	Since     Micros           `json:"since,omitempty"`     // checkpoint: covers what happened from here until Until
	Counts    map[string]int64 `json:"counts,omitempty"`    // checkpoint: how often what happened; open: as of now
	Up        int64            `json:"up_us,omitempty"`     // checkpoint: µs since the bot was started
}

// Entry is one immutable line of the journal.
type Entry struct {
	Number int64
	Case   int64 // 0 if it belongs to no case
	Kind   Kind
	Time   time.Time // UTC, whole microseconds
	Facts  Facts
	Body   string // Facts as stored and hashed
	Prev   string // hash of the entry before
	Hash   string
}

// sum computes the hash of the entry's canonical form: six lines (format name, number,
// case, kind, time in µs, hash of the entry before), then the body, byte for byte.
func (e Entry) sum() string {
	b := make([]byte, 0, 160+len(e.Body))
	b = append(b, "zegoclose entry 1\n"...)
	b = strconv.AppendInt(b, e.Number, 10)
	b = append(b, '\n')
	b = strconv.AppendInt(b, e.Case, 10)
	b = append(b, '\n')
	b = append(b, e.Kind...)
	b = append(b, '\n')
	b = strconv.AppendInt(b, e.Time.UnixMicro(), 10)
	b = append(b, '\n')
	b = append(b, e.Prev...)
	b = append(b, '\n')
	b = append(b, e.Body...)
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// Check reports whether the entry follows prev in the chain and bears its own right hash.
func (e Entry) Check(prev string) error {
	if e.Prev != prev {
		return fmt.Errorf("entry %d: does not follow the entry before it (names hash %.8s, that is %.8s)", e.Number, e.Prev, prev)
	}
	if sum := e.sum(); sum != e.Hash {
		return fmt.Errorf("entry %d: content does not match its hash (%.8s, should be %.8s)", e.Number, e.Hash, sum)
	}
	return nil
}

// encode renders facts as one line of JSON without HTML escapes.
func encode(f Facts) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(f); err != nil {
		return "", fmt.Errorf("encoding facts: %w", err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

func decode(body string) (Facts, error) {
	var f Facts
	if err := json.Unmarshal([]byte(body), &f); err != nil {
		return Facts{}, fmt.Errorf("decoding facts: %w", err)
	}
	return f, nil
}
