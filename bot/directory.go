package bot

import (
	"context"
	"slices"
	"sync"
	"time"

	"zegoclose/authz"
	"zegoclose/internal/journal"

	"github.com/slack-go/slack"
)

const (
	commandAge = 5 * time.Minute  // how old what is known may be to answer a command or a click
	callAge    = 15 * time.Minute // and just before the call to ZEGO leaves

	groupsWait   = time.Second      // how long a command waits for them right after the start
	groupsEvery  = time.Minute      // user groups are read this often (usergroups.users.list: tier 2)
	accountEvery = 15 * time.Minute // and each account this often (users.info: tier 4)
)

// directory is what Slack has told about people and channels. Commands and clicks are
// answered from memory; reading goes on in the background.
type directory struct {
	began    time.Time
	asked    chan struct{} // closed when Slack has been asked for the groups once
	mu       sync.Mutex
	groups   map[string]groupMembers
	accounts map[string]account
	channels map[string]channelInfo
}

type groupMembers struct {
	users []string
	at    time.Time
}

type account struct {
	bot, deleted bool
	team, org    string
	at           time.Time
}

type channelInfo struct {
	external bool
	at       time.Time
}

func newDirectory(now time.Time) *directory {
	return &directory{began: now, asked: make(chan struct{}), groups: make(map[string]groupMembers), accounts: make(map[string]account), channels: make(map[string]channelInfo)}
}

// decide asks the policy with what is known now. Knowledge of group membership that is
// older than maxAge does not count.
func (b *Bot) decide(want authz.Action, who journal.Person, channel, requester string, maxAge time.Duration) authz.Decision {
	self := b.self()
	policy := b.Policy
	policy.Team, policy.Org = self.team, self.org
	return policy.Decide(authz.Query{
		Action:    want,
		Person:    b.directory.person(who, policy.Groups, b.now().Add(-maxAge)),
		Channel:   authz.Channel{ID: channel, External: b.directory.external(channel)},
		Requester: requester,
	})
}

func (d *directory) person(who journal.Person, groups []string, since time.Time) authz.Person {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := authz.Person{ID: who.ID, Team: who.Team}
	if a, ok := d.accounts[who.ID]; ok {
		p.Bot, p.Deleted, p.Org = a.bot, a.deleted, a.org
	}
	for _, g := range groups {
		known, ok := d.groups[g]
		if !ok || known.at.Before(since) {
			p.GroupsStale = true
			continue
		}
		if slices.Contains(known.users, who.ID) {
			p.Groups = append(p.Groups, g)
		}
	}
	if len(p.Groups) > 0 {
		p.GroupsStale = false // one group that is known to list the person is enough
	}
	return p
}

func (d *directory) external(channel string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channels[channel].external
}

// lookUpChannel finds out whether a channel is shared with another company, from memory if
// what is known there is not older than maxAge.
func (b *Bot) lookUpChannel(ctx context.Context, id string, maxAge time.Duration) (external bool, err error) {
	b.directory.mu.Lock()
	known := b.directory.channels[id]
	b.directory.mu.Unlock()
	if b.now().Sub(known.at) < maxAge {
		return known.external, nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.SlackTimeout)
	defer cancel()
	var ch *slack.Channel
	err = b.info.pass(ctx, func() (err error) {
		ch, err = b.Slack.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: id})
		if err == nil && ch.ID == "" {
			err = errNoAnswer
		}
		return err
	})
	if err != nil {
		return false, err
	}
	external = ch.IsExtShared || ch.IsPendingExtShared
	b.directory.mu.Lock()
	b.directory.channels[id] = channelInfo{external, b.now()}
	b.directory.mu.Unlock()
	return external, nil
}

// readDirectory keeps user groups and accounts up to date until ctx ends. An error leaves
// what is known as it is; it grows too old to be used by itself.
func (b *Bot) readDirectory(ctx context.Context) error {
	groupsAsked := sync.OnceFunc(func() { close(b.directory.asked) })
	for failures := 0; ctx.Err() == nil; {
		err := b.readPeople(ctx, groupsAsked)
		if err == nil {
			failures = 0
			sleep(ctx, groupsEvery)
			continue
		}
		fate, wait := fateOf(err)
		if fate == tokenFatal {
			return b.fatal(err)
		}
		failures++
		sleep(ctx, max(wait, backoff(failures, 2*time.Second, groupsEvery)))
	}
	return nil
}

// awaitGroups waits for the first reading of the groups, right after the start, but not
// past limit: until then their members are refused.
func (b *Bot) awaitGroups(ctx context.Context, limit time.Time) {
	select {
	case <-b.directory.asked:
		return
	default:
	}
	ctx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	select {
	case <-b.directory.asked:
	case <-ctx.Done():
	}
}

// readPeople reads all groups, and the accounts that are not known well enough. It stops at
// an error that the rest would meet too.
func (b *Bot) readPeople(ctx context.Context, groupsAsked func()) error {
	failed := b.readGroups(ctx)
	groupsAsked()
	if fate, _ := fateOf(failed); failed != nil && (fate == tooFast || fate == tokenFatal) {
		return failed
	}
	for _, u := range b.directory.listed(slices.Concat(b.Policy.Users, b.Reviewers.Users)) {
		if err := b.readAccount(ctx, u); err != nil {
			return err
		}
	}
	return failed
}

func (b *Bot) readGroups(ctx context.Context) (failed error) {
	for _, g := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(b.Policy.Groups, b.Reviewers.Groups)))) {
		if err := b.readGroup(ctx, g); err != nil {
			failed = err
			if fate, _ := fateOf(err); fate == tooFast || fate == tokenFatal {
				return err
			}
		}
	}
	return failed
}

// readGroup learns who is in a group. A group that Slack refuses to show is not an error: it
// is asked for again in its turn.
func (b *Bot) readGroup(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, b.SlackTimeout)
	defer cancel()
	users, err := b.Slack.GetUserGroupMembersContext(ctx, id)
	if err != nil {
		if ctx.Err() != context.Canceled {
			b.trouble.Warn("a user group could not be read: its members may soon be refused", id, "group", id, "err", err)
		}
		if fate, _ := fateOf(err); fate == refused {
			return nil
		}
		return err
	}
	b.directory.mu.Lock()
	defer b.directory.mu.Unlock()
	b.directory.groups[id] = groupMembers{users, b.now()}
	b.trouble.Over("a user group could not be read: its members may soon be refused", id)
	return nil
}

// groupsAge is the age of the oldest knowledge about one of the groups; a group that could
// not be read yet is as old as the directory.
func (d *directory) groupsAge(groups []string, now time.Time) (age time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range groups {
		at := d.began
		if known, ok := d.groups[g]; ok {
			at = known.at
		}
		age = max(age, now.Sub(at))
	}
	return age
}

// listed returns everybody who may be allowed: those named and those in the groups.
func (d *directory) listed(users []string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Clone(users)
	for _, g := range d.groups {
		all = append(all, g.users...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// readAccount learns whether an allowed account is a bot's or deactivated. Without that
// knowledge the account's id decides alone: it was put on the list by the operator, and
// neither a bot nor a deactivated account can type or press.
func (b *Bot) readAccount(ctx context.Context, id string) error {
	b.directory.mu.Lock()
	known := b.directory.accounts[id]
	b.directory.mu.Unlock()
	if b.now().Sub(known.at) < accountEvery {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.SlackTimeout)
	defer cancel()
	u, err := b.Slack.GetUserInfoContext(ctx, id)
	if err == nil && u.ID == "" {
		err = errNoAnswer
	}
	if err != nil {
		if ctx.Err() != context.Canceled {
			b.trouble.Warn("an account could not be looked up", id, "user", id, "err", err)
		}
		if fate, _ := fateOf(err); fate != refused {
			return err
		}
		u = &slack.User{} // Slack knows no such user: nobody can act as it; ask again later
	} else {
		b.trouble.Over("an account could not be looked up", id)
	}
	b.directory.mu.Lock()
	defer b.directory.mu.Unlock()
	b.directory.accounts[id] = account{
		bot:     u.IsBot || u.IsAppUser || u.IsWorkflowBot || id == "USLACKBOT",
		deleted: u.Deleted, team: u.TeamID, org: u.Enterprise.EnterpriseID, at: b.now(),
	}
	return nil
}
