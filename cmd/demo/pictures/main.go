// Command pictures makes the pictures of the page that the documentation shows, from the
// running page, in a headless Chromium:
//
//	go run ./cmd/demo/pictures docs/pictures
//
// It builds the demo, starts it, and does there what a person would do.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"zegoclose/cmd/demo/internal/chromium"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("name one directory for the pictures, such as docs/pictures")
	}
	dir := args[0]
	path, err := chromium.Find()
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "zegoclose-pictures-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	browser, cancel, err := chromium.Start(ctx, path, filepath.Join(tmp, "profile"))
	if err != nil {
		return fmt.Errorf("starting Chromium: %w", err)
	}
	defer cancel()
	exe := filepath.Join(tmp, "demo")
	if b, err := exec.CommandContext(ctx, "go", "build", "-o", exe, "zegoclose/cmd/demo").CombinedOutput(); err != nil {
		return fmt.Errorf("building the demo: %w\n%s", err, b)
	}
	for _, scheme := range []string{"light", "dark"} {
		if err := take(browser, exe, scheme, func(name string, png []byte) error {
			file := filepath.Join(dir, name+"-"+scheme+".png")
			fmt.Fprintln(out, file)
			return os.WriteFile(file, png, 0o644)
		}); err != nil {
			return fmt.Errorf("%s: %w", scheme, err)
		}
	}
	return nil
}

// startDemo starts a demo and returns its address.
func startDemo(ctx context.Context, exe string) (address string, stop func(), err error) {
	cmd := exec.CommandContext(ctx, exe, "-addr", "127.0.0.1:0")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		cmd.Process.Signal(os.Interrupt)
		io.Copy(io.Discard, stdout)
		cmd.Wait()
	}
	url := regexp.MustCompile(`http://\S+`)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if address := url.FindString(lines.Text()); address != "" {
			return address, stop, nil
		}
	}
	stop()
	return "", nil, errors.New("the demo did not start")
}

// take lives through a short morning in a workspace of its own and takes the pictures.
func take(browser context.Context, exe, scheme string, keep func(name string, png []byte) error) error {
	address, stop, err := startDemo(browser, exe)
	if err != nil {
		return err
	}
	defer stop()
	over, close := context.WithCancel(browser)
	defer close()
	t := chromium.Open(over, browser)
	picture := func(name, selector string) {
		time.Sleep(400 * time.Millisecond) // for what is drawn a little later
		if png := t.Picture(selector); t.Err == nil {
			t.Err = keep(name, png)
		}
	}

	t.Scheme(scheme)
	t.Size(1180, 820, false)
	t.Visit(address + "?as=U0ALICE&in=C0LIVEOPS")
	t.Until(`document.querySelector("#bot").dataset.state === "running"`)

	t.Say("#composer", "/zego-close live-42 spam links in chat")
	t.Shows("#messages .private")
	t.Shows("#messages .button.danger")
	picture("card", "#messages > li.app:not(.private)")

	t.Click("#messages .button", "Close room")
	t.Reads("#messages", "Closed live-42")
	t.Click("#messages .replies", "")
	t.Reads("#replies", "Closed by ZEGO")
	t.Size(1180, 500, false)
	picture("thread", "#thread")
	t.Size(1180, 820, false)

	t.Say("#composer", "/zego-close live-4Z copyrighted music")
	t.Click("#messages .button", "Close room")
	t.Reads("#messages", "ZEGO has no room")
	t.Say("#composer", "/zego-close live-43 insults")
	t.Shows("#messages .button.danger")
	t.Size(1600, 960, false)
	t.Click("#tab-zego", "")
	t.Until(`document.querySelectorAll("#messages .replies").length === 2`)
	t.Click("#guide-close", "")
	chromium.Eval[bool](t, `document.activeElement.blur() ?? true`)
	picture("page", "")
	return t.Err
}
