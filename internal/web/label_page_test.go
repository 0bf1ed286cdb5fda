package web_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/web"
	questions "github.com/rapport-rl/rapport/internal/web/ask"
	"github.com/rapport-rl/rapport/reward/kagi/click"
	"github.com/rapport-rl/rapport/reward/kagi/click/clicktest"
	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/label/query"
)

// posed waits until a question may be answered that is another than was, and
// returns the ID that an answer to it has.
func (b tab) posed(was string) string {
	b.t.Helper()
	b.shows("a question", fmt.Sprintf("document.body && document.body.dataset.ready && document.body.dataset.ready !== %q", was))
	return eval[string](b, "document.body.dataset.ready")
}

func (b tab) key(k string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(k))
}

// tap touches elements with a finger, one after the other.
func (b tab) tap(selectors ...string) {
	b.t.Helper()
	b.do(call(emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: true}))
	for _, s := range selectors {
		b.do(chromedp.Tap(s))
	}
	b.do(call(emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{}))
}

// still pauses the clips at a step.
func (b tab) still(step int) {
	b.t.Helper()
	eval[bool](b, fmt.Sprintf("player.playing = false; player.show(%d); true", step))
	b.shows("the step", fmt.Sprintf("player.step === %d && !player.busy", step))
}

// drag moves a finger or mouse from one place to another, in CSS pixels.
func (b tab) drag(from, to [2]float64) {
	b.t.Helper()
	at := func(kind input.DispatchMouseEventType, p [2]float64) {
		b.do(call(input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: p[0], Y: p[1], Button: input.MouseButtonLeft, Buttons: 1, ClickCount: 1}))
	}
	at(input.DispatchMouseEventTypeMousePressed, from)
	at(input.DispatchMouseEventTypeMouseMoved, [2]float64{(from[0] + to[0]) / 2, (from[1] + to[1]) / 2})
	at(input.DispatchMouseEventTypeMouseMoved, to)
	at(input.DispatchMouseEventTypeMouseReleased, to)
}

// box is left, top, width and height of an element in the window.
func (b tab) box(selector string) [4]float64 {
	b.t.Helper()
	eval[bool](b, fmt.Sprintf(`document.querySelector(%q).scrollIntoView({block: "center"}); true`, selector))
	v := eval[[]float64](b, fmt.Sprintf(`(() => { const r = document.querySelector(%q).getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()`, selector))
	return [4]float64(v)
}

func TestPairIsAnsweredByKeysAndByTouch(t *testing.T) {
	m := &memory{}
	b := desktop(t, labelPage(t, m, questions.Options{Annotator: "ann", Ask: 5}).URL())
	id := b.posed("")
	b.says("ask", "Which is better?")
	b.says("count", "0 of 5")
	n := 0
	for _, tt := range []struct {
		do   func()
		want label.Choice
	}{
		{func() { b.key(kb.ArrowLeft) }, label.Left},
		{func() { b.key("2") }, label.Right},
		{func() { b.key("t") }, label.Tie},
		{func() { b.key("U") }, label.Unsure},
		{func() { b.tap("#right") }, label.Right},
		{func() { b.tap("#tie") }, label.Tie},
		{func() { b.do(chromedp.Click(chromedp.ID("left"))) }, label.Left},
	} {
		tt.do()
		old := id
		id = b.posed(old)
		n++
		l := m.last(t, n)
		if l.Choice != tt.want || l.ID != old || l.Annotator != "ann" || !slices.Equal(l.Query.Clips[1].Cameras, []string{"front", "wrist"}) || l.Took <= 0 || l.Stamp.IsZero() {
			t.Errorf("want %s of %s, got %+v", tt.want, old, l)
		}
	}
	b.says("count", "7 of 5")
	b.says("note", "That is all that was asked for: 7 answers")
	// Space plays and answers nothing, even with the focus on a button.
	b.do(chromedp.Focus(chromedp.ID("left")))
	b.shows("that it plays", "player.playing")
	b.key(" ")
	b.shows("a pause", "!player.playing")
	step := eval[int](b, "player.step")
	b.key(".")
	b.shows("one step on", fmt.Sprintf("player.step === Math.min(player.last, %d)", step+1))
	m.last(t, n)
}

func TestUndoAndReloadKeepThePlace(t *testing.T) {
	m := &memory{}
	w := labelPage(t, m, questions.Options{})
	b := desktop(t, w.URL())
	// The page asks who answers.
	b.shows("the form", `!document.getElementById("who").hidden && document.getElementById("table").hidden`)
	b.do(chromedp.Focus(chromedp.ID("name")), call(input.InsertText, input.InsertTextParams{Text: "ann t"}), chromedp.KeyEvent("z"), chromedp.KeyEvent(kb.Enter))
	id := b.posed("")
	b.says("me", "You are ann tz.")
	b.shows("nothing to undo", `document.getElementById("undo").disabled`)
	first := eval[string](b, "state.question.id")
	b.do(chromedp.Click(`#tags button:nth-child(2)`))
	b.do(chromedp.Focus(chromedp.ID("tag")), call(input.InsertText, input.InsertTextParams{Text: "leans left "}), chromedp.KeyEvent(kb.Enter))
	b.shows("two reasons", `document.querySelectorAll("#tags [aria-pressed=true]").length === 2`)
	b.key("1")
	b.posed(id)
	if l := m.last(t, 1); l.Choice != label.Left || !slices.Equal(l.Tags, []string{"smooth", "leans left"}) || l.Annotator != "ann tz" {
		t.Errorf("got %+v", l)
	}
	b.says("said", "Stored: left (smooth, leans left).")
	b.shows("no reason chosen", `document.querySelectorAll("#tags [aria-pressed=true]").length === 0`)
	second := eval[string](b, "state.question.id")
	// Loaded again, it shows what it showed.
	b.do(chromedp.Reload())
	id = b.posed("")
	if got := eval[string](b, "state.question.id"); got != second {
		t.Errorf("loaded again it asks %s, want %s", got, second)
	}
	b.key("z")
	b.posed(id)
	if got := eval[string](b, "state.question.id"); got != first {
		t.Errorf("undone, it asks %s, want %s", got, first)
	}
	b.says("said", "Taken back: left.")
	b.shows("the reasons of before", `document.querySelectorAll("#tags [aria-pressed=true]").length === 2`)
	b.do(chromedp.Reload())
	b.posed("")
	b.key("t")
	b.shows("it stored", `state.answered === 1`)
	if l := m.last(t, 3); l.Choice != label.Tie || l.Query.ID != first || len(label.Standing(m.ls)) != 1 {
		t.Errorf("got %+v", l)
	}
}

// named gives a name in the form.
func (b tab) named(who string) {
	b.t.Helper()
	b.shows("the form", `!el("who").hidden`)
	b.do(chromedp.Focus(chromedp.ID("name")))
	eval[bool](b, `el("name").select(); true`)
	b.do(call(input.InsertText, input.InsertTextParams{Text: who}), chromedp.KeyEvent(kb.Enter))
}

func TestNobodyAnswersInThePreviousPersonsName(t *testing.T) {
	m := &memory{}
	b := desktop(t, labelPage(t, m, questions.Options{}).URL())
	b.named("ann")
	id := b.posed("")
	b.do(chromedp.Click(chromedp.ID("other")))
	b.shows("the form", `!el("who").hidden && el("table").hidden`)
	eval[bool](b, `el("name").blur(); true`)
	for _, k := range []string{"1", "t", kb.ArrowRight, "z", kb.Enter, ".", " "} {
		b.key(k)
	}
	if eval[bool](b, "sending") {
		t.Error("something was sent with no clip in sight")
	}
	// Whoever pressed it by mistake goes on with the same question.
	b.says("stay", "back to ann")
	b.do(chromedp.Click(chromedp.ID("stay")))
	if got := b.posed(""); got != id {
		t.Errorf("back, it asks %s, want %s", got, id)
	}
	b.shows("the table", `!el("table").hidden && el("who").hidden`)
	b.do(chromedp.Click(chromedp.ID("other")))
	b.named("ben")
	id = b.posed("")
	b.key("1")
	b.posed(id)
	if l := m.last(t, 1); l.Annotator != "ben" {
		t.Errorf("got %+v", l)
	}
}

func TestNamesAndReasonsOfAnySpacesAreTaken(t *testing.T) {
	m := &memory{}
	b := desktop(t, labelPage(t, m, questions.Options{}).URL())
	// One that is refused can be mended, also after the page was loaded again.
	b.named("ann\u200bt")
	b.says("alarms", "the name")
	b.shows("the form", `!el("who").hidden && el("table").hidden`)
	if a := b.alarms(); strings.Contains(a, "ask:") || !strings.Contains(a, "printable") {
		t.Errorf("the page says %q", a)
	}
	b.do(chromedp.Reload())
	b.named("ann\u00a0t")
	id := b.posed("")
	b.says("me", "You are ann t.")
	if a := b.alarms(); a != "" {
		t.Errorf("the page says %q", a)
	}
	b.do(chromedp.Focus(chromedp.ID("tag")), call(input.InsertText, input.InsertTextParams{Text: "leans\u2009left"}), chromedp.KeyEvent(kb.Enter))
	b.key("1")
	b.posed(id)
	if l := m.last(t, 1); l.Annotator != "ann t" || !slices.Equal(l.Tags, []string{"leans left"}) {
		t.Errorf("got %+v", l)
	}
	b.do(chromedp.Reload())
	b.posed("")
	b.says("me", "You are ann t.")
}

func TestAnswersWaitUntilTheyAreStored(t *testing.T) {
	m := &memory{}
	b := desktop(t, labelPage(t, m, questions.Options{Annotator: "ann"}).URL())
	id := b.posed("")
	m.broken(errors.New("the bus is down"))
	b.key("1")
	b.says("alarms", "YOUR ANSWER IS NOT STORED YET (the bus is down)")
	b.key("2") // too late: one answer is on its way
	if got := eval[string](b, "state.label"); got != id {
		t.Error("another question is shown before the answer is stored")
	}
	m.broken(nil)
	b.posed(id)
	if l := m.last(t, 1); l.Choice != label.Left || l.ID != id {
		t.Errorf("got %+v", l)
	}
	b.shows("no alarm", `document.getElementById("alarms").textContent === ""`)
}

func TestTheNextQuestionIsFetchedAhead(t *testing.T) {
	wise := func(_ context.Context, qs []label.Query, _ []label.Label) (int, string, float64, error) {
		return len(qs) - 1, "wisely", 0.5, nil
	}
	b := desktop(t, labelPage(t, &memory{}, questions.Options{Annotator: "ann", Ways: map[string]questions.Way{"wise": {Choose: wise}}}).URL())
	id := b.posed("")
	b.shows("the pictures of what is next", `state.ahead.every((c) => c.cameras.every((n) => buffers.has(address(c, n))))`)
	next := eval[[]string](b, "state.ahead.map((c) => c.episode)")
	b.key("1")
	id = b.posed(id)
	if got := eval[[]string](b, "state.question.clips.map((c) => c.episode)"); !slices.Equal(got, next) {
		t.Errorf("%v was fetched, and %v is asked", next, got)
	}
	// Another way of choosing counts from the next question on.
	eval[bool](b, `(() => { const s = document.getElementById("way"); s.value = "wise"; s.dispatchEvent(new Event("change")); return true; })()`)
	b.shows("the way", `state.way === "wise" && !state.ahead`)
	b.key("1")
	id = b.posed(id)
	// One that everybody is asked, or that was drawn before, comes first.
	if eval[string](b, "state.question.why") != "wisely" {
		b.key("1")
		b.posed(id)
	}
	b.says("why", "chosen: wisely, 0.50 bits expected")
}

func TestThePageAsksAboutTheBest(t *testing.T) {
	b := desktop(t, labelPage(t, &memory{}, questions.Options{Annotator: "ann", Way: "root", Ways: map[string]questions.Way{"root": {Root: query.Root}}}).URL())
	id := b.posed("")
	best := eval[string](b, "state.question.clips[1].episode")
	b.key("2")
	id = b.posed(id)
	if got := eval[[]string](b, "state.question.clips.map((c) => c.episode)"); !slices.Contains(got, best) {
		t.Errorf("%s was best, and %v is asked", best, got)
	}
	b.says("why", "chosen: what you found best so far, beside something new")
	// What is better than the best, which was better than something, is asked about again.
	two := eval[[]string](b, "state.question.clips.map((c) => c.episode)")
	b.key(map[bool]string{true: "2", false: "1"}[two[0] == best])
	b.posed(id)
	if got := eval[[]string](b, "state.question.clips.map((c) => c.episode)"); got[0] != two[1] || got[1] != two[0] {
		t.Errorf("%v was shown, and then %v; want them the other way round", two, got)
	}
	b.says("why", "chosen: once more, the other way round")
}

func TestAnAnswerOutlivesTheServer(t *testing.T) {
	m := &memory{}
	w := labelPage(t, m, questions.Options{Annotator: "ann"})
	b := desktop(t, w.URL())
	id := b.posed("")
	w.Close()
	b.key("2")
	b.says("alarms", "YOUR ANSWER IS NOT STORED YET")
	base, token, _ := strings.Cut(w.URL(), "/label#")
	again, err := web.Start(web.Options{Session: "rail-001", Listen: strings.TrimPrefix(base, "http://"), Token: token, Labels: labelDesk(t, m, questions.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	b.posed(id)
	if l := m.last(t, 1); l.Choice != label.Right || l.ID != id {
		t.Errorf("got %+v", l)
	}
	b.says("said", "Stored: right.")
}

// red is the mean red of each canvas, which is 10 times the step.
const red = `[...document.querySelectorAll("#clips canvas")].map((c) => { const d = c.getContext("2d").getImageData(0, 0, c.width, 30).data; let s = 0; for (let i = 0; i < d.length; i += 4) s += d[i]; return 4 * s / d.length; })`

func TestClipsShowTheSameStep(t *testing.T) {
	b := desktop(t, labelPage(t, &memory{}, questions.Options{Annotator: "ann", Kind: label.Triplet}).URL())
	b.posed("")
	b.says("ask", "Which is more like the anchor?")
	same := func(step int) {
		t.Helper()
		last := eval[[]int](b, "player.films.map((f) => f.last)")
		got := eval[[]int](b, `[...document.querySelectorAll("#clips canvas")].map((c) => Number(c.dataset.step))`)
		reds := eval[[]float64](b, red)
		if len(got) != 6 {
			t.Fatalf("%d canvases, want 6", len(got))
		}
		for i := range got {
			if want := min(step, last[i]); got[i] != want || reds[i] < float64(10*want)-4 || reds[i] > float64(10*want)+4 {
				t.Errorf("at step %d canvas %d shows %d, red %.1f", step, i, got[i], reds[i])
			}
		}
	}
	for _, step := range []int{0, 7, 19, 3, eval[int](b, "player.last")} {
		b.still(step)
		same(step)
	}
	if n := eval[int](b, `document.querySelectorAll("#clips .over").length`); n == 0 || n == 6 {
		t.Errorf("%d clips say that they have ended; the shorter ones should", n)
	}
	// The scrub bar is common to all, and so are the keys.
	eval[bool](b, `(() => { const s = document.getElementById("scrub"); s.value = 11; s.dispatchEvent(new Event("input")); return true; })()`)
	b.shows("step 11", "player.step === 11 && !player.busy")
	same(11)
	b.key(",")
	b.shows("step 10", "player.step === 10 && !player.busy")
	same(10)
	// While it plays, whatever is read of it is of one step.
	b.key(" ")
	for range 10 {
		got := eval[[]int](b, `[...document.querySelectorAll("#clips figure:not(.over) canvas")].map((c) => Number(c.dataset.step))`)
		if len(slices.Compact(got)) > 1 {
			t.Errorf("playing, the clips show steps %v", got)
		}
	}
	// Slow is slow: 50 ms a step at a quarter of the speed are 5 steps a second.
	eval[bool](b, `(() => { const s = document.getElementById("speed"); s.value = "0.25"; s.dispatchEvent(new Event("change")); return true; })()`)
	if v := eval[float64](b, "player.period / player.speed"); v != 200 {
		t.Errorf("%v ms a step, want 200", v)
	}
	// One camera of two.
	eval[bool](b, `(() => { const s = document.getElementById("camera"); s.value = "wrist"; s.dispatchEvent(new Event("change")); return true; })()`)
	b.shows("one camera", `document.querySelectorAll("#clips canvas").length === 3 && player.films.length === 3 && document.querySelector("#clips canvas").dataset.step`)
	b.key("2")
}

// A step takes 50 ms whatever its cameras' rates are.
func TestClipsPlayAtThePaceOfTheRecording(t *testing.T) {
	b := desktop(t, labelPage(t, &memory{}, questions.Options{Annotator: "ann", Reels: strips{2, []string{"front"}}}).URL())
	b.posed("")
	const films = `(...all) => {
		const load = (from, sizes, stamps) => {
			const text = JSON.stringify({ from, sizes, stamps, type: "image/jpeg" }), buf = new ArrayBuffer(4 + text.length);
			new DataView(buf).setUint32(0, text.length);
			new Uint8Array(buf).set(new TextEncoder().encode(text), 4);
			const f = new Film({ episode: "e" }, "c", document.createElement("canvas"));
			return f.load(async () => buf).then(() => f.pace());
		};
		return Promise.all(all.map((x) => load(...x)));
	}`
	eval[bool](b, `(`+films+`)(
		[0, [1, 0, 1, 0, 1, 0, 1, 0], [0, 0, 100, 100, 200, 200, 300, 300]], // 10 Hz
		[0, [1, 1, 1, 1, 1, 1, 1], [0, 33, 100, 133, 200, 233, 300]], // 30 Hz, of which every second or third is seen
		[3, [1, 1, 0, 1, 0, 1], [0, 100, 100, 200, 200, 300]], // the first is of a step before
		[0, [1, 1, 1, 1], [0, 50, 9050, 9100]], // a silence that was skipped
		[0, [0, 0, 1, 1, 1], [0, 0, 0, 50, 100]], // the first comes late
		[0, [1, 0, 0], [0, 0, 0]], [0, [0, 0], [0, 0]], [0, [1], [0]], // nothing to go by
	).then((v) => { window.paces = v.map((x) => String(x)).join(" "); }), true`)
	b.shows("the paces", `window.paces`)
	if got, want := eval[string](b, `paces`), "50 50 50 50 50 NaN NaN NaN"; got != want {
		t.Errorf("ms a step: %s, want %s", got, want)
	}
	if got := eval[float64](b, `player.period`); got != 50 {
		t.Errorf("it plays at %v ms a step, want 50", got)
	}
}

func TestOnlyWhatWasShownIsKept(t *testing.T) {
	m := &memory{}
	b := desktop(t, labelPage(t, m, questions.Options{Annotator: "ann"}).URL())
	id := b.posed("")
	eval[bool](b, `(() => { const s = document.getElementById("camera"); s.value = "wrist"; s.dispatchEvent(new Event("change")); return true; })()`)
	b.shows("one camera", `player.films.length === 2`)
	b.key("1")
	id = b.posed(id)
	if l := m.last(t, 1); !slices.Equal(l.Query.Clips[0].Cameras, []string{"front", "wrist"}) {
		t.Errorf("both were shown, kept is %v", l.Query.Clips[0].Cameras)
	}
	b.key("1")
	b.posed(id)
	if l := m.last(t, 2); !slices.Equal(l.Query.Clips[0].Cameras, []string{"wrist"}) || !slices.Equal(l.Query.Clips[1].Cameras, []string{"wrist"}) {
		t.Errorf("one was shown, kept is %v", l.Query.Clips)
	}
}

func TestRankingByTappingAndDragging(t *testing.T) {
	m := &memory{}
	b := desktop(t, labelPage(t, m, questions.Options{Annotator: "ann", Kind: label.Ranking}).URL())
	id := b.posed("")
	b.shows("no order yet", `document.getElementById("ranked").disabled`)
	b.tap(`.clip[data-clip="2"]`, `.clip[data-clip="0"]`)
	b.key("2")
	b.key("4")
	b.key("4") // taken out again
	b.shows("no whole order", `document.getElementById("ranked").disabled && document.querySelectorAll("#order .placed").length === 3`)
	b.key("4")
	b.do(chromedp.Click(`#order .sign:nth-of-type(1)`)) // the first two are alike
	b.shows("a tie", `document.getElementById("order").textContent === "C=A>B>D"`)
	b.key(kb.Enter)
	id = b.posed(id)
	if l := m.last(t, 1); !slices.Equal(l.Places, []int{1, 3, 1, 4}) || l.Query.Kind != label.Ranking {
		t.Errorf("got %+v", l)
	}
	// D is dragged to the front, which places all.
	from, to := b.box(`.chip[data-clip="3"]`), b.box(`.chip[data-clip="0"]`)
	b.drag([2]float64{from[0] + 20, from[1] + 20}, [2]float64{to[0] + 5, to[1] + 20})
	b.shows("an order", `document.getElementById("order").textContent === "D>A>B>C"`)
	b.tap("#ranked")
	b.posed(id)
	if l := m.last(t, 2); !slices.Equal(l.Places, []int{2, 3, 4, 1}) {
		t.Errorf("got %+v", l)
	}
	b.says("said", "Stored: D > A > B > C.")
}

// pick chooses in a list.
func (b tab) pick(id, value string) {
	b.t.Helper()
	eval[bool](b, fmt.Sprintf(`(() => { const s = el(%q); s.value = %q; s.dispatchEvent(new Event("change")); return true; })()`, id, value))
}

func TestAnotherKindKeepsWhatWasSaid(t *testing.T) {
	m := &memory{}
	b := desktop(t, labelPage(t, m, questions.Options{Annotator: "ann", Kind: label.Segments}).URL())
	id := b.posed("")
	b.still(3)
	// Steps count from the one that was asked for, drawn or not.
	eval[bool](b, `(() => {
		const press = (key) => dispatchEvent(new KeyboardEvent("keydown", { key }));
		press("g");
		for (let i = 0; i < 6; i++) press(".");
		press("g");
		return true;
	})()`)
	b.shows("a mark", `marks.list.length === 1`)
	b.do(chromedp.Click(`#tags button:nth-child(2)`))
	b.pick("kind", string(label.Ranking))
	ranking := b.posed(id)
	b.key("2")
	b.key("1")
	b.pick("kind", string(label.Segments))
	if got := b.posed(ranking); got != id {
		t.Fatalf("back, another question is asked: %s, want %s", got, id)
	}
	b.shows("the mark and its reason", `marks.list.length === 1 && document.querySelectorAll("#marks .lane b").length === 1 && document.querySelectorAll("#tags [aria-pressed=true]").length === 1`)
	b.pick("kind", string(label.Ranking))
	b.posed(id)
	b.shows("the letters placed", `document.querySelectorAll("#order .placed").length === 2 && document.querySelectorAll("#tags [aria-pressed=true]").length === 0`)
	b.pick("kind", string(label.Segments))
	b.posed(ranking)
	b.key(kb.Enter)
	b.posed(id)
	if l := m.last(t, 1); !slices.Equal(l.Marks, []label.Mark{{From: 3, To: 9, Good: true}}) || len(l.Tags) != 1 {
		t.Errorf("got %+v", l)
	}
	b.shows("nothing said of the next", `marks.list.length === 0 && picked.size === 0`)
}

func TestAnswersWaitForThePictures(t *testing.T) {
	m := &memory{}
	b := desktop(t, labelPage(t, m, questions.Options{Annotator: "ann"}).URL())
	id := b.posed("")
	eval[bool](b, `(() => {
		const real = bytes, gate = new Promise((go) => { window.letThrough = go; });
		bytes = async (path) => { await gate; return real(path); };
		return true;
	})()`)
	b.key("1")
	b.shows("that pictures are loaded", fmt.Sprintf(`state.label !== %q && !el("loading").hidden && ["left", "right", "tie", "unsure"].every((n) => el(n).disabled)`, id))
	// Whoever chooses a camera meanwhile may answer all the same, by what that one saw.
	b.pick("camera", "wrist")
	if !eval[bool](b, `el("left").disabled && !ready`) {
		t.Error("with another camera, a question without its pictures can be answered")
	}
	eval[bool](b, `letThrough(), true`)
	id = b.posed(id)
	b.shows("that it can be answered", `el("loading").hidden && player.playing && ["left", "right", "tie", "unsure"].every((n) => !el(n).disabled)`)
	b.key("1")
	b.posed(id)
	if l := m.last(t, 2); !slices.Equal(l.Query.Clips[0].Cameras, []string{"wrist"}) {
		t.Errorf("the wrist's pictures were shown, kept is %v", l.Query.Clips[0].Cameras)
	}
}

// Pictures that come at the second try are shown before anything is answered.
func TestPicturesThatFailedAreTriedAgain(t *testing.T) {
	b := desktop(t, labelPage(t, &memory{}, questions.Options{Annotator: "ann", Reels: strips{4, []string{"front", "wrist"}}}).URL())
	id := b.posed("")
	eval[bool](b, `(() => {
		const real = bytes;
		window.cut = true;
		bytes = async (path) => { if (cut) throw new Error("no network"); return real(path); };
		return true;
	})()`)
	b.key("1")
	b.says("alarms", "The pictures did not come (no network). Trying again.")
	eval[bool](b, `cut = false, true`)
	b.posed(id)
	if n := eval[int](b, `[...document.querySelectorAll("#clips canvas")].filter((c) => c.dataset.step && c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((x, i) => i % 4 < 3 && x > 0)).length`); n != 4 {
		t.Errorf("%d of 4 pictures are shown of a question that can be answered", n)
	}
	// What is no picture is nothing to judge by.
	eval[bool](b, `(() => {
		buffers.clear();
		window.createImageBitmap = () => Promise.reject(new Error("no picture"));
		return true;
	})()`)
	b.key("1")
	b.says("alarms", "none of them is a picture")
	if !eval[bool](b, `el("left").disabled && !ready`) {
		t.Error("a question without a picture can be answered")
	}
}

// A pair of which one clip shows nothing is no question, whatever the other one shows.
func TestAClipWithoutAPictureIsNotJudged(t *testing.T) {
	m := &memory{}
	b := desktop(t, labelPage(t, m, questions.Options{Annotator: "ann", Reels: strips{4, []string{"front", "wrist"}}}).URL())
	b.posed("")
	eval[bool](b, `(() => {
		window.real = Film.prototype.bitmap;
		Film.prototype.bitmap = async function (i) { return this.clip === state.question.clips[1] ? null : real.call(this, i); };
		return true;
	})()`)
	b.key("1")
	b.says("alarms", "right: none of them is a picture")
	if !eval[bool](b, `el("left").disabled && !ready`) {
		t.Error("a question of which one clip shows nothing can be answered")
	}
	// It is asked until it is answered, and so it can be passed over.
	b.says("alarms", "cannot tell")
	id := eval[string](b, `(Film.prototype.bitmap = real, state.label)`)
	b.key("2")
	b.key("u")
	b.posed(id)
	if ls, err := m.Labels(t.Context()); err != nil || len(ls) != 2 || ls[1].ID != id || ls[1].Choice != label.Unsure {
		t.Errorf("answers %+v, %v, want that the second cannot be told", ls, err)
	}
	// A picture that is damaged says nothing of the others.
	id = eval[string](b, `(Film.prototype.bitmap = async function (i) { return i === 0 ? null : real.call(this, i); }, state.label)`)
	b.key("1")
	b.posed(id)
}

func TestTheLastAnswerCanBeTakenBack(t *testing.T) {
	m := &memory{}
	b := desktop(t, labelPage(t, m, questions.Options{Annotator: "ann", Kind: label.Segments, Reels: strips{2, []string{"front"}}}).URL())
	id := b.posed("")
	b.key(kb.Enter)
	last := b.posed(id)
	for n, undo := range []func(){func() { b.key("z") }, func() { b.tap("#undo") }} {
		b.key(kb.Enter)
		b.says("note", "All questions of kind segments about these 2 episodes were asked")
		m.last(t, 2+2*n)
		if v := eval[bool](b, `el("shown").hidden && el("marking").hidden && el("reasons").hidden && el("other").offsetParent !== null`); !v {
			t.Error("with everything asked, the page shows more or less than undo and who answers")
		}
		undo()
		last = b.posed(last)
		b.shows("the question", `!el("shown").hidden && !el("marking").hidden && el("note").hidden`)
	}
}

func TestSegmentsAreMarked(t *testing.T) {
	m := &memory{}
	b := desktop(t, labelPage(t, m, questions.Options{Annotator: "ann", Kind: label.Segments}).URL())
	id := b.posed("")
	b.still(2)
	b.key("g")
	b.shows("that it is begun", `document.getElementById("good").getAttribute("aria-pressed") === "true"`)
	b.still(6)
	b.tap("#bad") // ends the good stretch and begins a bad one
	b.still(9)
	b.key("b")
	b.shows("that it is ended", `document.getElementById("bad").getAttribute("aria-pressed") === "false"`)
	// A good one by hand, over half of the bad one.
	lane := b.box("#marks .lane.good")
	steps := eval[float64](b, "marks.steps")
	at := func(s float64) [2]float64 { return [2]float64{lane[0] + lane[2]*s/steps, lane[1] + lane[3]/2} }
	b.drag(at(8), at(12))
	b.shows("three marks", "marks.list.length === 3")
	b.drag(at(15), at(18))
	b.shows("four marks", "marks.list.length === 4")
	b.drag(at(16), at(16)) // a tap removes
	b.shows("three marks again", "marks.list.length === 3")
	b.tap("#marked")
	id = b.posed(id)
	want := []label.Mark{{From: 2, To: 6, Good: true}, {From: 6, To: 8}, {From: 8, To: 12, Good: true}}
	if l := m.last(t, 1); !slices.Equal(l.Marks, want) {
		t.Errorf("got %v, want %v", l.Marks, want)
	}
	// Undone, the marks are there to be mended; and nothing marked is an answer.
	b.key("z")
	id = b.posed(id)
	b.shows("the marks", "marks.list.length === 3")
	b.key(kb.Enter)
	id = b.posed(id)
	b.key(kb.Enter)
	b.posed(id)
	if l := m.last(t, 4); len(l.Marks) != 0 {
		t.Errorf("got %v", l.Marks)
	}
}

func TestTwoPeopleAtOnceSeeHowTheyAgree(t *testing.T) {
	m := &memory{}
	w := labelPage(t, m, questions.Options{Shared: 1, Reels: strips{6, []string{"front"}}})
	var tabs []tab
	for _, who := range []string{"ann", "ben"} {
		b := desktop(t, w.URL())
		b.shows("the form", `!document.getElementById("who").hidden`)
		b.do(chromedp.Focus(chromedp.ID("name")))
		eval[bool](b, `document.getElementById("name").select(); true`)
		b.do(call(input.InsertText, input.InsertTextParams{Text: who}), chromedp.KeyEvent(kb.Enter))
		b.says("me", "You are "+who)
		tabs = append(tabs, b)
	}
	ann, ben := tabs[0], tabs[1]
	a, c := ann.posed(""), ben.posed("")
	if q, r := eval[string](ann, "state.question.id"), eval[string](ben, "state.question.id"); q != r {
		t.Errorf("every question is shared, but ann sees %s and ben %s", q, r)
	}
	if a == c {
		t.Error("two people's answers have one id")
	}
	ann.key("1")
	ben.key("1")
	a, c = ann.posed(a), ben.posed(c)
	ann.key("1")
	ann.posed(a)
	ben.key("2")
	ben.posed(c)
	ben.says("agree", "with ann: 50 % of 2")
	ben.says("others", "Your last: right. ann: left.")
	ben.says("count", "2 of 150, 4 by all")
	m.last(t, 4)
}

func TestLabelPageFitsTabletsAndPhones(t *testing.T) {
	w := labelPage(t, &memory{}, questions.Options{Annotator: "ann", Tags: []string{"a reason that is long, and still allowed", "smooth"}})
	b := open(t, w.URL(), 768, 1024)
	id := b.posed("")
	for _, kind := range questions.Kinds() {
		if kind != label.Pair {
			eval[bool](b, fmt.Sprintf(`(() => { const s = document.getElementById("kind"); s.value = %q; s.dispatchEvent(new Event("change")); return true; })()`, kind))
			id = b.posed(id)
		}
		for _, size := range [][2]int64{{768, 1024}, {1024, 768}, {390, 844}} {
			b.do(chromedp.EmulateViewport(size[0], size[1]))
			if v := eval[[]int](b, `[document.documentElement.scrollWidth, innerWidth]`); v[0] > v[1] || v[1] != int(size[0]) {
				t.Errorf("%v %s: %d wide in a window of %d", size, kind, v[0], v[1])
			}
			// What is touched is large enough for a finger.
			small := eval[[]string](b, `[...document.querySelectorAll("#choices button, #ranked, #marked, #good, #bad, #undo, #play, #back, #on, .tag, .chip")].filter((e) => e.offsetParent).filter((e) => e.offsetHeight < 44 || e.offsetWidth < 40).map((e) => e.id || e.className)`)
			if len(small) > 0 {
				t.Errorf("%v %s: too small: %v", size, kind, small)
			}
			if kind == label.Pair || kind == label.Triplet {
				v := eval[[]float64](b, `[...["left", "right"].map((n) => document.querySelector(".clip." + n).getBoundingClientRect().top), document.getElementById("right").getBoundingClientRect().bottom - innerHeight]`)
				if v[0] != v[1] {
					t.Errorf("%v %s: the clips to compare are not beside each other: %v", size, kind, v)
				}
				// On a tablet nobody scrolls between looking and answering.
				if size[0] >= 768 && v[2] > 0 {
					t.Errorf("%v %s: the answers end %.0f below the window", size, kind, v[2])
				}
			}
		}
	}
}

func TestLabelPageOfASessionThatRunsStopsItsArm(t *testing.T) {
	s := newSession(t, bus.Options{})
	w, err := web.Start(web.Options{Conn: s.srv.Conn(), Session: s.name, Labels: labelDesk(t, &memory{}, questions.Options{Annotator: "ann"})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := open(t, w.URL(), 768, 1024)
	b.live()
	b.do(chromedp.Click(chromedp.ID("label")))
	b.posed("")
	b.shows("the dashboard's link", `document.getElementById("dashboard").href.endsWith("/#" + token)`)
	b.key(" ") // plays; it stops nothing here
	b.shows("STOP in sight at the end of the page", `(window.scrollTo(0, 1e6), document.getElementById("halt").getBoundingClientRect().top >= 0)`)
	b.tap("#halt")
	b.says("alarms", "The arm is stopped")
	if f := s.fault(0); !strings.Contains(f.Detail, "ann: STOP on the labelling page") {
		t.Errorf("got %+v", f)
	}
	if f := s.fault(1); f.ID != 0 {
		t.Errorf("stopped twice: %+v", f)
	}
}

// haltInSight says whether STOP can be pressed, from the top of the page to its end.
func (b tab) haltInSight() {
	b.t.Helper()
	b.shows("STOP", `!el("halt").hidden`)
	for _, at := range []string{"0", "300", "1e6"} {
		if !eval[bool](b, fmt.Sprintf(`(() => { scrollTo(0, %s); const r = el("halt").getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight && document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2) === el("halt"); })()`, at)) {
			b.t.Errorf("scrolled to %s, STOP is out of sight", at)
		}
	}
}

func TestStopIsInSightOnAPhoneThatLies(t *testing.T) {
	s := newSession(t, bus.Options{})
	w, err := web.Start(web.Options{Conn: s.srv.Conn(), Session: s.name, Labels: labelDesk(t, &memory{}, questions.Options{Annotator: "ann"}), Clicks: clicktest.Show(t, click.Folder(t.TempDir()))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	for _, url := range []string{w.LabelURL(), w.ClicksURL()} {
		b := open(t, url, 844, 390)
		b.shows("the page", `document.body.dataset.ready || document.body.dataset.scene`)
		for _, size := range [][2]int64{{844, 390}, {667, 375}, {390, 844}, {1024, 768}} {
			b.do(chromedp.EmulateViewport(size[0], size[1]))
			b.haltInSight()
		}
	}
}

func TestStopComesAndGoesWithTheSession(t *testing.T) {
	s := newSession(t, bus.Options{})
	var runs atomic.Bool
	arm := func(context.Context) (*bus.Conn, string) {
		if runs.Load() {
			return s.srv.Conn(), s.name
		}
		return nil, ""
	}
	w, err := web.Start(web.Options{Session: s.name, Arm: arm, Labels: labelDesk(t, &memory{}, questions.Options{Annotator: "ann"})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := desktop(t, w.URL())
	b.posed("")
	if !eval[bool](b, `el("halt").hidden`) {
		t.Error("STOP, and no arm")
	}
	runs.Store(true)
	stopIsTold(t, s, b, func() {})
	b.shows("no dashboard", `el("dashboard").hidden`)
	runs.Store(false)
	b.shows("no STOP after the end", `el("halt").hidden`)
}

// Pages with nothing to do are beside an arm all the same.
func TestPagesOfNothingStopTheArmAndLeadBack(t *testing.T) {
	s := newSession(t, bus.Options{})
	w := s.page(t)
	for url, words := range map[string]string{w.LabelURL(): "nothing can be labelled here", w.ClicksURL(): "nothing is to be clicked here"} {
		b := open(t, url, 390, 844)
		b.says("alarms", words)
		b.haltInSight()
		b.shows("the way back", `!el("dashboard").hidden && el("dashboard").href.endsWith("/#" + token)`)
	}
}

// A stop that failed is told of until it is delivered, and one that was delivered until
// somebody has acknowledged it, whatever else there is to say.
func stopIsTold(t *testing.T, s *session, b tab, meanwhile func()) {
	t.Helper()
	b.shows("STOP", `!el("halt").hidden`)
	s.deafen(errors.New("the arm does not listen"))
	b.tap("#halt")
	b.says("alarms", "STOP WAS NOT DELIVERED")
	meanwhile()
	if !strings.Contains(b.alarms(), "STOP WAS NOT DELIVERED") {
		t.Errorf("the page forgot that the stop was not delivered, and says %q", b.alarms())
	}
	s.deafen(nil)
	b.says("alarms", "The arm is stopped")
	b.shows("the stop delivered", `!el("alarms").textContent.includes("NOT DELIVERED")`)
	meanwhile()
	if !strings.Contains(b.alarms(), "The arm is stopped") {
		t.Errorf("the page forgot that the arm is stopped, and says %q", b.alarms())
	}
	if _, err := s.Acknowledge(t.Context(), bus.Acknowledge{Fault: 1, Who: "ann"}); err != nil {
		t.Fatal(err)
	}
	b.shows("an arm that is not held", `el("alarms").textContent === ""`)
}

func TestStopIsToldOnTheLabelPage(t *testing.T) {
	s := newSession(t, bus.Options{})
	w, err := web.Start(web.Options{Conn: s.srv.Conn(), Session: s.name, Labels: labelDesk(t, &memory{}, questions.Options{Annotator: "ann"})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b := desktop(t, w.LabelURL())
	id := b.posed("")
	stopIsTold(t, s, b, func() {
		b.key("1")
		id = b.posed(id)
	})
}

func TestHostileNamesAreTextOnTheLabelPage(t *testing.T) {
	evil := `<img src=x onerror="window.pwned = 1">`
	m := &memory{}
	w := labelPage(t, m, questions.Options{Annotator: evil, Tags: []string{"<b>bold</b>"}, Reels: strips{4, []string{"<i>front</i>", "wrist"}}})
	b := desktop(t, w.URL())
	id := b.posed("")
	b.do(chromedp.Click(`#tags button`))
	b.key("1")
	b.posed(id)
	b.says("me", evil)
	b.says("said", "<b>bold</b>")
	if eval[bool](b, `"pwned" in window || document.querySelectorAll("img, #said b, #clips i").length > 0`) {
		t.Error("a name became part of the page")
	}
}

func TestLabelPageWithoutTheTokenSaysSo(t *testing.T) {
	url, _, _ := strings.Cut(labelPage(t, &memory{}, questions.Options{}).URL(), "#")
	b := desktop(t, url)
	b.says("alarms", "open the link that the program printed")
	if got := b.text("session"); got != "Rapport" {
		t.Errorf("a stranger is told of session %q", got)
	}
}
