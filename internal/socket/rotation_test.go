package socket

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// held is a Handle that acknowledges when it is told to.
type held struct {
	t     *testing.T
	began chan *Envelope
	acked chan error
	gates chan chan struct{}
}

func holding(t *testing.T) *held {
	return &held{t: t, began: make(chan *Envelope, 100), acked: make(chan error, 100), gates: make(chan chan struct{}, 100)}
}

// handle holds envelopes whose id begins with "held".
func (h *held) handle(ctx context.Context, e *Envelope) {
	if strings.HasPrefix(e.ID, "held") {
		gate := make(chan struct{})
		h.gates <- gate
		h.began <- e
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	h.acked <- e.Ack(nil)
}

func (h *held) release() { close(receive(h.t, h.gates, "a held envelope")) }

func TestSuccessorSaysHelloBeforeTheOldConnectionIsLeft(t *testing.T) {
	for _, reason := range []string{"warning", "refresh_requested", "something_new"} {
		t.Run(reason, func(t *testing.T) {
			s, h := newScriptedSlack(t), holding(t)
			r := run(t, s, func(c *Config) { c.Handle = h.handle })
			old := s.greeted()
			old.send(command("held-1"), command("before"), disconnectFrame(reason), command("behind"))
			receive(t, h.began, "held-1")
			acks := []string{receive(t, old.frames, "an ack"), receive(t, old.frames, "an ack")}
			require.ElementsMatch(t, []string{bareAck("before"), bareAck("behind")}, acks)

			successor := s.next()
			old.send(command("between"))
			old.wantFrame(bareAck("between"))
			require.True(t, r.Ready(), "ready while rotating")

			successor.send(hello(2))
			r.eventually("both connections", func() bool { return r.Stats().Reconnects == 1 })
			old.send(command("after"))
			old.wantFrame(bareAck("after"))
			successor.send(command("new"))
			successor.wantFrame(bareAck("new"))
			old.wantOpen()

			// Slack closes; what is owed is paid before the answer.
			old.close(websocket.CloseNormalClosure)
			old.wantOpen()
			h.release()
			old.wantFrame(bareAck("held-1"))
			old.wantClose(1000)
			require.Empty(t, successor.frames)
			for range 5 {
				require.NoError(t, receive(t, h.acked, "Ack"))
			}
			st := r.Stats()
			require.EqualValues(t, 0, st.Lost)
			require.EqualValues(t, 2, st.Opens)
			require.Equal(t, 1, st.Connected)
		})
	}
}

func TestOldConnectionIsClosedIfSlackDoesNot(t *testing.T) {
	s, h := newScriptedSlack(t), holding(t)
	run(t, s, func(c *Config) {
		c.Handle = h.handle
		c.RotateGrace = 20 * time.Millisecond
	})
	old := s.greeted()
	old.send(command("held-1"), disconnectFrame("warning"))
	receive(t, h.began, "held-1")
	successor := s.greeted()
	successor.send(command("new"))
	successor.wantFrame(bareAck("new"))
	h.release()
	old.wantFrame(bareAck("held-1"))
	old.wantClose(1000)
	successor.wantOpen()
}

func TestDisconnectRightBehindHello(t *testing.T) {
	s := newScriptedSlack(t)
	r := run(t, s, nil)
	old := s.next()
	old.send(hello(1), disconnectFrame("warning"), command("c1"))
	old.wantFrame(bareAck("c1"))
	successor := s.greeted()
	r.eventually("the successor", func() bool { return r.Stats().Reconnects == 1 })
	old.close(1000)
	old.wantClose(1000)
	successor.wantOpen()
}

func TestDrain(t *testing.T) {
	s, h := newScriptedSlack(t), holding(t)
	r := run(t, s, func(c *Config) { c.Handle = h.handle; c.DrainTimeout = patience })
	p := s.greeted()
	p.send(command("held-1"))
	e := receive(t, h.began, "held-1")
	r.cancel()
	p.send(command("late")) // still owed: the connection is still served
	p.wantFrame(bareAck("late"))
	p.wantOpen()
	h.release()
	p.wantFrame(bareAck("held-1"))
	p.wantClose(1000)
	require.NoError(t, r.wait())
	require.ErrorIs(t, e.Ack(nil), ErrAcked)
	require.Empty(t, s.peers, "no new connection while draining")
}

func TestDrainEndsInTime(t *testing.T) {
	s := newScriptedSlack(t)
	began := make(chan struct{})
	acked := make(chan error, 1)
	r := run(t, s, func(c *Config) {
		c.DrainTimeout = 50 * time.Millisecond
		c.Handle = func(ctx context.Context, e *Envelope) {
			close(began)
			<-ctx.Done() // the context ends with the drain, not before
			acked <- e.Ack(nil)
		}
	})
	p := s.greeted()
	p.send(command("c1"))
	receive(t, began, "the handler")
	stopping := time.Now()
	require.NoError(t, r.stop())
	require.GreaterOrEqual(t, time.Since(stopping), 50*time.Millisecond)
	receive(t, acked, "the handler's end")
	p.wantClose(1000)
}

func TestEnvelopeThatCrossesOurCloseFrameIsNotHandled(t *testing.T) {
	s := newScriptedSlack(t)
	handled := make(chan *Envelope, 1)
	r := run(t, s, func(c *Config) {
		c.Handle = func(ctx context.Context, e *Envelope) { handled <- e }
	})
	p := s.next()
	p.ws.SetCloseHandler(func(code int, _ string) error {
		p.send(command("crossing"))
		p.close(code)
		return nil
	})
	p.send(hello(1))
	r.eventually("ready", r.Ready)
	require.NoError(t, r.stop())
	p.wantClose(1000)
	require.Empty(t, handled)
	require.EqualValues(t, 1, r.Stats().Late)
	r.logged("crossed our close frame")
}
