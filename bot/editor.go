package bot

import (
	"context"
	"fmt"
	"time"

	"zegoclose/internal/journal"
)

// drawCards keeps the cards up to date until ctx ends. A card is a view: drawing it twice
// does no harm, steps in between are skipped, and Slack's limit on edits (tier 3) never
// holds up a post.
func (b *Bot) drawCards(ctx context.Context) error {
	changed := b.Journal.Watch(journal.Edits)
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	for {
		c, card, ok, again, err := b.Journal.NextEdit(ctx)
		if err == nil && ok {
			var pause time.Duration
			if pause, err = b.drawCard(ctx, c, card); err == nil {
				failures = 0
				sleep(ctx, pause)
				if ctx.Err() == nil {
					continue
				}
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if isFatal(err) {
			return err
		}
		if err != nil {
			failures++
			b.Log.Warn("a card has to wait to be drawn again", "case", c.Number, "err", err)
			sleep(ctx, backoff(failures, time.Second, maxPause))
			continue
		}
		resetTimer(timer, again, b.now(), lookEvery)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-timer.C:
		}
	}
}

// drawCard draws one card as its case stands.
func (b *Bot) drawCard(ctx context.Context, c journal.Case, card journal.Post) (pause time.Duration, err error) {
	now := b.now()
	m := cardView(c, now, b.turn(ctx, c))
	var redraw time.Time
	if c.CanTryAgain(now) {
		redraw = c.AgainBy // the button goes away by itself
	}
	callCtx, cancel := context.WithTimeout(ctx, b.SlackTimeout)
	defer cancel()
	_, _, _, err = b.Slack.UpdateMessageContext(callCtx, card.Channel, card.TS, contents(m)...)
	if err != nil {
		fate, wait := fateOf(err)
		switch fate {
		case tooFast:
			return wait, nil // still due
		case tokenFatal:
			return 0, b.fatal(err)
		case refused:
			b.Log.Warn("a card can no longer be drawn", "case", c.Number, "cause", slackCode(err))
		default:
			return 0, fmt.Errorf("drawing a card: %w", err)
		}
	}
	seen := c.Entries[len(c.Entries)-1].Number
	return 0, b.insist(context.WithoutCancel(ctx), "recording what a card shows", func(ctx context.Context) error {
		return b.Journal.Edited(ctx, card, seen, redraw)
	})
}
