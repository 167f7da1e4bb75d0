package metrics

import (
	"context"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"zegoclose/internal/journal"
	"zegoclose/internal/socket"
)

// State is how things are at one moment.
type State struct {
	Ready     bool // a command would be served now
	Writable  bool // the journal can be written
	Sockets   socket.Stats
	Backlog   journal.Backlog
	GroupsAge time.Duration // of the oldest knowledge about a user group; 0 if none is allowed
}

// scrapeLimit is how long reading the state may take.
const scrapeLimit = 5 * time.Second

// Handler answers Prometheus. It asks read how things are now; after an error only what was
// counted is told, and the answer ends with a comment that says why.
func (m *Metrics) Handler(read func(context.Context) (State, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), scrapeLimit)
		defer cancel()
		families := slices.Concat(m.counted, m.process())
		state, err := read(ctx)
		if err == nil {
			families = append(families, state.families()...)
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		writeAll(w, families)
		if err != nil {
			w.Write([]byte("# not complete: " + strings.ReplaceAll(err.Error(), "\n", " ") + "\n"))
		}
	})
}

// families are what a state says.
func (s State) families() []*family {
	var fs []*family
	tell := func(kind kind, name, help string, v float64) {
		f := newFamily(kind, name, help)
		f.set(v)
		fs = append(fs, f)
	}
	tell(gauge, "ready", "1 if a command would be served now.", bit(s.Ready))
	tell(gauge, "journal_writable", "1 if the journal can be written.", bit(s.Writable))
	tell(gauge, "cases_pending", "Cases that wait for their requester.", float64(s.Backlog.Pending))
	tell(gauge, "queue_cases", "Confirmed cases that wait for their call.", float64(s.Backlog.Confirmed))
	tell(gauge, "queue_oldest_seconds", "How long the oldest of them has waited since the click.", s.Backlog.OldestConfirmed.Seconds())
	tell(gauge, "cases_closing", "Cases whose call may be under way, or is being looked into.", float64(s.Backlog.Closing))
	tell(gauge, "posts_waiting", "Cases with something that Slack does not show yet.", float64(s.Backlog.Posts))
	tell(gauge, "posts_oldest_seconds", "How long the oldest of that has waited.", s.Backlog.OldestPost.Seconds())
	tell(gauge, "posts_in_doubt", "Posts of which is not known whether Slack shows them.", float64(s.Backlog.Doubts))
	tell(gauge, "usergroups_age_seconds", "Age of the oldest knowledge about an allowed user group; from 300 on its members are refused.", s.GroupsAge.Seconds())

	tell(gauge, "socket_connections", "Socket Mode connections that have said hello and are alive.", float64(s.Sockets.Connected))
	tell(gauge, "socket_connections_counted", "Connections of this app, as Slack told in its last hello.", float64(s.Sockets.NumConnections))
	tell(gauge, "socket_in_flight", "Envelopes being answered.", float64(s.Sockets.InFlight))
	tell(counter, "socket_envelopes_total", "Envelopes that arrived.", float64(s.Sockets.Envelopes))
	tell(counter, "socket_reconnects_total", "Connections that replaced another.", float64(s.Sockets.Reconnects))
	tell(counter, "socket_lost_total", "Connections that ended without Slack's having asked.", float64(s.Sockets.Lost))
	tell(counter, "socket_opens_total", "Calls of apps.connections.open.", float64(s.Sockets.Opens))
	tell(counter, "socket_turned_away_total", "Envelopes turned away because too many were being answered.", float64(s.Sockets.Busy))
	tell(counter, "socket_unanswered_total", "Envelopes without an acknowledgement; Slack told the person that it failed.", float64(s.Sockets.Unanswered+s.Sockets.Late))
	tell(counter, "socket_bad_frames_total", "Frames that could not be understood.", float64(s.Sockets.Bad))
	tell(counter, "panics_total", "Requests that failed by a fault of the program.", float64(s.Sockets.Panics))
	return fs
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// process tells about the process what every Prometheus client tells, under the same
// names. What the system does not say is left out.
func (m *Metrics) process() []*family {
	var fs []*family
	tell := func(kind kind, name, help string, v float64, ok bool) {
		if !ok {
			return
		}
		f := newFamily(kind, name, help)
		f.name = name
		f.set(v)
		fs = append(fs, f)
	}
	tell(gauge, "process_start_time_seconds", "When the process started, in seconds since 1970.", float64(m.started.UnixMilli())/1000, true)
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	cpu := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	tell(counter, "process_cpu_seconds_total", "Processor time, user and system.", cpu.Seconds(), err == nil)
	statm, err := os.ReadFile("/proc/self/statm")
	var pages float64
	if fields := strings.Fields(string(statm)); err == nil && len(fields) > 1 {
		pages, err = strconv.ParseFloat(fields[1], 64)
	}
	tell(gauge, "process_resident_memory_bytes", "Resident memory.", pages*float64(os.Getpagesize()), err == nil)
	fds, err := os.ReadDir("/proc/self/fd")
	tell(gauge, "process_open_fds", "Open file descriptors.", float64(len(fds)), err == nil)
	var limit syscall.Rlimit
	err = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	tell(gauge, "process_max_fds", "As many may be open.", float64(limit.Cur), err == nil)
	tell(gauge, "go_goroutines", "Goroutines.", float64(runtime.NumGoroutine()), true)
	return fs
}
