package web_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/web"
	"github.com/rapport-rl/rapport/reward/kagi/click"
)

// sum adds up the pixels of a camera's canvas.
const sum = `(() => { const c = document.querySelector("canvas"); const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data; let s = 0; for (let i = 0; i < d.length; i += 5) s += d[i] * (i % 977); return s; })()`

func TestPageShowsTheSessionLive(t *testing.T) {
	s := newSession(t, bus.Options{})
	b := desktop(t, s.page(t).URL())
	b.live()
	for id, want := range map[string]string{
		"session": "rail-001", "work": "fine-tune 3 of 120, success 1 of 3", "episode": "online-00003, the way back", "by": "policy", "human": "2 here, 9 in all",
		"success": "41 of 100 (41 %)", "pose": "3.3, 0.0, 0.0 N", "returns": "episode 0 to 6", "metrics": "critic_loss0.120",
	} {
		b.says(id, want)
	}
	if n := eval[int](b, `document.querySelector("canvas").width`); n != 64 {
		t.Errorf("the picture is %d wide, want 64", n)
	}
	pixels, pose, step := eval[float64](b, sum), b.text("pose"), b.text("step")
	b.shows("another picture", fmt.Sprintf("%s !== %v", sum, int64(pixels)))
	b.shows("another position", fmt.Sprintf("document.getElementById('pose').textContent !== %q", pose))
	b.shows("another step", fmt.Sprintf("document.getElementById('step').textContent !== %q", step))
	b.shows("a reward curve", `document.querySelector("#reward path").getAttribute("d").length > 40`)
	if age := eval[string](b, `document.querySelector("figcaption .age").textContent`); !strings.Contains(age, "ms old") {
		t.Errorf("the picture's age is %q", age)
	}
	if a := b.alarms(); a != "" {
		t.Errorf("alarms: %s", a)
	}
	// A plan is clicked where there is one to click.
	w, err := web.Start(web.Options{Conn: s.srv.Conn(), Session: s.name, Clicks: click.Folder(t.TempDir())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	with := desktop(t, w.URL())
	with.live()
	for x, want := range map[tab]bool{b: false, with: true} {
		if got := eval[bool](x, `!document.getElementById("clicks").hidden`); got != want {
			t.Errorf("a way to the page of clicks: %v, want %v", got, want)
		}
	}
}

func TestStopIsLatchedAndAcknowledgedOnThePage(t *testing.T) {
	s := newSession(t, bus.Options{Listen: "127.0.0.1:0"})
	w := s.page(t)
	b, other := desktop(t, w.URL()), open(t, w.URL(), 390, 844)
	b.live()
	other.live()
	b.do(chromedp.Click(chromedp.ID("stop")))
	b.says("stopped", "held 1.0 ms after the session heard it")
	for _, x := range []tab{b, other} {
		x.says("cause", "stopped")
		x.says("detail", "somebody at the page: STOP on the page")
		x.says("by", "held")
	}
	if f := s.g.Fault(); f == nil {
		t.Fatal("nothing is latched")
	}
	// Without a name nothing is acknowledged.
	b.do(chromedp.Click(chromedp.ID("ack")))
	if s.g.Fault() == nil {
		t.Fatal("acknowledged by nobody")
	}
	// Words may hold spaces: they are no stop.
	b.do(chromedp.Focus(chromedp.ID("name")), call(input.InsertText, input.InsertTextParams{Text: "Ada"}), chromedp.KeyEvent(" "), call(input.InsertText, input.InsertTextParams{Text: "Lovelace"}),
		chromedp.Focus(chromedp.ID("note")), call(input.InsertText, input.InsertTextParams{Text: "a cup was in the way"}), chromedp.Click(chromedp.ID("ack")))
	for _, x := range []tab{b, other} {
		x.shows("no fault", `document.getElementById("fault").hidden`)
		x.says("by", "policy")
	}
	if s.g.Fault() != nil {
		t.Error("still latched")
	}
	if f := s.fault(0); f.By != "Ada Lovelace" || f.Note != "a cup was in the way" {
		t.Errorf("acknowledged by %q with %q", f.By, f.Note)
	}
	// The space bar, wherever the focus is.
	b.do(chromedp.Focus(chromedp.ID("grip-open")), chromedp.KeyEvent(" "))
	b.says("detail", "Ada Lovelace: space bar on the page")
	if f := s.fault(1); f.ID != 2 || !f.Open {
		t.Errorf("got %+v", f)
	}
}

// pretend makes the page see a gamepad whose state is window.pad.
const pretend = `window.pad = {connected: true, id: "pretended", mapping: "standard", axes: [0, 0, 0, 0], buttons: Array.from({length: 17}, () => ({pressed: false, value: 0}))};
navigator.getGamepads = () => [window.pad]; true`

func TestGamepadBecomesTeleopReadings(t *testing.T) {
	s := newSession(t, bus.Options{})
	tap, err := bus.NewTap(s.srv.Conn(), s.name, bus.TeleopTopic(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	next := func() bus.Teleop {
		t.Helper()
		v, err := tap.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	b := desktop(t, s.page(t).URL())
	b.live()
	eval[bool](b, pretend)
	b.says("driver", "Gamepad ready")
	eval[bool](b, `window.pad.axes[1] = -0.5; true`)
	b.do(chromedp.Focus(chromedp.ID("pilot")), call(input.InsertText, input.InsertTextParams{Text: "Ada"}))
	eval[bool](b, `window.pad.buttons[5] = {pressed: true, value: 1}; true`)
	first := next()
	if !first.Deadman || first.Device != "gamepad" || first.Who != "Ada" || len(first.Axes) != 4 || first.Axes[1] != -0.5 || !first.Buttons[5] || first.Boot == 0 {
		t.Errorf("got %+v", first)
	}
	b.says("driver", "You hold on; the policy decides") // this session listens to nobody
	s.tells("nobody", true)
	b.says("driver", "No hand is heard in this stage.")
	s.tells("human", true)
	b.says("driver", "You drive")
	last := first
	for range 30 {
		v := next()
		if v.Seq <= last.Seq || !v.Stamp.After(last.Stamp) || v.Boot != first.Boot {
			t.Fatalf("%+v follows %+v", v, last)
		}
		last = v
	}
	// A busy machine may send less; never more.
	hz := 30 / last.Stamp.Sub(first.Stamp).Seconds()
	t.Logf("%.1f readings a second", hz)
	if hz > 50 || hz < 5 {
		t.Errorf("%.1f readings a second, want 20 to 50", hz)
	}
	eval[bool](b, `window.pad.buttons[5] = {pressed: false, value: 0}; true`)
	for last.Deadman {
		last = next()
	}
	// The page loses the focus while the switch is held.
	eval[bool](b, `window.pad.buttons[4] = {pressed: true, value: 1}; true`)
	for !last.Deadman {
		last = next()
	}
	eval[bool](b, `document.hasFocus = () => false; window.dispatchEvent(new Event("blur")); true`)
	for last.Deadman {
		last = next()
	}
	for _, a := range last.Axes {
		if a != 0 {
			t.Errorf("hands off with axes %v", last.Axes)
		}
	}
	// Back again, it must be let go first, and so after the page was hidden.
	eval[bool](b, `document.hasFocus = () => true; true`)
	b.says("driver", "Let go first")
	eval[bool](b, `window.pad.buttons[4] = {pressed: false, value: 0}; true`)
	b.says("driver", "Gamepad ready")
	eval[bool](b, `window.pad.buttons[4] = {pressed: true, value: 1}; true`)
	for !last.Deadman {
		last = next()
	}
	eval[bool](b, `Object.defineProperty(document, "hidden", {value: true, configurable: true}); document.dispatchEvent(new Event("visibilitychange")); true`)
	for last.Deadman {
		last = next()
	}
	eval[bool](b, `delete document.hidden; true`)
	b.says("driver", "Let go first")
}

// Who drives sees what he drives.
func TestCamerasAndPadsFitATablet(t *testing.T) {
	s := newSession(t, bus.Options{})
	w := s.page(t)
	for _, size := range [][2]int64{{1024, 768}, {768, 1024}, {1280, 900}} {
		b := open(t, w.URL(), size[0], size[1])
		b.live()
		b.says("driver", "Hold a pad")
		out := eval[[]string](b, `[...document.querySelectorAll("canvas, .pad, #grip-close, #grip-open, #driver")].filter((e) => { const r = e.getBoundingClientRect(); return r.top < document.querySelector(".top").getBoundingClientRect().bottom || r.bottom > innerHeight || r.left < 0 || r.right > innerWidth; }).map((e) => e.id || "camera")`)
		if len(out) > 0 {
			t.Errorf("at %d by %d not to be seen at once: %q", size[0], size[1], out)
		}
	}
}

// Who holds on drives only what does as he says.
func TestNobodyDrivesWhatDoesNotMove(t *testing.T) {
	s := newSession(t, bus.Options{Listen: "127.0.0.1:0"})
	s.tells("human", true)
	b := desktop(t, s.page(t).URL())
	b.live()
	eval[bool](b, pretend)
	// A name as long as the field takes, of letters that take more than a byte each.
	b.do(chromedp.Focus(chromedp.ID("pilot")), call(input.InsertText, input.InsertTextParams{Text: strings.Repeat("Ж", 80)}))
	hold := func(on bool) {
		eval[bool](b, fmt.Sprintf(`window.pad.buttons[5] = {pressed: %v, value: 1}; true`, on))
	}
	b.says("driver", "Gamepad ready")
	hold(true)
	b.says("driver", "You drive")
	s.tells("human", false)
	b.says("driver", "Nothing moves in this stage")
	s.tells("human", true)
	b.says("driver", "You drive")
	if _, err := s.Stop(within(t), bus.Stop{Who: "Ada", Why: "test"}); err != nil {
		t.Fatal(err)
	}
	b.says("driver", "held by a fault")
	if a := b.alarms(); !strings.HasPrefix(a, "ARM HELD") || strings.Contains(a, "LOST") {
		t.Errorf("alarms: %s", a)
	}
}

// What only says that it is a gamepad is not taken for the one beside it.
func TestTheStandardGamepadIsRead(t *testing.T) {
	s := newSession(t, bus.Options{})
	b := desktop(t, s.page(t).URL())
	b.live()
	eval[bool](b, pretend)
	eval[bool](b, `window.odd = (id, on) => ({connected: true, id, mapping: "", axes: [0, 0], buttons: Array.from({length: 6}, (_, i) => ({pressed: on && i === 4, value: 0}))});
		navigator.getGamepads = () => [null, odd("a keyboard", true), window.pad]; true`)
	b.says("driver", "Gamepad ready: hold a shoulder button. pretended")
	eval[bool](b, `navigator.getGamepads = () => [odd("a receiver", false), odd("a wheel", false)]; true`)
	b.says("driver", "of another layout")
	b.says("driver", "a receiver")
	s.tells("human", true)
	eval[bool](b, `navigator.getGamepads = () => [odd("a receiver", false), odd("a wheel", true)]; true`)
	b.says("driver", "You drive")
}

func TestKeysAndFingersDriveWhileHeld(t *testing.T) {
	s := newSession(t, bus.Options{})
	tap, err := bus.NewTap(s.srv.Conn(), s.name, bus.TeleopTopic(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	until := func(what string, ok func(bus.Teleop) bool) {
		t.Helper()
		for range 200 {
			v, err := tap.Next(within(t))
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if ok(v) {
				return
			}
		}
		t.Fatalf("never: %s", what)
	}
	b := desktop(t, s.page(t).URL())
	b.live()
	b.says("driver", "Hold a pad")
	key := func(kind input.DispatchKeyEventType, key, code string) {
		b.do(call(input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: kind, Key: key, Code: code}))
	}
	key(input.DispatchKeyEventTypeKeyDown, "w", "KeyW") // without Shift nothing is told
	key(input.DispatchKeyEventTypeKeyDown, "Shift", "ShiftLeft")
	until("forward", func(v bus.Teleop) bool { return v.Deadman && v.Device == "keys" && v.Axes[0] == 0 && v.Axes[1] == -1 })
	key(input.DispatchKeyEventTypeKeyUp, "Shift", "ShiftLeft")
	until("released", func(v bus.Teleop) bool { return !v.Deadman })
	key(input.DispatchKeyEventTypeKeyUp, "w", "KeyW")

	b.do(chromedp.ScrollIntoView(chromedp.ID("pad-xy")))
	box := eval[map[string]float64](b, `(() => { const r = document.getElementById("pad-xy").getBoundingClientRect(); return {x: r.x + r.width / 2, y: r.y + r.height / 2, w: r.width}; })()`)
	at := func(kind input.DispatchMouseEventType, dx, dy float64) {
		b.do(call(input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: box["x"] + dx*box["w"], Y: box["y"] + dy*box["w"], Button: input.MouseButtonLeft, Buttons: 1, ClickCount: 1}))
	}
	at(input.DispatchMouseEventTypeMousePressed, 0, 0)
	at(input.DispatchMouseEventTypeMouseMoved, 0.1, -0.2) // to the right and up, which is minus as on a stick
	until("a finger", func(v bus.Teleop) bool {
		return v.Deadman && v.Device == "pads" && math.Abs(v.Axes[0]-0.24) < 0.05 && math.Abs(v.Axes[1]+0.48) < 0.05
	})
	at(input.DispatchMouseEventTypeMouseReleased, 0.1, -0.2)
	until("the finger lifted", func(v bus.Teleop) bool { return !v.Deadman })
}

// A browser may not tell that Shift came up: any key that comes without it says so.
func TestAShiftThatNobodyHoldsDrivesNothing(t *testing.T) {
	s := newSession(t, bus.Options{})
	s.tells("human", true)
	b := desktop(t, s.page(t).URL())
	b.live()
	key := func(kind input.DispatchKeyEventType, key, code string, with int64) {
		b.do(call(input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: kind, Key: key, Code: code, Modifiers: with}))
	}
	const shift = 8 // of the modifiers
	const down, up = input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp
	for name, end := range map[string]func(){
		"both held, one release": func() {
			key(down, "Shift", "ShiftRight", shift)
			key(up, "Shift", "ShiftRight", 0)
		},
		"another key pressed":  func() { key(down, "w", "KeyW", 0); key(up, "w", "KeyW", 0) },
		"another key released": func() { key(up, "x", "KeyX", 0) },
		"a word written": func() {
			b.do(chromedp.Focus(chromedp.ID("pilot")))
			key(down, "x", "KeyX", 0)
			eval[bool](b, `el("pilot").blur(); true`)
		},
	} {
		b.says("driver", "Hold a pad")
		key(down, "Shift", "ShiftLeft", shift)
		b.says("driver", "You drive")
		end()
		b.says("driver", "Hold a pad")
		if n := eval[int](b, "keys.size + stuck.size"); n > 0 || eval[bool](b, "held") {
			t.Errorf("%s: %d keys are held, and the session was told so last: %v", name, n, eval[bool](b, "held"))
		}
	}
}

// While a name is typed keys are words, and the page says so; Enter gives them back.
func TestEnterLeavesTheName(t *testing.T) {
	s := newSession(t, bus.Options{Listen: "127.0.0.1:0"})
	b := desktop(t, s.page(t).URL())
	b.live()
	b.says("stop", "space bar")
	b.do(chromedp.Focus(chromedp.ID("pilot")), call(input.InsertText, input.InsertTextParams{Text: "Ada"}))
	b.says("driver", "Keys go into the field")
	b.shows("that the space bar does not stop", `!document.getElementById("stop").textContent.includes("space bar") && !document.getElementById("stop").hasAttribute("aria-keyshortcuts")`)
	b.do(chromedp.KeyEvent("\r"))
	b.shows("no field with the focus", `document.activeElement === document.body`)
	b.says("driver", "Hold a pad")
	b.says("stop", "space bar")
	b.do(chromedp.KeyEvent(" "))
	b.says("detail", "Ada: space bar on the page")
	if got := eval[string](b, `[localStorage.getItem("rapport.driver"), localStorage.getItem("rapport.operator")].join()`); got != "Ada," {
		t.Errorf("kept as driver and as annotator: %q", got)
	}
	// A name alone acknowledges nothing.
	b.do(chromedp.Focus(chromedp.ID("name")), chromedp.KeyEvent("\r"))
	b.shows("the note with the focus", `document.activeElement.id === "note"`)
	b.do(call(input.InsertText, input.InsertTextParams{Text: "all is well"}), chromedp.KeyEvent("\r"))
	time.Sleep(300 * time.Millisecond) // for an answer that must not come
	if f := s.fault(0); !f.Open || s.g.Fault() == nil {
		t.Errorf("Enter in the name acknowledged %+v", f)
	}
}

// What was held when the page let go is pressed anew, whatever the keyboard repeats.
func TestWhatIsHeldIsLetGoFirst(t *testing.T) {
	s := newSession(t, bus.Options{Listen: "127.0.0.1:0"})
	s.tells("human", true)
	b := desktop(t, s.page(t).URL())
	b.live()
	key := func(kind input.DispatchKeyEventType, key, code string, with int64, repeat bool) {
		b.do(call(input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: kind, Key: key, Code: code, Modifiers: with, AutoRepeat: &repeat}))
	}
	const shift = 8 // of the modifiers
	const down, up = input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp
	steady := func(when, want string) {
		t.Helper()
		b.says("driver", want)
		for range 5 {
			key(down, "w", "KeyW", shift, true)
			time.Sleep(60 * time.Millisecond)
			if got := b.text("driver"); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
	}
	hold := func() {
		t.Helper()
		b.says("driver", "Hold a pad")
		key(down, "Shift", "ShiftLeft", shift, false)
		key(down, "w", "KeyW", shift, false)
		b.says("driver", "You drive")
	}
	letGo := func() {
		key(up, "w", "KeyW", shift, false)
		key(up, "Shift", "ShiftLeft", 0, false)
	}
	hold()
	eval[bool](b, `window.dispatchEvent(new Event("blur")); true`)
	key(down, "w", "KeyW", shift, true)
	steady("after the focus was lost", "Let go first")
	letGo()
	hold()
	eval[bool](b, `document.hasFocus = () => false; true`)
	b.says("driver", "Click on this page first")
	eval[bool](b, `document.hasFocus = () => true; true`)
	steady("after another window", "Let go first")
	letGo()
	hold()
	b.do(chromedp.KeyEvent(" "))
	steady("after STOP", "Let go first")
	letGo()
	b.says("driver", "held by a fault")
}

func TestLostBusIsShownAndAStopIsNotTakenForDelivered(t *testing.T) {
	s := newSession(t, bus.Options{Listen: "127.0.0.1:0"})
	b := desktop(t, s.page(t).URL())
	b.live()
	s.quit()
	<-s.done
	s.srv.Close()
	b.says("link", "bus lost")
	b.says("alarms", "NO CONNECTION FROM HERE TO THE SESSION'S BUS")
	b.shows("that nothing is live", `document.body.classList.contains("lost") && document.querySelectorAll("figure.ok").length === 0 && document.querySelectorAll(".age.live").length === 0`)
	b.shows("the age of the picture on it", `document.querySelector("figure .cover").textContent.startsWith("NOT LIVE")`)
	b.do(chromedp.Click(chromedp.ID("stop")))
	b.says("alarms", "STOP WAS NOT DELIVERED")
}

func TestLostServerIsShownAndComesBack(t *testing.T) {
	s := newSession(t, bus.Options{})
	w := s.page(t)
	b := desktop(t, w.URL())
	b.live()
	w.Close()
	b.says("link", "connection lost")
	b.says("alarms", "CONNECTION LOST")
	b.shows("that nothing is live", `document.body.classList.contains("lost") && document.querySelectorAll(".age.live").length === 0`)
	base, token := address(w)
	again, err := web.Start(web.Options{Conn: s.srv.Conn(), Session: s.name, Listen: strings.TrimPrefix(base, "http://"), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	b.live()
	b.shows("no alarm", `document.getElementById("alarms").textContent === ""`)
}

func TestSilentSessionIsShown(t *testing.T) {
	s := newSession(t, bus.Options{})
	b := desktop(t, s.page(t).URL())
	b.live()
	s.quit()
	b.says("alarms", "THE SESSION IS SILENT")
	b.shows("that nothing is live", `document.body.classList.contains("lost")`)
}

// A session that ends in order takes its bus and its page's server with it, and that is
// no emergency.
func TestEndOfTheSessionIsNoAlarm(t *testing.T) {
	s := newSession(t, bus.Options{Listen: "127.0.0.1:0"})
	own, aside := s.page(t), s.page(t)
	b, other := desktop(t, own.URL()), desktop(t, aside.URL())
	b.live()
	other.live()
	s.quit()
	<-s.done
	s.summary.Publish(bus.Summary{Seq: 1 << 20, Stage: "evaluate after", Done: 2, Total: 2, Cameras: cameraNames, Horizon: 200, Bye: true})
	own.Finish() // as rapport run does, without waiting for the word to arrive
	other.says("link", "session ended")
	s.srv.Close()
	time.Sleep(1500 * time.Millisecond) // longer than what is silent or lost takes to be told
	for name, x := range map[string]tab{"whose server is gone": b, "whose bus is gone": other} {
		x.says("link", "session ended")
		x.says("work", "ended after evaluate after")
		if a := x.alarms(); a != "" {
			t.Errorf("the page %s alarms: %s", name, a)
		}
		if !eval[bool](x, `document.body.classList.contains("lost")`) {
			t.Errorf("the page %s shows as live what is old", name)
		}
	}
}

func TestNamesAreShownAsTextAlone(t *testing.T) {
	evil := `<img src=x onerror="window.pwned = 1"><script>window.pwned = 1</script>`
	srv, err := bus.Start(t.Context(), bus.Options{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	s := drive(t, srv, "evil", evil)
	b := desktop(t, s.page(t).URL())
	b.live()
	b.says("work", evil)
	b.says("metrics", evil)
	if _, err := srv.Conn().Stop(within(t), "evil", bus.Stop{Who: evil, Why: evil}); err != nil {
		t.Fatal(err)
	}
	b.says("detail", evil+": "+evil)
	time.Sleep(50 * time.Millisecond) // for a picture that must not be asked for
	if eval[bool](b, `"pwned" in window || document.querySelectorAll("img, main script").length > 0`) {
		t.Error("a name from the bus became part of the page")
	}
}

func TestPageWithoutTheTokenSaysSo(t *testing.T) {
	s := newSession(t, bus.Options{})
	url, _, _ := strings.Cut(s.page(t).URL(), "#")
	b := desktop(t, url)
	b.says("alarms", "open the link that the program printed")
	if got := b.text("session"); got != "Rapport" {
		t.Errorf("a stranger is told of session %q", got)
	}
}

// A page of before, at whose address something else is served now, is no lost connection.
func TestALinkThatIsNotTakenSaysSo(t *testing.T) {
	s := newSession(t, bus.Options{})
	url, _, _ := strings.Cut(s.page(t).URL(), "#")
	b := desktop(t, url+"#another")
	b.says("alarms", "THIS LINK IS NOT VALID HERE")
	if got := b.text("session"); got != "Rapport" {
		t.Errorf("a stranger is told of session %q", got)
	}
}
