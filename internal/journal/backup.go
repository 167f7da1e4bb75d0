package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Backup writes a copy of the journal at path, as it is at one moment, to a new file, also
// while a bot writes to the journal. It never overwrites anything: the copy gets its name
// when it is whole and on disk. (Copying the file itself would miss what is still in the
// write-ahead log, or catch it half-way.)
func Backup(ctx context.Context, path, to string) (err error) {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("backing up journal %s: %w", path, err)
	}
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("backing up to %s: %w; nothing was overwritten", to, fs.ErrExist)
	}
	part, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".part-*") // for its owner alone
	if err != nil {
		return fmt.Errorf("backing up to %s: %w", to, err)
	}
	defer os.Remove(part.Name())
	defer part.Close()
	db, err := sql.Open("sqlite", dsn(path, "mode=ro", "_pragma=busy_timeout(5000)"))
	if err != nil {
		return fmt.Errorf("backing up journal %s: %w", path, err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `VACUUM INTO $1`, part.Name()); err != nil {
		return fmt.Errorf("backing up journal %s: %w", path, damagedIf(err))
	}
	if err := part.Sync(); err != nil {
		return fmt.Errorf("backing up to %s: %w", to, err)
	}
	if err := os.Link(part.Name(), to); err != nil { // unlike a rename, it fails if there is something by now
		return fmt.Errorf("backing up to %s: %w", to, err)
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return fmt.Errorf("backing up to %s: %w", to, err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
