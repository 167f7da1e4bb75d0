package slacksim

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// The control door lets a person with curl do what a test does with methods:
//
//	POST /sim/command  {"user":"U0001","channel":"C0001","command":"/zego-close","text":"room-1 spam"}
//	POST /sim/click    {"user":"U0001","channel":"C0001","ts":"1767225600.000100","action_id":"confirm"}
//	GET  /sim/state    people, channels, what was said, sockets, violations
//
// Users and channels may be named by id or by name. The door opens to the loopback only, and to no web page of another
// origin.

// guard keeps strangers out of the control door.
func (w *Workspace) guard(f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		if !w.enter() {
			abort(rw)
			return
		}
		defer w.wg.Done()
		rw.Header().Set("Content-Type", "application/json; charset=utf-8")
		if origin := r.Header.Get("Origin"); !loopback(r.RemoteAddr) || !loopback(r.Host) || origin != "" && origin != "http://"+r.Host {
			rw.WriteHeader(http.StatusForbidden)
			json.NewEncoder(rw).Encode(answer{"ok": false, "error": "from this machine only"})
			return
		}
		result, err := f(r)
		if err != nil {
			rw.WriteHeader(http.StatusBadRequest)
			result = answer{"ok": false, "error": err.Error()}
		}
		enc := json.NewEncoder(rw)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		enc.Encode(result)
	}
}

// loopback reports whether host or host:port is this machine.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

type controlRequest struct {
	User     string `json:"user"`
	Channel  string `json:"channel"`
	Command  string `json:"command"`
	Text     string `json:"text"`
	ThreadTS string `json:"thread_ts"`
	TS       string `json:"ts"`
	ActionID string `json:"action_id"`
	BlockID  string `json:"block_id"`
	Value    string `json:"value"`
}

func (w *Workspace) readControl(r *http.Request) (controlRequest, error) {
	var req controlRequest
	dec := json.NewDecoder(io.LimitReader(r.Body, 1<<20))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return req, fmt.Errorf("reading the request: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.users {
		if u.Name == strings.TrimPrefix(req.User, "@") {
			req.User = u.ID
		}
	}
	if named := w.byName[strings.TrimPrefix(req.Channel, "#")]; named != nil {
		req.Channel = named.ID
	}
	return req, nil
}

// controlCommand answers when the command has its outcome.
func (w *Workspace) controlCommand(r *http.Request) (any, error) {
	req, err := w.readControl(r)
	if err != nil {
		return nil, err
	}
	d := w.Command(Command{User: req.User, Channel: req.Channel, Command: req.Command, Text: req.Text, ThreadTS: req.ThreadTS})
	return w.controlOutcome(r, d)
}

func (w *Workspace) controlClick(r *http.Request) (any, error) {
	req, err := w.readControl(r)
	if err != nil {
		return nil, err
	}
	d, err := w.Click(Click{User: req.User, Channel: req.Channel, TS: req.TS, ActionID: req.ActionID, BlockID: req.BlockID, Value: req.Value})
	if err != nil {
		return nil, err
	}
	return w.controlOutcome(r, d)
}

func (w *Workspace) controlOutcome(r *http.Request, d *Delivery) (any, error) {
	out, err := d.Wait(r.Context())
	if err != nil {
		return nil, err
	}
	seen := answer{"ok": out.Result == Acked, "outcome": out, "latency_ms": float64(out.Latency.Microseconds()) / 1000}
	if out.Reply != nil {
		seen["reply"] = w.Render(*out.Reply, out.User)
	}
	return seen, nil
}

// maxState bounds the messages /sim/state shows of each channel, and of each person's ephemerals.
const maxState = 200

type stateMessage struct {
	TS       string         `json:"ts"`
	ThreadTS string         `json:"thread_ts,omitempty"`
	Channel  string         `json:"channel,omitempty"`
	Author   string         `json:"author"`
	Shows    string         `json:"shows"`
	Mentions []string       `json:"mentions,omitempty"`
	Buttons  []Button       `json:"buttons,omitempty"`
	Replies  []stateMessage `json:"replies,omitempty"`
}

// controlState shows everything there is, from nobody's point of view.
func (w *Workspace) controlState(*http.Request) (any, error) {
	type channelState struct {
		Channel
		Messages []stateMessage `json:"messages"`
	}
	var channels []channelState
	for _, c := range w.Channels() {
		state := channelState{Channel: c, Messages: []stateMessage{}}
		for _, m := range last(w.Messages(c.ID), maxState) {
			shown := w.stateMessage(m)
			if m.ThreadTS == m.TS {
				for _, reply := range last(w.Thread(c.ID, m.TS)[1:], maxState) {
					shown.Replies = append(shown.Replies, w.stateMessage(reply))
				}
			}
			state.Messages = append(state.Messages, shown)
		}
		channels = append(channels, state)
	}
	ephemerals := map[string][]stateMessage{}
	for _, u := range w.Users() {
		for _, m := range last(w.Ephemerals(u.ID), maxState) {
			shown := w.stateMessage(m)
			shown.Channel = m.Channel
			ephemerals[u.ID] = append(ephemerals[u.ID], shown)
		}
	}
	return answer{
		"users": w.Users(), "groups": w.Groups(), "channels": channels, "ephemerals": ephemerals,
		"connections": w.Connections(), "deliveries": last(w.Deliveries(), maxState), "violations": w.Violations(),
	}, nil
}

func (w *Workspace) stateMessage(m Message) stateMessage {
	s := stateMessage{TS: m.TS, ThreadTS: m.ThreadTS, Author: m.User, Shows: w.Render(m, ""), Mentions: w.Mentions(m)}
	if m.For == "" {
		s.Buttons = w.Buttons(m.Channel, m.TS)
	} else {
		s.Buttons = buttons(m.Blocks)
	}
	return s
}

func last[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }
