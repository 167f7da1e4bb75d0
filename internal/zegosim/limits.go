package zegosim

import "time"

// rate is n calls per time. The algorithm behind ZEGO's limits is not
// documented; here it is a bucket that holds n calls and fills evenly, so the
// limit of CloseRoom, 1 a second, leaves no room for a burst.
type rate struct {
	n   int
	per time.Duration
}

// limit counts the call against the limits of its action, per app first. A call
// over a limit is not executed and does not count.
func (s *Server) limit(c *call) int {
	if s.cfg.NoLimits {
		return 0
	}
	app, room := c.action.perApp, c.action.perRoom
	if c.Test && c.action.perAppTest.n > 0 {
		app = c.action.perAppTest
	}
	if c.Action == "CloseRoom" && s.cfg.CloseInterval != 0 {
		app.per = max(0, s.cfg.CloseInterval)
	}
	key := c.world.name + " " + c.Action
	if early := s.take(key, app, c.Time); early > 0 {
		s.violate(c, "%v too early; the limit is %d per %v for the app", early, app.n, app.per)
		return 206
	}
	if early := s.take(key+" "+c.RoomID, room, c.Time); early > 0 {
		s.violate(c, "%v too early; the limit is %d per %v for a room", early, room.n, room.per)
		return 207
	}
	return 0
}

// take takes a call out of a bucket, or returns how much too early it is.
// s.next holds when the bucket would be full again.
func (s *Server) take(key string, r rate, now time.Time) (early time.Duration) {
	if r.n == 0 || r.per == 0 {
		return 0
	}
	every := r.per / time.Duration(r.n)
	full := s.next[key]
	if full.Before(now) {
		full = now
	}
	if early := full.Sub(now) - time.Duration(r.n-1)*every; early > 0 {
		return early
	}
	s.next[key] = full.Add(every)
	return 0
}
