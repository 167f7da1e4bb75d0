package journal

import (
	"fmt"
	"strings"
)

// Course follows one case from entry to entry without keeping them, for who reads a whole
// journal in order. Its rules are those by which entries are written.
type Course struct {
	State                                 State
	Room, Requester, Channel, CardTS      string
	First, Last, Ended, Told, Turn, Again int64
	Due                                   Micros
	confirmer                             string
	confirmBy, closeBy                    Micros
	calls                                 int
	code                                  *int
}

// Step lets one more entry of the case take effect, or says why it cannot follow.
func (c *Course) Step(e Entry) error {
	f := e.Facts
	to, err := next(c.State, e.Kind, f, c.code)
	if err != nil {
		return err
	}
	switch e.Kind {
	case Requested:
		c.First = e.Number // and clones, which do not keep the entry's whole text in memory
		c.Room, c.Requester, c.Channel = strings.Clone(f.Room), strings.Clone(f.By), strings.Clone(f.Channel)
		c.confirmBy = f.Until
	case Offered:
		if f.Until != 0 {
			c.confirmBy = f.Until
		}
	case Shown:
		if c.CardTS != "" {
			return fmt.Errorf("its card is shown a second time")
		}
		c.CardTS = strings.Clone(f.TS)
	case Confirmed:
		if f.By != c.Requester {
			return fmt.Errorf("it is confirmed by %s, but %s asked", f.By, c.Requester)
		}
		if MicrosOf(e.Time) >= c.confirmBy {
			return fmt.Errorf("it is confirmed after its deadline")
		}
		c.confirmer, c.closeBy, c.Turn = c.Requester, f.Until, e.Number
	case Attempted:
		if c.calls++; f.Call != c.calls {
			return fmt.Errorf("it is call %d, but the case had %d before", f.Call, c.calls-1)
		}
		if MicrosOf(e.Time) >= c.closeBy {
			return fmt.Errorf("it is attempted after its close-by time")
		}
	case Answered:
		c.code = f.Code
	case Reviewed, Contested:
		if f.By == c.confirmer || f.By == c.Requester {
			return fmt.Errorf("it is reviewed by %s, whose own case it is", f.By)
		}
	}
	c.State, c.Last = to, e.Number
	if e.Kind.ends() {
		c.Ended = e.Number
	}
	if tells(e) {
		c.Told = e.Number
	}
	c.Due = 0
	switch c.State {
	case StatePending:
		c.Due = c.confirmBy
	case StateConfirmed:
		c.Due = c.closeBy
	}
	return nil
}

// Matches reports whether the case's row says what its entries say.
func (c *Course) Matches(r CaseRow) bool {
	return r.State == c.State && r.Room == c.Room && r.Requester == c.Requester && r.Channel == c.Channel && r.CardTS == c.CardTS &&
		r.First == c.First && r.Last == c.Last && r.Ended == c.Ended && r.Told == c.Told && r.Due == int64(c.Due) && r.Turn == c.Turn && r.Again == c.Again
}
