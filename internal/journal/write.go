package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	maxQueued  = 4096             // writes that may wait; more are refused
	maxGroup   = 256              // writes in one commit
	probeEvery = time.Second      // while failing: how often to try again
	idleProbe  = 15 * time.Second // while nothing is written: how often to find out whether it could be
)

// writeOp is one write on its way to the writer.
type writeOp struct {
	do    func(*txn) error
	taken atomic.Bool // by the writer, or by a caller who gave up before that
	done  chan error  // buffered; receives exactly once if the writer took it
}

// txn is what one write sees: the transaction, and the head as of now.
type txn struct {
	w     *writer
	ctx   context.Context
	now   time.Time // the entry time of everything written here
	entry int64
	hash  string
	cases int64
	works map[Work]bool // kinds of work that this group made
}

// write runs do in a transaction of its own or a shared one and waits until it is on disk.
// An error of do's own is returned as it is, and nothing of it was recorded.
func (j *Journal) write(ctx context.Context, do func(*txn) error) error {
	op := &writeOp{do: do, done: make(chan error, 1)}
	select {
	case <-j.stop:
		return fmt.Errorf("%w: the journal is closed", ErrNotRecorded)
	default:
	}
	select {
	case j.writes <- op:
	default:
		return fmt.Errorf("%w: too many writes are waiting", ErrNotRecorded)
	}
	select {
	case err := <-op.done:
		return err
	case <-ctx.Done():
	case <-j.stopped:
	}
	if op.taken.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: its turn did not come in time", ErrNotRecorded)
	}
	select {
	case err := <-op.done: // it was finished just now
		return err
	default:
		return fmt.Errorf("%w: the disk did not answer in time", ErrUnsure)
	}
}

// writer owns the writing connection.
type writer struct {
	j     *Journal
	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // prepared once each
}

func (w *writer) run() {
	defer close(w.j.stopped)
	defer w.db.Close()
	defer w.conn.Close()
	group := make([]*writeOp, 0, maxGroup)
	probe := time.NewTimer(idleProbe)
	defer probe.Stop()
	for {
		group = group[:0]
		select {
		case op := <-w.j.writes:
			group = w.collect(append(group, op))
		case <-probe.C:
		case <-w.j.stop:
			if group = w.collect(group); len(group) == 0 {
				return
			}
		}
		w.commit(group)
		if w.j.Failing() != nil {
			probe.Reset(probeEvery)
		} else {
			probe.Reset(idleProbe)
		}
	}
}

// collect adds the writes that are waiting by now.
func (w *writer) collect(group []*writeOp) []*writeOp {
	for len(group) < maxGroup {
		select {
		case op := <-w.j.writes:
			group = append(group, op)
		default:
			return group
		}
	}
	return group
}

// commit runs a group of writes in one transaction and tells each how it ended. With an
// empty group it only finds out whether the journal can be written to.
func (w *writer) commit(group []*writeOp) {
	ctx := context.Background()
	taken := group[:0]
	for _, op := range group {
		if op.taken.CompareAndSwap(false, true) {
			taken = append(taken, op)
		}
	}
	if len(taken) == 0 && len(group) > 0 {
		return // all of them gave up waiting
	}
	results := make([]error, len(taken))
	works, err := w.transact(ctx, taken, results)
	w.note(err)
	for i, op := range taken {
		if results[i] == nil {
			results[i] = err
		}
		op.done <- results[i]
	}
	if err == nil {
		w.j.signal(works)
	}
}

// note remembers whether the journal can be written to, and logs each change of that once.
func (w *writer) note(err error) {
	before := w.j.Failing()
	if err != nil {
		w.j.failing.Store(&err)
		if before == nil {
			w.j.log.Error("the journal cannot be written: nothing is done until it can", "err", err)
		}
		return
	}
	w.j.failing.Store(nil)
	if before != nil {
		w.j.log.Info("the journal can be written again")
	}
}

func (w *writer) transact(ctx context.Context, group []*writeOp, results []error) (map[Work]bool, error) {
	if _, err := w.conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotRecorded, err)
	}
	t := &txn{w: w, ctx: ctx, works: make(map[Work]bool)}
	if err := w.group(t, group, results); err != nil {
		w.conn.ExecContext(ctx, `ROLLBACK`)
		return nil, fmt.Errorf("%w: %w", ErrNotRecorded, err)
	}
	if _, err := w.conn.ExecContext(ctx, `COMMIT`); err != nil {
		w.conn.ExecContext(ctx, `ROLLBACK`) // a failed commit may leave the transaction open
		if rolledBack(err) {
			return nil, fmt.Errorf("%w: %w", ErrNotRecorded, err)
		}
		return nil, fmt.Errorf("%w: %w", ErrUnsure, err)
	}
	return t.works, nil
}

// group runs each write within a savepoint. Its own error means the whole transaction is lost.
func (w *writer) group(t *txn, group []*writeOp, results []error) error {
	var last int64
	// The head row first: on PostgreSQL this update is what makes writers take turns.
	if err := t.row(`UPDATE head SET one = 1 WHERE one = 1 RETURNING entry, hash, time, last_case`).
		Scan(&t.entry, &t.hash, &last, &t.cases); err != nil {
		return fmt.Errorf("reading the head: %w", err)
	}
	t.now = w.j.now().UTC().Truncate(time.Microsecond)
	if before := time.UnixMicro(last).UTC(); t.now.Before(before) {
		t.now = before // the clock was set back; the record's time is not
	}
	begin := t.entry
	for i, op := range group {
		saved := *t
		if err := t.exec(`SAVEPOINT one`); err != nil {
			return err
		}
		if err := op.do(t); err != nil {
			if broken(err) {
				return err
			}
			results[i] = err
			if err := t.exec(`ROLLBACK TO one`); err != nil {
				return err
			}
			t.entry, t.hash, t.cases = saved.entry, saved.hash, saved.cases
		}
		if err := t.exec(`RELEASE one`); err != nil {
			return err
		}
	}
	if t.entry == begin {
		return nil
	}
	return t.exec(`UPDATE head SET entry = $1, hash = $2, time = $3, last_case = $4 WHERE one = 1`,
		t.entry, t.hash, t.now.UnixMicro(), t.cases)
}

// sqlError marks an error of the database itself, as opposed to a write's own refusal.
type sqlError struct{ error }

func (e sqlError) Unwrap() error { return e.error }

// broken reports whether err spoils the whole transaction, not one write alone.
func broken(err error) bool {
	_, ok := errors.AsType[sqlError](err)
	return ok && !violatesConstraint(err)
}

func (t *txn) stmt(query string) (*sql.Stmt, error) {
	if s, ok := t.w.stmts[query]; ok {
		return s, nil
	}
	s, err := t.w.conn.PrepareContext(t.ctx, query)
	if err != nil {
		return nil, sqlError{err}
	}
	t.w.stmts[query] = s
	return s, nil
}

func (t *txn) exec(query string, args ...any) error {
	_, err := t.change(query, args...)
	return err
}

// change runs query and returns how many rows it changed: the database as referee.
func (t *txn) change(query string, args ...any) (int64, error) {
	s, err := t.stmt(query)
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, sqlError{err}
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, sqlError{err}
	}
	return n, nil
}

// row runs a query for one row. Scan returns sql.ErrNoRows as it is.
func (t *txn) row(query string, args ...any) scanner {
	s, err := t.stmt(query)
	if err != nil {
		return failedRow{err}
	}
	return sqlRow{s.QueryRowContext(t.ctx, args...)}
}

func (t *txn) rows(query string, args ...any) (*sql.Rows, error) {
	s, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(t.ctx, args...)
	if err != nil {
		return nil, sqlError{err}
	}
	return rows, nil
}

type scanner interface{ Scan(dest ...any) error }

type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }

type sqlRow struct{ *sql.Row }

func (r sqlRow) Scan(dest ...any) error {
	err := r.Row.Scan(dest...)
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return sqlError{err}
}

const insertEntry = `INSERT INTO entries (number, case_, kind, time, body, prev, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)`

// add appends an entry to the chain.
func (t *txn) add(caseNumber int64, kind Kind, f Facts) (Entry, error) {
	body, err := encode(f)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Number: t.entry + 1, Case: caseNumber, Kind: kind, Time: t.now, Facts: f, Body: body, Prev: t.hash}
	e.Hash = e.sum()
	if err := t.exec(insertEntry, e.Number, e.Case, string(e.Kind), e.Time.UnixMicro(), e.Body, e.Prev, e.Hash); err != nil {
		return Entry{}, err
	}
	t.entry, t.hash = e.Number, e.Hash
	return e, nil
}
