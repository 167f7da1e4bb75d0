package journal

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// txn is what one write sees: the transaction, and the head as of now.
type txn struct {
	w     *writer
	ctx   context.Context
	now   time.Time // the entry time of everything written here
	entry int64
	hash  string
	cases int64
	works [kindsOfWork]bool // kinds of work that this group made
	added []Entry           // if somebody wants to know
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
	if t.w.j.committed != nil {
		t.added = append(t.added, e)
	}
	return e, nil
}
