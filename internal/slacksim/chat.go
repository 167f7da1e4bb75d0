package slacksim

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"unicode/utf8"
)

// The chat methods: what a message may be, and how it is posted, changed and taken back. Each runs with mu held, after
// token, scopes and pace are settled.

// compose reads what a message is to say from arguments and brings it into the form Slack keeps.
func (w *Workspace) compose(args url.Values, parse string) (Message, *apiError) {
	var m Message
	how := reading{urls: parse != "none", names: parse == "full" || parse == "client"}
	m.Text = w.sanitise(truncate(args.Get("text"), maxText), how)
	if raw := args.Get("blocks"); raw != "" {
		kept, err := w.checkBlocks(json.RawMessage(raw), false)
		if err != nil {
			return m, err
		}
		m.Blocks = kept
	}
	if raw := args.Get("attachments"); raw != "" {
		var list []json.RawMessage
		if json.Unmarshal([]byte(raw), &list) != nil {
			return m, &apiError{code: "invalid_attachments", violation: Malformed}
		}
		if len(list) > maxAttachments {
			return m, &apiError{code: "too_many_attachments", violation: OverLimit}
		}
		if len(list) > 0 {
			m.Attachments, _ = json.Marshal(list)
		}
	}
	if raw := args.Get("metadata"); raw != "" {
		kept, err := w.checkMetadata(raw)
		if err != nil {
			return m, err
		}
		m.Metadata = kept
	}
	off := args.Get("unfurl_links") == "false" && args.Get("unfurl_media") == "false"
	m.Unfurls = !off && (strings.Contains(m.Text, "<http") || bytes.Contains(m.Blocks, []byte("<http")))
	if m.Text == "" && m.Blocks == nil && m.Attachments == nil {
		return m, &apiError{code: "no_text", violation: Malformed}
	}
	return m, nil
}

// checkMetadata accepts event_type and event_payload of scalars, or one level below (messaging/message-metadata). An
// empty event_type stands for no metadata.
func (w *Workspace) checkMetadata(raw string) (json.RawMessage, *apiError) {
	var md struct {
		EventType    string         `json:"event_type"`
		EventPayload map[string]any `json:"event_payload"`
	}
	if err := json.Unmarshal([]byte(raw), &md); err != nil {
		return nil, &apiError{code: "invalid_metadata_format", violation: Malformed}
	}
	if md.EventType == "" && len(md.EventPayload) == 0 {
		return nil, nil
	}
	if md.EventType == "" || md.EventPayload == nil {
		return nil, &apiError{code: "invalid_metadata_schema", violation: Malformed}
	}
	for _, v := range md.EventPayload {
		if !flat(v, 2) {
			return nil, &apiError{code: "invalid_metadata_schema", violation: Malformed}
		}
	}
	if len(raw) > w.cfg.MetadataLimit {
		return nil, &apiError{code: "metadata_too_large", violation: OverLimit}
	}
	return compact(raw), nil
}

// flat reports whether v is a scalar, or holds nothing deeper than depth levels.
func flat(v any, depth int) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			if depth == 0 || !flat(inner, 0) {
				return false
			}
		}
	case []any:
		for _, inner := range v {
			if depth == 0 || !flat(inner, depth-1) {
				return false
			}
		}
	}
	return true
}

func compact(raw string) json.RawMessage {
	var v json.RawMessage
	json.Unmarshal([]byte(raw), &v)
	return v
}

// ours is a message written by the app.
func (w *Workspace) ours(m Message) Message {
	m.User, m.AppID, m.BotID = w.botUser, w.cfg.AppID, w.botID
	return m
}

// postable finds the channel to post to: by id, by a person's id, or a public one by name.
func (w *Workspace) postable(id string) (*room, *apiError) {
	r := w.byID[id]
	if r == nil && (strings.HasPrefix(id, "U") || strings.HasPrefix(id, "W")) {
		r = w.openDM(id)
	}
	if r == nil {
		if r = w.byName[strings.TrimPrefix(id, "#")]; r != nil && r.Kind != Public {
			r = nil
		}
	}
	switch {
	case r == nil || r.Kind != Public && !r.BotMember:
		return nil, refuse("channel_not_found")
	case r.Archived:
		return nil, refuse("is_archived")
	case !r.BotMember && !w.granted("chat:write.public"):
		return nil, refuse("not_in_channel")
	case r.Kind == IM && w.cfg.NoMessagesTab:
		return nil, refuse("messages_tab_disabled")
	case r.ReadOnly:
		return nil, refuse("restricted_action_read_only_channel")
	}
	return r, nil
}

func (w *Workspace) chatPostMessage(c *call) (answer, *apiError) {
	r, err := w.postable(c.arg("channel"))
	if err != nil {
		return nil, err
	}
	m, err := w.compose(c.args, c.arg("parse"))
	if err != nil {
		return nil, err
	}
	if ts := c.arg("thread_ts"); ts != "" {
		switch parent := r.all[ts]; {
		case parent == nil:
			return nil, refuse("thread_not_found")
		case parent.ThreadTS != "" && parent.ThreadTS != parent.TS:
			return nil, &apiError{code: "cannot_reply_to_message", violation: ReplyToReply}
		case !parent.Deleted: // the reply to a deleted parent comes out un-threaded
			m.ThreadTS, m.Broadcast = ts, c.flag("reply_broadcast")
		}
	}
	kept := w.place(r, w.ours(m))
	return answer{"channel": r.ID, "ts": kept.TS, "message": w.wire(kept, true)}, nil
}

// own finds a message of the app that is to be changed. A second try after message_not_found is a violation. That
// not_in_channel comes where the bot has left a public channel is unconfirmed; it takes the same rule as posting.
func (w *Workspace) own(c *call, cant string) (*room, *message, *apiError) {
	r, err := w.visible(c.arg("channel"))
	if err != nil {
		return nil, nil, err
	}
	m := r.find(c.arg("ts"))
	if m == nil {
		err := refuse("message_not_found")
		key := c.arg("channel") + " " + c.arg("ts")
		if w.missing[key] {
			err.violation = Haunting
		}
		if w.missing == nil || len(w.missing) > maxViolations {
			w.missing = map[string]bool{}
		}
		w.missing[key] = true
		return nil, nil, err
	}
	switch {
	case m.AppID != w.cfg.AppID:
		return nil, nil, refuse(cant)
	case !r.BotMember && !w.granted("chat:write.public"):
		return nil, nil, refuse("not_in_channel")
	}
	return r, m, nil
}

// chatUpdate follows chat.update: text alone removes blocks, metadata left out stays, {} removes it.
func (w *Workspace) chatUpdate(c *call) (answer, *apiError) {
	r, kept, err := w.own(c, "cant_update_message")
	if err != nil {
		return nil, err
	}
	if r.Archived {
		return nil, refuse("is_inactive")
	}
	if utf8.RuneCountInString(c.arg("text")) > 4000 {
		return nil, &apiError{code: "msg_too_long", violation: OverLimit}
	}
	parse := c.arg("parse")
	setDefault(&parse, "client")
	keepText := c.has("blocks") && !c.has("text") && kept.Text != "" // blocks alone leave the text as it is
	if keepText {
		c.args.Set("text", kept.Text)
	}
	m, err := w.compose(c.args, parse)
	if err != nil {
		return nil, err
	}
	if keepText {
		m.Text = kept.Text
	}
	if w.cfg.BlockMismatch && hasRichText(kept.Blocks) && m.Blocks != nil && !hasRichText(m.Blocks) {
		return nil, refuse("block_mismatch")
	}
	w.amend(r, kept, m, c.has("metadata"), c.has("attachments"))
	return answer{"channel": r.ID, "ts": kept.TS, "text": kept.Text, "message": w.wire(kept, true)}, nil
}

// amend puts new content into a message of the app.
func (w *Workspace) amend(r *room, kept *message, m Message, metadata, attachments bool) {
	w.revise(kept, w.botUser, func(old *Message) {
		old.Text, old.Blocks = m.Text, m.Blocks
		if metadata {
			old.Metadata = m.Metadata
		}
		if attachments {
			old.Attachments = m.Attachments
		}
		old.EditedBy, old.EditedTS = "", ""
		if m.Blocks == nil { // with blocks there is no "(edited)"
			old.EditedBy, old.EditedTS = w.botUser, w.nextTS(r)
		}
	})
}

func (w *Workspace) chatDelete(c *call) (answer, *apiError) {
	r, kept, err := w.own(c, "cant_delete_message")
	if err != nil {
		return nil, err
	}
	w.remove(r, kept, w.botUser)
	return answer{"channel": r.ID, "ts": kept.TS}, nil
}

func (w *Workspace) chatPostEphemeral(c *call) (answer, *apiError) {
	r, err := w.visible(c.arg("channel"))
	switch {
	case err != nil:
		return nil, err
	case r.Archived:
		return nil, refuse("is_archived")
	case !r.BotMember && !w.granted("chat:write.public"):
		return nil, refuse("not_in_channel")
	case !w.member(r, c.arg("user")):
		return nil, refuse("user_not_in_channel")
	case utf8.RuneCountInString(c.arg("text")) > 4000:
		return nil, &apiError{code: "msg_too_long", violation: OverLimit}
	}
	m, err := w.compose(c.args, c.arg("parse"))
	if err != nil {
		return nil, err
	}
	m.ThreadTS, m.Metadata = c.arg("thread_ts"), nil
	kept := w.whisper(r, c.arg("user"), w.ours(m))
	return answer{"channel": r.ID, "message_ts": kept.TS}, nil
}

func (w *Workspace) chatGetPermalink(c *call) (answer, *apiError) {
	r, err := w.visible(c.arg("channel"))
	if err != nil {
		return nil, err
	}
	m := r.find(c.arg("message_ts"))
	if m == nil {
		return nil, refuse("message_not_found")
	}
	return answer{"channel": r.ID, "permalink": w.permalink(m)}, nil
}
