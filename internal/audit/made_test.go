package audit_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"zegoclose/internal/journal"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

// A maker writes journals from docs/auditing.md alone: its hash is not the journal's own
// code, so a chain that both agree on is the documented one.
type maker struct {
	t       testing.TB
	tx      *sql.Tx
	entries *sql.Stmt
	number  int64
	prev    string
	now     int64 // µs
}

// sum is the documented canonical form.
func sum(number, caseNumber int64, kind string, micros int64, prev, body string) string {
	h := sha256.Sum256([]byte(fmt.Sprintf("zegoclose entry 1\n%d\n%d\n%s\n%d\n%s\n%s", number, caseNumber, kind, micros, prev, body)))
	return hex.EncodeToString(h[:])
}

func (m *maker) add(caseNumber int64, kind string, facts map[string]any) int64 {
	body, err := json.Marshal(facts)
	require.NoError(m.t, err)
	m.number++
	m.now += 250_000
	hash := sum(m.number, caseNumber, kind, m.now, m.prev, string(body))
	_, err = m.entries.Exec(m.number, caseNumber, kind, m.now, string(body), m.prev, hash)
	require.NoError(m.t, err)
	m.prev = hash
	return m.number
}

// makeJournal makes a journal of so many closed cases, seven entries and two posts each.
func makeJournal(t testing.TB, cases int) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "journal.db")
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	j, err := journal.Open(t.Context(), journal.Config{Path: path, Now: func() time.Time { return start }})
	require.NoError(t, err)
	require.NoError(t, j.Close())
	db := openDB(t, path)
	_, err = db.Exec(`PRAGMA synchronous = off`)
	require.NoError(t, err)
	tx, err := db.Begin()
	require.NoError(t, err)
	m := &maker{t: t, tx: tx, now: start.UnixMicro()}
	require.NoError(t, tx.QueryRow(`SELECT hash FROM head`).Scan(&m.prev))
	m.entries = prepare(t, tx, `INSERT INTO entries (number, case_, kind, time, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?)`)
	rows := prepare(t, tx, `INSERT INTO cases (number, state, room, requester, channel, token, card_ts, due, turn, first, last, ended, told, drawn, posted)
		VALUES (?, 'closed', ?, ?, 'C0OPS', ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)`)
	posts := prepare(t, tx, `INSERT INTO posts (first, last, case_, kind, state, channel, ts, tried) VALUES (?, ?, ?, ?, 'sent', 'C0OPS', ?, ?)`)
	for n := int64(1); n <= int64(cases); n++ {
		who, room := fmt.Sprintf("U%05d", n%97), fmt.Sprintf("live-%d", n%1000)
		asked := m.now
		first := m.add(n, "requested", map[string]any{"by": who, "name": "mod", "team": "T0SIM", "room": room, "reason": "spam links in chat, third time this week",
			"sends": "spam links in chat, third time this week", "from": "C0OPS", "channel": "C0OPS", "until": asked + 300e6, "workspace": "https://acme.slack.com/"})
		offered := m.add(n, "offered", map[string]any{"people": n % 300, "until": asked + 300e6})
		ts := fmt.Sprintf("%d.%06d", m.now/1e6, m.now%1e6)
		shown := m.add(n, "shown", map[string]any{"ts": ts, "channel": "C0OPS"})
		turn := m.add(n, "confirmed", map[string]any{"by": who, "name": "mod", "team": "T0SIM", "until": asked + 600e6})
		m.add(n, "attempted", map[string]any{"call": 1})
		m.add(n, "answered", map[string]any{"call": 1, "effect": "done", "code": 0, "message": "success", "request_id": fmt.Sprintf("%019d", n), "took_us": 132_000})
		last := m.add(n, "ended", map[string]any{"outcome": "closed", "why": "closed"})
		insert(t, rows, n, room, who, fmt.Sprintf("token%d", n), ts, turn, first, last, last, last, last, last)
		insert(t, posts, first, offered, n, "card", ts, asked)
		insert(t, posts, shown, last, n, "reply", fmt.Sprintf("%d.%06d", m.now/1e6, m.now%1e6), m.now)
	}
	_, err = tx.Exec(`UPDATE head SET entry = ?, hash = ?, time = ?, last_case = ?`, m.number, m.prev, m.now, cases)
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	require.NoError(t, db.Close())
	return path
}

func openDB(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func prepare(t testing.TB, tx *sql.Tx, query string) *sql.Stmt {
	s, err := tx.Prepare(query)
	require.NoError(t, err)
	return s
}

func insert(t testing.TB, s *sql.Stmt, args ...any) {
	_, err := s.Exec(args...)
	require.NoError(t, err)
}
