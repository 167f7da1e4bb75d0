package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"zegoclose/authz"
	"zegoclose/bot"
	"zegoclose/zego"

	"github.com/caarlos0/env/v11"
)

// config is every setting of the program, read once from the environment. The README
// explains each for operators; the order here is the order there.
type config struct {
	SlackBotToken    Secret `env:"SLACK_BOT_TOKEN"`    // xoxb-…
	SlackAppToken    Secret `env:"SLACK_APP_TOKEN"`    // xapp-…, with connections:write
	ZegoAppID        uint32 `env:"ZEGO_APP_ID"`        // decimal
	ZegoServerSecret Secret `env:"ZEGO_SERVER_SECRET"` // 32 characters

	AllowedUsers      []string `env:"ALLOWED_USERS"`      // U… or W…
	AllowedUserGroups []string `env:"ALLOWED_USERGROUPS"` // S…
	AllowedChannels   []string `env:"ALLOWED_CHANNELS"`   // C… or G…
	AuditChannel      string   `env:"AUDIT_CHANNEL"`      // C… or G…
	AuditCheckpoint   string   `env:"AUDIT_CHECKPOINT" envDefault:"off"`
	AuditReviewers    []string `env:"AUDIT_REVIEWERS"` // U…, W… or S…; empty: those who may close

	ConfirmTimeout    time.Duration `env:"CONFIRM_TIMEOUT" envDefault:"5m"`
	CloseWithin       time.Duration `env:"CLOSE_WITHIN" envDefault:"10m"`
	MaxPendingPerUser int           `env:"MAX_PENDING_PER_USER" envDefault:"10"`

	DatabaseURL string `env:"DATABASE_URL" envDefault:"zegoclose.db"`

	ZegoURL               string        `env:"ZEGO_API_URL" envDefault:"https://rtc-api.zego.im"`
	ZegoCloseInterval     time.Duration `env:"ZEGO_CLOSE_INTERVAL" envDefault:"1100ms"`
	ZegoIsTest            *bool         `env:"ZEGO_IS_TEST"`
	ZegoRoomCloseCallback bool          `env:"ZEGO_ROOM_CLOSE_CALLBACK"`
	ZegoSendReason        bool          `env:"ZEGO_SEND_REASON" envDefault:"true"`

	SlackURL         string       `env:"SLACK_API_URL" envDefault:"https://slack.com/api/"`
	SlackConnections int          `env:"SLACK_CONNECTIONS" envDefault:"2"`
	SlackText        bot.TextMode `env:"SLACK_TEXT" envDefault:"auto"`

	HTTPAddr string `env:"HTTP_ADDR"` // empty: off

	LogLevel  slog.Level `env:"LOG_LEVEL" envDefault:"info"`
	LogFormat string     `env:"LOG_FORMAT" envDefault:"auto"`

	// Periods that nobody needs to change, except who tests.
	ZegoTimeout  time.Duration   `env:"ZEGO_TIMEOUT" envDefault:"5s"`
	ZegoLooks    []time.Duration `env:"ZEGO_LOOK_AFTER" envDefault:"2s,15s"`
	SlackTimeout time.Duration   `env:"SLACK_TIMEOUT" envDefault:"10s"`
	SlackRecheck time.Duration   `env:"SLACK_RECHECK_AFTER" envDefault:"15s"`
	LockWait     time.Duration   `env:"LOCK_WAIT" envDefault:"20s"`
	DiskReserve  int64           `env:"DISK_RESERVE" envDefault:"100"` // MiB; `zegoclose check` wants as much to be free
}

// secrets are the variables whose values also come from a file named by NAME_FILE.
var secrets = []string{"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "ZEGO_SERVER_SECRET", "DATABASE_URL"}

// A configError lists everything that is wrong with the settings, and no value of a secret.
type configError struct{ problems []string }

func (e *configError) Error() string {
	return "the configuration is not right:\n  - " + strings.Join(e.problems, "\n  - ")
}

// readConfig reads the settings from environ and reports all mistakes together.
func readConfig(environ []string) (config, error) {
	var c config
	var unread []string
	vars := env.ToMap(environ)
	for _, name := range secrets {
		if problem := fromFile(vars, name); problem != "" {
			unread = append(unread, problem)
		}
	}
	// An empty variable is an unset one: deployment tools leave them behind.
	for name, value := range vars {
		if strings.TrimSpace(value) == "" {
			delete(vars, name)
		}
	}
	err := env.ParseWithOptions(&c, env.Options{Environment: vars})
	unread = append(unread, unreadable(err)...)
	problems := slices.Clone(unread)
	for _, p := range c.problems(vars) {
		name, _, _ := strings.Cut(p, " ")
		if !slices.ContainsFunc(unread, func(u string) bool { return strings.HasPrefix(u, name) }) { // one problem a variable
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		return config{}, &configError{problems}
	}
	return c, nil
}

// fromFile replaces vars[NAME] by the content of the file that NAME_FILE names.
func fromFile(vars map[string]string, name string) (problem string) {
	path := vars[name+"_FILE"]
	if path == "" {
		return ""
	}
	if vars[name] != "" {
		return fmt.Sprintf("%s and %s_FILE are both set; keep one", name, name)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprintf("%s_FILE cannot be read: %v", name, err)
	}
	if vars[name] = strings.TrimSpace(string(content)); vars[name] == "" {
		return fmt.Sprintf("%s_FILE names an empty file", name)
	}
	return ""
}

// wrapped tells what hands leave around a value, and Docker's env files keep.
func wrapped(s string) (problem string) {
	if strings.Trim(s, "\"'`“”‘’ \t\r\n") != s {
		return "has quotes or white space around it: remove them"
	}
	return ""
}

// unreadable turns what env could not parse into problems that name the variable.
func unreadable(err error) []string {
	var all env.AggregateError
	if !errors.As(err, &all) {
		if err != nil {
			return []string{err.Error()}
		}
		return nil
	}
	var problems []string
	for _, err := range all.Errors {
		var pe env.ParseError
		if errors.As(err, &pe) {
			name := pe.Name
			if f, ok := reflect.TypeFor[config]().FieldByName(pe.Name); ok {
				name = f.Tag.Get("env")
			}
			problems = append(problems, fmt.Sprintf("%s cannot be read as %s", name, kindWords(pe.Type)))
			continue
		}
		problems = append(problems, err.Error())
	}
	return problems
}

func kindWords(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration](), reflect.TypeFor[[]time.Duration]():
		return "a duration such as 90s or 5m"
	case reflect.TypeFor[uint32]():
		return "a number from 1 to 4294967295"
	case reflect.TypeFor[slog.Level]():
		return "a level: debug, info, warn or error"
	}
	switch t.Kind() {
	case reflect.Bool, reflect.Pointer:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	}
	return t.String()
}

var (
	userID        = regexp.MustCompile(`^[UW][A-Z0-9]+$`)
	groupID       = regexp.MustCompile(`^S[A-Z0-9]+$`)
	userOrGroupID = regexp.MustCompile(`^[UWS][A-Z0-9]+$`)
	channelID     = regexp.MustCompile(`^[CG][A-Z0-9]+$`)
)

// problems checks every setting. It names variables and, where they are no secret, values.
func (c *config) problems(vars map[string]string) []string {
	var ps []string
	bad := func(format string, args ...any) { ps = append(ps, fmt.Sprintf(format, args...)) }
	missing := func(name string) bool { return vars[name] == "" }

	token := func(name string, s Secret, prefix, where string) {
		switch {
		case missing(name):
			bad("%s is not set: the token that begins with %s, from %s", name, prefix, where)
		case wrapped(string(s)) != "":
			bad("%s %s", name, wrapped(string(s)))
		case !strings.HasPrefix(string(s), prefix):
			bad("%s does not begin with %s: it is another kind of token; take the one from %s", name, prefix, where)
		}
	}
	token("SLACK_BOT_TOKEN", c.SlackBotToken, "xoxb-", "the app's page “OAuth & Permissions”")
	token("SLACK_APP_TOKEN", c.SlackAppToken, "xapp-", "the app's page “Basic Information”, App-Level Tokens, scope connections:write")
	if missing("ZEGO_APP_ID") {
		bad("ZEGO_APP_ID is not set: the number of the project in ZEGO's console")
	} else if c.ZegoAppID == 0 && isZero(vars["ZEGO_APP_ID"]) {
		bad("ZEGO_APP_ID is 0: take the number of the project from ZEGO's console")
	}
	if missing("ZEGO_SERVER_SECRET") {
		bad("ZEGO_SERVER_SECRET is not set: the ServerSecret of the project in ZEGO's console, 32 characters")
	} else if problem := wrapped(string(c.ZegoServerSecret)); problem != "" {
		bad("ZEGO_SERVER_SECRET %s", problem)
	} else if err := zego.ValidSecret(string(c.ZegoServerSecret)); err != nil {
		bad("ZEGO_SERVER_SECRET is not a ServerSecret: it %s; do not take AppSign or CallbackSecret for it", strings.TrimPrefix(err.Error(), "ServerSecret "))
	}

	c.AllowedUsers, c.AllowedUserGroups, c.AllowedChannels = words(c.AllowedUsers), words(c.AllowedUserGroups), words(c.AllowedChannels)
	if len(c.AllowedUsers)+len(c.AllowedUserGroups) == 0 {
		bad("ALLOWED_USERS and ALLOWED_USERGROUPS are both empty: nobody could close a room; list member ids (U…) or user group ids (S…)")
	}
	ids := func(name string, ids []string, re *regexp.Regexp, like string) {
		for _, id := range ids {
			if !re.MatchString(id) {
				bad("%s: %q is not an id like %s (names do not count; copy the id from the profile or the details in Slack)", name, id, like)
			}
		}
	}
	ids("ALLOWED_USERS", c.AllowedUsers, userID, "U012AB3CD")
	ids("ALLOWED_USERGROUPS", c.AllowedUserGroups, groupID, "S012AB3CD")
	ids("ALLOWED_CHANNELS", c.AllowedChannels, channelID, "C012AB3CD")
	if c.AuditChannel != "" {
		ids("AUDIT_CHANNEL", []string{c.AuditChannel}, channelID, "C012AB3CD")
	}

	c.AuditReviewers = words(c.AuditReviewers)
	ids("AUDIT_REVIEWERS", c.AuditReviewers, userOrGroupID, "U012AB3CD or S012AB3CD")
	if _, ok := c.checkpointEvery(); !ok {
		bad("AUDIT_CHECKPOINT is %q, not off, daily or weekly", c.AuditCheckpoint)
	} else if c.AuditCheckpoint != "off" && c.AuditChannel == "" {
		bad("AUDIT_CHECKPOINT is %s, but AUDIT_CHANNEL is not set: checkpoints need one channel in which all are found", c.AuditCheckpoint)
	}

	positive := func(name string, d time.Duration) {
		if d <= 0 {
			bad("%s must be longer than 0", name)
		}
	}
	positive("CONFIRM_TIMEOUT", c.ConfirmTimeout)
	positive("CLOSE_WITHIN", c.CloseWithin)
	positive("ZEGO_TIMEOUT", c.ZegoTimeout)
	positive("SLACK_TIMEOUT", c.SlackTimeout)
	if c.MaxPendingPerUser < 0 {
		bad("MAX_PENDING_PER_USER must not be negative (0 means no limit)")
	}
	if c.ZegoCloseInterval < 0 {
		bad("ZEGO_CLOSE_INTERVAL must not be negative")
	}
	if c.SlackRecheck <= c.SlackTimeout {
		bad("SLACK_RECHECK_AFTER must be longer than SLACK_TIMEOUT: a post may appear until then")
	}
	if len(c.ZegoLooks) == 0 || !slices.IsSorted(c.ZegoLooks) {
		bad("ZEGO_LOOK_AFTER must be a list of growing durations such as 2s,15s")
	}
	for _, u := range []struct{ name, value string }{{"ZEGO_API_URL", c.ZegoURL}, {"SLACK_API_URL", c.SlackURL}} {
		if problem := checkURL(u.value); problem != "" {
			bad("%s %s", u.name, problem)
		}
	}
	if strings.Contains(c.DatabaseURL, "://") {
		bad("DATABASE_URL must be the path of a SQLite file; other databases are not supported yet")
	}
	if c.SlackConnections < 1 || c.SlackConnections > 10 {
		bad("SLACK_CONNECTIONS is %d, but Slack allows 1 to 10", c.SlackConnections)
	}
	if !c.SlackText.Valid() {
		bad("SLACK_TEXT is %q, not auto, encoded or raw", string(c.SlackText))
	}
	if c.HTTPAddr != "" {
		if _, port, err := net.SplitHostPort(c.HTTPAddr); err != nil || port == "" {
			bad("HTTP_ADDR is %q, not an address such as 127.0.0.1:8080 or :8080", c.HTTPAddr)
		}
	}
	if !slices.Contains([]string{"auto", "tint", "json"}, c.LogFormat) {
		bad("LOG_FORMAT is %q, not auto, tint or json", c.LogFormat)
	}
	return ps
}

// reviewers are the people and groups of AUDIT_REVIEWERS.
func (c *config) reviewers() (p authz.Policy) {
	for _, id := range c.AuditReviewers {
		if groupID.MatchString(id) {
			p.Groups = append(p.Groups, id)
		} else {
			p.Users = append(p.Users, id)
		}
	}
	return p
}

// checkpointEvery returns the time from one checkpoint to the next, 0 for never. Who tests
// may name a duration.
func (c *config) checkpointEvery() (every time.Duration, ok bool) {
	switch c.AuditCheckpoint {
	case "off":
		return 0, true
	case "daily":
		return 24 * time.Hour, true
	case "weekly":
		return 7 * 24 * time.Hour, true
	}
	every, err := time.ParseDuration(c.AuditCheckpoint)
	return every, err == nil && every >= time.Second
}

func isZero(s string) bool { return strings.Trim(s, "0") == "" }

// words drops the white space and the empty pieces that hand-written lists have.
func words(list []string) []string {
	var ws []string
	for _, w := range list {
		if w = strings.TrimSpace(w); w != "" {
			ws = append(ws, w)
		}
	}
	return ws
}

// checkURL accepts https anywhere, and plain http on this machine only.
func checkURL(s string) (problem string) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return "is not an address such as https://example.com/"
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "must not hold a user, a query or a fragment"
	case u.Scheme == "https":
		return ""
	case u.Scheme == "http" && loopback(u.Hostname()):
		return ""
	}
	return "must begin with https:// (http:// is accepted for this machine only)"
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// zegoClient makes the client of ZEGO's Server API.
func (c *config) zegoClient() zego.Client {
	return zego.Client{AppID: c.ZegoAppID, ServerSecret: string(c.ZegoServerSecret), BaseURL: c.ZegoURL, IsTest: c.ZegoIsTest}
}
