package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"zegoclose/internal/journal"
)

const (
	checkpointGrace = 2 * time.Second // for entries that are being written as a period ends
	maxCatchUp      = 31              // missed checkpoints that are made one by one; what lies before goes into the first
)

// keepCheckpoints writes a checkpoint for every period that is over, also those during
// which the bot did not run, until ctx ends. Periods are whole days or weeks (from Monday)
// of UTC. A quiet one is recorded too: its absence would be evidence.
func (b *Bot) keepCheckpoints(ctx context.Context) error {
	if b.CheckpointEvery == 0 || b.AuditChannel == "" {
		return nil
	}
	began := b.now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		next, err := b.checkpoint(ctx, began)
		if err != nil && ctx.Err() == nil && !errors.Is(err, journal.ErrSettled) {
			b.Log.Error("a checkpoint could not be written", "err", err)
			next = b.now().Add(maxPause)
		}
		resetTimer(timer, next, b.now(), time.Minute)
	}
}

// checkpoint writes the next checkpoint that is due and returns when to ask again.
func (b *Bot) checkpoint(ctx context.Context, began time.Time) (again time.Time, err error) {
	every, now := b.CheckpointEvery, b.now()
	last, since, err := b.Journal.LastCheckpoint(ctx)
	if err != nil {
		return time.Time{}, err
	}
	due := now.Add(-min(checkpointGrace, every/2)).UTC().Truncate(every)
	if !due.After(since) {
		return due.Add(every).Add(min(checkpointGrace, every/2)), nil
	}
	until := since.Truncate(every).Add(every)
	if first := due.Add(-(maxCatchUp - 1) * every); last == 0 {
		until = due
	} else if until.Before(first) {
		until = first
	}
	ctx, cancel := context.WithTimeout(ctx, recordPatience)
	defer cancel()
	return now, b.Journal.Checkpoint(ctx, last, since, until, b.AuditChannel, now.Sub(began))
}

// sendCheckpoint posts a checkpoint that waits.
func (b *Bot) sendCheckpoint(ctx context.Context, c journal.Case, p journal.Post) (pause time.Duration, err error) {
	if err := b.Journal.SendingCheckpoint(ctx, p); err != nil {
		return 0, fmt.Errorf("recording that a checkpoint leaves: %w", err)
	}
	after := context.WithoutCancel(ctx)
	ts, _, err := b.post(after, p.Channel, "", checkpointView(c.Entries[0]), b.metadata(c, p))
	if err != nil {
		return b.notSent(after, c, p, err)
	}
	return 0, b.sent(after, p, ts)
}

// checkpointView tells what happened in a period, and where the chain ended.
func checkpointView(e journal.Entry) message {
	f := e.Facts
	n := func(name string) int64 { return f.Counts[name] }
	var ended []string
	for _, s := range []journal.State{journal.StateClosed, journal.StateAbsent, journal.StateFailed, journal.StateUnknown, journal.StateCancelled, journal.StateExpired} {
		if n(string(s)) > 0 {
			ended = append(ended, fmt.Sprintf("%d %s", n(string(s)), s))
		}
	}
	what := "Nothing was asked for, nothing ended."
	if n(journal.CountRequested) > 0 || ended != nil {
		what = fmt.Sprintf("Cases opened: %d. Ended: %s.", n(journal.CountRequested), orNone(strings.Join(ended, ", ")))
	}
	what += fmt.Sprintf(" Refusals: %d. Open now: %d.", n(journal.CountRefused), n(journal.CountOpen))
	if n(journal.CountReviewed)+n(journal.CountContested) > 0 {
		what += fmt.Sprintf(" Reviewed: %d, contested: %d.", n(journal.CountReviewed), n(journal.CountContested))
	}
	return textMessage(
		line{bold("Checkpoint"), say(" "), at(f.Since.Time(), dayTime), say(" to "), at(f.Until.Time(), dayTime)},
		line{say("%s", what)},
		line{say("The bot had been running for %s.", (time.Duration(f.Up) * time.Microsecond).Round(time.Second))},
		line{say("Entry %d, hash %s", e.Number, e.Hash)},
	)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
