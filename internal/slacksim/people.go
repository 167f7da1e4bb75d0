package slacksim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A User is somebody who can be seen in the workspace.
type User struct {
	ID              string         `json:"id"`   // U… or W…; made up if empty
	Name            string         `json:"name"` // the handle after the @, no key to anything
	RealName        string         `json:"real_name"`
	TeamID          string         `json:"team_id"`                 // the person's own workspace; another one = Slack Connect
	EnterpriseID    string         `json:"enterprise_id,omitempty"` // Grid
	Admin           bool           `json:"is_admin,omitempty"`
	Deleted         bool           `json:"deleted,omitempty"`             // deactivated
	Bot             bool           `json:"is_bot,omitempty"`              //
	Restricted      bool           `json:"is_restricted,omitempty"`       // guest of several channels
	UltraRestricted bool           `json:"is_ultra_restricted,omitempty"` // guest of one channel; is_restricted follows
	Stranger        bool           `json:"is_stranger,omitempty"`         // of another company, with no channel in common
	Location        *time.Location `json:"-"`                             // where their clock is; default UTC
}

// ChannelKind is what sort of conversation a channel is.
type ChannelKind string

// The conversations there are.
const (
	Public  ChannelKind = "public"
	Private ChannelKind = "private"
	IM      ChannelKind = "im"   // two people, or one and the app
	MPIM    ChannelKind = "mpim" // a few people
)

// A Channel is a conversation.
type Channel struct {
	ID               string      `json:"id"` // C…, G… or D…; made up if empty
	Name             string      `json:"name"`
	Kind             ChannelKind `json:"kind"`              // default Public
	Members          []string    `json:"members,omitempty"` // people; nil = everybody of the workspace, guests aside
	BotMember        bool        `json:"bot_member"`        // the app's bot is in it
	Archived         bool        `json:"is_archived,omitempty"`
	ExtShared        bool        `json:"is_ext_shared,omitempty"`         // with another company
	PendingExtShared bool        `json:"is_pending_ext_shared,omitempty"` // an invitation is out
	OrgShared        bool        `json:"is_org_shared,omitempty"`         // within the Grid organisation
	SharedTeamIDs    []string    `json:"shared_team_ids,omitempty"`
	ReadOnly         bool        `json:"is_read_only,omitempty"` // apps may not post: restricted_action_read_only_channel
}

// A Group is a user group.
type Group struct {
	ID       string   `json:"id"`     // S…; made up if empty
	Handle   string   `json:"handle"` // after the @
	Users    []string `json:"users"`
	Disabled bool     `json:"disabled,omitempty"`
}

type people struct {
	users    map[string]*User
	groups   map[string]*Group
	order    []string // user ids as added
	botUser  string   // the app's own user
	botID    string   // the app's B… id
	nextUser int
}

func newPeople(cfg Config) people {
	bot := &User{ID: "U0BOT", Name: cfg.BotName, RealName: cfg.BotName, TeamID: cfg.TeamID, EnterpriseID: cfg.EnterpriseID, Bot: true}
	slackbot := &User{ID: slackbotID, Name: "slackbot", RealName: "Slackbot", TeamID: cfg.TeamID}
	return people{
		users:   map[string]*User{bot.ID: bot, slackbotID: slackbot},
		groups:  map[string]*Group{},
		order:   []string{bot.ID, slackbotID},
		botUser: bot.ID,
		botID:   "B0BOT",
	}
}

// slackbotID speaks for Slack itself: "your command failed".
const slackbotID = "USLACKBOT"

// BotUser is the U… id of the app's bot, TeamID the workspace's, AppID the app's.
func (w *Workspace) BotUser() string { return w.botUser }

// TeamID is the T… id of the workspace.
func (w *Workspace) TeamID() string { return w.cfg.TeamID }

// AppID is the A… id of the app.
func (w *Workspace) AppID() string { return w.cfg.AppID }

// AddUser adds a person and returns them with what was left out filled in. The Name must be set.
func (w *Workspace) AddUser(u User) User {
	w.mu.Lock()
	defer w.unlock()
	w.nextUser++
	setDefault(&u.ID, fmt.Sprintf("U0%03d", w.nextUser))
	setDefault(&u.TeamID, w.cfg.TeamID)
	setDefault(&u.RealName, u.Name)
	if u.TeamID == w.cfg.TeamID {
		setDefault(&u.EnterpriseID, w.cfg.EnterpriseID)
	}
	u.Restricted = u.Restricted || u.UltraRestricted
	if _, known := w.users[u.ID]; !known {
		w.order = append(w.order, u.ID)
	}
	w.users[u.ID] = &u
	w.note(Event{Kind: WorldChanged, User: u.ID})
	return u
}

// UpdateUser changes a person: deactivated, renamed, made a guest. It panics if there is no such person.
func (w *Workspace) UpdateUser(id string, change func(*User)) {
	w.mu.Lock()
	defer w.unlock()
	u := *w.users[id]
	change(&u)
	u.ID = id
	w.users[id] = &u
	w.note(Event{Kind: WorldChanged, User: id})
}

// Users lists everybody, the app's bot and Slackbot included, in the order they came.
func (w *Workspace) Users() []User {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]User, 0, len(w.order))
	for _, id := range w.order {
		list = append(list, *w.users[id])
	}
	return list
}

// AddGroup adds a user group, or changes the one with this id.
func (w *Workspace) AddGroup(g Group) Group {
	w.mu.Lock()
	defer w.unlock()
	setDefault(&g.ID, fmt.Sprintf("S0%03d", len(w.groups)+1))
	g.Users = slices.Clone(g.Users)
	w.groups[g.ID] = &g
	w.note(Event{Kind: WorldChanged})
	return g
}

// Groups lists the user groups by id.
func (w *Workspace) Groups() []Group {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []Group
	for _, id := range slices.Sorted(maps.Keys(w.groups)) {
		list = append(list, *w.groups[id])
	}
	return list
}

// AddChannel adds a conversation and returns it with what was left out filled in.
func (w *Workspace) AddChannel(c Channel) Channel {
	w.mu.Lock()
	defer w.unlock()
	setDefault(&c.Kind, Public)
	w.nextRoom++
	prefix := map[ChannelKind]string{Public: "C", Private: "C", IM: "D", MPIM: "G"}[c.Kind]
	setDefault(&c.ID, fmt.Sprintf("%s0%03d", prefix, w.nextRoom))
	if c.Kind == MPIM {
		setDefault(&c.Name, "mpdm-"+strings.ToLower(c.ID))
	}
	w.addRoom(c)
	return c
}

// UpdateChannel changes a conversation: the bot joins or leaves, it is archived, shared, renamed. It panics if there is
// no such channel.
func (w *Workspace) UpdateChannel(id string, change func(*Channel)) {
	w.mu.Lock()
	defer w.unlock()
	r := w.byID[id]
	c := r.Channel
	c.Members = slices.Clone(c.Members)
	change(&c)
	c.ID = id
	delete(w.byName, r.Name)
	r.set(c)
	w.byName[c.Name] = r
	w.note(Event{Kind: WorldChanged, Channel: id})
}

// Channels lists the conversations in the order they came.
func (w *Workspace) Channels() []Channel {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]Channel, 0, len(w.list))
	for _, r := range w.list {
		list = append(list, r.Channel)
	}
	return list
}

// DM returns the id of the direct messages between a person and the app, opening them if need be.
func (w *Workspace) DM(user string) string {
	w.mu.Lock()
	defer w.unlock()
	if r := w.openDM(user); r != nil {
		return r.ID
	}
	return ""
}

// openDM returns nil for somebody the app cannot talk to. The caller holds mu.
func (w *Workspace) openDM(user string) *room {
	if r := w.dms[user]; r != nil {
		return r
	}
	u := w.users[user]
	if u == nil || user == w.botUser || user == slackbotID {
		return nil
	}
	r := w.addRoom(Channel{ID: "D0" + strings.TrimLeft(user, "UW"), Kind: IM, Members: []string{user}, BotMember: true})
	w.dms[user] = r
	return r
}

// member reports whether a person is in the conversation.
func (w *Workspace) member(r *room, user string) bool {
	if user == w.botUser {
		return r.BotMember
	}
	if r.members != nil {
		return r.members[user]
	}
	u := w.users[user]
	return u != nil && u.TeamID == w.cfg.TeamID && !u.Restricted
}

// sees reports whether a person can open the conversation and read it.
func (w *Workspace) sees(r *room, user string) bool {
	if w.member(r, user) {
		return true
	}
	u := w.users[user]
	return r.Kind == Public && u != nil && u.TeamID == w.cfg.TeamID && !u.Restricted
}

// profile is users.info's user object.
func (w *Workspace) profile(u *User) answer {
	p := answer{
		"id": u.ID, "team_id": u.TeamID, "name": u.Name, "real_name": u.RealName, "deleted": u.Deleted,
		"is_bot": u.Bot, "is_app_user": false, "is_admin": u.Admin, "is_owner": false,
		"is_restricted": u.Restricted, "is_ultra_restricted": u.UltraRestricted, "is_stranger": u.Stranger,
		"updated": 1767225600, "tz": "Etc/UTC", "tz_label": "UTC", "tz_offset": 0,
		"profile": answer{"display_name": u.Name, "real_name": u.RealName, "team": u.TeamID},
	}
	if u.Location != nil {
		zone, offset := w.now().In(u.Location).Zone()
		p["tz"], p["tz_label"], p["tz_offset"] = u.Location.String(), zone, offset
	}
	if u.EnterpriseID != "" {
		p["enterprise_user"] = answer{
			"id": u.ID, "enterprise_id": u.EnterpriseID, "enterprise_name": "Grid", "is_admin": false, "is_owner": false,
			"teams": []string{u.TeamID},
		}
	}
	return p
}

// info is conversations.info's channel object (conversation object).
func (w *Workspace) info(r *room) answer {
	c := answer{
		"id": r.ID, "created": 1767225600, "is_archived": r.Archived, "is_im": r.Kind == IM, "is_org_shared": r.OrgShared,
		"context_team_id": w.cfg.TeamID, "updated": 1767225600000,
	}
	if r.Kind == IM {
		if len(r.Members) > 0 {
			c["user"] = r.Members[0]
		}
		c["is_open"] = true
		return c
	}
	shared := r.SharedTeamIDs
	if shared == nil {
		shared = []string{w.cfg.TeamID}
	}
	topic := answer{"value": "", "creator": "", "last_set": 0}
	maps.Copy(c, answer{
		"name": r.Name, "name_normalized": r.Name, "is_channel": r.Kind != MPIM, "is_group": r.Kind == MPIM,
		"is_mpim": r.Kind == MPIM, "is_private": r.Kind != Public, "is_general": false, "is_member": r.BotMember,
		"is_shared": r.ExtShared || r.OrgShared, "is_ext_shared": r.ExtShared, "is_pending_ext_shared": r.PendingExtShared,
		"is_frozen": false, "is_read_only": r.ReadOnly, "shared_team_ids": shared, "conversation_host_id": w.cfg.TeamID,
		"creator": slackbotID, "topic": topic, "purpose": topic, "previous_names": []string{},
	})
	return c
}

// numMembers counts who is in a conversation, the bot too.
func (w *Workspace) numMembers(r *room) int {
	n := 0
	for id, u := range w.users {
		if id != slackbotID && !u.Deleted && w.member(r, id) {
			n++
		}
	}
	return n
}
