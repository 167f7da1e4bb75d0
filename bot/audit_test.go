package bot_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zegoclose/bot"
	"zegoclose/internal/app"
	"zegoclose/internal/audit"
	"zegoclose/internal/journal"
	"zegoclose/internal/slacksim"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// audit runs an operator command of the true program.
func (h *house) audit(args ...string) (exit int, out string) {
	h.t.Helper()
	return h.command(append([]string{"audit"}, args...)...)
}

// command runs the true program to its end.
func (h *house) command(args ...string) (exit int, out string) {
	h.t.Helper()
	var b bytes.Buffer
	exit = app.Run(h.t.Context(), args, h.environ(), &b, &b)
	return exit, b.String()
}

// history lets a few cases come to different ends, with all their posts made, and stops
// the bot: #1 closed, #2 cancelled by somebody else, #3 absent, #4 unknown, #5 closed.
func history(t testing.TB, options ...option) *house {
	h := openHouse(t, options...)
	h.zego.Login("live-42", "ann", "ben")
	h.zego.Login("live-43", "cat")
	first := h.asks(h.alice, "live-42 spam links :tada: & <b>phishing</b> http://evil.example 🎉")
	h.confirms(h.alice, first)
	h.shows(first, "Closed live-42")
	second := h.asks(h.alice, "live-43 oops")
	h.press(h.bob, second, cancel)
	h.shows(second, "Cancelled")
	third := h.asks(h.bob, "mistyped")
	h.confirms(h.bob, third)
	h.shows(third, "ZEGO has no room")
	return h
}

// settled waits until nothing is left to post or to draw.
func (h *house) settled() {
	h.t.Helper()
	h.eventually("everything is shown", func() bool {
		return h.count(`SELECT (SELECT count(*) FROM cases WHERE told > posted) + (SELECT count(*) FROM posts WHERE state <> 'sent' OR redraw > 0)`) == 0
	})
}

func TestAuditOfAnHonestHouse(t *testing.T) {
	h := history(t)
	h.settled()
	for _, running := range []bool{true, false} {
		if !running {
			h.stop()
		}
		exit, out := h.audit("verify")
		assert.Zero(t, exit, out)
		assert.Contains(t, out, "sound: the chain is whole")
		exit, out = h.audit("reconcile")
		assert.Zero(t, exit, out)
		assert.Contains(t, out, "of 6 posts 6 match")
		assert.Contains(t, out, "agreed: Slack shows what the journal says")
		exit, out = h.audit("export", "-room", "live-42")
		assert.Zero(t, exit, out)
		assert.Contains(t, out, "https://acme.slack.com/archives/C0OPS/p")
	}
	before, err := filepath.Glob(filepath.Join(filepath.Dir(h.db), "*"))
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{h.db, h.db + ".lock"}, before, "auditing leaves nothing behind")
}

// A waiting case, and one whose time is over, are no findings either.
func TestReconcileWhileCasesAreOpen(t *testing.T) {
	h := openHouse(t, with("ZEGO_CLOSE_INTERVAL=1h"))
	h.zego.Login("a", "ann")
	h.confirms(h.alice, h.asks(h.alice, "a")) // waits for its turn
	h.shows(h.card(1), ", about ")
	h.asks(h.bob, "c")
	h.eventually("everything is posted", func() bool {
		return h.count(`SELECT (SELECT count(*) FROM cases WHERE told > posted) + (SELECT count(*) FROM posts WHERE state <> 'sent')`) == 0
	})
	exit, out := h.audit("reconcile")
	assert.Zero(t, exit, out)
	assert.Contains(t, out, "of 2 posts 2 match")
}

// slackTampering are ways to change what Slack shows, and the line that names each.
var slackTampering = []struct {
	name   string
	tamper func(h *house, card, reply slacksim.Message)
	says   string
	blind  bool // an export of the workspace does not hold it
}{
	{name: "a reply is edited", says: "EDITED case #1, entries 3–7: its text is not what the entries say: there it says",
		tamper: func(h *house, card, reply slacksim.Message) {
			h.slack.Edit(reply.Channel, reply.TS, h.bob, strings.ReplaceAll(reply.Text, "spam", "nothing"))
		}},
	{name: "a card is edited", says: "EDITED case #1, entries 1–2: its text is not what the entries say",
		tamper: func(h *house, card, reply slacksim.Message) {
			h.slack.Edit(card.Channel, card.TS, h.bob, strings.ReplaceAll(card.Text, "live-42", "live-24"))
		}},
	{name: "only what a reply shows is changed, with the bot's token", says: "EDITED case #1, entries 3–7: what it shows is not what the entries say",
		tamper: func(h *house, card, reply slacksim.Message) {
			h.update(reply, reply.Text, strings.ReplaceAll(string(reply.Blocks), "spam", "spat"), "")
		}},
	{name: "the metadata of a reply is changed, with the bot's token", says: "EDITED case #1, entries 3–7: its metadata names the hash", blind: true,
		tamper: func(h *house, card, reply slacksim.Message) {
			var m struct {
				EventType    string         `json:"event_type"`
				EventPayload map[string]any `json:"event_payload"`
			}
			require.NoError(h.t, json.Unmarshal(reply.Metadata, &m))
			m.EventPayload["hash"] = strings.Repeat("0", 64)
			b, _ := json.Marshal(m)
			h.update(reply, reply.Text, string(reply.Blocks), string(b))
		}},
	{name: "a reply is deleted", says: "MISSING case #1, entries 3–7: the reply is not in C0OPS any more",
		tamper: func(h *house, card, reply slacksim.Message) { h.slack.Delete(reply.Channel, reply.TS, h.bob) }},
	{name: "a card is deleted", says: "MISSING case #1, entries 1–2: the card is not in C0OPS any more",
		tamper: func(h *house, card, reply slacksim.Message) { h.slack.Delete(card.Channel, card.TS, h.bob) }},
	{name: "a reply is duplicated", says: "DUPLICATED case #1, entries 3–7: the same entries are shown by the post",
		tamper: func(h *house, card, reply slacksim.Message) { h.slack.Post(reply) }},
	{name: "another app forges a reply", says: "FORGED case #1, entries 3–7: it looks like a post of the bot, but app B0EVIL",
		tamper: func(h *house, card, reply slacksim.Message) {
			reply.AppID, reply.BotID, reply.User = "A0EVIL", "B0EVIL", "U0EVIL"
			h.slack.Post(reply)
		}},
	{name: "a person forges a card", says: "FORGED: it looks like a post of the bot, but person U0BOB wrote it",
		tamper: func(h *house, card, reply slacksim.Message) {
			h.slack.Post(slacksim.Message{Channel: card.Channel, User: h.bob, Text: ":white_check_mark: #9  Closed `live-9` · <@U0ALICE>"})
		}},
	{name: "the bot's account posts a result of a case that is none", says: "FORGED case #77, entries 400–402: no post of the journal begins with entry 400 of case #77",
		tamper: func(h *house, card, reply slacksim.Message) {
			reply.Metadata = json.RawMessage(`{"event_type":"zegoclose_post","event_payload":{"journal":"` + h.journalID() + `","case":77,"kind":"reply","first":400,"last":402,"hash":"00","words":1}}`)
			h.slack.Post(reply)
		}},
	{name: "the bot's account writes something else", says: "FORGED: the bot's account wrote it, but it names no entries",
		tamper: func(h *house, card, reply slacksim.Message) {
			h.slack.Post(slacksim.Message{Channel: card.Channel, User: card.User, BotID: card.BotID, AppID: card.AppID, Text: "All rooms were closed."})
		}},
	{name: "two threads are swapped", says: "MISSING case #1, entries 3–7",
		tamper: func(h *house, card, reply slacksim.Message) {
			other := h.card(2)
			theirs := h.slack.Thread(other.Channel, other.TS)[1]
			h.slack.Delete(reply.Channel, reply.TS, h.bob)
			h.slack.Delete(theirs.Channel, theirs.TS, h.bob)
			reply.ThreadTS, theirs.ThreadTS = other.TS, card.TS
			h.slack.Post(reply)
			h.slack.Post(theirs)
		}},
	{name: "a post of another journal", says: "FOREIGN case #1, entries 3–7: it shows entries of journal 0123, not of this one",
		tamper: func(h *house, card, reply slacksim.Message) {
			reply.Metadata = json.RawMessage(strings.ReplaceAll(string(reply.Metadata), h.journalID(), "0123"))
			h.slack.Post(reply)
		}},
}

// update is chat.update with the bot's own token.
func (h *house) update(m slacksim.Message, text, blocks, metadata string) {
	h.t.Helper()
	form := map[string]string{"channel": m.Channel, "ts": m.TS, "text": text, "blocks": blocks, "parse": "none"}
	if metadata != "" {
		form["metadata"] = metadata
	}
	h.call("chat.update", form)
}

func (h *house) journalID() string {
	var id string
	h.query(&id, `SELECT journal FROM head`)
	return id
}

func TestTamperingInSlackShows(t *testing.T) {
	t.Parallel()
	for _, c := range slackTampering {
		t.Run(c.name, func(t *testing.T) {
			h := history(t)
			h.settled()
			h.stop()
			card := h.card(1)
			c.tamper(h, card, h.slack.Thread(card.Channel, card.TS)[1])
			exit, out := h.audit("verify")
			assert.Zero(t, exit, "the journal by itself is sound: %s", out)

			exit, out = h.audit("reconcile")
			assert.Equal(t, 1, exit)
			assert.Contains(t, out, c.says)
			t.Logf("audit reconcile: %s", out[strings.Index(out, "\n")+1:])

			exit, out = h.audit("reconcile", "-export", h.exported())
			if c.blind {
				assert.Zero(t, exit, out)
			} else {
				assert.Equal(t, 1, exit, "from an export too: %s", out)
			}

			exit, out = h.audit("reconcile", "-json")
			assert.Equal(t, 1, exit)
			var report struct{ Findings []struct{ Kind, What string } }
			require.NoError(t, json.Unmarshal([]byte(out), &report))
			assert.NotEmpty(t, report.Findings)
		})
	}
}

// exported writes an export of the workspace, which holds no metadata, and returns its path.
func (h *house) exported() string {
	h.t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	put := func(name string, v any) {
		w, err := z.Create(name)
		require.NoError(h.t, err)
		require.NoError(h.t, json.NewEncoder(w).Encode(v))
	}
	var channels []map[string]string
	for _, ch := range h.slack.Channels() {
		channels = append(channels, map[string]string{"id": ch.ID, "name": ch.Name})
		days := make(map[string][]map[string]any)
		add := func(m slacksim.Message) {
			w := map[string]any{"type": "message", "ts": m.TS, "user": m.User, "text": m.Text, "team": h.slack.TeamID()}
			for name, v := range map[string]string{"thread_ts": m.ThreadTS, "bot_id": m.BotID, "app_id": m.AppID} {
				if v != "" {
					w[name] = v
				}
			}
			if m.Blocks != nil {
				w["blocks"] = m.Blocks
			}
			day := m.At.UTC().Format(time.DateOnly)
			days[day] = append(days[day], w)
		}
		for _, m := range h.slack.Messages(ch.ID) {
			add(m)
			for _, r := range h.slack.Thread(ch.ID, m.TS)[1:] {
				add(r)
			}
		}
		for day, list := range days {
			put(fmt.Sprintf("%s/%s.json", ch.Name, day), list)
		}
	}
	put("channels.json", channels)
	require.NoError(h.t, z.Close())
	path := filepath.Join(h.t.TempDir(), "export.zip")
	require.NoError(h.t, os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

func TestReconcileFromAnExport(t *testing.T) {
	h := history(t)
	h.settled()
	h.stop()
	delete(h.env, "SLACK_BOT_TOKEN")
	exit, out := h.audit("reconcile", "-export", h.exported())
	assert.Zero(t, exit, out)
	assert.Contains(t, out, "6 of them without metadata in this export")
	assert.Contains(t, out, "agreed")
	exit, out = h.audit("reconcile")
	assert.Equal(t, 2, exit)
	assert.Contains(t, out, "SLACK_BOT_TOKEN is not set")
	h.env["SLACK_BOT_TOKEN"] = `"xoxb-12345"`
	_, out = h.audit("reconcile")
	assert.Contains(t, out, "SLACK_BOT_TOKEN has quotes or white space around it: remove them")
	exit, out = h.audit("reconcile", "-export", h.db)
	assert.Equal(t, 2, exit, out)
}

// call calls a Web API method with the bot's token.
func (h *house) call(method string, form map[string]string) {
	h.t.Helper()
	values := url.Values{"token": {h.slack.BotToken()}}
	for name, v := range form {
		values.Set(name, v)
	}
	res, err := http.PostForm(h.slack.APIURL()+method, values)
	require.NoError(h.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(h.t, err)
	require.Contains(h.t, string(body), `"ok":true`)
}

// What Slack does not show yet, or refuses, is told too, once it is old enough.
func TestReconcileTellsWhatIsNotShown(t *testing.T) {
	h := openHouse(t)
	h.zego.Login("live-42", "ann")
	first := h.asks(h.alice, "live-42")
	second := h.asks(h.alice, "other")
	h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Error: "restricted_action", Count: 1})
	h.press(h.alice, first, cancel)
	h.eventually("the reply is refused", func() bool { return h.count(`SELECT count(*) FROM posts WHERE state = 'undeliverable'`) == 1 })
	h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Status: 503})
	h.press(h.alice, second, cancel)
	h.eventually("the reply is in doubt", func() bool { return h.count(`SELECT count(*) FROM posts WHERE state = 'doubt'`) == 1 })
	h.stop()

	exit, out := h.audit("reconcile")
	assert.Equal(t, 1, exit)
	assert.Regexp(t, `UNDELIVERABLE case #1, entries \d+–\d+: Slack refused the reply for good`, out)
	assert.Contains(t, out, "1 of them a few minutes old and perhaps still on the way")

	r, err := journal.OpenReader(t.Context(), h.db)
	require.NoError(t, err)
	defer r.Close()
	api := &audit.API{Client: slack.New(h.slack.BotToken(), slack.OptionAPIURL(h.slack.APIURL()))}
	report, err := audit.Reconcile(t.Context(), r, api, audit.Comparison{Now: time.Now().Add(time.Hour), Words: bot.Words, Version: bot.Wording})
	require.NoError(t, err)
	require.Len(t, report.Findings, 2)
	assert.Contains(t, report.Findings[1].String(), "UNPOSTED case #2")
	assert.Contains(t, report.Findings[1].String(), "the reply is not in Slack, as far as the journal knows (doubt since")
}

// A channel that Slack does not show is told of by itself; the others are compared.
func TestReconcileWithoutAChannel(t *testing.T) {
	h := history(t)
	h.slack.AddChannel(slacksim.Channel{ID: "C0RANDOM", Name: "random", BotMember: true, Members: []string{h.alice}})
	h.await(h.slack.Command(slacksim.Command{User: h.alice, Channel: "C0RANDOM", Text: "elsewhere"}))
	h.eventually("a card in the other channel", func() bool { return h.slack.CountMessages("C0RANDOM") == 1 })
	h.settled()
	h.stop()
	h.slack.UpdateChannel("C0RANDOM", func(c *slacksim.Channel) { c.BotMember = false })
	const refusal = "channel C0RANDOM cannot be read, Slack answers not_in_channel: if the id is right, invite the bot there with /invite @zegoclose; or name one of the others with -channel"

	exit, out := h.audit("reconcile")
	assert.Equal(t, 1, exit)
	assert.Contains(t, out, "channels C0OPS, ")
	assert.Contains(t, out, "of 6 posts 6 match\nposts not compared, in channels that cannot be read: 1\nNOT COMPARED: "+refusal+"\n")
	assert.NotContains(t, out, "MISSING")
	exit, out = h.audit("reconcile", "-channel", "C0OPS")
	assert.Zero(t, exit, out)
	exit, out = h.audit("reconcile", "-channel", "C0GONE")
	assert.Equal(t, 1, exit)
	assert.Contains(t, out, "channels none, 0 messages looked at; of 0 posts 0 match\nNOT COMPARED: channel C0GONE cannot be read, Slack answers channel_not_found: ")

	exit, out = h.audit("reconcile", "-json")
	assert.Equal(t, 1, exit)
	var report struct {
		Channels        []string
		Posts, Matching int
		NotCompared     int `json:"not_compared"`
		Findings        []struct{ Kind, Channel, What string }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &report), out)
	assert.Equal(t, []string{"C0OPS"}, report.Channels)
	assert.Equal(t, []int{6, 6, 1}, []int{report.Posts, report.Matching, report.NotCompared})
	require.Len(t, report.Findings, 1)
	assert.Equal(t, struct{ Kind, Channel, What string }{"not_compared", "C0RANDOM", refusal}, report.Findings[0])

	h.slack.Inject(slacksim.Fault{Method: "conversations.history", Error: "missing_scope"})
	_, out = h.audit("reconcile", "-channel", "C0OPS")
	assert.Contains(t, out, "Slack answers missing_scope: give the app the scopes of manifest.yaml")
	h.env["SLACK_API_URL"] = "http://" + nobodyListens
	exit, out = h.audit("reconcile", "-channel", "live-ops")
	assert.Equal(t, 2, exit)
	assert.Equal(t, "zegoclose: -channel \"live-ops\" is not an id: take one such as C0123ABCD, from the end of the channel's details in Slack\n", out)
}

// An export of the public channels does not hold the others.
func TestReconcileFromAnExportWithoutAChannel(t *testing.T) {
	h := history(t)
	h.settled()
	h.stop()
	exit, out := h.audit("reconcile", "-export", h.exported(), "-channel", "C0OTHER")
	assert.Equal(t, 1, exit)
	assert.Contains(t, out, "NOT COMPARED: channel C0OTHER cannot be read, it is not in the export: take an export that holds it")
}

// A command that was called in a wrong way says so in one line.
func TestAuditCalledInAWrongWay(t *testing.T) {
	h := openHouse(t)
	h.stop()
	dir := t.TempDir()
	there, nowhere, none := filepath.Join(dir, "there.db"), filepath.Join(dir, "nowhere"), filepath.Join(dir, "none.db")
	require.NoError(t, os.WriteFile(there, nil, 0o600))
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"backup", there}, "backing up to " + there + ": it exists already, and nothing was overwritten: name a file that does not exist yet"},
		{[]string{"backup", nowhere + "/b.db"}, "backing up to " + nowhere + "/b.db: there is no directory " + nowhere + ": make it, or name another file"},
		{[]string{"backup", "-journal", none, there}, "there is no journal " + none + ": set DATABASE_URL, or name it with -journal"},
		{[]string{"verify", "-journal", none}, "there is no journal " + none + ": set DATABASE_URL, or name it with -journal"},
		{[]string{"verify", "-head", "12"}, `-head "12" is not a hash: give its 64 digits (0-9, a-f), or at least the first 8`},
		{[]string{"reconcile", "-export", none}, "opening the export " + none + ": open " + none + ": no such file or directory: name the zip file that Slack made"},
	} {
		exit, out := h.audit(c.args...)
		assert.Equal(t, 2, exit, c.args)
		assert.Equal(t, "zegoclose: "+c.says+"\n", out)
	}
	exit, out := h.audit("backup", filepath.Join(there, "b.db"))
	assert.Equal(t, 1, exit)
	assert.Equal(t, "zegoclose: backing up to "+there+"/b.db: not a directory: see that this user may write there, or name another file\n", out)
}
