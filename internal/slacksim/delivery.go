package slacksim

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// A Delivery is one command, click or event on its way to the app.
type Delivery struct {
	w        *Workspace
	id       string // envelope id
	kind     string // envelope type
	accepts  bool   // accepts_response_payload
	frame    []byte
	begun    time.Time // when the person pressed enter
	sendings []*sending
	stop     func() // of the timeout
	done     chan struct{}
	outcome  Outcome

	user    string
	reply   func(json.RawMessage) (*Message, *apiError) // shows an ack payload; nil = nothing to show
	onFail  func(reason string)                         // shows a failure to the person; nil = nothing to show
	events  *eventRetry
	command string // for the log
}

// A sending is one time an envelope went out on one connection.
type sending struct {
	conn  *conn
	at    time.Time
	acked bool
	told  chan struct{} // closed when observers know of it
}

// Result is how a delivery ended.
type Result string

// How a delivery ends.
const (
	Acked            Result = "acked"
	OperationTimeout Result = "operation_timeout" // the sender of a command is told so
	DispatchFailed   Result = "dispatch_failed"   // there was no socket; the sender of a command is told so
	Warning          Result = "warning"           // the sign at a button, for either reason
	Refused          Result = "refused"           // Slack's client did not even send it
)

// An Outcome is what became of a delivery.
type Outcome struct {
	Result   Result        `json:"result"`
	Reason   string        `json:"reason,omitempty"` // of a refusal or a warning
	Envelope string        `json:"envelope,omitempty"`
	Type     string        `json:"type,omitempty"`
	User     string        `json:"user,omitempty"`
	What     string        `json:"what,omitempty"` // the command typed or the action clicked
	Begun    time.Time     `json:"begun"`          // real time
	Sent     time.Time     `json:"sent"`           // first sending; zero if it never went out
	Latency  time.Duration `json:"latency"`        // from that to the ack, as Slack saw it
	SentOn   int           `json:"sent_on,omitempty"`
	AckedOn  int           `json:"acked_on,omitempty"`
	Sendings int           `json:"sendings"`        // how often it went out
	Reply    *Message      `json:"reply,omitempty"` // what the ack's payload showed
}

// Done is closed when the outcome is known.
func (d *Delivery) Done() <-chan struct{} { return d.done }

// Wait waits for the outcome.
func (d *Delivery) Wait(ctx context.Context) (Outcome, error) {
	select {
	case <-d.done:
		return d.Outcome(), nil
	case <-ctx.Done():
		return Outcome{}, context.Cause(ctx)
	}
}

// Outcome returns what is known so far.
func (d *Delivery) Outcome() Outcome {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	return d.snapshot()
}

func (d *Delivery) snapshot() Outcome {
	o := d.outcome
	o.Envelope, o.Type, o.User, o.What, o.Begun, o.Sendings = d.id, d.kind, d.user, d.command, d.begun, len(d.sendings)
	if len(d.sendings) > 0 {
		o.Sent = d.sendings[0].at
		o.SentOn = d.sendings[0].conn.id
	}
	return o
}

// Bounds of what is remembered about deliveries.
const (
	maxSettled = 10_000 // to tell a late ack from nonsense
	maxLog     = 1_000  // for Deliveries
)

// Deliveries lists the latest deliveries, oldest first, at most a thousand.
func (w *Workspace) Deliveries() []Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]Outcome, 0, len(w.log))
	for _, d := range w.log {
		list = append(list, d.snapshot())
	}
	return list
}

// Dispatch says how an envelope travels.
type Dispatch struct {
	Duplicate int           // so many further times, each on any connection
	Delay     time.Duration // it reaches the app this much later; the person's 3 seconds run all the same
	Conn      int           // on this connection; 0 = any
}

// dispatch starts a delivery. The caller holds mu; run what it returns after unlocking.
func (w *Workspace) dispatch(d *Delivery, payload any, extra answer, how Dispatch) (begin func()) {
	d.w, d.done, d.begun = w, make(chan struct{}), time.Now()
	d.id = w.uuid()
	envelope := answer{"envelope_id": d.id, "type": d.kind, "accepts_response_payload": d.accepts, "payload": payload}
	for key, value := range extra {
		envelope[key] = value
	}
	body, err := marshal(envelope)
	if err != nil {
		panic("slacksim: payload: " + err.Error())
	}
	d.frame = appendFrame(nil, opText, body)
	if len(w.log) >= 2*maxLog {
		w.log = slices.Delete(w.log, 0, maxLog)
	}
	w.log = append(w.log, d)
	if w.closed {
		w.settle(d, DispatchFailed, "the workspace was closed")
		return func() {}
	}
	w.open[d.id] = d
	d.stop = w.after(w.cfg.AckTimeout, func() {
		w.mu.Lock()
		defer w.unlock()
		w.settle(d, d.failure(), "operation_timeout")
	})
	if how.Delay > 0 {
		w.after(how.Delay, func() { w.transmit(d, how) })
		return func() {}
	}
	return func() { w.transmit(d, how) }
}

// failure is how a delivery ends that got no ack.
func (d *Delivery) failure() Result {
	if d.kind == "interactive" {
		return Warning
	}
	return OperationTimeout
}

// transmit sends an envelope, and its duplicates.
func (w *Workspace) transmit(d *Delivery, how Dispatch) {
	for range 1 + how.Duplicate {
		if w.transmitOnce(d, how.Conn) {
			continue
		}
		w.mu.Lock()
		if len(d.sendings) == 0 {
			result := DispatchFailed
			if d.kind == "interactive" {
				result = Warning
			}
			w.settle(d, result, "dispatch_failed")
		}
		w.unlock()
		return
	}
}

// transmitOnce sends an envelope to one connection and reports whether there was one. Ghosts and half-open sockets get
// their share: it is lost.
func (w *Workspace) transmitOnce(d *Delivery, on int) bool {
	for {
		w.mu.Lock()
		var ready []*conn
		for _, c := range w.conns {
			if (on == 0 || c.id == on) && c.live && !c.closing {
				ready = append(ready, c)
			}
		}
		if len(ready) == 0 {
			w.mu.Unlock()
			return false
		}
		slices.SortFunc(ready, func(a, b *conn) int { return a.id - b.id })
		c := ready[w.rng.IntN(len(ready))]
		s := &sending{conn: c, at: time.Now(), told: make(chan struct{})}
		d.sendings = append(d.sendings, s)
		lost := c.ghost || c.halfOpen
		behind := c.behind
		c.behind = ""
		w.mu.Unlock()
		if lost {
			close(s.told)
			return true
		}
		var err error
		if behind != "" {
			err = w.dismiss(c, behind, 0, d.frame)
		} else {
			err = w.send(c, d.frame)
		}
		if err == nil {
			w.publish(Event{Kind: EnvelopeSent, Conn: c.id, Envelope: d.id, Type: d.kind, User: d.user, Text: d.command})
			close(s.told)
			return true
		}
		close(s.told)
		w.mu.Lock()
		c.live = false
		d.sendings = slices.DeleteFunc(d.sendings, func(other *sending) bool { return other == s })
		w.mu.Unlock()
	}
}

// Again sends the same envelope once more, whatever became of it: Slack is said to do so when a socket died unacked.
func (d *Delivery) Again(how Dispatch) {
	if d.frame == nil {
		return // it was refused
	}
	d.w.mu.Lock()
	if how.Delay > 0 {
		d.w.after(how.Delay, func() { d.w.transmit(d, how) })
	}
	d.w.mu.Unlock()
	if how.Delay <= 0 {
		d.w.transmit(d, how)
	}
}

// settle ends a delivery once. The caller holds mu.
func (w *Workspace) settle(d *Delivery, result Result, reason string) {
	if d.outcome.Result != "" {
		return
	}
	d.outcome.Result = result
	if result != Acked && reason != string(result) {
		d.outcome.Reason = reason
	}
	if d.stop != nil {
		d.stop()
	}
	if d.id != "" {
		delete(w.open, d.id)
		w.settled[d.id] = d
		w.oldest = append(w.oldest, d.id)
		if len(w.oldest) > maxSettled {
			for _, id := range w.oldest[:maxSettled/2] {
				delete(w.settled, id)
			}
			w.oldest = slices.Clone(w.oldest[maxSettled/2:])
		}
	}
	if result != Acked && result != Refused && d.onFail != nil {
		d.onFail(reason)
	}
	e := Event{Kind: DeliverySettled, Envelope: d.id, Type: d.kind, User: d.user, Text: d.command, Conn: d.outcome.AckedOn}
	if result != Acked {
		e.Error = string(result)
	}
	w.note(e)
	close(d.done)
	if d.events != nil && result != Acked {
		w.retryEvent(d)
	}
}

// buttonState is what shows at the button that was clicked.
func (d *Delivery) buttonState() ButtonState {
	switch d.outcome.Result {
	case "":
		return Pending
	case Acked:
		return Pressed
	}
	return Warned
}

// acknowledge takes a text frame from the client, which can only be an ack.
func (w *Workspace) acknowledge(c *conn, raw []byte) {
	var ack struct {
		EnvelopeID string          `json:"envelope_id"`
		Payload    json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(raw, &ack); err != nil {
		w.breach(BadFrame, c, "a frame that is not JSON")
		return
	}
	w.mu.Lock()
	d := w.open[ack.EnvelopeID]
	if d == nil {
		d = w.settled[ack.EnvelopeID]
	}
	var told chan struct{}
	if d != nil {
		for _, s := range d.sendings {
			if s.conn == c && !s.acked {
				told = s.told
				break
			}
		}
	}
	w.mu.Unlock()
	if told != nil {
		<-told
	}
	now := time.Now()
	if w.watched() {
		w.publish(Event{Kind: AckReceived, Conn: c.id, Envelope: ack.EnvelopeID})
	}
	w.mu.Lock()
	defer w.unlock()
	if d == nil {
		w.violate(UnknownAck, c.id, "an ack of %q, which was never sent", ack.EnvelopeID)
		return
	}
	w.weigh(c, d, ack.Payload, now)
}

// weigh judges an ack and lets it count. The caller holds mu.
func (w *Workspace) weigh(c *conn, d *Delivery, payload json.RawMessage, now time.Time) {
	var mine, first *sending
	for _, s := range d.sendings {
		if s.conn != c {
			continue
		}
		if first = s; !s.acked {
			mine = s
			break
		}
	}
	switch {
	case mine != nil:
		mine.acked = true
		if late := now.Sub(mine.at) - w.cfg.AckTimeout; late > 0 {
			w.violate(LateAck, c.id, "the ack of a %s envelope came %v late", d.kind, late.Round(time.Millisecond))
		}
	case first != nil:
		w.violate(DoubleAck, c.id, "a %s envelope was acked more often than it was sent", d.kind)
		return
	default:
		w.violate(MisplacedAck, c.id, "a %s envelope was acked on a connection that did not deliver it", d.kind)
		if !w.cfg.AckAnywhere {
			return
		}
	}
	given := len(payload) > 0 && string(payload) != "null" && string(payload) != "{}" && string(payload) != `""`
	if given && !d.accepts {
		w.violate(UnwantedPayload, c.id, "a payload in the ack of a %s envelope that takes none", d.kind)
	}
	if d.outcome.Result != "" {
		return
	}
	d.outcome.AckedOn = c.id
	d.outcome.Latency = now.Sub(d.sendings[0].at)
	if given && d.accepts && d.reply != nil {
		shown, err := d.reply(payload)
		if err != nil {
			w.violate(BadPayload, c.id, "the payload of an ack was refused with %s%s", err.code, because(err))
			d.outcome.Reason = err.code
		}
		d.outcome.Reply = shown
	}
	w.settle(d, Acked, "")
}
