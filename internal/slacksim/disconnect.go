package slacksim

import (
	"slices"
	"time"
)

// The ways a socket ends or breaks from Slack's side.

// A Reason is why Slack wants a socket closed.
type Reason string

// The reasons of a disconnect frame.
const (
	RequestWarning    Reason = "warning"           // closes in about 10 s; envelopes may still come
	RefreshRequested  Reason = "refresh_requested" // closes at once; nothing more comes
	LinkDisabled      Reason = "link_disabled"     // Socket Mode was switched off
	TooManyWebsockets Reason = "too_many_websockets"
)

func disconnectFrame(reason Reason, host string) []byte {
	frame, _ := marshal(answer{"type": "disconnect", "reason": reason, "debug_info": answer{"host": host}})
	return frame
}

// Disconnect describes a disconnect frame.
type Disconnect struct {
	Reason Reason        // default warning
	Conn   int           // which connection; 0 = all
	After  time.Duration // from the frame to the server's close; default as Config says
	Behind bool          // not now: right behind the next envelope, in the same TCP packet
}

// Disconnect tells connections to go. It returns how many were told, or will be.
func (w *Workspace) Disconnect(d Disconnect) int {
	setDefault(&d.Reason, RequestWarning)
	told := 0
	for _, c := range w.chosen(d.Conn) {
		if d.Behind {
			w.mu.Lock()
			c.behind = d.Reason
			w.mu.Unlock()
		} else {
			w.dismiss(c, d.Reason, d.After, nil)
		}
		told++
	}
	return told
}

// dismiss sends a disconnect frame, behind the frames in front, and closes later.
func (w *Workspace) dismiss(c *conn, reason Reason, after time.Duration, front []byte) error {
	w.mu.Lock()
	c.told = reason
	if reason != RequestWarning {
		c.live = false
	}
	if after == 0 {
		after = w.cfg.RefreshCloses
		if reason == RequestWarning {
			after = w.cfg.WarningCloses
		}
	}
	w.mu.Unlock()
	err := w.send(c, appendFrame(slices.Clone(front), opText, disconnectFrame(reason, c.host)))
	w.mu.Lock()
	defer w.unlock()
	w.after(after, func() {
		w.mu.Lock()
		c.live = false
		gone := w.conns[c.id] != c
		w.mu.Unlock()
		if gone {
			return
		}
		w.hangUp(c, closeNormal, string(reason))
		w.sleep(w.ctx, closeLimit)
		c.nc.Close()
	})
	return err
}

// chosen returns the live connections, or the one with this number.
func (w *Workspace) chosen(id int) []*conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []*conn
	for n, c := range w.conns {
		if (id == 0 || id == n) && c.live && !c.ghost && !c.halfOpen && !c.closing {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *conn) int { return a.id - b.id })
	return list
}

// SetSocketMode switches Socket Mode off (every socket gets link_disabled, apps.connections.open fails) or on again.
func (w *Workspace) SetSocketMode(on bool) {
	w.mu.Lock()
	w.offMode = !on
	w.note(Event{Kind: WorldChanged})
	w.unlock()
	if !on {
		w.Disconnect(Disconnect{Reason: LinkDisabled})
	}
}

// Reset cuts a connection's TCP without a word. Conn 0 is any one.
func (w *Workspace) Reset(conn int) {
	for _, c := range w.chosen(conn) {
		w.cut(c)
		return
	}
}

// ResetAll cuts every connection.
func (w *Workspace) ResetAll() {
	w.mu.Lock()
	var list []*conn
	for _, c := range w.conns {
		list = append(list, c)
	}
	w.mu.Unlock()
	for _, c := range list {
		w.cut(c)
	}
}

func (w *Workspace) cut(c *conn) {
	w.mu.Lock()
	c.closing, c.live = true, false
	w.mu.Unlock()
	reset(c.nc)
}

// HalfOpen makes a connection a dead one that still looks alive: no pings, no answers, envelopes sent to it are lost.
// It counts until the client closes it. Conn 0 is any one.
func (w *Workspace) HalfOpen(conn int) {
	for _, c := range w.chosen(conn) {
		w.mu.Lock()
		c.halfOpen = true
		w.note(Event{Kind: WorldChanged, Conn: c.id})
		w.unlock()
		return
	}
}

// SendText sends one text frame as it is to a connection: not JSON, say. Conn 0 is any one. It reports whether there
// was one.
func (w *Workspace) SendText(conn int, text string) bool {
	for _, c := range w.chosen(conn) {
		return w.send(c, appendFrame(nil, opText, []byte(text))) == nil
	}
	return false
}

// Connection is what can be known about a socket.
type Connection struct {
	ID       int       `json:"id"`
	Since    time.Time `json:"since"`
	Live     bool      `json:"live"`           // gets envelopes
	Told     Reason    `json:"told,omitempty"` // the disconnect frame it got
	HalfOpen bool      `json:"half_open,omitempty"`
	Ghost    bool      `json:"ghost,omitempty"`
}

// Connections lists the sockets that count, ghosts too, oldest first.
func (w *Workspace) Connections() []Connection {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]Connection, 0, len(w.conns))
	for _, c := range w.conns {
		list = append(list, Connection{ID: c.id, Since: c.born, Live: c.live && !c.ghost && !c.closing, Told: c.told, HalfOpen: c.halfOpen, Ghost: c.ghost})
	}
	slices.SortFunc(list, func(a, b Connection) int { return a.ID - b.ID })
	return list
}

// Ready counts the sockets that would get an envelope now.
func (w *Workspace) Ready() int { return len(w.chosen(0)) }
