package bot_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"zegoclose/internal/app"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"
)

// What the test binary is told when it runs as the bot.
const (
	childMarker  = "ZEGOCLOSE_CHILD"         // set: be the bot, not the tests
	childDie     = "ZEGOCLOSE_CHILD_DIE"     // "before 7" or "after 7": which commit is the last
	childCommits = "ZEGOCLOSE_CHILD_COMMITS" // a file that grows by one byte a commit
	childDelay   = "ZEGOCLOSE_CHILD_DELAY"   // a file that says how long a commit takes, such as 5s
	childHolds   = "ZEGOCLOSE_CHILD_HOLDS"   // a file to write at SIGUSR1: goroutines, bytes of heap
)

// TestMain makes the test binary the bot itself when a test starts it as a child: the true
// program, but as a process that can be killed at a chosen instant.
func TestMain(m *testing.M) {
	if os.Getenv(childMarker) == "" {
		if !raceDetector() { // most of what runs in parallel waits
			flag.Set("test.parallel", strconv.Itoa(5*runtime.GOMAXPROCS(0)))
		}
		os.Exit(m.Run())
	}
	go func() { // the pipe breaks when the tests die, however they die
		io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	watchCommits()
	tellHoldings()
	os.Exit(app.Run(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// raceDetector reports whether the tests run with -race, and so several times slower.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// tellHoldings lets this process say at SIGUSR1 what it holds.
func tellHoldings() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		for range asked {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			os.WriteFile(os.Getenv(childHolds), fmt.Appendf(nil, "%d %d\n", runtime.NumGoroutine(), m.HeapAlloc), 0o666)
		}
	}()
}

// watchCommits has SQLite call this process before each commit of the journal.
func watchCommits() {
	var when string
	var last int64
	fmt.Sscan(os.Getenv(childDie), &when, &last)
	log, err := os.OpenFile(os.Getenv(childCommits), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		panic(err)
	}
	var commits atomic.Int64
	sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, dsn string) error {
		conn.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 {
			n := commits.Add(1)
			switch {
			case n != last:
			case when == "before":
				die()
			case when == "after":
				began := make(chan struct{})
				go dieAfterCommit(os.Getenv("DATABASE_URL")+"-shm", began)
				<-began
			}
			log.Write([]byte{'.'})
			if b, err := os.ReadFile(os.Getenv(childDelay)); err == nil {
				d, _ := time.ParseDuration(strings.TrimSpace(string(b)))
				time.Sleep(d)
			}
			return 0
		})
		return nil
	})
}

// dieAfterCommit dies as soon as the transaction under way is on disk: SQLite then counts up
// a number in the header of its WAL index (https://www.sqlite.org/walformat.html). It takes a
// core for itself, so that the program gets no further.
func dieAfterCommit(shm string, began chan<- struct{}) {
	runtime.LockOSThread()
	f, err := os.Open(shm)
	if err != nil {
		panic(err) // the journal is not in WAL mode
	}
	changes := func() uint32 {
		var b [4]byte
		f.ReadAt(b[:], 8)
		return binary.NativeEndian.Uint32(b[:])
	}
	before := changes()
	close(began)
	for changes() == before {
	}
	die()
}

// die is the end without a last word.
func die() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// process is the bot as a process of its own.
type process struct {
	h    *house
	cmd  *exec.Cmd
	life io.Closer     // closing it ends the process too
	dead chan struct{} // closed when it is gone
}

// diesAt lets the process kill itself right before, or right after, its n-th commit.
func diesAt(when string, n int) func(*exec.Cmd) {
	return func(c *exec.Cmd) { c.Env = append(c.Env, fmt.Sprintf("%s=%s %d", childDie, when, n)) }
}

// spawn runs the program as a process. It does not wait until it serves commands.
func (h *house) spawn(changes ...func(*exec.Cmd)) *process {
	h.t.Helper()
	self, err := os.Executable()
	require.NoError(h.t, err)
	cmd := exec.Command(self)
	cmd.Env = append(h.environ(), childMarker+"=1", childCommits+"="+h.commitLog(), childDelay+"="+h.commitDelay(), childHolds+"="+h.holdingsFile(), "TMPDIR="+os.TempDir())
	if testing.CoverMode() != "" { // or it complains, where its own last words should be
		cmd.Env = append(cmd.Env, "GOCOVERDIR="+h.t.TempDir())
	}
	cmd.Stdout, cmd.Stderr = h.out, h.out
	for _, change := range changes {
		change(cmd)
	}
	life, err := cmd.StdinPipe()
	require.NoError(h.t, err)
	require.NoError(h.t, os.RemoveAll(h.commitLog()))
	require.NoError(h.t, cmd.Start())
	p := &process{h: h, cmd: cmd, life: life, dead: make(chan struct{})}
	go func() {
		cmd.Wait()
		if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
			h.killed.Store(true)
		}
		close(p.dead)
	}()
	h.child = p
	h.victim.Store(p)
	return p
}

// bot returns the process that runs, for observers, who may be faster than spawn returns.
func (h *house) bot() *process {
	for h.victim.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	return h.victim.Load()
}

// startChild is spawn, until the process serves commands or is dead.
func (h *house) startChild(changes ...func(*exec.Cmd)) *process {
	h.t.Helper()
	h.eventually("the sockets of the last life are gone", func() bool { return h.slack.Ready() == 0 })
	p := h.spawn(changes...)
	h.eventually("the bot says hello", func() bool { return p.gone() || h.slack.Ready() >= h.connections() })
	return p
}

func (p *process) gone() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// kill is SIGKILL. When it returns the process is no more. It may be called from an
// observer of a simulator, and more than once.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.dead
}

// end stops the process in good order and returns its exit code.
func (p *process) end() int {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.dead:
	case <-time.After(patience):
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// connections is how many sockets the bot keeps.
func (h *house) connections() int {
	n := 2
	fmt.Sscan(h.env["SLACK_CONNECTIONS"], &n)
	return n
}

func (h *house) commitLog() string    { return filepath.Join(filepath.Dir(h.db), "commits") }
func (h *house) commitDelay() string  { return filepath.Join(filepath.Dir(h.db), "delay") }
func (h *house) holdingsFile() string { return filepath.Join(filepath.Dir(h.db), "holdings") }

// commits is how many commits the process has begun.
func (h *house) commits() int {
	info, err := os.Stat(h.commitLog())
	if err != nil {
		return 0
	}
	return int(info.Size())
}

// commitsTake makes every commit of a child last d from now on.
func (h *house) commitsTake(d time.Duration) {
	h.t.Helper()
	require.NoError(h.t, os.WriteFile(h.commitDelay(), []byte(d.String()), 0o644))
}
