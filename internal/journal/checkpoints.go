package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sort"
	"time"
)

// Names of what a checkpoint counts, besides the outcomes of cases.
const (
	CountRequested = "requested" // cases opened
	CountRefused   = "refused"   // refusals recorded
	CountReviewed  = "reviewed"
	CountContested = "contested"
	CountOpen      = "open" // cases open when the checkpoint was written
)

// LastCheckpoint returns the entry of the latest checkpoint, 0 if there is none, and until
// when it covers what happened: the opening of the journal if there is none.
func (j *Journal) LastCheckpoint(ctx context.Context) (entry int64, until time.Time, err error) {
	err = j.row(ctx, `SELECT first FROM posts WHERE case_ = 0 ORDER BY first DESC LIMIT 1`).Scan(&entry)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, time.Time{}, fmt.Errorf("looking for the last checkpoint: %w", err)
	}
	c, err := j.single(ctx, entry)
	if err != nil {
		return 0, time.Time{}, err
	}
	if until = c.Entries[0].Facts.Until.Time(); entry == 0 {
		until = c.Entries[0].Time
	}
	return entry, until, nil
}

// Checkpoint records what happened from since until then, which must be over, and makes a
// post of it for the channel. It returns [ErrSettled] if after is not the latest
// checkpoint any more: of two that would write the same one, one does.
func (j *Journal) Checkpoint(ctx context.Context, after int64, since, until time.Time, channel string, up time.Duration) error {
	counts, err := j.count(ctx, since, until)
	if err != nil {
		return fmt.Errorf("counting for a checkpoint: %w", err)
	}
	return j.change(ctx, func(t *txn) error {
		var last int64
		err := t.row(`SELECT first FROM posts WHERE case_ = 0 ORDER BY first DESC LIMIT 1`).Scan(&last)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if last != after {
			return ErrSettled
		}
		if t.now.Before(until) {
			return fmt.Errorf("%w: the time of a checkpoint is not over", ErrNotRecorded)
		}
		var open int64
		if err := t.row(`SELECT (SELECT count(*) FROM cases WHERE state = 'pending') + (SELECT count(*) FROM cases WHERE ` + queued + `)`).Scan(&open); err != nil {
			return err
		}
		counts[CountOpen] = open
		e, err := t.add(0, Checkpoint, Facts{Channel: channel, Since: MicrosOf(since), Until: MicrosOf(until), Counts: counts, Up: up.Microseconds()})
		if err != nil {
			return err
		}
		t.works[Posts] = true
		return t.exec(`INSERT INTO posts (first, last, case_, kind, state, channel, tried) VALUES ($1, $1, 0, 'checkpoint', 'waiting', $2, $3)`,
			e.Number, channel, t.now.UnixMicro())
	})
}

// count counts what happened in a time that is over: no entry of it can still come.
func (j *Journal) count(ctx context.Context, since, until time.Time) (map[string]int64, error) {
	first, err := j.firstSince(ctx, since)
	if err != nil {
		return nil, err
	}
	end, err := j.firstSince(ctx, until)
	if err != nil {
		return nil, err
	}
	rows, err := j.read.QueryContext(ctx, selectEntry+` WHERE number >= $1 AND number < $2 ORDER BY number`, first, end)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := make(map[string]int64)
	for rows.Next() {
		e, err := scanEntry(rows)
		if err != nil {
			return nil, err
		}
		switch e.Kind {
		case Requested, Refused, Reviewed, Contested, Cancelled, Expired:
			counts[string(e.Kind)]++
		case Ended:
			counts[string(e.Facts.Outcome)]++
		}
	}
	return counts, rows.Err()
}

// firstSince returns the number of the first entry that is not older than t, or one more
// than the last. Times follow numbers, so this needs no index.
func (j *Journal) firstSince(ctx context.Context, t time.Time) (int64, error) {
	var last int64
	err := j.row(ctx, `SELECT entry FROM head`).Scan(&last)
	n := sort.Search(int(last)+1, func(i int) bool {
		var micros int64
		if err == nil {
			err = j.row(ctx, `SELECT time FROM entries WHERE number = $1`, i).Scan(&micros)
		}
		return micros >= t.UnixMicro()
	})
	return int64(n), err
}

// single returns an entry that belongs to no case as the story that it is by itself.
func (j *Journal) single(ctx context.Context, number int64) (Case, error) {
	rows, err := j.read.QueryContext(ctx, selectEntry+` WHERE number = $1`, number)
	if err != nil {
		return Case{}, fmt.Errorf("reading entry %d: %w", number, err)
	}
	es, err := scanEntries(rows)
	if err == nil && len(es) != 1 {
		err = ErrDamaged
	}
	if err != nil {
		return Case{}, fmt.Errorf("reading entry %d: %w", number, err)
	}
	return Case{Entries: es}, nil
}

// SendingCheckpoint records that the post of a checkpoint is about to be sent. After an
// error it may not be.
func (j *Journal) SendingCheckpoint(ctx context.Context, p Post) error {
	_, err := writeOrUndo(ctx, j, func(t *txn) (Post, error) {
		n, err := t.change(`UPDATE posts SET state = 'sending', retry = 0, cause = '' WHERE first = $1 AND state = 'waiting'`, p.First)
		if err == nil && n == 0 {
			err = ErrSettled
		}
		return p, err
	}, func(t *txn, p Post) error {
		return t.unsent(p, PostWaiting, t.now, "the journal was too slow to send it")
	})
	return err
}
