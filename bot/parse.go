package bot

import (
	"fmt"
	"strings"
	"unicode"

	"zegoclose/zego"
)

// TextMode says how Slack delivers what was typed after the command. Its documentation
// and its clients disagree on whether & < > arrive entity-encoded.
type TextMode string

const (
	TextAuto    TextMode = "auto"    // decode once if the text has no bare & < >, so that it can be encoded text
	TextEncoded TextMode = "encoded" // always decode once
	TextRaw     TextMode = "raw"     // never decode
)

// Valid reports whether m is one of the three.
func (m TextMode) Valid() bool { return m == TextAuto || m == TextEncoded || m == TextRaw }

// typed returns what the person typed.
func (m TextMode) typed(text string) string {
	if m == TextRaw || m == TextAuto && bare(text) {
		return text
	}
	return decoded.Replace(text)
}

// bare reports whether text has a & < or > that is not part of an entity.
func bare(text string) bool {
	if strings.ContainsAny(text, "<>") {
		return true
	}
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "&")
		if !found {
			return false
		}
		if !strings.HasPrefix(after, "amp;") && !strings.HasPrefix(after, "lt;") && !strings.HasPrefix(after, "gt;") {
			return true
		}
		rest = after
	}
}

// order is what a command asks for.
type order struct {
	help   bool
	room   string // byte for byte
	reason string // whole, without white space around it
}

// parseOrder splits what was typed: the first word is the room id, the rest the reason.
// Any Unicode white space separates. A problem is told to the person in its words.
func parseOrder(typed string) (o order, problem string) {
	o.room = strings.TrimSpace(typed)
	if i := strings.IndexFunc(o.room, unicode.IsSpace); i >= 0 {
		o.room, o.reason = o.room[:i], strings.TrimSpace(o.room[i:])
	}
	if o.room == "" || strings.EqualFold(o.room, "help") {
		return order{help: true}, "" // whatever follows "help" is echoed
	}
	if n := len(o.room); n > zego.MaxRoomIDBytes {
		return o, fmt.Sprintf("That room id has %d bytes; ZEGO's have at most %d. The first word is the room id, the rest is the reason: check for a missing space.", n, zego.MaxRoomIDBytes)
	}
	if strings.ContainsRune(o.room, 0) {
		return o, "That room id contains a NUL character, which no room of ZEGO's can have. Type it again instead of pasting it."
	}
	o.reason = strings.ReplaceAll(o.reason, "\x00", "")
	return o, ""
}
