package bot_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zegoclose/internal/journal"
	"zegoclose/internal/slacksim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maxResident bounds the memory of the bot under every load here. The race detector takes
// several times as much as the bot.
const maxResident = 400 << 20

// heavy is how much work a load is made of: a tenth of n if the race detector slows the
// program down, and with it the journal, several times.
func heavy(n int) int {
	if raceDetector() {
		return n / 10
	}
	return n
}

// crowd is a house with many moderators and channels. The bot is a process of its own, so
// that its memory can be told from the simulators'.
type crowd struct {
	*house
	people, channels []string
}

func newCrowd(t *testing.T, people, channels int, options ...option) *crowd {
	var ids []string
	for i := range people {
		ids = append(ids, fmt.Sprintf("U0MOD%03d", i))
	}
	c := &crowd{people: ids}
	c.house = newHouse(t, append([]option{with("ALLOWED_USERS="+strings.Join(ids, ","), "LOG_LEVEL=warn", "SLACK_TIMEOUT=10s", "SLACK_RECHECK_AFTER=15s", "ZEGO_TIMEOUT=5s")}, options...)...)
	for i, id := range ids {
		c.slack.AddUser(slacksim.User{ID: id, Name: fmt.Sprintf("mod%d", i)})
	}
	for i := range channels {
		id := fmt.Sprintf("C0CROWD%03d", i)
		c.slack.AddChannel(slacksim.Channel{ID: id, Name: fmt.Sprintf("crowd-%d", i), BotMember: true})
		c.channels = append(c.channels, id)
	}
	c.startChild()
	return c
}

// asks lets the n-th command be typed, each in the next channel and about a room of its own.
func (c *crowd) asks(n int) *slacksim.Delivery {
	return c.slack.Command(slacksim.Command{User: c.people[n%len(c.people)], Channel: c.channels[n%len(c.channels)], Text: fmt.Sprintf("room-%d reason %d", n, n)})
}

// answered waits for all deliveries, which must be answered in time, and reports how fast.
func (c *crowd) answered(what string, ds []*slacksim.Delivery) {
	c.t.Helper()
	var took []time.Duration
	for _, d := range ds {
		o := c.await(d)
		if o.Result != slacksim.Acked {
			c.t.Fatalf("%s: %s after %v", o.What, o.Result, o.Latency)
		}
		if o.Reply != nil && !strings.Contains(c.slack.Render(*o.Reply, o.User), "recorded") {
			c.t.Fatalf("%s: %s", o.What, c.slack.Render(*o.Reply, o.User))
		}
		took = append(took, o.Latency)
	}
	slices.Sort(took)
	at := func(percent int) time.Duration {
		return took[(len(took)-1)*percent/100].Round(100 * time.Microsecond)
	}
	c.t.Logf("%d %s answered: half within %v, 99%% within %v, all within %v", len(took), what, at(50), at(99), at(100))
	assert.Less(c.t, at(100), 3*time.Second)
}

// cards waits until the channels show so many cards, and returns them in the order of the
// journal. Each channel must show its own in that order.
func (c *crowd) cards(n int) []slacksim.Message {
	c.t.Helper()
	c.eventuallyWithin(3*time.Minute, fmt.Sprintf("%d cards", n), func() bool {
		sum := 0
		for _, ch := range c.channels {
			sum += c.slack.CountMessages(ch)
		}
		return sum >= n
	})
	cards := make([]slacksim.Message, n+1)
	for _, ch := range c.channels {
		before := 0
		for _, m := range c.slack.Messages(ch) {
			number := caseOf(c.t, m)
			assert.Less(c.t, before, number, "cards stand in the order of their cases")
			before, cards[number] = number, m
		}
	}
	return cards[1:]
}

// caseOf reads from a message which case it shows.
func caseOf(t testing.TB, m slacksim.Message) int {
	var meta struct {
		Payload struct{ Case int } `json:"event_payload"`
	}
	require.NoError(t, json.Unmarshal(m.Metadata, &meta))
	return meta.Payload.Case
}

// resident is how much memory a process has taken at most, and takes now.
func (p *process) resident(t testing.TB) (peak, now int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skip("this system does not tell how much memory a process takes")
	}
	for l := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(l, ":")
		var kib int
		fmt.Sscan(value, &kib)
		switch name {
		case "VmHWM":
			peak = kib << 10
		case "VmRSS":
			now = kib << 10
		}
	}
	return peak, now
}

func (c *crowd) remembersLittle() {
	c.t.Helper()
	peak, now := c.child.resident(c.t)
	c.t.Logf("memory of the bot: at most %d MiB, %d MiB now", peak>>20, now>>20)
	assert.Less(c.t, peak, maxResident)
}

// A thousand commands at the same moment, and Slack takes few messages a second in each
// channel.
func TestLoadBurstOfCommands(t *testing.T) {
	n := heavy(1000)
	channels, limits := 50, slacksim.Limits{PostEvery: time.Second / 4, PostsPerMinute: -1}
	if long() {
		channels, limits = 100, slacksim.Limits{} // one a second, and 600 a minute in all
	}
	c := newCrowd(t, 100, channels, slackLike(func(sc *slacksim.Config) { sc.Limits = limits }))
	var ds []*slacksim.Delivery
	for i := range n {
		ds = append(ds, c.asks(i))
	}
	c.answered("commands at once", ds)
	began := time.Now()
	c.cards(n)
	c.t.Logf("%d cards in %d channels after %v", n, len(c.channels), time.Since(began).Round(100*time.Millisecond))
	assert.Equal(t, n, c.count(`SELECT count(*) FROM cases WHERE state = 'pending'`))
	c.remembersLittle()
}

// One channel alone: the posts come in order and as fast as Slack allows.
func TestLoadOneChannelAtSlacksPace(t *testing.T) {
	n := 10
	if long() {
		n = 60
	}
	c := newCrowd(t, n, 1, slackLike(func(sc *slacksim.Config) { sc.Limits = slacksim.Limits{} }))
	began := time.Now()
	var ds []*slacksim.Delivery
	for i := range n {
		ds = append(ds, c.asks(i))
	}
	c.answered("commands in one channel", ds)
	cards := c.cards(n)
	took := time.Since(began)
	c.t.Logf("%d cards after %v", n, took.Round(100*time.Millisecond))
	atBest := time.Duration(n-3) * time.Second // three may come at once
	assert.Less(t, took, atBest+atBest/5+2*time.Second)

	// A result does not wait behind edits, nor an edit for ever behind results.
	d, err := c.slack.Click(slacksim.Click{User: c.people[0], Channel: cards[0].Channel, TS: cards[0].TS, ActionID: cancel})
	require.NoError(t, err)
	c.answered("click", []*slacksim.Delivery{d})
	c.shows(cards[0], "Cancelled")
	c.tells(cards[0], "Cancelled")
}

// 100 commands a second, for a while.
func TestLoadSteadyCommands(t *testing.T) {
	span := 5 * time.Second
	if long() {
		span = time.Minute
	}
	every := time.Second / time.Duration(heavy(100))
	c := newCrowd(t, 50, 50, with("MAX_PENDING_PER_USER=0"))
	tick := time.NewTicker(every)
	defer tick.Stop()
	var ds []*slacksim.Delivery
	for i := range int(span / every) {
		<-tick.C
		ds = append(ds, c.asks(i))
	}
	c.answered(fmt.Sprintf("commands, one every %v", every), ds)
	c.cards(len(ds))
	c.remembersLittle()
}

// 500 clicks at once: all are answered, all wait for their turn where it can be seen, no
// call leaves too early, and all rooms are closed.
func TestLoadBurstOfClicks(t *testing.T) {
	n := heavy(500)
	const interval = 10 * time.Millisecond
	c := newCrowd(t, 50, 50, with(fmt.Sprintf("ZEGO_CLOSE_INTERVAL=%v", interval)))
	var ds []*slacksim.Delivery
	for i := range n {
		c.zego.Login(fmt.Sprintf("room-%d", i), "ann")
		ds = append(ds, c.asks(i))
	}
	c.answered("commands at once", ds)
	cards := c.cards(n)

	// Somebody looks at the cards all the time.
	turns := make(map[string]bool)
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			for _, m := range cards {
				if text := c.read(m); strings.Contains(text, "Closing room-") && strings.Contains(text, ", about ") {
					turns[m.TS] = true
				}
			}
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	var mu sync.Mutex
	ds = ds[:0]
	var presses sync.WaitGroup
	for _, m := range cards {
		presses.Go(func() {
			var who string
			for l := range strings.FieldsSeq(m.Text) { // Asked by <@U…>
				if id, ok := strings.CutPrefix(l, "<@"); ok {
					who, _, _ = strings.Cut(id, ">")
				}
			}
			d, err := c.slack.Click(slacksim.Click{User: who, Channel: m.Channel, TS: m.TS, ActionID: closeRoom})
			if assert.NoError(t, err) {
				mu.Lock()
				defer mu.Unlock()
				ds = append(ds, d)
			}
		})
	}
	presses.Wait()
	began := time.Now()
	c.answered("clicks at once", ds)
	c.eventuallyWithin(2*time.Minute, "all rooms are closed", func() bool {
		return c.count(`SELECT count(*) FROM cases WHERE state = $1`, string(journal.StateClosed)) == n
	})
	c.t.Logf("%d rooms closed after %v", n, time.Since(began).Round(100*time.Millisecond))
	c.eventuallyWithin(2*time.Minute, "everything is told", func() bool { return c.waiting() == 0 })
	close(done)
	watch.Wait()
	c.t.Logf("everything told after %v; %d cards were seen with their turn", time.Since(began).Round(100*time.Millisecond), len(turns))
	assert.Greater(t, len(turns), n/10)

	var calls []time.Time
	for _, call := range c.zego.Calls() {
		if call.Action == "CloseRoom" {
			calls = append(calls, call.Time)
		}
	}
	require.Len(t, calls, n)
	assert.GreaterOrEqual(t, calls[n-1].Sub(calls[0]), time.Duration(n-2)*interval, "never faster than ZEGO allows")
	c.tellsTheTruth()
	c.remembersLittle()
}
