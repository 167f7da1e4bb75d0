package bot

import (
	"fmt"
	"slices"
	"strings"

	"zegoclose/internal/journal"
	"zegoclose/zego"
)

// replyView tells in the thread what the entries of a post say. The case is as it was
// when the last of them was written, so the same post always reads the same.
func replyView(c journal.Case, p journal.Post) message { return textMessage(replyLines(c, p)...) }

func replyLines(c journal.Case, p journal.Post) []line {
	entries := c.Between(p.First, p.Last)
	lines := []line{headline(c, entries)}
	if l := storyLine(c, entries); len(l) > 0 {
		lines = append(lines, l)
	}
	if c.Reason != "" && tellsAsking(c, entries) {
		lines = append(lines, line{say("Reason: %s", cut(visibleLines(c.Reason), maxShownReason))})
	}
	return append(lines, finePrint(p, c))
}

// tellsAsking reports whether a reply is the one that tells who asked, and why: the one
// that tells of the confirmation, or of the end of a case that was never confirmed.
func tellsAsking(c journal.Case, entries []journal.Entry) bool {
	return c.ConfirmedBy == "" || slices.ContainsFunc(entries, func(e journal.Entry) bool { return e.Kind == journal.Confirmed })
}

// headline says what the newest of the entries that call for a post came to.
func headline(c journal.Case, entries []journal.Entry) line {
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		switch e.Kind {
		case journal.Ended:
			return endedLine(c, e)
		case journal.Cancelled:
			if e.Facts.By == "" {
				return line{bold("Cancelled"), say(" at "), at(e.Time, clock), say(": %s. Nothing was closed.", e.Facts.Detail)}
			}
			return line{bold("Cancelled"), say(" by "), user(e.Facts.By), say(" at "), at(e.Time, clock), say(". Nothing was closed.")}
		case journal.Expired:
			return line{bold("Expired"), say(" at "), at(e.Time, clock), say(": %s. Nothing was closed.", e.Facts.Detail)}
		case journal.Reviewed, journal.Contested:
			l := line{bold("Reviewed"), say(" by "), user(e.Facts.By), say(", "), at(e.Time, dayTime)}
			if e.Kind == journal.Contested {
				l[0] = bold("Contested")
			}
			if e.Facts.Note != "" {
				return append(l, say(": %s", visibleLines(e.Facts.Note)))
			}
			return append(l, say("."))
		case journal.Answered:
			if e.Facts.Effect == string(zego.Unknown) {
				return line{bold("No clear answer from ZEGO"), say(" at "), at(e.Time, clock),
					say(" (%s). The room may or may not be closed; the bot will not call again, and looks who is in it.", e.Facts.Detail)}
			}
		}
	}
	return line{say("Recorded at "), at(entries[len(entries)-1].Time, clock), say(".")}
}

func endedLine(c journal.Case, e journal.Entry) line {
	late := ""
	if a := c.LastAnswer(); a.Late {
		late = ", by a late answer"
	}
	switch e.Facts.Outcome {
	case journal.StateClosed:
		a := c.LastAnswer()
		return line{bold("Closed by ZEGO"), say(" at "), at(a.At, clock), say(" after %s, %s%s.", took(a.Took), calls(c), late)}
	case journal.StateAbsent:
		if e.Facts.About != 0 {
			return line{bold("Nothing closed"), say(": this room was already closed by #%d while this case was waiting. No call was made.", e.Facts.About)}
		}
		return line{bold("Nothing closed"), say(": ZEGO has no such room%s. It is already gone, or the id is mistyped (ids are case-sensitive).", late)}
	case journal.StateFailed:
		return line{bold("Not closed"), say(" at "), at(e.Time, clock), say("%s: %s.", late, strings.TrimSuffix(e.Facts.Detail, "."))}
	default:
		l := append(line{bold("Not known"), say(" whether the room was closed: %s; ", unclearWords(c))}, lookWords(c)...)
		return append(l, say(". If it must be closed, press Try again on the card or send the command again."))
	}
}

// storyLine tells the rest: who asked and confirmed, what was seen, what ZEGO said.
func storyLine(c journal.Case, entries []journal.Entry) line {
	var l line
	add := func(spans ...span) {
		if len(l) > 0 {
			l = append(l, say(" "))
		}
		l = append(l, spans...)
	}
	if c.ConfirmedBy == "" {
		add(say("Asked by "), user(c.Requester), say(" at "), at(c.RequestedAt, clock), say("."))
	}
	undone, cause := 0, ""
	over := slices.ContainsFunc(entries, func(e journal.Entry) bool { return e.Kind == journal.Ended })
	for _, e := range entries {
		f := e.Facts
		switch e.Kind {
		case journal.Confirmed:
			if f.By == c.Requester {
				add(say("Asked and confirmed by "), user(f.By), say(" (confirmed "), at(e.Time, clock), say(")."))
			} else {
				add(say("Asked by "), user(c.Requester), say(", confirmed by "), user(f.By), say(" at "), at(e.Time, clock), say("."))
			}
		case journal.Answered:
			if final := c.State == journal.StateFailed && f.Call == c.Calls; f.Effect == string(zego.NotDone) && !final {
				undone, cause = undone+1, f.Detail
				continue
			}
			if over && f.Effect == string(zego.Unknown) { // otherwise the headline says it
				add(say("No clear answer from ZEGO at "), at(e.Time, clock), say(" (%s).", f.Detail))
			}
			if f.Code != nil {
				add(say("Code %d, RequestId %s.", *f.Code, visible(cut(f.RequestID, 64))))
			}
		case journal.Looked:
			if f.People != nil {
				add(say("Seen in the room at "), at(e.Time, clock), say(": %s.", people(*f.People)))
			} else {
				add(say("At "), at(e.Time, clock), say(" it could not be seen who is in the room (%s).", f.Missing))
			}
		}
	}
	if c.Before.People != nil && tellsAsking(c, entries) {
		add(say("In the room when asked: %s.", people(*c.Before.People)))
	}
	if undone > 0 {
		add(say("%s certainly not executed (last: %s).", were(undone), cause))
	}
	return l
}

func were(n int) string {
	if n == 1 {
		return "1 call was"
	}
	return fmt.Sprintf("%d calls were", n)
}

func calls(c journal.Case) string {
	n := 0
	for _, a := range c.Answers { // one for each call that may have left; a late one is a second word about its call
		if !a.Late {
			n++
		}
	}
	if n == 1 {
		return "1 call"
	}
	return fmt.Sprintf("%d calls", n)
}

// finePrint lets human eyes match the message to the journal.
func finePrint(p journal.Post, c journal.Case) line {
	return line{say("Case #%d, journal entries %d to %d, %.8s", c.Number, p.First, p.Last, p.Hash(c))}
}
