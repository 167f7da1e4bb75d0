package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"zegoclose/internal/journal"

	"github.com/slack-go/slack"
	"golang.org/x/time/rate"
)

const (
	lookEvery  = 2 * time.Second  // how often a worker looks for work that no signal told of
	maxPause   = 30 * time.Second // longest pause between tries while Slack fails
	headWait   = time.Second      // how long a card waits to learn who is in the room
	clockSkew  = 2 * time.Minute  // how far Slack's clock may be behind ours when a post is looked for
	maxPages   = 10               // of history that are read to find a post
	pageLength = 999              // as many as Slack gives

	// In a burst, one look for channels serves many posts; alone, a result is looked for at once.
	scansPerSec = 50
	scanBurst   = 20
)

// metadataEvent marks every message of ours that shows entries.
const metadataEvent = "zegoclose_post"

// sendPosts sends what the journal has to tell until ctx ends: one lane a channel, so that
// a channel in which Slack asks to wait does not hold up another.
func (b *Bot) sendPosts(ctx context.Context) error {
	select {
	case <-b.known: // or it would not know its own posts when it looks for them, and send them twice
	case <-ctx.Done():
		return nil
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	type end struct {
		channel string
		err     error
	}
	var lanes sync.WaitGroup
	defer lanes.Wait()
	running := make(map[string]bool)
	ended := make(chan end)
	changed := b.Journal.Watch(journal.Posts)
	scans := rate.NewLimiter(scansPerSec, scanBurst)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		channels, next, err := b.Journal.Channels(ctx)
		if err != nil && ctx.Err() == nil {
			b.trouble.Error("looking for posts failed", "", "err", err)
		} else if err == nil {
			b.trouble.Over("looking for posts failed", "")
		}
		for _, ch := range channels {
			if !running[ch] && ctx.Err() == nil {
				running[ch] = true
				lanes.Go(func() {
					err := b.lane(ctx, ch)
					select {
					case ended <- end{ch, err}:
					case <-ctx.Done():
					}
				})
			}
		}
		resetTimer(timer, next, b.now(), lookEvery)
		select {
		case <-ctx.Done():
			return nil
		case e := <-ended:
			if e.err != nil {
				stop() // the other lanes too
				return e.err
			}
			delete(running, e.channel)
		case <-changed:
			scans.Wait(ctx)
		case <-timer.C:
		}
	}
}

// resetTimer lets t fire at the given time, but within limit at the latest.
func resetTimer(t *time.Timer, at, now time.Time, limit time.Duration) {
	d := limit
	if !at.IsZero() {
		d = min(max(at.Sub(now), 0), limit)
	}
	t.Reset(d)
}

// lane sends the posts of one channel in order until nothing is left to send now. An error
// is one that makes going on useless.
func (b *Bot) lane(ctx context.Context, channel string) error {
	failures := 0
	for ctx.Err() == nil {
		c, unfinished, ok, err := b.Journal.NextPost(ctx, channel)
		if err != nil || !ok {
			if err != nil && ctx.Err() == nil {
				b.trouble.Error("looking for the next post failed", channel, "channel", channel, "err", err)
				sleep(ctx, time.Second)
			}
			return nil // the caller looks again
		}
		var pause time.Duration
		switch {
		case unfinished != nil && unfinished.State == journal.PostDoubt:
			pause, err = b.resolve(ctx, c, *unfinished)
		case unfinished != nil && unfinished.Kind == journal.Checkpoints:
			pause, err = b.sendCheckpoint(ctx, c, *unfinished)
		default:
			pause, err = b.send(ctx, c)
		}
		switch {
		case isFatal(err):
			return err
		case err != nil:
			if ctx.Err() == nil {
				b.trouble.Warn("a post has to wait", channel, "case", c.Number, "channel", channel, "err", err)
			}
			failures++
			pause = max(pause, backoff(failures, time.Second, maxPause))
		default:
			failures = 0
			b.trouble.Over("a post has to wait", channel)
			b.trouble.Over("looking for the next post failed", channel)
		}
		sleep(ctx, pause)
	}
	return nil
}

// send posts what the case has to tell: its card if it has none, else a reply.
func (b *Bot) send(ctx context.Context, c journal.Case) (pause time.Duration, err error) {
	defer recovered(&err)
	var drafts []journal.Draft
	if c.State == journal.StatePending && c.CardTS == "" {
		cause, err := b.mayShow(ctx, c, commandAge)
		if fate, wait := fateOf(err); err != nil && fate == tooFast {
			return wait, nil
		} else if err != nil {
			return wait, fmt.Errorf("looking up the channel: %w", err)
		}
		if cause != "" {
			return 0, b.noCard(ctx, c, cause)
		}
		drafts = []journal.Draft{b.offer(ctx, c)}
	}
	c, p, err := b.Journal.Sending(ctx, c.Number, drafts...)
	if err != nil {
		return 0, fmt.Errorf("recording that a post leaves: %w", err)
	}
	var m message
	thread := ""
	if p.Kind == journal.Card {
		m = cardView(c, b.now(), b.turn(ctx, c))
	} else {
		m, thread = replyView(c, p), c.CardTS
	}
	// From here on the post may be in Slack, so what is known of it is recorded even if
	// the bot is stopping.
	after := context.WithoutCancel(ctx)
	ts, threaded, err := b.post(after, p.Channel, thread, m, b.metadata(c, p))
	if err != nil {
		return b.notSent(after, c, p, err)
	}
	if !threaded {
		b.Log.Warn("the card is gone, a reply stands in the channel by itself", "case", c.Number)
	}
	return 0, b.sent(after, p, ts)
}

func (b *Bot) sent(ctx context.Context, p journal.Post, ts string) error {
	if p.Kind == journal.Card {
		b.requesters.take(p.Case, b.now()) // nobody needs to be told that it failed
	}
	b.Log.Info("posted", "case", p.Case, "post", p.Kind, "entries", fmt.Sprintf("%d-%d", p.First, p.Last))
	return b.insist(ctx, "recording that a post was sent", func(ctx context.Context) error { return b.Journal.Sent(ctx, p, ts) })
}

// mayShow reports why the card must not be shown in its channel, or "", from what is known
// of the channels for at most maxAge. With an audit
// channel the channel of the command need not be known to the bot.
func (b *Bot) mayShow(ctx context.Context, c journal.Case, maxAge time.Duration) (cause string, err error) {
	for _, id := range []string{c.Channel, c.From} {
		if strings.HasPrefix(id, "D") {
			continue // a direct message: only as a place to type, with an audit channel
		}
		external, err := b.lookUpChannel(ctx, id, maxAge)
		if err != nil {
			fate, _ := fateOf(err)
			switch {
			case fate == tokenFatal:
				return "", b.fatal(err)
			case fate == refused && id == c.Channel:
				return slackCode(err), nil
			case fate == refused:
				continue
			}
			return "", err
		}
		if external && !b.listedChannel(id) {
			return "shared_channel", nil
		}
		if c.Channel == c.From {
			break
		}
	}
	return "", nil
}

// noCard ends a case whose card cannot be shown.
func (b *Bot) noCard(ctx context.Context, c journal.Case, cause string) error {
	c, p, err := b.Journal.Sending(ctx, c.Number)
	if err != nil {
		return fmt.Errorf("recording that a card cannot be sent: %w", err)
	}
	return b.undeliverable(context.WithoutCancel(ctx), c, p, cause)
}

// offer looks who is in the room and sets the deadline, both as of now: the card leaves next.
func (b *Bot) offer(ctx context.Context, c journal.Case) journal.Draft {
	f := b.look(ctx, c.Room, headWait)
	f.Until = journal.MicrosOf(b.now().Add(b.ConfirmTimeout))
	return journal.Draft{Kind: journal.Offered, Facts: f}
}

// metadata lets the journal and Slack witness each other.
func (b *Bot) metadata(c journal.Case, p journal.Post) slack.SlackMetadata {
	return slack.SlackMetadata{EventType: metadataEvent, EventPayload: map[string]any{
		"journal": b.Journal.ID(), "case": p.Case, "kind": string(p.Kind),
		"first": p.First, "last": p.Last, "hash": p.Hash(c), "words": Wording,
	}}
}

// notSent records what an error means for the post.
func (b *Bot) notSent(ctx context.Context, c journal.Case, p journal.Post, cause error) (pause time.Duration, err error) {
	fate, wait := fateOf(cause)
	switch fate {
	case tooFast:
		// Certainly not in Slack: the lane waits, and the same post leaves first.
		b.Log.Debug("Slack asks to wait", "channel", p.Channel, "wait", wait)
		return wait, b.insist(ctx, "recording that a post waits", func(ctx context.Context) error {
			return b.Journal.NotSent(ctx, p, b.now().Add(wait), "Slack asked to wait")
		})
	case tokenFatal:
		err := b.fatal(cause)
		return 0, errors.Join(err, b.Journal.NotSent(ctx, p, b.now(), cause.Error()))
	case refused:
		return 0, b.undeliverable(ctx, c, p, slackCode(cause))
	case notDone:
		err := b.insist(ctx, "recording that a post waits", func(ctx context.Context) error {
			return b.Journal.NotSent(ctx, p, b.now(), "Slack could not be reached")
		})
		return 0, errors.Join(fmt.Errorf("posting: %w", cause), err)
	}
	err = b.insist(ctx, "recording that a post is in doubt", func(ctx context.Context) error {
		return b.Journal.Doubt(ctx, p, b.now().Add(b.PostRecheck), "no clear answer from Slack")
	})
	return 0, errors.Join(fmt.Errorf("posting, with no clear answer: %w", cause), err)
}

// resolve finds out whether a post in doubt is in Slack. Only if Slack shows that it is
// not is it sent again; if Slack cannot be read, it is read again later.
func (b *Bot) resolve(ctx context.Context, c journal.Case, p journal.Post) (pause time.Duration, err error) {
	defer recovered(&err)
	after := context.WithoutCancel(ctx)
	ts, err := b.find(ctx, c, p)
	switch {
	case ctx.Err() != nil:
		return 0, nil
	case err == nil && ts != "":
		return 0, b.sent(after, p, ts)
	case err == nil:
		return 0, b.insist(after, "recording that a post waits", func(ctx context.Context) error {
			return b.Journal.NotSent(ctx, p, b.now(), "looked for, not found")
		})
	}
	fate, wait := fateOf(err)
	if fate == refused {
		return 0, b.undeliverable(after, c, p, slackCode(err))
	}
	if fate == tokenFatal {
		return 0, b.fatal(err)
	}
	return wait, errors.Join(fmt.Errorf("looking for a post: %w", err),
		b.Journal.Doubt(after, p, b.now().Add(max(wait, b.PostRecheck)), "could not be looked for"))
}

// find looks for a post: a card in the channel, a reply in the thread, and then in the channel
// too, which is where Slack puts a reply whose card has been deleted.
func (b *Bot) find(ctx context.Context, c journal.Case, p journal.Post) (ts string, err error) {
	if p.Kind == journal.Reply {
		ts, err := b.findIn(ctx, c.CardTS, p)
		if code := slackCode(err); code == "thread_not_found" || code == "message_not_found" {
			err = nil
		}
		if err != nil || ts != "" {
			return ts, err
		}
	}
	return b.findIn(ctx, "", p)
}

// findIn looks for a post in a thread, or in the channel if thread is empty.
func (b *Bot) findIn(ctx context.Context, thread string, p journal.Post) (ts string, err error) {
	oldest := fmt.Sprintf("%d.000000", p.Tried.Add(-clockSkew).Unix())
	cursor := ""
	for range maxPages {
		messages, next, err := b.page(ctx, p.Channel, thread, oldest, cursor)
		if err != nil {
			return "", err
		}
		for _, m := range messages {
			if b.shows(m, p) {
				return m.Timestamp, nil
			}
		}
		if cursor = next; cursor == "" {
			return "", nil
		}
	}
	return "", fmt.Errorf("more than %d messages since %s", maxPages*pageLength, p.Tried.Format(time.RFC3339))
}

// page reads a stretch of a channel's messages, or of a thread's.
func (b *Bot) page(ctx context.Context, channel, thread, oldest, cursor string) ([]slack.Message, string, error) {
	ctx, cancel := context.WithTimeout(ctx, b.SlackTimeout)
	defer cancel()
	if thread != "" {
		messages, _, next, err := b.Slack.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{
			ChannelID: channel, Timestamp: thread, Oldest: oldest, Cursor: cursor, Limit: pageLength, IncludeAllMetadata: true})
		if err == nil && cursor == "" && len(messages) == 0 { // the parent at least is in a thread
			err = errNoAnswer
		}
		return messages, next, err
	}
	page, err := b.Slack.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{
		ChannelID: channel, Oldest: oldest, Cursor: cursor, Limit: pageLength, IncludeAllMetadata: true})
	if err == nil && !page.Ok {
		err = errNoAnswer
	}
	if err != nil {
		return nil, "", err
	}
	return page.Messages, page.ResponseMetaData.NextCursor, nil
}

// shows reports whether m is the post p: written by this bot, about the same entries.
func (b *Bot) shows(m slack.Message, p journal.Post) bool {
	if m.BotID != b.self().botID && m.User != b.self().user || m.Metadata.EventType != metadataEvent {
		return false
	}
	payload := m.Metadata.EventPayload
	first, ok := payload["first"].(float64) // exact up to 2^53
	return ok && int64(first) == p.First && payload["kind"] == string(p.Kind) && payload["journal"] == b.Journal.ID()
}

// undeliverable records that Slack refuses a post for good, and tells the person it was
// for in another way.
func (b *Bot) undeliverable(ctx context.Context, c journal.Case, p journal.Post, code string) error {
	why := remedy(code)
	var after journal.Case
	err := b.insist(ctx, "recording that a post cannot be delivered", func(ctx context.Context) (err error) {
		after, err = b.Journal.Undeliverable(ctx, p, code, why)
		return err
	})
	if err != nil {
		return err
	}
	if p.Kind == journal.Card && after.CardTS != "" {
		return nil // it is there after all: a click has told
	}
	b.Metrics.Undeliverable()
	b.Log.Error("a post cannot be delivered", "case", c.Number, "post", p.Kind, "channel", p.Channel, "cause", code)
	if p.Kind == journal.Checkpoints {
		return nil
	}
	if p.Kind == journal.Card {
		shown := " was not shown"
		if p.State == journal.PostDoubt { // written perhaps, but nobody can look
			shown = " could not be shown for certain"
		}
		b.tell(after.Requester, b.requesters.take(c.Number, b.now()),
			textMessage(line{bold("#%d", c.Number), say("%s, so nothing was closed (", shown), room(c.Room), say("): %s.", why)}))
		return nil
	}
	who := c.ConfirmedBy
	if who == "" {
		who = c.Requester
	}
	heading := line{bold("#%d", c.Number), say("  "), room(c.Room), say(", not shown in "), channel(p.Channel), say(": %s.", why)}
	b.tell(who, "", textMessage(append([]line{heading}, replyLines(c, p)...)...))
	return nil
}
