package zegosim

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Fault is trouble made on purpose for the calls it applies to. A call is
// judged and logged as ever; the fault changes when it takes effect, whether,
// and what its sender gets to see.
type Fault struct {
	// Which calls. Of several faults the oldest that fits applies.
	Action string `json:"action"` // "" = any
	RoomID string `json:"room"`   // "" = any
	Count  int    `json:"count"`  // how many calls; 0 = all until ClearFaults

	Before time.Duration `json:"before"` // from arrival until it takes effect
	After  time.Duration `json:"after"`  // from then until the answer
	Skip   bool          `json:"skip"`   // it never takes effect, though the answer says so
	Skew   time.Duration `json:"skew"`   // how far ahead ZEGO's clock is when it looks at the timestamp

	// Instead of the answer; the first of these that is set.
	Reset    bool   `json:"reset"`    // the connection is reset
	Silent   bool   `json:"silent"`   // nothing comes, the connection stays open
	Status   int    `json:"status"`   // this HTTP status with a page in HTML
	Redirect string `json:"redirect"` // HTTP 302 to this URL
	Body     string `json:"body"`     // HTTP 200 with this, as it is
	Oversize bool   `json:"oversize"` // a true answer of a megabyte

	// Changes to the answer.
	Code             int    `json:"code"`        // this code, whatever happened; 0 = the true one
	Message          string `json:"message"`     // "" = the true one
	Truncate         bool   `json:"truncate"`    // the JSON ends half-way, HTTP does not notice
	ContentType      string `json:"contentType"` // "" = application/json
	NumericRequestID bool   `json:"numericRequestId"`
}

// AddFault adds a fault to those that apply.
func (s *Server) AddFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
}

// ClearFaults ends all faults. Calls in hand keep theirs.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// takeFault uses up one call's worth of the fault that applies to c, if any.
func (s *Server) takeFault(c *call) Fault {
	for i, f := range s.faults {
		if f.Action != "" && f.Action != c.Action || f.RoomID != "" && f.RoomID != c.RoomID {
			continue
		}
		if f.Count == 1 {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		} else if f.Count > 1 {
			s.faults[i].Count--
		}
		return f
	}
	return Fault{}
}

// String says what the fault does; nothing for no fault.
func (f Fault) String() string {
	var parts []string
	add := func(does bool, format string, args ...any) {
		if does {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(f.Skew != 0, "clock %v ahead", f.Skew)
	add(f.Before > 0, "%v late", f.Before)
	add(f.Skip, "not executed")
	add(f.After > 0, "answered %v late", f.After)
	add(f.Reset, "connection reset")
	add(f.Silent, "never answered")
	add(f.Status != 0, "HTTP %d", f.Status)
	add(f.Redirect != "", "redirected")
	add(f.Body != "", "other body")
	add(f.Oversize, "oversized")
	add(f.Code != 0, "code %d", f.Code)
	add(f.Message != "", "other message")
	add(f.Truncate, "truncated")
	add(f.ContentType != "", "as %s", f.ContentType)
	add(f.NumericRequestID, "numeric RequestId")
	return strings.Join(parts, ", ")
}

// answer sends what the call came to, or what its fault makes of it.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, c *call, code int, data any) {
	f := c.fault
	w.Header().Set("Date", c.Time.Add(f.Skew).UTC().Format(http.TimeFormat))
	if f.Code != 0 {
		code, data = f.Code, nil
	}
	switch {
	case f.Reset:
		reset(w)
		return
	case f.Silent:
		select {
		case <-r.Context().Done():
		case <-s.done:
		}
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		page := fmt.Sprintf("<html><head><title>%[1]d</title></head><body><h1>%[1]d %[2]s</h1></body></html>\n", f.Status, http.StatusText(f.Status))
		send(w, f.Status, "text/html", []byte(page))
		return
	case f.Redirect != "":
		w.Header().Set("Location", f.Redirect)
		send(w, http.StatusFound, "text/html", nil)
		return
	}
	e := envelope{Code: code, Message: message(code), RequestId: c.RequestID, Data: data}
	if f.Message != "" {
		e.Message = f.Message
	}
	if f.NumericRequestID {
		n, _ := strconv.ParseUint(c.RequestID, 10, 64)
		e.RequestId = n
	}
	if f.Oversize {
		e.Data = strings.Repeat("x", 1<<20)
	}
	body := e.json()
	if f.Truncate {
		body = body[:len(body)/2]
	}
	if f.Body != "" {
		body = []byte(f.Body)
	} else {
		s.mu.Lock()
		c.Code = code
		s.mu.Unlock()
	}
	contentType := "application/json"
	if f.ContentType != "" {
		contentType = f.ContentType
	}
	send(w, http.StatusOK, contentType, body)
}

// send writes an answer through to the wire.
func send(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
	http.NewResponseController(w).Flush()
}

// reset ends the connection with a RST rather than a FIN.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // no connection of our own; the server above will cut it
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}
