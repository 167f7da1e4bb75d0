package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"
)

// Reader reads a journal without its lock and without changing anything, also while a bot
// is writing to it: all that it returns is of the moment at which it was opened. It does
// not believe what it reads: auditors open damaged journals too.
type Reader struct {
	db    *sql.DB
	conn  *sql.Conn
	path  string
	quiet fs.FileInfo // of the file, if nobody had it open
}

// Head is what the head row says about the end of the journal.
type Head struct {
	Journal string
	Entry   int64
	Hash    string
	Time    time.Time
	Cases   int64 // number of the last case
}

// OpenReader opens the journal at path. It never makes a file.
func OpenReader(ctx context.Context, path string) (*Reader, error) {
	r := &Reader{path: path}
	if err := r.open(ctx); err != nil {
		r.Close()
		return nil, fmt.Errorf("opening journal %s for reading: %w", path, err)
	}
	return r, nil
}

func (r *Reader) open(ctx context.Context) error {
	info, err := os.Stat(r.path)
	if err != nil {
		return errors.Unwrap(err) // the path is in the message already
	}
	if _, err := os.Stat(r.path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		r.quiet = info
	}
	if r.db, err = auditSQLite(r.path, r.quiet != nil); err != nil {
		return err
	}
	if r.conn, err = r.db.Conn(ctx); err != nil {
		return damagedIf(err)
	}
	if _, err = r.conn.ExecContext(ctx, beginRead); err != nil {
		return damagedIf(err)
	}
	var tables int // the first query is what fixes the moment
	err = r.conn.QueryRowContext(ctx, hasTables).Scan(&tables)
	if err == nil && tables < 4 {
		err = errors.New("this is not a journal of zegoclose")
	}
	return damagedIf(err)
}

func damagedIf(err error) error {
	if err != nil && corrupt(err) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// Disturbed reports whether a bot has begun to write to a journal that nobody had open
// when the reader was opened: what was read then is not to be relied on.
func (r *Reader) Disturbed() bool {
	if r.quiet == nil {
		return false
	}
	_, err := os.Stat(r.path + "-wal")
	info, statErr := os.Stat(r.path)
	return err == nil || statErr != nil || info.Size() != r.quiet.Size() || !info.ModTime().Equal(r.quiet.ModTime())
}

// Close lets go of the file.
func (r *Reader) Close() error {
	var err error
	if r.conn != nil {
		r.conn.ExecContext(context.Background(), `ROLLBACK`)
		err = r.conn.Close()
	}
	if r.db != nil {
		err = errors.Join(err, r.db.Close())
	}
	return err
}

// Head returns the head row.
func (r *Reader) Head(ctx context.Context) (Head, error) {
	var h Head
	var micros int64
	err := r.conn.QueryRowContext(ctx, `SELECT journal, entry, hash, time, last_case FROM head WHERE one = 1`).
		Scan(&h.Journal, &h.Entry, &h.Hash, &micros, &h.Cases)
	h.Time = time.UnixMicro(micros).UTC()
	if err != nil {
		return Head{}, fmt.Errorf("%w: reading the head: %w", ErrDamaged, err)
	}
	return h, nil
}

// Entries returns every entry as it is stored, in the order of the numbers. The facts are
// not decoded (see [Entry.Decode]). A row that cannot be read ends the sequence.
//
// Each row comes as one text, which is several times faster than column by column and
// holds the canonical form as it is hashed.
func (r *Reader) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return stream(ctx, r, func(rows *sql.Rows) (Entry, error) {
		var text string
		if err := rows.Scan(&text); err != nil {
			return Entry{}, err
		}
		return parseEntry(text)
	}, `SELECT concat_ws('
', hash, number, case_, kind, time, prev, body) FROM entries ORDER BY number`)
}

// parseEntry takes apart the lines of an entry: its hash, then its canonical form without
// the first line.
func parseEntry(text string) (e Entry, err error) {
	var number, caseNumber, kind, micros string
	rest := text
	for _, field := range []*string{&e.Hash, &number, &caseNumber, &kind, &micros, &e.Prev} {
		var ok bool
		if *field, rest, ok = strings.Cut(rest, "\n"); !ok {
			return e, errors.New("it does not have its seven fields")
		}
	}
	e.Kind, e.Body = Kind(kind), rest
	var us int64
	for _, n := range []struct {
		to   *int64
		text string
	}{{&e.Number, number}, {&e.Case, caseNumber}, {&us, micros}} {
		if *n.to, err = strconv.ParseInt(n.text, 10, 64); err != nil {
			return e, fmt.Errorf("%q is not a number", n.text)
		}
	}
	e.Time = time.UnixMicro(us).UTC()
	return e, nil
}

// Decode fills in the facts from the body.
func (e *Entry) Decode() (err error) {
	e.Facts, err = decode(e.Body)
	return err
}

// DecodeForCourse fills in those facts that [Course.Step] looks at.
func (e *Entry) DecodeForCourse() error {
	if f, ok := quickFacts(e.Body); ok {
		e.Facts = f
		return nil
	}
	return e.Decode()
}

// CaseRow is the row of a case as it is stored.
type CaseRow struct {
	Number                                             int64
	State                                              State
	Room, Requester, Channel, Token, CardTS            string
	First, Last, Ended, Again, Told, Posted, Due, Turn int64
}

// CaseRows returns the rows of all cases by number.
func (r *Reader) CaseRows(ctx context.Context) iter.Seq2[CaseRow, error] {
	return stream(ctx, r, func(rows *sql.Rows) (c CaseRow, err error) {
		err = rows.Scan(&c.Number, &c.State, &c.Room, &c.Requester, &c.Channel, &c.Token, &c.CardTS,
			&c.First, &c.Last, &c.Ended, &c.Again, &c.Told, &c.Posted, &c.Due, &c.Turn)
		return c, err
	}, `SELECT number, state, room, requester, channel, token, card_ts, first, last, ended, again, told, posted, due, turn
		FROM cases ORDER BY number`)
}

// CaseRow returns the row of one case.
func (r *Reader) CaseRow(ctx context.Context, number int64) (CaseRow, error) {
	c := CaseRow{Number: number}
	err := r.conn.QueryRowContext(ctx, `SELECT state, channel, card_ts, last, told, posted FROM cases WHERE number = $1`, number).
		Scan(&c.State, &c.Channel, &c.CardTS, &c.Last, &c.Told, &c.Posted)
	if err != nil {
		return c, fmt.Errorf("reading the row of case #%d: %w", number, err)
	}
	return c, nil
}

// Posts returns the rows of all posts in the order of what they show.
func (r *Reader) Posts(ctx context.Context) iter.Seq2[Post, error] {
	return stream(ctx, r, func(rows *sql.Rows) (Post, error) { return scanPost(rows) }, selectPost+` ORDER BY first`)
}

// PostsOf returns the posts of one case.
func (r *Reader) PostsOf(ctx context.Context, number int64) iter.Seq2[Post, error] {
	return stream(ctx, r, func(rows *sql.Rows) (Post, error) { return scanPost(rows) }, selectPost+` WHERE case_ = $1 ORDER BY first`, number)
}

// Case returns one case with its whole story, or ErrNoCase. Unlike [Journal.Case] it does
// not mind if the row says otherwise than the entries.
func (r *Reader) Case(ctx context.Context, number int64) (Case, error) {
	for c, err := range r.cases(ctx, `WHERE c.number = $1`, number) {
		return c, err
	}
	return Case{}, ErrNoCase
}

// Single returns an entry that belongs to no case as the story that it is by itself.
func (r *Reader) Single(ctx context.Context, number int64) (Case, error) {
	for e, err := range stream(ctx, r, func(rows *sql.Rows) (Entry, error) { return scanEntry(rows) }, selectEntry+` WHERE number = $1`, number) {
		return Case{Entries: []Entry{e}}, err
	}
	return Case{}, fmt.Errorf("%w: there is no entry %d", ErrDamaged, number)
}

// Cases returns the cases for which a filter holds, by number, one at a time. The filter
// may name a room and, as the ids of a range, first and last case; zero values do not filter.
func (r *Reader) Cases(ctx context.Context, f Filter) iter.Seq2[Case, error] {
	where, args := `WHERE c.number >= $1`, []any{f.From}
	if f.To > 0 {
		args = append(args, f.To)
		where += fmt.Sprintf(` AND c.number <= $%d`, len(args))
	}
	if f.Room != "" {
		args = append(args, f.Room)
		where += fmt.Sprintf(` AND c.room = $%d`, len(args))
	}
	return r.cases(ctx, where, args...)
}

// Filter picks cases by what their rows hold.
type Filter struct {
	From, To int64 // case numbers, both included; To 0: to the last
	Room     string
}

func (r *Reader) cases(ctx context.Context, where string, args ...any) iter.Seq2[Case, error] {
	type row struct {
		Case  Case // of the row: token, ts, again
		Entry Entry
	}
	rows := stream(ctx, r, func(rows *sql.Rows) (w row, err error) {
		w.Entry, err = scanEntry(rows, &w.Case.Number, &w.Case.Token, &w.Case.CardTS, &w.Case.AgainIs)
		return w, err
	}, `SELECT c.number, c.token, c.card_ts, c.again, e.number, e.case_, e.kind, e.time, e.body, e.prev, e.hash
		FROM cases c CROSS JOIN entries e ON e.case_ = c.number `+where+` ORDER BY c.number, e.number`, args...)
	return func(yield func(Case, error) bool) {
		var c Case
		for w, err := range rows {
			if err != nil {
				yield(c, err)
				return
			}
			if w.Case.Number != c.Number {
				if c.Number != 0 && !yield(c, nil) {
					return
				}
				c = w.Case
			}
			if err := c.apply(w.Entry); err != nil {
				yield(c, fmt.Errorf("%w: case #%d, entry %d: %w", ErrDamaged, c.Number, w.Entry.Number, err))
				return
			}
		}
		if c.Number != 0 {
			yield(c, nil)
		}
	}
}

// stream runs a query and yields its rows one by one.
func stream[T any](ctx context.Context, r *Reader, scan func(*sql.Rows) (T, error), query string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		rows, err := r.conn.QueryContext(ctx, query, args...)
		if err != nil {
			yield(none, fmt.Errorf("reading the journal: %w", damagedIf(err)))
			return
		}
		defer rows.Close()
		for rows.Next() {
			row, err := scan(rows)
			if err != nil {
				yield(row, fmt.Errorf("%w: %w", ErrDamaged, err))
				return
			}
			if !yield(row, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(none, fmt.Errorf("reading the journal: %w", damagedIf(err)))
		}
	}
}

// At returns the case as it was when the entry numbered last was its newest.
func (c Case) At(last int64) Case {
	if c.Number == 0 {
		return c // a checkpoint, which is no case
	}
	then := Case{Token: c.Token, CardTS: c.CardTS}
	for _, e := range c.Entries {
		if e.Number > last {
			break
		}
		if then.apply(e) != nil {
			break
		}
	}
	return then
}
