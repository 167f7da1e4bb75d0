package socket

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// The envelope types that are handed to Config.Handle. Any other is
// acknowledged and logged: Slack may invent one, and an app that does not
// answer it would be seen as failing.
const (
	SlashCommands = "slash_commands"
	Interactive   = "interactive"
	EventsAPI     = "events_api"
)

// MaxFrame is the size in bytes from which on Slack drops what we send.
// Source: slack-go issue 1196; Slack names it when it closes with code 1009.
const MaxFrame = 20 << 10

var (
	// ErrAcked is returned by Ack for an envelope that has been acknowledged
	// already, or for which that has been tried.
	ErrAcked = errors.New("socket: envelope already acknowledged")

	// ErrTooLarge is returned by Ack, before anything is written, if the
	// frame would be MaxFrame bytes or more. A smaller one may follow.
	ErrTooLarge = fmt.Errorf("socket: acknowledgement reaches Slack's limit of %d bytes", MaxFrame)

	// ErrLate is returned by Ack once Slack has given up waiting, and has told
	// the sender that the request failed. A response would not be shown.
	ErrLate = errors.New("socket: too late to acknowledge, Slack waits for three seconds")

	// ErrGone is returned by Ack if the connection that delivered the envelope
	// has ended. Slack then has told, or will tell, the sender that the
	// request failed.
	ErrGone = errors.New("socket: the connection that delivered the envelope is gone")
)

// An Envelope is one request from Slack.
type Envelope struct {
	ID              string
	Type            string // SlashCommands, Interactive or EventsAPI
	Payload         json.RawMessage
	AcceptsResponse bool // whether a payload given to Ack has an effect
	RetryAttempt    int  // of events only; 0 for the first delivery
	RetryReason     string
	Received        time.Time // when the frame had been read

	conn  *conn
	acked atomic.Bool
	owed  atomic.Bool // counted in conn.owed
}

// Ack acknowledges the envelope, with a response for its sender unless payload
// is nil. If the envelope does not accept a response the payload is left out,
// as Slack would ignore it.
//
// Ack returns nil only when the frame has been written to the connection that
// delivered the envelope. It never uses another connection: whether Slack
// accepts that is undocumented.
func (e *Envelope) Ack(payload any) error {
	var buf [128]byte
	frame, err := e.appendAck(buf[:0], payload)
	if err != nil {
		return err
	}
	if !e.acked.CompareAndSwap(false, true) {
		return ErrAcked
	}
	defer e.conn.release(e)
	err = ErrLate
	if time.Since(e.Received) < ackWindow {
		err = e.conn.write(frame)
	}
	e.conn.s.cfg.Acked(e.Type, time.Since(e.Received), err)
	return err
}

func (e *Envelope) appendAck(b []byte, payload any) ([]byte, error) {
	b = append(b, `{"envelope_id":`...)
	b = appendString(b, e.ID)
	if payload != nil && e.AcceptsResponse {
		p, err := json.Marshal(payload)
		if err != nil {
			return nil, fmt.Errorf("socket: encoding acknowledgement: %w", err)
		}
		b = append(b, `,"payload":`...)
		b = append(b, p...)
	}
	b = append(b, '}')
	if len(b) >= MaxFrame {
		return nil, fmt.Errorf("%w: it has %d", ErrTooLarge, len(b))
	}
	return b, nil
}

// appendString appends s as a JSON string. Slack's ids are UUIDs, which need
// no escaping.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// frame is any JSON frame from Slack.
type frame struct {
	Type string `json:"type"`

	// envelopes
	EnvelopeID      string          `json:"envelope_id"`
	Payload         json.RawMessage `json:"payload"`
	AcceptsResponse bool            `json:"accepts_response_payload"`
	RetryAttempt    int             `json:"retry_attempt"`
	RetryReason     string          `json:"retry_reason"`

	// hello
	NumConnections int `json:"num_connections"`
	ConnectionInfo struct {
		AppID string `json:"app_id"`
	} `json:"connection_info"`

	// disconnect
	Reason string `json:"reason"`
}

// parse decodes a frame. With an error, the frame still holds its envelope id
// if one could be made out.
func parse(data []byte) (frame, error) {
	var f frame
	err := json.Unmarshal(data, &f)
	if err == nil {
		return f, nil
	}
	// A field of an unexpected type leaves the others decoded. That must not
	// cost a command whose id, type and payload are all there.
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && f.EnvelopeID != "" && f.Type != "" && f.Payload != nil {
		return f, nil
	}
	if f.EnvelopeID == "" {
		f.EnvelopeID = fishID(data)
	}
	return f, err
}

// fishID returns the envelope id of a frame that is not valid JSON, or "".
func fishID(data []byte) string {
	_, rest, ok := bytes.Cut(data, []byte(`"envelope_id"`))
	if !ok {
		return ""
	}
	rest, ok = bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(":"))
	if !ok {
		return ""
	}
	rest, ok = bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(`"`))
	if !ok {
		return ""
	}
	id, _, ok := bytes.Cut(rest, []byte(`"`))
	if !ok || len(id) > 128 || bytes.ContainsAny(id, "\\\r\n") {
		return ""
	}
	return string(id)
}
