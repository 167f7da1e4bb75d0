package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"zegoclose/internal/journal"
)

// Kind says in which way the journal and Slack disagree.
type Kind string

const (
	Missing       Kind = "missing"       // the journal says that it is in Slack; it is not
	Edited        Kind = "edited"        // it is there, but says something else than the entries
	Misplaced     Kind = "misplaced"     // it is there, but not in the thread of its case
	Duplicated    Kind = "duplicated"    // a second message shows the same entries
	Forged        Kind = "forged"        // it looks like a post of this journal, and is none
	Foreign       Kind = "foreign"       // a post of another journal
	Unposted      Kind = "unposted"      // entries that call for a post have none yet
	Undeliverable Kind = "undeliverable" // Slack has refused the post for good
	NotCompared   Kind = "not_compared"  // a channel that cannot be read
)

// A Finding is one disagreement.
type Finding struct {
	Kind    Kind   `json:"kind"`
	Case    int64  `json:"case,omitempty"`
	First   int64  `json:"first,omitempty"` // entries that the post shows
	Last    int64  `json:"last,omitempty"`
	Channel string `json:"channel,omitempty"`
	TS      string `json:"ts,omitempty"`
	Link    string `json:"link,omitempty"`
	What    string `json:"what"`
}

func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(strings.ToUpper(strings.ReplaceAll(string(f.Kind), "_", " ")))
	if f.Case > 0 {
		fmt.Fprintf(&b, " case #%d", f.Case)
	}
	if f.First > 0 {
		fmt.Fprintf(&b, ", entries %d–%d", f.First, f.Last)
	}
	fmt.Fprintf(&b, ": %s", f.What)
	switch {
	case f.Link != "":
		fmt.Fprintf(&b, " (%s)", f.Link)
	case f.TS != "":
		fmt.Fprintf(&b, " (%s in %s)", f.TS, f.Channel)
	}
	return b.String()
}

// Comparison says what to compare, and how.
type Comparison struct {
	Since   time.Time // only posts and messages since then
	Channel string    // only this channel
	Case    int64     // only this case: its card and its thread; copies elsewhere are not looked for
	Now     time.Time // what is younger than a few minutes may still be on its way

	// Words returns the text of a post as the bot writes it for a case as it stands.
	// Version is that of the wording: posts with another one are not compared by text.
	Words   func(journal.Case, journal.Post) string
	Version int

	Progress func(messages, all int64) // all is 0: nobody knows; may be nil
}

// onItsWay is how long a post may take before it counts as not made.
const onItsWay = 5 * time.Minute

// skew is how far Slack's clock may be behind the journal's.
const skew = 2 * time.Minute

// Report is what a comparison came to.
type Report struct {
	Journal  string    `json:"journal"`
	Channels []string  `json:"channels"`
	Posts    int       `json:"posts"`    // of the journal, compared
	Messages int       `json:"messages"` // of Slack, looked at
	Matching int       `json:"matching"`
	Unread   int       `json:"not_compared"`  // further posts of the journal, in channels that cannot be read
	OnTheWay int       `json:"on_the_way"`    // too young to be missed
	Reworded int       `json:"other_wording"` // posts of another release: all but the text was compared
	Untold   int       `json:"no_metadata"`   // posts compared without metadata, which the export leaves out
	Findings []Finding `json:"findings"`
}

// Reconcile compares the journal with what Slack shows.
func Reconcile(ctx context.Context, r *journal.Reader, src Source, c Comparison) (Report, error) {
	rec := &reconciler{Comparison: c, r: r, byFirst: make(map[int64]*expected), channels: make(map[string]*channelPosts)}
	head, err := r.Head(ctx)
	if err != nil {
		return Report{}, err
	}
	rec.Journal = head.Journal
	if rec.self, err = src.Self(ctx); err != nil {
		return Report{}, err
	}
	if err := rec.expect(ctx); err != nil {
		return Report{}, err
	}
	for _, id := range slices.Sorted(maps.Keys(rec.channels)) {
		err := rec.channel(ctx, src, rec.channels[id])
		if unreadable, ok := errors.AsType[*Unreadable](err); ok && c.Case == 0 { // with one case, that is all
			rec.unread(rec.channels[id], unreadable)
			continue
		}
		if err != nil {
			return Report{}, err
		}
		rec.Channels = append(rec.Channels, id)
	}
	slices.SortStableFunc(rec.Findings, func(a, b Finding) int {
		if a.Case != b.Case {
			return int(a.Case - b.Case)
		}
		return int(a.First - b.First)
	})
	return rec.Report, nil
}

// expected is a post that should be in Slack.
type expected struct {
	post journal.Post
	seen bool
}

type channelPosts struct {
	id    string
	since time.Time
	posts []*expected
	byTS  map[string]*expected
}

type reconciler struct {
	Report
	Comparison
	r        *journal.Reader
	self     Self
	byFirst  map[int64]*expected
	channels map[string]*channelPosts
	last     journal.Case // the one looked at last
}

func (r *reconciler) find(f Finding) { r.Findings = append(r.Findings, f) }

// expect lists what should be in Slack, and finds what the journal itself knows is not.
func (r *reconciler) expect(ctx context.Context) error {
	var unsettled []journal.Post
	posts := r.r.Posts(ctx)
	if r.Case != 0 {
		posts = r.r.PostsOf(ctx, r.Case)
	}
	for p, err := range posts {
		if err != nil {
			return err
		}
		if r.Channel != "" && p.Channel != r.Channel || p.Tried.Before(r.Since) {
			continue
		}
		e := &expected{post: p}
		r.byFirst[p.First] = e
		ch := r.channels[p.Channel]
		if ch == nil {
			ch = &channelPosts{id: p.Channel, since: p.Tried, byTS: make(map[string]*expected)}
			r.channels[p.Channel] = ch
		}
		if p.Tried.Before(ch.since) {
			ch.since = p.Tried
		}
		r.Posts++
		ch.posts = append(ch.posts, e)
		if p.TS != "" {
			ch.byTS[p.TS] = e
		}
		if p.State != journal.PostSent {
			unsettled = append(unsettled, p)
		}
	}
	if r.Channel != "" && r.channels[r.Channel] == nil {
		r.channels[r.Channel] = &channelPosts{id: r.Channel, since: r.Since, byTS: make(map[string]*expected)}
	}
	for _, p := range unsettled {
		r.unsettled(p)
	}
	return r.unposted(ctx)
}

func (r *reconciler) unsettled(p journal.Post) {
	f := Finding{Kind: Unposted, Case: p.Case, First: p.First, Last: p.Last, Channel: p.Channel}
	switch {
	case p.State == journal.PostUndeliverable:
		f.Kind, f.What = Undeliverable, fmt.Sprintf("Slack refused the %s for good: %s", p.Kind, p.Cause)
	case r.Now.Sub(p.Tried) < onItsWay:
		r.OnTheWay++
		return
	default:
		f.What = fmt.Sprintf("the %s is not in Slack, as far as the journal knows (%s since %s)", p.Kind, p.State, p.Tried.Format(time.RFC3339))
		if p.Cause != "" {
			f.What += ": " + p.Cause
		}
	}
	r.find(f)
}

// unposted finds entries that call for a post and belong to none.
func (r *reconciler) unposted(ctx context.Context) error {
	var rows []journal.CaseRow
	all := r.r.CaseRows(ctx)
	if r.Case != 0 {
		all = func(yield func(journal.CaseRow, error) bool) { yield(r.r.CaseRow(ctx, r.Case)) }
	}
	for row, err := range all {
		if err != nil {
			return err
		}
		if row.Told > row.Posted && (r.Channel == "" || row.Channel == r.Channel) {
			rows = append(rows, row)
		}
	}
	for _, row := range rows {
		c, err := r.r.Case(ctx, row.Number)
		if err != nil {
			return err
		}
		es := c.Between(row.Posted+1, row.Last)
		if len(es) == 0 || es[0].Time.Before(r.Since) {
			continue
		}
		if r.Now.Sub(es[0].Time) < onItsWay {
			r.OnTheWay++
			continue
		}
		r.find(Finding{Kind: Unposted, Case: row.Number, First: es[0].Number, Last: row.Last, Channel: row.Channel,
			What: fmt.Sprintf("no post shows what happened since %s", es[0].Time.Format(time.RFC3339))})
	}
	return nil
}

// channel compares one channel.
func (r *reconciler) channel(ctx context.Context, src Source, ch *channelPosts) error {
	since := ch.since.Add(-skew)
	if !r.Since.IsZero() && r.Since.After(since) {
		since = r.Since
	}
	parents, err := r.parents(ctx, ch)
	if err != nil {
		return err
	}
	if t, ok := src.(threads); ok && r.Case != 0 {
		return r.oneCase(ctx, t, ch)
	}
	var all []Message // those that matter
	thread := func(m Message) bool {
		return r.isBot(m) || slices.Contains(m.Repliers, r.self.User) || looksLikeOurs(m)
	}
	for m, err := range src.Messages(ctx, ch.id, since, parents, thread) {
		if err != nil {
			return err
		}
		if r.Messages++; r.Progress != nil {
			r.Progress(int64(r.Messages), 0)
		}
		if ch.byTS[m.TS] != nil || m.Meta != nil && m.Meta.Event == Event || r.isBot(m) || r.self == (Self{}) && m.BotID != "" || looksLikeOurs(m) {
			all = append(all, m)
		}
	}
	return r.judgeAll(ctx, ch, all)
}

// unread sets a channel aside.
func (r *reconciler) unread(ch *channelPosts, why *Unreadable) {
	r.Posts -= len(ch.posts)
	r.Unread += len(ch.posts)
	r.find(Finding{Kind: NotCompared, Channel: ch.id, What: why.Error() + "; or name one of the others with -channel"})
}

// threads is a source that can be asked for one thread.
type threads interface {
	Thread(ctx context.Context, channel, parent string) iter.Seq2[Message, error]
}

// oneCase reads the thread of a card, with the card, and nothing else.
func (r *reconciler) oneCase(ctx context.Context, src threads, ch *channelPosts) error {
	row, err := r.r.CaseRow(ctx, r.Case)
	if err != nil {
		return err
	}
	var all []Message
	if row.CardTS != "" {
		for m, err := range src.Thread(ctx, ch.id, row.CardTS) {
			if err != nil {
				return err
			}
			r.Messages++
			all = append(all, m)
		}
	}
	return r.judgeAll(ctx, ch, all)
}

// parents lists the cards whose threads should hold replies.
func (r *reconciler) parents(ctx context.Context, ch *channelPosts) ([]string, error) {
	var parents []string
	for _, e := range ch.posts {
		if e.post.Kind == journal.Reply && e.post.State != journal.PostUndeliverable {
			c, err := r.caseOf(ctx, e.post)
			if err != nil {
				return nil, err
			}
			if c.CardTS != "" && !slices.Contains(parents[max(0, len(parents)-3):], c.CardTS) {
				parents = append(parents, c.CardTS)
			}
		}
	}
	slices.Sort(parents)
	return slices.Compact(parents), nil
}

func (r *reconciler) judgeAll(ctx context.Context, ch *channelPosts, all []Message) error {
	if r.self == (Self{}) {
		r.self = author(ch, all)
	}
	for _, m := range all {
		if err := r.judge(ctx, ch, m); err != nil {
			return err
		}
	}
	for _, e := range ch.posts {
		if e.seen || e.post.State != journal.PostSent {
			continue
		}
		c, err := r.caseOf(ctx, e.post)
		if err != nil {
			return err
		}
		r.find(Finding{Kind: Missing, Case: e.post.Case, First: e.post.First, Last: e.post.Last, Channel: ch.id, TS: e.post.TS, Link: c.Link(e.post.TS),
			What: fmt.Sprintf("the %s is not in %s any more: somebody deleted it", e.post.Kind, ch.id)})
	}
	return nil
}

// caseOf returns the story to which a post belongs; for a checkpoint that is its entry.
func (r *reconciler) caseOf(ctx context.Context, p journal.Post) (journal.Case, error) {
	if p.Case == 0 {
		return r.r.Single(ctx, p.First)
	}
	if r.last.Number == p.Case {
		return r.last, nil
	}
	c, err := r.r.Case(ctx, p.Case)
	if err != nil {
		return c, fmt.Errorf("case #%d: %w", p.Case, err)
	}
	r.last = c
	return c, nil
}

// MarshalJSON keeps the lists lists.
func (r Report) MarshalJSON() ([]byte, error) {
	type plain Report
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	if r.Channels == nil {
		r.Channels = []string{}
	}
	return json.Marshal(plain(r))
}
