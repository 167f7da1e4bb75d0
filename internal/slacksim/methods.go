package slacksim

import (
	"encoding/base64"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// The Web API methods about everything but chat. Each runs with mu held, after token, scopes and pace are settled.

func (w *Workspace) authTest(*call) (answer, *apiError) {
	ans := answer{
		"url": "https://" + w.cfg.TeamDomain + ".slack.com/", "team": w.cfg.TeamDomain, "user": w.cfg.BotName,
		"team_id": w.cfg.TeamID, "user_id": w.botUser, "bot_id": w.botID, "is_enterprise_install": false,
	}
	if w.cfg.EnterpriseID != "" {
		ans["enterprise_id"] = w.cfg.EnterpriseID
	}
	return ans, nil
}

func (w *Workspace) botsInfo(c *call) (answer, *apiError) {
	if c.arg("bot") != w.botID {
		return nil, refuse("bot_not_found")
	}
	return answer{"bot": answer{
		"id": w.botID, "app_id": w.cfg.AppID, "user_id": w.botUser, "name": w.cfg.BotName, "deleted": false,
		"updated": 1767225600, "icons": answer{},
	}}, nil
}

func (w *Workspace) usersInfo(c *call) (answer, *apiError) {
	u := w.users[c.arg("user")]
	if u == nil {
		return nil, refuse("user_not_found")
	}
	return answer{"user": w.profile(u)}, nil
}

func (w *Workspace) usergroupsUsersList(c *call) (answer, *apiError) {
	g := w.groups[c.arg("usergroup")]
	if g == nil || g.Disabled && !c.flag("include_disabled") {
		return nil, refuse("no_such_subteam")
	}
	return answer{"users": append([]string{}, g.Users...)}, nil
}

// Conversations.

// scopePrefix is how scopes call this kind of channel.
func (r *room) scopePrefix() string {
	return map[ChannelKind]string{Public: "channels", Private: "groups", IM: "im", MPIM: "mpim"}[r.Kind]
}

// visible finds a channel the bot may know of.
func (w *Workspace) visible(id string) (*room, *apiError) {
	r := w.byID[id]
	if r == nil || r.Kind != Public && !r.BotMember {
		return nil, refuse("channel_not_found")
	}
	return r, nil
}

// readable finds a channel for a method that needs a …:read or …:history scope.
func (w *Workspace) readable(c *call, scope string) (*room, *apiError) {
	r, err := w.visible(c.arg("channel"))
	if err != nil {
		return nil, err
	}
	if needed := r.scopePrefix() + scope; !w.granted(needed) {
		return nil, w.lacking(needed)
	}
	return r, nil
}

func (w *Workspace) conversationsInfo(c *call) (answer, *apiError) {
	r, err := w.readable(c, ":read")
	if err != nil {
		return nil, err
	}
	info := w.info(r)
	if c.flag("include_num_members") {
		info["num_members"] = w.numMembers(r)
	}
	return answer{"channel": info}, nil
}

func (w *Workspace) conversationsJoin(c *call) (answer, *apiError) {
	r, err := w.visible(c.arg("channel"))
	switch {
	case err != nil:
		return nil, err
	case r.Kind != Public:
		return nil, refuse("method_not_supported_for_channel_type")
	case r.Archived:
		return nil, refuse("is_archived")
	case r.BotMember:
		return answer{
			"channel": w.info(r), "warning": "already_in_channel",
			"response_metadata": answer{"warnings": []string{"already_in_channel"}},
		}, nil
	}
	r.BotMember = true
	w.note(Event{Kind: WorldChanged, Channel: r.ID})
	return answer{"channel": w.info(r)}, nil
}

// conversationsOpen opens the direct messages with one person; groups of people are not modelled.
func (w *Workspace) conversationsOpen(c *call) (answer, *apiError) {
	if strings.Contains(c.arg("users"), ",") {
		return nil, refuse("not_enough_users")
	}
	r := w.openDM(c.arg("users"))
	if r == nil {
		return nil, refuse("user_not_found")
	}
	return answer{"channel": answer{"id": r.ID}}, nil
}

func (w *Workspace) conversationsHistory(c *call) (answer, *apiError) {
	r, err := w.historyRoom(c)
	if err != nil {
		return nil, err
	}
	limit, oldest, latest, err := page(c, 100)
	if err != nil {
		return nil, err
	}
	inclusive := c.flag("inclusive")
	end := len(r.roots)
	if latest != "" {
		end = sort.Search(end, func(i int) bool {
			return r.roots[i].TS > latest || !inclusive && r.roots[i].TS == latest
		})
	}
	if before := cursor(c); before != "" {
		end = min(end, sort.Search(len(r.roots), func(i int) bool { return r.roots[i].TS >= before }))
	}
	var (
		now  = w.now()
		all  = c.flag("include_all_metadata")
		list = []wireMessage{}
		next string
	)
	for i := end - 1; i >= 0; i-- {
		m := r.roots[i]
		if m.TS < oldest || m.TS == oldest && !inclusive {
			break
		}
		if m.hiddenUntil.After(now) {
			continue
		}
		if len(list) == limit {
			next = list[limit-1].TS
			break
		}
		list = append(list, w.wire(m, all))
	}
	return listing(list, next), nil
}

func (w *Workspace) conversationsReplies(c *call) (answer, *apiError) {
	r, err := w.historyRoom(c)
	if err != nil {
		return nil, err
	}
	now := w.now()
	parent := r.all[c.arg("ts")]
	if parent == nil || parent.Deleted && len(parent.replies) == 0 || parent.hiddenUntil.After(now) {
		return nil, refuse("thread_not_found")
	}
	limit, oldest, latest, err := page(c, 1000)
	if err != nil {
		return nil, err
	}
	inclusive := c.flag("inclusive")
	all := c.flag("include_all_metadata")
	list := []wireMessage{}
	after := cursor(c)
	if after == "" {
		list = append(list, w.wire(parent, all)) // the parent comes first, whatever oldest says
	}
	from := max(oldest, after)
	start := sort.Search(len(parent.replies), func(i int) bool {
		ts := parent.replies[i].TS
		return ts > from || ts == from && inclusive && from != after
	})
	var next string
	for _, m := range parent.replies[start:] {
		if latest != "" && (m.TS > latest || m.TS == latest && !inclusive) {
			break
		}
		if m.hiddenUntil.After(now) {
			continue
		}
		if len(list) == limit {
			next = list[limit-1].TS
			break
		}
		list = append(list, w.wire(m, all))
	}
	return listing(list, next), nil
}

// historyRoom finds a channel whose messages the bot may read: it must be a member.
func (w *Workspace) historyRoom(c *call) (*room, *apiError) {
	r, err := w.readable(c, ":history")
	if err != nil {
		return nil, err
	}
	if !r.BotMember {
		return nil, refuse("not_in_channel")
	}
	return r, nil
}

// page reads the arguments that pick a stretch of messages.
func page(c *call, limit int) (n int, oldest, latest string, err *apiError) {
	n = limit
	if v := c.arg("limit"); v != "" {
		if n, _ = strconv.Atoi(v); n < 1 || n > 1000 {
			return 0, "", "", &apiError{code: "invalid_limit", violation: Malformed}
		}
	}
	oldest, latest = c.arg("oldest"), c.arg("latest")
	for _, ts := range []*string{&oldest, &latest} {
		if *ts == "0" {
			*ts = ""
		}
		if *ts == "" || strings.Contains(*ts, ".") {
			continue
		}
		if _, bad := strconv.ParseUint(*ts, 10, 64); bad != nil {
			return 0, "", "", &apiError{code: "invalid_ts_latest", violation: Malformed}
		}
		*ts += ".000000"
	}
	return n, oldest, latest, nil
}

// cursor returns the ts a page continues from.
func cursor(c *call) string {
	raw, _ := base64.StdEncoding.DecodeString(c.arg("cursor"))
	ts, _ := strings.CutPrefix(string(raw), "next_ts:")
	return ts
}

func listing(list []wireMessage, next string) answer {
	ans := answer{"messages": list, "has_more": next != ""}
	if next != "" {
		ans["response_metadata"] = answer{"next_cursor": base64.StdEncoding.EncodeToString([]byte("next_ts:" + next))}
	}
	return ans
}

// Socket Mode.

func (w *Workspace) connectionsOpen(c *call) (answer, *apiError) {
	switch {
	case c.get:
		return nil, &apiError{code: "insecure_request", violation: InsecureRequest}
	case !c.header:
		return nil, &apiError{code: "not_authed", violation: WrongToken}
	case w.offMode:
		return nil, refuse(w.cfg.LinkDisabledError)
	}
	return answer{"url": w.newTicket(c)}, nil
}

// isCommand reports whether the app has this slash command, and the permission to have any.
func (w *Workspace) isCommand(name string) bool {
	return w.granted("commands") && slices.Contains(w.cfg.Commands, name)
}
