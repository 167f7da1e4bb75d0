package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"zegoclose/bot"
	"zegoclose/internal/audit"
	"zegoclose/internal/journal"

	"github.com/caarlos0/env/v11"
	"github.com/slack-go/slack"
)

// auditCommand is for those who check the record. None of its commands takes the journal's
// lock or writes anything; all work while the bot runs.
type auditCommand struct {
	Verify verifyCommand `cmd:"" help:"Recompute the journal's chain and check all that follows from it."`
	Export exportCommand `cmd:"" help:"Write cases, or entries, as CSV or JSON lines."`

	Reconcile reconcileCommand `cmd:"" help:"Compare the journal with what Slack shows."`
	Backup    backupCommand    `cmd:"" help:"Copy the journal to a new file, also while the bot runs."`
}

// errFindings means that the record is not right; what is wrong has been printed.
var errFindings = errors.New("the record is not right")

// whichJournal is the flag that all audit commands have.
type whichJournal struct {
	Journal string `placeholder:"FILE" help:"The journal to read; default DATABASE_URL."`
}

// path is where the journal is.
func (f whichJournal) path(w *world) (string, error) {
	if f.Journal != "" {
		return f.Journal, nil
	}
	vars := env.ToMap(w.environ)
	if problem := fromFile(vars, "DATABASE_URL"); problem != "" {
		return "", &configError{[]string{problem}}
	}
	return cmp.Or(strings.TrimSpace(vars["DATABASE_URL"]), "zegoclose.db"), nil
}

func noJournal(path string) error {
	return usage("there is no journal %s: set DATABASE_URL, or name it with -journal", path)
}

// open opens the journal for reading only.
func (f whichJournal) open(ctx context.Context, w *world) (*journal.Reader, error) {
	path, err := f.path(w)
	if err != nil {
		return nil, err
	}
	r, err := journal.OpenReader(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noJournal(path)
	}
	return r, err
}

// errDisturbed asks for another try.
var errDisturbed = errors.New("the bot was started while the journal was being read: run the command again")

// verifyCommand checks the journal by itself.
type verifyCommand struct {
	whichJournal
	Head []string `placeholder:"HASH" help:"A hash that a witness kept (a Slack message, a checkpoint, an export): it must be in the chain. At least 8 digits; may be repeated."`
}

func (c verifyCommand) Run(ctx context.Context, w *world) error {
	for _, h := range c.Head {
		if len(h) < 8 || strings.Trim(strings.ToLower(h), "0123456789abcdef") != "" {
			return usage("-head %q is not a hash: give its 64 digits (0-9, a-f), or at least the first 8", h)
		}
	}
	r, err := c.open(ctx, w)
	if err != nil {
		return err
	}
	defer r.Close()
	bar := newProgress(w, "entries verified")
	v, err := audit.Verify(ctx, r, c.Head, bar.show)
	bar.clear()
	if r.Disturbed() {
		return errDisturbed
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "journal %s: %d entries, %d cases, %d posts; last hash %s\n", v.Journal, v.Entries, v.Cases, v.Posts, v.Hash)
	for _, h := range c.Head {
		if n, ok := v.Heads[h]; ok {
			fmt.Fprintf(w.stdout, "%s is entry %d of the chain\n", h, n)
		}
	}
	if len(v.Problems) == 0 {
		fmt.Fprintln(w.stdout, "sound: the chain is whole, and everything else follows from it")
		return nil
	}
	for _, p := range v.Problems {
		fmt.Fprintln(w.stdout, "WRONG", p)
	}
	if v.More > 0 {
		fmt.Fprintf(w.stdout, "… and %d more\n", v.More)
	}
	return errFindings
}

// exportCommand writes what the journal holds for people and machines.
type exportCommand struct {
	whichJournal
	Format     audit.Format `default:"csv" enum:"csv,jsonl" help:"csv (safe to open in a spreadsheet) or jsonl (nothing altered)."`
	Entries    bool         `help:"Every entry instead of one row a case."`
	Since      moment       `placeholder:"WHEN" help:"Not before: 2026-03-01, 2026-03-01T14:00:00Z, or 24h or 30d for that long ago."`
	Until      moment       `placeholder:"WHEN" help:"Before."`
	Room       string       `placeholder:"ID" help:"Only this room, byte for byte."`
	User       string       `placeholder:"ID" help:"Only cases in which this person had a part."`
	Case       int64        `placeholder:"N" help:"Only this case."`
	Unreviewed bool         `help:"Only cases that are over and not reviewed, or contested since."`
}

func (c exportCommand) Run(ctx context.Context, w *world) error {
	r, err := c.open(ctx, w)
	if err != nil {
		return err
	}
	defer r.Close()
	s := audit.Selection{Since: c.Since.Time, Until: c.Until.Time, Room: c.Room, User: c.User, Case: c.Case, Unreviewed: c.Unreviewed}
	export, what := audit.ExportCases, "cases"
	if c.Entries {
		export, what = audit.ExportEntries, "entries"
	}
	bar := newProgress(w, what+" read")
	n, err := export(ctx, r, s, c.Format, w.stdout, bar.show)
	bar.clear()
	if err != nil {
		return fmt.Errorf("exporting, after %d %s: %w", n, what, err)
	}
	if r.Disturbed() {
		return errDisturbed
	}
	head, err := r.Head(ctx)
	if err != nil {
		return err
	}
	if n == 1 {
		what = map[bool]string{true: "entry", false: "case"}[c.Entries]
	}
	fmt.Fprintf(w.stderr, "%d %s of journal %s as of entry %d; keep its hash: zegoclose audit verify -head %s\n", n, what, head.Journal, head.Entry, head.Hash)
	return nil
}

// reconcileCommand compares the journal with Slack, by the API or from an export.
type reconcileCommand struct {
	whichJournal
	Export  string `placeholder:"FILE" help:"Read this export of the workspace (zip) instead of asking Slack; no token is needed."`
	Since   moment `placeholder:"WHEN" help:"Only what was posted since then."`
	Channel string `placeholder:"ID" help:"Only this channel."`
	JSON    bool   `help:"Print one JSON object."`
}

func (c reconcileCommand) Run(ctx context.Context, w *world) error {
	if c.Channel != "" && !channelID.MatchString(c.Channel) {
		return usage("-channel %q is not an id: take one such as C0123ABCD, from the end of the channel's details in Slack", c.Channel)
	}
	src, err := c.source(w)
	if err != nil {
		return err
	}
	defer src.Close()
	r, err := c.open(ctx, w)
	if err != nil {
		return err
	}
	defer r.Close()
	bar := newProgress(w, "messages read")
	report, err := audit.Reconcile(ctx, r, src, audit.Comparison{
		Since: c.Since.Time, Channel: c.Channel, Now: time.Now(), Words: bot.Words, Version: bot.Wording,
		Progress: bar.show,
	})
	bar.clear()
	if r.Disturbed() {
		return errDisturbed
	}
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(w.stdout)
		enc.SetEscapeHTML(false)
		err = enc.Encode(report)
	} else {
		c.print(w.stdout, report)
	}
	if err == nil && len(report.Findings) > 0 {
		return errFindings
	}
	return err
}

// source is where the messages come from.
func (c reconcileCommand) source(w *world) (closingSource, error) {
	if c.Export != "" {
		a, err := audit.OpenArchive(c.Export)
		if err != nil {
			return nil, usage("%v: name the zip file that Slack made", err)
		}
		return a, nil
	}
	vars := env.ToMap(w.environ)
	if problem := fromFile(vars, "SLACK_BOT_TOKEN"); problem != "" {
		return nil, &configError{[]string{problem}}
	}
	token, url := vars["SLACK_BOT_TOKEN"], cmp.Or(vars["SLACK_API_URL"], slack.APIURL)
	if token == "" {
		return nil, &configError{[]string{"SLACK_BOT_TOKEN is not set: Slack is asked with the bot's own token; or compare with an export of the workspace: -export FILE"}}
	}
	if problem := wrapped(token); problem != "" {
		return nil, &configError{[]string{"SLACK_BOT_TOKEN " + problem}}
	}
	if problem := checkURL(url); problem != "" {
		return nil, &configError{[]string{"SLACK_API_URL " + problem}}
	}
	api := slack.New(token, slack.OptionHTTPClient(&http.Client{Timeout: 30 * time.Second}), slack.OptionAPIURL(strings.TrimSuffix(url, "/")+"/"))
	return online{&audit.API{Client: api}}, nil
}

// closingSource is a source that has to be closed.
type closingSource interface {
	audit.Source
	io.Closer
}

type online struct{ *audit.API }

func (online) Close() error { return nil }

func (reconcileCommand) print(out io.Writer, r audit.Report) {
	channels := cmp.Or(strings.Join(r.Channels, " "), "none")
	fmt.Fprintf(out, "journal %s: channels %s, %d messages looked at; of %d posts %d match\n", r.Journal, channels, r.Messages, r.Posts, r.Matching)
	if r.Unread > 0 {
		fmt.Fprintf(out, "posts not compared, in channels that cannot be read: %d\n", r.Unread)
	}
	if r.OnTheWay > 0 {
		fmt.Fprintf(out, "%d of them a few minutes old and perhaps still on the way\n", r.OnTheWay)
	}
	if r.Reworded > 0 {
		fmt.Fprintf(out, "%d of them worded by another release: their text was not compared, all else was\n", r.Reworded)
	}
	if r.Untold > 0 {
		fmt.Fprintf(out, "%d of them without metadata in this export: compared by place, author and text\n", r.Untold)
	}
	if len(r.Findings) == 0 {
		fmt.Fprintln(out, "agreed: Slack shows what the journal says, and nothing else that looks like it")
	}
	for _, f := range r.Findings {
		fmt.Fprintln(out, f)
	}
}

// moment is a point in time as people type it.
type moment struct{ time.Time }

func (m *moment) UnmarshalText(text []byte) error {
	s := string(text)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 {
			m.Time = time.Now().AddDate(0, 0, -n)
			return nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		m.Time = time.Now().Add(-d.Abs())
		return nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339, "2006-01-02T15:04", time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil {
			m.Time = t.UTC()
			return nil
		}
	}
	return fmt.Errorf("%q is neither a day such as 2026-03-01, nor a time such as 2026-03-01T14:00:00Z, nor a duration such as 24h or 30d", s)
}

// progress is a line on a terminal that says how far something is.
type progress struct {
	out   io.Writer // nil: nobody watches
	what  string
	began time.Time
	last  time.Time
}

func newProgress(w *world, what string) *progress {
	p := &progress{what: what, began: time.Now()}
	if isTerminal(w) {
		p.out = w.stderr
	}
	return p
}

// show is called often and writes seldom.
func (p *progress) show(done, all int64) {
	if p.out == nil || time.Since(p.last) < 200*time.Millisecond {
		return
	}
	p.last = time.Now()
	percent := ""
	if all > 0 {
		percent = fmt.Sprintf(", %d%%", done*100/all)
	}
	fmt.Fprintf(p.out, "\r\x1b[K%d %s%s, %.0f/s", done, p.what, percent, float64(done)/time.Since(p.began).Seconds())
}

func (p *progress) clear() {
	if p.out != nil {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
