package journal_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"zegoclose/internal/journal"
)

// queries finds the SQL of the package's sources: every constant string that is a statement.
func queries(t *testing.T) map[string]string {
	t.Helper()
	fset := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		require.NoError(t, err)
		files = append(files, f)
	}
	info := &types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}
	conf := types.Config{Importer: importer.Default(), Error: func(error) {}} // constants are folded without the imports
	conf.Check("journal", fset, files, info)
	found := make(map[string]string)
	statement := regexp.MustCompile(`^\s*(SELECT|WITH|INSERT INTO|UPDATE|DELETE FROM) `)
	for expr, tv := range info.Types {
		if _, named := expr.(*ast.Ident); !named && tv.Value != nil && tv.Value.Kind() == constant.String {
			if s := constant.StringVal(tv.Value); statement.MatchString(s) {
				found[s] = fset.Position(expr.Pos()).String()
			}
		}
	}
	return found
}

// With a million old cases, a query that walks through all of them would hold up everybody.
func TestEveryQueryUsesAnIndex(t *testing.T) {
	b := newBook(t)
	db := rawDB(t, b.path)
	// These indexes hold what is open only, so walking through one is no harm.
	small := regexp.MustCompile(`USING (COVERING )?INDEX (cases_queue|cases_due|cases_person|cases_unposted|posts_open|posts_redraw)\b`)
	indexed := regexp.MustCompile(`^SEARCH .* USING ((COVERING )?INDEX |INTEGER PRIMARY KEY)`)
	table := regexp.MustCompile(`^(SCAN|SEARCH) (cases|entries|posts|deliveries|c|e|o|p)\b`)
	all := queries(t)
	n := 0
	for query, where := range all {
		if strings.HasSuffix(where[:strings.Index(where, ":")], "reader.go") || isFragment(query, all) {
			continue // auditors read everything
		}
		n++
		args := make([]any, strings.Count(query, "$"))
		for i := range args {
			args[i] = 1
		}
		rows, err := db.Query("EXPLAIN QUERY PLAN "+query, args...)
		if !assert.NoError(t, err, "%s: %s", where, query) {
			continue
		}
		for rows.Next() {
			var id, parent, unused int
			var step string
			require.NoError(t, rows.Scan(&id, &parent, &unused, &step))
			if table.MatchString(step) && !strings.Contains(query, "max(number)") { // the end of the key: one look
				assert.True(t, indexed.MatchString(step) || small.MatchString(step), "%s: %s\n%s", where, step, query)
			}
			assert.False(t, strings.Contains(step, "TEMP B-TREE") && !strings.Contains(query, "CASE WHEN not_before") && !strings.Contains(query, "UNION") &&
				!strings.Contains(query, "ORDER BY CASE state") && !strings.Contains(query, "ORDER BY number"), "%s: %s\n%s", where, step, query)
		}
		require.NoError(t, rows.Err())
		rows.Close()
	}
	assert.Greater(t, n, 35, "queries found")
}

// isFragment reports whether query is only the beginning of others.
func isFragment(query string, all map[string]string) bool {
	for q := range all {
		if q != query && strings.HasPrefix(q, query) {
			return true
		}
	}
	return false
}

// SQL that only one of the two engines understands stays in sqlite.go.
func TestTheSQLIsWhatBothEnginesShare(t *testing.T) {
	foreign := regexp.MustCompile(`(?i)\bsqlite|\bPRAGMA\b|\bINSERT OR\b|\bREPLACE INTO\b|\browid\b|\bIFNULL\b|\?|\bGLOB\b|\bdatetime\(|"`)
	for query, where := range queries(t) {
		if !strings.HasPrefix(where, "sqlite.go") {
			assert.NotRegexp(t, foreign, query, where)
		}
		// What stands between THEN and END decides the type of a parameter on PostgreSQL.
		assert.NotRegexp(t, regexp.MustCompile(`THEN \$\d+ ELSE (\$|\d)`), query, where)
	}
}

// scene is a journal in which everything waits that can wait.
type scene struct {
	*book
	pending, waiting, confirmed, closing, unknown journal.Case
	sending                                       journal.Post
	card                                          journal.Post
}

func newScene(t *testing.T) *scene {
	b := newBook(t)
	s := &scene{book: b}
	b.confirmed(alice, "a")
	s.unknown = b.unknown()
	b.confirmed(alice, "b")
	s.closing = b.claim()
	s.confirmed = b.confirmed(alice, "c")
	s.pending = b.show(b.request(alice, "d"))
	_, s.sending, _ = b.Sending(t.Context(), b.request(alice, "e").Number, b.offer())
	s.waiting = b.request(alice, "f")
	_, s.card = b.edit()
	return s
}

// writes is one write of each sort.
var writes = map[string]func(*scene, context.Context) error{
	"request": func(s *scene, ctx context.Context) error {
		r := request(bob, "new")
		r.Delivery = "d"
		_, _, err := s.Request(ctx, r)
		return err
	},
	"request what is open": func(s *scene, ctx context.Context) error {
		r := request(alice, "d")
		r.Delivery = "d"
		_, _, err := s.Request(ctx, r)
		return err
	},
	"try again": func(s *scene, ctx context.Context) error {
		r := request(bob, "a")
		r.AgainOf = s.unknown.Number
		_, _, err := s.Request(ctx, r)
		return err
	},
	"refuse": func(s *scene, ctx context.Context) error {
		return s.Refuse(ctx, journal.Refusal{Delivery: "d", By: bob})
	},
	"forget": func(s *scene, ctx context.Context) error { return s.Forget(ctx, time.Hour) },
	"confirm": func(s *scene, ctx context.Context) error {
		k := click(s.pending, alice, journal.Confirmed)
		k.Delivery = "d"
		_, err := s.Settle(ctx, k)
		return err
	},
	"confirm on a card not known yet": func(s *scene, ctx context.Context) error {
		k := click(journal.Case{Number: s.sending.Case, Channel: lounge, CardTS: "1700000000.77"}, alice, journal.Confirmed)
		_, err := s.Settle(ctx, k)
		return err
	},
	"confirm too late": func(s *scene, ctx context.Context) error {
		s.clock.pass(confirmTime)
		_, err := s.Settle(ctx, click(s.pending, alice, journal.Confirmed))
		s.clock.pass(-confirmTime)
		if errors.Is(err, journal.ErrExpired) {
			return nil
		}
		return err
	},
	"expire": func(s *scene, ctx context.Context) error {
		s.clock.pass(time.Hour)
		_, err := s.Expire(ctx)
		s.clock.pass(-time.Hour)
		return err
	},
	"claim": func(s *scene, ctx context.Context) error {
		_, _, _, err := s.Claim(ctx)
		return err
	},
	"record": func(s *scene, ctx context.Context) error {
		_, err := s.Record(ctx, s.closing.Number, journal.StateClosing, answered("done", 0), ended(journal.StateClosed))
		return err
	},
	"sending a card": func(s *scene, ctx context.Context) error {
		_, _, err := s.Sending(ctx, s.waiting.Number, s.offer())
		return err
	},
	"sending a reply": func(s *scene, ctx context.Context) error {
		_, _, err := s.Sending(ctx, s.unknown.Number)
		return err
	},
	"sent": func(s *scene, ctx context.Context) error { return s.Sent(ctx, s.sending, "1700000000.77") },
	"not sent": func(s *scene, ctx context.Context) error {
		return s.NotSent(ctx, s.sending, s.clock.Now(), "rate limited")
	},
	"undeliverable": func(s *scene, ctx context.Context) error {
		_, err := s.Undeliverable(ctx, s.sending, "is_archived", "the channel is archived")
		return err
	},
	"edited": func(s *scene, ctx context.Context) error { return s.Edited(ctx, s.card, 3, time.Time{}) },
}

// reads is one query of each sort.
var reads = map[string]func(*scene, context.Context) error{
	"case":       func(s *scene, ctx context.Context) error { _, err := s.Case(ctx, 1); return err },
	"token":      func(s *scene, ctx context.Context) error { _, err := s.CaseByToken(ctx, s.pending.Token); return err },
	"unfinished": func(s *scene, ctx context.Context) error { _, err := s.Unfinished(ctx); return err },
	"ahead":      func(s *scene, ctx context.Context) error { _, err := s.Ahead(ctx, s.confirmed); return err },
	"channels":   func(s *scene, ctx context.Context) error { _, _, err := s.Channels(ctx); return err },
	"next post":  func(s *scene, ctx context.Context) error { _, _, _, err := s.NextPost(ctx, lounge); return err },
	"next edit":  func(s *scene, ctx context.Context) error { _, _, _, _, err := s.NextEdit(ctx); return err },
}

// dump is all that the journal holds.
func dump(t *testing.T, db *sql.DB) string {
	t.Helper()
	var all strings.Builder
	for _, table := range []string{"head", "entries", "cases", "posts", "deliveries", "refusals"} {
		rows, err := db.Query(`SELECT * FROM ` + table)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			require.NoError(t, rows.Scan(values...))
			for _, v := range values {
				fmt.Fprint(&all, *v.(*any), "|")
			}
			all.WriteByte('\n')
		}
		require.NoError(t, rows.Err())
	}
	return all.String()
}

// Whichever of its statements fails, a write is told to have failed and nothing of it stays.
func TestP2AWriteThatFailsAnywhereLeavesNothing(t *testing.T) {
	faults := map[string]string{} // how to break, how to mend
	for _, table := range []string{"entries", "cases", "posts", "deliveries", "refusals"} {
		faults[`ALTER TABLE `+table+` RENAME TO gone`] = `ALTER TABLE gone RENAME TO ` + table
		for _, event := range []string{"INSERT", "UPDATE", "DELETE"} {
			faults[`CREATE TRIGGER broken BEFORE `+event+` ON `+table+` BEGIN SELECT RAISE(ABORT, 'broken'); END`] = `DROP TRIGGER broken`
		}
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			db := rawDB(t, s.path)
			db.SetMaxOpenConns(1)
			must(db.Exec(`PRAGMA synchronous = off`))
			before := dump(t, db)
			for brk, mend := range faults {
				must(db.Exec(brk))
				commits.before(s.path, func() int32 { return 1 }) // if it gets that far, its commit fails
				err := write(s, t.Context())
				commits.before(s.path, nil)
				must(db.Exec(mend))
				assert.Error(t, err, brk)
				assert.NotErrorIs(t, err, journal.ErrUnsure, brk)
				assert.Equal(t, before, dump(t, db), brk)
			}
			assert.NoError(t, write(s, t.Context()), "mended")
			assertSound(t, s.book)
		})
	}
}

func TestNoReadIsMistakenForNothing(t *testing.T) {
	s := newScene(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, read := range reads {
		assert.NoError(t, read(s, t.Context()), name)
		assert.ErrorIs(t, read(s, gone), context.Canceled, name)
	}
	_, err := s.Expire(gone)
	assert.ErrorIs(t, err, context.Canceled)
	_, _, _, err = s.Claim(gone)
	assert.ErrorIs(t, err, context.Canceled)
	for name, write := range writes {
		if name != "expire" && name != "claim" {
			err := write(newScene(t), gone)
			if err != nil { // it may have been quicker than the end of its time
				assert.True(t, errors.Is(err, journal.ErrNotRecorded) != errors.Is(err, journal.ErrUnsure), "%s: %v", name, err)
			}
		}
	}
	db := rawDB(t, s.path)
	for _, table := range []string{"entries", "posts", "cases"} {
		_, err := db.Exec(`ALTER TABLE ` + table + ` RENAME TO gone`)
		require.NoError(t, err)
		failed := 0
		for name, read := range reads {
			if err := read(s, t.Context()); err != nil {
				failed++
				assert.NotErrorIs(t, err, journal.ErrNoCase, name)
			}
		}
		assert.Positive(t, failed, table)
		_, err = db.Exec(`ALTER TABLE gone RENAME TO ` + table)
		require.NoError(t, err)
	}
}
