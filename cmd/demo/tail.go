package main

import (
	"database/sql"
	"encoding/json"
	"os"
	"sync"
	"time"

	"zegoclose/internal/journal"
)

// A tail follows the journal's file, as anybody with the file could, and checks each entry
// against the one before.
type tail struct {
	path   string
	wake   func() // called when there is more
	ended  chan struct{}
	closed chan struct{}

	mu      sync.Mutex
	entries []line
	cases   map[int64]caseLine
}

// line is an entry, for the page.
type line struct {
	Number int64         `json:"number"`
	Case   int64         `json:"case,omitempty"`
	Kind   journal.Kind  `json:"kind"`
	Time   time.Time     `json:"time"`
	Facts  journal.Facts `json:"facts"`
	Prev   string        `json:"prev"`
	Hash   string        `json:"hash"`
	Wrong  string        `json:"wrong,omitempty"` // what speaks against it
}

// caseLine is a case, for the page.
type caseLine struct {
	Number    int64          `json:"number"`
	State     journal.State  `json:"state"`
	Room      string         `json:"room"`
	Requester string         `json:"requester"`
	Due       journal.Micros `json:"due,omitempty"`
	NotBefore journal.Micros `json:"notBefore,omitempty"`
	Turn      int64          `json:"turn,omitempty"` // entry of the confirmation: the order of closing
	Last      int64          `json:"last"`           // its last entry
}

// tailPace is how often the file is asked whether it has changed, which costs it nothing.
const tailPace = 25 * time.Millisecond

func newTail(path string, wake func()) *tail {
	t := &tail{path: path, wake: wake, ended: make(chan struct{}), closed: make(chan struct{}), cases: make(map[int64]caseLine)}
	go t.follow()
	return t
}

func (t *tail) close() {
	close(t.ended)
	<-t.closed
}

func (t *tail) follow() {
	defer close(t.closed)
	ticker := time.NewTicker(tailPace)
	defer ticker.Stop()
	var db *sql.DB
	defer func() {
		if db != nil {
			db.Close()
		}
	}()
	version := -1
	for {
		select {
		case <-ticker.C:
		case <-t.ended:
			return
		}
		if db == nil {
			if _, err := os.Stat(t.path); err != nil {
				continue // no bot has made it yet
			}
			var err error
			if db, err = openJournal(t.path, "ro"); err != nil {
				continue
			}
			db.SetMaxOpenConns(1) // data_version is one connection's view
		}
		var now int
		if db.QueryRow("PRAGMA data_version").Scan(&now) == nil && now != version && t.read(db) == nil {
			version = now
		}
	}
}

// read reads what is new. It may find nothing, or not even tables.
func (t *tail) read(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	t.mu.Lock()
	last, prev := int64(-1), ""
	if n := len(t.entries); n > 0 {
		last, prev = t.entries[n-1].Number, t.entries[n-1].Hash
	}
	t.mu.Unlock()

	var entries []line
	rows, err := tx.Query(`SELECT number, case_, kind, time, body, prev, hash FROM entries WHERE number > $1 ORDER BY number`, last)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var e journal.Entry
		var micros int64
		if err := rows.Scan(&e.Number, &e.Case, &e.Kind, &micros, &e.Body, &e.Prev, &e.Hash); err != nil {
			return err
		}
		e.Time = time.UnixMicro(micros).UTC()
		l := line{Number: e.Number, Case: e.Case, Kind: e.Kind, Time: e.Time, Prev: e.Prev, Hash: e.Hash}
		if err := json.Unmarshal([]byte(e.Body), &l.Facts); err != nil {
			l.Wrong = err.Error()
		}
		if err := e.Check(prev); err != nil {
			l.Wrong = err.Error()
		}
		prev = e.Hash
		entries = append(entries, l)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	var cases []caseLine
	rows, err = tx.Query(`SELECT number, state, room, requester, due, not_before, turn, last FROM cases WHERE last > $1 ORDER BY number`, last)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var c caseLine
		if err := rows.Scan(&c.Number, &c.State, &c.Room, &c.Requester, &c.Due, &c.NotBefore, &c.Turn, &c.Last); err != nil {
			return err
		}
		cases = append(cases, c)
	}
	if err := rows.Err(); err != nil || len(entries) == 0 {
		return err
	}
	t.mu.Lock()
	t.entries = append(t.entries, entries...)
	for _, c := range cases {
		t.cases[c.Number] = c
	}
	t.mu.Unlock()
	t.wake()
	return nil
}

// journalNews is what is new in the journal, for the page.
type journalNews struct {
	Total   int        `json:"total"` // entries in all
	Entries []line     `json:"entries"`
	Cases   []caseLine `json:"cases"`
}

// maxNews bounds the entries sent at once; older ones are counted only.
const maxNews = 400

// after returns what came after the first n entries, or nil.
func (t *tail) after(n int) *journalNews {
	t.mu.Lock()
	defer t.mu.Unlock()
	total := len(t.entries)
	if n == total {
		return nil
	}
	news := &journalNews{Total: total, Entries: t.entries[max(n, total-maxNews):total:total], Cases: []caseLine{}}
	since := int64(-1)
	if n > 0 {
		since = t.entries[n-1].Number
	}
	for number := int64(len(t.cases)); number > 0 && len(news.Cases) < maxNews; number-- {
		if c, ok := t.cases[number]; ok && c.Last > since {
			news.Cases = append(news.Cases, c)
		}
	}
	return news
}
