package slacksim_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"zegoclose/internal/slacksim"
)

const twoButtons = `[{"type":"actions","block_id":"b","elements":[
	{"type":"button","action_id":"close","value":"v1","style":"danger","text":{"type":"plain_text","text":"Close room"}},
	{"type":"button","action_id":"cancel","value":"v2","text":{"type":"plain_text","text":"Cancel"}}]}]`

// A clickPayload is a click as it is on the wire, and as slack-go reads it.
type clickPayload struct {
	slack.InteractionCallback
	Container map[string]any
	Actions   []map[string]any
}

func (c *clickPayload) UnmarshalJSON(raw []byte) error {
	var wire struct{ Container, Actions json.RawMessage }
	if err := json.Unmarshal(raw, &wire); err != nil {
		return err
	}
	return errors.Join(json.Unmarshal(wire.Container, &c.Container), json.Unmarshal(wire.Actions, &c.Actions),
		json.Unmarshal(raw, &c.InteractionCallback))
}

func (p *plug) click() (frame, clickPayload) {
	p.t.Helper()
	f := p.next()
	var c clickPayload
	require.NoError(p.t, json.Unmarshal(f.Payload, &c))
	return f, c
}

func TestClicks(t *testing.T) {
	o := newOffice(t, slacksim.Config{Limits: slacksim.Unlimited(), AckTimeout: 200 * time.Millisecond})
	p := o.plugIn(t)
	guest := o.AddUser(slacksim.User{Name: "gina", TeamID: "T0OTHER"})
	o.UpdateChannel(o.ops.ID, func(c *slacksim.Channel) { c.ExtShared, c.Members = true, []string{o.alice.ID, guest.ID} })
	ts := o.post(t, args{"channel": o.ops.ID, "text": "x", "blocks": twoButtons, "metadata": `{"event_type":"e","event_payload":{"n":1}}`})
	card, _ := o.Message(o.ops.ID, ts)
	state := func() slacksim.ButtonState { return o.Buttons(o.ops.ID, ts)[0].State }

	d, err := o.Click(slacksim.Click{User: guest.ID, Channel: o.ops.ID, TS: ts, ActionID: "close"})
	require.NoError(t, err)
	f, c := p.click()
	assert.False(t, f.Accepts)
	assert.Equal(t, "T0OTHER", c.User.TeamID)
	assert.Equal(t, o.TeamID(), c.Team.ID)
	assert.Equal(t, ts, c.Container["message_ts"])
	assert.Equal(t, "v1", c.Actions[0]["value"])
	assert.Equal(t, "danger", c.Actions[0]["style"])
	assert.Equal(t, "e", c.Message.Metadata.EventType)
	assert.Equal(t, slacksim.Pending, state())
	p.ack(f, "")
	assert.Equal(t, slacksim.Acked, outcome(t, d).Result)
	assert.Equal(t, slacksim.Pressed, state())

	d, err = o.Click(slacksim.Click{User: o.alice.ID, Channel: o.ops.ID, TS: ts, ActionID: "close"})
	require.NoError(t, err)
	_, again := p.click()
	assert.NotEqual(t, c.Actions[0]["action_ts"], again.Actions[0]["action_ts"])
	out := outcome(t, d)
	assert.Equal(t, slacksim.Warning, out.Result)
	assert.Equal(t, "operation_timeout", out.Reason)
	assert.Equal(t, slacksim.Warned, state())

	_, err = o.Click(slacksim.Click{User: o.alice.ID, Channel: o.ops.ID, TS: ts, ActionID: "open"})
	assert.Error(t, err)
	_, err = o.Click(slacksim.Click{User: guest.ID, Channel: o.den.ID, TS: ts, ActionID: "close"})
	assert.Error(t, err)

	// The card changes; a phone still shows the old one.
	o.bot(t, "chat.update", args{"channel": o.ops.ID, "ts": ts, "text": "done"})
	_, err = o.Click(slacksim.Click{User: o.alice.ID, Channel: o.ops.ID, TS: ts, ActionID: "close"})
	assert.Error(t, err)
	for _, gone := range []bool{false, true} {
		if gone {
			o.Delete(o.ops.ID, ts, o.alice.ID)
		}
		_, err = o.Click(slacksim.Click{User: o.alice.ID, Channel: o.ops.ID, TS: ts, ActionID: "close", Stale: &card})
		require.NoError(t, err)
		_, c = p.click()
		assert.Equal(t, "v1", c.Actions[0]["value"])
	}
	assert.Empty(t, o.Violations())
}

func TestResponseURL(t *testing.T) {
	clock := newClock()
	o := newOffice(t, slacksim.Config{Limits: slacksim.Unlimited(), Now: clock.now})
	p := o.plugIn(t)
	command := func(channel string) string {
		o.Command(slacksim.Command{User: o.alice.ID, Channel: channel})
		f := p.next()
		p.ack(f, "")
		var cmd slack.SlashCommand
		require.NoError(t, json.Unmarshal(f.Payload, &cmd))
		return cmd.ResponseURL
	}
	respond := func(link, body string) (int, string) {
		res, err := http.Post(link, "application/json", strings.NewReader(body))
		require.NoError(t, err)
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text)
	}

	link := command(o.lounge.ID) // the bot is not there
	status, body := respond(link, `{"text":"only you"}`)
	assert.Equal(t, 200, status)
	assert.Equal(t, "ok", body)
	assert.Equal(t, "only you", o.Ephemerals(o.alice.ID)[0].Text)
	respond(link, `{"text":"only you, later","replace_original":true}`)
	assert.Equal(t, "only you, later", o.Ephemerals(o.alice.ID)[0].Text)
	respond(link, `{"delete_original":"true"}`)
	assert.Empty(t, o.Ephemerals(o.alice.ID))
	respond(link, `{"text":"all","response_type":"in_channel"}`)
	assert.Equal(t, "all", o.Messages(o.lounge.ID)[0].Text)
	respond(link, `{"text":"fifth"}`)
	status, _ = respond(link, `{"text":"sixth"}`)
	assert.Equal(t, 404, status)
	link = command(o.ops.ID)
	clock.add(31 * time.Minute)
	status, _ = respond(link, `{"text":"late"}`)
	assert.Equal(t, 404, status)
	assert.Equal(t, 2, o.CountViolations(slacksim.SpentURL))

	// From a click: slack-go's own way of saying it, and the clicked message as the original.
	ts := o.post(t, args{"channel": o.ops.ID, "text": "x", "blocks": twoButtons})
	_, err := o.Click(slacksim.Click{User: o.bob.ID, Channel: o.ops.ID, TS: ts, ActionID: "close"})
	require.NoError(t, err)
	f, c := p.click()
	p.ack(f, "")
	_, _, err = o.api.PostMessage("", slack.MsgOptionText("not yours", false), slack.MsgOptionResponseURL(c.ResponseURL, "ephemeral"))
	require.NoError(t, err)
	assert.Equal(t, "not yours", o.Ephemerals(o.bob.ID)[0].Text)
	_, _, err = o.api.PostMessage("", slack.MsgOptionText("changed", false), slack.MsgOptionReplaceOriginal(c.ResponseURL))
	require.NoError(t, err)
	m, _ := o.Message(o.ops.ID, ts)
	assert.Equal(t, "changed", m.Text)
	require.NoError(t, slack.PostWebhookContext(t.Context(), c.ResponseURL, &slack.WebhookMessage{Text: "in thread", ThreadTimestamp: ts, ResponseType: "in_channel"}))
	assert.Len(t, o.Thread(o.ops.ID, ts), 2)

	o.Inject(slacksim.Fault{Method: "response_url", Status: 500, Count: 1})
	status, _ = respond(c.ResponseURL, `{"text":"x"}`)
	assert.Equal(t, 500, status)
	status, _ = respond(c.ResponseURL, `{"blocks":[{"type":"hologram"}]}`)
	assert.Equal(t, 400, status)
	assert.Equal(t, 1, o.CountViolations(slacksim.BadPayload))
}

// A public answer shows the command too; alone, only the command.
func TestPublicAck(t *testing.T) {
	o := newOffice(t, slacksim.Config{})
	p := o.plugIn(t)
	d := o.types("room")
	p.ack(p.next(), `{"response_type":"in_channel","text":"on it"}`)
	outcome(t, d)
	d = o.types("quiet")
	p.ack(p.next(), `{"response_type":"in_channel"}`)
	assert.Nil(t, outcome(t, d).Reply)
	var got []string
	for _, m := range o.Messages(o.ops.ID) {
		got = append(got, m.User+" "+m.Text)
	}
	assert.Equal(t, []string{o.alice.ID + " /zego-close room", o.BotUser() + " on it", o.alice.ID + " /zego-close quiet"}, got)
	assert.Empty(t, o.Violations())
}

func TestTextAsSlackKeepsIt(t *testing.T) {
	o := newOffice(t, slacksim.Config{Limits: slacksim.Unlimited()})
	for _, test := range []struct{ name, text, parse, want string }{
		{"entities", "a & b < c > d &amp; e", "", "a &amp; b &lt; c &gt; d &amp; e"},
		{"live sequences stay", "<@U0001> <!channel> <https://x.y|z>", "", "<@U0001> <!channel> <https://x.y|z>"},
		{"others do not", "<b> <script>", "", "&lt;b&gt; &lt;script&gt;"},
		{"escaped is inert", "&lt;!channel&gt;", "", "&lt;!channel&gt;"},
		{"bare links", "see https://x.y/a?b=1&c=2, ok", "", "see <https://x.y/a?b=1&amp;c=2>, ok"},
		{"no links when told so", "see https://x.y", "none", "see https://x.y"},
		{"names stay text", "@channel @alice", "", "@channel @alice"},
		{"unless asked for", "@channel @alice #ops", "full", "<!channel> <@U0001> <#C0001|ops>"},
		{"emoji", "done ✅ 👍", "", "done :white_check_mark: :+1:"},
		{"truncated", strings.Repeat("é", 40_001), "", strings.Repeat("é", 40_000)},
	} {
		t.Run(test.name, func(t *testing.T) {
			ts := o.post(t, args{"channel": o.ops.ID, "text": test.text, "parse": test.parse})
			m, _ := o.Message(o.ops.ID, ts)
			assert.Equal(t, test.want, m.Text)
			assert.Equal(t, strings.Contains(test.want, "<http"), m.Unfurls)
		})
	}
}

func TestRender(t *testing.T) {
	at := time.Date(2026, 1, 2, 14, 2, 3, 0, time.UTC)
	o := newOffice(t, slacksim.Config{Limits: slacksim.Unlimited(), Now: func() time.Time { return at.Add(time.Minute) }})
	tokyo := o.AddUser(slacksim.User{Name: "yuki", Location: time.FixedZone("JST", 9*3600)})
	group := o.AddGroup(slacksim.Group{Handle: "mods"})
	date := fmt.Sprintf("<!date^%d^{date_short_pretty} {time_secs}|then>", at.Unix())
	blocks := fmt.Sprintf(`[
		{"type":"header","text":{"type":"plain_text","text":"#1042 <!channel> :+1:","emoji":false}},
		{"type":"section","text":{"type":"mrkdwn","text":"*bold* _it_ ~no~ %s &amp; <https://x.y|label> %s <!subteam^%s> `+"`*x*`"+`"}},
		{"type":"section","fields":[{"type":"mrkdwn","text":"a"},{"type":"plain_text","text":"b"}]},
		{"type":"divider"},
		{"type":"rich_text","elements":[
			{"type":"rich_text_section","elements":[{"type":"text","text":"by "},{"type":"user","user_id":"%s"},{"type":"text","text":" @channel"}]},
			{"type":"rich_text_preformatted","elements":[{"type":"text","text":"one\ntwo"}]},
			{"type":"rich_text_list","style":"ordered","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"i"}]},{"type":"rich_text_section","elements":[{"type":"text","text":"j"}]}]},
			{"type":"rich_text_section","elements":[{"type":"broadcast","range":"here"},{"type":"date","timestamp":%d,"format":" {time}","fallback":"f"}]}]},
		{"type":"context","elements":[{"type":"mrkdwn","text":"<@%s>"},{"type":"plain_text","text":":+1:"}]},
		{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"Close room"}},{"type":"button","text":{"type":"plain_text","text":"Cancel"}}]}]`,
		"<@"+o.alice.ID+">", date, group.ID, o.bob.ID, at.Unix(), o.alice.ID)
	ts := o.post(t, args{"channel": o.ops.ID, "text": "fallback", "blocks": blocks})
	m, _ := o.Message(o.ops.ID, ts)
	want := strings.Join([]string{
		"#1042 <!channel> :+1:",
		"bold it no @alice & label today 14:02:03 @mods *x*",
		"a", "b", "────────",
		"by @bob @channel", "    one", "    two", "1. i", "2. j", "@here 14:02",
		"@alice  👍",
		"[ Close room ]  [ Cancel ]",
	}, "\n")
	assert.Equal(t, want, o.Render(m, o.alice.ID))
	assert.Contains(t, o.Render(m, tokyo.ID), "today 23:02:03")
	assert.Equal(t, []string{"@alice", "@mods", "@bob", "@here", "@alice"}, o.Mentions(m))
	assert.Equal(t, []string{"Close room", "Cancel"}, m.ButtonLabels())

	// mrkdwn makes names live unless told not to: an injection shows.
	ts = o.post(t, args{"channel": o.ops.ID, "blocks": `[{"type":"section","text":{"type":"mrkdwn","text":"room @channel"}},{"type":"section","text":{"type":"mrkdwn","verbatim":true,"text":"room @channel"}}]`})
	m, _ = o.Message(o.ops.ID, ts)
	assert.Equal(t, []string{"@channel"}, o.Mentions(m))
	o.Edit(o.ops.ID, ts, o.alice.ID, "tampered")
	m, _ = o.Message(o.ops.ID, ts)
	assert.Equal(t, "tampered (edited)", o.Render(m, ""))
}

func TestControlDoor(t *testing.T) {
	o := newOffice(t, slacksim.Config{})
	p := o.plugIn(t)
	ts := o.post(t, args{"channel": o.ops.ID, "text": "x", "blocks": twoButtons})
	ask := func(path, body, origin string) (int, map[string]any) {
		verb := "POST"
		if body == "" {
			verb = "GET"
		}
		req, err := http.NewRequest(verb, o.URL()+path, bytes.NewBufferString(body))
		require.NoError(t, err)
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		var ans map[string]any
		require.NoError(t, json.NewDecoder(res.Body).Decode(&ans))
		return res.StatusCode, ans
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		p.ack(p.next(), `{"text":"<@U0001> hi"}`)
		p.ack(p.next(), "")
	})
	_, ans := ask("/sim/command", `{"user":"alice","channel":"#ops","text":"room"}`, "")
	assert.Equal(t, true, ans["ok"], ans)
	assert.Equal(t, "@alice hi", ans["reply"])
	_, ans = ask("/sim/click", `{"user":"bob","channel":"ops","ts":"`+ts+`","action_id":"close"}`, "")
	assert.Equal(t, true, ans["ok"], ans)
	wg.Wait()
	status, ans := ask("/sim/click", `{"user":"bob","channel":"ops","ts":"1.000001","action_id":"close"}`, "")
	assert.Equal(t, 400, status)
	assert.Contains(t, ans["error"], "no message")
	status, _ = ask("/sim/state", "", "http://evil.example")
	assert.Equal(t, 403, status)
	_, ans = ask("/sim/state", "", "")
	ops := ans["channels"].([]any)[0].(map[string]any)
	assert.Equal(t, "[ Close room ]  [ Cancel ]", ops["messages"].([]any)[0].(map[string]any)["shows"])
	assert.Len(t, ans["connections"], 1)
	assert.Len(t, ans["deliveries"], 2)
}

// After Close, nothing of the workspace runs, and nobody waits for an outcome.
func TestCloseLeavesNothing(t *testing.T) {
	http.DefaultClient.CloseIdleConnections()
	time.Sleep(50 * time.Millisecond)
	before := runtime.NumGoroutine()
	for range 5 {
		w, err := slacksim.New(slacksim.Config{})
		require.NoError(t, err)
		o := &office{Workspace: w}
		o.alice = w.AddUser(slacksim.User{Name: "alice"})
		o.ops = w.AddChannel(slacksim.Channel{Name: "ops"})
		p := o.plugIn(t)
		o.Disconnect(slacksim.Disconnect{})
		o.Inject(slacksim.Fault{Method: "auth.test", Hang: true})
		go http.Get(o.APIURL() + "auth.test")
		d := o.types("x")
		p.next()
		w.Close()
		assert.Equal(t, slacksim.OperationTimeout, d.Outcome().Result)
		assert.NotPanics(t, w.Close)
		p.Conn.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond) // the HTTP client's own goroutines end in their own time
	}
	assert.LessOrEqual(t, runtime.NumGoroutine(), before)
}

// BenchmarkCommand is a command, its ack, a post and an update: the simulator must not be what a benchmark measures.
func BenchmarkCommand(b *testing.B) {
	w, err := slacksim.New(slacksim.Config{Limits: slacksim.Unlimited()})
	require.NoError(b, err)
	defer w.Close()
	alice := w.AddUser(slacksim.User{Name: "alice"})
	ops := w.AddChannel(slacksim.Channel{Name: "ops", BotMember: true})
	api := slack.New(w.BotToken(), slack.OptionAppLevelToken(w.AppToken()), slack.OptionAPIURL(w.APIURL()))
	_, link, err := api.StartSocketModeContext(b.Context())
	require.NoError(b, err)
	ws, _, err := dialer.Dial(link, nil)
	require.NoError(b, err)
	defer ws.Close()
	go func() {
		for {
			var f frame
			if ws.ReadJSON(&f) != nil {
				return
			}
			if f.EnvelopeID != "" {
				ws.WriteJSON(map[string]string{"envelope_id": f.EnvelopeID})
			}
		}
	}()
	require.NoError(b, w.Wait(b.Context(), func() bool { return w.Ready() == 1 }))
	b.Run("ack", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			<-w.Command(slacksim.Command{User: alice.ID, Channel: ops.ID, Text: "room"}).Done()
		}
	})
	b.Run("post", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, err := api.PostMessage(ops.ID, slack.MsgOptionText("x", false), slack.MsgOptionBlocks(
				slack.NewSectionBlock(slack.NewTextBlockObject("plain_text", "x", false, false), nil, nil)))
			require.NoError(b, err)
		}
	})
	b.Run("history", func(b *testing.B) {
		for b.Loop() {
			_, err := api.GetConversationHistory(&slack.GetConversationHistoryParameters{ChannelID: ops.ID, Limit: 10})
			require.NoError(b, err)
		}
	})
}

// On Grid, ids of the organisation come along.
func TestGrid(t *testing.T) {
	o := newOffice(t, slacksim.Config{EnterpriseID: "E0SIM"})
	p := o.plugIn(t)
	o.types("x")
	var cmd slack.SlashCommand
	require.NoError(t, json.Unmarshal(p.next().Payload, &cmd))
	assert.Equal(t, "E0SIM", cmd.EnterpriseID)
	user, err := o.api.GetUserInfo(o.alice.ID)
	require.NoError(t, err)
	assert.Equal(t, "E0SIM", user.Enterprise.EnterpriseID)
	who, err := o.api.AuthTest()
	require.NoError(t, err)
	assert.Equal(t, "E0SIM", who.EnterpriseID)
}

// What Slack does not document can be had either way.
func TestSwitches(t *testing.T) {
	o := newOffice(t, slacksim.Config{
		Limits: slacksim.Unlimited(), InertNames: true, PlainTextEntities: true, BlockMismatch: true, NoClickMetadata: true,
		ButtonAcceptsPayload: true, ReplaceByDefault: true,
	})
	p := o.plugIn(t)
	ts := o.post(t, args{"channel": o.ops.ID, "text": "x", "metadata": `{"event_type":"e","event_payload":{}}`, "blocks": `[
		{"type":"section","text":{"type":"mrkdwn","text":"@channel"}},
		{"type":"header","text":{"type":"plain_text","text":"a&b &lt;"}},
		{"type":"rich_text","elements":[]},
		{"type":"actions","elements":[{"type":"button","action_id":"close","text":{"type":"plain_text","text":"x"}}]}]`})
	m, _ := o.Message(o.ops.ID, ts)
	assert.Empty(t, o.Mentions(m))
	assert.Contains(t, string(m.Blocks), "a&amp;b &lt;")
	assert.Contains(t, o.Render(m, ""), "a&b <")
	assert.Equal(t, "block_mismatch", o.bot(t, "chat.update", args{"channel": o.ops.ID, "ts": ts, "blocks": `[{"type":"divider"}]`})["error"])
	_, err := o.Click(slacksim.Click{User: o.alice.ID, Channel: o.ops.ID, TS: ts, ActionID: "close"})
	require.NoError(t, err)
	f, c := p.click()
	assert.True(t, f.Accepts)
	assert.Empty(t, c.Message.Metadata.EventType)
	res, err := http.Post(c.ResponseURL, "application/json", strings.NewReader(`{"text":"replaced"}`))
	require.NoError(t, err)
	res.Body.Close()
	m, _ = o.Message(o.ops.ID, ts)
	assert.Equal(t, "replaced", m.Text)
}
