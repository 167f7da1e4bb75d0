package slacksim

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// Limits is how fast an app may call (apis/web-api/rate-limits). They run in real time, whatever the workspace's clock.
type Limits struct {
	// PostEvery is the pace of chat.postMessage in one channel: one message in this time, on average. Default 1s;
	// negative = no limit.
	PostEvery time.Duration

	// PostBurst is how many messages may come at once before the pace bites. Default 3 (unconfirmed: "bursts are
	// tolerated").
	PostBurst int

	// PostsPerMinute bounds chat.postMessage in the whole workspace. Default 600 (unconfirmed: "several hundred");
	// negative = no limit.
	PostsPerMinute int

	// NoTiers lifts the limits of the other methods: 20, 50 or 100 a minute, a minute's worth at once.
	NoTiers bool
}

// Unlimited is for tests about something else.
func Unlimited() Limits { return Limits{PostEvery: -1, PostsPerMinute: -1, NoTiers: true} }

func (l *Limits) setDefaults() {
	setDefault(&l.PostEvery, time.Second)
	setDefault(&l.PostBurst, 3)
	setDefault(&l.PostsPerMinute, 600)
}

// crossing is how long after a 429 a call may still arrive that was on its way when the 429 was written.
const crossing = 100 * time.Millisecond

type pacing struct {
	buckets map[string]*bucket
	pauses  map[string]pause
}

// A pause is the time after a 429.
type pause struct{ from, until time.Time }

func newPacing() pacing { return pacing{buckets: map[string]*bucket{}, pauses: map[string]pause{}} }

// A bucket holds tokens; each call takes one, and they come back at a steady rate.
type bucket struct {
	tokens float64
	at     time.Time
}

// take returns how long to wait for a token, zero if it took one.
func (p *pacing) take(key string, burst, perSecond float64, now time.Time) time.Duration {
	b := p.buckets[key]
	if b == nil {
		b = &bucket{tokens: burst, at: now}
		p.buckets[key] = b
	}
	b.tokens = min(burst, b.tokens+now.Sub(b.at).Seconds()*perSecond)
	b.at = now
	if b.tokens < 1 {
		return time.Duration((1 - b.tokens) / perSecond * float64(time.Second))
	}
	b.tokens--
	return 0
}

// pauseKey is what a 429 holds up: one channel for chat.postMessage, the whole method otherwise.
func pauseKey(c *call) string {
	if c.method == "chat.postMessage" {
		return c.method + " " + c.arg("channel")
	}
	return c.method
}

// limit returns how long the caller must wait, zero if it may go on. The caller holds mu.
func (w *Workspace) limit(c *call, m method) time.Duration {
	key := pauseKey(c)
	if p, paused := w.pauses[key]; paused {
		if left := p.until.Sub(c.at); left > 0 {
			if c.at.Sub(p.from) > crossing {
				w.violate(CalledDuringPause, 0, "%s was called %v before its Retry-After had passed", c.method, left.Round(time.Millisecond))
			}
			return left
		}
		delete(w.pauses, key)
	}
	l := w.cfg.Limits
	var wait time.Duration
	switch {
	case c.method == "chat.postMessage":
		if l.PostEvery > 0 {
			wait = w.take(key, float64(l.PostBurst), 1/l.PostEvery.Seconds(), c.at)
		}
		if wait == 0 && l.PostsPerMinute > 0 {
			wait = w.take(c.method, float64(l.PostsPerMinute), float64(l.PostsPerMinute)/60, c.at)
		}
	case m.perMinute > 0 && !l.NoTiers:
		wait = w.take(c.method, float64(m.perMinute), float64(m.perMinute)/60, c.at)
	}
	return wait
}

// refuseRate answers 429 and begins the pause. Retry-After counts whole seconds.
func (w *Workspace) refuseRate(rw http.ResponseWriter, c *call, wait time.Duration) {
	seconds := max(1, int(math.Ceil(wait.Seconds())))
	now := time.Now()
	w.mu.Lock()
	key := pauseKey(c)
	if old := w.pauses[key]; old.until.Before(now) {
		w.pauses[key] = pause{from: now, until: now.Add(time.Duration(seconds) * time.Second)}
	}
	w.unlock()
	rw.Header().Set("Retry-After", strconv.Itoa(seconds))
	w.reply(rw, c, http.StatusTooManyRequests, nil, refuse("ratelimited"))
}
