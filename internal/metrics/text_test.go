package metrics

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTextFormat(t *testing.T) {
	f := newFamily(counter, "odd_total", "With \\ and\na line.", "a", "b")
	f.add(1, `q"uote`, `back\slash`)
	f.add(2, "plain", "")
	f.add(0.5, "plain", "")
	h := newFamily(histogram, "took_seconds", "Times.", "of")
	h.buckets = []float64{.1, 1, 10}
	for _, v := range []float64{.05, .1, .2, 1, 5, 100} {
		h.observe(v, "x")
	}
	none := newFamily(counter, "labelled_total", "Nothing yet.", "a")
	zero := newFamily(counter, "plain_total", "Nothing yet.")
	var b strings.Builder
	require.NoError(t, writeAll(&b, []*family{f, h, none, zero}))
	assert.Equal(t, `# HELP zegoclose_odd_total With \\ and\na line.
# TYPE zegoclose_odd_total counter
zegoclose_odd_total{a="plain",b=""} 2.5
zegoclose_odd_total{a="q\"uote",b="back\\slash"} 1
# HELP zegoclose_took_seconds Times.
# TYPE zegoclose_took_seconds histogram
zegoclose_took_seconds_bucket{of="x",le="0.1"} 2
zegoclose_took_seconds_bucket{of="x",le="1"} 4
zegoclose_took_seconds_bucket{of="x",le="10"} 5
zegoclose_took_seconds_bucket{of="x",le="+Inf"} 6
zegoclose_took_seconds_sum{of="x"} 106.35
zegoclose_took_seconds_count{of="x"} 6
# HELP zegoclose_plain_total Nothing yet.
# TYPE zegoclose_plain_total counter
zegoclose_plain_total 0
`, b.String())
}

func TestCountingAtOnce(t *testing.T) {
	m := New("test")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				m.Command(Recorded)
				m.Waited(1)
			}
		})
	}
	wg.Wait()
	var b strings.Builder
	require.NoError(t, writeAll(&b, m.counted))
	assert.Contains(t, b.String(), "zegoclose_commands_total{result=\"recorded\"} 8000\n")
	assert.Contains(t, b.String(), "zegoclose_queue_wait_seconds_count 8000\n")
}

// Nobody who can send us something decides about the labels.
func TestLabelsAreWords(t *testing.T) {
	for s, want := range map[string]string{"not_listed": "not_listed", "": "other", "U0ALICE": "other", "a b": "other", "ünï": "other", strings.Repeat("a", 65): "other"} {
		assert.Equal(t, want, word(s), s)
	}
	(*Metrics)(nil).Command(Recorded) // counts nothing, and does not mind
	(*Metrics)(nil).Committed(0, nil, nil)
}
