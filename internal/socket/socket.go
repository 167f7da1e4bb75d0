// Package socket keeps Socket Mode connections to Slack open and hands over
// what arrives on them, without a moment in which nobody listens.
//
// Slack recycles every connection each few hours. It announces that with a
// disconnect frame and goes on delivering on the old connection until it
// closes it, about ten seconds later. So this package makes before it breaks:
// it opens the successor, waits for its hello, lets the old connection finish
// the acknowledgements it owes, reads it until Slack closes it, and only then
// closes it properly, with a close frame, so that no ghost stays registered at
// Slack and swallows commands. A connection that has gone silent is treated
// the same way. Two of them, kept independently, also bridge the case in which
// Slack drops one without a word.
//
// What a caller may rely on:
//
//   - Every envelope that is read is handed to Config.Handle once (beyond
//     MaxInFlight to Config.Busy), in its own goroutine, on whichever
//     connection and at whatever moment it arrives: behind a disconnect frame,
//     on a connection that is being replaced, during a drain. The one
//     exception: an envelope that crosses our close frame can no longer be
//     acknowledged, so it is not handled either. Slack tells its sender that
//     it failed, and that is then the truth.
//   - An acknowledgement is written once, in time and to the connection that
//     delivered the envelope, or [Envelope.Ack] returns an error.
//   - apps.connections.open is called at most once per Config.OpenEvery and
//     connection, whatever Slack does.
//   - Nothing that is logged or returned contains a token, a ticket or a URL.
//   - When [Sockets.Run] returns, no goroutine is left behind.
//
// The chapters: keeper.go keeps one connection alive through its successors,
// conn.go is one connection from dial to close, envelope.go what arrives and
// how it is acknowledged, dispatch.go who handles it, pace.go when to try
// again, trouble.go what goes wrong and what the log says about it.
package socket

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says what a Sockets needs. Open and Handle are required; a zero
// period stands for its default.
type Config struct {
	// Open calls apps.connections.open and returns the address for one dial;
	// see OpenWith.
	Open func(ctx context.Context) (url string, err error)

	// Connections is how many to keep, 1 to 10; the default is 2. A rotation
	// needs one more for a few seconds and Slack accepts 10 in all, so keeping
	// 10 leaves no room to rotate without a gap.
	Connections int

	// Handle is called for each envelope of a known type, in its own
	// goroutine. A panic in it is logged and is one failed request. A
	// connection that is to be closed is kept open for handlers that have not
	// acknowledged yet, until they return. The context outlives the one given
	// to Run by up to DrainTimeout; Handle must return soon after it has
	// ended, because Run waits.
	Handle func(ctx context.Context, e *Envelope)

	// Busy is asked instead when MaxInFlight handlers are running. What it
	// returns is sent at once as the acknowledgement of an envelope that
	// accepts a response; any other envelope, and any if it returns nil, stays
	// unacknowledged, so that Slack shows its sender a failure (or delivers
	// again, if an event). It runs in the reader and must not block.
	Busy        func(e *Envelope) any
	MaxInFlight int // default 4096

	// Acked, if not nil, is told how long each envelope has waited for its
	// acknowledgement, and with an error that it could not be sent.
	Acked func(envelopeType string, took time.Duration, err error)

	Log *slog.Logger

	PingTimeout    time.Duration // silence after which a connection is replaced; 30 s, see conn.watch
	ConnectTimeout time.Duration // for each step: open, dial, hello; 10 s
	WriteTimeout   time.Duration // for one frame; a connection that takes none for so long is dead; 5 s
	BackoffMin     time.Duration // wait after a first failure, doubling; 200 ms
	BackoffMax     time.Duration // longest wait while Slack is down; 5 s
	OpenEvery      time.Duration // least time between two opens of one connection; 1 s
	RotateGrace    time.Duration // how long Slack may take to close what it asked us to leave; 15 s
	CloseTimeout   time.Duration // for the answer to our close frame; 2 s
	DrainTimeout   time.Duration // how long handlers may go on after Run's context has ended; 5 s
	DisabledWait   time.Duration // between tries while Socket Mode is switched off; 30 s
	CrowdedWait    time.Duration // first wait after too_many_websockets, doubling up to tenfold; 1 min
	GhostWindow    time.Duration // how long Slack must count too many connections before we say so; 5 min
}

// ackWindow is how long Slack waits for an acknowledgement.
// Source: docs.slack.dev, "Handling user interaction".
const ackWindow = 3 * time.Second

func (c Config) withDefaults() Config {
	c.Connections = max(1, min(cmp.Or(c.Connections, 2), 10))
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 4096)
	if c.Busy == nil {
		c.Busy = func(*Envelope) any { return nil }
	}
	if c.Acked == nil {
		c.Acked = func(string, time.Duration, error) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.PingTimeout = cmp.Or(c.PingTimeout, 30*time.Second)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 10*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 5*time.Second)
	c.BackoffMin = cmp.Or(c.BackoffMin, 200*time.Millisecond)
	c.BackoffMax = cmp.Or(c.BackoffMax, 5*time.Second)
	c.OpenEvery = cmp.Or(c.OpenEvery, time.Second)
	c.RotateGrace = cmp.Or(c.RotateGrace, 15*time.Second)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, 2*time.Second)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 5*time.Second)
	c.DisabledWait = cmp.Or(c.DisabledWait, 30*time.Second)
	c.CrowdedWait = cmp.Or(c.CrowdedWait, time.Minute)
	c.GhostWindow = cmp.Or(c.GhostWindow, 5*time.Minute)
	return c
}

// Sockets is a set of Socket Mode connections to one Slack app.
type Sockets struct {
	cfg    Config
	log    *slog.Logger
	outage outage
	census census

	handlers sync.WaitGroup
	inFlight atomic.Int64
	busyLog  atomic.Int64 // when busy was last logged, Unix nanoseconds

	mu       sync.Mutex // guards the rest; never held while a connection's lock is taken
	conns    map[*conn]struct{}
	paused   time.Time // no open before this: Slack's Retry-After
	disabled bool      // Socket Mode is switched off, as far as we know
	stats    Stats
}

// New returns Sockets that connect when Run is called.
func New(cfg Config) *Sockets {
	cfg = cfg.withDefaults()
	return &Sockets{
		cfg:    cfg,
		log:    cfg.Log,
		outage: outage{log: cfg.Log, down: make(map[int]bool)},
		census: census{log: cfg.Log, window: cfg.GhostWindow},
		conns:  make(map[*conn]struct{}),
	}
}

// Run keeps the connections until ctx ends, or until Slack refuses the app
// token for good, which it returns as a *FatalError. In both cases it first
// drains: envelopes are handled as before until nothing is owed, at most for
// DrainTimeout, and every connection is closed with a handshake. After an
// orderly end it returns nil. Call it once.
func (s *Sockets) Run(ctx context.Context) error {
	keepers, ctx := errgroup.WithContext(ctx)

	// Handlers outlive ctx: what has been accepted is finished.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	finished := make(chan struct{})
	var limiter sync.WaitGroup
	limiter.Go(func() {
		defer stop()
		select {
		case <-ctx.Done():
			sleep(work, s.cfg.DrainTimeout, finished)
		case <-finished:
		}
	})

	for n := range s.cfg.Connections {
		k := &keeper{s: s, n: n, pace: pace{cfg: &s.cfg}}
		keepers.Go(func() error { return k.run(ctx, work) })
	}
	err := keepers.Wait()
	s.handlers.Wait()
	close(finished)
	limiter.Wait()
	return err
}

// Ready reports whether a connection has said hello and is alive, that is,
// whether commands reach us.
func (s *Sockets) Ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.alive() {
			return true
		}
	}
	return false
}

// Stats is a count of what has happened since New.
type Stats struct {
	Connected      int       // connections that have said hello and are alive
	Hellos         int64     // connections that ever said hello
	Reconnects     int64     // of those, the ones that replaced another
	Lost           int64     // connections that ended, or went silent, without Slack's having asked
	LastHello      time.Time // zero before the first
	NumConnections int       // this app's connections, as Slack told in its last hello
	Opens          int64     // calls of apps.connections.open
	Envelopes      int64     // handed to Handle
	InFlight       int       // handlers running now
	Busy           int64     // envelopes turned away because MaxInFlight handlers were running
	Bad            int64     // frames that could not be understood
	Late           int64     // envelopes that crossed our close frame and were not handled
	Panics         int64     // handlers that panicked
	Unanswered     int64     // envelopes whose handler ended without acknowledging them
	AppID          string    // the app, as Slack told in its last hello
}

// Stats returns the current counts.
func (s *Sockets) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.InFlight = int(s.inFlight.Load())
	for c := range s.conns {
		if c.alive() {
			st.Connected++
		}
	}
	return st
}

// count changes the counts.
func (s *Sockets) count(change func(*Stats)) {
	s.mu.Lock()
	change(&s.stats)
	s.mu.Unlock()
}

// sleep waits for d. It returns early when ctx ends or stop is closed.
func sleep(ctx context.Context, d time.Duration, stop <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-stop:
	case <-ctx.Done():
	}
}
