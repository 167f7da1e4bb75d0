package bot_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"zegoclose/internal/slacksim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// logged finds every line that the program can log as a warning or an error: message → level.
func logged(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, dir := range []string{".", "../internal/app", "../internal/journal", "../internal/socket", "../internal/metrics", "../internal/audit", "../zego", "../authz"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			require.NoError(t, err)
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) == 0 {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				level := map[string]string{"Warn": "warning", "Error": "error", "setback": "warning"}[sel.Sel.Name]
				if message := text(call.Args[0]); level != "" && message != "" {
					found[message] = level
				}
				return true
			})
		}
	}
	return found
}

// text is the value of a string literal, or of several that are added up.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, _ := strconv.Unquote(e.Value)
		return s
	case *ast.BinaryExpr:
		return text(e.X) + text(e.Y)
	}
	return ""
}

func TestEveryWarningIsExplained(t *testing.T) {
	doc, err := os.ReadFile("../docs/operating.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(doc), "\n## What the log says\n")
	require.True(t, ok, "docs/operating.md has the section")
	section, _, _ = strings.Cut(section, "\n## ")
	row := regexp.MustCompile("(?m)^\\| (`.+`) \\| (\\w+) \\| (.+) \\|$")
	explained := make(map[string]string)
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		explained[strings.Trim(m[1], "` ")] = m[2]
		assert.Greater(t, len(m[3]), 20, "what is said about %q", m[1])
	}
	found := logged(t)
	for message, level := range found {
		assert.Equal(t, level, explained[message], "the level of %q, or nothing, in docs/operating.md", message)
	}
	for message := range explained {
		assert.Contains(t, slices.Collect(maps.Keys(found)), message, "docs/operating.md explains a line that cannot occur")
	}
}

// While Slack is away the log tells so, and then keeps quiet.
func TestLogIsQuietWhileSlackIsDown(t *testing.T) {
	t.Parallel()
	h := newHouse(t, with("ALLOWED_USERGROUPS=S0MODS", "LOG_LEVEL=info"))
	h.slack.AddGroup(slacksim.Group{ID: "S0MODS", Users: []string{h.bob}})
	h.start()
	h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Status: 503})
	for _, room := range []string{"a", "b", "c", "d", "e"} {
		h.types(h.alice, room)
	}
	h.slack.GoOffline()
	h.tolerated = []slacksim.Kind{slacksim.Vanished}
	time.Sleep(6 * time.Second)
	var troubles []string
	for l := range strings.Lines(h.out.String()) {
		if strings.Contains(l, `"level":"WARN"`) || strings.Contains(l, `"level":"ERROR"`) {
			troubles = append(troubles, l)
		}
	}
	assert.NotEmpty(t, troubles)
	assert.LessOrEqual(t, len(troubles), 5, strings.Join(troubles, ""))
	h.slack.ClearFaults()
	require.NoError(t, h.slack.GoOnline())
	h.eventually("it goes on", func() bool { return h.slack.CountMessages(h.ops) == 5 })
	h.eventually("and says so", func() bool { return strings.Contains(h.out.String(), `"over: a post has to wait"`) })
}

// Each step of a case is one line with its number.
func TestLogOfACase(t *testing.T) {
	h := newHouse(t, with("LOG_LEVEL=info"))
	h.start()
	h.zego.Login("live-42", "ann")
	card := h.asks(h.alice, "live-42 spam")
	h.confirms(h.alice, card)
	h.tells(card, "Closed by ZEGO")
	h.stop()
	var steps []string
	for l := range strings.Lines(h.out.String()) {
		if m := regexp.MustCompile(`"msg":"(\w+)","case":1,"entry"`).FindStringSubmatch(l); m != nil {
			steps = append(steps, m[1])
		}
	}
	assert.Equal(t, []string{"requested", "offered", "shown", "confirmed", "attempted", "answered", "ended"}, steps)
}

// What alerts, dashboard and their descriptions name is there.
func TestMetricsInAlertsAndDashboardExist(t *testing.T) {
	known := families(metricsText(t))
	for _, file := range []string{"../docs/alerts.yaml", "../docs/dashboard.json", "../docs/alerts_test.yaml"} {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		used := metricName.FindAllString(string(content), -1)
		require.NotEmpty(t, used, file)
		for _, name := range used {
			assert.True(t, known[name], "%s names %s, which /metrics does not have", file, name)
		}
	}
	rules, err := os.ReadFile("../docs/alerts.yaml")
	require.NoError(t, err)
	doc, err := os.ReadFile("../docs/operating.md")
	require.NoError(t, err)
	tests, err := os.ReadFile("../docs/alerts_test.yaml")
	require.NoError(t, err)
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1)
	require.NotEmpty(t, alerts)
	for _, a := range alerts {
		assert.Contains(t, string(doc), "| `"+a[1]+"` |", "docs/operating.md explains it")
		assert.Contains(t, string(tests), "name: "+a[1]+" fires")
		assert.Contains(t, string(tests), "name: "+a[1]+" stays quiet")
	}
	var dashboard map[string]any
	content, err := os.ReadFile("../docs/dashboard.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &dashboard))
}

func TestPromtoolRules(t *testing.T) {
	promtool(t, "", "check", "rules", "../docs/alerts.yaml")
	promtool(t, "", "test", "rules", "../docs/alerts_test.yaml")
}

func TestSystemdUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed (Debian package systemd); CI has it")
	}
	unit, err := os.ReadFile("../docs/zegoclose.service")
	require.NoError(t, err)
	binary := builtBinary(t)
	copied := filepath.Join(t.TempDir(), "zegoclose.service")
	text := strings.Replace(string(unit), "/usr/local/bin/zegoclose", binary, 1) // it must exist
	require.NoError(t, os.WriteFile(copied, []byte(text), 0o644))
	out, err := exec.Command(analyze, "verify", copied).CombinedOutput()
	require.NoError(t, err, string(out))
	for l := range strings.Lines(string(out)) { // what it says about other units is not ours
		assert.NotContains(t, l, "zegoclose.service")
	}
	out, err = exec.Command(analyze, "security", "--offline=yes", "--threshold=15", copied).CombinedOutput()
	require.NoError(t, err, "its exposure is at most 1.5:\n%s", out)
}
