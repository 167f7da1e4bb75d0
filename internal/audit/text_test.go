package audit

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// What Slack makes of a text is the same text; what a person makes of it is not.
func TestNormal(t *testing.T) {
	for _, same := range [][2]string{
		{"by <@U1>", "by <@U1|alice>"},
		{"in <#C1>", "in <#C1|ops>"},
		{"see http://evil.example now", "see <http://evil.example> now"},
		{"see evil.example now", "see <http://evil.example|evil.example> now"},
		{"mail a@b.c", "mail <mailto:a@b.c|a@b.c>"},
		{"party 🎉!", "party :tada:!"},
		{"hi 👋🏽", "hi :wave::skin-tone-4:"},
		{":white_check_mark: #1", "✅ #1"},
		{"a\r\nb  \nc", "a\nb\nc\n"},
		{"a <!date^1^{time}|x>", "a <!date^1^{time}|x>"},
		{"closing, about <!date^5^{time_secs}|14:02:00 UTC> · by", "closing · by"},
	} {
		assert.Equal(t, Normal(same[0]), Normal(same[1]))
	}
	for _, other := range [][2]string{
		{"live-42", "live-24"}, {"by <@U1>", "by <@U2>"}, {"14:03:10", "14:04:10"}, {"a:1:b", "a:2:b"},
		{"<!date^1^{time}|x>", "<!date^2^{time}|x>"}, {"<!date^1^{time}|x>", "<!date^1^never|x>"},
		{"http://evil.example", "<http://good.example|http://evil.example>"}, {"party", "party 🎉"}, {"&lt;!channel&gt;", "<!channel>"},
	} {
		assert.NotEqual(t, Normal(other[0]), Normal(other[1]))
	}
}

func TestBlocksReadLikeText(t *testing.T) {
	blocks := `[{"type":"rich_text","block_id":"x","elements":[{"type":"rich_text_section","elements":[
		{"type":"emoji","name":"warning"},{"type":"text","text":" #1  "},{"type":"text","text":"a<b&c","style":{"code":true}},
		{"type":"text","text":" by "},{"type":"user","user_id":"U1"},{"type":"text","text":", "},
		{"type":"date","timestamp":5,"format":"{time}","fallback":"00:00"},{"type":"link","url":"http://x.y"}]}]},
		{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"Close room"}}]}]`
	assert.Equal(t, Normal(":warning: #1  a&lt;b&amp;c by <@U1>, <!date^5^{time}|00:00>http://x.y"), Normal(blocksText([]byte(blocks))))
	assert.Contains(t, blocksText([]byte(`[{"type":"image","image_url":"http://x"}]`)), "[image]")
	assert.Equal(t, "~Closed~", blocksText([]byte(`[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"Closed","style":{"strike":true}}]}]}]`)))
}
