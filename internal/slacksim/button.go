package slacksim

import "encoding/json"

// A Button is a button of a message, as somebody looking at it sees it.
type Button struct {
	BlockID  string      `json:"block_id"`
	ActionID string      `json:"action_id"`
	Text     string      `json:"text"`
	Value    string      `json:"value,omitempty"`
	Style    string      `json:"style,omitempty"`
	URL      string      `json:"url,omitempty"`
	State    ButtonState `json:"state,omitempty"` // of the latest click
	raw      object
}

// ButtonState is what shows at a button after a click.
type ButtonState string

// The states of a button.
const (
	Untouched ButtonState = ""
	Pending   ButtonState = "pending" // the spinner
	Pressed   ButtonState = "acked"
	Warned    ButtonState = "warning" // the warning sign
)

// buttons lists the buttons in kept blocks.
func buttons(blocks json.RawMessage) []Button {
	var list []object
	if len(blocks) == 0 || json.Unmarshal(blocks, &list) != nil {
		return nil
	}
	var found []Button
	for _, b := range list {
		elements, _ := b["elements"].([]any)
		if b["accessory"] != nil {
			elements = []any{b["accessory"]}
		}
		for _, e := range elements {
			m, _ := e.(object)
			if m["type"] != "button" {
				continue
			}
			label, _ := m["text"].(object)
			found = append(found, Button{
				BlockID: get(b, "block_id"), ActionID: get(m, "action_id"), Text: get(label, "text"), Value: get(m, "value"),
				Style: get(m, "style"), URL: get(m, "url"), raw: m,
			})
		}
	}
	return found
}

// Buttons lists the buttons a message has now, with the state of the latest click on each.
func (w *Workspace) Buttons(channel, ts string) []Button {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.byID[channel]
	if r == nil || r.find(ts) == nil {
		return nil
	}
	m := r.find(ts)
	list := buttons(m.Blocks)
	for i, b := range list {
		if d := m.clicks[b.BlockID+"/"+b.ActionID]; d != nil {
			list[i].State = d.buttonState()
		}
	}
	return list
}
