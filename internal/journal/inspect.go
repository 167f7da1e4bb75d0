package journal

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"
)

// Inspection is what can be seen of a journal from outside.
type Inspection struct {
	ID      string
	Last    int64     // number of its last entry
	Command time.Time // the latest command among the last hundred entries, allowed or not; zero if there is none
	Click   time.Time // the latest click among them, likewise
}

// Inspect looks at the journal at path without its lock and without changing it, also while
// a bot writes to it. It checks as much of the chain as [Open] does. The error is
// fs.ErrNotExist if there is no file.
func Inspect(ctx context.Context, path string) (i Inspection, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("journal %s: %w", path, err)
		}
	}()
	if _, err := os.Stat(path); err != nil {
		return Inspection{}, err
	}
	db, err := readSQLite(path)
	if err != nil {
		return Inspection{}, damagedIf(err)
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Inspection{}, damagedIf(err)
	}
	defer tx.Rollback()
	isNew, err := isEmpty(ctx, tx)
	if err != nil || isNew {
		return Inspection{}, damagedIf(err)
	}
	j := &Journal{}
	if err := j.checkTail(ctx, tx); err != nil {
		return Inspection{}, damagedIf(err)
	}
	i.ID = j.id
	if err := tx.QueryRowContext(ctx, `SELECT entry FROM head WHERE one = 1`).Scan(&i.Last); err != nil {
		return Inspection{}, damagedIf(err)
	}
	rows, err := tx.QueryContext(ctx, selectEntry+` WHERE number >= $1 ORDER BY number`, i.Last-100)
	if err != nil {
		return Inspection{}, damagedIf(err)
	}
	es, err := scanEntries(rows)
	if err != nil {
		return Inspection{}, damagedIf(err)
	}
	for _, e := range es {
		switch {
		case e.Kind == Requested && e.Facts.AgainOf == 0, e.Kind == Refused && e.Facts.About == 0:
			i.Command = e.Time
		case e.Kind == Confirmed, e.Kind == Cancelled && e.Facts.By != "", e.Kind == Requested, e.Kind == Refused:
			i.Click = e.Time
		}
	}
	return i, nil
}
