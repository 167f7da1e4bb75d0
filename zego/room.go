package zego

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits that ZEGO states in bytes of UTF-8, before percent-encoding.
const (
	MaxRoomIDBytes = 128 // the longest that any of ZEGO's pages allows
	MaxReasonBytes = 256 // "CloseRoom", CustomReason
)

// usualInRoomID is every character that at least one of ZEGO's lists of room id
// characters has, letters and digits aside; the lists disagree (native SDK:
// backslash and percent sign; Web SDK: slash).
const usualInRoomID = "~!@#$%^&*()_+=-`;',.<>\\/"

// UnusualRoomID returns the characters of id, each once, that none of ZEGO's
// published lists allows in a room id. They are a reason to warn of a slip of
// the keyboard, not to refuse: whoever must close a room must be able to close
// any room that exists.
func UnusualRoomID(id string) []rune {
	var unusual []rune
	for _, r := range id {
		usual := '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || strings.ContainsRune(usualInRoomID, r)
		if !usual && !slices.Contains(unusual, r) {
			unusual = append(unusual, r)
		}
	}
	return unusual
}

// TruncateReason returns as much of s as CustomReason can carry, never cutting
// a character in two.
func TruncateReason(s string) string { return cut(s, MaxReasonBytes) }

// cut returns the longest beginning of s that has at most n bytes and ends
// between two characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	end := n
	for end > n-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

func checkRoomID(action, id string) error {
	switch n := len(id); {
	case n == 0:
		return &RequestError{Action: action, Problem: "the room id is empty"}
	case n > MaxRoomIDBytes:
		return &RequestError{Action: action, Problem: fmt.Sprintf("the room id has %d bytes, %d at most", n, MaxRoomIDBytes)}
	}
	return nil
}
