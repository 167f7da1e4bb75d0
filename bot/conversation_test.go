package bot_test

import (
	"strings"
	"testing"
	"time"

	"zegoclose/internal/journal"
	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"

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
}

func TestModeratorCancels(t *testing.T) {
	h := openHouse(t)
	h.zego.Login("live-42", "ann")
	card := h.asks(h.alice, "live-42")
	assert.Contains(t, h.read(card), "1 person")
	require.Equal(t, slacksim.Acked, h.press(h.alice, card, cancel).Result)
	h.shows(card, "Cancelled: live-42, nothing closed · @alice")
	h.tells(card, "Cancelled by @alice")
	assert.Empty(t, h.slack.Buttons(card.Channel, card.TS))
	assert.Empty(t, h.zego.Executions())
}

func TestAnotherModeratorMayCancelButNotConfirm(t *testing.T) {
	h := openHouse(t)
	h.zego.Login("live-42", "ann")
	card := h.asks(h.alice, "live-42")

	require.Equal(t, slacksim.Acked, h.press(h.bob, card, closeRoom).Result)
	h.hears(h.bob, "Only the person who asked can confirm")
	assert.Equal(t, journal.StatePending, h.state(1))
	assert.Equal(t, 1, h.count(`SELECT count(*) FROM entries WHERE kind = 'refused' AND case_ = 0 AND body LIKE '%"about":1%'`))

	h.press(h.bob, card, cancel)
	h.tells(card, "Cancelled by @bob")
}

func TestCardExpiresByItself(t *testing.T) {
	h := openHouse(t, with("CONFIRM_TIMEOUT=400ms"))
	h.zego.Login("live-42", "ann")
	card := h.asks(h.alice, "live-42")
	stale, _ := h.slack.Message(card.Channel, card.TS)
	h.shows(card, "Expired: live-42, nothing closed: nobody confirmed in time")
	h.tells(card, "Expired")
	assert.Empty(t, h.slack.Buttons(card.Channel, card.TS))

	// A phone that still shows the buttons.
	d, err := h.slack.Click(slacksim.Click{User: h.alice, Channel: card.Channel, TS: card.TS, ActionID: closeRoom, Stale: &stale})
	require.NoError(t, err)
	assert.Equal(t, slacksim.Acked, h.await(d).Result)
	h.hears(h.alice, "Too late")
	assert.Empty(t, h.zego.Executions())
}

func TestRoomThatDoesNotExist(t *testing.T) {
	h := openHouse(t)
	card := h.asks(h.alice, "live-43")
	assert.Contains(t, h.read(card), "nobody")
	h.confirms(h.alice, card)
	h.shows(card, "Nothing closed: ZEGO has no room live-43 (already gone, or mistyped)")
	h.tells(card, "ZEGO has no such room")
	assert.Equal(t, journal.StateAbsent, h.state(1))
}

func TestRoom5018IsLookedAt(t *testing.T) {
	t.Run("nobody in it", func(t *testing.T) {
		h := openHouse(t, zegoLike(func(c *zegosim.Config) { c.AbsentCode = 5018 }))
		card := h.asks(h.alice, "gone")
		h.confirms(h.alice, card)
		h.shows(card, "ZEGO has no room gone")
		assert.Equal(t, journal.StateAbsent, h.state(1))
	})
	t.Run("people in it", func(t *testing.T) {
		h := openHouse(t)
		h.zego.Login("live-42", "ann", "ben")
		h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Code: 5018, Skip: true})
		card := h.asks(h.alice, "live-42")
		h.confirms(h.alice, card)
		h.shows(card, "Not known whether live-42 was closed: ZEGO answered code 5018, which does not tell; 2 people were in it at ")
		assert.Equal(t, journal.StateUnknown, h.state(1))
	})
}

func TestStrangersAreRefused(t *testing.T) {
	h := openHouse(t)
	h.zego.Login("live-42", "ann")

	reply := h.types(h.mallory, "live-42 just for fun")
	assert.Contains(t, reply, "You are not on the list")
	assert.Contains(t, reply, h.mallory, "the remedy names the id to add")
	assert.Contains(t, reply, "Nothing was done")

	card := h.asks(h.alice, "live-42")
	require.Equal(t, slacksim.Acked, h.press(h.mallory, card, closeRoom).Result)
	h.hears(h.mallory, "You are not on the list")
	require.Equal(t, slacksim.Acked, h.press(h.guest, card, closeRoom).Result)
	h.hears(h.guest, "Only members of the workspace")
	require.Equal(t, slacksim.Acked, h.press(h.guest, card, cancel).Result)

	assert.Equal(t, journal.StatePending, h.state(1))
	assert.Empty(t, h.zego.Executions())
	assert.Equal(t, 4, h.count(`SELECT count(*) FROM entries WHERE kind = 'refused'`))
	assert.Len(t, h.slack.Messages(h.ops), 1, "the channel is not bothered")
}

func TestRefusalsBeyondTwentyAreOnlyCounted(t *testing.T) {
	h := openHouse(t)
	for range 25 {
		h.types(h.mallory, "live-42")
	}
	assert.Equal(t, 20, h.count(`SELECT count(*) FROM entries WHERE kind = 'refused'`))
	assert.Equal(t, 25, h.count(`SELECT sum(count) FROM refusals`))
}

func TestSameRoomAgain(t *testing.T) {
	h := openHouse(t)
	card := h.asks(h.alice, "live-42 first")

	h.eventually("she is led to her card", func() bool {
		reply := h.types(h.alice, "live-42 second")
		assert.Contains(t, reply, "You have already asked for this room: #1 waits for your confirmation")
		return strings.Contains(reply, "here is its card")
	})

	reply := h.types(h.bob, "live-42 me too")
	assert.Contains(t, reply, "#2 recorded")
	assert.Contains(t, reply, "Somebody else has an open case for this room: #1 by @alice")
	second := h.card(2)
	assert.Contains(t, h.read(second), "Somebody else has an open case for this room: #1.")

	h.confirms(h.alice, card)
	h.shows(card, "ZEGO has no room")
	assert.Contains(t, h.types(h.alice, "live-42 third"), "#3 recorded")
}

func TestTooManyUnconfirmedCases(t *testing.T) {
	h := openHouse(t, with("MAX_PENDING_PER_USER=2"))
	h.asks(h.alice, "a")
	card := h.asks(h.alice, "b")
	assert.Contains(t, h.types(h.alice, "c"), "2 cases waiting for confirmation")
	h.press(h.alice, card, cancel)
	h.shows(card, "Cancelled")
	assert.Contains(t, h.types(h.alice, "c"), "#3 recorded")
}

func TestHelpEchoesWhatArrived(t *testing.T) {
	h := openHouse(t)
	assert.Contains(t, h.types(h.alice, ""), "/zego-close <roomId> [reason]")
	assert.Contains(t, h.types(h.mallory, "help"), "Received: help", "usage is for everybody")
	assert.Equal(t, 0, h.count(`SELECT count(*) FROM entries WHERE number > 0`))
}

func TestRoomIDsThatCannotBe(t *testing.T) {
	h := openHouse(t)
	assert.Contains(t, h.types(h.alice, strings.Repeat("x", 129)), "has 129 bytes; ZEGO's have at most 128")
	assert.Contains(t, h.types(h.alice, strings.Repeat("x", 128)), "#1 recorded")
}

func TestUnusualCharactersAreWarnedAbout(t *testing.T) {
	h := openHouse(t)
	shown := h.read(h.asks(h.alice, "live-é42"))
	assert.Contains(t, shown, "ZEGO's own list of characters for room ids does not have ‘é’")
	shown = h.read(h.asks(h.alice, "live\u202e24"))
	assert.Contains(t, shown, `live\u202E24`)
	assert.Contains(t, shown, "characters that cannot be seen")
}

func TestAnyWhiteSpaceSeparates(t *testing.T) {
	for _, space := range []string{" ", "\t", "\n", "\u00a0", "\u3000", "\u2028", "\r\n  "} {
		h := openHouse(t)
		h.zego.Login("live-42", "ann")
		card := h.asks(h.alice, space+"live-42"+space+"two\nlines"+space)
		h.confirms(h.alice, card)
		h.shows(card, "Closed live-42")
		require.Len(t, h.zego.Executions(), 1)
		assert.Equal(t, "live-42", h.zego.Executions()[0].RoomID)
		assert.Equal(t, "two\nlines", h.zego.Executions()[0].Reason)
		h.stop()
	}
}

func TestReasonIsCutForTheRoomAndKeptWhole(t *testing.T) {
	h := openHouse(t)
	h.zego.Login("live-42", "ann")
	reason := strings.Repeat("清", 1000)
	card := h.asks(h.alice, "live-42 "+reason)
	sent := strings.Repeat("清", 85) // 255 bytes
	assert.Contains(t, h.read(card), "The room will see  "+sent+"  (cut")
	h.confirms(h.alice, card)
	h.shows(card, "Closed live-42")
	assert.Equal(t, sent, h.zego.Executions()[0].Reason)
	assert.Equal(t, 1, h.count(`SELECT count(*) FROM entries WHERE kind = 'requested' AND body LIKE $1`, "%"+reason+"%"))
}

func TestReasonStaysInSlack(t *testing.T) {
	h := openHouse(t, with("ZEGO_SEND_REASON=false"))
	h.zego.Login("live-42", "ann")
	card := h.asks(h.alice, "live-42 private")
	assert.Contains(t, h.read(card), "private  (stays in Slack)")
	h.confirms(h.alice, card)
	h.shows(card, "Closed live-42")
	assert.Empty(t, h.zego.Executions()[0].Reason)
}

func TestAuditChannel(t *testing.T) {
	h := newHouse(t, with("AUDIT_CHANNEL=C0AUDIT"))
	audit := h.slack.AddChannel(slacksim.Channel{ID: "C0AUDIT", Name: "audit", BotMember: true}).ID
	h.slack.AddChannel(slacksim.Channel{ID: "C0ELSE", Name: "elsewhere"})
	h.zego.Login("live-42", "ann")
	h.start()

	dm := h.slack.DM(h.alice)
	for i, from := range []string{h.ops, "C0ELSE", dm} {
		o := h.await(h.slack.Command(slacksim.Command{User: h.alice, Channel: from, Text: "room-" + from}))
		require.NotNil(t, o.Reply)
		assert.Contains(t, h.slack.Render(*o.Reply, h.alice), "follows in #audit")
		h.eventually("the card in the audit channel", func() bool { return h.slack.CountMessages(audit) == i+1 })
	}
	assert.Empty(t, h.slack.Messages(h.ops))
}

func TestPlacesWithoutARecord(t *testing.T) {
	h := newHouse(t, with("ALLOWED_CHANNELS="))
	h.slack.AddChannel(slacksim.Channel{ID: "C0NOBOT", Name: "nobot"})
	h.slack.AddChannel(slacksim.Channel{ID: "C0PRIVATE", Name: "private", Kind: slacksim.Private})
	h.slack.AddChannel(slacksim.Channel{ID: "C0OLD", Name: "old", BotMember: true, Archived: true})
	h.slack.AddChannel(slacksim.Channel{ID: "C0SHARED", Name: "shared", BotMember: true, ExtShared: true})
	h.slack.AddChannel(slacksim.Channel{ID: "C0SOON", Name: "soon", BotMember: true, PendingExtShared: true})
	h.slack.AddChannel(slacksim.Channel{ID: "C0READ", Name: "read", BotMember: true, ReadOnly: true})
	h.start()

	for n, place := range []struct{ channel, told, why string }{
		{"C0NOBOT", "invite it with /invite", "not_in_channel"},
		{"C0PRIVATE", "invite it with /invite", "channel_not_found"},
		{"C0SHARED", "shared with another company", "shared_channel"},
		{"C0SOON", "shared with another company", "shared_channel"},
		{"C0READ", "does not let the bot post", "restricted_action_read_only_channel"},
	} {
		t.Run(place.why+" "+place.channel, func(t *testing.T) {
			o := h.await(h.slack.Command(slacksim.Command{User: h.alice, Channel: place.channel, Text: "live-42"}))
			require.Equal(t, slacksim.Acked, o.Result)
			h.hears(h.alice, place.told)
			h.eventually("the case is cancelled", func() bool { return h.state(n+1) == journal.StateCancelled })
			assert.Equal(t, 1, h.count(`SELECT count(*) FROM entries WHERE kind = 'cancelled' AND case_ = $1 AND body LIKE $2`, n+1, `%"why":"`+place.why+`"%`))
			assert.Empty(t, h.slack.Messages(place.channel))
			h.slack.ForgetEphemerals(h.alice)
		})
	}

	t.Run("archived behind the sender's back", func(t *testing.T) {
		o := h.await(h.slack.Send(slacksim.Envelope{Type: "slash_commands", Accepts: true, Payload: map[string]any{
			"command": "/zego-close", "text": "live-42", "user_id": h.alice, "team_id": "T0SIM", "channel_id": "C0OLD", "channel_name": "old"}}))
		require.Equal(t, slacksim.Acked, o.Result)
		h.hears(h.alice, "the channel is archived")
	})
	t.Run("a direct message", func(t *testing.T) {
		o := h.await(h.slack.Command(slacksim.Command{User: h.alice, Channel: h.slack.DM(h.alice), Text: "live-42"}))
		require.NotNil(t, o.Reply)
		assert.Contains(t, h.slack.Render(*o.Reply, h.alice), "A direct message is no place for the record")
	})
	assert.Empty(t, h.zego.Executions())
}

func TestSharedChannelThatIsListed(t *testing.T) {
	h := newHouse(t, with("ALLOWED_CHANNELS=C0SHARED"))
	h.slack.AddChannel(slacksim.Channel{ID: "C0SHARED", Name: "shared", BotMember: true, ExtShared: true})
	h.start()
	o := h.await(h.slack.Command(slacksim.Command{User: h.alice, Channel: "C0SHARED", Text: "live-42"}))
	require.NotNil(t, o.Reply)
	h.eventually("the card", func() bool { return h.slack.CountMessages("C0SHARED") == 1 })
	assert.Contains(t, h.types(h.alice, "live-42"), "Use one of the channels the operator has allowed")
}

func TestUserGroupsDecide(t *testing.T) {
	h := newHouse(t, with("ALLOWED_USERS=", "ALLOWED_USERGROUPS=S0MODS"))
	h.slack.AddGroup(slacksim.Group{ID: "S0MODS", Handle: "mods", Users: []string{h.bob}})
	h.slack.Inject(slacksim.Fault{Method: "usergroups.users.list", Count: 1, Delay: 300 * time.Millisecond})
	h.start()
	assert.Contains(t, h.types(h.bob, "live-42"), "#1 recorded", "also right after the start")
	assert.Contains(t, h.types(h.alice, "live-42"), "You are not on the list")
}

func TestUserGroupsThatCannotBeReadRefuse(t *testing.T) {
	h := newHouse(t, with("ALLOWED_USERS=U0ALICE", "ALLOWED_USERGROUPS=S0NONE"))
	h.start()
	assert.Contains(t, h.types(h.bob, "live-42"), "cannot tell whether you are")
	assert.Contains(t, h.types(h.alice, "live-42"), "#1 recorded")
}

func TestBotsAndForeignWorkspacesAreRefused(t *testing.T) {
	h := newHouse(t, with("ALLOWED_USERS=U0ALICE,U0ROBOT,U0GUEST"))
	h.slack.AddUser(slacksim.User{ID: "U0ROBOT", Name: "robot", Bot: true})
	h.start()
	// Slack's own clients let neither type a command; envelopes of their making must fail here too.
	asks := func(user, team string) string {
		o := h.await(h.slack.Send(slacksim.Envelope{Type: "slash_commands", Accepts: true, Payload: map[string]any{
			"command": "/zego-close", "text": "live-42", "user_id": user, "team_id": team, "channel_id": h.ops, "channel_name": "ops"}}))
		require.Equal(t, slacksim.Acked, o.Result)
		if o.Reply == nil {
			return ""
		}
		return h.slack.Render(*o.Reply, h.alice)
	}
	h.eventually("the robot is found out", func() bool {
		asks("U0ROBOT", "T0SIM")
		return h.count(`SELECT count(*) FROM entries WHERE body LIKE '%not_a_person%'`) > 0
	})
	asks("U0GUEST", "T0OTHER")
	assert.Equal(t, 1, h.count(`SELECT count(*) FROM entries WHERE body LIKE '%foreign_workspace%'`))
	asks("U0ALICE", "")
	assert.Equal(t, 2, h.count(`SELECT count(*) FROM entries WHERE body LIKE '%foreign_workspace%'`))
	assert.Empty(t, h.zego.Executions())
}

func TestZegoRefuses(t *testing.T) {
	h := openHouse(t)
	h.zego.Login("live-42", "ann")
	h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Code: 9, Skip: true})
	card := h.asks(h.alice, "live-42")
	h.confirms(h.alice, card)
	h.shows(card, "Not closed: live-42, ZEGO answered code 9")
	h.tells(card, "Not closed")
	assert.Equal(t, journal.StateFailed, h.state(1))
	assert.Len(t, h.zego.Calls(), 2, "one look, one CloseRoom")
}

func TestHeadCountThatCannotBeHad(t *testing.T) {
	h := openHouse(t)
	h.zego.Login("live-42", "ann")
	h.zego.AddFault(zegosim.Fault{Action: "DescribeUserNum", Before: 5 * time.Second})
	card := h.asks(h.alice, "live-42")
	assert.Contains(t, h.read(card), "In it now  not known: ZEGO did not answer in time")
}

func TestUnknownAndTryAgain(t *testing.T) {
	h := openHouse(t)
	h.zego.Login("live-42", "ann", "ben")
	h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Reset: true, Count: 1})
	h.zego.RejoinAfterClose("live-42", 0)
	card := h.asks(h.alice, "live-42 spam")
	h.confirms(h.alice, card)
	h.tells(card, "No clear answer from ZEGO")
	h.shows(card, "Not known whether live-42 was closed: ZEGO's answer was lost; 2 people were in it at ")
	h.tells(card, "press Try again")
	assert.Len(t, h.zego.Executions(), 1)
	assert.Equal(t, 2, h.count(`SELECT count(*) FROM entries WHERE kind = 'looked'`))

	// Two people press Try again at once: one new case.
	presses := make(chan slacksim.Outcome, 2)
	for _, who := range []string{h.alice, h.bob} {
		d, err := h.slack.Click(slacksim.Click{User: who, Channel: card.Channel, TS: card.TS, ActionID: tryAgain})
		require.NoError(t, err)
		go func() { presses <- h.await(d) }()
	}
	assert.Equal(t, slacksim.Acked, (<-presses).Result)
	assert.Equal(t, slacksim.Acked, (<-presses).Result)
	second := h.card(2)
	assert.Contains(t, h.read(second), "Tries again what #1 left unknown")
	h.shows(card, "tried again by #2")
	assert.Empty(t, h.slack.Buttons(card.Channel, card.TS))
	assert.Equal(t, 2, h.count(`SELECT count(*) FROM cases`))

	var who string
	h.query(&who, `SELECT requester FROM cases WHERE number = 2`)
	h.zego.RejoinAfterClose("live-42", -1)
	h.confirms(who, second)
	h.shows(second, "Closed live-42")
	assert.Len(t, h.zego.Executions(), 2)
}

func TestTryAgainLapses(t *testing.T) {
	h := openHouse(t, with("CONFIRM_TIMEOUT=700ms"))
	h.zego.Login("live-42", "ann")
	h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Status: 502, Skip: true})
	card := h.asks(h.alice, "live-42")
	h.confirms(h.alice, card)
	h.shows(card, "[ Try again ]")
	h.eventually("and withdrawn", func() bool { return len(h.slack.Buttons(card.Channel, card.TS)) == 0 })
	assert.Contains(t, h.read(card), "Not known")
}

func TestLateAnswerCounts(t *testing.T) {
	h := openHouse(t)
	h.zego.Login("live-42", "ann")
	h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", After: 1500 * time.Millisecond})
	card := h.asks(h.alice, "live-42")
	h.confirms(h.alice, card)
	h.shows(card, "Not known whether live-42 was closed")
	h.shows(card, "Closed live-42")
	h.tells(card, "by a late answer")
	assert.Equal(t, journal.StateClosed, h.state(1))
	assert.Len(t, h.zego.Executions(), 1)
}

func TestCancelWhileItWaits(t *testing.T) {
	h := openHouse(t, with("ZEGO_CLOSE_INTERVAL=10s"))
	h.zego.Login("a", "ann")
	h.zego.Login("b", "ann")
	first, second := h.asks(h.alice, "a"), h.asks(h.alice, "b")
	h.confirms(h.alice, first)
	h.shows(first, "Closing a, about ")
	h.confirms(h.alice, second)
	h.shows(second, "Closing b, about ")
	assert.Contains(t, h.read(second), "[ Cancel ]")
	require.Equal(t, slacksim.Acked, h.press(h.bob, second, cancel).Result)
	h.shows(second, "Cancelled: b, nothing closed · @bob")
	assert.Empty(t, h.zego.Executions())
}

func TestConfirmationThatWaitsTooLong(t *testing.T) {
	h := openHouse(t, with("CLOSE_WITHIN=500ms"))
	h.zego.Login("live-42", "ann")
	h.zego.Down()
	card := h.asks(h.alice, "live-42")
	h.confirms(h.alice, card)
	h.shows(card, "Expired: live-42, nothing closed: confirmed, but it could not be attempted in time")
	require.NoError(t, h.zego.Up())
	h.tells(card, "certainly not executed")
	assert.Empty(t, h.zego.Executions())
}

func TestCallbackAndTestEnvironment(t *testing.T) {
	h := openHouse(t, with("ZEGO_IS_TEST=true", "ZEGO_ROOM_CLOSE_CALLBACK=true"))
	h.zego.Test().Login("live-42", "ann")
	card := h.asks(h.alice, "live-42")
	h.confirms(h.alice, card)
	h.shows(card, "Closed live-42")
	require.Len(t, h.zego.Executions(), 1)
	assert.True(t, h.zego.Executions()[0].Test)
	assert.True(t, h.zego.Executions()[0].Callback)
}
