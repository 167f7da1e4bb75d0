package slacksim

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// Slack keeps text in one form: three entities, control sequences in <…>, emoji as :codes: (messaging/formatting-message-text).
// How eager it is depends on where the text stands.
type reading struct {
	urls  bool // bare URLs become <…>
	names bool // @name, #name, @channel become live
}

// maxText is where chat.postMessage truncates, in characters.
const maxText = 40_000

var (
	// control is what may stand between < and >.
	control = regexp.MustCompile(`^(?:@[A-Z0-9]+(?:\|[^<>]*)?|#[A-Z0-9]+(?:\|[^<>]*)?|!(?:here|channel|everyone|subteam\^[A-Z0-9]+|date\^[^<>]+)(?:\|[^<>]*)?|(?:https?|mailto|tel|slack):[^<>|]+(?:\|[^<>]*)?)$`)
	bareURL = regexp.MustCompile(`^https?://[^\s<>|"]+`)
	name    = regexp.MustCompile(`^[@#][\pL\pN][\pL\pN._-]*`)
)

// emoji maps the few characters a bot is likely to meet to Slack's codes; others stay as they are.
var emoji = map[string]string{
	"😀": "grinning", "😂": "joy", "🙂": "slightly_smiling_face", "😉": "wink", "😍": "heart_eyes", "😢": "cry", "😡": "rage",
	"👍": "+1", "👎": "-1", "👏": "clap", "🙏": "pray", "👀": "eyes", "🎉": "tada", "🔥": "fire", "🚀": "rocket", "💀": "skull",
	"✅": "white_check_mark", "❌": "x", "⚠️": "warning", "⚠": "warning", "⛔": "no_entry", "🚫": "no_entry_sign",
	"❓": "question", "❗": "exclamation", "⏳": "hourglass_flowing_sand", "⌛": "hourglass", "⏱️": "stopwatch", "⏰": "alarm_clock",
	"🔒": "lock", "🔓": "unlock", "🔔": "bell", "📝": "memo", "📋": "clipboard", "🗑️": "wastebasket", "🛑": "octagonal_sign",
	"🟢": "large_green_circle", "🟡": "large_yellow_circle", "🔴": "red_circle", "⚪": "white_circle", "❤️": "heart", "⭐": "star",
	"💩": "poop", "🤖": "robot_face", "👋": "wave", "🇩🇪": "flag-de", "🇺🇸": "us",
}

var emojiByCode = invert(emoji)

func invert(m map[string]string) map[string]string {
	inv := make(map[string]string, len(m))
	for char, code := range m {
		if old, ok := inv[code]; !ok || len(char) > len(old) {
			inv[code] = char
		}
	}
	return inv
}

var emojiToCode = func() *strings.Replacer {
	var pairs []string
	for char, code := range emoji {
		if strings.HasSuffix(char, "\ufe0f") { // the longer form first
			pairs = append(pairs, char, ":"+code+":")
		}
	}
	for char, code := range emoji {
		if !strings.HasSuffix(char, "\ufe0f") {
			pairs = append(pairs, char, ":"+code+":")
		}
	}
	return strings.NewReplacer(pairs...)
}()

// sanitise brings text into the form Slack keeps. The caller holds mu.
func (w *Workspace) sanitise(s string, how reading) string {
	plain := !strings.ContainsAny(s, "&<>:@#")
	if !plain {
		s = w.markUp(s, how)
	}
	return codes(s)
}

// codes replaces emoji characters by their codes.
func codes(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return emojiToCode.Replace(s)
		}
	}
	return s
}

func (w *Workspace) markUp(s string, how reading) string {
	var out strings.Builder
	wordStart := true
	for i := 0; i < len(s); {
		rest := s[i:]
		switch c := rest[0]; {
		case c == '<':
			if end := strings.IndexAny(rest[1:], "<>"); end >= 0 && rest[1+end] == '>' && control.MatchString(rest[1:1+end]) {
				out.WriteString("<" + entities(rest[1:1+end]) + ">")
				i += end + 2
			} else {
				out.WriteString("&lt;")
				i++
			}
			wordStart = true
			continue
		case c == '>':
			out.WriteString("&gt;")
			i++
			wordStart = true
			continue
		case c == '&':
			entity := "&amp;"
			for _, known := range []string{"&amp;", "&lt;", "&gt;"} {
				if strings.HasPrefix(rest, known) {
					i += len(known) - 1
					entity = known
				}
			}
			out.WriteString(entity)
			i++
			continue
		case c == 'h' && how.urls && wordStart:
			if url := strings.TrimRight(bareURL.FindString(rest), ".,;:!?)'"); len(url) > len("https://") {
				out.WriteString("<" + entities(url) + ">")
				i += len(url)
				wordStart = false
				continue
			}
		case (c == '@' || c == '#') && how.names && wordStart:
			word := strings.TrimRight(name.FindString(rest), "._-")
			if live := w.mention(word); live != "" {
				out.WriteString(live)
				i += len(word)
				wordStart = false
				continue
			}
		}
		_, size := utf8.DecodeRuneInString(rest)
		out.WriteString(rest[:size])
		wordStart = strings.ContainsRune(" \t\n\r([{\"'*_~|", rune(rest[0]))
		i += size
	}
	return out.String()
}

// entities escapes & in a sequence that is kept whole.
func entities(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "&amp;", "&"), "&", "&amp;")
}

// mention turns @name or #name into its live form, or returns nothing.
func (w *Workspace) mention(word string) string {
	if len(word) < 2 {
		return ""
	}
	key := word[1:]
	if word[0] == '#' {
		if r := w.byName[key]; r != nil {
			return "<#" + r.ID + "|" + key + ">"
		}
		return ""
	}
	switch key {
	case "channel", "here", "everyone":
		return "<!" + key + ">"
	}
	for _, u := range w.users {
		if u.Name == key {
			return "<@" + u.ID + ">"
		}
	}
	for _, g := range w.groups {
		if g.Handle == key {
			return "<!subteam^" + g.ID + ">"
		}
	}
	return ""
}

var (
	unescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")
	escape   = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
)

// truncate cuts after n characters.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
