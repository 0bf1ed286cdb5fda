package web_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rapport-rl/rapport/internal/web"
	questions "github.com/rapport-rl/rapport/internal/web/ask"
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
