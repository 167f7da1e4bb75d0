package slacksim

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds a request body, in bytes.
const maxBody = 4 << 20

type answer map[string]any

// An apiError is a refusal in Slack's words.
type apiError struct {
	code      string
	messages  []string // response_metadata.messages
	needed    string
	provided  string
	violation Kind // set = a well-made client does not get here
}

func refuse(code string) *apiError { return &apiError{code: code} }

type tokenKind string

const (
	botToken tokenKind = "xoxb"
	appToken tokenKind = "xapp"
)

// tokens holds what is wrong with the app's tokens at the moment.
type tokens struct {
	trouble map[tokenKind]string // error code, "" = fine
	offMode bool                 // Socket Mode is switched off
}

// A call is one Web API request as a method sees it, whichever of Slack's encodings it came in.
type call struct {
	method string
	args   url.Values // JSON values other than strings are their JSON text
	token  string
	header bool // the token came in the Authorization header
	get    bool
	at     time.Time // arrival, real time
	open   *opening  // of apps.connections.open
}

func (c *call) arg(key string) string { return c.args.Get(key) }
func (c *call) has(key string) bool   { return c.args.Has(key) }
func (c *call) flag(key string) bool {
	v := strings.ToLower(c.arg(key))
	return v == "true" || v == "1"
}

// A method is a row of Slack's list of Web API methods.
type method struct {
	token     tokenKind
	scopes    []string // all are needed; methods that depend on the kind of channel check for themselves
	perMinute int      // the tier: 20, 50, 100; 0 = special
	run       func(*Workspace, *call) (answer, *apiError)
}

var methods = map[string]method{
	"apps.connections.open": {appToken, []string{"connections:write"}, 50, (*Workspace).connectionsOpen},
	"auth.test":             {botToken, nil, 0, (*Workspace).authTest},
	"bots.info":             {botToken, []string{"users:read"}, 50, (*Workspace).botsInfo},
	"chat.delete":           {botToken, []string{"chat:write"}, 50, (*Workspace).chatDelete},
	"chat.getPermalink":     {botToken, nil, 0, (*Workspace).chatGetPermalink},
	"chat.postEphemeral":    {botToken, []string{"chat:write"}, 100, (*Workspace).chatPostEphemeral},
	"chat.postMessage":      {botToken, []string{"chat:write"}, 0, (*Workspace).chatPostMessage},
	"chat.update":           {botToken, []string{"chat:write"}, 50, (*Workspace).chatUpdate},
	"conversations.history": {botToken, nil, 50, (*Workspace).conversationsHistory},
	"conversations.info":    {botToken, nil, 50, (*Workspace).conversationsInfo},
	"conversations.join":    {botToken, []string{"channels:join"}, 50, (*Workspace).conversationsJoin},
	"conversations.open":    {botToken, []string{"im:write"}, 50, (*Workspace).conversationsOpen},
	"conversations.replies": {botToken, nil, 50, (*Workspace).conversationsReplies},
	"usergroups.users.list": {botToken, []string{"usergroups:read"}, 20, (*Workspace).usergroupsUsersList},
	"users.info":            {botToken, []string{"users:read"}, 100, (*Workspace).usersInfo},
	"views.open":            {botToken, nil, 100, (*Workspace).viewsOpen},
	"views.update":          {botToken, nil, 100, (*Workspace).viewsUpdate},
}

// serveAPI is the way of every Web API call: read, faults before, token, scopes, pace, effect, faults after, answer.
func (w *Workspace) serveAPI(rw http.ResponseWriter, r *http.Request) {
	if !w.enter() {
		abort(rw)
		return
	}
	defer w.wg.Done()

	c, err := readCall(r)
	if err != nil {
		w.reply(rw, c, http.StatusOK, nil, &apiError{code: "invalid_form_data", violation: Malformed})
		return
	}
	channel := c.arg("channel")
	if c.method == "apps.connections.open" {
		w.countOpen(c)
	}
	if w.watched() || w.listening() {
		w.publish(Event{Kind: RequestArrived, Method: c.method, Channel: channel, TS: c.arg("ts"), ThreadTS: c.arg("thread_ts")})
	}

	fault := w.faultFor(c.method, channel)
	if fault.hits(Before) {
		if w.strike(rw, r, c, fault) {
			return
		}
	}

	ans, ts, apiErr, wait := w.perform(c)
	if wait > 0 {
		w.refuseRate(rw, c, wait)
		return
	}
	if apiErr == nil && fault != nil && fault.HideFor > 0 && ts != "" {
		w.Hide(ans["channel"].(string), ts, fault.HideFor)
	}
	if w.watched() || w.listening() {
		e := Event{Kind: EffectDone, Method: c.method, Channel: channel, TS: ts, ThreadTS: c.arg("thread_ts")}
		if apiErr != nil {
			e.Error = apiErr.code
		}
		w.publish(e)
	}
	if fault.hits(After) {
		if w.strike(rw, r, c, fault) {
			return
		}
	}
	w.reply(rw, c, http.StatusOK, ans, apiErr)
}

// enter counts a handler, so that Close can wait for it.
func (w *Workspace) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.wg.Add(1)
	return true
}

// listening reports whether anybody subscribes or waits.
func (w *Workspace) listening() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.subscribers) > 0 || w.waiting > 0
}

// perform checks token, scopes and pace and lets the method take effect. A positive wait means 429; ts is that of the
// message written, if any.
func (w *Workspace) perform(c *call) (ans answer, ts string, apiErr *apiError, wait time.Duration) {
	w.mu.Lock()
	defer w.unlock()
	defer func() {
		if apiErr != nil && apiErr.violation != "" {
			w.violate(apiErr.violation, 0, "%s was refused with %s%s", c.method, apiErr.code, because(apiErr))
		}
	}()
	m, known := methods[c.method]
	if !known {
		return nil, "", &apiError{code: "unknown_method", violation: Malformed}, 0
	}
	if wait := w.limit(c, m); wait > 0 {
		return nil, "", nil, wait
	}
	if apiErr := w.authorise(c, m); apiErr != nil {
		return nil, "", apiErr, 0
	}
	ans, apiErr = m.run(w, c)
	if apiErr == nil {
		ts, _ = ans["ts"].(string)
		if ts == "" {
			ts, _ = ans["message_ts"].(string)
		}
	}
	return ans, ts, apiErr, 0
}

func because(e *apiError) string {
	switch {
	case len(e.messages) > 0:
		return ": " + strings.Join(e.messages, "; ")
	case e.needed != "":
		return ": needed " + e.needed
	}
	return ""
}

// authorise checks token kind, token and scopes. The caller holds mu.
func (w *Workspace) authorise(c *call, m method) *apiError {
	var kind tokenKind
	switch c.token {
	case "":
		return refuse("not_authed")
	case w.cfg.BotToken:
		kind = botToken
	case w.cfg.AppToken:
		kind = appToken
	default:
		return refuse("invalid_auth")
	}
	if trouble := w.trouble[kind]; trouble != "" {
		return refuse(trouble)
	}
	if kind != m.token {
		return &apiError{code: "not_allowed_token_type", violation: WrongToken}
	}
	granted := w.cfg.Scopes
	if kind == appToken {
		granted = w.cfg.AppScopes
	}
	for _, scope := range m.scopes {
		if !slices.Contains(granted, scope) {
			return w.lacking(scope)
		}
	}
	return nil
}

func (w *Workspace) lacking(scope string) *apiError {
	granted := w.cfg.Scopes
	if scope == "connections:write" {
		granted = w.cfg.AppScopes
	}
	return &apiError{code: "missing_scope", needed: scope, provided: strings.Join(granted, ","), violation: MissingScope}
}

// granted reports whether the bot token has a scope.
func (w *Workspace) granted(scope string) bool { return slices.Contains(w.cfg.Scopes, scope) }

// RefuseBotToken has every call with the bot token refused with this error, such as token_revoked or account_inactive;
// "" ends it.
func (w *Workspace) RefuseBotToken(code string) { w.refuseToken(botToken, code) }

// RefuseAppToken does the same with the app-level token. Sockets already open stay open.
func (w *Workspace) RefuseAppToken(code string) { w.refuseToken(appToken, code) }

func (w *Workspace) refuseToken(kind tokenKind, code string) {
	w.mu.Lock()
	defer w.unlock()
	w.trouble[kind] = code
	w.note(Event{Kind: WorldChanged})
}

// readCall takes a request in any of the forms Slack accepts: form, JSON, or query (web API, "POST bodies").
func readCall(r *http.Request) (*call, error) {
	c := &call{method: r.PathValue("method"), args: r.URL.Query(), get: r.Method == http.MethodGet, at: time.Now()}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		c.token, c.header = bearer, true
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return c, err
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case len(bytes.TrimSpace(body)) == 0:
	case kind == "application/json":
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(body, &fields); err != nil {
			return c, err
		}
		for key, raw := range fields {
			var s string
			if string(raw) == "null" {
				continue
			} else if json.Unmarshal(raw, &s) == nil {
				c.args.Set(key, s)
			} else {
				c.args.Set(key, string(raw))
			}
		}
	default:
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return c, err
		}
		for key, values := range form {
			c.args[key] = values
		}
		if c.token == "" {
			c.token = form.Get("token")
		}
	}
	if c.token == "" {
		c.token = c.arg("token")
	}
	return c, nil
}

// reply writes Slack's answer: status 200 also for refusals.
func (w *Workspace) reply(rw http.ResponseWriter, c *call, status int, ans answer, e *apiError) {
	out := answer{"ok": e == nil}
	for key, value := range ans {
		out[key] = value
	}
	if e != nil {
		out["error"] = e.code
		if e.needed != "" {
			out["needed"], out["provided"] = e.needed, e.provided
		}
		if e.messages != nil {
			out["response_metadata"] = answer{"messages": e.messages}
			out["errors"] = e.messages
		}
	}
	body, _ := marshal(out)
	h := rw.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Date", w.now().UTC().Format(http.TimeFormat))
	h.Set("X-OAuth-Scopes", strings.Join(w.cfg.Scopes, ","))
	if needed := methods[c.method].scopes; needed != nil {
		h.Set("X-Accepted-OAuth-Scopes", strings.Join(needed, ","))
	}
	code := ""
	if e != nil {
		code = e.code
	}
	w.write(rw, c, status, body, code)
}

// write sends an answer and says so.
func (w *Workspace) write(rw http.ResponseWriter, c *call, status int, body []byte, code string) {
	rw.Header().Set("Content-Length", strconv.Itoa(len(body)))
	rw.WriteHeader(status)
	rw.Write(body)
	http.NewResponseController(rw).Flush()
	if w.watched() || w.listening() {
		w.publish(Event{Kind: Answered, Method: c.method, Channel: c.arg("channel"), Status: status, Error: code})
	}
}

// abort resets the connection under a request.
func abort(rw http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(rw).Hijack(); err == nil {
		reset(conn)
	}
}

// reset closes TCP the rude way: the peer sees a reset, not an end.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}
