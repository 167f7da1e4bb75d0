package audit

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Slack does not give back what it was given: links get brackets, mentions get names, an
// emoji becomes its code or a code its emoji, block ids are filled in. Normal undoes that,
// on what was sent and on what is read alike. docs/auditing.md lists the steps.
func Normal(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = forecast.ReplaceAllString(text, "")
	text = bracketed.ReplaceAllStringFunc(text, plainLink)
	text = emojiCode.ReplaceAllString(text, someEmoji)
	text = emojiRun.ReplaceAllString(text, someEmoji)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// someEmoji stands for any emoji: which one is not compared, whether there is one is.
const someEmoji = "□"

var (
	bracketed = regexp.MustCompile(`<[^<>\n]+>`)
	emojiCode = regexp.MustCompile(`:[0-9_+'-]*[a-z][a-z0-9_+'-]*:`)
	emojiRun  = regexp.MustCompile(`[□\x{FE0F}\x{200D}\x{20E3}\x{203C}\x{2049}\x{2122}\x{2139}\x{2194}-\x{21AA}\x{2300}-\x{23FF}\x{2600}-\x{27BF}\x{2B00}-\x{2BFF}\x{3030}\x{303D}\x{1F000}-\x{1FAFF}]+`)
	// forecast is when a waiting card expects its call, which no entry says.
	forecast = regexp.MustCompile(`, about <!date\^\d+\^[^<>]*>`)
)

// plainLink takes the brackets off a link that Slack made of an address, and the name off
// a mention. A link with other words than its address stays whole.
func plainLink(token string) string {
	target, words, labelled := strings.Cut(token[1:len(token)-1], "|")
	switch {
	case strings.HasPrefix(target, "@"), strings.HasPrefix(target, "#"):
		return "<" + target + ">"
	case strings.HasPrefix(target, "!"):
		return token
	case !labelled:
		return target
	case target == words, target == "http://"+words, target == "mailto:"+words, target == "tel:"+words:
		return words
	}
	return token
}

// blocksText reads a message's blocks into the form that its text has. Buttons are left
// out: they come and go.
func blocksText(raw json.RawMessage) string {
	var blocks []block
	if len(raw) == 0 || json.Unmarshal(raw, &blocks) != nil {
		return ""
	}
	var parts []string
	for _, b := range blocks {
		if t := b.String(); t != "" {
			parts = append(parts, t)
		}
	}
	return strings.Join(parts, "\n")
}

// block is a block, or an element of one.
type block struct {
	Type      string          `json:"type"`
	Text      json.RawMessage `json:"text"` // a string, or an object with a text
	Fields    []block         `json:"fields"`
	Elements  []block         `json:"elements"`
	UserID    string          `json:"user_id"`
	ChannelID string          `json:"channel_id"`
	GroupID   string          `json:"usergroup_id"`
	Range     string          `json:"range"`
	Name      string          `json:"name"`
	URL       string          `json:"url"`
	Timestamp int64           `json:"timestamp"`
	Format    string          `json:"format"`
	Fallback  string          `json:"fallback"`
	Style     json.RawMessage `json:"style"`
}

func (b block) String() string {
	switch b.Type {
	case "actions", "divider":
		return ""
	case "text":
		if strings.Contains(string(b.Style), `"strike":true`) {
			return "~" + escape(b.words()) + "~"
		}
		return escape(b.words())
	case "user":
		return "<@" + b.UserID + ">"
	case "channel":
		return "<#" + b.ChannelID + ">"
	case "usergroup":
		return "<!subteam^" + b.GroupID + ">"
	case "broadcast":
		return "<!" + b.Range + ">"
	case "emoji":
		return ":" + b.Name + ":"
	case "link":
		if w := b.words(); w != "" {
			return "<" + b.URL + "|" + escape(w) + ">"
		}
		return "<" + b.URL + ">"
	case "date":
		return fmt.Sprintf("<!date^%d^%s|%s>", b.Timestamp, b.Format, b.Fallback)
	case "rich_text", "rich_text_section", "rich_text_preformatted", "rich_text_quote", "rich_text_list", "context", "section", "header", "plain_text", "mrkdwn":
		t := b.words()
		for i, e := range append(b.Fields, b.Elements...) {
			if i > 0 && b.Type == "rich_text" {
				t += "\n"
			}
			t += e.String()
		}
		return t
	}
	return "[" + b.Type + "]" // something that the bot never sends
}

// words is the text of a block, which is a string or an object.
func (b block) words() string {
	var s string
	if json.Unmarshal(b.Text, &s) == nil {
		return s
	}
	var object block
	if json.Unmarshal(b.Text, &object) == nil {
		return object.words()
	}
	return ""
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// ours matches what only the bot's own posts look like: the head of a card, the fine print
// of a reply, a checkpoint.
var ours = regexp.MustCompile(`^(□ )?#\d+  (Close room\?|Closing |Closed |Nothing closed|Not closed|Not known|No clear answer|Cancelled|Expired)` +
	`|(?m:^)Case #\d+, [^\n]*\d[^\n]*, [0-9a-f]{8}$` +
	`|^(□ )?Checkpoint `)

// looksLikeOurs reports whether somebody could take m for a post of the bot.
func looksLikeOurs(m Message) bool {
	return ours.MatchString(Normal(m.Text)) || ours.MatchString(Normal(blocksText(m.Blocks)))
}
