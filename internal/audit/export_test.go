package audit_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"zegoclose/internal/audit"
	"zegoclose/internal/journal"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func openReader(t testing.TB, path string) *journal.Reader {
	t.Helper()
	r, err := journal.OpenReader(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

func exportCSV(t *testing.T, r *journal.Reader, s audit.Selection) []map[string]string {
	t.Helper()
	var b bytes.Buffer
	n, err := audit.ExportCases(t.Context(), r, s, audit.CSV, &b, nil)
	require.NoError(t, err)
	rows, err := csv.NewReader(&b).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, int(n)+1)
	var out []map[string]string
	for _, cells := range rows[1:] {
		row := make(map[string]string)
		for i, name := range rows[0] {
			row[name] = cells[i]
		}
		out = append(out, row)
	}
	return out
}

func TestExportHasOneRowPerCase(t *testing.T) {
	r := openReader(t, makeJournal(t, 30))
	rows := exportCSV(t, r, audit.Selection{})
	require.Len(t, rows, 30)
	row := rows[6]
	for name, want := range map[string]string{
		"case": "7", "state": "closed", "room": "live-7", "reason": "spam links in chat, third time this week",
		"asked_by": "U00007", "confirmed_by": "U00007", "people_before": "7", "zego_code": "0", "latency_ms": "132", "attempts": "1",
		"zego_request_id": "0000000000000000007", "asked_at": "2026-01-01T00:00:10.750000Z",
	} {
		assert.Equal(t, want, row[name], name)
	}
	assert.Regexp(t, `^https://acme\.slack\.com/archives/C0OPS/p\d{16}$`, row["permalink"])
	assert.Regexp(t, `^[0-9a-f]{64}$`, row["last_hash"])
}

func TestExportSelects(t *testing.T) {
	r := openReader(t, makeJournal(t, 30))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	count := func(want int, s audit.Selection) { t.Helper(); assert.Equal(t, want, len(exportCSV(t, r, s))) }
	count(1, audit.Selection{Room: "live-7"})
	count(0, audit.Selection{Room: "live"})
	count(1, audit.Selection{User: "U00009"})
	count(1, audit.Selection{Case: 4})
	count(18, audit.Selection{Since: start.Add(20 * time.Second)})
	count(12, audit.Selection{Until: start.Add(20 * time.Second)})
	count(30, audit.Selection{Unreviewed: true})
}

// An export of entries holds all that is needed to recompute the chain.
func TestExportedEntriesAreAChain(t *testing.T) {
	r := openReader(t, makeJournal(t, 5))
	for _, format := range []audit.Format{audit.JSONL, audit.CSV} {
		var b bytes.Buffer
		n, err := audit.ExportEntries(t.Context(), r, audit.Selection{}, format, &b, nil)
		require.NoError(t, err)
		assert.EqualValues(t, 36, n)
		prev := ""
		each := func(number, caseNumber int64, kind string, micros int64, body, before, hash string) {
			require.Equal(t, prev, before)
			require.Equal(t, sum(number, caseNumber, kind, micros, prev, body), hash)
			prev = hash
		}
		if format == audit.CSV {
			rows, err := csv.NewReader(&b).ReadAll()
			require.NoError(t, err)
			for _, c := range rows[1:] {
				var number, caseNumber, micros int64
				for i, to := range map[int]*int64{0: &number, 1: &caseNumber, 4: &micros} {
					require.NoError(t, json.Unmarshal([]byte(c[i]), to))
				}
				each(number, caseNumber, c[2], micros, c[5], c[6], c[7])
			}
			continue
		}
		for d := json.NewDecoder(&b); ; {
			var l audit.Line
			if err := d.Decode(&l); err == io.EOF {
				break
			} else {
				require.NoError(t, err)
			}
			each(l.Number, l.Case, l.Kind, l.Micros, l.Body, l.Prev, l.Hash)
		}
	}
}

func TestExportIsSafeInASpreadsheet(t *testing.T) {
	dangerous := []string{"=1+1", "+1", "-live", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "'quoted", "=cmd|' /C calc'!A0"}
	path := makeJournal(t, len(dangerous))
	db := openDB(t, path)
	for i, room := range dangerous {
		body, _ := json.Marshal(map[string]any{"by": "U1", "room": room, "reason": room, "channel": "C0OPS"})
		_, err := db.Exec(`UPDATE entries SET body = ? WHERE kind = 'requested' AND case_ = ?`, string(body), i+1)
		require.NoError(t, err)
	}
	for i, row := range exportCSV(t, openReader(t, path), audit.Selection{}) {
		for _, column := range []string{"room", "reason"} {
			got := row[column]
			require.True(t, strings.HasPrefix(got, "'"), "%q", got)
			// A CSV reader makes \r\n of a line break into \n; a lone \r stays.
			assert.Equal(t, dangerous[i], got[1:], "taking away the apostrophe gives back the text")
		}
	}
}
