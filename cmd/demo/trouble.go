package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"
)

// What can be broken on the page.

// ways are how ZEGO can treat a CloseRoom.
var ways = map[string]zegosim.Fault{
	"slow":    {After: 3 * time.Second},
	"late":    {After: 8 * time.Second},
	"refuses": {Skip: true, Code: 9},
	"lost":    {Reset: true},
	"dropped": {Skip: true, Reset: true},
}

// trouble is what is broken at the moment.
type trouble struct {
	h *house

	mu      sync.Mutex
	zego    string // "", "down" or one of the ways
	limit   *slacksim.Injection
	journal *grip
}

func newTrouble(h *house) *trouble { return &trouble{h: h} }

// troubles is what is broken, for the page.
type troubles struct {
	ZEGO    string `json:"zego"`
	Limit   bool   `json:"limit"`
	Journal bool   `json:"journal"`
}

func (t *trouble) now() troubles {
	t.mu.Lock()
	defer t.mu.Unlock()
	return troubles{t.zego, t.limit != nil, t.journal != nil}
}

// close lets go of the journal.
func (t *trouble) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.journal != nil {
		t.journal.release()
	}
}

// ask is a change of what is broken.
type ask struct {
	What string `json:"what"` // zego, limit, journal, rotate, cut
	How  string `json:"how"`  // of zego: one of the ways, "down" or ""
	On   bool   `json:"on"`   // of limit and journal
}

// fault breaks something, or repairs it.
func (s *site) fault(ctx context.Context, a ask) (sent, error) {
	defer s.notify()
	t := s.trouble
	t.mu.Lock()
	defer t.mu.Unlock()
	switch a.What {
	case "zego":
		return sent{}, t.treat(a.How)
	case "limit":
		t.refusePosts(a.On)
	case "journal":
		return sent{}, t.hold(ctx, a.On)
	case "rotate":
		s.slack.Disconnect(slacksim.Disconnect{Reason: slacksim.RequestWarning, After: 3 * time.Second})
	case "cut":
		s.slack.ResetAll()
	default:
		return sent{}, refuse(http.StatusBadRequest, "nothing of that name can be broken")
	}
	return sent{}, nil
}

// treat changes how ZEGO treats every CloseRoom from now on.
func (t *trouble) treat(how string) error {
	f, known := ways[how]
	if !known && how != "" && how != "down" {
		return refuse(http.StatusBadRequest, "ZEGO cannot be broken like that")
	}
	if t.zego == "down" && how != "down" {
		if err := t.h.zego.Up(); err != nil {
			return err
		}
	}
	t.h.zego.ClearFaults()
	switch {
	case known:
		f.Action = "CloseRoom"
		t.h.zego.AddFault(f)
	case how == "down" && t.zego != "down":
		t.h.zego.Down()
	}
	t.zego = how
	return nil
}

// refusePosts lets Slack answer every post with 429, or no more.
func (t *trouble) refusePosts(on bool) {
	switch {
	case on && t.limit == nil:
		t.limit = t.h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Status: http.StatusTooManyRequests, RetryAfter: 2})
	case !on && t.limit != nil:
		t.limit.Remove()
		t.limit = nil
	}
}

// hold makes the journal one that cannot be written, or lets go of it.
func (t *trouble) hold(ctx context.Context, on bool) (err error) {
	switch {
	case on && t.journal == nil:
		t.journal, err = seize(ctx, t.h.journalFile())
	case !on && t.journal != nil:
		err = t.journal.release()
		t.journal = nil
	}
	return err
}

// A grip is a write lock on the journal's file, as a backup that hangs may have: whoever
// wants to write is told after a while that the file is busy.
type grip struct {
	db   *sql.DB
	conn *sql.Conn
}

func seize(ctx context.Context, path string) (*grip, error) {
	db, err := openJournal(path, "rw")
	if err != nil {
		return nil, err
	}
	g := &grip{db: db}
	if g.conn, err = db.Conn(ctx); err == nil {
		_, err = g.conn.ExecContext(ctx, "PRAGMA busy_timeout(5000)")
	}
	if err == nil {
		_, err = g.conn.ExecContext(ctx, "BEGIN IMMEDIATE")
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("taking the journal's write lock: %w", err)
	}
	return g, nil
}

func (g *grip) release() error {
	_, err := g.conn.ExecContext(context.Background(), "ROLLBACK")
	return errors.Join(err, g.conn.Close(), g.db.Close())
}
