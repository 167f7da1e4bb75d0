package journal_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"zegoclose/internal/journal"
)

func TestARequestBecomesACase(t *testing.T) {
	b := newBook(t)
	bell := b.Watch(journal.Posts)
	r := request(alice, "live-42")
	r.Delivery = "env-1"
	c, isNew, err := b.Request(t.Context(), r)
	require.NoError(t, err)
	assert.True(t, isNew)
	assert.EqualValues(t, 1, c.Number)
	assert.Equal(t, journal.StatePending, c.State)
	assert.Equal(t, "live-42", c.Room)
	assert.Equal(t, "U0ALICE", c.Requester)
	assert.Equal(t, b.clock.Now().Add(confirmTime), c.ShowBy)
	assert.Len(t, c.Token, 32)
	assert.Equal(t, c, b.read(1), "what was returned is what is kept")
	byToken, err := b.CaseByToken(t.Context(), c.Token)
	require.NoError(t, err)
	assert.Equal(t, c, byToken)
	select {
	case <-bell:
	default:
		assert.Fail(t, "nobody was told that there is a card to send")
	}
	assertSound(t, b)
}

func TestUnknownCasesAndTokensAreNotFound(t *testing.T) {
	b := newBook(t)
	_, err := b.Case(t.Context(), 7)
	assert.ErrorIs(t, err, journal.ErrNoCase)
	_, err = b.CaseByToken(t.Context(), "nonsense")
	assert.ErrorIs(t, err, journal.ErrNoCase)
	_, err = b.Settle(t.Context(), journal.Click{Case: 7, Kind: journal.Confirmed})
	assert.ErrorIs(t, err, journal.ErrNoCase)
	_, _, err = b.Sending(t.Context(), 7)
	assert.ErrorIs(t, err, journal.ErrNoCase)
}

func TestP1TheSameDeliveryTwiceOpensOneCase(t *testing.T) {
	b := newBook(t)
	r := request(alice, "live-42")
	r.Delivery = "env-1"
	first, isNew, err := b.Request(t.Context(), r)
	require.NoError(t, err)
	require.True(t, isNew)
	b.press(b.show(first), alice, journal.Cancelled)
	again, isNew, err := b.Request(t.Context(), r)
	require.NoError(t, err)
	assert.True(t, isNew, "to every delivery of it")
	assert.Equal(t, first.Number, again.Number)
	assert.Equal(t, journal.StateCancelled, again.State)

	c := b.request(alice, "live-43")
	b.clock.pass(time.Second)
	r = request(alice, "live-43")
	r.Delivery = "env-2"
	for range 2 {
		again, isNew, err = b.Request(t.Context(), r)
		require.NoError(t, err)
		assert.False(t, isNew, "another request for what is open already")
		assert.Equal(t, c.Number, again.Number)
	}
}

func TestTheSamePersonAndRoomLeadToTheOpenCase(t *testing.T) {
	b := newBook(t)
	first := b.request(alice, "live-42")
	again, isNew, err := b.Request(t.Context(), request(alice, "live-42"))
	require.NoError(t, err)
	assert.False(t, isNew)
	assert.Equal(t, first, again)

	other := b.request(alice, "live-42 ") // another room: bytes decide
	assert.EqualValues(t, 2, other.Number)

	bobs := b.request(bob, "live-42")
	assert.Equal(t, []int64{first.Number}, bobs.Others, "bob is told of alice's case")

	b.press(b.show(first), alice, journal.Cancelled)
	assert.EqualValues(t, 4, b.request(alice, "live-42").Number, "once it has ended, a new one")
}

func TestACaseWhoseTimeIsOverIsNoOpenCase(t *testing.T) {
	b := newBook(t)
	old := b.show(b.request(alice, "live-42"))
	b.clock.pass(confirmTime)
	c := b.request(alice, "live-42")
	assert.EqualValues(t, 2, c.Number)
	assert.Equal(t, journal.StateExpired, b.read(old.Number).State)
}

func TestNobodyHasMoreUnconfirmedCasesThanAllowed(t *testing.T) {
	b := newBook(t)
	first := b.show(b.request(alice, "room-0"))
	for i := 1; i < 10; i++ {
		b.request(alice, fmt.Sprintf("room-%d", i))
	}
	_, _, err := b.Request(t.Context(), request(alice, "room-10"))
	var many *journal.TooManyError
	require.ErrorAs(t, err, &many)
	assert.Equal(t, 10, many.Pending)
	assert.EqualError(t, err, "10 unconfirmed cases already")
	assert.NotErrorIs(t, err, journal.ErrUnsure)
	b.request(bob, "room-10")

	unlimited := request(alice, "room-10")
	unlimited.MaxPending = 0
	_, isNew, err := b.Request(t.Context(), unlimited)
	require.NoError(t, err)
	assert.True(t, isNew)

	b.press(first, alice, journal.Confirmed)
	_, _, err = b.Request(t.Context(), request(alice, "room-11"))
	require.ErrorAs(t, err, &many)
	assertSound(t, b)
}

func TestTryAgainOpensOneCase(t *testing.T) {
	b := newBook(t)
	b.confirmed(alice, "live-42")
	old := b.unknown()
	require.True(t, old.CanTryAgain(b.clock.Now()))

	var wg sync.WaitGroup
	results := make([]error, 20)
	for i := range results {
		wg.Go(func() {
			r := request([]journal.Person{alice, bob}[i%2], "live-42")
			r.AgainOf, r.Delivery = old.Number, fmt.Sprintf("click-%d", i)
			_, _, results[i] = b.Request(context.Background(), r)
		})
	}
	wg.Wait()
	opened := 0
	for _, err := range results {
		if err == nil {
			opened++
		} else {
			require.ErrorIs(t, err, journal.ErrSettled)
		}
	}
	assert.Equal(t, 1, opened)
	old = b.read(old.Number)
	assert.EqualValues(t, 2, old.AgainIs)
	assert.False(t, old.CanTryAgain(b.clock.Now()))
	assert.EqualValues(t, old.Number, b.read(2).AgainOf)

	r := request(alice, "live-42")
	r.AgainOf = 99
	_, _, err := b.Request(t.Context(), r)
	assert.ErrorIs(t, err, journal.ErrNoCase)
	assertSound(t, b)
}

func TestTryAgainIsOfferedForATimeOnly(t *testing.T) {
	b := newBook(t)
	b.confirmed(alice, "live-42")
	old := b.unknown()
	b.clock.pass(confirmTime)
	r := request(alice, "live-42")
	r.AgainOf = old.Number
	c, _, err := b.Request(t.Context(), r)
	assert.ErrorIs(t, err, journal.ErrSettled)
	assert.Equal(t, old.Number, c.Number)
	next, err := b.Expire(t.Context())
	require.NoError(t, err)
	assert.True(t, next.IsZero())
	assert.Equal(t, journal.StateUnknown, b.read(old.Number).State, "an outcome does not expire")
}

func TestRefusalsAreCountedPastTwenty(t *testing.T) {
	b := newBook(t)
	refuse := func(who journal.Person, delivery string) {
		require.NoError(t, b.Refuse(t.Context(), journal.Refusal{Delivery: delivery, By: who, Action: "request", Room: "live-42", From: lounge,
			Why: "not_listed", Detail: "is not on the list"}))
	}
	for i := range 30 {
		refuse(bob, fmt.Sprint("b", i))
		refuse(bob, fmt.Sprint("b", i)) // delivered twice
	}
	refuse(alice, "a")
	assert.Len(t, entries(t, b.path), 1+20+1)
	var count int
	require.NoError(t, rawDB(t, b.path).QueryRow(`SELECT count FROM refusals WHERE person = 'U0BOB'`).Scan(&count))
	assert.Equal(t, 30, count)

	b.clock.pass(time.Hour)
	refuse(bob, "later")
	es := assertSound(t, b)
	assert.Len(t, es, 1+20+1+1, "another hour")
	assert.Equal(t, journal.Refused, es[1].Kind)
	assert.Zero(t, es[1].Case)
	assert.JSONEq(t, `{"by":"U0BOB","name":"bob","team":"T1","room":"live-42","from":"C0LOUNGE","action":"request","why":"not_listed","detail":"is not on the list"}`, es[1].Body)
}

func TestP4WhatWasRefusedOnceIsNotDoneAtItsSecondDelivery(t *testing.T) {
	b := newBook(t)
	require.NoError(t, b.Refuse(t.Context(), journal.Refusal{Delivery: "env-1", By: bob, Action: "request"}))
	r := request(bob, "live-42")
	r.Delivery = "env-1"
	_, _, err := b.Request(t.Context(), r)
	assert.ErrorIs(t, err, journal.ErrRefused)

	c := b.show(b.request(alice, "live-42"))
	require.NoError(t, b.Refuse(t.Context(), journal.Refusal{Delivery: "click-1", By: alice, Action: "confirm", About: c.Number}))
	k := click(c, alice, journal.Confirmed)
	k.Delivery = "click-1"
	_, err = b.Settle(t.Context(), k)
	assert.ErrorIs(t, err, journal.ErrRefused)
	assert.Equal(t, journal.StatePending, b.read(c.Number).State)
}

func TestForgetKeepsWhatIsStillNeeded(t *testing.T) {
	b := newBook(t)
	r := request(alice, "live-42")
	r.Delivery = "old"
	_, _, err := b.Request(t.Context(), r)
	require.NoError(t, err)
	require.NoError(t, b.Refuse(t.Context(), journal.Refusal{Delivery: "old refusal", By: bob}))
	b.clock.pass(2 * time.Hour)
	r = request(alice, "live-43")
	r.Delivery = "young"
	_, _, err = b.Request(t.Context(), r)
	require.NoError(t, err)
	before := len(entries(t, b.path))
	require.NoError(t, b.Forget(t.Context(), time.Hour))

	var keys, refusals int
	db := rawDB(t, b.path)
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM deliveries`).Scan(&keys))
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM refusals`).Scan(&refusals))
	assert.Equal(t, 1, keys)
	assert.Equal(t, 0, refusals)
	assert.Len(t, assertSound(t, b), before, "entries are never forgotten")
	c, _, err := b.Request(t.Context(), r)
	require.NoError(t, err)
	assert.EqualValues(t, 2, c.Number)
}

func TestP6TextsSurviveByteForByte(t *testing.T) {
	texts := map[string]string{
		"mention":          `<!channel>`,
		"markup":           "a&b<c>*x*`y`~z~_u_",
		"entity":           `&lt;!channel&gt; &amp;amp;`,
		"line separators":  "a\u2028b\u2029c\u0085d\r\n\t\v\fe",
		"right to left":    "\u202Elive\u202C\u200F\u061C\u2066x\u2069",
		"control":          "\x01\x02\x1b[31m\x7f",
		"emoji":            "🏳️‍🌈👩‍👩‍👧 :smile:",
		"combining":        "e\u0301 \u00e9",
		"JSON-ish":         `{"a": [1, "\u0041\", \/ }`,
		"quotes":           `'"; DROP TABLE cases; --`,
		"parameters":       `$1 ?1 :a @b %s %00`,
		"full-width space": "\u3000x\u3000",
		"noncharacters":    "\uFFFE\uFFFF\U0010FFFF\uFFFD\uFEFF",
		"long":             strings.Repeat("ж🙂x", 1000),
	}
	b := newBook(t)
	for name, text := range texts {
		r := request(alice, text)
		r.Reason, r.Sends, r.MaxPending = text+"!", text+"?", 0
		r.By.Name, r.Delivery = text, text
		c, isNew, err := b.Request(t.Context(), r)
		require.NoError(t, err, name)
		require.True(t, isNew, name)
		c = b.read(c.Number)
		assert.Equal(t, text, c.Room, name)
		assert.Equal(t, text+"!", c.Reason, name)
		assert.Equal(t, text+"?", c.Sends, name)
		assert.Equal(t, text, c.RequesterName, name)
		var room string
		require.NoError(t, rawDB(t, b.path).QueryRow(`SELECT room FROM cases WHERE number = ?`, c.Number).Scan(&room))
		assert.Equal(t, text, room, name)
		again, _, err := b.Request(t.Context(), r)
		require.NoError(t, err, name)
		assert.Equal(t, c.Number, again.Number, name)
	}
	b.reopen()
	assertSound(t, b)
}

func TestP6ARoomIdThatCannotBeKeptExactlyIsNotRecorded(t *testing.T) {
	b := newBook(t)
	_, _, err := b.Request(t.Context(), request(alice, "live\xff42"))
	assert.ErrorIs(t, err, journal.ErrNotRecorded)
	assert.Len(t, entries(t, b.path), 1)
}

func TestAPathMayHoldAnyCharacter(t *testing.T) {
	for _, name := range []string{"a?b.db", "a#b.db", "a%20b.db", "with space.db", "ü&=+;.db", "?mode=memory"} {
		path := filepath.Join(t.TempDir(), name)
		b := openBook(t, path)
		c := b.request(alice, "live-42")
		b.reopen()
		assert.Equal(t, c, b.read(c.Number), name)
		info, err := os.Stat(path)
		require.NoError(t, err, name)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "for its owner alone")
		require.NoError(t, b.Close())
		files, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		assert.Len(t, files, 2, "the file and its lock, nothing else")
	}
}

func TestARelativePathIsTakenFromTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	openBook(t, "journal.db").request(alice, "live-42")
	assert.FileExists(t, "journal.db")
}

func TestP7WritersFromEverywhereFormOneChain(t *testing.T) {
	b := newBook(t)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			who := journal.Person{ID: fmt.Sprintf("U%03d", i)}
			c, isNew, err := b.Request(context.Background(), request(who, fmt.Sprintf("room-%d", i%50)))
			assert.NoError(t, err)
			assert.True(t, isNew)
			if i%3 == 0 {
				assert.NoError(t, b.Refuse(context.Background(), journal.Refusal{By: who, Why: "x"}))
			}
			if i%5 == 0 {
				_, err := b.Record(context.Background(), c.Number, journal.StateConfirmed, ended(journal.StateFailed))
				assert.ErrorIs(t, err, journal.ErrSettled)
			}
			_, err = b.Case(context.Background(), c.Number)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	es := assertSound(t, b)
	assert.Len(t, es, 1+200+67)
	assert.EqualValues(t, 200, b.read(200).Number)
}

// A reader sees a case's row and its entries as of one moment.
func TestACaseIsReadWholeWhileItChanges(t *testing.T) {
	b := newBook(t)
	c := b.confirmed(alice, "live-42")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			c := b.claim()
			b.record(c, journal.Draft{Kind: journal.Requeued})
		}
	}()
	for {
		_, err := b.Case(t.Context(), c.Number)
		require.NoError(t, err)
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestAWriteThatFailsLeavesNoTraceWhileItsNeighboursCommit(t *testing.T) {
	b := newBook(t)
	c := b.show(b.request(alice, "live-0"))
	before := len(entries(t, b.path))

	// Hold the writer in one commit, so that everything behind it shares the next.
	held, release := make(chan struct{}, 1), make(chan struct{})
	commits.before(b.path, func() int32 {
		select {
		case held <- struct{}{}:
			<-release
		default:
		}
		return 0
	})
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, b.Refuse(context.Background(), journal.Refusal{By: bob})) })
	<-held
	for i := range 20 {
		wg.Go(func() {
			_, _, err := b.Request(context.Background(), request(bob, fmt.Sprintf("live-%d", i%10)))
			assert.NoError(t, err)
		})
		wg.Go(func() { // a first draft that is fine, and a second that is not
			_, err := b.Record(context.Background(), c.Number, journal.StatePending,
				journal.Draft{Kind: journal.Confirmed, Facts: journal.Facts{By: "U0ALICE"}}, journal.Draft{Kind: journal.Looked})
			assert.ErrorContains(t, err, `a case that is "confirmed" cannot be looked`)
		})
	}
	close(release)
	wg.Wait()
	assert.Equal(t, c, b.read(c.Number))
	assert.Len(t, assertSound(t, b), before+1+10)
}

// A refusal that rests on something that was then not committed is no answer.
func TestP3NobodyIsToldWhatThenDidNotHappen(t *testing.T) {
	b := newBook(t)
	c := b.show(b.request(alice, "live-42"))
	held, release := make(chan struct{}, 1), make(chan struct{})
	first := true
	commits.before(b.path, func() int32 {
		if !first {
			return 1 // COMMIT becomes ROLLBACK
		}
		first = false
		held <- struct{}{}
		<-release
		return 0
	})
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, b.Refuse(context.Background(), journal.Refusal{By: bob})) })
	<-held
	for range 10 {
		wg.Go(func() {
			got, err := b.Settle(context.Background(), click(c, alice, journal.Confirmed))
			assert.ErrorIs(t, err, journal.ErrNotRecorded)
			assert.NotErrorIs(t, err, journal.ErrSettled, "nobody has confirmed it")
			assert.Zero(t, got)
		})
	}
	close(release)
	wg.Wait()
	commits.before(b.path, nil)
	assert.Equal(t, journal.StatePending, b.read(c.Number).State)
	assertSound(t, b)
}

func TestTheRecordsTimeNeverRunsBack(t *testing.T) {
	b := newBook(t)
	first := b.request(alice, "live-42")
	b.clock.pass(-time.Hour)
	second := b.request(alice, "live-43")
	assert.Equal(t, first.RequestedAt, second.RequestedAt)
	assertSound(t, b)
}

func TestAfterCloseNothingIsRecorded(t *testing.T) {
	b := newBook(t)
	require.NoError(t, b.Close())
	require.NoError(t, b.Close(), "twice does no harm")
	_, _, err := b.Request(t.Context(), request(alice, "live-42"))
	assert.ErrorIs(t, err, journal.ErrNotRecorded)
	_, err = b.Case(t.Context(), 1)
	assert.Error(t, err)
}
