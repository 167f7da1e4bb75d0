package metrics

import (
	"context"
	"net/http"
	"time"

	"zegoclose/internal/journal"
	"zegoclose/internal/socket"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// State is how things are at one moment.
type State struct {
	Ready     bool // a command would be served now
	Writable  bool // the journal can be written
	Sockets   socket.Stats
	Backlog   journal.Backlog
	GroupsAge time.Duration // of the oldest knowledge about a user group; 0 if none is allowed
}

// Handler answers Prometheus. It asks read how things are; an error leaves out what is not
// known then.
func (m *Metrics) Handler(read func(context.Context) (State, error)) http.Handler {
	m.registry.MustRegister(&stateCollector{read})
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, ErrorHandling: promhttp.ContinueOnError})
}

// scrapeLimit is how long reading the journal may take.
const scrapeLimit = 5 * time.Second

type stateCollector struct {
	read func(context.Context) (State, error)
}

// gauge is one number that is read from a State.
type gauge struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(State) float64
}

func number(kind prometheus.ValueType, name, help string, of func(State) float64) gauge {
	return gauge{prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, nil, nil), kind, of}
}

func (c *stateCollector) gauges() []gauge {
	now, total := prometheus.GaugeValue, prometheus.CounterValue
	return []gauge{
		number(now, "ready", "1 if a command would be served now.", func(s State) float64 { return bit(s.Ready) }),
		number(now, "journal_writable", "1 if the journal can be written.", func(s State) float64 { return bit(s.Writable) }),
		number(now, "cases_pending", "Cases that wait for their requester.", func(s State) float64 { return float64(s.Backlog.Pending) }),
		number(now, "queue_cases", "Confirmed cases that wait for their call.", func(s State) float64 { return float64(s.Backlog.Confirmed) }),
		number(now, "queue_oldest_seconds", "How long the oldest of them has waited since the click.", func(s State) float64 { return s.Backlog.OldestConfirmed.Seconds() }),
		number(now, "cases_closing", "Cases whose call may be under way, or is being looked into.", func(s State) float64 { return float64(s.Backlog.Closing) }),
		number(now, "posts_waiting", "Cases with something that Slack does not show yet.", func(s State) float64 { return float64(s.Backlog.Posts) }),
		number(now, "posts_oldest_seconds", "How long the oldest of that has waited.", func(s State) float64 { return s.Backlog.OldestPost.Seconds() }),
		number(now, "posts_in_doubt", "Posts of which is not known whether Slack shows them.", func(s State) float64 { return float64(s.Backlog.Doubts) }),
		number(now, "usergroups_age_seconds", "Age of the oldest knowledge about an allowed user group; from 300 on its members are refused.", func(s State) float64 { return s.GroupsAge.Seconds() }),
		number(now, "socket_connections", "Socket Mode connections that have said hello and are alive.", func(s State) float64 { return float64(s.Sockets.Connected) }),
		number(now, "socket_connections_counted", "Connections of this app, as Slack told in its last hello.", func(s State) float64 { return float64(s.Sockets.NumConnections) }),
		number(now, "socket_in_flight", "Envelopes being answered.", func(s State) float64 { return float64(s.Sockets.InFlight) }),
		number(total, "socket_envelopes_total", "Envelopes that arrived.", func(s State) float64 { return float64(s.Sockets.Envelopes) }),
		number(total, "socket_reconnects_total", "Connections that replaced another.", func(s State) float64 { return float64(s.Sockets.Reconnects) }),
		number(total, "socket_lost_total", "Connections that ended without Slack's having asked.", func(s State) float64 { return float64(s.Sockets.Lost) }),
		number(total, "socket_opens_total", "Calls of apps.connections.open.", func(s State) float64 { return float64(s.Sockets.Opens) }),
		number(total, "socket_turned_away_total", "Envelopes turned away because too many were being answered.", func(s State) float64 { return float64(s.Sockets.Busy) }),
		number(total, "socket_unanswered_total", "Envelopes without an acknowledgement; Slack told the person that it failed.", func(s State) float64 { return float64(s.Sockets.Unanswered + s.Sockets.Late) }),
		number(total, "socket_bad_frames_total", "Frames that could not be understood.", func(s State) float64 { return float64(s.Sockets.Bad) }),
		number(total, "panics_total", "Requests that failed by a fault of the program.", func(s State) float64 { return float64(s.Sockets.Panics) }),
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range c.gauges() {
		ch <- g.desc
	}
}

func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	s, err := c.read(ctx)
	for _, g := range c.gauges() {
		if err != nil {
			ch <- prometheus.NewInvalidMetric(g.desc, err)
			return
		}
		ch <- prometheus.MustNewConstMetric(g.desc, g.kind, g.of(s))
	}
}
