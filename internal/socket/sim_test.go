package socket

import (
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"zegoclose/internal/slacksim"
)

// The tests of this file run against the strict simulator, with the periods of
// production unless said otherwise.

// An office is a workspace with one person and one channel.
type office struct {
	*slacksim.Workspace
	t       *testing.T
	user    string
	channel string
}

func newOffice(t *testing.T, cfg slacksim.Config) *office {
	w, err := slacksim.New(cfg)
	require.NoError(t, err)
	t.Cleanup(w.Close)
	o := &office{Workspace: w, t: t}
	o.user = w.AddUser(slacksim.User{Name: "alice"}).ID
	o.channel = w.AddChannel(slacksim.Channel{Name: "ops", BotMember: true}).ID
	return o
}

// run starts Sockets with two connections.
func (o *office) run(config func(*Config)) *running {
	r := runWith(o.t, openAt(o.AppToken(), o.APIURL()), func(c *Config) {
		*c = Config{Open: c.Open, Handle: c.Handle, Log: c.Log}
		if config != nil {
			config(c)
		}
	})
	o.ready(2)
	return r
}

// ready waits until n connections get envelopes.
func (o *office) ready(n int) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), 2*patience)
	defer cancel()
	require.NoError(o.t, o.Wait(ctx, func() bool { return o.Ready() == n }), "%d connections", n)
}

func (o *office) command(how slacksim.Dispatch) *slacksim.Delivery {
	return o.Command(slacksim.Command{User: o.user, Channel: o.channel, Text: "live-42 spam", Dispatch: how})
}

func (o *office) outcome(d *slacksim.Delivery) slacksim.Outcome {
	o.t.Helper()
	receive(o.t, d.Done(), "an outcome")
	return d.Outcome()
}

func long() bool { return os.Getenv("ZEGOCLOSE_TEST_LONG") != "" }

// TestRotation tells the connections in turn to reconnect, in every way Slack
// does, while commands flow. Each must be answered on its own connection.
func TestRotation(t *testing.T) {
	t.Parallel()
	rounds := 4
	if long() {
		rounds = 30
	}
	o := newOffice(t, slacksim.Config{})
	r := o.run(func(c *Config) {
		c.Handle = func(ctx context.Context, e *Envelope) {
			// As slow as the worst commit we allow for, so that acks are owed
			// when connections are left.
			time.Sleep(rand.N(200 * time.Millisecond))
			if err := e.Ack(nil); err != nil {
				t.Errorf("acknowledging: %v", err)
			}
		}
	})
	ways := []slacksim.Disconnect{
		{Reason: slacksim.RequestWarning},
		{Reason: slacksim.RefreshRequested},
		{Reason: slacksim.RequestWarning, Behind: true},
		{Reason: slacksim.RefreshRequested, Behind: true},
	}
	time.Sleep(2*time.Second + 100*time.Millisecond) // what rotates has settled
	var deliveries []*slacksim.Delivery
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for round := range rounds {
		how := ways[round%len(ways)]
		for _, c := range o.Connections() { // the oldest that has not been told
			if c.Live && c.Told == "" {
				how.Conn = c.ID
				break
			}
		}
		require.Equal(t, 1, o.Disconnect(how))
		for range 40 {
			<-every.C
			deliveries = append(deliveries, o.command(slacksim.Dispatch{}))
		}
	}
	for _, d := range deliveries {
		out := o.outcome(d)
		require.Equal(t, slacksim.Acked, out.Result, "%+v", out)
		require.Equal(t, out.SentOn, out.AckedOn)
	}
	require.NoError(t, r.stop())
	require.Empty(t, o.Violations())
	st := r.Stats()
	require.EqualValues(t, len(deliveries), st.Envelopes)
	require.EqualValues(t, rounds, st.Reconnects)
	require.EqualValues(t, rounds+2, st.Opens)
	require.Zero(t, st.Lost)
	require.Zero(t, st.Late)
	require.NotContains(t, r.log.String(), "level=WARN")
}

func TestFaultSimReset(t *testing.T) {
	t.Parallel()
	o := newOffice(t, slacksim.Config{})
	r := o.run(nil)
	time.Sleep(2*time.Second + 100*time.Millisecond) // both have settled
	cut := time.Now()
	o.ResetAll()
	o.ready(2)
	require.Less(t, time.Since(cut), time.Second)
	require.Equal(t, slacksim.Acked, o.outcome(o.command(slacksim.Dispatch{})).Result)
	require.NoError(t, r.stop())
	require.Empty(t, o.Violations())
	require.EqualValues(t, 2, r.Stats().Lost)
}

func TestFaultSimHalfOpen(t *testing.T) {
	t.Parallel()
	o := newOffice(t, slacksim.Config{PingEvery: 100 * time.Millisecond})
	r := o.run(func(c *Config) { c.PingTimeout = time.Second })
	o.HalfOpen(0)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, o.Wait(ctx, func() bool { // replaced, and no ghost left
		list := o.Connections()
		return len(list) == 2 && list[0].Live && !list[0].HalfOpen && list[1].Live && !list[1].HalfOpen
	}))
	require.Equal(t, slacksim.Acked, o.outcome(o.command(slacksim.Dispatch{})).Result)
	require.NoError(t, r.stop())
	require.Empty(t, o.Violations())
	require.EqualValues(t, 1, r.Stats().Lost)
}

func TestFaultSimSlackDownAndBack(t *testing.T) {
	t.Parallel()
	down := 4 * time.Second
	if long() {
		down = time.Minute
	}
	o := newOffice(t, slacksim.Config{})
	r := o.run(nil)
	o.GoOffline()
	r.eventually("not ready", func() bool { return !r.Ready() })
	time.Sleep(down)
	require.NoError(t, o.GoOnline())
	back := time.Now()
	o.ready(2)
	t.Logf("back after %v, %+v", time.Since(back), r.Stats())
	require.Less(t, time.Since(back), 5*time.Second)
	require.Equal(t, slacksim.Acked, o.outcome(o.command(slacksim.Dispatch{})).Result)
	r.logged("up again")
	require.NoError(t, r.stop())
	require.Empty(t, o.Violations())
	require.LessOrEqual(t, strings.Count(r.log.String(), "level=WARN"), 5)
}

func TestFaultSimOpenFails(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]slacksim.Fault{
		"429":            {Status: 429, RetryAfter: 2, Count: 1},
		"503":            {Status: 503, Count: 2},
		"HTML":           {Status: 502, Body: "<html>", Count: 2},
		"internal_error": {Error: "internal_error", Count: 2},
		"reset":          {Reset: true, Count: 2},
		"lost answer":    {Reset: true, When: slacksim.After, Count: 2},
		"hang":           {Hang: true, Count: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, slacksim.Config{})
			f.Method = "apps.connections.open"
			o.Inject(f)
			r := o.run(func(c *Config) { c.ConnectTimeout = 2 * time.Second })
			require.Equal(t, slacksim.Acked, o.outcome(o.command(slacksim.Dispatch{})).Result)
			require.NoError(t, r.stop())
			require.Empty(t, o.Violations())
		})
	}
}

func TestFaultSimSocketModeOffAndOn(t *testing.T) {
	t.Parallel()
	o := newOffice(t, slacksim.Config{})
	r := o.run(func(c *Config) { c.DisabledWait = time.Second })
	o.SetSocketMode(false)
	r.logged("Socket Mode has been switched off")
	o.ready(0)
	r.logged("access_denied")
	o.SetSocketMode(true)
	o.ready(2)
	require.NoError(t, r.stop())
	require.Empty(t, o.Violations())
}

func TestFaultSimTooManyWebsockets(t *testing.T) {
	t.Parallel()
	o := newOffice(t, slacksim.Config{Connections: 11})
	others := runWith(t, openAt(o.AppToken(), o.APIURL()), func(c *Config) { c.Connections = 9 })
	o.ready(9)
	r := runWith(t, openAt(o.AppToken(), o.APIURL()), func(c *Config) {
		*c = Config{Open: c.Open, Handle: c.Handle, Log: c.Log, CrowdedWait: 2 * time.Second}
	})
	r.logged("too many connections")
	require.NoError(t, others.stop())
	o.ready(2)
	require.LessOrEqual(t, r.Stats().Opens, int64(3))
	require.NoError(t, r.stop())
	require.Empty(t, o.Violations(slacksim.TooManySockets)) // which is the fault
}

func TestFaultSimStrangeEnvelopes(t *testing.T) {
	t.Parallel()
	o := newOffice(t, slacksim.Config{})
	r := o.run(nil)
	for _, text := range []string{"", "{", "[]", `{"type":"slash_commands"}`} {
		require.True(t, o.SendText(0, text))
	}
	for _, payload := range []any{nil, 7, "text", []int{1}, map[string]any{"type": "x"}} {
		for _, kind := range []string{"slash_commands", "interactive", "events_api", "brand_new", ""} {
			d := o.Send(slacksim.Envelope{Type: kind, Payload: payload})
			require.Equal(t, slacksim.Acked, o.outcome(d).Result, "%s %v", kind, payload)
		}
	}
	require.Equal(t, slacksim.Acked, o.outcome(o.command(slacksim.Dispatch{Duplicate: 1})).Result)
	require.NoError(t, r.stop())
	require.Empty(t, o.Violations())
}

// TestStopUnderLoad stops while commands flow: what reached us is answered,
// what did not fails visibly, and no connection vanishes.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	o := newOffice(t, slacksim.Config{})
	r := o.run(nil)
	var typists sync.WaitGroup
	var mu sync.Mutex
	var deliveries []*slacksim.Delivery
	for range 4 {
		typists.Go(func() {
			for range 200 {
				d := o.command(slacksim.Dispatch{})
				mu.Lock()
				deliveries = append(deliveries, d)
				n := len(deliveries)
				mu.Unlock()
				if n == 400 {
					r.cancel()
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	typists.Wait()
	require.NoError(t, r.wait())
	acked := 0
	for _, d := range deliveries {
		out := o.outcome(d)
		if out.Result == slacksim.Acked {
			acked++
			require.Equal(t, out.SentOn, out.AckedOn)
		}
	}
	st := r.Stats()
	require.EqualValues(t, st.Envelopes, acked, "handled and acknowledged are the same ones")
	t.Logf("%d of %d acknowledged, %d crossed our close frame", acked, len(deliveries), st.Late)
	require.Empty(t, o.Violations())
}
