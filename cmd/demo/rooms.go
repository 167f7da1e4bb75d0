package main

import (
	"fmt"

	"zegoclose/internal/zegosim"
)

// What happens in ZEGO's rooms, which nobody in Slack can see.

// enter lets people into a room.
func (p *player) enter(room string, people ...string) {
	if p.err != nil {
		return
	}
	p.zego.Login(room, people...)
	p.page.zego("%s %s in the room %s.", list(people), plural(len(people), "is", "are"), room)
}

// aside prints what has happened in a room.
func (p *player) aside(room string) {
	if p.err != nil {
		return
	}
	var out, in []string
	reason := ""
	for _, k := range p.zego.Kicked() {
		if k.RoomID == room {
			out, reason = append(out, k.UserID), k.Reason
		}
	}
	news := out[p.kicks[room]:]
	p.kicks[room] = len(out)
	for _, r := range p.zego.Rooms() {
		if r.ID == room {
			for _, u := range r.Users {
				in = append(in, u.ID)
			}
		}
	}

	text := "Nobody was thrown out of " + room
	if len(news) > 0 {
		text = fmt.Sprintf("%s %s thrown out of %s and saw why: “%s”", list(news), plural(len(news), "was", "were"), room, reason)
	}
	switch {
	case len(in) == 0:
		text += ". Nobody is in it now."
	case len(news) == 0:
		text += fmt.Sprintf("; %s %s still in it.", list(in), plural(len(in), "is", "are"))
	default:
		text += fmt.Sprintf(". %s %s in it again.", list(in), plural(len(in), "is", "are"))
	}
	p.page.zego("%s", text)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// losesAnswer lets the connection break on the next CloseRoom of a room, which does not
// take effect. (It might as well have: the caller sees the same.)
func (p *player) losesAnswer(room string) {
	p.zego.AddFault(zegosim.Fault{Action: "CloseRoom", RoomID: room, Count: 1, Skip: true, Reset: true})
}

// reaches waits until a held call is where it is held.
func (p *player) reaches(s *hold) {
	p.until("the CloseRoom of "+s.room+" has "+string(s.phase)+" at ZEGO", s.isReached)
}

// closed waits until ZEGO has closed a room.
func (p *player) closed(room string) {
	p.until("ZEGO has closed "+room, func() bool {
		for _, x := range p.zego.Executions() {
			if x.RoomID == room {
				return true
			}
		}
		return false
	})
}
