package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

func TestFaultBothSocketsReset(t *testing.T) {
	s := newScriptedSlack(t)
	r := run(t, s, func(c *Config) { c.Connections = 2 })
	a, b := s.greeted(), s.greeted()
	r.eventually("two connections", func() bool { return r.Stats().Connected == 2 })
	a.reset()
	b.reset()
	for range 2 {
		p := s.greeted()
		p.send(command("c1"))
		p.wantFrame(bareAck("c1"))
	}
	require.EqualValues(t, 2, r.Stats().Lost)
	r.logged("all connections to Slack are up again")
	require.Equal(t, 1, strings.Count(r.log.String(), "level=WARN"), "one warning for one outage")
}

func TestFaultClosedWithoutAWord(t *testing.T) {
	s := newScriptedSlack(t)
	run(t, s, nil)
	p := s.greeted()
	p.close(websocket.CloseGoingAway)
	p.wantClose(1000)
	s.greeted().wantOpen()
}

func TestFaultHalfOpen(t *testing.T) {
	t.Run("nothing comes back", func(t *testing.T) {
		s := newScriptedSlack(t)
		r := run(t, s, func(c *Config) { c.PingTimeout = 400 * time.Millisecond })
		old := s.next()
		old.deaf = true
		old.send(hello(1))
		silentSince := time.Now()
		successor := s.next()
		require.Less(t, time.Since(silentSince), 390*time.Millisecond, "half of PingTimeout is enough without a pong")
		old.wantOpen()
		require.False(t, r.Ready(), "ready with a silent connection only")
		old.send(command("c1")) // not dead after all
		old.wantFrame(bareAck("c1"))
		require.True(t, r.Ready())
		successor.send(hello(2))
		old.wantClose(1000)
	})
	t.Run("only pongs come back", func(t *testing.T) {
		s := newScriptedSlack(t)
		run(t, s, func(c *Config) { c.PingTimeout = 300 * time.Millisecond })
		old := s.greeted()
		silentSince := time.Now()
		s.greeted()
		require.GreaterOrEqual(t, time.Since(silentSince), 290*time.Millisecond)
		old.wantClose(1000)
	})
}

func TestPingsKeepAConnection(t *testing.T) {
	s := newScriptedSlack(t)
	r := run(t, s, func(c *Config) { c.PingTimeout = 300 * time.Millisecond })
	p := s.greeted()
	for i := range 30 {
		text := fmt.Sprintf("Ping from applink-%d", i)
		require.NoError(t, p.ws.WriteControl(websocket.PingMessage, []byte(text), time.Now().Add(time.Second)))
		require.Equal(t, text, receive(t, p.pongs, "a pong"))
		time.Sleep(30 * time.Millisecond) // the interval of Slack's pings, not a race
	}
	receive(t, p.pings, "a ping of ours")
	p.wantOpen()
	require.Empty(t, s.peers)
	require.True(t, r.Ready())
}

func TestFaultHelloNeverComes(t *testing.T) {
	s := newScriptedSlack(t)
	r := run(t, s, func(c *Config) { c.ConnectTimeout = 100 * time.Millisecond })
	mute := s.next()
	mute.send(command("c1")) // out of order, but no reason to lose it
	mute.wantFrame(bareAck("c1"))
	mute.wantClose(1000)
	require.False(t, r.Ready())
	s.greeted()
	r.eventually("ready", r.Ready)
	r.logged("no hello after the dial")
}

func TestFaultOpenAndDial(t *testing.T) {
	page := "<html>Bad gateway " + testTicket + "</html>"
	url := func(u string) http.HandlerFunc { return says(200, fmt.Sprintf(`{"ok":true,"url":%q}`, u)) }
	closed := httptestClosedAddress(t)
	for name, answer := range map[string]http.HandlerFunc{
		"500":                  says(500, page),
		"502":                  says(502, page),
		"404":                  says(404, page),
		"HTML":                 says(200, page),
		"cut short":            says(200, `{"ok":tr`),
		"internal_error":       says(200, `{"ok":false,"error":"internal_error"}`),
		"no url":               says(200, `{"ok":true}`),
		"reset":                func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"url is nonsense":      url("ws://127.0.0.1:%zz/?ticket=" + testTicket),
		"url is not wss":       url("ws://198.51.100.1/?ticket=" + testTicket),
		"url is http":          url("http://127.0.0.1/?ticket=" + testTicket),
		"url is dead":          url("ws://" + closed + "/link/?ticket=" + testTicket),
		"url cannot be looked": url("wss://no-such-host.invalid/link/?ticket=" + testTicket),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScriptedSlack(t)
			s.answerOpens(answer, answer)
			r := run(t, s, nil)
			s.greeted()
			r.eventually("ready", r.Ready)
			require.Len(t, s.openTimes(), 3)
			r.logged("connecting to Slack")
			r.logged("up again")
			require.Equal(t, 1, strings.Count(r.log.String(), "level=WARN"), "one warning for one outage")
		})
	}
	t.Run("ticket refused", func(t *testing.T) {
		s := newScriptedSlack(t)
		s.refuse = 2
		r := run(t, s, nil)
		s.greeted()
		r.eventually("ready", r.Ready)
		require.Len(t, s.openTimes(), 3, "a URL is dialled once")
		r.logged("handshake refused by Slack with status 403")
	})
}

// httptestClosedAddress is an address on which nobody listens.
func httptestClosedAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func TestFaultRateLimitedOpenHoldsBackEveryConnection(t *testing.T) {
	s := newScriptedSlack(t)
	s.answerOpens(says(429, "", "Retry-After", "1"), says(429, "", "Retry-After", "1"))
	r := run(t, s, func(c *Config) { c.Connections = 2 })
	s.greeted()
	s.greeted()
	times := s.openTimes()
	require.Len(t, times, 4)
	for _, at := range times[2:] {
		require.GreaterOrEqual(t, at.Sub(times[0]), time.Second)
	}
	r.logged("rate limit")
}

func TestFaultFatal(t *testing.T) {
	for reason := range fatal {
		t.Run(reason, func(t *testing.T) {
			s := newScriptedSlack(t)
			s.answerOpens(says(200, fmt.Sprintf(`{"ok":false,"error":%q}`, reason)))
			r := run(t, s, nil)
			err := r.wait()
			f, ok := errors.AsType[*FatalError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, reason, f.Reason)
			require.ErrorContains(t, err, "SLACK_APP_TOKEN")
			require.ErrorContains(t, err, reason)
			require.Len(t, s.openTimes(), 1)
		})
	}
}

func TestFaultTokenRevokedWhileRunning(t *testing.T) {
	s, h := newScriptedSlack(t), holding(t)
	r := run(t, s, func(c *Config) { c.Connections = 2; c.Handle = h.handle })
	a, b := s.greeted(), s.greeted()
	b.send(command("held-1"))
	receive(t, h.began, "held-1")
	s.answerOpens(says(200, `{"ok":false,"error":"token_revoked"}`))
	a.reset()
	b.wantOpen()
	h.release()
	b.wantFrame(bareAck("held-1"))
	b.wantClose(1000)
	require.ErrorContains(t, r.wait(), "token_revoked")
}

func TestFaultLinkDisabled(t *testing.T) {
	s := newScriptedSlack(t)
	denied := says(200, `{"ok":false,"error":"access_denied"}`)
	r := run(t, s, func(c *Config) { c.Connections = 2; c.DisabledWait = 100 * time.Millisecond })
	a, b := s.greeted(), s.greeted()
	r.eventually("two connections", func() bool { return r.Stats().Connected == 2 })
	s.answerOpens(denied, denied, denied, denied)
	for _, p := range []*peer{a, b} {
		p.send(disconnectFrame("link_disabled"), command("c1"))
		p.wantFrame(bareAck("c1"))
		p.close(1000)
		p.wantClose(1000)
	}
	s.greeted()
	s.greeted()
	r.eventually("two connections", func() bool { return r.Stats().Connected == 2 })
	times := s.openTimes()
	require.Len(t, times, 8)
	require.GreaterOrEqual(t, times[7].Sub(times[2]), 170*time.Millisecond, "three tries of each connection, two waits apart")
	require.Equal(t, 1, strings.Count(r.log.String(), "level=ERROR"))
	require.Contains(t, r.log.String(), "Socket Mode has been switched off")
	r.logged("Socket Mode is switched on again")
}

func TestFaultTooManyWebsocketsDoesNotStorm(t *testing.T) {
	s := newScriptedSlack(t)
	const wait = 200 * time.Millisecond
	r := run(t, s, func(c *Config) { c.CrowdedWait = wait })
	for range 3 {
		p := s.next()
		p.send(disconnectFrame("too_many_websockets"))
		p.close(1000)
		p.wantClose(1000)
	}
	s.greeted()
	r.eventually("ready", r.Ready)
	times := s.openTimes()
	require.Len(t, times, 4)
	for i, least := range []time.Duration{wait, 2 * wait, 4 * wait} {
		require.GreaterOrEqual(t, times[i+1].Sub(times[i]), least)
	}
	require.Equal(t, 3, strings.Count(r.log.String(), "too many connections"))
}

func TestFaultConnectionsThatDieAtOnceDoNotStorm(t *testing.T) {
	for name, die := range map[string]func(*peer){
		"reset after hello":      func(p *peer) { p.send(hello(1)); p.reset() },
		"close after hello":      func(p *peer) { p.send(hello(1)); p.close(1000) },
		"disconnect after hello": func(p *peer) { p.send(hello(1), disconnectFrame("refresh_requested")); p.close(1000) },
		"reset before hello":     func(p *peer) { p.reset() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScriptedSlack(t)
			const every = 50 * time.Millisecond
			r := run(t, s, func(c *Config) { c.OpenEvery = every })
			for range 8 {
				die(s.next())
			}
			s.greeted()
			r.eventually("ready", r.Ready)
			times := s.openTimes()
			require.Len(t, times, 9)
			for i := range times[1:] {
				require.GreaterOrEqual(t, times[i+1].Sub(times[i]), every)
			}
			require.Equal(t, 1, strings.Count(r.log.String(), "level=WARN"), "one warning for one outage")
		})
	}
}

func TestFaultSlackDownAndBack(t *testing.T) {
	s := newScriptedSlack(t)
	r := run(t, s, nil)
	old := s.greeted()
	r.eventually("ready", r.Ready)
	for range 50 {
		s.answerOpens(says(503, ""))
	}
	old.reset()
	p := s.greeted()
	p.send(command("c1"))
	p.wantFrame(bareAck("c1"))
	r.logged("up again")
	require.Equal(t, 1, strings.Count(r.log.String(), "level=WARN"), "one warning for one outage")
}

func TestFaultFramesThatCannotBeRead(t *testing.T) {
	s := newScriptedSlack(t)
	handled := make(chan *Envelope, 10)
	r := run(t, s, func(c *Config) {
		c.Handle = func(ctx context.Context, e *Envelope) { handled <- e; e.Ack(nil) }
	})
	p := s.greeted()
	for _, f := range []string{
		``, `null`, `42`, `[]`, `{}`, `{"type":`, `{"type":7}`, `hello`,
		`{"type":"slash_commands","payload":{}}`, // no id: nothing can be acknowledged
		`{"type":"brand_new"}`,
		`{"envelope_id":7,"type":"slash_commands","payload":{}}`,
		`{"envelope_id" "lost","type":"slash_commands"`,
		`{"envelope_id": "es\"caped","type":`,
		"\xff\xfe",
	} {
		p.send(f)
	}
	for _, f := range []struct{ id, frame string }{
		{"u1", `{"envelope_id":"u1","type":"brand_new","payload":{}}`},
		{"u2", `{"envelope_id":"u2"}`},
		{"m1", `{"envelope_id":"m1","type":"slash_commands","payload":{"text":"x}`},
		{"m2", `{"type":"interactive", "envelope_id" : "m2", "payload":{]}`},
		{"m3", `{"envelope_id":"m3","type":7,"payload":{}}`},
	} {
		p.send(f.frame)
		p.wantFrame(bareAck(f.id))
	}
	require.Empty(t, handled)
	require.EqualValues(t, 19, r.Stats().Bad)

	// A side field of another type costs nothing.
	p.send(`{"envelope_id":"c1","type":"slash_commands","accepts_response_payload":"yes","retry_attempt":"0","payload":{}}`)
	p.wantFrame(bareAck("c1"))
	require.Equal(t, "c1", receive(t, handled, "the envelope").ID)
	p.wantOpen()
}

func TestLargeFrame(t *testing.T) {
	s := newScriptedSlack(t)
	sizes := make(chan int, 2)
	run(t, s, func(c *Config) {
		c.Handle = func(ctx context.Context, e *Envelope) { sizes <- len(e.Payload); e.Ack(nil) }
	})
	p := s.greeted()
	p.send(`{"envelope_id":"big","type":"interactive","payload":"` + strings.Repeat("x", 1<<20) + `"}`)
	p.wantFrame(bareAck("big"))
	require.Equal(t, 1<<20+2, <-sizes)
}

func TestFaultPanicIsOneFailedRequest(t *testing.T) {
	s := newScriptedSlack(t)
	r := run(t, s, func(c *Config) {
		c.Handle = func(ctx context.Context, e *Envelope) {
			if e.ID == "bad" {
				panic(fmt.Errorf("posting to https://hooks.slack.com/commands/%s", testTicket))
			}
			e.Ack(nil)
		}
	})
	p := s.greeted()
	p.send(command("bad"), command("good"))
	p.wantFrame(bareAck("good"))
	r.logged("handler panicked")
	r.logged("fault_test.go") // the stack
	require.NoError(t, r.stop())
	p.wantClose(1000)
	require.EqualValues(t, 1, r.Stats().Panics)
	require.Empty(t, p.frames)
}

func TestFaultBusy(t *testing.T) {
	s, h := newScriptedSlack(t), holding(t)
	r := run(t, s, func(c *Config) {
		c.Handle = h.handle
		c.MaxInFlight = 2
		c.Busy = func(e *Envelope) any { return map[string]string{"text": "busy, try again"} }
	})
	p := s.greeted()
	p.send(command("held-1"), command("held-2"), click("i1"), command("c1"))
	p.wantFrame(`{"envelope_id":"c1","payload":{"text":"busy, try again"}}`) // and no frame for i1
	require.EqualValues(t, 2, r.Stats().Busy)
	require.Equal(t, 2, r.Stats().InFlight)
	receive(t, h.began, "held-1")
	receive(t, h.began, "held-2")
	h.release()
	h.release()
	acks := []string{receive(t, p.frames, "an ack"), receive(t, p.frames, "an ack")}
	require.ElementsMatch(t, []string{bareAck("held-1"), bareAck("held-2")}, acks)
	r.eventually("room again", func() bool { return r.Stats().InFlight == 0 })
	p.send(click("i2"))
	p.wantFrame(bareAck("i2"))
}

func TestFaultAckNeverGoesToAnotherConnection(t *testing.T) {
	s, h := newScriptedSlack(t), holding(t)
	run(t, s, func(c *Config) { c.Handle = h.handle })
	old := s.greeted()
	old.send(command("held-1"))
	e := receive(t, h.began, "held-1")
	old.reset()
	successor := s.greeted()
	receive(t, e.conn.ended, "the end of the old connection")
	h.release()
	require.ErrorIs(t, receive(t, h.acked, "Ack"), ErrGone)
	require.ErrorIs(t, e.Ack(nil), ErrAcked)
	successor.send(command("c1"))
	successor.wantFrame(bareAck("c1"))
}

func TestFaultSlackStopsReading(t *testing.T) {
	s := newScriptedSlack(t)
	errs := make(chan error, 1000)
	run(t, s, func(c *Config) {
		c.WriteTimeout = 100 * time.Millisecond
		c.Handle = func(ctx context.Context, e *Envelope) { errs <- e.Ack(strings.Repeat("x", 20000)) }
	})
	old := s.greeted()
	old.ws.NetConn().(*net.TCPConn).SetReadBuffer(4096)
	old.send(command("c0"))
	receive(t, old.frames, "an ack")
	go func() {
		old.reading.Lock() // once the read under way has returned
		defer old.reading.Unlock()
		<-t.Context().Done()
	}()
	stalled := time.Now()
	for i := range 1000 {
		old.ws.WriteMessage(websocket.TextMessage, []byte(command(fmt.Sprint("c", i))))
	}
	s.greeted()
	require.Less(t, time.Since(stalled), 4*time.Second, "noticed by the write deadline, not by a ping")
	for {
		if err := receive(t, errs, "a failing Ack"); err != nil {
			require.ErrorIs(t, err, ErrGone)
			break
		}
	}
}

func TestFaultStopWhileConnecting(t *testing.T) {
	t.Run("handshake", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		open := func(context.Context) (string, error) {
			return fmt.Sprintf("ws://%s/?ticket=%s", l.Addr(), testTicket), nil
		}
		r := runWith(t, open, func(c *Config) { c.CloseTimeout = 100 * time.Millisecond })
		nc, err := l.Accept()
		require.NoError(t, err)
		defer nc.Close()
		stopping := time.Now()
		require.NoError(t, r.stop())
		require.Less(t, time.Since(stopping), patience/2)
		_, err = io.Copy(io.Discard, nc) // the client has closed it
		require.NoError(t, err)
	})
	t.Run("open", func(t *testing.T) {
		asked := make(chan struct{})
		r := runWith(t, func(ctx context.Context) (string, error) {
			close(asked)
			<-ctx.Done()
			return "", ctx.Err()
		}, nil)
		receive(t, asked, "the open")
		require.NoError(t, r.stop())
	})
	t.Run("hello", func(t *testing.T) {
		s := newScriptedSlack(t)
		r := run(t, s, nil)
		p := s.next()
		require.NoError(t, r.stop())
		p.wantClose(1000)
	})
}

func TestFaultAnotherProcessUsesTheToken(t *testing.T) {
	s := newScriptedSlack(t)
	r := run(t, s, func(c *Config) { c.GhostWindow = 50 * time.Millisecond })
	p := s.next()
	p.send(hello(4))
	r.eventually("ready", r.Ready)
	for range 5 {
		time.Sleep(30 * time.Millisecond) // hellos some time apart, not a race
		p.send(disconnectFrame("warning"))
		next := s.next()
		next.send(hello(4))
		p.close(1000)
		p.wantClose(1000)
		p = next
	}
	require.Equal(t, 1, strings.Count(r.log.String(), "another process uses the same app token"))
}
