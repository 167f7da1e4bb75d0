// Package zegosim is a strict local stand-in for the ZEGO RTC Server API,
// version 2, for testing programs that close rooms. It speaks real HTTP on
// loopback, checks every request in the order and with the codes of ZEGO's
// documentation, keeps ZEGO's rate limits, and has rooms with users in them.
//
//	sim := zegosim.New(zegosim.Config{AppID: 1234567890, ServerSecret: secret})
//	defer sim.Close()
//	sim.Login("live-42", "alice", "bob")
//	// … the program under test closes live-42 at sim.URL() …
//	sim.Executions() // one, with alice and bob thrown out
//	sim.Violations() // empty, if the program behaved
//
// It is ruder than the real service: what ZEGO's pages only advise, such as a
// nonce of 16 hex digits that is never used twice, it insists on. Whatever a
// client should not have done it keeps as a sentence in Violations.
//
// Calls lists what arrived, Executions what took effect; the two differ
// whenever an answer is lost. Faults come in pairs for that reason: each can
// strike before the call takes effect (Skip) or after. OnCall stops time at the
// instants in between, so that a test can kill a process there.
//
// Not simulated: server callbacks, and every action that has nothing to do with
// rooms. Where ZEGO's pages leave a choice open, the choice is said where it is
// made. Under /sim/ a small JSON door shows and changes the state, for whoever
// runs the simulator by itself.
package zegosim

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Config is what a simulated ZEGO app is like.
type Config struct {
	AppID        uint32
	ServerSecret string

	// Listener is where to serve, a free port of 127.0.0.1 if nil.
	Listener net.Listener

	// Now is ZEGO's clock, time.Now if nil. Rate limits go by it too: with a
	// clock that stands still a second CloseRoom is always one too many.
	Now func() time.Time

	// MaxSkew is how far a timestamp may be off, in both directions and
	// inclusive. 0 means ZEGO's 10 minutes.
	MaxSkew time.Duration

	// CloseInterval is the least time between two CloseRoom calls. 0 means
	// ZEGO's second, less than 0 no limit.
	CloseInterval time.Duration

	// NoLimits lifts every rate limit.
	NoLimits bool

	// AbsentCode is what CloseRoom answers for a room that does not exist.
	// ZEGO's pages name four: 5024 (0 means this), 5018, 104 and 50001.
	AbsentCode int

	// LenientNonce takes any nonce, any number of times. ZEGO documents
	// neither a check of the form nor one for repeats.
	LenientNonce bool

	// NoProduction makes the app one that has not gone live: everything
	// without IsTest=true is answered with 100000016.
	NoProduction bool

	// ForbidRules enables SetForbidUserRule, which ZEGO's support does on
	// request. Without it the action is answered with 9.
	ForbidRules bool

	// Host, if set, is the Host header to insist on.
	Host string
}

// A Server is one simulated ZEGO app. The methods of its World are about the
// production environment; Test returns the other one. All methods may be called
// from any goroutine, and from within an observer.
type Server struct {
	*World
	test *World
	cfg  Config
	addr string
	done chan struct{} // closed by Close

	mu         sync.Mutex // guards everything below, and the worlds
	http       *http.Server
	observers  []func(Call, Phase)
	faults     []Fault
	calls      []*call
	executions []Execution
	kicked     []Kick
	messages   []Message
	violations []string
	nonces     map[string]bool
	next       map[string]time.Time // rate limits, see limits.go
	sessions   uint64
}

// New starts a simulator. It panics if there is no free port on loopback.
func New(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxSkew == 0 {
		cfg.MaxSkew = 10 * time.Minute
	}
	if cfg.AbsentCode == 0 {
		cfg.AbsentCode = 5024
	}
	if cfg.Listener == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(fmt.Sprintf("zegosim: no port on loopback: %v", err))
		}
		cfg.Listener = l
	}
	s := &Server{
		cfg:      cfg,
		addr:     cfg.Listener.Addr().String(),
		done:     make(chan struct{}),
		nonces:   make(map[string]bool),
		next:     make(map[string]time.Time),
		sessions: 858012925204410400, // beyond 2^53, as ZEGO's example
	}
	s.World = newWorld(s, "production")
	s.test = newWorld(s, "test")
	s.serve(cfg.Listener)
	return s
}

// URL is the base URL of the API.
func (s *Server) URL() string { return "http://" + s.addr }

// Test returns the test environment, which calls with IsTest=true reach. Its
// rooms and rate limits are its own.
func (s *Server) Test() *World { return s.test }

// Close ends the simulator and cuts every connection. Calls that wait for a
// latency of a fault to pass do not take effect any more.
func (s *Server) Close() {
	s.mu.Lock()
	server := s.http
	select {
	case <-s.done:
	default:
		close(s.done)
	}
	s.mu.Unlock()
	if server != nil {
		server.Close()
	}
}

// Down stops listening, so that connections are refused. Calls in hand go on.
func (s *Server) Down() {
	s.mu.Lock()
	server := s.http
	s.http = nil
	s.mu.Unlock()
	if server != nil {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		server.Shutdown(over) // closes the listener and idle connections, waits for nothing
	}
}

// Up listens again, at the same address, after Down.
func (s *Server) Up() error {
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("zegosim: %w", err)
	}
	s.serve(l)
	return nil
}

func (s *Server) serve(l net.Listener) {
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	s.mu.Lock()
	s.http = server
	s.mu.Unlock()
	go server.Serve(l)
}

// Phase is an instant in the life of a call.
type Phase string

const (
	Arrived  Phase = "arrived"  // received and judged; no effect yet
	Executed Phase = "executed" // it has taken effect; no byte of an answer has left
	Answered Phase = "answered" // the answer, or what a fault made of it, has left; never comes if the fault is Silent
)

// OnCall adds an observer. It runs on the goroutine of the call, which goes on
// when the observer returns. Executed happens only to calls that succeeded.
func (s *Server) OnCall(observe func(Call, Phase)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observers = append(s.observers, observe)
}

func (s *Server) notify(c *call, p Phase) {
	s.mu.Lock()
	seen, observers := c.Call, slices.Clone(s.observers)
	s.mu.Unlock()
	for _, observe := range observers {
		observe(seen, p)
	}
}

// NoCode is a Call's Code as long as, or because, no code was answered.
const NoCode = -1

// Call is one request to the API, whatever became of it.
type Call struct {
	N         int       `json:"n"`    // 1, 2, …
	Time      time.Time `json:"time"` // of arrival, by ZEGO's clock
	Action    string    `json:"action"`
	RoomID    string    `json:"room"` // several are joined by spaces
	Reason    string    `json:"reason,omitempty"`
	Test      bool      `json:"test,omitempty"` // for the test environment
	Executed  bool      `json:"executed"`       // it took effect
	Code      int       `json:"code"`           // answered, or NoCode
	RequestID string    `json:"requestId"`
	Fault     string    `json:"fault,omitempty"` // what was done to it on purpose
}

// Execution is one CloseRoom that took effect.
type Execution struct {
	Call     int       `json:"call"` // its N
	Time     time.Time `json:"time"`
	Test     bool      `json:"test,omitempty"`
	RoomID   string    `json:"room"`
	Session  uint64    `json:"session,string"`
	Reason   string    `json:"reason,omitempty"`
	Callback bool      `json:"callback,omitempty"` // RoomCloseCallback
	Users    []string  `json:"users"`              // everyone thrown out, service users included
}

// Kick is one user thrown out by CloseRoom or KickoutUser, with the reason that
// the user's app would show.
type Kick struct {
	Time    time.Time `json:"time"`
	Action  string    `json:"action"`
	RoomID  string    `json:"room"`
	Session uint64    `json:"session,string"`
	UserID  string    `json:"user"`
	Reason  string    `json:"reason,omitempty"`
}

// Message is one text sent into a room by a server call.
type Message struct {
	Time    time.Time `json:"time"`
	Action  string    `json:"action"`
	RoomID  string    `json:"room"`
	From    string    `json:"from"`
	To      []string  `json:"to,omitempty"` // nobody named: the whole room
	Content string    `json:"content"`
}

// Calls returns every request so far, in order of arrival.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := make([]Call, len(s.calls))
	for i, c := range s.calls {
		calls[i] = c.Call
	}
	return calls
}

// Executions returns every CloseRoom that took effect, in that order.
func (s *Server) Executions() []Execution { return snapshot(s, &s.executions) }

// Kicked returns everyone thrown out so far.
func (s *Server) Kicked() []Kick { return snapshot(s, &s.kicked) }

// Messages returns every message sent so far.
func (s *Server) Messages() []Message { return snapshot(s, &s.messages) }

// Violations returns, as sentences, what clients did that they should not have.
func (s *Server) Violations() []string { return snapshot(s, &s.violations) }

func snapshot[T any](s *Server, list *[]T) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]T{}, *list...)
}

// violate records a sentence about a call. The lock is held.
func (s *Server) violate(c *call, format string, args ...any) {
	s.violations = append(s.violations, fmt.Sprintf("call %d (%s): ", c.N, c.Action)+fmt.Sprintf(format, args...))
}
