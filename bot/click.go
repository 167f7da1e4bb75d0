package bot

import (
	"context"
	"errors"
	"fmt"

	"zegoclose/authz"
	"zegoclose/internal/journal"
	"zegoclose/internal/metrics"
	"zegoclose/internal/socket"
)

// handleClick answers one press of a button. What is committed is acked; what is not known
// to be committed is not, so Slack shows its warning sign and the person presses again.
// Words go to the one who pressed alone, by response_url.
func (b *Bot) handleClick(ctx context.Context, e *socket.Envelope) error {
	ctx, cancel := context.WithDeadline(ctx, e.Received.Add(recordLimit))
	defer cancel()
	if isForm(e) {
		return b.noteSubmitted(ctx, e)
	}
	k, err := decodeClick(e)
	if err != nil {
		return errors.Join(err, e.Ack(nil))
	}
	if k.action == actionOlder || k.action == actionReviewed || k.action == actionContest {
		return b.reviewClick(ctx, e, k)
	}
	words, err := b.click(ctx, k)
	if err != nil {
		b.Log.Error("a click could not be recorded", "user", k.by.ID, "action", k.action, "err", err)
		b.whisper(k.responseURL, textMessage(line{say("%s", unrecordedClick(err))}))
		return nil
	}
	if err := e.Ack(nil); err != nil {
		return fmt.Errorf("answering a click: %w", err)
	}
	if words != nil {
		b.whisper(k.responseURL, *words)
	}
	return nil
}

// clicks says what each button asks for.
var clicks = map[string]struct {
	want authz.Action
	kind journal.Kind
}{
	actionConfirm: {authz.Confirm, journal.Confirmed},
	actionCancel:  {authz.Cancel, journal.Cancelled},
	actionAgain:   {authz.Retry, journal.Requested},
}

// click does what k asks for. It returns words for the person if there is anything to say
// that the card does not, and an error only if it is not known to be recorded.
func (b *Bot) click(ctx context.Context, k click) (*message, error) {
	action, result := "other", metrics.Unusable
	defer func() { b.Metrics.Click(action, result) }()
	want, ok := clicks[k.action]
	if !ok {
		return words("This button is not one of the bot's any more; nothing was done. Send the command again."), nil
	}
	action = string(want.want)
	c, err := b.Journal.CaseByToken(ctx, k.token)
	if errors.Is(err, journal.ErrNoCase) {
		return words("The bot does not know this card; nothing was done. Send the command again."), nil
	}
	if err != nil { // nothing but a look
		result = metrics.Unrecorded
		return nil, fmt.Errorf("%w: %w", journal.ErrNotRecorded, err)
	}
	if d := b.decide(want.want, k.by, c.From, c.Requester, commandAge); !d.Allowed {
		result = metrics.Refused
		m := b.refuse(ctx, journal.Refusal{Delivery: k.delivery, By: k.by, Action: string(want.want), From: k.channel, About: c.Number},
			string(d.Reason), d.Record, d.Person)
		return &m, nil
	}
	if want.kind == journal.Requested {
		m, isNew, err := b.tryAgain(ctx, c, k)
		result = clickResult(isNew, err)
		return m, err
	}
	c, err = b.Journal.Settle(ctx, journal.Click{
		Delivery: k.delivery, Case: c.Number, By: k.by, Kind: want.kind,
		Channel: k.channel, TS: k.ts, CloseWithin: b.CloseWithin,
	})
	result = clickResult(err == nil, err)
	switch {
	case err == nil:
		return nil, nil
	case errors.Is(err, journal.ErrExpired):
		return words("Too late: #%d has just expired, nothing was closed. Send the command again if the room must still be closed.", c.Number), nil
	case errors.Is(err, journal.ErrOtherCard):
		m := textMessage(line{say("This is not the current card of #%d; nothing was done. ", c.Number), b.cardLink(c), say(".")})
		return &m, nil
	case errors.Is(err, journal.ErrSettled):
		return tooLate(c, want.kind), nil
	case errors.Is(err, journal.ErrRefused):
		return nil, nil // a second delivery; the first one was answered
	}
	return nil, err
}

// clickResult is how a click is counted.
func clickResult(done bool, err error) string {
	switch {
	case done:
		return metrics.Recorded
	case errors.Is(err, journal.ErrNotRecorded), errors.Is(err, journal.ErrUnsure):
		return metrics.Unrecorded
	}
	return metrics.Known
}

// tryAgain opens a new case for an unknown one. It returns words for the person, if there
// is anything to say, and whether the case is new.
func (b *Bot) tryAgain(ctx context.Context, old journal.Case, k click) (*message, bool, error) {
	if old.Channel != k.channel || old.CardTS != k.ts {
		return words("This is not the current card of #%d; nothing was done.", old.Number), false, nil
	}
	c, isNew, err := b.Journal.Request(ctx, journal.Request{
		Delivery: k.delivery, By: k.by, Room: old.Room, Reason: old.Reason, Sends: b.sends(old.Reason),
		From: old.From, Channel: old.Channel, ShowWithin: b.ConfirmTimeout, MaxPending: b.MaxPendingPerUser, AgainOf: old.Number, Workspace: b.self().url,
	})
	var many *journal.TooManyError
	switch {
	case errors.As(err, &many):
		return words("You already have %d cases waiting for confirmation. Confirm or cancel some of them first; nothing was done.", many.Pending), false, nil
	case errors.Is(err, journal.ErrSettled) && c.AgainIs != 0:
		return words("#%d already tries this again; its card is in this channel.", c.AgainIs), false, nil
	case errors.Is(err, journal.ErrSettled):
		return words("Try again is no longer offered for #%d; nothing was done. Send the command again if the room must be closed.", c.Number), false, nil
	case errors.Is(err, journal.ErrRefused):
		return nil, false, nil // a second delivery; the first one was answered
	case err != nil:
		return nil, false, err
	}
	b.requesters.remember(c.Number, k.responseURL, b.now())
	return nil, isNew, nil
}

// tooLate explains why a click changed nothing. A second confirmation of one's own needs no
// words: the card says that it counts.
func tooLate(c journal.Case, kind journal.Kind) *message {
	switch c.State {
	case journal.StateConfirmed, journal.StateClosing:
		if kind == journal.Confirmed {
			return nil
		}
		return words("Too late to cancel #%d: its call to ZEGO is on its way.", c.Number)
	}
	m := textMessage(append(line{say("Too late, nothing was done. ")}, endLine(c)...))
	return &m
}

// unrecordedClick says what is known after the journal failed, and no more.
func unrecordedClick(err error) string {
	if errors.Is(err, journal.ErrNotRecorded) {
		return "The journal cannot be written at the moment, so nothing was done. Press again in a minute; if it stays so, tell the operator."
	}
	return "Not sure that your click was recorded: the journal is slow. If the card changes, it counts; otherwise press again."
}

func words(format string, args ...any) *message {
	m := textMessage(line{say(format, args...)})
	return &m
}
