package zego

import (
	"encoding/json"
	"errors"
	"strconv"
)

// envelope is what every answer consists of ("Accessing Server APIs"). Data is
// there only for the actions that return something.
type envelope struct {
	Code      int
	Message   string
	RequestID string
	Data      json.RawMessage
}

// parseEnvelope accepts a whole JSON object with an integer Code and nothing
// behind it. Names are compared exactly. Message and RequestId are for people:
// an odd one is dropped rather than costing us a clear Code.
func parseEnvelope(body []byte) (envelope, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return envelope{}, errors.New("the answer is not a JSON object")
	}
	raw, ok := fields["Code"]
	if !ok {
		return envelope{}, errors.New("the answer has no Code")
	}
	code, err := strconv.ParseInt(string(raw), 10, 32)
	if err != nil {
		return envelope{}, errors.New("the answer's Code is not a 32-bit integer")
	}
	return envelope{
		Code:      int(code),
		Message:   text(fields["Message"]),
		RequestID: text(fields["RequestId"]),
		Data:      fields["Data"],
	}, nil
}

// text returns a JSON string's content or a JSON number's digits as they
// stand, which keeps all 19 digits of a RequestId; else nothing.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}
