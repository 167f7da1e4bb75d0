package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"
)

// The ZEGO app, the people and the channels. Ids decide; the names are for the eye.
const (
	zegoAppID  = 1234567890
	zegoSecret = "0123456789abcdef0123456789abcdef"

	alice   = "U0ALICE"
	bob     = "U0BOB"
	mallory = "U0MALLORY"
	guest   = "U0GUEST"

	ops     = "C0LIVEOPS" // public, with the bot
	partner = "C0PARTNER" // shared with another company, with the bot
	random  = "C0RANDOM"  // public, without the bot
	mods    = "C0MODS"    // private, with the bot
	audit   = "C0AUDIT"   // for all cards, if the bot is set so
)

// settleWorkspace brings people and channels into a workspace.
func settleWorkspace(w *slacksim.Workspace) {
	w.AddUser(slacksim.User{ID: alice, Name: "alice"})
	w.AddUser(slacksim.User{ID: bob, Name: "bob"})
	w.AddUser(slacksim.User{ID: mallory, Name: "mallory"})
	w.AddUser(slacksim.User{ID: guest, Name: "guest", TeamID: "T0PARTNER"})
	w.AddChannel(slacksim.Channel{ID: ops, Name: "live-ops", BotMember: true})
	w.AddChannel(slacksim.Channel{ID: partner, Name: "with-partner", BotMember: true, ExtShared: true,
		Members: []string{alice, bob, mallory, guest}})
	w.AddChannel(slacksim.Channel{ID: random, Name: "random"})
	w.AddChannel(slacksim.Channel{ID: mods, Name: "moderators", Kind: slacksim.Private, BotMember: true, Members: []string{alice, bob}})
	w.AddChannel(slacksim.Channel{ID: audit, Name: "zego-audit", BotMember: true})
}

// scopes are what manifest.yaml asks for.
func scopes() []string {
	return []string{"commands", "chat:write", "users:read", "usergroups:read", "channels:read", "groups:read", "channels:history", "groups:history"}
}

const (
	patience    = 30 * time.Second        // for anything that should happen soon
	connections = 2                       // of the bot, to Slack
	openPace    = 1050 * time.Millisecond // between a bot that has just connected and the next one
	journalPace = 10 * time.Millisecond   // how often the journal is read by those who wait for it
)

// house is a workspace, a ZEGO app and the true bot between them, over real sockets, with
// a directory that goes when the house goes. One goroutine at a time starts, stops and kills.
type house struct {
	slack *slacksim.Workspace
	zego  *zegosim.Server
	dir   string
	log   io.Writer // of the bot
	bot   *bot      // nil while there is none
	kills int       // how often it was killed

	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, whenever anything happens
	over    chan struct{} // closed when nobody should wait any more
	opened  time.Time     // when a bot last asked Slack for a connection
	holds   []*hold
}

// newHouse builds a house. The bot is not started; its log goes to a file in the house's
// directory, unless log is given.
func newHouse(log io.Writer) (h *house, err error) {
	dir, err := os.MkdirTemp("", "zegoclose-demo-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary directory for the journal: %w; set TMPDIR to a directory that can be written", err)
	}
	h = &house{dir: dir, log: log, changed: make(chan struct{}), over: make(chan struct{})}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if h.log == nil {
		if h.log, err = os.Create(h.logFile()); err != nil {
			return nil, fmt.Errorf("making the bot's log: %w", err)
		}
	}
	// Slack's limits are off: one scene shows them, the others need not wait for them.
	h.slack, err = slacksim.New(slacksim.Config{Limits: slacksim.Unlimited(), Connections: connections, BotName: "zegoclose", Scopes: scopes()})
	if err != nil {
		return nil, err
	}
	settleWorkspace(h.slack)
	h.slack.OnEvent(h.onEvent)
	h.zego = zegosim.New(zegosim.Config{AppID: zegoAppID, ServerSecret: zegoSecret, CloseInterval: 200 * time.Millisecond})
	h.zego.OnCall(h.onCall)
	return h, nil
}

func (h *house) journalFile() string { return filepath.Join(h.dir, "journal.db") }
func (h *house) logFile() string     { return filepath.Join(h.dir, "bot.log") }

// close ends everything and leaves nothing behind.
func (h *house) close() error {
	h.interrupt()
	if h.bot != nil {
		h.bot.stop()
	}
	if h.slack != nil {
		h.slack.Close()
	}
	if h.zego != nil {
		h.zego.Close()
	}
	if f, ok := h.log.(*os.File); ok && f.Name() == h.logFile() {
		f.Close()
	}
	if err := os.RemoveAll(h.dir); err != nil {
		return fmt.Errorf("%w; remove %s by hand", err, h.dir)
	}
	return nil
}

// interrupt lets everybody who waits go.
func (h *house) interrupt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.over:
	default:
		close(h.over)
	}
}

// variables are the bot's settings: periods short enough to watch, the simulators in the
// places of Slack and ZEGO, and then the changes, as NAME=value.
func (h *house) variables(changes ...string) []string {
	return append([]string{
		"SLACK_API_URL=" + h.slack.APIURL(),
		"SLACK_BOT_TOKEN=" + h.slack.BotToken(),
		"SLACK_APP_TOKEN=" + h.slack.AppToken(),
		fmt.Sprint("SLACK_CONNECTIONS=", connections),
		"ZEGO_API_URL=" + h.zego.URL(),
		fmt.Sprint("ZEGO_APP_ID=", zegoAppID),
		"ZEGO_SERVER_SECRET=" + zegoSecret,
		"ZEGO_CLOSE_INTERVAL=250ms",
		"ZEGO_LOOK_AFTER=200ms,500ms",
		"ALLOWED_USERS=" + alice + "," + bob,
		"ALLOWED_CHANNELS=" + ops + "," + partner,
		"DATABASE_URL=" + h.journalFile(),
		"LOG_FORMAT=tint",
	}, changes...)
}

// start starts the bot and returns when Slack has said hello to it.
func (h *house) start(changes ...string) error {
	// Slack lets an app ask for one connection a second for each that it holds, and a bot
	// that is started anew is the same app.
	select {
	case <-time.After(time.Until(h.lastOpened().Add(openPace))):
	case <-h.over:
		return errInterrupted
	}
	b, err := startBot(h.variables(changes...), h.log)
	if err != nil {
		return err
	}
	h.bot = b
	go func() {
		<-b.exited
		h.notify()
	}()
	return h.await("the bot is connected to Slack", func() bool { return h.slack.Ready() == connections })
}

// stop ends the bot as a deploy does.
func (h *house) stop() error {
	if h.bot == nil {
		return nil
	}
	b := h.bot
	h.bot = nil
	if err := b.stop(); err != nil {
		return err
	}
	return h.await("Slack has seen the bot go", func() bool { return len(h.slack.Connections()) == 0 })
}

// kill ends the bot as a power failure does.
func (h *house) kill() error {
	h.bot.kill()
	h.bot = nil
	h.kills++
	return h.await("Slack has noticed that the bot is gone", func() bool { return len(h.slack.Connections()) == 0 })
}

// onEvent is told about everything that happens in Slack, in the goroutine where it does.
func (h *house) onEvent(e slacksim.Event) {
	if e.Kind == slacksim.Answered && e.Method == "apps.connections.open" {
		h.mu.Lock()
		h.opened = time.Now()
		h.mu.Unlock()
	}
	h.notify()
}

func (h *house) lastOpened() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.opened
}

func (h *house) notify() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *house) changes() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

var errInterrupted = errors.New("interrupted; nothing was left behind")

// await waits until cond holds. It looks again whenever something happens at Slack or at
// ZEGO, and now and then for the journal's sake, which tells nobody. What is waited for is
// said so that it fits behind "until".
func (h *house) await(what string, cond func() bool) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	tick := time.NewTicker(journalPace)
	defer tick.Stop()
	for {
		changed := h.changes()
		if cond() {
			return nil
		}
		if h.bot != nil {
			if err := h.bot.running(); err != nil {
				return fmt.Errorf("waiting until %s: %w", what, err)
			}
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-h.over:
			return errInterrupted
		case <-timeout.C:
			return fmt.Errorf("waited %v in vain until %s", patience, what)
		}
	}
}

// A hold stops the next CloseRoom of a room at one instant of its life.
type hold struct {
	room     string
	phase    zegosim.Phase
	reached  chan struct{}
	released chan struct{}
}

// hold stops the next CloseRoom of room when it gets to phase.
func (h *house) hold(room string, phase zegosim.Phase) *hold {
	s := &hold{room, phase, make(chan struct{}), make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holds = append(h.holds, s)
	return s
}

// release lets the call go on.
func (s *hold) release() { close(s.released) }

func (s *hold) isReached() bool {
	select {
	case <-s.reached:
		return true
	default:
		return false
	}
}

// onCall is told about every call to ZEGO, in the call's own goroutine.
func (h *house) onCall(c zegosim.Call, p zegosim.Phase) {
	h.mu.Lock()
	i := slices.IndexFunc(h.holds, func(s *hold) bool {
		return c.Action == "CloseRoom" && c.RoomID == s.room && p == s.phase
	})
	var s *hold
	if i >= 0 {
		s = h.holds[i]
		h.holds = slices.Delete(h.holds, i, i+1)
		close(s.reached)
	}
	h.mu.Unlock()
	h.notify()
	if s != nil {
		select {
		case <-s.released:
		case <-h.over:
		}
	}
}

// lastWords is the end of the bot's log, for whoever has to find out what went wrong.
func (h *house) lastWords() string {
	b, err := os.ReadFile(h.logFile())
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}
