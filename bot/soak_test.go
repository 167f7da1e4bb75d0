package bot_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// soak is a house in which everything goes wrong at random.
type soak struct {
	*house
	people, channels, rooms []string
	seed                    uint64

	mu       sync.Mutex // held while the bot is exchanged for another
	over     chan struct{}
	answers  [5]atomic.Int64 // by what came of commands and clicks
	troubles atomic.Int64
	kills    int
	silence  bool // ZEGO may leave a call without any answer
}

// soakFor is how long: 15 s, 2 min with ZEGOCLOSE_TEST_LONG, or what ZEGOCLOSE_SOAK says.
func soakFor(t *testing.T) time.Duration {
	if s := os.Getenv("ZEGOCLOSE_SOAK"); s != "" {
		d, err := time.ParseDuration(s)
		require.NoError(t, err)
		return d
	}
	if long() {
		return 2 * time.Minute
	}
	return 15 * time.Second
}

// TestSoak lets moderators ask and press at random while Slack, ZEGO, the disk and the bot
// itself fail at random, then waits until it is quiet and compares the three records. The
// choices follow from a seed, which ZEGOCLOSE_SEED sets; what they meet does not.
func TestSoak(t *testing.T) {
	if !long() {
		t.Parallel()
	}
	s := &soak{seed: 20261123, silence: true, over: make(chan struct{})}
	if v := os.Getenv("ZEGOCLOSE_SEED"); v != "" {
		var err error
		s.seed, err = strconv.ParseUint(v, 10, 64)
		require.NoError(t, err)
	}
	span := soakFor(t)
	t.Logf("ZEGOCLOSE_SEED=%d, for %v", s.seed, span)
	s.house = newHouse(t,
		with("CONFIRM_TIMEOUT=6s", "CLOSE_WITHIN=6s", "ZEGO_TIMEOUT=400ms", "ZEGO_LOOK_AFTER=100ms,200ms",
			"SLACK_TIMEOUT=800ms", "SLACK_RECHECK_AFTER=1200ms", "ZEGO_CLOSE_INTERVAL=20ms", "LOG_LEVEL=info",
			"ALLOWED_USERS=U0ALICE,U0BOB,U0CAROL,U0DAVE,U0ERIN"),
		slackLike(func(c *slacksim.Config) { c.Connections = 20 }))
	// Who has just been started does not know how long Slack had asked the one before to wait.
	s.tolerated = []slacksim.Kind{slacksim.CalledDuringPause}
	for _, name := range []string{"carol", "dave", "erin"} {
		s.slack.AddUser(slacksim.User{ID: "U0" + strings.ToUpper(name), Name: name})
	}
	s.people = []string{s.alice, s.bob, "U0CAROL", "U0DAVE", "U0ERIN", s.mallory}
	s.channels = []string{s.ops}
	for _, id := range []string{"C0GAMES", "C0MUSIC"} {
		s.channels = append(s.channels, s.slack.AddChannel(slacksim.Channel{ID: id, Name: strings.ToLower(id[2:]), BotMember: true}).ID)
	}
	for i := range 12 {
		s.rooms = append(s.rooms, fmt.Sprintf("room-%d", i))
	}
	s.startChild()

	// Two thirds of the time the bot is killed now and then; the last third is one life, at
	// the end of which it must hold no more than at its beginning (SQLite may keep two more
	// readers open, HTTP a connection).
	s.storm(span*2/3, s.kill)
	s.mu.Lock()
	if !s.child.gone() {
		s.child.end()
	}
	s.startChild()
	s.mu.Unlock()
	s.calm()
	before := s.holds()
	s.silence = false // the bot waits a minute for an answer that may be late
	s.storm(span/3, nil)
	s.calm()
	var after holdings
	s.eventuallyWithin(30*time.Second, "the bot holds no more than before", func() bool {
		after = s.holds()
		return after.goroutines <= before.goroutines+4 && after.files <= before.files+6 && after.heap <= before.heap+8<<20
	})

	t.Logf("%d commands and clicks answered, %d not; %d troubles, %d kills; %d cases, %d effects, %d messages",
		s.answers[0].Load(), s.answers[1].Load(), s.troubles.Load(), s.kills,
		s.count(`SELECT count(*) FROM cases`), len(s.zego.Executions()), s.count(`SELECT count(*) FROM posts`))
	var states []string
	for _, state := range []string{"closed", "absent", "failed", "unknown", "cancelled", "expired"} {
		states = append(states, fmt.Sprintf("%d %s", s.count(`SELECT count(*) FROM cases WHERE state = $1`, state), state))
	}
	t.Logf("cases: %s", strings.Join(states, ", "))
	t.Logf("before and after one life: %v, %v", before, after)
	s.tellsTheTruth()
	assert.Equal(t, 0, s.child.end())
}

// storm lets people work and things break for a while.
func (s *soak) storm(span time.Duration, kill func(*rand.Rand)) {
	s.over = make(chan struct{})
	var all sync.WaitGroup
	loop := func(id uint64, pause time.Duration, step func(*rand.Rand)) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(s.seed, id))
			for {
				select {
				case <-s.over:
					return
				case <-time.After(upTo(r, 2*pause)):
					step(r)
				}
			}
		})
	}
	for i, who := range s.people {
		n := 0
		loop(uint64(i), 80*time.Millisecond, func(r *rand.Rand) {
			n++
			s.act(r, who, n)
		})
	}
	loop(100, 400*time.Millisecond, s.annoySlack)
	loop(101, 600*time.Millisecond, s.annoyZego)
	loop(102, 1500*time.Millisecond, s.breakSockets)
	loop(103, 2*time.Second, s.slowDisk)
	loop(104, 300*time.Millisecond, func(r *rand.Rand) {
		for _, room := range s.rooms {
			s.zego.Login(room, fmt.Sprint("user-", r.IntN(50)))
		}
	})
	if kill != nil {
		loop(105, 2*time.Second, kill)
	}
	time.Sleep(span)
	close(s.over)
	all.Wait()
}

func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }

var acts atomic.Int64

// act is one thing that somebody does: mostly a press of what can be pressed somewhere,
// else a command.
func (s *soak) act(r *rand.Rand, who string, n int) {
	how := slacksim.Dispatch{}
	switch r.IntN(10) {
	case 0:
		how.Duplicate = 1 + r.IntN(2)
	case 1:
		how.Delay = upTo(r, 500*time.Millisecond)
	}
	channel := s.channels[r.IntN(len(s.channels))]
	if r.IntN(6) == 0 {
		room := s.rooms[r.IntN(len(s.rooms))]
		s.note(s.slack.Command(slacksim.Command{User: who, Channel: channel, Text: fmt.Sprintf("%s reason-%d", room, acts.Add(1)), Dispatch: how}))
		return
	}
	var own, all []slacksim.Message // cards that can be pressed
	for _, m := range s.slack.Messages(channel) {
		if len(s.slack.Buttons(m.Channel, m.TS)) == 0 {
			continue
		}
		if all = append(all, m); strings.Contains(m.Text, who) {
			own = append(own, m)
		}
	}
	if len(own) > 0 && r.IntN(5) > 0 { // mostly people press on their own cards
		all = own
	}
	if len(all) == 0 {
		return
	}
	m := all[r.IntN(len(all))]
	buttons := s.slack.Buttons(m.Channel, m.TS)
	if len(buttons) == 0 {
		return // gone just now
	}
	b := buttons[0] // Close room, Cancel while it waits, Try again
	if r.IntN(5) == 0 {
		b = buttons[len(buttons)-1]
	}
	if d, err := s.slack.Click(slacksim.Click{User: who, Channel: m.Channel, TS: m.TS, ActionID: b.ActionID, Dispatch: how}); err == nil {
		s.note(d)
	}
}

// note counts what comes of a delivery, without waiting for it.
func (s *soak) note(d *slacksim.Delivery) {
	go func() {
		<-d.Done()
		if d.Outcome().Result == slacksim.Acked {
			s.answers[0].Add(1)
		} else {
			s.answers[1].Add(1)
		}
	}()
}

// annoySlack makes a few calls of the Web API fail, or be slow, before or after their effect.
func (s *soak) annoySlack(r *rand.Rand) {
	methods := []string{"chat.postMessage", "chat.postMessage", "chat.update", "conversations.info", "conversations.history",
		"conversations.replies", "users.info", "apps.connections.open", "response_url", "auth.test"}
	f := slacksim.Fault{Method: methods[r.IntN(len(methods))], Count: 1 + r.IntN(2), When: slacksim.Moment(r.IntN(2))}
	switch r.IntN(8) {
	case 0:
		f.Delay = upTo(r, time.Second)
	case 1:
		f.HideFor = upTo(r, time.Second)
	case 2:
		f.Error = "internal_error"
	case 3:
		f.Error = "fatal_error"
	case 4:
		f.Status = []int{500, 502, 503}[r.IntN(3)]
	case 5:
		f.Status, f.When = 429, slacksim.Before
	case 6:
		f.Reset = true
	case 7:
		f.Hang = true
	}
	s.troubles.Add(1)
	s.slack.Inject(f)
}

// annoyZego makes a call fail. It never makes ZEGO lie: an answer that says what was done is true.
func (s *soak) annoyZego(r *rand.Rand) {
	done := r.IntN(2) == 0
	unclear := []zegosim.Fault{
		{Reset: true}, {Silent: true}, {Status: 502}, {Body: "<html>"}, {Truncate: true}, {ContentType: "text/html", Body: "{"},
		{Code: 1}, {Code: 100000015}, {Code: 424242}, {Redirect: "http://127.0.0.1:1/"}, {Oversize: true},
	}
	refused := []zegosim.Fault{{Code: 206}, {Code: 207}, {Code: 7}, {Code: 9}, {Code: 5}, {Skew: time.Hour}}
	slow := []zegosim.Fault{{Before: upTo(r, 300*time.Millisecond)}, {After: upTo(r, 900*time.Millisecond)}, {NumericRequestID: true}}
	var f zegosim.Fault
	switch r.IntN(6) {
	case 0, 1, 2:
		f = unclear[r.IntN(len(unclear))]
		f.Skip = !done
		if f.Silent && !s.silence {
			f.Silent, f.Reset = false, true
		}
	case 3, 4:
		f = refused[r.IntN(len(refused))]
		f.Skip = true
	case 5:
		f = slow[r.IntN(len(slow))]
	}
	f.Action = []string{"CloseRoom", "CloseRoom", "DescribeUserNum"}[r.IntN(3)]
	f.Count = 1
	s.troubles.Add(1)
	s.zego.AddFault(f)
	if r.IntN(20) == 0 {
		s.zego.Down()
		time.Sleep(upTo(r, time.Second))
		assert.NoError(s.t, s.zego.Up())
	}
}

func (s *soak) breakSockets(r *rand.Rand) {
	s.troubles.Add(1)
	switch r.IntN(12) {
	case 0, 1, 2:
		s.slack.Disconnect(slacksim.Disconnect{Reason: slacksim.RequestWarning, After: time.Second, Behind: r.IntN(2) == 0})
	case 3, 4, 5:
		s.slack.Disconnect(slacksim.Disconnect{Reason: slacksim.RefreshRequested, Behind: r.IntN(2) == 0})
	case 6, 7, 8:
		s.slack.Reset(0)
	case 9:
		s.slack.ResetAll()
	case 10:
		s.slack.HalfOpen(0)
	case 11:
		s.slack.GoOffline()
		time.Sleep(upTo(r, 500*time.Millisecond))
		assert.NoError(s.t, s.slack.GoOnline())
	}
}

func (s *soak) slowDisk(r *rand.Rand) {
	s.troubles.Add(1)
	s.commitsTake(upTo(r, 300*time.Millisecond))
	time.Sleep(upTo(r, time.Second))
	s.commitsTake(0)
}

// kill ends the bot, mostly without warning, and starts the next.
func (s *soak) kill(r *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kills++
	if r.IntN(5) == 0 {
		s.child.end()
	} else {
		s.child.kill()
	}
	time.Sleep(upTo(r, 300*time.Millisecond))
	if r.IntN(3) == 0 { // a life that ends by itself, soon
		<-s.spawn(diesAt([]string{"before", "after"}[r.IntN(2)], 1+r.IntN(20))).dead
		s.kills++
	}
	s.spawn()
}

// calm ends all trouble and waits until everything is done and told.
func (s *soak) calm() {
	s.t.Helper()
	s.slack.ClearFaults()
	s.zego.ClearFaults()
	s.commitsTake(0)
	require.False(s.t, s.child.gone(), "the bot has ended by itself")
	s.eventuallyWithin(2*time.Minute, "everything is done and told", func() bool { return s.waiting() == 0 })
	s.slack.GoOffline() // and with it every connection that is kept for later
	require.NoError(s.t, s.slack.GoOnline())
	s.eventually("the bot is back", func() bool { return s.slack.Ready() >= s.connections() })
	s.eventually("everything is done and told", func() bool { return s.waiting() == 0 })
}

// holdings are what a process holds.
type holdings struct{ goroutines, heap, files int }

func (h holdings) String() string {
	return fmt.Sprintf("%d goroutines, %d KiB of heap, %d files", h.goroutines, h.heap>>10, h.files)
}

// holds asks the bot's process.
func (s *soak) holds() (h holdings) {
	s.t.Helper()
	require.NoError(s.t, os.RemoveAll(s.holdingsFile()))
	require.NoError(s.t, s.child.cmd.Process.Signal(syscall.SIGUSR1))
	s.eventually("the bot tells what it holds", func() bool {
		b, err := os.ReadFile(s.holdingsFile())
		n, _ := fmt.Sscan(string(b), &h.goroutines, &h.heap)
		return err == nil && n == 2
	})
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.child.cmd.Process.Pid))
	if err == nil {
		h.files = len(files)
	}
	return h
}
