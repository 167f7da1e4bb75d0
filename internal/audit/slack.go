package audit

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"
	"golang.org/x/time/rate"
)

// Event is the event_type in the metadata of every post of the bot.
const Event = "zegoclose_post"

// Message is a message as far as an auditor looks at it.
type Message struct {
	Channel, TS, Thread string
	User, BotID, AppID  string
	Subtype             string
	Text                string
	Blocks              json.RawMessage
	Attached            bool  // it has attachments or files, which no post of the bot has
	Meta                *Meta // nil: it has none, or the source does not tell
	Repliers            []string
}

// Meta is the metadata of a post.
type Meta struct {
	Event   string `json:"-"`
	Journal string `json:"journal"`
	Case    int64  `json:"case"`
	Kind    string `json:"kind"`
	First   int64  `json:"first"`
	Last    int64  `json:"last"`
	Hash    string `json:"hash"`
	Words   int    `json:"words"` // version of the wording
}

func metaOf(event string, payload json.RawMessage) *Meta {
	if event == "" {
		return nil
	}
	m := &Meta{}
	json.Unmarshal(payload, m) // what is not as it should be differs from the journal, and is found
	m.Event = event
	return m
}

// Self is who the bot is in Slack.
type Self struct{ BotID, User string }

// Source is where messages are read from.
type Source interface {
	// Self returns who the bot is; zero if the source does not tell.
	Self(ctx context.Context) (Self, error)
	// Messages yields the messages of a channel since then, and those in the threads of
	// the messages for which thread holds, and of the given parents even if they are gone.
	// The error is an [Unreadable] if there are messages that the source does not show.
	Messages(ctx context.Context, channel string, since time.Time, parents []string, thread func(Message) bool) iter.Seq2[Message, error]
}

// Unreadable is the error of a channel that the source does not show, while it may show others.
type Unreadable struct{ Channel, Why, Remedy string }

func (e *Unreadable) Error() string {
	return fmt.Sprintf("channel %s cannot be read, %s: %s", e.Channel, e.Why, e.Remedy)
}

// API reads messages with the bot's token, no faster than Slack allows (tier 3: 50 calls a
// minute for each method).
type API struct {
	Client *slack.Client
	Pace   *rate.Limiter // nil: one call in 1.2 s, after the first 20
}

// Self asks auth.test.
func (a *API) Self(ctx context.Context) (Self, error) {
	r, err := a.Client.AuthTestContext(ctx)
	if err != nil {
		return Self{}, fmt.Errorf("asking Slack who the bot is: %w", err)
	}
	return Self{r.BotID, r.UserID}, nil
}

// call makes a call when its turn has come, and again after a pause that Slack asks for.
func (a *API) call(ctx context.Context, do func() error) error {
	if a.Pace == nil {
		a.Pace = rate.NewLimiter(rate.Every(1200*time.Millisecond), 20)
	}
	for failures := 0; ; {
		if err := a.Pace.Wait(ctx); err != nil {
			return err
		}
		err := do()
		pause := time.Second
		if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
			pause = max(pause, limited.RetryAfter)
		} else if _, ok := errors.AsType[slack.SlackErrorResponse](err); ok || err == nil || ctx.Err() != nil {
			return err
		} else if failures++; failures > retries { // reading twice does no harm
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

const (
	pageLength = 200
	retries    = 3 // after a failure to reach Slack
)

// refused returns an [Unreadable] if Slack itself refuses to show the channel.
func refused(channel string, err error) error {
	answer, ok := errors.AsType[slack.SlackErrorResponse](err)
	if !ok {
		return fmt.Errorf("reading channel %s: %w", channel, err)
	}
	e := &Unreadable{Channel: channel, Why: "Slack answers " + answer.Err}
	switch answer.Err {
	case "not_in_channel", "channel_not_found":
		e.Remedy = "if the id is right, invite the bot there with /invite @zegoclose"
	case "missing_scope":
		e.Remedy = "give the app the scopes of manifest.yaml (channels:history, groups:history) and install it again"
	default:
		e.Remedy = "try again; that code is explained at https://docs.slack.dev, under conversations.history and conversations.replies"
	}
	return e
}

// Messages pages through conversations.history, then through the threads.
func (a *API) Messages(ctx context.Context, channel string, since time.Time, parents []string, thread func(Message) bool) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		var threads []string
		known := make(map[string]bool, len(parents))
		for _, ts := range parents {
			known[ts] = true
		}
		for cursor := ""; ; {
			var page *slack.GetConversationHistoryResponse
			err := a.call(ctx, func() (err error) {
				page, err = a.Client.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{ChannelID: channel,
					Oldest: fmt.Sprintf("%d.000000", since.Unix()), Inclusive: true, Cursor: cursor, Limit: pageLength, IncludeAllMetadata: true})
				return err
			})
			if err != nil {
				yield(Message{}, refused(channel, err))
				return
			}
			for _, s := range page.Messages {
				m := fromAPI(channel, s)
				if s.ReplyCount > 0 && thread(m) && !known[m.TS] {
					threads = append(threads, m.TS)
				}
				if !yield(m, nil) {
					return
				}
			}
			if cursor = page.ResponseMetaData.NextCursor; cursor == "" {
				break
			}
		}
		for _, ts := range slices.Concat(parents, threads) {
			if !a.thread(ctx, channel, ts, false, yield) {
				return
			}
		}
	}
}

// Thread yields the messages of one thread, its parent first.
func (a *API) Thread(ctx context.Context, channel, parent string) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) { a.thread(ctx, channel, parent, true, yield) }
}

func (a *API) thread(ctx context.Context, channel, parent string, whole bool, yield func(Message, error) bool) bool {
	for cursor := ""; ; {
		var page []slack.Message
		err := a.call(ctx, func() (err error) {
			page, _, cursor, err = a.Client.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{
				ChannelID: channel, Timestamp: parent, Cursor: cursor, Limit: pageLength, IncludeAllMetadata: true})
			return err
		})
		if answer, ok := errors.AsType[slack.SlackErrorResponse](err); ok && (answer.Err == "thread_not_found" || answer.Err == "message_not_found") {
			return true // gone, with all its replies
		}
		if err != nil {
			return yield(Message{}, refused(channel, err))
		}
		for _, s := range page {
			if (whole || s.Timestamp != parent) && !yield(fromAPI(channel, s), nil) {
				return false
			}
		}
		if cursor == "" {
			return true
		}
	}
}

func fromAPI(channel string, s slack.Message) Message {
	m := Message{Channel: channel, TS: s.Timestamp, Thread: s.ThreadTimestamp, User: s.User, BotID: s.BotID, Subtype: s.SubType,
		Text: s.Text, Attached: len(s.Attachments)+len(s.Files) > 0, Repliers: s.ReplyUsers}
	m.Blocks, _ = json.Marshal(s.Blocks)
	if s.BotProfile != nil {
		m.AppID = s.BotProfile.AppID
	}
	payload, _ := json.Marshal(s.Metadata.EventPayload)
	m.Meta = metaOf(s.Metadata.EventType, payload)
	return m
}

// Archive reads messages from an export of the workspace: a zip with a list of channels
// and, for each, a folder with a file a day.
type Archive struct {
	files   []*zip.File
	folders map[string]string // by channel id
	close   func() error
}

// OpenArchive opens the export in a file.
func OpenArchive(file string) (*Archive, error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return nil, fmt.Errorf("opening the export %s: %w", file, err)
	}
	a := &Archive{files: z.File, folders: make(map[string]string), close: z.Close}
	for _, f := range z.File {
		switch path.Base(f.Name) {
		case "channels.json", "groups.json", "dms.json", "mpims.json":
			var list []struct{ ID, Name string }
			if err := readJSON(f, &list); err != nil {
				z.Close()
				return nil, err
			}
			for _, c := range list {
				if a.folders[c.ID] = c.Name; c.Name == "" {
					a.folders[c.ID] = c.ID
				}
			}
		}
	}
	if len(a.folders) == 0 {
		z.Close()
		return nil, fmt.Errorf("%s is no export of a Slack workspace: there is no channels.json in it", file)
	}
	return a, nil
}

func readJSON(f *zip.File, to any) error {
	r, err := f.Open()
	if err == nil {
		err = json.NewDecoder(r).Decode(to)
		r.Close()
	}
	if err != nil {
		return fmt.Errorf("reading %s of the export: %w", f.Name, err)
	}
	return nil
}

// Close closes the file.
func (a *Archive) Close() error { return a.close() }

// Self is not told by an export; it is learned from the posts that the journal knows.
func (a *Archive) Self(context.Context) (Self, error) { return Self{}, nil }

// Messages yields all messages of a channel, replies among them.
func (a *Archive) Messages(ctx context.Context, channel string, since time.Time, _ []string, _ func(Message) bool) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		folder, ok := a.folders[channel]
		if !ok {
			yield(Message{}, &Unreadable{channel, "it is not in the export", "take an export that holds it (private channels need one of all channels), or ask Slack, without -export"})
			return
		}
		for _, f := range a.files {
			if path.Base(path.Dir(f.Name)) != folder || !strings.HasSuffix(f.Name, ".json") {
				continue
			}
			var list []archived
			if err := errors.Join(ctx.Err(), readJSON(f, &list)); err != nil {
				yield(Message{}, err)
				return
			}
			for _, w := range list {
				if w.TS >= fmt.Sprintf("%d.000000", since.Unix()) && !yield(w.message(channel), nil) {
					return
				}
			}
		}
	}
}

// archived is a message in an export.
type archived struct {
	User        string            `json:"user"`
	BotID       string            `json:"bot_id"`
	AppID       string            `json:"app_id"`
	Subtype     string            `json:"subtype"`
	Text        string            `json:"text"`
	TS          string            `json:"ts"`
	ThreadTS    string            `json:"thread_ts"`
	Blocks      json.RawMessage   `json:"blocks"`
	Attachments []json.RawMessage `json:"attachments"`
	Files       []json.RawMessage `json:"files"`
	Metadata    struct {
		EventType    string          `json:"event_type"`
		EventPayload json.RawMessage `json:"event_payload"`
	} `json:"metadata"`
}

func (w archived) message(channel string) Message {
	return Message{Channel: channel, TS: w.TS, Thread: w.ThreadTS, User: w.User, BotID: w.BotID, AppID: w.AppID, Subtype: w.Subtype,
		Text: w.Text, Blocks: w.Blocks, Attached: len(w.Attachments)+len(w.Files) > 0, Meta: metaOf(w.Metadata.EventType, w.Metadata.EventPayload)}
}
