package slacksim

import (
	"net/http"
	"strconv"
	"time"
)

// Moment is when a fault strikes.
type Moment int

const (
	Before Moment = iota // instead of the effect: failed and not done
	After                // instead of the answer: failed but done
)

// A Fault is one way for a Web API call, or a post to a response_url, to go wrong. Method, Channel, Skip and Count say
// which calls it meets; When and the rest say what happens to them. A Fault that only has a Delay or HideFor slows the
// call or hides its message, and the call succeeds.
type Fault struct {
	Method  string // such as chat.postMessage, or "response_url"; "" = all
	Channel string // as the request names it; "" = all
	Skip    int    // so many calls pass unharmed first
	Count   int    // so many calls are met; 0 = until removed

	When       Moment
	Delay      time.Duration // wait this long first
	Error      string        // answer {"ok":false,"error":…} with status 200; fatal_error After = "but it was written"
	Status     int           // answer with this HTTP status and Body: 500, 502, 503 …; 429 pauses method or channel
	RetryAfter int           // seconds, with Status 429; default 1
	Body       string        // with Status; default is Slack's JSON for it
	Reset      bool          // no answer: the TCP connection is reset
	Hang       bool          // no answer until the client gives up
	HideFor    time.Duration // a message this call writes is not in history or replies for this long
}

// An Injection is a Fault at work.
type Injection struct {
	Fault
	w   *Workspace
	met int
}

// Inject lets a fault happen from now on. Of several that fit a call, the oldest strikes.
func (w *Workspace) Inject(f Fault) *Injection {
	w.mu.Lock()
	defer w.mu.Unlock()
	inj := &Injection{Fault: f, w: w}
	w.faults = append(w.faults, inj)
	return inj
}

// Remove ends a fault.
func (f *Injection) Remove() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.dropFault(f)
}

// Hits counts the calls met so far.
func (f *Injection) Hits() int {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return max(0, f.met-f.Skip)
}

// ClearFaults ends all faults.
func (w *Workspace) ClearFaults() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = nil
}

func (w *Workspace) dropFault(f *Injection) {
	for i, other := range w.faults {
		if other == f {
			w.faults = append(w.faults[:i:i], w.faults[i+1:]...)
			return
		}
	}
}

// faultFor returns the fault that meets this call, or nil.
func (w *Workspace) faultFor(method, channel string) *Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.faults {
		if f.Method != "" && f.Method != method || f.Channel != "" && f.Channel != channel {
			continue
		}
		f.met++
		if f.met <= f.Skip {
			continue
		}
		if f.Count > 0 && f.met-f.Skip >= f.Count {
			w.dropFault(f)
		}
		return &f.Fault
	}
	return nil
}

func (f *Fault) hits(when Moment) bool { return f != nil && f.When == when }

// strike makes the fault happen and reports whether the call is over.
func (w *Workspace) strike(rw http.ResponseWriter, r *http.Request, c *call, f *Fault) bool {
	w.sleep(r.Context(), f.Delay)
	switch {
	case f.Hang:
		select {
		case <-r.Context().Done():
		case <-w.ctx.Done():
		}
		abort(rw)
	case f.Reset:
		abort(rw)
	case f.Status == http.StatusTooManyRequests:
		w.refuseRate(rw, c, time.Duration(max(1, f.RetryAfter))*time.Second)
	case f.Status != 0:
		body, kind := f.Body, "text/html; charset=utf-8"
		if body == "" {
			body, kind = `{"ok":false,"error":"`+statusError(f.Status)+`"}`, "application/json; charset=utf-8"
		}
		rw.Header().Set("Content-Type", kind)
		w.write(rw, c, f.Status, []byte(body), strconv.Itoa(f.Status))
	case f.Error != "":
		w.reply(rw, c, http.StatusOK, nil, refuse(f.Error))
	default:
		return false
	}
	return true
}

func statusError(status int) string {
	if status == http.StatusServiceUnavailable {
		return "service_unavailable"
	}
	return "internal_error"
}
