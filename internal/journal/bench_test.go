package journal_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"zegoclose/internal/journal"
)

// cpu is the processor time of this process so far, all threads together.
func cpu() time.Duration {
	var u syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func reportCPU(b *testing.B, used time.Duration) {
	b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/op")
}

func benchJournal(b *testing.B) *journal.Journal {
	j := must(journal.Open(context.Background(), journal.Config{Path: filepath.Join(b.TempDir(), "journal.db")}))
	b.Cleanup(func() { j.Close() })
	b.ReportAllocs()
	return j
}

func benchRequest(i int64) journal.Request {
	r := request(journal.Person{ID: fmt.Sprint("U", i), Name: "alice", Team: "T1"}, fmt.Sprint("room-", i))
	r.Delivery = fmt.Sprint("env-", i)
	return r
}

func BenchmarkRequest(b *testing.B) {
	j := benchJournal(b)
	before := cpu()
	var i int64
	for b.Loop() {
		i++
		_, _, err := j.Request(context.Background(), benchRequest(i))
		check(err)
	}
	reportCPU(b, cpu()-before)
}

func BenchmarkRequestFrom64AtOnce(b *testing.B) {
	j := benchJournal(b)
	b.SetParallelism(32) // times GOMAXPROCS
	before := cpu()
	var i atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _, err := j.Request(context.Background(), benchRequest(i.Add(1)))
			check(err)
		}
	})
	reportCPU(b, cpu()-before)
}

// BenchmarkClose is what lies between a click and the words for the thread: the click, the
// claim, the answer.
func BenchmarkClose(b *testing.B) {
	j := benchJournal(b)
	ctx := context.Background()
	cases := make([]journal.Case, 0, 1024)
	offer := journal.Draft{Kind: journal.Offered, Facts: journal.Facts{Until: journal.MicrosOf(time.Now().Add(time.Hour))}}
	before := cpu()
	for i := int64(0); i < int64(b.N); i++ {
		if len(cases) == 0 {
			b.StopTimer()
			setUp := cpu()
			for k := range min(int64(b.N)-i, 1024) {
				c, _, err := j.Request(ctx, benchRequest(i+k))
				check(err)
				c, p, err := j.Sending(ctx, c.Number, offer)
				check(err)
				check(j.Sent(ctx, p, fmt.Sprint("1700000000.", c.Number)))
				cases = append(cases, must(j.Case(ctx, c.Number)))
			}
			before += cpu() - setUp
			b.StartTimer()
		}
		c := cases[0]
		cases = cases[1:]
		k := click(c, alice, journal.Confirmed)
		k.Delivery = fmt.Sprint("click-", i)
		must(j.Settle(ctx, k))
		c, _, _, err := j.Claim(ctx)
		check(err)
		must(j.Record(ctx, c.Number, c.State, answered("done", 0), ended(journal.StateClosed)))
	}
	reportCPU(b, cpu()-before)
}
