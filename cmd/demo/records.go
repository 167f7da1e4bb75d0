package main

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

	_ "modernc.org/sqlite" // the driver; the journal's file is read as anybody with the file could
)

// record is what the journal's file holds.
type record struct {
	entries []journal.Entry
	states  map[int64]journal.State // by case
	posts   []journal.Post
}

// readRecord reads a journal's file and writes nothing.
func readRecord(path string) (record, error) {
	db, err := openJournal(path, "ro")
	if err != nil {
		return record{}, fmt.Errorf("opening the journal: %w", err)
	}
	defer db.Close()
	r := record{states: make(map[int64]journal.State)}
	err = each(db, `SELECT number, case_, kind, time, body, prev, hash FROM entries ORDER BY number`, func(scan func(...any) error) error {
		var e journal.Entry
		var micros int64
		if err := scan(&e.Number, &e.Case, &e.Kind, &micros, &e.Body, &e.Prev, &e.Hash); err != nil {
			return err
		}
		e.Time = time.UnixMicro(micros)
		r.entries = append(r.entries, e)
		return json.Unmarshal([]byte(e.Body), &r.entries[len(r.entries)-1].Facts)
	})
	if err != nil {
		return record{}, fmt.Errorf("reading the journal's entries: %w", err)
	}
	err = each(db, `SELECT number, state FROM cases`, func(scan func(...any) error) error {
		var number int64
		var state journal.State
		err := scan(&number, &state)
		r.states[number] = state
		return err
	})
	if err != nil {
		return record{}, fmt.Errorf("reading the journal's cases: %w", err)
	}
	err = each(db, `SELECT first, last, case_, kind, state, channel, ts FROM posts ORDER BY first`, func(scan func(...any) error) error {
		var p journal.Post
		err := scan(&p.First, &p.Last, &p.Case, &p.Kind, &p.State, &p.Channel, &p.TS)
		r.posts = append(r.posts, p)
		return err
	})
	if err != nil {
		return record{}, fmt.Errorf("reading the journal's posts: %w", err)
	}
	return r, nil
}

// openJournal opens the file that must be there; mode is SQLite's, ro or rw.
func openJournal(path, mode string) (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode="+mode)
}

// entry returns entry n, or one with nothing in it if the journal has no such entry.
func (r record) entry(n int64) journal.Entry {
	if n < 0 || n >= int64(len(r.entries)) {
		return journal.Entry{}
	}
	return r.entries[n]
}

// each calls f for every row of a query.
func each(db *sql.DB, query string, f func(scan func(...any) error) error) error {
	rows, err := db.Query(query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// check is one thing that must be true, and what speaks against it.
type check struct {
	claim    string
	problems []string
}

func (c *check) object(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// compareRecords prints what the journal, ZEGO and Slack each say about every case, and
// returns an error unless they say the same, and the same as the scenes.
func (p *player) compareRecords() error {
	r, err := readRecord(p.journalFile())
	if err != nil {
		return err
	}
	p.page.heading("What the records say", "The bot has ended. The journal is read from its file, ZEGO's side and Slack's side from the simulators.")

	calls := callsOf(r, p.zego.Calls())
	checks := []check{p.checkCases(r, calls), checkChain(r), checkCalls(r, calls), p.checkPosts(r), p.checkRefusals(r), p.checkRules()}
	wrong := 0
	for _, c := range checks {
		if len(c.problems) == 0 {
			p.page.print(green, "  ✓ ", "    ", c.claim)
			continue
		}
		wrong++
		p.page.print(red, "  ✗ ", "    ", c.claim)
		for _, problem := range c.problems {
			p.page.print(red, "      ", "      ", problem)
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d statements about the records do not hold; they are marked ✗ above", wrong, len(checks))
	}
	return nil
}

// attempt is one CloseRoom: what the journal says about it, and the call that ZEGO got.
type attempt struct {
	entry     journal.Entry
	requested journal.Facts // of the case
	call      zegosim.Call
}

// ledger pairs the attempts in the journal with the calls at ZEGO. Whatever finds no
// partner is left over on one side.
type ledger struct {
	attempts []attempt
	unmade   []journal.Entry // attempts that ZEGO never saw
	unknown  []zegosim.Call  // calls that the journal does not know
}

// callsOf pairs by room and order: for one room the journal has no two attempts at a time.
func callsOf(r record, calls []zegosim.Call) ledger {
	var l ledger
	requested := make(map[int64]journal.Facts)
	rest := slices.DeleteFunc(slices.Clone(calls), func(c zegosim.Call) bool { return c.Action != "CloseRoom" })
	for _, e := range r.entries {
		switch e.Kind {
		case journal.Requested:
			requested[e.Case] = e.Facts
		case journal.Attempted:
			i := slices.IndexFunc(rest, func(c zegosim.Call) bool { return c.RoomID == requested[e.Case].Room })
			if i < 0 {
				l.unmade = append(l.unmade, e)
				continue
			}
			l.attempts = append(l.attempts, attempt{e, requested[e.Case], rest[i]})
			rest = slices.Delete(rest, i, i+1)
		}
	}
	l.unknown = rest
	return l
}

// count counts the calls made for a case, and those that ZEGO carried out.
func (l ledger) count(number int64) (made, executed int) {
	for _, a := range l.attempts {
		if a.entry.Case == number {
			made++
			if a.call.Executed {
				executed++
			}
		}
	}
	return made, executed
}

// checkCases prints a line for each case and compares what the three sides say of it.
func (p *player) checkCases(r record, l ledger) check {
	k := check{claim: fmt.Sprintf("Journal, ZEGO and Slack agree about each of the %d cases, and none closed a room twice. (Where it is not known, either may be true.)", len(p.cases))}
	const row = "  %-5s %-12s %-26s %-12s %-17s %s\n"
	fmt.Fprintf(p.page.w, row, "case", "room", "the card in Slack", "journal", "ZEGO carried out", "verdict")
	for _, c := range p.cases {
		state := r.states[c.number]
		made, executed := l.count(c.number)
		onCard, _ := words(c.state)
		before := len(k.problems)
		if state != c.state {
			k.object("#%d: the scene ended with %q, the journal says %q", c.number, c.state, state)
		}
		if executed != c.executed {
			k.object("#%d: ZEGO carried out %d of its calls, it should have been %d", c.number, executed, c.executed)
		}
		if made > 1 || state == journal.StateClosed && executed != 1 {
			k.object("#%d: %s after %d calls, of which ZEGO carried out %d", c.number, state, made, executed)
		}
		if !strings.Contains(p.read(c), onCard) {
			k.object("#%d: the card does not say %q but %q", c.number, onCard, p.read(c))
		}
		verdict := "✓ agree"
		if len(k.problems) > before {
			verdict = "✗ differ"
		}
		fmt.Fprintf(p.page.w, row, fmt.Sprintf("#%d", c.number), c.room, onCard, state, calls(executed, made), verdict)
	}
	fmt.Fprintln(p.page.w)
	if len(r.states) != len(p.cases) {
		k.object("the journal has %d cases", len(r.states))
	}
	return k
}

func calls(executed, made int) string {
	switch made {
	case 0:
		return "no call"
	case 1:
		return fmt.Sprintf("%d of 1 call", executed)
	default:
		return fmt.Sprintf("%d of %d calls", executed, made)
	}
}

// checkChain follows the journal's hashes.
func checkChain(r record) check {
	k := check{claim: fmt.Sprintf("The journal's %d entries have no gap, and each bears the right hash of itself and of the one before.", len(r.entries))}
	prev := ""
	for i, e := range r.entries {
		if e.Number != int64(i) {
			k.object("entry %d stands where %d belongs", e.Number, i)
		}
		if err := e.Check(prev); err != nil {
			k.object("%v", err)
		}
		prev = e.Hash
	}
	return k
}

// checkCalls compares each CloseRoom that ZEGO got with the case it was made for.
func checkCalls(r record, l ledger) check {
	k := check{claim: fmt.Sprintf("ZEGO got %d CloseRoom calls: each was in the journal before it left, with the room and the reason that were asked for.", len(l.attempts)+len(l.unknown))}
	for _, e := range l.unmade {
		k.object("entry %d says that #%d called; ZEGO got no such call", e.Number, e.Case)
	}
	for _, c := range l.unknown {
		k.object("ZEGO got a call for %q that is not in the journal", c.RoomID)
	}
	for _, a := range l.attempts {
		if a.call.RoomID != a.requested.Room || a.call.Reason != a.requested.Sends {
			k.object("#%d asked for %q with the reason %q, ZEGO got %q and %q", a.entry.Case, a.requested.Room, a.requested.Sends, a.call.RoomID, a.call.Reason)
		}
		if a.entry.Time.After(a.call.Time) {
			k.object("#%d: its call reached ZEGO %v before entry %d announced it", a.entry.Case, a.entry.Time.Sub(a.call.Time), a.entry.Number)
		}
	}
	return k
}

// checkPosts looks up each of the journal's posts in Slack, and the other way round.
func (p *player) checkPosts(r record) check {
	inSlack := make(map[string]slacksim.Message)
	for _, ch := range p.slack.Channels() {
		for _, m := range p.slack.Messages(ch.ID) {
			inSlack[m.Channel+" "+m.TS] = m
			for _, reply := range p.slack.Thread(ch.ID, m.TS) {
				inSlack[reply.Channel+" "+reply.TS] = reply
			}
		}
	}
	k := check{claim: fmt.Sprintf("Slack shows %d messages of the bot: each names the journal's entries it tells about, by number and hash, and nothing is told twice or missing.", len(inSlack))}
	told := make(map[int64]bool)
	for _, post := range r.posts {
		m, ok := inSlack[post.Channel+" "+post.TS]
		delete(inSlack, post.Channel+" "+post.TS)
		if post.State != journal.PostSent || !ok {
			k.object("the %s of #%d for the entries %d to %d is %s and not to be found in Slack", post.Kind, post.Case, post.First, post.Last, post.State)
			continue
		}
		s, ok := shownBy(m)
		want := shown{r.entry(0).Facts.Journal, post.Case, post.Kind, post.First, post.Last, r.entry(post.Last).Hash}
		if !ok || s != want {
			k.object("a message of #%d says that it shows %+v, the journal says %+v", post.Case, s, want)
		}
		for n := post.First; n <= post.Last; n++ {
			if r.entry(n).Case == post.Case {
				told[n] = true
			}
		}
	}
	for _, m := range inSlack {
		k.object("Slack shows a message that the journal does not know: %q", p.slack.Render(m, alice))
	}
	for _, e := range r.entries {
		// That the card is in Slack is told by the card itself.
		if e.Case != 0 && e.Kind != journal.Shown && !told[e.Number] {
			k.object("entry %d of #%d (%s) is not told in Slack", e.Number, e.Case, e.Kind)
		}
	}
	return k
}

// checkRefusals compares who was refused with who is recorded as refused.
func (p *player) checkRefusals(r record) check {
	k := check{claim: fmt.Sprintf("The journal has the %d refusals that were seen, of the same people for the same cases.", len(p.refusals))}
	var recorded []refusal
	for _, e := range r.entries {
		if e.Kind == journal.Refused {
			recorded = append(recorded, refusal{e.Facts.By, e.Facts.About})
		}
	}
	if !slices.Equal(recorded, p.refusals) {
		k.object("seen: %v; recorded: %v", p.refusals, recorded)
	}
	return k
}

// checkRules asks both simulators what the bot did that a well-made client does not do.
func (p *player) checkRules() check {
	k := check{claim: "Neither Slack nor ZEGO saw the bot break a rule of theirs (the killed process aside, which left Slack without a good-bye)."}
	for _, v := range p.slack.Violations(slacksim.Vanished) {
		k.object("Slack: %s", v)
	}
	if n := p.slack.CountViolations(slacksim.Vanished); n > p.kills*connections {
		k.object("Slack: %d connections vanished, but killing the bot explains only %d", n, p.kills*connections)
	}
	for _, v := range p.zego.Violations() {
		k.object("ZEGO: %s", v)
	}
	return k
}
