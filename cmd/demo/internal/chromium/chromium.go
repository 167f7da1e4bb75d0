// Package chromium finds and starts a headless Chromium that asks nobody for anything, for
// the tests of the demo's page and for its pictures.
package chromium

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"time"

	"github.com/chromedp/chromedp"
)

// startPatience is how long a browser may take to start on a busy machine.
const startPatience = time.Minute

// ErrNone says that there is no browser, and how to get one.
var ErrNone = errors.New("no Chromium was found; install it (Debian: apt-get install chromium), or name one in CHROMIUM")

// Find returns the path of a Chromium.
func Find() (string, error) {
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNone
}

// Start starts a browser with a profile of its own in dir. Contexts made from the returned
// one by chromedp.NewContext are tabs in it; cancel ends it.
func Start(ctx context.Context, path, dir string) (browser context.Context, cancel func(), err error) {
	allocator, stop := chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(path),
		chromedp.UserDataDir(dir),
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless, chromedp.DisableGPU, chromedp.NoSandbox,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-default-apps", true),
		chromedp.Flag("disable-extensions", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("lang", "en-GB"),
		// A window that nobody looks at works as fast as one that is looked at.
		chromedp.Flag("disable-background-timer-throttling", true),
		chromedp.Flag("disable-backgrounding-occluded-windows", true),
		chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.WSURLReadTimeout(startPatience),
	)
	browser, end := chromedp.NewContext(allocator)
	cancel = func() { end(); stop() }
	if err := chromedp.Do(browser); err != nil {
		cancel()
		return nil, nil, err
	}
	return browser, cancel, nil
}
