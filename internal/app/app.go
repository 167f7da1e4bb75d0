// Package app is the program: its settings, its commands, and the wiring of its parts.
//
// [Run] takes all that an operating system gives a process and returns its exit code, so
// tests start the true program. Nothing below it reads the environment, and nothing below
// it knows whether it talks to Slack and ZEGO or to their simulators: only base URLs differ.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	exitFine    = 0
	exitProblem = 1 // a problem was found, or the run failed
	exitUsage   = 2 // wrong usage or configuration
)

// commands are what can be typed after the program's name.
type commands struct {
	Run     runCommand     `cmd:"" default:"1" help:"Run the bot (the default)."`
	Audit   auditCommand   `cmd:"" help:"Check the record: verify the journal, export it, compare it with Slack."`
	Check   checkCommand   `cmd:"" help:"Look at everything the bot needs, and say what is wrong and what to do. Changes nothing."`
	Health  healthCommand  `cmd:"" help:"Ask the instance running at HTTP_ADDR whether it works."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// world is what the operating system gives a process.
type world struct {
	environ        []string
	stdout, stderr io.Writer
}

// Run is the program. It ends when its work is done, when ctx ends, or at SIGTERM or an
// interrupt; a second signal ends the process at once.
func Run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal is the system's again

	exited := -1
	parser, err := kong.New(&commands{},
		kong.Name("zegoclose"),
		kong.Description("Closes ZEGO live rooms from Slack, with a confirmation and an audit trail."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(&world{environ, stdout, stderr}))
	if err != nil {
		fmt.Fprintln(stderr, "zegoclose:", err)
		return exitUsage
	}
	command, err := parser.Parse(twoDashes(args))
	switch {
	case exited >= 0: // help was asked for and printed
		return exited
	case err != nil:
		fmt.Fprintf(stderr, "zegoclose: %v (see zegoclose --help)\n", err)
		return exitUsage
	}
	switch err := command.Run(); {
	case errors.Is(err, errFindings):
		return exitProblem
	case err != nil:
		fmt.Fprintln(stderr, "zegoclose:", err)
		_, wrongConfig := errors.AsType[*configError](err)
		_, wrongUse := errors.AsType[usageError](err)
		if wrongConfig || wrongUse {
			return exitUsage
		}
		return exitProblem
	}
	return exitFine
}

// A usageError is a command that was called in a wrong way.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// twoDashes lets every flag be written with one dash or two.
func twoDashes(args []string) []string {
	long := make([]string, len(args))
	for i, a := range args {
		if len(a) > 2 && a[0] == '-' && a[1] != '-' && (a[1] < '0' || a[1] > '9') {
			a = "-" + a
		}
		long[i] = a
	}
	return long
}
