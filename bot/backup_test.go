package bot_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"zegoclose/internal/slacksim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A backup made while the bot works is a sound journal, with which the bot can go on.
func TestBackup(t *testing.T) {
	h := openHouse(t, with("MAX_PENDING_PER_USER=0", "ZEGO_TIMEOUT=5s"))
	stop := make(chan struct{})
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				h.slack.Command(slacksim.Command{User: h.alice, Channel: h.ops, Text: fmt.Sprintf("room-%d", n)})
			}
		}
	}()
	h.card(1)
	copies := t.TempDir()
	for n := range 5 {
		file := filepath.Join(copies, fmt.Sprintf("it's %d.db", n))
		code, out := h.runs("audit", "backup", file)
		require.Equal(t, 0, code, out)
		assert.Contains(t, out, "check it with: zegoclose audit verify")
		code, out = h.runs("audit", "verify", "-journal", file)
		require.Equal(t, 0, code, out)
		info, err := os.Stat(file)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	close(stop)
	<-busy
	left, err := os.ReadDir(copies)
	require.NoError(t, err)
	assert.Len(t, left, 5, "nothing else is left behind")

	file := filepath.Join(copies, "it's 0.db")
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	code, out := h.runs("audit", "backup", file)
	assert.Equal(t, 2, code)
	assert.Contains(t, out, "nothing was overwritten")
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, before, after)

	code, out = h.runs("audit", "backup", "-journal", filepath.Join(copies, "none.db"), filepath.Join(copies, "copy.db"))
	assert.Equal(t, 2, code, out)
	_, err = os.Stat(filepath.Join(copies, "copy.db"))
	assert.ErrorIs(t, err, os.ErrNotExist)

	// Restored: the bot goes on with the copy.
	restored := newHouse(t, with("DATABASE_URL="+file))
	restored.db = file
	restored.start()
	restored.types(restored.alice, "after-the-restore")
	restored.stop()
	code, out = restored.runs("audit", "verify")
	assert.Equal(t, 0, code, out)
}
