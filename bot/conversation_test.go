package bot_test

import (
	"testing"

	"zegoclose/internal/journal"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestModeratorClosesARoom(t *testing.T) {
	h := openHouse(t)
	h.zego.Login("live-42", "ann", "ben", "cat")
	h.zego.LoginService("live-42", "recorder")

	reply := h.types(h.alice, "live-42 spam links in chat")
	assert.Contains(t, reply, "#1 recorded")

	card := h.card(1)
	shown := h.read(card)
	for _, fact := range []string{"#1", "Close room?", "live-42", "3 people", "spam links in chat", "everyone in the room will see this", "@alice", "expires", "[ Close room ]", "[ Cancel ]"} {
		assert.Contains(t, shown, fact)
	}

	h.confirms(h.alice, card)
	h.shows(card, "Closed live-42")
	h.tells(card, "Closed by ZEGO")
	thread := h.replies(card)
	require.Len(t, thread, 1)
	for _, fact := range []string{"1 call", "Asked and confirmed by @alice", "3 people", "spam links in chat", "Code 0", "entries"} {
		assert.Contains(t, thread[0], fact)
	}
	require.Len(t, h.zego.Executions(), 1)
	assert.Equal(t, "spam links in chat", h.zego.Executions()[0].Reason)
	assert.Zero(t, h.zego.People("live-42"))
	assert.Equal(t, journal.StateClosed, h.state(1))
	t.Log("\n" + h.transcript())
}
