package bot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zegoclose/internal/journal"
	"zegoclose/zego"

	"golang.org/x/time/rate"
)

const (
	lookLimit   = 3 * time.Second // for a look at who is in a room, when nobody waits for it
	looksPerSec = 8               // DescribeUserNum: ZEGO allows 10/s per AppID …
	looksInTest = 0.9             // … and 1/s in the test environment
)

// goneAfter5018 settles ZEGO's answer 5018, which its pages explain in two ways: with
// nobody left in the room it means that the room is gone.
func (c *closer) goneAfter5018(ctx context.Context, cs journal.Case, a closing) bool {
	seen, empty := c.lookAfter(ctx, cs.Room)
	if !empty {
		return false
	}
	c.pace.answered()
	c.record(ctx, cs, draft(journal.Answered, a.facts(cs, zego.Absent)), draft(journal.Looked, seen),
		draft(journal.Ended, journal.Facts{Outcome: journal.StateAbsent, Why: "no_such_room"}))
	return true
}

// unclear deals with a call that may or may not have been executed: never another call, but
// two looks at the room, then the outcome unknown. If the answer is still out, late delivers
// it, and it counts.
func (c *closer) unclear(ctx context.Context, cs journal.Case, a closing, late <-chan closing, free func()) {
	f := a.facts(cs, zego.Unknown)
	c.Log.Warn("no clear answer from ZEGO: the bot will not call again, it looks", "case", cs.Number, "cause", f.Detail)
	cs, ok := c.record(ctx, cs, draft(journal.Answered, f))
	if !ok {
		return
	}
	free() // the looks do not occupy the calls
	c.investigate(ctx, cs, late)
}

// investigate looks who is in the room, as often as has not been done yet, and ends the
// case as unknown, unless the late answer comes first.
func (c *closer) investigate(ctx context.Context, cs journal.Case, late <-chan closing) {
	unclearAt := cs.LastAnswer().At
	for len(cs.Looks) < len(c.LookAfter) {
		select {
		case a := <-late:
			if c.lateAnswer(ctx, cs, a) {
				return
			}
			late = nil
			continue // the look keeps its time
		case <-time.After(unclearAt.Add(c.LookAfter[len(cs.Looks)]).Sub(c.now())):
		case <-c.stopping:
			return // the looks go on after the restart
		}
		f, _ := c.lookAfter(ctx, cs.Room)
		var ok bool
		if cs, ok = c.record(ctx, cs, draft(journal.Looked, f)); !ok {
			return
		}
	}
	cs, ok := c.record(ctx, cs, draft(journal.Ended, journal.Facts{
		Outcome: journal.StateUnknown, Why: "no_clear_answer", Detail: unclearWords(cs),
		Until: journal.MicrosOf(c.now().Add(c.ConfirmTimeout)),
	}))
	if !ok || late == nil {
		return
	}
	select {
	case a := <-late:
		c.lateAnswer(ctx, cs, a)
	case <-c.stopping:
	}
}

// lateAnswer records an answer that came after the call had been given up as unclear, if
// it is clear.
func (c *closer) lateAnswer(ctx context.Context, cs journal.Case, a closing) bool {
	effect := zego.EffectOf(a.err)
	if effect == zego.Unknown {
		return false
	}
	f := a.facts(cs, effect)
	f.Late = true
	c.record(ctx, cs, draft(journal.Answered, f), draft(journal.Ended, outcome(effect, a)))
	return true
}

// inherit takes over what a process that died has left: calls that may have been made.
func (c *closer) inherit(ctx context.Context) error {
	cases, err := c.Journal.Unfinished(ctx)
	if err != nil || len(cases) == 0 {
		return err
	}
	c.Log.Warn("calls were under way when the bot stopped; looking what became of them", "cases", len(cases))
	c.calls.Go(func() {
		defer c.recoverPanic("taking over closings")
		select { // a call that had just left may still be carried out
		case <-time.After(c.ZegoTimeout):
		case <-c.stopping:
			return
		}
		for _, cs := range cases {
			c.calls.Go(func() {
				defer c.recoverPanic("taking over a closing", "case", cs.Number)
				ctx := context.WithoutCancel(ctx)
				if cs.Unanswered() {
					var ok bool
					f := closing{detail: "the bot stopped while the call was under way"}.facts(cs, zego.Unknown)
					if cs, ok = c.record(ctx, cs, draft(journal.Answered, f)); !ok {
						return
					}
				}
				c.investigate(ctx, cs, nil)
			})
		}
	})
	return nil
}

// lookRate keeps to ZEGO's limit on DescribeUserNum.
func lookRate(test *bool) *rate.Limiter {
	if test != nil && *test {
		return rate.NewLimiter(looksInTest, 1)
	}
	return rate.NewLimiter(looksPerSec, 2)
}

// look asks ZEGO who is in the room, and says openly if that cannot be had within limit.
func (b *Bot) look(ctx context.Context, room string, limit time.Duration) journal.Facts {
	n, err := b.count(ctx, room, limit)
	if err != nil {
		return journal.Facts{Missing: missing(err)}
	}
	people := n.People()
	return journal.Facts{People: &people}
}

// lookAfter is look for a call without a clear answer; it also reports whether nobody at
// all is in the room, service users included.
func (b *Bot) lookAfter(ctx context.Context, room string) (f journal.Facts, empty bool) {
	n, err := b.count(ctx, room, lookLimit)
	if err != nil {
		return journal.Facts{Missing: missing(err)}, false
	}
	people := n.People()
	return journal.Facts{People: &people}, n.UserCount == 0
}

func (b *Bot) count(ctx context.Context, room string, limit time.Duration) (zego.UserNum, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := b.looks.Wait(ctx); err != nil {
		return zego.UserNum{}, errBusy
	}
	began := b.now()
	ns, err := b.Zego.DescribeUserNum(ctx, room)
	b.Metrics.ZegoCall("DescribeUserNum", b.now().Sub(began), err)
	if err != nil {
		return zego.UserNum{}, err
	}
	for _, n := range ns {
		if n.RoomID == room {
			return n, nil
		}
	}
	return zego.UserNum{}, errors.New("ZEGO's answer does not name the room")
}

var errBusy = errors.New("too many rooms to look at")

func missing(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "ZEGO did not answer in time"
	}
	if e, ok := errors.AsType[*zego.Error](err); ok {
		return fmt.Sprintf("ZEGO answered code %d", e.Code)
	}
	if _, ok := errors.AsType[*zego.TransportError](err); ok {
		return "ZEGO could not be reached"
	}
	return err.Error()
}
