package web_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/web"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/kagi/click"
	"github.com/rapport-rl/rapport/reward/kagi/click/clicktest"
)

func clicksPage(t testing.TB, f click.Folder) *web.Server {
	t.Helper()
	w, err := web.Start(web.Options{Session: "rail-001", Clicks: f})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// aim is where a camera's pixel is in the window.
func (b tab) aim(camera string, px [2]float64) [2]float64 {
	b.t.Helper()
	r := b.box(fmt.Sprintf("canvas[data-camera=%q]", camera))
	return [2]float64{r[0] + (px[0]+0.5)/clicktest.Side*r[2], r[1] + (px[1]+0.5)/clicktest.Side*r[3]}
}

// points clicks on a camera's picture with the mouse.
func (b tab) points(camera string, at [3]float64) {
	b.t.Helper()
	p := b.aim(camera, clicktest.Pixel(camera, at))
	b.drag(p, p)
}

// touches does so with a finger.
func (b tab) touches(camera string, at [3]float64) {
	b.t.Helper()
	p := b.aim(camera, clicktest.Pixel(camera, at))
	b.do(call(emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: true}))
	b.do(call(input.DispatchTouchEvent, input.DispatchTouchEventParams{Type: input.DispatchTouchEventTypeTouchStart, TouchPoints: []*input.TouchPoint{{X: p[0], Y: p[1]}}}))
	b.do(call(input.DispatchTouchEvent, input.DispatchTouchEventParams{Type: input.DispatchTouchEventTypeTouchEnd, TouchPoints: []*input.TouchPoint{}}))
	b.do(call(emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{}))
}

func (b tab) acts(n int) {
	b.t.Helper()
	b.shows(fmt.Sprintf("%d things that were clicked", n), fmt.Sprintf(`plan.acts.length === %d && !busy && document.querySelectorAll("#list li").length === %d`, n, n))
}

func (b tab) fill(id, value string) {
	b.t.Helper()
	eval[bool](b, fmt.Sprintf(`(() => { el(%q).value = %q; return true; })()`, id, value))
}

func near(a, b [3]float64) bool {
	return math.Hypot(math.Hypot(a[0]-b[0], a[1]-b[1]), a[2]-b[2]) < 0.012 // a pixel and a half
}

func TestPlanIsClickedUndoneAndSaved(t *testing.T) {
	f := clicktest.Show(t, click.Folder(t.TempDir()))
	w := clicksPage(t, f)
	b := desktop(t, w.URL())
	b.shows("the pictures", "document.body && document.body.dataset.scene")
	b.says("waits", "waits for a plan")

	// The ball, in two views, by its colour.
	b.fill("name", "ball")
	b.points("front", clicktest.Ball)
	b.says("said", "in another view")
	b.points("side", clicktest.Ball)
	b.acts(1)
	b.says("list", "ball at 0.5")
	// Another, with its height; taken back by a key.
	b.fill("height", "50")
	b.points("front", clicktest.Other)
	b.acts(2)
	b.key("z")
	b.acts(1)
	// A way: over the ball, and to it; then one that is cleared of the hand's closing.
	b.key("w")
	b.fill("height", "150")
	b.fill("from", "ball")
	above := [3]float64{clicktest.Ball[0], clicktest.Ball[1], 0.15}
	b.points("front", above)
	b.acts(2)
	// Outside the workspace is refused with the reason.
	b.fill("height", "900")
	b.points("front", clicktest.Ball)
	b.says("said", "z is 0.900 m, outside the workspace of 0.015 to 0.600 m")
	b.fill("height", "two")
	b.points("front", clicktest.Ball)
	b.says("said", "enter millimetres")
	b.acts(2)
	b.fill("height", "50")
	b.fill("grip", "close")
	b.points("front", clicktest.Ball)
	b.acts(3)
	// All that is cleared comes back, and Enter on a box is of the box.
	b.key("c")
	b.acts(0)
	b.says("said", "Cleared")
	b.key("z")
	b.acts(3)
	b.key("p")
	b.do(chromedp.Focus(chromedp.ID("find")), chromedp.KeyEvent(kb.Enter))
	if eval[bool](b, `busy || el("said").textContent.startsWith("Saved")`) {
		t.Error("Enter on a box saved the plan")
	}
	eval[bool](b, `el("find").blur(); true`)
	b.key("w")
	b.key(kb.Enter)
	b.says("said", "Saved: "+f.PlanFile())
	// The program that asked for it ends, and the page says nothing else any more.
	b.says("waits", "The plan is saved.")
	w.Close()
	eval[bool](b, `look(), true`)
	time.Sleep(1500 * time.Millisecond) // a look, and what came of it
	if a := b.alarms(); a != "" || !strings.Contains(b.text("said"), "you may close this page") {
		t.Errorf("after the end it says %q and %q", a, b.text("said"))
	}

	p, err := kagi.Load(f.PlanFile())
	if err != nil {
		t.Fatal(err)
	}
	if waits, err := f.Waits(); err != nil || waits {
		t.Errorf("waits %v, %v after the plan was saved", waits, err)
	}
	if len(p.Points) != 2 || !p.Points[0].Hand || p.Points[1].Name != "ball" || p.Points[1].Colour == nil || p.Points[1].Camera != "front" || math.Abs(p.Points[1].Height-0.05) > 0.012 {
		t.Errorf("points %+v", p.Points)
	}
	if p.Task != "bring the hand to the ball" || len(p.Stages) != 1 || p.Stages[0].Point != "hand" || len(p.Stages[0].Waypoints) != 2 {
		t.Fatalf("got %+v", p)
	}
	ws := p.Stages[0].Waypoints
	if ws[0].From != "ball" || !near(ws[0].At, [3]float64{0, 0, 0.1}) || ws[0].Grip != "" || !near(ws[1].At, [3]float64{}) || ws[1].Grip != "close" {
		t.Errorf("waypoints %+v", ws)
	}
}

func TestClicksPageOnATablet(t *testing.T) {
	f := clicktest.Show(t, click.Folder(t.TempDir()))
	b := open(t, clicksPage(t, f).URL(), 768, 1024)
	b.shows("the pictures", "document.body && document.body.dataset.scene")
	eval[bool](b, `el("find").checked = false; true`)
	b.touches("side", clicktest.Other)
	b.says("said", "in another view")
	b.do(chromedp.EmulateViewport(1024, 768))
	if v := eval[[]float64](b, `(scrollTo(0, 0), (({ top, bottom }) => [top, innerHeight - bottom])(el("said").getBoundingClientRect()))`); v[0] < 0 || v[1] < 0 {
		t.Errorf("the answer to a click is out of sight: %v", v)
	}
	b.do(chromedp.EmulateViewport(768, 1024))
	b.touches("front", clicktest.Other)
	b.acts(1)
	b.says("list", "p1 at 0.6")
	b.tap("#waypoints")
	b.touches("side", clicktest.Ball)
	b.touches("front", clicktest.Ball)
	b.acts(2)
	b.tap("#clear")
	b.acts(0)
	b.shows("nothing to save", `el("save").disabled`)
	for _, size := range [][2]int64{{768, 1024}, {1024, 768}, {390, 844}} {
		b.do(chromedp.EmulateViewport(size[0], size[1]))
		if v := eval[[]int](b, `[document.documentElement.scrollWidth, innerWidth]`); v[0] > v[1] || v[1] != int(size[0]) {
			t.Errorf("%v: %d wide in a window of %d", size, v[0], v[1])
		}
		small := eval[[]string](b, `[...document.querySelectorAll("button")].filter((e) => e.offsetParent && (e.offsetHeight < 44 || e.offsetWidth < 40)).map((e) => e.id)`)
		if len(small) > 0 {
			t.Errorf("%v: too small for a finger: %v", size, small)
		}
	}
}

func TestClicksPageOfASessionThatRunsStopsItsArm(t *testing.T) {
	s := newSession(t, bus.Options{})
	f := clicktest.Show(t, click.Folder(t.TempDir()))
	w, err := web.Start(web.Options{Conn: s.srv.Conn(), Session: s.name, Clicks: f})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := desktop(t, w.ClicksURL())
	b.shows("the pictures", "document.body && document.body.dataset.scene")
	b.key(" ")
	b.says("alarms", "The arm is stopped")
	if f := s.fault(0); !strings.Contains(f.Detail, "STOP on the page of clicks") {
		t.Errorf("got %+v", f)
	}
}

func TestStopIsToldOnThePageOfClicks(t *testing.T) {
	s := newSession(t, bus.Options{})
	w, err := web.Start(web.Options{Conn: s.srv.Conn(), Session: s.name, Clicks: clicktest.Show(t, click.Folder(t.TempDir()))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := desktop(t, w.ClicksURL())
	b.shows("the pictures", "document.body && document.body.dataset.scene")
	stopIsTold(t, s, b, func() {
		eval[bool](b, `state.looks = 0, true`) // until the state came anew
		b.shows("another state", `!("looks" in state)`)
	})
}

func TestPicturesOfAPlanAreAskedForUntilTheyCome(t *testing.T) {
	f := clicktest.Show(t, click.Folder(t.TempDir()))
	side := filepath.Join(string(f), "camera-side.png")
	if err := os.Rename(side, side+".later"); err != nil {
		t.Fatal(err)
	}
	b := desktop(t, clicksPage(t, f).URL())
	b.says("alarms", "The picture of camera side did not come")
	if err := os.Rename(side+".later", side); err != nil {
		t.Fatal(err)
	}
	b.shows("the pictures", `document.body.dataset.scene && el("alarms").textContent === ""`)
	b.points("front", clicktest.Ball)
	b.points("side", clicktest.Ball)
	b.acts(1)
}

func TestAPointsNameIsWrittenInPeace(t *testing.T) {
	b := desktop(t, clicksPage(t, clicktest.Show(t, click.Folder(t.TempDir()))).URL())
	b.shows("the pictures", "document.body && document.body.dataset.scene")
	b.do(chromedp.Focus(chromedp.ID("name")))
	eval[bool](b, `el("name").value = ""; state.looks = 0; true`)
	b.shows("another state", `!("looks" in state)`)
	if got := eval[string](b, `draw(), el("name").value`); got != "" {
		t.Errorf("the page wrote %q into a field that somebody writes in", got)
	}
	eval[bool](b, `el("name").blur(); true`)
	b.shows("a name that is free", `el("name").value === "p1"`)
}

func TestAnotherPlanIsClickedInASession(t *testing.T) {
	s := newSession(t, bus.Options{})
	f := clicktest.Show(t, click.Folder(t.TempDir()))
	w, err := web.Start(web.Options{Conn: s.srv.Conn(), Session: s.name, Clicks: f})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := desktop(t, w.ClicksURL())
	b.shows("the pictures", "document.body && document.body.dataset.scene")
	b.key("w")
	b.fill("height", "150")
	b.points("front", clicktest.Ball)
	b.acts(1)
	b.key(kb.Enter)
	b.says("said", "The session goes on")
	b.says("file", "1 stages")
	b.says("waits", "No plan is waited for")
	b.do(chromedp.Click(chromedp.ID("again")))
	b.says("waits", "The next reset waits")
	clicktest.Show(t, f, "ball")
	b.shows("the new pictures", `document.body.dataset.scene === "2" && plan.acts.length === 0`)
	if got := eval[string](b, `el("name").value`); got != "ball" {
		t.Errorf("the policy sees the ball, and the page asks for %q", got)
	}
}

func TestClicksRequestsNeedTheTokenAndSense(t *testing.T) {
	f := clicktest.Show(t, click.Folder(t.TempDir()))
	w := clicksPage(t, f)
	base, token, ok := strings.Cut(w.URL(), "/clicks#")
	if !ok {
		t.Fatalf("the page is at %s", w.URL())
	}
	pass := []string{"Authorization", "Bearer " + token}
	draft := func(scene int) string {
		b, err := json.Marshal(click.Draft{Scene: scene, Plan: kagi.Plan{Points: []kagi.Point{{Name: "hand", Hand: true}},
			Stages: []kagi.Stage{{Point: "hand", Waypoints: []kagi.Waypoint{{At: [3]float64{0.5, 0, 0.2}}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, tt := range []struct {
		name, method, path, body string
		head                     []string
		code                     int
		says                     string
	}{
		{"stranger", "GET", "/clicks/state", "", nil, http.StatusUnauthorized, "no valid token"},
		{"stranger saves", "POST", "/clicks/save", draft(1), nil, http.StatusUnauthorized, "no valid token"},
		{"no camera", "GET", "/clicks/picture?camera=../scene", "", pass, http.StatusBadRequest, "no camera is called"},
		{"no JSON", "POST", "/clicks/lift", "[", pass, http.StatusBadRequest, "docs/kagi.md"},
		{"beside", "POST", "/clicks/lift", `{"views":[{"camera":"front","pixel":[200,3]}],"height":0.1}`, pass, http.StatusBadRequest, "beside the picture"},
		{"too early", "POST", "/clicks/again", "{}", pass, http.StatusBadRequest, "no plan yet"},
		{"old pictures", "POST", "/clicks/save", draft(7), pass, http.StatusBadRequest, "click it again"},
		{"fine", "POST", "/clicks/save", draft(1), pass, http.StatusOK, "plan.json"},
		{"twice", "POST", "/clicks/save", draft(1), pass, http.StatusBadRequest, "no plan is waited for"},
	} {
		code, body, _ := requestAt(t, base, tt.head, tt.method, tt.path, tt.body)
		if code != tt.code || !strings.Contains(body, tt.says) {
			t.Errorf("%s: got %d %s, want %d with %q", tt.name, code, body, tt.code, tt.says)
		}
	}
	empty := clicksPage(t, click.Folder(t.TempDir()))
	base, token, _ = strings.Cut(empty.URL(), "/clicks#")
	if code, body, _ := requestAt(t, base, []string{"Authorization", "Bearer " + token}, "GET", "/clicks/state", ""); code != http.StatusNotFound || !strings.Contains(body, "no picture has come yet") {
		t.Errorf("before the first reset: %d %s", code, body)
	}
}
