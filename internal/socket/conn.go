package socket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const (
	writeBuffer = 32 << 10 // above MaxFrame: Slack ignores fragmented frames (slack-go issue 1196)
	readLimit   = 4 << 20
	keepBuffer  = 64 << 10 // a larger read buffer is not kept for the next frame
)

// A conn is one connection, from dial to close. Its keeper starts run; three
// events then shape its life, each a channel that is closed once:
//
//	hello  Slack has greeted us
//	leave  a successor is due, for the reason in why
//	retired  the successor is there
type conn struct {
	s   *Sockets
	n   int // of its keeper
	ws  *websocket.Conn
	buf bytes.Buffer // the reader's

	hello   chan struct{}
	leave   chan struct{}
	retired chan struct{}
	ended   chan struct{} // the reader has returned

	leaveOnce  sync.Once
	retireOnce sync.Once
	why        error     // set before leave is closed
	counted    int       // num_connections of the hello, set before hello is closed
	born       time.Time // when the dial had succeeded

	heard  atomic.Int64 // when Slack last sent something of its own accord, nanoseconds after born
	ponged atomic.Int64 // when Slack last answered our ping, likewise

	slackClosed bool // Slack's close frame is in; set before ended is closed

	mu      sync.Mutex    // guards writing of data and close frames, and the rest
	owed    int           // accepted envelopes whose handler runs and has not acknowledged
	closing bool          // our close frame is out
	quiet   chan struct{} // signalled when owed falls to 0
}

// dial connects to the address that apps.connections.open gave.
//
// gorilla's dialer notices the end of ctx until it sends the request for the
// upgrade. From then on Slack may count the connection, so that it is not
// dropped when ctx ends: it gets a little time to come about, and then is
// closed as any other.
func dial(ctx context.Context, addr string, cfg *Config) (*websocket.Conn, error) {
	if err := checkAddress(addr); err != nil {
		return nil, err
	}
	unhook := func() bool { return true }
	dialer := websocket.Dialer{
		Proxy:            http.ProxyFromEnvironment,
		HandshakeTimeout: cfg.ConnectTimeout,
		WriteBufferSize:  writeBuffer,
		NetDialContext: func(dialing context.Context, network, addr string) (net.Conn, error) {
			var d net.Dialer
			nc, err := d.DialContext(dialing, network, addr)
			if err == nil {
				unhook = context.AfterFunc(ctx, func() { nc.SetDeadline(time.Now().Add(cfg.CloseTimeout)) })
			}
			return nc, err
		},
	}
	ws, resp, err := dialer.DialContext(ctx, addr, nil)
	unhook()
	if errors.Is(err, websocket.ErrBadHandshake) {
		return nil, fmt.Errorf("handshake refused by Slack with status %d", resp.StatusCode)
	}
	if err != nil {
		return nil, fmt.Errorf("dialling Slack: %w", err)
	}
	ws.SetReadLimit(readLimit)
	return ws, nil
}

// checkAddress keeps an address that cannot be dialled away from the dialer,
// whose error would quote the ticket, and the ticket off the open network.
func checkAddress(addr string) error {
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" {
		return errors.New("address from Slack is not a URL")
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme != "wss" && !(u.Scheme == "ws" && local) {
		return errors.New("address from Slack is not wss")
	}
	return nil
}

func newConn(s *Sockets, ws *websocket.Conn, n int) *conn {
	c := &conn{
		s: s, n: n, ws: ws, born: time.Now(),
		hello:   make(chan struct{}),
		leave:   make(chan struct{}),
		retired: make(chan struct{}),
		ended:   make(chan struct{}),
		quiet:   make(chan struct{}, 1),
	}
	ws.SetPingHandler(func(text string) error {
		c.heard.Store(int64(time.Since(c.born)))
		return ws.WriteControl(websocket.PongMessage, []byte(text), c.writeDeadline())
	})
	ws.SetPongHandler(func(string) error {
		c.ponged.Store(int64(time.Since(c.born)))
		return nil
	})
	// The default handler answers a close frame at once, after which nothing
	// can be acknowledged any more. hangUp answers it, when nothing is owed.
	ws.SetCloseHandler(func(int, string) error {
		c.slackClosed = true
		return nil
	})
	return c
}

// run reads the connection and watches over it until it is closed.
func (c *conn) run(ctx, work context.Context) {
	c.s.add(c)
	defer c.s.remove(c)
	go func() {
		defer close(c.ended)
		c.depart(c.read(work))
	}()
	c.watch(ctx)
	c.ws.Close()
	<-c.ended
}

// watch returns when the connection may be dropped.
//
// Liveness: Slack pings every few seconds, and official clients take 30 s
// without a ping for death; there are reports of connections that still
// answered pings and delivered nothing (python-slack-sdk issues 1701, 1940).
// So only what Slack sends of its own accord counts for PingTimeout. We ping
// too, six times in that span, for two reasons: an idle half-open connection
// breaks when it is written to, and if not even a pong has come for half of
// PingTimeout there is no point in waiting for the other half. One slow pong
// means nothing (bolt-js issue 2496). As the successor comes first, a wrong
// verdict costs no more than one open.
func (c *conn) watch(ctx context.Context) {
	ping := time.NewTicker(c.s.cfg.PingTimeout / 6)
	defer ping.Stop()
	silence := time.NewTimer(time.Until(c.deadline()))
	defer silence.Stop()
	grace := (<-chan time.Time)(nil)
	retired := c.retired
	for {
		select {
		case <-ping.C:
			if err := c.ws.WriteControl(websocket.PingMessage, nil, c.writeDeadline()); err != nil {
				c.broken(err)
				ping.Stop()
			}
		case <-silence.C:
			if left := time.Until(c.deadline()); left > 0 {
				silence.Reset(left)
			} else {
				c.depart(errSilent)
			}
		case <-retired:
			retired = nil
			wait := c.s.cfg.RotateGrace
			if _, asked := errors.AsType[disconnect](c.why); !asked {
				wait = 0
			}
			grace = time.After(wait)
		case <-grace:
			c.hangUp(ackWindow)
			return
		case <-c.ended:
			c.hangUp(ackWindow)
			return
		case <-ctx.Done():
			c.hangUp(c.s.cfg.DrainTimeout)
			return
		}
	}
}

// deadline is when the connection is silent, if nothing more is heard.
func (c *conn) deadline() time.Time {
	heard, ponged := time.Duration(c.heard.Load()), time.Duration(c.ponged.Load())
	limit := c.s.cfg.PingTimeout
	return c.born.Add(min(heard+limit, max(heard, ponged)+limit/2))
}

// alive reports whether envelopes arrive on the connection, as far as we know.
func (c *conn) alive() bool {
	return isClosed(c.hello) && !isClosed(c.ended) && time.Now().Before(c.deadline())
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// depart says that the connection needs a successor. Only the first reason
// counts.
func (c *conn) depart(why error) {
	c.leaveOnce.Do(func() {
		c.why = why
		close(c.leave)
	})
}

// retire says that the successor is there, or that the connection is useless.
func (c *conn) retire() { c.retireOnce.Do(func() { close(c.retired) }) }

// read handles frames until the connection ends, and returns why.
func (c *conn) read(work context.Context) error {
	for {
		_, r, err := c.ws.NextReader()
		if err == nil {
			c.buf.Reset()
			_, err = c.buf.ReadFrom(r)
		}
		if err != nil {
			return err
		}
		now := time.Now()
		c.heard.Store(int64(now.Sub(c.born)))
		c.receive(work, now, c.buf.Bytes())
		if c.buf.Cap() > keepBuffer {
			c.buf = bytes.Buffer{}
		}
	}
}

// receive handles one frame. data is valid during the call only.
func (c *conn) receive(work context.Context, now time.Time, data []byte) {
	f, err := parse(data)
	if err != nil {
		c.s.count(func(st *Stats) { st.Bad++ })
		c.s.log.Warn("Slack sent a frame that cannot be read", "connection", c.n,
			"error", plain(err), "bytes", len(data), "envelope", f.EnvelopeID)
		c.ackUnhandled(f)
		return
	}
	switch f.Type {
	case SlashCommands, Interactive, EventsAPI:
		if f.EnvelopeID == "" {
			c.s.count(func(st *Stats) { st.Bad++ })
			c.s.log.Warn("Slack sent an envelope without an id", "connection", c.n, "type", f.Type)
			return
		}
		c.s.dispatch(work, &Envelope{
			ID: f.EnvelopeID, Type: f.Type, Payload: f.Payload, AcceptsResponse: f.AcceptsResponse,
			RetryAttempt: f.RetryAttempt, RetryReason: f.RetryReason, Received: now, conn: c,
		})
	case "hello":
		c.greet(now, f)
	case "disconnect":
		c.s.log.Debug("Slack asks us to reconnect", "connection", c.n, "reason", f.Reason)
		if disconnect(f.Reason) == linkDisabled {
			c.s.disable()
		}
		c.depart(disconnect(f.Reason))
	default:
		c.s.count(func(st *Stats) { st.Bad++ })
		c.s.log.Warn("Slack sent a frame of unknown type", "connection", c.n, "type", f.Type, "envelope", f.EnvelopeID)
		c.ackUnhandled(f)
	}
}

// ackUnhandled acknowledges what Slack would else deliver again and again
// (slack-morphism issue 390).
func (c *conn) ackUnhandled(f frame) {
	if f.EnvelopeID == "" {
		return
	}
	e := &Envelope{ID: f.EnvelopeID, Received: time.Now(), conn: c}
	if err := e.Ack(nil); err != nil {
		c.s.log.Warn("acknowledging a frame that is not understood", "envelope", f.EnvelopeID, "error", plain(err))
	}
}

func (c *conn) greet(now time.Time, hello frame) {
	if isClosed(c.hello) {
		return // a second hello changes nothing
	}
	c.counted = hello.NumConnections
	c.s.greeted(now, hello)
	close(c.hello)
}

// accept counts e as owed. It reports false if our close frame is out, when e
// can no longer be acknowledged.
func (c *conn) accept(e *Envelope) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	e.owed.Store(true)
	c.owed++
	return true
}

// release takes e off what is owed: it has been acknowledged, or its handler
// has returned.
func (c *conn) release(e *Envelope) {
	if !e.owed.CompareAndSwap(true, false) {
		return
	}
	c.mu.Lock()
	c.owed--
	none := c.owed == 0
	c.mu.Unlock()
	if none {
		select {
		case c.quiet <- struct{}{}:
		default:
		}
	}
}

// write sends one text frame.
func (c *conn) write(frame []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return ErrGone
	}
	c.ws.SetWriteDeadline(c.writeDeadline())
	if err := c.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
		c.broken(err)
		return fmt.Errorf("%w: %s", ErrGone, plain(err))
	}
	return nil
}

// broken drops a connection that cannot be written to, which ends its reader.
func (c *conn) broken(err error) {
	c.depart(err)
	c.ws.Close()
}

func (c *conn) writeDeadline() time.Time { return time.Now().Add(c.s.cfg.WriteTimeout) }

// hangUp closes the connection with a handshake: it waits up to limit until
// nothing is owed, sends a close frame, and waits for Slack's unless that has
// come before. Envelopes that arrive before our close frame are still handled.
func (c *conn) hangUp(limit time.Duration) {
	tooLong := time.NewTimer(limit)
	defer tooLong.Stop()
	ended := c.ended
	for !c.sendClose(false) {
		select {
		case <-c.quiet:
		case <-tooLong.C:
			c.sendClose(true)
		case <-ended:
			if !c.slackClosed {
				return // broken: what is owed cannot be paid
			}
			ended = nil
		}
	}
	answer := time.NewTimer(c.s.cfg.CloseTimeout)
	defer answer.Stop()
	select {
	case <-c.ended:
	case <-answer.C:
	}
}

// sendClose sends our close frame if nothing is owed, or anyway. It reports
// whether the frame is out, or need not be.
func (c *conn) sendClose(anyway bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return true
	}
	if c.owed > 0 && !anyway {
		return false
	}
	c.closing = true
	// An error means that the connection is broken; it is closed next anyway.
	c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), c.writeDeadline())
	return true
}

// add and remove keep the list of open connections; greeted notes a hello.

func (s *Sockets) add(c *conn) {
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
}

func (s *Sockets) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

func (s *Sockets) greeted(now time.Time, hello frame) {
	s.mu.Lock()
	s.stats.Hellos++
	s.stats.LastHello = now
	s.stats.NumConnections, s.stats.AppID = hello.NumConnections, hello.ConnectionInfo.AppID
	ours := max(len(s.conns), s.cfg.Connections)
	s.mu.Unlock()
	s.enabled()
	s.census.hello(now, hello.NumConnections, ours)
}
