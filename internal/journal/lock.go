package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"
)

// fileLock is the right to post, close and expire. The kernel takes it back when the
// process ends, however it ends, so no lease has to run out and no clock is trusted.
type fileLock struct{ f *os.File }

// lockFile locks path, waiting up to wait for another process to let go, as in a rolling restart.
func lockFile(ctx context.Context, path string, wait time.Duration, log *slog.Logger) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the journal's lock file: %w", err)
	}
	deadline := time.Now().Add(wait)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for said := false; ; said = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return &fileLock{f}, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		case time.Now().After(deadline):
			f.Close()
			return nil, fmt.Errorf("%w (waited %v for %s): stop the other zegoclose first", ErrLocked, wait, path)
		}
		if !said {
			log.Info("waiting for another process to let go of the journal", "lock", path, "at_most", wait)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// unlock lets go. The file stays: removing it would let two processes lock two files of one name.
func (l *fileLock) unlock() { l.f.Close() }
