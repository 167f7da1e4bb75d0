package zego

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// UserNum is how many users a room has at the moment.
type UserNum struct {
	RoomID         string
	UserCount      int // everybody, service users included
	AdminUserCount int // ZEGO's service users: recorders, content moderation
}

// People is the number of human beings in the room. 0 cannot tell a room that
// never existed from one that is empty.
func (n UserNum) People() int { return max(0, n.UserCount-n.AdminUserCount) }

// DescribeUserNum counts the users of 1 to 10 rooms, in the order asked. A room
// that does not exist counts 0. ZEGO allows 10 calls a second for an AppID, 1
// in the test environment.
func (c Client) DescribeUserNum(ctx context.Context, roomIDs ...string) ([]UserNum, error) {
	const action, most = "DescribeUserNum", 10
	if n := len(roomIDs); n < 1 || n > most {
		return nil, &RequestError{Action: action, Problem: fmt.Sprintf("%d rooms asked for, 1 to %d can be", n, most)}
	}
	var params []param
	for _, id := range roomIDs {
		if err := checkRoomID(action, id); err != nil {
			return nil, err
		}
		params = append(params, param{"RoomId[]", id})
	}
	answer, err := c.call(ctx, action, params, nil)
	if err != nil {
		return nil, err
	}
	counts, err := parseUserCounts(answer.Data)
	if err != nil {
		return nil, &TransportError{Action: action, Written: true, Cause: err.Error()}
	}
	nums := make([]UserNum, len(roomIDs))
	for i, id := range roomIDs {
		n, ok := counts[id]
		if !ok {
			return nil, &TransportError{Action: action, Written: true, Cause: "the answer leaves out a room that was asked for"}
		}
		nums[i] = n
	}
	return nums, nil
}

// parseUserCounts insists on every UserCount: one that is merely absent must
// not pass for an empty room.
func parseUserCounts(data json.RawMessage) (map[string]UserNum, error) {
	var d struct {
		UserCountList []struct {
			RoomId         string
			UserCount      *int32
			AdminUserCount int32
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, errors.New("the answer's Data is not a list of user counts")
	}
	counts := make(map[string]UserNum)
	for _, room := range d.UserCountList {
		if room.UserCount == nil || *room.UserCount < 0 || room.AdminUserCount < 0 {
			return nil, errors.New("the answer has no proper UserCount for a room")
		}
		counts[room.RoomId] = UserNum{RoomID: room.RoomId, UserCount: int(*room.UserCount), AdminUserCount: int(room.AdminUserCount)}
	}
	return counts, nil
}
