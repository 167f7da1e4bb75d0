package metrics

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The text format of Prometheus ("Exposition formats", version 0.0.4) is written here, in
// place of its client library: that makes the program a quarter larger and its memory by
// 3 MiB, whether metrics are asked for or not.

// A family is everything that is counted under one name.
type family struct {
	name, help string
	kind       kind
	labels     []string
	buckets    []float64 // upper limits of a histogram, growing

	mu     sync.Mutex
	series map[string]*series // by the values of the labels
}

type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// A series is what is counted for one set of values of the labels.
type series struct {
	value  float64  // of a histogram, the sum
	count  uint64   // histogram
	within []uint64 // histogram: how many fell into each bucket, and not into one before
}

func newFamily(kind kind, name, help string, labels ...string) *family {
	return &family{name: namespace + "_" + name, help: help, kind: kind, labels: labels, series: make(map[string]*series)}
}

// at returns the series with these values. The caller holds f.mu.
func (f *family) at(values []string) *series {
	key := strings.Join(values, "\xff")
	s, ok := f.series[key]
	if !ok {
		s = &series{within: make([]uint64, len(f.buckets))}
		f.series[key] = s
	}
	return s
}

// add counts n more; with 0 the series only comes into being.
func (f *family) add(n float64, values ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at(values).value += n
}

// observe counts one value of a histogram.
func (f *family) observe(v float64, values ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.at(values)
	s.value += v
	s.count++
	if i, _ := slices.BinarySearch(f.buckets, v); i < len(f.buckets) {
		s.within[i]++
	}
}

// set sets a gauge, or a counter that somebody else keeps.
func (f *family) set(v float64, values ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at(values).value = v
}

// write writes the family, in the same order every time.
func (f *family) write(w io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.series) == 0 && len(f.labels) > 0 {
		return
	}
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", f.name, escape(f.help, false), f.name, f.kind)
	if len(f.series) == 0 {
		f.at(nil)
	}
	for _, key := range slices.Sorted(maps.Keys(f.series)) {
		s := f.series[key]
		pairs := f.pairs(key)
		if f.kind != histogram {
			sample(w, f.name, pairs, s.value)
			continue
		}
		upTo := uint64(0)
		for i, limit := range f.buckets {
			upTo += s.within[i]
			sample(w, f.name+"_bucket", append(pairs, `le="`+number(limit)+`"`), float64(upTo))
		}
		sample(w, f.name+"_bucket", append(pairs, `le="+Inf"`), float64(s.count))
		sample(w, f.name+"_sum", pairs, s.value)
		sample(w, f.name+"_count", pairs, float64(s.count))
	}
}

// pairs are the labels of a series as they are written.
func (f *family) pairs(key string) []string {
	pairs := make([]string, 0, len(f.labels)+1)
	for i, value := range strings.Split(key, "\xff")[:len(f.labels)] {
		pairs = append(pairs, f.labels[i]+`="`+escape(value, true)+`"`)
	}
	return pairs
}

func sample(w io.Writer, name string, pairs []string, v float64) {
	if len(pairs) > 0 {
		name += "{" + strings.Join(pairs, ",") + "}"
	}
	fmt.Fprintf(w, "%s %s\n", name, number(v))
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func escape(s string, quoted bool) string {
	s = strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(s)
	if quoted {
		s = strings.ReplaceAll(s, `"`, `\"`)
	}
	return s
}

// writeAll writes families.
func writeAll(w io.Writer, families []*family) error {
	b := bufio.NewWriter(w)
	for _, f := range families {
		f.write(b)
	}
	return b.Flush()
}
