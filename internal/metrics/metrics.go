// Package metrics counts what an operator wants to see, for Prometheus.
//
// A nil *[Metrics] counts nothing, so a bot without HTTP_ADDR pays nothing. Whoever has
// something to count says so in one line; names, labels and buckets are this package's
// business. No label ever holds an id or a name: each has few values, known beforehand, and
// a value that is not known is counted as "other".
//
//	metrics.go  what is counted as it happens
//	state.go    what is asked for when Prometheus asks
//	slack.go    calls of Slack's Web API, seen from their HTTP transport
package metrics

import (
	"strconv"
	"strings"
	"time"

	"zegoclose/internal/journal"
	"zegoclose/zego"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the counts of one bot.
type Metrics struct {
	registry *prometheus.Registry

	commands    *prometheus.CounterVec
	clicks      *prometheus.CounterVec
	refusals    *prometheus.CounterVec
	cases       *prometheus.CounterVec
	acks        *prometheus.HistogramVec
	ackFailures *prometheus.CounterVec
	queueWait   prometheus.Histogram
	zegoCalls   *prometheus.HistogramVec
	slackCalls  *prometheus.CounterVec
	slackTook   *prometheus.HistogramVec
	undelivered prometheus.Counter
	commits     *prometheus.HistogramVec
	entries     prometheus.Counter
}

// fast suits what people wait for, calls what the network does.
var (
	fast  = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 3}
	calls = []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	waits = []float64{.1, .5, 1, 2, 5, 10, 30, 60, 120, 300, 600}
)

// New returns Metrics that are all zero. The version is the program's.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.commands = m.counters("commands_total", "Slash commands, by what came of them.", "result")
	m.clicks = m.counters("clicks_total", "Clicks on buttons, by button and what came of them.", "action", "result")
	m.refusals = m.counters("refusals_total", "Commands and clicks that were refused, by what was wanted and why not.", "action", "reason")
	m.cases = m.counters("cases_total", "Cases that ended. One whose answer came late counts as unknown first, then as what the answer says.", "outcome")
	m.acks = m.histograms("ack_seconds", "From the arrival of an envelope to its acknowledgement.", fast, "type")
	m.ackFailures = m.counters("ack_failures_total", "Acknowledgements that could not be sent any more; Slack told the person that it failed.", "type")
	m.queueWait = prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "queue_wait_seconds",
		Help: "From the click that confirmed a case to its first call.", Buckets: waits})
	m.zegoCalls = m.histograms("zego_call_seconds", "Calls of ZEGO's API by code; no_answer may have been executed, unreachable certainly was not.", calls, "action", "code")
	m.slackCalls = m.counters("slack_calls_total", "Calls of Slack's Web API and posts to response_urls, by Slack's error code, or ok.", "method", "error")
	m.slackTook = m.histograms("slack_call_seconds", "How long those calls took.", calls, "method")
	m.undelivered = m.counter("posts_undeliverable_total", "Posts that Slack refused for good.")
	m.commits = m.histograms("journal_commit_seconds", "Transactions of the journal, fsync included; every 15 s one that only tries.", fast, "result")
	m.entries = m.counter("journal_entries_total", "Entries written since the start.")
	info := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info",
		Help: "Always 1; the label tells what runs.", ConstLabels: prometheus.Labels{"version": version}})
	info.Set(1)
	m.registry.MustRegister(m.queueWait, info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	// What an alert asks about must be there before it happens for the first time.
	for _, outcome := range []journal.State{journal.StateClosed, journal.StateAbsent, journal.StateFailed, journal.StateUnknown, journal.StateCancelled, journal.StateExpired} {
		m.cases.WithLabelValues(string(outcome))
	}
	for _, r := range []string{Recorded, Known, Refused, Unrecorded} {
		m.commands.WithLabelValues(r)
	}
	for _, t := range []string{"slash_commands", "interactive"} {
		m.ackFailures.WithLabelValues(t)
	}
	m.commits.WithLabelValues("ok")
	m.commits.WithLabelValues("failed")
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

func (m *Metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(h)
	return h
}

// Command counts a slash command.
func (m *Metrics) Command(result string) {
	if m != nil {
		m.commands.WithLabelValues(result).Inc()
	}
}

// Click counts a click on a button.
func (m *Metrics) Click(action, result string) {
	if m != nil {
		m.clicks.WithLabelValues(word(action), result).Inc()
	}
}

// Refusal counts something that somebody wanted and was not allowed.
func (m *Metrics) Refusal(action, why string) {
	if m != nil {
		m.refusals.WithLabelValues(word(action), word(why)).Inc()
	}
}

// Ack counts an acknowledgement that was sent, or with an error could not be.
func (m *Metrics) Ack(envelopeType string, took time.Duration, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.ackFailures.WithLabelValues(envelopeType).Inc()
	default:
		m.acks.WithLabelValues(envelopeType).Observe(took.Seconds())
	}
}

// Waited counts how long a confirmed case has waited for its first call.
func (m *Metrics) Waited(d time.Duration) {
	if m != nil {
		m.queueWait.Observe(d.Seconds())
	}
}

// Undeliverable counts a post that Slack refused for good.
func (m *Metrics) Undeliverable() {
	if m != nil {
		m.undelivered.Inc()
	}
}

// ZegoCall counts a call of ZEGO's API that ended with err.
func (m *Metrics) ZegoCall(action string, took time.Duration, err error) {
	if m != nil {
		m.zegoCalls.WithLabelValues(action, zegoCode(err)).Observe(took.Seconds())
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
		m.commits.WithLabelValues("failed").Observe(took.Seconds())
		return
	}
	m.commits.WithLabelValues("ok").Observe(took.Seconds())
	m.entries.Add(float64(len(entries)))
	for _, e := range entries {
		switch e.Kind {
		case journal.Ended:
			m.cases.WithLabelValues(string(e.Facts.Outcome)).Inc()
		case journal.Cancelled:
			m.cases.WithLabelValues(string(journal.StateCancelled)).Inc()
		case journal.Expired:
			m.cases.WithLabelValues(string(journal.StateExpired)).Inc()
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
