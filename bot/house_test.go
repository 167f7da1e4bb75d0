package bot_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zegoclose/internal/app"
	"zegoclose/internal/journal"
	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

const (
	zegoAppID  = 1234567890
	zegoSecret = "0123456789abcdef0123456789abcdef"
	patience   = 20 * time.Second // for anything that should happen at once
)

// house is a workspace, a ZEGO app and the true program between them, over real sockets.
// Its people are alice and bob, who may close rooms, mallory, who may not, and guest, who
// belongs to another company. When the test ends, neither simulator may have seen the bot
// break a rule.
type house struct {
	t     testing.TB
	slack *slacksim.Workspace
	zego  *zegosim.Server
	db    string
	env   map[string]string
	out   *logBuffer

	alice, bob, mallory, guest string
	ops                        string // a channel with the bot in it

	tolerated     []slacksim.Kind // violations that the test provokes
	toleratesZego bool            // the same of ZEGO
	stopBot       func() int
	child         *process // the bot as a process of its own, see child_test.go
	victim        atomic.Pointer[process]
	killed        atomic.Bool // a child has been, so its sockets vanished
}

// logBuffer keeps what the program prints.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type option func(*slacksim.Config, *zegosim.Config, map[string]string)

// with sets variables of the program, as NAME=value.
func with(vars ...string) option {
	return func(_ *slacksim.Config, _ *zegosim.Config, env map[string]string) {
		for _, v := range vars {
			name, value, _ := strings.Cut(v, "=")
			env[name] = value
		}
	}
}

func slackLike(change func(*slacksim.Config)) option {
	return func(c *slacksim.Config, _ *zegosim.Config, _ map[string]string) { change(c) }
}

func zegoLike(change func(*zegosim.Config)) option {
	return func(_ *slacksim.Config, c *zegosim.Config, _ map[string]string) { change(c) }
}

// newHouse builds a house whose periods are short and whose limits are off, unless an
// option says otherwise. The bot is not started.
func newHouse(t testing.TB, options ...option) *house {
	t.Helper()
	h := &house{t: t, db: filepath.Join(t.TempDir(), "journal.db"), out: &logBuffer{}}
	sc := slacksim.Config{BotName: "zegoclose", Limits: slacksim.Unlimited(), Seed: 1, Scopes: manifestScopes(t)}
	zc := zegosim.Config{AppID: zegoAppID, ServerSecret: zegoSecret, NoLimits: true}
	h.env = map[string]string{
		"ZEGO_APP_ID": fmt.Sprint(zegoAppID), "ZEGO_SERVER_SECRET": zegoSecret,
		"DATABASE_URL": h.db, "LOG_FORMAT": "json", "LOG_LEVEL": "debug",
		"ZEGO_CLOSE_INTERVAL": "0", "ZEGO_TIMEOUT": "300ms", "ZEGO_LOOK_AFTER": "100ms,300ms",
		"SLACK_TIMEOUT": "1s", "SLACK_RECHECK_AFTER": "1500ms",
	}
	for _, o := range options {
		o(&sc, &zc, h.env)
	}
	var err error
	h.slack, err = slacksim.New(sc)
	require.NoError(t, err)
	h.zego = zegosim.New(zc)
	h.alice = h.slack.AddUser(slacksim.User{ID: "U0ALICE", Name: "alice"}).ID
	h.bob = h.slack.AddUser(slacksim.User{ID: "U0BOB", Name: "bob"}).ID
	h.mallory = h.slack.AddUser(slacksim.User{ID: "U0MALLORY", Name: "mallory"}).ID
	h.guest = h.slack.AddUser(slacksim.User{ID: "U0GUEST", Name: "guest", TeamID: "T0OTHER"}).ID
	h.ops = h.slack.AddChannel(slacksim.Channel{ID: "C0OPS", Name: "ops", BotMember: true,
		Members: []string{h.alice, h.bob, h.mallory, h.guest}}).ID
	for name, value := range map[string]string{
		"SLACK_BOT_TOKEN": h.slack.BotToken(), "SLACK_APP_TOKEN": h.slack.AppToken(),
		"SLACK_API_URL": h.slack.APIURL(), "ZEGO_API_URL": h.zego.URL(),
		"ALLOWED_USERS": "U0ALICE,U0BOB",
	} {
		if _, set := h.env[name]; !set {
			h.env[name] = value
		}
	}
	t.Cleanup(h.close)
	return h
}

// openHouse is newHouse with the bot started and connected.
func openHouse(t testing.TB, options ...option) *house {
	t.Helper()
	h := newHouse(t, options...)
	h.start()
	return h
}

// manifestScopes are the permissions that manifest.yaml asks for, and no others.
func manifestScopes(t testing.TB) []string {
	t.Helper()
	manifest, err := os.ReadFile("../manifest.yaml")
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(manifest), "    bot:\n")
	var scopes []string
	for l := range strings.Lines(after) {
		item, isItem := strings.CutPrefix(strings.TrimSpace(l), "- ")
		if !isItem {
			break
		}
		scope, _, _ := strings.Cut(item, " ")
		scopes = append(scopes, scope)
	}
	require.Contains(t, scopes, "chat:write")
	return scopes
}

func (h *house) environ() []string {
	var vars []string
	for name, value := range h.env {
		vars = append(vars, name+"="+value)
	}
	return vars
}

// start runs the program in this process until it serves commands.
func (h *house) start() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	exit := make(chan int, 1)
	go func() { exit <- app.Run(ctx, nil, h.environ(), h.out, h.out) }()
	h.stopBot = func() int {
		cancel()
		h.stopBot = nil
		return <-exit
	}
	h.eventually("the bot says hello", func() bool { return h.slack.Ready() >= h.connections() })
}

// stop ends the program in good order.
func (h *house) stop() {
	h.t.Helper()
	if h.stopBot != nil {
		assert.Equal(h.t, 0, h.stopBot(), "exit code of an orderly end")
	}
}

func (h *house) close() {
	if h.stopBot != nil {
		h.stop()
	}
	if h.child != nil && !h.child.gone() {
		assert.Equal(h.t, 0, h.child.end(), "exit code of an orderly end")
	}
	for _, v := range h.slack.Violations() {
		if !h.tolerates(v.Kind) {
			assert.Fail(h.t, "Slack saw a violation", v.String())
		}
	}
	if !h.toleratesZego {
		assert.Empty(h.t, h.zego.Violations(), "what ZEGO saw the bot do wrong")
	}
	h.noSecrets()
	h.slack.Close()
	h.zego.Close()
	if h.t.Failed() {
		h.t.Logf("the bot's log:\n%s", h.out.String())
	}
}

func (h *house) tolerates(k slacksim.Kind) bool {
	if k == slacksim.Vanished && h.killed.Load() {
		return true
	}
	for _, t := range h.tolerated {
		if t == k {
			return true
		}
	}
	return false
}

// noSecrets is promise P10, asked at the end of every test.
func (h *house) noSecrets() {
	h.t.Helper()
	places := map[string]string{"the log": h.out.String()}
	for _, file := range []string{h.db, h.db + "-wal"} {
		if b, err := os.ReadFile(file); err == nil {
			places[filepath.Base(file)] = string(b)
		}
	}
	for _, ch := range h.slack.Channels() {
		for _, m := range h.slack.Messages(ch.ID) {
			places["a message"] += m.Text + string(m.Blocks) + string(m.Metadata)
			for _, r := range h.slack.Thread(ch.ID, m.TS) {
				places["a message"] += r.Text + string(r.Blocks) + string(r.Metadata)
			}
		}
	}
	for place, text := range places {
		for _, secret := range []string{h.slack.BotToken(), h.slack.AppToken(), zegoSecret, "Signature=", "SignatureNonce", "/commands/T", "/actions/T", "ticket="} {
			assert.NotContains(h.t, text, secret, "a secret in "+place)
		}
	}
}

// eventually waits, woken by what happens in Slack, and by the clock for all else.
func (h *house) eventually(what string, cond func() bool) {
	h.t.Helper()
	h.eventuallyWithin(patience, what, cond)
}

func (h *house) eventuallyWithin(limit time.Duration, what string, cond func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(limit)
	for !cond() {
		if time.Now().After(deadline) {
			h.t.Fatalf("waited %v in vain for: %s\n%s\nlog:\n%s", limit, what, h.transcript(), h.out.String())
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		h.slack.Wait(ctx, cond)
		cancel()
	}
}

// transcript is the channel as a reader sees it.
func (h *house) transcript() string {
	var b strings.Builder
	for _, m := range h.slack.Messages(h.ops) {
		fmt.Fprintln(&b, h.read(m))
		for _, r := range h.replies(m) {
			fmt.Fprintln(&b, "   ↳ "+strings.ReplaceAll(r, "\n", "\n     "))
		}
	}
	return b.String()
}

// read is a message as alice sees it.
func (h *house) read(m slacksim.Message) string {
	now, ok := h.slack.Message(m.Channel, m.TS)
	if !ok {
		return "(deleted)"
	}
	return h.slack.Render(now, h.alice)
}

// replies are the messages in the thread of m.
func (h *house) replies(m slacksim.Message) []string {
	var texts []string
	for _, r := range h.slack.Thread(m.Channel, m.TS) {
		if r.TS != m.TS {
			texts = append(texts, h.slack.Render(r, h.alice))
		}
	}
	return texts
}

// types sends /zego-close as somebody in the ops channel and returns what they alone see.
func (h *house) types(user, text string) string {
	h.t.Helper()
	o := h.await(h.slack.Command(slacksim.Command{User: user, Channel: h.ops, Text: text}))
	require.Equal(h.t, slacksim.Acked, o.Result, "the command %q is answered", text)
	require.NotNil(h.t, o.Reply, "the command %q has a reply", text)
	return h.slack.Render(*o.Reply, user)
}

func (h *house) await(d *slacksim.Delivery) slacksim.Outcome {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o, err := d.Wait(ctx)
	require.NoError(h.t, err)
	return o
}

// card waits for the n-th card (1, 2, …) in the ops channel.
func (h *house) card(n int) slacksim.Message {
	h.t.Helper()
	var cards []slacksim.Message
	h.eventually(fmt.Sprintf("card %d", n), func() bool {
		cards = h.slack.Messages(h.ops)
		return len(cards) >= n
	})
	return cards[n-1]
}

// asks is types followed by the card it leads to.
func (h *house) asks(user, text string) slacksim.Message {
	h.t.Helper()
	before := h.slack.CountMessages(h.ops)
	h.types(user, text)
	return h.card(before + 1)
}

const (
	closeRoom = "zego_close_confirm"
	cancel    = "zego_close_cancel"
	tryAgain  = "zego_close_again"
)

// press clicks a button of a message.
func (h *house) press(user string, m slacksim.Message, action string) slacksim.Outcome {
	h.t.Helper()
	d, err := h.slack.Click(slacksim.Click{User: user, Channel: m.Channel, TS: m.TS, ActionID: action})
	require.NoError(h.t, err)
	return h.await(d)
}

// confirms presses Close room and expects it to be taken.
func (h *house) confirms(user string, m slacksim.Message) {
	h.t.Helper()
	require.Equal(h.t, slacksim.Acked, h.press(user, m, closeRoom).Result)
}

// shows waits until the message reads like one of the texts.
func (h *house) shows(m slacksim.Message, text string) {
	h.t.Helper()
	h.eventually(fmt.Sprintf("the card shows %q", text), func() bool { return strings.Contains(h.read(m), text) })
}

// tells waits until a reply in the thread of m contains text.
func (h *house) tells(m slacksim.Message, text string) {
	h.t.Helper()
	h.eventually(fmt.Sprintf("the thread tells %q", text), func() bool {
		return strings.Contains(strings.Join(h.replies(m), "\n"), text)
	})
}

// hears waits until somebody is shown text in private: for their eyes only, or as a direct message.
func (h *house) hears(user, text string) {
	h.t.Helper()
	h.eventually(fmt.Sprintf("%s hears %q", user, text), func() bool {
		for _, m := range append(h.slack.Ephemerals(user), h.slack.Messages(h.slack.DM(user))...) {
			if strings.Contains(h.slack.Render(m, user), text) {
				return true
			}
		}
		return false
	})
}

// query reads the journal's file as anybody with the file could.
func (h *house) query(dest any, sqlText string, args ...any) {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: h.db}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(5000)")
	require.NoError(h.t, err)
	defer db.Close()
	require.NoError(h.t, db.QueryRow(sqlText, args...).Scan(dest))
}

// state is where the journal says that a case stands.
func (h *house) state(number int) journal.State {
	h.t.Helper()
	var s string
	h.query(&s, `SELECT state FROM cases WHERE number = $1`, number)
	return journal.State(s)
}

// count is a number the journal knows.
func (h *house) count(sqlText string, args ...any) int {
	h.t.Helper()
	var n int
	h.query(&n, sqlText, args...)
	return n
}
