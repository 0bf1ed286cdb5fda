package web_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// chromium is the one browser that all tests share; each has a tab of its own.
var chromium struct {
	once  sync.Once
	ctx   context.Context
	close []context.CancelFunc
	err   error
}

func openChromium() {
	ctx, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true))...)
	ctx, leave := chromedp.NewContext(ctx)
	chromium.ctx, chromium.close = ctx, []context.CancelFunc{leave, stop}
	if err := chromedp.Do(ctx); err != nil {
		chromium.err = fmt.Errorf("%w; install the browser with scripts/setup.sh web", err)
	}
}

func closeChromium() {
	if len(chromium.close) == 0 {
		return
	}
	_ = chromedp.Cancel(chromium.ctx) // waits for the process
	for _, f := range chromium.close {
		f()
	}
}

// tab is a page in the browser.
type tab struct {
	t   testing.TB
	ctx context.Context
}

// watchFaults notes what the page's scripts throw, and what its policy forbids.
const watchFaults = `window.faults = [];
addEventListener("error", (e) => window.faults.push(e.message));
addEventListener("unhandledrejection", (e) => window.faults.push(String(e.reason)));
addEventListener("securitypolicyviolation", (e) => window.faults.push(e.violatedDirective + " " + e.blockedURI));`

// open shows url in a new tab of a size in CSS pixels.
func open(t testing.TB, url string, w, h int64) tab {
	t.Helper()
	chromium.once.Do(openChromium)
	if chromium.err != nil {
		t.Fatal(chromium.err)
	}
	ctx, cancel := chromedp.NewContext(chromium.ctx)
	t.Cleanup(cancel)
	b := tab{t, ctx}
	// The first call makes the tab, which lives no longer than its context.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	b.do(call(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watchFaults}))
	t.Cleanup(func() {
		if v := eval[[]string](b, "window.faults"); len(v) > 0 {
			t.Errorf("the page's scripts failed: %q", v)
		}
	})
	b.do(call(emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}), chromedp.EmulateViewport(w, h), chromedp.Navigate(url))
	return b
}

func desktop(t testing.TB, url string) tab { return open(t, url, 1280, 900) }

// call is a command of the browser's protocol.
func call[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, c, params)
		return chromedp.Void{}, err
	}
}

func (b tab) do(as ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, as...); err != nil {
		b.t.Fatal(err)
	}
}

// eval is the value of a JavaScript expression.
func eval[T any](b tab, js string) T {
	b.t.Helper()
	v, err := tryEval[T](b, js)
	if err != nil {
		b.t.Fatalf("%s: %v", js, err)
	}
	return v
}

func tryEval[T any](b tab, js string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](js))
}

func (b tab) text(id string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.getElementById(%q).textContent", id))
}

// shows waits until a JavaScript expression is true. It has no value while the tab goes
// from one page to the next.
func (b tab) shows(what, js string) {
	b.t.Helper()
	end := time.Now().Add(patience)
	for {
		yes, err := tryEval[bool](b, "Boolean("+js+")")
		if err == nil && yes {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("after %v the page does not show %s (error %v); it says:\n%s", patience, what, err, eval[string](b, "document.body.innerText"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// says waits until an element's text contains words.
func (b tab) says(id, words string) {
	b.t.Helper()
	b.shows(fmt.Sprintf("%q in #%s", words, id), fmt.Sprintf("document.getElementById(%q).textContent.includes(%q)", id, words))
}

// live waits until the page is live and shows the session's arm.
func (b tab) live() {
	b.t.Helper()
	b.shows("a live session", `document.getElementById("link").textContent.startsWith("live") && document.querySelectorAll("figure.ok").length === 2`)
}

func (b tab) alarms() string {
	return strings.TrimSpace(b.text("alarms"))
}
