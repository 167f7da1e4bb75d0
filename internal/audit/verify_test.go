package audit_test

import (
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
