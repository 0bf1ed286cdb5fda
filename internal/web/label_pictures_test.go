package web_test

import (
	"fmt"
	"slices"
	"testing"

	questions "github.com/rapport-rl/rapport/internal/web/ask"
	"github.com/rapport-rl/rapport/reward/label"
)

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
