package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// beginWrite takes the write lock at once, so that a transaction never finds half-way that
// somebody else has it.
const beginWrite = `BEGIN IMMEDIATE`

// lockHead reads the head row at the beginning of a write. On PostgreSQL it will end in FOR
// UPDATE, which is what makes writers take turns there.
const lockHead = `SELECT entry, hash, time, last_case FROM head WHERE one = 1`

// makeFile makes the journal's file, if there is none, with access for its owner alone. It
// must come before anything else opens that: closing a file gives back all locks that the
// process has on it, and a journal that looks unused loses its write-ahead log to the next
// program that opens and closes it (https://www.sqlite.org/howtocorrupt.html, 2.2).
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("opening journal: %w", err)
	}
	return f.Close()
}

// openSQLite opens path for writing.
// synchronous=FULL makes a commit in WAL mode wait for its fsync. A lock held by another
// program (a shell, a backup) is waited for at most busy_timeout, which together with the
// bot's own limits leaves time to tell the person within Slack's three seconds.
func openSQLite(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path, "_txlock=immediate",
		"_pragma=busy_timeout(1000)", "_pragma=journal_mode(wal)", "_pragma=synchronous(full)", "_pragma=cache_size(-1024)",
		"_pragma=wal_autocheckpoint(16384)")) // pages, 64 MiB: a last resort, see keepLogShort
	if err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// files are the journal's file and its write-ahead log, as they were when last looked at.
type files struct {
	path    string
	db, log fs.FileInfo // log is nil if there was none
}

func lookAtFiles(path string) (f files, err error) {
	f.path = path
	if f.db, err = os.Stat(path); err != nil {
		return f, err
	}
	if f.log, err = os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	return f, err
}

// check reports whether what lies at the journal's path is no longer what was opened there.
// SQLite goes on writing to a file that has been removed, and takes from its memory what has
// been cut off: all that would be lost with the process, and nobody would know.
func (f *files) check() error {
	now, err := lookAtFiles(f.path)
	switch {
	case err != nil:
		return fmt.Errorf("the journal's file is gone: %w", err)
	case !os.SameFile(now.db, f.db):
		return errors.New("another file has taken the place of the journal's")
	case now.db.Size() < f.db.Size():
		return fmt.Errorf("%w: its file has been cut from %d bytes to %d", ErrDamaged, f.db.Size(), now.db.Size())
	case f.log != nil && (now.log == nil || !os.SameFile(now.log, f.log)):
		return errors.New("the journal's write-ahead log is gone")
	}
	f.db = now.db
	if f.log == nil {
		f.log = now.log
	}
	return nil
}

// keepLogShort moves what has been committed from the write-ahead log into the file, beside
// the writer, until stop is closed. SQLite would do that within a commit, which then takes
// tens of milliseconds, in which nobody is answered. A move that fails costs nothing: the
// log is as durable as the file.
func (j *Journal) keepLogShort(stop <-chan struct{}) {
	db, err := openSQLite(j.path)
	if err != nil {
		return // the writer has the last resort
	}
	defer db.Close()
	db.SetConnMaxIdleTime(time.Minute)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var moved int64
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if n := j.commits.Load(); n-moved >= 100 {
			moved = n
			var busy, inLog, inFile int
			db.QueryRow(`PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &inLog, &inFile)
		}
	}
}

// readSQLite opens path for reading only. It never makes a file: a wrong path must not
// look like an empty journal.
func readSQLite(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path, "mode=ro", "_pragma=query_only(1)", "_pragma=busy_timeout(1000)", "_pragma=cache_size(-512)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(2)
	return db, nil
}

// beginRead begins a transaction that sees one moment and writes nothing.
const beginRead = `BEGIN`

// hasTables counts the tables that every journal has.
const hasTables = `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('head', 'entries', 'cases', 'posts')`

// auditSQLite opens path for reading a whole journal in order, through one connection. If
// nobody has it open it is read as a file that does not change: otherwise even reading
// would leave SQLite's two companion files behind.
func auditSQLite(path string, quiet bool) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path, "mode=ro", "immutable="+map[bool]string{true: "1", false: "0"}[quiet], "_pragma=query_only(1)", "_pragma=busy_timeout(5000)", "_pragma=cache_size(-8192)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// dsn makes a URI that names path whatever characters it holds.
func dsn(path string, options ...string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	uri := "file:" + (&url.URL{Path: abs}).EscapedPath()
	for i, o := range options {
		sep := "&"
		if i == 0 {
			sep = "?"
		}
		uri += sep + o
	}
	return uri
}

// isEmpty reports whether there is no journal yet. It refuses somebody else's database.
func isEmpty(ctx context.Context, tx *sql.Tx) (bool, error) {
	var tables, heads int
	err := tx.QueryRowContext(ctx, `SELECT count(*), count(CASE WHEN name = 'head' THEN 1 END) FROM sqlite_master WHERE type = 'table'`).
		Scan(&tables, &heads)
	if err == nil && tables > 0 && heads == 0 {
		err = errors.New("this is a database, but not a journal of zegoclose; nothing in it was touched")
	}
	return tables == 0, err
}

// rolledBack reports whether err, returned by a commit, means that the transaction
// certainly did not happen. After an I/O error the frames may be on disk all the same, and
// a crash right then would bring them back: that is not certain.
func rolledBack(err error) bool {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return false
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return true
	}
	return false
}

// violatesConstraint reports whether err concerns one statement's own values only.
func violatesConstraint(err error) bool {
	var se *sqlite.Error
	return errors.As(err, &se) && se.Code()&0xff == sqlite3.SQLITE_CONSTRAINT
}

// corrupt reports whether err means that the file is not what SQLite wrote.
func corrupt(err error) bool {
	var se *sqlite.Error
	return errors.As(err, &se) && (se.Code()&0xff == sqlite3.SQLITE_CORRUPT || se.Code()&0xff == sqlite3.SQLITE_NOTADB)
}
