package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"zegoclose/zego"

	"github.com/slack-go/slack"
)

// checkCommand looks at everything that the bot needs, in the order in which a newcomer
// would put it right, and changes nothing. What cannot be judged before something else is
// right is not judged, so that one fault shows as one ✘.
//
//	check.go        the list, the clocks, ZEGO
//	check_slack.go  tokens, scopes, Socket Mode, channels, people
//	check_disk.go   journal and disk
type checkCommand struct {
	JSON bool `name:"json" help:"Print the findings as JSON."`
}

// A finding is one line of the answer.
type finding struct {
	Topic  string `json:"topic"`
	Result result `json:"result"`
	Says   string `json:"says"`
	Remedy string `json:"remedy,omitempty"`
}

type result string

const (
	fine    result = "ok"
	wrong   result = "wrong"
	skipped result = "skipped" // cannot be judged yet
)

func (f finding) String() string {
	mark := map[result]string{fine: "✔", wrong: "✘", skipped: "–"}[f.Result]
	if f.Remedy != "" {
		return fmt.Sprintf("%s %s: %s; %s", mark, f.Topic, f.Says, f.Remedy)
	}
	return fmt.Sprintf("%s %s: %s", mark, f.Topic, f.Says)
}

// checker collects the findings, and what one of them leaves for the next to use.
type checker struct {
	config
	tell     func(finding)
	findings []finding

	slack  *slack.Client
	answer http.Header             // of Slack's last answer
	away   bool                    // Slack cannot be asked
	self   *slack.AuthTestResponse // nil if the bot token does not work
	scopes []string                // that the bot token has
	app    string                  // to which the app-level token belongs; empty if unknown
	skew   map[string]time.Duration
}

func (c checkCommand) Run(ctx context.Context, w *world) error {
	k := &checker{skew: make(map[string]time.Duration)}
	if !c.JSON {
		k.tell = func(f finding) { fmt.Fprintln(w.stdout, f) }
	}
	k.all(ctx, w.environ)
	ok := true
	for _, f := range k.findings {
		ok = ok && f.Result != wrong
	}
	if c.JSON {
		e := json.NewEncoder(w.stdout)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if err := e.Encode(struct {
			OK       bool      `json:"ok"`
			Findings []finding `json:"findings"`
		}{ok, k.findings}); err != nil {
			return err
		}
	}
	if !ok {
		return errFindings
	}
	return nil
}

// all is the list.
func (k *checker) all(ctx context.Context, environ []string) {
	if !k.checkConfig(environ) {
		return
	}
	k.checkBotToken(ctx)
	k.checkScopes()
	k.checkSocket(ctx)
	k.checkSameApp(ctx)
	k.checkChannels(ctx)
	k.checkUsers(ctx)
	k.checkGroups(ctx)
	k.checkZego(ctx)
	k.checkClock()
	last := k.checkJournal(ctx)
	k.checkDisk()
	k.checkCommand(last)
}

func (k *checker) note(f finding) {
	k.findings = append(k.findings, f)
	if k.tell != nil {
		k.tell(f)
	}
}

func (k *checker) fine(topic, format string, args ...any) {
	k.note(finding{Topic: topic, Result: fine, Says: fmt.Sprintf(format, args...)})
}

func (k *checker) wrong(topic, says, remedy string) {
	k.note(finding{Topic: topic, Result: wrong, Says: says, Remedy: remedy})
}

func (k *checker) skip(topic, before string) {
	k.note(finding{Topic: topic, Result: skipped, Says: "cannot be judged before " + before})
}

func (k *checker) checkConfig(environ []string) bool {
	const topic = "configuration"
	c, err := readConfig(environ)
	if bad, ok := errors.AsType[*configError](err); ok {
		for _, p := range bad.problems {
			k.wrong(topic, p, "")
		}
		k.skip("everything else", "the configuration is complete")
		return false
	}
	k.config = c
	k.fine(topic, "complete")
	return true
}

// checkZego makes a call that changes nothing: it counts the people in a room that nobody
// has heard of.
func (k *checker) checkZego(ctx context.Context) {
	const topic = "ZEGO"
	client := k.zegoClient()
	client.OnDate = func(t time.Time) { k.skew["ZEGO"] = skew(t) }
	ctx, cancel := context.WithTimeout(ctx, k.ZegoTimeout)
	defer cancel()
	_, err := client.DescribeUserNum(ctx, "zegoclose-check")
	answer, refused := errors.AsType[*zego.Error](err)
	switch {
	case err == nil:
		where := "production environment"
		if k.ZegoIsTest != nil && *k.ZegoIsTest {
			where = "test environment"
		}
		k.fine(topic, "AppID %d, signature accepted, %s", k.ZegoAppID, where)
	case refused && zego.Lookup(answer.Code).Retry == zego.Resign && k.skew["ZEGO"].Abs() > maxSkew:
		k.skip(topic, "the clock is right")
	case refused:
		info := zego.Lookup(answer.Code)
		k.wrong(topic, fmt.Sprintf("ZEGO answers code %d, %s (request id %s)", answer.Code, info.Meaning, answer.RequestID), info.Remedy)
	default:
		says := "it cannot be reached"
		if t, ok := errors.AsType[*zego.TransportError](err); ok {
			says = fmt.Sprintf("it cannot be reached at %s (%s)", k.ZegoURL, t.Cause)
		}
		k.wrong(topic, says, "check ZEGO_API_URL, and that this machine may connect to it (firewall, proxy, DNS)")
	}
}

// maxSkew is how far the clock may be off: ZEGO allows ten minutes, but the times in the
// record should mean something.
const maxSkew = 30 * time.Second

// skew is how far another clock, seen a moment ago and in whole seconds, is ahead of ours.
func skew(date time.Time) time.Duration {
	return (time.Until(date) + time.Second/2).Round(time.Second)
}

func (k *checker) checkClock() {
	const topic = "clock"
	var seen []string
	off := false
	for _, whose := range []string{"Slack", "ZEGO"} {
		d, ok := k.skew[whose]
		if !ok {
			continue
		}
		off = off || d.Abs() > maxSkew
		switch {
		case d == 0:
			seen = append(seen, "as "+whose+"'s")
		case d > 0:
			seen = append(seen, fmt.Sprintf("%v behind %s's", d, whose))
		default:
			seen = append(seen, fmt.Sprintf("%v ahead of %s's", -d, whose))
		}
	}
	switch {
	case len(seen) == 0:
		k.skip(topic, "Slack or ZEGO can be reached")
	case off:
		k.wrong(topic, "this machine's is "+strings.Join(seen, ", "), "let it be set by NTP (timedatectl set-ntp true): ZEGO refuses calls that are 10 minutes off, and the record's times would be wrong")
	default:
		k.fine(topic, "%s", strings.Join(seen, ", "))
	}
}
