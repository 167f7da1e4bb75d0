package main

import (
	"zegoclose/internal/journal"
	"zegoclose/internal/zegosim"
)

// scene is one story about one promise.
type scene struct {
	title    string
	about    string   // what is about to happen
	settings []string // of the bot, where they are not the usual ones
	play     func(*player)
}

// introduce says who is who.
func (p *player) introduce() {
	p.page.print(bold, "", "", "zegoclose: a conversation")
	p.page.print(plain, "", "", "Played on this machine by a simulated Slack, a simulated ZEGO, and the true bot between them, a process of its own. "+
		"@alice and @bob may close rooms; @mallory is a colleague who may not; @guest belongs to another company. "+
		"Some waiting times are set short. Times are UTC.")
}

// scenes are the stories, in the order in which they are told.
func scenes() []scene {
	return []scene{
		{
			title: "A moderator closes a room",
			about: "@alice has seen spam in live-42. She asks, reads the card, confirms, and everyone in the room is thrown out.",
			play: func(p *player) {
				p.enter("live-42", "ann", "ben", "cat")
				c := p.asks(alice, ops, "live-42 spam links in chat")
				p.presses(alice, c, closeRoom)
				p.ends(c, journal.StateClosed, 1)
				p.aside("live-42")
			},
		},
		{
			title: "Second thoughts",
			about: "@alice mixes up two rooms, sees it on the card, and cancels.",
			play: func(p *player) {
				p.enter("live-24", "dan", "eve")
				c := p.asks(alice, ops, "live-24 spam links in chat")
				p.presses(alice, c, cancel)
				p.ends(c, journal.StateCancelled, 0)
				p.aside("live-24")
			},
		},
		{
			title:    "Nobody confirms",
			about:    "@bob asks and is called away. A card does not wait for ever: after its time the buttons are gone, and nothing can be closed with it.",
			settings: []string{"CONFIRM_TIMEOUT=1500ms"},
			play: func(p *player) {
				p.enter("live-30", "fay", "gil")
				c := p.asks(bob, ops, "live-30 copyrighted music")
				p.note("(Nobody presses anything.)")
				p.ends(c, journal.StateExpired, 0)
				p.aside("live-30")
			},
		},
		{
			title: "Strangers",
			about: "@mallory tries the command, then @alice's card. @guest tries the card. @bob may close rooms, but this one is not his request. " +
				"None of them gets further; each is told why. Then @bob does what he may do: he cancels. " +
				"(#with-partner is shared with @guest's company. The bot serves such a channel only if it is named in ALLOWED_CHANNELS, as it is here.)",
			play: func(p *player) {
				p.enter("live-50", "hal", "ida")
				p.refusedCommand(mallory, ops, "live-50 because I can")
				c := p.asks(alice, partner, "live-50 insults")
				p.refusedPress(mallory, c, closeRoom)
				p.refusedPress(guest, c, closeRoom)
				p.refusedPress(bob, c, closeRoom)
				p.presses(bob, c, cancel)
				p.ends(c, journal.StateCancelled, 0)
				p.aside("live-50")
			},
		},
		{
			title: "A room that does not exist",
			about: "@alice mistypes an id. ZEGO has no such room, and nobody claims that one was closed.",
			play: func(p *player) {
				c := p.asks(alice, ops, "live-4Z spam links in chat")
				p.presses(alice, c, closeRoom)
				p.ends(c, journal.StateAbsent, 0)
			},
		},
		{
			title: "Two moderators, one room",
			about: "@alice and @bob each ask for the same room, and both confirm. Its users come back as soon as it is closed, " +
				"but are not thrown out a second time for the same complaint.",
			play: func(p *player) {
				p.enter("live-60", "jon", "kim", "lea")
				p.zego.RejoinAfterClose("live-60", 0)
				hers := p.asks(alice, ops, "live-60 fake giveaway")
				his := p.asks(bob, ops, "live-60 fraud")
				call := p.hold("live-60", zegosim.Arrived)
				p.presses(alice, hers, closeRoom)
				p.reaches(call)
				p.note("(Her call has reached ZEGO, which takes its time.)")
				p.presses(bob, his, closeRoom)
				p.shows(his, "Closing")
				call.release()
				p.ends(hers, journal.StateClosed, 1)
				p.ends(his, journal.StateAbsent, 0)
				p.aside("live-60")
			},
		},
		{
			title: "ZEGO's answer is lost",
			about: "The connection breaks before ZEGO's answer arrives, so nobody can know whether the room was closed. The bot neither guesses " +
				"nor calls again by itself: it looks who is in the room, says what it saw, and leaves the decision to a person.",
			play: func(p *player) {
				p.enter("live-70", "max", "nia")
				p.losesAnswer("live-70")
				c := p.asks(alice, ops, "live-70 violence")
				p.presses(alice, c, closeRoom)
				p.ends(c, journal.StateUnknown, 0)
				p.aside("live-70")
				p.presses(alice, c, tryAgain)
				again := p.newCard("live-70")
				p.shows(c, "tried again by")
				p.presses(alice, again, closeRoom)
				p.ends(again, journal.StateClosed, 1)
				p.aside("live-70")
			},
		},
		{
			title: "The bot is killed between click and result",
			about: "Two rooms are confirmed. ZEGO has just closed the first and not answered yet, the second waits for its turn: at this instant " +
				"the bot's process is killed (SIGKILL). Started again, it closes the second and does not call for the first a second time.",
			settings: []string{"ZEGO_CLOSE_INTERVAL=1500ms"},
			play: func(p *player) {
				p.enter("live-80", "ola", "pia")
				p.enter("live-81", "quy")
				first := p.asks(alice, ops, "live-80 stolen stream")
				second := p.asks(bob, ops, "live-81 stolen stream")
				call := p.hold("live-80", zegosim.Executed)
				p.presses(alice, first, closeRoom)
				p.reaches(call)
				p.presses(bob, second, closeRoom)
				p.killBot()
				call.release()
				p.aside("live-80")
				p.aside("live-81")
				p.restart("ZEGO_TIMEOUT=500ms")
				p.ends(first, journal.StateUnknown, 1)
				p.ends(second, journal.StateClosed, 1)
				p.aside("live-81")
			},
		},
		{
			title: "Slack asks the bot to slow down",
			about: "Slack answers a post with “429 Too Many Requests, Retry-After: 1”, first the card, then the result. The bot waits as long as " +
				"it is told and loses nothing, and the room is closed at once all the same.",
			play: func(p *player) {
				p.enter("live-90", "ron", "sue")
				limit := p.slackLimits()
				c := p.asks(bob, ops, "live-90 spam links in chat")
				p.met(limit, "this card")
				limit = p.slackLimits()
				p.presses(bob, c, closeRoom)
				p.closed("live-90")
				p.aside("live-90")
				p.ends(c, journal.StateClosed, 1)
				p.met(limit, "this reply")
			},
		},
		{
			title: "Text that pretends to be more",
			about: "A room id and a reason can look like Slack's own markup. They are shown as the text they are, ping nobody, " +
				"and reach ZEGO byte for byte.",
			play: func(p *player) {
				p.enter("<!channel>", "tom")
				c := p.asks(alice, ops, "<!channel> *bold* & @channel <@"+bob+">")
				p.pings(c, "@alice")
				p.presses(alice, c, closeRoom)
				p.ends(c, journal.StateClosed, 1)
				p.aside("<!channel>")
			},
		},
	}
}
