package bot_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withReviewer adds carol, who may review and nothing else.
func withReviewer() option {
	return func(c *slacksim.Config, z *zegosim.Config, env map[string]string) {
		c.Commands = []string{"/zego-close", "/zego-audit"}
		env["AUDIT_REVIEWERS"] = "U0CAROL,U0ALICE"
	}
}

func reviewHouse(t testing.TB, options ...option) (h *house, carol string) {
	h = newHouse(t, append(options, withReviewer())...)
	carol = h.slack.AddUser(slacksim.User{ID: "U0CAROL", Name: "carol"}).ID
	h.slack.UpdateChannel(h.ops, func(c *slacksim.Channel) { c.Members = append(c.Members, carol) })
	h.start()
	return h, carol
}

// reviews sends /zego-audit and returns what its sender alone sees, and the message.
func (h *house) reviews(user, text string) (string, slacksim.Message) {
	h.t.Helper()
	o := h.await(h.slack.Command(slacksim.Command{User: user, Channel: h.ops, Command: "/zego-audit", Text: text}))
	require.Equal(h.t, slacksim.Acked, o.Result)
	require.NotNil(h.t, o.Reply)
	return h.slack.Render(*o.Reply, user), *o.Reply
}

// submits fills in the form that is on somebody's screen and returns the answer to it.
func (h *house) submits(user, note string) map[string]any {
	h.t.Helper()
	var open []slacksim.View
	h.eventually("a form", func() bool { open = h.slack.Views(user); return len(open) > 0 })
	form := open[len(open)-1]
	var view map[string]any
	require.NoError(h.t, json.Unmarshal(form.View, &view))
	view["id"] = form.ID
	view["state"] = map[string]any{"values": map[string]any{"note": map[string]any{"note": map[string]any{"type": "plain_text_input", "value": note}}}}
	o := h.await(h.slack.Send(slacksim.Envelope{Type: "interactive", Accepts: true, Payload: map[string]any{
		"type": "view_submission", "team": map[string]any{"id": h.slack.TeamID()}, "trigger_id": "1.2.3",
		"user": map[string]any{"id": user, "username": strings.ToLower(user[2:]), "name": strings.ToLower(user[2:]), "team_id": h.slack.TeamID()}, "view": view,
	}}))
	require.Equal(h.t, slacksim.Acked, o.Result)
	return view
}

func TestReviewerLooksAround(t *testing.T) {
	h, carol := reviewHouse(t)
	h.zego.Login("live-42", "ann")
	card := h.asks(h.alice, "live-42 spam")
	h.confirms(h.alice, card)
	h.shows(card, "Closed live-42")
	h.asks(h.bob, "a&b")

	for text, facts := range map[string][]string{
		"room live-42":               {"Cases of room live-42: 1", "#1", "Closed live-42", "spam", "card"},
		"room a&amp;b":               {"Cases of room a&b: 1", "#2", "pending"},
		"room nothing":               {"Cases of room nothing: none."},
		"room <#C0OPS|ops>":          {"Cases of room #ops: none."},
		"room <!channel>":            {"Cases of room @channel: none."},
		"room <@U0BOB|bob>":          {"Cases of room @bob: none."},
		"room <http://a.b|a.b>":      {"Cases of room a.b: none."},
		"room <http://a.b/?x&amp;y>": {"Cases of room http://a.b/?x&y: none."},
		"user <@U0ALICE|alice>":      {"Cases of @alice: 1", "#1"},
		"user U0BOB":                 {"Cases of @bob: 1", "#2"},
		"user bob":                   {"Say who with an @mention"},
		"today":                      {"Cases since", ": 2", "#2", "#1"},
		"case 99":                    {"There is no case #99"},
		"case #1":                    {"requested by @alice; reason: spam", "confirmed by @alice", "attempted; call 1", "code 0", "[ Reviewed ]", "[ Contest ]", "last hash "},
		"case 2":                     {"requested by @bob", "pending"},
		"":                           {"/zego-audit room <roomId>", "Cases of @carol: none."},
		"nonsense":                   {"/zego-audit room <roomId>"},
	} {
		shown, _ := h.reviews(carol, text)
		for _, fact := range facts {
			assert.Contains(t, shown, fact, "/zego-audit %s", text)
		}
	}
	h.hears(carol, "The posts of #1 match the journal: 2 of 2.")
	shown, _ := h.reviews(carol, "case 2")
	assert.NotContains(t, shown, "[ Reviewed ]", "it is still open")
	shown, _ = h.reviews(h.alice, "case 1")
	assert.NotContains(t, shown, "[ Reviewed ]", "it is her own")

	shown, _ = h.reviews(h.bob, "case 1")
	assert.Contains(t, shown, "You are not on the list of people who may review", "who may close may not review, once AUDIT_REVIEWERS is set")
	assert.Equal(t, 1, h.count(`SELECT count(*) FROM entries WHERE kind = 'refused' AND body LIKE '%"action":"review"%'`))
	assert.Contains(t, h.types(carol, "live-42"), "You are not on the list of people who may close")

	h.slack.Edit(card.Channel, h.slack.Thread(card.Channel, card.TS)[1].TS, h.bob, "Nothing happened.")
	h.reviews(carol, "case 1")
	h.hears(carol, "The posts of #1 do not match the journal.")
	h.hears(carol, "EDITED case #1")
}

func TestReviewerPages(t *testing.T) {
	h, carol := reviewHouse(t, with("MAX_PENDING_PER_USER=0"))
	for i := range 20 {
		h.types(h.alice, fmt.Sprintf("room-%d", i))
	}
	shown, page := h.reviews(carol, "user <@U0ALICE>")
	assert.Contains(t, shown, "the newest 8")
	assert.Contains(t, shown, "#20")
	assert.NotContains(t, shown, "#12")
	for _, want := range []string{"#12", "#4"} {
		require.Equal(t, slacksim.Acked, h.press(carol, page, "zego_audit_older").Result)
		h.hears(carol, want)
		all := h.slack.Ephemerals(carol)
		page = all[len(all)-1]
	}
	assert.NotContains(t, h.slack.Render(page, carol), "[ Older ]")
}

func TestReviewedAndContested(t *testing.T) {
	h, carol := reviewHouse(t)
	h.zego.Login("live-42", "ann")
	card := h.asks(h.alice, "live-42 spam")
	h.confirms(h.alice, card)
	h.tells(card, "Closed by ZEGO")
	exit, out := h.audit("export", "-unreviewed")
	assert.Zero(t, exit)
	assert.Contains(t, out, "1 case of")

	_, file := h.reviews(carol, "case 1")
	require.Equal(t, slacksim.Acked, h.press(carol, file, "zego_audit_reviewed").Result)
	h.submits(carol, "checked the chat log; <!channel> spam it was")
	h.tells(card, "Reviewed by @carol")
	h.tells(card, "checked the chat log; <!channel> spam it was")
	h.shows(card, "reviewed by @carol")
	_, out = h.audit("export", "-unreviewed")
	assert.Contains(t, out, "0 cases")
	_, out = h.audit("export")
	assert.Contains(t, out, ",reviewed,U0CAROL,")

	_, file = h.reviews(carol, "case 1")
	require.Equal(t, slacksim.Acked, h.press(carol, file, "zego_audit_contest").Result)
	h.eventually("the second form", func() bool { return len(h.slack.Views(carol)) == 2 })
	h.submits(carol, "")
	assert.Equal(t, 1, h.count(`SELECT count(*) FROM entries WHERE kind IN ('reviewed', 'contested')`), "an objection says what is wrong")
	h.submits(carol, "wrong room")
	h.submits(carol, "wrong room")
	h.tells(card, "Contested by @carol")
	h.shows(card, "contested by @carol")
	assert.Equal(t, 1, h.count(`SELECT count(*) FROM entries WHERE kind = 'contested'`), "a second delivery changes nothing")
	_, out = h.audit("export", "-unreviewed")
	assert.Contains(t, out, "1 case of")

	// Alice may review, but not her own case, by whatever way she tries.
	h.slack.Post(slacksim.Message{Channel: h.ops, User: h.alice, Text: "hm"})
	shown, _ := h.reviews(h.alice, "reviewed 1 all fine")
	assert.Contains(t, shown, "#1 is your own case")
	d, err := h.slack.Click(slacksim.Click{User: carol, Channel: file.Channel, TS: file.TS, ActionID: "zego_audit_reviewed"})
	require.NoError(t, err)
	h.await(d)
	h.eventually("the third form", func() bool { return len(h.slack.Views(carol)) == 3 })
	forms := h.slack.Views(carol)
	view := forms[len(forms)-1]
	h.await(h.slack.Send(slacksim.Envelope{Type: "interactive", Accepts: true, Payload: map[string]any{
		"type": "view_submission", "user": map[string]any{"id": h.alice, "username": "alice", "team_id": h.slack.TeamID()},
		"view": map[string]any{"id": view.ID, "callback_id": "zego_audit_note", "private_metadata": `{"case":1,"contests":false}`, "state": map[string]any{"values": map[string]any{}}},
	}}))
	assert.Equal(t, 2, h.count(`SELECT count(*) FROM entries WHERE kind IN ('reviewed', 'contested')`))

	h.settled()
	exit, out = h.audit("verify")
	assert.Zero(t, exit, out)
	exit, out = h.audit("reconcile")
	assert.Zero(t, exit, out)
}

func TestReviewedByTyping(t *testing.T) {
	h, carol := reviewHouse(t)
	card := h.asks(h.alice, "live-42 spam")
	shown, _ := h.reviews(carol, "reviewed 1")
	assert.Contains(t, shown, "#1 is still open")
	h.press(h.bob, card, cancel)
	h.tells(card, "Cancelled by @bob")
	shown, _ = h.reviews(carol, "contest 1")
	assert.Contains(t, shown, "Say what is wrong")
	shown, _ = h.reviews(carol, "contest 1 why was it cancelled &amp; by whom?")
	assert.Contains(t, shown, "Recorded. It appears in the thread of #1.")
	h.tells(card, "Contested by @carol")
	h.tells(card, "why was it cancelled & by whom?")
}

func TestReviewersAreThoseWhoMayClose(t *testing.T) {
	h := openHouse(t, slackLike(func(c *slacksim.Config) { c.Commands = []string{"/zego-close", "/zego-audit"} }))
	shown, _ := h.reviews(h.bob, "today")
	assert.Contains(t, shown, ": none.")
	shown, _ = h.reviews(h.mallory, "today")
	assert.Contains(t, shown, "You are not on the list of people who may review")
	shown, _ = h.reviews(h.alice, "")
	assert.Contains(t, shown, "Cases of @alice: none.")
}
