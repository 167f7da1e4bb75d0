package journal_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"zegoclose/internal/journal"
)

// edit expects that a card is to be drawn.
func (b *book) edit() (journal.Case, journal.Post) {
	b.t.Helper()
	c, card, ok, _, err := b.NextEdit(b.t.Context())
	require.NoError(b.t, err)
	require.True(b.t, ok, "no card to draw")
	return c, card
}

func (b *book) editsNothing() (again time.Time) {
	b.t.Helper()
	c, _, ok, again, err := b.NextEdit(b.t.Context())
	require.NoError(b.t, err)
	require.False(b.t, ok, "the card of #%d is to be drawn", c.Number)
	return again
}

func (b *book) edited(c journal.Case, card journal.Post, again time.Time) {
	b.t.Helper()
	require.NoError(b.t, b.Edited(b.t.Context(), card, c.Entries[len(c.Entries)-1].Number, again))
}

func (b *book) channels() []string {
	b.t.Helper()
	channels, _, err := b.Channels(b.t.Context())
	require.NoError(b.t, err)
	return channels
}

func TestP7EveryEntryIsShownByOnePost(t *testing.T) {
	b := newBook(t)
	assert.Empty(t, b.channels())
	b.postsNothing()
	c := b.request(alice, "live-42")
	assert.Equal(t, []string{lounge}, b.channels())
	due, unfinished := b.next()
	assert.Equal(t, c, due)
	assert.Nil(t, unfinished)

	c, card, err := b.Sending(t.Context(), c.Number, b.offer())
	require.NoError(t, err)
	assert.Equal(t, journal.Card, card.Kind)
	assert.Equal(t, journal.PostSending, card.State)
	assert.Equal(t, []journal.Kind{journal.Requested, journal.Offered}, kinds(journal.Case{Entries: c.Between(card.First, card.Last)}))
	assert.Equal(t, c.Entries[1].Hash, card.Hash(c))
	assert.Empty(t, journal.Post{Last: 99}.Hash(c))
	b.postsNothing()
	assert.Empty(t, b.channels())
	c = b.sent(card)
	assert.NotEmpty(t, c.CardTS)
	b.postsNothing()

	b.press(c, alice, journal.Confirmed)
	b.postsNothing() // the card alone changes
	b.closed()
	c, unfinished = b.next()
	assert.Nil(t, unfinished)
	c, reply, err := b.Sending(t.Context(), c.Number)
	require.NoError(t, err)
	assert.Equal(t, journal.Reply, reply.Kind)
	assert.Equal(t, []journal.Kind{journal.Shown, journal.Confirmed, journal.Attempted, journal.Answered, journal.Ended},
		kinds(journal.Case{Entries: c.Between(reply.First, reply.Last)}))
	assert.Equal(t, card.Last+1, reply.First)
	b.sent(reply)
	b.postsNothing()
	_, _, err = b.Sending(t.Context(), c.Number)
	assert.ErrorIs(t, err, journal.ErrSettled, "nothing to tell")
}

func TestTheCardOfAPendingCaseIsNotSentTwice(t *testing.T) {
	b := newBook(t)
	c := b.show(b.request(alice, "live-42"))
	_, _, err := b.Sending(t.Context(), c.Number, b.offer())
	assert.ErrorIs(t, err, journal.ErrSettled)
	assert.Equal(t, c, b.read(c.Number), "and nothing was added")

	c, p, err := b.Sending(t.Context(), b.request(alice, "live-43").Number, b.offer())
	require.NoError(t, err)
	_, _, err = b.Sending(t.Context(), c.Number, b.offer())
	assert.ErrorIs(t, err, journal.ErrSettled, "it is being sent")
	require.NoError(t, b.Doubt(t.Context(), p, b.clock.Now(), "timeout"))
	_, _, err = b.Sending(t.Context(), c.Number, b.offer())
	assert.ErrorIs(t, err, journal.ErrSettled, "it may be there: never blind")
	assert.Equal(t, c, b.read(c.Number))
}

func TestAPostThatWasNotSentIsTriedAgainAndGrows(t *testing.T) {
	b := newBook(t)
	c := b.request(alice, "live-42")
	_, p, err := b.Sending(t.Context(), c.Number, b.offer())
	require.NoError(t, err)
	retry := b.clock.Now().Add(30 * time.Second)
	bell := b.Watch(journal.Posts)
	require.NoError(t, b.NotSent(t.Context(), p, retry, "rate limited"))
	<-bell
	b.postsNothing()
	channels, next, err := b.Channels(t.Context())
	require.NoError(t, err)
	assert.Empty(t, channels)
	assert.True(t, next.Equal(retry))

	b.clock.pass(30 * time.Second)
	assert.Equal(t, []string{lounge}, b.channels())
	_, unfinished := b.next()
	require.NotNil(t, unfinished)
	assert.Equal(t, journal.PostWaiting, unfinished.State)
	c, again, err := b.Sending(t.Context(), c.Number, b.offer())
	require.NoError(t, err)
	assert.Equal(t, p.First, again.First)
	assert.Equal(t, p.Tried, again.Tried, "when the first try began")
	assert.Equal(t, []journal.Kind{journal.Requested, journal.Offered, journal.Offered}, kinds(c))
	assert.Equal(t, c.Entries[2].Number, again.Last)
	assert.Equal(t, b.clock.Now().Add(confirmTime), c.ConfirmBy, "a later card, a later deadline")
	assert.Equal(t, journal.StatePending, b.sent(again).State)
}

func TestOrderWithinACaseIsKept(t *testing.T) {
	b := newBook(t)
	first := b.in(journal.StateUnknown)
	second := b.request(bob, "live-43")
	c, _ := b.next()
	assert.Equal(t, first.Number, c.Number, "what was told first")
	_, p, err := b.Sending(t.Context(), first.Number)
	require.NoError(t, err)
	c, _ = b.next()
	assert.Equal(t, second.Number, c.Number, "another case need not wait")
	b.show(second)

	b.record(first, late(answered("done", 0)), ended(journal.StateClosed)) // the late answer, while the first reply is under way
	b.postsNothing()
	require.NoError(t, b.Doubt(t.Context(), p, b.clock.Now().Add(15*time.Second), "timeout"))
	b.postsNothing()
	assert.Empty(t, b.channels())
	b.clock.pass(15 * time.Second)
	c, unfinished := b.next()
	require.NotNil(t, unfinished)
	assert.Equal(t, first.Number, c.Number)
	assert.Equal(t, journal.PostDoubt, unfinished.State)
	bell := b.Watch(journal.Posts)
	b.sent(*unfinished) // found in the thread
	<-bell
	c, unfinished = b.next()
	assert.Nil(t, unfinished)
	c, p, err = b.Sending(t.Context(), c.Number)
	require.NoError(t, err)
	assert.Equal(t, []journal.Kind{journal.Answered, journal.Ended}, kinds(journal.Case{Entries: c.Between(p.First, p.Last)}))
}

func TestChannelsDoNotWaitForEachOther(t *testing.T) {
	b := newBook(t)
	for i := range 30 {
		r := request(alice, fmt.Sprint("room-", i))
		r.Channel, r.MaxPending = fmt.Sprintf("C%d", i%3), 0
		_, _, err := b.Request(t.Context(), r)
		require.NoError(t, err)
	}
	assert.Equal(t, []string{"C0", "C1", "C2"}, b.channels())
	c, _, ok, err := b.NextPost(t.Context(), "C1")
	require.NoError(t, err)
	require.True(t, ok)
	assert.EqualValues(t, 2, c.Number)
	_, p, err := b.Sending(t.Context(), c.Number)
	require.NoError(t, err)
	assert.Equal(t, "C1", p.Channel)
	c, _, _, err = b.NextPost(t.Context(), "C1")
	require.NoError(t, err)
	assert.EqualValues(t, 5, c.Number)
}

func TestP2ACardThatSlackRefusesCancelsItsCase(t *testing.T) {
	b := newBook(t)
	c, p, err := b.Sending(t.Context(), b.request(alice, "live-42").Number, b.offer())
	require.NoError(t, err)
	c, err = b.Undeliverable(t.Context(), p, "not_in_channel", "the bot is not in the channel")
	require.NoError(t, err)
	assert.Equal(t, journal.StateCancelled, c.State)
	assert.Equal(t, "not_in_channel", c.Why)
	assert.Equal(t, "the bot is not in the channel", c.Detail)
	assert.Empty(t, c.EndedBy)
	b.postsNothing()
	b.claimsNothing()
	again, err := b.Undeliverable(t.Context(), p, "not_in_channel", "again")
	require.NoError(t, err)
	assert.Equal(t, c, again)

	// It was in Slack after all, and somebody finds it.
	k := click(c, alice, journal.Confirmed)
	k.TS = "1700000000.000042"
	c, err = b.Settle(t.Context(), k)
	assert.ErrorIs(t, err, journal.ErrSettled)
	assert.Equal(t, journal.StateCancelled, c.State)
	assert.Equal(t, k.TS, c.CardTS)
	got, card := b.edit()
	assert.Equal(t, c.Number, got.Number, "so the card is to say that it is void")
	assert.Equal(t, k.TS, card.TS)
}

func TestAReplyThatSlackRefusesHoldsUpNothing(t *testing.T) {
	b := newBook(t)
	c := b.in(journal.StateUnknown)
	_, p, err := b.Sending(t.Context(), c.Number)
	require.NoError(t, err)
	c = b.record(c, late(answered("done", 0)), ended(journal.StateClosed))
	got, err := b.Undeliverable(t.Context(), p, "is_archived", "the channel is archived")
	require.NoError(t, err)
	assert.Equal(t, c, got, "the case stays what it is")
	_, unfinished := b.next()
	assert.Nil(t, unfinished)
	_, next, err := b.Sending(t.Context(), c.Number)
	require.NoError(t, err)
	assert.Equal(t, p.Last+1, next.First)
}

func TestP7PostsFoundSendingAtTheStartAreInDoubt(t *testing.T) {
	b := newBook(t)
	c, p, err := b.Sending(t.Context(), b.request(alice, "live-42").Number, b.offer())
	require.NoError(t, err)
	b.show(b.request(alice, "live-43"))
	b.reopen()
	got, unfinished := b.next()
	require.NotNil(t, unfinished)
	assert.Equal(t, c, got)
	p.State, p.Cause = journal.PostDoubt, "the bot stopped while it was sent"
	assert.Equal(t, p, *unfinished)
	c = b.sent(*unfinished)
	assert.Equal(t, journal.StatePending, c.State)
	b.postsNothing()
}

func TestACardIsDrawnAgainWhenItsCaseChanges(t *testing.T) {
	b := newBook(t)
	c := b.show(b.request(alice, "live-42"))
	assert.Zero(t, b.editsNothing(), "it shows what there is")
	bell := b.Watch(journal.Edits)
	pressed := b.clock.Now()
	b.press(c, alice, journal.Confirmed)
	<-bell
	b.claim()
	again := b.editsNothing()
	assert.True(t, again.After(pressed), "the card of an open case may lag a little")
	assert.False(t, again.After(pressed.Add(300*time.Millisecond)), "but not for long")
	b.clock.pass(again.Sub(pressed))
	got, card := b.edit()
	assert.Equal(t, journal.StateClosing, got.State, "steps in between are skipped")
	assert.Equal(t, got.CardTS, card.TS)
	b.edited(got, card, time.Time{})
	assert.Zero(t, b.editsNothing())
}

func TestWhatHappensWhileACardIsSentIsDrawnAfterwards(t *testing.T) {
	b := newBook(t)
	c, p, err := b.Sending(t.Context(), b.request(alice, "live-42").Number, b.offer())
	require.NoError(t, err)
	b.clock.pass(confirmTime)
	_, err = b.Expire(t.Context())
	require.NoError(t, err)
	b.editsNothing() // there is no card yet
	b.sent(p)
	got, card := b.edit()
	assert.Equal(t, c.Number, got.Number)
	assert.Equal(t, journal.StateExpired, got.State)
	b.edited(got, card, time.Time{})
	b.editsNothing()
}

func TestWhatHappensWhileACardIsDrawnIsDrawnNext(t *testing.T) {
	b := newBook(t)
	c := b.press(b.show(b.request(alice, "live-42")), alice, journal.Confirmed)
	b.clock.pass(time.Second)
	_, card := b.edit()
	b.press(c, alice, journal.Cancelled) // while the edit is under way
	b.edited(c, card, time.Time{})
	got, card := b.edit()
	assert.Equal(t, journal.StateCancelled, got.State)
	b.edited(got, card, time.Time{})
	b.editsNothing()
}

func TestTryAgainWhileACardIsDrawnIsDrawnNext(t *testing.T) {
	b := newBook(t)
	c := b.in(journal.StateUnknown)
	c, card := b.edit()
	require.True(t, c.CanTryAgain(b.clock.Now()))
	r := request(bob, "live-42")
	r.AgainOf = c.Number
	_, _, err := b.Request(t.Context(), r)
	require.NoError(t, err)
	b.edited(c, card, c.AgainBy) // the card still offers it
	got, card := b.edit()
	assert.EqualValues(t, 2, got.AgainIs, "the button must go now, not later")
	b.edited(got, card, time.Time{})
	b.editsNothing()
}

func TestACardIsDrawnAgainAtItsTime(t *testing.T) {
	b := newBook(t)
	b.in(journal.StateUnknown)
	c, card := b.edit()
	b.edited(c, card, c.AgainBy)
	assert.True(t, b.editsNothing().Equal(c.AgainBy))
	b.clock.pass(confirmTime)
	got, card := b.edit()
	assert.False(t, got.CanTryAgain(b.clock.Now()))
	b.edited(got, card, time.Time{})
	assert.Zero(t, b.editsNothing())
}

func TestTheCardThatWaitsLongestIsDrawnFirst(t *testing.T) {
	b := newBook(t)
	first, second := b.show(b.request(alice, "a")), b.show(b.request(alice, "b"))
	b.press(second, alice, journal.Confirmed)
	b.clock.pass(time.Second)
	b.press(first, alice, journal.Confirmed)
	b.clock.pass(time.Second)
	b.press(second, alice, journal.Cancelled)
	got, card := b.edit()
	assert.Equal(t, second.Number, got.Number, "a further change does not send it back")
	b.edited(got, card, time.Time{})
	got, _ = b.edit()
	assert.Equal(t, first.Number, got.Number)
}
