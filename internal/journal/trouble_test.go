package journal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"zegoclose/internal/journal"
)

// children are the parts that the test binary plays in a process of its own.
var children = map[string]func(path string){
	"live":     liveAndDie,
	"hold":     holdTheLock,
	"fullDisk": fillTheDisk,
	"mayNot":   openWithoutRights,
	"last":     lockAsTheLast,
}

// child prepares this test binary to play the named part on the journal at path.
func child(t *testing.T, name, path string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+name, childPath+"="+path)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = t.Output()
	return cmd
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func die() { syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} }

const dieVar = "ZEGOCLOSE_JOURNAL_DIE"

// liveAndDie is the life of three cases, one write after the other; each is reported on
// stdout once it has been acknowledged. It dies just before the n-th commit, or as soon as
// the n-th has been acknowledged.
func liveAndDie(path string) {
	var when string
	var n, begun, acked int
	must(fmt.Sscan(os.Getenv(dieVar), &when, &n))
	// The first two commits make the journal and look at its end.
	commits.before(path, func() int32 {
		if begun++; when == "before" && begun == n {
			die()
		}
		return 0
	})
	j := must(journal.Open(context.Background(), journal.Config{Path: path}))
	ctx := context.Background()
	ack := func(what string, c journal.Case) {
		acked++
		fmt.Printf("%s #%d %s %s\n", what, c.Number, c.State, c.Entries[len(c.Entries)-1].Hash)
		if when == "after" && acked == n {
			die()
		}
	}
	show := func(c journal.Case, drafts ...journal.Draft) journal.Case {
		c, p, err := j.Sending(ctx, c.Number, drafts...)
		check(err)
		ack("sending", c)
		check(j.Sent(ctx, p, fmt.Sprint("1700000000.", p.First)))
		c = must(j.Case(ctx, c.Number))
		ack("sent", c)
		return c
	}
	offer := journal.Draft{Kind: journal.Offered, Facts: journal.Facts{Until: journal.MicrosOf(time.Now().Add(time.Hour))}}
	for i := range 3 {
		r := request(alice, fmt.Sprint("room-", i))
		r.ShowWithin = time.Hour
		c, _, err := j.Request(ctx, r)
		check(err)
		ack("requested", c)
		c = show(c, offer)
		ack("confirmed", must(j.Settle(ctx, click(c, alice, journal.Confirmed))))
		c, _, _, err = j.Claim(ctx)
		check(err)
		ack("claimed", c)
		ack("ended", must(j.Record(ctx, c.Number, c.State, answered("done", 0), ended(journal.StateClosed))))
		show(c)
		c, card, _, _, err := j.NextEdit(ctx)
		check(err)
		check(j.Edited(ctx, card, c.Entries[len(c.Entries)-1].Number, time.Time{}))
		ack("drawn", c)
	}
	check(j.Close())
}

// lifeSteps is how many writes liveAndDie makes.
const lifeSteps = 3 * 9

func TestP7KillAtEveryCommitLosesNothing(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		for n := 1; n <= lifeSteps; n++ {
			t.Run(fmt.Sprint(when, " ", n), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "journal.db")
				cmd := child(t, "live", path, fmt.Sprintf("%s=%s %d", dieVar, when, n))
				out, err := cmd.Output()
				exit := new(exec.ExitError)
				require.ErrorAs(t, err, &exit)
				require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s", out)
				acked := strings.Count(string(out), "\n")

				b := openBook(t, path)
				b.clock.pass(time.Since(b.clock.Now()) + time.Second) // the child had no clock of ours
				es := assertSound(t, b)
				hashes := make(map[string]bool)
				for _, e := range es {
					hashes[e.Hash] = true
				}
				var number int64
				var state journal.State
				for line := range strings.Lines(string(out)) {
					var what, hash string
					must(fmt.Sscanf(line, "%s #%d %s %s", &what, &number, &state, &hash))
					assert.True(t, hashes[hash], "acknowledged and lost: %s", line)
				}
				if acked > 0 {
					assert.Equal(t, state, b.read(number).State, "nothing was acknowledged after it, so nothing more happened")
				}
				if when == "after" {
					assert.Equal(t, n, acked)
				}
				goOn(t, b)
			})
		}
	}
	t.Run("nobody dies", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "journal.db")
		out, err := child(t, "live", path, dieVar+"=never 0").Output()
		require.NoError(t, err)
		assert.Equal(t, lifeSteps, strings.Count(string(out), "\n"))
		b := openBook(t, path)
		assertSound(t, b)
		assert.Equal(t, journal.StateClosed, b.read(3).State)
	})
}

// goOn does what the bot does after a restart, until nothing waits any more.
func goOn(t *testing.T, b *book) {
	b.clock.pass(max(0, time.Since(b.clock.Now()))) // the dead process lived in real time
	unfinished, err := b.Unfinished(t.Context())
	require.NoError(t, err)
	for _, c := range unfinished {
		b.record(c, lost(), ended(journal.StateUnknown))
	}
	for range 10 {
		c, p, ok, err := b.NextPost(t.Context(), lounge)
		require.NoError(t, err)
		if !ok {
			break
		}
		if p != nil && p.State == journal.PostDoubt {
			require.NoError(t, b.NotSent(t.Context(), *p, time.Time{}, "looked for, not found"))
		}
		_, post, err := b.Sending(t.Context(), c.Number)
		require.NoError(t, err)
		b.sent(post)
	}
	b.postsNothing()
	rows, err := rawDB(t, b.path).Query(`SELECT first, last, case_ FROM posts WHERE state = 'sent' ORDER BY first`)
	require.NoError(t, err)
	defer rows.Close()
	shown := make(map[int64]int)
	for rows.Next() {
		var first, last, number int64
		require.NoError(t, rows.Scan(&first, &last, &number))
		c := b.read(number)
		for _, e := range c.Between(first, last) {
			shown[e.Number]++
		}
	}
	for _, e := range assertSound(t, b) {
		if e.Kind == journal.Requested || e.Kind == journal.Ended {
			assert.Equal(t, 1, shown[e.Number], "posts that show entry %d (%s)", e.Number, e.Kind)
		}
		assert.LessOrEqual(t, shown[e.Number], 1)
	}
}

func holdTheLock(path string) {
	must(journal.Open(context.Background(), journal.Config{Path: path}))
	fmt.Println("held")
	io.Copy(io.Discard, os.Stdin)
}

func TestP1OnlyOneProcessHoldsTheJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	holder := child(t, "hold", path)
	stdin := must(holder.StdinPipe())
	defer stdin.Close()
	out := must(holder.StdoutPipe())
	require.NoError(t, holder.Start())
	require.Equal(t, "held\n", must(bufio.NewReader(out).ReadString('\n')))

	began := time.Now()
	_, err := journal.Open(t.Context(), journal.Config{Path: path, LockWait: 200 * time.Millisecond})
	assert.ErrorIs(t, err, journal.ErrLocked)
	assert.ErrorContains(t, err, "stop the other zegoclose first")
	assert.GreaterOrEqual(t, time.Since(began), 200*time.Millisecond)

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = journal.Open(ctx, journal.Config{Path: path, LockWait: time.Minute})
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	opened := make(chan error, 1)
	go func() {
		j, err := journal.Open(context.Background(), journal.Config{Path: path, LockWait: 20 * time.Second})
		if err == nil {
			err = j.Close()
		}
		opened <- err
	}()
	require.NoError(t, holder.Process.Kill())
	holder.Wait()
	assert.NoError(t, <-opened, "the kernel takes the lock back")
}

func TestOneProcessCannotOpenTheJournalTwice(t *testing.T) {
	b := newBook(t)
	_, err := journal.Open(t.Context(), journal.Config{Path: b.path})
	assert.ErrorIs(t, err, journal.ErrLocked)
	require.NoError(t, b.Close())
	j, err := journal.Open(t.Context(), journal.Config{Path: b.path})
	require.NoError(t, err)
	assert.NotEmpty(t, j.ID())
	assert.Equal(t, b.ID(), j.ID())
	require.NoError(t, j.Close())
}

func TestP9ADamagedJournalIsRefused(t *testing.T) {
	for name, damage := range map[string]string{
		"an entry changed":            `UPDATE entries SET body = replace(body, 'spam', 'ham!') WHERE number = 1`,
		"its last entry removed":      `DELETE FROM entries WHERE number = (SELECT entry FROM head)`,
		"an entry removed":            `DELETE FROM entries WHERE number = 2`,
		"entries swapped":             `UPDATE entries SET body = CASE number WHEN 2 THEN (SELECT body FROM entries WHERE number = 3) ELSE (SELECT body FROM entries WHERE number = 2) END WHERE number IN (2, 3)`,
		"time changed":                `UPDATE entries SET time = time + 1 WHERE number = 2`,
		"an entry moved to a case":    `UPDATE entries SET case_ = 2 WHERE number = 2`,
		"an entry added":              `INSERT INTO entries SELECT number + 1, case_, kind, time, body, prev, hash FROM entries ORDER BY number DESC LIMIT 1`,
		"body that is no JSON":        `UPDATE entries SET body = 'x' WHERE number = 2`,
		"no head":                     `DELETE FROM head`,
		"another head":                `UPDATE head SET hash = '00'`,
		"head of another journal":     `UPDATE head SET journal = '00'`,
		"a case removed":              `DELETE FROM cases WHERE number = 2`,
		"a case added":                `UPDATE cases SET number = 3 WHERE number = 2`,
		"no entry 0":                  `DELETE FROM entries WHERE number = 0`,
		"entry 0 of another encoding": `UPDATE entries SET body = 'x' WHERE number = 0`,
		"no tables":                   `DROP TABLE cases`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(t)
			b.show(b.request(alice, "live-42"))
			b.request(alice, "live-43")
			require.NoError(t, b.Close())
			_, err := rawDB(t, b.path).Exec(damage)
			require.NoError(t, err)
			_, err = journal.Open(t.Context(), journal.Config{Path: b.path})
			assert.ErrorIs(t, err, journal.ErrDamaged)
		})
	}
}

func TestP9OneByteOfAnEntryIsEnough(t *testing.T) {
	b := newBook(t)
	b.closedCase()
	es := assertSound(t, b)
	e, prev := es[3], es[2].Hash
	for i := range e.Body {
		spoilt := e
		spoilt.Body = e.Body[:i] + string(e.Body[i]^1) + e.Body[i+1:]
		assert.ErrorContains(t, spoilt.Check(prev), "content does not match its hash")
	}
	for name, spoil := range map[string]func(*journal.Entry){
		"number": func(e *journal.Entry) { e.Number++ },
		"case":   func(e *journal.Entry) { e.Case++ },
		"kind":   func(e *journal.Entry) { e.Kind = journal.Cancelled },
		"time":   func(e *journal.Entry) { e.Time = e.Time.Add(time.Microsecond) },
		"prev":   func(e *journal.Entry) { e.Prev = es[1].Hash },
		"hash":   func(e *journal.Entry) { e.Hash = es[1].Hash },
	} {
		spoilt := e
		spoil(&spoilt)
		assert.Error(t, spoilt.Check(prev), name)
	}
	assert.NoError(t, e.Check(prev))
}

func (b *book) closedCase() journal.Case {
	b.t.Helper()
	b.confirmed(alice, "live-42")
	return b.closed()
}

func TestP9ACaseThatIsNotWhatItsEntriesSayIsRefused(t *testing.T) {
	b := newBook(t)
	c := b.show(b.request(alice, "live-42"))
	other := b.show(b.request(bob, "live-43"))
	_, err := rawDB(t, b.path).Exec(`UPDATE cases SET state = 'confirmed' WHERE number = 1`)
	require.NoError(t, err)
	_, err = b.Case(t.Context(), c.Number)
	assert.ErrorIs(t, err, journal.ErrDamaged)
	_, err = b.Settle(t.Context(), click(c, alice, journal.Cancelled))
	assert.ErrorIs(t, err, journal.ErrDamaged)
	assert.ErrorIs(t, err, journal.ErrNotRecorded)
	_, _, _, err = b.Claim(t.Context())
	assert.ErrorIs(t, err, journal.ErrDamaged, "and nothing is closed by it")

	_, err = rawDB(t, b.path).Exec(`UPDATE entries SET kind = 'ended' WHERE number = 2`)
	require.NoError(t, err)
	_, err = b.Case(t.Context(), c.Number)
	assert.ErrorIs(t, err, journal.ErrDamaged)
	_, err = rawDB(t, b.path).Exec(`UPDATE entries SET body = '{' WHERE number = 2`)
	require.NoError(t, err)
	_, err = b.Case(t.Context(), c.Number)
	assert.ErrorIs(t, err, journal.ErrDamaged)
	b.press(other, bob, journal.Confirmed) // the others go on
}

func TestWhatIsNoJournalIsLeftAlone(t *testing.T) {
	t.Run("another program's database", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "other.db")
		_, err := rawDB(t, path).Exec(`CREATE TABLE customers (name TEXT)`)
		require.NoError(t, err)
		_, err = journal.Open(t.Context(), journal.Config{Path: path})
		assert.ErrorContains(t, err, "not a journal of zegoclose")
	})
	t.Run("no database at all", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "notes.txt")
		text := []byte(strings.Repeat("notes of years\n", 1000))
		require.NoError(t, os.WriteFile(path, text, 0o600))
		_, err := journal.Open(t.Context(), journal.Config{Path: path})
		assert.ErrorIs(t, err, journal.ErrDamaged)
		assert.Equal(t, text, must(os.ReadFile(path)))
	})
	t.Run("a format of the future", func(t *testing.T) {
		b := newBook(t)
		require.NoError(t, b.Close())
		_, err := rawDB(t, b.path).Exec(`UPDATE entries SET body = replace(body, '"format":1', '"format":2')`)
		require.NoError(t, err)
		_, err = journal.Open(t.Context(), journal.Config{Path: b.path})
		assert.ErrorContains(t, err, "its format is 2")
	})
	t.Run("a file cut short", func(t *testing.T) {
		b := newBook(t)
		b.closedCase()
		require.NoError(t, b.Close())
		require.NoError(t, os.Truncate(b.path, 40_000))
		_, err := journal.Open(t.Context(), journal.Config{Path: b.path})
		assert.ErrorIs(t, err, journal.ErrDamaged)
	})
	t.Run("a directory that is not there", func(t *testing.T) {
		_, err := journal.Open(t.Context(), journal.Config{Path: filepath.Join(t.TempDir(), "none", "journal.db")})
		assert.ErrorIs(t, err, os.ErrNotExist)
	})
	t.Run("a directory in its place", func(t *testing.T) {
		path := t.TempDir()
		_, err := journal.Open(t.Context(), journal.Config{Path: path})
		assert.ErrorContains(t, err, "is a directory")
	})
}

func TestP7ACommitWaitsForTheDisk(t *testing.T) {
	b := newBook(t)
	for pragma, want := range map[string]any{"synchronous": int64(2), "journal_mode": "wal"} {
		got, _ := writerPragmas.Load(filepath.Dir(b.path) + " " + pragma)
		assert.Equal(t, want, got, pragma)
	}
}

// held holds the next commit of b's journal until release is called.
func (b *book) held() (begun chan struct{}, release func()) {
	begun, open := make(chan struct{}), make(chan struct{})
	commits.before(b.path, sync.OnceValue(func() int32 {
		close(begun)
		<-open
		return 0
	}))
	return begun, sync.OnceFunc(func() {
		commits.before(b.path, nil)
		close(open)
	})
}

func TestP2ASlowDiskIsNeitherYesNorNo(t *testing.T) {
	b := newBook(t)
	begun, release := b.held()
	defer release()
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, isNew, err := b.Request(short(), request(alice, "under way"))
		assert.ErrorIs(t, err, journal.ErrUnsure)
		assert.NotErrorIs(t, err, journal.ErrNotRecorded)
		assert.Zero(t, c)
		assert.False(t, isNew)
	})
	<-begun
	_, _, err := b.Request(short(), request(alice, "queued"))
	assert.ErrorIs(t, err, journal.ErrNotRecorded)
	assert.NotErrorIs(t, err, journal.ErrUnsure)
	wg.Wait()
	assert.Eventually(t, func() bool { return b.Failing() != nil }, 5*time.Second, 10*time.Millisecond)
	assert.ErrorContains(t, b.Failing(), "the disk is slow")

	release()
	assert.Eventually(t, func() bool { return b.Failing() == nil }, 5*time.Second, 10*time.Millisecond)
	assert.Equal(t, "under way", b.read(1).Room, "the late commit counts")
	assert.EqualValues(t, 2, b.request(alice, "queued").Number)
	assertSound(t, b)
}

func TestP1AClaimThatNobodyHeardOfIsGivenBack(t *testing.T) {
	b := newBook(t)
	b.confirmed(alice, "live-42")
	bell := b.Watch(journal.Closings)
	begun, release := b.held()
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, ok, _, err := b.Claim(ctx)
		assert.False(t, ok)
		done <- err
	}()
	<-begun
	cancel()
	require.ErrorIs(t, <-done, journal.ErrUnsure)
	release()
	select {
	case <-bell:
	case <-time.After(10 * time.Second):
		require.Fail(t, "the claim was not given back")
	}
	c := b.claim()
	assert.Equal(t, 2, c.Calls)
	assert.Equal(t, []journal.Kind{journal.Attempted, journal.Requeued, journal.Attempted}, kinds(c)[4:])
	assert.Equal(t, "claim_late", c.Entries[5].Facts.Why)
}

func TestAPostThatNobodyHeardOfGoesBackToWaiting(t *testing.T) {
	b := newBook(t)
	c := b.request(alice, "live-42")
	begun, release := b.held()
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := b.Sending(ctx, c.Number, b.offer())
		done <- err
	}()
	<-begun
	cancel()
	require.ErrorIs(t, <-done, journal.ErrUnsure)
	// Closing waits for the write, and takes it back.
	closed := make(chan error)
	go func() { closed <- b.Close() }()
	release()
	require.NoError(t, <-closed)
	b.Journal = openBook(t, b.path).Journal
	_, p := b.next()
	require.NotNil(t, p)
	assert.Equal(t, journal.PostWaiting, p.State)
}

func TestTooManyWaitingWritesAreRefusedAtOnce(t *testing.T) {
	b := newBook(t)
	begun, release := b.held()
	defer release()
	var wg sync.WaitGroup
	var mu sync.Mutex
	ends := make(map[string]int)
	write := func() {
		err := b.Forget(context.Background(), time.Hour)
		mu.Lock()
		defer mu.Unlock()
		ends[fmt.Sprint(err)]++
	}
	wg.Go(write)
	<-begun
	for range 5000 {
		wg.Go(write)
	}
	assert.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return ends["certainly not recorded: too many writes are waiting"] == 5000-4096
	}, 10*time.Second, time.Millisecond)
	release()
	wg.Wait()
	assert.Equal(t, 1+4096, ends["<nil>"])
}

func TestACommitThatFailsIsToldAndForgotten(t *testing.T) {
	b := newBook(t)
	commits.before(b.path, func() int32 { return 1 }) // COMMIT becomes ROLLBACK
	_, _, err := b.Request(t.Context(), request(alice, "live-42"))
	assert.ErrorIs(t, err, journal.ErrNotRecorded)
	assert.Error(t, b.Failing())
	_, err = b.Expire(t.Context())
	assert.NoError(t, err, "nothing is due")
	commits.before(b.path, nil)
	assert.Eventually(t, func() bool { return b.Failing() == nil }, 5*time.Second, 10*time.Millisecond, "by itself")
	assert.EqualValues(t, 1, b.request(alice, "live-42").Number)
	assertSound(t, b)
}

func TestP2LockedByAnotherProgram(t *testing.T) {
	b := newBook(t)
	db := rawDB(t, b.path)
	shell := must(db.Conn(t.Context()))
	defer shell.Close()
	must(shell.ExecContext(t.Context(), `BEGIN IMMEDIATE`))
	began := time.Now()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, _, err := b.Request(context.Background(), request(alice, fmt.Sprint("room-", i)))
			assert.ErrorIs(t, err, journal.ErrNotRecorded)
		})
	}
	wg.Wait()
	assert.Less(t, time.Since(began), 1500*time.Millisecond, "nobody waits twice")
	assert.ErrorContains(t, b.Failing(), "locked")
	b.claimsNothing() // reading works
	must(shell.ExecContext(t.Context(), `ROLLBACK`))
	assert.Eventually(t, func() bool { return b.Failing() == nil }, 5*time.Second, 10*time.Millisecond, "by itself")
	assert.EqualValues(t, 1, b.request(alice, "live-42").Number)
	assertSound(t, b)
}

// One case whose pages cannot be read must not take the others down with it.
func TestACaseThatSpoilsItsTransactionSpoilsNoOther(t *testing.T) {
	b := newBook(t)
	_, err := rawDB(t, b.path).Exec(`CREATE TRIGGER bad BEFORE INSERT ON cases WHEN NEW.room = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'bad page'); END`)
	require.NoError(t, err)
	begun, release := b.held()
	defer release()
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, b.Refuse(context.Background(), journal.Refusal{By: bob})) })
	<-begun
	for i := range 10 {
		wg.Go(func() {
			_, _, err := b.Request(context.Background(), request(alice, fmt.Sprint("room-", i%5)))
			assert.NoError(t, err)
		})
		wg.Go(func() {
			_, _, err := b.Request(context.Background(), request(bob, "bad"))
			assert.ErrorIs(t, err, journal.ErrNotRecorded)
		})
	}
	release()
	wg.Wait()
	assert.EqualValues(t, 5, b.read(5).Number)
	_, err = rawDB(t, b.path).Exec(`DROP TRIGGER bad`)
	require.NoError(t, err)
	assertSound(t, b)
}

// fillTheDisk writes until the file may grow no further, makes room again, and tells how
// that went. It runs in a process of its own because the limit is the process's.
func fillTheDisk(path string) {
	signal.Ignore(syscall.SIGXFSZ)
	ctx := context.Background()
	j := must(journal.Open(ctx, journal.Config{Path: path}))
	var was syscall.Rlimit
	check(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was))
	check(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1_000_000, Max: was.Max}))
	failures := 0
	for i := 0; failures < 10; i++ {
		r := request(alice, fmt.Sprint("room-", i))
		r.MaxPending = 0
		c, _, err := j.Request(ctx, r)
		switch {
		case err == nil:
			fmt.Println("recorded", c.Number)
		case errors.Is(err, journal.ErrNotRecorded) != errors.Is(err, journal.ErrUnsure):
			failures++
			fmt.Println("failed", err)
		default:
			panic(err)
		}
		if failures > 0 && j.Failing() == nil {
			panic("not failing")
		}
	}
	check(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was))
	for began := time.Now(); j.Failing() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 5*time.Second {
			panic("still failing")
		}
	}
	c, _, err := j.Request(ctx, request(bob, "after"))
	check(err)
	fmt.Println("recorded", c.Number)
	die()
}

func TestP2AFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	out, err := child(t, "fullDisk", path).Output()
	exit := new(exec.ExitError)
	require.ErrorAs(t, err, &exit)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s", out)
	t.Logf("%s", out)
	b := openBook(t, path)
	assertSound(t, b)
	recorded := int64(strings.Count(string(out), "recorded "))
	assert.Greater(t, recorded, int64(5))
	assert.Equal(t, "after", b.read(recorded).Room, "what was acknowledged is there, and nothing else")
}

// openWithoutRights opens the journal as nobody.
func openWithoutRights(path string) {
	check(syscall.Setgroups(nil))
	check(syscall.Setgid(65534))
	check(syscall.Setuid(65534))
	_, err := journal.Open(context.Background(), journal.Config{Path: path})
	fmt.Println(err)
}

func TestP2AJournalThatMayNotBeWritten(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become somebody else who may not write")
	}
	for name, restrict := range map[string]func(dir, path string) error{
		"the file is read-only":            func(_, path string) error { return os.Chmod(path, 0o444) },
		"the directory is read-only":       func(dir, _ string) error { return os.Chmod(dir, 0o555) },
		"the lock is somebody else's":      func(_, path string) error { return os.Chown(path+".lock", 0, 0) },
		"the directory may not be entered": func(dir, _ string) error { return os.Chmod(dir, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "journal")
			require.NoError(t, err)
			t.Cleanup(func() { os.RemoveAll(dir) })
			path := filepath.Join(dir, "journal.db")
			b := openBook(t, path)
			b.request(alice, "live-42")
			require.NoError(t, b.Close())
			for _, f := range []string{dir, path, path + ".lock"} {
				require.NoError(t, os.Chown(f, 65534, 65534))
			}
			require.NoError(t, restrict(dir, path))
			out, err := child(t, "mayNot", path).Output()
			require.NoError(t, err)
			t.Logf("%s", out)
			if name == "the directory is read-only" {
				assert.Regexp(t, "readonly|read-only|unable to open|permission denied", string(out))
			} else {
				assert.Contains(t, string(out), "permission denied")
			}
			assert.Contains(t, string(out), path)
		})
	}
}

// lockAsTheLast does what SQLite does in any program that closes a database: if nobody else
// has locked it (510 bytes behind the first GiB, https://www.sqlite.org/fileformat2.html,
// "The Lock-Byte Page"), that was the last user, and the write-ahead log is removed.
func lockAsTheLast(path string) {
	f := must(os.OpenFile(path, os.O_RDWR, 0))
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: 1<<30 + 2, Len: 510}
	fmt.Print(syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock))
}

func TestAnotherProgramKnowsThatTheJournalIsInUse(t *testing.T) {
	b := newBook(t)
	b.request(alice, "live-1")
	time.Sleep(50 * time.Millisecond) // what works beside the writer has begun
	out, err := child(t, "last", b.path).Output()
	require.NoError(t, err)
	assert.Equal(t, syscall.EAGAIN.Error(), string(out))
	require.NoError(t, b.Close())
	out, err = child(t, "last", b.path).Output()
	require.NoError(t, err)
	assert.Equal(t, "<nil>", string(out))
}
