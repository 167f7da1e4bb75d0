package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// queued is the condition of the index cases_queue.
const queued = `state IN ('confirmed', 'closing')`

// Claim takes the oldest confirmed case whose time has come and records that its CloseRoom
// is about to leave. The claim is on disk when it returns; only then may the call be made.
//
// A case that must not be attempted is ended instead, in the same write: its close-by time
// has passed; or another case of the same room, closed after this one was requested, has
// done its work already; or such a case ended unknown, and calling again could close the
// room a second time. While another case of the same room is being closed, this one waits.
//
// It returns false, and when to ask again (the zero time: when something changes), if
// there is nothing to attempt now. After an error no call may be made; a claim that gets
// onto the disk after its caller was told [ErrUnsure] is given back by itself.
func (j *Journal) Claim(ctx context.Context) (c Case, ok bool, again time.Time, err error) {
	for {
		var number, notBefore int64
		err := j.row(ctx, `SELECT number, not_before FROM cases c WHERE `+queued+` AND state = 'confirmed'
				AND NOT EXISTS (SELECT 1 FROM cases o WHERE o.room = c.room AND o.ended = 0 AND o.state = 'closing')
			ORDER BY CASE WHEN not_before <= $1 THEN 0 ELSE not_before END, turn LIMIT 1`,
			j.now().UnixMicro()).Scan(&number, &notBefore)
		if errors.Is(err, sql.ErrNoRows) {
			return Case{}, false, time.Time{}, nil
		}
		if err != nil {
			return Case{}, false, time.Time{}, fmt.Errorf("looking for a case to close: %w", err)
		}
		if at := time.UnixMicro(notBefore); at.After(j.now()) {
			return Case{}, false, at, nil
		}
		c, err := writeOrUndo(ctx, j, func(t *txn) (Case, error) { return t.claim(number) }, (*txn).unclaim)
		if err != nil && !errors.Is(err, ErrSettled) {
			return Case{}, false, time.Time{}, fmt.Errorf("claiming case #%d: %w", number, err)
		}
		if err == nil && c.State == StateClosing {
			return c, true, time.Time{}, nil
		}
	}
}

// claim leads a confirmed case to closing, or ends it.
func (t *txn) claim(number int64) (Case, error) {
	c, err := t.load(number)
	if err != nil {
		return Case{}, err
	}
	if c.State != StateConfirmed {
		return c, ErrSettled
	}
	if !t.now.Before(c.CloseBy) {
		err := t.expire(&c)
		return c, err
	}
	other, state, err := t.rival(c)
	if err != nil {
		return Case{}, err
	}
	d := Draft{Attempted, Facts{Call: c.Calls + 1}}
	switch state {
	case StateClosing:
		return c, ErrSettled
	case StateClosed:
		d = Draft{Ended, Facts{Outcome: StateAbsent, Why: "already_closed", About: other,
			Detail: fmt.Sprintf("already closed by #%d", other)}}
	case StateUnknown:
		d = Draft{Ended, Facts{Outcome: StateFailed, Why: "other_unknown", About: other,
			Detail: fmt.Sprintf("not attempted: #%d may have closed this room, ZEGO's answer to it was lost", other)}}
	}
	err = t.record(&c, d)
	return c, err
}

// unclaim gives back a claim whose caller never heard of it, and so made no call.
func (t *txn) unclaim(claimed Case) error {
	c, err := t.load(claimed.Number)
	if err != nil || c.State != StateClosing || c.Calls != claimed.Calls {
		return err
	}
	return t.record(&c, Draft{Requeued, Facts{Why: "claim_late", Detail: "the claim was not taken up, and no call was made; no call was made"}})
}

// rival finds another case of the same room, bytes equal, that stands in the way of c: one
// that is being closed, or one that came to closed or unknown after c was requested.
func (t *txn) rival(c Case) (number int64, state State, err error) {
	err = t.row(`SELECT number, state FROM cases WHERE room = $1 AND number <> $2
			AND (ended = 0 AND state = 'closing' OR ended > $3 AND state IN ('closed', 'unknown'))
		ORDER BY CASE state WHEN 'closing' THEN 0 WHEN 'closed' THEN 1 ELSE 2 END, ended DESC LIMIT 1`,
		c.Room, c.Number, c.Entries[0].Number).Scan(&number, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, "", nil
	}
	return number, state, err
}

// Unfinished lists the cases that are being closed. The process that has just got the lock
// finds here what a dead one left: calls that may or may not have been made.
func (j *Journal) Unfinished(ctx context.Context) ([]Case, error) {
	rows, err := j.rows(ctx, `SELECT number FROM cases WHERE `+queued+` AND state = 'closing' ORDER BY turn`)
	if err != nil {
		return nil, fmt.Errorf("looking for unfinished closings: %w", err)
	}
	numbers, err := scanNumbers(rows)
	if err != nil {
		return nil, fmt.Errorf("looking for unfinished closings: %w", err)
	}
	var cases []Case
	for _, n := range numbers {
		c, err := j.Case(ctx, n)
		if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// Ahead returns how many confirmed cases come before c in the queue, and how many are
// being closed right now.
func (j *Journal) Ahead(ctx context.Context, c Case) (int, error) {
	var n int
	err := j.row(ctx, `SELECT count(*) FROM cases WHERE `+queued+` AND number <> $1
		AND (state = 'closing' OR turn < (SELECT turn FROM cases WHERE number = $1))`, c.Number).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting the queue before #%d: %w", c.Number, err)
	}
	return n, nil
}
