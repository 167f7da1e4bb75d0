package zegosim

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// call is a request on its way through the simulator.
type call struct {
	Call
	query  url.Values
	world  *World
	action action
	fault  Fault
}

// ServeHTTP takes a call through its life: judged on arrival, as ZEGO's gateway
// does, then executed, then answered, with whatever faults ask for in between.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/sim/") {
		s.door(w, r)
		return
	}
	c, code := s.arrive(r)
	s.notify(c, Arrived)
	s.wait(c.fault.Before)
	data, code := s.execute(c, code)
	if c.Executed {
		s.notify(c, Executed)
	}
	s.wait(c.fault.After)
	s.answer(w, r, c, code, data)
	s.notify(c, Answered)
}

// wait lets a latency pass. When the simulator closes the call ends there.
func (s *Server) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-s.done:
		panic(http.ErrAbortHandler)
	}
}

// arrive records a call and judges it; the code is 0 if it may be executed.
func (s *Server) arrive(r *http.Request) (*call, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	query, malformed := url.ParseQuery(r.URL.RawQuery)
	n := len(s.calls) + 1
	c := &call{query: query, world: s.World, Call: Call{
		N:         n,
		Time:      s.cfg.Now(),
		Action:    query.Get("Action"),
		Reason:    query.Get("CustomReason"),
		Test:      strings.EqualFold(query.Get("IsTest"), "true"),
		Code:      NoCode,
		RequestID: strconv.Itoa(3912_000_000_000_000_000 + n*104_729), // 19 digits
	}}
	var known bool
	c.action, known = actions[c.Action]
	c.RoomID = query.Get("RoomId")
	if c.action.list == "RoomId" {
		c.RoomID = strings.Join(c.list(), " ")
	}
	if c.Test {
		c.world = s.test
	}
	s.calls = append(s.calls, c)
	c.fault = s.takeFault(c)
	c.Call.Fault = c.fault.String()

	if r.URL.Path != "/" && r.URL.Path != "" {
		s.violate(c, "the path is %q; the API is at /", r.URL.Path)
	}
	if malformed != nil {
		s.violate(c, "the query is not properly encoded")
		return c, 8
	}
	if strings.Contains(r.URL.RawQuery, "+") {
		s.violate(c, "a + in the query; whether ZEGO reads it as a space is not documented, send %%20 or %%2B")
	}
	for name, values := range query {
		if len(values) > 1 && strings.TrimSuffix(name, "[]") != c.action.list {
			s.violate(c, "the parameter %s came %d times", name, len(values))
			return c, 2
		}
	}
	if r.Method != http.MethodGet || r.ContentLength != 0 {
		s.violate(c, "%s with a body of %d bytes; the room API is GET with everything in the query", r.Method, r.ContentLength)
		return c, 100000007
	}
	if code := s.admit(c, known, r.Host); code != 0 {
		return c, code
	}
	return c, s.limit(c)
}

// admit checks what concerns the app rather than the action, in the order of
// the codes. That order is a guess; the codes are ZEGO's.
func (s *Server) admit(c *call, known bool, host string) int {
	get := c.query.Get
	refuse := func(code int, format string, args ...any) int {
		s.violate(c, format, args...)
		return code
	}
	if s.cfg.Host != "" && host != s.cfg.Host {
		return refuse(100000000, "the Host is %q", host)
	}
	if c.Action == "" {
		return refuse(100000006, "no Action")
	} else if !known {
		return refuse(100000007, "unknown Action %q", c.Action)
	}
	appID, err := strconv.ParseUint(get("AppId"), 10, 32)
	if err != nil || strconv.FormatUint(appID, 10) != get("AppId") {
		return refuse(100000001, "AppId %q is not an unsigned 32-bit decimal", get("AppId"))
	}
	if get("Timestamp") == "" {
		return refuse(100000002, "no Timestamp")
	}
	timestamp, err := strconv.ParseInt(get("Timestamp"), 10, 64)
	if err != nil {
		return refuse(100000003, "Timestamp %q is not a decimal number", get("Timestamp"))
	}
	switch {
	case get("SignatureNonce") == "":
		return refuse(100000008, "no SignatureNonce")
	case get("Signature") == "":
		return refuse(100000009, "no Signature")
	case get("SignatureVersion") == "":
		return refuse(100000013, "no SignatureVersion")
	case get("SignatureVersion") != "2.0":
		return refuse(100000014, "SignatureVersion %q is not 2.0", get("SignatureVersion"))
	case uint32(appID) != s.cfg.AppID:
		return refuse(100000011, "AppId %d is not this app", appID)
	}
	now := time.Unix(c.Time.Add(c.fault.Skew).Unix(), 0)
	if off := now.Sub(time.Unix(timestamp, 0)); off.Abs() > s.cfg.MaxSkew {
		switch {
		case timestamp > 100_000_000_000:
			s.violate(c, "Timestamp %d is not in seconds", timestamp)
		case c.fault.Skew == 0:
			s.violate(c, "Timestamp %d is %v off", timestamp, off)
		}
		return 100000004
	}
	if want := signature(get("AppId"), get("SignatureNonce"), s.cfg.ServerSecret, get("Timestamp")); get("Signature") != want {
		return refuse(100000005, "the Signature is wrong")
	}
	if code := s.admitNonce(c, get("SignatureNonce")); code != 0 {
		return code
	}
	if v := get("IsTest"); v != "" && !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
		return refuse(2, "IsTest is %q, neither true nor false", v)
	}
	if s.cfg.NoProduction && !c.Test {
		return 100000016
	}
	return 0
}

// admitNonce refuses with the code of a wrong signature, having none of its own.
func (s *Server) admitNonce(c *call, nonce string) int {
	if s.cfg.LenientNonce {
		return 0
	}
	if raw, err := hex.DecodeString(nonce); err != nil || len(raw) != 8 {
		s.violate(c, "SignatureNonce %q is not 16 hex digits", nonce)
		return 100000005
	}
	if s.nonces[nonce] {
		s.violate(c, "SignatureNonce %q was used before", nonce)
		return 100000005
	}
	s.nonces[nonce] = true
	return 0
}

func signature(appID, nonce, secret, timestamp string) string {
	sum := md5.Sum([]byte(appID + nonce + secret + timestamp))
	return hex.EncodeToString(sum[:])
}

// execute runs the action of a call that arrived with code 0.
func (s *Server) execute(c *call, code int) (data any, _ int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code == 0 && !c.fault.Skip {
		data, code = c.action.do(s, c)
		c.Executed = code == 0
	}
	return data, code
}

// envelope is the shape of every answer.
type envelope struct {
	Code      int
	Message   string
	RequestId any // a string, as documented, unless a fault makes it a number
	Data      any `json:",omitempty"`
}

// message words a code. Clients may read nothing into it.
func message(code int) string {
	switch code {
	case 0:
		return "success"
	case 104, 5024, 50001:
		return "room not exist"
	case 206, 207:
		return "qps limit"
	default:
		return "error " + strconv.Itoa(code)
	}
}

func (e envelope) json() []byte {
	body, err := json.Marshal(e)
	if err != nil {
		panic(err) // only our own plain values go in
	}
	return body
}

// list returns the values of the action's list parameter. ZEGO's samples put []
// behind its name, its OpenAPI files do not; both are read.
func (c *call) list() []string {
	return slices.Concat(c.query[c.action.list+"[]"], c.query[c.action.list])
}

// encodedTwice reports whether s, a parameter as it arrived, was percent-encoded
// before it was encoded. Only text beyond ASCII tells: nobody types %E6%B8%85,
// while a literal %20 may be meant.
func encodedTwice(s string) bool {
	ascii := func(s string) bool { return utf8.RuneCountInString(s) == len(s) }
	plain, err := url.PathUnescape(s)
	return err == nil && ascii(s) && !ascii(plain) && utf8.ValidString(plain)
}
