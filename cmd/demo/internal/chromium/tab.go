package chromium

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// Patience is how long anything on a page may take before it counts as never coming.
const Patience = 40 * time.Second

// pace is how often a page is asked whether it is so far.
const pace = 40 * time.Millisecond

// A Tab is a window in a browser, used as people use one: with the mouse and the keyboard,
// after looking. After the first thing that does not work it does nothing more; Err is that.
type Tab struct {
	Err error

	ctx context.Context
	mu  sync.Mutex
	log []string
}

// Open opens a window that shares no storage with others. It stays open as long as ctx.
func Open(ctx context.Context, browser context.Context) *Tab {
	tab, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	context.AfterFunc(ctx, cancel)
	t := &Tab{ctx: tab}
	messages := chromedp.Console(tab)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.IsException() || m.Type == "error" || m.Type == "warning" {
				t.mu.Lock()
				t.log = append(t.log, m.String())
				t.mu.Unlock()
			}
		}
	}()
	call(t, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "UTC"})
	return t
}

// Complaints are the errors and warnings that the page's console shows: exceptions, and
// whatever the Content-Security-Policy refused.
func (t *Tab) Complaints() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string{}, t.log...)
}

func (t *Tab) do(doing string, f func(context.Context) error) {
	if t.Err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, Patience)
	defer cancel()
	if err := f(ctx); err != nil {
		t.Err = fmt.Errorf("%s: %w", doing, err)
	}
}

// Size makes the window so large, in CSS pixels, with two dots for each.
func (t *Tab) Size(width, height int64, phone bool) {
	call(t, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 2, Mobile: phone})
}

// Scheme makes the person prefer light or dark, and no motion.
func (t *Tab) Scheme(name string) {
	call(t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// Visit opens an address.
func (t *Tab) Visit(address string) {
	t.do("opening "+address, func(ctx context.Context) error { return chromedp.Do(ctx, chromedp.Navigate(address)) })
}

// Reload does what F5 does.
func (t *Tab) Reload() {
	t.do("reloading", func(ctx context.Context) error { return chromedp.Do(ctx, chromedp.Reload()) })
}

// Eval looks something up on the page.
func Eval[T any](t *Tab, expression string) (value T) {
	t.do("evaluating "+expression, func(ctx context.Context) (err error) {
		value, err = chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
		return err
	})
	return value
}

type command[P, R any] = cdp.Command[P, R]

// call sends a command of the browser's own protocol.
func call[P, R any](t *Tab, cmd command[P, R], params P) (result R) {
	t.do(cmd.Method, func(ctx context.Context) (err error) {
		result, err = chromedp.Call(ctx, cmd, params)
		return err
	})
	return result
}

// Until waits until an expression is true on the page.
func (t *Tab) Until(expression string) {
	t.do("waiting until "+expression, func(ctx context.Context) error {
		for {
			ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
			if ok {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("it never came: %w", context.Cause(ctx))
			case <-time.After(pace):
				_ = err // the page may be on its way; what is wrong for good ends as a timeout
			}
		}
	})
	if t.Err != nil && !strings.Contains(t.Err.Error(), "the page reads") && t.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(t.ctx, 5*time.Second)
		defer cancel()
		text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
		t.Err = fmt.Errorf("%w; the page reads:\n%s", t.Err, text)
	}
}

// quote is s as a string of JavaScript.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Count is how many elements fit a selector.
func (t *Tab) Count(selector string) int {
	return Eval[int](t, "document.querySelectorAll("+quote(selector)+").length")
}

// Text is what can be read in the first element that fits a selector.
func (t *Tab) Text(selector string) string {
	return Eval[string](t, "document.querySelector("+quote(selector)+")?.innerText ?? ''")
}

// Reads waits until an element's text contains something.
func (t *Tab) Reads(selector, text string) {
	t.Until("[...document.querySelectorAll(" + quote(selector) + ")].some((e) => e.textContent.includes(" + quote(text) + "))")
}

// Shows waits until there is an element that fits a selector.
func (t *Tab) Shows(selector string) { t.Until("document.querySelector(" + quote(selector) + ")") }

// Click clicks with the mouse on the last element that fits a selector and bears the label,
// if one is given, once it can be hit.
func (t *Tab) Click(selector, label string) { t.ClickIn("", selector, label) }

// ClickIn is Click inside a list item that contains some text.
func (t *Tab) ClickIn(text, selector, label string) {
	find := "[...document.querySelectorAll(" + quote(selector) + ")]"
	if label != "" {
		find += ".filter((e) => e.innerText.trim() === " + quote(label) + ")"
	}
	if text != "" {
		find += ".filter((e) => e.closest('li')?.textContent.includes(" + quote(text) + "))"
	}
	const hit = `((e) => {
		if (!e || e.disabled) return null;
		e.scrollIntoView({ block: "nearest", inline: "nearest" });
		const r = e.getBoundingClientRect();
		const x = r.x + r.width / 2, y = r.y + r.height / 2;
		const top = document.elementFromPoint(x, y);
		return top && (e.contains(top) || top.contains(e)) ? [x, y] : null;
	})`
	// Nobody can hit what moves.
	t.Until("(window.hit = ((now) => now && window.hit && now.join() === window.hit.join() ? [...now, true] : now)(" + hit + "(" + find + ".at(-1))))?.at(2)")
	p := Eval[[]float64](t, "window.hit.slice(0, 2)")
	t.do("clicking "+selector+" "+label, func(ctx context.Context) error {
		return chromedp.Do(ctx, chromedp.MouseClickXY(p[0], p[1]))
	})
}

// Type clicks into a box and types.
func (t *Tab) Type(selector, text string) {
	t.Click(selector, "")
	t.Write(text)
}

// Write types where the focus is.
func (t *Tab) Write(text string) {
	call(t, input.InsertText, input.InsertTextParams{Text: text})
}

// Say types into a box and presses Enter.
func (t *Tab) Say(selector, text string) {
	t.Type(selector, text)
	t.Press(Enter)
}

// Press presses a key as a keyboard does: what the page prevents at its beginning has no effect.
func (t *Tab) Press(k Key) {
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
		p := input.DispatchKeyEventParams{Type: kind, Key: k.Name, Code: k.Name, WindowsVirtualKeyCode: k.Code}
		if kind == input.DispatchKeyEventTypeKeyDown {
			p.Text = k.Text
		}
		if k.Shift {
			p.Modifiers = 8
		}
		call(t, input.DispatchKeyEvent, p)
	}
}

// A Key is on a keyboard.
type Key struct {
	Name  string
	Code  int64
	Text  string // what it writes
	Shift bool   // held down meanwhile
}

// Keys that a page is used with.
var (
	Enter      = Key{Name: "Enter", Code: 13, Text: "\r"}
	TabKey     = Key{Name: "Tab", Code: 9}
	ShiftTab   = Key{Name: "Tab", Code: 9, Shift: true}
	Escape     = Key{Name: "Escape", Code: 27}
	ArrowRight = Key{Name: "ArrowRight", Code: 39}
)

// Choose chooses an option of a list, by its value.
func (t *Tab) Choose(selector, value string) {
	Eval[bool](t, "((s) => { s.value = "+quote(value)+"; s.dispatchEvent(new Event('change', { bubbles: true })); return true })(document.querySelector("+quote(selector)+"))")
}

// Picture is a picture of an element, or of the window if no selector is given.
func (t *Tab) Picture(selector string) []byte {
	params := page.CaptureScreenshotParams{}
	if selector != "" {
		box := Eval[[]float64](t, "((r) => [r.x, r.y, r.width, r.height])(document.querySelector("+quote(selector)+").getBoundingClientRect())")
		if t.Err == nil {
			params.Clip = &page.Viewport{X: box[0], Y: box[1], Width: box[2], Height: box[3], Scale: 1}
		}
	}
	return call(t, page.CaptureScreenshot, params).Data
}
