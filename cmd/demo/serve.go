package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"

	"zegoclose/internal/slacksim"
	"zegoclose/internal/zegosim"
)

// Where -serve listens unless -addr says otherwise.
const (
	slackAddr = "127.0.0.1:7070"
	zegoAddr  = "127.0.0.1:7071"
)

// serveSlack runs the workspace alone until ctx ends. Its app is what the manifest in that
// file says; without one it may do more than most need.
func serveSlack(ctx context.Context, addr, manifestFile string, out io.Writer) error {
	at, err := loopback(addr, slackAddr)
	if err != nil {
		return err
	}
	config := slacksim.Config{Addr: at.String()}
	can := "command /zego-close"
	if manifestFile != "" {
		m, err := readManifest(manifestFile)
		if err != nil {
			return err
		}
		config.BotName, config.Commands, config.Scopes = m.Features.BotUser.DisplayName, m.commands(), m.OAuthConfig.Scopes.Bot
		can = fmt.Sprintf("as in %s:\n  commands %s; scopes %s", manifestFile, list(config.Commands), strings.Join(config.Scopes, ", "))
	}
	w, err := slacksim.New(config)
	if err != nil {
		return occupied(at, err)
	}
	defer w.Close()
	settleWorkspace(w)

	fmt.Fprintf(out, `A Slack workspace that lives in this process: Web API, Socket Mode and response_url.

  SLACK_API_URL=%s
  SLACK_BOT_TOKEN=%s
  SLACK_APP_TOKEN=%s

  App %s, bot user %s, workspace %s, %s.

`, w.APIURL(), w.BotToken(), w.AppToken(), w.AppID(), w.BotUser(), w.TeamID(), can)
	for _, u := range w.Users() {
		switch {
		case u.Bot || u.ID == "USLACKBOT":
		case u.TeamID != w.TeamID():
			fmt.Fprintf(out, "  %-12s @%s, of another company (Slack Connect)\n", u.ID, u.Name)
		default:
			fmt.Fprintf(out, "  %-12s @%s\n", u.ID, u.Name)
		}
	}
	for _, c := range w.Channels() {
		fmt.Fprintf(out, "  %-12s %s\n", c.ID, describe(c))
	}
	fmt.Fprintf(out, `
Be a person of the workspace, from another terminal (ts and action_id are in the state):

  curl -s %[1]s/sim/command -d '{"user":"alice","channel":"live-ops","command":"/zego-close","text":"live-42 spam"}'
  curl -s %[1]s/sim/click   -d '{"user":"alice","channel":"live-ops","ts":"…","action_id":"…"}'
  curl -s %[1]s/sim/state

Whatever a well-made client would not do is printed here as it happens. Ctrl-C ends it.
`, w.URL())

	var mu sync.Mutex
	w.OnEvent(func(e slacksim.Event) {
		if e.Kind != slacksim.Violated {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, "%s  VIOLATION %s: %s\n", e.At.Format("15:04:05.000"), e.Type, e.Text)
	})
	<-ctx.Done()
	return nil
}

// describe says in a line what kind of channel c is.
func describe(c slacksim.Channel) string {
	words := []string{"#" + c.Name}
	if c.Kind == slacksim.Private {
		words = append(words, "private")
	}
	if c.ExtShared {
		words = append(words, "shared with another company")
	}
	if !c.BotMember {
		words = append(words, "without the bot")
	}
	return strings.Join(words, ", ")
}

// serveZego runs the simulated ZEGO alone until ctx ends.
func serveZego(ctx context.Context, addr string, out io.Writer) error {
	at, err := loopback(addr, zegoAddr)
	if err != nil {
		return err
	}
	l, err := net.ListenTCP("tcp", at)
	if err != nil {
		return occupied(at, err)
	}
	z := zegosim.New(zegosim.Config{AppID: zegoAppID, ServerSecret: zegoSecret, Listener: l})
	defer z.Close()
	z.Login("live-42", "ann", "ben", "cat")
	z.LoginService("live-42", "recorder")
	z.Login("live-43", "dan", "eve")

	fmt.Fprintf(out, `A ZEGO app that lives in this process: the room actions of the Server API, with ZEGO's limits.

  ZEGO_API_URL=%s
  ZEGO_APP_ID=%d
  ZEGO_SERVER_SECRET=%s

`, z.URL(), zegoAppID, zegoSecret)
	for _, r := range z.Rooms() {
		var who []string
		for _, u := range r.Users {
			who = append(who, u.ID)
		}
		fmt.Fprintf(out, "  room %-12s %s\n", r.ID, list(who))
	}
	fmt.Fprintf(out, `
Be the world around it, from another terminal:

  curl -s %[1]s/sim/login  -d '{"room":"live-44","users":["fay"],"service":["recorder"]}'
  curl -s %[1]s/sim/logout -d '{"room":"live-44","users":["fay"]}'
  curl -s %[1]s/sim/rejoin -d '{"room":"live-42","after":"2s"}'     # its people come back after a CloseRoom
  curl -s %[1]s/sim/fault  -d '{"action":"CloseRoom","count":1,"reset":true}'   # the next answer is lost; {} ends all faults
  curl -s %[1]s/sim/state

Calls, and whatever a well-made client would not do, are printed here as they happen. Ctrl-C ends it.
`, z.URL())

	var mu sync.Mutex
	told := 0
	z.OnCall(func(c zegosim.Call, p zegosim.Phase) {
		mu.Lock()
		defer mu.Unlock()
		violations := z.Violations()
		for _, v := range violations[told:] {
			fmt.Fprintf(out, "%s  VIOLATION %s\n", c.Time.Format("15:04:05.000"), v)
		}
		told = len(violations)
		if p == zegosim.Answered {
			fmt.Fprintf(out, "%s  call %d: %s %q, code %d, executed: %v\n", c.Time.Format("15:04:05.000"), c.N, c.Action, c.RoomID, c.Code, c.Executed)
		}
	})
	<-ctx.Done()
	return nil
}

// loopback reads an address of this machine that no other can reach: what is served has no
// passwords.
func loopback(addr, otherwise string) (*net.TCPAddr, error) {
	if addr == "" {
		addr = otherwise
	}
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	switch {
	case err != nil:
		return nil, fmt.Errorf("-addr %s is no address: %w; use one such as %s", addr, err, otherwise)
	case !tcp.IP.IsLoopback():
		return nil, fmt.Errorf("-addr %s can be reached from other machines, and whoever reaches a simulator rules it; use a loopback address such as %s", addr, otherwise)
	}
	return tcp, nil
}

// occupied says what to do when an address cannot be had.
func occupied(addr *net.TCPAddr, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		free := net.JoinHostPort(addr.IP.String(), "0")
		return fmt.Errorf("%s is taken, perhaps by another demo: end that one, or choose another address, such as -addr %s (any free port)", addr, free)
	}
	return fmt.Errorf("listening on %s: %w; choose another address with -addr", addr, err)
}

// list joins words as people do.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
