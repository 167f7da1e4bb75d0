// Package bot is the conversation: a moderator's command becomes a case, the case shows a
// card, a click on the card confirms it, ZEGO closes the room, and the thread of the card
// tells what came of it.
//
// # How a command becomes an act
//
// Answering is fast and touches nothing but memory and one write to the journal:
//
//	envelope → command (edge.go) → order (parse.go) → authz → journal.Request → ack   command.go
//	envelope → click             → authz → journal.Settle                      → ack   click.go
//	/zego-audit and its buttons  → authz → journal.Find, journal.Review        → ack   review.go
//
// Acting is done by workers that take their work from the journal, so a crash or a deploy
// between any two steps loses nothing:
//
//	poster.go     sends cards and replies, one lane a channel
//	editor.go     draws cards again
//	closer.go     claims confirmed cases and calls ZEGO, never twice for one case, at the
//	              pace that ZEGO allows (pace.go); unclear.go is what follows a lost answer
//	checkpoint.go sums up each day or week in the audit channel
//	deadlines.go  expires what nobody confirmed, or could not be attempted in time
//	directory.go  reads from Slack who is in the allowed groups
//
// What is shown is made by pure functions of a case: card.go and thread.go, from the pieces
// in text.go. Nothing that a person typed is ever parsed by Slack.
package bot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"zegoclose/authz"
	"zegoclose/internal/journal"
	"zegoclose/internal/metrics"
	"zegoclose/internal/socket"
	"zegoclose/zego"

	"github.com/slack-go/slack"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

const commandName = "/zego-close"

const (
	drainLimit     = 14 * time.Second // from the order to stop to the end; a second more is for closing the journal
	recordPatience = 30 * time.Second // see insist; longer than any pause of a healthy disk
	maxWhispers    = 256              // private replies under way at once
	forgetAfter    = 24 * time.Hour   // deliveries and refusal counts are of no use later
)

// Config is everything that a Bot depends on.
type Config struct {
	Slack   *slack.Client // with an HTTP client that has a timeout
	HTTP    *http.Client  // for response_urls
	Zego    zego.Client
	Journal *journal.Journal
	Policy  authz.Policy // Team and Org are learned from Slack
	// Reviewers are the Users and Groups who may review; nobody named: those who may close.
	Reviewers authz.Policy
	Log       *slog.Logger
	Metrics   *metrics.Metrics // nil: none
	Now       func() time.Time // nil: time.Now

	AuditChannel      string // where all cards go; empty: the channel of the command
	Text              TextMode
	SendReason        bool // the reason goes to everyone in the room
	RoomCloseCallback bool
	MaxPendingPerUser int           // 0: no limit
	Connections       int           // Socket Mode connections
	CheckpointEvery   time.Duration // how often what happened is summed up in the audit channel; 0: never

	ConfirmTimeout time.Duration   // life of a card, and of an offer to try again
	CloseWithin    time.Duration   // life of a confirmation
	CloseInterval  time.Duration   // between two CloseRoom calls
	ZegoTimeout    time.Duration   // how long an answer is awaited before the call counts as unclear
	LookAfter      []time.Duration // after an unclear call: when to look who is in the room
	SlackTimeout   time.Duration   // for one call to Slack
	PostRecheck    time.Duration   // after a post without a clear answer: when to look for it; longer than SlackTimeout
}

// Bot answers commands and clicks, and does the work that waits in its journal.
type Bot struct {
	Config
	sockets    *socket.Sockets
	directory  *directory
	requesters requesters
	pace       *pace
	looks      *rate.Limiter
	trouble    troubles
	info       *gate // conversations.info

	identity   atomic.Pointer[identity]
	known      chan struct{} // closed when identity is set
	stopping   chan struct{} // closed when work in hand should come to an end
	whispers   chan struct{} // one token a private reply under way
	background sync.WaitGroup
}

// identity is what auth.test told about the bot itself.
type identity struct {
	team, org   string
	user, botID string
	url         string // of the workspace, ends in a slash
}

// New makes a Bot that has not started yet.
func New(c Config) *Bot {
	if c.Now == nil {
		c.Now = time.Now
	}
	b := &Bot{
		Config: c, directory: newDirectory(c.Now()),
		pace: &pace{interval: c.CloseInterval}, looks: lookRate(c.Zego.IsTest), trouble: troubles{log: c.Log},
		info:  newGate(),
		known: make(chan struct{}), stopping: make(chan struct{}), whispers: make(chan struct{}, maxWhispers),
	}
	b.sockets = socket.New(socket.Config{
		Open: socket.OpenWith(c.Slack), Connections: c.Connections,
		Handle: b.handle, Busy: busy, Acked: c.Metrics.Ack, Log: c.Log,
	})
	return b
}

// Run works until ctx ends, then finishes what is in hand: the sockets first, so that
// every envelope is answered, then the workers. It returns nil after an orderly end, or
// the error that made going on useless (a token that is no longer valid).
func (b *Bot) Run(ctx context.Context) error {
	workCtx, stopWork := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopWork(nil)
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	var work errgroup.Group
	failed := make(chan error, 1) // the first worker's error
	for _, worker := range []func(context.Context) error{
		b.identify, b.sendPosts, b.drawCards, b.closeRooms, b.keepDeadlines, b.readDirectory, b.keepCheckpoints,
	} {
		work.Go(func() error {
			err := worker(workCtx)
			if err != nil {
				select {
				case failed <- err:
				default:
				}
				stop() // the sockets too
			}
			return err
		})
	}
	var told atomic.Pointer[time.Time]
	context.AfterFunc(ctx, func() {
		now := time.Now()
		told.Store(&now)
		b.Log.Info("stopping: no new commands, finishing what is in hand")
	})
	err := b.sockets.Run(ctx)
	left := drainLimit
	if at := told.Load(); at != nil {
		left -= time.Since(*at)
	}
	close(b.stopping)
	stopWork(errors.New("the bot is stopping"))
	finished := make(chan error, 1)
	go func() { finished <- work.Wait(); b.background.Wait(); close(finished) }()
	select {
	case workErr := <-finished:
		<-finished // the whispers too
		return errors.Join(err, workErr)
	case <-time.After(left):
		b.Log.Warn("work in hand did not finish in time; it is in the journal and goes on after the restart")
		select {
		case workErr := <-failed:
			return errors.Join(err, workErr)
		default:
			return err
		}
	}
}

// Ready reports why a command would not be served now, or nil if it would.
func (b *Bot) Ready() error {
	if !b.sockets.Ready() {
		return errors.New("no Socket Mode connection has said hello")
	}
	if err := b.Journal.Failing(); err != nil {
		return fmt.Errorf("the journal cannot be written: %w", err)
	}
	if b.identity.Load() == nil {
		return errors.New("auth.test has not been answered yet")
	}
	return nil
}

// State tells how things are at this moment.
func (b *Bot) State(ctx context.Context) (metrics.State, error) {
	backlog, err := b.Journal.Backlog(ctx)
	return metrics.State{
		Ready: b.Ready() == nil, Writable: b.Journal.Failing() == nil,
		Sockets: b.sockets.Stats(), Backlog: backlog, GroupsAge: b.directory.groupsAge(b.Policy.Groups, b.now()),
	}, err
}

// handle answers one envelope. A panic or an error is one failed request.
func (b *Bot) handle(ctx context.Context, e *socket.Envelope) {
	select {
	case <-b.known:
	case <-ctx.Done():
		return
	case <-time.After(recordLimit):
		b.Log.Error("an envelope could not be served: the bot does not know its own workspace yet", "type", e.Type)
		if e.Type == socket.SlashCommands {
			e.Ack(ephemeral(textMessage(line{say("The bot has just started and waits for Slack to tell it which workspace this is. Nothing was done; send the command again in a minute.")})))
		}
		return // a click is marked as failed by Slack
	}
	b.awaitGroups(ctx, e.Received.Add(groupsWait))
	var err error
	switch e.Type {
	case "slash_commands":
		err = b.handleCommand(ctx, e)
	case "interactive":
		err = b.handleClick(ctx, e)
	default:
		err = e.Ack(nil)
	}
	if err != nil {
		b.Log.Error("an envelope failed", "type", e.Type, "err", err)
	}
}

// busy is the answer to a command while too many are being answered.
func busy(e *socket.Envelope) any {
	if e.Type != "slash_commands" {
		return nil
	}
	return ephemeral(textMessage(line{say("The bot is overloaded, so nothing was done. Send the command again in a minute.")}))
}

// identify learns who the bot is, and in which workspace.
func (b *Bot) identify(ctx context.Context) error {
	for failures := 1; ; failures++ {
		callCtx, cancel := context.WithTimeout(ctx, b.SlackTimeout)
		r, err := b.Slack.AuthTestContext(callCtx)
		cancel()
		if err == nil && (r.TeamID == "" || r.UserID == "") {
			err = errNoAnswer
		}
		if err == nil {
			b.identity.Store(&identity{team: r.TeamID, org: r.EnterpriseID, user: r.UserID, botID: r.BotID, url: r.URL})
			close(b.known)
			b.trouble.Over("Slack does not answer auth.test; trying again", "")
			b.Log.Info("this is the bot", "workspace", r.TeamID, "user", r.UserID)
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		fate, wait := fateOf(err)
		if fate == tokenFatal || fate == refused {
			return b.fatal(err)
		}
		b.trouble.Warn("Slack does not answer auth.test; trying again", "", "err", err)
		sleep(ctx, max(wait, backoff(failures, 200*time.Millisecond, 5*time.Second)))
	}
}

// self is who the bot is; all empty, and so at home nowhere, until that is known.
func (b *Bot) self() identity {
	if id := b.identity.Load(); id != nil {
		return *id
	}
	return identity{}
}

func (b *Bot) now() time.Time { return b.Now() }

func (b *Bot) listedChannel(id string) bool { return slices.Contains(b.Policy.Channels, id) }

// errFatal marks errors that no waiting heals.
var errFatal = errors.New("cannot go on")

func isFatal(err error) bool { return errors.Is(err, errFatal) }

// fatal says which token is of no use and what to do.
func (b *Bot) fatal(err error) error {
	return fmt.Errorf("%w: Slack refuses the bot token (SLACK_BOT_TOKEN): %w; install the app again and set the new token", errFatal, err)
}

// insist records something that has happened already and must not be forgotten: it tries
// until the journal can be written, or the bot has to stop. A write that may have been made
// is made again, which is harmless where it only says what is; where it would say something
// twice, the journal answers ErrSettled, and that is as good.
func (b *Bot) insist(ctx context.Context, doing string, write func(context.Context) error) error {
	for failures := 1; ; failures++ {
		writeCtx, cancel := context.WithTimeout(ctx, recordPatience)
		err := write(writeCtx)
		cancel()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, journal.ErrSettled) && failures > 1:
			return nil
		case !errors.Is(err, journal.ErrNotRecorded) && !errors.Is(err, journal.ErrUnsure):
			return fmt.Errorf("%s: %w", doing, err)
		}
		select {
		case <-b.stopping:
			return fmt.Errorf("%s: %w", doing, err)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", doing, err)
		case <-time.After(backoff(failures, 200*time.Millisecond, 5*time.Second)):
		}
	}
}

// recoverPanic makes a panic one failed piece of work. What it left half done is in the
// journal, and is taken up by the next process like after a crash.
func (b *Bot) recoverPanic(doing string, attrs ...any) {
	if p := recover(); p != nil {
		b.Log.Error("a panic", append(attrs, "doing", doing, "panic", p, "stack", string(debug.Stack()))...)
	}
}

// recovered makes a panic the error of the function that defers it: what it was doing fails,
// and waits for its next try like after any failure, while everything else goes on.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("a panic: %v\n%s", p, debug.Stack())
	}
}

// backoff is the pause after the n-th failure in a row: first, doubled each time up to
// limit, and somewhere in the upper half of that, so that many do not come back at once.
func backoff(n int, first, limit time.Duration) time.Duration {
	d := limit
	if n < 16 {
		d = min(first<<(n-1), limit)
	}
	return d/2 + rand.N(d/2+1)
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
