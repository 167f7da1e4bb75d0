package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"zegoclose/internal/journal"
	"zegoclose/internal/slacksim"
)

// What people do in Slack, and what they are shown.

// The buttons, by what is written on them.
const (
	closeRoom = "Close room"
	cancel    = "Cancel"
	tryAgain  = "Try again"
)

func (p *player) name(user string) string {
	for _, u := range p.slack.Users() {
		if u.ID == user {
			return "@" + u.Name
		}
	}
	return user
}

func (p *player) channelName(id string) string {
	for _, c := range p.slack.Channels() {
		if c.ID == id {
			return "#" + c.Name
		}
	}
	return id
}

// types sends /zego-close as somebody and prints what they alone are answered.
func (p *player) types(user, channel, text string) {
	if p.err != nil {
		return
	}
	p.page.act("%s types in %s: /zego-close %s", p.name(user), p.channelName(channel), text)
	o := p.outcome(p.slack.Command(slacksim.Command{User: user, Channel: channel, Text: text}), "the command is answered")
	switch {
	case p.err != nil:
	case o.Result != slacksim.Acked:
		p.fail("Slack told %s that the command failed: %s %s", p.name(user), o.Result, o.Reason)
	case o.Reply == nil:
		p.fail("the command of %s was acknowledged without a word", p.name(user))
	default:
		p.page.private(p.name(user), p.slack.Render(*o.Reply, user))
		p.whispers[user] = len(p.slack.Ephemerals(user))
	}
}

// refusedCommand is types by somebody who must be refused.
func (p *player) refusedCommand(user, channel, text string) {
	p.types(user, channel, text)
	p.refusals = append(p.refusals, refusal{by: user})
}

// asks is types, followed by the card it leads to.
func (p *player) asks(user, channel, text string) *card {
	p.types(user, channel, text)
	room, _, _ := strings.Cut(text, " ")
	return p.newCard(room)
}

// newCard waits for the card of the next case and prints it as it first came.
func (p *player) newCard(room string) *card {
	c := &card{number: int64(len(p.cases) + 1), room: room}
	p.cases = append(p.cases, c)
	found := p.until(fmt.Sprintf("the card of #%d appears", c.number), func() bool {
		for _, ch := range p.slack.Channels() {
			for _, m := range p.slack.Messages(ch.ID) {
				if s, ok := shownBy(m); ok && s.Case == c.number && s.Kind == journal.Card {
					c.channel, c.ts = m.Channel, m.TS
					return true
				}
			}
		}
		return false
	})
	if found {
		p.page.message("in "+p.channelName(c.channel), p.slack.Render(p.slack.Revisions(c.channel, c.ts)[0].Message, alice))
	}
	// People are slower than the bot, which now writes down where the card is.
	p.until(fmt.Sprintf("the journal knows the card of #%d", c.number), func() bool {
		r, err := readRecord(p.journalFile())
		return err == nil && slices.ContainsFunc(r.entries, func(e journal.Entry) bool {
			return e.Case == c.number && e.Kind == journal.Shown
		})
	})
	return c
}

// shown is what the metadata of the bot's messages says: which entries they show.
type shown struct {
	Journal     string
	Case        int64
	Kind        journal.PostKind
	First, Last int64
	Hash        string
}

// shownBy reads the metadata of a message; it returns false if the message has none of ours.
func shownBy(m slacksim.Message) (shown, bool) {
	var meta struct {
		EventType    string `json:"event_type"`
		EventPayload shown  `json:"event_payload"`
	}
	err := json.Unmarshal(m.Metadata, &meta)
	return meta.EventPayload, err == nil && meta.EventType == "zegoclose_post"
}

// presses clicks a button and returns when Slack has taken its spinner away.
func (p *player) presses(user string, c *card, label string) {
	if p.err != nil {
		return
	}
	p.page.act("%s presses [ %s ] on #%d", p.name(user), label, c.number)
	buttons := p.slack.Buttons(c.channel, c.ts)
	i := slices.IndexFunc(buttons, func(b slacksim.Button) bool { return b.Text == label })
	if i < 0 {
		p.fail("the card of #%d has no button %q", c.number, label)
		return
	}
	d, err := p.slack.Click(slacksim.Click{User: user, Channel: c.channel, TS: c.ts, ActionID: buttons[i].ActionID})
	if err != nil {
		p.fail("%s cannot press: %w", p.name(user), err)
		return
	}
	o := p.outcome(d, "the click is answered")
	if p.err == nil && o.Result != slacksim.Acked {
		p.fail("Slack showed %s its warning sign: %s", p.name(user), o.Reason)
	}
}

// refusedPress is presses by somebody who must be refused, and prints what they are told.
func (p *player) refusedPress(user string, c *card, label string) {
	p.presses(user, c, label)
	p.refusals = append(p.refusals, refusal{user, c.number})
	read := p.whispers[user]
	if p.until(p.name(user)+" is told why", func() bool { return len(p.slack.Ephemerals(user)) > read }) {
		p.page.private(p.name(user), p.slack.Render(p.slack.Ephemerals(user)[read], user))
		p.whispers[user] = read + 1
	}
}

// outcome waits for what becomes of a command or a click.
func (p *player) outcome(d *slacksim.Delivery, what string) slacksim.Outcome {
	p.until(what, func() bool {
		select {
		case <-d.Done():
			return true
		default:
			return false
		}
	})
	return d.Outcome()
}

// read is the card as it stands now.
func (p *player) read(c *card) string {
	m, ok := p.slack.Message(c.channel, c.ts)
	if !ok {
		return "(the card is gone)"
	}
	return p.slack.Render(m, alice)
}

// replies are the messages in the card's thread.
func (p *player) replies(c *card) []string {
	var texts []string
	for _, m := range p.slack.Thread(c.channel, c.ts) {
		if m.TS != c.ts {
			texts = append(texts, p.slack.Render(m, alice))
		}
	}
	return texts
}

// shows waits until the card reads like text, and prints it.
func (p *player) shows(c *card, text string) {
	if p.until(fmt.Sprintf("the card of #%d says %q", c.number, text), func() bool { return strings.Contains(p.read(c), text) }) {
		p.page.message(fmt.Sprintf("#%d now reads", c.number), p.read(c))
	}
}

// ends waits until Slack tells, on the card and in its thread, that the case has ended in
// this state, and prints both. ZEGO must then have carried out so many of its calls.
func (p *player) ends(c *card, s journal.State, executed int) {
	c.state, c.executed = s, executed
	onCard, inThread := words(s)
	told := p.until(fmt.Sprintf("the card of #%d and its thread tell that it is %s", c.number, s), func() bool {
		replies := p.replies(c)
		return strings.Contains(p.read(c), onCard) && len(replies) > 0 && strings.HasPrefix(replies[len(replies)-1], inThread)
	})
	if !told {
		return
	}
	p.page.message(fmt.Sprintf("#%d now reads", c.number), p.read(c))
	replies := p.replies(c)
	for _, text := range replies[c.told:] {
		p.page.reply(text)
	}
	c.told = len(replies)
}

// words are what a card, and the last reply in its thread, must say of how a case ended.
func words(s journal.State) (card, reply string) {
	switch s {
	case journal.StateClosed:
		return "Closed", "Closed by ZEGO"
	case journal.StateAbsent:
		return "Nothing closed", "Nothing closed"
	case journal.StateFailed:
		return "Not closed", "Not closed"
	case journal.StateUnknown:
		return "Not known", "Not known"
	case journal.StateCancelled:
		return "Cancelled", "Cancelled"
	case journal.StateExpired:
		return "Expired", "Expired"
	}
	return string(s), string(s)
}

// pings checks that a card notifies these people and nobody else.
func (p *player) pings(c *card, names ...string) {
	m, _ := p.slack.Message(c.channel, c.ts)
	if got := p.slack.Mentions(m); !slices.Equal(got, names) {
		p.fail("the card of #%d mentions %v, not %v", c.number, got, names)
	}
	p.note("(The only live mention in this card is %s.)", list(names))
}

// slackLimits lets Slack refuse the next post, and all others for a second after it.
func (p *player) slackLimits() *slacksim.Injection {
	return p.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Count: 1, Status: http.StatusTooManyRequests, RetryAfter: 1})
}

// met checks that Slack has refused a post as arranged.
func (p *player) met(limit *slacksim.Injection, what string) {
	if n := limit.Hits(); n != 1 {
		p.fail("Slack should have refused one post, but refused %d", n)
	}
	p.note("(Slack had refused %s at first, for a second.)", what)
}
