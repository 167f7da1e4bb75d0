package zego

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// A RequestError is a call that this package refused to make: a bad argument or
// a bad configuration. Nothing was sent.
type RequestError struct {
	Action  string
	Problem string
}

func (e *RequestError) Error() string { return e.Action + ": not sent: " + e.Problem }

// An Error is ZEGO's answer with a Code other than 0. Lookup explains the Code.
type Error struct {
	Action    string
	Code      int
	Message   string // ZEGO's words, for people
	RequestID string // names the call to ZEGO's support
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: ZEGO answered code %d, %s (message %q, request id %q)",
		e.Action, e.Code, Lookup(e.Code).Meaning, e.Message, e.RequestID)
}

// A TransportError is a call without a usable answer.
type TransportError struct {
	Action string

	// Written reports whether any byte of the request may have left. If not,
	// ZEGO has certainly done nothing.
	Written bool

	Cause string // what happened, free of anything secret

	// context is the context's error if that ended the call, else nil. No
	// other cause is kept, since only its text can be freed of secrets.
	context error
}

func (e *TransportError) Error() string {
	if e.Written {
		return e.Action + ": sent, but no usable answer: " + e.Cause
	}
	return e.Action + ": not sent: " + e.Cause
}

// Unwrap returns context.Canceled or context.DeadlineExceeded if the caller's
// context ended the call, else nil.
func (e *TransportError) Unwrap() error { return e.context }

func transportError(ctx context.Context, action string, written bool, err error, signed signedQuery) *TransportError {
	e := &TransportError{Action: action, Written: written}
	switch ended := ctx.Err(); {
	case ended != nil && (errors.Is(err, ended) || errors.Is(err, context.Cause(ctx))):
		e.context = ended
		e.Cause = "given up by the caller"
		if errors.Is(ended, context.DeadlineExceeded) {
			e.Cause = "out of time"
		}
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Cause = "the connection was refused"
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		e.Cause = "the connection was reset"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		e.Cause = "the connection was closed before the answer was complete"
	default:
		if op, ok := errors.AsType[*net.OpError](err); ok { // our own address is nobody's business
			err = &net.OpError{Op: op.Op, Net: op.Net, Addr: op.Addr, Err: op.Err}
		}
		e.Cause = signed.clean(err.Error())
	}
	return e
}

// Effect is what is known about a room after a call of CloseRoom.
type Effect string

const (
	Done    Effect = "done"     // ZEGO closed the room
	NotDone Effect = "not done" // the call certainly did nothing
	Absent  Effect = "absent"   // no such room: gone before the call, or never there
	Unknown Effect = "unknown"  // the room may or may not have been closed
)

// EffectOf returns what CloseRoom's error, nil included, says about the room.
// An error it knows nothing about leaves the effect Unknown.
func EffectOf(err error) Effect {
	if err == nil {
		return Done
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Code != 0 {
		return Lookup(e.Code).Effect
	}
	if e, ok := errors.AsType[*TransportError](err); ok && !e.Written {
		return NotDone
	}
	if _, ok := errors.AsType[*RequestError](err); ok {
		return NotDone
	}
	return Unknown
}

// Retry is whether, and how, CloseRoom may be called again after an error. All
// but Never imply that the failed call did nothing.
type Retry string

const (
	Never    Retry = "never"     // a repeat is useless, or might close a room a second time
	Resign   Retry = "resign"    // once, as a new call, which has a new signature
	SlowDown Retry = "slow down" // later: the app as a whole calls too fast
	SlowRoom Retry = "slow room" // later: this room is called too fast, others are not
	Later    Retry = "later"     // when ZEGO can be reached again
)

// RetryOf returns whether CloseRoom may be called again after err.
func RetryOf(err error) Retry {
	if e, ok := errors.AsType[*Error](err); ok {
		return Lookup(e.Code).Retry
	}
	if e, ok := errors.AsType[*TransportError](err); ok && !e.Written {
		return Later
	}
	return Never
}
