package authz_test

import (
	"fmt"
	"testing"

	"zegoclose/authz"

	"github.com/stretchr/testify/assert"
)

func TestP4DecideDeniesByDefault(t *testing.T) {
	policy := authz.Policy{
		Team:   "T1",
		Users:  []string{"U_ALICE", "U_BOB", "U_BOT"},
		Groups: []string{"S_MODS"},
	}
	alice := authz.Person{ID: "U_ALICE", Team: "T1"}
	ops := authz.Channel{ID: "C_OPS"}
	with := func(p authz.Person, change func(*authz.Person)) authz.Person { change(&p); return p }

	tests := []struct {
		name   string
		policy authz.Policy
		query  authz.Query
		want   authz.Reason
	}{
		{"a listed person is allowed", policy, authz.Query{Action: authz.Request, Person: alice, Channel: ops}, authz.Allowed},
		{"the zero policy allows nobody", authz.Policy{}, authz.Query{Action: authz.Request, Person: alice, Channel: ops}, authz.ForeignWorkspace},
		{"a policy without people allows nobody", authz.Policy{Team: "T1"}, authz.Query{Action: authz.Request, Person: alice, Channel: ops}, authz.NotListed},
		{"an unlisted person is refused", policy, authz.Query{Action: authz.Request, Person: authz.Person{ID: "U_EVE", Team: "T1"}, Channel: ops}, authz.NotListed},
		{"an id is compared whole", policy, authz.Query{Action: authz.Request, Person: authz.Person{ID: "U_ALIC", Team: "T1"}, Channel: ops}, authz.NotListed},
		{"an empty id is nobody", policy, authz.Query{Action: authz.Request, Person: authz.Person{Team: "T1"}, Channel: ops}, authz.NotAPerson},
		{"a listed id from another workspace is refused", policy, authz.Query{Action: authz.Confirm, Requester: "U_ALICE", Person: with(alice, func(p *authz.Person) { p.Team = "T2" }), Channel: ops}, authz.ForeignWorkspace},
		{"an unknown workspace is refused", policy, authz.Query{Action: authz.Request, Person: with(alice, func(p *authz.Person) { p.Team = "" }), Channel: ops}, authz.ForeignWorkspace},
		{"a listed bot is refused", policy, authz.Query{Action: authz.Request, Person: authz.Person{ID: "U_BOT", Team: "T1", Bot: true}, Channel: ops}, authz.NotAPerson},
		{"a deactivated account is refused", policy, authz.Query{Action: authz.Close, Requester: "U_ALICE", Person: with(alice, func(p *authz.Person) { p.Deleted = true }), Channel: ops}, authz.Deactivated},

		{"a member of an allowed group is allowed", policy, authz.Query{Action: authz.Request, Person: authz.Person{ID: "U_CAROL", Team: "T1", Groups: []string{"S_MODS"}}, Channel: ops}, authz.Allowed},
		{"a member of another group is refused", policy, authz.Query{Action: authz.Request, Person: authz.Person{ID: "U_CAROL", Team: "T1", Groups: []string{"S_COOKS"}}, Channel: ops}, authz.NotListed},
		{"stale membership is no membership", policy, authz.Query{Action: authz.Request, Person: authz.Person{ID: "U_CAROL", Team: "T1", Groups: []string{"S_MODS"}, GroupsStale: true}, Channel: ops}, authz.GroupsUnknown},
		{"stale membership does not touch those listed by id", policy, authz.Query{Action: authz.Request, Person: with(alice, func(p *authz.Person) { p.GroupsStale = true }), Channel: ops}, authz.Allowed},

		{"a shared channel is refused", policy, authz.Query{Action: authz.Request, Person: alice, Channel: authz.Channel{ID: "C_EXT", External: true}}, authz.SharedChannel},
		{"a listed shared channel is allowed", authz.Policy{Team: "T1", Users: []string{"U_ALICE"}, Channels: []string{"C_EXT"}}, authz.Query{Action: authz.Request, Person: alice, Channel: authz.Channel{ID: "C_EXT", External: true}}, authz.Allowed},
		{"with a list of channels every other is refused", authz.Policy{Team: "T1", Users: []string{"U_ALICE"}, Channels: []string{"C_EXT"}}, authz.Query{Action: authz.Close, Person: alice, Channel: ops}, authz.WrongChannel},

		{"the requester confirms", policy, authz.Query{Action: authz.Confirm, Person: alice, Requester: "U_ALICE", Channel: ops}, authz.Allowed},
		{"another allowed person does not confirm", policy, authz.Query{Action: authz.Confirm, Person: authz.Person{ID: "U_BOB", Team: "T1"}, Requester: "U_ALICE", Channel: ops}, authz.NotRequester},
		{"another allowed person cancels", policy, authz.Query{Action: authz.Cancel, Person: authz.Person{ID: "U_BOB", Team: "T1"}, Requester: "U_ALICE", Channel: ops}, authz.Allowed},
		{"a stranger does not cancel", policy, authz.Query{Action: authz.Cancel, Person: authz.Person{ID: "U_EVE", Team: "T1"}, Requester: "U_ALICE", Channel: ops}, authz.NotListed},
		{"another allowed person tries again", policy, authz.Query{Action: authz.Retry, Person: authz.Person{ID: "U_BOB", Team: "T1"}, Requester: "U_ALICE", Channel: ops}, authz.Allowed},

		{"on Grid a colleague from another workspace is at home", authz.Policy{Team: "T1", Org: "E1", Users: []string{"W_DAN"}}, authz.Query{Action: authz.Request, Person: authz.Person{ID: "W_DAN", Team: "T7", Org: "E1"}, Channel: ops}, authz.Allowed},
		{"another organisation is not at home", authz.Policy{Team: "T1", Org: "E1", Users: []string{"W_DAN"}}, authz.Query{Action: authz.Request, Person: authz.Person{ID: "W_DAN", Team: "T7", Org: "E2"}, Channel: ops}, authz.ForeignWorkspace},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.policy.Decide(tt.query)
			assert.Equal(t, tt.want, got.Reason)
			assert.Equal(t, tt.want == authz.Allowed, got.Allowed)
			if !got.Allowed {
				assert.NotEmpty(t, got.Person, "a refusal has words for the person")
				assert.NotEmpty(t, got.Record, "a refusal has words for the record")
			}
		})
	}
}

func TestZeroDecisionIsARefusal(t *testing.T) {
	assert.False(t, authz.Decision{}.Allowed)
}

func ExamplePolicy_Decide() {
	policy := authz.Policy{Team: "T024", Users: []string{"U061F7AUR"}}
	d := policy.Decide(authz.Query{
		Action:  authz.Request,
		Person:  authz.Person{ID: "U0MALLORY", Team: "T024"},
		Channel: authz.Channel{ID: "C0OPS"},
	})
	fmt.Println(d.Allowed, d.Reason)
	fmt.Println(d.Record)
	// Output:
	// false not_listed
	// U0MALLORY is not on the allowlist
}
