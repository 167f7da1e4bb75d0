package slacksim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"zegoclose/internal/slacksim"
)

type args = map[string]string

// bot makes a call with the bot token and returns the answer.
func (o *office) bot(t *testing.T, method string, a args) map[string]any {
	t.Helper()
	return o.call(t, method, o.BotToken(), a)
}

// post posts and returns the ts.
func (o *office) post(t *testing.T, a args) string {
	t.Helper()
	ans := o.bot(t, "chat.postMessage", a)
	require.Equal(t, true, ans["ok"], ans)
	return ans["ts"].(string)
}

// The whole Web API, as slack-go's client sees it.
func TestSlackGoWebAPI(t *testing.T) {
	o := newOffice(t, slacksim.Config{Limits: slacksim.Unlimited()})
	ctx := t.Context()

	who, err := o.api.AuthTestContext(ctx)
	require.NoError(t, err)
	assert.Equal(t, o.BotUser(), who.UserID)
	assert.Equal(t, o.TeamID(), who.TeamID)

	channel, ts, m, err := o.api.PostMessageWithResponseContext(ctx, o.ops.ID, slack.MsgOptionText("hi", false),
		slack.MsgOptionBlocks(slack.NewDividerBlock()), slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "e", EventPayload: map[string]any{"n": 1}}))
	require.NoError(t, err)
	assert.Equal(t, o.ops.ID, channel)
	assert.Equal(t, o.AppID(), m.BotProfile.AppID)
	assert.NotEmpty(t, m.Blocks.BlockSet[0].ID())

	_, reply, _, err := o.api.PostMessageWithResponseContext(ctx, o.ops.ID, slack.MsgOptionText("re", false), slack.MsgOptionTS(ts))
	require.NoError(t, err)
	history, err := o.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: o.ops.ID, IncludeAllMetadata: true})
	require.NoError(t, err)
	require.Len(t, history.Messages, 1)
	assert.Equal(t, reply, history.Messages[0].LatestReply)
	assert.EqualValues(t, 1, history.Messages[0].Metadata.EventPayload["n"])
	history, err = o.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: o.ops.ID})
	require.NoError(t, err)
	assert.Equal(t, "e", history.Messages[0].Metadata.EventType)
	assert.Nil(t, history.Messages[0].Metadata.EventPayload)

	link, err := o.api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: o.ops.ID, Ts: reply})
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("https://acme.slack.com/archives/%s/p%s?thread_ts=%s&cid=%s", o.ops.ID, strings.ReplaceAll(reply, ".", ""), ts, o.ops.ID), link)

	_, err = o.api.PostEphemeralContext(ctx, o.ops.ID, o.bob.ID, slack.MsgOptionText("psst", false))
	require.NoError(t, err)
	assert.Equal(t, "psst", o.Ephemerals(o.bob.ID)[0].Text)

	info, err := o.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: o.den.ID, IncludeNumMembers: true})
	require.NoError(t, err)
	assert.True(t, info.IsPrivate)
	assert.True(t, info.IsMember)
	assert.Equal(t, 2, info.NumMembers)

	joined, warning, _, err := o.api.JoinConversationContext(ctx, o.lounge.ID)
	require.NoError(t, err)
	assert.True(t, joined.IsMember)
	assert.Empty(t, warning)
	_, warning, _, err = o.api.JoinConversationContext(ctx, o.lounge.ID)
	require.NoError(t, err)
	assert.Equal(t, "already_in_channel", warning)

	user, err := o.api.GetUserInfoContext(ctx, o.alice.ID)
	require.NoError(t, err)
	assert.Equal(t, "alice", user.Name)
	group := o.AddGroup(slacksim.Group{Handle: "mods", Users: []string{o.alice.ID}})
	members, err := o.api.GetUserGroupMembersContext(ctx, group.ID)
	require.NoError(t, err)
	assert.Equal(t, []string{o.alice.ID}, members)

	dm, _, _, err := o.api.OpenConversationContext(ctx, &slack.OpenConversationParameters{Users: []string{o.bob.ID}})
	require.NoError(t, err)
	channel, _, err = o.api.PostMessageContext(ctx, o.bob.ID, slack.MsgOptionText("hello", false))
	require.NoError(t, err)
	assert.Equal(t, dm.ID, channel)
	assert.Equal(t, dm.ID, o.DM(o.bob.ID))

	_, _, err = o.api.DeleteMessageContext(ctx, o.ops.ID, reply)
	require.NoError(t, err)
	left, _ := o.Message(o.ops.ID, ts)
	assert.Zero(t, left.ReplyCount)
	assert.Empty(t, o.Violations())
}

func TestTokensAndScopes(t *testing.T) {
	o := newOffice(t, slacksim.Config{Scopes: []string{"chat:write"}})
	for _, test := range []struct {
		method, token, want string
		kind                slacksim.Kind
	}{
		{"auth.test", "", "not_authed", ""},
		{"auth.test", "xoxb-other", "invalid_auth", ""},
		{"auth.test", o.AppToken(), "not_allowed_token_type", slacksim.WrongToken},
		{"apps.connections.open", o.BotToken(), "not_allowed_token_type", slacksim.WrongToken},
		{"users.info", o.BotToken(), "missing_scope", slacksim.MissingScope},
		{"no.such.method", o.BotToken(), "unknown_method", slacksim.Malformed},
	} {
		before := o.CountViolations(test.kind)
		assert.Equal(t, test.want, o.call(t, test.method, test.token, nil)["error"])
		if test.kind != "" {
			assert.Equal(t, before+1, o.CountViolations(test.kind), test.want)
		}
	}
	ans, res := o.callStatus(t, "conversations.history", o.BotToken(), args{"channel": o.ops.ID})
	assert.Equal(t, "channels:history", ans["needed"])
	assert.Equal(t, "chat:write", ans["provided"])
	assert.Equal(t, "chat:write", res.Header.Get("X-OAuth-Scopes"))
	assert.Equal(t, "not_in_channel", o.bot(t, "chat.postMessage", args{"channel": o.lounge.ID, "text": "x"})["error"], "no chat:write.public")

	o.RefuseBotToken("token_revoked")
	assert.Equal(t, "token_revoked", o.bot(t, "auth.test", nil)["error"])
	o.RefuseBotToken("")
	assert.Equal(t, true, o.bot(t, "auth.test", nil)["ok"])

	res, err := http.Get(o.APIURL() + "apps.connections.open?token=" + o.AppToken())
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, 1, o.CountViolations(slacksim.InsecureRequest))
}

func TestPostRefusals(t *testing.T) {
	o := newOffice(t, slacksim.Config{Limits: slacksim.Unlimited(), NoMessagesTab: true})
	secret := o.AddChannel(slacksim.Channel{Name: "secret", Kind: slacksim.Private})
	old := o.AddChannel(slacksim.Channel{Name: "old", BotMember: true, Archived: true})
	ro := o.AddChannel(slacksim.Channel{Name: "news", BotMember: true, ReadOnly: true})
	parent := o.post(t, args{"channel": o.ops.ID, "text": "p"})
	reply := o.post(t, args{"channel": o.ops.ID, "text": "r", "thread_ts": parent})
	for _, test := range []struct {
		name string
		args args
		want string
	}{
		{"nowhere", args{"channel": "C404", "text": "x"}, "channel_not_found"},
		{"private without the bot", args{"channel": secret.ID, "text": "x"}, "channel_not_found"},
		{"archived", args{"channel": old.ID, "text": "x"}, "is_archived"},
		{"read-only", args{"channel": ro.ID, "text": "x"}, "restricted_action_read_only_channel"},
		{"dm", args{"channel": o.alice.ID, "text": "x"}, "messages_tab_disabled"},
		{"nothing to say", args{"channel": o.ops.ID}, "no_text"},
		{"blocks are no list", args{"channel": o.ops.ID, "blocks": "{}"}, "invalid_blocks_format"},
		{"unknown thread", args{"channel": o.ops.ID, "text": "x", "thread_ts": "1.000001"}, "thread_not_found"},
		{"reply to a reply", args{"channel": o.ops.ID, "text": "x", "thread_ts": reply}, "cannot_reply_to_message"},
		{"metadata is no object", args{"channel": o.ops.ID, "text": "x", "metadata": "["}, "invalid_metadata_format"},
		{"metadata too deep", args{"channel": o.ops.ID, "text": "x", "metadata": `{"event_type":"e","event_payload":{"a":{"b":{"c":1}}}}`}, "invalid_metadata_schema"},
		{"metadata too large", args{"channel": o.ops.ID, "text": "x", "metadata": `{"event_type":"e","event_payload":{"a":"` + strings.Repeat("x", 17000) + `"}}`}, "metadata_too_large"},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, o.bot(t, "chat.postMessage", test.args)["error"])
		})
	}
	assert.Equal(t, o.lounge.ID, o.bot(t, "chat.postMessage", args{"channel": "#lounge", "text": "x"})["channel"], "by name, by chat:write.public")
	assert.Equal(t, "not_in_channel", o.bot(t, "conversations.history", args{"channel": o.lounge.ID})["error"])
	assert.Equal(t, "user_not_in_channel", o.bot(t, "chat.postEphemeral", args{"channel": o.den.ID, "user": o.bob.ID, "text": "x"})["error"])
	assert.Equal(t, "msg_too_long", o.bot(t, "chat.postEphemeral", args{"channel": o.den.ID, "user": o.alice.ID, "text": strings.Repeat("x", 4001)})["error"])
}

func TestBlockLimits(t *testing.T) {
	o := newOffice(t, slacksim.Config{Limits: slacksim.Unlimited()})
	long := func(n int) string { return strings.Repeat("é", n) }
	button := func(more string) string {
		return `[{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"x"}` + more + `}]}]`
	}
	section := func(s string) string {
		return fmt.Sprintf(`[{"type":"section","text":{"type":"mrkdwn","text":%q}}]`, s)
	}
	for _, test := range []struct{ name, blocks, want string }{
		{"51 blocks", "[" + strings.Repeat(`{"type":"divider"},`, 50) + `{"type":"divider"}]`, "no more than 50 items allowed [json-pointer:/blocks]"},
		{"empty text", section(""), "must be more than 0 characters [json-pointer:/blocks/0/text/text]"},
		{"section text", section(long(3001)), "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"},
		{"header", `[{"type":"header","text":{"type":"plain_text","text":"` + long(151) + `"}}]`, "must be less than 151 characters"},
		{"header in mrkdwn", `[{"type":"header","text":{"type":"mrkdwn","text":"x"}}]`, "must be plain_text"},
		{"emoji in mrkdwn", `[{"type":"section","text":{"type":"mrkdwn","text":"x","emoji":true}}]`, "invalid additional property: emoji"},
		{"button value", button(`,"value":"` + long(2001) + `"`), "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]"},
		{"button style", button(`,"style":"pink"`), "must be primary or danger"},
		{"confirm", button(`,"confirm":{"title":{"type":"plain_text","text":"t"},"text":{"type":"mrkdwn","text":"x"},"confirm":{"type":"plain_text","text":"` + long(31) + `"},"deny":{"type":"plain_text","text":"n"}}`), "must be less than 31 characters"},
		{"eleven fields", `[{"type":"section","fields":[` + strings.Repeat(`{"type":"mrkdwn","text":"x"},`, 10) + `{"type":"mrkdwn","text":"x"}]}]`, "no more than 10 items"},
		{"same block_id", `[{"type":"divider","block_id":"a"},{"type":"divider","block_id":"a"}]`, "already exists"},
		{"same action_id", `[{"type":"actions","elements":[{"type":"button","action_id":"a","text":{"type":"plain_text","text":"x"}},{"type":"button","action_id":"a","text":{"type":"plain_text","text":"x"}}]}]`, "already exists"},
		{"unknown block", `[{"type":"hologram"}]`, "unsupported type: hologram"},
		{"input in a message", `[{"type":"input"}]`, "unsupported type: input"},
		{"empty rich text", `[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":""}]}]}]`, "must be more than 0 characters"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := o.CountViolations(slacksim.OverLimit)
			ans := o.bot(t, "chat.postMessage", args{"channel": o.ops.ID, "text": "x", "blocks": test.blocks})
			require.Equal(t, "invalid_blocks", ans["error"], ans)
			assert.Contains(t, fmt.Sprint(ans["response_metadata"]), test.want)
			assert.Equal(t, before+1, o.CountViolations(slacksim.OverLimit))
		})
	}
	five := `{"type":"section","text":{"type":"mrkdwn","text":"` + long(3000) + `"}}`
	assert.Equal(t, "msg_blocks_too_long", o.bot(t, "chat.postMessage", args{"channel": o.ops.ID, "blocks": "[" + strings.Join([]string{five, five, five, five, five}, ",") + "]"})["error"])
	assert.NotEmpty(t, o.post(t, args{"channel": o.ops.ID, "blocks": section(long(3000))}), "characters, not bytes")
}

func TestUpdateSemantics(t *testing.T) {
	o := newOffice(t, slacksim.Config{Limits: slacksim.Unlimited()})
	ts := o.post(t, args{"channel": o.ops.ID, "text": "one", "blocks": `[{"type":"divider"}]`, "metadata": `{"event_type":"e","event_payload":{}}`})
	update := func(a args) slacksim.Message {
		a["channel"], a["ts"] = o.ops.ID, ts
		ans := o.bot(t, "chat.update", a)
		require.Equal(t, true, ans["ok"], ans)
		m, _ := o.Message(o.ops.ID, ts)
		return m
	}
	m := update(args{"text": "two", "blocks": `[{"type":"divider"}]`})
	assert.Empty(t, m.EditedBy, "no mark with blocks")
	assert.NotNil(t, m.Metadata, "kept")
	m = update(args{"text": "three"})
	assert.Equal(t, o.BotUser(), m.EditedBy)
	assert.Nil(t, m.Blocks, "text alone removes blocks")
	m = update(args{"blocks": `[{"type":"divider"}]`})
	assert.Equal(t, "three", m.Text)
	m = update(args{"text": "four", "metadata": "{}", "blocks": "[]"})
	assert.Nil(t, m.Metadata)
	assert.Equal(t, []string{"one", "two", "three", "three", "four"}, texts(o.Revisions(o.ops.ID, ts)))

	assert.Equal(t, "msg_too_long", o.bot(t, "chat.update", args{"channel": o.ops.ID, "ts": ts, "text": strings.Repeat("x", 4001)})["error"])
	theirs := o.Post(slacksim.Message{Channel: o.ops.ID, User: o.bob.ID, Text: "mine", Metadata: json.RawMessage(`{"event_type":"e"}`)})
	assert.Equal(t, "cant_update_message", o.bot(t, "chat.update", args{"channel": o.ops.ID, "ts": theirs.TS, "text": "x"})["error"])
	assert.Equal(t, "cant_delete_message", o.bot(t, "chat.delete", args{"channel": o.ops.ID, "ts": theirs.TS})["error"])

	require.True(t, o.Delete(o.ops.ID, ts, o.alice.ID))
	assert.Equal(t, "message_not_found", o.bot(t, "chat.update", args{"channel": o.ops.ID, "ts": ts, "text": "x"})["error"])
	assert.Zero(t, o.CountViolations(slacksim.Haunting))
	o.bot(t, "chat.update", args{"channel": o.ops.ID, "ts": ts, "text": "x"})
	assert.Equal(t, 1, o.CountViolations(slacksim.Haunting))

	ts = o.post(t, args{"channel": o.ops.ID, "text": "one"})
	o.UpdateChannel(o.ops.ID, func(c *slacksim.Channel) { c.Archived = true })
	assert.Equal(t, "is_inactive", o.bot(t, "chat.update", args{"channel": o.ops.ID, "ts": ts, "text": "x"})["error"])
}

func texts(list []slacksim.Revision) (out []string) {
	for _, r := range list {
		out = append(out, r.Message.Text)
	}
	return out
}

func TestThreads(t *testing.T) {
	o := newOffice(t, slacksim.Config{Limits: slacksim.Unlimited()})
	parent := o.post(t, args{"channel": o.ops.ID, "text": "p"})
	o.post(t, args{"channel": o.ops.ID, "text": "r1", "thread_ts": parent})
	o.post(t, args{"channel": o.ops.ID, "text": "r2", "thread_ts": parent, "reply_broadcast": "true"})
	require.Len(t, o.Messages(o.ops.ID), 2, "the parent and the broadcast")
	assert.Len(t, o.Thread(o.ops.ID, parent), 3)

	require.True(t, o.Delete(o.ops.ID, parent, o.alice.ID))
	ans := o.bot(t, "conversations.replies", args{"channel": o.ops.ID, "ts": parent})
	assert.Equal(t, "tombstone", ans["messages"].([]any)[0].(map[string]any)["subtype"])
	late := o.bot(t, "chat.postMessage", args{"channel": o.ops.ID, "text": "r3", "thread_ts": parent})
	assert.NotContains(t, late["message"], "thread_ts", "the parent is gone")

	lonely := o.post(t, args{"channel": o.ops.ID, "text": "p"})
	o.Delete(o.ops.ID, lonely, o.alice.ID)
	assert.Equal(t, "thread_not_found", o.bot(t, "conversations.replies", args{"channel": o.ops.ID, "ts": lonely})["error"])
	assert.Equal(t, "thread_not_found", o.bot(t, "conversations.replies", args{"channel": o.ops.ID, "ts": "1.000001"})["error"])
}

func TestHistoryPages(t *testing.T) {
	o := newOffice(t, slacksim.Config{Limits: slacksim.Unlimited()})
	var all []string
	for range 25 {
		all = append(all, o.post(t, args{"channel": o.ops.ID, "text": "x"}))
	}
	var got []string
	cursor := ""
	for {
		h, err := o.api.GetConversationHistory(&slack.GetConversationHistoryParameters{ChannelID: o.ops.ID, Limit: 10, Cursor: cursor})
		require.NoError(t, err)
		for _, m := range h.Messages {
			got = append([]string{m.Timestamp}, got...)
		}
		if cursor = h.ResponseMetaData.NextCursor; !h.HasMore {
			break
		}
	}
	assert.Equal(t, all, got)

	count := func(a args) int {
		a["channel"] = o.ops.ID
		return len(o.bot(t, "conversations.history", a)["messages"].([]any))
	}
	assert.Equal(t, 20, count(args{"oldest": all[4]}))
	assert.Equal(t, 21, count(args{"oldest": all[4], "inclusive": "1"}))
	assert.Equal(t, 4, count(args{"latest": all[4]}))
	assert.Equal(t, 1, count(args{"oldest": all[4], "latest": all[4], "inclusive": "true"}))

	var replies []string
	for range 7 {
		replies = append(replies, o.post(t, args{"channel": o.ops.ID, "text": "r", "thread_ts": all[0]}))
	}
	got, cursor = nil, ""
	for {
		list, more, next, err := o.api.GetConversationReplies(&slack.GetConversationRepliesParameters{ChannelID: o.ops.ID, Timestamp: all[0], Limit: 3, Cursor: cursor})
		require.NoError(t, err)
		for _, m := range list {
			got = append(got, m.Timestamp)
		}
		if cursor = next; !more {
			break
		}
	}
	assert.Equal(t, append([]string{all[0]}, replies...), got)
	list, _, _, err := o.api.GetConversationReplies(&slack.GetConversationRepliesParameters{ChannelID: o.ops.ID, Timestamp: all[0], Oldest: replies[4]})
	require.NoError(t, err)
	assert.Len(t, list, 3, "the parent, and two later than oldest")
}

func TestPace(t *testing.T) {
	o := newOffice(t, slacksim.Config{})
	var limited *slack.RateLimitedError
	for i := range 4 {
		_, _, err := o.api.PostMessage(o.ops.ID, slack.MsgOptionText("x", false))
		if i < 3 {
			require.NoError(t, err)
		} else {
			require.True(t, errors.As(err, &limited))
			assert.Equal(t, time.Second, limited.RetryAfter)
		}
	}
	o.post(t, args{"channel": o.den.ID, "text": "another channel is free"})
	assert.Empty(t, o.Violations())
	time.Sleep(150 * time.Millisecond)
	_, res := o.callStatus(t, "chat.postMessage", o.BotToken(), args{"channel": o.ops.ID, "text": "too early"})
	assert.Equal(t, http.StatusTooManyRequests, res.StatusCode)
	o.breach(t, slacksim.CalledDuringPause)
	time.Sleep(limited.RetryAfter)
	o.post(t, args{"channel": o.ops.ID, "text": "in time"})

	for range 20 {
		o.bot(t, "usergroups.users.list", nil)
	}
	ans, res := o.callStatus(t, "usergroups.users.list", o.BotToken(), nil)
	assert.Equal(t, "ratelimited", ans["error"])
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	require.NoError(t, err)
	assert.InDelta(t, 3, seconds, 1, "tier 2 gives a token every three seconds")
}

func TestFaults(t *testing.T) {
	post := func(o *office) (*http.Response, error) {
		client := &http.Client{Timeout: 200 * time.Millisecond}
		return client.PostForm(o.APIURL()+"chat.postMessage", map[string][]string{"token": {o.BotToken()}, "channel": {o.ops.ID}, "text": {"x"}})
	}
	for _, test := range []struct {
		name    string
		fault   slacksim.Fault
		fails   bool // the transport does
		status  int
		written int
	}{
		{"502 before", slacksim.Fault{Status: 502, Body: "<html>bad gateway</html>"}, false, 502, 0},
		{"503 after", slacksim.Fault{Status: 503, When: slacksim.After}, false, 503, 1},
		{"429", slacksim.Fault{Status: 429, RetryAfter: 7}, false, 429, 0},
		{"fatal_error, written", slacksim.Fault{Error: "fatal_error", When: slacksim.After}, false, 200, 1},
		{"internal_error, not written", slacksim.Fault{Error: "internal_error"}, false, 200, 0},
		{"reset before", slacksim.Fault{Reset: true}, true, 0, 0},
		{"reset after", slacksim.Fault{Reset: true, When: slacksim.After}, true, 0, 1},
		{"hang before", slacksim.Fault{Hang: true}, true, 0, 0},
		{"hang after", slacksim.Fault{Hang: true, When: slacksim.After}, true, 0, 1},
		{"slow", slacksim.Fault{Delay: 50 * time.Millisecond}, false, 200, 1},
		{"too slow", slacksim.Fault{Delay: 300 * time.Millisecond, When: slacksim.After}, true, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := newOffice(t, slacksim.Config{})
			test.fault.Method, test.fault.Channel, test.fault.Count = "chat.postMessage", o.ops.ID, 1
			inj := o.Inject(test.fault)
			res, err := post(o)
			if test.fails {
				assert.Error(t, err)
			} else {
				require.NoError(t, err)
				res.Body.Close()
				assert.Equal(t, test.status, res.StatusCode)
			}
			assert.Len(t, o.Messages(o.ops.ID), test.written)
			assert.Equal(t, 1, inj.Hits())
			o.post(t, args{"channel": o.den.ID, "text": "elsewhere all is well"})
			assert.Empty(t, o.Violations())
		})
	}

	t.Run("skip, count, remove", func(t *testing.T) {
		o := newOffice(t, slacksim.Config{Limits: slacksim.Unlimited()})
		o.Inject(slacksim.Fault{Method: "auth.test", Error: "fatal_error", Skip: 1, Count: 2})
		var got []any
		for range 4 {
			got = append(got, o.bot(t, "auth.test", nil)["ok"])
		}
		assert.Equal(t, []any{true, false, false, true}, got)
		inj := o.Inject(slacksim.Fault{Error: "fatal_error"})
		assert.Equal(t, false, o.bot(t, "auth.test", nil)["ok"])
		inj.Remove()
		assert.Equal(t, true, o.bot(t, "auth.test", nil)["ok"])
	})
}

// A message can be there and not be found.
func TestHiddenMessages(t *testing.T) {
	clock := newClock()
	o := newOffice(t, slacksim.Config{Now: clock.now})
	o.Inject(slacksim.Fault{Method: "chat.postMessage", HideFor: 20 * time.Second, Count: 1})
	ts := o.post(t, args{"channel": o.ops.ID, "text": "x"})
	found := func() int {
		return len(o.bot(t, "conversations.history", args{"channel": o.ops.ID})["messages"].([]any))
	}
	assert.Zero(t, found())
	assert.Equal(t, "thread_not_found", o.bot(t, "conversations.replies", args{"channel": o.ops.ID, "ts": ts})["error"])
	assert.Len(t, o.Messages(o.ops.ID), 1, "people see it")
	clock.add(21 * time.Second)
	assert.Equal(t, 1, found())
}

func TestViews(t *testing.T) {
	clock := newClock()
	o := newOffice(t, slacksim.Config{Now: clock.now})
	p := o.plugIn(t)
	trigger := func() string {
		o.types("x")
		var cmd struct {
			TriggerID string `json:"trigger_id"`
		}
		f := p.next()
		p.ack(f, "")
		require.NoError(t, json.Unmarshal(f.Payload, &cmd))
		return cmd.TriggerID
	}
	modal := slack.ModalViewRequest{
		Type: slack.VTModal, Title: slack.NewTextBlockObject("plain_text", "Title", false, false), PrivateMetadata: "p",
		Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewDividerBlock()}},
	}
	id := trigger()
	view, err := o.api.OpenViewContext(t.Context(), id, modal)
	require.NoError(t, err)
	assert.Equal(t, "p", view.PrivateMetadata)
	require.Len(t, o.Views(o.alice.ID), 1)
	_, err = o.api.OpenViewContext(t.Context(), id, modal)
	assert.EqualError(t, err, "exchanged_trigger_id")
	_, err = o.api.UpdateViewContext(t.Context(), modal, "", "other", view.ID)
	assert.EqualError(t, err, "hash_conflict")
	_, err = o.api.UpdateViewContext(t.Context(), modal, "", view.Hash, view.ID)
	assert.NoError(t, err)
	id = trigger()
	clock.add(4 * time.Second)
	_, err = o.api.OpenViewContext(t.Context(), id, modal)
	assert.EqualError(t, err, "expired_trigger_id")
	modal.Title.Text = strings.Repeat("x", 25)
	_, err = o.api.OpenViewContext(t.Context(), trigger(), modal)
	assert.ErrorContains(t, err, "invalid_arguments")
}
