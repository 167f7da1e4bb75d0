package slacksim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Modals, as far as opening and updating them goes (surfaces/modals).

// A View is a modal on somebody's screen.
type View struct {
	ID         string          `json:"id"`
	User       string          `json:"user"`
	ExternalID string          `json:"external_id,omitempty"`
	Hash       string          `json:"hash"`
	View       json.RawMessage `json:"view"` // as the app sent it
}

type modals struct {
	triggers   map[string]*trigger
	triggerIDs []string // as made, to forget the old
	views      map[string]*View
	nextView   int
}

// maxTriggers bounds how many trigger ids are remembered.
const maxTriggers = 20_000

// A trigger is the right to open one modal, for three seconds.
type trigger struct {
	user  string
	until time.Time
	used  bool
}

// newTrigger makes a trigger_id. The caller holds mu.
func (w *Workspace) newTrigger(user string) string {
	id := fmt.Sprintf("%d.%d.%016x%016x", w.rng.Uint64N(1e13), w.rng.Uint64N(1e12), w.rng.Uint64(), w.rng.Uint64())
	w.triggers[id] = &trigger{user: user, until: w.now().Add(w.cfg.TriggerLife)}
	w.triggerIDs = append(w.triggerIDs, id)
	if len(w.triggerIDs) > maxTriggers {
		for _, old := range w.triggerIDs[:maxTriggers/2] {
			delete(w.triggers, old)
		}
		w.triggerIDs = slices.Clone(w.triggerIDs[maxTriggers/2:])
	}
	return id
}

// Views lists the modals a person has open.
func (w *Workspace) Views(user string) []View {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []View
	for _, id := range slices.Sorted(maps.Keys(w.views)) {
		if v := w.views[id]; v.User == user {
			list = append(list, *v)
		}
	}
	return list
}

func (w *Workspace) viewsOpen(c *call) (answer, *apiError) {
	t := w.triggers[c.arg("trigger_id")]
	switch {
	case t == nil:
		return nil, refuse("invalid_trigger_id")
	case t.used:
		return nil, refuse("exchanged_trigger_id")
	case w.now().After(t.until):
		return nil, refuse("expired_trigger_id")
	}
	v, err := w.readView(c)
	if err != nil {
		return nil, err
	}
	for _, other := range w.views {
		if v.ExternalID != "" && other.ExternalID == v.ExternalID {
			return nil, refuse("duplicate_external_id")
		}
	}
	t.used = true
	w.nextView++
	v.ID, v.User = fmt.Sprintf("V0%03d", w.nextView), t.user
	return w.keepView(v), nil
}

func (w *Workspace) viewsUpdate(c *call) (answer, *apiError) {
	old := w.views[c.arg("view_id")]
	for _, v := range w.views {
		if id := c.arg("external_id"); id != "" && v.ExternalID == id {
			old = v
		}
	}
	switch {
	case old == nil:
		return nil, refuse("not_found")
	case c.arg("hash") != "" && c.arg("hash") != old.Hash:
		return nil, refuse("hash_conflict")
	}
	v, err := w.readView(c)
	if err != nil {
		return nil, err
	}
	v.ID, v.User = old.ID, old.User
	return w.keepView(v), nil
}

func (w *Workspace) keepView(v *View) answer {
	v.Hash = fmt.Sprintf("%d.%08x", w.now().Unix(), w.rng.Uint32())
	w.views[v.ID] = v
	w.note(Event{Kind: WorldChanged, User: v.User})
	var out answer
	json.Unmarshal(v.View, &out)
	maps.Copy(out, answer{
		"id": v.ID, "hash": v.Hash, "team_id": w.cfg.TeamID, "app_id": w.cfg.AppID, "bot_id": w.botID,
		"state": answer{"values": answer{}},
	})
	return answer{"view": out}
}

// readView checks a view against the limits of modals.
func (w *Workspace) readView(c *call) (*View, *apiError) {
	raw := c.arg("view")
	if len(raw) > 250<<10 {
		return nil, &apiError{code: "view_too_large", violation: OverLimit}
	}
	var view struct {
		Type            string          `json:"type"`
		Title           object          `json:"title"`
		Submit          object          `json:"submit"`
		Close           object          `json:"close"`
		CallbackID      string          `json:"callback_id"`
		ExternalID      string          `json:"external_id"`
		PrivateMetadata string          `json:"private_metadata"`
		Blocks          json.RawMessage `json:"blocks"`
	}
	if err := json.Unmarshal([]byte(raw), &view); err != nil {
		return nil, &apiError{code: "invalid_arguments", messages: []string{"[ERROR] view is not an object [json-pointer:/view]"}, violation: Malformed}
	}
	k := &checker{w: w}
	if view.Type != "modal" {
		k.problem("/view/type", "must be modal")
	}
	for key, text := range map[string]object{"title": view.Title, "submit": view.Submit, "close": view.Close} {
		if text != nil {
			k.textObject(text, "/view/"+key, 24, "plain_text")
		} else if key == "title" {
			k.problem("/view", "missing required field: title")
		}
	}
	for key, s := range map[string]string{"callback_id": view.CallbackID, "external_id": view.ExternalID} {
		if utf8.RuneCountInString(s) > maxID {
			k.problem("/view/"+key, "must be less than %d characters", maxID+1)
		}
	}
	if utf8.RuneCountInString(view.PrivateMetadata) > 3000 {
		k.problem("/view/private_metadata", "must be less than 3001 characters")
	}
	if kept, err := w.checkBlocks(view.Blocks, true); err != nil {
		k.problems = append(k.problems, err.messages...)
		if err.messages == nil {
			k.problem("/view/blocks", "%s", strings.ReplaceAll(err.code, "_", " "))
		}
	} else if kept == nil {
		k.problem("/view", "missing required field: blocks")
	}
	if len(k.problems) > 0 {
		slices.Sort(k.problems)
		return nil, &apiError{code: "invalid_arguments", messages: k.problems, violation: OverLimit}
	}
	return &View{ExternalID: view.ExternalID, View: json.RawMessage(raw)}, nil
}
