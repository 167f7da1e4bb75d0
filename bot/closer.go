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

	"golang.org/x/time/rate"
)

const (
	maxCalls     = 8               // CloseRoom calls awaited at once: a slow answer must not hold up the next room
	claimLife    = 5 * time.Second // a claim not followed by its call within this is given up
	lateLimit    = time.Minute     // how long an answer may be late and still count
	maxSlowdown  = 8 * time.Second // longest pause while ZEGO cannot be reached or calls are too fast
	roomSlowdown = 2 * time.Second // first pause of one case whose room is called too fast
	lookLimit    = 3 * time.Second // for a look at who is in a room, when nobody waits for it
	looksPerSec  = 8               // DescribeUserNum: ZEGO allows 10/s per AppID …
	looksInTest  = 0.9             // … and 1/s in the test environment
)

// closer makes the calls that cannot be undone: one claim, one call, one answer.
type closer struct {
	*Bot
	pace  *pace
	slots chan struct{}
	calls sync.WaitGroup
}

// pace is ZEGO's limit of one CloseRoom a second per AppID. The next call may leave one
// interval after the one before was written to the wire, and later while ZEGO says that
// this is too fast, or cannot be reached.
type pace struct {
	mu       sync.Mutex
	interval time.Duration
	next     time.Time
	slow     int // how often in a row the last calls came to nothing
}

func (p *pace) at() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// written notes that a call left at t.
func (p *pace) written(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if next := t.Add(p.interval); next.After(p.next) {
		p.next = next
	}
}

// slowDown makes every case wait: 1, 2, 4, 8 s.
func (p *pace) slowDown(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow++
	if next := now.Add(backoff(p.slow, time.Second, maxSlowdown)); next.After(p.next) {
		p.next = next
	}
}

func (p *pace) answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = 0
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

	ctx = context.WithoutCancel(ctx) // what has been claimed is carried to its end
	who := journal.Person{ID: cs.ConfirmedBy, Team: cs.Team}
	switch d := c.decide(authz.Close, who, cs.From, cs.Requester, callAge); {
	case d.Allowed:
	case d.Reason == authz.GroupsUnknown: // soon after a start, or while Slack is down: the case waits
		pause := backoff(cs.Calls, time.Second, maxPause)
		c.record(ctx, cs, draft(journal.Requeued, journal.Facts{Why: string(d.Reason), Detail: "not attempted yet: " + d.Record,
			Turn: journal.MicrosOf(c.now().Add(pause))}))
		return
	default:
		c.end(ctx, cs, journal.Facts{Outcome: journal.StateFailed, Why: string(d.Reason), Detail: "not attempted: " + d.Record})
		return
	}
	if claimed := cs.Entries[len(cs.Entries)-1].Time; c.now().Sub(claimed) > claimLife {
		c.record(ctx, cs, draft(journal.Requeued, journal.Facts{Why: "stalled", Detail: "the bot was held up; the call did not leave"}))
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
		answers <- c.call(callCtx, cs, start, func() { written.Store(true); leave() })
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
		if t, ok := errors.AsType[*zego.TransportError](a.err); ok {
			a.detail = fmt.Sprintf("ZEGO could not be reached (no connection within %v)", c.ZegoTimeout)
			if t.Written {
				a.detail = fmt.Sprintf("the call did not leave as a whole within %v", c.ZegoTimeout)
			}
		}
	}
	c.settle(ctx, cs, a, free)
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
	if zego.RetryOf(a.err) != zego.Later {
		c.pace.answered()
	}
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
	case zego.SlowDown:
		c.pace.slowDown(c.now())
	case zego.Later:
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

// turn is when the CloseRoom of a confirmed case is expected to leave.
func (b *Bot) turn(ctx context.Context, c journal.Case) time.Time {
	if c.State != journal.StateConfirmed {
		return time.Time{}
	}
	ahead, err := b.Journal.Ahead(ctx, c)
	if err != nil {
		return time.Time{}
	}
	at := b.now()
	for _, t := range []time.Time{b.pace.at(), c.NotBefore} {
		if t.After(at) {
			at = t
		}
	}
	return at.Add(time.Duration(ahead) * b.CloseInterval)
}
