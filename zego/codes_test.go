package zego_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"zegoclose/zego"
)

// The judgement on every code that ZEGO documents, once more and from the
// pages, so that a slip in the table shows.
func TestLookup(t *testing.T) {
	type verdict struct {
		effect zego.Effect
		retry  zego.Retry
	}
	want := map[int]verdict{
		0:         {zego.Done, zego.Never},
		1:         {zego.Unknown, zego.Never},
		7:         {zego.NotDone, zego.SlowDown},
		206:       {zego.NotDone, zego.SlowDown},
		207:       {zego.NotDone, zego.SlowRoom},
		5018:      {zego.Unknown, zego.Never},
		100000004: {zego.NotDone, zego.Resign},
		100000011: {zego.NotDone, zego.Resign},
		100000015: {zego.Unknown, zego.Never},
	}
	for _, code := range []int{104, 5024, 50001} {
		want[code] = verdict{zego.Absent, zego.Never}
	}
	for _, code := range []int{2, 3, 8, 9, 100000000, 100000001, 100000002, 100000003, 100000005, 100000006,
		100000007, 100000008, 100000009, 100000010, 100000012, 100000013, 100000014, 100000016, 100000017} {
		want[code] = verdict{zego.NotDone, zego.Never}
	}
	for _, code := range []int{105, 121, 122, 123, 124, 138, 151, 154, 1008, 1012, 5201, 5202, 50002, 50003, 50011, 50012, 50013, 50123, 50124} {
		want[code] = verdict{zego.Unknown, zego.Never} // other actions' codes
	}
	for code, v := range want {
		info := zego.Lookup(code)
		assert.Equal(t, v, verdict{info.Effect, info.Retry}, "code %d", code)
		assert.True(t, info.Documented, "code %d", code)
		assert.Equal(t, code, info.Code)
		assert.NotEmpty(t, info.Meaning, "code %d", code)
		if code != 0 {
			err := &zego.Error{Action: "CloseRoom", Code: code}
			assert.NotEmpty(t, info.Remedy, "code %d", code)
			assert.Equal(t, v, verdict{zego.EffectOf(err), zego.RetryOf(err)}, "code %d", code)
		}
	}
	documented := 0
	for code := range 60_000 {
		for _, base := range []int{0, 100_000_000} {
			if zego.Lookup(base + code).Documented {
				documented++
			}
		}
	}
	assert.Equal(t, len(want), documented, "codes in the table that this test does not know")
}

func TestLookupUndocumented(t *testing.T) {
	for _, code := range []int{-1, 4, 6, 99, 660300001, 100000018, 2147483647} {
		info := zego.Lookup(code)
		assert.Equal(t, zego.CodeInfo{Code: code, Meaning: info.Meaning, Remedy: info.Remedy, Retry: zego.Never, Effect: zego.Unknown}, info)
		assert.NotEmpty(t, info.Meaning)
		assert.NotEmpty(t, info.Remedy)
	}
}

// What may be repeated is what certainly did nothing.
func TestNoRetryAfterAnEffect(t *testing.T) {
	for code := range 60_000 {
		if info := zego.Lookup(code); info.Retry != zego.Never {
			assert.Equal(t, zego.NotDone, info.Effect, "code %d", code)
		}
	}
}
