// Command demo shows zegoclose at work on one machine, without an account, a network, a
// setting or a file of yours.
//
//	go run ./cmd/demo               a workspace in the browser, on this machine only
//	go run ./cmd/demo -play         plays a conversation in the terminal
//	go run ./cmd/demo -serve slack  runs the simulated Slack workspace alone, for anybody's client
//	                                (-manifest manifest.yaml: with that app's scopes and commands)
//	go run ./cmd/demo -serve zego   runs the simulated ZEGO alone
//
// The pictures of the page in the documentation are made by go run ./cmd/demo/pictures.
//
// A house (house.go) is a simulated workspace, a simulated ZEGO, the people in both, and
// the true bot between them: a child process of this same executable that runs internal/app
// and knows nothing but its real variables (botproc.go).
//
// The page (page.go, and the files in page/) shows the workspace as its people see it, and
// what is behind it, live (live.go): people act in it (deeds.go), things break (trouble.go),
// the bot is killed and started (keeper.go), the journal grows (tail.go).
//
// What is played in the terminal is a list of scenes (scenes.go, play.go), written with the
// few things that people can do (people.go) and what happens in ZEGO's rooms (rooms.go), and
// printed as the channel would show it (screen.go). At the end three records must tell the
// same story, Slack's, the journal's and ZEGO's (records.go), or the exit code is 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitFine    = 0
	exitProblem = 1
	exitUsage   = 2
)

func main() {
	if isBot(os.Environ()) {
		os.Exit(beBot(os.Stdin, os.Environ(), os.Stdout, os.Stderr))
	}
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run is the demo. A signal, or a pipe that nobody reads any more, ends it in good order.
func run(args, environ []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()

	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	play := flags.Bool("play", false, "play a conversation in the terminal")
	what := flags.String("serve", "", "run one simulator alone: `slack` or zego")
	addr := flags.String("addr", "", "loopback `address` to listen on (default "+pageAddr+"; with -serve "+slackAddr+" or "+zegoAddr+")")
	manifest := flags.String("manifest", "", "with -serve slack: a Slack app manifest `file`, such as manifest.yaml; the app has its scopes and commands, and no others")
	verbose := flags.Bool("v", false, "with -play: the bot's own log, to standard error")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitFine
	case err != nil:
		return exitUsage
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "demo: unexpected %q (see demo -h)\n", flags.Arg(0))
		return exitUsage
	case *play && *what != "":
		fmt.Fprintln(stderr, "demo: -play and -serve are two things; choose one")
		return exitUsage
	case *play && *addr != "":
		fmt.Fprintln(stderr, "demo: -play listens nowhere; -addr goes with the page and with -serve")
		return exitUsage
	case *manifest != "" && *what != "slack":
		fmt.Fprintln(stderr, "demo: -manifest goes with -serve slack")
		return exitUsage
	case *verbose && !*play:
		fmt.Fprintln(stderr, "demo: -v goes with -play")
		return exitUsage
	}

	var err error
	switch {
	case *play:
		var botLog io.Writer
		if *verbose {
			botLog = stderr
		}
		err = perform(ctx, newScreen(stdout, environ), botLog)
	case *what == "":
		err = servePage(ctx, *addr, stdout, environ)
	case *what == "slack":
		err = serveSlack(ctx, *addr, *manifest, stdout)
	case *what == "zego":
		err = serveZego(ctx, *addr, stdout)
	default:
		fmt.Fprintf(stderr, "demo: -serve %q is neither slack nor zego\n", *what)
		return exitUsage
	}
	if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitProblem
	}
	return exitFine
}
