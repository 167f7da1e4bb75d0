package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	selectEntry = `SELECT number, case_, kind, time, body, prev, hash FROM entries`
	selectCase  = `SELECT state, token, card_ts, again FROM cases WHERE number = $1`
	selectStory = selectEntry + ` WHERE case_ = $1 ORDER BY number`
)

// Case returns one case with its whole story, or ErrNoCase.
func (j *Journal) Case(ctx context.Context, number int64) (Case, error) {
	var r caseRow
	err := j.read.QueryRowContext(ctx, selectCase, number).Scan(&r.state, &r.token, &r.cardTS, &r.again)
	if err != nil {
		return Case{}, caseError(number, err)
	}
	rows, err := j.read.QueryContext(ctx, selectStory, number)
	if err != nil {
		return Case{}, caseError(number, err)
	}
	return r.tell(number, rows)
}

// CaseByToken returns the case whose buttons carry token, or ErrNoCase.
func (j *Journal) CaseByToken(ctx context.Context, token string) (Case, error) {
	var number int64
	if err := j.read.QueryRowContext(ctx, `SELECT number FROM cases WHERE token = $1`, token).Scan(&number); err != nil {
		return Case{}, caseError(0, err)
	}
	return j.Case(ctx, number)
}

// load is Case within a write.
func (t *txn) load(number int64) (Case, error) {
	var r caseRow
	if err := t.row(selectCase, number).Scan(&r.state, &r.token, &r.cardTS, &r.again); err != nil {
		return Case{}, caseError(number, err)
	}
	rows, err := t.rows(selectStory, number)
	if err != nil {
		return Case{}, caseError(number, err)
	}
	return r.tell(number, rows)
}

func caseError(number int64, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNoCase
	}
	return fmt.Errorf("reading case #%d: %w", number, err)
}

// caseRow is what a case's row knows beyond its entries.
type caseRow struct {
	state         State
	token, cardTS string
	again         int64
}

// tell makes the case from its entries and refuses a row that says otherwise.
func (r caseRow) tell(number int64, rows *sql.Rows) (Case, error) {
	es, err := scanEntries(rows)
	if err != nil {
		return Case{}, caseError(number, err)
	}
	c := Case{Token: r.token, CardTS: r.cardTS, AgainIs: r.again}
	for _, e := range es {
		if err := c.apply(e); err != nil {
			return Case{}, fmt.Errorf("%w: case #%d, entry %d: %w", ErrDamaged, number, e.Number, err)
		}
	}
	if c.State != r.state {
		return Case{}, fmt.Errorf("%w: case #%d is kept as %q but its entries say %q", ErrDamaged, number, r.state, c.State)
	}
	return c, nil
}

func scanEntries(rows *sql.Rows) ([]Entry, error) {
	defer rows.Close()
	var es []Entry
	for rows.Next() {
		var e Entry
		var micros int64
		if err := rows.Scan(&e.Number, &e.Case, &e.Kind, &micros, &e.Body, &e.Prev, &e.Hash); err != nil {
			return nil, err
		}
		e.Time = time.UnixMicro(micros).UTC()
		var err error
		if e.Facts, err = decode(e.Body); err != nil {
			return nil, fmt.Errorf("entry %d: %w", e.Number, err)
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
			return nil, err
		}
		ns = append(ns, n)
	}
	return ns, rows.Err()
}

// Draft is an entry to be.
type Draft struct {
	Kind  Kind
	Facts Facts
}

// Record appends drafts to a case if its state still is from, and returns the case after
// it. If somebody else was first it returns the case as it is and ErrSettled.
func (j *Journal) Record(ctx context.Context, number int64, from State, drafts ...Draft) (c Case, err error) {
	err = j.write(ctx, func(t *txn) error {
		c, err = t.load(number)
		if err != nil {
			return err
		}
		if c.State != from {
			return ErrSettled
		}
		return t.record(&c, drafts...)
	})
	return c, err
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

// move brings the case's row from state before to where e has led it.
func (t *txn) move(c *Case, before State, e Entry) error {
	st := steps[e.Kind]
	tells := st.tells || e.Kind == Answered && e.Facts.Effect == string(StateUnknown)
	n, err := t.change(`UPDATE cases SET state = $1, last = $2,
			due        = CASE WHEN $3 > 0 THEN $3 WHEN $1 IN ('pending', 'confirmed') THEN due ELSE 0 END,
			not_before = CASE WHEN $4 > 0 THEN $4 ELSE not_before END,
			turn       = CASE WHEN $5 THEN $2 ELSE turn END,
			ended      = CASE WHEN ended = 0 AND $6 THEN $2 ELSE ended END,
			told       = CASE WHEN $7 THEN $2 ELSE told END,
			drawn      = CASE WHEN $8 THEN $2 ELSE drawn END
		WHERE number = $9 AND state = $10`,
		string(c.State), e.Number, int64(e.Facts.Until), int64(e.Facts.Turn), e.Kind == Confirmed,
		!c.State.Open(), tells, st.draws, c.Number, string(before))
	if err != nil {
		return err
	}
	if n != 1 {
		return ErrSettled
	}
	t.works[Posts] = t.works[Posts] || tells
	t.works[Closings] = t.works[Closings] || c.State == StateConfirmed || before == StateClosing
	t.works[Deadlines] = t.works[Deadlines] || e.Facts.Until > 0
	if st.draws {
		return t.redraw(c.Number)
	}
	return nil
}
