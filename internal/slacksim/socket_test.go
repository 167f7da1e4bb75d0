package slacksim_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"zegoclose/internal/slacksim"
)

// A plug is a websocket client that does exactly what a test tells it.
type plug struct {
	*websocket.Conn
	t     *testing.T
	hello frame
	link  string
}

type frame struct {
	Type       string          `json:"type"`
	EnvelopeID string          `json:"envelope_id"`
	Accepts    bool            `json:"accepts_response_payload"`
	Payload    json.RawMessage `json:"payload"`
	Reason     string          `json:"reason"`
	Count      int             `json:"num_connections"`
	Attempt    *int            `json:"retry_attempt"`
	Why        string          `json:"retry_reason"`
}

// dialer writes large messages in one frame; the library's default would fragment them.
var dialer = websocket.Dialer{WriteBufferSize: 64 << 10}

func (o *office) ticket(t *testing.T) string {
	t.Helper()
	ans := o.call(t, "apps.connections.open", o.AppToken(), nil)
	require.Equal(t, true, ans["ok"], ans)
	return ans["url"].(string)
}

func (o *office) dial(t *testing.T) *plug {
	t.Helper()
	link := o.ticket(t)
	ws, _, err := dialer.Dial(link, nil)
	require.NoError(t, err)
	t.Cleanup(func() { ws.Close() })
	p := &plug{Conn: ws, t: t, link: link}
	p.hello = p.next()
	return p
}

// plugIn dials and says how the server sees the connection once it takes envelopes.
func (o *office) plugIn(t *testing.T) *plug {
	t.Helper()
	before := o.Ready()
	p := o.dial(t)
	require.Equal(t, "hello", p.hello.Type)
	o.await(t, func() bool { return o.Ready() > before })
	return p
}

func (p *plug) next() frame {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, raw, err := p.ReadMessage()
	require.NoError(p.t, err)
	var f frame
	require.NoError(p.t, json.Unmarshal(raw, &f), string(raw))
	return f
}

func (p *plug) ack(f frame, payload string) {
	p.t.Helper()
	msg := fmt.Sprintf(`{"envelope_id":%q}`, f.EnvelopeID)
	if payload != "" {
		msg = fmt.Sprintf(`{"envelope_id":%q,"payload":%s}`, f.EnvelopeID, payload)
	}
	require.NoError(p.t, p.WriteMessage(websocket.TextMessage, []byte(msg)))
}

// raw writes one frame past the library.
func (p *plug) raw(head byte, payload string, masked bool) {
	p.t.Helper()
	b := []byte{head}
	bit := byte(0)
	if masked {
		bit = 0x80
	}
	if len(payload) < 126 {
		b = append(b, bit|byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, bit|126), uint16(len(payload)))
	}
	if masked {
		b = append(b, 0, 0, 0, 0)
	}
	_, err := p.NetConn().Write(append(b, payload...))
	require.NoError(p.t, err)
}

// bye closes as a client should.
func (p *plug) bye() {
	p.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
	for {
		if _, _, err := p.ReadMessage(); err != nil {
			break
		}
	}
	p.Conn.Close()
}

// end reads until the connection ends, and says how.
func (p *plug) end() error {
	p.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		if _, _, err := p.ReadMessage(); err != nil {
			return err
		}
	}
}

// call makes one Web API request by form, token in the header, as Bolt does.
func (o *office) call(t *testing.T, method, token string, args map[string]string) map[string]any {
	t.Helper()
	ans, _ := o.callStatus(t, method, token, args)
	return ans
}

func (o *office) callStatus(t *testing.T, method, token string, args map[string]string) (map[string]any, *http.Response) {
	t.Helper()
	form := []string{}
	for key, value := range args {
		form = append(form, key+"="+url.QueryEscape(value))
	}
	req, err := http.NewRequest("POST", o.APIURL()+method, strings.NewReader(strings.Join(form, "&")))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	var ans map[string]any
	require.NoError(t, json.Unmarshal(body, &ans), string(body))
	return ans, res
}

func kinds(list []slacksim.Violation) []slacksim.Kind {
	var out []slacksim.Kind
	for _, v := range list {
		out = append(out, v.Kind)
	}
	return out
}

// breach waits for one violation of this kind, and that there is no other.
func (o *office) breach(t *testing.T, kind slacksim.Kind) {
	t.Helper()
	o.await(t, func() bool { return o.CountViolations(kind) > 0 })
	assert.Equal(t, []slacksim.Kind{kind}, kinds(o.Violations()))
}

func (o *office) types(text string) *slacksim.Delivery {
	return o.Command(slacksim.Command{User: o.alice.ID, Channel: o.ops.ID, Text: text})
}

func TestHelloAndCommand(t *testing.T) {
	o := newOffice(t, slacksim.Config{})
	first := o.plugIn(t)
	assert.Equal(t, 1, first.hello.Count)
	second := o.plugIn(t)
	assert.Equal(t, 2, second.hello.Count)
	second.bye()
	o.await(t, func() bool { return len(o.Connections()) == 1 })

	d := o.types("  a&b <!channel> ")
	f := first.next()
	assert.Equal(t, "slash_commands", f.Type)
	assert.True(t, f.Accepts)
	assert.Nil(t, f.Attempt)
	var cmd map[string]string // all values are strings
	require.NoError(t, json.Unmarshal(f.Payload, &cmd))
	assert.Equal(t, "  a&b <!channel> ", cmd["text"])
	assert.Equal(t, "/zego-close", cmd["command"])
	assert.Equal(t, "false", cmd["is_enterprise_install"])
	assert.Equal(t, "ops", cmd["channel_name"])
	assert.Equal(t, o.AppID(), cmd["api_app_id"])
	assert.True(t, strings.HasPrefix(cmd["response_url"], o.URL()+"/commands/"+o.TeamID()+"/"))
	first.ack(f, `{"text":"hi","response_type":"ephemeral"}`)
	out := outcome(t, d)
	assert.Equal(t, slacksim.Acked, out.Result)
	assert.Equal(t, "hi", out.Reply.Text)
	assert.Positive(t, out.Latency)
	assert.Equal(t, "hi", o.Ephemerals(o.alice.ID)[0].Text)
	assert.Empty(t, o.Ephemerals(o.bob.ID))
	first.bye()
	o.await(t, func() bool { return len(o.Connections()) == 0 })
	assert.Empty(t, o.Violations())
}

// What Node's client does is allowed: an empty payload in every ack, and pings of its own.
func TestBoltHabits(t *testing.T) {
	o := newOffice(t, slacksim.Config{})
	p := o.plugIn(t)
	ponged := make(chan string, 1)
	p.SetPongHandler(func(data string) error { ponged <- data; return nil })
	require.NoError(t, p.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(time.Second)))
	d := o.Send(slacksim.Envelope{Type: "interactive", Payload: map[string]string{"type": "block_actions"}})
	p.ack(p.next(), "{}")
	assert.Equal(t, slacksim.Acked, outcome(t, d).Result)
	go p.ReadMessage()
	assert.Equal(t, "x", <-ponged)
	assert.Empty(t, o.Violations())
}

func TestCommandFailures(t *testing.T) {
	o := newOffice(t, slacksim.Config{AckTimeout: 50 * time.Millisecond})
	out := outcome(t, o.types("x"))
	assert.Equal(t, slacksim.DispatchFailed, out.Result)
	p := o.plugIn(t)
	out = outcome(t, o.types("x"))
	assert.Equal(t, slacksim.OperationTimeout, out.Result)
	seen := o.Ephemerals(o.alice.ID)
	require.Len(t, seen, 2)
	assert.Equal(t, `/zego-close failed with the error "dispatch_failed"`, seen[0].Text)
	assert.Equal(t, `/zego-close failed with the error "operation_timeout"`, seen[1].Text)
	assert.Empty(t, o.Violations(), "an ack withheld is not a violation")
	p.ack(p.next(), "")
	o.breach(t, slacksim.LateAck)
}

func TestRefusedCommands(t *testing.T) {
	o := newOffice(t, slacksim.Config{})
	p := o.plugIn(t)
	guest := o.AddUser(slacksim.User{Name: "gina", TeamID: "T0OTHER"})
	gone := o.AddUser(slacksim.User{Name: "gone", Deleted: true})
	shared := o.AddChannel(slacksim.Channel{Name: "shared", ExtShared: true, Members: []string{o.alice.ID, guest.ID}})
	old := o.AddChannel(slacksim.Channel{Name: "old", Archived: true})
	for name, cmd := range map[string]slacksim.Command{
		"in a thread":      {User: o.alice.ID, Channel: o.ops.ID, ThreadTS: "1.000000"},
		"of another app":   {User: o.alice.ID, Channel: o.ops.ID, Command: "/nope"},
		"by a stranger":    {User: guest.ID, Channel: shared.ID},
		"by nobody":        {User: gone.ID, Channel: o.ops.ID},
		"out of sight":     {User: o.bob.ID, Channel: o.den.ID},
		"in the archive":   {User: o.alice.ID, Channel: old.ID},
		"in no channel":    {User: o.alice.ID, Channel: "C404"},
		"by the bot":       {User: o.BotUser(), Channel: o.ops.ID},
		"by nobody at all": {Channel: o.ops.ID},
	} {
		t.Run(name, func(t *testing.T) {
			out := outcome(t, o.Command(cmd))
			assert.Equal(t, slacksim.Refused, out.Result)
			assert.NotEmpty(t, out.Reason)
		})
	}
	// Where the bot is not, commands work all the same, and say little about the place.
	im := o.AddChannel(slacksim.Channel{Kind: slacksim.IM, Members: []string{o.alice.ID, o.bob.ID}})
	for channel, name := range map[string]string{im.ID: "directmessage", o.den.ID: "privategroup", o.lounge.ID: "lounge"} {
		d := o.Command(slacksim.Command{User: o.alice.ID, Channel: channel})
		f := p.next()
		var cmd map[string]string
		require.NoError(t, json.Unmarshal(f.Payload, &cmd))
		assert.Equal(t, name, cmd["channel_name"])
		p.ack(f, "")
		assert.Equal(t, slacksim.Acked, outcome(t, d).Result)
	}
	assert.Empty(t, o.Violations())
}

func TestEncodedText(t *testing.T) {
	o := newOffice(t, slacksim.Config{EncodeText: true})
	p := o.plugIn(t)
	o.types("a&b <!channel> &amp;")
	var cmd map[string]string
	require.NoError(t, json.Unmarshal(p.next().Payload, &cmd))
	assert.Equal(t, "a&amp;b &lt;!channel&gt; &amp;amp;", cmd["text"])
}

func TestViolationsOnTheSocket(t *testing.T) {
	for _, test := range []struct {
		kind slacksim.Kind
		do   func(t *testing.T, o *office, p *plug)
	}{
		{slacksim.DoubleAck, func(t *testing.T, o *office, p *plug) {
			o.types("x")
			f := p.next()
			p.ack(f, "")
			p.ack(f, "")
		}},
		{slacksim.MisplacedAck, func(t *testing.T, o *office, p *plug) {
			q := o.plugIn(t)
			d := o.Command(slacksim.Command{User: o.alice.ID, Channel: o.ops.ID, Dispatch: slacksim.Dispatch{Conn: 1}})
			q.ack(p.next(), "")
			o.await(t, func() bool { return len(o.Violations()) > 0 })
			assert.Equal(t, slacksim.OperationTimeout, outcome(t, d).Result)
		}},
		{slacksim.UnknownAck, func(t *testing.T, o *office, p *plug) { p.ack(p.hello, "") }},
		{slacksim.UnwantedPayload, func(t *testing.T, o *office, p *plug) {
			o.Send(slacksim.Envelope{Type: "interactive"})
			p.ack(p.next(), `{"text":"x"}`)
		}},
		{slacksim.BadPayload, func(t *testing.T, o *office, p *plug) {
			d := o.types("x")
			p.ack(p.next(), `{"blocks":[{"type":"header","text":{"type":"plain_text","text":"`+strings.Repeat("x", 151)+`"}}]}`)
			out := outcome(t, d)
			assert.Nil(t, out.Reply)
			assert.Equal(t, "invalid_blocks", out.Reason)
		}},
		{slacksim.BadFrame, func(t *testing.T, o *office, p *plug) { p.raw(0x81, "nonsense", true) }},
		{slacksim.FrameTooBig, func(t *testing.T, o *office, p *plug) {
			o.types("x")
			p.ack(p.next(), `"`+strings.Repeat("x", 20480)+`"`)
			closed, ok := errors.AsType[*websocket.CloseError](p.end())
			require.True(t, ok)
			assert.Equal(t, 1009, closed.Code)
		}},
		{slacksim.Fragmented, func(t *testing.T, o *office, p *plug) {
			d := o.types("x")
			f := p.next()
			p.raw(0x01, `{"envelope_id":`, true)
			p.raw(0x80, `"`+f.EnvelopeID+`"}`, true)
			assert.Equal(t, slacksim.OperationTimeout, outcome(t, d).Result)
		}},
		{slacksim.DataAfterClose, func(t *testing.T, o *office, p *plug) {
			p.raw(0x88, "\x03\xe8", true)
			p.raw(0x81, "{}", true)
		}},
		{slacksim.Vanished, func(t *testing.T, o *office, p *plug) { p.Conn.Close() }},
		{slacksim.BadPong, func(t *testing.T, o *office, p *plug) {
			p.SetPingHandler(func(string) error {
				return p.WriteControl(websocket.PongMessage, []byte("other"), time.Now().Add(time.Second))
			})
			go p.ReadMessage()
		}},
		{slacksim.ReusedTicket, func(t *testing.T, o *office, p *plug) {
			_, res, err := websocket.DefaultDialer.Dial(p.link, nil)
			require.Error(t, err)
			assert.Equal(t, http.StatusForbidden, res.StatusCode)
		}},
		{slacksim.OpenStorm, func(t *testing.T, o *office, p *plug) {
			o.Inject(slacksim.Fault{Method: "apps.connections.open", Error: "internal_error"}) // failed calls count too
			for range 4 {
				o.call(t, "apps.connections.open", o.AppToken(), nil)
			}
		}},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			cfg := slacksim.Config{AckTimeout: 300 * time.Millisecond, Connections: 4}
			if test.kind == slacksim.BadPong {
				cfg.PingEvery = 10 * time.Millisecond
			}
			o := newOffice(t, cfg)
			test.do(t, o, o.plugIn(t))
			o.await(t, func() bool { return o.CountViolations(test.kind) > 0 })
			for _, v := range o.Violations() {
				assert.Equal(t, test.kind, v.Kind, v.String())
			}
		})
	}
}

func TestPings(t *testing.T) {
	o := newOffice(t, slacksim.Config{PingEvery: 5 * time.Millisecond, DeadAfter: 3})
	p := o.plugIn(t)
	var mu sync.Mutex
	var seen []string
	pong := p.PingHandler()
	p.SetPingHandler(func(data string) error {
		mu.Lock()
		seen = append(seen, data)
		enough := len(seen) == 20
		mu.Unlock()
		if enough {
			return errors.New("enough")
		}
		return pong(data)
	})
	p.ReadMessage()
	mu.Lock()
	assert.Contains(t, seen[0], "Ping from applink-")
	mu.Unlock()
	assert.Empty(t, o.Violations())
	o.breach(t, slacksim.NoPong) // from now on nobody answers
	assert.Error(t, p.end())
}

func TestElevenSockets(t *testing.T) {
	o := newOffice(t, slacksim.Config{Connections: 20})
	for range 10 {
		o.plugIn(t)
	}
	p := o.dial(t)
	assert.Equal(t, "disconnect", p.hello.Type)
	assert.Equal(t, "too_many_websockets", p.hello.Reason)
	closed, ok := errors.AsType[*websocket.CloseError](p.end())
	require.True(t, ok)
	assert.Equal(t, 1000, closed.Code)
	o.breach(t, slacksim.TooManySockets)
}

func TestDisconnectFrames(t *testing.T) {
	o := newOffice(t, slacksim.Config{WarningCloses: 100 * time.Millisecond, RefreshCloses: 10 * time.Millisecond, Connections: 20})
	t.Run("warning still delivers, then closes", func(t *testing.T) {
		p := o.plugIn(t)
		o.Disconnect(slacksim.Disconnect{})
		assert.Equal(t, "warning", p.next().Reason)
		d := o.types("x")
		p.ack(p.next(), "")
		assert.Equal(t, slacksim.Acked, outcome(t, d).Result)
		assert.True(t, websocket.IsCloseError(p.end(), 1000))
	})
	t.Run("refresh delivers nothing more, but takes acks", func(t *testing.T) {
		p := o.plugIn(t)
		d := o.types("x")
		f := p.next()
		o.Disconnect(slacksim.Disconnect{Reason: slacksim.RefreshRequested, After: 300 * time.Millisecond})
		assert.Equal(t, slacksim.DispatchFailed, outcome(t, o.types("y")).Result)
		assert.Equal(t, "refresh_requested", p.next().Reason)
		p.ack(f, "")
		assert.Equal(t, slacksim.Acked, outcome(t, d).Result)
		assert.True(t, websocket.IsCloseError(p.end(), 1000))
	})
	t.Run("right behind an envelope in one packet", func(t *testing.T) {
		p := o.plugIn(t)
		o.Disconnect(slacksim.Disconnect{Reason: slacksim.RefreshRequested, Behind: true, After: time.Second})
		d := o.types("x")
		f := p.next()
		assert.Equal(t, "slash_commands", f.Type)
		assert.Equal(t, "refresh_requested", p.next().Reason)
		p.ack(f, "")
		assert.Equal(t, slacksim.Acked, outcome(t, d).Result)
		p.end()
	})
	t.Run("link disabled until Socket Mode is on again", func(t *testing.T) {
		p := o.plugIn(t)
		o.SetSocketMode(false)
		assert.Equal(t, "link_disabled", p.next().Reason)
		assert.Equal(t, "access_denied", o.call(t, "apps.connections.open", o.AppToken(), nil)["error"])
		p.end()
		o.SetSocketMode(true)
		o.plugIn(t).bye()
	})
	assert.Empty(t, o.Violations())
}

func TestBrokenSockets(t *testing.T) {
	o := newOffice(t, slacksim.Config{PingEvery: 5 * time.Millisecond, AckTimeout: 100 * time.Millisecond, Connections: 20})
	t.Run("reset", func(t *testing.T) {
		p := o.plugIn(t)
		o.Reset(0)
		err := p.end()
		assert.False(t, websocket.IsCloseError(err, 1000, 1001), err)
		o.await(t, func() bool { return len(o.Connections()) == 0 })
	})
	t.Run("half-open swallows and says nothing", func(t *testing.T) {
		p := o.plugIn(t)
		o.HalfOpen(0)
		assert.Equal(t, slacksim.OperationTimeout, outcome(t, o.types("x")).Result)
		q := o.dial(t)
		assert.Equal(t, 2, q.hello.Count, "it still counts")
		p.Conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
		p.Conn.Close()
		q.bye()
		o.await(t, func() bool { return len(o.Connections()) == 0 })
	})
	t.Run("nonsense and unknown types", func(t *testing.T) {
		p := o.plugIn(t)
		require.True(t, o.SendText(0, `{"type":`))
		_, raw, err := p.ReadMessage()
		require.NoError(t, err)
		assert.Equal(t, `{"type":`, string(raw))
		d := o.Send(slacksim.Envelope{Type: "quantum_leap", Payload: "?"})
		f := p.next()
		assert.Equal(t, "quantum_leap", f.Type)
		p.ack(f, "")
		assert.Equal(t, slacksim.Acked, outcome(t, d).Result)
		p.bye()
	})
	assert.Empty(t, o.Violations())
}

func TestGhosts(t *testing.T) {
	o := newOffice(t, slacksim.Config{GhostFor: 200 * time.Millisecond, AckTimeout: 50 * time.Millisecond})
	p := o.plugIn(t)
	p.Conn.Close()
	o.await(t, func() bool { c := o.Connections(); return len(c) == 1 && c[0].Ghost })
	assert.Equal(t, slacksim.OperationTimeout, outcome(t, o.types("x")).Result, "a ghost swallows")
	assert.Equal(t, 2, o.plugIn(t).hello.Count)
	o.await(t, func() bool { return len(o.Connections()) == 1 })
	o.breach(t, slacksim.Vanished)
}

func TestDuplicateAndLateDelivery(t *testing.T) {
	o := newOffice(t, slacksim.Config{AckTimeout: 150 * time.Millisecond})
	p := o.plugIn(t)
	d := o.Command(slacksim.Command{User: o.alice.ID, Channel: o.ops.ID, Dispatch: slacksim.Dispatch{Duplicate: 1}})
	f, g := p.next(), p.next()
	assert.Equal(t, f.EnvelopeID, g.EnvelopeID)
	p.ack(f, "")
	p.ack(g, "")
	assert.Equal(t, slacksim.Acked, outcome(t, d).Result)
	d.Again(slacksim.Dispatch{})
	again := p.next()
	assert.Equal(t, f.EnvelopeID, again.EnvelopeID)
	p.ack(again, "")

	d = o.Command(slacksim.Command{User: o.alice.ID, Channel: o.ops.ID, Dispatch: slacksim.Dispatch{Delay: 200 * time.Millisecond}})
	assert.Equal(t, slacksim.OperationTimeout, outcome(t, d).Result)
	p.ack(p.next(), "") // in time, counted from its arrival
	p.bye()
	o.await(t, func() bool { return len(o.Connections()) == 0 })
	assert.Empty(t, o.Violations())
}

func TestEventRetries(t *testing.T) {
	o := newOffice(t, slacksim.Config{AckTimeout: 30 * time.Millisecond, EventRetries: []time.Duration{0, 10 * time.Millisecond}})
	p := o.plugIn(t)
	first := o.Event(map[string]any{"type": "app_mention"}, slacksim.Dispatch{})
	var ids []string
	for attempt := range 3 {
		f := p.next()
		assert.Equal(t, "events_api", f.Type)
		assert.False(t, f.Accepts)
		assert.Equal(t, attempt, *f.Attempt)
		assert.Equal(t, attempt > 0, f.Why == "timeout")
		var payload struct {
			EventID string `json:"event_id"`
		}
		require.NoError(t, json.Unmarshal(f.Payload, &payload))
		ids = append(ids, payload.EventID)
		if attempt == 2 {
			p.ack(f, "")
		}
	}
	assert.Equal(t, slacksim.OperationTimeout, outcome(t, first).Result)
	assert.Equal(t, ids[0], ids[2])
	o.await(t, func() bool { list := o.Deliveries(); return list[len(list)-1].Result == slacksim.Acked })
	assert.Empty(t, o.Violations())
}

func TestAckAnywhere(t *testing.T) {
	o := newOffice(t, slacksim.Config{AckAnywhere: true})
	p, q := o.plugIn(t), o.plugIn(t)
	d := o.Command(slacksim.Command{User: o.alice.ID, Channel: o.ops.ID, Dispatch: slacksim.Dispatch{Conn: 1}})
	q.ack(p.next(), "")
	out := outcome(t, d)
	assert.Equal(t, slacksim.Acked, out.Result)
	assert.Equal(t, 1, out.SentOn)
	assert.Equal(t, 2, out.AckedOn)
	o.breach(t, slacksim.MisplacedAck)
}

// The socket URL asks for a short life, or the workspace gives one.
func TestConnectionLife(t *testing.T) {
	o := newOffice(t, slacksim.Config{ConnectionLife: 20 * time.Millisecond})
	assert.Equal(t, "warning", o.dial(t).next().Reason)
}

func TestOfflineAndBack(t *testing.T) {
	o := newOffice(t, slacksim.Config{})
	p := o.plugIn(t)
	o.GoOffline()
	assert.Error(t, p.end())
	_, err := http.Get(o.APIURL() + "auth.test")
	assert.ErrorContains(t, err, "refused")
	assert.Equal(t, slacksim.DispatchFailed, outcome(t, o.types("x")).Result)
	require.NoError(t, o.GoOnline())
	o.plugIn(t).bye()
	assert.Empty(t, o.Violations())
}

// With one seed, envelopes take the same sockets.
func TestSeed(t *testing.T) {
	route := func(seed uint64) (list []int) {
		o := newOffice(t, slacksim.Config{Seed: seed, Connections: 5})
		for range 5 {
			o.plugIn(t)
		}
		for range 30 {
			list = append(list, o.types("x").Outcome().SentOn)
		}
		return list
	}
	first := route(7)
	assert.Equal(t, first, route(7))
	assert.NotEqual(t, first, route(8))
}

// At the exact instants, what follows has not happened yet.
func TestObserver(t *testing.T) {
	o := newOffice(t, slacksim.Config{})
	p := o.plugIn(t)
	var mu sync.Mutex
	var seen []slacksim.EventKind
	remove := o.OnEvent(func(e slacksim.Event) {
		mu.Lock()
		defer mu.Unlock()
		switch e.Kind {
		case slacksim.EnvelopeSent:
			time.Sleep(20 * time.Millisecond) // the ack waits for us
		case slacksim.RequestArrived:
			assert.Empty(t, o.Messages(o.ops.ID))
		case slacksim.EffectDone:
			assert.Len(t, o.Messages(o.ops.ID), 1)
			assert.Equal(t, o.Messages(o.ops.ID)[0].TS, e.TS)
		}
		seen = append(seen, e.Kind)
	})
	events, cancel := o.Subscribe(100)
	defer cancel()
	d := o.Command(slacksim.Command{User: o.alice.ID, Channel: o.ops.ID})
	p.ack(p.next(), "")
	outcome(t, d)
	o.call(t, "chat.postMessage", o.BotToken(), map[string]string{"channel": o.ops.ID, "text": "x"})
	mu.Lock()
	assert.Equal(t, []slacksim.EventKind{
		slacksim.EnvelopeSent, slacksim.AckReceived, slacksim.DeliverySettled,
		slacksim.RequestArrived, slacksim.MessagePosted, slacksim.EffectDone,
	}, seen[:6])
	mu.Unlock()
	o.await(t, func() bool { mu.Lock(); defer mu.Unlock(); return seen[len(seen)-1] == slacksim.Answered })
	remove()
	var last uint64
	for range 7 {
		e := <-events
		assert.Greater(t, e.Seq, last)
		last = e.Seq
	}
}
