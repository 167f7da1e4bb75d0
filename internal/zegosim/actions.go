package zegosim

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// action is one API: how often it may be called, and what it does. do runs with
// the lock held and returns the answer's Data and Code.
type action struct {
	perApp, perAppTest, perRoom rate   // n = 0: no limit; perAppTest: perApp
	list                        string // the parameter that may be sent several times
	do                          func(s *Server, c *call) (data any, code int)
}

// actions has the limits that ZEGO's page of each action states.
var actions = map[string]action{
	"CloseRoom":                {perApp: rate{1, time.Second}, do: closeRoom},
	"DescribeUserNum":          {perApp: rate{10, time.Second}, perAppTest: rate{1, time.Second}, list: "RoomId", do: describeUserNum},
	"DescribeUserList":         {perApp: rate{200, time.Second}, perRoom: rate{1, time.Second}, do: describeUserList},
	"DescribeUsers":            {perApp: rate{10, time.Second}, list: "UserId", do: describeUsers},
	"DescribeSimpleStreamList": {perApp: rate{50, time.Second}, perRoom: rate{1, 10 * time.Second}, do: describeSimpleStreamList},
	"KickoutUser":              {perApp: rate{50, time.Second}, list: "UserId", do: kickoutUser},
	"SendBroadcastMessage":     {perApp: rate{100, time.Second}, perAppTest: rate{10, time.Second}, do: sendBroadcastMessage},
	"SendCustomCommand":        {perApp: rate{100, time.Second}, perAppTest: rate{10, time.Second}, list: "ToUserId", do: sendCustomCommand},
	"SetForbidUserRule":        {perApp: rate{10, time.Second}, list: "DisabledPrivilege", do: setForbidUserRule},
}

// Codes of the room service.
const (
	codeBadParameter   = 2
	codeTooLong        = 3
	codeNotEnabled     = 9
	codeRoomAbsent     = 104
	codeMessageEmpty   = 1008
	codeNoRoomStatus   = 50001
	codeUserOffline    = 50003
	codeTooManyUsers   = 50011
	codeMessageTooLong = 50012
	codeTooManyRules   = 50123
)

// Limits in bytes.
const (
	maxRoomID  = 128
	maxUserID  = 64
	maxReason  = 256
	maxMessage = 1024
)

func closeRoom(s *Server, c *call) (any, int) {
	if code := s.checkText(c, "RoomId", c.query["RoomId"], maxRoomID); code != 0 {
		return nil, code
	}
	if code := s.checkReason(c); code != 0 {
		return nil, code
	}
	callback := c.query.Get("RoomCloseCallback")
	if _, sent := c.query["RoomCloseCallback"]; sent && !strings.EqualFold(callback, "true") && !strings.EqualFold(callback, "false") {
		s.violate(c, "RoomCloseCallback is %q, neither true nor false", callback)
		return nil, codeBadParameter
	}
	room := c.world.rooms[c.RoomID]
	if room == nil {
		if plain, err := url.PathUnescape(c.RoomID); err == nil && plain != c.RoomID && c.world.rooms[plain] != nil {
			s.violate(c, "RoomId %q does not exist, but %q does: encoded twice", c.RoomID, plain)
		}
		return nil, s.cfg.AbsentCode
	}
	c.world.close(room, c, strings.EqualFold(callback, "true"))
	return nil, 0
}

func describeUserNum(s *Server, c *call) (any, int) {
	type count struct {
		RoomId         string
		UserCount      int
		AdminUserCount int
	}
	rooms := c.list()
	if len(rooms) > 10 {
		s.violate(c, "%d rooms, 10 at most", len(rooms))
		return nil, codeBadParameter
	}
	if code := s.checkText(c, "RoomId[]", rooms, maxRoomID); code != 0 {
		return nil, code
	}
	list := []count{}
	for _, id := range rooms {
		n := count{RoomId: id}
		if room := c.world.rooms[id]; room != nil {
			n.UserCount, n.AdminUserCount = len(room.Users), room.services()
		}
		list = append(list, n)
	}
	return map[string]any{"UserCountList": list}, 0
}

func describeUserList(s *Server, c *call) (any, int) {
	type user struct {
		UserId, UserName string
		UserRole         int
	}
	if code := s.checkText(c, "RoomId", c.query["RoomId"], maxRoomID); code != 0 {
		return nil, code
	}
	mode, ok1 := s.number(c, "Mode", 0, 0, 1)
	limit, ok2 := s.number(c, "Limit", 200, 0, 200)
	if !ok1 || !ok2 {
		return nil, codeBadParameter
	}
	var users []User
	if room := c.world.rooms[c.RoomID]; room != nil {
		users = slices.Clone(room.Users)
	}
	if mode == 1 {
		slices.Reverse(users)
	}
	marker := func(u User) string { return fmt.Sprintf("%d-%s", u.LoginAt.UnixMilli(), u.ID) }
	if from := c.query.Get("Marker"); from != "" { // the last user of the page before
		i := slices.IndexFunc(users, func(u User) bool { return marker(u) == from })
		users = users[i+1:]
	}
	next := ""
	if limit > 0 && len(users) > limit {
		users = users[:limit]
		next = marker(users[limit-1])
	}
	list := []user{}
	for _, u := range users {
		list = append(list, user{u.ID, u.ID, u.Role})
	}
	return map[string]any{"Marker": next, "UserList": list}, 0
}

func describeUsers(s *Server, c *call) (any, int) {
	type status struct {
		UserId    string
		Status    int
		LoginTime int64
		UserRole  int
	}
	if code := s.checkText(c, "RoomId", c.query["RoomId"], maxRoomID); code != 0 {
		return nil, code
	}
	ids := c.list()
	if len(ids) > 10 {
		s.violate(c, "%d users, 10 at most", len(ids))
		return nil, codeBadParameter
	}
	if code := s.checkText(c, "UserId[]", ids, maxUserID); code != 0 {
		return nil, code
	}
	room := c.world.rooms[c.RoomID]
	if room == nil {
		return nil, codeNoRoomStatus
	}
	list := []status{}
	for _, id := range ids {
		st := status{UserId: id}
		if i := room.index(id); i >= 0 {
			u := room.Users[i]
			st.Status, st.LoginTime, st.UserRole = 1, u.LoginAt.UnixMilli(), u.Role
		}
		list = append(list, st)
	}
	return map[string]any{"UserStatusList": list}, 0
}

// describeSimpleStreamList answers an absent room with an empty list; what ZEGO
// does is not documented.
func describeSimpleStreamList(s *Server, c *call) (any, int) {
	type stream struct {
		StreamId, UserId, UserName string
		CreateTime                 int64 // ms
		StreamNumberId             uint32
	}
	if code := s.checkText(c, "RoomId", c.query["RoomId"], maxRoomID); code != 0 {
		return nil, code
	}
	list := []stream{}
	if room := c.world.rooms[c.RoomID]; room != nil {
		for _, st := range room.Streams {
			list = append(list, stream{st.ID, st.UserID, st.UserID, st.CreatedAt.UnixMilli(), st.Number})
		}
	}
	return map[string]any{"StreamList": list}, 0
}

// kickoutUser succeeds for absent users, as ZEGO says, and for absent rooms,
// about which it says nothing.
func kickoutUser(s *Server, c *call) (any, int) {
	if code := s.checkText(c, "RoomId", c.query["RoomId"], maxRoomID); code != 0 {
		return nil, code
	}
	ids := c.list()
	if len(ids) > 5 {
		s.violate(c, "%d users, 5 at most", len(ids))
		return nil, codeTooManyUsers
	}
	if code := s.checkText(c, "UserId[]", ids, maxUserID); code != 0 {
		return nil, code
	}
	if code := s.checkReason(c); code != 0 {
		return nil, code
	}
	room := c.world.rooms[c.RoomID]
	for _, id := range ids {
		if c.world.leave(c.RoomID, id) {
			c.world.kicked(room, id, c, s.cfg.Now())
		}
	}
	return nil, 0
}

func sendBroadcastMessage(s *Server, c *call) (any, int) {
	if category := c.query.Get("MessageCategory"); category != "1" && category != "2" {
		s.violate(c, "MessageCategory is %q, neither 1 nor 2", category)
		return nil, codeBadParameter
	}
	if code := s.checkMessage(c, "UserId"); code != 0 {
		return nil, code
	}
	s.messages = append(s.messages, Message{
		Time: s.cfg.Now(), Action: c.Action, RoomID: c.RoomID,
		From: c.query.Get("UserId"), Content: c.query.Get("MessageContent"),
	})
	return map[string]any{"MessageId": len(s.messages)}, 0
}

func sendCustomCommand(s *Server, c *call) (any, int) {
	type fail struct {
		Uid  string
		Code int
	}
	to := c.list()
	if len(to) > 10 {
		s.violate(c, "%d users, 10 at most", len(to))
		return nil, codeTooManyUsers
	}
	if code := s.checkMessage(c, "FromUserId"); code != 0 {
		return nil, code
	}
	s.messages = append(s.messages, Message{
		Time: s.cfg.Now(), Action: c.Action, RoomID: c.RoomID,
		From: c.query.Get("FromUserId"), To: to, Content: c.query.Get("MessageContent"),
	})
	fails := []fail{}
	for _, id := range to {
		if c.world.rooms[c.RoomID].index(id) < 0 {
			fails = append(fails, fail{id, codeUserOffline})
		}
	}
	return map[string]any{"FailUsers": fails}, 0
}

// setForbidUserRule keeps rules about rooms and users; one about an IP address
// is taken and has no effect, since simulated users have none.
func setForbidUserRule(s *Server, c *call) (any, int) {
	if !s.cfg.ForbidRules {
		return nil, codeNotEnabled
	}
	kind, ok1 := s.number(c, "RuleType", 0, 1, 4)
	seconds, ok2 := s.number(c, "EffectiveTime", 0, 1, 86400)
	if !ok1 || !ok2 {
		return nil, codeBadParameter
	}
	now := s.cfg.Now()
	rule := forbid{kind: kind, until: now.Add(time.Duration(seconds) * time.Second)}
	for _, privilege := range c.list() {
		if privilege != "1" && privilege != "2" {
			s.violate(c, "DisabledPrivilege is %q, neither 1 nor 2", privilege)
			return nil, codeBadParameter
		}
		rule.login = rule.login || privilege == "1"
	}
	demands := map[int][]string{1: {"IP"}, 2: {"RoomId"}, 3: {"UserId"}, 4: {"RoomId", "UserId"}}[kind]
	for _, name := range demands {
		if code := s.checkText(c, name, c.query[name], maxRoomID); code != 0 {
			return nil, code
		}
	}
	if slices.Contains(demands, "RoomId") {
		rule.room = c.query.Get("RoomId")
	}
	if slices.Contains(demands, "UserId") {
		rule.user = c.query.Get("UserId")
	}
	rule.login = rule.login && kind != 1

	c.world.forbids = slices.DeleteFunc(c.world.forbids, func(f forbid) bool { return !now.Before(f.until) })
	live := 0
	for _, f := range c.world.forbids {
		if f.kind == kind {
			live++
		}
	}
	if live >= map[bool]int{true: 100, false: 200}[kind == 1] {
		return nil, codeTooManyRules
	}
	c.world.forbids = append(c.world.forbids, rule)
	return map[string]any{"ExpireTime": rule.until.Unix()}, 0
}

// checkText checks a parameter that must be there and not empty.
func (s *Server) checkText(c *call, name string, values []string, most int) int {
	if len(values) == 0 {
		s.violate(c, "no %s", name)
		return codeBadParameter
	}
	for _, v := range values {
		if v == "" {
			s.violate(c, "an empty %s", name)
			return codeBadParameter
		}
		if len(v) > most {
			s.violate(c, "%s has %d bytes, %d at most", name, len(v), most)
			return codeTooLong
		}
	}
	return 0
}

// checkReason checks CustomReason. ZEGO names no code for one that is too long.
func (s *Server) checkReason(c *call) int {
	if len(c.Reason) > maxReason {
		s.violate(c, "CustomReason has %d bytes, %d at most", len(c.Reason), maxReason)
		return codeTooLong
	}
	if encodedTwice(c.Reason) {
		s.violate(c, "CustomReason %q is encoded twice", c.Reason)
	}
	return 0
}

// checkMessage checks what the two actions that send messages share.
func (s *Server) checkMessage(c *call, sender string) int {
	if code := s.checkText(c, "RoomId", c.query["RoomId"], maxRoomID); code != 0 {
		return code
	}
	if code := s.checkText(c, sender, c.query[sender], maxUserID); code != 0 {
		return code
	}
	switch content := c.query.Get("MessageContent"); {
	case content == "":
		s.violate(c, "no MessageContent")
		return codeMessageEmpty
	case len(content) > maxMessage:
		s.violate(c, "MessageContent has %d bytes, %d at most", len(content), maxMessage)
		return codeMessageTooLong
	case c.world.rooms[c.RoomID] == nil:
		return codeRoomAbsent
	}
	return 0
}

// number reads a decimal parameter. Out of its range it is a violation, unless
// it is absent and the default is good.
func (s *Server) number(c *call, name string, absent, least, most int) (int, bool) {
	n := absent
	if v := c.query.Get(name); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			n = least - 1
		}
	}
	if n < least || n > most {
		s.violate(c, "%s is %q, not %d to %d", name, c.query.Get(name), least, most)
		return 0, false
	}
	return n, true
}
