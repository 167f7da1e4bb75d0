package bot_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zegoclose/internal/journal"
	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A slackCell is one thing that goes wrong at Slack, in a house of its own.
type slackCell struct {
	name    string
	options []option
	play    func(h *house)
	differs bool // in the end the journal and Slack are meant to hold different posts, for an audit to find
}

// playEach plays cells a few at a time: most of the time they wait for a pause to pass. At
// the end of each the record must be true.
func playEach(t *testing.T, cells []slackCell) {
	few := make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	defer all.Wait()
	for _, cell := range cells {
		all.Go(func() {
			few <- struct{}{}
			defer func() { <-few }()
			t.Run(cell.name, func(t *testing.T) {
				// Slack gets a second to answer; the doubt about what it did not answer lasts a little longer.
				h := openHouse(t, append([]option{with("SLACK_TIMEOUT=1s", "SLACK_RECHECK_AFTER=1200ms", "ZEGO_TIMEOUT=5s")}, cell.options...)...)
				h.zego.Login("live-42", "ann", "ben")
				cell.play(h)
				h.quiet()
				h.honestAboutZego()
				if !cell.differs {
					h.honestAboutSlack()
				}
			})
		})
	}
}

// closesAll goes through a whole case in the ops channel, whatever happens at Slack.
func closesAll(h *house) {
	h.t.Helper()
	card := h.asks(h.alice, "live-42")
	h.confirms(h.alice, card)
	h.shows(card, "Closed live-42")
	h.tells(card, "Closed by ZEGO")
	h.quiet()
	require.Len(h.t, h.zego.Executions(), 1)
	assert.Len(h.t, h.slack.Messages(h.ops), 1, "one card")
	assert.Len(h.t, h.replies(card), 1, "one reply")
	assert.Empty(h.t, h.slack.Buttons(card.Channel, card.TS))
}

// TestFaultSlackPosts breaks one call after the other of those that write, before and after
// it is carried out. Whatever was written is found and adopted, what was not is written.
func TestFaultSlackPosts(t *testing.T) {
	t.Parallel()
	calls := []struct {
		name  string
		fault slacksim.Fault
	}{
		{"card", slacksim.Fault{Method: "chat.postMessage", Count: 1}},
		{"reply", slacksim.Fault{Method: "chat.postMessage", Skip: 1, Count: 1}},
		{"edit", slacksim.Fault{Method: "chat.update", Count: 1}},
		{"last edit", slacksim.Fault{Method: "chat.update", Skip: 1, Count: 1}},
	}
	ways := []struct {
		name  string
		fault slacksim.Fault
	}{
		{"HTTP 500", slacksim.Fault{Status: 500}},
		{"HTTP 502 with HTML", slacksim.Fault{Status: 502, Body: "<html><h1>Bad Gateway</h1></html>"}},
		{"HTTP 503", slacksim.Fault{Status: 503}},
		{"fatal_error", slacksim.Fault{Error: "fatal_error"}},
		{"internal_error", slacksim.Fault{Error: "internal_error"}},
		{"service_unavailable", slacksim.Fault{Error: "service_unavailable"}},
		{"request_timeout", slacksim.Fault{Error: "request_timeout"}},
		{"reset", slacksim.Fault{Reset: true}},
		{"hang", slacksim.Fault{Hang: true}},
		{"nonsense", slacksim.Fault{Status: 200, Body: "<html>hello</html>"}},
		{"empty answer", slacksim.Fault{Status: 200, Body: "{}"}},
	}
	var cells []slackCell
	for _, call := range calls {
		for _, way := range ways {
			for when, words := range map[slacksim.Moment]string{slacksim.Before: "not done", slacksim.After: "done"} {
				f := way.fault
				f.Method, f.Skip, f.Count, f.When = call.fault.Method, call.fault.Skip, call.fault.Count, when
				cells = append(cells, slackCell{name: call.name + ", " + way.name + ", " + words, play: func(h *house) {
					fault := h.slack.Inject(f)
					closesAll(h)
					if call.name != "last edit" { // which may have been skipped
						assert.Equal(h.t, 1, fault.Hits())
					}
				}})
			}
		}
	}
	cells = append(cells, slackCell{name: "an edit that never succeeds holds up no other", play: func(h *house) {
		h.slack.AddChannel(slacksim.Channel{ID: "C0ELSE", Name: "elsewhere", BotMember: true})
		fault := h.slack.Inject(slacksim.Fault{Method: "chat.update", Channel: "C0ELSE", Error: "internal_error"})
		h.await(h.slack.Command(slacksim.Command{User: h.bob, Channel: "C0ELSE", Text: "other"}))
		h.eventually("its card", func() bool { return h.slack.CountMessages("C0ELSE") == 1 })
		other := h.slack.Messages("C0ELSE")[0]
		h.press(h.bob, other, cancel)
		h.eventually("its edit has failed three times", func() bool { return fault.Hits() >= 3 })
		card := h.asks(h.alice, "live-42")
		began := time.Now()
		h.confirms(h.alice, card)
		h.shows(card, "Closed live-42")
		assert.Less(h.t, time.Since(began), 2*time.Second)
		fault.Remove()
		h.shows(other, "Cancelled: other")
	}})
	playEach(t, cells)
}

// TestFaultSlackRateLimits has each method ask to wait, once and for two seconds. A call
// before they are over would be a violation.
func TestFaultSlackRateLimits(t *testing.T) {
	t.Parallel()
	var cells []slackCell
	for _, method := range []string{"auth.test", "apps.connections.open", "users.info", "usergroups.users.list", "conversations.info", "chat.postMessage", "chat.update", "response_url"} {
		limit := slacksim.Fault{Method: method, Status: http.StatusTooManyRequests, RetryAfter: 2, Count: 1}
		cells = append(cells, slackCell{name: method, play: func(h *house) {
			h.stop()
			h.tolerated = append(h.tolerated, slacksim.OpenStorm) // two starts at once
			h.slack.AddGroup(slacksim.Group{ID: "S0ONE", Handle: "one", Users: []string{h.alice}})
			h.slack.AddGroup(slacksim.Group{ID: "S0TWO", Handle: "two", Users: []string{h.bob}})
			h.env["ALLOWED_USERGROUPS"] = "S0ONE,S0TWO"
			fault := h.slack.Inject(limit)
			h.start()
			began := time.Now()
			h.eventually("mallory is answered", func() bool {
				d := h.slack.Command(slacksim.Command{User: h.mallory, Channel: h.ops, Text: "live-42"})
				o := h.await(d)
				return o.Reply != nil && strings.Contains(h.slack.Render(*o.Reply, h.mallory), "You are not on the list")
			})
			card := h.asks(h.alice, "live-42")
			h.press(h.mallory, card, closeRoom) // a word by response_url
			h.confirms(h.alice, card)
			h.shows(card, "Closed live-42")
			h.tells(card, "Closed by ZEGO")
			h.eventually("it was limited", func() bool { return fault.Hits() == 1 })
			h.t.Logf("all well after %v", time.Since(began).Round(time.Millisecond))
		}})
	}
	for _, post := range []string{"card", "reply"} { // whose fate is in doubt, and that Slack is asked about
		f := slacksim.Fault{Method: "chat.postMessage", Reset: true, When: slacksim.After, Count: 1}
		method := "conversations.history"
		if post == "reply" {
			f.Skip, method = 1, "conversations.replies"
		}
		cells = append(cells, slackCell{name: method, play: func(h *house) {
			h.slack.Inject(f)
			limit := h.slack.Inject(slacksim.Fault{Method: method, Status: http.StatusTooManyRequests, RetryAfter: 2, Count: 1})
			h.types(h.alice, "live-42")
			card := h.card(1)
			h.eventually("the card is settled", func() bool { return h.count(`SELECT count(*) FROM posts WHERE state = 'sent'`) == 1 })
			h.confirms(h.alice, card)
			h.shows(card, "Closed live-42")
			h.quiet()
			assert.Equal(h.t, 1, limit.Hits())
		}})
	}
	cells = append(cells, slackCell{name: "chat.postMessage, the reply", play: func(h *house) {
		h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Status: http.StatusTooManyRequests, RetryAfter: 2, Skip: 1, Count: 1})
		closesAll(h)
	}})
	playEach(t, cells)
}

// TestFaultSlackHistory is about posts that Slack does not show at once, or not at all.
func TestFaultSlackHistory(t *testing.T) {
	t.Parallel()
	lost := slacksim.Fault{Method: "chat.postMessage", Reset: true, When: slacksim.After, Count: 1}
	lostReply := lost
	lostReply.Skip = 1
	var cells []slackCell
	cell := func(name string, play func(h *house)) { cells = append(cells, slackCell{name: name, play: play}) }

	cell("the card is hidden until just before it is looked for", func(h *house) {
		f := lost
		f.HideFor = 400 * time.Millisecond
		h.slack.Inject(f)
		closesAll(h)
	})
	cell("a click comes before the card is found", func(h *house) {
		f := lost
		f.HideFor = time.Minute
		h.slack.Inject(f)
		closesAll(h)
	})
	for _, way := range []slacksim.Fault{
		{Status: 500}, {Error: "internal_error"}, {Reset: true}, {Hang: true}, {Status: 200, Body: "<html>"}, {Status: 200, Body: "{}"},
	} {
		name := faultName(way)
		for _, post := range []string{"card", "reply"} {
			cell("looking for the "+post+" fails, "+name, func(h *house) {
				f, look := lost, way
				look.Method, look.Count = "conversations.history", 2
				if post == "reply" {
					f, look.Method = lostReply, "conversations.replies"
				}
				posts := h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Skip: 1000}) // counts only
				h.slack.Inject(f)
				fault := h.slack.Inject(look)
				h.types(h.alice, "live-42")
				card := h.card(1)
				if post == "card" {
					h.eventually("it was looked for in vain", func() bool { return fault.Hits() == 2 })
					h.eventually("and then found", func() bool { return h.count(`SELECT count(*) FROM posts WHERE state = 'sent'`) == 1 })
				}
				h.confirms(h.alice, card)
				h.shows(card, "Closed live-42")
				h.quiet()
				assert.Equal(h.t, 2, fault.Hits())
				assert.Len(h.t, h.slack.Messages(h.ops), 1, "no card posted blind")
				assert.Len(h.t, h.replies(card), 1, "no reply posted blind")
				posts.Remove()
			})
		}
	}
	playEach(t, cells)

	// What Slack reveals too late stands there twice. Only one of the two cards can be used.
	t.Run("the card is hidden until after it was looked for", func(t *testing.T) {
		h := openHouse(t, with("SLACK_TIMEOUT=500ms", "SLACK_RECHECK_AFTER=700ms", "ZEGO_TIMEOUT=5s"))
		h.zego.Login("live-42", "ann", "ben")
		f := lost
		f.HideFor = time.Minute
		h.slack.Inject(f)
		h.types(h.alice, "live-42")
		second := h.card(2)
		h.eventually("the second card counts", func() bool { return h.count(`SELECT count(*) FROM posts WHERE state = 'sent'`) == 1 })
		h.press(h.alice, h.card(1), closeRoom)
		h.hears(h.alice, "This is not the current card of #1; nothing was done")
		assert.Empty(t, h.closeCalls("live-42"))
		h.confirms(h.alice, second)
		h.shows(second, "Closed live-42")
		h.quiet()
		h.honestAboutZego()
		assert.Len(t, h.zego.Executions(), 1)
	})
}

// deliveredDM waits until the result of a case reaches somebody by direct message.
func (h *house) deliveredDM(user string, facts ...string) {
	h.t.Helper()
	for _, fact := range facts {
		h.hears(user, fact)
	}
}

// TestFaultSlackChannel changes the channel under the feet of a case.
func TestFaultSlackChannel(t *testing.T) {
	t.Parallel()
	var cells []slackCell
	cell := func(name string, play func(h *house)) { cells = append(cells, slackCell{name: name, play: play}) }
	differing := func(name string, play func(h *house)) {
		cells = append(cells, slackCell{name: name, play: play, differs: true})
	}
	// whenCalled does something at the instant the CloseRoom arrives at ZEGO: the card is confirmed, the result still to come.
	whenCalled := func(h *house, do func()) {
		var once sync.Once
		h.zego.OnCall(func(c zegosim.Call, p zegosim.Phase) {
			if c.Action == "CloseRoom" && p == zegosim.Arrived {
				once.Do(do)
			}
		})
	}
	change := func(h *house, f func(*slacksim.Channel)) func() {
		return func() { h.slack.UpdateChannel(h.ops, f) }
	}

	for _, c := range []struct {
		name, cause, remedy string
		prepare, change     func(*slacksim.Channel)
	}{
		{"the bot is removed", "not_in_channel", "the bot is not in the channel", nil, func(c *slacksim.Channel) { c.BotMember = false }},
		{"the bot is removed from a private channel", "channel_not_found", "the bot is not in the channel", func(c *slacksim.Channel) { c.Kind = slacksim.Private }, func(c *slacksim.Channel) { c.BotMember = false }},
		{"archived", "is_archived", "the channel is archived", nil, func(c *slacksim.Channel) { c.Archived = true }},
		{"read only", "restricted_action_read_only_channel", "the channel does not let the bot post", nil, func(c *slacksim.Channel) { c.ReadOnly = true }},
	} {
		prepare := func(h *house) {
			if c.prepare != nil {
				h.slack.UpdateChannel(h.ops, c.prepare)
			}
		}
		undeliverable := func(h *house) int { return h.count(`SELECT count(*) FROM posts WHERE state = 'undeliverable'`) }
		cell(c.name+" between card and result", func(h *house) {
			prepare(h)
			whenCalled(h, change(h, c.change))
			card := h.asks(h.alice, "live-42")
			h.confirms(h.alice, card)
			h.deliveredDM(h.alice, "#1", "Closed by ZEGO", c.remedy)
			h.quiet()
			assert.Equal(h.t, journal.StateClosed, h.state(1))
			assert.Equal(h.t, 1, undeliverable(h))
		})
		cell(c.name+" before an unclear answer", func(h *house) {
			prepare(h)
			h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Reset: true, Count: 1})
			whenCalled(h, change(h, c.change))
			card := h.asks(h.alice, "live-42")
			h.confirms(h.alice, card)
			h.deliveredDM(h.alice, "No clear answer from ZEGO", "Not known whether the room was closed")
			h.quiet()
			assert.Equal(h.t, journal.StateUnknown, h.state(1))
			assert.Equal(h.t, 2, undeliverable(h))
			for _, m := range h.slack.Messages(h.slack.DM(h.alice)) {
				assert.NotContains(h.t, h.slack.Render(m, h.alice), "Expired")
				assert.NotContains(h.t, h.slack.Render(m, h.alice), "nothing closed")
			}
		})
		cell(c.name+" before the card", func(h *house) {
			prepare(h)
			h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Channel: h.ops, Delay: 300 * time.Millisecond, Count: 1})
			h.types(h.alice, "live-42")
			h.slack.UpdateChannel(h.ops, c.change)
			h.hears(h.alice, "so nothing was closed")
			h.hears(h.alice, c.remedy)
			h.quiet()
			assert.Equal(h.t, journal.StateCancelled, h.state(1))
			assert.Empty(h.t, h.closeCalls("live-42"))
		})
		differing(c.name+" while the card is in doubt", func(h *house) {
			prepare(h)
			h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Reset: true, When: slacksim.After, Count: 1})
			h.types(h.alice, "live-42")
			h.card(1)
			h.slack.UpdateChannel(h.ops, c.change)
			h.eventually("it is settled", func() bool {
				return h.count(`SELECT count(*) FROM posts WHERE state IN ('sent', 'undeliverable')`) == 1
			})
			h.quiet()
			assert.Empty(h.t, h.closeCalls("live-42"))
		})
	}

	cell("the bot is removed and comes back", func(h *house) {
		h.stop()
		h.tolerated = append(h.tolerated, slacksim.OpenStorm)
		h.env["CONFIRM_TIMEOUT"] = "1500ms"
		h.start()
		card := h.asks(h.alice, "live-42")
		h.slack.UpdateChannel(h.ops, func(c *slacksim.Channel) { c.BotMember = false })
		h.eventually("it expires", func() bool { return h.state(1) == journal.StateExpired })
		h.quiet()
		h.slack.UpdateChannel(h.ops, func(c *slacksim.Channel) { c.BotMember = true })
		require.Equal(h.t, slacksim.Acked, h.press(h.alice, card, closeRoom).Result) // its buttons are still there
		h.hears(h.alice, "Too late, nothing was done")
		assert.Empty(h.t, h.closeCalls("live-42"))
	})

	deleted := func(h *house, card slacksim.Message) { require.True(h.t, h.slack.Delete(card.Channel, card.TS, h.bob)) }
	differing("the card is deleted before the click, and pressed on a phone that still shows it", func(h *house) {
		card := h.asks(h.alice, "live-42")
		stale, _ := h.slack.Message(card.Channel, card.TS)
		deleted(h, card)
		d, err := h.slack.Click(slacksim.Click{User: h.alice, Channel: card.Channel, TS: card.TS, ActionID: closeRoom, Stale: &stale})
		require.NoError(h.t, err)
		require.Equal(h.t, slacksim.Acked, h.await(d).Result)
		h.eventually("the result stands in the channel", func() bool { return strings.Contains(h.transcript(), "Closed by ZEGO") })
		assert.Equal(h.t, journal.StateClosed, h.state(1))
	})
	differing("the card is deleted before the result", func(h *house) {
		card := h.asks(h.alice, "live-42")
		whenCalled(h, func() { h.slack.Delete(card.Channel, card.TS, h.bob) })
		h.confirms(h.alice, card)
		h.eventually("the result stands in the channel", func() bool { return strings.Contains(h.transcript(), "Closed by ZEGO") })
		h.quiet()
		assert.Equal(h.t, journal.StateClosed, h.state(1))
	})
	differing("the card is deleted, and the result gets no clear answer", func(h *house) {
		card := h.asks(h.alice, "live-42")
		whenCalled(h, func() {
			h.slack.Delete(card.Channel, card.TS, h.bob)
			h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Reset: true, When: slacksim.After, Count: 1})
		})
		h.confirms(h.alice, card)
		h.eventually("the result stands in the channel", func() bool { return strings.Contains(h.transcript(), "Closed by ZEGO") })
		h.quiet()
		assert.Equal(h.t, 1, strings.Count(h.transcript(), "Closed by ZEGO"), "once")
	})
	differing("the card of an unknown outcome is deleted", func(h *house) {
		h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", Reset: true, Count: 1})
		card := h.asks(h.alice, "live-42")
		whenCalled(h, func() { h.slack.Delete(card.Channel, card.TS, h.bob) })
		h.confirms(h.alice, card)
		h.eventually("the outcome stands in the channel", func() bool {
			return strings.Contains(h.transcript(), "Not known whether the room was closed")
		})
		h.quiet()
		assert.Equal(h.t, journal.StateUnknown, h.state(1))
	})
	playEach(t, cells)
}

// faultName says what a fault does, as part of a test's name.
func faultName(f slacksim.Fault) string {
	switch {
	case f.Reset:
		return "reset"
	case f.Hang:
		return "hang"
	case f.Error != "":
		return f.Error
	}
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", f.Status, f.Body))
}

// TestFaultSlackLookups has Slack not tell about the channel, which must be known before a
// card is shown there.
func TestFaultSlackLookups(t *testing.T) {
	t.Parallel()
	var cells []slackCell
	for _, way := range []slacksim.Fault{
		{Status: 500}, {Error: "fatal_error"}, {Reset: true}, {Hang: true}, {Status: 200, Body: "<html>"}, {Status: 200, Body: "{}"},
	} {
		way.Method, way.Count = "conversations.info", 2
		cells = append(cells, slackCell{name: "twice " + faultName(way), play: func(h *house) {
			fault := h.slack.Inject(way)
			closesAll(h)
			assert.Equal(h.t, 2, fault.Hits())
		}})
	}
	cells = append(cells,
		slackCell{name: "for longer than CONFIRM_TIMEOUT", options: []option{with("CONFIRM_TIMEOUT=1500ms")}, play: func(h *house) {
			h.slack.Inject(slacksim.Fault{Method: "conversations.info", Status: 500})
			h.types(h.alice, "live-42")
			card := h.card(1)
			h.shows(card, "Expired: live-42, nothing closed: the card could not be shown in time")
			assert.Empty(h.t, h.slack.Buttons(card.Channel, card.TS))
			h.quiet()
			assert.Empty(h.t, h.closeCalls("live-42"))
		}},
		slackCell{name: "refused for lack of a scope", play: func(h *house) {
			h.slack.Inject(slacksim.Fault{Method: "conversations.info", Error: "missing_scope"})
			h.types(h.alice, "live-42")
			h.hears(h.alice, "the app has no permission here")
			h.quiet()
			assert.Equal(h.t, journal.StateCancelled, h.state(1))
			assert.Empty(h.t, h.slack.Messages(h.ops))
		}})
	playEach(t, cells)
}

// TestFaultSlackResponseURL loses private words: what matters is on the card and in the
// journal, and who could be told in no other way gets a direct message.
func TestFaultSlackResponseURL(t *testing.T) {
	t.Parallel()
	var cells []slackCell
	for _, way := range []slacksim.Fault{
		{Status: 404, Body: "no_such_url"}, {Status: 500}, {Status: 429}, {Reset: true}, {Hang: true},
	} {
		way.Method = "response_url"
		name := faultName(way)
		cells = append(cells,
			slackCell{name: "to a clicker, " + name, play: func(h *house) {
				fault := h.slack.Inject(way)
				card := h.asks(h.alice, "live-42")
				require.Equal(h.t, slacksim.Acked, h.press(h.mallory, card, closeRoom).Result)
				h.eventually("it was tried", func() bool { return fault.Hits() > 0 })
				assert.Equal(h.t, journal.StatePending, h.state(1))
				h.confirms(h.alice, card)
				h.shows(card, "Closed live-42")
			}},
			slackCell{name: "about a card that cannot be shown, " + name, play: func(h *house) {
				h.slack.Inject(way)
				h.slack.UpdateChannel(h.ops, func(c *slacksim.Channel) { c.BotMember = false })
				h.types(h.alice, "live-42")
				h.eventually("alice gets a direct message", func() bool {
					for _, m := range h.slack.Messages(h.slack.DM(h.alice)) {
						if strings.Contains(h.slack.Render(m, h.alice), "#1 was not shown, so nothing was closed") {
							return true
						}
					}
					return false
				})
				assert.Equal(h.t, journal.StateCancelled, h.state(1))
			}})
	}
	playEach(t, cells)
}

// TestFaultSlackSockets breaks Socket Mode connections while people type and press.
func TestFaultSlackSockets(t *testing.T) {
	t.Parallel()
	var cells []slackCell
	cell := func(name string, play func(h *house), options ...option) {
		cells = append(cells, slackCell{name: name, play: play, options: options})
	}
	back := func(h *house, n int) {
		h.eventually(fmt.Sprint(n, " connections again"), func() bool { return h.slack.Ready() >= n })
	}

	cell("both dropped without a close frame", func(h *house) {
		card := h.asks(h.alice, "live-42")
		began := time.Now()
		h.slack.ResetAll()
		h.eventually("one connection again", func() bool { return h.slack.Ready() >= 1 })
		assert.Less(h.t, time.Since(began), 5*time.Second)
		h.confirms(h.alice, card)
		h.shows(card, "Closed live-42")
		back(h, 2)
	})
	for _, reason := range []slacksim.Reason{slacksim.RequestWarning, slacksim.RefreshRequested} {
		cell(string(reason)+" to both", func(h *house) {
			card := h.asks(h.alice, "live-42")
			h.slack.Disconnect(slacksim.Disconnect{Reason: reason, After: 1500 * time.Millisecond})
			if reason == slacksim.RefreshRequested { // Slack sends nothing more on them: until the next is up it tells people so itself
				back(h, 1)
			}
			h.confirms(h.alice, card)
			h.shows(card, "Closed live-42")
			back(h, 2)
			h.asks(h.alice, "live-43")
		})
		cell(string(reason)+" right behind a command and a click", func(h *house) {
			h.slack.Disconnect(slacksim.Disconnect{Reason: reason, After: time.Second, Behind: true})
			card := h.asks(h.alice, "live-42")
			back(h, 2)
			h.slack.Disconnect(slacksim.Disconnect{Reason: reason, After: time.Second, Behind: true})
			h.confirms(h.alice, card)
			h.shows(card, "Closed live-42")
			back(h, 2)
		})
	}
	cell("too_many_websockets to one", func(h *house) {
		one := h.slack.Connections()[0]
		h.slack.Disconnect(slacksim.Disconnect{Reason: slacksim.TooManyWebsockets, Conn: one.ID})
		closesAll(h)
	})
	cell("Socket Mode switched off and on", func(h *house) {
		card := h.asks(h.alice, "live-42")
		h.slack.SetSocketMode(false)
		h.eventually("nobody listens", func() bool { return h.slack.Ready() == 0 })
		assert.Equal(h.t, slacksim.DispatchFailed, h.await(h.slack.Command(slacksim.Command{User: h.alice, Channel: h.ops, Text: "live-43"})).Result)
		h.slack.SetSocketMode(true)
		if !long() {
			return // the next try is half a minute away
		}
		deadline := time.Now().Add(time.Minute)
		for h.slack.Ready() < 1 && time.Now().Before(deadline) {
			time.Sleep(100 * time.Millisecond)
		}
		h.confirms(h.alice, card)
		h.shows(card, "Closed live-42")
	})
	cell("one half-open: what is lost on it is told to its sender", func(h *house) {
		dead := h.slack.Connections()[0]
		h.slack.HalfOpen(dead.ID)
		h.tolerated = append(h.tolerated, slacksim.NoPong)
		var lost, served int
		for n := 0; served == 0 || lost == 0; n++ {
			d := h.slack.Command(slacksim.Command{User: h.alice, Channel: h.ops, Text: fmt.Sprint("room-", n), Dispatch: slacksim.Dispatch{Conn: []int{dead.ID, 0}[min(n, 1)]}})
			switch o := h.await(d); o.Result {
			case slacksim.Acked:
				served++
			case slacksim.OperationTimeout:
				lost++
			default:
				h.t.Errorf("a command ended %q", o.Result)
			}
		}
		h.quiet()
		assert.Equal(h.t, served, h.count(`SELECT count(*) FROM cases`), "what was answered is on record, what was lost is not")
	})
	playEach(t, cells)
}

// TestFaultSlackEnvelopes sends what no well-meaning Slack sends.
func TestFaultSlackEnvelopes(t *testing.T) {
	t.Parallel()
	h := openHouse(t, with("ZEGO_TIMEOUT=5s"))
	h.zego.Login("live-42", "ann", "ben")
	card := h.asks(h.alice, "live-42")
	var token string
	h.query(&token, `SELECT token FROM cases WHERE number = 1`)

	for _, text := range []string{"not JSON", "{", `{"type":"events_api"`, "[]", "null", `"x"`, `{}`, `{"type":7}`, `{"type":"hello"}`, `{"type":"slash_commands"}`,
		`{"type":"disconnect"`, `{"envelope_id":7,"type":"slash_commands","payload":{}}`, strings.Repeat("x", 100_000)} {
		t.Run("frame "+text[:min(len(text), 40)], func(t *testing.T) {
			require.True(t, h.slack.SendText(0, text))
		})
	}
	command := func(change func(map[string]any)) map[string]any {
		p := map[string]any{"command": "/zego-close", "text": "live-43", "user_id": h.alice, "team_id": "T0SIM", "channel_id": h.ops, "channel_name": "ops"}
		change(p)
		return p
	}
	press := func(change func(p, user, container, action map[string]any)) map[string]any {
		user := map[string]any{"id": h.alice, "username": "alice", "team_id": "T0SIM"}
		container := map[string]any{"type": "message", "message_ts": card.TS, "channel_id": h.ops}
		action := map[string]any{"action_id": closeRoom, "block_id": "b", "type": "button", "value": token, "action_ts": "1.2"}
		p := map[string]any{"type": "block_actions", "user": user, "container": container, "actions": []any{action}}
		change(p, user, container, action)
		return p
	}
	set := func(key string, value any) func(map[string]any) {
		return func(p map[string]any) { p[key] = value }
	}
	for _, e := range []struct {
		name     string
		envelope slacksim.Envelope
	}{
		{"unknown type", slacksim.Envelope{Type: "weather_report", Payload: map[string]any{"a": 1}}},
		{"unknown type that accepts a response", slacksim.Envelope{Type: "weather_report", Payload: nil, Accepts: true}},
		{"an event", slacksim.Envelope{Type: "events_api", Payload: map[string]any{"event": map[string]any{"type": "message"}}}},
		{"command without payload", slacksim.Envelope{Type: "slash_commands", Accepts: true}},
		{"command as a list", slacksim.Envelope{Type: "slash_commands", Accepts: true, Payload: []int{1}}},
		{"command with a number for a text", slacksim.Envelope{Type: "slash_commands", Accepts: true, Payload: command(set("text", 7))}},
		{"command of nobody", slacksim.Envelope{Type: "slash_commands", Accepts: true, Payload: command(set("user_id", ""))}},
		{"command from nowhere", slacksim.Envelope{Type: "slash_commands", Accepts: true, Payload: command(set("channel_id", ""))}},
		{"another command", slacksim.Envelope{Type: "slash_commands", Accepts: true, Payload: command(set("command", "/deploy"))}},
		{"command of another workspace", slacksim.Envelope{Type: "slash_commands", Accepts: true, Payload: command(set("team_id", "T0OTHER"))}},
		{"click without payload", slacksim.Envelope{Type: "interactive"}},
		{"a form instead of a click", slacksim.Envelope{Type: "interactive", Payload: map[string]any{"type": "view_submission", "user": map[string]any{"id": h.alice}}}},
		{"click without an action", slacksim.Envelope{Type: "interactive", Payload: press(func(p, _, _, _ map[string]any) { p["actions"] = []any{} })}},
		{"click of nobody", slacksim.Envelope{Type: "interactive", Payload: press(func(_, user, _, _ map[string]any) { user["id"] = "" })}},
		{"click of a stranger", slacksim.Envelope{Type: "interactive", Payload: press(func(_, user, _, _ map[string]any) { user["id"] = "U0NOBODY" })}},
		{"click of somebody of the same name", slacksim.Envelope{Type: "interactive", Payload: press(func(_, user, _, _ map[string]any) { user["id"] = h.mallory })}},
		{"click of another workspace", slacksim.Envelope{Type: "interactive", Payload: press(func(_, user, _, _ map[string]any) { user["team_id"] = "T0OTHER" })}},
		{"unknown button", slacksim.Envelope{Type: "interactive", Payload: press(func(_, _, _, a map[string]any) { a["action_id"] = "zego_open" })}},
		{"the number for the token", slacksim.Envelope{Type: "interactive", Payload: press(func(_, _, _, a map[string]any) { a["value"] = "1" })}},
		{"no token", slacksim.Envelope{Type: "interactive", Payload: press(func(_, _, _, a map[string]any) { a["value"] = "" })}},
		{"another message", slacksim.Envelope{Type: "interactive", Payload: press(func(_, _, c, _ map[string]any) { c["message_ts"] = "1700000000.000100" })}},
		{"no message", slacksim.Envelope{Type: "interactive", Payload: press(func(_, _, c, _ map[string]any) { c["message_ts"] = "" })}},
		{"another channel", slacksim.Envelope{Type: "interactive", Payload: press(func(_, _, c, _ map[string]any) { c["channel_id"] = "C0ELSE" })}},
		{"Try again on a case that is not unknown", slacksim.Envelope{Type: "interactive", Payload: press(func(_, _, _, a map[string]any) { a["action_id"] = tryAgain })}},
	} {
		t.Run(e.name, func(t *testing.T) {
			o := h.in(t).await(h.slack.Send(e.envelope))
			assert.Equal(t, slacksim.Acked, o.Result)
			assert.Equal(t, 1, h.count(`SELECT count(*) FROM cases`))
			assert.Equal(t, journal.StatePending, h.state(1))
			assert.Empty(t, h.closeCalls("live-42"))
		})
	}
	assert.Equal(t, 2, h.slack.Ready(), "no connection was given up for it")
	h.confirms(h.alice, card)
	h.shows(card, "Closed live-42")
	h.honest()
}

// TestFaultSlackDeliveries has the same command or click come twice, at once or much later,
// and others come late.
func TestFaultSlackDeliveries(t *testing.T) {
	t.Parallel()
	var cells []slackCell
	cell := func(name string, play func(h *house)) { cells = append(cells, slackCell{name: name, play: play}) }
	const twice = 2

	cell("a command three times at once", func(h *house) {
		h.await(h.slack.Command(slacksim.Command{User: h.alice, Channel: h.ops, Text: "live-42", Dispatch: slacksim.Dispatch{Duplicate: twice}}))
		h.card(1)
		h.quiet()
		assert.Equal(h.t, 1, h.count(`SELECT count(*) FROM cases`))
	})
	cell("a command again after its case has ended", func(h *house) {
		d := h.slack.Command(slacksim.Command{User: h.alice, Channel: h.ops, Text: "live-42"})
		h.await(d)
		card := h.card(1)
		h.confirms(h.alice, card)
		h.shows(card, "Closed live-42")
		h.zego.Login("live-42", "dan") // somebody else's room by now
		d.Again(slacksim.Dispatch{})
		h.asks(h.bob, "live-43")
		h.quiet()
		assert.Equal(h.t, 2, h.count(`SELECT count(*) FROM cases`))
		assert.Equal(h.t, 1, h.zego.People("live-42"))
	})
	cell("a command again after a restart", func(h *house) {
		d := h.slack.Command(slacksim.Command{User: h.alice, Channel: h.ops, Text: "live-42"})
		h.await(d)
		card := h.card(1)
		h.press(h.alice, card, cancel)
		h.shows(card, "Cancelled")
		h.restart()
		d.Again(slacksim.Dispatch{})
		h.asks(h.bob, "live-43")
		h.quiet()
		assert.Equal(h.t, 2, h.count(`SELECT count(*) FROM cases`))
	})
	cell("a refused command again", func(h *house) {
		d := h.slack.Command(slacksim.Command{User: h.mallory, Channel: h.ops, Text: "live-42", Dispatch: slacksim.Dispatch{Duplicate: twice}})
		h.await(d)
		d.Again(slacksim.Dispatch{})
		h.asks(h.bob, "live-43")
		assert.Equal(h.t, 1, h.count(`SELECT count(*) FROM entries WHERE kind = 'refused'`))
		assert.Equal(h.t, 1, h.count(`SELECT count(*) FROM cases`))
	})
	for _, action := range []string{closeRoom, cancel} {
		cell(action+" three times at once, and again later", func(h *house) {
			card := h.asks(h.alice, "live-42")
			d, err := h.slack.Click(slacksim.Click{User: h.alice, Channel: card.Channel, TS: card.TS, ActionID: action, Dispatch: slacksim.Dispatch{Duplicate: twice}})
			require.NoError(h.t, err)
			require.Equal(h.t, slacksim.Acked, h.await(d).Result)
			h.eventually("it ends", func() bool { return !h.state(1).Open() })
			d.Again(slacksim.Dispatch{})
			h.asks(h.bob, "live-43")
			h.quiet()
			assert.LessOrEqual(h.t, len(h.closeCalls("live-42")), 1)
			assert.Equal(h.t, 1, h.count(`SELECT count(*) FROM entries WHERE kind IN ('confirmed', 'cancelled')`))
		})
	}
	cell("confirm and cancel at once", func(h *house) {
		card := h.asks(h.alice, "live-42")
		var results [2]slacksim.Outcome
		var both sync.WaitGroup
		for i, action := range []string{closeRoom, cancel} {
			d, err := h.slack.Click(slacksim.Click{User: h.alice, Channel: card.Channel, TS: card.TS, ActionID: action})
			require.NoError(h.t, err)
			both.Go(func() { <-d.Done(); results[i] = d.Outcome() })
		}
		both.Wait()
		assert.Equal(h.t, slacksim.Acked, results[0].Result)
		assert.Equal(h.t, slacksim.Acked, results[1].Result)
		h.eventually("it ends", func() bool { return !h.state(1).Open() })
	})
	cell("a command that comes after Slack has given up", func(h *house) {
		h.tolerated = append(h.tolerated, slacksim.LateAck)
		o := h.await(h.slack.Command(slacksim.Command{User: h.alice, Channel: h.ops, Text: "live-42", Dispatch: slacksim.Dispatch{Delay: 3200 * time.Millisecond}}))
		assert.Equal(h.t, slacksim.OperationTimeout, o.Result)
		card := h.card(1) // it counts all the same, as the card says
		h.confirms(h.alice, card)
		h.shows(card, "Closed live-42")
	})
	cell("a click that comes after Slack has given up", func(h *house) {
		h.tolerated = append(h.tolerated, slacksim.LateAck)
		card := h.asks(h.alice, "live-42")
		d, err := h.slack.Click(slacksim.Click{User: h.alice, Channel: card.Channel, TS: card.TS, ActionID: closeRoom, Dispatch: slacksim.Dispatch{Delay: 3200 * time.Millisecond}})
		require.NoError(h.t, err)
		assert.Equal(h.t, slacksim.Warning, h.await(d).Result)
		h.shows(card, "Closed live-42")
		h.quiet()
		assert.Len(h.t, h.zego.Executions(), 1)
	})
	cell("a click that comes after the card has expired", func(h *house) {
		h.stop()
		h.tolerated = append(h.tolerated, slacksim.OpenStorm)
		h.env["CONFIRM_TIMEOUT"] = "1s"
		h.start()
		card := h.asks(h.alice, "live-42")
		d, err := h.slack.Click(slacksim.Click{User: h.alice, Channel: card.Channel, TS: card.TS, ActionID: closeRoom, Dispatch: slacksim.Dispatch{Delay: 1500 * time.Millisecond}})
		require.NoError(h.t, err)
		require.Equal(h.t, slacksim.Acked, h.await(d).Result)
		h.hears(h.alice, "Too late")
		h.shows(card, "Expired")
		assert.Empty(h.t, h.closeCalls("live-42"))
	})
	playEach(t, cells)
}

// TestFaultSlackDown takes Slack away for a while, sockets and Web API.
func TestFaultSlackDown(t *testing.T) {
	t.Parallel()
	var cells []slackCell
	cells = append(cells, slackCell{name: "while cases are at every step", play: func(h *house) {
		h.zego.Login("busy", "ann", "ben")
		h.zego.AddFault(zegosim.Fault{Action: "CloseRoom", RoomID: "busy", After: 600 * time.Millisecond})
		pending := h.asks(h.alice, "live-42")
		busy := h.asks(h.alice, "busy")
		h.confirms(h.alice, busy)
		h.eventually("its call is at ZEGO", func() bool { return len(h.closeCalls("busy")) == 1 })
		last := h.slack.Command(slacksim.Command{User: h.bob, Channel: h.ops, Text: "at-the-last-moment"})
		require.Equal(h.t, slacksim.Acked, h.await(last).Result)
		h.slack.GoOffline()
		h.eventually("the room is closed without Slack", func() bool { return h.state(2) == journal.StateClosed })
		assert.Equal(h.t, slacksim.DispatchFailed, h.await(h.slack.Command(slacksim.Command{User: h.bob, Channel: h.ops, Text: "meanwhile"})).Result)
		time.Sleep(2 * time.Second) // an outage
		require.NoError(h.t, h.slack.GoOnline())
		began := time.Now()
		h.eventually("the sockets are back", func() bool { return h.slack.Ready() >= 1 })
		assert.Less(h.t, time.Since(began), 6*time.Second)
		h.shows(busy, "Closed busy")
		h.tells(busy, "Closed by ZEGO")
		h.eventually("the card of the last command", func() bool { return strings.Contains(h.transcript(), "at-the-last-moment") })
		h.confirms(h.alice, pending)
		h.shows(pending, "Closed live-42")
		h.eventually("bob is heard again", func() bool {
			return h.await(h.slack.Command(slacksim.Command{User: h.bob, Channel: h.ops, Text: "afterwards"})).Result == slacksim.Acked
		})
		h.quiet()
		assert.NotContains(h.t, h.transcript(), "meanwhile")
	}})
	cells = append(cells, slackCell{name: "for longer than CONFIRM_TIMEOUT", options: []option{with("CONFIRM_TIMEOUT=2s")}, play: func(h *house) {
		h.asks(h.alice, "live-42")
		hold := h.slack.Inject(slacksim.Fault{Method: "conversations.info", Status: 500})
		hold.Remove()
		h.slack.GoOffline()
		h.eventually("it expires", func() bool { return h.state(1) == journal.StateExpired })
		require.NoError(h.t, h.slack.GoOnline())
		h.shows(h.card(1), "Expired: live-42, nothing closed")
		h.tells(h.card(1), "Expired")
		assert.Empty(h.t, h.closeCalls("live-42"))
	}})
	playEach(t, cells)
}

// TestFaultSlackStart has Slack be slow when the bot starts.
func TestFaultSlackStart(t *testing.T) {
	t.Parallel()
	t.Run("auth.test slow", func(t *testing.T) {
		h := newHouse(t, with("ZEGO_TIMEOUT=5s"))
		h.slack.Inject(slacksim.Fault{Method: "auth.test", Hang: true, Count: 4}) // each for SLACK_TIMEOUT
		h.start()
		o := h.await(h.slack.Command(slacksim.Command{User: h.alice, Channel: h.ops, Text: "live-42"}))
		require.Equal(t, slacksim.Acked, o.Result)
		require.NotNil(t, o.Reply)
		assert.Contains(t, h.slack.Render(*o.Reply, h.alice), "has just started")
		assert.Contains(t, h.slack.Render(*o.Reply, h.alice), "othing was done")
		assert.Less(t, o.Latency, 3*time.Second)
		h.eventually("it is served", func() bool { return strings.Contains(h.types(h.alice, "live-42"), "#1") })
		h.honest()
	})
	t.Run("auth.test fails", func(t *testing.T) {
		h := newHouse(t)
		h.slack.Inject(slacksim.Fault{Method: "auth.test", Status: 503, Count: 2})
		h.slack.Inject(slacksim.Fault{Method: "auth.test", Status: 200, Body: "{}", Count: 2})
		h.start()
		h.eventually("it is served", func() bool { return strings.Contains(h.types(h.alice, "live-42"), "#1") })
		h.honest()
	})
	t.Run("apps.connections.open fails", func(t *testing.T) {
		h := newHouse(t)
		h.slack.Inject(slacksim.Fault{Method: "apps.connections.open", Status: 503, Count: 3})
		h.start()
		assert.Contains(t, h.types(h.alice, "live-42"), "#1 recorded")
		h.honest()
	})
}

// TestFaultSlackRestart starts the bot again while Slack does not tell it who it is, or who
// is in the groups: what was confirmed, or is in doubt, must not suffer from that.
func TestFaultSlackRestart(t *testing.T) {
	t.Parallel()
	confirmed := func(h *house) slacksim.Message { // and waiting for ZEGO
		h.zego.Login("live-42", "ann", "ben")
		card := h.asks(h.alice, "live-42")
		h.zego.Down()
		h.confirms(h.alice, card)
		h.eventually("it waits", func() bool { return h.count(`SELECT count(*) FROM entries WHERE kind = 'requeued'`) > 0 })
		h.stop()
		require.NoError(h.t, h.zego.Up())
		h.tolerated = append(h.tolerated, slacksim.OpenStorm)
		return card
	}
	t.Run("auth.test fails, with a case confirmed", func(t *testing.T) {
		h := openHouse(t, with("ZEGO_TIMEOUT=5s"))
		card := confirmed(h)
		fault := h.slack.Inject(slacksim.Fault{Method: "auth.test", Status: 503, Count: 3})
		h.start()
		h.shows(card, "Closed live-42")
		assert.Equal(t, 3, fault.Hits())
		h.honest()
	})
	t.Run("the groups cannot be read, with a member's case confirmed", func(t *testing.T) {
		h := newHouse(t, with("ZEGO_TIMEOUT=5s", "ALLOWED_USERS=U0BOB", "ALLOWED_USERGROUPS=S0MODS"))
		h.slack.AddGroup(slacksim.Group{ID: "S0MODS", Handle: "mods", Users: []string{h.alice}})
		h.start()
		h.eventually("alice is known as a member", func() bool { return strings.Contains(h.types(h.alice, strings.Repeat("x", 129)), "has 129 bytes") })
		card := confirmed(h)
		fault := h.slack.Inject(slacksim.Fault{Method: "usergroups.users.list", Status: 503, Count: 1})
		h.start()
		h.shows(card, "Closed live-42")
		assert.Equal(t, 1, fault.Hits())
		h.tells(card, "2 calls.") // one that was refused a connection; waiting for the groups is none
		h.honest()
		assert.GreaterOrEqual(t, h.count(`SELECT count(*) FROM entries WHERE kind = 'requeued' AND body LIKE '%groups_unknown%'`), 1)
		assert.Len(t, h.closeCalls("live-42"), 1)
	})
	t.Run("the member has left the group meanwhile", func(t *testing.T) {
		h := newHouse(t, with("ZEGO_TIMEOUT=5s", "ALLOWED_USERS=U0BOB", "ALLOWED_USERGROUPS=S0MODS"))
		h.slack.AddGroup(slacksim.Group{ID: "S0MODS", Handle: "mods", Users: []string{h.alice}})
		h.start()
		h.eventually("alice is known as a member", func() bool { return strings.Contains(h.types(h.alice, strings.Repeat("x", 129)), "has 129 bytes") })
		card := confirmed(h)
		h.slack.AddGroup(slacksim.Group{ID: "S0MODS", Handle: "mods"})
		h.start()
		h.shows(card, "Not closed: live-42, not attempted: U0ALICE is not on the allowlist")
		h.honest()
		assert.Empty(t, h.closeCalls("live-42"))
	})
	t.Run("an edit of the life before arrives late", func(t *testing.T) {
		h := openHouse(t, with("ZEGO_TIMEOUT=5s", "SLACK_TIMEOUT=300ms", "SLACK_RECHECK_AFTER=2500ms"))
		var arrived, over atomic.Int32
		h.slack.OnEvent(func(e slacksim.Event) {
			if e.Method == "chat.update" && e.Kind == slacksim.RequestArrived && arrived.Add(1) == 1 {
				time.Sleep(2 * time.Second)
			}
			if e.Kind == slacksim.MessageChanged && strings.Contains(h.transcript(), "Closed by ZEGO") && !strings.Contains(h.transcript(), "Closed live-42") {
				over.Add(1) // the old view lies over the new one
			}
		})
		h.zego.Login("live-42", "ann", "ben")
		card := h.asks(h.alice, "live-42")
		h.zego.Down()
		h.confirms(h.alice, card)
		h.eventually("its edit is put off", func() bool { return strings.Contains(h.out.String(), "a card has to wait to be drawn again") })
		h.stop()
		require.NoError(h.t, h.zego.Up())
		h.tolerated = append(h.tolerated, slacksim.OpenStorm)
		h.start()
		h.shows(card, "Closed live-42")
		h.eventually("the late edit has arrived", func() bool { return over.Load() == 1 })
		h.shows(card, "Closed live-42")
		h.honest()
	})
	t.Run("auth.test fails, with a post in doubt", func(t *testing.T) {
		h := openHouse(t, with("ZEGO_TIMEOUT=5s"))
		h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Reset: true, When: slacksim.After, Count: 1})
		h.types(h.alice, "live-42")
		h.eventually("it is in doubt", func() bool { return h.count(`SELECT count(*) FROM posts WHERE state = 'doubt'`) == 1 })
		h.stop()
		h.tolerated = append(h.tolerated, slacksim.OpenStorm)
		fault := h.slack.Inject(slacksim.Fault{Method: "auth.test", Status: 503, Count: 4})
		h.start()
		h.eventually("it is settled", func() bool { return h.count(`SELECT count(*) FROM posts WHERE state = 'sent'`) == 1 })
		assert.Equal(t, 4, fault.Hits())
		h.honest()
		assert.Len(t, h.slack.Messages(h.ops), 1, "found, not posted again")
	})
}

// TestFaultSlackTokens takes a token away while the bot runs: no waiting heals that, so the
// process ends and says which token it is.
func TestFaultSlackTokens(t *testing.T) {
	t.Parallel()
	ends := func(t *testing.T, h *house, p *process, sentence ...string) {
		h.eventually("the process ends", p.gone)
		assert.Equal(t, 1, p.cmd.ProcessState.ExitCode())
		lines := strings.Split(strings.TrimSpace(h.out.String()), "\n")
		for _, words := range sentence {
			assert.Contains(t, lines[len(lines)-1], words)
		}
	}
	for _, code := range []string{"token_revoked", "account_inactive", "invalid_auth"} {
		t.Run("bot token, "+code+", with a card to send", func(t *testing.T) {
			h := newHouse(t)
			var lookups atomic.Int32
			h.slack.OnEvent(func(e slacksim.Event) {
				if e.Kind == slacksim.Answered && e.Method == "users.info" {
					lookups.Add(1)
				}
			})
			p := h.startChild()
			h.eventually("it has looked up both accounts", func() bool { return lookups.Load() == 2 })
			h.slack.RefuseBotToken(code)
			h.types(h.alice, "live-42")
			ends(t, h, p, "SLACK_BOT_TOKEN", code, "install the app again")
			assert.Empty(t, h.slack.Messages(h.ops))

			h.slack.RefuseBotToken("") // with a new token it goes on
			h.tolerated = append(h.tolerated, slacksim.OpenStorm)
			h.startChild()
			h.card(1)
			h.honest()
		})
		t.Run("app token, "+code, func(t *testing.T) {
			h := newHouse(t)
			p := h.startChild()
			h.slack.RefuseAppToken(code)
			h.slack.ResetAll()
			ends(t, h, p, "SLACK_APP_TOKEN", code, "App-Level Tokens")
		})
	}
	t.Run("bot token, with a card to draw", func(t *testing.T) {
		h := newHouse(t)
		p := h.startChild()
		h.zego.Login("live-42", "ann")
		card := h.asks(h.alice, "live-42")
		h.slack.RefuseBotToken("token_revoked")
		h.confirms(h.alice, card)
		ends(t, h, p, "SLACK_BOT_TOKEN")
		h.slack.RefuseBotToken("")
		h.tolerated = append(h.tolerated, slacksim.OpenStorm)
		h.startChild()
		h.eventually("the case ends", func() bool { return !h.state(1).Open() })
		h.honest()
	})
	t.Run("bot token, while a post is looked for", func(t *testing.T) {
		h := newHouse(t)
		p := h.startChild()
		h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Reset: true, When: slacksim.After, Count: 1})
		h.types(h.alice, "live-42")
		h.card(1)
		h.slack.RefuseBotToken("token_revoked")
		ends(t, h, p, "SLACK_BOT_TOKEN")
		h.slack.RefuseBotToken("")
		h.tolerated = append(h.tolerated, slacksim.OpenStorm)
		h.startChild()
		h.honest()
		assert.Len(t, h.slack.Messages(h.ops), 1)
	})
	t.Run("bot token, at start", func(t *testing.T) {
		h := newHouse(t)
		h.slack.RefuseBotToken("invalid_auth")
		p := h.spawn()
		ends(t, h, p, "SLACK_BOT_TOKEN", "invalid_auth")
	})
	t.Run("app token, at start", func(t *testing.T) {
		h := newHouse(t)
		h.slack.RefuseAppToken("invalid_auth")
		p := h.spawn()
		ends(t, h, p, "SLACK_APP_TOKEN", "invalid_auth")
	})
}
