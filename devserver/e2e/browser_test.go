package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// browser is a real Chromium without a window, which looks at Temporal's UI as
// a person does.
type browser struct {
	t     testing.TB
	page  context.Context
	shots string // folder of the screenshots
}

// browserNames are what Chromium is called where it is installed.
var browserNames = []string{"chromium", "chromium-browser", "google-chrome"}

// openBrowser starts Chromium. Without one the test is skipped, and in CI it
// fails.
func openBrowser(t testing.TB) *browser {
	t.Helper()
	path := ""
	for _, name := range browserNames {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		const missing = "no Chromium is installed (Debian: apt-get install chromium): nobody looked at Temporal's UI"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	b := &browser{t: t, shots: os.Getenv("SCREENSHOTS")}
	if b.shots == "" {
		shots, err := os.MkdirTemp("", "payouts-screenshots-")
		if err != nil {
			t.Fatal(err)
		}
		b.shots = shots
	}
	if err := os.MkdirAll(b.shots, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Logf("screenshots are in %s", b.shots)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WindowSize(1920, 1200), chromedp.UserDataDir(t.TempDir()))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // root has none
	}
	started, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	page, closePage := chromedp.NewContext(started)
	t.Cleanup(closePage)
	b.page = page
	// The browser lives as long as the context of its first action.
	if _, err := chromedp.Run(page, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return b
}

// does is one thing that a person does, within a limit.
func does[T any](b *browser, what string, action chromedp.Action[T]) T {
	b.t.Helper()
	within, cancel := context.WithTimeout(b.page, soon)
	defer cancel()
	result, err := chromedp.Run(within, action)
	if err != nil {
		b.t.Fatalf("browser: %s: %v", what, err)
	}
	return result
}

// visit goes to an address.
func (b *browser) visit(address string) {
	b.t.Helper()
	does(b, "visit "+address, chromedp.Navigate(address))
}

// pages are the page and the frames in it, in which Markdown is shown.
const pages = `(() => {
	const within = page => [page].concat(...[...page.querySelectorAll("iframe")].map(f => f.contentDocument ? within(f.contentDocument) : []));
	return within(document);
})()`

// shown is the text that a person reads on the page.
func (b *browser) shown() string {
	b.t.Helper()
	text := does(b, "read the page", evaluate[string](pages+`.map(p => p.body ? p.body.innerText : "").join("\n")`))
	return strings.NewReplacer("’", "'", "\u00a0", " ").Replace(text) // Markdown makes quotes pretty
}

// source is all that the page is made of.
func (b *browser) source() string {
	b.t.Helper()
	return does(b, "read the source", evaluate[string](pages+`.map(p => p.documentElement.outerHTML).join("\n")`))
}

// linkInDetails is where a link leads that Markdown shows.
func (b *browser) linkInDetails(text string) string {
	b.t.Helper()
	return does(b, "find the link "+text, evaluate[string](pages+fmt.Sprintf(`.flatMap(p => [...p.querySelectorAll("a")]).find(a => a.innerText === %q).href`, text)))
}

// sees waits until the page shows all of these texts, and answers with all
// that it shows.
func (b *browser) sees(texts ...string) string {
	b.t.Helper()
	var page string
	var missing []string
	await(b.t, soon, func() bool {
		page, missing = b.shown(), nil
		for _, text := range texts {
			if !strings.Contains(page, text) {
				missing = append(missing, text)
			}
		}
		return len(missing) == 0
	}, func() string {
		b.shoot("missing")
		return fmt.Sprintf("the page does not show %q; it shows:\n%s", missing, page)
	})
	return page
}

// shoot takes a picture of the page.
func (b *browser) shoot(name string) {
	b.t.Helper()
	picture := does(b, "take a picture", chromedp.CaptureScreenshot())
	if err := os.WriteFile(filepath.Join(b.shots, name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// click clicks a link, a button, a tab or an entry of a menu, by what it shows
// or is called. What is shown may end with a number, such as of events.
func (b *browser) click(text string) {
	b.t.Helper()
	script := fmt.Sprintf(`(() => {
		const is = e => [e.innerText.replace(/\s*\d+\s*$/, "").trim(), e.getAttribute("aria-label")].includes(%q);
		const found = [...document.querySelectorAll("a, button, [role=tab], [role=menuitem]")].find(e => is(e) && !e.disabled && e.getClientRects().length > 0);
		if (found) found.click();
		return !!found;
	})()`, text)
	await(b.t, soon, func() bool { return does(b, "click "+text, evaluate[bool](script)) }, func() string {
		b.shoot("missing")
		return fmt.Sprintf("nothing on the page can be clicked that reads %q; it shows:\n%s", text, b.shown())
	})
}

// evaluate runs a script in the page.
func evaluate[T any](script string) chromedp.Action[T] { return chromedp.Evaluate[T](script) }
