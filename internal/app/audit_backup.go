package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"zegoclose/internal/journal"
)

// backupCommand copies a journal that may be in use.
type backupCommand struct {
	whichJournal
	File string `arg:"" help:"The copy to make. It must not exist yet."`
}

func (c backupCommand) Run(ctx context.Context, w *world) error {
	path, err := c.path(w)
	if err != nil {
		return err
	}
	switch err := journal.Backup(ctx, path, c.File); {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist):
		return &configError{[]string{err.Error()}}
	case err != nil:
		return err
	}
	i, err := journal.Inspect(ctx, c.File)
	if err != nil {
		return fmt.Errorf("the copy is not sound: %w", err)
	}
	fmt.Fprintf(w.stdout, "%s: journal %s up to entry %d; check it with: zegoclose audit verify -journal %s\n", c.File, i.ID, i.Entries, c.File)
	return nil
}
