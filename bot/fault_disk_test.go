//go:build linux

package bot_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What people are told while the journal fails, and nothing else.
const (
	nothingDone = "The journal cannot be written at the moment, so nothing was done"
	notSure     = "Not sure that your"
)

// nobody is whom a child becomes that must not have root's rights over files.
const nobody = 65534

// diskHouse is a house whose bot runs as a child, as nobody if the tests run as root, and
// keeps its journal in a directory of its own. It is not started.
func diskHouse(t *testing.T, options ...option) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "zegoclose-disk")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	home := filepath.Join(dir, "journal")
	require.NoError(t, os.Mkdir(home, 0o700))
	t.Cleanup(func() { os.Chmod(home, 0o700); os.RemoveAll(dir) })
	db := filepath.Join(home, "journal.db")
	h := newHouse(t, append([]option{with("DATABASE_URL="+db, anyPort, "ZEGO_TIMEOUT=5s", "LOG_LEVEL=info")}, options...)...)
	h.db = db
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(home, nobody, nobody))
	}
	return h
}

// run starts the child and waits until it is ready.
func (h *house) run(asUs ...bool) *process {
	h.t.Helper()
	p := h.startChild(func(cmd *exec.Cmd) {
		if len(asUs) == 0 || !asUs[0] {
			h.unprivileged(cmd)
		}
	})
	h.ready(true)
	return p
}

// unprivileged lets a child run without root's rights. The tests' own binary may lie where
// only root can read, so a copy of it is run.
func (h *house) unprivileged(cmd *exec.Cmd) {
	h.t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	dir := filepath.Dir(filepath.Dir(h.db))
	binary := filepath.Join(dir, "zegoclose")
	if _, err := os.Stat(binary); err != nil && os.Link(cmd.Path, binary) != nil {
		in, err := os.Open(cmd.Path)
		require.NoError(h.t, err)
		defer in.Close()
		out, err := os.OpenFile(binary, os.O_CREATE|os.O_WRONLY, 0o755)
		require.NoError(h.t, err)
		_, err = io.Copy(out, in)
		require.NoError(h.t, err)
		require.NoError(h.t, out.Close())
	}
	cmd.Path, cmd.Dir = binary, dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// ready waits until the bot says that it would serve a command now, or that it would not.
func (h *house) ready(want bool) {
	h.t.Helper()
	h.eventually(fmt.Sprint("readiness ", want), func() bool {
		status, _ := h.get("/readyz")
		return status == map[bool]int{true: 200, false: 503}[want]
	})
}

// staysUnready looks for a while whether readiness comes back by mistake.
func (h *house) staysUnready(d time.Duration) {
	h.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		status, body := h.get("/readyz")
		require.Equal(h.t, 503, status, "ready although the journal cannot be written: %s", body)
	}
}

// refuses has a command and a click come while the journal fails. Both senders must hear
// within Slack's three seconds, and nothing that is not known.
func (h *house) refuses(card slacksim.Message, words ...string) {
	h.t.Helper()
	began := time.Now()
	reply := h.types(h.bob, "another-room")
	assert.Less(h.t, time.Since(began), 3*time.Second)
	h.oneOf(reply, words)
	h.slack.ForgetEphemerals(h.alice)
	assert.Equal(h.t, slacksim.Warning, h.press(h.alice, card, closeRoom).Result, "a click that is not on record is not acked")
	h.eventually("alice hears why", func() bool { return len(h.slack.Ephemerals(h.alice)) > 0 })
	h.oneOf(h.slack.Render(h.slack.Ephemerals(h.alice)[0], h.alice), words)
}

func (h *house) oneOf(text string, words []string) {
	h.t.Helper()
	for _, w := range words {
		if strings.Contains(text, w) {
			return
		}
	}
	assert.Fail(h.t, "not what may be said", "%q, none of %q", text, words)
}

// A trouble is a way to keep the journal from being written, for a while.
type trouble struct {
	name    string
	asUs    bool           // the bot runs with the tests' own rights
	prepare func(h *house) // before the start; nil: nothing
	begin   func(h *house)
	end     func(h *house)
	words   []string // what may be said meanwhile
}

func troubles(t *testing.T) []trouble {
	return []trouble{
		{name: "the disk is full", prepare: smallDisk, begin: fill, end: makeRoom, words: []string{nothingDone}},
		{name: "the file has reached its greatest size", asUs: true, begin: limitFiles, end: unlimitFiles, words: []string{nothingDone, notSure}},
		{name: "another program has locked it", begin: lockJournal, end: unlockJournal, words: []string{nothingDone}},
		{name: "each commit takes 5 s", begin: func(h *house) { h.commitsTake(5 * time.Second) },
			end: func(h *house) { h.commitsTake(0) }, words: []string{nothingDone, notSure}},
	}
}

// smallDisk puts the journal on a disk of a few MiB.
func smallDisk(h *house) {
	home := filepath.Dir(h.db)
	if err := syscall.Mount("tmpfs", home, "tmpfs", 0, "size=4m"); err != nil {
		h.t.Skipf("needs the right to mount a small disk: %v", err)
	}
	h.t.Cleanup(func() { syscall.Unmount(home, syscall.MNT_DETACH) })
	if os.Geteuid() == 0 {
		require.NoError(h.t, os.Chown(home, nobody, nobody))
	}
}

func (h *house) ballast() string { return filepath.Join(filepath.Dir(h.db), "ballast") }

// fill leaves not a byte on the small disk. It may be called from an observer.
func fill(h *house) {
	f, err := os.Create(h.ballast())
	if err != nil {
		panic(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for _, err := f.Write(make([]byte, size)); err == nil; _, err = f.Write(make([]byte, size)) {
		}
	}
}

func makeRoom(h *house) { require.NoError(h.t, os.Remove(h.ballast())) }

// limitFiles lets no file of the child grow any more.
func limitFiles(h *house)   { h.limit(1) }
func unlimitFiles(h *house) { h.limit(^uint64(0)) }

func (h *house) limit(bytes uint64) {
	const rlimitFsize = 1
	limit := syscall.Rlimit{Cur: bytes, Max: ^uint64(0)}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(h.bot().cmd.Process.Pid), rlimitFsize, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 && errno != syscall.ESRCH { // it may be dead by now
		panic(errno)
	}
}

var journalLocks sync.Map // *house → *sql.DB

func lockJournal(h *house) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: h.db}).EscapedPath()+"?_pragma=busy_timeout(5000)")
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`BEGIN IMMEDIATE`); err != nil {
		panic(err)
	}
	journalLocks.Store(h, db)
}

func unlockJournal(h *house) {
	if db, ok := journalLocks.LoadAndDelete(h); ok {
		db.(*sql.DB).Exec(`ROLLBACK`)
		db.(*sql.DB).Close()
	}
}

func TestFaultDisk(t *testing.T) {
	t.Parallel()
	for _, tr := range troubles(t) {
		house := func(t *testing.T, options ...option) *house {
			t.Parallel()
			h := diskHouse(t, options...)
			if tr.prepare != nil {
				tr.prepare(h)
			}
			t.Cleanup(func() { unlockJournal(h) })
			h.zego.Login("live-42", "ann", "ben")
			h.run(tr.asUs)
			return h
		}
		t.Run(tr.name+", with a card to confirm", func(t *testing.T) {
			h := house(t)
			card := h.asks(h.alice, "live-42")
			h.quiet()
			tr.begin(h)
			h.refuses(card, tr.words...)
			h.ready(false)
			h.staysUnready(2500 * time.Millisecond)
			assert.Empty(t, h.closeCalls("live-42"))
			tr.end(h)
			h.ready(true)
			h.eventually("a click counts", func() bool {
				return h.press(h.alice, card, closeRoom).Result == slacksim.Acked
			})
			h.shows(card, "Closed live-42")
			h.honest()
			assert.Len(t, h.zego.Executions(), 1)
		})
		t.Run(tr.name+", while a call is at ZEGO", func(t *testing.T) {
			h := house(t)
			card := h.asks(h.alice, "live-42")
			var once sync.Once
			h.zego.OnCall(func(c zegosim.Call, p zegosim.Phase) {
				if c.Action == "CloseRoom" && p == zegosim.Executed {
					once.Do(func() { tr.begin(h) })
				}
			})
			h.confirms(h.alice, card)
			h.eventually("it is executed", func() bool { return len(h.zego.Executions()) == 1 })
			h.ready(false)
			h.staysUnready(time.Second)
			assert.NotContains(t, h.read(card), "Closed", "not before it is on record")
			tr.end(h)
			h.ready(true)
			h.shows(card, "Closed live-42")
			h.honest()
			assert.Len(t, h.closeCalls("live-42"), 1)
		})
		t.Run(tr.name+", while a card is being posted", func(t *testing.T) {
			h := house(t)
			var once sync.Once
			h.slack.OnEvent(func(e slacksim.Event) {
				if e.Kind == slacksim.EffectDone && e.Method == "chat.postMessage" {
					once.Do(func() { tr.begin(h) })
				}
			})
			h.types(h.alice, "live-42")
			card := h.card(1)
			h.ready(false)
			tr.end(h)
			h.ready(true)
			h.eventually("the click is taken", func() bool { return h.press(h.alice, card, closeRoom).Result == slacksim.Acked })
			h.shows(card, "Closed live-42")
			h.honest()
			assert.Len(t, h.slack.Messages(h.ops), 1)
		})
		for how, end := range map[string]func(*process){"killed": (*process).kill, "stopped": func(p *process) { p.end() }} {
			t.Run(tr.name+", and the bot is "+how+" before it can record ZEGO's answer", func(t *testing.T) {
				h := house(t)
				card := h.asks(h.alice, "live-42")
				var once sync.Once
				h.zego.OnCall(func(c zegosim.Call, p zegosim.Phase) {
					if c.Action == "CloseRoom" && p == zegosim.Executed {
						once.Do(func() { tr.begin(h) })
					}
				})
				h.confirms(h.alice, card)
				h.ready(false)
				end(h.bot())
				tr.end(h)
				h.tolerated = append(h.tolerated, slacksim.OpenStorm)
				h.run(tr.asUs)
				h.eventually("the case ends", func() bool { return !h.state(1).Open() })
				h.honest()
				assert.Len(t, h.closeCalls("live-42"), 1)
				if how == "killed" { // a slow commit that has begun is waited for in a stop
					h.shows(card, "Not known whether live-42 was closed: ZEGO's answer was lost; nobody was in it at ")
				}
			})
		}
	}
}

// TestFaultDiskSlowClaim has the claim of a call take so long that the call would leave too
// late: it does not leave.
func TestFaultDiskSlowClaim(t *testing.T) {
	t.Parallel()
	h := diskHouse(t, with("ZEGO_CLOSE_INTERVAL=2s"))
	h.zego.Login("live-42", "ann", "ben")
	h.run()
	card := h.asks(h.alice, "live-42")
	h.quiet()
	h.confirms(h.alice, card)
	h.commitsTake(6 * time.Second)
	stalled := func() int {
		return h.count(`SELECT count(*) FROM entries WHERE kind = 'requeued' AND body LIKE '%stalled%'`)
	}
	h.eventually("the claim is given up", func() bool { return stalled() > 0 || len(h.closeCalls("live-42")) > 0 })
	assert.Empty(t, h.closeCalls("live-42"), "a call that left after its claim was %v old", 6*time.Second)
	h.commitsTake(0)
	h.shows(card, "Closed live-42")
	h.tells(card, "1 call.")
	h.honest()
}

// TestFaultDiskAtStart has the bot find a journal that it must not or cannot use.
func TestFaultDiskAtStart(t *testing.T) {
	t.Parallel()
	grown := func(t *testing.T) *house { // a journal with some cases in it
		h := diskHouse(t)
		h.run()
		for i := range 3 {
			h.asks(h.alice, fmt.Sprint("room-", i))
		}
		h.quiet()
		require.Equal(t, 0, h.child.end())
		h.tolerated = append(h.tolerated, slacksim.OpenStorm)
		return h
	}
	size := func(h *house) int64 {
		info, err := os.Stat(h.db)
		require.NoError(h.t, err)
		return info.Size()
	}
	for _, c := range []struct {
		name   string
		damage func(h *house)
		words  []string // of the last line
	}{
		{"the file is read-only", func(h *house) { os.Chmod(h.db, 0o400) }, []string{"permission denied"}},
		{"the directory is read-only", func(h *house) { os.Chmod(filepath.Dir(h.db), 0o500) }, []string{"journal.db"}},
		{"the directory is gone", func(h *house) { os.RemoveAll(filepath.Dir(h.db)) }, []string{"no such file or directory"}},
		{"the file is a directory", func(h *house) { os.Remove(h.db); os.Mkdir(h.db, 0o777) }, []string{"is a directory"}},
		{"cut in half", func(h *house) { os.Truncate(h.db, size(h)/2) }, []string{"damaged"}},
		{"cut by a page", func(h *house) { os.Truncate(h.db, size(h)-4096) }, []string{"damaged"}},
		{"cut to its first 100 bytes", func(h *house) { os.Truncate(h.db, 100) }, []string{"damaged"}},
		{"rubbish for a header", func(h *house) { h.overwrite(0, bytes.Repeat([]byte("rubbish!"), 512)) }, []string{"damaged"}},
		{"rubbish for the entries", func(h *house) { h.corrupt("entries") }, []string{"damaged"}},
		{"rubbish for the head", func(h *house) { h.corrupt("head") }, []string{"damaged"}},
		{"rubbish for the cases", func(h *house) { h.corrupt("cases") }, []string{"damaged"}},
		{"somebody else's database", func(h *house) {
			os.Remove(h.db)
			db, err := sql.Open("sqlite", h.db)
			require.NoError(h.t, err)
			_, err = db.Exec(`CREATE TABLE accounts (x)`)
			require.NoError(h.t, err)
			require.NoError(h.t, db.Close())
			os.Chown(h.db, nobody, nobody)
		}, []string{"not a journal of zegoclose"}},
		{"a text file", func(h *house) { os.WriteFile(h.db, bytes.Repeat([]byte("rubbish!"), 512), 0o600) }, []string{"damaged"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := grown(t)
			c.damage(h)
			calls := len(h.zego.Calls())
			// The directory of the journal may not be written to, so the commits are not counted.
			p := h.spawn(h.unprivileged, func(cmd *exec.Cmd) {
				for i, v := range cmd.Env {
					if strings.HasPrefix(v, childCommits+"=") {
						cmd.Env[i] = childCommits + "=" + os.DevNull
					}
				}
			})
			h.eventually("the process ends", p.gone)
			assert.Equal(t, 1, p.cmd.ProcessState.ExitCode())
			lines := strings.Split(strings.TrimSpace(h.out.String()), "\n")
			last := lines[len(lines)-1]
			t.Log(last)
			assert.True(t, strings.HasPrefix(last, "zegoclose: "), last)
			assert.Contains(t, last, filepath.Dir(h.db), "the operator is told where")
			for _, words := range c.words {
				assert.Contains(t, last, words)
			}
			assert.Len(t, h.zego.Calls(), calls)
		})
	}
}

// TestFaultDiskCorruptPage has a page hold rubbish that is not read before somebody types or
// presses.
func TestFaultDiskCorruptPage(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"deliveries", "sqlite_autoindex_cases_1", "sqlite_autoindex_deliveries_1", "cases_room"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			h := diskHouse(t)
			h.zego.Login("live-42", "ann", "ben")
			p := h.run()
			card := h.asks(h.alice, "live-42")
			h.quiet()
			require.Equal(t, 0, p.end())
			h.tolerated = append(h.tolerated, slacksim.OpenStorm)
			h.corrupt(table)
			h.run()

			began := time.Now()
			h.oneOf(h.types(h.bob, "another-room"), []string{nothingDone})
			assert.Less(t, time.Since(began), 3*time.Second)
			h.ready(false)
			h.staysUnready(2500 * time.Millisecond)
			if table != "cases_room" { // which a click does not need
				assert.Equal(t, slacksim.Warning, h.press(h.alice, card, closeRoom).Result)
				h.hears(h.alice, nothingDone)
				assert.Empty(t, h.closeCalls("live-42"))
			}
			assert.Len(t, h.slack.Messages(h.ops), 1)
			assert.Contains(t, h.out.String(), "the journal is damaged: stop the bot")
			h.bot().kill()
		})
	}
}

// corrupt fills the first page of a table or index with rubbish.
func (h *house) corrupt(table string) {
	h.t.Helper()
	var root int64
	h.query(&root, `SELECT rootpage FROM sqlite_master WHERE name = $1`, table)
	h.overwrite((root-1)*4096, bytes.Repeat([]byte("rubbish!"), 512))
}

func (h *house) overwrite(at int64, b []byte) {
	h.t.Helper()
	f, err := os.OpenFile(h.db, os.O_RDWR, 0)
	require.NoError(h.t, err)
	defer f.Close()
	_, err = f.WriteAt(b, at)
	require.NoError(h.t, err)
}

// TestFaultDiskUnderway does to the journal of a running bot what only an accident or an
// intruder does.
func TestFaultDiskUnderway(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(h *house) error
	}{
		{"cut in half", func(h *house) error { return os.Truncate(h.db, 16384) }},
		{"emptied", func(h *house) error { return os.Truncate(h.db, 0) }},
		{"removed", func(h *house) error { return os.Remove(h.db) }},
		{"its log removed", func(h *house) error { return os.Remove(h.db + "-wal") }},
		{"moved away", func(h *house) error { return os.Rename(h.db, h.db+".old") }},
		{"replaced by a copy", func(h *house) error {
			b, err := os.ReadFile(h.db)
			if err == nil {
				err = os.WriteFile(h.db+".copy", b, 0o666)
			}
			if err == nil {
				err = os.Rename(h.db+".copy", h.db)
			}
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := diskHouse(t)
			h.zego.Login("live-42", "ann", "ben")
			for range 2 { // the second life begins with everything in the file
				h.tolerated = append(h.tolerated, slacksim.OpenStorm)
				p := h.run()
				h.asks(h.alice, fmt.Sprint("before-", h.slack.CountMessages(h.ops)))
				h.quiet()
				require.Equal(t, 0, p.end())
			}
			h.run()
			card := h.asks(h.alice, "live-42")
			h.quiet()
			require.NoError(t, c.damage(h))
			h.refuses(card, nothingDone, notSure)
			h.ready(false)
			h.staysUnready(2500 * time.Millisecond)
			assert.Empty(t, h.closeCalls("live-42"))
			assert.Equal(t, 3, h.slack.CountMessages(h.ops))
			h.bot().kill()
		})
	}
}
