package slacksim

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// maxUses is how often a response_url can be used (interactivity/handling-user-interaction).
const maxUses = 5

type urls struct {
	paths map[string]*responseURL
	queue []*responseURL // as made, to forget the old
}

// A responseURL is the right to answer one person in one place.
type responseURL struct {
	path   string
	room   *room
	user   string
	source *message // the clicked message
	answer *message // what was last said through it
	until  time.Time
	uses   int
}

// maxURLs bounds how many are remembered; older ones answer as if they had never been.
const maxURLs = 20_000

// newURL makes a response_url. The caller holds mu.
func (w *Workspace) newURL(kind string, r *room, user string, source *message) *responseURL {
	u := &responseURL{
		path: fmt.Sprintf("/%s/%s/%d/%024x", kind, w.cfg.TeamID, w.rng.Uint64N(1e13), w.rng.Uint64()),
		room: r, user: user, source: source, until: w.now().Add(w.cfg.URLLife),
	}
	w.paths[u.path] = u
	w.queue = append(w.queue, u)
	if len(w.queue) > maxURLs {
		for _, old := range w.queue[:maxURLs/2] {
			delete(w.paths, old.path)
		}
		w.queue = slices.Clone(w.queue[maxURLs/2:])
	}
	return u
}

// serveResponseURL answers a post to a response_url: "ok", or an error of unconfirmed wording.
func (w *Workspace) serveResponseURL(rw http.ResponseWriter, r *http.Request) {
	if !w.enter() {
		abort(rw)
		return
	}
	defer w.wg.Done()
	c := &call{method: "response_url", args: url.Values{}, at: time.Now()}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/x-www-form-urlencoded" {
		form, _ := url.ParseQuery(string(body))
		body = []byte(form.Get("payload"))
	}
	w.mu.Lock()
	u := w.paths[r.URL.Path]
	if u != nil {
		c.args.Set("channel", u.room.ID)
	}
	w.mu.Unlock()

	w.publish(Event{Kind: RequestArrived, Method: c.method, Channel: c.arg("channel")})
	fault := w.faultFor(c.method, c.arg("channel"))
	if fault.hits(Before) && w.strike(rw, r, c, fault) {
		return
	}
	apiErr, status := w.respond(u, r.Method, kind, body)
	e := Event{Kind: EffectDone, Method: c.method, Channel: c.arg("channel")}
	if apiErr != nil {
		e.Error = apiErr.code
	}
	w.publish(e)
	if fault.hits(After) && w.strike(rw, r, c, fault) {
		return
	}
	if apiErr != nil {
		w.reply(rw, c, status, nil, apiErr)
		return
	}
	rw.Header().Set("Content-Type", "text/html")
	w.write(rw, c, http.StatusOK, []byte("ok"), "")
}

// respond lets a reply take effect.
func (w *Workspace) respond(u *responseURL, verb, kind string, raw []byte) (e *apiError, status int) {
	w.mu.Lock()
	defer w.unlock()
	defer func() {
		if e != nil && e.violation != "" {
			w.violate(e.violation, 0, "a post to a response_url was refused with %s%s", e.code, because(e))
		}
	}()
	switch {
	case u == nil:
		return refuse("no_such_url"), http.StatusNotFound
	case w.now().After(u.until):
		return &apiError{code: "expired_url", violation: SpentURL}, w.cfg.ExpiredURLStatus
	case u.uses >= maxUses:
		return &apiError{code: "used_url", violation: SpentURL}, w.cfg.ExpiredURLStatus
	case verb != http.MethodPost || kind == "":
		return &apiError{code: "invalid_payload", violation: Malformed}, http.StatusBadRequest
	}
	body, e := readReply(raw)
	if e != nil {
		return e, http.StatusBadRequest
	}
	target := u.answer
	if target == nil {
		target = u.source
	}
	if yes(body.DeleteOriginal) {
		u.uses++
		if target != nil {
			w.takeBack(u.room, target)
		}
		return nil, 0
	}
	m, e := w.compose(body.args(), "")
	if e != nil {
		e.violation = BadPayload
		return e, http.StatusBadRequest
	}
	u.uses++
	replace := yes(body.ReplaceOriginal)
	if len(body.ReplaceOriginal) == 0 {
		replace = w.cfg.ReplaceByDefault && u.source != nil
	}
	switch {
	case replace && target != nil:
		w.rewrite(u.room, target, m, body.Metadata != nil && m.Metadata != nil)
	default:
		m = w.ours(m)
		m.ThreadTS = body.ThreadTS
		shown := w.deliverReply(u.room, u.user, m, body.ResponseType == "in_channel")
		if u.source == nil {
			u.answer = shown
		}
	}
	return nil, 0
}

// rewrite replaces the original, which stays as public or private as it was.
func (w *Workspace) rewrite(r *room, target *message, m Message, metadata bool) {
	if target.For == "" {
		if !target.Deleted {
			w.amend(r, target, m, metadata, true)
		}
		return
	}
	target.Text, target.Blocks, target.Attachments = m.Text, m.Blocks, m.Attachments
	w.note(Event{Kind: EphemeralShown, Channel: r.ID, TS: target.TS, User: target.For})
}

// takeBack deletes the original.
func (w *Workspace) takeBack(r *room, target *message) {
	if target.For == "" {
		if !target.Deleted {
			w.remove(r, target, w.botUser)
		}
		return
	}
	list := w.ephemerals[target.For]
	for i, m := range list {
		if m == target {
			w.ephemerals[target.For] = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	w.note(Event{Kind: MessageDeleted, Channel: r.ID, TS: target.TS, User: target.For})
}
