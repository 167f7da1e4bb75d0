package slacksim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// What people and other parts of Slack do: type a command, press a button, raise an event.

// A Command is a slash command somebody types.
type Command struct {
	User     string
	Channel  string
	Command  string // default the app's first
	Text     string // all after the command, as typed
	ThreadTS string // typed in this thread, where Slack refuses it
	Dispatch
}

// Command types a slash command. What Slack's client would not send at all comes back settled as Refused.
func (w *Workspace) Command(cmd Command) *Delivery {
	w.mu.Lock()
	if len(w.cfg.Commands) > 0 {
		setDefault(&cmd.Command, w.cfg.Commands[0])
	}
	d := &Delivery{
		kind: "slash_commands", accepts: true, user: cmd.User,
		command: strings.TrimSpace(cmd.Command + " " + cmd.Text),
	}
	r, u := w.byID[cmd.Channel], w.users[cmd.User]
	if why := w.refuseCommand(cmd, r, u); why != "" {
		d.w, d.done, d.begun = w, make(chan struct{}), time.Now()
		w.settle(d, Refused, why)
		w.unlock()
		return d
	}
	link := w.newURL("commands", r, u.ID, nil)
	d.reply = func(payload json.RawMessage) (*Message, *apiError) {
		return w.showReply(r, u, link, d.command, payload)
	}
	d.onFail = func(reason string) {
		w.whisper(r, u.ID, Message{User: slackbotID, Text: fmt.Sprintf("%s failed with the error \"%s\"", cmd.Command, reason)})
	}
	begin := w.dispatch(d, w.commandPayload(cmd, r, u, link), nil, cmd.Dispatch)
	w.unlock()
	begin()
	return d
}

func (w *Workspace) refuseCommand(cmd Command, r *room, u *User) string {
	switch {
	case r == nil:
		return "there is no such channel"
	case u == nil || u.Deleted || u.Bot:
		return "there is no such person at a keyboard"
	case !w.sees(r, u.ID):
		return "the person does not see this channel"
	case u.TeamID != w.cfg.TeamID && (w.cfg.EnterpriseID == "" || u.EnterpriseID != w.cfg.EnterpriseID):
		return "people of other companies have no commands here" // only members of the workspace can run them
	case cmd.ThreadTS != "":
		return cmd.Command + " is not supported in threads" // implementing-slash-commands
	case !w.isCommand(cmd.Command):
		return cmd.Command + " is not a valid command"
	case r.Archived:
		return "the channel is archived"
	}
	return ""
}

// commandPayload is what the app gets (implementing-slash-commands). All values are strings.
func (w *Workspace) commandPayload(cmd Command, r *room, u *User, link *responseURL) answer {
	text := cmd.Text
	if w.cfg.EncodeText {
		text = escape.Replace(text)
	}
	payload := answer{
		"token": "sim", "team_id": w.cfg.TeamID, "team_domain": w.cfg.TeamDomain, "channel_id": r.ID,
		"channel_name": r.payloadName(), "user_id": u.ID, "user_name": u.Name, "command": cmd.Command, "text": text,
		"api_app_id": w.cfg.AppID, "is_enterprise_install": "false", "response_url": w.URL() + link.path,
		"trigger_id": w.newTrigger(u.ID),
	}
	if w.cfg.EnterpriseID != "" {
		payload["enterprise_id"], payload["enterprise_name"] = w.cfg.EnterpriseID, "Grid"
	}
	return payload
}

// payloadName is a channel's name in payloads: private ones do not tell theirs.
func (r *room) payloadName() string {
	switch r.Kind {
	case IM:
		return "directmessage"
	case Private, MPIM:
		return "privategroup"
	}
	return r.Name
}

// showReply shows an ack's payload: a message to the sender, or to all.
func (w *Workspace) showReply(r *room, u *User, link *responseURL, typed string, payload json.RawMessage) (*Message, *apiError) {
	body, err := readReply(payload)
	if err != nil {
		return nil, err
	}
	public := body.ResponseType == "in_channel"
	if public {
		w.place(r, Message{User: u.ID, Text: w.sanitise(typed, reading{})}) // the typed command becomes visible
		if body.empty() {
			return nil, nil
		}
	}
	m, err := w.compose(body.args(), "")
	if err != nil {
		return nil, err
	}
	shown := w.deliverReply(r, u.ID, w.ours(m), public)
	link.answer = shown
	copied := shown.Message
	return &copied, nil
}

// A Click is a press of a button.
type Click struct {
	User     string
	Channel  string
	TS       string // of the message, ephemeral ones included
	ActionID string // of the button; may be left empty if BlockID or Value is enough
	BlockID  string
	Value    string
	// Stale is an older view of the message that this person still sees, as a phone may: its buttons can be clicked
	// although the message has changed or gone.
	Stale *Message
	Dispatch
}

// Click presses a button. It fails if there is no such button for this person to press.
func (w *Workspace) Click(click Click) (*Delivery, error) {
	w.mu.Lock()
	r, u := w.byID[click.Channel], w.users[click.User]
	m, b, err := w.findButton(click, r, u)
	if err != nil {
		w.unlock()
		return nil, err
	}
	d := &Delivery{kind: "interactive", accepts: w.cfg.ButtonAcceptsPayload, user: u.ID, command: b.ActionID}
	begin := w.dispatch(d, w.clickPayload(r, u, m, b), nil, click.Dispatch)
	if m.clicks == nil {
		m.clicks = map[string]*Delivery{}
	}
	m.clicks[b.BlockID+"/"+b.ActionID] = d
	w.unlock()
	begin()
	return d, nil
}

func (w *Workspace) findButton(click Click, r *room, u *User) (*message, Button, error) {
	switch {
	case r == nil:
		return nil, Button{}, fmt.Errorf("slacksim: no channel %s", click.Channel)
	case u == nil || u.Deleted || u.Bot:
		return nil, Button{}, fmt.Errorf("slacksim: no person %s at a keyboard", click.User)
	case !w.sees(r, u.ID):
		return nil, Button{}, fmt.Errorf("slacksim: %s does not see channel %s", u.Name, click.Channel)
	case r.Archived:
		return nil, Button{}, errors.New("slacksim: the channel is archived")
	}
	m := r.find(click.TS)
	for _, e := range w.ephemerals[u.ID] {
		if e.Channel == r.ID && e.TS == click.TS {
			m = e
		}
	}
	view := r.all[click.TS]
	var seen json.RawMessage
	switch {
	case click.Stale != nil:
		if m == nil {
			m = view // gone, but still on this person's screen
		}
		seen = click.Stale.Blocks
	case m != nil:
		seen = m.Blocks
	}
	if m == nil {
		return nil, Button{}, fmt.Errorf("slacksim: no message %s in %s", click.TS, click.Channel)
	}
	for _, b := range buttons(seen) {
		if (click.ActionID == "" || b.ActionID == click.ActionID) && (click.BlockID == "" || b.BlockID == click.BlockID) &&
			(click.Value == "" || b.Value == click.Value) {
			return m, b, nil
		}
	}
	return nil, Button{}, fmt.Errorf("slacksim: no button %s on message %s", click.ActionID, click.TS)
}

// clickPayload is a block_actions payload (reference/interaction-payloads/block_actions-payload).
func (w *Workspace) clickPayload(r *room, u *User, m *message, b Button) answer {
	action := answer{"action_ts": w.nextTS(r), "block_id": b.BlockID}
	for _, key := range []string{"type", "action_id", "text", "value", "style", "url"} {
		if v := b.raw[key]; v != nil {
			action[key] = v
		}
	}
	container := answer{"type": "message", "message_ts": m.TS, "channel_id": r.ID, "is_ephemeral": m.For != ""}
	if m.ThreadTS != "" {
		container["thread_ts"] = m.ThreadTS
	}
	channelName := r.Name
	if r.Kind != Public {
		channelName = r.payloadName()
	}
	link := w.newURL("actions", r, u.ID, m)
	payload := answer{
		"type": "block_actions", "api_app_id": w.cfg.AppID, "token": "sim",
		"team":       answer{"id": w.cfg.TeamID, "domain": w.cfg.TeamDomain},
		"enterprise": nil, "is_enterprise_install": false,
		"user":      answer{"id": u.ID, "username": u.Name, "name": u.Name, "team_id": u.TeamID},
		"container": container, "channel": answer{"id": r.ID, "name": channelName},
		"state": answer{"values": answer{}}, "trigger_id": w.newTrigger(u.ID), "response_url": w.URL() + link.path,
		"actions": []any{action},
	}
	if w.cfg.EnterpriseID != "" {
		payload["enterprise"] = answer{"id": w.cfg.EnterpriseID, "name": "Grid"}
	}
	if m.For == "" {
		wm := w.wire(m, true)
		if w.cfg.NoClickMetadata {
			wm.Metadata = nil
		}
		payload["message"] = wm
	}
	return payload
}

// An Envelope is anything else that comes down a socket.
type Envelope struct {
	Type    string // such as "interactive", or one that no client knows
	Payload any    // of any shape, also a wrong one
	Accepts bool   // accepts_response_payload
	Dispatch
}

// Send sends an envelope of any type. It counts as failed without an ack, like every other.
func (w *Workspace) Send(e Envelope) *Delivery {
	w.mu.Lock()
	d := &Delivery{kind: e.Type, accepts: e.Accepts}
	begin := w.dispatch(d, e.Payload, nil, e.Dispatch)
	w.unlock()
	begin()
	return d
}

// eventRetry is what is left of the tries of an events_api envelope.
type eventRetry struct {
	payload answer
	attempt int
	how     Dispatch
}

// Event sends an events_api envelope with this inner event. Without an ack it comes again, under a new envelope id and
// with retry_attempt counted up, as often as Config.EventRetries says; each try is a Delivery of its own in
// [Workspace.Deliveries].
func (w *Workspace) Event(event map[string]any, how Dispatch) *Delivery {
	w.mu.Lock()
	payload := answer{
		"type": "event_callback", "event_id": "Ev" + strings.ToUpper(w.uuid()[:8]), "event_time": w.now().Unix(),
		"team_id": w.cfg.TeamID, "api_app_id": w.cfg.AppID, "event": event, "is_ext_shared_channel": false,
		"authorizations": []answer{{
			"enterprise_id": nil, "team_id": w.cfg.TeamID, "user_id": w.botUser, "is_bot": true, "is_enterprise_install": false,
		}},
	}
	d, begin := w.tryEvent(&eventRetry{payload: payload, how: how})
	w.unlock()
	begin()
	return d
}

// tryEvent makes one try. The caller holds mu.
func (w *Workspace) tryEvent(try *eventRetry) (*Delivery, func()) {
	reason := ""
	if try.attempt > 0 {
		reason = "timeout"
	}
	d := &Delivery{kind: "events_api", events: try}
	begin := w.dispatch(d, try.payload, answer{"retry_attempt": try.attempt, "retry_reason": reason}, try.how)
	return d, begin
}

// retryEvent arranges the next try. The caller holds mu.
func (w *Workspace) retryEvent(d *Delivery) {
	next := *d.events
	if w.closed || next.attempt >= len(w.cfg.EventRetries) {
		return
	}
	wait := w.cfg.EventRetries[next.attempt]
	next.attempt++
	w.after(wait, func() {
		w.mu.Lock()
		_, begin := w.tryEvent(&next)
		w.unlock()
		begin()
	})
}

// replyBody is a message as an ack payload or a response_url takes it.
type replyBody struct {
	Text            *string         `json:"text"`
	Blocks          json.RawMessage `json:"blocks"`
	Attachments     json.RawMessage `json:"attachments"`
	ResponseType    string          `json:"response_type"`
	ReplaceOriginal json.RawMessage `json:"replace_original"` // true or "true"
	DeleteOriginal  json.RawMessage `json:"delete_original"`
	ThreadTS        string          `json:"thread_ts"`
	Metadata        json.RawMessage `json:"metadata"`
}

// readReply reads a reply; a bare JSON string is its text.
func readReply(raw json.RawMessage) (replyBody, *apiError) {
	var body replyBody
	var text string
	if json.Unmarshal(raw, &text) == nil {
		body.Text = &text
		return body, nil
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return body, &apiError{code: "invalid_payload", violation: BadPayload}
	}
	if !slices.Contains([]string{"", "ephemeral", "in_channel"}, body.ResponseType) {
		return body, &apiError{code: "invalid_payload", messages: []string{"response_type " + body.ResponseType}, violation: BadPayload}
	}
	return body, nil
}

func (b replyBody) empty() bool { return b.args().Get("text") == "" && !b.args().Has("blocks") }

// args turns a reply into the arguments compose reads.
func (b replyBody) args() url.Values {
	args := url.Values{}
	if b.Text != nil {
		args.Set("text", *b.Text)
	}
	for key, raw := range map[string]json.RawMessage{"blocks": b.Blocks, "attachments": b.Attachments, "metadata": b.Metadata} {
		if s := string(raw); s != "" && s != "null" {
			args.Set(key, s)
		}
	}
	return args
}

// yes reads a boolean that some clients send as a string.
func yes(raw json.RawMessage) bool { return string(raw) == "true" || string(raw) == `"true"` }

// deliverReply shows a reply to one person or to all.
func (w *Workspace) deliverReply(r *room, user string, m Message, public bool) *message {
	if public {
		if parent := r.find(m.ThreadTS); parent == nil {
			m.ThreadTS = ""
		}
		return w.place(r, m)
	}
	return w.whisper(r, user, m)
}
