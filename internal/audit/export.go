package audit

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"zegoclose/internal/journal"
)

// Format is how an export is written.
type Format string

const (
	CSV   Format = "csv"   // RFC 4180, safe to open in a spreadsheet
	JSONL Format = "jsonl" // one JSON object a line, nothing altered
)

// Selection picks what is exported. Zero values do not filter.
type Selection struct {
	Since, Until time.Time // of the request, or of the entry; Until is not included
	Room         string    // byte for byte
	User         string    // id of somebody who asked, confirmed, cancelled or reviewed
	Case         int64
	Unreviewed   bool // only cases that are over and that nobody has reviewed, or somebody contests
}

// Row is one case in an export. Times are UTC; what is not known or did not happen is empty.
type Row struct {
	Case          int64      `json:"case"`
	State         string     `json:"state"`
	Room          string     `json:"room"`
	Reason        string     `json:"reason"`
	SentToRoom    string     `json:"sent_to_room"` // the part of the reason that everyone in the room was to see
	AskedBy       string     `json:"asked_by"`
	AskedByName   string     `json:"asked_by_name"` // then; the id decides
	AskedAt       *time.Time `json:"asked_at"`
	AskedIn       string     `json:"asked_in"`
	PeopleBefore  *int       `json:"people_before"`
	ConfirmedBy   string     `json:"confirmed_by"`
	ConfirmedAt   *time.Time `json:"confirmed_at"`
	EndedBy       string     `json:"ended_by"` // who cancelled
	EndedAt       *time.Time `json:"ended_at"`
	Why           string     `json:"why"`
	Detail        string     `json:"detail"`
	Attempts      int        `json:"attempts"`
	ZegoCode      *int       `json:"zego_code"`
	ZegoRequestID string     `json:"zego_request_id"`
	LatencyMS     *int64     `json:"latency_ms"`
	PeopleAfter   *int       `json:"people_after"` // seen after a call without a clear answer
	DecidedBy     caseRef    `json:"decided_by"`   // the other case that decided this one
	TriesAgain    caseRef    `json:"tries_again"`  // the case that this one tries again
	TriedAgainBy  caseRef    `json:"tried_again_by"`
	Review        string     `json:"review"` // reviewed, contested
	ReviewedBy    string     `json:"reviewed_by"`
	ReviewedAt    *time.Time `json:"reviewed_at"`
	ReviewNote    string     `json:"review_note"`
	Channel       string     `json:"channel"`
	CardTS        string     `json:"card_ts"`
	Permalink     string     `json:"permalink"`
	FirstEntry    int64      `json:"first_entry"`
	LastEntry     int64      `json:"last_entry"`
	LastHash      string     `json:"last_hash"` // for audit verify -head
}

func rowOf(c journal.Case) Row {
	last := c.Entries[len(c.Entries)-1]
	r := Row{
		Case: c.Number, State: string(c.State), Room: c.Room, Reason: c.Reason, SentToRoom: c.Sends,
		AskedBy: c.Requester, AskedByName: c.RequesterName, AskedAt: timeOf(c.RequestedAt), AskedIn: c.From,
		PeopleBefore: c.Before.People, ConfirmedBy: c.ConfirmedBy, ConfirmedAt: timeOf(c.ConfirmedAt),
		EndedBy: c.EndedBy, EndedAt: timeOf(c.EndedAt), Why: c.Why, Detail: c.Detail, Attempts: c.Calls,
		DecidedBy: caseRef(c.About), TriesAgain: caseRef(c.AgainOf), TriedAgainBy: caseRef(c.AgainIs),
		Channel: c.Channel, CardTS: c.CardTS, Permalink: c.Link(c.CardTS),
		FirstEntry: c.Entries[0].Number, LastEntry: last.Number, LastHash: last.Hash,
	}
	if len(c.Answers) > 0 {
		a := c.LastAnswer()
		ms := a.Took.Milliseconds()
		r.ZegoCode, r.ZegoRequestID, r.LatencyMS = a.Code, a.RequestID, &ms
	}
	for _, l := range c.Looks {
		r.PeopleAfter = l.People
	}
	if n := len(c.Reviews); n > 0 {
		v := c.Reviews[n-1]
		r.Review, r.ReviewedBy, r.ReviewedAt, r.ReviewNote = "reviewed", v.By, timeOf(v.At), v.Note
		if v.Contests {
			r.Review = "contested"
		}
	}
	return r
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Line is one entry in an export. The body is the text that was hashed, so the chain can
// be recomputed from an export of all entries.
type Line struct {
	Number int64     `json:"number"`
	Case   int64     `json:"case"`
	Kind   string    `json:"kind"`
	Time   time.Time `json:"time"`
	Micros int64     `json:"time_us"`
	Body   string    `json:"body"`
	Prev   string    `json:"prev"`
	Hash   string    `json:"hash"`
}

func lineOf(e journal.Entry) Line {
	return Line{e.Number, e.Case, string(e.Kind), e.Time, e.Time.UnixMicro(), e.Body, e.Prev, e.Hash}
}

// ExportCases writes one row for each case that is selected, by number, and returns how
// many. It holds one case at a time.
func ExportCases(ctx context.Context, r *journal.Reader, s Selection, f Format, to io.Writer, progress func(done, all int64)) (int64, error) {
	return export(ctx, f, to, func(yield func(Row, error) bool) {
		for c, err := range selected(ctx, r, s, progress) {
			if err != nil || !s.covers(c.RequestedAt) {
				if err != nil && !yield(Row{}, err) {
					return
				}
				continue
			}
			if !yield(rowOf(c), nil) {
				return
			}
		}
	})
}

// ExportEntries writes one line for each entry that is selected and returns how many: in
// the order of the chain, or case by case if cases are picked by room, person or review.
func ExportEntries(ctx context.Context, r *journal.Reader, s Selection, f Format, to io.Writer, progress func(done, all int64)) (int64, error) {
	if s.Room == "" && s.User == "" && s.Case == 0 && !s.Unreviewed {
		head, err := r.Head(ctx)
		if err != nil {
			return 0, err
		}
		return export(ctx, f, to, func(yield func(Line, error) bool) {
			done := int64(0)
			for e, err := range r.Entries(ctx) {
				if done++; progress != nil && done%10_000 == 0 {
					progress(done, head.Entry+1)
				}
				if (err != nil || s.covers(e.Time)) && !yield(lineOf(e), err) {
					return
				}
			}
		})
	}
	return export(ctx, f, to, func(yield func(Line, error) bool) {
		for c, err := range selected(ctx, r, s, progress) {
			if err != nil && !yield(Line{}, err) {
				return
			}
			for _, e := range c.Entries {
				if s.covers(e.Time) && !yield(lineOf(e), nil) {
					return
				}
			}
		}
	})
}

// selected yields the cases that s picks by anything but time.
func selected(ctx context.Context, r *journal.Reader, s Selection, progress func(done, all int64)) iter.Seq2[journal.Case, error] {
	return func(yield func(journal.Case, error) bool) {
		head, err := r.Head(ctx)
		if err != nil {
			yield(journal.Case{}, err)
			return
		}
		for c, err := range r.Cases(ctx, journal.Filter{From: s.Case, To: s.Case, Room: s.Room}) {
			if progress != nil && c.Number%1000 == 0 {
				progress(c.Number, head.Cases)
			}
			picked := err != nil || (s.User == "" || concerns(c, s.User)) && (!s.Unreviewed || !c.State.Open() && !c.Reviewed())
			if picked && !yield(c, err) {
				return
			}
		}
	}
}

// concerns reports whether the person had a part in the case.
func concerns(c journal.Case, person string) bool {
	return person == c.Requester || person == c.ConfirmedBy || person == c.EndedBy ||
		slices.ContainsFunc(c.Reviews, func(v journal.Review) bool { return v.By == person })
}

func (s Selection) covers(t time.Time) bool {
	return !t.Before(s.Since) && (s.Until.IsZero() || t.Before(s.Until))
}

// export writes records one by one.
func export[T any](ctx context.Context, f Format, to io.Writer, records iter.Seq2[T, error]) (n int64, err error) {
	out := bufio.NewWriterSize(to, 64<<10)
	write, finish, err := writerFor[T](f, out)
	if err != nil {
		return 0, err
	}
	for record, err := range records {
		if err = errors.Join(err, ctx.Err()); err == nil {
			err = write(record)
		}
		if err != nil {
			return n, errors.Join(err, out.Flush())
		}
		n++
	}
	return n, errors.Join(finish(), out.Flush())
}

// writerFor returns a function that writes a record, and one that ends the export.
func writerFor[T any](f Format, out io.Writer) (write func(T) error, finish func() error, err error) {
	switch f {
	case JSONL:
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		return func(r T) error { return enc.Encode(r) }, func() error { return nil }, nil
	case CSV:
		w := csv.NewWriter(out)
		t := reflect.TypeFor[T]()
		cells := make([]string, t.NumField())
		for i := range cells {
			cells[i] = t.Field(i).Tag.Get("json")
		}
		write := func(r T) error {
			v := reflect.ValueOf(r)
			for i := range cells {
				cells[i] = cell(v.Field(i).Interface())
			}
			return w.Write(cells)
		}
		finish := func() error { w.Flush(); return w.Error() }
		return write, finish, w.Write(cells)
	}
	return nil, nil, fmt.Errorf("an export is %s or %s, not %q", CSV, JSONL, f)
}

// caseRef is the number of another case, 0 if there is none.
type caseRef int64

// cell renders a value for CSV; nil and no case are empty.
func cell(v any) string {
	switch v := v.(type) {
	case string:
		return safe(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case caseRef:
		if v != 0 {
			return strconv.FormatInt(int64(v), 10)
		}
	case int:
		return strconv.Itoa(v)
	case *int:
		if v != nil {
			return strconv.Itoa(*v)
		}
	case *int64:
		if v != nil {
			return strconv.FormatInt(*v, 10)
		}
	case time.Time:
		return v.Format(stamp)
	case *time.Time:
		if v != nil {
			return v.Format(stamp)
		}
	}
	return ""
}

// stamp is RFC 3339 with all six digits, so that a column sorts as text.
const stamp = "2006-01-02T15:04:05.000000Z"

// safe keeps a spreadsheet from taking text for a formula: what begins with = + - @, a tab
// or a line break (or their wide forms, or white space before them) gets an apostrophe in
// front. So does what begins with an apostrophe, which makes the rule reversible: take away
// one leading apostrophe.
func safe(s string) string {
	if strings.HasPrefix(s, "'") || strings.HasPrefix(s, "\t") || strings.HasPrefix(s, "\r") || strings.HasPrefix(s, "\n") {
		return "'" + s
	}
	trimmed := strings.TrimSpace(s)
	for _, p := range []string{"=", "+", "-", "@", "＝", "＋", "－", "＠"} {
		if strings.HasPrefix(trimmed, p) {
			return "'" + s
		}
	}
	return s
}
