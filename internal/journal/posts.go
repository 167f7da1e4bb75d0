package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// PostKind tells the messages apart.
type PostKind string

const (
	Card  PostKind = "card"  // the parent of the thread; bears the buttons
	Reply PostKind = "reply" // a message in its thread

	Checkpoints PostKind = "checkpoint" // shows a checkpoint, in the channel
)

// PostState says how far a post has come.
type PostState string

const (
	PostWaiting       PostState = "waiting"       // certainly not in Slack; to be sent, not before Retry
	PostSending       PostState = "sending"       // the call may be under way
	PostDoubt         PostState = "doubt"         // may be in Slack: look first, not before Retry
	PostSent          PostState = "sent"          // in Slack, TS known
	PostUndeliverable PostState = "undeliverable" // refused for good
)

// Post is a Slack message that shows entries First to Last of a case.
type Post struct {
	First, Last int64
	Case        int64
	Kind        PostKind
	State       PostState
	Channel     string
	TS          string
	Tried       time.Time // when the first try began
	Cause       string    // why it is not sent yet, or never will be
	Seen        int64     // card: the last entry it shows by now
	Redraw      time.Time // card: since when it is due to be drawn again, or when it will be; zero: never
	changes     int64     // card: how often there was a reason to draw it again
}

// Hash returns the hash of the last entry the post shows, from the story of its case.
func (p Post) Hash(c Case) string {
	for _, e := range c.Entries {
		if e.Number == p.Last {
			return e.Hash
		}
	}
	return ""
}

const selectPost = `SELECT first, last, case_, kind, state, channel, ts, tried, seen, redraw, changes, cause FROM posts`

func scanPost(row scanner) (Post, error) {
	var p Post
	var tried int64
	var redraw Micros
	err := row.Scan(&p.First, &p.Last, &p.Case, &p.Kind, &p.State, &p.Channel, &p.TS, &tried, &p.Seen, &redraw, &p.changes, &p.Cause)
	p.Tried, p.Redraw = time.UnixMicro(tried).UTC(), redraw.Time()
	return p, err
}

const (
	// unsettled is the condition of the index posts_open.
	unsettled = `state IN ('waiting', 'sending', 'doubt')`
	// nothingUnfinished holds for a case c whose last post is settled, so that the next may leave.
	nothingUnfinished = `NOT EXISTS (SELECT 1 FROM posts WHERE case_ = c.number AND ` + unsettled + `)`
)

// Channels lists the channels in which something is waiting to be posted now, and when the
// next try falls due in any other (the zero time: none does).
func (j *Journal) Channels(ctx context.Context) (channels []string, next time.Time, err error) {
	now := j.now().UnixMicro()
	// The recursion steps from channel to channel over the index, however many cases wait in each.
	rows, err := j.rows(ctx, `
		WITH RECURSIVE waiting (channel) AS (
			SELECT (SELECT c.channel FROM cases c WHERE c.told > c.posted AND `+nothingUnfinished+` ORDER BY c.channel LIMIT 1)
			UNION ALL
			SELECT (SELECT c.channel FROM cases c WHERE c.told > c.posted AND c.channel > waiting.channel AND `+nothingUnfinished+` ORDER BY c.channel LIMIT 1)
				FROM waiting WHERE waiting.channel IS NOT NULL)
		SELECT channel FROM waiting WHERE channel IS NOT NULL
		UNION SELECT channel FROM posts WHERE `+unsettled+` AND state <> 'sending' AND retry <= $1`, now)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("looking for posts to send: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var ch string
		if err := rows.Scan(&ch); err != nil {
			return nil, time.Time{}, fmt.Errorf("looking for posts to send: %w", err)
		}
		channels = append(channels, ch)
	}
	if err := rows.Err(); err != nil {
		return nil, time.Time{}, fmt.Errorf("looking for posts to send: %w", err)
	}
	var retry *int64
	if err := j.row(ctx, `SELECT min(retry) FROM posts WHERE `+unsettled+` AND state <> 'sending' AND retry > $1`, now).Scan(&retry); err != nil {
		return nil, time.Time{}, fmt.Errorf("looking for posts to send: %w", err)
	}
	if retry != nil {
		next = time.UnixMicro(*retry)
	}
	return channels, next, nil
}

// NextPost returns the case in the channel whose turn it is, and its unfinished post if it
// has one: tries that have fallen due first, then cases by the age of what they have to
// tell. Order within a case is kept: nothing new is sent before the last post is settled.
func (j *Journal) NextPost(ctx context.Context, channel string) (c Case, unfinished *Post, ok bool, err error) {
	p, err := scanPost(j.row(ctx, selectPost+
		` WHERE channel = $1 AND `+unsettled+` AND state <> 'sending' AND retry <= $2 ORDER BY first LIMIT 1`, channel, j.now().UnixMicro()))
	number := p.Case
	switch {
	case err == nil:
		unfinished = &p
	case errors.Is(err, sql.ErrNoRows):
		err = j.row(ctx, `SELECT number FROM cases c WHERE channel = $1 AND told > posted
				AND `+nothingUnfinished+` ORDER BY told LIMIT 1`, channel).Scan(&number)
		if errors.Is(err, sql.ErrNoRows) {
			return Case{}, nil, false, nil
		}
	}
	if err != nil {
		return Case{}, nil, false, fmt.Errorf("looking for the next post in %s: %w", channel, err)
	}
	if unfinished != nil && p.Kind == Checkpoints {
		c, err = j.single(ctx, p.First)
	} else {
		c, err = j.Case(ctx, number)
	}
	return c, unfinished, err == nil, err
}

// Sending records that a post of the case is about to be sent, showing every entry of the
// case that has no post yet. It must return before the call to Slack leaves, so that a
// crash leaves a trace to look for. A post that is waiting is taken up again and grows to
// the case's last entry.
//
// To a case that is still pending, and so about to show its card, the drafts are appended
// first; or it is expired if the time to show the card is over, and the card says that.
//
// It returns [ErrSettled] if there is nothing to send. After any error nothing may be sent; a
// post that gets onto the disk after its caller was told [ErrUnsure] goes back to waiting.
func (j *Journal) Sending(ctx context.Context, number int64, drafts ...Draft) (Case, Post, error) {
	type answer struct {
		c Case
		p Post
	}
	a, err := writeOrUndo(ctx, j, func(t *txn) (a answer, err error) {
		if a.c, err = t.load(number); err != nil {
			return answer{}, err
		}
		if a.c.State == StatePending && a.c.CardTS == "" {
			if t.now.Before(a.c.ShowBy) {
				err = t.record(&a.c, drafts...)
			} else {
				err = t.expire(&a.c)
			}
		}
		if err != nil {
			return answer{}, err
		}
		a.p, err = t.sending(a.c)
		return a, err
	}, func(t *txn, a answer) error {
		return t.unsent(a.p, PostWaiting, t.now, "the journal was too slow to send it")
	})
	return a.c, a.p, err
}

func (t *txn) sending(c Case) (Post, error) {
	last := c.Entries[len(c.Entries)-1].Number
	p, err := scanPost(t.row(selectPost+` WHERE case_ = $1 AND `+unsettled, c.Number))
	switch {
	case err == nil && p.State != PostWaiting:
		return p, fmt.Errorf("%w: a post of #%d is still %s", ErrSettled, c.Number, p.State)
	case err == nil:
		p.Last, p.State = last, PostSending
		if err := t.exec(`UPDATE posts SET last = $1, state = 'sending', retry = $2, cause = '' WHERE first = $3`,
			last, t.now.UnixMicro(), p.First); err != nil {
			return p, err
		}
	case errors.Is(err, sql.ErrNoRows):
		var posted, told int64
		if err := t.row(`SELECT posted, told FROM cases WHERE number = $1`, c.Number).Scan(&posted, &told); err != nil {
			return p, err
		}
		if told <= posted {
			return p, fmt.Errorf("%w: #%d has nothing to tell that has no post", ErrSettled, c.Number)
		}
		p = Post{Last: last, Case: c.Number, Kind: Reply, State: PostSending, Channel: c.Channel, Tried: t.now}
		if posted == 0 {
			p.Kind = Card
		}
		p.First = c.Between(posted+1, last)[0].Number
		if err := t.exec(`INSERT INTO posts (first, last, case_, kind, state, channel, tried, retry) VALUES ($1, $2, $3, $4, 'sending', $5, $6, $6)`,
			p.First, p.Last, p.Case, string(p.Kind), p.Channel, t.now.UnixMicro()); err != nil {
			return p, err
		}
	default:
		return p, err
	}
	return p, t.exec(`UPDATE cases SET posted = $1 WHERE number = $2`, last, c.Number)
}

// Sent records that the post is in Slack with ts. For a card that is news (a click may
// have told it before), and becomes an entry.
func (j *Journal) Sent(ctx context.Context, p Post, ts string) error {
	return j.change(ctx, func(t *txn) error {
		t.works[Posts] = true // the case's next post need not wait any longer
		if p.Kind != Card {
			return t.exec(`UPDATE posts SET state = 'sent', ts = $1, retry = 0, cause = '' WHERE first = $2`, ts, p.First)
		}
		c, err := t.load(p.Case)
		if err != nil {
			return err
		}
		if c.CardTS != "" {
			return nil
		}
		return t.shown(&c, ts)
	})
}

// shown records the card's ts, by an entry.
func (t *txn) shown(c *Case, ts string) error {
	if err := t.record(c, Draft{Shown, Facts{TS: ts, Channel: c.Channel}}); err != nil {
		return err
	}
	c.CardTS = ts
	if err := t.exec(`UPDATE cases SET card_ts = $1 WHERE number = $2`, ts, c.Number); err != nil {
		return err
	}
	t.works[Posts] = true
	var stale int // whether what it shows has changed since it was sent
	if err := t.row(`SELECT count(*) FROM posts p JOIN cases c ON c.number = p.case_
		WHERE p.case_ = $1 AND p.kind = 'card' AND (p.last < c.drawn OR p.state = 'undeliverable')`, c.Number).Scan(&stale); err != nil {
		return err
	}
	if err := t.exec(`UPDATE posts SET state = 'sent', ts = $1, seen = last, retry = 0, cause = ''
		WHERE case_ = $2 AND kind = 'card'`, ts, c.Number); err != nil || stale == 0 {
		return err
	}
	return t.redraw(c.Number, t.now)
}

// NotSent records that the post is certainly not in Slack and may be tried again at retry.
func (j *Journal) NotSent(ctx context.Context, p Post, retry time.Time, cause string) error {
	return j.postState(ctx, p, PostWaiting, retry, cause)
}

// Doubt records that the post may be in Slack; from retry on it is worth while to look.
func (j *Journal) Doubt(ctx context.Context, p Post, retry time.Time, cause string) error {
	return j.postState(ctx, p, PostDoubt, retry, cause)
}

// Undeliverable records that Slack refuses the post for good. A card that cannot be shown
// takes its case with it: a room may only be closed where it is on record, so a case that
// still could is cancelled.
func (j *Journal) Undeliverable(ctx context.Context, p Post, why, detail string) (Case, error) {
	return write(ctx, j, func(t *txn) (Case, error) {
		if p.Kind == Checkpoints {
			return Case{}, t.exec(`UPDATE posts SET state = 'undeliverable', retry = 0, cause = $1 WHERE first = $2 AND `+unsettled, detail, p.First)
		}
		c, err := t.load(p.Case)
		if err != nil {
			return Case{}, err
		}
		err = t.undeliverable(&c, p, why, detail)
		return c, err
	})
}

func (t *txn) undeliverable(c *Case, p Post, why, detail string) error {
	if p.Kind == Card && c.CardTS != "" {
		return nil // it is there after all: a click has told
	}
	t.works[Posts] = true
	n, err := t.change(`UPDATE posts SET state = 'undeliverable', retry = 0, cause = $1 WHERE first = $2 AND `+unsettled, detail, p.First)
	if err != nil || n == 0 || p.Kind != Card {
		return err
	}
	if c.State == StatePending {
		if err := t.record(c, Draft{Cancelled, Facts{Why: why, Detail: detail}}); err != nil {
			return err
		}
	}
	last := c.Entries[len(c.Entries)-1].Number
	if err := t.exec(`UPDATE posts SET last = $1 WHERE first = $2`, last, p.First); err != nil {
		return err
	}
	return t.exec(`UPDATE cases SET posted = $1 WHERE number = $2`, last, c.Number)
}

func (j *Journal) postState(ctx context.Context, p Post, s PostState, retry time.Time, cause string) error {
	return j.change(ctx, func(t *txn) error { return t.unsent(p, s, retry, cause) })
}

// unsent records that the post is waiting or in doubt, if nothing better is known of it.
func (t *txn) unsent(p Post, s PostState, retry time.Time, cause string) error {
	t.works[Posts] = true
	return t.exec(`UPDATE posts SET state = $1, retry = $2, cause = $3 WHERE first = $4 AND `+unsettled,
		string(s), int64(MicrosOf(retry)), cause, p.First)
}

// NextEdit returns a case whose card no longer shows its last word, the one that waits
// longest, or when the next card must be drawn again (the zero time: none must).
func (j *Journal) NextEdit(ctx context.Context) (c Case, card Post, ok bool, again time.Time, err error) {
	now := j.now().UnixMicro()
	card, err = scanPost(j.row(ctx, selectPost+` WHERE redraw > 0 AND redraw <= $1 ORDER BY redraw LIMIT 1`, now))
	if errors.Is(err, sql.ErrNoRows) {
		var redraw *int64
		err = j.row(ctx, `SELECT min(redraw) FROM posts WHERE redraw > 0 AND redraw > $1`, now).Scan(&redraw)
		if err == nil && redraw != nil {
			again = time.UnixMicro(*redraw)
		}
		if err != nil {
			err = fmt.Errorf("looking for the next card to draw: %w", err)
		}
		return Case{}, Post{}, false, again, err
	}
	if err != nil {
		return Case{}, Post{}, false, time.Time{}, fmt.Errorf("looking for a card to draw: %w", err)
	}
	c, err = j.Case(ctx, card.Case)
	return c, card, err == nil, time.Time{}, err
}

// Edited records that the card shows the case up to entry seen and is to be drawn again
// at redraw even if nothing happens (the zero time: it is not). If something has happened
// since card was read, it stays due.
func (j *Journal) Edited(ctx context.Context, card Post, seen int64, redraw time.Time) error {
	return j.change(ctx, func(t *txn) error {
		t.works[Edits] = true
		if err := t.exec(`UPDATE posts SET seen = $1 WHERE first = $2`, seen, card.First); err != nil {
			return err
		}
		return t.exec(`UPDATE posts SET redraw = $1 WHERE first = $2 AND changes = $3`,
			int64(MicrosOf(redraw)), card.First, card.changes)
	})
}

// redraw makes the case's card due to be drawn again at the given time, if it is in Slack.
func (t *txn) redraw(number int64, at time.Time) error {
	t.works[Edits] = true
	return t.exec(`UPDATE posts SET changes = changes + 1, redraw = CASE WHEN redraw > 0 AND redraw <= $1 THEN redraw ELSE $1 END
		WHERE case_ = $2 AND kind = 'card' AND state = 'sent'`, at.UnixMicro(), number)
}
