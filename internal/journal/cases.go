package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	selectEntry = `SELECT number, case_, kind, time, body, prev, hash FROM entries`
	// One statement, so that the row and its entries are of the same moment.
	selectCase = `SELECT c.state, c.token, c.card_ts, c.again, e.number, e.case_, e.kind, e.time, e.body, e.prev, e.hash
		FROM cases c JOIN entries e ON e.case_ = c.number WHERE c.number = $1 ORDER BY e.number`
)

// Case returns one case with its whole story, or ErrNoCase.
func (j *Journal) Case(ctx context.Context, number int64) (Case, error) {
	rows, err := j.rows(ctx, selectCase, number)
	if err != nil {
		return Case{}, caseError(number, err)
	}
	return tell(number, rows)
}

// CaseByToken returns the case whose buttons carry token, or ErrNoCase.
func (j *Journal) CaseByToken(ctx context.Context, token string) (Case, error) {
	var number int64
	err := j.row(ctx, `SELECT number FROM cases WHERE token = $1`, token).Scan(&number)
	if errors.Is(err, sql.ErrNoRows) {
		return Case{}, ErrNoCase
	}
	if err != nil {
		return Case{}, fmt.Errorf("looking for the case of a button: %w", err)
	}
	return j.Case(ctx, number)
}

// load is Case within a write.
func (t *txn) load(number int64) (Case, error) {
	rows, err := t.rows(selectCase, number)
	if err != nil {
		return Case{}, caseError(number, err)
	}
	return tell(number, rows)
}

func caseError(number int64, err error) error {
	return fmt.Errorf("reading case #%d: %w", number, err)
}

// tell makes a case from its row and entries, and refuses a row that says otherwise than they.
func tell(number int64, rows *sql.Rows) (Case, error) {
	defer rows.Close()
	var c Case
	var kept State
	for rows.Next() {
		e, err := scanEntry(rows, &kept, &c.Token, &c.CardTS, &c.AgainIs)
		if err != nil {
			return Case{}, caseError(number, err)
		}
		if err := c.apply(e); err != nil {
			return Case{}, fmt.Errorf("%w: case #%d, entry %d: %w", ErrDamaged, number, e.Number, err)
		}
	}
	if err := rows.Err(); err != nil {
		return Case{}, caseError(number, sqlError{err})
	}
	if len(c.Entries) == 0 {
		return Case{}, ErrNoCase
	}
	if c.State != kept {
		return Case{}, fmt.Errorf("%w: case #%d is kept as %q but its entries say %q", ErrDamaged, number, kept, c.State)
	}
	return c, nil
}

// scanEntry reads an entry from the columns that follow those before it.
func scanEntry(rows *sql.Rows, before ...any) (e Entry, err error) {
	var micros int64
	if err := rows.Scan(append(before, &e.Number, &e.Case, &e.Kind, &micros, &e.Body, &e.Prev, &e.Hash)...); err != nil {
		return Entry{}, sqlError{err}
	}
	e.Time = time.UnixMicro(micros).UTC()
	if e.Facts, err = decode(e.Body); err != nil {
		return Entry{}, fmt.Errorf("%w: entry %d: %w", ErrDamaged, e.Number, err)
	}
	return e, nil
}

func scanEntries(rows *sql.Rows) ([]Entry, error) {
	defer rows.Close()
	var es []Entry
	for rows.Next() {
		e, err := scanEntry(rows)
		if err != nil {
			return nil, err
		}
		es = append(es, e)
	}
	return es, rows.Err()
}

func scanNumbers(rows *sql.Rows) ([]int64, error) {
	defer rows.Close()
	var ns []int64
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, sqlError{err}
		}
		ns = append(ns, n)
	}
	if err := rows.Err(); err != nil {
		return nil, sqlError{err}
	}
	return ns, nil
}

// Draft is an entry to be.
type Draft struct {
	Kind  Kind
	Facts Facts
}

// Record appends drafts to a case if its state still is from, and returns the case after
// it. If somebody else was first, or the drafts are about a call that has been answered or
// followed by another since, it returns the case as it is and ErrSettled.
func (j *Journal) Record(ctx context.Context, number int64, from State, drafts ...Draft) (Case, error) {
	return write(ctx, j, func(t *txn) (Case, error) {
		c, err := t.load(number)
		if err != nil {
			return Case{}, err
		}
		if c.State != from || slices.ContainsFunc(drafts, c.superseded) {
			return c, ErrSettled
		}
		err = t.record(&c, drafts...)
		return c, err
	})
}

// superseded reports whether a draft about one call comes too late: that call has been
// answered already, by an earlier try of the same write, or another call has left since.
func (c *Case) superseded(d Draft) bool {
	if d.Facts.Call == 0 {
		return false
	}
	answered := func(a Answer) bool { return a.Call == d.Facts.Call && !a.Late }
	return d.Facts.Call != c.Calls || d.Kind != Ended && !d.Facts.Late && slices.ContainsFunc(c.Answers, answered)
}

// record appends drafts to c and moves its row along. The row's own state is compared once
// more by the database.
func (t *txn) record(c *Case, drafts ...Draft) error {
	for _, d := range drafts {
		before := c.State
		e, err := t.add(c.Number, d.Kind, d.Facts)
		if err != nil {
			return err
		}
		if err := c.apply(e); err != nil {
			return err
		}
		if err := t.move(c, before, e); err != nil {
			return err
		}
	}
	return nil
}

// tells reports whether an entry calls for a post.
func tells(e Entry) bool {
	return steps[e.Kind].tells || e.Kind == Answered && e.Facts.Effect == string(StateUnknown)
}

// drawGrace is how long the card of an open case may lag: the next step is often there
// before, and Slack takes few edits. The card of a case that has ended is drawn at once.
const drawGrace = 250 * time.Millisecond

// move brings the case's row from state before to where e has led it.
func (t *txn) move(c *Case, before State, e Entry) error {
	st := steps[e.Kind]
	tells := tells(e)
	n, err := t.change(`UPDATE cases SET state = $1, last = $2, due = $3, not_before = $4,
			turn  = CASE WHEN $5 THEN $2 ELSE turn END,
			ended = CASE WHEN $6 THEN $2 ELSE ended END,
			told  = CASE WHEN $7 THEN $2 ELSE told END,
			drawn = CASE WHEN $8 THEN $2 ELSE drawn END
		WHERE number = $9 AND state = $10`,
		string(c.State), e.Number, int64(MicrosOf(c.due())), int64(MicrosOf(c.NotBefore)),
		e.Kind == Confirmed, e.Kind.ends(), tells, st.draws, c.Number, string(before))
	if err != nil {
		return err
	}
	if n != 1 {
		return ErrSettled
	}
	t.works[Posts] = t.works[Posts] || tells
	t.works[Closings] = t.works[Closings] || c.State == StateConfirmed || before == StateClosing
	t.works[Deadlines] = t.works[Deadlines] || !c.due().IsZero()
	if st.draws {
		at := t.now
		if c.State.Open() {
			at = at.Add(drawGrace)
		}
		return t.redraw(c.Number, at)
	}
	return nil
}
