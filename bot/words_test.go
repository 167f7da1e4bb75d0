package bot

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"zegoclose/internal/journal"

	"github.com/stretchr/testify/assert"
)

// wordings are digests of what all sorts of posts say, by version. Auditors compare the
// text of old posts with what their release would write, so words that change without a
// new version would look like forgeries.
var wordings = map[int]string{1: "e3ab544bad9ba4a4"}

func TestWordingHasAVersion(t *testing.T) {
	var all strings.Builder
	for _, story := range stories() {
		whole := journal.Case{Number: 1, Entries: story, CardTS: "1.000001"}
		for i, e := range story {
			c := whole.At(e.Number)
			fmt.Fprintln(&all, Words(c, journal.Post{Kind: journal.Card, First: 1, Last: e.Number}))
			if i > 1 {
				fmt.Fprintln(&all, Words(c, journal.Post{Kind: journal.Reply, First: story[2].Number, Last: e.Number}))
			}
		}
	}
	checkpoint := entry(9, journal.Checkpoint, journal.Facts{Since: 1, Until: 86_400_000_001, Counts: map[string]int64{"requested": 2, "closed": 1, "open": 1}})
	fmt.Fprintln(&all, Words(journal.Case{Entries: []journal.Entry{checkpoint}}, journal.Post{Kind: journal.Checkpoints, First: 9, Last: 9}))
	digest := fmt.Sprintf("%.8x", sha256.Sum256([]byte(all.String())))
	assert.Equal(t, wordings[Wording], digest, "posts say something new. If release %d of the words is out, raise Wording and add this digest; if not, put it here", Wording)
}

func entry(n int64, k journal.Kind, f journal.Facts) journal.Entry {
	return journal.Entry{Number: n, Case: 1, Kind: k, Time: time.Unix(1_767_225_600+n, 0).UTC(), Facts: f, Hash: strings.Repeat("5e", 32)}
}

// stories are cases that come to every end.
func stories() [][]journal.Entry {
	zero, nine, three := 0, 9, 3
	begin := []journal.Entry{
		entry(1, journal.Requested, journal.Facts{By: "U1", Room: "live-42", Reason: "spam", Sends: "spam", From: "C1", Channel: "C1", Until: 1_767_225_900_000_000, Others: []int64{7}}),
		entry(2, journal.Offered, journal.Facts{People: &three, Until: 1_767_225_900_000_000}),
		entry(3, journal.Shown, journal.Facts{TS: "1.000001", Channel: "C1"}),
	}
	called := append(begin[:3:3], entry(4, journal.Confirmed, journal.Facts{By: "U1", Until: 1_767_226_200_000_000}), entry(5, journal.Attempted, journal.Facts{Call: 1}))
	with := func(to []journal.Entry, drafts ...journal.Draft) []journal.Entry {
		to = to[:len(to):len(to)]
		for _, d := range drafts {
			to = append(to, entry(int64(len(to))+1, d.Kind, d.Facts))
		}
		return to
	}
	answered := func(effect string, code *int, detail string) journal.Draft {
		return draft(journal.Answered, journal.Facts{Call: 1, Effect: effect, Code: code, RequestID: "3912", Took: 132_000, Detail: detail})
	}
	ended := func(s journal.State, why, detail string) journal.Draft {
		return draft(journal.Ended, journal.Facts{Outcome: s, Why: why, Detail: detail})
	}
	return [][]journal.Entry{
		with(called, answered("done", &zero, ""), ended(journal.StateClosed, "closed", ""),
			draft(journal.Reviewed, journal.Facts{By: "U2", Note: "fine"}), draft(journal.Contested, journal.Facts{By: "U3", Note: "not fine"})),
		with(called, answered("absent", &nine, "gone"), ended(journal.StateAbsent, "no_such_room", "")),
		with(called, answered("not done", &nine, "ZEGO answered code 9"), ended(journal.StateFailed, "refused_by_zego", "ZEGO answered code 9")),
		with(called, answered("unknown", nil, "no answer within 5s"), draft(journal.Looked, journal.Facts{People: &three}), ended(journal.StateUnknown, "no_clear_answer", "ZEGO's answer was lost")),
		with(begin, draft(journal.Cancelled, journal.Facts{By: "U2"})),
		with(begin, draft(journal.Expired, journal.Facts{Why: "not_confirmed", Detail: "nobody confirmed in time"})),
	}
}
