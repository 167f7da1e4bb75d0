package bot_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
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

// file opens the journal's file as anybody could who may read it.
func (h *house) file() *sql.DB {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: h.db}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(5000)")
	require.NoError(h.t, err)
	return db
}

func (h *house) cases() []told {
	h.t.Helper()
	db := h.file()
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
	db := h.file()
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
	t.Parallel()
	once := func(code int) []zegosim.Fault { return []zegosim.Fault{{Code: code, Skip: true}} }
	refusal := func(code int) string {
		info := zego.Lookup(code)
		return fmt.Sprintf("ZEGO answered code %d, %s; %s", code, info.Meaning, info.Remedy)
	}
	unclear := func(code int, executed bool) zegoCell {
		cell := zegoCell{name: fmt.Sprint(code, " not executed"), faults: once(code), state: journal.StateUnknown, left: 2,
			card:   "Not known whether %s was closed: " + fmt.Sprintf("ZEGO answered code %d, which does not tell; 2 people were in it at ", code),
			thread: []string{"No clear answer from ZEGO", refusal(code), "Seen in the room at ", "press Try again"}}
		if executed {
			cell.name, cell.faults, cell.left = fmt.Sprint(code, " executed"), []zegosim.Fault{{Code: code}}, 0
			cell.card = strings.Replace(cell.card, "2 people were", "nobody was", 1)
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
	t.Parallel()
	const (
		nobody = "Not known whether %s was closed: ZEGO's answer was lost; nobody was in it at "
		people = "Not known whether %s was closed: ZEGO's answer was lost; 2 people were in it at "
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

// callsOfAll are all calls of CloseRoom so far.
func (h *house) callsOfAll() []zegosim.Call {
	var calls []zegosim.Call
	for _, c := range h.zego.Calls() {
		if c.Action == "CloseRoom" {
			calls = append(calls, c)
		}
	}
	return calls
}

// asksAll has alice ask for rooms with two people in each, and returns the cards.
func (h *house) asksAll(rooms ...string) []slacksim.Message {
	h.t.Helper()
	var cards []slacksim.Message
	for _, room := range rooms {
		h.zego.Login(room, "ann", "ben")
		cards = append(cards, h.asks(h.alice, room))
	}
	return cards
}

func TestFaultZegoTooFast(t *testing.T) {
	t.Parallel()
	for _, code := range []int{206, 7} {
		t.Run(fmt.Sprintf("%d for a while: all cases wait, longer each time", code), func(t *testing.T) {
			t.Parallel()
			h := openHouse(t, with("ZEGO_CLOSE_INTERVAL=200ms", "ZEGO_TIMEOUT=5s"))
			cards := h.asksAll("a", "b", "c")
			h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Code: code, Skip: true, Count: 2})
			for _, card := range cards {
				h.confirms(h.alice, card)
			}
			h.shows(cards[0], fmt.Sprintf("Closing a, not done yet: ZEGO answered code %d, too many calls a second", code))
			for i, room := range []string{"a", "b", "c"} {
				h.shows(cards[i], "Closed "+room)
			}
			h.honest()
			calls := h.callsOfAll()
			require.Len(t, calls, 5)
			assert.GreaterOrEqual(t, calls[1].Time.Sub(calls[0].Time), 500*time.Millisecond, "the pause after the first refusal")
			assert.GreaterOrEqual(t, calls[2].Time.Sub(calls[1].Time), time.Second, "the pause after the second")
			for i := 3; i < 5; i++ {
				assert.GreaterOrEqual(t, calls[i].Time.Sub(calls[i-1].Time), 190*time.Millisecond, "and the usual pace again")
			}
		})
	}
	t.Run("207: this case waits, others go on", func(t *testing.T) {
		t.Parallel()
		h := openHouse(t, with("ZEGO_CLOSE_INTERVAL=50ms", "ZEGO_TIMEOUT=5s"))
		cards := h.asksAll("a", "b", "c")
		h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", RoomID: "a", Code: 207, Skip: true, Count: 1})
		for _, card := range cards {
			h.confirms(h.alice, card)
		}
		h.shows(cards[1], "Closed b")
		h.shows(cards[2], "Closed c")
		h.shows(cards[0], "Closed a")
		h.honest()
		var order []string
		for _, c := range h.callsOfAll() {
			order = append(order, c.RoomID)
		}
		assert.Equal(t, []string{"a", "b", "c", "a"}, order)
		calls := h.closeCalls("a")
		assert.GreaterOrEqual(t, calls[1].Time.Sub(calls[0].Time), time.Second)
	})
	for _, code := range []int{206, 207} {
		t.Run(fmt.Sprintf("%d for longer than CLOSE_WITHIN", code), func(t *testing.T) {
			t.Parallel()
			h := openHouse(t, with("CLOSE_WITHIN=3s", "ZEGO_TIMEOUT=5s"))
			h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Code: code, Skip: true})
			card := h.closing("live-42")
			h.shows(card, "Expired: live-42, nothing closed: confirmed, but it could not be attempted in time")
			h.tells(card, "certainly not executed (last: ZEGO answered code "+fmt.Sprint(code))
			h.zego.ClearFaults()
			h.honest()
			assert.Equal(t, journal.StateExpired, h.caseOf("live-42").state)
			assert.Equal(t, 2, h.zego.People("live-42"))
			assert.Equal(t, h.caseOf("live-42").attempts, len(h.closeCalls("live-42")))
		})
	}
}

func TestFaultZegoClock(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{11 * time.Minute, -11 * time.Minute} {
		t.Run(fmt.Sprintf("off by %v for one call", skew), func(t *testing.T) {
			h := openHouse(t, with("ZEGO_TIMEOUT=5s"))
			h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Skew: skew, Count: 1})
			card := h.closing("live-42")
			h.shows(card, "Closed live-42")
			h.tells(card, "2 calls")
			h.honest()
			assert.Len(t, h.zego.Executions(), 1)
		})
		t.Run(fmt.Sprintf("off by %v", skew), func(t *testing.T) {
			h := openHouse(t, with("ZEGO_TIMEOUT=5s"))
			h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Skew: skew})
			card := h.closing("live-42")
			h.shows(card, "Not closed: live-42, ZEGO answered code 100000004, signature expired; set the clock of the calling server")
			h.honest()
			assert.Equal(t, journal.StateFailed, h.caseOf("live-42").state)
			assert.Len(t, h.closeCalls("live-42"), 2, "once more with a new signature, not again")
			assert.Empty(t, h.zego.Executions())
		})
	}
}

func TestFaultZegoDown(t *testing.T) {
	t.Parallel()
	t.Run("ten cases wait, then it is back", func(t *testing.T) {
		t.Parallel()
		h := openHouse(t, with("ZEGO_CLOSE_INTERVAL=50ms", "ZEGO_TIMEOUT=5s"))
		rooms := strings.Split("abcdefghij", "")
		cards := h.asksAll(rooms...)
		h.zego.Down()
		for _, card := range cards {
			h.confirms(h.alice, card)
		}
		h.eventually("it has been tried", func() bool { return h.count(`SELECT count(*) FROM entries WHERE kind = 'requeued'`) >= 2 })
		h.shows(cards[0], "Closing a, not done yet: ZEGO could not be reached")
		for i, room := range rooms[1:] {
			h.shows(cards[i+1], "Closing "+room+", about ") // in the queue: only the first is tried
		}
		assert.Equal(t, 10, h.count(`SELECT count(*) FROM cases WHERE state IN ('confirmed', 'closing')`))
		require.NoError(t, h.zego.Up())
		for i, room := range rooms {
			h.shows(cards[i], "Closed "+room)
		}
		h.honest()
		var order []string
		for _, e := range h.zego.Executions() {
			order = append(order, e.RoomID)
		}
		assert.Equal(t, rooms, order, "each once, in the order of the clicks")
	})
	t.Run("for longer than CLOSE_WITHIN", func(t *testing.T) {
		t.Parallel()
		h := openHouse(t, with("CLOSE_WITHIN=2s", "ZEGO_TIMEOUT=5s"))
		rooms := []string{"a", "b", "c"}
		cards := h.asksAll(rooms...)
		h.zego.Down()
		for _, card := range cards {
			h.confirms(h.alice, card)
		}
		for i, room := range rooms {
			h.shows(cards[i], "Expired: "+room+", nothing closed: confirmed, but it could not be attempted in time")
		}
		require.NoError(t, h.zego.Up())
		h.honest()
		for n := 1; len(h.zego.Executions()) == 0 && n < 9; n++ { // the pause after the last failure is longer than CLOSE_WITHIN here
			room := fmt.Sprint("later-", n)
			h.closing(room)
			h.eventually("it ends", func() bool { return !h.caseOf(room).state.Open() })
		}
		h.honest()
		require.Len(t, h.zego.Executions(), 1, "nobody is closed late")
		assert.Contains(t, h.zego.Executions()[0].RoomID, "later-")
	})
	t.Run("connections are swallowed", func(t *testing.T) {
		t.Parallel()
		hole := newBlackHole(t)
		h := openHouse(t, with("ZEGO_API_URL=http://"+hole.addr))
		h.zego.Login("live-42", "ann", "ben")
		card := h.asks(h.alice, "live-42")
		assert.Contains(t, h.read(card), "not known: ZEGO did not answer in time")
		h.confirms(h.alice, card)
		// No connection was made, so no call can have left: the case goes on waiting.
		h.shows(card, "Closing live-42, not done yet: ZEGO could not be reached")
		hole.lead(h.zego.URL())
		h.shows(card, "Closed live-42")
		h.honest()
		require.Len(t, h.zego.Executions(), 1)
	})
	t.Run("before the click", func(t *testing.T) {
		t.Parallel()
		h := openHouse(t, with("ZEGO_TIMEOUT=5s"))
		h.zego.Login("live-42", "ann", "ben")
		h.zego.Down()
		card := h.asks(h.alice, "live-42")
		assert.Contains(t, h.read(card), "In it now  not known: ZEGO could not be reached")
		require.NoError(t, h.zego.Up())
		h.confirms(h.alice, card)
		h.shows(card, "Closed live-42")
		h.honest()
	})
}

// A blackHole is an address at which nothing answers, not even with a refusal, as behind a
// firewall that drops what it does not like.
type blackHole struct {
	t       *testing.T
	addr    string
	fd      int
	fillers []net.Conn
}

func newBlackHole(t *testing.T) *blackHole {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux, which drops what a full backlog has no room for")
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	syscall.CloseOnExec(fd)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	b := &blackHole{t: t, fd: fd, addr: fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)}
	for range 16 {
		c, err := net.DialTimeout("tcp", b.addr, 300*time.Millisecond)
		if err != nil {
			return b // it is full
		}
		b.fillers = append(b.fillers, c)
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this system lets every connection in")
	return nil
}

// lead opens the way from the hole to a server.
func (b *blackHole) lead(target string) {
	file := os.NewFile(uintptr(b.fd), "black hole")
	l, err := net.FileListener(file)
	require.NoError(b.t, err)
	file.Close()
	b.t.Cleanup(func() { l.Close() })
	for _, c := range b.fillers {
		c.Close()
	}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", strings.TrimPrefix(target, "http://"))
			if err != nil {
				in.Close()
				continue
			}
			go func() { io.Copy(out, in); out.(*net.TCPConn).CloseWrite() }()
			go func() { io.Copy(in, out); in.Close(); out.Close() }()
		}
	}()
}

// TestFaultZegoHeadCount has the counting of people fail: before a close, where it is only
// of interest, and after a call without an answer, where it is all there is.
func TestFaultZegoHeadCount(t *testing.T) {
	t.Parallel()
	ways := []struct {
		name   string
		fault  zegosim.Fault
		before string // what the card says of it
		after  string // what the thread says of it
	}{
		{"code 1", zegosim.Fault{Code: 1}, "ZEGO answered code 1", "ZEGO answered code 1"},
		{"HTTP 502", zegosim.Fault{Status: 502}, "ZEGO could not be reached", "ZEGO could not be reached"},
		{"reset", zegosim.Fault{Reset: true}, "ZEGO could not be reached", "ZEGO could not be reached"},
		{"no list", zegosim.Fault{Body: `{"Code":0,"Message":"success","RequestId":"1"}`}, "ZEGO could not be reached", "ZEGO could not be reached"},
		{"slow", zegosim.Fault{Before: 10 * time.Second}, "ZEGO did not answer in time", "ZEGO did not answer in time"},
	}
	for _, way := range ways {
		way.fault.Action = "DescribeUserNum"
		t.Run("before, "+way.name, func(t *testing.T) {
			t.Parallel()
			h := openHouse(t, with("ZEGO_TIMEOUT=5s"))
			h.zego.AddFault(way.fault)
			card := h.closing("live-42")
			h.shows(card, "Closed live-42")
			h.tells(card, "Closed by ZEGO")
			h.honest()
			assert.Contains(t, h.slack.Render(h.slack.Revisions(card.Channel, card.TS)[0].Message, h.alice), "In it now  not known: "+way.before)
		})
		t.Run("after, "+way.name, func(t *testing.T) {
			t.Parallel()
			h := openHouse(t, with("ZEGO_TIMEOUT=5s"))
			h.zego.Login("live-42", "ann", "ben")
			card := h.asks(h.alice, "live-42")
			h.zego.AddFault(way.fault)
			h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Reset: true})
			h.confirms(h.alice, card)
			h.shows(card, "Not known whether live-42 was closed: ZEGO's answer was lost; who is in it could not be seen")
			h.shows(card, "[ Try again ]")
			h.tells(card, "it could not be seen who is in the room ("+way.after+")")
			h.honest()
			c := h.caseOf("live-42")
			assert.Equal(t, journal.StateUnknown, c.state)
			assert.Len(t, c.looks, 2)
		})
	}
	t.Run("after, the first look only", func(t *testing.T) {
		t.Parallel()
		h := openHouse(t, with("ZEGO_TIMEOUT=5s"))
		h.zego.Login("live-42", "ann", "ben")
		card := h.asks(h.alice, "live-42")
		h.zego.AddFault(zegosim.Fault{Action: "DescribeUserNum", Code: 1, Count: 1})
		h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Reset: true})
		h.confirms(h.alice, card)
		h.shows(card, "nobody was in it at ")
		h.honest()
	})
	t.Run("after, the second look only", func(t *testing.T) {
		t.Parallel()
		h := openHouse(t, with("ZEGO_TIMEOUT=5s"))
		h.zego.Login("live-42", "ann", "ben")
		card := h.asks(h.alice, "live-42")
		h.zego.OnCall(func(c zegosim.Call, p zegosim.Phase) {
			if c.Action == "DescribeUserNum" && p == zegosim.Executed {
				h.zego.AddFault(zegosim.Fault{Action: "DescribeUserNum", Code: 1})
			}
		})
		h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Reset: true, Skip: true})
		h.confirms(h.alice, card)
		h.shows(card, "Not known whether live-42 was closed: ZEGO's answer was lost; 2 people were in it at ")
		h.honest()
	})
}

// restart stops the bot and starts it again at once, sooner than anybody would who opens no
// more connections than Slack allows in a second.
func (h *house) restart() {
	h.t.Helper()
	h.tolerated = append(h.tolerated, slacksim.OpenStorm)
	h.stop()
	h.start()
}

// TestFaultZegoUnknown is about what follows a call without a clear answer.
func TestFaultZegoUnknown(t *testing.T) {
	t.Parallel()
	t.Run("a room that its users make anew is not closed again unasked", func(t *testing.T) {
		t.Parallel()
		h := openHouse(t)
		h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Reset: true, Count: 1})
		h.zego.RejoinAfterClose("live-42", 50*time.Millisecond)
		card := h.closing("live-42")
		h.shows(card, "Not known whether live-42 was closed: ZEGO's answer was lost; 2 people were in it at ")
		h.restart()
		h.honest()
		require.Len(t, h.closeCalls("live-42"), 1)
		assert.Equal(t, 2, h.zego.People("live-42"))
	})

	t.Run("looked into twice, each at its time, whatever comes late", func(t *testing.T) {
		t.Parallel()
		h := openHouse(t, with("ZEGO_LOOK_AFTER=1s,2s", "ZEGO_TIMEOUT=200ms"))
		h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", After: 500 * time.Millisecond, Reset: true, Count: 1})
		card := h.closing("live-42")
		h.shows(card, "Not known whether live-42 was closed")
		h.honest()
		at := func(kind string, n int) time.Time {
			var micros int64
			h.query(&micros, `SELECT time FROM entries WHERE kind = $1 ORDER BY number LIMIT 1 OFFSET $2`, kind, n)
			return time.UnixMicro(micros)
		}
		assert.GreaterOrEqual(t, at("looked", 0).Sub(at("answered", 0)), time.Second-time.Millisecond)
		assert.GreaterOrEqual(t, at("looked", 1).Sub(at("answered", 0)), 2*time.Second-time.Millisecond)
		assert.Equal(t, 2, h.count(`SELECT count(*) FROM entries WHERE kind = 'looked'`))
	})

	t.Run("never called again by itself, not after a restart either", func(t *testing.T) {
		t.Parallel()
		h := openHouse(t, with("ZEGO_LOOK_AFTER=300ms,1500ms"))
		h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Silent: true, Skip: true})
		card := h.closing("live-42")
		h.tells(card, "the bot will not call again, and looks who is in it")
		h.restart() // between the looks
		h.shows(card, "Not known whether live-42 was closed: ZEGO's answer was lost; 2 people were in it at ")
		h.honest()
		assert.Len(t, h.closeCalls("live-42"), 1)
		assert.Len(t, h.caseOf("live-42").looks, 2)
	})

	t.Run("another case for the room is not called either", func(t *testing.T) {
		t.Parallel()
		h := openHouse(t)
		h.zego.Login("live-42", "ann", "ben")
		first, second := h.asks(h.alice, "live-42"), h.asks(h.bob, "live-42")
		h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Reset: true, Count: 1})
		h.zego.RejoinAfterClose("live-42", 0)
		h.confirms(h.alice, first)
		h.tells(first, "No clear answer from ZEGO")
		h.confirms(h.bob, second)
		h.shows(first, "Not known whether live-42 was closed")
		h.shows(second, "Not closed: live-42, not attempted: #1 may have closed this room, ZEGO's answer to it was lost")
		h.honest()
		require.Len(t, h.closeCalls("live-42"), 1)

		third := h.asks(h.bob, "live-42") // who has seen that is asked anew
		h.zego.RejoinAfterClose("live-42", -1)
		h.confirms(h.bob, third)
		h.shows(third, "Closed live-42")
		h.honest()
	})

	t.Run("Try again opens a case that names the old one", func(t *testing.T) {
		t.Parallel()
		h := openHouse(t)
		h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Status: 502, Skip: true, Count: 1})
		h.zego.Login("live-42", "ann", "ben")
		card := h.asks(h.alice, "live-42 spam")
		h.confirms(h.alice, card)
		h.shows(card, "[ Try again ]")
		offer, _ := h.slack.Message(card.Channel, card.TS)

		require.Equal(t, slacksim.Acked, h.press(h.mallory, card, tryAgain).Result)
		h.hears(h.mallory, "You are not on the list")
		assert.Equal(t, 1, h.count(`SELECT count(*) FROM cases`))

		h.press(h.bob, card, tryAgain)
		second := h.card(2)
		assert.Contains(t, h.read(second), "Tries again what #1 left unknown")
		assert.Contains(t, h.read(second), "spam")
		assert.Contains(t, h.read(second), "Asked by  @bob")
		h.shows(card, "tried again by #2")
		d, err := h.slack.Click(slacksim.Click{User: h.alice, Channel: card.Channel, TS: card.TS, ActionID: tryAgain, Stale: &offer})
		require.NoError(t, err)
		h.await(d)
		h.hears(h.alice, "#2 already tries this again")
		assert.Equal(t, 2, h.count(`SELECT count(*) FROM cases`))
		assert.Equal(t, 1, h.count(`SELECT count(*) FROM entries WHERE kind = 'requested' AND case_ = 2 AND body LIKE '%"again_of":1%'`))
		require.Len(t, h.closeCalls("live-42"), 1, "a new case needs its own confirmation")

		h.press(h.alice, second, closeRoom)
		h.hears(h.alice, "Only the person who asked can confirm")
		h.confirms(h.bob, second)
		h.shows(second, "Closed live-42")
		h.honest()
		assert.Len(t, h.zego.Executions(), 1)
	})

	t.Run("Try again is offered for CONFIRM_TIMEOUT", func(t *testing.T) {
		t.Parallel()
		h := openHouse(t, with("CONFIRM_TIMEOUT=1500ms"))
		h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Status: 502, Skip: true, Count: 1})
		card := h.closing("live-42")
		h.shows(card, "[ Try again ]")
		offer, _ := h.slack.Message(card.Channel, card.TS)
		h.eventually("it lapses", func() bool { return len(h.slack.Buttons(card.Channel, card.TS)) == 0 })
		d, err := h.slack.Click(slacksim.Click{User: h.alice, Channel: card.Channel, TS: card.TS, ActionID: tryAgain, Stale: &offer})
		require.NoError(t, err)
		require.Equal(t, slacksim.Acked, h.await(d).Result)
		h.hears(h.alice, "Try again is no longer offered for #1; nothing was done")
		h.honest()
		assert.Equal(t, 1, h.count(`SELECT count(*) FROM cases`))
	})

	t.Run("the answer comes when Try again has been pressed", func(t *testing.T) {
		t.Parallel()
		h := openHouse(t)
		h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", After: 4 * time.Second, Count: 1})
		h.zego.RejoinAfterClose("live-42", 0)
		card := h.closing("live-42")
		h.shows(card, "[ Try again ]")
		h.press(h.alice, card, tryAgain)
		second := h.card(2)
		h.shows(card, "Closed live-42")
		h.tells(card, "by a late answer")
		h.confirms(h.alice, second)
		h.shows(second, "Nothing closed: live-42 was already closed by #1")
		h.tells(second, "No call was made")
		h.honest()
		assert.Len(t, h.closeCalls("live-42"), 1)
	})
}
