package bot_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// nobodyListens is an address at which connections are refused: no program is given so low a
// port unless it asks.
const nobodyListens = "127.0.0.1:1"

// checked is a house in which everything is right, with one of everything to look at.
func checked(t *testing.T, options ...option) *house {
	h := newHouse(t, append([]option{with("ALLOWED_USERGROUPS=S0MODS", "ALLOWED_CHANNELS=C0OPS,C0AUDIT", "AUDIT_CHANNEL=C0AUDIT")}, options...)...)
	h.slack.AddChannel(slacksim.Channel{ID: "C0AUDIT", Name: "zego-audit", Kind: slacksim.Private, BotMember: true, Members: []string{h.alice}})
	h.slack.AddGroup(slacksim.Group{ID: "S0MODS", Handle: "mods", Users: []string{h.bob}})
	return h
}

// check runs `zegoclose check` and returns the lines that are not ✔.
func (h *house) check() (code int, all, notFine []string) {
	h.t.Helper()
	code, out := h.runs("check")
	for l := range strings.Lines(out) {
		l = strings.TrimSuffix(l, "\n")
		all = append(all, l)
		if !strings.HasPrefix(l, "✔ ") {
			notFine = append(notFine, l)
		}
	}
	return code, all, notFine
}

func TestCheckAllGreen(t *testing.T) {
	h := checked(t)
	code, all, notFine := h.check()
	assert.Equal(t, 0, code)
	assert.Empty(t, notFine)
	free := slices.IndexFunc(all, func(l string) bool { return strings.HasPrefix(l, "✔ disk: ") })
	require.Positive(t, free)
	all[free] = "✔ disk: (so many) MiB are free where the journal is"
	assert.Equal(t, []string{
		"✔ configuration: complete",
		"✔ bot token: workspace acme (T0SIM), bot zegoclose (U0BOT)",
		"✔ scopes: " + strings.Join(manifestScopes(t), ", "),
		"✔ app token: Slack opens connections for it",
		"✔ Socket Mode: Slack says hello; no other connection of this app, so no bot is running",
		"✔ one app: both tokens belong to A0SIM",
		"✔ channel C0AUDIT: #zego-audit, the bot is in it: all cards go there",
		"✔ channel C0OPS: #ops, for commands",
		"✔ user U0ALICE: @alice",
		"✔ user U0BOB: @bob",
		"✔ user group S0MODS: 1 member",
		"✔ ZEGO: AppID 1234567890, signature accepted, production environment",
		"✔ clock: as Slack's, as ZEGO's",
		"✔ journal: " + h.db + " does not exist yet; the bot will make it",
		"✔ disk: (so many) MiB are free where the journal is",
		"✔ command and buttons: not used lately; the proof is to type /zego-close help in Slack, which answers at once",
	}, all)

	doc, err := os.ReadFile("../docs/operating.md")
	require.NoError(t, err)
	for _, l := range all {
		if !strings.HasPrefix(l, "✔ disk: ") {
			assert.Contains(t, string(doc), strings.Replace(l, h.db, "zegoclose.db", 1)+"\n", "docs/operating.md shows the same")
		}
	}

	left, err := os.ReadDir(filepath.Dir(h.db))
	require.NoError(t, err)
	assert.Empty(t, left, "nothing was made")
	for _, c := range h.zego.Calls() {
		assert.Equal(t, "DescribeUserNum", c.Action)
	}
	assert.Empty(t, h.slack.Connections(), "the connection was closed")
	for _, ch := range h.slack.Channels() {
		assert.Empty(t, h.slack.Messages(ch.ID))
	}
}

// Beside a running bot the check changes nothing either.
func TestCheckBesideTheBot(t *testing.T) {
	h := checked(t)
	h.tolerated = []slacksim.Kind{slacksim.OpenStorm} // one connection more, right after the bot's two
	h.start()
	h.slack.Wait(t.Context(), func() bool { return h.slack.Ready() == 2 })
	h.env["AUDIT_CHANNEL"] = ""
	h.types(h.alice, "live-42")
	audit := "C0AUDIT"
	h.eventually("the card", func() bool { return h.slack.CountMessages(audit) == 1 })
	h.press(h.alice, h.slack.Messages(audit)[0], cancel)
	before := h.count(`SELECT max(number) FROM entries`)
	code, all, notFine := h.check()
	assert.Equal(t, 0, code)
	assert.Empty(t, notFine)
	said := strings.Join(all, "\n")
	assert.Contains(t, said, "2 other connections of this app: the running bot's")
	_, verified := h.audit("verify")
	entries := fmt.Sprintf("%d entries, ", before+1)
	assert.Contains(t, said, entries+"the end of the chain is sound")
	assert.Contains(t, verified, entries)
	assert.Regexp(t, `command and buttons: last command 20\d\d-\d\d-\d\d \d\d:\d\d UTC, last click`, said)
	assert.Equal(t, before, h.count(`SELECT max(number) FROM entries`))
	h.types(h.alice, "live-43") // it still works
}

func TestCheckJSON(t *testing.T) {
	h := checked(t)
	h.slack.UpdateUser(h.bob, func(u *slacksim.User) { u.Deleted = true })
	code, out := h.runs("check", "-json")
	assert.Equal(t, 1, code)
	var answer struct {
		OK       bool
		Findings []struct{ Topic, Result, Says, Remedy string }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &answer), out)
	assert.False(t, answer.OK)
	assert.Len(t, answer.Findings, 16)
	for _, f := range answer.Findings {
		if f.Topic == "user U0BOB" {
			assert.Equal(t, "wrong", f.Result)
			assert.Equal(t, "@bob is deactivated", f.Says)
			assert.Equal(t, "remove the id from the configuration", f.Remedy)
		} else {
			assert.Equal(t, "ok", f.Result, f.Topic)
		}
	}
}

// Each fault shows as its own ✘ and no other. What depends on it is not judged: –.
func TestCheckFaults(t *testing.T) {
	t.Parallel()
	without := func(scopes ...string) option {
		return slackLike(func(c *slacksim.Config) {
			c.Scopes = slices.DeleteFunc(slices.Clone(c.Scopes), func(s string) bool { return slices.Contains(scopes, s) })
		})
	}
	channel := func(id string, change func(*slacksim.Channel)) func(*house) {
		return func(h *house) { h.slack.UpdateChannel(id, change) }
	}
	user := func(change func(*slacksim.User)) func(*house) {
		return func(h *house) { h.slack.UpdateUser("U0BOB", change) }
	}
	for _, c := range []struct {
		fault  string
		like   option
		inject func(*house)
		wrong  string // how the one ✘ begins
		tells  string // what it tells to do
		skips  []string
	}{
		{fault: "a setting is missing", like: with("ZEGO_APP_ID="),
			wrong: "✘ configuration: ZEGO_APP_ID is not set", tells: "the number of the project in ZEGO's console", skips: []string{"everything else"}},
		{fault: "the wrong kind of bot token", like: with("SLACK_BOT_TOKEN=xoxp-12345"),
			wrong: "✘ configuration: SLACK_BOT_TOKEN does not begin with xoxb-", tells: "OAuth & Permissions", skips: []string{"everything else"}},
		{fault: "quotes around the bot token", like: with(`SLACK_BOT_TOKEN="xoxb-12345"`),
			wrong: "✘ configuration: SLACK_BOT_TOKEN has quotes or white space around it: remove them", skips: []string{"everything else"}},
		{fault: "white space around the app token", like: with("SLACK_APP_TOKEN=xapp-12345 "),
			wrong: "✘ configuration: SLACK_APP_TOKEN has quotes or white space around it: remove them", skips: []string{"everything else"}},
		{fault: "quotes around the secret", like: with("ZEGO_SERVER_SECRET='" + zegoSecret + "'"),
			wrong: "✘ configuration: ZEGO_SERVER_SECRET has quotes or white space around it: remove them", skips: []string{"everything else"}},
		{fault: "AppSign", like: with("ZEGO_SERVER_SECRET=" + zegoSecret + zegoSecret),
			wrong: "✘ configuration: ZEGO_SERVER_SECRET is not a ServerSecret: it has 64 bytes, not 32", tells: "do not take AppSign", skips: []string{"everything else"}},
		{fault: "the bot token is mistyped", like: with("SLACK_BOT_TOKEN=xoxb-12345"),
			wrong: "✘ bot token: Slack answers invalid_auth", tells: "copy SLACK_BOT_TOKEN again", skips: ofSlack("scopes", "one app")},
		{fault: "the app is not installed any more", inject: func(h *house) { h.slack.RefuseBotToken("account_inactive") },
			wrong: "✘ bot token: Slack answers account_inactive: the app is not installed any more", tells: "install it again", skips: ofSlack("scopes", "one app")},
		{fault: "a scope is missing", like: without("groups:history"),
			wrong: "✘ scopes: missing: groups:history (for the same in private channels)", tells: "install the app again"},
		{fault: "users:read is missing", like: without("users:read"),
			wrong: "✘ scopes: missing: users:read (for users.info)", tells: "install the app again", skips: []string{"one app", "user U0ALICE", "user U0BOB"}},
		{fault: "usergroups:read is missing", like: without("usergroups:read"),
			wrong: "✘ scopes: missing: usergroups:read (for usergroups.users.list)", tells: "install the app again", skips: []string{"user group S0MODS"}},
		{fault: "channels:read is missing", like: without("channels:read"),
			wrong: "✘ scopes: missing: channels:read (for conversations.info)", tells: "install the app again", skips: []string{"channel C0AUDIT", "channel C0OPS"}},
		{fault: "commands is missing", like: without("commands"),
			wrong: "✘ scopes: missing: commands (for /zego-close, /zego-audit)", tells: "install the app again", skips: []string{"command and buttons"}},
		{fault: "a scope too many", like: slackLike(func(c *slacksim.Config) { c.Scopes = append(slices.Clone(c.Scopes), "files:write") }),
			wrong: "✘ scopes: superfluous: files:write", tells: "remove it"},
		{fault: "the app token is mistyped", like: with("SLACK_APP_TOKEN=xapp-12345"),
			wrong: "✘ app token: invalid_auth", tells: "create one with the scope connections:write", skips: []string{"Socket Mode", "one app"}},
		{fault: "the app token lacks its scope", like: slackLike(func(c *slacksim.Config) { c.AppScopes = []string{"authorizations:read"} }),
			wrong: "✘ app token: missing_scope", tells: "create one with the scope connections:write", skips: []string{"Socket Mode", "one app"}},
		{fault: "Socket Mode is off", inject: func(h *house) { h.slack.SetSocketMode(false) },
			wrong: "✘ Socket Mode: access_denied", tells: "Enable Socket Mode", skips: []string{"one app"}},
		{fault: "another bot uses the same app", inject: func(h *house) {
			h.start()
			h.env["SLACK_CONNECTIONS"] = "1" // the bot that is checked keeps one
		}, wrong: "✘ Socket Mode: 2 connections of this app exist already, but one bot keeps 1", tells: "find the other program"},
		{fault: "tokens of two apps", inject: func(h *house) {
			h.between("SLACK_API_URL", func(r *http.Request, body string) string {
				return strings.Replace(body, `"app_id":"A0SIM"`, `"app_id":"A0OTHER"`, 1)
			})
		}, wrong: "✘ one app: SLACK_BOT_TOKEN belongs to the app A0OTHER, SLACK_APP_TOKEN to A0SIM", tells: "take both from the same app"},
		{fault: "no such channel", like: with("ALLOWED_CHANNELS=C0OPS,C0GONE"),
			wrong: "✘ channel C0GONE: the bot sees no such channel", tells: "correct the id in ALLOWED_CHANNELS"},
		{fault: "an archived channel", inject: channel("C0AUDIT", func(c *slacksim.Channel) { c.Archived = true }),
			wrong: "✘ channel C0AUDIT: #zego-audit is archived", tells: "unarchive it, or put another one into AUDIT_CHANNEL"},
		{fault: "not in the private audit channel", inject: channel("C0AUDIT", func(c *slacksim.Channel) { c.BotMember = false }),
			wrong: "✘ channel C0AUDIT: the bot sees no such channel", tells: "/invite @zegoclose"},
		{fault: "not in the channel", like: with("AUDIT_CHANNEL="), inject: channel("C0OPS", func(c *slacksim.Channel) { c.BotMember = false }),
			wrong: "✘ channel C0OPS: the bot is not in #ops", tells: "/invite @zegoclose"},
		{fault: "may not post", inject: channel("C0AUDIT", func(c *slacksim.Channel) { c.ReadOnly = true }),
			wrong: "✘ channel C0AUDIT: the bot may not post in #zego-audit", tells: "let its owner allow that"},
		{fault: "a shared audit channel", like: with("ALLOWED_CHANNELS="), inject: channel("C0AUDIT", func(c *slacksim.Channel) { c.ExtShared = true }),
			wrong: "✘ channel C0AUDIT: #zego-audit is shared with another company", tells: "use an internal channel"},
		{fault: "nobody of this id", like: with("ALLOWED_USERS=U0ALICE,U0NOBODY"),
			wrong: "✘ user U0NOBODY: Slack knows nobody with this id", tells: "Copy member ID"},
		{fault: "no such reviewer", like: with("AUDIT_REVIEWERS=S0MODS,U0ALICE,U0NOBODY"),
			wrong: "✘ user U0NOBODY: Slack knows nobody with this id", tells: "Copy member ID"},
		{fault: "deactivated", inject: user(func(u *slacksim.User) { u.Deleted = true }),
			wrong: "✘ user U0BOB: @bob is deactivated", tells: "remove the id"},
		{fault: "a bot", inject: user(func(u *slacksim.User) { u.Bot = true }),
			wrong: "✘ user U0BOB: @bob is a bot", tells: "remove the id"},
		{fault: "a guest", inject: user(func(u *slacksim.User) { u.Restricted = true }),
			wrong: "✘ user U0BOB: @bob is a guest in the workspace", tells: "make them a member"},
		{fault: "a stranger", inject: user(func(u *slacksim.User) { u.TeamID = "T0OTHER" }),
			wrong: "✘ user U0BOB: @bob belongs to another company", tells: "remove the id"},
		{fault: "no such group", like: with("ALLOWED_USERGROUPS=S0GONE"),
			wrong: "✘ user group S0GONE: Slack knows no such group", tells: "Copy group ID"},
		{fault: "a group that is switched off", inject: func(h *house) { h.slack.AddGroup(slacksim.Group{ID: "S0MODS", Users: []string{h.bob}, Disabled: true}) },
			wrong: "✘ user group S0MODS: Slack knows no such group, or it is switched off", tells: "switch the group on"},
		{fault: "an empty group", inject: func(h *house) { h.slack.AddGroup(slacksim.Group{ID: "S0MODS"}) },
			wrong: "✘ user group S0MODS: nobody is in it", tells: "add people"},
		{fault: "a plan without groups", inject: func(h *house) {
			h.slack.Inject(slacksim.Fault{Method: "usergroups.users.list", Error: "plan_upgrade_required"})
		}, wrong: "✘ user group S0MODS: the workspace's plan has no user groups", tells: "ALLOWED_USERS instead"},
		{fault: "Slack is away", inject: func(h *house) { h.env["SLACK_API_URL"] = "http://" + nobodyListens },
			wrong: "✘ bot token: Slack cannot be asked at http://127.0.0.1:1 (dial tcp", tells: "firewall", skips: ofSlack("scopes", "app token", "Socket Mode", "one app")},
		{fault: "Slack does not answer", inject: func(h *house) { h.slack.Inject(slacksim.Fault{Hang: true}) },
			wrong: "✘ bot token: Slack cannot be asked at http://127.0.0.1:", tells: "(no answer in time)", skips: ofSlack("scopes", "app token", "Socket Mode", "one app")},
		{fault: "no WebSockets", inject: func(h *house) {
			h.between("SLACK_API_URL", func(r *http.Request, body string) string {
				if strings.HasSuffix(r.URL.Path, "apps.connections.open") {
					return `{"ok":true,"url":"ws://` + nobodyListens + `/link"}`
				}
				return body
			})
		}, wrong: "✘ Socket Mode: no hello from Slack (connecting to Slack: dialling Slack: dial tcp", tells: "WebSocket", skips: []string{"one app"}},
		{fault: "ZEGO is away", inject: func(h *house) { h.env["ZEGO_API_URL"] = "http://" + nobodyListens },
			wrong: "✘ ZEGO: it cannot be reached at http://127.0.0.1:", tells: "check ZEGO_API_URL"},
		{fault: "the wrong secret", like: with("ZEGO_SERVER_SECRET=ffffffffffffffffffffffffffffffff"),
			wrong: "✘ ZEGO: ZEGO answers code 100000005, signature wrong", tells: "check AppID and ServerSecret"},
		{fault: "the wrong AppID", like: with("ZEGO_APP_ID=7"),
			wrong: "✘ ZEGO: ZEGO answers code 100000011", tells: "check the AppID"},
		{fault: "no production environment", like: zegoLike(func(c *zegosim.Config) { c.NoProduction = true }),
			wrong: "✘ ZEGO: ZEGO answers code 100000016", tells: "set the test environment"},
		{fault: "a clock that is behind", inject: func(h *house) { h.zego.AddFault(zegosim.Fault{Skew: time.Minute}) },
			wrong: "✘ clock: this machine's is as Slack's, 1m0s behind ZEGO's", tells: "NTP"},
		{fault: "a clock that is far off", inject: func(h *house) { h.zego.AddFault(zegosim.Fault{Skew: -time.Hour}) },
			wrong: "✘ clock: this machine's is as Slack's, 1h0m0s ahead of ZEGO's", tells: "NTP", skips: []string{"ZEGO"}},
		{fault: "a clock that is off Slack's", like: slackLike(func(c *slacksim.Config) { c.Now = func() time.Time { return time.Now().Add(-2 * time.Minute) } }),
			wrong: "✘ clock: this machine's is 2m0s ahead of Slack's, as ZEGO's", tells: "NTP"},
		{fault: "no directory", inject: func(h *house) { h.env["DATABASE_URL"] = "/nowhere/at/all.db" },
			wrong: "✘ journal: there is no directory /nowhere/at", tells: "make it", skips: []string{"disk"}},
		{fault: "somebody else's database", inject: func(h *house) {
			db, err := sql.Open("sqlite", h.db)
			require.NoError(h.t, err)
			_, err = db.Exec(`CREATE TABLE shopping (item TEXT)`)
			require.NoError(h.t, err)
			require.NoError(h.t, db.Close())
		}, wrong: "✘ journal: journal ", tells: "a database, but not a journal of zegoclose"},
		{fault: "a damaged journal", inject: func(h *house) {
			h.start()
			h.slack.Wait(h.t.Context(), func() bool { return h.slack.Ready() == 2 })
			h.types(h.mallory, "live-42")
			h.stop()
			db, err := sql.Open("sqlite", h.db)
			require.NoError(h.t, err)
			_, err = db.Exec(`UPDATE entries SET body = replace(body, 'live-42', 'live-43') WHERE kind = 'refused'`)
			require.NoError(h.t, err)
			require.NoError(h.t, db.Close())
		}, wrong: "✘ journal: journal ", tells: "restore a backup"},
		{fault: "no room on the disk", like: with("DISK_RESERVE=1000000000"),
			wrong: "✘ disk: ", tells: "make room"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			if c.like == nil {
				c.like = with()
			}
			h := checked(t, c.like)
			h.tolerated = []slacksim.Kind{slacksim.MissingScope, slacksim.WrongToken, slacksim.OpenStorm, slacksim.Vanished}
			h.toleratesZego = true
			if c.inject != nil {
				c.inject(h)
			}
			code, all, notFine := h.check()
			assert.Equal(t, 1, code)
			var skips []string
			wrong := ""
			for _, l := range notFine {
				if skipped, ok := strings.CutPrefix(l, "– "); ok {
					topic, _, _ := strings.Cut(skipped, ": cannot be judged before ")
					skips = append(skips, topic)
				} else if assert.Empty(t, wrong, "one ✘ only: %s", strings.Join(all, "\n")) {
					wrong = l
				}
			}
			assert.True(t, strings.HasPrefix(wrong, c.wrong), "%q begins with %q", wrong, c.wrong)
			assert.Contains(t, wrong, c.tells)
			assert.Equal(t, c.skips, skips)
			for _, name := range []string{"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "ZEGO_SERVER_SECRET"} {
				assert.NotContains(t, strings.Join(all, "\n"), h.env[name], "a secret")
			}
		})
	}
}

// ofSlack are the topics that need the bot token, and others.
func ofSlack(others ...string) []string {
	return append(others, "channel C0AUDIT", "channel C0OPS", "user U0ALICE", "user U0BOB", "user group S0MODS", "command and buttons")
}

// What cannot be read is one problem, not another one that follows from it.
func TestConfigProblemsAreToldOnce(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	h := newHouse(t, with("CONFIRM_TIMEOUT=5", "SLACK_RECHECK_AFTER=15", "SLACK_CONNECTIONS=two", "ZEGO_APP_ID=x",
		"ZEGO_SERVER_SECRET=", "ZEGO_SERVER_SECRET_FILE="+empty, "SLACK_APP_TOKEN=", "SLACK_APP_TOKEN_FILE="+empty+"-gone", "SLACK_TEXT=plain"))
	code, out := h.command()
	assert.Equal(t, 2, code)
	head, problems, _ := strings.Cut(strings.TrimSpace(out), "\n  - ")
	assert.Equal(t, "zegoclose: the configuration is not right:", head)
	assert.ElementsMatch(t, []string{
		"CONFIRM_TIMEOUT cannot be read as a duration such as 90s or 5m",
		"SLACK_RECHECK_AFTER cannot be read as a duration such as 90s or 5m",
		"SLACK_CONNECTIONS cannot be read as a whole number",
		"ZEGO_APP_ID cannot be read as a number from 1 to 4294967295",
		"ZEGO_SERVER_SECRET_FILE names an empty file",
		"SLACK_APP_TOKEN_FILE cannot be read: open " + empty + "-gone: no such file or directory",
		`SLACK_TEXT is "plain", not auto, encoded or raw`,
	}, strings.Split(problems, "\n  - "))
}

func TestCheckJournalNotWritable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	h := checked(t)
	require.NoError(t, os.Chmod(filepath.Dir(h.db), 0o500))
	defer os.Chmod(filepath.Dir(h.db), 0o700)
	_, _, notFine := h.check()
	require.Len(t, notFine, 1)
	assert.Contains(t, notFine[0], "✘ journal: the directory "+filepath.Dir(h.db)+" cannot be written to (permission denied); let it belong to the user who runs the bot")
}

// between puts a proxy that changes answers between the program and what a variable names.
func (h *house) between(variable string, change func(*http.Request, string) string) {
	target := h.env[variable]
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		base := strings.TrimSuffix(strings.TrimSuffix(target, "/"), "/api")
		req, err := http.NewRequest(r.Method, base+r.URL.String(), r.Body)
		require.NoError(h.t, err)
		req.Header = r.Header
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(h.t, err)
		for name, values := range resp.Header {
			if name != "Content-Length" {
				w.Header()[name] = values
			}
		}
		io.WriteString(w, change(r, string(body)))
	}))
	h.t.Cleanup(proxy.Close)
	host := proxy.Listener.Addr().(*net.TCPAddr)
	h.env[variable] = "http://" + host.String() + "/api/"
}
