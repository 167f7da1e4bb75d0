package audit_test

import (
	"database/sql"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reseal computes all hashes anew, as somebody would who rewrites the whole chain.
func reseal(t testing.TB, db *sql.DB) {
	t.Helper()
	rows, err := db.Query(`SELECT number, case_, kind, time, body FROM entries ORDER BY number`)
	require.NoError(t, err)
	type entry struct {
		number, caseNumber, micros int64
		kind, body                 string
	}
	var es []entry
	for rows.Next() {
		var e entry
		require.NoError(t, rows.Scan(&e.number, &e.caseNumber, &e.kind, &e.micros, &e.body))
		es = append(es, e)
	}
	require.NoError(t, rows.Err())
	prev := ""
	for _, e := range es {
		hash := sum(e.number, e.caseNumber, e.kind, e.micros, prev, e.body)
		_, err := db.Exec(`UPDATE entries SET prev = ?, hash = ? WHERE number = ?`, prev, hash, e.number)
		require.NoError(t, err)
		prev = hash
	}
	last := es[len(es)-1]
	_, err = db.Exec(`UPDATE head SET entry = ?, hash = ?, time = ?`, last.number, prev, last.micros)
	require.NoError(t, err)
}

// badJournals are ten ways to spoil a journal, and where a verifier must point.
var badJournals = []struct {
	name   string
	sql    string
	reseal bool
	head   bool // only a head that somebody kept shows it
	where  string
	says   string // the line of audit verify
}{
	{name: "a word of a reason", sql: `UPDATE entries SET body = replace(body, 'spam', 'spat') WHERE number = 8`,
		where: "entry 8, case #2", says: "content does not match its hash"},
	{name: "an entry is dropped", sql: `DELETE FROM entries WHERE number = 10`,
		where: "entry 10", says: "it is missing"},
	{name: "two entries are swapped", sql: `UPDATE entries SET number = -1 WHERE number = 12; UPDATE entries SET number = 12 WHERE number = 13; UPDATE entries SET number = 13 WHERE number = -1`,
		where: "entry 12, case #2", says: "does not follow the entry before it"},
	{name: "an entry is inserted", sql: `UPDATE entries SET number = -number WHERE number > 9; UPDATE entries SET number = 1 - number WHERE number < 0;
		INSERT INTO entries SELECT 10, case_, kind, time, body, prev, hash FROM entries WHERE number = 9`,
		where: "entry 10, case #2", says: "does not follow the entry before it"},
	{name: "the tail is cut off", sql: `DELETE FROM entries WHERE number > 30`,
		where: "entry 30", says: "it is the last one, but the head row says that 35 is"},
	{name: "the tail is cut off and the head moved along", sql: `DELETE FROM entries WHERE number > 28; DELETE FROM cases WHERE number > 4; DELETE FROM posts WHERE case_ > 4;
		UPDATE head SET entry = 28, last_case = 4, hash = (SELECT hash FROM entries WHERE number = 28), time = (SELECT time FROM entries WHERE number = 28)`,
		head: true, where: "", says: "no entry has the hash"},
	{name: "the whole chain is rewritten", sql: `UPDATE entries SET body = replace(body, 'spam', 'spat') WHERE number = 8`, reseal: true,
		head: true, where: "", says: "no entry has the hash"},
	{name: "a state is not what the entries say", sql: `UPDATE cases SET state = 'absent' WHERE number = 3`,
		where: "case #3", says: `its row says that its state is "absent", but its entries and posts say "closed"`},
	{name: "closed without an answer, all hashes right", sql: `UPDATE entries SET body = replace(body, '"code":0', '"code":9') WHERE number = 13`, reseal: true,
		where: "entry 14, case #2", says: "a case is closed only after ZEGO answered code 0"},
	{name: "time runs backwards, all hashes right", sql: `UPDATE entries SET time = time - 60000000 WHERE number = 20`, reseal: true,
		where: "entry 20, case #3", says: "its time is before that of the entry before it"},
}

func TestBadJournals(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("python3 is not here: docs/verify.py is not compared")
	}
	agree := func(t *testing.T, path string, heads []string, where string) {
		if python == "" {
			return
		}
		out, err := exec.Command(python, append([]string{"../../docs/verify.py", path}, heads...)...).CombinedOutput()
		t.Logf("verify.py: %s", out)
		if where == "sound" {
			assert.NoError(t, err)
			return
		}
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		assert.Equal(t, 1, exit.ExitCode())
		assert.True(t, strings.HasPrefix(string(out), where), "verify.py points to another place than %s: %s", where, out)
	}

	good := makeJournal(t, 5)
	v := verify(t, good)
	require.Empty(t, v.Problems)
	agree(t, good, []string{v.Hash}, "sound")

	for _, bad := range badJournals {
		t.Run(bad.name, func(t *testing.T) {
			path := makeJournal(t, 5)
			heads := []string{verify(t, path).Hash}
			db := openDB(t, path)
			_, err := db.Exec(bad.sql)
			require.NoError(t, err)
			if bad.reseal {
				reseal(t, db)
			}
			require.NoError(t, db.Close())
			if bad.head {
				assert.Empty(t, verify(t, path).Problems, "by itself it is consistent")
			} else {
				heads = nil
			}
			v := verify(t, path, heads...)
			require.NotEmpty(t, v.Problems)
			t.Logf("audit verify: %v", v.Problems[0])
			assert.True(t, strings.HasPrefix(fmt.Sprint(v.Problems[0]), bad.where), "%v is not about %s", v.Problems[0], bad.where)
			assert.Contains(t, v.Problems[0].String(), bad.says)
			agree(t, path, heads, bad.where)
		})
	}
}
