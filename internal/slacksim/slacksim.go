// Package slacksim is a Slack workspace on the loopback: the Web API, Socket Mode and response_url as an app meets
// them, with people, channels and messages behind them. It exists so that a Slack app can be run, broken and judged
// without an account.
//
// A [Workspace] plays two sides. Towards the app it is a server: it hands out single-use tickets, sends envelopes over
// WebSockets, takes acks, and answers Web API calls with what Slack would answer, refusals included. Towards the test
// it is a room full of people: [Workspace.Command] types a slash command as somebody, [Workspace.Click] presses a
// button, and what people would then see can be read back ([Workspace.Messages], [Workspace.Ephemerals],
// [Workspace.Render]) or awaited ([Workspace.Wait]).
//
// It is strict. What Slack refuses is refused here, and what Slack merely frowns upon (a late ack, a socket abandoned
// without a close frame, a call during a Retry-After pause) is written down as a [Violation]. An ack that never comes
// is no violation: it is a failed command, and its sender sees that.
//
// It breaks on demand. [Fault] makes Web API calls fail before or after their effect; [Workspace.Disconnect],
// [Workspace.Reset], [Workspace.HalfOpen], [Workspace.GoOffline] and their like do the same to sockets. [Workspace.OnEvent] calls a
// function at the exact instant something happens, before the app can know, which is when to kill a process.
//
// Names of Slack's documentation pages in comments say where a fact comes from. What Slack does not document sits
// behind one field of [Config] each, marked "unconfirmed".
package slacksim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// Config describes a workspace. The zero value is a useful one: a free port on 127.0.0.1, real time, Slack's own
// limits, every scope an app of this kind could ask for.
type Config struct {
	Addr string           // where to listen; default 127.0.0.1:0
	Now  func() time.Time // the clock of ts, response_url, trigger_id and HideFor; pacing and timeouts use real time
	Seed uint64           // decides which connection gets an envelope; 0 = different each time

	TeamID       string   // default T0SIM
	TeamDomain   string   // default acme
	EnterpriseID string   // set = the workspace belongs to a Grid organisation
	AppID        string   // default A0SIM
	BotName      string   // default zego-closer
	BotToken     string   // default xoxb-…; must begin with xoxb-
	AppToken     string   // default xapp-…; must begin with xapp-
	Commands     []string // slash commands of the app; default /zego-close
	Scopes       []string // of the bot token; default DefaultScopes()
	AppScopes    []string // of the app token; default connections:write

	AckTimeout     time.Duration   // default 3s (interactivity/handling-user-interaction)
	PingEvery      time.Duration   // protocol pings; default 5s (unconfirmed, "a few seconds" in logs)
	DeadAfter      int             // unanswered pings until a socket is given up; default 6 (unconfirmed)
	WarningCloses  time.Duration   // from a "warning" to the close; default 10s (using-socket-mode)
	RefreshCloses  time.Duration   // from any other disconnect frame to the close; default 1s (unconfirmed)
	ConnectionLife time.Duration   // a socket this old is told "warning"; 0 = never
	TicketLife     time.Duration   // an unused ticket is good for this long; default 30s (unconfirmed)
	GhostFor       time.Duration   // a socket that vanished without a close frame still counts, and swallows its share of envelopes, this long; default 0 (unconfirmed)
	EventRetries   []time.Duration // waits before events_api retries; default 0, 1m, 5m (events-api)
	TriggerLife    time.Duration   // default 3s
	URLLife        time.Duration   // of a response_url; default 30m, 5 uses

	Limits Limits

	// Connections is how many sockets the client under test runs. More calls of apps.connections.open within a second
	// than that are a violation. Default 2.
	Connections int

	// NoMessagesTab refuses posts to the app's direct messages: messages_tab_disabled.
	NoMessagesTab bool

	// Unconfirmed: what Slack does here is not documented, or sources disagree.
	EncodeText           bool   // slash text arrives with & < > as entities (default: as typed)
	ButtonAcceptsPayload bool   // block_actions envelopes say accepts_response_payload (default false, as in captured traffic)
	AckAnywhere          bool   // an ack on another connection of the app counts (it stays a violation)
	NoClickMetadata      bool   // block_actions payloads leave out message.metadata
	ReplaceByDefault     bool   // an actions response_url without replace_original replaces the clicked message
	PlainTextEntities    bool   // plain_text is kept entity-encoded and decoded for display (default: literal)
	InertNames           bool   // mrkdwn with verbatim:false leaves @name, #name and @channel alone (default: makes them live)
	BlockMismatch        bool   // chat.update of a rich_text message to one without rich_text fails: block_mismatch
	ExpiredURLStatus     int    // HTTP status of a used-up or expired response_url; default 404
	LinkDisabledError    string // what apps.connections.open answers while Socket Mode is off; default access_denied
	MetadataLimit        int    // bytes of metadata JSON until metadata_too_large; default 16 KiB
}

// DefaultScopes lists the bot scopes a workspace grants unless told otherwise.
func DefaultScopes() []string {
	return []string{
		"commands", "chat:write", "chat:write.public", "users:read", "usergroups:read",
		"channels:read", "groups:read", "im:read", "mpim:read", "channels:join", "im:write",
		"channels:history", "groups:history", "im:history", "mpim:history",
	}
}

// A Workspace is one running simulation. All methods may be called from any goroutine, also from an observer.
type Workspace struct {
	cfg    Config
	now    func() time.Time
	addr   string // host:port, fixed after New
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // handlers, pingers, timers under way

	mu     sync.Mutex
	closed bool
	server *http.Server // nil while offline
	timers map[*time.Timer]struct{}
	rng    *rand.Rand

	people
	rooms
	sockets
	tokens
	urls
	modals
	pacing
	faults   []*Injection
	breaches breaches
	observers
}

// New starts a workspace. It fails only if the address cannot be had.
func New(cfg Config) (*Workspace, error) {
	setDefault(&cfg.Addr, "127.0.0.1:0")
	setDefault(&cfg.Seed, rand.Uint64())
	setDefault(&cfg.TeamID, "T0SIM")
	setDefault(&cfg.TeamDomain, "acme")
	setDefault(&cfg.AppID, "A0SIM")
	setDefault(&cfg.BotName, "zego-closer")
	setDefault(&cfg.BotToken, "xoxb-1-sim")
	setDefault(&cfg.AppToken, "xapp-1-sim")
	setDefault(&cfg.AckTimeout, 3*time.Second)
	setDefault(&cfg.PingEvery, 5*time.Second)
	setDefault(&cfg.DeadAfter, 6)
	setDefault(&cfg.WarningCloses, 10*time.Second)
	setDefault(&cfg.RefreshCloses, time.Second)
	setDefault(&cfg.TicketLife, 30*time.Second)
	setDefault(&cfg.TriggerLife, 3*time.Second)
	setDefault(&cfg.URLLife, 30*time.Minute)
	setDefault(&cfg.Connections, 2)
	setDefault(&cfg.ExpiredURLStatus, http.StatusNotFound)
	setDefault(&cfg.LinkDisabledError, "access_denied")
	setDefault(&cfg.MetadataLimit, 16<<10)
	cfg.Limits.setDefaults()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Commands == nil {
		cfg.Commands = []string{"/zego-close"}
	}
	if cfg.Scopes == nil {
		cfg.Scopes = DefaultScopes()
	}
	if cfg.AppScopes == nil {
		cfg.AppScopes = []string{"connections:write"}
	}
	if cfg.EventRetries == nil {
		cfg.EventRetries = []time.Duration{0, time.Minute, 5 * time.Minute}
	}

	w := &Workspace{
		cfg:    cfg,
		now:    cfg.Now,
		addr:   cfg.Addr,
		timers: map[*time.Timer]struct{}{},
		rng:    rand.New(rand.NewPCG(cfg.Seed, 0)),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.people = newPeople(cfg)
	w.rooms = newRooms()
	w.sockets = newSockets()
	w.tokens = tokens{trouble: map[tokenKind]string{}}
	w.urls = urls{paths: map[string]*responseURL{}}
	w.modals = modals{triggers: map[string]*trigger{}, views: map[string]*View{}}
	w.pacing = newPacing()
	w.observers.changed = make(chan struct{})
	if err := w.GoOnline(); err != nil {
		w.cancel()
		return nil, err
	}
	return w, nil
}

func setDefault[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// APIURL is the base of the Web API, as Slack's is https://slack.com/api/.
func (w *Workspace) APIURL() string { return "http://" + w.addr + "/api/" }

// URL is the workspace's address without a path.
func (w *Workspace) URL() string { return "http://" + w.addr }

// BotToken is the app's xoxb token.
func (w *Workspace) BotToken() string { return w.cfg.BotToken }

// AppToken is the app's xapp token.
func (w *Workspace) AppToken() string { return w.cfg.AppToken }

// GoOffline stops listening and resets every connection: what follows is "connection refused", until
// [Workspace.GoOnline].
func (w *Workspace) GoOffline() {
	w.mu.Lock()
	server := w.server
	w.server = nil
	w.mu.Unlock()
	if server != nil {
		server.Close()
	}
	w.ResetAll()
}

// GoOnline listens again, on the same port.
func (w *Workspace) GoOnline() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errors.New("slacksim: the workspace is closed")
	}
	if w.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", w.addr)
	if err != nil {
		return fmt.Errorf("slacksim: listening: %w", err)
	}
	w.addr = listener.Addr().String()
	server := &http.Server{Handler: w.routes(), ReadHeaderTimeout: 10 * time.Second, ConnState: w.countConnection}
	w.server = server
	w.wg.Go(func() { server.Serve(listener) })
	return nil
}

// countConnection lets Close wait for the HTTP server's own goroutines.
func (w *Workspace) countConnection(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		w.wg.Add(1)
	case http.StateClosed, http.StateHijacked:
		w.wg.Done()
	}
}

func (w *Workspace) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/{method}", w.serveAPI)
	mux.HandleFunc("/link/", w.serveSocket)
	mux.HandleFunc("/commands/", w.serveResponseURL)
	mux.HandleFunc("/actions/", w.serveResponseURL)
	mux.HandleFunc("POST /sim/command", w.guard(w.controlCommand))
	mux.HandleFunc("POST /sim/click", w.guard(w.controlClick))
	mux.HandleFunc("GET /sim/state", w.guard(w.controlState))
	return mux
}

// Close ends the simulation. When it returns, no goroutine of the workspace is left and every delivery is settled.
func (w *Workspace) Close() {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	w.closed = true
	for timer := range w.timers {
		timer.Stop()
	}
	clear(w.timers)
	for _, d := range w.open {
		w.settle(d, d.failure(), "the workspace was closed")
	}
	w.unlock()
	w.cancel()
	w.GoOffline()
	w.wg.Wait()
}

// after runs f once d has passed, unless the workspace is closed first. The caller holds mu; f must not assume it.
func (w *Workspace) after(d time.Duration, f func()) (stop func()) {
	if w.closed {
		return func() {}
	}
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		w.mu.Lock()
		if w.closed {
			w.mu.Unlock()
			return
		}
		delete(w.timers, timer)
		w.wg.Add(1)
		w.mu.Unlock()
		defer w.wg.Done()
		f()
	})
	w.timers[timer] = struct{}{}
	return func() { timer.Stop(); delete(w.timers, timer) } // the caller holds mu
}

// sleep waits, less if the context or the workspace ends.
func (w *Workspace) sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	case <-w.ctx.Done():
	}
}
