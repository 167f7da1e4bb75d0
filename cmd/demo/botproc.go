package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"zegoclose/internal/app"
)

// marker in the environment makes this executable the bot, and nothing else.
const marker = "ZEGOCLOSE_DEMO_BOT=1"

func isBot(environ []string) bool { return slices.Contains(environ, marker) }

// beBot is the true program. It also ends when its standard input does, so that it cannot
// outlive the demo, however that ends.
func beBot(stdin io.Reader, environ []string, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, stdin)
		cancel()
	}()
	return app.Run(ctx, nil, environ, stdout, stderr)
}

// stopPatience is how long a bot that was told to end may take; its own limit is shorter.
const stopPatience = 15 * time.Second

// bot is the bot's process.
type bot struct {
	cmd    *exec.Cmd
	life   io.Closer     // its standard input
	exited chan struct{} // closed when it has ended
	err    error         // how it ended; for reading once exited is closed
}

// startBot starts the bot with these variables and no others.
func startBot(variables []string, log io.Writer) (*bot, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this executable, to start the bot from it: %w", err)
	}
	b := &bot{cmd: exec.Command(exe), exited: make(chan struct{})}
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the demo, which ends the bot properly
	b.cmd.Env = append(slices.Clone(variables), marker)
	b.cmd.Stdout, b.cmd.Stderr = log, log
	if b.life, err = b.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting the bot: %w", err)
	}
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the bot: %w", err)
	}
	go func() {
		b.err = b.cmd.Wait()
		close(b.exited)
	}()
	return b, nil
}

// stop lets the bot finish what it has in hand, as a deploy does. It returns an error
// unless the bot ends well.
func (b *bot) stop() error {
	b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.exited:
	case <-time.After(stopPatience):
		b.kill()
		return fmt.Errorf("the bot did not end within %v of SIGTERM", stopPatience)
	}
	if b.err != nil {
		return fmt.Errorf("the bot did not end well: %w", b.err)
	}
	return nil
}

// kill ends the bot between two instructions (SIGKILL) and returns when it is gone.
func (b *bot) kill() {
	b.cmd.Process.Kill()
	<-b.exited
}

// running returns an error once the bot has ended.
func (b *bot) running() error {
	select {
	case <-b.exited:
		return errors.Join(errors.New("the bot has ended by itself"), b.err)
	default:
		return nil
	}
}
