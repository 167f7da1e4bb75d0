package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"zegoclose/internal/journal"
)

// author is who wrote most of the posts that the journal knows.
func author(ch *channelPosts, all []Message) Self {
	count := make(map[Self]int)
	var most Self
	for _, m := range all {
		if ch.byTS[m.TS] != nil {
			s := Self{m.BotID, m.User}
			if count[s]++; count[s] > count[most] {
				most = s
			}
		}
	}
	return most
}

func (r *reconciler) isBot(m Message) bool {
	if r.self.BotID != "" && m.BotID != "" {
		return m.BotID == r.self.BotID
	}
	return r.self.User != "" && m.User == r.self.User
}

// noise are messages of Slack itself.
var noise = []string{"tombstone", "channel_join", "group_join", "channel_leave", "group_leave", "channel_topic", "channel_purpose", "channel_name", "channel_archive", "channel_unarchive"}

// judge compares one message that is, or could be taken for, a post of the bot.
func (r *reconciler) judge(ctx context.Context, ch *channelPosts, m Message) error {
	if slices.Contains(noise, m.Subtype) {
		return nil
	}
	e := ch.byTS[m.TS]
	f := Finding{Kind: Forged, Channel: m.Channel, TS: m.TS}
	switch {
	case !r.isBot(m):
		if e == nil && (m.Meta == nil || m.Meta.Event != Event) && !looksLikeOurs(m) {
			return nil
		}
		if m.Meta != nil {
			f.Case, f.First, f.Last = m.Meta.Case, m.Meta.First, m.Meta.Last
		}
		f.What = fmt.Sprintf("it looks like a post of the bot, but %s wrote it", who(m))
		r.find(f)
		return nil
	case m.Meta != nil && m.Meta.Event == Event && m.Meta.Journal != r.Journal:
		f.Kind, f.Case, f.First, f.Last = Foreign, m.Meta.Case, m.Meta.First, m.Meta.Last
		f.What = fmt.Sprintf("it shows entries of journal %s, not of this one", m.Meta.Journal)
		r.find(f)
		return nil
	case e != nil:
		e.seen = true
		return r.compare(ctx, e, m)
	case m.Meta == nil:
		if !looksLikeOurs(m) && r.self.BotID == "" {
			return nil
		}
		f.What = "the bot's account wrote it, but it names no entries and the journal does not know it"
		r.find(f)
		return nil
	}
	f.Case, f.First, f.Last = m.Meta.Case, m.Meta.First, m.Meta.Last
	other := r.byFirst[m.Meta.First]
	switch {
	case m.Meta.Event != Event:
		f.What = fmt.Sprintf("the bot's account wrote it, with metadata of another kind (%s)", m.Meta.Event)
	case other == nil || other.post.Case != m.Meta.Case || string(other.post.Kind) != m.Meta.Kind:
		if r.Case != 0 && m.Meta.Case != r.Case {
			return nil
		}
		f.What = fmt.Sprintf("no post of the journal begins with entry %d of case #%d", m.Meta.First, m.Meta.Case)
	case other.post.TS == "":
		r.OnTheWay++ // sent, and the journal will learn of it
		return nil
	default:
		f.Kind, f.What = Duplicated, fmt.Sprintf("the same entries are shown by the post %s", other.post.TS)
	}
	r.find(f)
	return nil
}

func who(m Message) string {
	if m.BotID != "" {
		return "app " + strings.TrimSpace(m.BotID+" "+m.AppID)
	}
	return "person " + m.User
}

// compare checks what a post says against the entries that it shows.
func (r *reconciler) compare(ctx context.Context, e *expected, m Message) error {
	c, err := r.caseOf(ctx, e.post)
	if err != nil {
		return err
	}
	p := e.post
	f := Finding{Kind: Edited, Case: p.Case, First: p.First, Last: p.Last, Channel: m.Channel, TS: m.TS, Link: c.Link(m.TS)}
	thread := m.Thread
	if thread == m.TS {
		thread = ""
	}
	want := ""
	if p.Kind == journal.Reply {
		want = c.CardTS
	}
	switch {
	case thread != want:
		f.Kind = Misplaced
		f.What = fmt.Sprintf("it is in the thread of %q, not of its card %q", thread, want)
	case m.Meta == nil:
		r.Untold++
		f.What = r.otherText(c, p, m, r.Version)
	default:
		if f.What = otherMeta(*m.Meta, p, p.Hash(c)); f.What == "" {
			f.What = r.otherText(c, p, m, m.Meta.Words)
		}
	}
	if f.What != "" {
		r.find(f)
		return nil
	}
	r.Matching++
	return nil
}

// otherMeta says how the metadata differs from the journal.
func otherMeta(m Meta, p journal.Post, hash string) string {
	for _, f := range []struct {
		name      string
		has, want any
	}{
		{"case", m.Case, p.Case}, {"kind of post", m.Kind, string(p.Kind)}, {"first entry", m.First, p.First},
		{"last entry", m.Last, p.Last}, {"hash", m.Hash, hash},
	} {
		if f.has != f.want {
			return fmt.Sprintf("its metadata names the %s %v, but the journal says %v", f.name, f.has, f.want)
		}
	}
	return ""
}

// otherText says how what people read differs from what the entries say.
func (r *reconciler) otherText(c journal.Case, p journal.Post, m Message, version int) string {
	if m.Attached {
		return "it has an attachment or a file, which no post of the bot has"
	}
	if version != r.Version {
		r.Reworded++
		return ""
	}
	wanted := r.wanted(c, p)
	has := Normal(m.Text)
	if !slices.Contains(wanted, has) {
		return "its text is not what the entries say: " + difference(wanted[len(wanted)-1], has)
	}
	if string(m.Blocks) == "null" || len(m.Blocks) == 0 || string(m.Blocks) == "[]" {
		return ""
	}
	if shown := Normal(blocksText(m.Blocks)); !slices.Contains(wanted, shown) {
		return "what it shows is not what the entries say: " + difference(wanted[len(wanted)-1], shown)
	}
	return ""
}

// wanted lists the texts that a post may have. A reply has one. A card is drawn again and
// again: it may show the case as of the entry that its row names, or any later one.
func (r *reconciler) wanted(c journal.Case, p journal.Post) []string {
	if p.Kind != journal.Card {
		return []string{Normal(r.Words(c.At(p.Last), p))}
	}
	var texts []string
	for _, e := range c.Entries {
		if e.Number < max(p.Seen, p.Last) && e.Number < c.Entries[len(c.Entries)-1].Number {
			continue
		}
		then := c.At(e.Number)
		texts = append(texts, Normal(r.Words(then, p)))
		if c.AgainIs != 0 {
			then.AgainIs = c.AgainIs
			texts = append(texts, Normal(r.Words(then, p)))
		}
	}
	return texts
}

// difference quotes where two texts part.
func difference(want, has string) string {
	w, h := []rune(want), []rune(has)
	i := 0
	for i < len(w) && i < len(h) && w[i] == h[i] {
		i++
	}
	from := max(0, i-20)
	quote := func(rs []rune) string {
		if from >= len(rs) {
			return `"" (it ends before)`
		}
		return fmt.Sprintf("%q", string(rs[from:min(len(rs), i+40)]))
	}
	return fmt.Sprintf("there it says %s, the entries say %s", quote(h), quote(w))
}
