package bot_test

import (
	"regexp"
	"testing"

	"zegoclose/internal/slacksim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A reviewer's hour: who closed live-42, why, did a second person see it, and can that be
// believed? The transcript in docs/auditing.md is what this test logs.
func TestReviewersHour(t *testing.T) {
	h, carol := reviewHouse(t)
	h.zego.Login("live-42", "ann", "ben", "cat")
	h.zego.Login("live-7", "dan")
	first := h.asks(h.alice, "live-42 spam links in chat")
	h.confirms(h.alice, first)
	h.tells(first, "Closed by ZEGO")
	second := h.asks(h.bob, "live-7 test")
	h.press(h.bob, second, cancel)
	h.tells(second, "Cancelled")

	say := func(who, text string) slacksim.Message {
		shown, m := h.reviews(who, text)
		t.Logf("%s: /zego-audit %s\n%s", who, text, shown)
		return m
	}
	run := func(exit int, args ...string) string {
		got, out := h.audit(args...)
		assert.Equal(t, exit, got)
		t.Logf("$ zegoclose audit %q\n%s(exit %d)", args, out, got)
		return out
	}
	// From Slack alone.
	say(carol, "room live-42")
	file := say(carol, "case 1")
	h.hears(carol, "The posts of #1 match the journal: 2 of 2.")
	require.Equal(t, slacksim.Acked, h.press(carol, file, "zego_audit_reviewed").Result)
	h.submits(carol, "checked against the chat log, rightly closed")
	h.tells(first, "Reviewed by @carol")
	h.settled()
	t.Logf("the channel\n%s", h.transcript())

	// From the export, then proven.
	run(0, "export", "-room", "live-42", "-since", "30d")
	line := h.replies(first)
	hash := regexp.MustCompile(`[0-9a-f]{8}$`).FindString(line[len(line)-1])
	assert.Contains(t, run(0, "verify", "-head", hash), "sound")
	assert.Contains(t, run(0, "reconcile"), "agreed")
	assert.Contains(t, run(0, "export", "-unreviewed", "-format", "jsonl"), `"case":2`)

	// And if somebody had touched the record.
	reply := h.slack.Thread(first.Channel, first.TS)[1]
	h.slack.Delete(reply.Channel, reply.TS, h.bob)
	assert.Contains(t, run(1, "reconcile"), "MISSING case #1")
}
