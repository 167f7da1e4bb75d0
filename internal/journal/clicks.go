package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrExpired means that the click came after the deadline; the case is expired now.
var ErrExpired = errors.New("the deadline has passed")

// ErrOtherCard means that the click came from a message that is not the case's card.
var ErrOtherCard = errors.New("not the card of this case")

// Click is a press of Close room or Cancel.
type Click struct {
	Delivery    string // Slack's delivery of it: a second one changes nothing
	Case        int64
	By          Person
	Kind        Kind          // Confirmed or Cancelled
	Channel, TS string        // the message pressed
	CloseWithin time.Duration // Confirmed: how long the confirmation lasts
}

// Settle records a click, if the case still waits for one: pending for Confirmed, pending
// or confirmed for Cancelled, its deadline not passed by the time of the record. It returns
// the case as it is afterwards, together with one of
//
//   - nil: recorded, now or by an earlier delivery of the same click
//   - ErrSettled: the case had moved on
//   - ErrExpired: too late; the case has just been expired
//   - ErrOtherCard: pressed on another message than the case's card
//   - ErrRefused: this click has been refused by an earlier delivery
//
// If the card's ts is not stored yet (Slack's answer is still on its way, or was lost), the
// click teaches it: nobody can press a card that is not there.
func (j *Journal) Settle(ctx context.Context, k Click) (Case, error) {
	if k.Kind != Confirmed && k.Kind != Cancelled {
		return Case{}, fmt.Errorf("%w: a click cannot be %q", ErrNotRecorded, k.Kind)
	}
	type answer struct {
		c       Case
		verdict error
	}
	a, err := write(ctx, j, func(t *txn) (a answer, err error) {
		a.c, a.verdict, err = t.settle(k)
		return a, err
	})
	return a.c, cmp.Or(err, a.verdict)
}

// settle returns a verdict apart from the error, since an expiry is both recorded and told.
func (t *txn) settle(k Click) (c Case, verdict, err error) {
	if c, err = t.load(k.Case); err != nil {
		return c, nil, err
	}
	switch known, at, err := t.delivered(k.Delivery); {
	case err != nil:
		return c, nil, err
	case at.IsZero(): // new
	case known == 0:
		return c, ErrRefused, nil
	default:
		return c, nil, nil
	}
	if k.Channel != c.Channel || k.TS == "" || c.CardTS != "" && k.TS != c.CardTS {
		return c, ErrOtherCard, nil
	}
	if c.CardTS == "" {
		if err := t.shown(&c, k.TS); err != nil {
			return c, nil, err
		}
	}
	switch {
	case k.Kind == Confirmed && c.State != StatePending,
		k.Kind == Cancelled && c.State != StatePending && c.State != StateConfirmed:
		return c, ErrSettled, nil
	case !t.now.Before(c.due()):
		return c, ErrExpired, t.expire(&c)
	}
	facts := Facts{By: k.By.ID, Name: k.By.Name, Team: k.By.Team}
	if k.Kind == Confirmed {
		facts.Until = MicrosOf(t.now.Add(k.CloseWithin))
	}
	if err := t.record(&c, Draft{k.Kind, facts}); err != nil {
		return c, nil, err
	}
	return c, nil, t.deliver(k.Delivery, c.Number)
}

// expire ends a pending or confirmed case whose deadline has passed. Only a card that is
// certainly not in Slack was never shown.
func (t *txn) expire(c *Case) error {
	facts := Facts{Why: "not_confirmed", Detail: "nobody confirmed in time"}
	if c.State == StateConfirmed {
		facts = Facts{Why: "not_attempted", Detail: "confirmed, but it could not be attempted in time"}
		if c.Waits != "" {
			facts.Detail += " (" + c.Waits + ")"
		}
	} else if c.CardTS == "" {
		var onItsWay int
		if err := t.row(`SELECT count(*) FROM posts WHERE case_ = $1 AND state IN ('sending', 'doubt')`, c.Number).Scan(&onItsWay); err != nil {
			return err
		}
		if onItsWay == 0 {
			facts = Facts{Why: "never_shown", Detail: "the card could not be shown in time"}
		}
	}
	return t.record(c, Draft{Expired, facts})
}

// expireBatch bounds how many cases one write expires.
const expireBatch = 100

// Expire ends every case whose deadline has passed and returns when the next one will
// (the zero time if none is waiting).
func (j *Journal) Expire(ctx context.Context) (nextDue time.Time, err error) {
	for {
		var due *int64
		if err := j.row(ctx, `SELECT min(due) FROM cases WHERE due > 0`).Scan(&due); err != nil {
			return time.Time{}, fmt.Errorf("looking for the next deadline: %w", err)
		}
		if due == nil {
			return time.Time{}, nil
		}
		nextDue := time.UnixMicro(*due)
		if nextDue.After(j.now()) {
			return nextDue, nil
		}
		if n, err := write(ctx, j, (*txn).expireDue); err != nil {
			return time.Time{}, fmt.Errorf("expiring what is due: %w", err)
		} else if n == 0 {
			return nextDue, nil // the clock was set back just now
		}
	}
}

// expireDue expires a batch of cases and returns how many.
func (t *txn) expireDue() (int, error) {
	rows, err := t.rows(`SELECT number FROM cases WHERE due > 0 AND due <= $1 ORDER BY due LIMIT $2`, t.now.UnixMicro(), expireBatch)
	if err != nil {
		return 0, err
	}
	numbers, err := scanNumbers(rows)
	if err != nil {
		return 0, err
	}
	for _, n := range numbers {
		c, err := t.load(n)
		if err != nil {
			return 0, err
		}
		if err := t.expire(&c); err != nil {
			return 0, err
		}
	}
	return len(numbers), nil
}
