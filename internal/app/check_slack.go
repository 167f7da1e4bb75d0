package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"zegoclose/internal/socket"

	"github.com/slack-go/slack"
)

// botScopes are the permissions in manifest.yaml, and what the bot calls with each.
var botScopes = []struct{ scope, why string }{
	{"commands", "/zego-close, /zego-audit"},
	{"chat:write", "chat.postMessage, chat.update"},
	{"users:read", "users.info"},
	{"usergroups:read", "usergroups.users.list"},
	{"channels:read", "conversations.info"},
	{"groups:read", "conversations.info of private channels"},
	{"channels:history", "conversations.history, conversations.replies"},
	{"groups:history", "the same in private channels"},
}

const reinstall = "then install the app again (https://api.slack.com/apps, Install App)"

// call makes one call of Slack's Web API, waiting as Slack asks if it is too fast.
func (k *checker) call(ctx context.Context, f func(context.Context) error) error {
	for tries := 1; ; tries++ {
		callCtx, cancel := context.WithTimeout(ctx, k.SlackTimeout)
		err := f(callCtx)
		cancel()
		limited, ok := errors.AsType[*slack.RateLimitedError](err)
		if !ok || tries == 3 {
			return err
		}
		select {
		case <-time.After(max(limited.RetryAfter, time.Second)):
		case <-ctx.Done():
			return err
		}
	}
}

// code is Slack's error code, or "" if there was no answer of Slack's.
func code(err error) string {
	if answer, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		return answer.Err
	}
	return ""
}

// failed words an error that a check has no words of its own for.
func (k *checker) failed(topic string, err error) {
	if c := code(err); c != "" {
		k.wrong(topic, "Slack answers "+c, "see that code on the method's page at https://docs.slack.dev")
		return
	}
	k.wrong(topic, fmt.Sprintf("Slack cannot be asked at %s (%s)", k.SlackURL, withoutSecrets(err)),
		"try again; if it stays so, check SLACK_API_URL if it is set, and the way there (firewall, proxy, DNS)")
}

func (k *checker) checkBotToken(ctx context.Context) {
	const topic = "bot token"
	web := &http.Client{Timeout: k.SlackTimeout, Transport: slackTransport()}
	k.slack = k.slackClient(web, slack.OptionOnResponseHeaders(func(_ string, h http.Header) { k.answer = h }))
	err := k.call(ctx, func(ctx context.Context) (err error) {
		k.self, err = k.slack.AuthTestContext(ctx)
		return err
	})
	if date, parseErr := http.ParseTime(k.answer.Get("Date")); parseErr == nil {
		k.skew["Slack"] = skew(date)
	}
	k.scopes = strings.FieldsFunc(k.answer.Get("X-OAuth-Scopes"), func(r rune) bool { return r == ',' || r == ' ' })
	if err == nil && k.self.BotID != "" {
		k.fine(topic, "workspace %s (%s), bot %s (%s)", k.self.Team, k.self.TeamID, k.self.User, k.self.UserID)
		return
	}
	if err == nil {
		k.wrong(topic, "it belongs to a person, not to a bot", "take the Bot User OAuth Token that begins with xoxb-, from the app's page “OAuth & Permissions”")
		k.self = nil
		return
	}
	k.self = nil
	switch code(err) {
	case "invalid_auth", "not_authed", "token_revoked", "token_expired":
		k.wrong(topic, "Slack answers "+code(err), "copy SLACK_BOT_TOKEN again from the app's page “OAuth & Permissions”; if there is none, install the app first")
	case "account_inactive":
		k.wrong(topic, "Slack answers account_inactive: the app is not installed any more", "install it again and set the new SLACK_BOT_TOKEN")
	default:
		k.away = code(err) == ""
		k.failed(topic, err)
	}
}

// What must be right before something else can be judged.
const (
	slackFirst    = "Slack can be asked"
	botTokenFirst = "the bot token works"
)

// needs reports whether the bot token works and has a scope; if not, it says that the
// topic cannot be judged.
func (k *checker) needs(topic string, scopes ...string) bool {
	if k.away || k.self == nil {
		k.skip(topic, map[bool]string{true: slackFirst, false: botTokenFirst}[k.away])
		return false
	}
	for _, s := range scopes {
		if len(k.scopes) > 0 && !slices.Contains(k.scopes, s) {
			k.skip(topic, "the scope "+s+" is granted")
			return false
		}
	}
	return true
}

func (k *checker) checkScopes() {
	const topic = "scopes"
	if !k.needs(topic) {
		return
	}
	if len(k.scopes) == 0 {
		k.skip(topic, "Slack's answer names them (a proxy may have removed the header X-OAuth-Scopes)")
		return
	}
	var missing, superfluous []string
	for _, s := range botScopes {
		if !slices.Contains(k.scopes, s.scope) && (s.scope != "usergroups:read" || len(k.groups()) > 0) {
			missing = append(missing, s.scope+" (for "+s.why+")")
		}
	}
	for _, s := range k.scopes {
		if !slices.ContainsFunc(botScopes, func(b struct{ scope, why string }) bool { return b.scope == s }) {
			superfluous = append(superfluous, s)
		}
	}
	switch {
	case len(missing) > 0 && len(superfluous) > 0:
		k.wrong(topic, "missing: "+strings.Join(missing, ", ")+"; superfluous: "+strings.Join(superfluous, ", "), "paste manifest.yaml into the app's page “App Manifest”, "+reinstall)
	case len(missing) > 0:
		k.wrong(topic, "missing: "+strings.Join(missing, ", "), "add it on the app's page “OAuth & Permissions” or paste manifest.yaml into “App Manifest”, "+reinstall)
	case len(superfluous) > 0:
		k.wrong(topic, "superfluous: "+strings.Join(superfluous, ", "), "remove it on the app's page “OAuth & Permissions”, "+reinstall+": a token should not be able to do what the bot does not")
	default:
		k.fine(topic, "%s", strings.Join(k.scopes, ", "))
	}
}

// checkSocket opens one connection like the bot's own and closes it after Slack's hello.
// Slack may choose it to deliver a command, whose sender then is told to type it again.
func (k *checker) checkSocket(ctx context.Context) {
	const token, topic = "app token", "Socket Mode"
	if k.away {
		k.skip(token, slackFirst)
		k.skip(topic, slackFirst)
		return
	}
	limit := min(k.SlackTimeout, 10*time.Second)
	ctx, hangUp := context.WithTimeout(ctx, 2*limit)
	defer hangUp()
	last := &lastWarning{}
	var mu sync.Mutex
	var refusal error
	opened := false
	open := socket.OpenWith(k.slack)
	s := socket.New(socket.Config{
		Connections: 1, Log: slog.New(last), ConnectTimeout: limit,
		Open: func(ctx context.Context) (string, error) {
			url, err := open(ctx)
			mu.Lock()
			refusal, opened = err, opened || err == nil
			mu.Unlock()
			return url, err
		},
		Handle: func(_ context.Context, e *socket.Envelope) {
			switch e.Type {
			case socket.SlashCommands:
				e.Ack(map[string]string{"text": "The operator is just checking the bot's connection, and your command went to the check. Nothing was done; send it again."})
			case socket.EventsAPI:
				e.Ack(nil)
			} // a click stays unanswered: Slack shows its warning sign, and the person presses again
		},
	})
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	var err error
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for running := true; running && !s.Ready(); {
		select {
		case err = <-ended:
			running = false
		case <-tick.C:
		}
	}
	ready, stats := s.Ready(), s.Stats()
	hangUp()
	if err == nil && ready {
		err = <-ended
	}
	mu.Lock()
	defer mu.Unlock()
	if f, ok := errors.AsType[*socket.FatalError](err); ok {
		switch f.Reason {
		case "access_denied", "forbidden_team", "team_access_not_granted":
			k.fine(token, "Slack knows it")
			k.wrong(topic, f.Reason, "switch it on at https://api.slack.com/apps, Socket Mode, Enable Socket Mode; if it is on, the workspace may not use the app: ask its owner")
		default:
			k.wrong(token, f.Reason, strings.TrimPrefix(f.Error(), "Slack refuses the app-level token (SLACK_APP_TOKEN): "+f.Reason+": "))
			k.skip(topic, "the app token works")
		}
		return
	}
	if !opened {
		if refusal == nil {
			refusal = context.DeadlineExceeded
		}
		k.failed(token, refusal)
		k.skip(topic, "the app token works")
		return
	}
	k.fine(token, "Slack opens connections for it")
	others := stats.NumConnections - 1
	switch {
	case !ready:
		says := "no hello from Slack"
		if w := last.String(); w != "" {
			says += " (" + w + ")"
		}
		k.wrong(topic, says, "check that this machine may open WebSocket connections (wss) to Slack through firewall and proxy; Slack accepts 10 connections of one app")
	case others > k.SlackConnections:
		k.wrong(topic, fmt.Sprintf("%d connections of this app exist already, but one bot keeps %d", others, k.SlackConnections),
			"find the other program with this SLACK_APP_TOKEN and stop it: it takes part of the commands; give each environment its own Slack app")
	case others > 0:
		k.fine(topic, "Slack says hello; %d other connections of this app: the running bot's", others)
	default:
		k.fine(topic, "Slack says hello; no other connection of this app, so no bot is running")
	}
	if ready {
		k.app = stats.AppID
	}
}

// lastWarning is a log handler that remembers the last thing that went wrong.
type lastWarning struct {
	mu sync.Mutex
	s  string
}

func (l *lastWarning) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}
func (l *lastWarning) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *lastWarning) WithGroup(string) slog.Handler      { return l }
func (l *lastWarning) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.s = r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			l.s += ": " + a.Value.String()
		}
		return true
	})
	return nil
}

func (l *lastWarning) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s
}

// checkSameApp compares the apps of the two tokens: with two different ones the commands
// of one would be answered in the name of the other.
func (k *checker) checkSameApp(ctx context.Context) {
	const topic = "one app"
	if !k.needs(topic, "users:read") {
		return
	}
	if k.app == "" {
		k.skip(topic, "Slack's hello names the app")
		return
	}
	var bot *slack.Bot
	err := k.call(ctx, func(ctx context.Context) (err error) {
		bot, err = k.slack.GetBotInfoContext(ctx, slack.GetBotInfoParameters{Bot: k.self.BotID})
		return err
	})
	switch {
	case err != nil:
		k.failed(topic, err)
	case bot.AppID != k.app:
		k.wrong(topic, fmt.Sprintf("SLACK_BOT_TOKEN belongs to the app %s, SLACK_APP_TOKEN to %s", bot.AppID, k.app), "take both from the same app's pages")
	default:
		k.fine(topic, "both tokens belong to %s", k.app)
	}
}

func (k *checker) checkChannels(ctx context.Context) {
	if k.AuditChannel == "" && len(k.AllowedChannels) == 0 {
		k.fine("channels", "any that the bot is invited to, if it is not shared with another company")
		return
	}
	if k.AuditChannel != "" {
		k.checkChannel(ctx, k.AuditChannel, "AUDIT_CHANNEL", true)
	}
	for _, id := range k.AllowedChannels {
		if id != k.AuditChannel {
			k.checkChannel(ctx, id, "ALLOWED_CHANNELS", k.AuditChannel == "")
		}
	}
}

// checkChannel looks at one channel, to which the bot posts cards or, with an audit
// channel, does not.
func (k *checker) checkChannel(ctx context.Context, id, variable string, posts bool) {
	topic := "channel " + id
	if !k.needs(topic, "channels:read", "groups:read") {
		return
	}
	var ch *slack.Channel
	err := k.call(ctx, func(ctx context.Context) (err error) {
		ch, err = k.slack.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: id})
		return err
	})
	invite := "open it in Slack and type /invite @" + k.self.User
	restricted := func() bool {
		p := ch.Properties
		return ch.IsReadOnly || p != nil && len(p.PostingRestrictedTo.Type)+len(p.PostingRestrictedTo.User) > 0 && !slices.Contains(p.PostingRestrictedTo.User, k.self.UserID)
	}
	switch {
	case code(err) == "channel_not_found":
		k.wrong(topic, "the bot sees no such channel", "correct the id in "+variable+" (channel details, at the end); if it is a private channel, "+invite)
	case err != nil:
		k.failed(topic, err)
	case ch.IsArchived:
		k.wrong(topic, "#"+ch.Name+" is archived", "unarchive it, or put another one into "+variable)
	case posts && !ch.IsMember:
		k.wrong(topic, "the bot is not in #"+ch.Name, invite)
	case posts && restricted():
		k.wrong(topic, "the bot may not post in #"+ch.Name, "let its owner allow that (channel settings, posting permissions), or put another one into "+variable)
	case (ch.IsExtShared || ch.IsPendingExtShared) && !slices.Contains(k.AllowedChannels, id):
		k.wrong(topic, "#"+ch.Name+" is shared with another company, who would see the record", "use an internal channel, or list it in ALLOWED_CHANNELS if that is meant")
	case !posts:
		k.fine(topic, "#%s, for commands", ch.Name)
	case k.AuditChannel == id:
		k.fine(topic, "#%s, the bot is in it: all cards go there", ch.Name)
	default:
		k.fine(topic, "#%s, the bot is in it", ch.Name)
	}
}

// users and groups are everybody whom the settings name: who may close, who may review.
func (k *checker) users() []string  { return both(k.AllowedUsers, k.reviewers().Users) }
func (k *checker) groups() []string { return both(k.AllowedUserGroups, k.reviewers().Groups) }

func both(a, b []string) []string {
	all := slices.Clone(a)
	for _, id := range b {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

func (k *checker) checkUsers(ctx context.Context) {
	for _, id := range k.users() {
		topic := "user " + id
		if !k.needs(topic, "users:read") {
			continue
		}
		var u *slack.User
		err := k.call(ctx, func(ctx context.Context) (err error) {
			u, err = k.slack.GetUserInfoContext(ctx, id)
			return err
		})
		const remove = "remove the id from the configuration"
		switch {
		case code(err) == "user_not_found" || code(err) == "user_not_visible":
			k.wrong(topic, "Slack knows nobody with this id", "copy it again (profile, ⋮, Copy member ID)")
		case err != nil:
			k.failed(topic, err)
		case u.Deleted:
			k.wrong(topic, "@"+u.Name+" is deactivated", remove)
		case u.IsBot || u.IsAppUser || u.IsWorkflowBot || id == "USLACKBOT":
			k.wrong(topic, "@"+u.Name+" is a bot, and only people can close rooms", remove)
		case u.TeamID != k.self.TeamID && (k.self.EnterpriseID == "" || u.Enterprise.EnterpriseID != k.self.EnterpriseID), u.IsStranger:
			k.wrong(topic, "@"+u.Name+" belongs to another company, and would be refused", remove)
		case u.IsRestricted || u.IsUltraRestricted:
			k.wrong(topic, "@"+u.Name+" is a guest in the workspace", remove+", or make them a member")
		default:
			k.fine(topic, "@%s", u.Name)
		}
	}
}

func (k *checker) checkGroups(ctx context.Context) {
	for _, id := range k.groups() {
		topic := "user group " + id
		if !k.needs(topic, "usergroups:read") {
			continue
		}
		var members []string
		err := k.call(ctx, func(ctx context.Context) (err error) {
			members, err = k.slack.GetUserGroupMembersContext(ctx, id)
			return err
		})
		switch {
		case code(err) == "no_such_subteam":
			k.wrong(topic, "Slack knows no such group, or it is switched off", "copy the id again (People, User groups, ⋮, Copy group ID), or switch the group on")
		case code(err) == "plan_upgrade_required":
			k.wrong(topic, "the workspace's plan has no user groups", "list people in ALLOWED_USERS instead")
		case err != nil:
			k.failed(topic, err)
		case len(members) == 0:
			k.wrong(topic, "nobody is in it", "add people to it in Slack, or remove it from the configuration")
		case len(members) == 1:
			k.fine(topic, "1 member")
		default:
			k.fine(topic, "%d members", len(members))
		}
	}
}
