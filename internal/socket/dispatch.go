package socket

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// dispatch hands e to Config.Handle in a goroutine that Run waits for, or
// turns it away if too many are running.
func (s *Sockets) dispatch(work context.Context, e *Envelope) {
	if s.inFlight.Add(1) > int64(s.cfg.MaxInFlight) {
		s.inFlight.Add(-1)
		s.turnAway(e)
		return
	}
	if !e.conn.accept(e) {
		s.inFlight.Add(-1)
		s.count(func(st *Stats) { st.Late++ })
		s.log.Warn("an envelope crossed our close frame and cannot be answered; Slack tells its sender that it failed",
			"envelope", e.ID, "type", e.Type)
		return
	}
	s.count(func(st *Stats) { st.Envelopes++ })
	s.handlers.Go(func() {
		defer s.inFlight.Add(-1)
		defer e.conn.release(e)
		defer s.answered(e)
		defer s.recovered(e)
		s.cfg.Handle(work, e)
	})
}

// answered counts e if its handler has ended without acknowledging it.
func (s *Sockets) answered(e *Envelope) {
	if !e.acked.Load() {
		s.count(func(st *Stats) { st.Unanswered++ })
	}
}

// turnAway answers for a handler that cannot be started.
func (s *Sockets) turnAway(e *Envelope) {
	defer s.recovered(e)
	s.count(func(st *Stats) { st.Busy++ })
	now := time.Now().UnixNano()
	if last := s.busyLog.Load(); now-last > int64(10*time.Second) && s.busyLog.CompareAndSwap(last, now) {
		s.log.Warn("too many requests at once, turning some away", "limit", s.cfg.MaxInFlight, "turned_away", s.Stats().Busy)
	}
	if payload := s.cfg.Busy(e); payload != nil && e.AcceptsResponse {
		if err := e.Ack(payload); err != nil {
			s.log.Warn("turning a request away", "envelope", e.ID, "error", plain(err))
		}
	}
}

// recovered, deferred, makes a panic cost one request only. The request is not
// acknowledged on its behalf: its sender must see that it failed.
func (s *Sockets) recovered(e *Envelope) {
	if v := recover(); v != nil {
		s.count(func(st *Stats) { st.Panics++ })
		s.log.Error("handler panicked", "envelope", e.ID, "type", e.Type,
			"panic", hide(fmt.Sprint(v)), "stack", string(debug.Stack()))
	}
}
