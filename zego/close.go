package zego

import (
	"context"
	"fmt"
)

// CloseRoomRequest names a room to close.
type CloseRoomRequest struct {
	// RoomID is sent byte for byte, whatever characters it has.
	RoomID string

	// CustomReason reaches everyone who is in the room. At most
	// MaxReasonBytes; see TruncateReason.
	CustomReason string

	// RoomCloseCallback asks ZEGO for a room_close event about this close at
	// the app's callback URL. Sent only when true.
	RoomCloseCallback bool

	// OnWritten, if not nil, is called at most once, while CloseRoom runs, when
	// the whole request is on the wire: the moment from which ZEGO's limit of
	// one call a second counts. It may run on another goroutine and must not
	// block. A request that was lost half-way never calls it.
	OnWritten func()
}

// Answer is what ZEGO said about a call that succeeded.
type Answer struct {
	RequestID string // names the call to ZEGO's support
	Message   string // for people; no meaning may be read into it
}

// CloseRoom throws everybody out of a room and closes it. It returns no error
// only when ZEGO answered Code 0; what an error means for the room is
// EffectOf's to say. Nothing keeps people from logging in again right away,
// which makes a new room of the same name.
func (c Client) CloseRoom(ctx context.Context, r CloseRoomRequest) (Answer, error) {
	const action = "CloseRoom"
	if err := checkRoomID(action, r.RoomID); err != nil {
		return Answer{}, err
	}
	if n := len(r.CustomReason); n > MaxReasonBytes {
		return Answer{}, &RequestError{Action: action, Problem: fmt.Sprintf("the reason has %d bytes, %d at most", n, MaxReasonBytes)}
	}
	params := []param{{"RoomId", r.RoomID}}
	if r.CustomReason != "" {
		params = append(params, param{"CustomReason", r.CustomReason})
	}
	if r.RoomCloseCallback {
		params = append(params, param{"RoomCloseCallback", "true"})
	}
	answer, err := c.call(ctx, action, params, r.OnWritten)
	return Answer{RequestID: answer.RequestID, Message: answer.Message}, err
}
