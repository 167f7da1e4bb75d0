package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"zegoclose/cmd/demo/internal/chromium"
	"zegoclose/internal/journal"
	"zegoclose/internal/slacksim"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// entries are what the journal holds of a kind.
func (g *scenery) entries(kind journal.Kind) []journal.Entry {
	r, err := readRecord(g.journalFile())
	require.NoError(g.t, err)
	return slices.DeleteFunc(r.entries, func(e journal.Entry) bool { return e.Kind != kind })
}

// executed are the rooms that ZEGO closed, in order.
func (g *scenery) executed() []string {
	rooms := []string{}
	for _, x := range g.zego.Executions() {
		rooms = append(rooms, x.RoomID)
	}
	return rooms
}

// Somebody who has read nothing follows what the page itself says.
func TestNewcomerClosesTheFirstRoom(t *testing.T) {
	g := stage(t)
	w := g.window(alice, ops)
	w.Reads("#guide-text", "there is spam in the room live-42, and 124 people are watching")
	w.Click("#guide-do", "Type the command for me")
	w.Reads("#guide-text", "Now press Enter.")
	w.Press(chromium.Enter)
	w.Reads("#guide-text", "Read the card")
	w.isTold("#1 recorded: close live-42?")
	w.presses("Close room")
	w.reads("#1  Closed live-42")
	w.Click("#guide-do", "Open the thread")
	w.Reads(replies, "Closed by ZEGO")
	w.Reads("#guide-text", "That was it")
	w.Click("#guide-do", "More to try")
	w.Until(`document.querySelector("#guide").hidden && document.activeElement.id === "tab-try"`)
	assert.Equal(t, []string{"live-42"}, g.executed())

	w.tab("zego")
	w.Reads(".closed", "124 people thrown out of live-42")
	w.Reads(".closed .saw", "spam links in chat")
	w.Reads(".calls .close", "code 0")
	w.tab("journal")
	w.Reads(".cases", "closed")
	w.Reads(".chain", "✓ 8 entries")
	for _, kind := range []string{"requested", "offered", "shown", "confirmed", "attempted", "answered", "ended"} {
		w.Reads(".entries .kind", kind)
	}
	w.Click(".entries li:first-child summary", "")
	w.Reads(".entries li[data-key] pre", `"outcome": "closed"`)
	w.must()
	assert.Empty(t, chromium.Eval[[]string](w.Tab, `performance.getEntriesByType("resource").map((r) => r.name).filter((n) => !n.startsWith(location.origin + "/"))`),
		"requests to others")
}

// Each thing to try sets itself up by one press.
func TestStoriesSetThemselvesUp(t *testing.T) {
	g := stage(t)
	w := g.window(alice, ops)
	type step struct{ Title, Label, As, Text, Bot string }
	steps := chromium.Eval[[]step](w.Tab, `import("/page/stories.js").then(({ stories }) =>
		stories.flatMap((s) => s.steps.map((p) => ({ Title: s.title, Label: p.label, As: p.as ?? "", Text: p.text ?? "", Bot: p.bot ?? "" }))))`)
	w.must()
	require.Greater(t, len(steps), 15)
	for _, s := range steps {
		w.Click(fmt.Sprintf(`#panel-try button[aria-label=%q]`, s.Label+": "+s.Title), "")
		if s.As != "" {
			w.Shows("body[data-ready=" + s.As + "]")
		}
		if s.Text != "" {
			w.Until(fmt.Sprintf("document.querySelector('#composer').value === %q && document.activeElement.id === 'composer'", s.Text))
		}
		switch s.Bot {
		case "kill":
			w.Reads("#bot", "No bot")
		case "start":
			w.Reads("#bot", "Bot running")
		}
		w.must()
	}
	assert.True(t, chromium.Eval[bool](w.Tab, `document.querySelector("#toast").hidden`), w.Text("#toast"))
	w.Press(chromium.Enter)
	w.isTold("follows in #zego-audit") // the last one
}

func TestSecondThoughts(t *testing.T) {
	g := stage(t)
	g.zego.Login("live-24", "dan", "eve")
	w := g.window(alice, ops)
	w.asks(1, "live-24 spam links in chat")
	w.reads("2 people")
	w.presses("Cancel")
	w.reads("#1  Cancelled: live-24, nothing closed")
	w.opens(1, "Cancelled by @alice")
	assert.Empty(t, g.executed())
	assert.Equal(t, 2, g.zego.People("live-24"))
}

func TestNobodyConfirms(t *testing.T) {
	g := stage(t)
	w := g.window(bob, ops)
	w.tab("break")
	w.Click("#panel-break .option b", "Cards expire after 10 seconds")
	w.Shows(`#bot[data-starts="2"][data-state=running]`)
	w.asks(1, "live-43 copyrighted music")
	w.reads("#1  Expired: live-43, nothing closed")
	w.opens(1, "Expired")
	assert.Zero(t, w.Count("#messages .button"))
	assert.Empty(t, g.executed())
}

func TestStrangers(t *testing.T) {
	g := stage(t)
	m := g.window(mallory, ops)
	m.Say("#composer", "/zego-close live-43 because I can")
	m.isTold("Nothing was done.")
	assert.Zero(t, m.Count("#messages > li:not(.private)"))

	a := g.window(alice, partner)
	a.asks(1, "live-43 insults")
	for _, who := range []string{mallory, guest, bob} {
		w := g.window(who, partner)
		w.presses("Close room")
		w.isTold("Nothing was done.")
		assert.Zero(t, w.Count(".warning:not([hidden])"), "the click was answered")
	}
	assert.Zero(t, a.Count("#messages > li.private:not(:first-child)"), "what others are told in private")

	x := g.window(guest, partner)
	assert.Equal(t, 1, x.Count("#channels li"), "a guest sees the shared channel only")
	x.Say("#composer", "/zego-close live-43")
	x.Reads("#composer-place .error", "people of other companies have no commands here")
	assert.Equal(t, "/zego-close live-43", chromium.Eval[string](x.Tab, `document.querySelector("#composer").value`), "what was typed is not lost")

	b := g.window(bob, partner)
	b.presses("Cancel")
	a.reads("#1  Cancelled: live-43")
	assert.Empty(t, g.executed())
	assert.Len(t, g.entries(journal.Refused), 4)
}

func TestRoomThatDoesNotExist(t *testing.T) {
	g := stage(t)
	w := g.window(alice, ops)
	w.asks(1, "live-4Z spam")
	w.presses("Close room")
	w.reads("#1  Nothing closed: ZEGO has no room live-4Z")
	w.opens(1, "ZEGO has no such room")
	assert.Empty(t, g.executed())
}

func TestTwoModeratorsOneRoom(t *testing.T) {
	g := stage(t)
	a, b := g.window(alice, ops), g.window(bob, ops)
	a.Click("#panel-try .steps button", "1. As @alice")
	a.Until(`document.querySelector("#composer").value === "/zego-close live-60 fake giveaway"`)
	a.Press(chromium.Enter)
	a.reads("#1  Close room?")
	b.asks(2, "live-60 fraud")
	b.isTold("Somebody else has an open case for this room: #1")
	a.presses("Close room") // the newest card is bob's
	a.isTold("Nothing was done.")
	a.Click(`#messages .button[aria-label="Close room: case 1, room live-60"]`, "")
	a.reads("#1  Closing live-60")
	b.presses("Close room")
	a.reads("#1  Closed live-60")
	b.reads("#2  Nothing closed: live-60 was already closed by #1")
	assert.Equal(t, []string{"live-60"}, g.executed())
	assert.Equal(t, 3, g.zego.People("live-60"), "they came back")
}

func TestAnswerIsLost(t *testing.T) {
	g := stage(t)
	g.zego.Login("live-70", "max", "nia")
	w := g.window(alice, ops)
	w.tab("break")
	w.Click("#panel-break .option b", "Call lost")
	w.Reads("#break-count", "1")
	w.asks(1, "live-70 violence")
	w.presses("Close room")
	w.reads("#1  Not known whether live-70 was closed")
	w.reads("2 people were in it at ")
	assert.Empty(t, g.executed())
	w.Click("#panel-break .option b", "As usual")
	w.Until(`document.querySelector("#break-count").textContent === ""`)
	w.presses("Try again")
	w.reads("#2  Close room?")
	w.reads("tried again by #2")
	w.presses("Close room")
	w.reads("#2  Closed live-70")
	assert.Equal(t, []string{"live-70"}, g.executed())
}

func TestBotIsKilledBetweenClickAndResult(t *testing.T) {
	g := stage(t)
	g.zego.Login("live-80", "ola", "pia")
	w := g.window(alice, ops)
	w.tab("break")
	w.Click("#panel-break .option b", "Slow")
	w.asks(1, "live-80 stolen stream")
	w.presses("Close room")
	w.reads("#1  Closing live-80")
	w.Click("#panel-break button", "Kill (SIGKILL)")
	w.Reads("#bot", "No bot")
	w.Say("#composer", "/zego-close live-43 while nobody listens")
	w.isTold("dispatch_failed")
	w.Click("#panel-break button", "Start")
	w.reads("#1  Not known whether live-80 was closed")
	assert.Equal(t, []string{"live-80"}, g.executed(), "it does not call a second time")
}

func TestSlackAsksToSlowDown(t *testing.T) {
	g := stage(t)
	g.zego.Login("live-90", "ron", "sue")
	w := g.window(bob, ops)
	w.tab("break")
	w.Click("#panel-break .option b", "Refuses posts")
	w.Reads("#break-count", "1")
	w.Say("#composer", "/zego-close live-90 spam links in chat")
	w.isTold("#1 recorded")
	assert.Zero(t, w.Count("#messages > li:not(.private)"))
	w.Click("#panel-break .option b", "Refuses posts")
	w.reads("#1  Close room?")
	w.presses("Close room")
	w.reads("#1  Closed live-90")
	assert.Equal(t, []string{"live-90"}, g.executed())
}

func TestJournalThatCannotBeWritten(t *testing.T) {
	g := stage(t)
	w := g.window(alice, ops)
	w.tab("break")
	w.Click("#panel-break .option b", "Cannot be written")
	w.Reads("#break-count", "1")
	w.Say("#composer", "/zego-close live-43 spam")
	w.isTold("The journal cannot be written at the moment, so nothing was done.")
	w.Click("#panel-break .option b", "Cannot be written")
	w.Until(`document.querySelector("#break-count").textContent === ""`)
	w.asks(1, "live-43 spam")
	w.presses("Close room")
	w.reads("#1  Closed live-43")
	assert.Equal(t, []string{"live-43"}, g.executed())
}

func TestSocketsRotateAndBreak(t *testing.T) {
	g := stage(t)
	w := g.window(alice, ops)
	w.tab("break")
	for i, button := range []string{"Rotate the sockets", "Cut the sockets"} {
		before := w.Text(".sockets")
		w.Click("#panel-break button", button)
		w.Until(fmt.Sprintf(`((s) => s !== %q && s.match(/open/g)?.length === 2 && !/told|closing/.test(s))(document.querySelector(".sockets").innerText)`, before))
		w.asks(i+1, fmt.Sprintf("room-%d spam", i))
		w.presses("Close room")
		w.reads(fmt.Sprintf("#%d  Nothing closed", i+1))
	}
}

// Where cards go, and where commands are no good.
func TestChannels(t *testing.T) {
	g := stage(t)
	w := g.window(alice, ops)
	channel := func(name string) {
		w.Click(".channels button .name", name)
		w.Until(fmt.Sprintf(`document.title.includes(%q)`, name+" · @alice"))
		w.must()
	}
	channel("random")
	w.Reads("#channel-about", "the bot is not in it")
	w.Say("#composer", "/zego-close live-43 spam")
	w.isTold("invite it with /invite")
	w.Click("#dms button", "")
	w.Until(`document.querySelector("#channel-name").textContent === "zegoclose"`)
	w.Say("#composer", "/zego-close live-43 spam")
	w.isTold("Rooms cannot be closed from this channel.")
	channel("moderators")
	w.asks(2, "live-43 spam") // #1 could not be shown
	w.presses("Cancel")
	w.reads("#2  Cancelled")

	w.tab("break")
	w.Click("#panel-break .option b", "All cards to #zego-audit")
	w.Shows(`#bot[data-starts="2"][data-state=running]`)
	channel("live-ops")
	w.Say("#composer", "/zego-close live-43 spam")
	w.isTold("follows in #zego-audit")
	w.Reads(`#channels button.unread`, "zego-audit")
	w.Say("#composer", "/zego-close live-43 spam")
	w.isTold("You have already asked for this room: #3")
	w.Click("#messages a.link", "here is its card")
	w.Until(`document.title.includes("zego-audit")`)
	w.Shows("#messages .lit .button.danger")
	w.must()

	m := g.window(mallory, mods)
	assert.NotContains(t, m.Text(".channels"), "moderators", "a private channel is not seen from outside")
}

// What looks like markup is shown as the text it is; what is markup is seen as such.
func TestInjections(t *testing.T) {
	g := stage(t)
	w := g.window(alice, ops)
	payloads := []struct{ room, reason string }{
		{"<!channel>", "*bold* _it_ ~no~ `code` & @channel <@" + bob + "> <#" + random + "> :skull:"},
		{"<img/src=x/onerror=window.pwned=1>", `<script>window.pwned=1</script><b>big</b>`},
		{"`x`&amp;lt;", "<https://example.com|click here> <mailto:a@example.com> <!here> <!date^0^{date}|never>"},
		{"a\u202eb\u200bc", "{{.As}} ${window.pwned=1} javascript:window.pwned=1 </title><svg/onload=window.pwned=1>"},
		{"__proto__", "constructor"},
	}
	for i, p := range payloads {
		g.zego.Login(p.room, "tom", `<img src=x onerror="window.pwned=1">`)
		w.asks(i+1, p.room+" "+p.reason)
		w.presses("Close room")
		w.reads(fmt.Sprintf("#%d  Closed", i+1))
	}
	w.opens(5, "Reason: constructor")
	for _, tab := range []string{"zego", "journal"} {
		w.tab(tab)
		w.Shows("#panel-" + tab + " li")
	}
	w.must()
	live := chromium.Eval[[]string](w.Tab, `[...document.querySelectorAll("#messages .mention, #replies .mention")].map((e) => e.textContent)`)
	for _, mention := range live {
		assert.Equal(t, "@alice", mention)
	}
	assert.Zero(t, w.Count("#messages i, #messages s, #messages .outside, #messages a, #messages script, #messages svg, #messages img:not(.emoji):not([alt=''])"))
	assert.Zero(t, w.Count(".behind img, .behind script, .behind a:not([href^='/?as='])"))
	assert.False(t, chromium.Eval[bool](w.Tab, `"pwned" in window`))
	rooms := g.executed()
	for i, p := range payloads {
		assert.Equal(t, p.room, rooms[i], "byte for byte")
	}
	assert.Contains(t, w.Text("#messages"), `a\u202Eb\u200Bc`)

	// The page would show it, if the bot let anything through.
	g.slack.Post(slacksim.Message{Channel: ops, User: g.slack.BotUser(), AppID: g.slack.AppID(), BotID: "B1",
		Text: "<!channel> <@" + bob + "> *loud* <https://example.com|here> `c` &lt;!here&gt;"})
	w.Shows("#messages .mention.everybody[data-broadcast=channel]")
	w.Shows("#messages .mention[data-user=" + bob + "]")
	w.Shows("#messages .outside")
	w.Until(`[...document.querySelectorAll("#messages b")].some((e) => e.textContent === "loud")`)
	w.reads("<!here>")
	g.slack.Post(slacksim.Message{Channel: ops, User: g.slack.BotUser(), AppID: g.slack.AppID(), BotID: "B1", Text: "x",
		Blocks: json.RawMessage(`[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"broadcast","range":"everyone"},{"type":"text","text":"<!everyone>"},{"type":"link","url":"javascript:window.pwned=1","text":"press me"}]},
			{"type":"rich_text_list","style":"bullet","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"item","style":{"bold":true}}]}]},
			{"type":"rich_text_quote","elements":[{"type":"text","text":"quoted"}]},{"type":"rich_text_preformatted","elements":[{"type":"text","text":"<b>pre</b>"}]}]},
			{"type":"header","text":{"type":"plain_text","text":"Head :skull:","emoji":true}},{"type":"divider"},
			{"type":"section","text":{"type":"mrkdwn","text":"*fat*"},"fields":[{"type":"plain_text","text":"*thin*"}]},
			{"type":"context","elements":[{"type":"mrkdwn","text":"_small_"}]},{"type":"image","image_url":"https://example.com/x.png","alt_text":"a picture"}]`)})
	w.Shows("#messages .mention[data-broadcast=everyone]")
	w.Shows("#messages blockquote, #messages pre, #messages hr, #messages .header .emoji")
	w.reads("[image: a picture]")
	w.must()
	assert.Zero(t, w.Count(`#messages [href^="javascript"]`))

	// People's own messages are text, too.
	w.Say("#composer", "<!channel> <b>not bold</b> @channel")
	w.reads("<!channel> <b>not bold</b> @channel")
}

func TestEphemeralMessagesAreForOneAndGoneAtReload(t *testing.T) {
	g := stage(t)
	a, again, b := g.window(alice, ops), g.window(alice, ops), g.window(bob, ops)
	a.asks(1, "live-43 spam")
	a.isTold("#1 recorded")
	b.reads("#1  Close room?")
	assert.Equal(t, "Only visible to you", a.Text("#messages .only"))
	assert.Zero(t, b.Count(".private"), "seen by others")
	again.reads("#1  Close room?")

	a.Reload()
	a.Shows("body[data-ready]")
	a.reads("#1  Close room?")
	assert.Zero(t, a.Count(".private"), "still there after reloading")
	a.presses("Cancel")
	a.reads("#1  Cancelled")
	a.opens(1, "Cancelled by @alice")
	a.Reload()
	a.Shows("body[data-ready]")
	a.Reads(replies, "Cancelled by @alice") // the thread is open again
	a.Say("#thread-composer", "/zego-close live-43")
	a.Reads("#thread-composer-place .error", "not supported in threads")
	a.Say("#thread-composer", " sorry")
	a.must()
	a.Click("#thread-composer-place textarea", "")
	a.must()
}

func TestActingAsSomebodyElse(t *testing.T) {
	g := stage(t)
	w := g.window(alice, ops)
	w.asks(1, "live-43 spam")
	w.Choose("#as", mallory)
	w.Shows("body[data-ready=" + mallory + "]")
	w.reads("#1  Close room?")
	assert.Zero(t, w.Count(".private"), "what alice was told")
	w.presses("Cancel")
	w.isTold("Nothing was done.")
	w.Choose("#as", bob)
	w.Shows("body[data-ready=" + bob + "]")
	w.presses("Cancel")
	w.reads("#1  Cancelled")
}

// A button spins until the bot has answered, and shows Slack's warning sign if it does not.
func TestButtonsOfABotThatHangs(t *testing.T) {
	g := stage(t)
	g.pardoned = true // its ack comes too late, which is the point
	w := g.window(alice, ops)
	w.asks(1, "live-43 spam")
	process := g.keeper.bot.cmd.Process
	require.NoError(t, process.Signal(syscall.SIGSTOP))
	w.presses("Close room")
	w.Shows(`#messages .button.danger[data-busy][aria-busy=true]`)
	assert.Zero(t, w.Count(".warning:not([hidden])"))
	w.Shows(`#messages .button.danger:not([data-busy]) + .warning:not([hidden])`)
	require.NoError(t, process.Signal(syscall.SIGCONT))
	w.reads("#1  Closed live-43") // the click was late, not lost
	assert.Equal(t, []string{"live-43"}, g.executed())
}

// Two windows press the same button at the same moment, again and again.
func TestRaceForOneButton(t *testing.T) {
	g := stage(t)
	a, b, again := g.window(alice, ops), g.window(bob, ops), g.window(alice, ops)
	together := func(label string, windows ...*window) {
		var all sync.WaitGroup
		for _, w := range windows {
			w.Until(fmt.Sprintf(`[...document.querySelectorAll("#messages .button")].some((e) => e.innerText.trim() === %q)`, label))
		}
		for _, w := range windows {
			all.Go(func() {
				// Both have it under the pointer already: no looking, one press.
				chromium.Eval[bool](w.Tab, fmt.Sprintf(`[...document.querySelectorAll("#messages .button")].findLast((e) => e.innerText.trim() === %q)?.click() ?? true`, label))
			})
		}
		all.Wait()
	}
	const rounds = 4
	for i := range rounds {
		room := fmt.Sprintf("room-%d", i)
		g.zego.Login(room, "una")
		a.asks(2*i+1, room+" first")
		together("Cancel", a, b)
		a.reads(fmt.Sprintf("#%d  Cancelled", 2*i+1))
		a.asks(2*i+2, room+" second")
		together("Close room", a, again)
		a.reads(fmt.Sprintf("#%d  Closed %s", 2*i+2, room))
	}
	for _, w := range []*window{a, b, again} {
		w.Until(`!document.querySelector("[data-busy]")`)
		assert.Zero(t, w.Count(".warning:not([hidden])"), "every click is answered")
		w.must()
	}
	assert.Equal(t, []string{"room-0", "room-1", "room-2", "room-3"}, g.executed())
	assert.Len(t, g.entries(journal.Cancelled), rounds)
	assert.Len(t, g.entries(journal.Confirmed), rounds)
	assert.Len(t, g.entries(journal.Attempted), rounds)
}

func TestPhone(t *testing.T) {
	g := stage(t)
	room := strings.Repeat("房", 30) + strings.Repeat("x", 38)
	g.zego.Login(room, strings.Repeat("n", 64))
	w := g.window(alice, ops)
	w.Size(360, 740, true)
	fits := func(where string) {
		t.Helper()
		wide := chromium.Eval[[]string](w.Tab, `(() => {
			const out = [];
			if (document.documentElement.scrollWidth > innerWidth) out.push("the page scrolls sideways");
			for (const e of document.querySelectorAll(".talk *, .thread *, .behind *, .channels *, .top *, .panes *")) {
				const r = e.getBoundingClientRect();
				if (r.width > 0 && r.right > innerWidth + 1 && !e.closest(".wide, .sr, .skip")) out.push(e.tagName + "." + e.className);
			}
			return out;
		})()`)
		assert.Empty(t, wide, where)
		w.must()
	}
	fits("at first")
	w.Say("#composer", "/zego-close "+room+" "+strings.Repeat("这个直播间里有人在聊天中反复发布垃圾链接。", 143))
	w.reads("#1  Close room?")
	fits("card")
	w.presses("Close room")
	w.reads("#1  Closed")
	w.opens(1, "Closed by ZEGO")
	fits("thread")
	w.Click("#thread-close", "")
	w.Click(".panes [data-to=behind]", "")
	for _, tab := range []string{"zego", "journal", "break", "try"} {
		w.tab(tab)
		fits(tab)
	}
	w.Click(".panes [data-to=channels]", "")
	fits("channels")
	w.Click("#channels .name", "moderators")
	w.Until(`document.body.dataset.pane === "talk" && document.querySelector("#channel-name").textContent === "#moderators"`)
	w.must()
	assert.Equal(t, []string{room}, g.executed())
}

// The way from asking to closing without a mouse.
func TestKeyboard(t *testing.T) {
	g := stage(t)
	w := g.window(alice, ops)
	w.Press(chromium.TabKey)
	w.Until(`document.activeElement.className === "skip"`)
	w.Press(chromium.Enter)
	w.Until(`document.activeElement.id === "composer"`)
	w.Write("/z")
	w.Shows("#composer-place .suggestion:not([hidden])")
	w.Press(chromium.TabKey)
	w.Until(`document.querySelector("#composer").value === "/zego-close "`)
	w.Write("live-43 spam")
	w.Press(chromium.Enter)
	w.reads("#1  Close room?")
	for range 12 {
		if chromium.Eval[bool](w.Tab, `document.activeElement.innerText?.trim() === "Close room"`) {
			break
		}
		w.Press(chromium.ShiftTab)
	}
	w.Press(chromium.Enter)
	w.reads("#1  Closed live-43")
	chromium.Eval[bool](w.Tab, `document.querySelector("#tab-try").focus() ?? true`)
	w.Press(chromium.ArrowRight)
	w.Until(`document.activeElement.id === "tab-zego" && !document.querySelector("#panel-zego").hidden`)
	w.must()
}

// axe looks for what keeps people out.
func TestAccessibility(t *testing.T) {
	g := stage(t)
	axe, err := os.ReadFile("testdata/axe-core/axe.min.js")
	require.NoError(t, err)
	w := g.window(alice, ops)
	check := func(where string) {
		t.Helper()
		type finding struct {
			ID, Impact, Help string
			Nodes            []string
		}
		found := chromium.Eval[[]finding](w.Tab, `axe.run().then((r) => r.violations.map((v) => ({ ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.map((n) => n.html + " " + n.failureSummary) })))`)
		w.must()
		for _, f := range found {
			if f.Impact == "serious" || f.Impact == "critical" {
				assert.Fail(t, where+": "+f.ID+" ("+f.Impact+"): "+f.Help, strings.Join(f.Nodes, "\n"))
			} else {
				t.Logf("%s: %s (%s): %s: %v", where, f.ID, f.Impact, f.Help, f.Nodes)
			}
		}
	}
	chromium.Eval[bool](w.Tab, string(axe)+"; true")
	assert.Equal(t, "button-name", chromium.Eval[string](w.Tab, `(() => {
		const bad = document.createElement("button");
		document.querySelector(".talk").append(bad);
		return axe.run().then((r) => { bad.remove(); return r.violations[0]?.id ?? "nothing"; });
	})()`), "axe sees what is wrong")
	for i, scheme := range []string{"light", "dark"} {
		w.Scheme(scheme)
		check(scheme + ", empty")
		w.Say("#composer", "/zego-close live-43 spam *x*")
		w.Shows("#messages .button.danger")
		check(scheme + ", a card")
		w.presses("Cancel")
		w.opens(i+1, "Cancelled by")
		w.Size(1700, 900, false)
		for _, tab := range []string{"try", "zego", "journal", "break"} {
			w.tab(tab)
			check(scheme + ", thread, " + tab)
		}
		w.Click("#thread-close", "")
		w.Type("#composer", "/ze")
		check(scheme + ", hint")
		w.Press(chromium.Escape)
		chromium.Eval[bool](w.Tab, `document.querySelector("#composer").select() ?? true`)
		w.Size(390, 844, true)
		check(scheme + ", phone")
		w.Click(".panes [data-to=channels]", "")
		check(scheme + ", phone, channels")
		w.Click(".panes [data-to=talk]", "")
		w.Size(1440, 900, false)
		chromium.Eval[bool](w.Tab, `((b) => { b.value = ""; b.dispatchEvent(new Event("input")); return true })(document.querySelector("#composer"))`)
	}
}

// The page accepts requests of its own only.
func TestPageIsClosedToForeignPages(t *testing.T) {
	t.Parallel()
	g := serveSite(t)
	own := g.url
	page := map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": own, "Content-Type": "application/json"}
	with := func(changes ...string) map[string]string {
		h := make(map[string]string)
		for k, v := range page {
			h[k] = v
		}
		for i := 0; i < len(changes); i += 2 {
			h[changes[i]] = changes[i+1]
		}
		return h
	}
	tests := []struct {
		name   string
		header map[string]string
		post   int // what a POST is answered
		get    int // what the events are answered
		index  int // what the page is answered
	}{
		{"the page itself", page, 200, 200, 200},
		{"a program on this machine", with("Sec-Fetch-Site", "", "Origin", ""), 200, 200, 200},
		{"a page of another origin", with("Sec-Fetch-Site", "cross-site", "Origin", "https://example.com"), 403, 403, 403},
		{"another port of this machine", with("Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"), 403, 403, 403},
		{"a browser that sends no Sec-Fetch-Site", with("Sec-Fetch-Site", "", "Origin", "https://example.com"), 403, 403, 403},
		{"a sandboxed page", with("Sec-Fetch-Site", "cross-site", "Origin", "null"), 403, 403, 403},
		{"a page whose name was made to point here", with("Host", "rebound.example.com"), 403, 403, 403},
		{"the same with the port", with("Host", "rebound.example.com:"+own[strings.LastIndex(own, ":")+1:], "Origin", ""), 403, 403, 403},
		{"a form", with("Content-Type", "text/plain"), 403, 200, 200},
		{"a link", with("Sec-Fetch-Site", "cross-site", "Origin", "", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), 403, 403, 200},
		{"a frame", with("Sec-Fetch-Site", "cross-site", "Origin", "", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"), 403, 403, 403},
	}
	ask := func(method, path string, header map[string]string) (int, http.Header) {
		r, err := http.NewRequest(method, own+path, strings.NewReader(`{"room":"r","in":["a"]}`))
		require.NoError(t, err)
		for k, v := range header {
			if v != "" {
				r.Header.Set(k, v)
			}
		}
		r.Host = header["Host"]
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		answer.Body.Close()
		return answer.StatusCode, answer.Header
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, _ := ask("POST", "/room", tt.header)
			assert.Equal(t, tt.post, status, "POST")
			status, _ = ask("GET", "/live?as="+alice, tt.header)
			assert.Equal(t, tt.get, status, "events")
			status, header := ask("GET", "/", tt.header)
			assert.Equal(t, tt.index, status, "page")
			assert.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
		})
	}
	for path, body := range map[string]string{
		"/type":  `{"as":"U0BOT","channel":"C0LIVEOPS","text":"x"}`,
		"/click": `{"as":"U0GUEST","channel":"C0LIVEOPS","ts":"1"}`,
		"/fault": `{"what":"everything"}`,
		"/bot":   `{"do":"dance"}`,
		"/room":  `{"room":""}`,
	} {
		r, err := http.NewRequest("POST", own+path, strings.NewReader(body))
		require.NoError(t, err)
		for k, v := range page {
			r.Header.Set(k, v)
		}
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, answer.StatusCode, 400, path)
		assert.Less(t, answer.StatusCode, 500, path)
		answer.Body.Close()
	}
}

// What the page is made of asks nobody else for anything, and makes no HTML of strings.
func TestPageFiles(t *testing.T) {
	t.Parallel()
	files, err := pageFiles.ReadDir("page")
	require.NoError(t, err)
	foreign := regexp.MustCompile(`https?://[^\s"'<>|)]+`)
	texts := map[string]string{"index.html": indexPage}
	for _, f := range files {
		if b, err := pageFiles.ReadFile("page/" + f.Name()); err == nil { // else a directory
			texts[f.Name()] = string(b)
		}
	}
	assert.Greater(t, len(texts), 10)
	for name, text := range texts {
		for _, url := range foreign.FindAllString(text, -1) {
			assert.Contains(t, []string{"http://www.w3.org/2000/svg", "https://example.com"}, url, name)
		}
		for _, word := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser", " style=\"", "onclick=\""} {
			assert.NotContains(t, text, word, name)
		}
	}
}

func TestPageProgram(t *testing.T) {
	t.Parallel()
	out := serve(t, "-addr", "127.0.0.1:0")
	url := regexp.MustCompile(`http://127[0-9.:]+/`).FindString(out)
	answer, err := http.Get(url)
	require.NoError(t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	assert.Contains(t, string(b), "<title>zegoclose, a local workspace</title>")

	// Where nobody said which port, any will do.
	first, err := net.Listen("tcp", pageAddr)
	if err == nil {
		defer first.Close()
	}
	second, err := listen("")
	require.NoError(t, err)
	second.Close()
}

// With two thousand messages in the channel the page still shows at once what happens.
func TestManyMessages(t *testing.T) {
	browser(t)
	g := serveSite(t) // not beside others: it measures
	blocks := json.RawMessage(`[{"type":"rich_text","block_id":"a","elements":[{"type":"rich_text_section","elements":[{"type":"emoji","name":"white_check_mark"},{"type":"text","text":" "},{"type":"text","text":"#7  Closed ","style":{"bold":true}},{"type":"text","text":"live-42","style":{"code":true}},{"type":"text","text":" · "},{"type":"user","user_id":"U0ALICE"},{"type":"text","text":", "},{"type":"date","timestamp":1767225600,"format":"{date_short_pretty}, {time_secs}","fallback":"then"}]}]},
		{"type":"actions","block_id":"b","elements":[{"type":"button","action_id":"x","text":{"type":"plain_text","text":"Try again"},"value":"v"}]}]`)
	post := func() string {
		return g.slack.Post(slacksim.Message{Channel: ops, User: g.slack.BotUser(), AppID: g.slack.AppID(), BotID: "B1", Text: "closed", Blocks: blocks}).TS
	}
	for range 2000 {
		post()
	}
	begun := time.Now()
	w := g.window(alice, ops)
	w.Until(`document.querySelectorAll("#messages > li").length === 2000`)
	w.must()
	t.Logf("2,000 messages: the page is there after %v", time.Since(begun).Round(time.Millisecond))
	chromium.Eval[bool](w.Tab, `(() => {
		window.paints = {};
		new MutationObserver((changes) => {
			const added = changes.flatMap((c) => [...c.addedNodes]).map((e) => e.dataset.ts);
			requestAnimationFrame(() => { // before the paint; what is posted here runs after it
				const c = new MessageChannel();
				c.port1.onmessage = () => { for (const ts of added) window.paints[ts] = performance.timeOrigin + performance.now(); };
				c.port2.postMessage(0);
			});
		}).observe(document.querySelector("#messages"), { childList: true });
		return true;
	})()`)
	const samples = 60
	var took []time.Duration
	for range samples {
		at := time.Now()
		ts := post()
		w.Until("window.paints[" + `"` + ts + `"` + "]")
		painted := chromium.Eval[float64](w.Tab, "window.paints["+`"`+ts+`"`+"]")
		w.must()
		took = append(took, time.Duration(painted*1e6)-time.Duration(at.UnixNano()))
	}
	slices.Sort(took)
	t.Logf("2,000 messages, from event to paint: median %v, 95%% %v, slowest %v", took[samples/2].Round(time.Millisecond/10), took[samples*95/100].Round(time.Millisecond/10), took[samples-1].Round(time.Millisecond/10))
	assert.Less(t, took[samples/2], 500*time.Millisecond, "the median")
	assert.True(t, chromium.Eval[bool](w.Tab, `((s) => Math.abs(s.scrollTop) < 2)(document.querySelector("#scroller"))`), "the newest message is in view")

	// Who reads older ones is not carried away.
	const where = `document.querySelectorAll("#messages > li")[1900].getBoundingClientRect().top`
	chromium.Eval[bool](w.Tab, `(document.querySelectorAll("#messages > li")[1900].scrollIntoView(), true)`)
	time.Sleep(200 * time.Millisecond) // until what came into view has its size
	before := chromium.Eval[float64](w.Tab, where)
	w.Until("window.paints[" + `"` + post() + `"` + "]")
	assert.InDelta(t, before, chromium.Eval[float64](w.Tab, where), 2, "while reading older messages")
	w.must()
}
