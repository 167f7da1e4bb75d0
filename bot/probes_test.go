package bot_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"zegoclose/internal/app"
	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// anyPort lets the system choose where the bot answers probes; its log tells, see probesAt.
const anyPort = "HTTP_ADDR=127.0.0.1:0"

// probed builds a house whose bot answers probes.
func probed(t testing.TB, options ...option) *house {
	return newHouse(t, append([]option{with(anyPort)}, options...)...)
}

// probesAt is where the bot said last that it answers probes.
func (h *house) probesAt() (address string) {
	for l := range strings.Lines(h.out.String()) {
		var said struct{ Msg, Address string }
		if json.Unmarshal([]byte(l), &said) == nil && said.Msg == "answering probes" {
			address = said.Address
		}
	}
	return address
}

// get asks the bot's HTTP server; a status of 0 means that nobody answers.
func (h *house) get(path string) (status int, body string) {
	resp, err := http.Get("http://" + h.probesAt() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(h.t, err)
	return resp.StatusCode, string(b)
}

// metrics are the samples of /metrics by name and labels, as in `name{label="x"}`.
func (h *house) metrics() map[string]float64 {
	h.t.Helper()
	status, body := h.get("/metrics")
	require.Equal(h.t, http.StatusOK, status, body)
	samples := make(map[string]float64)
	for l := range strings.Lines(body) {
		if strings.HasPrefix(l, "#") {
			continue
		}
		i := strings.LastIndexByte(l, ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(l[i:]), 64)
		require.NoError(h.t, err, l)
		samples[l[:i]] = value
	}
	return samples
}

// runs is the program with other arguments in the same environment.
func (h *house) runs(args ...string) (code int, out string) {
	var b bytes.Buffer
	code = app.Run(context.Background(), args, h.environ(), &b, &b)
	return code, b.String()
}

func TestProbes(t *testing.T) {
	h := probed(t)
	code, out := h.runs("health")
	assert.Equal(t, 1, code, "nobody is there yet")
	assert.Contains(t, out, "no instance answers at HTTP_ADDR")

	h.start()
	h.env["HTTP_ADDR"] = h.probesAt()
	status, body := h.get("/healthz")
	assert.Equal(t, 200, status, body)
	h.eventually("it is ready", func() bool { status, _ := h.get("/readyz"); return status == 200 })
	code, out = h.runs("health")
	assert.Equal(t, 0, code)
	assert.Equal(t, "ok\n", out)
	code, _ = h.runs("health", "--ready")
	assert.Equal(t, 0, code)

	h.slack.GoOffline()
	h.eventually("it is not ready without Slack", func() bool {
		status, body := h.get("/readyz")
		return status == 503 && strings.Contains(body, "no Socket Mode connection has said hello")
	})
	code, out = h.runs("health", "--ready")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "not ready: no Socket Mode connection")
	code, _ = h.runs("health")
	assert.Equal(t, 0, code, "the process works")
	assert.EqualValues(t, 0, h.metrics()["zegoclose_ready"])
	require.NoError(t, h.slack.GoOnline())
	h.eventually("it is ready again", func() bool { status, _ := h.get("/readyz"); return status == 200 })
	h.tolerated = append(h.tolerated, slacksim.Vanished)

	for _, method := range []string{"POST", "DELETE"} {
		req, _ := http.NewRequest(method, "http://"+h.probesAt()+"/healthz", nil)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	}
	status, _ = h.get("/")
	assert.Equal(t, http.StatusNotFound, status)
}

func TestProbesWhileWaitingForTheJournal(t *testing.T) {
	h := probed(t, with("LOCK_WAIT=30s"))
	h.start()
	other := newHouse(t, with(anyPort, "LOCK_WAIT=30s", "DATABASE_URL="+h.db))
	ctx, cancel := context.WithCancel(context.Background())
	exit := make(chan int, 1)
	go func() { exit <- app.Run(ctx, nil, other.environ(), other.out, other.out) }()
	other.eventually("it lives", func() bool { status, _ := other.get("/healthz"); return status == 200 })
	status, body := other.get("/readyz")
	assert.Equal(t, 503, status)
	assert.Contains(t, body, "waiting for the journal")
	cancel()
	assert.Equal(t, 0, <-exit, "told to stop while it waits")
	h.stop()
}

// The next process has the settings of the one before: it waits for the address, too.
func TestRestartOnOneMachine(t *testing.T) {
	h := probed(t)
	h.start()
	next := newHouse(t, with("HTTP_ADDR="+h.probesAt(), "LOCK_WAIT=100ms", "DATABASE_URL="+h.db))
	code, out := next.command()
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "stop the program that uses it, or choose another address")

	next.env["LOCK_WAIT"] = "30s"
	ctx, cancel := context.WithCancel(context.Background())
	exit := make(chan int, 1)
	go func() { exit <- app.Run(ctx, nil, next.environ(), next.out, next.out) }()
	next.eventually("it waits", func() bool {
		return strings.Contains(next.out.String(), "waiting for another process to let go of HTTP_ADDR")
	})
	h.stop()
	next.eventually("it is ready", func() bool { status, _ := next.get("/readyz"); return status == 200 })
	cancel()
	assert.Equal(t, 0, <-exit)
}

func TestHealthWithoutAddress(t *testing.T) {
	var b bytes.Buffer
	assert.Equal(t, 2, app.Run(context.Background(), []string{"health"}, nil, &b, &b))
	assert.Contains(t, b.String(), "HTTP_ADDR is not set")
	h := newHouse(t, with("HTTP_ADDR=8080"))
	code, out := h.runs("run")
	assert.Equal(t, 2, code)
	assert.Contains(t, out, `HTTP_ADDR is "8080", not an address such as`)
}

func TestMetrics(t *testing.T) {
	h := probed(t, with("ALLOWED_USERGROUPS=S0MODS"))
	h.slack.AddGroup(slacksim.Group{ID: "S0MODS", Handle: "mods", Users: []string{h.alice}})
	h.start()
	h.zego.Login("live-42", "ann", "ben")
	card := h.asks(h.alice, "live-42 spam")
	h.types(h.alice, "live-42 spam")
	h.types(h.mallory, "live-42")
	h.types(h.alice, "help")
	h.confirms(h.alice, card)
	h.shows(card, "Closed live-42")
	h.tells(card, "Closed by ZEGO")
	h.closesAbsent("gone-1")
	h.press(h.bob, h.asks(h.bob, "live-43"), cancel)

	h.eventually("nothing waits", func() bool {
		m := h.metrics()
		return m["zegoclose_posts_waiting"] == 0 && m["zegoclose_cases_pending"] == 0
	})
	m := h.metrics()
	for sample, want := range map[string]float64{
		`zegoclose_commands_total{result="recorded"}`:                          3,
		`zegoclose_commands_total{result="known"}`:                             1,
		`zegoclose_commands_total{result="refused"}`:                           1,
		`zegoclose_commands_total{result="unusable"}`:                          1,
		`zegoclose_refusals_total{action="request",reason="not_listed"}`:       1,
		`zegoclose_clicks_total{action="confirm",result="recorded"}`:           2,
		`zegoclose_clicks_total{action="cancel",result="recorded"}`:            1,
		`zegoclose_cases_total{outcome="closed"}`:                              1,
		`zegoclose_cases_total{outcome="absent"}`:                              1,
		`zegoclose_cases_total{outcome="cancelled"}`:                           1,
		`zegoclose_cases_total{outcome="unknown"}`:                             0,
		`zegoclose_ack_seconds_count{type="slash_commands"}`:                   6,
		`zegoclose_ack_seconds_count{type="interactive"}`:                      3,
		`zegoclose_ack_failures_total{type="slash_commands"}`:                  0,
		`zegoclose_queue_wait_seconds_count`:                                   2,
		`zegoclose_queue_cases`:                                                0,
		`zegoclose_zego_call_seconds_count{action="CloseRoom",code="0"}`:       1,
		`zegoclose_zego_call_seconds_count{action="CloseRoom",code="5024"}`:    1,
		`zegoclose_zego_call_seconds_count{action="DescribeUserNum",code="0"}`: 3,
		`zegoclose_slack_calls_total{method="chat.postMessage",error="ok"}`:    6,
		`zegoclose_slack_calls_total{method="auth.test",error="ok"}`:           1,
		`zegoclose_socket_connections`:                                         2,
		`zegoclose_socket_envelopes_total`:                                     9,
		`zegoclose_socket_unanswered_total`:                                    0,
		`zegoclose_journal_writable`:                                           1,
		`zegoclose_ready`:                                                      1,
		`zegoclose_posts_oldest_seconds`:                                       0,
		`zegoclose_slack_call_seconds_count{method="usergroups.users.list"}`:   1,
	} {
		assert.EqualValues(t, want, m[sample], sample)
	}
	assert.Less(t, m["zegoclose_usergroups_age_seconds"], 30.0)
	assert.Equal(t, float64(h.count(`SELECT max(number) FROM entries`)), m["zegoclose_journal_entries_total"])
	assert.Greater(t, m[`zegoclose_journal_commit_seconds_count{result="ok"}`], 5.0)

	_, body := h.get("/metrics")
	for _, secret := range []string{h.alice, h.ops, "S0MODS", "T0SIM", "alice", "live-4", "C0OPS"} {
		assert.NotContains(t, body, secret, "no ids or names")
	}
}

// closesAbsent has alice confirm the closing of a room that does not exist.
func (h *house) closesAbsent(room string) {
	h.t.Helper()
	card := h.asks(h.alice, room)
	h.confirms(h.alice, card)
	h.shows(card, "Nothing closed: ZEGO has no room")
}

func TestMetricsOfTrouble(t *testing.T) {
	t.Parallel()
	h := probed(t)
	h.start()
	// What waits can be seen while it waits.
	h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Error: "internal_error", Count: 1})
	h.types(h.alice, "live-42")
	h.eventually("a post is in doubt", func() bool { return h.metrics()["zegoclose_posts_in_doubt"] == 1 })
	m := h.metrics()
	assert.EqualValues(t, 1, m["zegoclose_posts_waiting"])
	assert.Greater(t, m["zegoclose_posts_oldest_seconds"], 0.0)
	assert.EqualValues(t, 1, m[`zegoclose_slack_calls_total{method="chat.postMessage",error="internal_error"}`])
	assert.EqualValues(t, 1, m["zegoclose_cases_pending"])
	card := h.card(1)

	h.zego.Down()
	h.confirms(h.alice, card)
	h.eventually("it waits for ZEGO", func() bool {
		return h.metrics()[`zegoclose_zego_call_seconds_count{action="CloseRoom",code="unreachable"}`] >= 1
	})
	h.eventually("it is in the queue", func() bool {
		m := h.metrics()
		return m["zegoclose_queue_cases"] == 1 && m["zegoclose_queue_oldest_seconds"] > 0
	})
	require.NoError(t, h.zego.Up())
	h.shows(card, "Nothing closed: ZEGO has no room")

	h.zego.Login("live-43", "ann")
	h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", RoomID: "live-43", Reset: true})
	card = h.asks(h.alice, "live-43")
	h.confirms(h.alice, card)
	h.shows(card, "Not known whether")
	h.eventually("it is counted", func() bool { return h.metrics()[`zegoclose_cases_total{outcome="unknown"}`] == 1 })
	assert.EqualValues(t, 1, h.metrics()[`zegoclose_zego_call_seconds_count{action="CloseRoom",code="no_answer"}`])

	h.eventually("all is posted", func() bool { return h.metrics()["zegoclose_posts_waiting"] == 0 })
	h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Error: "restricted_action", Count: 1})
	h.types(h.alice, "live-44")
	h.hears(h.alice, "was not shown")
	assert.EqualValues(t, 1, h.metrics()["zegoclose_posts_undeliverable_total"])
	assert.EqualValues(t, 1, h.metrics()[`zegoclose_slack_calls_total{method="response_url",error="ok"}`])

	h.slack.ResetAll()
	h.eventually("it is connected again", func() bool {
		m := h.metrics()
		return m["zegoclose_socket_reconnects_total"] == 2 && m["zegoclose_socket_connections"] == 2
	})
	assert.EqualValues(t, 2, h.metrics()["zegoclose_socket_lost_total"])
	h.tolerated = append(h.tolerated, slacksim.Vanished)
}

// metricsText is /metrics of a bot that has done a little of everything.
func metricsText(t *testing.T) string {
	h := probed(t)
	h.start()
	h.zego.Login("live-42", "ann")
	card := h.asks(h.alice, "live-42")
	h.types(h.mallory, "live-42")
	h.confirms(h.alice, card)
	h.shows(card, "Closed live-42")
	_, body := h.get("/metrics")
	return body
}

// promtool runs Debian's promtool, or skips the test.
func promtool(t *testing.T, stdin string, args ...string) string {
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian package prometheus); CI has it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "promtool %s:\n%s", strings.Join(args, " "), out)
	return string(out)
}

func TestPromtoolCheckMetrics(t *testing.T) {
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool is not installed (Debian package prometheus); CI has it")
	}
	assert.Empty(t, promtool(t, metricsText(t), "check", "metrics"))
}

// families are the names of the metrics that exist, with the suffixes of histograms.
func families(text string) map[string]bool {
	names := make(map[string]bool)
	scanner := bufio.NewScanner(strings.NewReader(text))
	for scanner.Scan() {
		var name, kind string
		if n, _ := fmt.Sscanf(scanner.Text(), "# TYPE %s %s", &name, &kind); n != 2 {
			continue
		}
		names[name] = true
		if kind == "histogram" {
			names[name+"_bucket"], names[name+"_count"], names[name+"_sum"] = true, true, true
		}
	}
	return names
}

var metricName = regexp.MustCompile(`\bzegoclose_[a-z_]+\b`)
