package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"zegoclose/internal/journal"
)

// maxProblems is how many problems are listed; the rest are counted.
const maxProblems = 20

// A Problem is one thing that is wrong with a journal.
type Problem struct {
	Entry int64  `json:"entry"`          // -1 if it concerns no entry
	Case  int64  `json:"case,omitempty"` // 0 if it concerns no case
	What  string `json:"what"`
}

func (p Problem) String() string {
	var where []string
	if p.Entry >= 0 {
		where = append(where, fmt.Sprintf("entry %d", p.Entry))
	}
	if p.Case > 0 {
		where = append(where, fmt.Sprintf("case #%d", p.Case))
	}
	if where == nil {
		return p.What
	}
	return strings.Join(where, ", ") + ": " + p.What
}

// A Verdict is what a verification came to.
type Verdict struct {
	Journal  string // its id, from entry 0
	Entries  int64
	Cases    int64
	Posts    int64
	Hash     string           // of the last entry
	Heads    map[string]int64 // the heads asked for that are in the chain, and where
	Problems []Problem        // the first ones, in the order in which they were found
	More     int              // further problems
}

// Verify recomputes the chain of a whole journal and checks that everything else in it
// follows from its entries. The heads are hashes, or at least their first 8 digits, that a
// witness has kept: each must be in the chain, which shows that nothing up to it was cut
// off or replaced. Progress, which may be nil, is told how many entries have been checked.
func Verify(ctx context.Context, r *journal.Reader, heads []string, progress func(done, all int64)) (Verdict, error) {
	v := verifier{Verdict: Verdict{Heads: make(map[string]int64)}, heads: heads}
	head, err := r.Head(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return Verdict{}, err
		}
		v.problem(-1, 0, "its head row cannot be read: %v", err)
	}
	for e, err := range r.Entries(ctx) {
		if ctx.Err() != nil {
			return Verdict{}, ctx.Err()
		}
		if err != nil {
			v.problem(v.next(), 0, "it cannot be read, nor what follows: %v", err)
			break
		}
		v.entry(e)
		if progress != nil && v.Entries%50_000 == 0 {
			progress(v.Entries, head.Entry+1)
		}
	}
	v.tail(head)
	posted, err := v.posts(ctx, r)
	if err != nil {
		return Verdict{}, err
	}
	if err := v.rows(ctx, r, posted); err != nil {
		return Verdict{}, err
	}
	for _, h := range heads {
		if _, ok := v.Heads[h]; !ok {
			v.problem(-1, 0, "no entry has the hash %s: the journal was cut off before it, or rewritten", h)
		}
	}
	return v.Verdict, nil
}

// verifier goes through a journal once. Of each case it keeps its course, not its entries.
type verifier struct {
	Verdict
	heads   []string
	last    journal.Entry
	courses []*journal.Course // by case number, from 1
	bad     map[int64]bool    // cases of which a problem is known: no more about them
}

func (v *verifier) problem(entry, number int64, format string, args ...any) {
	if len(v.Problems) >= maxProblems {
		v.More++
		return
	}
	v.Problems = append(v.Problems, Problem{entry, number, fmt.Sprintf(format, args...)})
}

// next is the number of the entry that should follow.
func (v *verifier) next() int64 {
	if v.Entries == 0 {
		return 0
	}
	return v.last.Number + 1
}

// entry checks one more entry. After a problem it goes on from what is stored, so that one
// change is one problem.
func (v *verifier) entry(e journal.Entry) {
	defer func() { v.last = e; v.Entries++ }()
	switch want := v.next(); {
	case e.Number < want:
		v.problem(e.Number, e.Case, "its number is used twice")
	case e.Number == want+1:
		v.problem(want, 0, "it is missing")
	case e.Number > want:
		v.problem(want, 0, "it is missing, and so are all up to %d", e.Number-1)
	}
	if v.Entries > 0 && e.Time.Before(v.last.Time) {
		v.problem(e.Number, e.Case, "its time is before that of the entry before it")
	}
	if err := e.Check(v.last.Hash); err != nil {
		v.problem(e.Number, e.Case, "%s", strings.TrimPrefix(err.Error(), fmt.Sprintf("entry %d: ", e.Number)))
	}
	for _, h := range v.heads {
		if len(h) >= 8 && strings.HasPrefix(e.Hash, strings.ToLower(h)) {
			v.Heads[h] = e.Number
		}
	}
	if err := e.DecodeForCourse(); err != nil {
		v.problem(e.Number, e.Case, "its content cannot be read: %v", err)
		return
	}
	if err := v.step(e); err != nil {
		v.problem(e.Number, e.Case, "it cannot be: %v", err)
		v.distrust(e.Case)
	}
}

// step lets the entry take effect on its case.
func (v *verifier) step(e journal.Entry) error {
	switch {
	case e.Number == 0 && e.Kind == journal.Opened && e.Case == 0:
		v.Journal = e.Facts.Journal
		return nil
	case e.Number == 0 || e.Kind == journal.Opened:
		return errors.New("a journal begins with entry 0, which is the one that opens it")
	case e.Kind == journal.Refused || e.Kind == journal.Checkpoint:
		if e.Case != 0 {
			return fmt.Errorf("%s belongs to no case", e.Kind)
		}
		return nil
	case e.Kind == journal.Requested:
		if want := int64(len(v.courses)) + 1; e.Case != want {
			v.distrust(e.Case)
			for int64(len(v.courses)) < e.Case && e.Case < want+1e6 {
				v.courses = append(v.courses, &journal.Course{})
			}
			return fmt.Errorf("it opens case #%d, but the next is #%d", e.Case, want)
		}
		v.courses = append(v.courses, &journal.Course{})
	case e.Case < 1 || e.Case > int64(len(v.courses)):
		return fmt.Errorf("case #%d has not been opened", e.Case)
	}
	if again := e.Facts.AgainOf; again > 0 && again < e.Case {
		v.courses[again-1].Again = e.Case
	}
	if v.bad[e.Case] {
		return nil
	}
	return v.courses[e.Case-1].Step(e)
}

// distrust stops further complaints about a case.
func (v *verifier) distrust(number int64) {
	if v.bad == nil {
		v.bad = make(map[int64]bool)
	}
	v.bad[number] = true
}

// tail compares the end of the chain with the head row.
func (v *verifier) tail(head journal.Head) {
	v.Hash = v.last.Hash
	switch {
	case v.Entries == 0:
		v.problem(0, 0, "it is missing, and with it the whole chain")
	case head.Journal == "": // said already
	case head.Entry != v.last.Number:
		v.problem(v.last.Number, v.last.Case, "it is the last one, but the head row says that %d is: the tail was cut off, or grew behind the head's back", head.Entry)
	case head.Hash != v.last.Hash:
		v.problem(v.last.Number, v.last.Case, "it is the last one, but the head row knows another hash for it (%.8s, not %.8s)", head.Hash, v.last.Hash)
	case !head.Time.Equal(v.last.Time):
		v.problem(v.last.Number, v.last.Case, "it is the last one, but the head row knows another time for it")
	case head.Journal != v.Journal:
		v.problem(0, 0, "it names journal %s, but the head row names %s", v.Journal, head.Journal)
	case head.Cases != int64(len(v.courses)):
		v.problem(-1, int64(len(v.courses)), "it is the last case, but the head row names #%d", head.Cases)
	}
}

// rows checks that the table of current states says what the entries and the posts say.
func (v *verifier) rows(ctx context.Context, r *journal.Reader, posted []int64) error {
	for row, err := range r.CaseRows(ctx) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			v.problem(-1, v.Cases+1, "its row cannot be read: %v", err)
			return nil
		}
		for v.Cases++; v.Cases < row.Number; v.Cases++ {
			v.problem(-1, v.Cases, "its row is missing")
			v.distrust(v.Cases)
		}
		if row.Number < 1 || row.Number > int64(len(v.courses)) {
			v.problem(-1, row.Number, "it has a row, but no entries")
			continue
		}
		c := v.courses[row.Number-1]
		if v.bad[row.Number] || c.Matches(row) && row.Posted == posted[row.Number] {
			continue
		}
		for _, f := range []struct {
			name       string
			kept, says any
		}{
			{"state", row.State, c.State}, {"room", row.Room, c.Room}, {"requester", row.Requester, c.Requester},
			{"channel", row.Channel, c.Channel}, {"card's ts", row.CardTS, c.CardTS}, {"first entry", row.First, c.First},
			{"last entry", row.Last, c.Last}, {"end", row.Ended, c.Ended}, {"last entry to be told", row.Told, c.Told},
			{"deadline", row.Due, int64(c.Due)}, {"confirmation", row.Turn, c.Turn}, {"case that tries it again", row.Again, c.Again},
			{"last entry that a post shows", row.Posted, posted[row.Number]},
		} {
			if f.kept != f.says && !v.bad[row.Number] {
				v.problem(-1, row.Number, "its row says that its %s is %q, but its entries and posts say %q", f.name, fmt.Sprint(f.kept), fmt.Sprint(f.says))
				v.distrust(row.Number)
			}
		}
	}
	for n := v.Cases + 1; n <= int64(len(v.courses)); n++ {
		v.problem(-1, n, "its row is missing")
	}
	v.Cases = int64(len(v.courses))
	return nil
}

var postStates = []journal.PostState{journal.PostWaiting, journal.PostSending, journal.PostDoubt, journal.PostSent, journal.PostUndeliverable}

// posts checks that every case's posts are accounted for: what was to be shown, in order,
// each entry once. It returns the last entry of each case that a post shows. Whether Slack
// still has them is for [Reconcile].
func (v *verifier) posts(ctx context.Context, r *journal.Reader) (posted []int64, err error) {
	posted = make([]int64, len(v.courses)+1)
	for p, err := range r.Posts(ctx) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			v.problem(-1, 0, "the row of a post cannot be read, nor what follows: %v", err)
			return posted, nil
		}
		v.Posts++
		if p.Kind == journal.Checkpoints {
			if p.First != p.Last || p.Case != 0 {
				v.problem(p.First, p.Case, "its post is not a checkpoint's")
			}
			continue
		}
		if p.Case < 1 || p.Case > int64(len(v.courses)) {
			v.problem(p.First, p.Case, "a post shows it, but there is no such case")
			continue
		}
		if v.bad[p.Case] {
			continue
		}
		c := v.courses[p.Case-1]
		problem := ""
		switch isFirst := posted[p.Case] == 0; {
		case isFirst && (p.Kind != journal.Card || p.First != c.First), !isFirst && p.Kind != journal.Reply:
			problem = "a post before it is missing from the table of posts"
		case p.First <= posted[p.Case] || p.Last < p.First || p.Last > c.Last:
			problem = fmt.Sprintf("its post shows entries %d to %d, which other posts show or nobody wrote", p.First, p.Last)
		case p.Kind == journal.Card && p.TS != c.CardTS && p.State == journal.PostSent:
			problem = fmt.Sprintf("its card is said to be at %s, but its entries say %q", p.TS, c.CardTS)
		case p.Channel != c.Channel:
			problem = fmt.Sprintf("its post is said to be in %s, but the case belongs to %s", p.Channel, c.Channel)
		case !slices.Contains(postStates, p.State):
			problem = fmt.Sprintf("its post is said to be %q, which no post is", p.State)
		case p.State == journal.PostSent && p.TS == "":
			problem = "its post is said to be in Slack, but not where"
		}
		if problem != "" {
			v.problem(p.First, p.Case, "%s", problem)
			v.distrust(p.Case)
		}
		posted[p.Case] = p.Last
	}
	return posted, nil
}
