package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is where a case stands. States are words, so that stored ones outlive renumbering.
type State string

const (
	StatePending   State = "pending"   // waits for its requester to confirm
	StateConfirmed State = "confirmed" // waits for its turn
	StateClosing   State = "closing"   // a CloseRoom may be on its way
	StateClosed    State = "closed"    // ZEGO answered code 0
	StateAbsent    State = "absent"    // ZEGO has no such room: nothing closed
	StateFailed    State = "failed"    // certainly not closed
	StateUnknown   State = "unknown"   // ZEGO's answer was lost
	StateCancelled State = "cancelled"
	StateExpired   State = "expired"
)

// Open reports whether the case can still lead to a CloseRoom.
func (s State) Open() bool { return s == StatePending || s == StateConfirmed || s == StateClosing }

// step is what an entry of some kind does to its case.
type step struct {
	from  []State // states in which it may occur
	to    State   // the state it leads to; empty: the state stays, or Facts.Outcome says it
	tells bool    // calls for a post
	draws bool    // changes the card
}

// steps is the whole life of a case.
var steps = map[Kind]step{
	Requested: {from: []State{""}, to: StatePending, tells: true, draws: true},
	Offered:   {from: []State{StatePending}},
	Shown:     {from: []State{StatePending, StateConfirmed, StateClosing, StateClosed, StateAbsent, StateFailed, StateUnknown, StateCancelled, StateExpired}},
	Confirmed: {from: []State{StatePending}, to: StateConfirmed, draws: true},
	Cancelled: {from: []State{StatePending, StateConfirmed}, to: StateCancelled, tells: true, draws: true},
	Expired:   {from: []State{StatePending, StateConfirmed}, to: StateExpired, tells: true, draws: true},
	Attempted: {from: []State{StateConfirmed}, to: StateClosing, draws: true},
	Answered:  {from: []State{StateClosing, StateUnknown}, draws: true}, // tells if the answer is unclear
	Requeued:  {from: []State{StateClosing}, to: StateConfirmed, draws: true},
	Looked:    {from: []State{StateClosing}},
	Ended:     {from: []State{StateConfirmed, StateClosing, StateUnknown}, tells: true, draws: true},

	Reviewed:  {from: endStates, tells: true, draws: true},
	Contested: {from: endStates, tells: true, draws: true},
}

// endStates are the states of a case that is over.
var endStates = []State{StateClosed, StateAbsent, StateFailed, StateUnknown, StateCancelled, StateExpired}

// outcomes lists what Ended may lead to from each state: without a call nothing can have
// been closed, and only a late answer ends a case a second time.
var outcomes = map[State][]State{
	StateConfirmed: {StateAbsent, StateFailed},
	StateClosing:   {StateClosed, StateAbsent, StateFailed, StateUnknown},
	StateUnknown:   {StateClosed, StateAbsent, StateFailed},
}

// next returns the state to which an entry leads the case.
func (c *Case) next(k Kind, f Facts) (State, error) {
	return next(c.State, k, f, c.LastAnswer().Code)
}

// next returns the state to which an entry leads a case in state s, the last answer of
// which had this code.
func next(s State, k Kind, f Facts, code *int) (State, error) {
	st, ok := steps[k]
	if !ok || !slices.Contains(st.from, s) {
		return "", fmt.Errorf("a case that is %q cannot be %s", s, k)
	}
	if k == Ended {
		if !slices.Contains(outcomes[s], f.Outcome) {
			return "", fmt.Errorf("a case that is %q cannot end %q", s, f.Outcome)
		}
		if f.Outcome == StateClosed && (code == nil || *code != 0) {
			return "", errors.New("a case is closed only after ZEGO answered code 0")
		}
		return f.Outcome, nil
	}
	if st.to == "" {
		return s, nil
	}
	return st.to, nil
}

// Answer is what one CloseRoom came to.
type Answer struct {
	Call                               int // which CloseRoom of the case
	Effect, Message, RequestID, Detail string
	Code                               *int
	Took                               time.Duration
	At                                 time.Time
	Late                               bool
}

// Count is one look at who is in the room.
type Count struct {
	At      time.Time
	People  *int   // nil if it could not be had
	Missing string // why
}

// Review is what somebody who had no part in a case said about it afterwards.
type Review struct {
	By       string // Slack user id
	At       time.Time
	Contests bool // the reviewer objects
	Note     string
}

// Case is one request to close one room, as its entries tell it.
type Case struct {
	Number  int64
	State   State
	Entries []Entry

	Room, Reason, Sends string
	Requester           string // Slack user id
	RequesterName       string // decoration
	Team                string // the requester's workspace
	From, Channel       string // channel of the command; channel of the card
	Workspace           string // its address, for links
	RequestedAt         time.Time
	AgainOf             int64   // the case this one tries again
	Others              []int64 // other people's open cases for the room when it was requested

	Before      Count     // people in the room when the card was sent
	ShowBy      time.Time // the card must be on its way by then
	ConfirmBy   time.Time // pending: the deadline
	ConfirmedBy string
	ConfirmedAt time.Time
	CloseBy     time.Time // confirmed: not attempted later than this
	NotBefore   time.Time // confirmed: not attempted earlier than this
	Waits       string    // confirmed: why the last claim led to no call, if it did not
	Calls       int       // CloseRoom calls attempted
	Answers     []Answer
	Looks       []Count

	EndedAt time.Time
	EndedBy string    // who cancelled; empty if nobody did
	Why     string    // the stable word of how it ended
	Detail  string    // the same in a sentence
	About   int64     // the other case that decided this one
	AgainBy time.Time // unknown: until when Try again is offered
	AgainIs int64     // the case that Try again opened
	Reviews []Review  // oldest first; the last one counts
	Token   string    // what the buttons carry
	CardTS  string    // the card's ts, once known
}

// apply lets one more entry take effect.
func (c *Case) apply(e Entry) error {
	to, err := c.next(e.Kind, e.Facts)
	if err != nil {
		return err
	}
	f := e.Facts
	switch e.Kind {
	case Requested:
		c.Number = e.Case
		c.Room, c.Reason, c.Sends = f.Room, f.Reason, f.Sends
		c.Requester, c.RequesterName, c.Team = f.By, f.Name, f.Team
		c.From, c.Channel, c.Workspace = f.From, f.Channel, f.Workspace
		c.AgainOf, c.Others = f.AgainOf, f.Others
		c.RequestedAt, c.ShowBy, c.ConfirmBy = e.Time, f.Until.Time(), f.Until.Time()
	case Offered:
		c.Before = Count{At: e.Time, People: f.People, Missing: f.Missing}
		if f.Until != 0 {
			c.ConfirmBy = f.Until.Time()
		}
	case Confirmed:
		c.ConfirmedBy, c.ConfirmedAt, c.CloseBy = f.By, e.Time, f.Until.Time()
	case Attempted:
		c.Calls = f.Call
	case Answered:
		c.Answers = append(c.Answers, Answer{Call: f.Call, Effect: f.Effect, Code: f.Code, Message: f.Message, RequestID: f.RequestID,
			Detail: f.Detail, Took: time.Duration(f.Took) * time.Microsecond, At: e.Time, Late: f.Late})
	case Requeued:
		c.NotBefore, c.Waits = f.Turn.Time(), f.Detail
	case Looked:
		c.Looks = append(c.Looks, Count{At: e.Time, People: f.People, Missing: f.Missing})
	case Reviewed, Contested:
		c.Reviews = append(c.Reviews, Review{By: f.By, At: e.Time, Contests: e.Kind == Contested, Note: f.Note})
	case Cancelled, Expired, Ended:
		c.EndedAt, c.EndedBy, c.Why, c.Detail, c.About, c.AgainBy = e.Time, f.By, f.Why, f.Detail, f.About, f.Until.Time()
	}
	c.State = to
	c.Entries = append(c.Entries, e)
	return nil
}

// due is when the present state runs out; the zero time if it does not.
func (c *Case) due() time.Time {
	switch c.State {
	case StatePending:
		return c.ConfirmBy
	case StateConfirmed:
		return c.CloseBy
	}
	return time.Time{}
}

// LastAnswer returns the answer of the latest call, or the zero Answer.
func (c *Case) LastAnswer() Answer {
	if len(c.Answers) == 0 {
		return Answer{}
	}
	return c.Answers[len(c.Answers)-1]
}

// Reviewed reports whether somebody else has found the case right, and nobody has
// contested it since.
func (c *Case) Reviewed() bool {
	return len(c.Reviews) > 0 && !c.Reviews[len(c.Reviews)-1].Contests
}

// Link is the address of the case's card in Slack, or of a reply in its thread; empty if
// that is not known.
func (c *Case) Link(ts string) string {
	if ts == "" || c.Workspace == "" {
		return ""
	}
	link := c.Workspace + "archives/" + c.Channel + "/p" + strings.ReplaceAll(ts, ".", "")
	if ts != c.CardTS {
		link += "?thread_ts=" + c.CardTS + "&cid=" + c.Channel
	}
	return link
}

// Unanswered reports whether the latest attempt has no answer on record.
func (c *Case) Unanswered() bool {
	for i := len(c.Entries) - 1; i >= 0; i-- {
		switch c.Entries[i].Kind {
		case Answered:
			return false
		case Attempted:
			return true
		}
	}
	return false
}

// Between returns the case's entries numbered first to last, both included.
func (c *Case) Between(first, last int64) []Entry {
	var es []Entry
	for _, e := range c.Entries {
		if first <= e.Number && e.Number <= last {
			es = append(es, e)
		}
	}
	return es
}

// CanTryAgain reports whether a new case may be opened for this one by its button.
func (c *Case) CanTryAgain(now time.Time) bool {
	return c.State == StateUnknown && c.AgainIs == 0 && now.Before(c.AgainBy)
}
