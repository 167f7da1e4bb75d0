package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

const (
	maxQueued  = 4096             // writes that may wait; more are refused
	maxGroup   = 256              // writes in one commit
	probeEvery = time.Second      // while failing: how often to try again
	idleProbe  = 15 * time.Second // while nothing is written: how often to find out whether it could be
	slow       = 2 * time.Second  // a commit that takes longer is of no use to somebody who waits for an answer
)

// writeOp is one write on its way to the writer.
type writeOp struct {
	do    func(*txn) error
	undo  func(*txn) error // takes back what do did, if its caller was gone by then; may be nil
	stage atomic.Int32
	done  chan error // buffered; receives exactly once if the writer took it

	taken bool  // the writer's own: it has taken the write
	err   error // the writer's own: do's own error
}

// Stages of a write. The writer takes a waiting one and finishes it; its caller may give
// up on a waiting one, which then is not made, or leave a taken one to its fate.
const (
	opWaiting int32 = iota
	opTaken
	opFinished
	opLeft
)

// write runs do in a transaction of its own or a shared one and returns what do returned,
// once that is on disk. An error of do's own is returned as it is, with what do returned,
// and nothing of it was recorded.
func write[T any](ctx context.Context, j *Journal, do func(*txn) (T, error)) (T, error) {
	return writeOrUndo(ctx, j, do, nil)
}

// change is write for what has no result.
func (j *Journal) change(ctx context.Context, do func(*txn) error) error {
	_, err := write(ctx, j, func(t *txn) (struct{}, error) { return struct{}{}, do(t) })
	return err
}

// writeOrUndo is write for what its caller must know of: if the caller has been told
// [ErrUnsure] and the write is made after all, it is followed by undo.
func writeOrUndo[T any](ctx context.Context, j *Journal, do func(*txn) (T, error), undo func(*txn, T) error) (T, error) {
	var none T
	result := new(T) // the writer's until op.done says otherwise
	op := &writeOp{done: make(chan error, 1)}
	op.do = func(t *txn) (err error) {
		*result, err = do(t)
		return err
	}
	if undo != nil {
		op.undo = func(t *txn) error { return undo(t, *result) }
	}
	err := j.submit(ctx, op)
	if errors.Is(err, ErrNotRecorded) || errors.Is(err, ErrUnsure) {
		return none, err
	}
	return *result, err
}

// submit hands op to the writer and waits for its end, but not longer than ctx allows.
func (j *Journal) submit(ctx context.Context, op *writeOp) error {
	select {
	case <-j.stop:
		return fmt.Errorf("%w: the journal is closed", ErrNotRecorded)
	default:
	}
	select {
	case j.writes <- op:
	default:
		return fmt.Errorf("%w: too many writes are waiting", ErrNotRecorded)
	}
	select {
	case err := <-op.done:
		return err
	case <-ctx.Done():
	case <-j.stopped:
	}
	switch {
	case op.stage.CompareAndSwap(opWaiting, opLeft):
		return fmt.Errorf("%w: its turn did not come in time", ErrNotRecorded)
	case op.stage.CompareAndSwap(opTaken, opLeft):
		return fmt.Errorf("%w: the disk did not answer in time", ErrUnsure)
	}
	return <-op.done // it was finished just now
}

// take reports whether the write is to be made: its caller has not given up before.
func (op *writeOp) take() bool {
	op.taken = op.taken || op.stage.CompareAndSwap(opWaiting, opTaken)
	return op.taken
}

// finish tells the caller how the write ended, or reports that there is none any more.
func (op *writeOp) finish(err error) (left bool) {
	if !op.take() {
		return false
	}
	if !op.stage.CompareAndSwap(opTaken, opFinished) {
		return true
	}
	op.done <- err
	return false
}

// writer owns the writing connection.
type writer struct {
	j     *Journal
	conn  *sql.Conn
	disk  files
	stmts map[string]*sql.Stmt // prepared once each
	undo  []*writeOp           // to be made before anything else
}

func (w *writer) run() {
	defer close(w.j.stopped)
	defer w.forget()
	var group []*writeOp
	probe := time.NewTimer(idleProbe)
	defer probe.Stop()
	for {
		group = append(group[:0], w.undo...)
		if len(group) == 0 || w.j.failing.Load() != nil {
			select {
			case op := <-w.j.writes:
				group = append(group, op)
			case <-probe.C:
			case <-w.j.stop:
				w.finish()
				return
			}
		}
		w.commit(w.collect(group))
		if w.j.failing.Load() != nil {
			probe.Reset(probeEvery)
		} else {
			probe.Reset(idleProbe)
		}
	}
}

// finish makes what has been handed over by now, and what is to be undone, once.
func (w *writer) finish() {
	for {
		group := w.collect(slices.Clone(w.undo))
		if len(group) == 0 || len(group) == len(w.undo) && w.j.failing.Load() != nil {
			return
		}
		w.commit(group)
	}
}

// forget closes the prepared statements; with any of them open, closing the connection
// would not give the file back.
func (w *writer) forget() {
	for _, s := range w.stmts {
		s.Close()
	}
}

// collect adds the writes that are waiting by now.
func (w *writer) collect(group []*writeOp) []*writeOp {
	for len(group) < maxGroup {
		select {
		case op := <-w.j.writes:
			group = append(group, op)
		default:
			return group
		}
	}
	return group
}

// commit makes a group of writes in one transaction and tells each how it ended. With an
// empty group it only finds out whether the journal can be written to.
func (w *writer) commit(group []*writeOp) {
	err := w.transact(group)
	_, spoilt := errors.AsType[sqlError](err)
	spoilt = spoilt && errors.Is(err, ErrNotRecorded)
	switch {
	case errors.Is(err, errNotBegun): // nobody need wait as long again to hear the same
		group = w.collect(group)
	case spoilt && len(group) > 1: // one write's trouble must not become the others'
		for _, op := range group {
			one := []*writeOp{op}
			w.settle(one, w.transact(one))
		}
		return
	}
	w.settle(group, err)
}

// settle tells the callers of a group how it ended. What one of them saw in there did not
// happen if err is not nil, so it is no answer then, not even a refusal.
func (w *writer) settle(group []*writeOp, err error) {
	for _, op := range group {
		if err != nil {
			op.finish(err)
			continue
		}
		w.undo = slices.DeleteFunc(w.undo, func(u *writeOp) bool { return u == op })
		if left := op.finish(op.err); left && op.err == nil && op.undo != nil {
			w.undo = append(w.undo, &writeOp{do: op.undo, done: make(chan error, 1)})
		}
	}
}

// transact is one transaction. It remembers whether the journal can be written to, and
// rings the bells for what was recorded.
func (w *writer) transact(group []*writeOp) error {
	began := time.Now()
	w.j.since.Store(&began)
	t := &txn{w: w, ctx: context.Background()}
	err := w.begin(t)
	if err == nil {
		err = t.end(t.all(group))
	}
	w.j.commits.Add(1)
	took := time.Since(began)
	w.j.tell(took, t.added, err)
	if err == nil && took > slow {
		w.note(tooSlow(took))
	} else {
		w.note(err)
	}
	w.j.since.Store(nil) // after the note, or a slow disk would look quick in between
	if err == nil {
		w.j.signal(t.works)
	}
	return err
}

// tell lets who watches know how a transaction went, and what it recorded.
func (j *Journal) tell(took time.Duration, added []Entry, err error) {
	if j.committed == nil {
		return
	}
	if err != nil {
		added = nil
	}
	j.committed(took, added, err)
}

// errNotBegun marks a transaction that could not even begin.
var errNotBegun = errors.New("the journal is busy or out of reach")

// begin opens the transaction and reads the head row.
func (w *writer) begin(t *txn) error {
	if err := w.disk.check(); err != nil {
		return fmt.Errorf("%w: %w: %w", ErrNotRecorded, errNotBegun, err)
	}
	if err := t.exec(beginWrite); err != nil {
		return fmt.Errorf("%w: %w: %w", ErrNotRecorded, errNotBegun, err)
	}
	var last int64
	if err := t.row(lockHead).Scan(&t.entry, &t.hash, &last, &t.cases); err != nil {
		t.exec(`ROLLBACK`)
		return fmt.Errorf("%w: %w: reading the head: %w", ErrNotRecorded, errNotBegun, err)
	}
	t.now = w.j.now().UTC().Truncate(time.Microsecond)
	if before := time.UnixMicro(last).UTC(); t.now.Before(before) {
		t.now = before // the clock was set back; the record's time is not
	}
	return nil
}

// end commits the transaction, or rolls it back if err is not nil.
func (t *txn) end(err error) error {
	if err != nil {
		t.exec(`ROLLBACK`)
		return fmt.Errorf("%w: %w", ErrNotRecorded, err)
	}
	if err := t.exec(`COMMIT`); err != nil {
		t.exec(`ROLLBACK`) // a failed commit may leave the transaction open
		if rolledBack(err) {
			return fmt.Errorf("%w: %w", ErrNotRecorded, err)
		}
		return fmt.Errorf("%w: %w", ErrUnsure, err)
	}
	return nil
}

// note remembers whether the journal can be written to, and logs each change of that once.
func (w *writer) note(err error) {
	before := w.j.failing.Load()
	if err != nil {
		w.j.failing.Store(&err)
		if (corrupt(err) || errors.Is(err, ErrDamaged)) && w.j.damaged.CompareAndSwap(nil, &err) {
			w.j.log.Error("the journal is damaged: stop the bot, ask `zegoclose audit verify` what is lost, restore a backup", "err", err)
			return
		}
		if before == nil {
			w.j.log.Error("the journal cannot be relied on for now; what it does not record is not done", "err", err)
		}
		return
	}
	w.j.failing.Store(nil)
	if before != nil {
		w.j.log.Info("the journal can be written again")
	}
}

func tooSlow(took time.Duration) error {
	return fmt.Errorf("the disk is slow: a commit takes %v", took.Round(100*time.Millisecond))
}

// all makes each write of the group within a savepoint and brings the head up to date. An
// error means that the whole transaction is spoilt.
func (t *txn) all(group []*writeOp) error {
	before := t.entry
	for _, op := range group {
		if op.err = nil; !op.take() {
			continue
		}
		if err := t.one(op); err != nil {
			return err
		}
	}
	if t.entry == before {
		if len(group) > 0 && t.w.j.failing.Load() == nil {
			return nil
		}
		return t.exec(`UPDATE head SET one = 1 WHERE one = 1`) // can the file be written to?
	}
	return t.exec(`UPDATE head SET entry = $1, hash = $2, time = $3, last_case = $4 WHERE one = 1`,
		t.entry, t.hash, t.now.UnixMicro(), t.cases)
}

// one makes one write: wholly, or if it returns an error of its own, not at all.
func (t *txn) one(op *writeOp) error {
	entry, hash, cases, added := t.entry, t.hash, t.cases, len(t.added)
	if err := t.exec(`SAVEPOINT one`); err != nil {
		return err
	}
	if err := op.do(t); err != nil {
		if broken(err) {
			return err
		}
		op.err = err
		if _, ok := errors.AsType[sqlError](err); ok || errors.Is(err, ErrDamaged) {
			op.err = fmt.Errorf("%w: %w", ErrNotRecorded, err)
		}
		if err := t.exec(`ROLLBACK TO one`); err != nil {
			return err
		}
		t.entry, t.hash, t.cases, t.added = entry, hash, cases, t.added[:added]
	}
	return t.exec(`RELEASE one`)
}
