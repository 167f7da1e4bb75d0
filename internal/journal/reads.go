package journal

import (
	"context"
	"database/sql"
)

// rows runs a query on what is committed by now.
func (j *Journal) rows(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := j.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// row runs such a query for one row. Scan returns sql.ErrNoRows as it is.
func (j *Journal) row(ctx context.Context, query string, args ...any) scanner {
	s, err := j.prepared(ctx, query)
	if err != nil {
		return failedRow{err}
	}
	return s.QueryRowContext(ctx, args...)
}

// prepared returns the statement of a query, which it prepares once: that takes longer than
// most of them run.
func (j *Journal) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := j.stmts.Load(query); ok {
		return s.(*sql.Stmt), nil
	}
	s, err := j.read.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if earlier, ok := j.stmts.LoadOrStore(query, s); ok {
		s.Close()
		return earlier.(*sql.Stmt), nil
	}
	return s, nil
}
