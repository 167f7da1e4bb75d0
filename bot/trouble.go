package bot

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// troubles tells the log about what goes wrong again and again the way one wants to read
// it: at once, then at growing intervals while it lasts, and its end once.
type troubles struct {
	log *slog.Logger

	mu      sync.Mutex
	lasting map[trouble]*course
}

// trouble is one thing that goes wrong: what it is, and in which channel, group, …
type trouble struct{ what, where string }

// course is how a trouble has gone so far.
type course struct {
	since, next time.Time
	every       time.Duration
	times       int
}

const (
	tellAgain = 10 * time.Second // first interval between two lines about the same trouble
	tellMost  = 10 * time.Minute // longest
)

// Warn and Error count one failure, and log it if it is time.
func (t *troubles) Warn(what, where string, attrs ...any) { t.tell(slog.LevelWarn, what, where, attrs) }

func (t *troubles) Error(what, where string, attrs ...any) {
	t.tell(slog.LevelError, what, where, attrs)
}

func (t *troubles) tell(level slog.Level, what, where string, attrs []any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	c := t.lasting[trouble{what, where}]
	if c == nil {
		c = &course{since: now, next: now, every: tellAgain}
		if t.lasting == nil {
			t.lasting = make(map[trouble]*course)
		}
		t.lasting[trouble{what, where}] = c
	}
	c.times++
	if now.Before(c.next) {
		level = slog.LevelDebug
	} else {
		c.next, c.every = now.Add(c.every), min(2*c.every, tellMost)
	}
	if c.times > 1 {
		attrs = append(attrs, "times", c.times, "for", now.Sub(c.since).Round(time.Second))
	}
	t.log.Log(context.Background(), level, what, attrs...)
}

// Over notes that what went wrong goes well again.
func (t *troubles) Over(what, where string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.lasting[trouble{what, where}]
	if c == nil {
		return
	}
	delete(t.lasting, trouble{what, where})
	if c.times > 1 {
		t.log.Info("over: "+what, "where", where, "times", c.times, "after", time.Since(c.since).Round(time.Second))
	}
}
