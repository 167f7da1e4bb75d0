package socket

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"
)

const (
	testToken  = "xapp-1-A0TEST-very-secret"
	testTicket = "ticket-very-secret"
	patience   = 10 * time.Second // what a test waits for before it fails
)

// A scriptedSlack hands every connection to the test, which plays Slack's part.
type scriptedSlack struct {
	t     *testing.T
	http  *httptest.Server
	peers chan *peer

	mu     sync.Mutex
	opens  []time.Time
	script []http.HandlerFunc // answers of the next apps.connections.open; then it succeeds
	refuse int                // how many of the next handshakes to refuse
}

func newScriptedSlack(t *testing.T) *scriptedSlack {
	s := &scriptedSlack{t: t, peers: make(chan *peer, 100)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/apps.connections.open", s.open)
	mux.HandleFunc("GET /link/", s.link)
	s.http = httptest.NewServer(mux)
	t.Cleanup(s.http.Close)
	return s
}

func (s *scriptedSlack) answerOpens(answers ...http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, answers...)
}

func (s *scriptedSlack) openTimes() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.opens...)
}

func (s *scriptedSlack) open(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.opens = append(s.opens, time.Now())
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"ok":true,"url":"ws://%s/link/?ticket=%s"}`, r.Host, testTicket)
	})
	if len(s.script) > 0 {
		answer, s.script = s.script[0], s.script[1:]
	}
	s.mu.Unlock()
	if got := r.Header.Get("Authorization"); got != "Bearer "+testToken {
		s.t.Errorf("apps.connections.open with Authorization %q", got)
	}
	answer(w, r)
}

// says answers with a body, which may be an error.
func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func (s *scriptedSlack) link(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	refused := s.refuse > 0
	if refused {
		s.refuse--
	}
	s.mu.Unlock()
	if refused {
		http.Error(w, "used ticket "+testTicket, http.StatusForbidden)
		return
	}
	var up websocket.Upgrader
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		s.t.Errorf("upgrading: %v", err)
		return
	}
	p := &peer{t: s.t, ws: ws, frames: make(chan string, 10000), pongs: make(chan string, 100),
		pings: make(chan struct{}, 1000), closed: make(chan struct{})}
	ws.SetPongHandler(func(text string) error { p.pongs <- text; return nil })
	ws.SetPingHandler(func(text string) error {
		select {
		case p.pings <- struct{}{}:
		default:
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.deaf {
			return nil
		}
		return ws.WriteControl(websocket.PongMessage, []byte(text), time.Now().Add(time.Second))
	})
	s.peers <- p
	p.read()
}

// next is the next connection that is dialled.
func (s *scriptedSlack) next() *peer {
	s.t.Helper()
	return receive(s.t, s.peers, "a dial")
}

// greeted is the next connection, after a hello.
func (s *scriptedSlack) greeted() *peer {
	s.t.Helper()
	p := s.next()
	p.send(hello(1))
	return p
}

// A peer is Slack's end of one connection.
type peer struct {
	t      *testing.T
	ws     *websocket.Conn
	frames chan string // text from the client
	pongs  chan string
	pings  chan struct{}
	closed chan struct{} // after the client's close frame, or the connection's end
	code   int           // the close code, once closed is closed; 1006 if there was none

	mu   sync.Mutex
	deaf bool // answer no pings

	reading sync.Mutex // held by a test that wants nothing read
}

func (p *peer) read() {
	defer p.ws.Close()
	defer close(p.closed)
	for {
		p.reading.Lock()
		_, data, err := p.ws.ReadMessage()
		p.reading.Unlock()
		if err != nil {
			p.code = websocket.CloseAbnormalClosure
			if ce, ok := err.(*websocket.CloseError); ok {
				p.code = ce.Code
			}
			return
		}
		p.frames <- string(data)
	}
}

// send writes all frames in one packet.
func (p *peer) send(frames ...string) {
	p.t.Helper()
	var packet []byte
	for _, f := range frames {
		packet = append(packet, 0x81)
		switch n := len(f); {
		case n < 126:
			packet = append(packet, byte(n))
		case n < 1<<16:
			packet = binary.BigEndian.AppendUint16(append(packet, 126), uint16(n))
		default:
			packet = binary.BigEndian.AppendUint64(append(packet, 127), uint64(n))
		}
		packet = append(packet, f...)
	}
	_, err := p.ws.NetConn().Write(packet)
	require.NoError(p.t, err)
}

func (p *peer) close(code int) {
	p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
}

// reset drops the connection with a TCP reset.
func (p *peer) reset() {
	p.ws.NetConn().(*net.TCPConn).SetLinger(0)
	p.ws.NetConn().Close()
}

// wantFrame waits for exactly this text from the client.
func (p *peer) wantFrame(want string) {
	p.t.Helper()
	require.Equal(p.t, want, receive(p.t, p.frames, "frame "+want))
}

// wantClose waits for the client's close frame.
func (p *peer) wantClose(code int) {
	p.t.Helper()
	receive(p.t, p.closed, "a close frame")
	require.Equal(p.t, code, p.code, "close code")
}

// wantOpen fails if the client has closed the connection.
func (p *peer) wantOpen() {
	p.t.Helper()
	select {
	case <-p.closed:
		p.t.Fatal("connection closed too early")
	default:
	}
}

func hello(n int) string {
	return fmt.Sprintf(`{"type":"hello","num_connections":%d,"connection_info":{"app_id":"A0TEST"},"debug_info":{"host":"applink-1","approximate_connection_time":18060}}`, n)
}

func command(id string) string {
	return fmt.Sprintf(`{"envelope_id":%q,"type":"slash_commands","accepts_response_payload":true,"payload":{"command":"/zego-close","text":"live-42 spam","user_id":"U01"}}`, id)
}

func click(id string) string {
	return fmt.Sprintf(`{"envelope_id":%q,"type":"interactive","accepts_response_payload":false,"payload":{"type":"block_actions"}}`, id)
}

func disconnectFrame(reason string) string {
	return fmt.Sprintf(`{"type":"disconnect","reason":%q,"debug_info":{"host":"applink-1"}}`, reason)
}

func bareAck(id string) string { return fmt.Sprintf(`{"envelope_id":%q}`, id) }

// receive waits for a value, or for the channel to be closed.
func receive[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// running is a Sockets under test.
type running struct {
	*Sockets
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	log    *logBuffer
}

// run starts Sockets with one connection and short periods that acknowledge
// everything, unless config says otherwise.
func run(t *testing.T, s *scriptedSlack, config func(*Config)) *running {
	return runWith(t, openAt(testToken, s.http.URL+"/api/"), config)
}

// openAt calls apps.connections.open there. Without keep-alive, no goroutine
// of net/http's outlives a call.
func openAt(token, url string) func(context.Context) (string, error) {
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return OpenWith(slack.New("xoxb-unused", slack.OptionAppLevelToken(token), slack.OptionHTTPClient(hc), slack.OptionAPIURL(url)))
}

func runWith(t *testing.T, open func(context.Context) (string, error), config func(*Config)) *running {
	r := &running{t: t, done: make(chan struct{}), log: &logBuffer{out: t.Output()}}
	cfg := Config{
		Open:        open,
		Connections: 1,
		Handle: func(ctx context.Context, e *Envelope) {
			if err := e.Ack(nil); err != nil {
				t.Errorf("acknowledging %s: %v", e.ID, err)
			}
		},
		Log:            slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		BackoffMin:     time.Millisecond,
		BackoffMax:     20 * time.Millisecond,
		OpenEvery:      10 * time.Millisecond,
		ConnectTimeout: patience,
	}
	if config != nil {
		config(&cfg)
	}
	r.Sockets = New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	// Goroutines inherit the label, so that what is left behind can be told
	// from other tests' goroutines.
	go pprof.Do(ctx, pprof.Labels("test", t.Name()), func(ctx context.Context) {
		defer close(r.done)
		r.err = r.Run(ctx)
	})
	t.Cleanup(r.finish)
	return r
}

// stop ends Run and waits for it.
func (r *running) stop() error {
	r.t.Helper()
	r.cancel()
	return r.wait()
}

func (r *running) wait() error {
	r.t.Helper()
	receive(r.t, r.done, "the end of Run")
	return r.err
}

// finish checks what holds after every test.
func (r *running) finish() {
	r.stop()
	require.False(r.t, r.Ready(), "ready after Run")
	for _, secret := range []string{"very-secret", "xapp-1", "ticket=", "://127"} {
		require.NotContains(r.t, r.log.String(), secret, "log")
		if r.err != nil {
			require.NotContains(r.t, r.err.Error(), secret, "error")
		}
	}
	r.eventually("no goroutine left", func() bool {
		var stacks bytes.Buffer
		pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		return !strings.Contains(stacks.String(), fmt.Sprintf("%q:%q", "test", r.t.Name()))
	})
}

func (r *running) eventually(what string, ok func() bool) {
	r.t.Helper()
	require.Eventually(r.t, ok, patience, time.Millisecond, what)
}

// logged waits for a line with this text.
func (r *running) logged(text string) {
	r.t.Helper()
	r.eventually("log line with "+text, func() bool { return strings.Contains(r.log.String(), text) })
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
	out io.Writer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.out.Write(p)
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
