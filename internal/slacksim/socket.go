package slacksim

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Socket Mode's connections (apis/events-api/using-socket-mode): tickets, hello, pings, disconnect, close.

const (
	maxSockets      = 10
	debugReconnects = 360 * time.Second // life of a socket dialled with debug_reconnects=true
	approximateLife = 18060             // seconds; what hello says when no ConnectionLife is set
	writeLimit      = 5 * time.Second   // a client that does not read for so long is gone
	closeLimit      = time.Second       // wait for the other side of a close handshake
)

type sockets struct {
	conns    map[int]*conn // registered, ghosts included
	lastConn int
	tickets  map[string]*ticket
	spent    map[string]bool // tickets dialled, to tell reuse from nonsense
	opens    []*opening      // of the last second

	open    map[string]*Delivery // not settled yet, by envelope id
	settled map[string]*Delivery // lately
	oldest  []string             // settled ids in order
	log     []*Delivery          // latest deliveries
}

func newSockets() sockets {
	return sockets{
		conns: map[int]*conn{}, tickets: map[string]*ticket{}, spent: map[string]bool{},
		open: map[string]*Delivery{}, settled: map[string]*Delivery{},
	}
}

// An opening is one call of apps.connections.open, successful or not.
type opening struct{ at time.Time }

// countOpen watches how often sockets are asked for.
func (w *Workspace) countOpen(c *call) {
	w.mu.Lock()
	defer w.unlock()
	c.open = &opening{at: c.at}
	w.opens = slices.DeleteFunc(w.opens, func(o *opening) bool { return c.at.Sub(o.at) >= time.Second })
	w.opens = append(w.opens, c.open)
	if len(w.opens) > w.cfg.Connections {
		w.violate(OpenStorm, 0, "apps.connections.open was called %d times within a second by a client of %d connections",
			len(w.opens), w.cfg.Connections)
	}
}

// A ticket is the right to dial once.
type ticket struct{ open *opening }

// newTicket makes a websocket URL. The caller holds mu.
func (w *Workspace) newTicket(c *call) string {
	id := w.uuid()
	w.tickets[id] = &ticket{open: c.open}
	w.after(w.cfg.TicketLife, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.tickets, id)
	})
	return fmt.Sprintf("ws://%s/link/?ticket=%s&app_id=%064x", w.addr, id, len(w.cfg.AppID))
}

// redeem uses a ticket up.
func (w *Workspace) redeem(id string) *ticket {
	w.mu.Lock()
	defer w.unlock()
	t := w.tickets[id]
	switch {
	case w.closed:
		return nil
	case t == nil:
		if w.spent[id] {
			w.violate(ReusedTicket, 0, "a ticket was dialled twice")
		}
		return nil
	}
	delete(w.tickets, id)
	if len(w.spent) > 10_000 {
		clear(w.spent)
	}
	w.spent[id] = true
	return t
}

// A conn is one websocket. Its fields are guarded by the workspace's mu, except those said otherwise.
type conn struct {
	id       int
	nc       net.Conn
	host     string
	ticket   *ticket
	born     time.Time
	writing  sync.Mutex // one frame, or one packet of frames, at a time
	live     bool       // hello is out: it gets envelopes
	told     Reason     // a disconnect frame went out
	closing  bool       // the server's close frame went out, or TCP was cut
	halfOpen bool       // nobody listens on this side any more
	ghost    bool       // the client is gone, Slack has not noticed
	behind   Reason     // to go out right behind the next envelope
	pings    []string   // payloads not yet echoed
	done     chan struct{}
}

// serveSocket is the life of one websocket.
func (w *Workspace) serveSocket(rw http.ResponseWriter, r *http.Request) {
	if !w.enter() {
		abort(rw)
		return
	}
	defer w.wg.Done()
	t := w.redeem(r.URL.Query().Get("ticket"))
	if t == nil {
		http.Error(rw, "invalid ticket", http.StatusForbidden)
		return
	}
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := upgrader.Upgrade(rw, r, nil)
	if err != nil {
		return
	}
	c := &conn{nc: ws.NetConn(), ticket: t, born: time.Now(), done: make(chan struct{})}
	defer c.nc.Close()

	count := w.register(c)
	defer w.unregister(c)
	if count > maxSockets {
		w.send(c, appendFrame(nil, opText, disconnectFrame(TooManyWebsockets, c.host)))
		w.hangUp(c, closeNormal, "too_many_websockets")
		w.drain(c)
		return
	}
	if w.send(c, appendFrame(nil, opText, w.hello(c, count))) != nil {
		return
	}
	w.mu.Lock()
	c.live = true
	life := w.cfg.ConnectionLife
	if r.URL.Query().Get("debug_reconnects") == "true" {
		life = debugReconnects
	}
	if life > 0 {
		stop := w.after(life, func() { w.Disconnect(Disconnect{Reason: RequestWarning, Conn: c.id}) })
		defer func() { w.mu.Lock(); stop(); w.mu.Unlock() }()
	}
	w.note(Event{Kind: ConnectionOpened, Conn: c.id, Text: fmt.Sprintf("hello, %d connections", count)})
	w.unlock()

	w.wg.Go(func() { w.ping(c) })
	defer close(c.done)
	w.read(c)
}

// register counts a connection, itself and ghosts included.
func (w *Workspace) register(c *conn) int {
	w.mu.Lock()
	defer w.unlock()
	w.lastConn++
	c.id = w.lastConn
	c.host = fmt.Sprintf("applink-%d", c.id)
	w.conns[c.id] = c
	if len(w.conns) > maxSockets {
		w.violate(TooManySockets, c.id, "a socket was opened beyond the %d an app may have", maxSockets)
	}
	if w.closed {
		c.closing = true
		c.nc.Close()
	}
	return len(w.conns)
}

func (w *Workspace) unregister(c *conn) {
	w.mu.Lock()
	defer w.unlock()
	w.note(Event{Kind: ConnectionClosed, Conn: c.id})
	if c.ghost {
		w.after(w.cfg.GhostFor, func() {
			w.mu.Lock()
			defer w.unlock()
			delete(w.conns, c.id)
			w.note(Event{Kind: ConnectionClosed, Conn: c.id, Text: "ghost gone"})
		})
		return
	}
	delete(w.conns, c.id)
}

func (w *Workspace) hello(c *conn, count int) []byte {
	life := approximateLife
	if w.cfg.ConnectionLife > 0 {
		life = int(w.cfg.ConnectionLife.Seconds())
	}
	frame, _ := marshal(answer{
		"type": "hello", "num_connections": count, "connection_info": answer{"app_id": w.cfg.AppID},
		"debug_info": answer{
			"host": c.host, "started": w.now().UTC().Format("2006-01-02 15:04:05.000"), "build_number": 54,
			"approximate_connection_time": life,
		},
	})
	return frame
}

// send writes frames in one piece, unless the close frame is out or about to be.
func (w *Workspace) send(c *conn, b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	w.mu.Lock()
	closing := c.closing
	w.mu.Unlock()
	if closing {
		return net.ErrClosed
	}
	return c.write(b)
}

// write writes to TCP. The caller holds c.writing.
func (c *conn) write(b []byte) error {
	c.nc.SetWriteDeadline(time.Now().Add(writeLimit))
	_, err := c.nc.Write(b)
	return err
}

// sendClose writes a close frame, after whatever is being written.
func (c *conn) sendClose(payload []byte) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.write(appendFrame(nil, opClose, payload))
}

// ping sends protocol pings until the connection ends. Payloads differ, so that an echo can be told from a guess.
func (w *Workspace) ping(c *conn) {
	tick := time.NewTicker(w.cfg.PingEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-c.done:
			return
		}
		payload := fmt.Sprintf("Ping from %s #%d", c.host, n)
		w.mu.Lock()
		quiet := c.halfOpen || c.closing
		dead := !quiet && len(c.pings) >= w.cfg.DeadAfter
		if dead {
			c.closing = true
			w.violate(NoPong, c.id, "%d pings in a row were not answered", len(c.pings))
		} else if !quiet {
			c.pings = append(c.pings, payload)
		}
		w.unlock()
		if dead {
			c.nc.Close()
			return
		}
		if !quiet {
			w.send(c, appendFrame(nil, opPing, []byte(payload)))
		}
	}
}

func (w *Workspace) pong(c *conn, payload string) {
	w.mu.Lock()
	defer w.unlock()
	if i := slices.Index(c.pings, payload); i >= 0 {
		c.pings = slices.Delete(c.pings, 0, i+1)
	} else if len(c.pings) > 0 {
		w.violate(BadPong, c.id, "a pong carried %q, the ping %q", payload, c.pings[len(c.pings)-1])
	}
}

// read takes frames from the client until the connection ends.
func (w *Workspace) read(c *conn) {
	r := bufio.NewReader(c.nc)
	fragments := false
	for {
		f, err := readFrame(r)
		if err != nil {
			w.ended(c, err)
			return
		}
		if w.deaf(c) {
			if f.op == opClose { // it does not get through, but the client did its duty
				w.mu.Lock()
				c.closing = true
				w.mu.Unlock()
			}
			continue
		}
		switch {
		case f.tooBig:
			w.breach(FrameTooBig, c, "a frame of %d bytes or more", maxFrame)
			w.hangUp(c, closeTooBig, "frame exceeds 20480 bytes")
			w.drain(c)
			return
		case f.op == opClose:
			w.farewell(c, f.payload, r)
			return
		case f.op == opPing:
			w.send(c, appendFrame(nil, opPong, f.payload))
		case f.op == opPong:
			w.pong(c, string(f.payload))
		case f.op == opContinuation:
			fragments = !f.final
		case !f.final:
			fragments = true
			w.breach(Fragmented, c, "a message in several frames, which Slack does not put together")
		case f.op != opText || fragments:
			w.breach(BadFrame, c, "a frame that is not a text frame (opcode %d)", f.op)
		default:
			w.acknowledge(c, f.payload)
		}
	}
}

func (w *Workspace) deaf(c *conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return c.halfOpen
}

func (w *Workspace) breach(kind Kind, c *conn, format string, args ...any) {
	w.mu.Lock()
	defer w.unlock()
	w.violate(kind, c.id, format, args...)
}

// ended settles a connection whose TCP is gone.
func (w *Workspace) ended(c *conn, err error) {
	if errors.Is(err, errUnmasked) {
		w.breach(BadFrame, c, "a frame without a mask")
		w.hangUp(c, closeProtocolError, "unmasked frame")
		return
	}
	w.mu.Lock()
	defer w.unlock()
	if c.closing || w.closed {
		return
	}
	w.violate(Vanished, c.id, "the client left without a close frame")
	c.ghost = w.cfg.GhostFor > 0
	if c.told == "" { // a process that died and starts anew is a new client
		w.opens = slices.DeleteFunc(w.opens, func(o *opening) bool { return o == c.ticket.open })
	}
}

// farewell answers the client's close frame, and watches that no data comes after it.
func (w *Workspace) farewell(c *conn, payload []byte, r *bufio.Reader) {
	w.mu.Lock()
	answered := c.closing
	c.closing = true
	w.mu.Unlock()
	if !answered {
		c.sendClose(payload[:min(2, len(payload))])
	}
	closeWrite(c.nc)
	c.nc.SetReadDeadline(time.Now().Add(closeLimit))
	for {
		f, err := readFrame(r)
		if err != nil {
			return
		}
		if f.op < opClose {
			w.breach(DataAfterClose, c, "a data frame behind the close frame")
		}
	}
}

// hangUp sends the server's close frame.
func (w *Workspace) hangUp(c *conn, code uint16, reason string) {
	w.mu.Lock()
	done := c.closing
	c.closing = true
	w.mu.Unlock()
	if !done {
		c.sendClose(closePayload(code, reason))
	}
}

// drain gives the client the time to see a close frame before TCP goes.
func (w *Workspace) drain(c *conn) {
	c.nc.SetReadDeadline(time.Now().Add(closeLimit))
	r := bufio.NewReader(c.nc)
	for {
		if f, err := readFrame(r); err != nil || f.op == opClose {
			return
		}
	}
}

func closeWrite(nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
}

// uuid makes an id in the form of Slack's envelope ids. The caller holds mu.
func (w *Workspace) uuid() string {
	a, b := w.rng.Uint64(), w.rng.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0xfff, b&0xffffffffffff)
}
