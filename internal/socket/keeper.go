package socket

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A keeper keeps one connection open, through as many successors as it takes.
type keeper struct {
	s    *Sockets
	n    int // which of the Config.Connections, for the log
	pace pace

	conns sync.WaitGroup // the connection and those it has replaced
}

// run returns when ctx has ended and all its connections are closed, or with a
// *FatalError.
func (k *keeper) run(ctx, work context.Context) error {
	defer k.conns.Wait()
	for old := (*conn)(nil); ; {
		c, err := k.connect(ctx, work)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		k.welcome(c, old)

		settled := time.NewTimer(k.pace.settleAfter())
		select {
		case <-settled.C:
			k.pace.settled()
			k.s.outage.healed(k.n)
			select {
			case <-c.leave:
				k.departed(c, true)
			case <-ctx.Done():
				return nil
			}
		case <-c.leave:
			settled.Stop()
			k.departed(c, false)
		case <-ctx.Done():
			settled.Stop()
			return nil
		}
		old = c
	}
}

// connect tries until a connection has said hello.
func (k *keeper) connect(ctx, work context.Context) (*conn, error) {
	for {
		for wait := k.wait(); wait > 0; wait = k.wait() { // again: a Retry-After may have come meanwhile
			sleep(ctx, wait, nil)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
		c, err := k.try(ctx, work)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if f, ok := fatalError(err, k.s.isDisabled()); ok {
			return nil, f
		}
		k.setback("connecting to Slack", err, false)
	}
}

// wait is how long to wait before the next open. A Retry-After is for the whole
// app, so it holds back every keeper; they come back spread a little.
func (k *keeper) wait() time.Duration {
	k.s.mu.Lock()
	pause := time.Until(k.s.paused)
	k.s.mu.Unlock()
	if pause > 0 {
		pause += between(0, 1, k.s.cfg.OpenEvery)
	}
	return max(pause, time.Until(k.pace.next()))
}

// try opens one connection and waits for its hello.
func (k *keeper) try(ctx, work context.Context) (*conn, error) {
	limit := k.s.cfg.ConnectTimeout
	k.s.count(func(st *Stats) { st.Opens++ })
	open, cancel := context.WithTimeout(ctx, limit)
	addr, err := k.s.cfg.Open(open)
	cancel()
	k.pace.opened = time.Now() // Slack has seen it by now; before the call, two could arrive closer together than they left
	if err != nil {
		return nil, err
	}
	ws, err := dial(ctx, addr, &k.s.cfg)
	if err != nil {
		return nil, err
	}
	c := newConn(k.s, ws, k.n)
	k.conns.Go(func() { c.run(ctx, work) })

	tooLong := time.NewTimer(limit)
	defer tooLong.Stop()
	select {
	case <-c.hello:
		return c, nil
	case <-c.leave:
	case <-tooLong.C:
		c.depart(errNoHello)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if isClosed(c.hello) { // in the same moment
		return c, nil
	}
	c.retire()
	return nil, c.why
}

// welcome puts c, which has said hello, in the place of old, which may be nil.
func (k *keeper) welcome(c, old *conn) {
	if old == nil {
		k.s.log.Info("connected to Slack", "connection", k.n, "num_connections", c.counted)
		return
	}
	k.s.count(func(st *Stats) { st.Reconnects++ })
	k.s.log.Info("reconnected to Slack", "connection", k.n, "num_connections", c.counted,
		"because", plain(old.why), "old_lived", time.Since(old.born).Round(time.Millisecond))
	old.retire()
}

// departed notes that c, which had said hello, needs a successor.
func (k *keeper) departed(c *conn, settled bool) {
	if _, asked := errors.AsType[disconnect](c.why); !asked {
		k.s.count(func(st *Stats) { st.Lost++ })
	}
	k.setback("lost a connection to Slack", c.why, settled)
}

// setback decides by what went wrong when to try again, and tells the log.
// A connection that had settled is followed by the next one at once.
func (k *keeper) setback(what string, err error, settled bool) {
	now := time.Now()
	why, asked := errors.AsType[disconnect](err)
	if wait, ok := retryAfter(err); ok {
		k.s.pause(now.Add(wait))
	}
	switch {
	case why == tooManyWebsockets:
		k.pace.tooMany(now)
		k.s.log.Warn("Slack says that this app has too many connections (it accepts 10); waiting before trying again",
			"connection", k.n, "wait", k.pace.earliest.Sub(now).Round(time.Second))
		return
	case why == linkDisabled:
		k.pace.disabled(now) // and disable has told the log
		return
	case k.s.isDisabled():
		k.pace.disabled(now)
	case !settled:
		k.pace.failed(now)
	}
	if !asked || !settled {
		k.s.outage.failed(k.n, what, err)
	}
}

// pause holds back all opens.
func (s *Sockets) pause(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until.After(s.paused) {
		s.paused = until
	}
}

// disable notes that Socket Mode is switched off, and says so once.
func (s *Sockets) disable() {
	s.mu.Lock()
	already := s.disabled
	s.disabled = true
	s.mu.Unlock()
	if !already {
		s.log.Error("Socket Mode has been switched off for this Slack app, so no command can arrive;"+
			" switch it on at https://api.slack.com/apps, Socket Mode, Enable Socket Mode",
			"next_try_every", s.cfg.DisabledWait)
	}
}

// enabled notes that it is on: Slack has said hello. The reader calls it, as
// it calls disable, so that the last frame decides.
func (s *Sockets) enabled() {
	s.mu.Lock()
	was := s.disabled
	s.disabled = false
	s.mu.Unlock()
	if was {
		s.log.Info("Socket Mode is switched on again")
	}
}

func (s *Sockets) isDisabled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disabled
}
