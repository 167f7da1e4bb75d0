package bot

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"zegoclose/internal/journal"
	"zegoclose/internal/socket"

	"github.com/slack-go/slack"
)

// A command is a slash command as it arrived.
type command struct {
	delivery    string // the same for every delivery of the same command
	name        string // "/zego-close"
	text        string // as Slack sent it, see TextMode
	by          journal.Person
	channel     string
	channelName string
	responseURL string // a secret: kept in memory, never recorded or logged
}

// direct reports whether the command was typed in a direct message, where no reviewer reads.
func (c command) direct() bool {
	return c.channelName == "directmessage" || len(c.channel) > 0 && c.channel[0] == 'D'
}

// A click is a press of one of our buttons as it arrived.
type click struct {
	delivery    string
	action      string
	token       string // of the case
	by          journal.Person
	channel, ts string // the message pressed
	responseURL string // a secret, as above
	trigger     string // the right to open one form, for 3 s
}

// The payloads are decoded by types of our own with the few fields that are used: a new
// kind of block elsewhere in a payload must not make a press unreadable.

func decodeCommand(e *socket.Envelope) (command, error) {
	var p struct {
		Command     string `json:"command"`
		Text        string `json:"text"`
		UserID      string `json:"user_id"`
		UserName    string `json:"user_name"`
		TeamID      string `json:"team_id"`
		ChannelID   string `json:"channel_id"`
		ChannelName string `json:"channel_name"`
		TriggerID   string `json:"trigger_id"`
		ResponseURL string `json:"response_url"`
	}
	if err := json.Unmarshal(e.Payload, &p); err != nil {
		return command{}, fmt.Errorf("decoding a slash command: %w", err)
	}
	if p.UserID == "" || p.ChannelID == "" {
		return command{}, fmt.Errorf("decoding a slash command: no user or no channel in it")
	}
	id := p.TriggerID // one per press of return, whatever the envelope
	if id == "" {
		id = e.ID
	}
	return command{
		delivery: "command " + digest(id),
		name:     p.Command, text: p.Text,
		by:      journal.Person{ID: p.UserID, Name: p.UserName, Team: p.TeamID},
		channel: p.ChannelID, channelName: p.ChannelName,
		responseURL: p.ResponseURL,
	}, nil
}

func decodeClick(e *socket.Envelope) (click, error) {
	var p struct {
		Type string `json:"type"`
		User struct {
			ID       string `json:"id"`
			Username string `json:"username"`
			Name     string `json:"name"`
			TeamID   string `json:"team_id"`
		} `json:"user"`
		Container struct {
			MessageTS string `json:"message_ts"`
			ChannelID string `json:"channel_id"`
		} `json:"container"`
		Actions []struct {
			ActionID string `json:"action_id"`
			Value    string `json:"value"`
			ActionTS string `json:"action_ts"`
		} `json:"actions"`
		ResponseURL string `json:"response_url"`
		TriggerID   string `json:"trigger_id"`
	}
	if err := json.Unmarshal(e.Payload, &p); err != nil {
		return click{}, fmt.Errorf("decoding a click: %w", err)
	}
	if p.Type != string(slack.InteractionTypeBlockActions) || len(p.Actions) == 0 {
		return click{}, fmt.Errorf("decoding a click: it is a %q with %d actions", p.Type, len(p.Actions))
	}
	if p.User.ID == "" {
		return click{}, fmt.Errorf("decoding a click: no user in it")
	}
	name := p.User.Username
	if name == "" {
		name = p.User.Name
	}
	a := p.Actions[0] // a press of a button has exactly one
	return click{
		delivery: fmt.Sprintf("click %s %s %s %s", p.User.ID, p.Container.MessageTS, a.ActionID, a.ActionTS),
		action:   a.ActionID, token: a.Value,
		by:      journal.Person{ID: p.User.ID, Name: name, Team: p.User.TeamID},
		channel: p.Container.ChannelID, ts: p.Container.MessageTS,
		responseURL: p.ResponseURL, trigger: p.TriggerID,
	}, nil
}

// isForm reports whether an interaction is a form that was sent.
func isForm(e *socket.Envelope) bool {
	var p struct {
		Type string `json:"type"`
	}
	return json.Unmarshal(e.Payload, &p) == nil && p.Type == string(slack.InteractionTypeViewSubmission)
}

// decodeNote reads a reviewer's note from the form in which it was sent.
func decodeNote(e *socket.Envelope) (journal.Verdict, error) {
	var p struct {
		User struct {
			ID       string `json:"id"`
			Username string `json:"username"`
			Name     string `json:"name"`
			TeamID   string `json:"team_id"`
		} `json:"user"`
		View struct {
			ID              string `json:"id"`
			Hash            string `json:"hash"`
			CallbackID      string `json:"callback_id"`
			PrivateMetadata string `json:"private_metadata"`
			State           struct {
				Values map[string]map[string]struct {
					Value string `json:"value"`
				} `json:"values"`
			} `json:"state"`
		} `json:"view"`
	}
	if err := json.Unmarshal(e.Payload, &p); err != nil {
		return journal.Verdict{}, fmt.Errorf("decoding a form: %w", err)
	}
	var about noteOf
	if err := json.Unmarshal([]byte(p.View.PrivateMetadata), &about); err != nil || p.View.CallbackID != callbackNote || p.User.ID == "" {
		return journal.Verdict{}, fmt.Errorf("decoding a form: it is none of ours (%s)", p.View.CallbackID)
	}
	return journal.Verdict{
		Delivery: "form " + p.View.ID, Case: about.Case, Contests: about.Contests,
		By:   journal.Person{ID: p.User.ID, Name: cmp.Or(p.User.Username, p.User.Name), Team: p.User.TeamID},
		Note: strings.TrimSpace(p.View.State.Values["note"]["note"].Value),
	}, nil
}

// digest stands for an id that is itself a short-lived secret.
func digest(id string) string {
	h := sha256.Sum256([]byte(id))
	return hex.EncodeToString(h[:16])
}

// ephemeral is the reply to a command, in its ack: only its sender sees it.
func ephemeral(m message) any {
	return struct {
		ResponseType string        `json:"response_type"`
		Text         string        `json:"text"`
		Blocks       []slack.Block `json:"blocks,omitempty"`
	}{"ephemeral", m.text, m.blocks}
}
