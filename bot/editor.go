package bot

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"zegoclose/internal/journal"
)

// drawDelay lets what a thread has to tell leave before its card is drawn again.
const drawDelay = 30 * time.Millisecond

// editor draws cards again. An edit that got no clear answer may still arrive and put an old
// view over a newer one, so such a card is drawn once more when that can no longer happen.
type editor struct {
	*Bot
	started time.Time           // what was due before may have been sent by a process that died
	late    map[int64]time.Time // by the card's first entry: until when an earlier edit may arrive
	gone    map[int64]bool      // by the same: cards that somebody has deleted
	failed  map[int64]int       // by the same: how often in a row it could not be drawn
}

// drawCards keeps the cards up to date until ctx ends. A card is a view: drawing it twice
// does no harm, steps in between are skipped, and Slack's limit on edits (tier 3) never
// holds up a post.
func (b *Bot) drawCards(ctx context.Context) error {
	e := &editor{Bot: b, started: b.now(), late: make(map[int64]time.Time), gone: make(map[int64]bool), failed: make(map[int64]int)}
	changed := b.Journal.Watch(journal.Edits)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		c, card, ok, again, err := b.Journal.NextEdit(ctx)
		if err == nil && ok {
			var pause time.Duration
			if pause, err = e.drawCard(ctx, c, card); err == nil {
				b.trouble.Over("a card has to wait to be drawn again", "")
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
			b.trouble.Warn("a card has to wait to be drawn again", "", "case", c.Number, "err", err)
			sleep(ctx, backoff(max(1, len(e.failed)), time.Second, maxPause))
			continue
		}
		resetTimer(timer, again, b.now(), lookEvery)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			sleep(ctx, drawDelay)
		case <-timer.C:
		}
	}
}

// drawCard draws one card as its case stands.
func (e *editor) drawCard(ctx context.Context, c journal.Case, card journal.Post) (pause time.Duration, err error) {
	now := e.now()
	if card.Tried.Before(e.started) && card.Redraw.Before(e.started.Add(maxPause)) {
		// Due in an earlier life, or put off there after an edit without an answer.
		e.late[card.First] = e.started.Add(e.PostRecheck)
	}
	defer func() {
		if p := recover(); p != nil {
			err = e.notDrawn(ctx, card, fmt.Errorf("a panic: %v\n%s", p, debug.Stack()))
		}
	}()
	m := cardView(c, now, e.turn(ctx, c))
	redraw := e.again(c, card, now)
	if e.gone[card.First] {
		return 0, e.drawn(ctx, card, card.Seen, time.Time{})
	}
	callCtx, cancel := context.WithTimeout(ctx, e.SlackTimeout)
	defer cancel()
	_, ts, _, err := e.Slack.UpdateMessageContext(callCtx, card.Channel, card.TS, contents(m)...)
	if err == nil && ts == "" {
		err = errNoAnswer
	}
	if err != nil {
		fate, wait := fateOf(err)
		switch fate {
		case tooFast:
			return wait, nil // still due
		case tokenFatal:
			return 0, e.fatal(err)
		case refused:
			e.Log.Warn("a card can no longer be drawn", "case", c.Number, "cause", slackCode(err))
			if slackCode(err) == "message_not_found" {
				e.gone[card.First] = true // Slack is not asked for it again
			}
			return 0, e.drawn(ctx, card, card.Seen, time.Time{}) // it shows what it showed
		case inDoubt:
			e.late[card.First] = e.now().Add(e.PostRecheck)
			fallthrough
		default:
			return 0, e.notDrawn(ctx, card, err)
		}
	}
	return 0, e.drawn(ctx, card, c.Entries[len(c.Entries)-1].Number, redraw)
}

// drawn records that the card shows its case up to entry seen, and that nothing is left to
// draw before redraw, unless something happens.
func (e *editor) drawn(ctx context.Context, card journal.Post, seen int64, redraw time.Time) error {
	delete(e.failed, card.First)
	return e.insist(context.WithoutCancel(ctx), "recording what a card shows", func(ctx context.Context) error {
		return e.Journal.Edited(ctx, card, seen, redraw)
	})
}

// notDrawn puts off a card that could not be drawn, so that it does not hold up the others:
// Slack may fail on one message, or in one channel, alone.
func (e *editor) notDrawn(ctx context.Context, card journal.Post, cause error) error {
	e.failed[card.First]++
	later := e.now().Add(backoff(e.failed[card.First], time.Second, maxPause))
	return errors.Join(fmt.Errorf("drawing a card: %w", cause), e.Journal.Edited(ctx, card, card.Seen, later))
}

// again returns when the card, drawn now, must be drawn again though nothing happens; the
// zero time: never.
func (e *editor) again(c journal.Case, card journal.Post, now time.Time) (at time.Time) {
	if c.CanTryAgain(now) {
		at = c.AgainBy // the button goes away by itself
	}
	switch late, ok := e.late[card.First]; {
	case !ok:
	case !now.Before(late):
		delete(e.late, card.First)
	case at.IsZero() || late.Before(at):
		at = late
	}
	return at
}
