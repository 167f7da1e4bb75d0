package main

import (
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// manifest is what a Slack app manifest says about what an app may do.
type manifest struct {
	Features struct {
		BotUser struct {
			DisplayName string `yaml:"display_name"`
		} `yaml:"bot_user"`
		SlashCommands []struct {
			Command string `yaml:"command"`
		} `yaml:"slash_commands"`
	} `yaml:"features"`
	OAuthConfig struct {
		Scopes struct {
			Bot []string `yaml:"bot"`
		} `yaml:"scopes"`
	} `yaml:"oauth_config"`
}

// readManifest reads the YAML, or JSON, that Slack's “From a manifest” takes.
func readManifest(path string) (m manifest, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return m, fmt.Errorf("-manifest cannot be read: %w; name a Slack app manifest, such as manifest.yaml", err)
	}
	if err := yaml.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("-manifest %s is no Slack app manifest in YAML: %w; name one such as manifest.yaml", path, err)
	}
	if len(m.OAuthConfig.Scopes.Bot) == 0 {
		return m, fmt.Errorf("-manifest %s asks for no scopes: list them under oauth_config, scopes, bot, as manifest.yaml does", path)
	}
	if len(m.Features.SlashCommands) == 0 {
		return m, fmt.Errorf("-manifest %s has no commands: list them under features, slash_commands, as manifest.yaml does", path)
	}
	for _, c := range m.commands() {
		if !strings.HasPrefix(c, "/") {
			return m, fmt.Errorf("-manifest %s has a command %q that does not begin with /: write it as manifest.yaml does", path, c)
		}
	}
	return m, nil
}

func (m manifest) commands() []string {
	var names []string
	for _, c := range m.Features.SlashCommands {
		names = append(names, c.Command)
	}
	return names
}
