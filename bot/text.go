package bot

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack"
)

// A line is a row of spans. It has two forms that say the same: a rich text section, in
// which untrusted text is literal and cannot become a mention, a link or formatting; and
// the fallback text of the message, in which the same text is escaped. Search, screen
// readers and notifications use the fallback.
type line []span

// span is a piece of a line: literal text, or something that Slack renders itself.
type span struct {
	element  slack.RichTextSectionElement
	fallback string
}

var (
	boldStyle = &slack.RichTextSectionTextStyle{Bold: true}
	codeStyle = &slack.RichTextSectionTextStyle{Code: true}
)

// say is plain words, ours or anybody's.
func say(format string, args ...any) span {
	return literal(fmt.Sprintf(format, args...), nil)
}

func bold(format string, args ...any) span {
	return literal(fmt.Sprintf(format, args...), boldStyle)
}

// room shows a room id so that every byte can be told.
func room(id string) span { return literal(visible(id), codeStyle) }

func literal(s string, style *slack.RichTextSectionTextStyle) span {
	return span{slack.NewRichTextSectionTextElement(s, style), escape(s)}
}

// user mentions a person by id: Slack shows the name they have today.
func user(id string) span {
	return span{slack.NewRichTextSectionUserElement(id, nil), "<@" + id + ">"}
}

func channel(id string) span {
	return span{slack.NewRichTextSectionChannelElement(id, nil), "<#" + id + ">"}
}

func emoji(name string) span {
	return span{slack.NewRichTextSectionEmojiElement(name, 0, nil), ":" + name + ":"}
}

func link(url, words string) span {
	return span{slack.NewRichTextSectionLinkElement(url, words, nil), "<" + url + "|" + escape(words) + ">"}
}

// Slack's date tokens show a time in each reader's own zone ("Formatting text for app surfaces").
const (
	clock   = "{time_secs}"
	dayTime = "{date_short_pretty}, {time_secs}"
)

// at shows a time in the reader's own zone, in UTC where Slack cannot.
func at(t time.Time, format string) span {
	utc := t.UTC().Format("15:04:05 UTC")
	if format == dayTime {
		utc = t.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	return span{
		slack.NewRichTextSectionDateElement(t.Unix(), format, nil, &utc),
		fmt.Sprintf("<!date^%d^%s|%s>", t.Unix(), format, utc),
	}
}

// section renders lines as one rich text section, with line breaks between them.
func section(lines ...line) *slack.RichTextSection {
	var es []slack.RichTextSectionElement
	for i, l := range lines {
		if i > 0 {
			es = append(es, slack.NewRichTextSectionTextElement("\n", nil))
		}
		for _, s := range l {
			es = append(es, s.element)
		}
	}
	return slack.NewRichTextSection(es...)
}

// fallback renders lines as escaped text.
func fallback(lines ...line) string {
	var b strings.Builder
	for i, l := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, s := range l {
			b.WriteString(s.fallback)
		}
	}
	return b.String()
}

// How Slack encodes text ("Formatting text for app surfaces"): three characters, and none
// else. Each takes one pass, so that an encoded & never joins what follows it into another
// entity.
var (
	encoded = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	decoded = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")
)

// escape makes s literal in the text field of a message.
func escape(s string) string { return encoded.Replace(s) }

// visible spells out characters that cannot be seen or that change how others are seen:
// controls and bidirectional marks become \u202E and the like.
func visible(s string) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&b, `\u%04X`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// visibleLines is visible for text of several lines.
func visibleLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = visible(strings.ReplaceAll(l, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// hidden reports whether r is a control character, a zero-width one, or one that reorders text.
func hidden(r rune) bool {
	switch {
	case unicode.IsControl(r):
		return true
	case r == '\u061C', '\u200B' <= r && r <= '\u200F' && r != '\u200C' && r != '\u200D',
		'\u2028' <= r && r <= '\u202E', '\u2060' <= r && r <= '\u206F', r == '\uFEFF', r == utf8.RuneError:
		return true
	case 0xE0000 <= r && r <= 0xE007F: // tags
		return true
	}
	return false
}

// cut shortens s to at most n runes, saying so.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	rs := []rune(s)
	return string(rs[:n-1]) + "…"
}

// took formats a duration for people.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "under 1 ms"
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return d.Round(time.Second).String()
	}
}

// people counts people in words.
func people(n int) string {
	switch n {
	case 0:
		return "nobody"
	case 1:
		return "1 person"
	default:
		return fmt.Sprintf("%d people", n)
	}
}
