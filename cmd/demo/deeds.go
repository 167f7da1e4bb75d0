package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"zegoclose/internal/slacksim"
)

// What people do on the page.

// typed is what somebody sends from a composer.
type typed struct {
	As      string `json:"as"`
	Channel string `json:"channel"`
	Thread  string `json:"thread"` // the ts of its parent; "" = in the channel
	Text    string `json:"text"`
}

// sent is what became of it.
type sent struct {
	Result slacksim.Result `json:"result,omitempty"` // of a command
	Reason string          `json:"reason,omitempty"`
}

// literal is how Slack's client sends what people type: nothing in it is markup.
var literal = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// typeText sends a command, or a message.
func (s *site) typeText(ctx context.Context, t typed) (sent, error) {
	c, err := s.channel(t.As, t.Channel)
	if err != nil {
		return sent{}, err
	}
	if strings.TrimSpace(t.Text) == "" {
		return sent{}, refuse(http.StatusBadRequest, "there is nothing to send")
	}
	if !strings.HasPrefix(t.Text, "/") {
		s.slack.Post(slacksim.Message{Channel: c.ID, User: t.As, ThreadTS: t.Thread, Text: literal.Replace(t.Text)})
		return sent{}, nil
	}
	word, rest, _ := strings.Cut(t.Text, " ")
	o, err := s.slack.Command(slacksim.Command{User: t.As, Channel: c.ID, Command: word, Text: rest, ThreadTS: t.Thread}).Wait(ctx)
	return sent{o.Result, o.Reason}, err
}

// pressed is a press of a button.
type pressed struct {
	As      string `json:"as"`
	Channel string `json:"channel"`
	TS      string `json:"ts"`
	Block   string `json:"block"`
	Action  string `json:"action"`
	Value   string `json:"value"`
}

// click presses a button and answers when Slack has taken its spinner away. The button may
// be one that is on this person's screen for a moment longer than in the channel.
func (s *site) click(ctx context.Context, p pressed) (sent, error) {
	if _, err := s.channel(p.As, p.Channel); err != nil {
		return sent{}, err
	}
	c := slacksim.Click{User: p.As, Channel: p.Channel, TS: p.TS, BlockID: p.Block, ActionID: p.Action, Value: p.Value}
	d, err := s.slack.Click(c)
	for _, r := range slices.Backward(s.slack.Revisions(p.Channel, p.TS)) {
		if err == nil {
			break
		}
		c.Stale = &r.Message
		d, err = s.slack.Click(c)
	}
	if err != nil {
		return sent{}, refuse(http.StatusConflict, "there is no such button")
	}
	o, err := d.Wait(ctx)
	return sent{o.Result, o.Reason}, err
}

// channel is a channel that a person sees.
func (s *site) channel(who, id string) (slacksim.Channel, error) {
	if !isActor(who) {
		return slacksim.Channel{}, refuse(http.StatusBadRequest, "there is no such person")
	}
	for _, c := range s.slack.Channels() {
		if c.ID == id && s.sees(c, who) {
			return c, nil
		}
	}
	return slacksim.Channel{}, refuse(http.StatusNotFound, "there is no such channel for this person")
}

// crowd is a change of who is in a room.
type crowd struct {
	Room string   `json:"room"`
	In   []string `json:"in"`   // these come
	Some int      `json:"some"` // so many come whose names do not matter; if negative, go
	Back bool     `json:"back"` // its people come back after it is closed
}

// maxCrowd bounds who can be in a room.
const maxCrowd = 1000

// room lets people come and go.
func (s *site) room(_ context.Context, c crowd) (sent, error) {
	if c.Room == "" || len(c.Room) > 128 || len(c.In) > maxCrowd || c.Some > maxCrowd {
		return sent{}, refuse(http.StatusBadRequest, "a room has an id of 1 to 128 bytes, and no more than %d people", maxCrowd)
	}
	if c.Back {
		s.zego.RejoinAfterClose(c.Room, 0)
	}
	s.zego.Login(c.Room, c.In...)
	s.come(c.Room, c.Some)
	s.notify()
	return sent{}, nil
}

// come lets n people, who have no names of their own, into a room, or out of it.
func (s *site) come(room string, n int) {
	var in []string
	for _, r := range s.zego.Rooms() {
		if r.ID == room {
			for _, u := range r.Users {
				in = append(in, u.ID)
			}
		}
	}
	for i := 1; n > 0 && len(in) < maxCrowd; i++ {
		if name := fmt.Sprintf("viewer-%d", i); !slices.Contains(in, name) {
			s.zego.Login(room, name)
			in = append(in, name)
			n--
		}
	}
	if n < 0 {
		slices.Reverse(in)
		s.zego.Logout(room, in[:min(-n, len(in))]...)
	}
}

// populate fills the rooms that are there when the page is opened.
func (s *site) populate() {
	s.zego.Login("live-42", "ann", "ben", "cat", "dan", "eve")
	s.come("live-42", 119)
	s.zego.Login("live-43", "fay", "gil", "hal")
	s.zego.Login("live-44", "ida")
}

// bustle lets people come and go until the house is closed.
func (s *site) bustle() {
	for {
		select {
		case <-time.After(1500*time.Millisecond + rand.N(3*time.Second)):
		case <-s.over:
			return
		}
		rooms := s.zego.Rooms()
		if len(rooms) == 0 {
			continue
		}
		r := rooms[rand.IntN(len(rooms))]
		if n := 1 - 2*rand.IntN(2); n > 0 || len(r.Users) > 2 {
			s.come(r.ID, n)
			s.notify()
		}
	}
}
