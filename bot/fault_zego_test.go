package bot_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"zegoclose/internal/journal"
	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"
	"zegoclose/zego"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// in lets the house report to another test until that ends, such as one cell of a table that
// shares the house.
func (h *house) in(t testing.TB) *house {
	outer := h.t
	h.t = t
	t.Cleanup(func() { h.t = outer })
	return h
}

// busyCases counts what the journal still has to do by itself, offers to press Try again aside.
const busyCases = `SELECT
	(SELECT count(*) FROM cases WHERE state IN ('confirmed', 'closing') OR told > posted) +
	(SELECT count(*) FROM posts WHERE state IN ('waiting', 'sending', 'doubt')) +
	(SELECT count(*) FROM posts WHERE state = 'sent' AND redraw > 0 AND redraw <= $1)`

// quiet waits until nothing is left to do.
func (h *house) quiet() {
	h.t.Helper()
	h.eventually("nothing is left to do", func() bool { return h.count(busyCases, time.Now().UnixMicro()) == 0 })
}

// told is what the journal says of one case, as anybody can read it there.
type told struct {
	number   int
	state    journal.State
	room     string
	attempts int
	answers  []journal.Facts
	looks    []journal.Facts
}

func (h *house) cases() []told {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: h.db}).EscapedPath()+"?mode=ro")
	require.NoError(h.t, err)
	defer db.Close()
	rows, err := db.Query(`SELECT c.number, c.state, c.room, e.kind, e.body FROM cases c JOIN entries e ON e.case_ = c.number ORDER BY e.number`)
	require.NoError(h.t, err)
	defer rows.Close()
	var cases []told
	at := make(map[int]int)
	for rows.Next() {
		var c told
		var kind journal.Kind
		var body string
		require.NoError(h.t, rows.Scan(&c.number, &c.state, &c.room, &kind, &body))
		i, known := at[c.number]
		if !known {
			i = len(cases)
			at[c.number] = i
			cases = append(cases, c)
		}
		var f journal.Facts
		require.NoError(h.t, json.Unmarshal([]byte(body), &f))
		switch kind {
		case journal.Attempted:
			cases[i].attempts++
		case journal.Answered:
			cases[i].answers = append(cases[i].answers, f)
		case journal.Looked:
			cases[i].looks = append(cases[i].looks, f)
		}
	}
	require.NoError(h.t, rows.Err())
	return cases
}

// honest compares the record with what ZEGO and Slack have, once all is quiet: every effect
// is on record and no other is, no call left without a claim, and each post that the journal
// calls sent is in Slack exactly once.
func (h *house) honest() {
	h.t.Helper()
	h.quiet()
	h.honestAboutZego()
	h.honestAboutSlack()
}

func (h *house) honestAboutZego() {
	h.t.Helper()
	type count struct{ attempts, closed, unknown int }
	record := make(map[string]*count)
	answered := make(map[string]journal.Facts) // by ZEGO's id of the call
	for _, c := range h.cases() {
		n := record[c.room]
		if n == nil {
			n = &count{}
			record[c.room] = n
		}
		n.attempts += c.attempts
		switch c.state {
		case journal.StateClosed:
			n.closed++
		case journal.StateUnknown:
			n.unknown++
		}
		for _, a := range c.answers {
			if a.RequestID != "" {
				answered[a.RequestID] = a
			}
		}
	}
	calls, executed := make(map[string]int), make(map[string]int)
	for _, c := range h.zego.Calls() {
		if c.Action != "CloseRoom" {
			continue
		}
		calls[c.RoomID]++
		if c.Executed {
			executed[c.RoomID]++
		}
		if a, ok := answered[c.RequestID]; ok {
			require.NotNil(h.t, a.Code)
			assert.Equal(h.t, c.Code, *a.Code, "the code on record for call %d (room %q)", c.N, c.RoomID)
		}
	}
	for room, n := range calls {
		require.NotNil(h.t, record[room], "ZEGO was called for the room %q, which no case names", room)
		assert.LessOrEqual(h.t, n, record[room].attempts, "calls for the room %q, and claims on record", room)
	}
	for room, n := range record {
		assert.GreaterOrEqual(h.t, executed[room], n.closed, "room %q: closings on record that took place", room)
		assert.LessOrEqual(h.t, executed[room], n.closed+n.unknown, "room %q: closings that are on record", room)
	}
}

func (h *house) honestAboutSlack() {
	h.t.Helper()
	seen := make(map[string]int) // ts of every message with our metadata, by the entries it shows
	show := func(m slacksim.Message) {
		var meta struct {
			Payload struct{ First, Last int64 } `json:"event_payload"`
		}
		if m.Deleted || len(m.Metadata) == 0 || json.Unmarshal(m.Metadata, &meta) != nil {
			return
		}
		seen[fmt.Sprintf("%s %s %d-%d", m.Channel, m.TS, meta.Payload.First, meta.Payload.Last)]++
	}
	for _, ch := range h.slack.Channels() {
		for _, m := range h.slack.Messages(ch.ID) {
			show(m)
			for _, r := range h.slack.Thread(ch.ID, m.TS) {
				if r.TS != m.TS {
					show(r)
				}
			}
		}
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: h.db}).EscapedPath()+"?mode=ro")
	require.NoError(h.t, err)
	defer db.Close()
	rows, err := db.Query(`SELECT channel, ts, first, last FROM posts WHERE state = 'sent'`)
	require.NoError(h.t, err)
	defer rows.Close()
	recorded := make(map[string]int)
	for rows.Next() {
		var channel, ts string
		var first, last int64
		require.NoError(h.t, rows.Scan(&channel, &ts, &first, &last))
		recorded[fmt.Sprintf("%s %s %d-%d", channel, ts, first, last)]++
	}
	assert.Equal(h.t, recorded, seen, "the posts on record, and those in Slack")
}

// closing lets two people into a room, has alice ask for it to be closed, and confirm.
func (h *house) closing(room string) slacksim.Message {
	h.t.Helper()
	h.zego.Login(room, "ann", "ben")
	card := h.asks(h.alice, room)
	h.confirms(h.alice, card)
	return card
}

// closeCalls are the calls of CloseRoom for a room.
func (h *house) closeCalls(room string) []zegosim.Call {
	var calls []zegosim.Call
	for _, c := range h.zego.Calls() {
		if c.Action == "CloseRoom" && c.RoomID == room {
			calls = append(calls, c)
		}
	}
	return calls
}

// caseOf is what the journal says of the latest case of a room.
func (h *house) caseOf(room string) told {
	h.t.Helper()
	var latest told
	for _, c := range h.cases() {
		if c.room == room {
			latest = c
		}
	}
	require.NotZero(h.t, latest.number, "a case of the room %q", room)
	return latest
}

// zegoCell is one way for a CloseRoom to go wrong, and what must come of it.
type zegoCell struct {
	name   string
	faults []zegosim.Fault // each for this cell's room only
	state  journal.State
	card   string   // part of what the card says at the end
	thread []string // parts of what its thread says
	calls  int      // of CloseRoom; 0 stands for 1
	left   int      // people in the room at the end
	empty  bool     // both leave before the click
}

// try plays one cell in a room of its own.
func (h *house) try(room string, cell zegoCell) {
	h.t.Helper()
	for _, f := range cell.faults {
		f.Action, f.RoomID = "CloseRoom", room
		if f.Count == 0 {
			f.Count = 1
		}
		h.zego.AddFault(f)
	}
	h.zego.Login(room, "ann", "ben")
	card := h.asks(h.alice, room)
	if cell.empty {
		h.zego.Logout(room, "ann", "ben")
	}
	h.confirms(h.alice, card)
	h.shows(card, fmt.Sprintf(cell.card, room))
	for _, words := range cell.thread {
		h.tells(card, words)
	}
	h.honest()
	assert.Equal(h.t, cell.state, h.caseOf(room).state)
	assert.Len(h.t, h.closeCalls(room), max(1, cell.calls), "calls of CloseRoom")
	assert.Equal(h.t, cell.left, h.zego.People(room), "people left in the room")
	if cell.state == journal.StateUnknown {
		assert.Len(h.t, h.caseOf(room).looks, 2, "looks into the room")
	}
}

// playAll plays cells one after the other in a house of their own. Several such houses may
// be played at once: most of the time they wait for their turn to look into a room.
func playAll(t *testing.T, name string, cells []zegoCell, options ...option) {
	t.Run(name, func(t *testing.T) {
		h := openHouse(t, append(options, with("ZEGO_LOOK_AFTER=20ms,60ms"))...)
		for i, cell := range cells {
			t.Run(cell.name, func(t *testing.T) { h.in(t).try(fmt.Sprint("room-", i), cell) })
		}
	})
}

// TestFaultZegoCodes tries every code that ZEGO documents, as an answer to CloseRoom, and
// some that it does not.
func TestFaultZegoCodes(t *testing.T) {
	once := func(code int) []zegosim.Fault { return []zegosim.Fault{{Code: code, Skip: true}} }
	refusal := func(code int) string {
		info := zego.Lookup(code)
		return fmt.Sprintf("ZEGO answered code %d, %s; %s", code, info.Meaning, info.Remedy)
	}
	unclear := func(code int, executed bool) zegoCell {
		cell := zegoCell{name: fmt.Sprint(code, " not executed"), faults: once(code), state: journal.StateUnknown, left: 2,
			card:   "Not known whether %s was closed: " + fmt.Sprintf("ZEGO answered code %d, which does not tell; 2 people are in it now", code),
			thread: []string{"No clear answer from ZEGO", refusal(code), "Seen in the room at ", "press Try again"}}
		if executed {
			cell.name, cell.faults, cell.left = fmt.Sprint(code, " executed"), []zegosim.Fault{{Code: code}}, 0
			cell.card = strings.Replace(cell.card, "2 people are", "nobody is", 1)
		}
		return cell
	}

	// Clear: done, certainly not done, or no such room.
	clear := []zegoCell{{name: "0", state: journal.StateClosed, card: "Closed %s · @alice", thread: []string{"Closed by ZEGO", "1 call.", "Code 0, RequestId"}}}
	for _, code := range []int{2, 3, 8, 9, 100000000, 100000001, 100000002, 100000003, 100000005, 100000006, 100000007, 100000008,
		100000009, 100000010, 100000012, 100000013, 100000014, 100000016, 100000017} {
		clear = append(clear, zegoCell{name: fmt.Sprint(code), faults: once(code), state: journal.StateFailed,
			card: "Not closed: %s, " + refusal(code), thread: []string{"Not closed", refusal(code)}, left: 2})
	}
	for _, code := range []int{104, 5024, 50001} {
		clear = append(clear, zegoCell{name: fmt.Sprint(code), faults: once(code), state: journal.StateAbsent,
			card: "Nothing closed: ZEGO has no room %s (already gone, or mistyped)", thread: []string{"Nothing closed: ZEGO has no such room"}, left: 2})
	}
	clear = append(clear, zegoCell{name: "5018 and nobody in the room", faults: once(5018), empty: true, state: journal.StateAbsent,
		card: "ZEGO has no room %s", thread: []string{"ZEGO has no such room", "nobody"}})
	// Certainly not executed, and worth another call.
	for _, code := range []int{7, 206, 207, 100000004, 100000011} {
		clear = append(clear, zegoCell{name: fmt.Sprint(code, " once"), faults: once(code), state: journal.StateClosed,
			card: "Closed %s", calls: 2, thread: []string{"2 calls", "1 call was certainly not executed", fmt.Sprintf("code %d, ", code)}})
	}
	for _, code := range []int{100000004, 100000011} {
		clear = append(clear, zegoCell{name: fmt.Sprint(code, " always"), faults: []zegosim.Fault{{Code: code, Skip: true, Count: 9}},
			state: journal.StateFailed, card: "Not closed: %s, " + refusal(code), calls: 2, left: 2})
	}

	// Answers that say nothing about the room, with and without execution.
	var unknown, undocumented []zegoCell
	for _, code := range []int{1, 100000015} {
		unknown = append(unknown, unclear(code, true), unclear(code, false))
	}
	for i, code := range []int{105, 121, 122, 123, 124, 138, 151, 154, 1008, 1012, 5201, 5202, 50002, 50003, 50011, 50012, 50013, 50123, 50124} {
		unknown = append(unknown, unclear(code, i%2 == 0))
	}
	unknown = append(unknown, unclear(5018, false))
	for i, code := range []int{-1, 4, 6, 99, 660300001, 100000018, 2147483647} {
		undocumented = append(undocumented, unclear(code, i%2 == 0))
	}

	var houses sync.WaitGroup
	defer houses.Wait()
	for name, cells := range map[string][]zegoCell{"clear": clear, "unclear": unknown, "undocumented": undocumented} {
		houses.Go(func() { playAll(t, name, cells, with("ZEGO_TIMEOUT=5s")) })
	}
}

// TestFaultZegoAnswers tries what can become of an answer on its way: where that leaves room
// for doubt once with the call executed and once without.
func TestFaultZegoAnswers(t *testing.T) {
	const (
		nobody = "Not known whether %s was closed: ZEGO's answer was lost; nobody is in it now"
		people = "Not known whether %s was closed: ZEGO's answer was lost; 2 people are in it now"
		lost   = "No clear answer from ZEGO"
	)
	both := func(name string, f zegosim.Fault, cause string) []zegoCell {
		notDone := f
		notDone.Skip = true
		return []zegoCell{
			{name: name + ", executed", faults: []zegosim.Fault{f}, state: journal.StateUnknown, card: nobody, thread: []string{lost, cause}},
			{name: name + ", not executed", faults: []zegosim.Fault{notDone}, state: journal.StateUnknown, card: people, thread: []string{lost, cause}, left: 2},
		}
	}
	clear := func(name string, state journal.State, card string, left int, f zegosim.Fault, thread ...string) zegoCell {
		return zegoCell{name: name, faults: []zegosim.Fault{f}, state: state, card: card, left: left, thread: thread}
	}

	inTime := []zegoCell{
		clear("answered slowly", journal.StateClosed, "Closed %s", 0, zegosim.Fault{After: 300 * time.Millisecond}, "1 call."),
		clear("executed slowly", journal.StateClosed, "Closed %s", 0, zegosim.Fault{Before: 300 * time.Millisecond}, "1 call."),
		clear("HTML in name only", journal.StateClosed, "Closed %s", 0, zegosim.Fault{ContentType: "text/html"}, "1 call."),
		clear("a number for a RequestId", journal.StateClosed, "Closed %s", 0, zegosim.Fault{NumericRequestID: true}, "1 call."),
		clear("a message with mentions", journal.StateFailed, "Not closed: %s, ZEGO answered code 9", 2, zegosim.Fault{Code: 9, Skip: true, Message: "<!channel> *x*"}),
	}
	inTime = append(inTime, both("reset", zegosim.Fault{Reset: true}, "")...)
	for _, status := range []int{204, 301, 400, 403, 404, 408, 429, 500, 502, 503, 504} {
		inTime = append(inTime, both(fmt.Sprintf("HTTP %d with HTML", status), zegosim.Fault{Status: status}, fmt.Sprintf("HTTP status %d", status))...)
	}
	inTime = append(inTime, both("redirected", zegosim.Fault{Redirect: "https://203.0.113.9/"}, "HTTP status 302")...)
	inTime = append(inTime, both("truncated JSON", zegosim.Fault{Truncate: true}, "")...)
	inTime = append(inTime, both("oversized", zegosim.Fault{Oversize: true}, "longer than 65536 bytes")...)
	for i, body := range []string{
		`{"Message":"success","RequestId":"1"}`, `{"Code":null}`, `{"Code":"0"}`, `{"Code":0.5}`, `{"code":0,"Message":"success"}`,
		`[]`, `null`, `<html>ok</html>`, " ", `{"Code":0}{"Code":1}`, `{"Code":100000000000000000000000000000}`,
	} {
		inTime = append(inTime, both("body "+body, zegosim.Fault{Body: body}, "")[i%2])
	}

	const tooLate = 1500 * time.Millisecond
	late := []zegoCell{
		clear("answered too late", journal.StateClosed, "Closed %s", 0, zegosim.Fault{After: tooLate}, lost, "no answer within 1s", "by a late answer"),
		clear("executed too late", journal.StateClosed, "Closed %s", 0, zegosim.Fault{Before: tooLate}, lost, "by a late answer"),
		clear("refused too late", journal.StateFailed, "Not closed: %s, ZEGO answered code 9", 2, zegosim.Fault{After: tooLate, Code: 9, Skip: true}, lost, "by a late answer"),
		clear("told to slow down too late", journal.StateFailed, "Not closed: %s, ZEGO answered code 206", 2, zegosim.Fault{After: tooLate, Code: 206, Skip: true}, lost, "by a late answer"),
		clear("absent too late", journal.StateAbsent, "ZEGO has no room %s", 2, zegosim.Fault{After: tooLate, Code: 5024, Skip: true}, lost, "by a late answer"),
	}
	late = append(late, both("too late and then reset", zegosim.Fault{After: tooLate, Reset: true}, "no answer within 1s")...)
	late = append(late, both("too late and then code 1", zegosim.Fault{After: tooLate, Code: 1}, "no answer within 1s")...)
	late = append(late, both("never answered", zegosim.Fault{Silent: true}, "no answer within 1s")...)

	var houses sync.WaitGroup
	defer houses.Wait()
	for i, third := range [][]zegoCell{inTime[:len(inTime)/3], inTime[len(inTime)/3 : 2*len(inTime)/3], inTime[2*len(inTime)/3:]} {
		houses.Go(func() { playAll(t, fmt.Sprint("in time ", i+1), third, with("ZEGO_TIMEOUT=5s")) })
	}
	for i, half := range [][]zegoCell{late[:len(late)/2], late[len(late)/2:]} {
		houses.Go(func() { playAll(t, fmt.Sprint("late ", i+1), half, with("ZEGO_TIMEOUT=1s")) })
	}
}
