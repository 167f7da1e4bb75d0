package zego_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"zegoclose/zego"
)

// peer is a server that does exactly what a test says with each connection.
type peer struct {
	url         string
	connections atomic.Int32
	requests    atomic.Int32
	mu          sync.Mutex
	queries     []url.Values
}

// listen lets handle deal with every connection, which ends with it.
func listen(t *testing.T, handle func(p *peer, conn *net.TCPConn)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &peer{url: "http://" + l.Addr().String()}
	var open sync.WaitGroup
	t.Cleanup(func() { l.Close(); open.Wait() })
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.connections.Add(1)
			open.Go(func() {
				defer conn.Close()
				handle(p, conn.(*net.TCPConn))
			})
		}
	})
	return p
}

// read reads one request, if one comes.
func (p *peer) read(conn io.Reader) bool {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return false
	}
	p.requests.Add(1)
	p.mu.Lock()
	p.queries = append(p.queries, r.URL.Query())
	p.mu.Unlock()
	return true
}

// say answers the first request of each connection with raw text.
func say(text string) func(*peer, *net.TCPConn) {
	return func(p *peer, conn *net.TCPConn) {
		if p.read(conn) {
			io.WriteString(conn, text)
		}
	}
}

func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

// hold keeps the connection open until the other side has left.
func hold(conn net.Conn) { io.Copy(io.Discard, conn) }

func TestTransportOutcomes(t *testing.T) {
	const done = `{"Code":0,"Message":"success"}`
	for name, test := range map[string]struct {
		peer  func(*peer, *net.TCPConn)
		cause string
	}{
		"reset before the request is read": {func(_ *peer, c *net.TCPConn) { time.Sleep(20 * time.Millisecond); reset(c) }, ""},
		"reset after the request":          {func(p *peer, c *net.TCPConn) { p.read(c); reset(c) }, ""},
		"closed after the request":         {func(p *peer, c *net.TCPConn) { p.read(c) }, "the connection was closed before the answer was complete"},
		"reset within the answer": {func(p *peer, c *net.TCPConn) {
			p.read(c)
			io.WriteString(c, ok(done)[:90])
			time.Sleep(20 * time.Millisecond)
			reset(c)
		}, ""},
		"answer cut short":      {say(strings.TrimSuffix(ok(done), "}")), "the connection was closed before the answer was complete"},
		"no HTTP":               {say("SSH-2.0-OpenSSH_9.6\r\n\r\n"), ""},
		"HTTP 502 in HTML":      {say("HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"), "HTTP status 502"},
		"HTTP 500 with Code 0":  {say(strings.Replace(ok(done), "200 OK", "500 Oh", 1)), "HTTP status 500"},
		"HTTP 204":              {say("HTTP/1.1 204 No Content\r\n\r\n"), "HTTP status 204"},
		"HTML with status 200":  {say(ok("<html></html>")), "the answer is not a JSON object"},
		"empty body":            {say(ok("")), "the answer is not a JSON object"},
		"truncated JSON":        {say(ok(done[:len(done)-1])), "the answer is not a JSON object"},
		"trailing garbage":      {say(ok(done + done)), "the answer is not a JSON object"},
		"an array":              {say(ok("[" + done + "]")), "the answer is not a JSON object"},
		"null":                  {say(ok("null")), "the answer has no Code"},
		"no Code":               {say(ok(`{"Message":"success"}`)), "the answer has no Code"},
		"code in lower case":    {say(ok(`{"code":0}`)), "the answer has no Code"},
		"Code a string":         {say(ok(`{"Code":"0"}`)), "the answer's Code is not a 32-bit integer"},
		"Code null":             {say(ok(`{"Code":null}`)), "the answer's Code is not a 32-bit integer"},
		"Code a float":          {say(ok(`{"Code":0.0}`)), "the answer's Code is not a 32-bit integer"},
		"Code with an exponent": {say(ok(`{"Code":0e0}`)), "the answer's Code is not a 32-bit integer"},
		"Code beyond 32 bits":   {say(ok(`{"Code":4294967296}`)), "the answer's Code is not a 32-bit integer"},
		"oversized":             {say(ok(`{"Code":0,"Data":"` + strings.Repeat("x", 64<<10) + `"}`)), "the answer is longer than 65536 bytes"},
		"oversized header":      {say("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 128<<10) + "\r\n\r\n" + done), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := listen(t, test.peer)
			_, err := client(p.url).CloseRoom(t.Context(), zego.CloseRoomRequest{RoomID: "r"})
			var lost *zego.TransportError
			require.ErrorAs(t, err, &lost)
			assert.True(t, lost.Written)
			assert.Equal(t, zego.Unknown, zego.EffectOf(err))
			assert.Equal(t, zego.Never, zego.RetryOf(err))
			assert.EqualValues(t, 1, p.connections.Load(), "one call, one connection")
			assert.LessOrEqual(t, p.requests.Load(), int32(1), "one call, one request")
			assert.NotEmpty(t, lost.Cause)
			if test.cause != "" {
				assert.Equal(t, test.cause, lost.Cause)
			}
			assert.Equal(t, "CloseRoom: sent, but no usable answer: "+lost.Cause, err.Error())
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := listen(t, say(ok(`{"Code":0}`)))
	for _, status := range []int{301, 302, 303, 307, 308} {
		p := listen(t, say(fmt.Sprintf("HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", status, elsewhere.url)))
		_, err := client(p.url).CloseRoom(t.Context(), zego.CloseRoomRequest{RoomID: "r"})
		assert.Equal(t, zego.Unknown, zego.EffectOf(err))
		assert.ErrorContains(t, err, fmt.Sprintf("HTTP status %d", status))
	}
	assert.Zero(t, elsewhere.connections.Load())
}

func TestNoConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	refused := "http://" + l.Addr().String()

	untrusted := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") }))
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0) // it will complain of us
	t.Cleanup(untrusted.Close)
	noTLS := listen(t, func(_ *peer, c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })

	for name, base := range map[string]string{
		"refused":               refused,
		"name does not resolve": "https://zego.invalid",
		"certificate unknown":   untrusted.URL,
		"no TLS":                strings.Replace(noTLS.url, "http:", "https:", 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client(base).CloseRoom(t.Context(), zego.CloseRoomRequest{RoomID: "r", OnWritten: func() { t.Error("written") }})
			var lost *zego.TransportError
			require.ErrorAs(t, err, &lost)
			assert.False(t, lost.Written)
			assert.Equal(t, zego.NotDone, zego.EffectOf(err))
			assert.Equal(t, zego.Later, zego.RetryOf(err))
			assert.Equal(t, "CloseRoom: not sent: "+lost.Cause, err.Error())
			assert.NoError(t, errors.Unwrap(err))
		})
	}
}

// The environment's proxy is read once in a process, so each case has its own.
func TestProxy(t *testing.T) {
	if base := os.Getenv("TEST_PROXY_BASE"); base != "" {
		_, err := client(base).CloseRoom(t.Context(), zego.CloseRoomRequest{RoomID: "r"})
		fmt.Printf("effect %s, %v\n", zego.EffectOf(err), err)
		return
	}
	var asked sync.Map
	refusing := listen(t, func(_ *peer, c *net.TCPConn) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			asked.Store(r.Method+" "+r.RequestURI, true)
			io.WriteString(c, "HTTP/1.1 502 No way\r\n\r\n")
		}
	})
	local := listen(t, say(ok(`{"Code":0}`)))
	for name, test := range map[string]struct{ proxy, base, want string }{
		"refuses the tunnel":         {strings.Replace(refusing.url, "//", "//user:pass@", 1), "", "effect not done, CloseRoom: not sent: No way"},
		"not for a loopback address": {refusing.url, local.url, "effect done, <nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxy$")
			child.Env = append(os.Environ(), "HTTP_PROXY="+test.proxy, "HTTPS_PROXY="+test.proxy, "NO_PROXY=",
				"http_proxy=", "https_proxy=", "no_proxy=", "TEST_PROXY_BASE="+cmp.Or(test.base, zego.URLUnified))
			out, err := child.CombinedOutput()
			require.NoError(t, err)
			assert.Contains(t, string(out), test.want+"\n")
			assert.NotContains(t, string(out), "pass@")
		})
	}
	tunnel := 0
	asked.Range(func(what, _ any) bool {
		assert.Equal(t, "CONNECT rtc-api.zego.im:443", what, "the proxy sees a host and nothing else")
		tunnel++
		return true
	})
	assert.Equal(t, 1, tunnel)
}

func TestCallerGivesUp(t *testing.T) {
	silent := listen(t, func(p *peer, c *net.TCPConn) { p.read(c); hold(c) })
	// A TLS handshake that never ends: a connection, but no request.
	deaf := strings.Replace(listen(t, func(*peer, *net.TCPConn) { time.Sleep(400 * time.Millisecond) }).url, "http:", "https:", 1)
	slow := listen(t, func(p *peer, c *net.TCPConn) {
		p.read(c)
		io.WriteString(c, ok(`{"Code":0}`)[:70])
		hold(c)
	})
	private := errors.New("a cause of the caller's own")

	for name, test := range map[string]struct {
		base   string
		ctx    func(context.Context) (context.Context, context.CancelFunc)
		effect zego.Effect
		is     error
		cause  string
	}{
		"timeout after the request": {silent.url, timeout, zego.Unknown, context.DeadlineExceeded, "out of time"},
		"timeout within the answer": {slow.url, timeout, zego.Unknown, context.DeadlineExceeded, "out of time"},
		"cancelled after the request": {silent.url, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(100*time.Millisecond, func() { cancel(private) })
			return ctx, func() {}
		}, zego.Unknown, context.Canceled, "given up by the caller"},
		"timeout before the request": {deaf, timeout, zego.NotDone, context.DeadlineExceeded, "out of time"},
		"cancelled from the start": {silent.url, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, zego.NotDone, context.Canceled, "given up by the caller"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := test.ctx(t.Context())
			defer cancel()
			_, err := client(test.base).CloseRoom(ctx, zego.CloseRoomRequest{RoomID: "r"})
			assert.Equal(t, test.effect, zego.EffectOf(err))
			assert.ErrorIs(t, err, test.is)
			assert.NotErrorIs(t, err, private)
			var lost *zego.TransportError
			require.ErrorAs(t, err, &lost)
			assert.Equal(t, test.cause, lost.Cause)
		})
	}
}

func timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 150*time.Millisecond)
}

func TestOnWritten(t *testing.T) {
	arrived := make(chan bool)
	answer := make(chan bool)
	p := listen(t, func(p *peer, c *net.TCPConn) {
		p.read(c)
		close(arrived)
		<-answer
		io.WriteString(c, ok(`{"Code":0}`))
	})
	written := make(chan bool, 2)
	go func() {
		<-arrived
		<-written // before the answer, which waits for it
		close(answer)
	}()
	_, err := client(p.url).CloseRoom(t.Context(), zego.CloseRoomRequest{RoomID: "r", OnWritten: func() { written <- true }})
	require.NoError(t, err)
	assert.Empty(t, written, "called once")
}

// A kept-alive connection that dies is where net/http sends a GET again by
// itself. The first half shows that it does; the second that we do not.
func TestDyingConnectionRepeatsNothing(t *testing.T) {
	// One proper answer, then nothing but closed connections.
	onceOnly := func() *peer {
		return listen(t, func(p *peer, c *net.TCPConn) {
			in := bufio.NewReader(c)
			for {
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				if p.requests.Add(1) > 1 {
					return
				}
				io.WriteString(c, ok(`{"Code":0}`))
			}
		})
	}

	p := onceOnly()
	keeping := &http.Client{Transport: &http.Transport{}}
	for range 2 {
		if r, err := keeping.Get(p.url); err == nil {
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
	}
	assert.EqualValues(t, 3, p.requests.Load(), "net/http: two calls, three requests")

	p = onceOnly()
	_, err := client(p.url).CloseRoom(t.Context(), zego.CloseRoomRequest{RoomID: "r"})
	require.NoError(t, err)
	_, err = client(p.url).CloseRoom(t.Context(), zego.CloseRoomRequest{RoomID: "r"})
	assert.Equal(t, zego.Unknown, zego.EffectOf(err))
	assert.EqualValues(t, 2, p.requests.Load(), "two calls, two requests")
	assert.EqualValues(t, 2, p.connections.Load(), "each on a connection of its own")
}

// Every way to fail against a server that throws everything it was sent back at
// us, and every way to look at the error: nothing secret may be in it.
func TestErrorsHoldNoSecret(t *testing.T) {
	echo := func(format string) func(*peer, *net.TCPConn) {
		return func(p *peer, c *net.TCPConn) {
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				return
			}
			p.mu.Lock()
			p.queries = append(p.queries, r.URL.Query())
			p.mu.Unlock()
			fmt.Fprintf(c, format, r.URL.RequestURI())
		}
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed.Close()

	for name, test := range map[string]struct {
		p    *peer
		base string
	}{
		"in the Message":     {p: listen(t, echo("HTTP/1.0 200 OK\r\n\r\n{\"Code\":9,\"Message\":\"GET %[1]s\",\"RequestId\":\"%[1]s\"}"))},
		"in the status line": {p: listen(t, echo("%s 200 OK\r\n\r\n"))},
		"in the status text": {p: listen(t, echo("HTTP/1.0 500 %s\r\n\r\n"))},
		"in the status code": {p: listen(t, echo("HTTP/1.0 %s no\r\n\r\n"))},
		"in a header":        {p: listen(t, echo("HTTP/1.0 200 OK\r\nContent-Length: %s\r\n\r\n"))},
		"as a redirect":      {p: listen(t, echo("HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1%s\r\n\r\n"))},
		"in the body":        {p: listen(t, echo("HTTP/1.0 200 OK\r\n\r\n%s"))},
		"in a chunk":         {p: listen(t, echo("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n"))},
		"no answer":          {p: listen(t, func(p *peer, c *net.TCPConn) { p.read(c) })},
		"timeout":            {p: listen(t, func(p *peer, c *net.TCPConn) { p.read(c); hold(c) })},
		"refused":            {base: "http://" + closed.Addr().String()},
		"bad base URL":       {base: "http://" + secret + ".example"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := timeout(t.Context())
			defer cancel()
			hidden := []string{secret, "Signature", "AppId="}
			if test.p != nil {
				test.base = test.p.url
			}
			_, err := client(test.base).CloseRoom(ctx, zego.CloseRoomRequest{RoomID: "r", CustomReason: "why"})
			require.Error(t, err)
			_, err2 := client(test.base).DescribeUserNum(ctx, "r")
			require.Error(t, err2)
			if test.p != nil {
				test.p.mu.Lock()
				for _, q := range test.p.queries {
					hidden = append(hidden, q.Get("SignatureNonce"), q.Get("Signature"))
				}
				test.p.mu.Unlock()
				require.GreaterOrEqual(t, len(hidden), 5)
			}
			for _, text := range append(everyText(err), everyText(err2)...) {
				for _, h := range hidden {
					assert.NotContains(t, text, h)
				}
				var transport *url.Error
				assert.False(t, errors.As(err, &transport))
			}
		})
	}
}

// everyText returns all that can be read out of an error: printed, encoded,
// unwrapped, and every string in its fields, unexported ones included.
func everyText(err error) []string {
	var texts []string
	var walk func(v reflect.Value, depth int)
	walk = func(v reflect.Value, depth int) {
		if depth > 20 {
			return
		}
		switch v.Kind() {
		case reflect.String:
			texts = append(texts, v.String())
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem(), depth+1)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i), depth+1)
			}
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				walk(v.Index(i), depth+1)
			}
		case reflect.Map:
			for _, k := range v.MapKeys() {
				walk(k, depth+1)
				walk(v.MapIndex(k), depth+1)
			}
		}
	}
	for ; err != nil; err = errors.Unwrap(err) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			texts = append(texts, fmt.Sprintf(verb, err))
		}
		if b, bad := json.Marshal(err); bad == nil {
			texts = append(texts, string(b))
		}
		walk(reflect.ValueOf(err), 0)
	}
	return texts
}
