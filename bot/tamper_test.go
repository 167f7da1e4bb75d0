package bot_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// journalTampering are ways to change the file of a journal that holds the history of
// three cases in entries 0 to 18, which command notices, and the line that it prints.
var journalTampering = []struct {
	name      string
	sql       string
	reseal    bool   // all hashes are computed anew, so that the chain is whole
	verify    string // the line of audit verify; empty: it sees nothing
	head      string // its line if it is given the last hash that Slack shows
	reconcile string // the line of audit reconcile, where verify sees nothing
}{
	// One column of one entry.
	{name: "number", sql: `UPDATE entries SET number = 100 WHERE number = 5`, verify: "WRONG entry 5: it is missing"},
	{name: "case", sql: `UPDATE entries SET case_ = 2 WHERE number = 5`, verify: "WRONG entry 5, case #2: content does not match its hash"},
	{name: "kind", sql: `UPDATE entries SET kind = 'shownn' WHERE number = 3`, verify: "WRONG entry 3, case #1: content does not match its hash"},
	{name: "time", sql: `UPDATE entries SET time = time + 1 WHERE number = 5`, verify: "WRONG entry 5, case #1: content does not match its hash"},
	{name: "body", sql: `UPDATE entries SET body = replace(body, 'U0ALICE', 'U0ALICF') WHERE number = 1`, verify: "WRONG entry 1, case #1: content does not match its hash"},
	{name: "prev", sql: `UPDATE entries SET prev = replace(prev, substr(prev, 1, 1), 'x') WHERE number = 5`, verify: "WRONG entry 5, case #1: does not follow the entry before it"},
	{name: "hash", sql: `UPDATE entries SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE number = 5`, verify: "WRONG entry 5, case #1: content does not match its hash"},
	// One column of the current states.
	{name: "state of a case", sql: `UPDATE cases SET state = 'failed' WHERE number = 1`, verify: `WRONG case #1: its row says that its state is "failed", but its entries and posts say "closed"`},
	{name: "room of a case", sql: `UPDATE cases SET room = 'live-24' WHERE number = 1`, verify: `WRONG case #1: its row says that its room is "live-24"`},
	{name: "requester of a case", sql: `UPDATE cases SET requester = 'U0BOB' WHERE number = 1`, verify: `WRONG case #1: its row says that its requester is "U0BOB"`},
	{name: "card of a case", sql: `UPDATE cases SET card_ts = '1.000001' WHERE number = 1`, verify: `WRONG case #1: its row says that its card's ts is "1.000001"`},
	{name: "a case is dropped", sql: `DELETE FROM cases WHERE number = 2`, verify: "WRONG case #2: its row is missing"},
	{name: "a case is invented", sql: `INSERT INTO cases SELECT 4, state, room, requester, channel, 'x', card_ts, due, not_before, turn, again, first, last, ended, told, drawn, posted FROM cases WHERE number = 3`,
		verify: "WRONG case #4: it has a row, but no entries"},
	// The head.
	{name: "last entry of the head", sql: `UPDATE head SET entry = 17`, verify: "WRONG entry 18, case #3: it is the last one, but the head row says that 17 is"},
	{name: "hash of the head", sql: `UPDATE head SET hash = 'x'`, verify: "WRONG entry 18, case #3: it is the last one, but the head row knows another hash"},
	{name: "time of the head", sql: `UPDATE head SET time = time + 1`, verify: "WRONG entry 18, case #3: it is the last one, but the head row knows another time"},
	{name: "name of the journal in the head", sql: `UPDATE head SET journal = 'x'`, verify: "WRONG entry 0: it names journal"},
	{name: "last case of the head", sql: `UPDATE head SET last_case = 9`, verify: "WRONG case #3: it is the last case, but the head row names #9"},
	{name: "the head is gone", sql: `DELETE FROM head`, verify: "WRONG its head row cannot be read"},
	// Posts.
	{name: "a post is dropped", sql: `DELETE FROM posts WHERE first = 3`, verify: `WRONG case #1: its row says that its last entry that a post shows is "7", but its entries and posts say "2"`},
	{name: "the place of a card", sql: `UPDATE posts SET ts = '1.000001' WHERE first = 1`, verify: "WRONG entry 1, case #1: its card is said to be at 1.000001"},
	{name: "the place of a reply", sql: `UPDATE posts SET ts = '1.000001' WHERE first = 3`, reconcile: "MISSING case #1, entries 3–7"},
	// Whole entries.
	{name: "an entry is dropped", sql: `DELETE FROM entries WHERE number = 9`, verify: "WRONG entry 9: it is missing"},
	{name: "entries are swapped", sql: `UPDATE entries SET number = -1 WHERE number = 9; UPDATE entries SET number = 9 WHERE number = 10; UPDATE entries SET number = 10 WHERE number = -1`,
		verify: "WRONG entry 9, case #2: does not follow the entry before it"},
	{name: "an entry is doubled", sql: `INSERT INTO entries SELECT 19, case_, kind, time, body, prev, hash FROM entries WHERE number = 18`, verify: "WRONG entry 19, case #3: does not follow the entry before it"},
	{name: "an entry is inserted, the rest renumbered", sql: `UPDATE entries SET number = -number WHERE number > 9; UPDATE entries SET number = 1 - number WHERE number < 0;
		INSERT INTO entries SELECT 10, case_, kind, time, body, prev, hash FROM entries WHERE number = 9`, verify: "WRONG entry 10, case #2: does not follow the entry before it"},
	{name: "an entry is dropped, the rest renumbered and sealed again", sql: `DELETE FROM entries WHERE number = 5; UPDATE entries SET number = -number WHERE number > 5; UPDATE entries SET number = -number - 1 WHERE number < 0`,
		reseal: true, verify: "WRONG entry 5, case #1: it cannot be: a case that is"},
	{name: "the tail is cut off", sql: `DELETE FROM entries WHERE number > 16`, verify: "WRONG entry 16, case #3: it is the last one, but the head row says that 18 is"},
	// Consistently: only what the other witness kept shows it.
	{name: "the tail is cut off, and everything else with it", sql: `DELETE FROM entries WHERE number > 11; DELETE FROM cases WHERE number = 3; DELETE FROM posts WHERE case_ = 3;
		UPDATE head SET entry = 11, last_case = 2, hash = (SELECT hash FROM entries WHERE number = 11), time = (SELECT time FROM entries WHERE number = 11)`,
		head: "WRONG no entry has the hash", reconcile: "FORGED case #3, entries 12–13: no post of the journal begins with entry 12 of case #3"},
	{name: "the reason is rewritten, and the whole chain with it", sql: `UPDATE entries SET body = replace(body, 'spam', 'harm') WHERE number = 1`, reseal: true,
		head: "WRONG no entry has the hash", reconcile: "EDITED case #1, entries 1–2: its metadata names the hash"},
}

func TestTamperingWithTheJournalShows(t *testing.T) {
	h := history(t)
	h.settled()
	h.stop()
	exit, out := h.audit("verify")
	require.Zero(t, exit, out)
	whole, err := os.ReadFile(h.db)
	require.NoError(t, err)
	var kept string // by Slack, in the metadata of the last reply
	h.query(&kept, `SELECT hash FROM entries WHERE number = 18`)
	h.env["DATABASE_URL"] = filepath.Join(t.TempDir(), "tampered.db")

	for _, c := range journalTampering {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(h.env["DATABASE_URL"], whole, 0o600))
			db, err := sql.Open("sqlite", h.env["DATABASE_URL"])
			require.NoError(t, err)
			db.SetMaxOpenConns(1)
			_, err = db.Exec(`PRAGMA journal_mode = delete`)
			require.NoError(t, err)
			_, err = db.Exec(c.sql)
			require.NoError(t, err)
			if c.reseal {
				reseal(t, db)
			}
			require.NoError(t, db.Close())

			exit, out := h.audit("verify")
			if c.verify != "" {
				assert.Equal(t, 1, exit)
				assert.Contains(t, out, c.verify)
				t.Logf("audit verify: %s", out)
				return
			}
			assert.Zero(t, exit, "by itself the journal is consistent: %s", out)
			if c.head != "" {
				exit, out = h.audit("verify", "-head", kept)
				assert.Equal(t, 1, exit)
				assert.Contains(t, out, c.head)
				t.Logf("audit verify -head: %s", out)
			}
			exit, out = h.audit("reconcile")
			assert.Equal(t, 1, exit)
			assert.Contains(t, out, c.reconcile)
			t.Logf("audit reconcile: %s", out)
		})
	}
}

// reseal computes all hashes anew, as somebody would who rewrites the whole chain.
func reseal(t testing.TB, db *sql.DB) {
	t.Helper()
	rows, err := db.Query(`SELECT number, case_, kind, time, body FROM entries ORDER BY number`)
	require.NoError(t, err)
	var seals []string
	prev := ""
	var number, micros int64
	for rows.Next() {
		var caseNumber int64
		var kind, body string
		require.NoError(t, rows.Scan(&number, &caseNumber, &kind, &micros, &body))
		h := sha256.Sum256([]byte(fmt.Sprintf("zegoclose entry 1\n%d\n%d\n%s\n%d\n%s\n%s", number, caseNumber, kind, micros, prev, body)))
		hash := hex.EncodeToString(h[:])
		seals = append(seals, fmt.Sprintf(`UPDATE entries SET prev = '%s', hash = '%s' WHERE number = %d`, prev, hash, number))
		prev = hash
	}
	require.NoError(t, rows.Err())
	for _, s := range append(seals, fmt.Sprintf(`UPDATE head SET entry = %d, hash = '%s', time = %d`, number, prev, micros)) {
		_, err := db.Exec(s)
		require.NoError(t, err)
	}
}

// unchecked are the columns that no chain protects and verify does not look at: what the
// bot needs for its work and nothing is decided by afterwards. docs/auditing.md lists them.
var unchecked = []string{
	"cases.drawn", "cases.not_before", "cases.token",
	"posts.cause", "posts.changes", "posts.redraw", "posts.retry", "posts.seen", "posts.tried",
	"posts.ts", // where a reply is: reconcile misses it there
}

// Every column of every row that the record consists of is changed a little.
func TestEveryColumnIsProtected(t *testing.T) {
	h := history(t)
	h.settled()
	h.stop()
	whole, err := os.ReadFile(h.db)
	require.NoError(t, err)
	h.env["DATABASE_URL"] = filepath.Join(t.TempDir(), "tampered.db")
	open := func() *sql.DB {
		require.NoError(t, os.WriteFile(h.env["DATABASE_URL"], whole, 0o600))
		db, err := sql.Open("sqlite", h.env["DATABASE_URL"])
		require.NoError(t, err)
		db.SetMaxOpenConns(1)
		_, err = db.Exec(`PRAGMA journal_mode = delete`)
		require.NoError(t, err)
		return db
	}
	var unseen []string
	for table, row := range map[string]string{"head": "one = 1", "entries": "number = 14", "cases": "number = 2", "posts": "first = 10"} {
		db := open()
		rows, err := db.Query(`SELECT name, type FROM pragma_table_info(?)`, table)
		require.NoError(t, err)
		columns := make(map[string]string)
		for rows.Next() {
			var name, kind string
			require.NoError(t, rows.Scan(&name, &kind))
			columns[name] = kind
		}
		require.NoError(t, rows.Err())
		require.NoError(t, db.Close())
		delete(columns, "one") // the table admits no other value
		for name, kind := range columns {
			db := open()
			change := name + " || 'x'"
			if kind != "TEXT" {
				change = name + " + 1000"
			}
			_, err := db.Exec(fmt.Sprintf(`UPDATE %s SET %s = %s WHERE %s`, table, name, change, row))
			require.NoError(t, err)
			require.NoError(t, db.Close())
			if exit, _ := h.audit("verify"); exit == 0 {
				unseen = append(unseen, table+"."+name)
			}
		}
	}
	assert.ElementsMatch(t, unchecked, unseen)
}

// Files that are no journal, or only pieces of one, are told so in a sentence.
func TestAuditOfWhatIsNoJournal(t *testing.T) {
	h := history(t)
	h.settled()
	h.stop()
	whole, err := os.ReadFile(h.db)
	require.NoError(t, err)
	garbled := append([]byte(nil), whole...)
	for i := len(garbled) / 2; i < len(garbled)/2+5000; i++ {
		garbled[i] ^= 0x55
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		content []byte
		exit    int
		says    string
	}{
		"cut":     {whole[:len(whole)/2], 1, "damaged"},
		"garbled": {garbled, 1, "damaged"},
		"text":    {[]byte("hello"), 1, "damaged"},
		"empty":   {nil, 1, "this is not a journal of zegoclose"},
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, c.content, 0o600))
		for _, command := range []string{"verify", "export", "reconcile"} {
			exit, out := h.audit(command, "-journal", path)
			assert.Equal(t, c.exit, exit, "%s of %s: %s", command, name, out)
			assert.Contains(t, out, c.says, "%s of %s", command, name)
		}
	}
	exit, out := h.audit("verify", "-journal", filepath.Join(dir, "none"))
	assert.Equal(t, 2, exit)
	assert.Contains(t, out, "there is no journal")
}
