package socket

import (
	"math/rand/v2"
	"time"
)

// pace says when a keeper may next call apps.connections.open. Only its
// keeper uses it.
type pace struct {
	cfg      *Config
	opened   time.Time // when the last open returned
	earliest time.Time // what back-off asks for
	failures int       // since a connection last settled
	crowded  int       // too_many_websockets since a connection last settled
}

// next is the earliest moment for an open.
func (p *pace) next() time.Time {
	if t := p.opened.Add(p.cfg.OpenEvery); !p.opened.IsZero() && t.After(p.earliest) {
		return t
	}
	return p.earliest
}

// settled forgets failures. A connection that ends before it has settled
// counts as a failure; else a server that says hello and hangs up would be
// called as fast as OpenEvery allows for as long as it does so.
func (p *pace) settled() { p.failures, p.crowded = 0, 0 }

func (p *pace) settleAfter() time.Duration { return 2 * p.cfg.OpenEvery }

// failed backs off. The wait stays below nine tenths of BackoffMax, so that
// opening and dialling still fit in it once Slack is back.
func (p *pace) failed(now time.Time) {
	p.earliest = now.Add(between(0.5, 0.9, doubled(p.cfg.BackoffMin, p.failures, p.cfg.BackoffMax)))
	p.failures++
}

// tooMany backs off hard: each further try would count as one more connection.
func (p *pace) tooMany(now time.Time) {
	p.earliest = now.Add(between(1, 1.3, doubled(p.cfg.CrowdedWait, p.crowded, 10*p.cfg.CrowdedWait)))
	p.crowded++
}

// disabled waits for somebody to switch Socket Mode on again.
func (p *pace) disabled(now time.Time) {
	p.earliest = now.Add(between(0.9, 1.1, p.cfg.DisabledWait))
}

// doubled is d doubled n times, at most limit.
func doubled(d time.Duration, n int, limit time.Duration) time.Duration {
	for range n {
		if d >= limit/2 {
			return limit
		}
		d *= 2
	}
	return min(d, limit)
}

// between is a random share of d from lo to hi, so that many clients, and our
// own connections, do not come back all at once.
func between(lo, hi float64, d time.Duration) time.Duration {
	return time.Duration((lo + (hi-lo)*rand.Float64()) * float64(d))
}
