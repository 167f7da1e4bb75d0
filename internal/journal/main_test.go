package journal_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"zegoclose/internal/journal"
)

// childVar tells the test binary that it is to play one of the children, on a journal.
const childVar, childPath = "ZEGOCLOSE_JOURNAL_CHILD", "ZEGOCLOSE_JOURNAL_PATH"

func TestMain(m *testing.M) {
	sqlite.RegisterConnectionHook(func(c sqlite.ExecQuerierContext, dsn string) error {
		if strings.Contains(dsn, "_txlock") { // the writing connection
			for _, pragma := range []string{"synchronous", "journal_mode"} {
				writerPragmas.Store(filepath.Dir(strings.TrimPrefix(dsn, "file:"))+" "+pragma, readPragma(c, pragma))
			}
			c.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 { return commits.hook(dsn) })
		}
		return nil
	})
	if name := os.Getenv(childVar); name != "" {
		children[name](os.Getenv(childPath))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writerPragmas holds how the writing connections were set up, by directory and pragma.
var writerPragmas sync.Map

func readPragma(c sqlite.ExecQuerierContext, name string) driver.Value {
	rows := must(c.QueryContext(context.Background(), `PRAGMA `+name, nil))
	defer rows.Close()
	value := make([]driver.Value, 1)
	check(rows.Next(value))
	return value[0]
}

// commits lets a test step in just before a commit: to wait, to die, or to refuse it by
// returning another number than 0.
var commits commitHooks

type commitHooks struct {
	mu sync.Mutex
	do map[string]func() int32 // by the name of the journal's directory
}

func (h *commitHooks) hook(dsn string) int32 {
	h.mu.Lock()
	var do func() int32
	for dir, f := range h.do {
		if strings.Contains(dsn, dir) {
			do = f
		}
	}
	h.mu.Unlock()
	if do == nil {
		return 0
	}
	return do()
}

// before has do called before each commit of the journal at path; nil ends that.
func (h *commitHooks) before(path string, do func() int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.do == nil {
		h.do = make(map[string]func() int32)
	}
	h.do[filepath.Dir(path)] = do
}

// clock is a time that moves only when told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// book is an open journal in a test's hands.
type book struct {
	*journal.Journal
	t     testing.TB
	path  string
	clock *clock
	posts int // sent so far, for their ts
}

var (
	alice = journal.Person{ID: "U0ALICE", Name: "alice", Team: "T1"}
	bob   = journal.Person{ID: "U0BOB", Name: "bob", Team: "T1"}
)

const (
	lounge      = "C0LOUNGE"
	confirmTime = 5 * time.Minute
	closeTime   = 10 * time.Minute
)

func newBook(t testing.TB) *book {
	t.Helper()
	return openBook(t, filepath.Join(t.TempDir(), "journal.db"))
}

func openBook(t testing.TB, path string) *book {
	t.Helper()
	c := &clock{now: time.Date(2026, 3, 1, 14, 2, 0, 0, time.UTC)}
	j, err := journal.Open(t.Context(), journal.Config{Path: path, Now: c.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	require.NoError(t, err)
	t.Cleanup(func() { j.Close() })
	return &book{Journal: j, t: t, path: path, clock: c}
}

// reopen closes the journal and opens it again, as the next process would.
func (b *book) reopen() {
	b.t.Helper()
	require.NoError(b.t, b.Close())
	b.Journal = openBook(b.t, b.path).Journal
}

func request(by journal.Person, room string) journal.Request {
	return journal.Request{By: by, Room: room, Reason: "spam links", Sends: "spam links", From: lounge, Channel: lounge,
		ShowWithin: confirmTime, MaxPending: 10}
}

// request opens a case.
func (b *book) request(by journal.Person, room string) journal.Case {
	b.t.Helper()
	c, isNew, err := b.Request(b.t.Context(), request(by, room))
	require.NoError(b.t, err)
	require.True(b.t, isNew)
	return c
}

// show sends the card of a case.
func (b *book) show(c journal.Case) journal.Case {
	b.t.Helper()
	_, p, err := b.Sending(b.t.Context(), c.Number, b.offer())
	require.NoError(b.t, err)
	return b.sent(p)
}

func (b *book) offer() journal.Draft {
	people := 124
	return journal.Draft{Kind: journal.Offered, Facts: journal.Facts{People: &people, Until: journal.MicrosOf(b.clock.Now().Add(confirmTime))}}
}

func (b *book) sent(p journal.Post) journal.Case {
	b.t.Helper()
	b.posts++
	require.NoError(b.t, b.Sent(b.t.Context(), p, fmt.Sprintf("1700000000.%06d", b.posts)))
	return b.read(p.Case)
}

func click(c journal.Case, by journal.Person, kind journal.Kind) journal.Click {
	return journal.Click{Case: c.Number, By: by, Kind: kind, Channel: c.Channel, TS: c.CardTS, CloseWithin: closeTime}
}

func (b *book) press(c journal.Case, by journal.Person, kind journal.Kind) journal.Case {
	b.t.Helper()
	c, err := b.Settle(b.t.Context(), click(c, by, kind))
	require.NoError(b.t, err)
	return c
}

// confirmed opens, shows and confirms a case.
func (b *book) confirmed(by journal.Person, room string) journal.Case {
	b.t.Helper()
	return b.press(b.show(b.request(by, room)), by, journal.Confirmed)
}

// claim expects that there is a case to close.
func (b *book) claim() journal.Case {
	b.t.Helper()
	c, ok, _, err := b.Claim(b.t.Context())
	require.NoError(b.t, err)
	require.True(b.t, ok, "nothing to claim")
	return c
}

func (b *book) claimsNothing() (again time.Time) {
	b.t.Helper()
	c, ok, again, err := b.Claim(b.t.Context())
	require.NoError(b.t, err)
	require.False(b.t, ok, "claimed #%d", c.Number)
	return again
}

func (b *book) record(c journal.Case, drafts ...journal.Draft) journal.Case {
	b.t.Helper()
	c, err := b.Record(b.t.Context(), c.Number, c.State, drafts...)
	require.NoError(b.t, err)
	return c
}

func answered(effect string, code int) journal.Draft {
	return journal.Draft{Kind: journal.Answered, Facts: journal.Facts{Call: 1, Effect: effect, Code: &code, RequestID: "3912", Took: 132_000}}
}

// late is an answer that comes after the call had been given up as unclear.
func late(d journal.Draft) journal.Draft {
	d.Facts.Late = true
	return d
}

func lost() journal.Draft {
	return journal.Draft{Kind: journal.Answered, Facts: journal.Facts{Call: 1, Effect: "unknown", Detail: "no answer within 5s"}}
}

func ended(outcome journal.State) journal.Draft {
	return journal.Draft{Kind: journal.Ended, Facts: journal.Facts{Outcome: outcome, Why: "test"}}
}

// closed claims the next case and closes it.
func (b *book) closed() journal.Case {
	b.t.Helper()
	return b.record(b.claim(), answered("done", 0), ended(journal.StateClosed))
}

// unknown claims the next case and loses ZEGO's answer.
func (b *book) unknown() journal.Case {
	b.t.Helper()
	d := ended(journal.StateUnknown)
	d.Facts.Until = journal.MicrosOf(b.clock.Now().Add(confirmTime))
	return b.record(b.claim(), lost(), d)
}

func (b *book) read(number int64) journal.Case {
	b.t.Helper()
	c, err := b.Case(context.Background(), number)
	require.NoError(b.t, err)
	return c
}

// next expects that the lounge has something to post.
func (b *book) next() (journal.Case, *journal.Post) {
	b.t.Helper()
	c, p, ok, err := b.NextPost(b.t.Context(), lounge)
	require.NoError(b.t, err)
	require.True(b.t, ok, "nothing to post")
	return c, p
}

func (b *book) postsNothing() {
	b.t.Helper()
	c, _, ok, err := b.NextPost(b.t.Context(), lounge)
	require.NoError(b.t, err)
	require.False(b.t, ok, "#%d has something to post", c.Number)
}

// kinds lists what a case's entries say.
func kinds(c journal.Case) []journal.Kind {
	var ks []journal.Kind
	for _, e := range c.Entries {
		ks = append(ks, e.Kind)
	}
	return ks
}

// rawDB opens the file behind the journal's back.
func rawDB(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// entries reads every entry of the file.
func entries(t testing.TB, path string) []journal.Entry {
	t.Helper()
	rows, err := rawDB(t, path).Query(`SELECT number, case_, kind, time, body, prev, hash FROM entries ORDER BY number`)
	require.NoError(t, err)
	defer rows.Close()
	var es []journal.Entry
	for rows.Next() {
		var e journal.Entry
		var micros int64
		require.NoError(t, rows.Scan(&e.Number, &e.Case, &e.Kind, &micros, &e.Body, &e.Prev, &e.Hash))
		e.Time = time.UnixMicro(micros)
		es = append(es, e)
	}
	require.NoError(t, rows.Err())
	return es
}

// assertSound checks what must hold of every journal at any time: the chain, gapless
// numbers of entries and cases, times that never run back, and cases that are what their
// entries say.
func assertSound(t testing.TB, b *book) []journal.Entry {
	t.Helper()
	es := entries(t, b.path)
	prev, cases := "", int64(0)
	for i, e := range es {
		require.EqualValues(t, i, e.Number, "entries have a gap")
		require.NoError(t, e.Check(prev))
		if i > 0 {
			require.False(t, e.Time.Before(es[i-1].Time), "entry %d is older than the one before it", i)
		}
		if e.Kind == journal.Requested {
			cases++
			require.Equal(t, cases, e.Case, "cases have a gap")
		}
		prev = e.Hash
	}
	for n := range cases {
		b.read(n + 1)
	}
	_, err := b.Case(context.Background(), cases+1)
	assert.ErrorIs(t, err, journal.ErrNoCase)
	return es
}
