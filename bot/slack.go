package bot

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/slack-go/slack"
)

// fate is what became of a call to Slack's Web API that returned an error.
type fate int

const (
	inDoubt    fate = iota // it may have been done: the zero value is the careful answer
	notDone                // certainly not done, may be tried again
	tooFast                // certainly not done: Slack asks to wait (429)
	refused                // certainly not done, and never will be
	tokenFatal             // certainly not done: the bot token is of no use any more
)

// Error codes of Slack's Web API, as listed on the pages of its methods.
var (
	doubtfulCodes = []string{"fatal_error", "internal_error", "service_unavailable", "request_timeout"}
	tooFastCodes  = []string{"ratelimited", "rate_limited", "message_limit_exceeded"}
	tokenCodes    = []string{"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"}
)

// errNoAnswer is an answer with neither an error nor what was asked for, such as {}. slack-go
// takes it for success.
var errNoAnswer = errors.New("an answer of Slack's that says nothing")

// fateOf tells what an error of slack-go says about the call, and how long Slack asks to
// wait, if it does.
func fateOf(err error) (fate, time.Duration) {
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		return tooFast, max(limited.RetryAfter, time.Second)
	}
	if answer, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		switch {
		case slices.Contains(doubtfulCodes, answer.Err):
			return inDoubt, 0
		case slices.Contains(tooFastCodes, answer.Err):
			return tooFast, time.Second
		case slices.Contains(tokenCodes, answer.Err):
			return tokenFatal, 0
		}
		return refused, 0
	}
	if neverConnected(err) {
		return notDone, 0
	}
	return inDoubt, 0
}

// neverConnected reports whether err happened before any byte of a request could leave.
func neverConnected(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	_, ok := errors.AsType[x509.UnknownAuthorityError](err)
	return ok
}

// A gate lets one call of a method through at a time, and none while Slack asks to wait, so
// that of many lanes not each has to be told.
type gate struct {
	turn  chan struct{} // one token
	until time.Time     // Slack asked to wait until then; the token's
}

func newGate() *gate { return &gate{turn: make(chan struct{}, 1)} }

func (g *gate) pass(ctx context.Context, call func() error) error {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-g.turn }()
	if left := time.Until(g.until); left > 0 {
		return &slack.RateLimitedError{RetryAfter: left}
	}
	err := call()
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		g.until = time.Now().Add(limited.RetryAfter)
	}
	return err
}

// slackCode returns Slack's own word for the error, or "".
func slackCode(err error) string {
	if answer, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		return answer.Err
	}
	return ""
}

// remedy explains why Slack refuses to show messages in a channel, and what to do.
func remedy(code string) string {
	switch code {
	case "not_in_channel", "channel_not_found":
		return "the bot is not in the channel; invite it with /invite and send the command again"
	case "is_archived":
		return "the channel is archived; use another one"
	case "restricted_action", "restricted_action_read_only_channel", "restricted_action_thread_only_channel", "restricted_action_non_threadable_channel":
		return "the channel does not let the bot post; ask its owner, or use another one"
	case "missing_scope":
		return "the app has no permission here; use a channel instead of a group message, or let the operator install the app again from manifest.yaml"
	case "shared_channel":
		return "the channel is shared with another company, who would see the record; use an internal channel, or ask the operator to list this one in ALLOWED_CHANNELS"
	case "messages_tab_disabled":
		return "this direct message with the bot takes no messages; use a channel"
	}
	return "Slack refuses the message (" + code + "); tell the operator"
}

// contents are the options of a message that shows m, however it is sent. Nothing in it is
// parsed, linked or unfurled beyond what m itself says.
func contents(m message) []slack.MsgOption {
	return []slack.MsgOption{
		slack.MsgOptionText(m.text, false), // escaped already
		slack.MsgOptionBlocks(m.blocks...),
		slack.MsgOptionParse(false),
		slack.MsgOptionDisableLinkUnfurl(),
		slack.MsgOptionDisableMediaUnfurl(),
	}
}

// post sends a new message. It returns the ts, and whether Slack put it into the thread
// that was asked for (it does not if the parent was deleted).
func (b *Bot) post(ctx context.Context, channel, thread string, m message, meta slack.SlackMetadata) (ts string, threaded bool, err error) {
	opts := append(contents(m), slack.MsgOptionMetadata(meta))
	if thread != "" {
		opts = append(opts, slack.MsgOptionTS(thread))
	}
	ctx, cancel := context.WithTimeout(ctx, b.SlackTimeout)
	defer cancel()
	_, ts, sent, err := b.Slack.PostMessageWithResponseContext(ctx, channel, opts...)
	if err == nil && ts == "" {
		err = errNoAnswer
	}
	return ts, sent.ThreadTimestamp == thread, err
}
