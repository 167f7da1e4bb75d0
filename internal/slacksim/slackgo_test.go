package slacksim_test

import (
	"context"
	"log"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"zegoclose/internal/slacksim"
)

// An office is a workspace with a few people in it, and slack-go's client for it.
type office struct {
	*slacksim.Workspace
	api              *slack.Client
	alice, bob       slacksim.User
	ops, den, lounge slacksim.Channel // with the bot; private with the bot; public without it
}

func newOffice(t *testing.T, cfg slacksim.Config) *office {
	t.Helper()
	w, err := slacksim.New(cfg)
	require.NoError(t, err)
	t.Cleanup(w.Close)
	o := &office{Workspace: w}
	o.alice = w.AddUser(slacksim.User{Name: "alice"})
	o.bob = w.AddUser(slacksim.User{Name: "bob"})
	o.ops = w.AddChannel(slacksim.Channel{Name: "ops", BotMember: true})
	o.den = w.AddChannel(slacksim.Channel{Name: "den", Kind: slacksim.Private, BotMember: true, Members: []string{o.alice.ID}})
	o.lounge = w.AddChannel(slacksim.Channel{Name: "lounge"})
	o.api = slack.New(w.BotToken(), slack.OptionAppLevelToken(w.AppToken()), slack.OptionAPIURL(w.APIURL()))
	return o
}

// runSlackGo runs slack-go's own Socket Mode client until the test ends.
func (o *office) runSlackGo(t *testing.T, handle func(*socketmode.Client, socketmode.Event)) {
	t.Helper()
	sm := socketmode.New(o.api, socketmode.OptionLog(log.New(t.Output(), "", 0)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); sm.RunContext(ctx) }()
	go func() {
		for {
			select {
			case e := <-sm.Events:
				handle(sm, e)
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	o.await(t, func() bool { return o.Ready() > 0 })
}

func (o *office) await(t *testing.T, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, o.Wait(ctx, cond))
}

func outcome(t *testing.T, d *slacksim.Delivery) slacksim.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, err := d.Wait(ctx)
	require.NoError(t, err)
	return out
}

// A bot on slack-go alone: a command gives a card, its button edits the card and replies in its thread.
func TestSlackGoConversation(t *testing.T) {
	o := newOffice(t, slacksim.Config{WarningCloses: 200 * time.Millisecond})
	o.runSlackGo(t, func(sm *socketmode.Client, e socketmode.Event) {
		switch e.Type {
		case socketmode.EventTypeSlashCommand:
			cmd := e.Data.(slack.SlashCommand)
			assert.NoError(t, sm.Ack(*e.Request, map[string]any{"text": "on it: " + cmd.Text}))
			_, _, err := o.api.PostMessage(cmd.ChannelID, slack.MsgOptionText("Close "+cmd.Text+"?", true), slack.MsgOptionBlocks(
				slack.NewSectionBlock(slack.NewTextBlockObject("plain_text", cmd.Text, false, false), nil, nil),
				slack.NewActionBlock("", slack.NewButtonBlockElement("close", "v1", slack.NewTextBlockObject("plain_text", "Close room", false, false))),
			), slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "card", EventPayload: map[string]any{"case": 7}}))
			assert.NoError(t, err)
		case socketmode.EventTypeInteractive:
			click := e.Data.(slack.InteractionCallback)
			assert.NoError(t, sm.Ack(*e.Request))
			assert.Equal(t, "v1", click.ActionCallback.BlockActions[0].Value)
			_, _, _, err := o.api.UpdateMessage(click.Channel.ID, click.Container.MessageTs, slack.MsgOptionText("closed", true), slack.MsgOptionBlocks())
			assert.NoError(t, err)
			_, _, err = o.api.PostMessage(click.Channel.ID, slack.MsgOptionText("done", true), slack.MsgOptionTS(click.Container.MessageTs))
			assert.NoError(t, err)
		}
	})

	out := outcome(t, o.Command(slacksim.Command{User: o.alice.ID, Channel: o.ops.ID, Text: "live-42"}))
	require.Equal(t, slacksim.Acked, out.Result)
	assert.Equal(t, "on it: live-42", out.Reply.Text)
	assert.Equal(t, out.SentOn, out.AckedOn)
	o.await(t, func() bool { return len(o.Messages(o.ops.ID)) == 1 })
	card := o.Messages(o.ops.ID)[0]
	assert.JSONEq(t, `{"event_type":"card","event_payload":{"case":7}}`, string(card.Metadata))

	// The socket is recycled; slack-go comes back by itself.
	before := o.Connections()[0].ID
	o.Disconnect(slacksim.Disconnect{})
	o.await(t, func() bool {
		for _, c := range o.Connections() {
			if c.Live && c.ID > before {
				return true
			}
		}
		return false
	})

	d, err := o.Click(slacksim.Click{User: o.bob.ID, Channel: o.ops.ID, TS: card.TS, ActionID: "close"})
	require.NoError(t, err)
	require.Equal(t, slacksim.Acked, outcome(t, d).Result)
	o.await(t, func() bool { return len(o.Thread(o.ops.ID, card.TS)) == 2 })
	assert.Equal(t, "closed", o.Messages(o.ops.ID)[0].Text)
	assert.Empty(t, o.Buttons(o.ops.ID, card.TS))
	assert.Len(t, o.Revisions(o.ops.ID, card.TS), 2)

	replies, _, _, err := o.api.GetConversationReplies(&slack.GetConversationRepliesParameters{ChannelID: o.ops.ID, Timestamp: card.TS, IncludeAllMetadata: true})
	require.NoError(t, err)
	require.Len(t, replies, 2)
	assert.Equal(t, "card", replies[0].Metadata.EventType)
	assert.Equal(t, 1, replies[0].ReplyCount)

	// slack-go drops sockets without a close frame, and that is all it does wrong.
	assert.Empty(t, o.Violations(slacksim.Vanished))
	assert.NotEmpty(t, o.Violations())
}

// A clock stands until it is moved.
type clock struct{ at atomic.Pointer[time.Time] }

func newClock() *clock {
	c := &clock{}
	at := time.Now()
	c.at.Store(&at)
	return c
}

func (c *clock) now() time.Time { return *c.at.Load() }

func (c *clock) add(d time.Duration) {
	at := c.now().Add(d)
	c.at.Store(&at)
}
