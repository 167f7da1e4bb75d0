package bot_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"zegoclose/internal/journal"
	"zegoclose/internal/slacksim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// SIGTERM at random moments under load: what was acked is on record and is carried out by
// the next process; what was not acked has not happened.
func TestDrainUnderLoad(t *testing.T) {
	times := 5
	if long() {
		times = 50
	} else {
		t.Parallel()
	}
	h := newHouse(t, with("MAX_PENDING_PER_USER=0", "LOG_LEVEL=info", "CONFIRM_TIMEOUT=10m", "ZEGO_TIMEOUT=5s"))
	var mu sync.Mutex
	asked := make(map[string]slacksim.Outcome) // by room
	confirmed := make(map[string]bool)
	var longest time.Duration
	n := 0
	for range times {
		p := h.startChild()
		var load sync.WaitGroup
		enough := make(chan struct{})
		for _, who := range []string{h.alice, h.bob} {
			load.Go(func() {
				for {
					select {
					case <-enough:
						return
					case <-time.After(rand.N(80 * time.Millisecond)):
					}
					mu.Lock()
					n++
					room := fmt.Sprintf("room-%d", n)
					mu.Unlock()
					h.zego.Login(room, "ann")
					d := h.slack.Command(slacksim.Command{User: who, Channel: h.ops, Text: room})
					load.Go(func() {
						o := h.await(d)
						mu.Lock()
						defer mu.Unlock()
						asked[room] = o
					})
				}
			})
		}
		load.Go(func() { // and both press what they see
			pressed := h.slack.CountMessages(h.ops)
			for {
				select {
				case <-enough:
					return
				case <-time.After(5 * time.Millisecond):
				}
				for cards := h.slack.Messages(h.ops); pressed < len(cards); pressed++ {
					card := cards[pressed]
					for _, who := range []string{h.alice, h.bob} {
						d, err := h.slack.Click(slacksim.Click{User: who, Channel: card.Channel, TS: card.TS, ActionID: closeRoom})
						if err != nil {
							continue
						}
						load.Go(func() { h.await(d) })
					}
				}
			}
		})
		time.Sleep(rand.N(600 * time.Millisecond))
		begun := time.Now()
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
		time.Sleep(rand.N(30 * time.Millisecond)) // people do not know
		close(enough)
		select {
		case <-p.dead:
		case <-time.After(15 * time.Second):
			t.Fatalf("still there 15 s after SIGTERM:\n%s", h.out.String())
		}
		longest = max(longest, time.Since(begun))
		load.Wait()
		require.Equal(t, 0, p.cmd.ProcessState.ExitCode())
		time.Sleep(time.Second) // Slack allows one connection a second
	}

	p := h.startChild()
	db := h.file()
	defer db.Close()
	states := func() map[string]journal.State {
		found := make(map[string]journal.State)
		rows, err := db.Query(`SELECT room, state FROM cases`)
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var room, state string
			require.NoError(t, rows.Scan(&room, &state))
			found[room] = journal.State(state)
		}
		return found
	}
	// A card leaves once ZEGO has said who is in the room, which may be asked 8 times a second.
	deadline := time.Now().Add(time.Duration(n)*time.Second/6 + patience)
	done := func() bool {
		return h.count(`SELECT count(*) FROM cases WHERE state IN ('confirmed', 'closing') OR told > posted`) == 0 &&
			h.count(`SELECT count(*) FROM posts WHERE state <> 'sent'`) == 0
	}
	for !done() {
		require.True(t, time.Now().Before(deadline), "all confirmed cases are closed and everything is posted")
		time.Sleep(100 * time.Millisecond)
	}
	is := states()
	acked := 0
	for room, o := range asked {
		_, recorded := is[room]
		if o.Result == slacksim.Acked {
			acked++
			assert.True(t, recorded, "%s was acked, so it is on record", room)
		} else {
			assert.False(t, recorded, "%s was not acked (%s), so it is not", room, o.Result)
		}
	}
	rows, err := db.Query(`SELECT c.room FROM cases c JOIN entries e ON e.case_ = c.number WHERE e.kind = 'confirmed'`)
	require.NoError(t, err)
	for rows.Next() {
		var room string
		require.NoError(t, rows.Scan(&room))
		confirmed[room] = true
	}
	rows.Close()
	executed := make(map[string]int)
	for _, e := range h.zego.Executions() {
		executed[e.RoomID]++
	}
	for room := range confirmed {
		assert.Equal(t, journal.StateClosed, is[room], room)
		assert.Equal(t, 1, executed[room], "%s is closed once", room)
	}
	assert.Len(t, executed, len(confirmed), "nothing else is")
	assert.Equal(t, len(is), h.slack.CountMessages(h.ops), "a card each")
	assert.Equal(t, 0, p.end())
	t.Logf("%d times SIGTERM: %d of %d commands acked, %d cases confirmed and closed, longest drain %v",
		times, acked, len(asked), len(confirmed), longest.Round(time.Millisecond))
}

// builtBinary is the program as it is shipped.
func builtBinary(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "zegoclose")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "zegoclose/cmd/zegoclose")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return binary
}

// startBinary starts the built program in the house's environment.
func (h *house) startBinary(binary string) *exec.Cmd {
	cmd := exec.Command(binary)
	cmd.Env, cmd.Stdout, cmd.Stderr = h.environ(), h.out, h.out
	require.NoError(h.t, cmd.Start())
	h.eventually("the bot says hello", func() bool { return h.slack.Ready() >= 2 })
	return cmd
}

func TestSignals(t *testing.T) {
	t.Parallel()
	binary := builtBinary(t)
	// A post that Slack does not answer is what takes longest.
	hanging := func(t *testing.T) (*house, *exec.Cmd) {
		h := newHouse(t, with("SLACK_TIMEOUT=8s", "SLACK_RECHECK_AFTER=9s"))
		cmd := h.startBinary(binary)
		h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Hang: true})
		h.types(h.alice, "live-42")
		h.eventually("the card is on its way", func() bool { return h.count(`SELECT count(*) FROM posts WHERE state = 'sending'`) == 1 })
		return h, cmd
	}
	t.Run("the first one drains", func(t *testing.T) {
		t.Parallel()
		h, cmd := hanging(t)
		begun := time.Now()
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		h.eventually("the sockets are closed", func() bool { return len(h.slack.Connections()) == 0 })
		assert.Less(t, time.Since(begun), 2*time.Second, "they do not wait for the post")
		require.NoError(t, cmd.Wait(), "exit code 0")
		assert.Less(t, time.Since(begun), 15*time.Second)
		var state string
		h.query(&state, `SELECT state FROM posts`)
		assert.Equal(t, "doubt", state, "what is known of the post is on record")
	})
	t.Run("the second one ends at once", func(t *testing.T) {
		t.Parallel()
		h, cmd := hanging(t)
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		h.eventually("it is stopping", func() bool { return strings.Contains(h.out.String(), "stopping: no new commands") })
		time.Sleep(50 * time.Millisecond)
		begun := time.Now()
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		cmd.Wait()
		assert.Less(t, time.Since(begun), time.Second)
		assert.Equal(t, syscall.SIGTERM, cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
		h.tolerated = []slacksim.Kind{slacksim.Vanished}
	})
	t.Run("an interrupt is the same", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t)
		cmd := h.startBinary(binary)
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		require.NoError(t, cmd.Wait(), "exit code 0")
	})
}
