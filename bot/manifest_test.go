package bot_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"zegoclose/internal/slacksim"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/assert/yaml"
	"github.com/stretchr/testify/require"
)

// manifest.yaml is what slack-go's types, and so Slack, understand, every key of it; and it
// keeps to the limits of the page "App manifest".
func TestManifest(t *testing.T) {
	text, err := os.ReadFile("../manifest.yaml")
	require.NoError(t, err)
	var tree map[string]any
	require.NoError(t, yaml.Unmarshal(text, &tree))
	asJSON, err := json.Marshal(tree)
	require.NoError(t, err)
	decoder := json.NewDecoder(bytes.NewReader(asJSON))
	decoder.DisallowUnknownFields()
	var m slack.Manifest
	require.NoError(t, decoder.Decode(&m))

	within := func(what, s string, most int) {
		assert.NotEmpty(t, s, what)
		assert.LessOrEqual(t, utf8.RuneCountInString(s), most, what)
	}
	within("name", m.Display.Name, 35)
	within("description", m.Display.Description, 140)
	assert.Regexp(t, `^#([0-9a-f]{3}|[0-9a-f]{6})$`, m.Display.BackgroundColor)
	within("display_name", m.Features.BotUser.DisplayName, 80)
	assert.Regexp(t, `^[a-z0-9._-]+$`, m.Features.BotUser.DisplayName)
	require.NotEmpty(t, m.Features.SlashCommands)
	assert.LessOrEqual(t, len(m.Features.SlashCommands), 50)
	for _, c := range m.Features.SlashCommands {
		within(c.Command, c.Command, 32)
		assert.Regexp(t, `^/[a-z-]+$`, c.Command)
		within(c.Command, c.Description, 2000)
		within(c.Command, c.UsageHint, 1000)
		assert.Empty(t, c.Url, "with Socket Mode there is none")
	}
	assert.Equal(t, "/zego-close", m.Features.SlashCommands[0].Command)
	assert.False(t, m.Features.SlashCommands[0].ShouldEscape, "what is typed must arrive as it is")
	assert.True(t, m.Settings.SocketModeEnabled)
	require.NotNil(t, m.Settings.Interactivity)
	assert.True(t, m.Settings.Interactivity.IsEnabled)
	assert.Empty(t, m.Settings.Interactivity.RequestUrl, "with Socket Mode there is none")
	assert.False(t, m.Settings.TokenRotationEnabled, "it cannot be switched off again, and the bot does not refresh tokens")
	assert.Nil(t, m.Settings.EventSubscriptions, "the bot listens to no events")
	assert.Empty(t, m.OAuthConfig.Scopes.User, "the bot acts for nobody")
	assert.Empty(t, m.OAuthConfig.RedirectUrls, "the app is not distributed")
	assert.Equal(t, manifestScopes(t), m.OAuthConfig.Scopes.Bot)
}

// everyScope is a house in which each permission is needed: allowed by name and by group,
// cards in a public and in a private channel, and Slack's answers to posts lost, so that
// the bot has to look for them.
func everyScope(t *testing.T, scopes []string) *house {
	h := newHouse(t, with("ALLOWED_USERS=U0BOB", "ALLOWED_USERGROUPS=S0MODS", "ZEGO_TIMEOUT=5s", "SLACK_TIMEOUT=300ms", "SLACK_RECHECK_AFTER=400ms"),
		slackLike(func(c *slacksim.Config) { c.Scopes = scopes }))
	h.slack.AddGroup(slacksim.Group{ID: "S0MODS", Users: []string{h.alice}})
	h.slack.AddChannel(slacksim.Channel{ID: "C0DEN", Name: "den", Kind: slacksim.Private, BotMember: true, Members: []string{h.alice, h.bob}})
	h.start()
	return h
}

// closesInBoth has a room closed from each of the two channels, as far as it gets.
func (h *house) closesInBoth() {
	for _, channel := range []string{h.ops, "C0DEN"} {
		h.zego.Login(channel+"-room", "ann")
		h.slack.Inject(slacksim.Fault{Method: "chat.postMessage", Channel: channel, Count: 2, Skip: 0, Error: "internal_error", When: slacksim.After})
		h.slack.Command(slacksim.Command{User: h.alice, Channel: channel, Text: channel + "-room"})
	}
	pressed := make(map[string]bool)
	for deadline := time.Now().Add(6 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		done := 0
		for _, channel := range []string{h.ops, "C0DEN"} {
			for _, m := range h.slack.Messages(channel) {
				if !pressed[channel] {
					_, err := h.slack.Click(slacksim.Click{User: h.alice, Channel: channel, TS: m.TS, ActionID: closeRoom})
					pressed[channel] = err == nil
				}
				if strings.Contains(strings.Join(h.replies(m), ""), "Closed by ZEGO") && strings.Contains(h.read(m), "Closed") {
					done++
				}
			}
		}
		if done == 2 && h.count(`SELECT count(*) FROM posts WHERE state <> 'sent'`) == 0 {
			return
		}
	}
}

// The permissions that manifest.yaml asks for are exactly those that are needed: with them
// nothing is refused, and without any one of them something is.
func TestScopesAreExact(t *testing.T) {
	t.Parallel()
	scopes := manifestScopes(t)
	t.Run("with all", func(t *testing.T) {
		t.Parallel()
		h := everyScope(t, scopes)
		h.closesInBoth()
		assert.Len(t, h.zego.Executions(), 2, h.transcript())
		assert.Zero(t, h.slack.CountViolations(slacksim.MissingScope))
	})
	needed := regexp.MustCompile(`missing_scope: needed (\S+)`)
	for _, scope := range scopes {
		t.Run("without "+scope, func(t *testing.T) {
			t.Parallel()
			h := everyScope(t, slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == scope }))
			h.tolerated = []slacksim.Kind{slacksim.MissingScope}
			h.closesInBoth()
			if scope == "commands" {
				assert.Equal(t, slacksim.Refused, h.await(h.slack.Command(slacksim.Command{User: h.alice, Channel: h.ops, Text: "live-42"})).Result)
				return
			}
			var missed []string
			for _, v := range h.slack.Violations() {
				if m := needed.FindStringSubmatch(v.Text); m != nil {
					missed = append(missed, m[1])
				}
			}
			assert.Contains(t, missed, scope)
		})
	}
}
