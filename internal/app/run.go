package app

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"zegoclose/authz"
	"zegoclose/bot"
	"zegoclose/internal/journal"
	"zegoclose/internal/metrics"

	"github.com/lmittmann/tint"
	"github.com/slack-go/slack"
)

// runCommand runs the bot until it is told to stop.
type runCommand struct{}

// Run wires the parts together in the order in which they depend on each other.
func (runCommand) Run(ctx context.Context, w *world) error {
	c, err := readConfig(w.environ)
	if err != nil {
		return err
	}
	log := newLogger(c, w)
	log.Info("starting", "version", version())

	var m *metrics.Metrics
	var probes *probes
	if c.HTTPAddr != "" {
		m = metrics.New(version())
		if probes, err = serveProbes(ctx, c, m, log); err != nil {
			if ctx.Err() != nil {
				return nil // told to stop while another process held the address
			}
			return err
		}
		defer probes.close()
	}

	jrnl, err := journal.Open(ctx, journal.Config{Path: c.DatabaseURL, LockWait: c.LockWait, Recheck: c.SlackRecheck, Log: log, Committed: func(took time.Duration, entries []journal.Entry, err error) {
		m.Committed(took, entries, err)
		logSteps(log, entries)
	}})
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while another process held the journal
		}
		return err
	}
	defer closeJournal(jrnl, log)

	web := &http.Client{Timeout: c.SlackTimeout, Transport: m.SlackTransport(slackTransport())}
	checkpoints, _ := c.checkpointEvery()
	b := bot.New(bot.Config{
		Slack: c.slackClient(web), HTTP: web, Zego: c.zegoClient(), Journal: jrnl, Log: log, Metrics: m,
		Policy:            authz.Policy{Users: c.AllowedUsers, Groups: c.AllowedUserGroups, Channels: c.AllowedChannels},
		AuditChannel:      c.AuditChannel,
		CheckpointEvery:   checkpoints,
		Reviewers:         c.reviewers(),
		Text:              c.SlackText,
		SendReason:        c.ZegoSendReason,
		RoomCloseCallback: c.ZegoRoomCloseCallback,
		MaxPendingPerUser: c.MaxPendingPerUser,
		Connections:       c.SlackConnections,
		ConfirmTimeout:    c.ConfirmTimeout,
		CloseWithin:       c.CloseWithin,
		CloseInterval:     c.ZegoCloseInterval,
		ZegoTimeout:       c.ZegoTimeout,
		LookAfter:         c.ZegoLooks,
		SlackTimeout:      c.SlackTimeout,
		PostRecheck:       c.SlackRecheck,
	})
	probes.watch(ctx, b)
	return b.Run(ctx)
}

// logSteps writes one line for each step of a case: for what is on disk, and nothing else.
func logSteps(log *slog.Logger, entries []journal.Entry) {
	for _, e := range entries {
		if e.Case == 0 {
			continue
		}
		attrs := []any{"case", e.Case, "entry", e.Number}
		add := func(name, value string) {
			if value != "" {
				attrs = append(attrs, name, value)
			}
		}
		f := e.Facts
		add("user", f.By)
		add("channel", f.Channel)
		add("outcome", string(f.Outcome))
		add("why", f.Why)
		add("effect", f.Effect)
		if f.Code != nil {
			attrs = append(attrs, "code", *f.Code)
		}
		if f.Call > 0 {
			attrs = append(attrs, "call", f.Call)
		}
		if f.Took > 0 {
			attrs = append(attrs, "took", (time.Duration(f.Took) * time.Microsecond).Round(time.Millisecond))
		}
		log.Info(string(e.Kind), attrs...)
	}
}

// closeJournal does not wait for a disk that does not answer: what was acknowledged is on
// disk, and what was not is not claimed to be.
func closeJournal(j *journal.Journal, log *slog.Logger) {
	closed := make(chan error, 1)
	go func() { closed <- j.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			log.Warn("closing the journal", "err", err)
		}
	case <-time.After(time.Second):
		log.Warn("the disk does not answer; leaving without closing the journal, which does it no harm")
	}
}

// slackClient makes the client of Slack's Web API.
func (c *config) slackClient(web *http.Client, options ...slack.Option) *slack.Client {
	return slack.New(string(c.SlackBotToken), append(options, slack.OptionAppLevelToken(string(c.SlackAppToken)),
		slack.OptionHTTPClient(web), slack.OptionAPIURL(strings.TrimSuffix(c.SlackURL, "/")+"/"))...)
}

// slackTransport keeps connections for all lanes that may post at once.
func slackTransport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	return t
}

// newLogger writes coloured lines to a terminal and JSON to anything else.
func newLogger(c config, w *world) *slog.Logger {
	if c.LogFormat == "tint" || c.LogFormat == "auto" && isTerminal(w) {
		return slog.New(tint.NewTextHandler(w.stderr, &tint.Options{Level: c.LogLevel, TimeFormat: "15:04:05.000", NoColor: !isTerminal(w)}))
	}
	return slog.New(slog.NewJSONHandler(w.stderr, &slog.HandlerOptions{Level: c.LogLevel}))
}

func isTerminal(w *world) bool {
	f, ok := w.stderr.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
