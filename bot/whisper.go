package bot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"sync"
	"time"

	"github.com/slack-go/slack"
)

// responseURLLife is how long a response_url can be used ("Handling user interaction").
const responseURLLife = 30 * time.Minute

// whisper says something to one person alone, by the response_url of what they did. It is
// best effort: what matters is on the card and in the journal.
func (b *Bot) whisper(responseURL string, m message) {
	if responseURL == "" {
		return
	}
	select {
	case b.whispers <- struct{}{}:
	default:
		b.Log.Warn("too many private replies are waiting; one was dropped")
		return
	}
	b.background.Go(func() {
		defer func() { <-b.whispers }()
		ctx, cancel := context.WithTimeout(context.Background(), b.SlackTimeout)
		defer cancel()
		if err := b.respond(ctx, responseURL, m); err != nil {
			b.Log.Warn("a private reply could not be sent", "err", err)
		}
	})
}

// tell says something to one person that they must hear if at all possible: by the
// response_url of what they did, if there is one, else by a direct message.
func (b *Bot) tell(person, responseURL string, m message) {
	b.background.Go(func() {
		if responseURL != "" {
			ctx, cancel := context.WithTimeout(context.Background(), b.SlackTimeout)
			err := b.respond(ctx, responseURL, m)
			cancel()
			if err == nil {
				return
			}
			b.Log.Warn("a private reply could not be sent; sending a direct message", "err", err)
		}
		b.direct(context.Background(), person, m)
	})
}

// direct sends a direct message, best effort: the journal has the facts. It tries again
// where that cannot say a thing twice.
func (b *Bot) direct(ctx context.Context, person string, m message) {
	for failures := 1; ; failures++ {
		callCtx, cancel := context.WithTimeout(ctx, b.SlackTimeout)
		_, _, err := b.Slack.PostMessageContext(callCtx, person, contents(m)...)
		cancel()
		if err == nil {
			return
		}
		fate, wait := fateOf(err)
		if fate != tooFast && fate != notDone || failures == directTries {
			b.Log.Warn("a direct message could not be sent", "user", person, "err", err)
			return
		}
		select {
		case <-time.After(max(wait, backoff(failures, time.Second, maxPause))):
		case <-b.stopping:
			b.Log.Warn("a direct message was not sent: the bot is stopping", "user", person)
			return
		}
	}
}

// directTries is how often a direct message is tried.
const directTries = 5

// respond posts to a response_url. The flags are explicit: Slack's defaults could replace
// the message that was clicked.
func (b *Bot) respond(ctx context.Context, responseURL string, m message) error {
	no := false
	err := slack.PostWebhookCustomHTTPContext(ctx, responseURL, b.HTTP, &slack.WebhookMessage{
		ResponseType: slack.ResponseTypeEphemeral, Text: m.text, Blocks: &slack.Blocks{BlockSet: m.blocks},
		ReplaceOriginal: false, UnfurlLinks: &no, UnfurlMedia: &no,
	})
	return withoutURL("posting to a response_url", err)
}

// withoutURL keeps the address, which is a secret, out of an error of net/http.
func withoutURL(doing string, err error) error {
	if err == nil {
		return nil
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// requesters remembers, in memory only, how to reach those who asked: the response_url of
// their command, while it can be used.
type requesters struct {
	mu    sync.Mutex
	urls  map[int64]responseURL
	swept time.Time // when the ones out of use were last thrown away
}

type responseURL struct {
	url   string
	until time.Time
}

func (r *requesters) remember(number int64, url string, now time.Time) {
	if url == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.urls == nil {
		r.urls = make(map[int64]responseURL)
	}
	if now.Sub(r.swept) > time.Minute {
		r.swept = now
		maps.DeleteFunc(r.urls, func(_ int64, u responseURL) bool { return now.After(u.until) })
	}
	r.urls[number] = responseURL{url, now.Add(responseURLLife)}
}

// take returns the response_url of the command that opened a case, if it is still of use.
func (r *requesters) take(number int64, now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.urls[number]
	delete(r.urls, number)
	if now.After(u.until) {
		return ""
	}
	return u.url
}
