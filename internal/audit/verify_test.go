package audit_test

import (
	"context"
	"io"
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

// BenchmarkMillion is how long a journal of a million entries takes, and how much memory.
func BenchmarkMillion(b *testing.B) {
	r := openReader(b, makeJournal(b, 1_000_000/7))
	for _, work := range []struct {
		name string
		do   func(context.Context) (int64, error)
	}{
		{"verify", func(ctx context.Context) (int64, error) {
			v, err := audit.Verify(ctx, r, nil, nil)
			assert.Empty(b, v.Problems)
			return v.Entries, err
		}},
		{"export cases", func(ctx context.Context) (int64, error) {
			return audit.ExportCases(ctx, r, audit.Selection{}, audit.CSV, io.Discard, nil)
		}},
		{"export entries", func(ctx context.Context) (int64, error) {
			return audit.ExportEntries(ctx, r, audit.Selection{}, audit.JSONL, io.Discard, nil)
		}},
	} {
		b.Run(work.name, func(b *testing.B) {
			runtime.GC()
			peak, stop := watchHeap()
			defer stop()
			cpu := cpuTime(b)
			for b.Loop() {
				_, err := work.do(b.Context())
				require.NoError(b, err)
			}
			b.ReportMetric((cpuTime(b)-cpu).Seconds()/float64(b.N), "cpu-s/op")
			b.ReportMetric(float64(peak.Load()>>20), "heap-MB")
		})
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
