package zegosim_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"zegoclose/internal/zegosim"
)

// fetch sends a query on a connection of its own and follows nothing. The body
// is nil if there was no answer.
func fetch(sim *zegosim.Server, q url.Values) (status int, header http.Header, body []byte) {
	transport := &http.Transport{DisableKeepAlives: true}
	request := httptest.NewRequest(http.MethodGet, sim.URL()+"/?"+q.Encode(), nil)
	request.RequestURI = ""
	r, err := transport.RoundTrip(request)
	if err != nil {
		return 0, nil, nil
	}
	defer r.Body.Close()
	body, err = io.ReadAll(r.Body)
	if err != nil {
		return 0, nil, nil
	}
	return r.StatusCode, r.Header, body
}

// Each fault twice: once the room is closed all the same, once it is not.
func TestFaultsComeInPairs(t *testing.T) {
	for name, test := range map[string]struct {
		fault  zegosim.Fault
		said   string
		status int
		body   string // a part of it
		code   int    // in the log
	}{
		"code":        {zegosim.Fault{Code: 100000015, Message: "oh"}, "code 100000015, other message", 200, `{"Code":100000015,"Message":"oh"`, 100000015},
		"status":      {zegosim.Fault{Status: 502}, "HTTP 502", 502, "<h1>502 Bad Gateway</h1>", zegosim.NoCode},
		"reset":       {zegosim.Fault{Reset: true}, "connection reset", 0, "", zegosim.NoCode},
		"redirect":    {zegosim.Fault{Redirect: "http://127.0.0.1:1/"}, "redirected", 302, "", zegosim.NoCode},
		"other body":  {zegosim.Fault{Body: `{"Code":"0"}`}, "other body", 200, `{"Code":"0"}`, zegosim.NoCode},
		"truncated":   {zegosim.Fault{Truncate: true}, "truncated", 200, `{"Code":0,"Mess`, 0},
		"oversized":   {zegosim.Fault{Oversize: true}, "oversized", 200, strings.Repeat("x", 1<<20), 0},
		"numeric id":  {zegosim.Fault{NumericRequestID: true}, "numeric RequestId", 200, `"RequestId":3912`, 0},
		"other type":  {zegosim.Fault{ContentType: "text/plain"}, "as text/plain", 200, `{"Code":0`, 0},
		"late answer": {zegosim.Fault{After: 30 * time.Millisecond}, "answered 30ms late", 200, `{"Code":0`, 0},
		"late start":  {zegosim.Fault{Before: 30 * time.Millisecond}, "30ms late", 200, `{"Code":0`, 0},
	} {
		for _, skip := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " and not done", false: " but done"}[skip], func(t *testing.T) {
				t.Parallel()
				sim, clock := start(t, zegosim.Config{})
				sim.Login("r", "u")
				fault := test.fault
				fault.Skip, fault.Count = skip, 1
				sim.AddFault(fault)
				began := time.Now()
				status, header, body := fetch(sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r"))
				assert.Equal(t, test.status, status)
				assert.Contains(t, string(body), test.body)
				assert.Equal(t, map[bool]int{true: 0, false: 1}[skip], len(sim.Executions()))
				assert.Equal(t, map[bool]int{true: 1, false: 0}[skip], sim.People("r"))
				assert.GreaterOrEqual(t, time.Since(began), test.fault.Before+test.fault.After)
				if test.fault.ContentType != "" {
					assert.Equal(t, test.fault.ContentType, header.Get("Content-Type"))
				}

				call := sim.Calls()[0]
				assert.Equal(t, !skip, call.Executed)
				assert.Equal(t, test.code, call.Code)
				for _, part := range strings.Split(test.said, ", ") {
					assert.Contains(t, call.Fault, part)
				}
				assert.Equal(t, skip, strings.Contains(call.Fault, "not executed"))
				assert.Empty(t, sim.Violations())
			})
		}
	}
}

func TestFaultChoosesItsCalls(t *testing.T) {
	sim, clock := start(t, zegosim.Config{NoLimits: true})
	code := func(action, room string) int {
		return ask(t, sim, signed(clock.now(), "Action="+action, "RoomId="+room)).Code
	}
	sim.AddFault(zegosim.Fault{Action: "CloseRoom", RoomID: "a", Count: 2, Code: 1})
	sim.AddFault(zegosim.Fault{Action: "CloseRoom", Code: 9})
	assert.Equal(t, 9, code("CloseRoom", "b"))
	assert.Equal(t, 0, code("DescribeUserList", "a"))
	assert.Equal(t, []int{1, 1, 9}, []int{code("CloseRoom", "a"), code("CloseRoom", "a"), code("CloseRoom", "a")}, "two calls, then the next fault")
	sim.ClearFaults()
	assert.Equal(t, 5024, code("CloseRoom", "a"))
}

func TestClockSkew(t *testing.T) {
	sim, clock := start(t, zegosim.Config{})
	sim.AddFault(zegosim.Fault{Count: 1, Skew: 11 * time.Minute})
	assert.Equal(t, 100000004, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r")).Code)
	assert.Equal(t, 5024, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r")).Code)
	assert.Empty(t, sim.Violations(), "ZEGO's clock is not the client's fault")
}

func TestSilence(t *testing.T) {
	sim, clock := start(t, zegosim.Config{NoLimits: true})
	sim.Login("r", "u")
	sim.AddFault(zegosim.Fault{Silent: true})
	impatient := &http.Client{Timeout: 100 * time.Millisecond}
	_, err := impatient.Get(sim.URL() + "/?" + signed(clock.now(), "Action=CloseRoom", "RoomId=r").Encode())
	require.Error(t, err)
	assert.Len(t, sim.Executions(), 1)

	sim.ClearFaults()
	sim.AddFault(zegosim.Fault{Before: time.Hour})
	sim.Login("r", "u")
	go func() {
		for len(sim.Calls()) < 2 {
			time.Sleep(time.Millisecond)
		}
		sim.Close()
	}()
	status, _, _ := fetch(sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r"))
	assert.Zero(t, status, "cut off")
	assert.Len(t, sim.Executions(), 1, "what waited when the simulator closed never happens")
}

func TestDownAndUp(t *testing.T) {
	sim, clock := start(t, zegosim.Config{NoLimits: true})
	ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r"))
	for range 3 {
		sim.Down()
		status, _, _ := fetch(sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r"))
		assert.Zero(t, status)
		require.NoError(t, sim.Up())
		assert.Equal(t, 5024, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r")).Code)
	}
	assert.Len(t, sim.Calls(), 4)
	assert.Error(t, sim.Up(), "the address is in use: by us")
	sim.Down()
	sim.Close()
	sim.Close()
}

func TestOnCall(t *testing.T) {
	sim, clock := start(t, zegosim.Config{NoLimits: true})
	sim.Login("r", "u")
	type instant struct {
		phase  zegosim.Phase
		people int
		code   int
	}
	var mu sync.Mutex
	var seen []instant
	sim.OnCall(func(c zegosim.Call, p zegosim.Phase) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, instant{p, sim.People("r"), c.Code})
	})
	take := func() []instant {
		mu.Lock()
		defer mu.Unlock()
		s := seen
		seen = nil
		return s
	}
	// An answered call may reach us before its observer has run.
	answered := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) > 0 && seen[len(seen)-1].phase == zegosim.Answered
	}
	ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r"))
	require.Eventually(t, answered, 5*time.Second, time.Millisecond)
	assert.Equal(t, []instant{{zegosim.Arrived, 1, -1}, {zegosim.Executed, 0, -1}, {zegosim.Answered, 0, 0}}, take())
	ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r"))
	require.Eventually(t, answered, 5*time.Second, time.Millisecond)
	assert.Equal(t, []instant{{zegosim.Arrived, 0, -1}, {zegosim.Answered, 0, 5024}}, take())
}

func TestAsHandler(t *testing.T) {
	sim, clock := start(t, zegosim.Config{})
	sim.Login("r", "u")
	w := httptest.NewRecorder()
	sim.ServeHTTP(w, httptest.NewRequest("GET", "/?"+signed(clock.now(), "Action=CloseRoom", "RoomId=r").Encode(), nil))
	assert.Contains(t, w.Body.String(), `"Code":0`)
	sim.AddFault(zegosim.Fault{Reset: true})
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() {
		sim.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	})
}

func TestDoor(t *testing.T) {
	sim, clock := start(t, zegosim.Config{})
	post := func(path, body string) (int, string) {
		r, err := http.Post(sim.URL()+path, "application/json", strings.NewReader(body))
		require.NoError(t, err)
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		return r.StatusCode, string(b)
	}
	okay := func(path, body string) {
		t.Helper()
		status, text := post(path, body)
		assert.Equal(t, 200, status, text)
	}
	okay("/sim/login", `{"room":"r","users":["a","b"],"service":["recorder"]}`)
	okay("/sim/login", `{"room":"t","users":["a"],"test":true}`)
	okay("/sim/logout", `{"room":"r","users":["b"]}`)
	okay("/sim/rejoin", `{"room":"r","after":"0s"}`)
	okay("/sim/fault", `{"action":"CloseRoom","count":1,"after":"15ms","code":1,"skip":true}`)
	assert.Equal(t, 1, sim.People("r"))
	assert.Equal(t, 1, sim.Test().People("t"))

	began := time.Now()
	assert.Equal(t, 1, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r")).Code)
	assert.GreaterOrEqual(t, time.Since(began), 15*time.Millisecond)
	clock.pass(time.Second)
	assert.Equal(t, 0, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r")).Code)
	assert.Equal(t, 1, sim.People("r"), "back again")

	okay("/sim/fault", `{"silent":true}`)
	r, err := http.Get(sim.URL() + "/sim/state")
	require.NoError(t, err)
	defer r.Body.Close()
	var state struct {
		Production []struct{ ID, Session string }
		Calls      []struct {
			Code  int
			Fault string
		}
		Executions []struct{ Session string }
		Faults     []string
		Violations []string
	}
	require.NoError(t, json.NewDecoder(r.Body).Decode(&state))
	assert.Equal(t, "not executed, answered 15ms late, code 1", state.Calls[0].Fault)
	assert.Equal(t, []string{"never answered"}, state.Faults)
	assert.NotEqual(t, state.Executions[0].Session, state.Production[0].Session)
	assert.Greater(t, state.Production[0].Session, "858012925204410400", "with all its digits")
	assert.Empty(t, state.Violations)
	okay("/sim/fault", `{}`)
	assert.Equal(t, 206, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r")).Code, "no fault any more")

	for path, body := range map[string]string{
		"/sim/login":  `{"users":["a"]}`,
		"/sim/logout": `{"room":"r","people":1}`,
		"/sim/rejoin": `{"room":"r","after":"soon"}`,
		"/sim/fault":  `{"action":"CloseRoom"}`,
	} {
		status, text := post(path, body)
		assert.Equal(t, 400, status, path)
		assert.NotEmpty(t, bytes.TrimSpace([]byte(text)))
	}
	status, _ := post("/sim/state", "{}")
	assert.Equal(t, 404, status)
	assert.Len(t, sim.Calls(), 3, "the door is not part of the API")
}

// Whoever rules the simulator closes rooms at will, so a page of another origin must not.
func TestDoorIsClosedToForeignPages(t *testing.T) {
	sim, _ := start(t, zegosim.Config{})
	own := sim.URL()
	tests := []struct {
		name, origin, host string
		want               int
	}{
		{"curl", "", "", 200},
		{"a page of the simulator's own origin", own, "", 200},
		{"a page of another origin", "https://example.com", "", 403},
		{"a page on another port of this machine", "http://127.0.0.1:1", "", 403},
		{"a sandboxed page", "null", "", 403},
		{"a name that was made to point here", "", "rebound.example.com", 403},
		{"a name that was made to point here, by its own page", "http://rebound.example.com", "rebound.example.com", 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, call := range []struct{ method, path, body string }{{"GET", "/sim/state", ""}, {"POST", "/sim/login", `{"room":"r","users":["a"]}`}} {
				r, err := http.NewRequest(call.method, own+call.path, strings.NewReader(call.body))
				require.NoError(t, err)
				if tt.origin != "" {
					r.Header.Set("Origin", tt.origin)
				}
				r.Host = tt.host
				answer, err := http.DefaultClient.Do(r)
				require.NoError(t, err)
				answer.Body.Close()
				assert.Equal(t, tt.want, answer.StatusCode, call.path)
			}
			people := 0
			if tt.want == 200 {
				people = 1
			}
			assert.Equal(t, people, sim.People("r"))
			sim.Logout("r", "a")
		})
	}
}
