package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// refusalsRecorded is how many refusals of one person and hour become entries.
const refusalsRecorded = 20

// Person is who acted, in Slack's terms. The name is decoration.
type Person struct{ ID, Name, Team string }

// Request asks for a case.
type Request struct {
	Delivery   string // Slack's delivery of it: a second Request with the same one changes nothing
	By         Person
	Room       string // byte for byte
	Reason     string // whole, as typed
	Sends      string // the part of the reason that goes to ZEGO and so to everyone in the room
	From       string // channel of the command
	Channel    string // channel of the card
	ShowWithin time.Duration
	MaxPending int // unconfirmed cases a person; 0 for no limit

	AgainOf   int64  // the unknown case this one tries again, 0 for none
	Workspace string // its address, which ends in a slash
}

// TooManyError says that a person has as many unconfirmed cases as one may have.
type TooManyError struct{ Pending int }

func (e *TooManyError) Error() string {
	return fmt.Sprintf("%d unconfirmed cases already", e.Pending)
}

// Request records r as a new case and returns it and true, also to a later delivery of the
// same request. If the person already has an open case for the room, it returns that one
// and false. A delivery that has been refused stays so: [ErrRefused].
//
// With AgainOf it opens at most one case for that one, or returns [ErrSettled] with the
// case as it is.
func (j *Journal) Request(ctx context.Context, r Request) (c Case, isNew bool, err error) {
	if !utf8.ValidString(r.Room) { // JSON could not keep it byte for byte
		return Case{}, false, fmt.Errorf("%w: the room id is not valid UTF-8", ErrNotRecorded)
	}
	type answer struct {
		c     Case
		isNew bool
	}
	a, err := write(ctx, j, func(t *txn) (a answer, err error) {
		a.c, a.isNew, err = t.request(r)
		return a, err
	})
	return a.c, a.isNew, err
}

func (t *txn) request(r Request) (Case, bool, error) {
	known, at, err := t.delivered(r.Delivery)
	if err != nil {
		return Case{}, false, err
	}
	if !at.IsZero() {
		if known == 0 {
			return Case{}, false, ErrRefused
		}
		c, err := t.load(known)
		return c, c.RequestedAt.Equal(at), err // opened by this very delivery, or found open
	}
	own, others, err := t.openFor(r.Room, r.By.ID)
	if err != nil {
		return Case{}, false, err
	}
	switch {
	case r.AgainOf != 0:
		old, err := t.load(r.AgainOf)
		if err != nil {
			return Case{}, false, err
		}
		if !old.CanTryAgain(t.now) {
			return old, false, ErrSettled
		}
	case own != 0:
		c, err := t.load(own)
		if err != nil {
			return Case{}, false, err
		}
		if c.State == StateClosing || t.now.Before(c.due()) {
			return c, false, t.deliver(r.Delivery, own)
		}
		if err := t.expire(&c); err != nil { // its time is over, though nobody has noticed yet
			return Case{}, false, err
		}
	}
	if r.MaxPending > 0 {
		var pending int
		if err := t.row(`SELECT count(*) FROM cases WHERE requester = $1 AND state = 'pending'`, r.By.ID).Scan(&pending); err != nil {
			return Case{}, false, err
		}
		if pending >= r.MaxPending {
			return Case{}, false, &TooManyError{pending}
		}
	}
	c, err := t.openNew(r, others)
	return c, err == nil, err
}

// openNew inserts the case and its first entry.
func (t *txn) openNew(r Request, others []int64) (Case, error) {
	number := t.cases + 1
	due := MicrosOf(t.now.Add(r.ShowWithin))
	e, err := t.add(number, Requested, Facts{
		By: r.By.ID, Name: r.By.Name, Team: r.By.Team,
		Room: r.Room, Reason: r.Reason, Sends: r.Sends, From: r.From, Channel: r.Channel,
		AgainOf: r.AgainOf, Others: others, Until: due, Workspace: r.Workspace,
	})
	if err != nil {
		return Case{}, err
	}
	c := Case{Token: randomID()}
	if err := c.apply(e); err != nil {
		return Case{}, err
	}
	if err := t.exec(`INSERT INTO cases (number, state, room, requester, channel, token, due, first, last, told, drawn)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $8, $8)`,
		number, string(c.State), c.Room, c.Requester, c.Channel, c.Token, int64(due), e.Number); err != nil {
		return Case{}, err
	}
	if r.AgainOf != 0 {
		if err := t.exec(`UPDATE cases SET again = $1 WHERE number = $2`, number, r.AgainOf); err != nil {
			return Case{}, err
		}
		if err := t.redraw(r.AgainOf, t.now); err != nil {
			return Case{}, err
		}
	}
	t.cases = number
	t.works[Posts], t.works[Deadlines] = true, true
	return c, t.deliver(r.Delivery, number)
}

// maxOthers is how many open cases of other people a new one names.
const maxOthers = 5

// openFor looks for open cases of the room: the person's own latest, 0 if there is none,
// and those of other people.
func (t *txn) openFor(room, person string) (own int64, others []int64, err error) {
	rows, err := t.rows(`SELECT number, requester FROM cases WHERE room = $1 AND ended = 0 ORDER BY number`, room)
	if err != nil {
		return 0, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		var requester string
		if err := rows.Scan(&n, &requester); err != nil {
			return 0, nil, sqlError{err}
		}
		if requester == person {
			own = n
		} else if len(others) < maxOthers {
			others = append(others, n)
		}
	}
	if err := rows.Err(); err != nil {
		return 0, nil, sqlError{err}
	}
	return own, others, nil
}

// delivered returns when this delivery came first, the zero time if it is new, and which
// case it led to.
func (t *txn) delivered(key string) (number int64, at time.Time, err error) {
	if key == "" {
		return 0, time.Time{}, nil
	}
	var micros int64
	err = t.row(`SELECT case_, time FROM deliveries WHERE key = $1`, key).Scan(&number, &micros)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, time.Time{}, nil
	}
	return number, time.UnixMicro(micros), err
}

func (t *txn) deliver(key string, number int64) error {
	if key == "" {
		return nil
	}
	return t.exec(`INSERT INTO deliveries (key, case_, time) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING`,
		key, number, t.now.UnixMicro())
}

// Refusal is something that somebody wanted and was not allowed.
type Refusal struct {
	Delivery string
	By       Person
	Action   string // what they wanted
	Room     string // of the command; empty for a click
	From     string // the channel
	Why      string // a stable word
	Detail   string // the same in a sentence
	About    int64  // the case pressed, 0 for a command
}

// Refuse records r: as an entry, or past the first few of a person and hour as a number
// only, so that nobody can fill the record by knocking.
func (j *Journal) Refuse(ctx context.Context, r Refusal) error {
	return j.change(ctx, func(t *txn) error {
		if _, at, err := t.delivered(r.Delivery); !at.IsZero() || err != nil {
			return err
		}
		if err := t.deliver(r.Delivery, 0); err != nil {
			return err
		}
		var count int
		if err := t.row(`INSERT INTO refusals (person, hour, count) VALUES ($1, $2, 1)
			ON CONFLICT (person, hour) DO UPDATE SET count = refusals.count + 1 RETURNING count`,
			r.By.ID, t.now.Unix()/3600).Scan(&count); err != nil {
			return err
		}
		if count > refusalsRecorded {
			return nil
		}
		_, err := t.add(0, Refused, Facts{By: r.By.ID, Name: r.By.Name, Team: r.By.Team,
			Room: r.Room, From: r.From, Action: r.Action, Why: r.Why, Detail: r.Detail, About: r.About})
		return err
	})
}

// Forget removes what is only kept to recognise a second delivery, or to count, once it is
// older than keep.
func (j *Journal) Forget(ctx context.Context, keep time.Duration) error {
	return j.change(ctx, func(t *txn) error {
		if err := t.exec(`DELETE FROM deliveries WHERE time < $1`, t.now.Add(-keep).UnixMicro()); err != nil {
			return err
		}
		return t.exec(`DELETE FROM refusals WHERE hour < $1`, t.now.Add(-keep).Unix()/3600)
	})
}
