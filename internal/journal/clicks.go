package journal

import (
	"context"
	"errors"
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
//
// If the card's ts is not stored yet (Slack's answer is still on its way, or was lost), the
// click teaches it: nobody can press a card that is not there.
func (j *Journal) Settle(ctx context.Context, k Click) (c Case, err error) {
	var verdict error
	err = j.write(ctx, func(t *txn) error {
		c, verdict, err = t.settle(k)
		return err
	})
	if err == nil {
		err = verdict
	}
	return c, err
}

// settle returns a verdict apart from the error, since an expiry is both recorded and told.
func (t *txn) settle(k Click) (c Case, verdict, err error) {
	if c, err = t.load(k.Case); err != nil {
		return c, nil, err
	}
	if _, seen, err := t.delivered(k.Delivery); seen || err != nil {
		return c, nil, err
	}
	if c.Channel != k.Channel || c.CardTS != "" && c.CardTS != k.TS {
		return c, ErrOtherCard, nil
	}
	if c.CardTS == "" {
		if err := t.shown(&c, k.TS); err != nil {
			return c, nil, err
		}
	}
	due := c.ConfirmBy
	if c.State == StateConfirmed {
		due = c.CloseBy
	}
	switch {
	case k.Kind == Confirmed && c.State != StatePending,
		k.Kind == Cancelled && c.State != StatePending && c.State != StateConfirmed:
		return c, ErrSettled, nil
	case !t.now.Before(due):
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

// expire ends a pending or confirmed case whose deadline has passed.
func (t *txn) expire(c *Case) error {
	facts := Facts{Why: "not_confirmed", Detail: "nobody confirmed in time"}
	switch {
	case c.State == StateConfirmed:
		facts = Facts{Why: "not_attempted", Detail: "confirmed, but it could not be attempted in time"}
	case c.CardTS == "":
		facts = Facts{Why: "never_shown", Detail: "the card could not be shown in time"}
	}
	return t.record(c, Draft{Expired, facts})
}

// expireBatch bounds how many cases one write expires.
const expireBatch = 100

// Expire ends every case whose deadline has passed and returns when the next one will
// (the zero time if none is waiting).
func (j *Journal) Expire(ctx context.Context) (nextDue time.Time, err error) {
	for {
		nextDue, err := j.nextDue(ctx)
		if err != nil || nextDue.IsZero() || nextDue.After(j.now()) {
			return nextDue, err
		}
		if err := j.write(ctx, (*txn).expireDue); err != nil {
			return time.Time{}, err
		}
	}
}

func (j *Journal) nextDue(ctx context.Context) (time.Time, error) {
	var due *int64
	err := j.read.QueryRowContext(ctx, `SELECT min(due) FROM cases WHERE state IN ('pending', 'confirmed')`).Scan(&due)
	if err != nil || due == nil {
		return time.Time{}, err
	}
	return time.UnixMicro(*due), nil
}

func (t *txn) expireDue() error {
	rows, err := t.rows(`SELECT number FROM cases WHERE state IN ('pending', 'confirmed') AND due <= $1 ORDER BY due LIMIT $2`,
		t.now.UnixMicro(), expireBatch)
	if err != nil {
		return err
	}
	numbers, err := scanNumbers(rows)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		c, err := t.load(n)
		if err != nil {
			return err
		}
		if err := t.expire(&c); err != nil {
			return err
		}
	}
	return nil
}
