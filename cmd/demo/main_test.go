package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain makes the test's executable the demo, so that tests start the true program, and
// the demo its bot.
func TestMain(m *testing.M) {
	if isBot(os.Environ()) || os.Getenv("DEMO_UNDER_TEST") != "" {
		main()
	}
	code := m.Run()
	closeBrowser()
	os.Exit(code)
}

// demo is the program with these arguments, and a directory for its temporary files.
func demo(t *testing.T, args ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	tmp = t.TempDir()
	cmd = exec.Command(exe, args...)
	cmd.Env = []string{"DEMO_UNDER_TEST=1", "TMPDIR=" + tmp}
	return cmd, tmp
}

func TestPlay(t *testing.T) {
	t.Parallel()
	cmd, tmp := demo(t, "-play")
	cmd.Env = append(cmd.Env, "ALLOWED_USERS=U0MALLORY", "SLACK_BOT_TOKEN=not a token") // nobody's settings matter
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s%s", out, &stderr)
	for _, line := range []string{
		"1. A moderator closes a room",
		"  @alice types in #live-ops: /zego-close live-42 spam links in chat",
		"  ZEGO: ann, ben and cat were thrown out of live-42 and saw why: “spam links in chat”. Nobody is in it now.",
		"  │ [ Close room ]  [ Cancel ]",
		"  #1    live-42      Closed                     closed       1 of 1 call       ✓ agree",
		"  #7    live-60      Nothing closed             absent       no call           ✓ agree",
		"  #10   live-80      Not known                  unknown      1 of 1 call       ✓ agree",
	} {
		assert.Contains(t, string(out), line+"\n")
	}
	assert.Contains(t, string(out), "live-60 was already closed by #6")
	assert.Contains(t, string(out), "✓ Neither Slack nor ZEGO saw the bot break a rule")
	assert.NotContains(t, string(out), "✗")
	assert.NotContains(t, string(out), "\x1b", "colours, though this is no terminal")
	assert.Empty(t, stderr.String())
	assert.Empty(t, filesIn(t, tmp), "left behind")
}

func TestInterruptedPlayLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	cmd, tmp := demo(t, "-play")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "presses [ Close room ]") {
	}
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	io.Copy(io.Discard, out)
	cmd.Wait()
	assert.Equal(t, exitProblem, cmd.ProcessState.ExitCode())
	assert.Equal(t, "demo: interrupted; nothing was left behind\n", stderr.String())
	assert.Empty(t, filesIn(t, tmp), "left behind")
}

// The records are compared for real: whatever is changed in one of them is named.
func TestRecordsThatDiffer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		tamper func(t *testing.T, p *player)
		want   string
	}{
		{"nothing", func(*testing.T, *player) {}, ""},
		{"another outcome in the journal", func(t *testing.T, p *player) {
			change(t, p, `UPDATE cases SET state = 'cancelled' WHERE number = 1`)
		}, `#1: the scene ended with "closed", the journal says "cancelled"`},
		{"a changed entry", func(t *testing.T, p *player) {
			change(t, p, `UPDATE entries SET body = replace(body, 'spam', 'spat') WHERE kind = 'requested'`)
		}, "content does not match its hash"},
		{"a missing entry", func(t *testing.T, p *player) {
			change(t, p, `DELETE FROM entries WHERE number = 3`)
		}, "entry 4 stands where 3 belongs"},
		{"a call that nobody announced", func(t *testing.T, p *player) {
			change(t, p, `UPDATE entries SET kind = 'looked' WHERE kind = 'attempted'`)
		}, `ZEGO got a call for "live-42" that is not in the journal`},
		{"a reply deleted in Slack", func(t *testing.T, p *player) {
			c := p.cases[0]
			require.True(t, p.slack.Delete(c.channel, p.slack.Thread(c.channel, c.ts)[1].TS, alice))
		}, "is sent and not to be found in Slack"},
		{"a card changed in Slack", func(t *testing.T, p *player) {
			c := p.cases[0]
			require.True(t, p.slack.Edit(c.channel, c.ts, alice, "nothing to see here"))
		}, `#1: the card does not say "Closed"`},
		{"a refusal that was not recorded", func(_ *testing.T, p *player) {
			p.refusals = append(p.refusals, refusal{by: mallory})
		}, "seen: [{U0MALLORY 0}]; recorded: []"},
		{"a rule broken at ZEGO", func(t *testing.T, p *player) {
			r, err := http.Get(p.zego.URL() + "/?Action=CloseRoom&RoomId=live-42")
			require.NoError(t, err)
			r.Body.Close()
		}, "ZEGO: call"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			h, err := newHouse(nil)
			require.NoError(t, err)
			defer h.close()
			p := newPlayer(h, newScreen(&out, nil))
			p.play(1, scenes()[0])
			require.NoError(t, p.err, h.lastWords())
			require.NoError(t, p.stop())
			tt.tamper(t, p)
			err = p.compareRecords()
			if tt.want == "" {
				require.NoError(t, err, out.String())
				return
			}
			require.ErrorContains(t, err, "statements about the records do not hold")
			assert.Contains(t, strings.Join(strings.Fields(out.String()), " "), tt.want)
		})
	}
}

// change changes the journal behind its back.
func change(t *testing.T, p *player, query string) {
	t.Helper()
	db, err := openJournal(p.journalFile(), "rw")
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec(query)
	require.NoError(t, err)
}

func TestServeSlack(t *testing.T) {
	t.Parallel()
	out := serve(t, "-serve", "slack", "-addr", "127.0.0.1:0")
	url := regexp.MustCompile(`http://[0-9.:]+`).FindString(out)
	for _, needed := range []string{"SLACK_API_URL=" + url + "/api/", "SLACK_BOT_TOKEN=xoxb-", "SLACK_APP_TOKEN=xapp-", "U0ALICE", "C0LIVEOPS", "/sim/command", "Ctrl-C"} {
		assert.Contains(t, out, needed)
	}
	var state struct {
		Channels []struct{ ID string }
	}
	get(t, url+"/sim/state", &state)
	assert.Equal(t, ops, state.Channels[0].ID)
}

// With a manifest the app may do what the manifest says, and no more.
func TestServeSlackWithAManifest(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`
features:
  bot_user: {display_name: closer}
  slash_commands: [{command: /zego-close}, {command: /zego-audit}]
oauth_config: {scopes: {bot: [commands, chat:write]}}
`), 0o600))
	out := serve(t, "-serve", "slack", "-addr", "127.0.0.1:0", "-manifest", file)
	assert.Contains(t, out, "commands /zego-close and /zego-audit; scopes commands, chat:write.")
	url := regexp.MustCompile(`http://[0-9.:]+`).FindString(out)
	token := regexp.MustCompile(`SLACK_BOT_TOKEN=(\S+)`).FindStringSubmatch(out)[1]
	call := func(url, token, body string) string {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		said, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return string(said)
	}
	said := call(url+"/api/auth.test", token, "{}")
	assert.Contains(t, said, `"ok":true`)
	assert.Contains(t, said, `"user":"closer"`)
	said = call(url+"/api/conversations.history", token, `{"channel":"`+ops+`"}`)
	assert.Contains(t, said, "missing_scope")
	said = call(url+"/sim/command", "", `{"user":"alice","channel":"live-ops","command":"/zego-audit","text":"today"}`)
	assert.NotContains(t, said, "not a valid command", "the app has it, though no bot is there to answer")
	said = call(url+"/sim/command", "", `{"user":"alice","channel":"live-ops","command":"/zego-ban","text":"ann"}`)
	assert.Contains(t, said, "not a valid command")
}

func TestWrongManifest(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"prose", "scopes: the usual: ones", "is no Slack app manifest in YAML"},
		{"a list", "- commands", "is no Slack app manifest in YAML"},
		{"empty", "", "list them under oauth_config, scopes, bot"},
		{"another file", "services: {bot: {image: zegoclose}}", "list them under oauth_config, scopes, bot"},
		{"no commands", "oauth_config: {scopes: {bot: [commands]}}", "list them under features, slash_commands"},
		{"a command without its stroke", "oauth_config: {scopes: {bot: [commands]}}\nfeatures: {slash_commands: [{command: zego-close}]}", `"zego-close" that does not begin with /`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "app.yaml")
			require.NoError(t, os.WriteFile(file, []byte(tt.text), 0o600))
			var stderr bytes.Buffer
			assert.Equal(t, exitProblem, run([]string{"-serve", "slack", "-addr", "127.0.0.1:0", "-manifest", file}, nil, io.Discard, &stderr))
			assert.Contains(t, stderr.String(), tt.want)
			assert.Contains(t, stderr.String(), "app.yaml")
			assert.Contains(t, stderr.String(), "manifest.yaml")
		})
	}
}

func TestServeZego(t *testing.T) {
	t.Parallel()
	out := serve(t, "-serve", "zego", "-addr", "127.0.0.1:0")
	url := regexp.MustCompile(`http://[0-9.:]+`).FindString(out)
	for _, needed := range []string{"ZEGO_API_URL=" + url, "ZEGO_APP_ID=1234567890", "ZEGO_SERVER_SECRET=", "live-42", "/sim/fault", "Ctrl-C"} {
		assert.Contains(t, out, needed)
	}
	var state struct {
		Production []struct{ ID string }
	}
	get(t, url+"/sim/state", &state)
	assert.Equal(t, "live-42", state.Production[0].ID)
}

// serve starts a simulator and returns what it says when it is ready. At the end of the
// test it must end well at an interrupt.
func serve(t *testing.T, args ...string) string {
	t.Helper()
	cmd, _ := demo(t, args...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		io.Copy(io.Discard, out)
		assert.NoError(t, cmd.Wait())
	})
	var text strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "Ctrl-C ends it") {
			break
		}
	}
	return text.String()
}

func get(t *testing.T, url string, into any) {
	t.Helper()
	r, err := http.Get(url)
	require.NoError(t, err)
	defer r.Body.Close()
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.NoError(t, json.NewDecoder(r.Body).Decode(into))
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	tests := []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"an address for everybody", []string{"-serve", "slack", "-addr", "0.0.0.0:7070"}, exitProblem, "can be reached from other machines"},
		{"a port on all addresses", []string{"-serve", "zego", "-addr", ":7071"}, exitProblem, "can be reached from other machines"},
		{"no address", []string{"-serve", "zego", "-addr", "7071"}, exitProblem, "use one such as 127.0.0.1:7071"},
		{"Slack on a taken port", []string{"-serve", "slack", "-addr", taken.Addr().String()}, exitProblem, "is taken"},
		{"ZEGO on a taken port", []string{"-serve", "zego", "-addr", taken.Addr().String()}, exitProblem, "-addr 127.0.0.1:0 (any free port)"},
		{"a manifest that is not there", []string{"-serve", "slack", "-addr", "127.0.0.1:0", "-manifest", "nowhere.yaml"}, exitProblem, "nowhere.yaml: no such file or directory; name a Slack app manifest, such as manifest.yaml"},
		{"a manifest for ZEGO", []string{"-serve", "zego", "-manifest", "manifest.yaml"}, exitUsage, "-manifest goes with -serve slack"},
		{"another simulator", []string{"-serve", "teams"}, exitUsage, "neither slack nor zego"},
		{"both", []string{"-play", "-serve", "zego"}, exitUsage, "choose one"},
		{"an address for a play", []string{"-play", "-addr", "127.0.0.1:0"}, exitUsage, "-addr goes with"},
		{"the page for everybody", []string{"-addr", "0.0.0.0:7072"}, exitProblem, "can be reached from other machines"},
		{"the page on a taken port", []string{"-addr", taken.Addr().String()}, exitProblem, "is taken"},
		{"a log without a play", []string{"-v"}, exitUsage, "-v goes with -play"},
		{"a stray word", []string{"play"}, exitUsage, "unexpected"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stderr bytes.Buffer
			assert.Equal(t, tt.exit, run(tt.args, nil, io.Discard, &stderr))
			assert.Contains(t, stderr.String(), tt.want)
		})
	}
}

func TestABotThatEndsByItselfIsNoticed(t *testing.T) {
	t.Parallel()
	h, err := newHouse(nil)
	require.NoError(t, err)
	defer h.close()
	err = h.start("SLACK_BOT_TOKEN=none")
	assert.ErrorContains(t, err, "waiting until the bot is connected to Slack: the bot has ended by itself")
	assert.Contains(t, h.lastWords(), "SLACK_BOT_TOKEN does not begin with xoxb-")
}

// A bot whose demo was killed ends by itself: its standard input is closed.
func TestBotDoesNotOutliveTheDemo(t *testing.T) {
	t.Parallel()
	h, err := newHouse(nil)
	require.NoError(t, err)
	defer h.close()
	require.NoError(t, h.start())
	require.NoError(t, h.bot.life.Close())
	select {
	case <-h.bot.exited:
	case <-time.After(patience):
		t.Fatalf("the bot still runs; its log:\n%s", h.lastWords())
	}
}

func TestBreakLine(t *testing.T) {
	tests := []struct{ line, head, rest string }{
		{"short enough", "short enough", ""},
		{"breaks before a word", "breaks before a", "word"},
		{"exactly sixteen!", "exactly sixteen!", ""},
		{"aWordThatFitsNowhereAtAll", "aWordThatFitsNow", "hereAtAll"},
		{"häuser büsche blumen", "häuser büsche", "blumen"},
	}
	for _, tt := range tests {
		head, rest := breakLine(tt.line, 16)
		assert.Equal(t, tt.head, head, tt.line)
		assert.Equal(t, tt.rest, rest, tt.line)
	}
}

func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
