package audit_test

import (
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"zegoclose/internal/audit"
	"zegoclose/internal/journal"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func verify(t testing.TB, path string, heads ...string) audit.Verdict {
	t.Helper()
	r, err := journal.OpenReader(t.Context(), path)
	require.NoError(t, err)
	defer r.Close()
	v, err := audit.Verify(t.Context(), r, heads, nil)
	require.NoError(t, err)
	return v
}

func TestVerifyAcceptsAJournalMadeFromTheDocument(t *testing.T) {
	v := verify(t, makeJournal(t, 30))
	assert.Empty(t, v.Problems)
	assert.EqualValues(t, 1+7*30, v.Entries)
	assert.EqualValues(t, 30, v.Cases)
	assert.EqualValues(t, 60, v.Posts)
}

// BenchmarkVerify measures CPU time, all threads together, so entries/cpu-s is per core.
func BenchmarkVerify(b *testing.B) {
	path := makeJournal(b, 200_000/7)
	for b.Loop() {
		before, began := cpuTime(b), time.Now()
		v := verify(b, path)
		require.Empty(b, v.Problems)
		b.ReportMetric(float64(v.Entries)/(cpuTime(b)-before).Seconds(), "entries/cpu-s")
		b.ReportMetric(float64(v.Entries)/time.Since(began).Seconds(), "entries/s")
	}
}

func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestMillion is how long and how much memory a large journal takes.
func TestMillion(t *testing.T) {
	if os.Getenv("ZEGOCLOSE_TEST_LONG") == "" {
		t.Skip("set ZEGOCLOSE_TEST_LONG=1 to work with a million entries")
	}
	path := makeJournal(t, 1_000_000/7)
	r := openReader(t, path)
	for name, work := range map[string]func() (int64, error){
		"verify": func() (int64, error) {
			v, err := audit.Verify(t.Context(), r, nil, nil)
			assert.Empty(t, v.Problems)
			return v.Entries, err
		},
		"export cases": func() (int64, error) {
			return audit.ExportCases(t.Context(), r, audit.Selection{}, audit.CSV, io.Discard, nil)
		},
		"export entries": func() (int64, error) {
			return audit.ExportEntries(t.Context(), r, audit.Selection{}, audit.JSONL, io.Discard, nil)
		},
	} {
		runtime.GC()
		peak, stop := watchHeap()
		cpu, began := cpuTime(t), time.Now()
		n, err := work()
		require.NoError(t, err)
		stop()
		t.Logf("%-14s %8d in %5.1f s, %4.1f s of CPU; heap at most %d MB", name, n, time.Since(began).Seconds(), (cpuTime(t) - cpu).Seconds(), peak.Load()>>20)
		assert.Less(t, peak.Load(), int64(128<<20), "%s takes too much memory", name)
	}
}

// watchHeap samples how much memory the heap takes.
func watchHeap() (peak *atomic.Int64, stop func()) {
	peak = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), int64(m.HeapInuse)))
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return peak, func() { close(done) }
}
