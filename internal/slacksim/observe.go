package slacksim

import (
	"context"
	"sync/atomic"
	"time"
)

// EventKind says what happened.
type EventKind string

// The instants an observer is told about. The first five are exact: the observer runs before anything that follows.
const (
	EnvelopeSent   EventKind = "envelope_sent"   // written to a socket; its ack is not looked at before the observer returns
	AckReceived    EventKind = "ack_received"    // read from a socket, before it has any effect
	RequestArrived EventKind = "request_arrived" // a Web API or response_url call, before its effect
	EffectDone     EventKind = "effect_done"     // the call has taken effect, or was refused (Error), before anything is answered
	Answered       EventKind = "answered"        // the answer is written

	ConnectionOpened EventKind = "connection_opened" // hello is out
	ConnectionClosed EventKind = "connection_closed"
	MessagePosted    EventKind = "message_posted"
	MessageChanged   EventKind = "message_changed"
	MessageDeleted   EventKind = "message_deleted"
	EphemeralShown   EventKind = "ephemeral_shown"
	DeliverySettled  EventKind = "delivery_settled" // a command or click has its outcome
	Violated         EventKind = "violated"
	WorldChanged     EventKind = "world_changed" // people, channels, groups, memberships
)

// An Event is one thing that happened. Fields that make no sense for its kind are empty.
type Event struct {
	Seq      uint64    `json:"seq"`
	Kind     EventKind `json:"kind"`
	At       time.Time `json:"at"`
	Conn     int       `json:"conn,omitempty"`
	Envelope string    `json:"envelope,omitempty"`
	Type     string    `json:"type,omitempty"`   // of the envelope
	Method   string    `json:"method,omitempty"` // Web API method, or "response_url"
	Channel  string    `json:"channel,omitempty"`
	TS       string    `json:"ts,omitempty"`
	ThreadTS string    `json:"thread_ts,omitempty"`
	User     string    `json:"user,omitempty"`
	Status   int       `json:"status,omitempty"` // HTTP status of an answer
	Error    string    `json:"error,omitempty"`  // Slack's error code of an answer, a delivery's failure
	Text     string    `json:"text,omitempty"`   // for people
	Missed   int       `json:"missed,omitempty"` // events this subscriber was too slow for, just before this one
}

type observers struct {
	seq         uint64
	hooks       atomic.Pointer[[]*func(Event)]
	pending     []Event // noted under mu, published by unlock
	changed     chan struct{}
	waiting     int
	subscribers map[*subscriber]struct{}
}

type subscriber struct {
	events chan Event
	missed int
}

// OnEvent has f called for each event, synchronously, in the goroutine where it happens and without a lock held, so f
// may use the workspace, but not close it. Different goroutines may call f at once. The returned function ends it.
func (w *Workspace) OnEvent(f func(Event)) (remove func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	hook := &f
	var hooks []*func(Event)
	if old := w.hooks.Load(); old != nil {
		hooks = append(hooks, *old...)
	}
	hooks = append(hooks, hook)
	w.hooks.Store(&hooks)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		var rest []*func(Event)
		for _, h := range *w.hooks.Load() {
			if h != hook {
				rest = append(rest, h)
			}
		}
		w.hooks.Store(&rest)
	}
}

// Subscribe returns a channel of events. A reader slower than its buffer loses events and is told how many by the
// next one's Missed. The channel is never closed; cancel ends the flow.
func (w *Workspace) Subscribe(buffer int) (events <-chan Event, cancel func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &subscriber{events: make(chan Event, max(buffer, 1))}
	if w.subscribers == nil {
		w.subscribers = map[*subscriber]struct{}{}
	}
	w.subscribers[s] = struct{}{}
	return s.events, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.subscribers, s)
	}
}

// Wait returns nil as soon as cond holds. It looks again after each change of the workspace, never on a timer, so cond
// should ask about the workspace only; it is called without a lock held.
func (w *Workspace) Wait(ctx context.Context, cond func() bool) error {
	w.mu.Lock()
	w.waiting++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.waiting--
		w.mu.Unlock()
	}()
	for {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// note remembers an event until unlock publishes it. The caller holds mu.
func (w *Workspace) note(e Event) { w.pending = append(w.pending, e) }

// unlock releases mu, wakes those who wait and publishes what was noted.
func (w *Workspace) unlock() {
	events := w.pending
	w.pending = nil
	if len(events) > 0 && w.waiting > 0 {
		close(w.changed)
		w.changed = make(chan struct{})
	}
	for i := range events {
		w.stamp(&events[i])
	}
	w.mu.Unlock()
	for _, e := range events {
		w.callHooks(e)
	}
}

// publish tells everybody about an event now. The caller does not hold mu.
func (w *Workspace) publish(e Event) {
	w.mu.Lock()
	if w.waiting > 0 {
		close(w.changed)
		w.changed = make(chan struct{})
	}
	w.stamp(&e)
	w.mu.Unlock()
	w.callHooks(e)
}

// stamp numbers and dates an event and hands it to subscribers, in order. The caller holds mu.
func (w *Workspace) stamp(e *Event) {
	w.seq++
	e.Seq = w.seq
	e.At = w.now()
	for s := range w.subscribers {
		e.Missed = s.missed
		select {
		case s.events <- *e:
			s.missed = 0
		default:
			s.missed++
		}
	}
	e.Missed = 0
}

func (w *Workspace) callHooks(e Event) {
	if hooks := w.hooks.Load(); hooks != nil {
		for _, h := range *hooks {
			(*h)(e)
		}
	}
}

// watched reports whether exact instants matter to anybody.
func (w *Workspace) watched() bool {
	hooks := w.hooks.Load()
	return hooks != nil && len(*hooks) > 0
}
