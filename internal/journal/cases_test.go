package journal_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"zegoclose/internal/journal"
)

var allStates = []journal.State{journal.StatePending, journal.StateConfirmed, journal.StateClosing, journal.StateClosed,
	journal.StateAbsent, journal.StateFailed, journal.StateUnknown, journal.StateCancelled, journal.StateExpired}

// in brings a new case into state s, by the ways that the bot goes.
func (b *book) in(s journal.State) journal.Case {
	b.t.Helper()
	c := b.show(b.request(alice, "live-42"))
	switch s {
	case journal.StatePending:
		return c
	case journal.StateCancelled:
		return b.press(c, alice, journal.Cancelled)
	case journal.StateExpired:
		b.clock.pass(confirmTime)
		_, err := b.Expire(b.t.Context())
		require.NoError(b.t, err)
		return b.read(c.Number)
	}
	c = b.press(c, alice, journal.Confirmed)
	switch s {
	case journal.StateConfirmed:
		return c
	case journal.StateUnknown:
		return b.unknown()
	}
	c = b.claim()
	switch s {
	case journal.StateClosing:
		return c
	case journal.StateClosed:
		return b.record(c, answered("done", 0), ended(s))
	default:
		return b.record(c, answered("absent", 5018), ended(s))
	}
}

// The whole table of section 5, said once more.
func TestEveryStepOfTheStateTable(t *testing.T) {
	legal := map[journal.State][]journal.Draft{
		journal.StatePending:   {{Kind: journal.Offered}, {Kind: journal.Confirmed}, {Kind: journal.Cancelled}, {Kind: journal.Expired}},
		journal.StateConfirmed: {{Kind: journal.Cancelled}, {Kind: journal.Expired}, {Kind: journal.Attempted}, ended(journal.StateAbsent), ended(journal.StateFailed)},
		journal.StateClosing: {{Kind: journal.Answered}, {Kind: journal.Requeued}, {Kind: journal.Looked},
			ended(journal.StateAbsent), ended(journal.StateFailed), ended(journal.StateUnknown)},
		journal.StateUnknown: {{Kind: journal.Answered}, ended(journal.StateAbsent), ended(journal.StateFailed)},
	}
	leads := map[journal.Kind]journal.State{journal.Confirmed: journal.StateConfirmed, journal.Cancelled: journal.StateCancelled,
		journal.Expired: journal.StateExpired, journal.Attempted: journal.StateClosing, journal.Requeued: journal.StateConfirmed}
	tries := []journal.Draft{{Kind: journal.Opened}, {Kind: journal.Requested}, {Kind: journal.Refused}, {Kind: "invented"},
		{Kind: journal.Offered}, {Kind: journal.Shown}, {Kind: journal.Confirmed}, {Kind: journal.Cancelled}, {Kind: journal.Expired},
		{Kind: journal.Attempted}, {Kind: journal.Answered}, {Kind: journal.Requeued}, {Kind: journal.Looked}}
	for _, s := range append(allStates, "", "invented") {
		tries = append(tries, ended(s))
	}
	for _, s := range allStates {
		b := newBook(t)
		c := b.in(s)
		require.Equal(t, s, c.State)
		for _, d := range tries {
			before := len(entries(t, b.path))
			got, err := b.Record(t.Context(), c.Number, s, d)
			isLegal := d.Kind == journal.Shown || slices.ContainsFunc(legal[s], func(l journal.Draft) bool {
				return l.Kind == d.Kind && l.Facts.Outcome == d.Facts.Outcome
			})
			if !isLegal {
				assert.Error(t, err, "%s in a case that is %s", d, s)
				assert.Equal(t, c, b.read(c.Number))
				assert.Len(t, entries(t, b.path), before)
				continue
			}
			want := s
			if d.Kind == journal.Ended {
				want = d.Facts.Outcome
			} else if to, ok := leads[d.Kind]; ok {
				want = to
			}
			if assert.NoError(t, err, "%s in a case that is %s", d, s) {
				assert.Equal(t, want, got.State)
				assert.Equal(t, got, b.read(c.Number))
			}
			require.NoError(t, b.Close()) // and once more from the start
			b = newBook(t)
			c = b.in(s)
		}
		assertSound(t, b)
	}
}

func TestP3ClosedNeedsZegosCodeZero(t *testing.T) {
	b := newBook(t)
	c := b.in(journal.StateClosing)
	for name, drafts := range map[string][]journal.Draft{
		"no answer at all":   {ended(journal.StateClosed)},
		"an answer was lost": {lost(), ended(journal.StateClosed)},
		"another code":       {answered("done", 5018), ended(journal.StateClosed)},
	} {
		_, err := b.Record(t.Context(), c.Number, c.State, drafts...)
		assert.ErrorContains(t, err, "only after ZEGO answered code 0", name)
	}
	c = b.record(c, answered("done", 0), ended(journal.StateClosed))
	assert.Equal(t, journal.StateClosed, c.State)
	assert.Equal(t, 132*time.Millisecond, c.LastAnswer().Took)
	assert.Equal(t, "3912", c.LastAnswer().RequestID)
}

func TestALateAnswerTurnsUnknownIntoWhatItSays(t *testing.T) {
	b := newBook(t)
	c := b.in(journal.StateUnknown)
	assert.Nil(t, c.LastAnswer().Code)
	c = b.record(c, late(answered("done", 0)), ended(journal.StateClosed))
	assert.Equal(t, journal.StateClosed, c.State)
	assert.Len(t, c.Answers, 2)
	assert.False(t, c.CanTryAgain(b.clock.Now()))
}

func TestAnswersAndLooksAreToldInOrder(t *testing.T) {
	b := newBook(t)
	c := b.in(journal.StateClosing)
	people := 14
	c = b.record(c, lost(), journal.Draft{Kind: journal.Looked, Facts: journal.Facts{Missing: "no answer"}})
	c = b.record(c, journal.Draft{Kind: journal.Looked, Facts: journal.Facts{People: &people}})
	require.Len(t, c.Looks, 2)
	assert.Equal(t, "no answer", c.Looks[0].Missing)
	assert.Equal(t, 14, *c.Looks[1].People)
	assert.Equal(t, "unknown", c.LastAnswer().Effect)
	assert.Zero(t, new(journal.Case).LastAnswer())
	assert.Equal(t, []journal.Kind{journal.Requested, journal.Offered, journal.Shown, journal.Confirmed, journal.Attempted,
		journal.Answered, journal.Looked, journal.Looked}, kinds(c))
	assert.Equal(t, c.Entries[1:3], c.Between(c.Entries[1].Number, c.Entries[2].Number))
}

func TestRecordIsCompareAndSet(t *testing.T) {
	b := newBook(t)
	c := b.in(journal.StateClosing)
	var wg sync.WaitGroup
	results := make([]error, 10)
	for i := range results {
		wg.Go(func() {
			var got journal.Case
			got, results[i] = b.Record(context.Background(), c.Number, journal.StateClosing, answered("done", 0), ended(journal.StateClosed))
			assert.Equal(t, journal.StateClosed, got.State, "the loser learns how it stands")
		})
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else {
			assert.ErrorIs(t, err, journal.ErrSettled)
		}
	}
	assert.Equal(t, 1, won)
	assert.Len(t, b.read(c.Number).Answers, 1)
}

func TestP1OfManyClicksAtOnceOneCounts(t *testing.T) {
	b := newBook(t)
	c := b.show(b.request(alice, "live-42"))
	var wg sync.WaitGroup
	type result struct {
		kind journal.Kind
		c    journal.Case
		err  error
	}
	results := make([]result, 50)
	for i := range results {
		kind := []journal.Kind{journal.Confirmed, journal.Cancelled}[i%2]
		wg.Go(func() {
			for range 2 { // every envelope twice
				k := click(c, alice, kind)
				k.Delivery = string(rune('A' + i))
				got, err := b.Settle(context.Background(), k)
				results[i] = result{kind, got, err}
			}
		})
	}
	wg.Wait()
	end := b.read(c.Number)
	confirmed, cancelled := 0, 0
	for _, e := range end.Entries {
		if e.Kind == journal.Confirmed {
			confirmed++
		}
		if e.Kind == journal.Cancelled {
			cancelled++
		}
	}
	assert.Equal(t, journal.StateCancelled, end.State, "a cancel always comes after, and counts until the claim")
	assert.LessOrEqual(t, confirmed, 1)
	assert.Equal(t, 1, cancelled)
	told := map[journal.Kind]int{}
	for _, r := range results {
		if r.err == nil {
			told[r.kind]++
		} else {
			assert.ErrorIs(t, r.err, journal.ErrSettled)
		}
	}
	assert.Equal(t, confirmed, told[journal.Confirmed])
	assert.Equal(t, cancelled, told[journal.Cancelled])
	assertSound(t, b)
}

func TestTheSameClickTwiceIsRecordedOnce(t *testing.T) {
	b := newBook(t)
	c := b.show(b.request(alice, "live-42"))
	k := click(c, alice, journal.Confirmed)
	k.Delivery = "U0ALICE 1700000000.1"
	first, err := b.Settle(t.Context(), k)
	require.NoError(t, err)
	assert.Equal(t, journal.StateConfirmed, first.State)
	assert.Equal(t, b.clock.Now().Add(closeTime), first.CloseBy)
	b.claim()
	again, err := b.Settle(t.Context(), k)
	require.NoError(t, err, "it is recorded; that the case has moved on since is no failure")
	assert.Equal(t, journal.StateClosing, again.State)

	k.Delivery = "another press"
	_, err = b.Settle(t.Context(), k)
	assert.ErrorIs(t, err, journal.ErrSettled)
	_, err = b.Settle(t.Context(), click(c, alice, journal.Cancelled))
	assert.ErrorIs(t, err, journal.ErrSettled, "too late to cancel")
}

func TestAClickCountsOnTheCaseOwnCardOnly(t *testing.T) {
	b := newBook(t)
	c := b.show(b.request(alice, "live-42"))
	for name, spoil := range map[string]func(*journal.Click){
		"another message": func(k *journal.Click) { k.TS = "1699999999.000001" },
		"another channel": func(k *journal.Click) { k.Channel = "C0OTHER" },
		"no message":      func(k *journal.Click) { k.TS = "" },
	} {
		k := click(c, alice, journal.Confirmed)
		spoil(&k)
		_, err := b.Settle(t.Context(), k)
		assert.ErrorIs(t, err, journal.ErrOtherCard, name)
	}
	k := click(c, alice, journal.Expired)
	_, err := b.Settle(t.Context(), k)
	assert.ErrorIs(t, err, journal.ErrNotRecorded)
	assert.Equal(t, c, b.read(c.Number))
}

func TestAClickTeachesTheCardsTS(t *testing.T) {
	b := newBook(t)
	c := b.request(alice, "live-42")
	_, p, err := b.Sending(t.Context(), c.Number, b.offer())
	require.NoError(t, err)
	k := click(c, alice, journal.Confirmed)
	_, err = b.Settle(t.Context(), k)
	assert.ErrorIs(t, err, journal.ErrOtherCard, "a click from nowhere teaches nothing")
	k.TS = "1700000000.000042"
	c, err = b.Settle(t.Context(), k) // before Slack's answer to the bot
	require.NoError(t, err)
	assert.Equal(t, "1700000000.000042", c.CardTS)
	assert.Equal(t, []journal.Kind{journal.Requested, journal.Offered, journal.Shown, journal.Confirmed}, kinds(c))

	require.NoError(t, b.Sent(t.Context(), p, "1700000000.000042")) // Slack's answer, late
	require.NoError(t, b.Doubt(t.Context(), p, b.clock.Now(), "late"))
	require.NoError(t, b.NotSent(t.Context(), p, b.clock.Now(), "later still"))
	_, err = b.Undeliverable(t.Context(), p, "channel_not_found", "no such channel")
	require.NoError(t, err)
	assert.Equal(t, c, b.read(c.Number), "the card is there, whatever was said since")
	b.postsNothing()
}

func TestDeadlines(t *testing.T) {
	ctx := t.Context()
	expire := func(t *testing.T, b *book) (next time.Time) {
		next, err := b.Expire(ctx)
		require.NoError(t, err)
		return next
	}
	t.Run("nothing waits", func(t *testing.T) {
		b := newBook(t)
		assert.Zero(t, expire(t, b))
	})
	t.Run("a card that was never sent", func(t *testing.T) {
		b := newBook(t)
		c := b.request(alice, "live-42")
		assert.True(t, expire(t, b).Equal(c.ShowBy))
		b.clock.pass(confirmTime - 1)
		expire(t, b)
		require.Equal(t, journal.StatePending, b.read(c.Number).State)
		b.clock.pass(1)
		assert.Zero(t, expire(t, b))
		c = b.read(c.Number)
		assert.Equal(t, journal.StateExpired, c.State)
		assert.Equal(t, "never_shown", c.Why)
		_, _, err := b.Sending(ctx, c.Number, b.offer())
		require.NoError(t, err, "the card says so")
		assert.Equal(t, []journal.Kind{journal.Requested, journal.Expired}, kinds(b.read(c.Number)))
	})
	t.Run("a card that was certainly not sent", func(t *testing.T) {
		b := newBook(t)
		c, p, err := b.Sending(ctx, b.request(alice, "live-42").Number, b.offer())
		require.NoError(t, err)
		require.NoError(t, b.NotSent(ctx, p, b.clock.Now(), "rate limited"))
		b.clock.pass(confirmTime)
		expire(t, b)
		assert.Equal(t, "never_shown", b.read(c.Number).Why)
	})
	t.Run("P3 a card that may have been sent is not called never shown", func(t *testing.T) {
		b := newBook(t)
		c, p, err := b.Sending(ctx, b.request(alice, "live-42").Number, b.offer())
		require.NoError(t, err)
		require.NoError(t, b.Doubt(ctx, p, b.clock.Now(), "timeout"))
		b.clock.pass(confirmTime)
		expire(t, b)
		assert.Equal(t, "not_confirmed", b.read(c.Number).Why)
	})
	t.Run("sending the card too late expires the case instead", func(t *testing.T) {
		b := newBook(t)
		c := b.request(alice, "live-42")
		b.clock.pass(confirmTime)
		c, p, err := b.Sending(ctx, c.Number, b.offer())
		require.NoError(t, err)
		assert.Equal(t, journal.StateExpired, c.State)
		assert.Equal(t, "never_shown", c.Why)
		assert.Equal(t, c.Entries[1].Number, p.Last)
		c = b.sent(p)
		assert.Equal(t, journal.StateExpired, c.State)
		b.postsNothing()
	})
	t.Run("the time to confirm runs from when the card is sent", func(t *testing.T) {
		b := newBook(t)
		c := b.request(alice, "live-42")
		b.clock.pass(time.Minute)
		c = b.show(c)
		assert.Equal(t, b.clock.Now().Add(confirmTime), c.ConfirmBy)
		b.clock.pass(confirmTime - 1)
		assert.True(t, expire(t, b).Equal(c.ConfirmBy))
		b.clock.pass(1)
		expire(t, b)
		c = b.read(c.Number)
		assert.Equal(t, "not_confirmed", c.Why)
		assert.Equal(t, b.clock.Now(), c.EndedAt)
		_, err := b.Settle(ctx, click(c, alice, journal.Confirmed))
		assert.ErrorIs(t, err, journal.ErrSettled)
	})
	t.Run("a click after the deadline expires the case", func(t *testing.T) {
		for _, kind := range []journal.Kind{journal.Confirmed, journal.Cancelled} {
			b := newBook(t)
			c := b.show(b.request(alice, "live-42"))
			b.clock.pass(confirmTime)
			c, err := b.Settle(ctx, click(c, alice, kind))
			assert.ErrorIs(t, err, journal.ErrExpired)
			assert.Equal(t, journal.StateExpired, c.State)
			assert.Equal(t, c, b.read(c.Number))
		}
	})
	t.Run("a confirmation that was not attempted in time", func(t *testing.T) {
		b := newBook(t)
		c := b.confirmed(alice, "live-42")
		b.clock.pass(closeTime - 1)
		assert.True(t, expire(t, b).Equal(c.CloseBy))
		b.clock.pass(1)
		expire(t, b)
		c = b.read(c.Number)
		assert.Equal(t, journal.StateExpired, c.State)
		assert.Equal(t, "not_attempted", c.Why)
		b.claimsNothing()
	})
	t.Run("nobody is closed late, even if nobody has noticed", func(t *testing.T) {
		b := newBook(t)
		c := b.confirmed(alice, "live-42")
		b.clock.pass(closeTime)
		b.claimsNothing()
		assert.Equal(t, "not_attempted", b.read(c.Number).Why)
	})
	t.Run("cancelling a confirmation after its time expires it", func(t *testing.T) {
		b := newBook(t)
		c := b.confirmed(alice, "live-42")
		b.clock.pass(closeTime)
		c, err := b.Settle(ctx, click(c, bob, journal.Cancelled))
		assert.ErrorIs(t, err, journal.ErrExpired)
		assert.Equal(t, "not_attempted", c.Why)
	})
	t.Run("what is being closed does not expire", func(t *testing.T) {
		b := newBook(t)
		c := b.in(journal.StateClosing)
		b.clock.pass(24 * time.Hour)
		assert.Zero(t, expire(t, b))
		assert.Equal(t, journal.StateClosing, b.read(c.Number).State)
	})
	t.Run("a requeued case keeps its close-by time", func(t *testing.T) {
		b := newBook(t)
		c := b.in(journal.StateClosing)
		b.clock.pass(time.Minute)
		c = b.record(c, journal.Draft{Kind: journal.Requeued})
		assert.True(t, expire(t, b).Equal(c.CloseBy))
		assert.Equal(t, journal.StateConfirmed, b.read(c.Number).State)
		b.clock.pass(closeTime)
		expire(t, b)
		assert.Equal(t, "not_attempted", b.read(c.Number).Why)
	})
	t.Run("many at once", func(t *testing.T) {
		b := newBook(t)
		for i := range 250 {
			r := request(alice, string(rune(0x4e00+i)))
			r.MaxPending = 0
			_, _, err := b.Request(ctx, r)
			require.NoError(t, err)
		}
		b.clock.pass(confirmTime)
		assert.Zero(t, expire(t, b))
		for i := range int64(250) {
			require.Equal(t, journal.StateExpired, b.read(i+1).State)
		}
	})
}

func TestClaimTakesCasesInTheOrderOfTheirConfirmation(t *testing.T) {
	b := newBook(t)
	first := b.show(b.request(alice, "a"))
	second := b.confirmed(alice, "b")
	first = b.press(first, alice, journal.Confirmed)
	third := b.confirmed(alice, "c")
	for n, c := range map[int]journal.Case{0: second, 1: first, 2: third} {
		ahead, err := b.Ahead(t.Context(), c)
		require.NoError(t, err)
		assert.Equal(t, n, ahead)
	}
	got := b.claim()
	assert.Equal(t, second.Number, got.Number)
	assert.Equal(t, journal.StateClosing, got.State)
	assert.Equal(t, 1, got.Calls)
	ahead, err := b.Ahead(t.Context(), third)
	require.NoError(t, err)
	assert.Equal(t, 2, ahead, "what is being closed comes before")
	assert.Equal(t, first.Number, b.claim().Number)
	assert.Equal(t, third.Number, b.claim().Number)
	assert.Zero(t, b.claimsNothing())
}

func TestClaimWaitsUntilACaseMayBeAttemptedAgain(t *testing.T) {
	b := newBook(t)
	b.confirmed(alice, "a")
	c := b.claim()
	later := b.clock.Now().Add(4 * time.Second)
	c = b.record(c, journal.Draft{Kind: journal.Requeued, Facts: journal.Facts{Turn: journal.MicrosOf(later), Why: "too_fast"}})
	assert.Equal(t, later, c.NotBefore)
	assert.True(t, b.claimsNothing().Equal(later))
	other := b.confirmed(bob, "b")
	assert.Equal(t, other.Number, b.claim().Number, "others pass by")
	b.clock.pass(4 * time.Second)
	c = b.claim()
	assert.EqualValues(t, 1, c.Number)
	assert.Equal(t, 2, c.Calls)
}

func TestP1TwoModeratorsWithACaseEachForOneRoom(t *testing.T) {
	b := newBook(t)
	alices, bobs := b.confirmed(alice, "live-42"), b.confirmed(bob, "live-42")
	near := b.confirmed(bob, "live-42\u200b") // looks the same, is another room
	c := b.claim()
	require.Equal(t, alices.Number, c.Number)
	assert.Equal(t, near.Number, b.claim().Number)
	assert.Zero(t, b.claimsNothing(), "bob's waits")

	c = b.record(c, journal.Draft{Kind: journal.Requeued})
	c = b.claim()
	assert.Equal(t, alices.Number, c.Number, "certainly not executed: alice's turn again")

	bell := b.Watch(journal.Closings)
	second := answered("done", 0)
	second.Facts.Call = c.Calls
	b.record(c, second, ended(journal.StateClosed))
	select {
	case <-bell:
	default:
		assert.Fail(t, "nobody was told that bob's case can go on")
	}
	b.claimsNothing()
	end := b.read(bobs.Number)
	assert.Equal(t, journal.StateAbsent, end.State)
	assert.Equal(t, alices.Number, end.About)
	assert.Equal(t, "already closed by #1", end.Detail)
	assert.Zero(t, end.Calls)

	b.confirmed(bob, "live-42")
	assert.EqualValues(t, 4, b.claim().Number, "asked after the closing: somebody else may be in the room")
}

func TestP1NoCallForARoomThatAnUnknownCallMayHaveClosed(t *testing.T) {
	b := newBook(t)
	alices, bobs := b.confirmed(alice, "live-42"), b.confirmed(bob, "live-42")
	b.unknown()
	b.claimsNothing()
	end := b.read(bobs.Number)
	assert.Equal(t, journal.StateFailed, end.State)
	assert.Equal(t, "other_unknown", end.Why)
	assert.Equal(t, alices.Number, end.About)

	r := request(bob, "live-42")
	r.AgainOf = alices.Number
	again, _, err := b.Request(t.Context(), r)
	require.NoError(t, err)
	b.press(b.show(again), bob, journal.Confirmed)
	assert.Equal(t, again.Number, b.claim().Number, "but whoever asks for it knowingly gets it")
}

func TestP1AnAnswerThatComesAfterTryAgainStillCounts(t *testing.T) {
	b := newBook(t)
	b.confirmed(alice, "live-42")
	old := b.unknown()
	r := request(bob, "live-42")
	r.AgainOf = old.Number
	again, _, err := b.Request(t.Context(), r)
	require.NoError(t, err)
	b.press(b.show(again), bob, journal.Confirmed)
	b.record(b.read(old.Number), late(answered("done", 0)), ended(journal.StateClosed))
	b.claimsNothing()
	assert.Equal(t, journal.StateAbsent, b.read(again.Number).State)
	assert.Equal(t, "already_closed", b.read(again.Number).Why)
}

func TestARivalThatClosedNothingIsNoHindrance(t *testing.T) {
	for _, s := range []journal.State{journal.StateAbsent, journal.StateFailed} {
		b := newBook(t)
		b.confirmed(alice, "live-42")
		bobs := b.confirmed(bob, "live-42")
		b.record(b.claim(), answered("x", 5018), ended(s))
		assert.Equal(t, bobs.Number, b.claim().Number)
	}
}

func TestP1OneClaimOfManyAtOnceWins(t *testing.T) {
	b := newBook(t)
	b.confirmed(alice, "live-42")
	b.confirmed(bob, "live-42")
	var wg sync.WaitGroup
	var mu sync.Mutex
	claimed := 0
	for range 20 {
		wg.Go(func() {
			_, ok, _, err := b.Claim(context.Background())
			assert.NoError(t, err)
			if ok {
				mu.Lock()
				claimed++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 1, claimed)
}

func TestP7UnfinishedClosingsAreFoundAfterARestart(t *testing.T) {
	b := newBook(t)
	b.confirmed(alice, "a")
	b.confirmed(alice, "b")
	b.confirmed(alice, "c")
	b.claim()
	b.closed()
	none, err := b.Unfinished(t.Context())
	require.NoError(t, err)
	require.Len(t, none, 1)
	b.reopen()
	found, err := b.Unfinished(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 1)
	assert.EqualValues(t, 1, found[0].Number)
	assert.Equal(t, "a", found[0].Room)
	assert.EqualValues(t, 3, b.claim().Number)
}

func TestOpenSaysWhichStatesMayStillClose(t *testing.T) {
	for _, s := range allStates {
		assert.Equal(t, s == journal.StatePending || s == journal.StateConfirmed || s == journal.StateClosing, s.Open(), s)
	}
}

func TestWhatIsSaidOfACallIsRecordedOnce(t *testing.T) {
	b := newBook(t)
	b.press(b.show(b.request(alice, "live-42")), alice, journal.Confirmed)
	c := b.claim()
	c = b.record(c, lost())
	again, err := b.Record(t.Context(), c.Number, journal.StateClosing, lost()) // the first was not known to be made
	assert.ErrorIs(t, err, journal.ErrSettled)
	assert.Equal(t, c, again)

	undone := journal.Draft{Kind: journal.Requeued, Facts: journal.Facts{Call: 1, Why: "not_executed"}}
	_, err = b.Record(t.Context(), c.Number, journal.StateClosing, undone)
	assert.ErrorIs(t, err, journal.ErrSettled, "it has an answer: it may have been executed")
}

func TestWhatIsSaidOfACallIsNotSaidOfTheNext(t *testing.T) {
	b := newBook(t)
	b.press(b.show(b.request(alice, "live-42")), alice, journal.Confirmed)
	undone := []journal.Draft{answered("not done", 206), {Kind: journal.Requeued, Facts: journal.Facts{Call: 1, Why: "not_executed"}}}
	b.record(b.claim(), undone...)
	c := b.claim() // the second call leaves
	_, err := b.Record(t.Context(), c.Number, journal.StateClosing, undone...)
	assert.ErrorIs(t, err, journal.ErrSettled)
	assert.Equal(t, journal.StateClosing, b.read(c.Number).State)
}
