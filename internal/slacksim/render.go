package slacksim

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Render shows a message as plain text, the way this viewer reads it: mentions and dates resolved, formatting carried
// out (so that *x* in mrkdwn loses its stars), buttons as [ Close room ]. Whether an "@channel" in it is live or mere
// text, [Workspace.Mentions] tells. The viewer's clock counts 24 hours in their own zone.
func (w *Workspace) Render(m Message, viewer string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newReader(viewer).message(m)
}

// Mentions lists what is live in a message, in order: "@alice", "@channel", "@moderators", "#ops". What is only text
// that looks like it is not in the list.
func (w *Workspace) Mentions(m Message) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.newReader("")
	r.message(m)
	return r.mentions
}

// A reader turns messages into what one person reads. The workspace's mu is held throughout.
type reader struct {
	w        *Workspace
	zone     *time.Location
	mentions []string
}

func (w *Workspace) newReader(viewer string) *reader {
	r := &reader{w: w, zone: time.UTC}
	if u := w.users[viewer]; u != nil && u.Location != nil {
		r.zone = u.Location
	}
	return r
}

func (r *reader) message(m Message) string {
	var lines []string
	var blocks []object
	if len(m.Blocks) > 0 && json.Unmarshal(m.Blocks, &blocks) == nil {
		for _, b := range blocks {
			if s := r.block(b); s != "" {
				lines = append(lines, s)
			}
		}
	} else if m.Text != "" {
		lines = append(lines, r.mrkdwn(m.Text))
	}
	out := strings.Join(lines, "\n")
	if m.EditedBy != "" {
		out += " (edited)"
	}
	return out
}

func get(m object, key string) string { s, _ := m[key].(string); return s }

func children(m object, key string) []object {
	list, _ := m[key].([]any)
	var out []object
	for _, v := range list {
		if m, ok := v.(object); ok {
			out = append(out, m)
		}
	}
	return out
}

func (r *reader) block(b object) string {
	switch get(b, "type") {
	case "section":
		var lines []string
		if text, ok := b["text"].(object); ok {
			lines = append(lines, r.text(text))
		}
		for _, f := range children(b, "fields") {
			lines = append(lines, r.text(f))
		}
		out := strings.Join(lines, "\n")
		if accessory, ok := b["accessory"].(object); ok {
			out += "  " + r.element(accessory)
		}
		return out
	case "header":
		text, _ := b["text"].(object)
		return r.text(text)
	case "divider":
		return "────────"
	case "context", "actions":
		var parts []string
		for _, e := range children(b, "elements") {
			parts = append(parts, r.element(e))
		}
		return strings.Join(parts, "  ")
	case "image":
		return r.element(b)
	case "markdown":
		return r.emoji(get(b, "text"))
	case "rich_text":
		var parts []string
		for _, e := range children(b, "elements") {
			parts = append(parts, strings.TrimSuffix(r.rich(e), "\n"))
		}
		return strings.Join(parts, "\n")
	}
	return "[" + get(b, "type") + "]"
}

func (r *reader) element(e object) string {
	switch get(e, "type") {
	case "plain_text", "mrkdwn":
		return r.text(e)
	case "image":
		return "[image: " + get(e, "alt_text") + "]"
	case "button":
		text, _ := e["text"].(object)
		return "[ " + r.text(text) + " ]"
	}
	return "[" + get(e, "type") + "]"
}

func (r *reader) text(t object) string {
	s := get(t, "text")
	if get(t, "type") == "mrkdwn" {
		return r.mrkdwn(s)
	}
	if t["emoji"] == true {
		s = r.emoji(s)
	}
	if r.w.cfg.PlainTextEntities {
		s = unescape.Replace(s)
	}
	return s
}

var (
	emojiCode = regexp.MustCompile(`:[a-z0-9_+-]+:`)
	sequence  = regexp.MustCompile(`<[^<>]+>`)
	code      = regexp.MustCompile("(?s)```\\n?(.+?)\\n?```|`([^`\\n]+)`")
	// styles are mrkdwn's marks, which work at word boundaries only.
	styles = []*regexp.Regexp{
		regexp.MustCompile(`(^|[\s(\[{"'.,:;>_~|-])\*([^\s*](?:[^*\n]*[^\s*])?)\*($|[\s)\]}"'.,:;!?_~<|-])`),
		regexp.MustCompile(`(^|[\s(\[{"'.,:;>*~|-])_([^\s_](?:[^_\n]*[^\s_])?)_($|[\s)\]}"'.,:;!?*~<|-])`),
		regexp.MustCompile(`(^|[\s(\[{"'.,:;>*_|-])~([^\s~](?:[^~\n]*[^\s~])?)~($|[\s)\]}"'.,:;!?*_<|-])`),
	}
	// inside code the marks mean nothing; meanwhile they are characters that no font has.
	shelter = strings.NewReplacer("*", "\ue000", "_", "\ue001", "~", "\ue002", ":", "\ue003")
	unveil  = strings.NewReplacer("\ue000", "*", "\ue001", "_", "\ue002", "~", "\ue003", ":")
)

func (r *reader) emoji(s string) string {
	if !strings.Contains(s, ":") {
		return s
	}
	return emojiCode.ReplaceAllStringFunc(s, func(code string) string {
		if char := emojiByCode[strings.Trim(code, ":")]; char != "" {
			return char
		}
		return code
	})
}

// mrkdwn resolves formatting and control sequences.
func (r *reader) mrkdwn(s string) string {
	s = code.ReplaceAllStringFunc(s, func(span string) string {
		return shelter.Replace(code.ReplaceAllString(span, "$1$2"))
	})
	for _, style := range styles {
		s = style.ReplaceAllString(s, "$1$2$3")
	}
	s = unveil.Replace(r.emoji(s))
	s = sequence.ReplaceAllStringFunc(s, func(seq string) string { return r.sequence(seq[1 : len(seq)-1]) })
	return unescape.Replace(s)
}

// sequence resolves what stands between < and >.
func (r *reader) sequence(s string) string {
	body, label, _ := strings.Cut(s, "|")
	switch {
	case strings.HasPrefix(body, "@"):
		return r.user(body[1:])
	case strings.HasPrefix(body, "#"):
		return r.channel(body[1:])
	case strings.HasPrefix(body, "!subteam^"):
		return r.group(strings.TrimPrefix(body, "!subteam^"))
	case strings.HasPrefix(body, "!date^"):
		parts := strings.Split(strings.TrimPrefix(body, "!date^"), "^")
		at, err := strconv.ParseInt(parts[0], 10, 64)
		if err != nil || len(parts) < 2 {
			return label
		}
		return r.date(at, parts[1])
	case strings.HasPrefix(body, "!"):
		return r.live("@" + body[1:])
	case label != "":
		return label
	}
	return strings.TrimPrefix(body, "mailto:")
}

func (r *reader) live(mention string) string {
	r.mentions = append(r.mentions, mention)
	return mention
}

func (r *reader) user(id string) string {
	if u := r.w.users[id]; u != nil {
		return r.live("@" + u.Name)
	}
	return r.live("@" + id)
}

func (r *reader) channel(id string) string {
	room := r.w.byID[id]
	switch {
	case room == nil || room.Name == "":
		return r.live("#" + id)
	case room.Kind != Public:
		return r.live("#private-channel")
	}
	return r.live("#" + room.Name)
}

func (r *reader) group(id string) string {
	if g := r.w.groups[id]; g != nil {
		return r.live("@" + g.Handle)
	}
	return r.live("@" + id)
}

// date fills in a date format (messaging/formatting-message-text, "date formatting").
func (r *reader) date(unix int64, format string) string {
	at, now := time.Unix(unix, 0).In(r.zone), r.w.now().In(r.zone)
	pretty := func(otherwise string) string {
		switch at.Format(time.DateOnly) {
		case now.Format(time.DateOnly):
			return "today"
		case now.AddDate(0, 0, -1).Format(time.DateOnly):
			return "yesterday"
		case now.AddDate(0, 0, 1).Format(time.DateOnly):
			return "tomorrow"
		}
		return otherwise
	}
	suffix := strconv.Itoa(at.Day()) + ordinal(at.Day())
	date := at.Format("January ") + suffix + at.Format(", 2006")
	long := at.Format("Monday, ") + date
	short := at.Format("Jan 2, 2006")
	return strings.NewReplacer(
		"{date_num}", at.Format(time.DateOnly), "{date_slash}", at.Format("2006/01/02"),
		"{date_short_pretty}", pretty(short), "{date_long_pretty}", pretty(long), "{date_pretty}", pretty(date),
		"{date_short}", short, "{date_long}", long, "{date}", date,
		"{time_secs}", at.Format("15:04:05"), "{time}", at.Format("15:04"), "{ago}", ago(now.Sub(at)),
	).Replace(format)
}

func ordinal(day int) string {
	switch {
	case day%10 == 1 && day != 11:
		return "st"
	case day%10 == 2 && day != 12:
		return "nd"
	case day%10 == 3 && day != 13:
		return "rd"
	}
	return "th"
}

func ago(d time.Duration) string {
	unit := func(n int, name string) string {
		if n != 1 {
			name += "s"
		}
		return fmt.Sprintf("%d %s ago", n, name)
	}
	switch {
	case d < 0:
		return "in the future"
	case d < time.Minute:
		return unit(int(d.Seconds()), "second")
	case d < time.Hour:
		return unit(int(d.Minutes()), "minute")
	case d < 24*time.Hour:
		return unit(int(d.Hours()), "hour")
	}
	return unit(int(d.Hours()/24), "day")
}

// rich shows an element of a rich_text block.
func (r *reader) rich(e object) string {
	switch get(e, "type") {
	case "rich_text_list":
		var out strings.Builder
		depth, _ := e["indent"].(float64)
		offset, _ := e["offset"].(float64)
		for i, item := range children(e, "elements") {
			mark := "• "
			if get(e, "style") == "ordered" {
				mark = fmt.Sprintf("%d. ", i+1+int(offset))
			}
			out.WriteString(strings.Repeat("    ", int(depth)) + mark + strings.TrimSuffix(r.rich(item), "\n") + "\n")
		}
		return out.String()
	case "rich_text_quote":
		return prefixed("> ", r.leaves(e))
	case "rich_text_preformatted":
		return prefixed("    ", r.leaves(e))
	}
	return r.leaves(e)
}

func prefixed(prefix, s string) string {
	return prefix + strings.ReplaceAll(s, "\n", "\n"+prefix)
}

func (r *reader) leaves(e object) string {
	var out strings.Builder
	for _, leaf := range children(e, "elements") {
		out.WriteString(r.leaf(leaf))
	}
	return out.String()
}

func (r *reader) leaf(e object) string {
	switch get(e, "type") {
	case "text":
		return get(e, "text")
	case "link":
		if text := get(e, "text"); text != "" {
			return text
		}
		return get(e, "url")
	case "user":
		return r.user(get(e, "user_id"))
	case "usergroup":
		return r.group(get(e, "usergroup_id"))
	case "channel":
		return r.channel(get(e, "channel_id"))
	case "broadcast":
		return r.live("@" + get(e, "range"))
	case "emoji":
		return r.emoji(":" + get(e, "name") + ":")
	case "date":
		at, ok := e["timestamp"].(float64)
		if !ok {
			return get(e, "fallback")
		}
		return r.date(int64(at), get(e, "format"))
	case "color":
		return get(e, "value")
	}
	return ""
}

// ButtonLabels lists what a message's buttons say, in order.
func (m Message) ButtonLabels() []string {
	var labels []string
	for _, b := range buttons(m.Blocks) {
		labels = append(labels, b.Text)
	}
	return slices.Clip(labels)
}
