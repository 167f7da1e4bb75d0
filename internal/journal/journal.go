// Package journal is the durable record: cases, the entries that tell their story, and
// the posts that show those entries in Slack.
//
// # What it promises
//
// A write that returned nil is on disk (fsync) and will be found after a crash. A write
// that returned [ErrUnsure] may have been made, or may still be. Any other error means that
// it was certainly not made: [ErrNotRecorded], or a refusal such as [ErrSettled] that is
// itself an answer from what is on disk.
//
// Entries are only ever inserted. They are numbered without a gap, their times never run
// backwards, and each bears the SHA-256 of its content and of the entry before it, so a
// change, a gap or another order shows. Entry 0 names the journal by a random id.
//
// The current state of a case is a table row that changes only in the transaction that
// inserts the entry saying why, and only if the database still holds the state that the
// caller believed (compare and set): of two people, two processes or two deliveries that
// want the same step, one wins.
//
// # How it works
//
// Every write goes through one goroutine and one head row. What arrives while a commit is
// under way is committed together in the next one, so a burst costs few fsyncs; each write
// has its own savepoint, so that one that fails leaves the others alone.
//
// Everything that waits to be done (cards to send, rooms to close, deadlines) is a query on
// this journal; [Journal.Watch] only tells when asking again is worth while. Posting,
// closing and expiring belong to the one process that holds the lock file.
//
// The SQL is what SQLite and PostgreSQL share; what differs is in sqlite.go.
package journal

import (
	"context"
	"crypto/rand"
	"database/sql"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

//go:embed schema.sql
var schema string

// format is the version of the schema and of the entries' canonical form.
const format = 1

// Errors that callers tell apart.
var (
	ErrNotRecorded = errors.New("certainly not recorded")
	ErrUnsure      = errors.New("not known whether it was recorded")
	ErrSettled     = errors.New("the case has moved on")
	ErrNoCase      = errors.New("no such case")
	ErrLocked      = errors.New("another process holds the journal")
	ErrRefused     = errors.New("this delivery has been refused before")
	ErrDamaged     = errors.New("the journal is damaged")
)

// Config says which journal to open and how.
type Config struct {
	Path     string           // the SQLite file; made if it does not exist
	LockWait time.Duration    // how long to wait for another process to let go of the journal
	Recheck  time.Duration    // how long after it left a post of a dead process may still appear in Slack
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: none

	// Committed, if not nil, is told how each transaction went, and what it recorded. It
	// runs in the writer, so it must be quick.
	Committed func(took time.Duration, entries []Entry, err error)
}

// Journal is an open journal that may be written to. It is safe for concurrent use.
type Journal struct {
	path  string
	id    string
	now   func() time.Time
	log   *slog.Logger
	read  *sql.DB
	stmts sync.Map // of read, by query

	writes  chan *writeOp
	close   func() error  // once
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed when the writer has returned
	commits atomic.Int64  // transactions made
	failing atomic.Pointer[error]
	damaged atomic.Pointer[error]     // set once and for all
	since   atomic.Pointer[time.Time] // when the transaction under way began

	committed func(took time.Duration, entries []Entry, err error)

	watchMu sync.Mutex
	watches [kindsOfWork][]chan struct{}
}

// Open takes the journal's lock, waiting for it up to c.LockWait, and opens the journal,
// making a new one if there is none. Posts whose sending a dead process left unfinished
// are marked as in doubt.
func Open(ctx context.Context, c Config) (*Journal, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	lock, err := lockFile(ctx, c.Path+".lock", c.LockWait, c.Log)
	if err != nil {
		return nil, err
	}
	j, err := open(ctx, c, lock)
	if err != nil {
		lock.unlock()
		return nil, err
	}
	return j, nil
}

func open(ctx context.Context, c Config, lock *fileLock) (*Journal, error) {
	if err := makeFile(c.Path); err != nil {
		return nil, err
	}
	write, err := openSQLite(c.Path)
	if err != nil {
		return nil, err
	}
	j := &Journal{
		path: c.Path,
		now:  c.Now, log: c.Log, committed: c.Committed,
		writes:  make(chan *writeOp, maxQueued),
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	conn, err := write.Conn(ctx)
	if err == nil {
		err = j.prepare(ctx, conn, c)
	}
	if err == nil {
		j.read, err = readSQLite(c.Path)
	}
	var disk files
	if err == nil {
		disk, err = lookAtFiles(c.Path)
	}
	if err != nil {
		write.Close()
		if corrupt(err) && !errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return nil, fmt.Errorf("opening journal %s: %w", c.Path, err)
	}
	var logKeeper sync.WaitGroup
	j.close = sync.OnceValue(func() error {
		close(j.stop)
		<-j.stopped
		logKeeper.Wait()
		// The writing connection last: it empties the write-ahead log into the file.
		err := errors.Join(j.read.Close(), conn.Close(), write.Close())
		lock.unlock()
		return err
	})
	w := &writer{j: j, conn: conn, disk: disk, stmts: make(map[string]*sql.Stmt)}
	go w.run()
	logKeeper.Go(func() { j.keepLogShort(j.stopped) })
	return j, nil
}

// prepare makes the tables of a new journal, or checks the end of an existing one.
func (j *Journal) prepare(ctx context.Context, conn *sql.Conn, c Config) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	isNew, err := isEmpty(ctx, tx)
	if err != nil {
		return err
	}
	if isNew {
		if err := j.create(ctx, tx); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		j.log.Info("a new journal begins", "path", c.Path, "journal", j.id)
		return nil
	}
	if err := j.checkTail(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE posts SET state = 'doubt', retry = retry + $1, cause = 'the bot stopped while it was sent'
			WHERE `+unsettled+` AND state = 'sending'`, c.Recheck.Microseconds()); err != nil {
		return err
	}
	return tx.Commit()
}

func (j *Journal) create(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return fmt.Errorf("making tables: %w", err)
	}
	j.id = randomID()
	e := Entry{Kind: Opened, Time: j.now().UTC().Truncate(time.Microsecond), Facts: Facts{Journal: j.id, Format: format}}
	body, err := encode(e.Facts)
	if err != nil {
		return err
	}
	e.Body = body
	e.Hash = e.sum()
	if _, err := tx.ExecContext(ctx, insertEntry, e.Number, e.Case, e.Kind, e.Time.UnixMicro(), e.Body, e.Prev, e.Hash); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO head (one, journal, entry, hash, time, last_case) VALUES (1, $1, 0, $2, $3, 0)`,
		j.id, e.Hash, e.Time.UnixMicro())
	return err
}

// checkTail refuses a journal whose head does not belong to its entries: it reads the first
// and the last hundred. The whole chain is checked by `zegoclose audit verify`.
func (j *Journal) checkTail(ctx context.Context, tx *sql.Tx) error {
	var last, lastCase, cases int64
	var hash, opening string
	if err := tx.QueryRowContext(ctx, `SELECT journal, entry, hash, last_case, (SELECT COALESCE(max(number), 0) FROM cases),
			(SELECT body FROM entries WHERE number = 0) FROM head WHERE one = 1`).
		Scan(&j.id, &last, &hash, &lastCase, &cases, &opening); err != nil {
		return fmt.Errorf("%w: reading its head: %w", ErrDamaged, err)
	}
	switch f, err := decode(opening); {
	case err != nil:
		return fmt.Errorf("%w: entry 0: %w", ErrDamaged, err)
	case f.Format != format:
		return fmt.Errorf("its format is %d, this program knows %d only: run the release that wrote it", f.Format, format)
	case f.Journal != j.id:
		return fmt.Errorf("%w: its head names another journal than its entry 0", ErrDamaged)
	case lastCase != cases:
		return fmt.Errorf("%w: its head names #%d as the last case, but that is #%d", ErrDamaged, lastCase, cases)
	}
	rows, err := tx.QueryContext(ctx, selectEntry+` WHERE number >= $1 ORDER BY number`, last-100)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	es, err := scanEntries(rows)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if len(es) == 0 || es[len(es)-1].Number != last || es[len(es)-1].Hash != hash {
		return fmt.Errorf("%w: its last entry is not the one its head names (%d); restore a backup or ask `zegoclose audit verify`", ErrDamaged, last)
	}
	for i, e := range es {
		prev := e.Prev
		if i > 0 {
			prev = es[i-1].Hash
		}
		if err := e.Check(prev); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return nil
}

// Close waits for the writes under way, closes the files and lets go of the lock.
// Writes begun later return ErrNotRecorded.
func (j *Journal) Close() error { return j.close() }

// ID returns the random id that entry 0 gave this journal.
func (j *Journal) ID() string { return j.id }

// Failing returns why the journal cannot be written to at present, or not soon enough for
// anybody to wait for, or nil if it can. While it cannot, the writer tries again by itself
// every second. Of a journal that has been found damaged it says so until it is closed.
func (j *Journal) Failing() error {
	if p := j.damaged.Load(); p != nil {
		return *p
	}
	if began := j.since.Load(); began != nil && time.Since(*began) > slow {
		return tooSlow(time.Since(*began))
	}
	if p := j.failing.Load(); p != nil {
		return *p
	}
	return nil
}

// Work is a kind of work that waits in the journal.
type Work int

const (
	Posts     Work = iota // cards and replies to send
	Edits                 // cards to draw again
	Closings              // confirmed cases to close
	Deadlines             // cases whose time runs out

	kindsOfWork
)

// Watch returns a channel that receives whenever there may be new work of kind w. One
// pending signal stands for any number of changes. Signals only make things fast: who
// watches must also look from time to time, since work can come due by itself.
func (j *Journal) Watch(w Work) <-chan struct{} {
	ch := make(chan struct{}, 1)
	j.watchMu.Lock()
	defer j.watchMu.Unlock()
	j.watches[w] = append(j.watches[w], ch)
	return ch
}

func (j *Journal) signal(works [kindsOfWork]bool) {
	j.watchMu.Lock()
	defer j.watchMu.Unlock()
	for w, is := range works {
		if !is {
			continue
		}
		for _, ch := range j.watches[w] {
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}
}

// randomID returns 16 random bytes in hexadecimal.
func randomID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}
