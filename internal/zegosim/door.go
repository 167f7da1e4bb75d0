package zegosim

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// door serves /sim/, for people with curl and for pages:
//
//	GET  /sim/state   rooms, calls, executions, kicks, messages, faults, violations
//	POST /sim/login   {"room": "live-42", "users": ["alice"], "service": ["recorder"], "test": false}
//	POST /sim/logout  {"room": "live-42", "users": ["alice"], "test": false}
//	POST /sim/rejoin  {"room": "live-42", "after": "2s", "test": false}
//	POST /sim/fault   {"action": "CloseRoom", "count": 1, "after": "1.5s", "reset": true},
//	                  any fields of Fault; {} clears all faults
//
// Each POST answers with the state it led to. The door opens to this machine only, and to
// no web page of another origin: a page that somebody happens to look at could otherwise
// rule the simulator.
func (s *Server) door(w http.ResponseWriter, r *http.Request) {
	if origin := r.Header.Get("Origin"); !loopback(r.RemoteAddr) || !loopback(r.Host) || origin != "" && origin != "http://"+r.Host {
		http.Error(w, "from this machine, and from no page of another origin", http.StatusForbidden)
		return
	}
	var err error
	switch what := r.Method + " " + r.URL.Path; what {
	case "GET /sim/state":
	case "POST /sim/login", "POST /sim/logout", "POST /sim/rejoin":
		err = s.doorRoom(r)
	case "POST /sim/fault":
		err = s.doorFault(r)
	default:
		http.Error(w, "no "+what+"; there are GET /sim/state and POST /sim/login, logout, rejoin and fault", http.StatusNotFound)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.Encode(s.state())
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

func (s *Server) doorRoom(r *http.Request) error {
	var body struct {
		Room    string
		Users   []string
		Service []string
		After   duration
		Test    bool
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.Room == "" {
		return fmt.Errorf("no room")
	}
	world := s.World
	if body.Test {
		world = s.test
	}
	switch r.URL.Path {
	case "/sim/login":
		world.Login(body.Room, body.Users...)
		world.LoginService(body.Room, body.Service...)
	case "/sim/logout":
		world.Logout(body.Room, body.Users...)
	case "/sim/rejoin":
		world.RejoinAfterClose(body.Room, time.Duration(body.After))
	}
	return nil
}

func (s *Server) doorFault(r *http.Request) error {
	var body struct {
		Fault
		Before duration `json:"before"` // in place of Fault's own
		After  duration `json:"after"`
		Skew   duration `json:"skew"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	f := body.Fault
	f.Before, f.After, f.Skew = time.Duration(body.Before), time.Duration(body.After), time.Duration(body.Skew)
	switch {
	case f == Fault{}:
		s.ClearFaults()
	case f.String() == "":
		return fmt.Errorf("a fault that does nothing")
	default:
		s.AddFault(f)
	}
	return nil
}

func decode(r *http.Request, into any) error {
	in := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<20))
	in.DisallowUnknownFields()
	return in.Decode(into)
}

// duration is a time.Duration that reads "1.5s" from JSON.
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = duration(v)
	return err
}

// state is everything there is to see.
type state struct {
	Production []Room      `json:"production"`
	Test       []Room      `json:"test"`
	Calls      []Call      `json:"calls"`
	Executions []Execution `json:"executions"`
	Kicked     []Kick      `json:"kicked"`
	Messages   []Message   `json:"messages"`
	Faults     []string    `json:"faults"`
	Violations []string    `json:"violations"`
}

func (s *Server) state() state {
	st := state{
		Production: s.Rooms(),
		Test:       s.test.Rooms(),
		Calls:      s.Calls(),
		Executions: s.Executions(),
		Kicked:     s.Kicked(),
		Messages:   s.Messages(),
		Violations: s.Violations(),
		Faults:     []string{},
	}
	for _, f := range snapshot(s, &s.faults) {
		st.Faults = append(st.Faults, f.String())
	}
	return st
}
