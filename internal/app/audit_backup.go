package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return noJournal(path)
	}
	dir := filepath.Dir(c.File)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return usage("backing up to %s: there is no directory %s: make it, or name another file", c.File, dir)
	}
	err = journal.Backup(ctx, path, c.File)
	if errors.Is(err, fs.ErrExist) {
		return usage("backing up to %s: it exists already, and nothing was overwritten: name a file that does not exist yet", c.File)
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok { // its path is a temporary one
		return fmt.Errorf("backing up to %s: %w: see that this user may write there, or name another file", c.File, p.Err)
	}
	if err != nil {
		return err
	}
	i, err := journal.Inspect(ctx, c.File)
	if err != nil {
		return fmt.Errorf("the copy is not sound: %w", err)
	}
	fmt.Fprintf(w.stdout, "%s: journal %s up to entry %d; check it with: zegoclose audit verify -journal %s\n", c.File, i.ID, i.Last, c.File)
	return nil
}
