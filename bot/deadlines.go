package bot

import (
	"context"
	"time"

	"zegoclose/internal/journal"
)

// keepDeadlines expires cases as their time runs out, and forgets once an hour what is only
// kept to recognise second deliveries, until ctx ends.
func (b *Bot) keepDeadlines(ctx context.Context) error {
	changed := b.Journal.Watch(journal.Deadlines)
	timer := time.NewTimer(0)
	defer timer.Stop()
	forget := time.NewTicker(time.Hour)
	defer forget.Stop()
	for {
		next, err := b.Journal.Expire(ctx)
		if err != nil && ctx.Err() == nil {
			b.trouble.Error("expiring cases failed", "", "err", err)
		} else if err == nil {
			b.trouble.Over("expiring cases failed", "")
		}
		resetTimer(timer, next, b.now(), lookEvery)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			sleep(ctx, 50*time.Millisecond) // one look for a whole burst is enough
		case <-timer.C:
		case <-forget.C:
			if err := b.Journal.Forget(ctx, forgetAfter); err != nil && ctx.Err() == nil {
				b.Log.Warn("forgetting old deliveries failed", "err", err)
			}
		}
	}
}
