package bot_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"zegoclose/internal/journal"
	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What follows compares the three records of what happened, after the dust has settled: the
// journal, Slack's channel and ZEGO's list of what took effect. It knows the file's tables
// and nothing of the bot's code, and works for any story in which every request has a
// reason of its own, by which ZEGO's side can be told apart.

// record is the journal as its file has it.
type record struct {
	entries []journal.Entry
	cases   []caseRow
	posts   []postRow
	head    struct {
		id, hash       string
		entry, lastOne int64
	}
}

type caseRow struct {
	number                     int64
	state                      journal.State
	room, token, cardTS        string
	due, ended, told, drawn    int64
	again                      int64
	story                      []journal.Entry // its entries
	reason                     string
	attempts, looked           int
	unclear, answered0, lately bool
}

type postRow struct {
	first, last, number  int64
	kind, state, channel string
	ts                   string
	seen, redraw         int64
}

// readRecord reads the journal's file as anybody could.
func (h *house) readRecord() record {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: h.db}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(5000)")
	require.NoError(h.t, err)
	defer db.Close()
	tx, err := db.Begin()
	require.NoError(h.t, err)
	defer tx.Rollback()
	var r record
	require.NoError(h.t, tx.QueryRow(`SELECT journal, entry, hash, last_case FROM head`).Scan(&r.head.id, &r.head.entry, &r.head.hash, &r.head.lastOne))
	each := func(query string, scan func(*sql.Rows) error) {
		h.t.Helper()
		rows, err := tx.Query(query)
		require.NoError(h.t, err)
		defer rows.Close()
		for rows.Next() {
			require.NoError(h.t, scan(rows))
		}
		require.NoError(h.t, rows.Err())
	}
	stories := make(map[int64][]journal.Entry)
	each(`SELECT number, case_, kind, time, body, prev, hash FROM entries ORDER BY number`, func(rows *sql.Rows) error {
		var e journal.Entry
		var micros int64
		if err := rows.Scan(&e.Number, &e.Case, &e.Kind, &micros, &e.Body, &e.Prev, &e.Hash); err != nil {
			return err
		}
		e.Time = time.UnixMicro(micros).UTC()
		if err := json.Unmarshal([]byte(e.Body), &e.Facts); err != nil {
			return err
		}
		r.entries = append(r.entries, e)
		stories[e.Case] = append(stories[e.Case], e)
		return nil
	})
	each(`SELECT number, state, room, token, card_ts, due, ended, told, drawn, again FROM cases ORDER BY number`, func(rows *sql.Rows) error {
		var c caseRow
		err := rows.Scan(&c.number, &c.state, &c.room, &c.token, &c.cardTS, &c.due, &c.ended, &c.told, &c.drawn, &c.again)
		c.story = stories[c.number]
		r.cases = append(r.cases, c)
		return err
	})
	each(`SELECT first, last, case_, kind, state, channel, ts, seen, redraw FROM posts ORDER BY first`, func(rows *sql.Rows) error {
		var p postRow
		err := rows.Scan(&p.first, &p.last, &p.number, &p.kind, &p.state, &p.channel, &p.ts, &p.seen, &p.redraw)
		r.posts = append(r.posts, p)
		return err
	})
	return r
}

// settles waits until nothing is left to do but what waits for a time to come.
func (h *house) settles() {
	h.t.Helper()
	h.eventually("everything is done and told", func() bool { return h.waiting() == 0 })
}

// waiting is how many cases are open, plus how many posts and drawings of cards are due, now
// or soon.
func (h *house) waiting() int {
	h.t.Helper()
	return h.count(`SELECT (SELECT count(*) FROM cases WHERE ended = 0)
		+ (SELECT count(*) FROM cases WHERE told > posted)
		+ (SELECT count(*) FROM posts WHERE state IN ('waiting', 'sending', 'doubt'))
		+ (SELECT count(*) FROM posts WHERE redraw > 0 AND redraw <= $1)`, time.Now().Add(5*time.Second).UnixMicro())
}

// tellsTheTruth checks everything that must hold of the records once it is quiet.
func (h *house) tellsTheTruth() {
	h.t.Helper()
	r := h.readRecord()
	var lies []string
	lie := func(format string, args ...any) { lies = append(lies, fmt.Sprintf(format, args...)) }
	r.checkChain(lie)
	for i := range r.cases {
		r.cases[i].checkStory(lie)
	}
	r.checkZego(h.zego, lie)
	r.checkSlack(h, lie)
	if !assert.Empty(h.t, lies, "the records disagree") {
		h.t.Logf("entries:\n%s\nposts: %+v\nchannel:\n%s", r.String(), r.posts, h.transcript())
	}
}

func (r record) String() string {
	var b strings.Builder
	for _, e := range r.entries {
		fmt.Fprintf(&b, "%4d  #%d %-10s %s %s\n", e.Number, e.Case, e.Kind, e.Time.Format("15:04:05.000"), e.Body)
	}
	return b.String()
}

// checkChain: gapless numbers, unbroken hashes, times that never run back, a head that fits.
func (r record) checkChain(lie func(string, ...any)) {
	prev := journal.Entry{Number: -1}
	for _, e := range r.entries {
		if e.Number != prev.Number+1 {
			lie("entry %d follows entry %d", e.Number, prev.Number)
		}
		if err := e.Check(prev.Hash); err != nil {
			lie("%v", err)
		}
		if e.Time.Before(prev.Time) {
			lie("entry %d is older than the one before it", e.Number)
		}
		prev = e
	}
	if r.head.entry != prev.Number || r.head.hash != prev.Hash {
		lie("the head names entry %d, the last is %d", r.head.entry, prev.Number)
	}
	for i, c := range r.cases {
		if c.number != int64(i+1) {
			lie("case #%d stands where #%d should", c.number, i+1)
		}
	}
	if int(r.head.lastOne) != len(r.cases) {
		lie("the head names case #%d as the last, there are %d", r.head.lastOne, len(r.cases))
	}
}

// checkStory: what may follow what, for one case.
func (c *caseRow) checkStory(lie func(string, ...any)) {
	var confirmBy, closeBy time.Time
	var shown, confirmed bool
	for _, e := range c.story {
		f := e.Facts
		switch e.Kind {
		case journal.Requested:
			c.reason = f.Reason
		case journal.Offered:
			confirmBy = f.Until.Time()
		case journal.Shown:
			if shown {
				lie("#%d: its card was shown twice", c.number)
			}
			shown = true
		case journal.Confirmed:
			if !shown || confirmed || !e.Time.Before(confirmBy) {
				lie("#%d: confirmed before it was shown, twice, or too late (entry %d)", c.number, e.Number)
			}
			confirmed, closeBy = true, f.Until.Time()
		case journal.Attempted:
			if c.attempts++; !confirmed || c.unclear || !e.Time.Before(closeBy) {
				lie("#%d: attempted unconfirmed, too late, or after a call without a clear answer (entry %d)", c.number, e.Number)
			}
		case journal.Answered:
			c.unclear = c.unclear || f.Effect == "unknown"
			c.lately = c.lately || f.Late
			c.answered0 = c.answered0 || f.Code != nil && *f.Code == 0
		case journal.Looked:
			c.looked++
		}
	}
	switch {
	case c.state.Open() || c.ended == 0 || c.due != 0:
		lie("#%d is still %s", c.number, c.state)
	case (c.state == journal.StateClosed) != c.answered0:
		lie("#%d is %s, and that ZEGO answered code 0 is %t", c.number, c.state, c.answered0)
	case c.state == journal.StateUnknown && c.looked != 2:
		lie("#%d is unknown after %d looks", c.number, c.looked)
	}
}

// checkZego: one effect for each closed case, none or one for an unknown one, none for any
// other; never more calls than the journal has attempts; no room closed again for somebody
// who had asked before it was closed.
func (r record) checkZego(z *zegosim.Server, lie func(string, ...any)) {
	type sums struct{ effects, calls, attempts, closed, unknown, cases int }
	by := make(map[string]*sums)
	of := func(reason string) *sums {
		if by[reason] == nil {
			by[reason] = new(sums)
		}
		return by[reason]
	}
	for _, c := range r.cases {
		s := of(c.reason)
		s.cases++
		s.attempts += c.attempts
		switch c.state {
		case journal.StateClosed:
			s.closed++
		case journal.StateUnknown:
			s.unknown++
		}
	}
	for _, c := range z.Calls() {
		if c.Action == "CloseRoom" {
			of(c.Reason).calls++
		}
	}
	for _, e := range z.Executions() {
		of(e.Reason).effects++
	}
	for reason, s := range by {
		if s.effects < s.closed || s.effects > s.closed+s.unknown || s.calls > s.attempts {
			lie("%q: %d effects, %d calls, but %d attempts, %d closed and %d unknown in %d cases",
				reason, s.effects, s.calls, s.attempts, s.closed, s.unknown, s.cases)
		}
	}
	// Of two cases that had an effect on one room, the later was asked for after the earlier had ended.
	ended := make(map[string]int64) // by room: when the last case with an effect ended
	for _, e := range z.Executions() {
		i := slices.IndexFunc(r.cases, func(c caseRow) bool {
			return c.reason == e.Reason && (c.state == journal.StateClosed || c.state == journal.StateUnknown)
		})
		if i < 0 || by[e.Reason].cases > 1 {
			continue // lied about already, or cannot be told apart
		}
		c := r.cases[i]
		if before, ok := ended[e.RoomID]; ok && c.story[0].Number < before {
			lie("#%d closed %q again, though it was asked for before the last case of the room had ended", c.number, e.RoomID)
		}
		ended[e.RoomID] = c.ended
	}
}

// endings are the words of a card and of the last reply for each end.
var endings = map[journal.State][2]string{
	journal.StateClosed:    {"Closed ", "Closed by ZEGO"},
	journal.StateAbsent:    {"Nothing closed", "Nothing closed"},
	journal.StateFailed:    {"Not closed", "Not closed"},
	journal.StateUnknown:   {"Not known whether", "Not known"},
	journal.StateCancelled: {"Cancelled", "Cancelled"},
	journal.StateExpired:   {"Expired", "Expired"},
}

// checkSlack: every entry that must be told is shown by exactly one post, every post of the
// journal is one message in its place and the other way round, and the cards say how their
// cases ended.
func (r record) checkSlack(h *house, lie func(string, ...any)) {
	type mark struct {
		first int64
		kind  string
	}
	messages := make(map[mark][]slacksim.Message)
	note := func(m slacksim.Message) {
		var meta struct {
			Type    string `json:"event_type"`
			Payload struct {
				Journal, Kind, Hash string
				First, Last, Case   int64
			} `json:"event_payload"`
		}
		if m.User != h.slack.BotUser() || json.Unmarshal(m.Metadata, &meta) != nil || meta.Type != "zegoclose_post" {
			if !m.Deleted {
				lie("the channel shows a message that is no post of the journal: %s", h.slack.Render(m, h.alice))
			}
			return
		}
		p := meta.Payload
		if p.Journal != r.head.id || p.Last >= int64(len(r.entries)) || r.entries[p.Last].Hash != p.Hash {
			lie("a message witnesses entry %d of another journal", p.Last)
		}
		messages[mark{p.First, p.Kind}] = append(messages[mark{p.First, p.Kind}], m)
	}
	for _, ch := range h.slack.Channels() {
		if ch.Kind == slacksim.IM {
			continue
		}
		for _, m := range h.slack.Messages(ch.ID) {
			note(m)
			for _, reply := range h.slack.Thread(ch.ID, m.TS) {
				if reply.TS != m.TS {
					note(reply)
				}
			}
		}
	}

	told := make(map[int64]int) // entry: how many posts show it
	last := make(map[int64]postRow)
	for _, p := range r.posts {
		if p.number == 0 { // a checkpoint
			if n := len(messages[mark{p.first, p.kind}]); n != 1 || p.state != "sent" {
				lie("the %s of entry %d is %s, in %d messages", p.kind, p.first, p.state, n)
			}
			delete(messages, mark{p.first, p.kind})
			continue
		}
		c := &r.cases[p.number-1]
		for _, e := range c.story {
			if p.first <= e.Number && e.Number <= p.last {
				told[e.Number]++
			}
		}
		last[p.number] = p
		found := messages[mark{p.first, p.kind}]
		delete(messages, mark{p.first, p.kind})
		switch {
		case p.state == "undeliverable" && len(found) == 0:
			continue
		case p.state != "sent":
			lie("#%d: the %s from entry %d is %s", p.number, p.kind, p.first, p.state)
			continue
		case len(found) != 1:
			var at []string
			for _, m := range found {
				at = append(at, m.At.UTC().Format("15:04:05.000"))
			}
			lie("#%d: the %s from entry %d is %d messages, of %s", p.number, p.kind, p.first, len(found), strings.Join(at, ", "))
			continue
		}
		m := found[0]
		if m.TS != p.ts {
			lie("#%d: the %s from entry %d is %s, the journal says %s", p.number, p.kind, p.first, m.TS, p.ts)
		}
		if p.kind == "reply" && m.ThreadTS != c.cardTS {
			lie("#%d: a reply is not in the thread of its card", p.number)
		}
		if p.kind == "card" {
			if text := h.slack.Render(m, h.alice); !strings.Contains(text, endings[c.state][0]) || !strings.Contains(text, fmt.Sprintf("#%d ", p.number)) {
				lie("#%d is %s, its card says: %s", p.number, c.state, text)
			}
			for _, b := range h.slack.Buttons(m.Channel, m.TS) {
				if b.ActionID != tryAgain || c.state != journal.StateUnknown {
					lie("#%d is %s, its card still has a button [ %s ]", p.number, c.state, b.Text)
				}
			}
			for _, x := range h.zego.Executions() {
				if x.Reason == c.reason && x.Time.Before(m.At.Add(-time.Second)) && c.story[0].Facts.AgainOf == 0 {
					lie("#%d: the room was closed before the card was in Slack", p.number)
				}
			}
		}
	}
	for mk, ms := range messages {
		lie("%d messages show the %s from entry %d, of which the journal knows nothing", len(ms), mk.kind, mk.first)
	}
	for i := range r.cases {
		c := &r.cases[i]
		for _, e := range c.story {
			if e.Number <= c.told && told[e.Number] != 1 {
				lie("#%d: entry %d (%s) is shown by %d posts", c.number, e.Number, e.Kind, told[e.Number])
			}
		}
		p, ok := last[c.number]
		if ok && p.kind == "reply" && p.state == "sent" {
			if m, _ := h.slack.Message(p.channel, p.ts); !strings.Contains(h.slack.Render(m, h.alice), endings[c.state][1]) {
				lie("#%d is %s, the last reply says: %s", c.number, c.state, h.slack.Render(m, h.alice))
			}
		}
	}
}
