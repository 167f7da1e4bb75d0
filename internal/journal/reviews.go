package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrOwnCase means that somebody wanted to review a case in which they had a part.
var ErrOwnCase = errors.New("nobody reviews their own case")

// Verdict is what a reviewer says about a case.
type Verdict struct {
	Delivery string // Slack's delivery of it: a second one changes nothing
	Case     int64
	By       Person
	Contests bool // the reviewer objects
	Note     string
}

// Review records a verdict on a case that is over. It returns [ErrSettled] if the case is
// still open and [ErrOwnCase] if the reviewer asked for it or confirmed it.
func (j *Journal) Review(ctx context.Context, v Verdict) (Case, error) {
	type answer struct {
		c       Case
		verdict error
	}
	a, err := write(ctx, j, func(t *txn) (a answer, err error) {
		if a.c, err = t.load(v.Case); err != nil {
			return a, err
		}
		switch _, at, err := t.delivered(v.Delivery); {
		case err != nil || !at.IsZero():
			return a, err
		case a.c.State.Open():
			a.verdict = ErrSettled
		case v.By.ID == a.c.Requester || v.By.ID == a.c.ConfirmedBy:
			a.verdict = ErrOwnCase
		}
		if a.verdict != nil {
			return a, nil
		}
		kind := Reviewed
		if v.Contests {
			kind = Contested
		}
		if err := t.record(&a.c, Draft{kind, Facts{By: v.By.ID, Name: v.By.Name, Team: v.By.Team, Note: v.Note}}); err != nil {
			return a, err
		}
		return a, t.deliver(v.Delivery, v.Case)
	})
	return a.c, cmp.Or(err, a.verdict)
}

// Search picks cases for reviewers, newest first.
type Search struct {
	Room   string    // byte for byte, or
	Person string    // who asked
	Since  time.Time // requested since then
	Before int64     // case number to begin below; 0: the newest
	Limit  int
}

// Find returns the cases that s picks, and whether there are older ones.
func (j *Journal) Find(ctx context.Context, s Search) (cases []Case, more bool, err error) {
	query, arg := `SELECT number FROM cases WHERE number > $1 AND number < $2 ORDER BY number DESC LIMIT $3`, any(0)
	switch {
	case s.Room != "":
		query, arg = `SELECT number FROM cases WHERE room = $1 AND number < $2 ORDER BY number DESC LIMIT $3`, s.Room
	case s.Person != "":
		query, arg = `SELECT number FROM cases WHERE requester = $1 AND number < $2 ORDER BY number DESC LIMIT $3`, s.Person
	}
	rows, err := j.read.QueryContext(ctx, query, arg, cmp.Or(s.Before, math.MaxInt64), s.Limit+1)
	if err != nil {
		return nil, false, fmt.Errorf("looking for cases: %w", err)
	}
	numbers, err := scanNumbers(rows)
	if err != nil {
		return nil, false, fmt.Errorf("looking for cases: %w", err)
	}
	for _, n := range numbers {
		c, err := j.Case(ctx, n)
		if err != nil {
			return nil, false, err
		}
		if c.RequestedAt.Before(s.Since) {
			return cases, false, nil
		}
		if len(cases) == s.Limit {
			return cases, true, nil
		}
		cases = append(cases, c)
	}
	return cases, false, nil
}

// Reader opens the same journal for an auditor.
func (j *Journal) Reader(ctx context.Context) (*Reader, error) { return OpenReader(ctx, j.path) }
