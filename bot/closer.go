package bot

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"zegoclose/authz"
	"zegoclose/internal/journal"
	"zegoclose/zego"
)

const (
	maxCalls     = 8               // CloseRoom calls awaited at once: a slow answer must not hold up the next room
	claimLife    = 5 * time.Second // a claim not followed by its call within this is given up
	lateLimit    = time.Minute     // how long an answer may be late and still count
	roomSlowdown = 2 * time.Second // first pause of one case whose room is called too fast
)

// closer makes the calls that cannot be undone: one claim, one call, one answer.
type closer struct {
	*Bot
	pace  *pace
	slots chan struct{}
	calls sync.WaitGroup
}

// closeRooms closes what is confirmed until ctx ends, then waits for the calls under way
// to be answered and recorded.
func (b *Bot) closeRooms(ctx context.Context) error {
	c := &closer{Bot: b, pace: b.pace, slots: make(chan struct{}, maxCalls)}
	c.pace.written(b.now()) // another process may have called just before
	if err := c.inherit(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	select {
	case <-b.known: // or it would take everybody for a stranger
	case <-ctx.Done():
		c.calls.Wait()
		return nil
	}
	changed := b.Journal.Watch(journal.Closings)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		again, err := c.next(ctx)
		if err != nil && ctx.Err() == nil {
			b.trouble.Error("looking for a case to close failed", "", "err", err)
			sleep(ctx, time.Second)
		} else if err == nil {
			b.trouble.Over("looking for a case to close failed", "")
		}
		resetTimer(timer, again, b.now(), lookEvery)
		select {
		case <-ctx.Done():
			c.calls.Wait()
			return nil
		case <-changed:
		case <-timer.C:
		}
	}
}

// next closes what can be closed now and returns when to look again.
func (c *closer) next(ctx context.Context) (again time.Time, err error) {
	for ctx.Err() == nil {
		if at := c.pace.at(); at.After(c.now()) {
			return at, nil
		}
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return time.Time{}, nil
		}
		cs, ok, again, err := c.Journal.Claim(ctx)
		if err != nil || !ok {
			<-c.slots
			return again, err
		}
		left := make(chan struct{})
		c.calls.Go(func() { c.attempt(ctx, cs, left) })
		<-left
	}
	return time.Time{}, nil
}

// attempt carries out one claim. It closes left as soon as the next call may be thought of.
func (c *closer) attempt(ctx context.Context, cs journal.Case, left chan struct{}) {
	var once sync.Once
	leave := func() { once.Do(func() { close(left) }) }
	free := sync.OnceFunc(func() { leave(); <-c.slots })
	defer free()
	defer c.recoverPanic("closing a room", "case", cs.Number)

	ctx = context.WithoutCancel(ctx)                       // what has been claimed is carried to its end
	if _, err := c.mayShow(ctx, cs, callAge); err != nil { // decide goes by what this has learned
		c.wait(ctx, cs, "channel_unknown", "Slack does not tell whether the channel is shared with another company")
		return
	}
	who := journal.Person{ID: cs.ConfirmedBy, Team: cs.Team}
	switch d := c.decide(authz.Close, who, cs.From, cs.Requester, callAge); {
	case d.Allowed:
	case d.Reason == authz.GroupsUnknown:
		c.wait(ctx, cs, string(d.Reason), d.Record)
		return
	default:
		c.end(ctx, cs, journal.Facts{Outcome: journal.StateFailed, Why: string(d.Reason), Detail: "not attempted: " + d.Record})
		return
	}
	if claimed := cs.Entries[len(cs.Entries)-1].Time; c.now().Sub(claimed) > claimLife {
		c.wait(ctx, cs, "stalled", "the bot was held up, and the call did not leave")
		return
	}

	start := c.now()
	if cs.Calls == 1 {
		c.Metrics.Waited(start.Sub(cs.ConfirmedAt))
	}
	answers := make(chan closing, 1) // the one answer, however late
	callCtx, hangUp := context.WithTimeout(ctx, lateLimit)
	defer hangUp()
	var written atomic.Bool
	c.calls.Go(func() {
		a := closing{err: errBrokenOff, detail: errBrokenOff.Error()}
		defer func() { answers <- a }()
		defer c.recoverPanic("calling ZEGO", "case", cs.Number)
		a = c.call(callCtx, cs, start, func() { written.Store(true); leave() })
	})
	var a closing
	select {
	case a = <-answers:
	case <-time.After(c.ZegoTimeout):
		if written.Load() {
			c.unclear(ctx, cs, closing{detail: fmt.Sprintf("no answer within %v", c.ZegoTimeout), took: c.now().Sub(start)}, answers, free)
			return
		}
		hangUp() // nothing has left yet, and nothing may any more
		a = <-answers
		switch t, ok := errors.AsType[*zego.TransportError](a.err); {
		case !ok:
		case !t.Written:
			a.detail = fmt.Sprintf("ZEGO could not be reached (no connection within %v)", c.ZegoTimeout)
		case written.Load(): // it left at the last moment
			a.detail = fmt.Sprintf("no answer within %v", c.ZegoTimeout)
		default:
			a.detail = fmt.Sprintf("the call did not leave as a whole within %v", c.ZegoTimeout)
		}
	}
	c.settle(ctx, cs, a, free)
}

// errBrokenOff is all that is known of a call that panicked: the outcome is unclear.
var errBrokenOff = errors.New("the call broke off inside the bot")

// wait gives the claim up, soon after a start or while Slack is down: no call was made, and
// the case waits for another turn.
func (c *closer) wait(ctx context.Context, cs journal.Case, why, detail string) {
	c.record(ctx, cs, draft(journal.Requeued, journal.Facts{Call: cs.Calls, Why: why, Detail: detail,
		Turn: journal.MicrosOf(c.now().Add(backoff(cs.Calls, time.Second, maxPause)))}))
}

// closing is what one CloseRoom came to.
type closing struct {
	answer zego.Answer
	err    error
	took   time.Duration
	detail string // what happened, in words; set where err does not say it
}

// call makes the call. Its answer counts for much longer than anybody waits for it.
func (c *closer) call(ctx context.Context, cs journal.Case, start time.Time, left func()) closing {
	answer, err := c.Zego.CloseRoom(ctx, zego.CloseRoomRequest{
		RoomID: cs.Room, CustomReason: cs.Sends, RoomCloseCallback: c.RoomCloseCallback,
		OnWritten: func() {
			c.pace.written(c.now())
			left()
		},
	})
	if t, ok := errors.AsType[*zego.TransportError](err); ok && t.Written {
		c.pace.written(c.now()) // part of it may have left
	}
	took := c.now().Sub(start)
	c.Metrics.ZegoCall("CloseRoom", took, err)
	return closing{answer: answer, err: err, took: took}
}

// settle records an answer and what follows from it.
func (c *closer) settle(ctx context.Context, cs journal.Case, a closing, free func()) {
	effect := zego.EffectOf(a.err)
	if effect == zego.Unknown {
		if e, ok := errors.AsType[*zego.Error](a.err); ok && e.Code == zego.CodeRoomDestroyed && c.goneAfter5018(ctx, cs, a) {
			return
		}
		c.unclear(ctx, cs, a, nil, free)
		return
	}
	answered := draft(journal.Answered, a.facts(cs, effect))
	if retry := c.retryFacts(cs, a.err); effect == zego.NotDone && retry != nil {
		c.record(ctx, cs, answered, draft(journal.Requeued, *retry))
		return
	}
	c.pace.answered()
	c.record(ctx, cs, answered, draft(journal.Ended, outcome(effect, a)))
}

// outcome is how a case ends with an answer that is clear.
func outcome(effect zego.Effect, a closing) journal.Facts {
	switch effect {
	case zego.Done:
		return journal.Facts{Outcome: journal.StateClosed, Why: "closed"}
	case zego.Absent:
		return journal.Facts{Outcome: journal.StateAbsent, Why: "no_such_room"}
	}
	return journal.Facts{Outcome: journal.StateFailed, Why: "refused_by_zego", Detail: a.words()}
}

// retryFacts says when a call that certainly was not executed is tried again, or nil if
// trying again is of no use.
func (c *closer) retryFacts(cs journal.Case, err error) *journal.Facts {
	f := journal.Facts{Why: "not_executed"}
	switch zego.RetryOf(err) {
	case zego.SlowDown, zego.Later:
		c.pace.slowDown(c.now())
	case zego.SlowRoom:
		same := 1
		for _, a := range cs.Answers {
			if a.Code != nil && zego.Lookup(*a.Code).Retry == zego.SlowRoom {
				same++
			}
		}
		f.Turn = journal.MicrosOf(c.now().Add(backoff(same, roomSlowdown, maxPause)))
	case zego.Resign:
		for _, a := range cs.Answers {
			if a.Code != nil && zego.Lookup(*a.Code).Retry == zego.Resign {
				return nil // a new signature was tried already
			}
		}
	default:
		return nil
	}
	return &f
}

// facts are what an answer leaves in the journal.
func (a closing) facts(cs journal.Case, effect zego.Effect) journal.Facts {
	f := journal.Facts{Call: cs.Calls, Effect: string(effect), Took: a.took.Microseconds(), RequestID: a.answer.RequestID, Message: a.answer.Message}
	if a.err == nil && a.detail == "" {
		zero := 0
		f.Code = &zero
		return f
	}
	f.Detail = a.words()
	if e, ok := errors.AsType[*zego.Error](a.err); ok {
		f.Code, f.Message, f.RequestID = &e.Code, e.Message, e.RequestID
	}
	return f
}

// words say to people what an answer means, and what to do.
func (a closing) words() string {
	if a.detail != "" || a.err == nil {
		return a.detail
	}
	if e, ok := errors.AsType[*zego.Error](a.err); ok {
		info := zego.Lookup(e.Code)
		return fmt.Sprintf("ZEGO answered code %d, %s; %s", e.Code, info.Meaning, info.Remedy)
	}
	if t, ok := errors.AsType[*zego.TransportError](a.err); ok {
		if !t.Written {
			return "ZEGO could not be reached (" + visible(t.Cause) + ")"
		}
		return visible(t.Cause)
	}
	return visible(a.err.Error())
}

func draft(k journal.Kind, f journal.Facts) journal.Draft { return journal.Draft{Kind: k, Facts: f} }

// end records that a claimed case ends without a call.
func (c *closer) end(ctx context.Context, cs journal.Case, f journal.Facts) {
	c.record(ctx, cs, draft(journal.Ended, f))
}

// record writes entries about a case that this process alone works on, and does not give
// up: what has been seen of a call must not be lost because the disk is full for a while.
// It returns false if the bot is stopping, or if the entries are there already.
func (c *closer) record(ctx context.Context, cs journal.Case, drafts ...journal.Draft) (journal.Case, bool) {
	var after journal.Case
	err := c.insist(ctx, "recording what became of a call", func(ctx context.Context) (err error) {
		after, err = c.Journal.Record(ctx, cs.Number, cs.State, drafts...)
		return err
	})
	if err != nil {
		c.Log.Error("what became of a call is not recorded", "case", cs.Number, "err", err)
		return cs, false
	}
	return after, true
}
