package bot

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"zegoclose/internal/journal"
	"zegoclose/zego"

	"github.com/slack-go/slack"
)

// What the buttons are called on the wire. Their value is the token of the case.
const (
	actionConfirm = "zego_close_confirm"
	actionCancel  = "zego_close_cancel"
	actionAgain   = "zego_close_again"
)

// message is something to show in Slack.
type message struct {
	text   string // fallback: the same facts, escaped
	blocks []slack.Block
}

// textMessage shows lines and nothing else.
func textMessage(lines ...line) message {
	return message{fallback(lines...), []slack.Block{slack.NewRichTextBlock("", section(lines...))}}
}

// maxShownReason bounds, in runes, how much of a reason a message shows; the journal keeps all of it.
const maxShownReason = 700

// cardView draws the card of a case as it stands. The turn is when its CloseRoom is
// expected to leave; the zero time if that is not known or does not matter.
func cardView(c journal.Case, now, turn time.Time) message {
	switch c.State {
	case journal.StatePending:
		return pendingCard(c)
	case journal.StateConfirmed:
		return withButtons(textMessage(waitingLine(c, turn)), cancelButton(c))
	case journal.StateClosing:
		l := line{emoji("hourglass_flowing_sand"), say(" "), bold("#%d  Closing ", c.Number), room(c.Room), say(" · confirmed by "), user(c.ConfirmedBy)}
		if a := c.LastAnswer(); !c.Unanswered() && a.Effect == string(zego.Unknown) {
			l = line{emoji("warning"), say(" "), bold("#%d  No clear answer from ZEGO", c.Number), say(" about "), room(c.Room), say("; looking who is in the room")}
		}
		return textMessage(l)
	}
	m := textMessage(endLine(c))
	switch {
	case c.CanTryAgain(now):
		m = withButtons(m, button(actionAgain, c, "Try again", slack.StyleDefault))
	case c.AgainIs != 0:
		m = textMessage(append(endLine(c), say(" · tried again by #%d", c.AgainIs)))
	}
	return m
}

// pendingCard asks the question, with everything that is needed to answer it.
func pendingCard(c journal.Case) message {
	lines := []line{
		{bold("#%d  Close room?", c.Number)},
		{bold("Room"), say("  "), room(c.Room)},
		{bold("In it now"), say("  "), countWords(c.Before)},
	}
	if c.Before.People != nil {
		lines[2] = append(lines[2], say(" ("), at(c.Before.At, clock), say(")"))
	}
	lines = append(lines, reasonLines(c)...)
	lines = append(lines, line{bold("Asked by"), say("  "), user(c.Requester), say(", "), at(c.RequestedAt, clock), say(" · expires "), at(c.ConfirmBy, clock)})
	lines = append(lines, warnings(c)...)
	m := textMessage(lines...)
	return withButtons(m, button(actionConfirm, c, "Close room", slack.StyleDanger), cancelButton(c))
}

// reasonLines show the reason, and exactly what everyone in the room will see of it.
func reasonLines(c journal.Case) []line {
	switch {
	case c.Reason == "":
		return nil
	case c.Sends == "":
		return []line{{bold("Reason"), say("  %s  (stays in Slack)", cut(visibleLines(c.Reason), maxShownReason))}}
	case c.Sends == c.Reason:
		return []line{{bold("Reason"), say("  %s  (everyone in the room will see this)", visibleLines(c.Reason))}}
	}
	return []line{
		{bold("Reason"), say("  %s", cut(visibleLines(c.Reason), maxShownReason))},
		{bold("The room will see"), say("  %s  (cut at ZEGO's %d bytes)", visibleLines(c.Sends), zego.MaxReasonBytes)},
	}
}

// warnings tell what deserves a second look before the button is pressed.
func warnings(c journal.Case) []line {
	var ls []line
	if strings.ContainsFunc(c.Room, hidden) {
		ls = append(ls, line{emoji("warning"), say(` The room id holds characters that cannot be seen; they are written as \u… here and sent as they are.`)})
	}
	if odd := zego.UnusualRoomID(c.Room); len(odd) > 0 {
		ls = append(ls, line{emoji("warning"), say(" ZEGO's own list of characters for room ids does not have %s. It is sent as it is; check for a typing mistake.", visible(quoted(odd)))})
	}
	if c.Before.People != nil && *c.Before.People == 0 {
		ls = append(ls, line{emoji("warning"), say(" ZEGO says that nobody is in this room. If that is a surprise, check the id.")})
	}
	for _, n := range c.Others {
		ls = append(ls, line{emoji("warning"), say(" Somebody else has an open case for this room: #%d.", n)})
	}
	if c.AgainOf != 0 {
		ls = append(ls, line{say("Tries again what #%d left unknown.", c.AgainOf)})
	}
	return ls
}

func quoted(rs []rune) string {
	words := make([]string, 0, len(rs))
	for _, r := range rs {
		words = append(words, "‘"+string(r)+"’")
	}
	return strings.Join(words, " ")
}

// waitingLine is the card between the click and the call.
func waitingLine(c journal.Case, turn time.Time) line {
	l := line{emoji("hourglass_flowing_sand"), say(" "), bold("#%d  Closing ", c.Number), room(c.Room)}
	if a := c.LastAnswer(); a.Effect == string(zego.NotDone) {
		l = append(l, say(", not done yet: %s; trying again", a.Detail))
	}
	if c.Waits != "" {
		l = append(l, say(", waiting: %s", c.Waits))
	}
	if !turn.IsZero() {
		l = append(l, say(", about "), at(turn, clock))
	}
	return append(l, say(" · confirmed by "), user(c.ConfirmedBy), say(", not attempted after "), at(c.CloseBy, clock))
}

// endLine says in one line how the case ended. It is what somebody who scans the channel reads.
func endLine(c journal.Case) line {
	l := outcomeLine(c)
	if n := len(c.Reviews); n > 0 && c.Reviews[n-1].Contests {
		l = append(l, say(" · "), bold("contested"), say(" by "), user(c.Reviews[n-1].By))
	} else if n > 0 {
		l = append(l, say(" · reviewed by "), user(c.Reviews[n-1].By))
	}
	return l
}

func outcomeLine(c journal.Case) line {
	who := func(l line) line {
		id := c.ConfirmedBy
		if id == "" {
			id = c.Requester
		}
		return append(l, say(" · "), user(id), say(", "), at(c.EndedAt, dayTime))
	}
	start := func(icon, words string, args ...any) line {
		return line{emoji(icon), say(" "), bold("#%d  "+words, append([]any{c.Number}, args...)...)}
	}
	switch c.State {
	case journal.StateClosed:
		return who(append(start("white_check_mark", "Closed "), room(c.Room)))
	case journal.StateAbsent:
		if c.About != 0 {
			return who(append(start("white_circle", "Nothing closed: "), room(c.Room), say(" was already closed by #%d", c.About)))
		}
		return who(append(start("white_circle", "Nothing closed: "), say("ZEGO has no room "), room(c.Room), say(" (already gone, or mistyped)")))
	case journal.StateFailed:
		return who(append(start("x", "Not closed: "), room(c.Room), say(", %s", c.Detail)))
	case journal.StateUnknown:
		l := append(start("warning", "Not known whether "), room(c.Room), say(" was closed: %s; ", unclearWords(c)))
		return who(append(l, lookWords(c)...))
	case journal.StateCancelled:
		l := append(start("no_entry_sign", "Cancelled: "), room(c.Room), say(", nothing closed"))
		if c.EndedBy == "" {
			return append(l, say(" (%s) · ", c.Detail), at(c.EndedAt, dayTime))
		}
		return append(l, say(" · "), user(c.EndedBy), say(", "), at(c.EndedAt, dayTime))
	default:
		return who(append(start("hourglass", "Expired: "), room(c.Room), say(", nothing closed: %s", c.Detail)))
	}
}

// unclearWords says why it is not known what the last call did.
func unclearWords(c journal.Case) string {
	if code := c.LastAnswer().Code; code != nil {
		return fmt.Sprintf("ZEGO answered code %d, which does not tell", *code)
	}
	return "ZEGO's answer was lost"
}

// lookWords says who was in the room when it was last seen, and when: whoever reads it
// months later must not take it for now.
func lookWords(c journal.Case) line {
	for _, look := range slices.Backward(c.Looks) {
		if look.People == nil {
			continue
		}
		verb := "were"
		if *look.People < 2 {
			verb = "was"
		}
		return line{say("%s %s in it at ", people(*look.People), verb), at(look.At, clock)}
	}
	return line{say("who is in it could not be seen")}
}

func countWords(n journal.Count) span {
	if n.People == nil {
		return say("not known: %s", n.Missing)
	}
	return say("%s", people(*n.People))
}

func cancelButton(c journal.Case) *slack.ButtonBlockElement {
	return button(actionCancel, c, "Cancel", slack.StyleDefault)
}

// button makes a button. It carries the token of the case, never its number: who cannot
// see the card cannot press for it.
func button(action string, c journal.Case, words string, style slack.Style) *slack.ButtonBlockElement {
	b := slack.NewButtonBlockElement(action, c.Token, slack.NewTextBlockObject(slack.PlainTextType, words, false, false))
	b.Style = style
	b.AccessibilityLabel = cut(fmt.Sprintf("%s: case %d, room %s", words, c.Number, visible(c.Room)), 75)
	return b
}

func withButtons(m message, buttons ...*slack.ButtonBlockElement) message {
	elements := make([]slack.BlockElement, 0, len(buttons))
	for _, b := range buttons {
		elements = append(elements, b)
	}
	m.blocks = append(m.blocks, slack.NewActionBlock("", elements...))
	return m
}
