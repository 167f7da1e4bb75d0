package socket

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"
)

// OpenWith returns a Config.Open that asks through client, which must have
// been given the app-level token (slack.OptionAppLevelToken).
func OpenWith(client *slack.Client) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		_, url, err := client.StartSocketModeContext(ctx)
		return url, err
	}
}

// FatalError is an answer of apps.connections.open that no retry can change.
type FatalError struct {
	Reason string // Slack's error code
}

func (e *FatalError) Error() string {
	remedy := fatal[e.Reason]
	if remedy == "" {
		remedy = "see the app's settings at https://api.slack.com/apps"
	}
	return fmt.Sprintf("Slack refuses the app-level token (SLACK_APP_TOKEN): %s: %s", e.Reason, remedy)
}

// fatal says what to do about each answer that cannot heal by itself.
// Source: docs.slack.dev, apps.connections.open.
var fatal = map[string]string{
	"invalid_auth":            "it is mistyped or was deleted; " + newToken,
	"not_authed":              "it is empty; " + newToken,
	"token_revoked":           "it was revoked; " + newToken,
	"token_expired":           "it has expired; " + newToken,
	"account_inactive":        "it belongs to a deleted or suspended workspace or app; reinstall the app, then " + newToken,
	"not_allowed_token_type":  "it must be the app-level token that begins with xapp-, not the bot token; " + newToken,
	"missing_scope":           "it lacks the scope connections:write; " + newToken,
	"forbidden_team":          "its workspace may not use the app; ask the workspace's owner",
	"access_denied":           "Socket Mode is switched off for the app (https://api.slack.com/apps, Socket Mode), or its workspace may not use it",
	"team_access_not_granted": "it has not been granted to this workspace; ask the organization's owner",
	"insecure_request":        "the API address must be an https URL; check SLACK_API_URL",
}

const newToken = "create one with the scope connections:write at https://api.slack.com/apps, Basic Information, App-Level Tokens"

// fatalError returns err as a *FatalError if it is one. What Slack answers
// while Socket Mode is switched off is undocumented, so then only a bad token
// is fatal, not a refused access.
func fatalError(err error, disabled bool) (*FatalError, bool) {
	if f, ok := errors.AsType[*FatalError](err); ok {
		return f, true
	}
	answer, ok := errors.AsType[slack.SlackErrorResponse](err)
	if !ok || fatal[answer.Err] == "" {
		return nil, false
	}
	switch answer.Err {
	case "forbidden_team", "access_denied", "team_access_not_granted":
		if disabled {
			return nil, false
		}
	}
	return &FatalError{Reason: answer.Err}, true
}

// retryAfter returns how long Slack asks all of us to wait.
func retryAfter(err error) (time.Duration, bool) {
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		return limited.RetryAfter, true
	}
	if answer, ok := errors.AsType[slack.SlackErrorResponse](err); ok && answer.Err == "ratelimited" {
		return 30 * time.Second, true // without a Retry-After; the method allows at least one call a minute
	}
	return 0, false
}

// disconnect is the reason in a disconnect frame of Slack's, as an error.
type disconnect string

func (d disconnect) Error() string { return "Slack asked us to reconnect: " + string(d) }

// Reasons that need more than a successor.
const (
	linkDisabled      disconnect = "link_disabled"
	tooManyWebsockets disconnect = "too_many_websockets"
)

var (
	errNoHello = errors.New("no hello after the dial")
	errSilent  = errors.New("nothing heard from Slack on it")
)

// plain is the text of err without anything secret. The address of a dial
// holds a ticket, and net/http and gorilla quote addresses in their errors.
func plain(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return hide(err.Error())
}

// hide replaces the words of s that may be secret.
func hide(s string) string {
	if before, _, ok := strings.Cut(s, "invalid proxy address"); ok {
		s = before + "invalid proxy address" // net/http quotes it, with its password
	}
	words := strings.Split(s, " ")
	for i, w := range words {
		for _, mark := range []string{"://", "ticket=", "xapp-", "xoxb-", "xoxp-", "xoxe"} {
			if strings.Contains(w, mark) {
				words[i] = "[hidden]"
			}
		}
	}
	return strings.Join(words, " ")
}

// outage tells the log about lost connections the way one wants to read it:
// the first failure at once, then at growing intervals while it lasts, and one
// line when all is well again.
type outage struct {
	log *slog.Logger

	mu       sync.Mutex
	down     map[int]bool // keepers without a settled connection, after a failure
	since    time.Time
	next     time.Time // of the next line
	every    time.Duration
	failures int
}

func (o *outage) failed(keeper int, what string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if len(o.down) == 0 {
		o.since, o.next, o.every, o.failures = now, now, 5*time.Second, 0
	}
	o.down[keeper] = true
	o.failures++
	level := slog.LevelDebug
	if !now.Before(o.next) {
		level = slog.LevelWarn
		o.every = min(2*o.every, 10*time.Minute)
		o.next = now.Add(o.every)
	}
	o.log.Log(context.Background(), level, what, "connection", keeper, "error", plain(err),
		"failures", o.failures, "since", now.Sub(o.since).Round(time.Millisecond))
}

func (o *outage) healed(keeper int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.down[keeper] {
		return
	}
	delete(o.down, keeper)
	if len(o.down) == 0 {
		o.log.Info("all connections to Slack are up again",
			"failures", o.failures, "after", time.Since(o.since).Round(time.Millisecond))
	}
}

// census watches the number of connections that Slack counts for our app.
type census struct {
	log    *slog.Logger
	window time.Duration

	mu     sync.Mutex
	since  time.Time // the first hello of an unbroken row that counted too many
	warned bool
}

// hello compares Slack's count with the most that can be ours. One count that
// is too high means little: a connection that broke without a close frame
// stays registered for a while.
func (c *census) hello(now time.Time, counted, ours int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case counted <= ours:
		c.since, c.warned = time.Time{}, false
	case c.since.IsZero():
		c.since = now
	case now.Sub(c.since) >= c.window && !c.warned:
		c.warned = true
		c.log.Warn("Slack counts more connections of this app than we hold: another process uses the same app token"+
			" (SLACK_APP_TOKEN) and takes part of the commands; give each environment its own Slack app",
			"counted", counted, "ours", ours)
	}
}
