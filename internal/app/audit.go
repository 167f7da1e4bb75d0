package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"zegoclose/internal/audit"
	"zegoclose/internal/journal"

	"github.com/caarlos0/env/v11"
)

// auditCommand is for those who check the record. None of its commands takes the journal's
// lock or writes anything; all work while the bot runs.
type auditCommand struct {
	Verify verifyCommand `cmd:"" help:"Recompute the journal's chain and check all that follows from it."`
}

// errFindings means that the record is not right; what is wrong has been printed.
var errFindings = errors.New("the record is not right")

// whichJournal is the flag that all audit commands have.
type whichJournal struct {
	Journal string `placeholder:"FILE" help:"The journal to read; default DATABASE_URL."`
}

// open opens the journal for reading only.
func (f whichJournal) open(ctx context.Context, w *world) (*journal.Reader, error) {
	path := f.Journal
	if path == "" {
		vars := env.ToMap(w.environ)
		if problem := fromFile(vars, "DATABASE_URL"); problem != "" {
			return nil, &configError{[]string{problem}}
		}
		if path = strings.TrimSpace(vars["DATABASE_URL"]); path == "" {
			path = "zegoclose.db"
		}
	}
	r, err := journal.OpenReader(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &configError{[]string{fmt.Sprintf("there is no journal %s: set DATABASE_URL, or name it with -journal", path)}}
	}
	return r, err
}

// verifyCommand checks the journal by itself.
type verifyCommand struct {
	whichJournal
	Head []string `placeholder:"HASH" help:"A hash that a witness kept (a Slack message, a checkpoint, an export): it must be in the chain. At least 8 digits; may be repeated."`
}

func (c verifyCommand) Run(ctx context.Context, w *world) error {
	for _, h := range c.Head {
		if len(h) < 8 || strings.Trim(strings.ToLower(h), "0123456789abcdef") != "" {
			return &configError{[]string{fmt.Sprintf("-head %q is not a hash, nor its first 8 digits or more", h)}}
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
