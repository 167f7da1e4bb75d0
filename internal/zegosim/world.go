package zegosim

import (
	"cmp"
	"slices"
	"time"
)

// A World is one environment of the app: production or test. Rooms come into
// being when somebody logs in and vanish with the last user, as ZEGO's do.
type World struct {
	s       *Server
	name    string
	rooms   map[string]*Room
	rejoin  map[string]time.Duration // by room id
	forbids []forbid
}

// Room is a room at some moment.
type Room struct {
	ID        string    `json:"id"`
	Session   uint64    `json:"session,string"` // new whenever the room comes into being
	CreatedAt time.Time `json:"createdAt"`
	Users     []User    `json:"users"` // in order of login
	Streams   []Stream  `json:"streams,omitempty"`
}

// Roles of users. Only RoleService has a meaning with ZEGO's Express SDK.
const (
	RoleAudience = 2
	RoleService  = 4 // a recorder, content moderation: counted as AdminUserCount
)

// User is somebody in a room.
type User struct {
	ID      string    `json:"id"`
	Role    int       `json:"role"`
	LoginAt time.Time `json:"loginAt"`
}

// Stream is something a user publishes.
type Stream struct {
	ID        string    `json:"id"`
	UserID    string    `json:"user"`
	Number    uint32    `json:"number"`
	CreatedAt time.Time `json:"createdAt"`
}

func newWorld(s *Server, name string) *World {
	return &World{s: s, name: name, rooms: make(map[string]*Room), rejoin: make(map[string]time.Duration)}
}

// Login lets people into a room. Whom SetForbidUserRule bars stays outside.
func (w *World) Login(room string, users ...string) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.login(room, RoleAudience, users)
}

// LoginService lets service users into a room.
func (w *World) LoginService(room string, users ...string) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.login(room, RoleService, users)
}

func (w *World) login(id string, role int, users []string) {
	now := w.s.cfg.Now()
	for _, user := range users {
		if w.forbidden(id, user, now) {
			continue
		}
		r := w.rooms[id]
		if r == nil {
			w.s.sessions++
			r = &Room{ID: id, Session: w.s.sessions, CreatedAt: now}
			w.rooms[id] = r
		}
		r.drop(user) // a second login replaces the first
		r.Users = append(r.Users, User{ID: user, Role: role, LoginAt: now})
	}
}

// Logout lets users leave a room.
func (w *World) Logout(room string, users ...string) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for _, user := range users {
		w.leave(room, user)
	}
}

// leave takes a user out of a room and reports whether they were in it.
func (w *World) leave(room, user string) bool {
	r := w.rooms[room]
	if r == nil || !r.drop(user) {
		return false
	}
	if len(r.Users) == 0 {
		delete(w.rooms, room)
	}
	return true
}

func (r *Room) drop(user string) bool {
	n := len(r.Users)
	r.Users = slices.DeleteFunc(r.Users, func(u User) bool { return u.ID == user })
	r.Streams = slices.DeleteFunc(r.Streams, func(s Stream) bool { return s.UserID == user })
	return len(r.Users) < n
}

// Publish lets a user who is in the room publish a stream.
func (w *World) Publish(room, user, stream string) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	r := w.rooms[room]
	if r == nil || r.index(user) < 0 {
		return
	}
	r.Streams = append(r.Streams, Stream{ID: stream, UserID: user, Number: uint32(len(r.Streams) + 1), CreatedAt: w.s.cfg.Now()})
}

// index returns where in Users a user is, or -1.
func (r *Room) index(user string) int {
	return slices.IndexFunc(r.Users, func(u User) bool { return u.ID == user })
}

// People returns the number of users in a room, service users aside.
func (w *World) People(room string) int {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	r := w.rooms[room]
	if r == nil {
		return 0
	}
	return len(r.Users) - r.services()
}

func (r *Room) services() int {
	n := 0
	for _, u := range r.Users {
		if u.Role == RoleService {
			n++
		}
	}
	return n
}

// Rooms returns the rooms there are, by id.
func (w *World) Rooms() []Room {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.snapshot()
}

func (w *World) snapshot() []Room {
	rooms := []Room{}
	for _, r := range w.rooms {
		rooms = append(rooms, r.clone())
	}
	slices.SortFunc(rooms, func(a, b Room) int { return cmp.Compare(a.ID, b.ID) })
	return rooms
}

func (r *Room) clone() Room {
	c := *r
	c.Users, c.Streams = slices.Clone(r.Users), slices.Clone(r.Streams)
	return c
}

// RejoinAfterClose makes the people of a room log in again, which makes a new
// room with a new session, so long after each CloseRoom of it. With a delay of
// 0 they are back before CloseRoom is answered; less than 0 ends it.
func (w *World) RejoinAfterClose(room string, delay time.Duration) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if delay < 0 {
		delete(w.rejoin, room)
		return
	}
	w.rejoin[room] = delay
}

// close throws everybody out of a room.
func (w *World) close(r *Room, c *call, callback bool) {
	now := w.s.cfg.Now()
	x := Execution{Call: c.N, Time: now, Test: c.Test, RoomID: r.ID, Session: r.Session, Reason: c.Reason, Callback: callback}
	var people []string
	for _, u := range r.Users {
		x.Users = append(x.Users, u.ID)
		if u.Role != RoleService {
			people = append(people, u.ID)
		}
		w.kicked(r, u.ID, c, now)
	}
	w.s.executions = append(w.s.executions, x)
	delete(w.rooms, r.ID)

	switch delay, back := w.rejoin[r.ID]; {
	case back && delay == 0:
		w.login(r.ID, RoleAudience, people)
	case back:
		time.AfterFunc(delay, func() { w.Login(r.ID, people...) })
	}
}

func (w *World) kicked(r *Room, user string, c *call, now time.Time) {
	w.s.kicked = append(w.s.kicked, Kick{Time: now, Action: c.Action, RoomID: r.ID, Session: r.Session, UserID: user, Reason: c.Reason})
}

// forbid is a rule of SetForbidUserRule. An empty room or user means all.
type forbid struct {
	kind       int // RuleType
	room, user string
	login      bool // it bars logins, not only publishing
	until      time.Time
}

func (w *World) forbidden(room, user string, now time.Time) bool {
	return slices.ContainsFunc(w.forbids, func(f forbid) bool {
		return f.login && now.Before(f.until) && (f.room == "" || f.room == room) && (f.user == "" || f.user == user)
	})
}
