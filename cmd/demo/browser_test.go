package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"zegoclose/cmd/demo/internal/chromium"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// chromes is the one browser of all tests; every window has its own storage.
var chromes struct {
	once   sync.Once
	ctx    context.Context
	cancel func()
	dir    string
	err    error
}

// browser starts the browser, or skips the test where there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	chromes.once.Do(func() {
		var path string
		if path, chromes.err = chromium.Find(); chromes.err != nil {
			return
		}
		if chromes.dir, chromes.err = os.MkdirTemp("", "zegoclose-chromium-"); chromes.err == nil {
			chromes.ctx, chromes.cancel, chromes.err = chromium.Start(context.Background(), path, chromes.dir)
		}
	})
	if errors.Is(chromes.err, chromium.ErrNone) {
		t.Skip(chromes.err)
	}
	require.NoError(t, chromes.err)
	return chromes.ctx
}

// closeBrowser ends the browser after the last test.
func closeBrowser() {
	if chromes.cancel != nil {
		chromes.cancel()
	}
	if chromes.dir != "" {
		os.RemoveAll(chromes.dir)
	}
}

// slots bounds how many tests use the browser at a time.
var slots = make(chan struct{}, 3)

// scenery is a workspace of a test's own, with the page on it.
type scenery struct {
	*site
	t   *testing.T
	url string

	pardoned bool // the bot is made to break rules
}

// stage builds a workspace in which the bot runs.
func stage(t *testing.T) *scenery {
	t.Helper()
	t.Parallel()
	browser(t)
	slots <- struct{}{}
	t.Cleanup(func() { <-slots })
	return serveSite(t)
}

// serveSite serves the page of a new house, and looks at its end for what went wrong unseen.
func serveSite(t *testing.T) *scenery {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s, err := newSite(l.Addr().String())
	require.NoError(t, err)
	server := &http.Server{Handler: s.handler()}
	go server.Serve(l)
	g := &scenery{site: s, t: t, url: "http://" + s.host}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the bot's log:\n%s", s.lastWords())
		}
		if !g.pardoned {
			assert.Empty(t, (&stream{site: s}).mistakes(), "rules that the bot broke")
		}
		server.Close()
		assert.NoError(t, s.close())
	})
	return g
}

// window opens the page as somebody.
func (g *scenery) window(who, channel string) *window {
	g.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g.t.Cleanup(cancel)
	w := &window{Tab: chromium.Open(ctx, browser(g.t)), t: g.t}
	g.t.Cleanup(func() {
		if g.t.Failed() {
			w.keep()
		}
		for _, c := range w.Complaints() {
			// What the bot's end breaks on purpose is no mistake of the page.
			if !strings.Contains(c, "ERR_") {
				assert.Fail(g.t, "the page's console complains", c)
			}
		}
	})
	w.Size(1440, 900, false)
	w.Visit(fmt.Sprintf("%s/?as=%s&in=%s", g.url, who, channel))
	w.Shows("body[data-ready]")
	w.Until(`document.querySelector("#bot").dataset.state === "running"`)
	w.must()
	return w
}

// window is the page before somebody's eyes.
type window struct {
	*chromium.Tab
	t *testing.T
}

// must ends the test if something on the page did not work.
func (w *window) must() {
	w.t.Helper()
	require.NoError(w.t, w.Err)
}

// keep keeps a picture of a page on which something went wrong, if PICTURES names a directory.
func (w *window) keep() {
	if dir := os.Getenv("PICTURES"); dir != "" {
		w.Err = nil
		name := strings.ReplaceAll(w.t.Name(), "/", "-") + ".png"
		os.WriteFile(dir+"/"+name, w.Picture(""), 0o644)
	}
}

// The messages of the conversation, and of the open thread.
const (
	messages = "#messages > li"
	replies  = "#replies > li"
)

// asks types the command and waits until the card of the case stands in the channel.
func (w *window) asks(number int, text string) {
	w.t.Helper()
	w.Say("#composer", "/zego-close "+text)
	w.Reads(messages+":not(.private)", fmt.Sprintf("#%d  Close room?", number))
	w.must()
}

// presses presses a button of the newest card that has it.
func (w *window) presses(label string) {
	w.t.Helper()
	w.Click("#messages .button", label)
	w.must()
}

// reads waits until a message says something, and is not one for private eyes.
func (w *window) reads(text string) {
	w.t.Helper()
	w.Reads(messages+":not(.private)", text)
	w.must()
}

// isTold waits until a message for this person's eyes alone says something.
func (w *window) isTold(text string) {
	w.t.Helper()
	w.Reads(messages+".private", text)
	w.must()
}

// opens opens the thread of a case and waits until it says something.
func (w *window) opens(number int, text string) {
	w.t.Helper()
	w.ClickIn(fmt.Sprintf("#%d  ", number), "#messages .replies", "")
	w.Reads(replies, text)
	w.must()
}

// tab shows one of the panels behind the scenes.
func (w *window) tab(name string) {
	w.t.Helper()
	w.Click("#tab-"+name, "")
	w.must()
}
