package bot_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"zegoclose/internal/slacksim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Periods of two seconds: quiet ones are posted too, missed ones are caught up, none is
// posted twice, and together they cover the time without a gap.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	h := newHouse(t, with("AUDIT_CHANNEL=C0AUDIT", "AUDIT_CHECKPOINT=1s"))
	audit := h.slack.AddChannel(slacksim.Channel{ID: "C0AUDIT", Name: "audit", BotMember: true}).ID
	h.start()
	h.types(h.alice, "live-42")
	h.types(h.mallory, "live-42")
	checkpoints := func() (found []slacksim.Message) {
		for _, m := range h.slack.Messages(audit) {
			if strings.HasPrefix(m.Text, "Checkpoint") {
				found = append(found, m)
			}
		}
		return found
	}
	h.eventually("three checkpoints", func() bool { return len(checkpoints()) >= 3 })
	h.stop()
	before := len(checkpoints())
	time.Sleep(2500 * time.Millisecond)
	h.start()
	h.eventually("missed ones are caught up", func() bool { return len(checkpoints()) >= before+3 })
	h.stop()

	var all []string
	end := ""
	for i, m := range checkpoints() {
		text := h.slack.Render(m, h.alice)
		all = append(all, text)
		period := regexp.MustCompile(`<!date\^(\d+)`).FindAllStringSubmatch(m.Text, 2)
		require.Len(t, period, 2, m.Text)
		if i > 0 {
			assert.Equal(t, end, period[0][1], "a checkpoint begins where the one before ends")
		}
		end = period[1][1]
	}
	assert.Contains(t, strings.Join(all, "\n"), "Cases opened: 1. Ended: none. Refusals: 1. Open now: 1.")
	assert.Contains(t, strings.Join(all, "\n"), "Nothing was asked for, nothing ended. Refusals: 0. Open now: 1.")

	hash := regexp.MustCompile(`hash ([0-9a-f]{64})`).FindStringSubmatch(all[len(all)-1])
	require.NotNil(t, hash)
	exit, out := h.audit("verify", "-head", hash[1])
	assert.Zero(t, exit, out)
	assert.Contains(t, out, "of the chain")
	exit, out = h.audit("reconcile")
	assert.Zero(t, exit, out)

	h.slack.Delete(audit, checkpoints()[1].TS, h.bob)
	exit, out = h.audit("reconcile")
	assert.Equal(t, 1, exit)
	assert.Contains(t, out, "the checkpoint is not in C0AUDIT any more")
}

func TestCheckpointsNeedAChannel(t *testing.T) {
	h := newHouse(t, with("AUDIT_CHECKPOINT=daily"))
	exit, out := h.command()
	assert.Equal(t, 2, exit)
	assert.Contains(t, out, "AUDIT_CHECKPOINT is daily, but AUDIT_CHANNEL is not set")
	h.env["AUDIT_CHECKPOINT"] = "hourly"
	_, out = h.command()
	assert.Contains(t, out, `AUDIT_CHECKPOINT is "hourly", not off, daily or weekly`)
}
