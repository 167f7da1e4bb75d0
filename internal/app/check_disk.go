package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"zegoclose/internal/journal"
)

// checkJournal looks at the journal without its lock, so it works beside a running bot. It
// asks the system whether the files could be written rather than write to them.
func (k *checker) checkJournal(ctx context.Context) journal.Inspection {
	const topic = "journal"
	path := k.DatabaseURL
	const mayWrite, maySearch = 2, 1
	remedy := "let it belong to the user who runs the bot (chown), on a disk that is not mounted read-only"
	dir := filepath.Dir(path)
	if err := syscall.Access(dir, mayWrite|maySearch); err != nil {
		says := fmt.Sprintf("the directory %s cannot be written to (%v)", dir, err)
		if errors.Is(err, fs.ErrNotExist) {
			says, remedy = fmt.Sprintf("there is no directory %s", dir), "make it, or correct DATABASE_URL"
		}
		k.wrong(topic, says, remedy)
		return journal.Inspection{}
	}
	for _, file := range []string{path, path + "-wal", path + "-shm", path + ".lock"} {
		if err := syscall.Access(file, mayWrite); err != nil && !errors.Is(err, fs.ErrNotExist) {
			k.wrong(topic, fmt.Sprintf("%s cannot be written to (%v)", file, err), remedy)
			return journal.Inspection{}
		}
	}
	i, err := journal.Inspect(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && i.ID == "":
		k.fine(topic, "%s does not exist yet; the bot will make it", path)
	case errors.Is(err, journal.ErrDamaged):
		k.wrong(topic, err.Error(), "stop the bot, keep the file, run `zegoclose audit verify` on it, and restore a backup (docs/operating.md)")
	case err != nil:
		k.wrong(topic, err.Error(), "point DATABASE_URL at a journal of zegoclose, or at a file that does not exist yet")
	default:
		k.fine(topic, "%s, %d entries, the end of the chain is sound", path, i.Last+1) // they are numbered from 0
	}
	return i
}

// checkDisk asks how much room is left where the journal is.
func (k *checker) checkDisk() {
	const topic = "disk"
	dir := filepath.Dir(k.DatabaseURL)
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		k.skip(topic, "there is a directory for the journal")
		return
	}
	const mib = 1 << 20
	free := int64(uint64(s.Bavail) * uint64(s.Bsize) / mib)
	if free < k.DiskReserve {
		k.wrong(topic, fmt.Sprintf("%d MiB are free where the journal is, less than %d", free, k.DiskReserve), "make room: with a full disk nothing can be recorded, so no room can be closed")
		return
	}
	k.fine(topic, "%d MiB are free where the journal is", free)
}

// checkCommand tells what can be known of the command and the buttons. Slack does not let
// an app look at its own settings, so the proof is that they have been used.
func (k *checker) checkCommand(last journal.Inspection) {
	const topic = "command and buttons"
	if !k.needs(topic, "commands") {
		return
	}
	when := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
	switch {
	case last.Command.IsZero():
		k.fine(topic, "not used lately; the proof is to type /zego-close help in Slack, which answers at once")
	case last.Click.IsZero():
		k.fine(topic, "last command %s; no button pressed lately", when(last.Command))
	default:
		k.fine(topic, "last command %s, last click %s", when(last.Command), when(last.Click))
	}
}

// withoutSecrets is the text of an error of net/http without the address, which may hold a
// token.
func withoutSecrets(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err) {
		return "no answer in time"
	}
	return err.Error()
}
