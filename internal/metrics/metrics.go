// Package metrics counts what an operator wants to see, for Prometheus.
//
// A nil *[Metrics] counts nothing, so a bot without HTTP_ADDR pays nothing. Whoever has
// something to count says so in one line; names, labels and buckets are this package's
// business. No label ever holds an id or a name: each has few values, known beforehand, and
// a value that is not known is counted as "other".
//
//	metrics.go  what is counted as it happens
//	state.go    what is looked at when Prometheus asks
//	slack.go    calls of Slack's Web API, seen from their HTTP transport
//	text.go     families, series and Prometheus's text format
package metrics

import (
	"strconv"
	"strings"
	"time"

	"zegoclose/internal/journal"
	"zegoclose/internal/socket"
	"zegoclose/zego"
)

// Metrics are the counts of one bot.
type Metrics struct {
	started time.Time
	counted []*family

	commands, clicks, refusals, cases *family
	acks, ackFailures                 *family
	queueWait                         *family
	zegoCalls, slackCalls, slackTook  *family
	undeliverable                     *family
	commits, entries                  *family
}

// fast suits what people wait for, calls what the network does.
var (
	fast  = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 3}
	calls = []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	waits = []float64{.1, .5, 1, 2, 5, 10, 30, 60, 120, 300, 600}
)

// New returns Metrics that are all zero. The version is the program's.
func New(version string) *Metrics {
	m := &Metrics{started: time.Now()}
	count := func(name, help string, labels ...string) *family {
		f := newFamily(counter, name, help, labels...)
		m.counted = append(m.counted, f)
		return f
	}
	measure := func(buckets []float64, name, help string, labels ...string) *family {
		f := newFamily(histogram, name, help, labels...)
		f.buckets = buckets
		m.counted = append(m.counted, f)
		return f
	}
	m.commands = count("commands_total", "Slash commands, by what came of them.", "result")
	m.clicks = count("clicks_total", "Clicks on buttons, by button and what came of them.", "action", "result")
	m.refusals = count("refusals_total", "Commands and clicks that were refused, by what was wanted and why not.", "action", "reason")
	m.cases = count("cases_total", "Cases that ended. One whose answer came late counts as unknown first, then as what the answer says.", "outcome")
	m.acks = measure(fast, "ack_seconds", "From the arrival of an envelope to its acknowledgement.", "type")
	m.ackFailures = count("ack_failures_total", "Acknowledgements that could not be sent any more; Slack told the person that it failed.", "type")
	m.queueWait = measure(waits, "queue_wait_seconds", "From the click that confirmed a case to its first call.")
	m.zegoCalls = measure(calls, "zego_call_seconds", "Calls of ZEGO's API by code; no_answer may have been executed, unreachable certainly was not.", "action", "code")
	m.slackCalls = count("slack_calls_total", "Calls of Slack's Web API and posts to response_urls, by Slack's error code, or ok.", "method", "error")
	m.slackTook = measure(calls, "slack_call_seconds", "How long those calls took.", "method")
	m.undeliverable = count("posts_undeliverable_total", "Posts that Slack refused for good.")
	m.commits = measure(fast, "journal_commit_seconds", "Transactions of the journal, fsync included; every 15 s one that only tries.", "result")
	m.entries = count("journal_entries_total", "Entries written since the start.")
	info := newFamily(gauge, "build_info", "Always 1; the label tells what runs.", "version")
	info.set(1, version)
	m.counted = append(m.counted, info)

	// What an alert asks about must be there before it happens for the first time.
	for _, outcome := range []journal.State{journal.StateClosed, journal.StateAbsent, journal.StateFailed, journal.StateUnknown, journal.StateCancelled, journal.StateExpired} {
		m.cases.add(0, string(outcome))
	}
	for _, r := range []string{Recorded, Known, Refused, Unrecorded} {
		m.commands.add(0, r)
	}
	for _, t := range []string{socket.SlashCommands, socket.Interactive} {
		m.ackFailures.add(0, t)
	}
	for _, r := range []string{"ok", "failed"} {
		m.commits.add(0, r)
	}
	return m
}

// What came of a command or a click.
const (
	Recorded   = "recorded"   // in the journal now
	Known      = "known"      // it was there already: said twice, delivered twice, or too late
	Refused    = "refused"    // not allowed; refusals_total says why
	Unusable   = "unusable"   // help, a mistyped command, a card that is not known
	TooMany    = "too_many"   // MAX_PENDING_PER_USER
	Unrecorded = "unrecorded" // the journal could not be written, or not in time
	Unreadable = "unreadable" // not what Slack's documentation says
)

const namespace = "zegoclose"

// Command counts a slash command.
func (m *Metrics) Command(result string) {
	if m != nil {
		m.commands.add(1, result)
	}
}

// Click counts a click on a button.
func (m *Metrics) Click(action, result string) {
	if m != nil {
		m.clicks.add(1, word(action), result)
	}
}

// Refusal counts something that somebody wanted and was not allowed.
func (m *Metrics) Refusal(action, why string) {
	if m != nil {
		m.refusals.add(1, word(action), word(why))
	}
}

// Ack counts an acknowledgement that was sent, or with an error could not be.
func (m *Metrics) Ack(envelopeType string, took time.Duration, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.ackFailures.add(1, word(envelopeType))
	default:
		m.acks.observe(took.Seconds(), word(envelopeType))
	}
}

// Waited counts how long a confirmed case has waited for its first call.
func (m *Metrics) Waited(d time.Duration) {
	if m != nil {
		m.queueWait.observe(d.Seconds())
	}
}

// Undeliverable counts a post that Slack refused for good.
func (m *Metrics) Undeliverable() {
	if m != nil {
		m.undeliverable.add(1)
	}
}

// ZegoCall counts a call of ZEGO's API that ended with err.
func (m *Metrics) ZegoCall(action string, took time.Duration, err error) {
	if m != nil {
		m.zegoCalls.observe(took.Seconds(), action, zegoCode(err))
	}
}

func zegoCode(err error) string {
	switch e := err.(type) {
	case nil:
		return "0"
	case *zego.Error:
		if zego.Lookup(e.Code).Documented {
			return strconv.Itoa(e.Code)
		}
		return "other"
	case *zego.TransportError:
		if !e.Written {
			return "unreachable"
		}
		return "no_answer"
	case *zego.RequestError:
		return "not_sent"
	}
	return "other"
}

// Committed counts a transaction of the journal and what it recorded.
func (m *Metrics) Committed(took time.Duration, entries []journal.Entry, err error) {
	if m == nil {
		return
	}
	if err != nil {
		m.commits.observe(took.Seconds(), "failed")
		return
	}
	m.commits.observe(took.Seconds(), "ok")
	m.entries.add(float64(len(entries)))
	for _, e := range entries {
		switch e.Kind {
		case journal.Ended:
			m.cases.add(1, string(e.Facts.Outcome))
		case journal.Cancelled:
			m.cases.add(1, string(journal.StateCancelled))
		case journal.Expired:
			m.cases.add(1, string(journal.StateExpired))
		}
	}
}

// word lets through what can be one of a program's own words, and nothing else.
func word(s string) string {
	if len(s) == 0 || len(s) > 64 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return "other"
	}
	return s
}
