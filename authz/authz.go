// Package authz decides who may close rooms.
//
// The decision is a pure function: [Policy.Decide] takes everything it needs as
// values, touches no network, clock or log, and its zero answer is no. Slack ids
// decide; names are decoration and do not occur here.
//
// The same question is asked three times in the life of a case: when the command
// arrives, when a button is pressed, and just before the call that cannot be
// undone leaves. Whoever lost the right in between is stopped at the next of them.
//
// What a rule would need later (hours, rooms, a second pair of eyes) belongs in
// [Policy] as data and in [Policy.Decide] as one more step; callers would not change.
package authz

import (
	"fmt"
	"slices"
)

// Action is what somebody wants to do to a case.
type Action string

const (
	Request Action = "request" // open a case by command
	Confirm Action = "confirm" // press Close room
	Cancel  Action = "cancel"  // press Cancel
	Retry   Action = "retry"   // press Try again: a new case for the same room
	Close   Action = "close"   // not a press: the last check before the call leaves
)

// Person is the one who acts, as far as Slack has told us.
type Person struct {
	ID   string // U… or W…
	Team string // the person's own workspace, T…; empty if Slack did not say
	Org  string // the person's Enterprise Grid organisation, E…; empty outside Grid

	Groups      []string // of Policy.Groups, those that list the person
	GroupsStale bool     // membership is too old or was never read: Groups says nothing

	Bot     bool // a bot, app or workflow
	Deleted bool // a deactivated account
}

// Channel is the conversation in which the command was typed.
type Channel struct {
	ID       string
	External bool // shared with another company, or about to be
}

// Query is one question.
type Query struct {
	Action    Action
	Person    Person
	Channel   Channel
	Requester string // who opened the case; empty for Request and Retry
}

// Policy says who may close rooms. The zero Policy allows nobody.
type Policy struct {
	Team     string   // the workspace in which the app is installed, T…
	Org      string   // its Enterprise Grid organisation, E…; empty outside Grid
	Users    []string // people allowed by id
	Groups   []string // user groups whose members are allowed, S…
	Channels []string // where commands are accepted; empty means every channel that is not shared with another company
}

// Reason is why a query was refused, as a stable word for records and metrics.
type Reason string

const (
	Allowed          Reason = ""
	NotListed        Reason = "not_listed"
	GroupsUnknown    Reason = "groups_unknown"
	ForeignWorkspace Reason = "foreign_workspace"
	NotAPerson       Reason = "not_a_person"
	Deactivated      Reason = "deactivated"
	WrongChannel     Reason = "wrong_channel"
	SharedChannel    Reason = "shared_channel"
	NotRequester     Reason = "not_requester"
)

// Decision is the answer. Its zero value is a refusal without words; Decide never returns that.
type Decision struct {
	Allowed bool
	Reason  Reason
	Person  string // for the person refused: what is wrong and what to do next
	Record  string // for the record: the fact, in the third person
}

// Decide answers q. The first obstacle found is the one reported, from who the person
// is, over what they may do, to where they do it.
func (p Policy) Decide(q Query) Decision {
	who := q.Person
	switch {
	case who.ID == "" || who.Bot:
		return refuse(NotAPerson,
			"Only people can close rooms, not bots, apps or workflows.",
			"%s is not a person's account", orNobody(who.ID))
	case !p.home(who):
		return refuse(ForeignWorkspace,
			"Only members of the workspace that runs this bot can close rooms. Ask a colleague there.",
			"%s belongs to workspace %s, not %s", who.ID, orNobody(who.Team), orNobody(p.Team))
	case who.Deleted:
		return refuse(Deactivated,
			"This account is deactivated.",
			"the account %s is deactivated", who.ID)
	}

	if !slices.Contains(p.Users, who.ID) && !p.inGroup(who) {
		if len(p.Groups) > 0 && who.GroupsStale {
			return refuse(GroupsUnknown,
				"Slack has not told the bot lately who is in the allowed user groups, so it cannot tell whether you are. Try again in a minute; if it stays so, tell the operator.",
				"membership of the allowed user groups was not known for %s", who.ID)
		}
		return refuse(NotListed,
			"You are not on the list of people who may close rooms. Ask the operator to add your member id "+who.ID+" to ALLOWED_USERS, or to put you into an allowed user group.",
			"%s is not on the allowlist", who.ID)
	}

	listed := slices.Contains(p.Channels, q.Channel.ID)
	if len(p.Channels) > 0 && !listed {
		return refuse(WrongChannel,
			"Rooms cannot be closed from this channel. Use one of the channels the operator has allowed (ALLOWED_CHANNELS).",
			"channel %s is not among the allowed ones", q.Channel.ID)
	}
	if q.Channel.External && !listed {
		return refuse(SharedChannel,
			"This channel is shared with another company, who would see the record. Use an internal channel, or ask the operator to list this one in ALLOWED_CHANNELS.",
			"channel %s is shared with another company", q.Channel.ID)
	}

	if q.Action == Confirm && q.Requester != who.ID {
		return refuse(NotRequester,
			"Only the person who asked can confirm. You can cancel the case, or ask for the room yourself with the command.",
			"%s did not ask for this case, %s did", who.ID, orNobody(q.Requester))
	}
	return Decision{Allowed: true}
}

// home reports whether the person belongs to the policy's own workspace or, on
// Enterprise Grid, to its organisation.
func (p Policy) home(who Person) bool {
	if p.Team == "" || who.Team == "" {
		return false
	}
	return who.Team == p.Team || p.Org != "" && who.Org == p.Org
}

func (p Policy) inGroup(who Person) bool {
	if who.GroupsStale {
		return false
	}
	return slices.ContainsFunc(who.Groups, func(g string) bool { return slices.Contains(p.Groups, g) })
}

func refuse(r Reason, person, record string, args ...any) Decision {
	return Decision{Reason: r, Person: person, Record: fmt.Sprintf(record, args...)}
}

func orNobody(id string) string {
	if id == "" {
		return "(none)"
	}
	return id
}
