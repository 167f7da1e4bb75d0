package slacksim

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// A Message is a message as Slack keeps it: sanitised text, blocks with their ids. Its JSON values are never changed
// after they are handed out.
type Message struct {
	Channel     string          `json:"channel"`
	TS          string          `json:"ts"`
	ThreadTS    string          `json:"thread_ts,omitempty"` // the parent's ts; on the parent itself its own, once it has replies
	Broadcast   bool            `json:"broadcast,omitempty"` // a reply also shown in the channel
	User        string          `json:"user"`                // the author
	AppID       string          `json:"app_id,omitempty"`    // set if an app wrote it
	BotID       string          `json:"bot_id,omitempty"`
	Text        string          `json:"text"`
	Blocks      json.RawMessage `json:"blocks,omitempty"`
	Attachments json.RawMessage `json:"attachments,omitempty"`
	Metadata    json.RawMessage `json:"metadata,omitempty"`
	EditedBy    string          `json:"edited_by,omitempty"` // set = it bears "(edited)"
	EditedTS    string          `json:"edited_ts,omitempty"`
	ReplyCount  int             `json:"reply_count,omitempty"`
	LatestReply string          `json:"latest_reply,omitempty"`
	Unfurls     bool            `json:"unfurls,omitempty"` // it has a link that would unfold: the app did not turn off both links and media
	Deleted     bool            `json:"deleted,omitempty"` // a parent whose replies remain
	For         string          `json:"for,omitempty"`     // set = ephemeral, seen by this person only
	At          time.Time       `json:"at"`
}

// A Revision is what a message showed for a while.
type Revision struct {
	At      time.Time
	By      string // who wrote it: a user id
	Deleted bool   // from here on it was gone
	Message Message
}

// Bounds of what is kept for looking back. Messages themselves are kept for as long as the workspace lives.
const (
	maxRevisions  = 100 // of one message; the first one stays
	maxEphemerals = 500 // of one person
)

type message struct {
	Message
	replies     []*message
	replyUsers  []string
	revisions   []Revision
	hiddenUntil time.Time            // history does not show it before
	clicks      map[string]*Delivery // latest click per block_id and action_id
}

// A room is a channel with what was said in it.
type room struct {
	Channel
	members map[string]bool // nil = everybody
	roots   []*message      // what the channel shows: not the replies, but those broadcast; ascending ts
	all     map[string]*message
	last    int64 // latest ts in microseconds
}

func (r *room) set(c Channel) {
	r.Channel = c
	r.members = nil
	if c.Members != nil || c.Kind == IM || c.Kind == MPIM {
		r.members = map[string]bool{}
		for _, id := range c.Members {
			r.members[id] = true
		}
	}
}

type rooms struct {
	byID       map[string]*room
	byName     map[string]*room
	list       []*room
	dms        map[string]*room
	nextRoom   int
	ephemerals map[string][]*message // by viewer
	missing    map[string]bool       // channel and ts that message_not_found was answered for
}

func newRooms() rooms {
	return rooms{
		byID: map[string]*room{}, byName: map[string]*room{}, dms: map[string]*room{},
		ephemerals: map[string][]*message{},
	}
}

// addRoom is AddChannel's inside. The caller holds mu.
func (w *Workspace) addRoom(c Channel) *room {
	r := &room{all: map[string]*message{}}
	r.set(c)
	w.byID[c.ID] = r
	if c.Name != "" {
		w.byName[c.Name] = r
	}
	w.list = append(w.list, r)
	w.note(Event{Kind: WorldChanged, Channel: c.ID})
	return r
}

// nextTS makes the next ts of a channel: unique, increasing, near the clock.
func (w *Workspace) nextTS(r *room) string {
	r.last = max(r.last+1, w.now().UnixMicro())
	return fmt.Sprintf("%d.%06d", r.last/1e6, r.last%1e6)
}

// place gives a message its ts and its place in channel and thread. The caller holds mu and has checked everything.
func (w *Workspace) place(r *room, m Message) *message {
	m.Channel, m.TS, m.At = r.ID, w.nextTS(r), w.now()
	kept := &message{Message: m}
	kept.revisions = []Revision{{At: m.At, By: m.User, Message: m}}
	r.all[m.TS] = kept
	if parent := r.all[m.ThreadTS]; parent != nil && parent != kept {
		parent.replies = append(parent.replies, kept)
		parent.ThreadTS = parent.TS
		parent.ReplyCount++
		parent.LatestReply = m.TS
		if len(parent.replyUsers) < 5 && !slices.Contains(parent.replyUsers, m.User) {
			parent.replyUsers = append(parent.replyUsers, m.User)
		}
	}
	if m.ThreadTS == "" || m.Broadcast {
		r.roots = append(r.roots, kept)
	}
	w.note(Event{Kind: MessagePosted, Channel: r.ID, TS: m.TS, ThreadTS: m.ThreadTS, User: m.User})
	return kept
}

// whisper shows a message to one person only. The caller holds mu.
func (w *Workspace) whisper(r *room, viewer string, m Message) *message {
	m.Channel, m.TS, m.At, m.For = r.ID, w.nextTS(r), w.now(), viewer
	kept := &message{Message: m}
	list := w.ephemerals[viewer]
	if len(list) >= maxEphemerals {
		list = slices.Delete(list, 0, len(list)-maxEphemerals+1)
	}
	w.ephemerals[viewer] = append(list, kept)
	w.note(Event{Kind: EphemeralShown, Channel: r.ID, TS: m.TS, User: viewer})
	return kept
}

// revise replaces what a message says. The caller holds mu.
func (w *Workspace) revise(kept *message, by string, change func(*Message)) {
	change(&kept.Message)
	clear(kept.clicks) // its buttons are new
	if len(kept.revisions) >= maxRevisions {
		kept.revisions = slices.Delete(kept.revisions, 1, 2)
	}
	kept.revisions = append(kept.revisions, Revision{At: w.now(), By: by, Message: kept.Message})
	w.note(Event{Kind: MessageChanged, Channel: kept.Channel, TS: kept.TS, ThreadTS: kept.ThreadTS, User: by})
}

// remove deletes a message. One with replies leaves a tombstone, as in Slack. The caller holds mu.
func (w *Workspace) remove(r *room, kept *message, by string) {
	kept.revisions = append(kept.revisions, Revision{At: w.now(), By: by, Deleted: true, Message: kept.Message})
	kept.Deleted = true
	if parent := r.all[kept.ThreadTS]; parent != nil && parent != kept {
		parent.replies = without(parent.replies, kept)
		parent.ReplyCount = len(parent.replies)
		if n := len(parent.replies); n > 0 {
			parent.LatestReply = parent.replies[n-1].TS
		} else {
			parent.LatestReply, parent.ThreadTS = "", ""
			if parent.Deleted {
				r.roots = without(r.roots, parent)
			}
		}
	}
	if len(kept.replies) > 0 {
		kept.Text, kept.Blocks, kept.Attachments, kept.Metadata = "This message was deleted.", nil, nil, nil
		kept.User, kept.AppID, kept.BotID = slackbotID, "", ""
	} else {
		r.roots = without(r.roots, kept)
	}
	w.note(Event{Kind: MessageDeleted, Channel: r.ID, TS: kept.TS, ThreadTS: kept.ThreadTS, User: by})
}

// without takes one message out of a list ordered by ts.
func without(list []*message, m *message) []*message {
	i := sort.Search(len(list), func(i int) bool { return list[i].TS >= m.TS })
	if i < len(list) && list[i] == m {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// find returns a message that is still there. The caller holds mu.
func (r *room) find(ts string) *message {
	if m := r.all[ts]; m != nil && !m.Deleted {
		return m
	}
	return nil
}

// Messages returns what the channel shows, oldest first: no thread replies, except those broadcast.
func (w *Workspace) Messages(channel string) []Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.byID[channel]; r != nil {
		return contents(r.roots)
	}
	return nil
}

// CountMessages is len(Messages(channel)) without the copying.
func (w *Workspace) CountMessages(channel string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.byID[channel]; r != nil {
		return len(r.roots)
	}
	return 0
}

// Thread returns a parent and its replies, oldest first.
func (w *Workspace) Thread(channel, ts string) []Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.byID[channel]; r != nil && r.all[ts] != nil {
		return append([]Message{r.all[ts].Message}, contents(r.all[ts].replies)...)
	}
	return nil
}

// Message returns one message as it is now.
func (w *Workspace) Message(channel, ts string) (Message, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.byID[channel]; r != nil {
		if m := r.find(ts); m != nil {
			return m.Message, true
		}
	}
	return Message{}, false
}

// Revisions returns all that a message ever showed, oldest first, also after it was deleted.
func (w *Workspace) Revisions(channel, ts string) []Revision {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.byID[channel]; r != nil && r.all[ts] != nil {
		return slices.Clone(r.all[ts].revisions)
	}
	return nil
}

// Ephemerals returns what was shown to this person only, oldest first.
func (w *Workspace) Ephemerals(user string) []Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return contents(w.ephemerals[user])
}

// ForgetEphemerals is what reloading the page does.
func (w *Workspace) ForgetEphemerals(user string) {
	w.mu.Lock()
	defer w.unlock()
	delete(w.ephemerals, user)
	w.note(Event{Kind: WorldChanged, User: user})
}

func contents(list []*message) []Message {
	out := make([]Message, 0, len(list))
	for _, m := range list {
		out = append(out, m.Message)
	}
	return out
}

// Post puts a message into a channel as it is given, without any check: by a person (User), or forged by another app
// (User, AppID, BotID, Metadata). Channel must exist; ThreadTS may name a parent.
func (w *Workspace) Post(m Message) Message {
	w.mu.Lock()
	defer w.unlock()
	return w.place(w.byID[m.Channel], m).Message
}

// Edit changes a message as somebody with the right to do so would. It reports whether the message was there.
func (w *Workspace) Edit(channel, ts, by, text string) bool {
	w.mu.Lock()
	defer w.unlock()
	r := w.byID[channel]
	if r == nil || r.find(ts) == nil {
		return false
	}
	w.revise(r.find(ts), by, func(m *Message) {
		m.Text, m.Blocks, m.EditedBy, m.EditedTS = text, nil, by, w.nextTS(r)
	})
	return true
}

// Delete deletes a message as an admin would. It reports whether the message was there.
func (w *Workspace) Delete(channel, ts, by string) bool {
	w.mu.Lock()
	defer w.unlock()
	r := w.byID[channel]
	if r == nil || r.find(ts) == nil {
		return false
	}
	w.remove(r, r.find(ts), by)
	return true
}

// Hide keeps a message out of history and replies until d has passed on the workspace's clock, as Slack's own delays
// sometimes do. People see it all the same.
func (w *Workspace) Hide(channel, ts string, d time.Duration) {
	w.mu.Lock()
	defer w.unlock()
	if r := w.byID[channel]; r != nil && r.all[ts] != nil {
		r.all[ts].hiddenUntil = w.now().Add(d)
	}
}

// permalink is where a message can be opened (messaging/retrieving-messages).
func (w *Workspace) permalink(m *message) string {
	link := fmt.Sprintf("https://%s.slack.com/archives/%s/p%s", w.cfg.TeamDomain, m.Channel, strings.ReplaceAll(m.TS, ".", ""))
	if m.ThreadTS != "" && m.ThreadTS != m.TS {
		link += fmt.Sprintf("?thread_ts=%s&cid=%s", m.ThreadTS, m.Channel)
	}
	return link
}

// wire is the message object of answers and payloads. Metadata is whole or only its event_type.
func (w *Workspace) wire(m *message, allMetadata bool) wireMessage {
	wm := wireMessage{
		Type: "message", User: m.User, BotID: m.BotID, AppID: m.AppID, Team: w.cfg.TeamID, Text: m.Text, TS: m.TS,
		ThreadTS: m.ThreadTS, Blocks: m.Blocks, Attachments: m.Attachments,
	}
	if m.Broadcast {
		wm.Subtype = "thread_broadcast"
	}
	if m.Deleted {
		wm.Subtype, wm.Hidden = "tombstone", true
	}
	if m.AppID == w.cfg.AppID && m.BotID != "" {
		wm.BotProfile = &botProfile{ID: m.BotID, AppID: m.AppID, Name: w.cfg.BotName, TeamID: w.cfg.TeamID, Updated: 1767225600}
	}
	if m.EditedBy != "" {
		wm.Edited = &edited{User: m.EditedBy, TS: m.EditedTS}
	}
	if m.ReplyCount > 0 {
		wm.ReplyCount, wm.LatestReply = m.ReplyCount, m.LatestReply
		wm.ReplyUsers, wm.ReplyUsersCount = slices.Clone(m.replyUsers), len(m.replyUsers)
	}
	if m.Metadata != nil {
		wm.Metadata = m.Metadata
		if !allMetadata {
			var only struct {
				EventType string `json:"event_type"`
			}
			json.Unmarshal(m.Metadata, &only)
			wm.Metadata, _ = json.Marshal(only)
		}
	}
	return wm
}

type wireMessage struct {
	Type            string          `json:"type"`
	Subtype         string          `json:"subtype,omitempty"`
	User            string          `json:"user,omitempty"`
	BotID           string          `json:"bot_id,omitempty"`
	AppID           string          `json:"app_id,omitempty"`
	Team            string          `json:"team,omitempty"`
	Text            string          `json:"text"`
	TS              string          `json:"ts"`
	ThreadTS        string          `json:"thread_ts,omitempty"`
	ReplyCount      int             `json:"reply_count,omitempty"`
	ReplyUsersCount int             `json:"reply_users_count,omitempty"`
	LatestReply     string          `json:"latest_reply,omitempty"`
	ReplyUsers      []string        `json:"reply_users,omitempty"`
	Hidden          bool            `json:"hidden,omitempty"`
	Edited          *edited         `json:"edited,omitempty"`
	Blocks          json.RawMessage `json:"blocks,omitempty"`
	Attachments     json.RawMessage `json:"attachments,omitempty"`
	Metadata        json.RawMessage `json:"metadata,omitempty"`
	BotProfile      *botProfile     `json:"bot_profile,omitempty"`
}

type edited struct {
	User string `json:"user"`
	TS   string `json:"ts"`
}

type botProfile struct {
	ID      string `json:"id"`
	AppID   string `json:"app_id"`
	Name    string `json:"name"`
	Deleted bool   `json:"deleted"`
	TeamID  string `json:"team_id"`
	Updated int64  `json:"updated"`
}
