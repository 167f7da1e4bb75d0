package socket

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEnvelopesAreHandledAndAcknowledged(t *testing.T) {
	s := newScriptedSlack(t)
	envelopes := make(chan *Envelope, 10)
	r := run(t, s, func(c *Config) {
		c.Handle = func(ctx context.Context, e *Envelope) {
			envelopes <- e
			var answer any
			if e.Type == SlashCommands {
				answer = map[string]string{"text": "recorded <&>"}
			}
			require.NoError(t, e.Ack(answer))
		}
	})
	require.False(t, r.Ready())
	p := s.next()
	require.False(t, r.Ready(), "ready before hello")
	p.send(hello(1))
	r.eventually("ready", r.Ready)

	p.send(command("c1"))
	e := receive(t, envelopes, "an envelope")
	require.Equal(t, "c1", e.ID)
	require.Equal(t, SlashCommands, e.Type)
	require.True(t, e.AcceptsResponse)
	require.JSONEq(t, `{"command":"/zego-close","text":"live-42 spam","user_id":"U01"}`, string(e.Payload))
	require.WithinDuration(t, time.Now(), e.Received, patience)
	p.wantFrame(`{"envelope_id":"c1","payload":{"text":"recorded \u003c\u0026\u003e"}}`)

	p.send(click("i1"))
	p.wantFrame(bareAck("i1"))

	p.send(`{"envelope_id":"e1","type":"events_api","accepts_response_payload":false,"retry_attempt":2,"retry_reason":"timeout","payload":{}}`)
	receive(t, envelopes, "an envelope")
	e = receive(t, envelopes, "an envelope")
	require.Equal(t, 2, e.RetryAttempt)
	require.Equal(t, "timeout", e.RetryReason)
	p.wantFrame(bareAck("e1"))

	st := r.Stats()
	require.Equal(t, 1, st.Connected)
	require.EqualValues(t, 1, st.Hellos)
	require.Equal(t, 1, st.NumConnections)
	require.EqualValues(t, 3, st.Envelopes)
	require.NoError(t, r.stop())
	p.wantClose(1000)
}

func TestAckOnceAndOnlyWhatSlackTakes(t *testing.T) {
	s := newScriptedSlack(t)
	errs := make(chan error, 10)
	run(t, s, func(c *Config) {
		c.Handle = func(ctx context.Context, e *Envelope) {
			errs <- e.Ack(strings.Repeat("x", MaxFrame))
			errs <- e.Ack(func() {})
			fits := MaxFrame - 1 - len(`{"envelope_id":"c1","payload":""}`)
			errs <- e.Ack(strings.Repeat("x", fits))
			errs <- e.Ack(nil)
		}
	})
	p := s.greeted()
	p.send(command("c1"))
	require.ErrorIs(t, receive(t, errs, "Ack"), ErrTooLarge)
	require.ErrorContains(t, receive(t, errs, "Ack"), "encoding")
	require.NoError(t, receive(t, errs, "Ack"), "a refused Ack can be repeated with less")
	require.ErrorIs(t, receive(t, errs, "Ack"), ErrAcked)
	require.Len(t, receive(t, p.frames, "the ack"), MaxFrame-1)
	p.send(command("c2")) // in order, so had the second Ack of c1 been written it would be here
	require.Contains(t, receive(t, p.frames, "the next ack"), `"c2"`)
}

func TestLateAckIsNotSent(t *testing.T) {
	s := newScriptedSlack(t)
	errs := make(chan error, 1)
	run(t, s, func(c *Config) {
		c.Handle = func(ctx context.Context, e *Envelope) {
			if e.ID == "late" {
				e.Received = e.Received.Add(-3 * time.Second)
				errs <- e.Ack(nil)
				return
			}
			e.Ack(nil)
		}
	})
	p := s.greeted()
	p.send(command("late"))
	require.ErrorIs(t, receive(t, errs, "Ack"), ErrLate)
	p.send(command("next"))
	p.wantFrame(bareAck("next"))
}

// FuzzParse checks that no frame makes us panic, that a readable one is
// understood as encoding/json understands it, and that whatever id comes out
// can be acknowledged.
func FuzzParse(f *testing.F) {
	for _, frame := range []string{hello(1), command("c1"), click("i1"), disconnectFrame("warning"), ``, `null`, `[`,
		`{"envelope_id":"a\"b\u0000\u2028","type":"x"}`, `{"envelope_id" : "lost", {`, `{"envelope_id":7,"type":7}`} {
		f.Add([]byte(frame))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parse(data)
		if err == nil {
			require.True(t, json.Valid(data))
		}
		if len(got.EnvelopeID) > 1000 {
			return
		}
		ack, ackErr := (&Envelope{ID: got.EnvelopeID}).appendAck(nil, nil)
		require.NoError(t, ackErr)
		var echo struct {
			ID string `json:"envelope_id"`
		}
		require.NoError(t, json.Unmarshal(ack, &echo))
		if err == nil {
			require.Equal(t, got.EnvelopeID, echo.ID)
		}
	})
}
