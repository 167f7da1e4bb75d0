package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"zegoclose/bot"
	"zegoclose/internal/metrics"

	"github.com/caarlos0/env/v11"
)

// probes is the HTTP server on HTTP_ADDR. It answers from the start, also while the program
// waits for another process to let go of the journal.
//
//	/healthz  200 while the process works: restart it if not
//	/readyz   200 if a command would be served now, else 503 and why not
//	/metrics  for Prometheus
type probes struct {
	server http.Server
	bot    atomic.Pointer[bot.Bot] // nil at first
	stop   atomic.Bool             // told to stop: no new commands, please
}

func serveProbes(ctx context.Context, c config, m *metrics.Metrics, log *slog.Logger) (*probes, error) {
	listener, err := listen(ctx, c.HTTPAddr, c.LockWait, log)
	if err != nil {
		return nil, fmt.Errorf("HTTP_ADDR: %w", err)
	}
	p := &probes{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", p.readyz)
	mux.Handle("GET /metrics", m.Handler(p.state))
	p.server = http.Server{
		Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what strangers send is not our trouble
	}
	go func() {
		if err := p.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("probes are not answered any more", "err", err)
		}
	}()
	log.Info("answering probes", "address", listener.Addr().String())
	return p, nil
}

// listen waits up to wait for another process to let go of the address, as in a rolling
// restart on one machine.
func listen(ctx context.Context, addr string, wait time.Duration, log *slog.Logger) (net.Listener, error) {
	giveUp := time.Now().Add(wait)
	for said := false; ; said = true {
		l, err := net.Listen("tcp", addr)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
		if time.Now().After(giveUp) {
			return nil, fmt.Errorf("%w (waited %v): stop the program that uses it, or choose another address", err, wait)
		}
		if !said {
			log.Info("waiting for another process to let go of HTTP_ADDR", "address", addr, "at_most", wait)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// watch makes p answer for b, until ctx ends: then b takes no more commands. A nil p does
// nothing.
func (p *probes) watch(ctx context.Context, b *bot.Bot) {
	if p == nil {
		return
	}
	p.bot.Store(b)
	context.AfterFunc(ctx, func() { p.stop.Store(true) })
}

func (p *probes) close() { p.server.Close() }

// ready reports why a command would not be served now.
func (p *probes) ready() error {
	b := p.bot.Load()
	switch {
	case b == nil:
		return errors.New("waiting for the journal")
	case p.stop.Load():
		return errors.New("stopping")
	}
	return b.Ready()
}

func (p *probes) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := p.ready(); err != nil {
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ready\n")
}

func (p *probes) state(ctx context.Context) (metrics.State, error) {
	b := p.bot.Load()
	if b == nil {
		return metrics.State{}, errors.New("waiting for the journal")
	}
	s, err := b.State(ctx)
	s.Ready = p.ready() == nil
	return s, err
}

// healthCommand asks a running instance, for containers that have no shell and no curl.
type healthCommand struct {
	Ready bool `help:"Ask whether a command would be served now (/readyz), not only whether the process works (/healthz)."`
}

func (c healthCommand) Run(ctx context.Context, w *world) error {
	addr := strings.TrimSpace(env.ToMap(w.environ)["HTTP_ADDR"])
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return &configError{[]string{"HTTP_ADDR is not set to the address of the instance to ask, such as 127.0.0.1:8080"}}
	}
	switch host { // where it listens on every address
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	path := "/healthz"
	if c.Ready {
		path = "/readyz"
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	url := "http://" + net.JoinHostPort(host, port) + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	direct := http.Client{Transport: &http.Transport{}} // a proxy has no part in this
	resp, err := direct.Do(req)
	if err != nil {
		return fmt.Errorf("no instance answers at HTTP_ADDR: %w", err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	answer := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return errors.New(answer)
	}
	fmt.Fprintln(w.stdout, answer)
	return nil
}
