package slacksim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Block Kit: what Slack checks (reference/block-kit) and how it keeps what passed. Blocks and elements not named here
// are refused as unsupported.

// Limits of Block Kit, in characters or pieces.
const (
	maxBlocks      = 50
	maxViewBlocks  = 100
	maxID          = 255
	maxAllText     = 13_200 // all blocks together; undocumented, seen in the field
	maxMarkdown    = 12_000
	maxAttachments = 100
)

type object = map[string]any

// A checker walks through the blocks of one message or view, collects what is wrong, fills in ids and sanitises text.
type checker struct {
	w        *Workspace
	problems []string
	ids      map[string]bool // block ids seen
	actions  map[string]bool // action ids seen in the current block
	chars    int
	markdown int
	view     bool // inputs are allowed
	richText bool // a rich_text block was seen
}

// checkBlocks reads a JSON array of blocks. A nil error comes with the form Slack keeps; nil for no blocks at all.
func (w *Workspace) checkBlocks(raw json.RawMessage, view bool) (json.RawMessage, *apiError) {
	var blocks []any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&blocks); err != nil || dec.More() {
		return nil, &apiError{code: "invalid_blocks_format"}
	}
	if len(blocks) == 0 {
		return nil, nil
	}
	k := &checker{w: w, ids: map[string]bool{}, view: view}
	limit := maxBlocks
	if view {
		limit = maxViewBlocks
	}
	if len(blocks) > limit {
		k.problem("/blocks", "no more than %d items allowed", limit)
	}
	for i, b := range blocks {
		k.block(b, fmt.Sprintf("/blocks/%d", i))
	}
	if k.markdown > maxMarkdown {
		k.problem("/blocks", "markdown text is longer than %d characters", maxMarkdown)
	}
	if len(k.problems) > 0 {
		return nil, &apiError{code: "invalid_blocks", messages: k.problems, violation: OverLimit}
	}
	if k.chars > maxAllText {
		return nil, &apiError{code: "msg_blocks_too_long", violation: OverLimit}
	}
	kept, err := marshal(blocks)
	if err != nil {
		return nil, &apiError{code: "invalid_blocks_format"}
	}
	return kept, nil
}

// marshal writes JSON without escaping < > & for HTML.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimRight(buf.Bytes(), "\n"), err
}

func (k *checker) problem(at, format string, args ...any) {
	k.problems = append(k.problems, fmt.Sprintf("[ERROR] %s [json-pointer:%s]", fmt.Sprintf(format, args...), at))
}

func (k *checker) object(v any, at string) (object, bool) {
	m, ok := v.(object)
	if !ok {
		k.problem(at, "must be an object")
	}
	return m, ok
}

// keys complains about properties beyond the allowed ones.
func (k *checker) keys(m object, at string, allowed ...string) {
	for key := range m {
		if key != "type" && !slices.Contains(allowed, key) {
			k.problem(at, "invalid additional property: %s", key)
		}
	}
}

// str checks a string property's length; it may be absent unless required.
func (k *checker) str(m object, key, at string, required bool, limit int) string {
	v, present := m[key]
	if !present {
		if required {
			k.problem(at, "missing required field: %s", key)
		}
		return ""
	}
	s, ok := v.(string)
	at += "/" + key
	switch n := utf8.RuneCountInString(s); {
	case !ok:
		k.problem(at, "must be a string")
	case n == 0 && required:
		k.problem(at, "must be more than 0 characters")
	case n > limit:
		k.problem(at, "must be less than %d characters", limit+1)
	}
	return s
}

func (k *checker) list(m object, key, at string, least, most int) []any {
	list, ok := m[key].([]any)
	switch {
	case m[key] == nil:
		k.problem(at, "missing required field: %s", key)
	case !ok:
		k.problem(at+"/"+key, "must be an array")
	case len(list) < least:
		k.problem(at+"/"+key, "no less than %d items required", least)
	case len(list) > most:
		k.problem(at+"/"+key, "no more than %d items allowed", most)
	}
	return list
}

func (k *checker) block(v any, at string) {
	m, ok := k.object(v, at)
	if !ok {
		return
	}
	if id := k.str(m, "block_id", at, false, maxID); id == "" {
		m["block_id"] = k.w.shortID()
	} else if k.ids[id] {
		k.problem(at+"/block_id", "block_id %q already exists", id)
	} else {
		k.ids[id] = true
	}
	k.actions = map[string]bool{}
	switch kind, _ := m["type"].(string); kind {
	case "section":
		k.keys(m, at, "block_id", "text", "fields", "accessory", "expand")
		if m["text"] == nil && m["fields"] == nil {
			k.problem(at, "missing required field: text")
		}
		if m["text"] != nil {
			k.text(m, "text", at, 3000, "")
		}
		if m["fields"] != nil {
			for i, f := range k.list(m, "fields", at, 1, 10) {
				k.textObject(f, fmt.Sprintf("%s/fields/%d", at, i), 2000, "")
			}
		}
		if m["accessory"] != nil {
			k.element(m["accessory"], at+"/accessory")
		}
	case "header":
		k.keys(m, at, "block_id", "text", "level")
		k.text(m, "text", at, 150, "plain_text")
	case "divider":
		k.keys(m, at, "block_id")
	case "context":
		k.keys(m, at, "block_id", "elements")
		for i, e := range k.list(m, "elements", at, 1, 10) {
			at := fmt.Sprintf("%s/elements/%d", at, i)
			if m, _ := e.(object); m != nil && m["type"] == "image" {
				k.image(m, at)
			} else {
				k.textObject(e, at, 3000, "")
			}
		}
	case "actions":
		k.keys(m, at, "block_id", "elements")
		for i, e := range k.list(m, "elements", at, 1, 25) {
			k.element(e, fmt.Sprintf("%s/elements/%d", at, i))
		}
	case "image":
		k.image(m, at)
	case "markdown":
		k.keys(m, at, "block_id", "text")
		s := k.str(m, "text", at, true, maxMarkdown)
		k.markdown += utf8.RuneCountInString(s)
		m["text"] = codes(s)
	case "rich_text":
		k.richText = true
		k.keys(m, at, "block_id", "elements")
		for i, e := range k.list(m, "elements", at, 0, 1000) {
			k.richElement(e, fmt.Sprintf("%s/elements/%d", at, i))
		}
	case "input":
		if !k.view {
			k.problem(at+"/type", "unsupported type: input")
			return
		}
		k.keys(m, at, "block_id", "label", "element", "hint", "optional", "dispatch_action")
		k.text(m, "label", at, 2000, "plain_text")
		k.element(m["element"], at+"/element")
	default:
		k.problem(at+"/type", "unsupported type: %s", kind)
	}
}

func (k *checker) image(m object, at string) {
	k.keys(m, at, "block_id", "image_url", "slack_file", "alt_text", "title")
	if m["slack_file"] == nil {
		k.str(m, "image_url", at, true, 3000)
	}
	k.str(m, "alt_text", at, true, 2000)
	if m["title"] != nil {
		k.text(m, "title", at, 2000, "plain_text")
	}
}

func (k *checker) text(m object, key, at string, limit int, kind string) {
	if m[key] == nil {
		k.problem(at, "missing required field: %s", key)
		return
	}
	k.textObject(m[key], at+"/"+key, limit, kind)
}

// textObject checks a text object; kind "" allows both kinds.
func (k *checker) textObject(v any, at string, limit int, kind string) {
	m, ok := k.object(v, at)
	if !ok {
		return
	}
	s := k.str(m, "text", at, true, limit)
	k.chars += utf8.RuneCountInString(s)
	switch t, _ := m["type"].(string); {
	case kind != "" && t != kind:
		k.problem(at+"/type", "must be %s", kind)
	case t == "plain_text":
		k.keys(m, at, "text", "emoji")
		if m["emoji"] == nil {
			m["emoji"] = true
		}
		if _, ok := m["emoji"].(bool); !ok {
			k.problem(at+"/emoji", "must be a boolean")
		}
		if m["emoji"] == true {
			s = codes(s)
		}
		if k.w.cfg.PlainTextEntities {
			s = escape.Replace(unescape.Replace(s))
		}
		m["text"] = s
	case t == "mrkdwn":
		k.keys(m, at, "text", "verbatim")
		if m["verbatim"] == nil {
			m["verbatim"] = false
		}
		verbatim, ok := m["verbatim"].(bool)
		if !ok {
			k.problem(at+"/verbatim", "must be a boolean")
		}
		m["text"] = k.w.sanitise(s, reading{urls: !verbatim, names: !verbatim && !k.w.cfg.InertNames})
	default:
		k.problem(at+"/type", "unsupported type: %s", t)
	}
}

func (k *checker) element(v any, at string) {
	m, ok := k.object(v, at)
	if !ok {
		return
	}
	kind, _ := m["type"].(string)
	if kind == "image" {
		k.image(m, at)
		return
	}
	if id := k.str(m, "action_id", at, false, maxID); id == "" {
		m["action_id"] = k.w.shortID()
	} else if k.actions[id] {
		k.problem(at+"/action_id", "action_id %q already exists in this block", id)
	} else {
		k.actions[id] = true
	}
	if m["confirm"] != nil {
		k.confirm(m["confirm"], at+"/confirm")
	}
	if m["placeholder"] != nil {
		k.text(m, "placeholder", at, 150, "plain_text")
	}
	switch kind {
	case "button":
		k.keys(m, at, "action_id", "text", "value", "url", "style", "confirm", "accessibility_label")
		k.text(m, "text", at, 75, "plain_text")
		k.str(m, "value", at, false, 2000)
		k.str(m, "url", at, false, 3000)
		k.str(m, "accessibility_label", at, false, 75)
		k.style(m, at)
	case "static_select", "multi_static_select", "overflow", "radio_buttons", "checkboxes":
		most := map[string]int{"overflow": 5, "radio_buttons": 10, "checkboxes": 10}[kind]
		setDefault(&most, 100)
		if m["option_groups"] == nil {
			for i, o := range k.list(m, "options", at, 1, most) {
				k.option(o, fmt.Sprintf("%s/options/%d", at, i))
			}
		}
	case "users_select", "conversations_select", "channels_select", "datepicker", "timepicker", "datetimepicker":
	case "plain_text_input":
		if !k.view {
			k.problem(at+"/type", "unsupported type: %s", kind)
		}
	default:
		k.problem(at+"/type", "unsupported type: %s", kind)
	}
}

func (k *checker) style(m object, at string) {
	if s, present := m["style"]; present && s != "primary" && s != "danger" {
		k.problem(at+"/style", "must be primary or danger")
	}
}

func (k *checker) option(v any, at string) {
	if m, ok := k.object(v, at); ok {
		k.text(m, "text", at, 75, "")
		k.str(m, "value", at, true, 150)
	}
}

func (k *checker) confirm(v any, at string) {
	m, ok := k.object(v, at)
	if !ok {
		return
	}
	k.keys(m, at, "title", "text", "confirm", "deny", "style")
	k.text(m, "title", at, 100, "plain_text")
	k.text(m, "text", at, 300, "")
	k.text(m, "confirm", at, 30, "plain_text")
	k.text(m, "deny", at, 30, "plain_text")
	k.style(m, at)
}

func (k *checker) richElement(v any, at string) {
	m, ok := k.object(v, at)
	if !ok {
		return
	}
	switch kind, _ := m["type"].(string); kind {
	case "rich_text_section", "rich_text_preformatted", "rich_text_quote":
		k.keys(m, at, "elements", "border", "language")
		for i, e := range k.list(m, "elements", at, 0, 1000) {
			k.richLeaf(e, fmt.Sprintf("%s/elements/%d", at, i))
		}
	case "rich_text_list":
		k.keys(m, at, "elements", "style", "indent", "offset", "border")
		if s := m["style"]; s != "bullet" && s != "ordered" {
			k.problem(at+"/style", "must be bullet or ordered")
		}
		for i, e := range k.list(m, "elements", at, 0, 1000) {
			k.richElement(e, fmt.Sprintf("%s/elements/%d", at, i))
		}
	default:
		k.problem(at+"/type", "unsupported type: %s", kind)
	}
}

// richLeaves lists the leaves of rich text with the property each must have.
var richLeaves = map[string]string{
	"text": "text", "link": "url", "user": "user_id", "usergroup": "usergroup_id", "channel": "channel_id",
	"broadcast": "range", "emoji": "name", "date": "timestamp", "color": "value", "team": "team_id",
}

func (k *checker) richLeaf(v any, at string) {
	m, ok := k.object(v, at)
	if !ok {
		return
	}
	kind, _ := m["type"].(string)
	key, known := richLeaves[kind]
	switch {
	case !known:
		k.problem(at+"/type", "unsupported type: %s", kind)
	case kind == "text":
		s := k.str(m, "text", at, true, maxText)
		k.chars += utf8.RuneCountInString(s)
		k.keys(m, at, "text", "style")
	case m[key] == nil:
		k.problem(at, "missing required field: %s", key)
	case kind == "broadcast" && !slices.Contains([]any{"here", "channel", "everyone"}, m["range"]):
		k.problem(at+"/range", "must be here, channel or everyone")
	}
	if style, present := m["style"]; present {
		if m, ok := k.object(style, at+"/style"); ok {
			k.keys(m, at+"/style", "bold", "italic", "strike", "code", "underline", "highlight", "client_highlight", "unlink")
		}
	}
}

// shortID makes a block_id or action_id like Slack's own. The caller holds mu.
func (w *Workspace) shortID() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	var id strings.Builder
	for range 5 {
		id.WriteByte(letters[w.rng.IntN(len(letters))])
	}
	return id.String()
}

// hasRichText reports whether kept blocks hold a rich_text block.
func hasRichText(blocks json.RawMessage) bool {
	var list []struct{ Type string }
	json.Unmarshal(blocks, &list)
	return slices.ContainsFunc(list, func(b struct{ Type string }) bool { return b.Type == "rich_text" })
}
