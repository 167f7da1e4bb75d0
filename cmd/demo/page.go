package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"zegoclose/internal/slacksim"
)

// pageAddr is where the page listens unless -addr says otherwise, or it is taken.
const pageAddr = "127.0.0.1:7072"

//go:embed page/index.html
var indexPage string

//go:embed page/*.js page/*.css page/*.svg page/icons/*.svg
var pageFiles embed.FS

// site serves the page: the workspace as its people see it, and what is behind it. Whoever
// has the page can be anybody and break anything, so it is served to this machine only, and
// answers no page but its own.
type site struct {
	*house
	keeper  *keeper
	tail    *tail
	trouble *trouble
	host    string // as browsers name it, with the port
	index   *template.Template
}

// servePage builds a house, starts the bot in it, and serves the page until ctx ends.
func servePage(ctx context.Context, addr string, out io.Writer, environ []string) error {
	listener, err := listen(addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	s, err := newSite(listener.Addr().String())
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 32 << 10}
	go server.Serve(listener)
	go s.bustle()
	address := "http://" + s.host + "/"
	fmt.Fprintf(out, "A Slack workspace, ZEGO's rooms and the true bot between them, in the browser:\n\n  %s\n\nCtrl-C ends it and leaves nothing behind.\n", address)
	if isTerminal(out) {
		openBrowser(address, environ)
	}
	<-ctx.Done()
	s.interrupt()
	server.Close()
	return s.close()
}

// newSite builds a house with a bot that is being started.
func newSite(host string) (*site, error) {
	index, err := template.New("index").Parse(indexPage)
	if err != nil {
		return nil, err
	}
	h, err := newHouse(nil)
	if err != nil {
		return nil, err
	}
	for _, who := range []string{alice, bob, mallory} {
		h.slack.DM(who)
	}
	s := &site{house: h, host: host, index: index, tail: newTail(h.journalFile(), h.notify), trouble: newTrouble(h)}
	s.keeper = newKeeper(h)
	s.populate()
	s.keeper.do(s.keeper.start)
	return s, nil
}

// close ends everything and leaves nothing behind.
func (s *site) close() error {
	s.interrupt()
	s.keeper.wait()
	s.tail.close()
	s.trouble.close()
	return s.house.close()
}

// listen takes the address asked for; if none was, any will do.
func listen(addr string) (net.Listener, error) {
	at, err := loopback(addr, pageAddr)
	if err != nil {
		return nil, err
	}
	l, err := net.ListenTCP("tcp", at)
	if addr == "" && errors.Is(err, syscall.EADDRINUSE) {
		l, err = net.ListenTCP("tcp", &net.TCPAddr{IP: at.IP})
	}
	if err != nil {
		return nil, occupied(at, err)
	}
	return l, nil
}

// openBrowser shows the page, where there is a desktop to show it on.
func openBrowser(address string, environ []string) {
	command := "xdg-open"
	switch {
	case runtime.GOOS == "darwin":
		command = "open"
	case !slices.ContainsFunc(environ, func(v string) bool {
		return strings.HasPrefix(v, "DISPLAY=") || strings.HasPrefix(v, "WAYLAND_DISPLAY=")
	}):
		return
	}
	if path, err := exec.LookPath(command); err == nil {
		if c := exec.Command(path, address); c.Start() == nil {
			go c.Wait()
		}
	}
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.serveIndex)
	mux.Handle("GET /page/", http.FileServerFS(pageFiles))
	mux.HandleFunc("GET /live", s.live)
	mux.HandleFunc("POST /type", deed(s.typeText))
	mux.HandleFunc("POST /click", deed(s.click))
	mux.HandleFunc("POST /room", deed(s.room))
	mux.HandleFunc("POST /fault", deed(s.fault))
	mux.HandleFunc("POST /bot", deed(s.control))
	return s.guard(mux)
}

// policy allows the page its own files and nothing else in the world: no inline script or
// style, no frame, no form, and no string that becomes HTML.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// guard lets in what comes from this machine and from the page itself. A page elsewhere may
// at most lead here, by a link.
func (s *site) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if why := s.stranger(r); why != "" {
			http.Error(w, "refused: "+why, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// stranger says why a request is none of the page's own, or nothing.
func (s *site) stranger(r *http.Request) string {
	_, port, _ := net.SplitHostPort(s.host)
	name, asked, err := net.SplitHostPort(r.Host)
	if ip := net.ParseIP(name); err != nil || asked != port || name != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "this address is not the page's own"
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return "from a page of another origin"
	}
	site := r.Header.Get("Sec-Fetch-Site")
	link := r.Method == http.MethodGet && r.URL.Path == "/" && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	if site != "" && site != "same-origin" && site != "none" && !link {
		return "from a page of another origin"
	}
	if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "application/json" {
		return "what is sent must be JSON" // which no form of another page can send
	}
	return ""
}

// person is somebody whom the page can act as.
type person struct {
	ID, Name, Role string
}

// cast are the people to act as.
func cast() []person {
	return []person{
		{alice, "alice", "moderator"},
		{bob, "bob", "moderator"},
		{mallory, "mallory", "colleague, may not close"},
		{guest, "guest", "from another company"},
	}
}

// isActor reports whether the page can act as this person.
func isActor(id string) bool {
	return slices.ContainsFunc(cast(), func(p person) bool { return p.ID == id })
}

func (s *site) serveIndex(w http.ResponseWriter, r *http.Request) {
	as := r.FormValue("as")
	if !isActor(as) {
		as = alice
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	s.index.Execute(w, struct {
		As     string
		Born   string // private messages older than this page are gone
		People []person
	}{as, tsOf(time.Now()), cast()})
}

// tsOf is t as Slack counts.
func tsOf(t time.Time) string { return fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000) }

// sees reports whether a person can open a channel, as Slack has it.
func (s *site) sees(c slacksim.Channel, who string) bool {
	if c.Members == nil || c.Kind == slacksim.Public && !slices.Contains(c.Members, who) {
		return who != guest
	}
	return slices.Contains(c.Members, who)
}

// problem is an error that is told to whoever caused it, with an HTTP status.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

func refuse(status int, format string, args ...any) error {
	return &problem{status, fmt.Sprintf(format, args...)}
}

// deed makes an endpoint of a function from what is asked to what is answered.
func deed[Q, A any](f func(context.Context, Q) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		in := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
		in.DisallowUnknownFields()
		if err := in.Decode(&q); err != nil {
			http.Error(w, "reading what was sent: "+err.Error(), http.StatusBadRequest)
			return
		}
		a, err := f(r.Context(), q)
		if err != nil {
			status := http.StatusInternalServerError
			if p, ok := errors.AsType[*problem](err); ok {
				status = p.status
			}
			http.Error(w, err.Error(), status)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(a)
	}
}
