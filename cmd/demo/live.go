package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"
)

// What a page is told while it is open, as server-sent events:
//
//	people    everybody, by id
//	channels  those that the person sees
//	messages  new or changed ones, in channels that the person sees
//	gone      deleted ones
//	ready     everything that there was has been sent
//	zego      rooms, calls, who was thrown out
//	journal   new entries, changed cases
//	status    the bot, its sockets, what is broken

// view is a message, for the page.
type view struct {
	Channel    string          `json:"channel"`
	TS         string          `json:"ts"`
	Thread     string          `json:"thread,omitempty"`
	Broadcast  bool            `json:"broadcast,omitempty"`
	User       string          `json:"user"`
	App        bool            `json:"app,omitempty"`
	Text       string          `json:"text,omitempty"`
	Blocks     json.RawMessage `json:"blocks,omitempty"`
	Edited     bool            `json:"edited,omitempty"`
	Deleted    bool            `json:"deleted,omitempty"` // a parent whose replies remain
	Private    bool            `json:"private,omitempty"`
	Replies    int             `json:"replies,omitempty"`
	LastReply  string          `json:"lastReply,omitempty"`
	Repliers   []string        `json:"repliers,omitempty"`
	FirstEntry int64           `json:"firstEntry,omitempty"` // of the journal, which it shows
	LastEntry  int64           `json:"lastEntry,omitempty"`
}

func viewOf(m slacksim.Message) view {
	v := view{
		Channel: m.Channel, TS: m.TS, Thread: m.ThreadTS, Broadcast: m.Broadcast, User: m.User, App: m.AppID != "",
		Text: m.Text, Blocks: m.Blocks, Edited: m.EditedBy != "", Deleted: m.Deleted, Private: m.For != "",
		Replies: m.ReplyCount, LastReply: m.LatestReply,
	}
	if s, ok := shownBy(m); ok {
		v.FirstEntry, v.LastEntry = s.First, s.Last
	}
	return v
}

// key names a message.
type key struct {
	Channel string `json:"channel"`
	TS      string `json:"ts"`
}

// A stream tells one page what it may know.
type stream struct {
	*site
	w    http.ResponseWriter
	as   string
	born string // private messages from before are gone

	told    map[string][]byte // what was last said of the things that are said whole
	entries int               // of the journal, told so far
	err     error
}

// backlog is how many events a page may be behind until it is told everything anew.
const backlog = 8192

// calm is how often the things that are said whole are looked at, at most.
const calm = 60 * time.Millisecond

func (s *site) live(w http.ResponseWriter, r *http.Request) {
	t := &stream{site: s, w: w, as: r.FormValue("as"), born: r.FormValue("born"), told: make(map[string][]byte)}
	if !isActor(t.as) {
		http.Error(w, "there is no such person", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	events, cancel := s.slack.Subscribe(backlog)
	defer cancel()
	t.everything()
	next := time.Now()
	alive := time.NewTicker(10 * time.Second)
	defer alive.Stop()
	timer := time.NewTimer(0)
	for t.err == nil {
		changed := s.changes()
		var some []slacksim.Event
		for more := true; more; {
			select {
			case e := <-events:
				some = append(some, e)
			default:
				more = false
			}
		}
		t.news(some)
		if wait := time.Until(next); wait <= 0 {
			t.wholes()
			next = time.Now().Add(calm)
		} else {
			timer.Reset(wait)
		}
		t.flush()
		select {
		case e := <-events:
			t.news([]slacksim.Event{e})
		case <-changed:
		case <-timer.C:
		case <-alive.C:
			fmt.Fprint(w, ": still here\n\n")
		case <-r.Context().Done():
			return
		case <-s.over:
			return
		}
	}
}

// send sends one event.
func (t *stream) send(name string, data any) {
	b, err := json.Marshal(data)
	if err == nil && t.err == nil {
		_, err = fmt.Fprintf(t.w, "event: %s\ndata: %s\n\n", name, b)
	}
	if t.err == nil {
		t.err = err
	}
}

func (t *stream) flush() {
	if err := http.NewResponseController(t.w).Flush(); t.err == nil {
		t.err = err
	}
}

// whole sends something that is always said whole, if it is not what was said last.
func (t *stream) whole(name string, data any) {
	b, err := json.Marshal(data)
	if err != nil || bytes.Equal(b, t.told[name]) {
		return
	}
	t.told[name] = b
	t.send(name, json.RawMessage(b))
}

// everything tells a page all that its person can see.
func (t *stream) everything() {
	t.world()
	var views []view
	for _, c := range t.slack.Channels() {
		if !t.sees(c, t.as) {
			continue
		}
		for _, m := range t.slack.Messages(c.ID) {
			views = append(views, t.view(m))
			if m.ThreadTS == m.TS {
				for _, reply := range t.slack.Thread(c.ID, m.TS)[1:] {
					views = append(views, t.view(reply))
				}
			}
		}
	}
	for _, m := range t.slack.Ephemerals(t.as) {
		if m.TS >= t.born {
			views = append(views, t.view(m))
		}
	}
	t.send("messages", views)
	t.wholes()
	t.send("ready", struct{}{})
}

// view adds to a message who has replied to it.
func (t *stream) view(m slacksim.Message) view {
	v := viewOf(m)
	if m.ThreadTS == m.TS && m.ReplyCount > 0 {
		for _, reply := range t.slack.Thread(m.Channel, m.TS)[1:] {
			if !slices.Contains(v.Repliers, reply.User) && len(v.Repliers) < 3 {
				v.Repliers = append(v.Repliers, reply.User)
			}
		}
	}
	return v
}

// world tells who and what there is.
func (t *stream) world() {
	type someone struct {
		ID    string `json:"id"`
		Name  string `json:"name"`
		App   bool   `json:"app,omitempty"`
		Other bool   `json:"other,omitempty"` // of another company
	}
	var people []someone
	for _, u := range t.slack.Users() {
		people = append(people, someone{u.ID, u.Name, u.Bot, u.TeamID != t.slack.TeamID()})
	}
	t.whole("people", people)

	type place struct {
		ID       string               `json:"id"`
		Name     string               `json:"name"`
		Kind     slacksim.ChannelKind `json:"kind"`
		Bot      bool                 `json:"bot"`
		Shared   bool                 `json:"shared,omitempty"`
		Archived bool                 `json:"archived,omitempty"`
	}
	var places []place
	for _, c := range t.slack.Channels() {
		if t.sees(c, t.as) {
			places = append(places, place{c.ID, c.Name, c.Kind, c.BotMember, c.ExtShared, c.Archived})
		}
	}
	t.whole("channels", places)
}

// news tells what Slack's events mean to this page.
func (t *stream) news(events []slacksim.Event) {
	changed := make(map[key]bool)
	var order, gone []key
	touch := func(k key) {
		if k.TS != "" && !changed[k] {
			changed[k] = true
			order = append(order, k)
		}
	}
	private := false
	for _, e := range events {
		if e.Missed > 0 {
			t.everything()
			return
		}
		switch e.Kind {
		case slacksim.WorldChanged:
			t.world()
		case slacksim.MessagePosted, slacksim.MessageChanged, slacksim.MessageDeleted:
			touch(key{e.Channel, e.TS})
			if e.ThreadTS != e.TS {
				touch(key{e.Channel, e.ThreadTS}) // its parent counts its replies
			}
		case slacksim.EphemeralShown:
			private = private || e.User == t.as
		}
	}
	visible := make(map[string]bool)
	for _, c := range t.slack.Channels() {
		visible[c.ID] = t.sees(c, t.as)
	}
	var views []view
	for _, k := range order {
		if !visible[k.Channel] {
			continue
		}
		if m, ok := t.slack.Message(k.Channel, k.TS); ok {
			views = append(views, t.view(m))
		} else if thread := t.slack.Thread(k.Channel, k.TS); len(thread) > 1 {
			views = append(views, t.view(thread[0])) // a tombstone
		} else {
			gone = append(gone, k)
		}
	}
	if private {
		for _, m := range t.slack.Ephemerals(t.as) {
			if m.TS >= t.born && visible[m.Channel] {
				views = append(views, viewOf(m))
			}
		}
	}
	if len(views) > 0 {
		t.send("messages", views)
	}
	if len(gone) > 0 {
		t.send("gone", gone)
	}
}

// wholes tells what is behind the workspace.
func (t *stream) wholes() {
	t.whole("zego", t.zegoNow())
	if news := t.tail.after(t.entries); news != nil {
		t.entries = news.Total
		t.send("journal", news)
	}
	type socket struct {
		ID   int    `json:"id"`
		Live bool   `json:"live"`
		Told string `json:"told,omitempty"`
	}
	sockets := []socket{}
	for _, c := range t.slack.Connections() {
		sockets = append(sockets, socket{c.ID, c.Live, string(c.Told)})
	}
	t.whole("status", struct {
		Bot      botStatus `json:"bot"`
		Sockets  []socket  `json:"sockets"`
		Trouble  troubles  `json:"trouble"`
		Mistakes []string  `json:"mistakes"` // rules of Slack's and ZEGO's that the bot broke
	}{t.keeper.status(), sockets, t.trouble.now(), t.mistakes()})
}

// mistakes are what the bot did that a well-made client does not. A killed process leaves
// without a good-bye, which is not its fault.
func (t *stream) mistakes() []string {
	list := []string{}
	for _, v := range t.slack.Violations(slacksim.Vanished) {
		list = append(list, "Slack: "+v.Text)
	}
	for _, v := range t.zego.Violations() {
		list = append(list, "ZEGO: "+v)
	}
	return list[max(0, len(list)-20):]
}

// zegoRoom is a room, for the page.
type zegoRoom struct {
	ID      string   `json:"id"`
	People  int      `json:"people"`
	Service int      `json:"service,omitempty"` // recorders and the like
	Names   []string `json:"names"`             // of the first few
}

// thrownOut is what a CloseRoom did, for the page.
type thrownOut struct {
	Time   time.Time `json:"time"`
	Room   string    `json:"room"`
	Reason string    `json:"reason,omitempty"`
	People int       `json:"people"`
	Names  []string  `json:"names"`
}

// Bounds of what is shown of each room, of rooms closed, and of calls.
const (
	maxNames  = 8
	maxClosed = 30
	maxCalls  = 80
)

// zegoNow is what ZEGO knows.
func (t *stream) zegoNow() any {
	rooms := []zegoRoom{}
	for _, r := range t.zego.Rooms() {
		z := zegoRoom{ID: r.ID, Names: []string{}}
		for _, u := range r.Users {
			switch {
			case u.Role == zegosim.RoleService:
				z.Service++
			default:
				z.People++
				if len(z.Names) < maxNames {
					z.Names = append(z.Names, u.ID)
				}
			}
		}
		rooms = append(rooms, z)
	}
	closed := []thrownOut{}
	executions := t.zego.Executions()
	for _, x := range executions[max(0, len(executions)-maxClosed):] {
		closed = append(closed, thrownOut{x.Time, x.RoomID, x.Reason, len(x.Users), x.Users[:min(maxNames, len(x.Users))]})
	}
	calls := t.zego.Calls()
	return struct {
		Rooms  []zegoRoom     `json:"rooms"`
		Closed []thrownOut    `json:"closed"`
		Calls  []zegosim.Call `json:"calls"`
		Total  int            `json:"total"`
	}{rooms, closed, calls[max(0, len(calls)-maxCalls):], len(calls)}
}
