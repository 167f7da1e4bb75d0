package bot

import (
	"context"
	"sync"
	"time"
	"zegoclose/internal/journal"
)

// maxSlowdown is the longest pause while ZEGO cannot be reached or calls are too fast.
const maxSlowdown = 8 * time.Second

// pace is ZEGO's limit of one CloseRoom a second per AppID. The next call may leave one
// interval after the one before was written to the wire, and later while ZEGO says that
// this is too fast, or cannot be reached.
type pace struct {
	mu       sync.Mutex
	interval time.Duration
	next     time.Time
	slow     int // how often in a row the last calls came to nothing
}

func (p *pace) at() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// written notes that a call left at t.
func (p *pace) written(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if next := t.Add(p.interval); next.After(p.next) {
		p.next = next
	}
}

// slowDown makes every case wait: 1, 2, 4, 8 s.
func (p *pace) slowDown(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow++
	if next := now.Add(backoff(p.slow, time.Second, maxSlowdown)); next.After(p.next) {
		p.next = next
	}
}

func (p *pace) answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = 0
}

// turn is when the CloseRoom of a confirmed case is expected to leave.
func (b *Bot) turn(ctx context.Context, c journal.Case) time.Time {
	if c.State != journal.StateConfirmed {
		return time.Time{}
	}
	ahead, err := b.Journal.Ahead(ctx, c)
	if err != nil {
		return time.Time{}
	}
	at := b.now()
	for _, t := range []time.Time{b.pace.at(), c.NotBefore} {
		if t.After(at) {
			at = t
		}
	}
	return at.Add(time.Duration(ahead) * b.CloseInterval)
}
