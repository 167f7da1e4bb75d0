package bot_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"

	"github.com/stretchr/testify/require"
)

// The benchmarks measure the true program with its journal synced to disk, against both
// simulators in the same process; only BenchmarkBinary measures the program alone.

// BenchmarkCommandToAck is one moderator after the other: from the envelope's sending to
// its ack, the request recorded on disk in between.
func BenchmarkCommandToAck(b *testing.B) {
	h := openHouse(b, with("MAX_PENDING_PER_USER=0", "LOG_LEVEL=error"))
	b.ReportAllocs()
	var acks []time.Duration
	n := 0
	for b.Loop() {
		n++
		o := h.await(h.slack.Command(slacksim.Command{User: h.alice, Channel: h.ops, Text: fmt.Sprintf("room-%d", n)}))
		require.Equal(b, slacksim.Acked, o.Result)
		acks = append(acks, o.Latency)
	}
	reportQuantiles(b, acks, "ack")
}

// BenchmarkClickToCloseRoom is from the sending of the click's envelope to the arrival of
// CloseRoom at ZEGO; BenchmarkClickToThread to the arrival of the result in the thread.
func BenchmarkClickToCloseRoom(b *testing.B) {
	benchmarkClick(b, "close", func(h *house, room string, arrived chan<- time.Time) {
		h.zego.OnCall(func(c zegosim.Call, p zegosim.Phase) {
			if c.Action == "CloseRoom" && p == zegosim.Arrived {
				arrived <- time.Now()
			}
		})
	})
}

func BenchmarkClickToThread(b *testing.B) {
	benchmarkClick(b, "thread", func(h *house, room string, arrived chan<- time.Time) {
		h.slack.OnEvent(func(e slacksim.Event) {
			if e.Kind == slacksim.EffectDone && e.Method == "chat.postMessage" && e.ThreadTS != "" {
				arrived <- time.Now()
			}
		})
	})
}

func benchmarkClick(b *testing.B, unit string, observe func(h *house, room string, arrived chan<- time.Time)) {
	h := openHouse(b, with("MAX_PENDING_PER_USER=0", "LOG_LEVEL=error"))
	arrived := make(chan time.Time, 10)
	observe(h, "", arrived)
	b.ReportAllocs()
	var took []time.Duration
	n := 0
	for b.Loop() {
		n++
		b.StopTimer()
		room := fmt.Sprintf("room-%d", n)
		h.zego.Login(room, "ann")
		h.types(h.alice, room)
		card := h.card(n)
		h.settled()
		b.StartTimer()
		pressed := h.press(h.alice, card, closeRoom)
		took = append(took, (<-arrived).Sub(pressed.Sent))
		require.Equal(b, slacksim.Acked, pressed.Result)
		b.StopTimer()
		h.eventually("the card is done", func() bool { return strings.Contains(h.read(card), "Closed") })
		b.StartTimer()
	}
	reportQuantiles(b, took, unit)
}

func reportQuantiles(b *testing.B, ds []time.Duration, unit string) {
	slices.Sort(ds)
	at := func(q float64) float64 { return float64(ds[int(q*float64(len(ds)-1))].Microseconds()) / 1000 }
	b.ReportMetric(at(0.5), unit+"-p50-ms")
	b.ReportMetric(at(0.99), unit+"-p99-ms")
}

// BenchmarkBinary measures the built program as a process of its own: start to hello,
// resident memory idle and under load, processor time a command, acks at 500 commands/s.
func BenchmarkBinary(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "zegoclose")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "zegoclose/cmd/zegoclose")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(b, err, string(out))

	var hellos, acks []time.Duration
	var idle, loaded, cpu float64
	for b.Loop() {
		h := newHouse(b, with("MAX_PENDING_PER_USER=0", "LOG_LEVEL=warn"), slackLike(func(c *slacksim.Config) {
			c.Limits = slacksim.Limits{PostEvery: time.Second, PostsPerMinute: -1}
		}))
		cmd := exec.Command(binary)
		cmd.Env, cmd.Stderr = h.environ(), h.out
		begun := time.Now()
		require.NoError(b, cmd.Start())
		h.eventually("hello", func() bool { return h.slack.Ready() >= 1 })
		hellos = append(hellos, time.Since(begun))
		h.eventually("both hellos", func() bool { return h.slack.Ready() >= 2 })
		h.types(h.alice, "first")
		h.card(1)
		idle = max(idle, resident(b, cmd.Process.Pid))

		const rate, seconds = 500, 5
		before := cpuTime(b, cmd.Process.Pid)
		var mu sync.Mutex
		var wg sync.WaitGroup
		tick := time.NewTicker(time.Second / rate)
		peak := 0.0
		for i := range rate * seconds {
			<-tick.C
			d := h.slack.Command(slacksim.Command{User: h.alice, Channel: h.ops, Text: fmt.Sprintf("room-%d spam", i)})
			wg.Go(func() {
				o := h.await(d)
				mu.Lock()
				defer mu.Unlock()
				acks = append(acks, o.Latency)
			})
			if i%100 == 0 {
				peak = max(peak, resident(b, cmd.Process.Pid))
			}
		}
		tick.Stop()
		wg.Wait()
		cpu = max(cpu, float64((cpuTime(b, cmd.Process.Pid)-before).Microseconds())/1000/(rate*seconds))
		loaded = max(loaded, peak, resident(b, cmd.Process.Pid))
		require.NoError(b, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(b, cmd.Wait())
		h.tolerated = append(h.tolerated, slacksim.CalledDuringPause)
	}
	reportQuantiles(b, hellos, "hello")
	reportQuantiles(b, acks, "ack")
	b.ReportMetric(idle, "idle-MiB")
	b.ReportMetric(loaded, "loaded-MiB")
	b.ReportMetric(cpu, "cpu-ms/command")
}

// resident is the memory of a process in MiB, as the system counts it.
func resident(b *testing.B, pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skipf("resident memory cannot be read on %s: %v", runtime.GOOS, err)
	}
	for l := range bytes.Lines(status) {
		if kb, ok := bytes.CutPrefix(l, []byte("VmRSS:")); ok {
			n, err := strconv.Atoi(strings.Fields(string(kb))[0])
			require.NoError(b, err)
			return float64(n) / 1024
		}
	}
	return 0
}

// cpuTime is the processor time that a process has used so far.
func cpuTime(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(b, err)
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks := 0
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(f)
		require.NoError(b, err)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}
