package wire

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/nn/onnx"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/reward/vlm/vlmtest"
	"github.com/rapport-rl/rapport/robot"
)

// The model is offered what stands out, names one of the marks, and that one is
// followed as a point of the plan is.
func TestModelTakesWhatStandsOutSomewhere(t *testing.T) {
	c := waypointed(t, "group")
	c.Reward.KAGI.Marks = "candidates"
	a, obs := resetArm(t, c)
	s := vlmtest.Start(func(n int, q vlmtest.Request) vlmtest.Reply {
		mark := "red" // a point of the plan that is not drawn: asked again
		if n > 0 {
			mark = "P1"
		}
		return vlmtest.Reply{Text: `{"steps":[{"what":"push","mark":"` + mark + `","waypoints":[{"tile":"c3","line":"1","fingers":"keep"}]}]}`}
	})
	defer s.Close()
	m, err := vlm.New(vlm.Config{URL: s.URL, Model: "stub", Tries: 2})
	if err != nil {
		t.Fatal(err)
	}
	ctx := withPlanner(t.Context(), &planner{model: m, fell: func(err error) { t.Errorf("fell back: %v", err) }, told: func(int, int) {}})
	keys, err := a.track(ctx, 0, obs)
	if err != nil {
		t.Fatal(err)
	}
	asked := s.Asked()
	if len(asked) != 2 || !strings.Contains(asked[0].Text, "hand, P1, Q1") || strings.Contains(asked[0].Text, "red,") || !strings.Contains(asked[1].Text, `"red", which is no mark`) {
		t.Errorf("it was asked %d times: %+v", len(asked), asked[0].Text)
	}
	legs, err := kagi.Told(keys)
	if err != nil || len(legs) != 1 || legs[0].Point != "P1" {
		t.Fatalf("the way is %+v, %v", legs, err)
	}
	at, score, ok := perception.Place(keys, "P1")
	box := nearest(a, at)
	if !ok || score <= 0 || box > 0.03 {
		t.Errorf("P1 is %.3f m from any box (%v, %v)", box, ok, score)
	}
	if names := seenNames(keys); slices.Contains(names, "Q1") || !slices.Contains(names, "red") {
		t.Errorf("the keys are %q; want the plan's points and what was chosen", names)
	}
	// It is followed, and the episode is scored by it.
	traj := []perception.Features{{Stamp: obs.State.Stamp, Keys: keys}}
	for step := 1; step < 4; step++ {
		if obs, err = a.guard.Step(t.Context(), robot.Command{}); err != nil {
			t.Fatal(err)
		}
		if keys, err = a.track(ctx, step, obs); err != nil {
			t.Fatal(err)
		}
		now, score, ok := perception.Place(keys, "P1")
		if d := math.Hypot(now[0]-at[0], now[1]-at[1]); !ok || score <= 0 || d > 0.01 {
			t.Errorf("step %d: what lies still moved %.3f m (%v, %v)", step, d, ok, score)
		}
		traj = append(traj, perception.Features{Stamp: obs.State.Stamp, Keys: keys})
	}
	k, err := kagi.New(kagi.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if steps, _, err := k.Explain(traj); err != nil || len(steps) != 3 || steps[0].Length == 0 || steps[2].Lost {
		t.Errorf("got %+v, %v", steps, err)
	}
	// The next episode begins without it.
	if obs, err = a.guard.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys, err = a.track(t.Context(), 0, obs); err != nil || slices.Contains(seenNames(keys), "P1") {
		t.Errorf("%q, %v", seenNames(keys), err)
	}
}

// A point that nothing in the scene has is not drawn, and neither offered nor accepted.
func TestMarksThatAreNotDrawnAreNotOffered(t *testing.T) {
	c := waypointed(t, "reach")
	c.Reward.KAGI.Plan = planFile(t, kagi.Plan{Task: "bring the fingers to the ball", Points: []kagi.Point{
		{Name: "hand", Hand: true},
		{Name: "ball", Camera: "front", Colour: &[3]float64{219, 18, 15}, Height: 0.12},
		{Name: "ghost", Camera: "front", Colour: &[3]float64{255, 0, 255}, Height: 0.12},
	}, Stages: []kagi.Stage{{Point: "hand", Waypoints: []kagi.Waypoint{{From: "ball"}}}}})
	a, obs := resetArm(t, c)
	s := vlmtest.Script(vlmtest.Reply{Text: strings.Replace(wayToC3, "hand", "ghost", 1)}, vlmtest.Reply{Text: wayToC3})
	defer s.Close()
	m, err := vlm.New(vlm.Config{URL: s.URL, Model: "stub", Tries: 2, Sleep: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx := withPlanner(t.Context(), &planner{model: m, fell: func(err error) { t.Errorf("fell back: %v", err) }, told: func(int, int) {}})
	keys, err := a.track(ctx, 0, obs)
	if err != nil {
		t.Fatal(err)
	}
	legs, err := kagi.Told(keys)
	if err != nil || len(legs) != 1 || legs[0].Point != "hand" {
		t.Errorf("the way is %+v, %v, want the hand's", legs, err)
	}
	if asked := s.Asked(); len(asked) != 2 || !strings.Contains(asked[0].Text, "The marks are: hand, ball.") || !strings.Contains(asked[1].Text, `"ghost", which is no mark`) {
		t.Errorf("it was asked %d times, first %q; want the marks that are drawn, and ghost refused", len(asked), asked[0].Text)
	}
}

// blueThings writes a network whose one map is of what is blue, red first as files of
// networks have it.
func blueThings(t *testing.T, dir string) string {
	t.Helper()
	b := onnx.NewBuilder("blue")
	x := b.Input("x", "pixels, 0..1, RGB", 3, 96, 96)
	y := b.Op("Conv", []string{x, b.Const("w", []float32{-1, -1, 2}, 1, 3, 1, 1), b.Const("b", []float32{-0.5}, 1)}, onnx.Attr{Name: "kernel_shape", Kind: onnx.Ints, Ints: []int64{1, 1}})
	b.Output("y", "logits", y, 1, 96, 96)
	var buf bytes.Buffer
	path := filepath.Join(dir, "blue.onnx")
	if err := errors.Join(b.Model().Write(&buf), os.WriteFile(path, buf.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

// A network finds what the model is offered, with as many marks on each thing as are asked for.
func TestANetworkFindsWhatTheModelIsOffered(t *testing.T) {
	c := waypointed(t, "group")
	k := &c.Reward.KAGI
	k.Source, k.Marks, k.Points, k.Segmenter = "vlm", "candidates", 3, blueThings(t, t.TempDir())
	a, obs := resetArm(t, c)
	s := vlmtest.Script(vlmtest.Reply{Text: strings.Replace(wayToC3, "hand", "P3", 1)})
	defer s.Close()
	o := quietly()
	o.VLM = func(cache string) (kagi.Model, error) {
		return vlm.New(vlm.Config{URL: s.URL, Model: "stub", Tries: 1})
	}
	session, err := Create(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	ctx, err := session.plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := a.track(ctx, 0, obs)
	if err != nil {
		t.Fatal(err)
	}
	if asked := s.Asked(); len(asked) != 1 || !strings.Contains(asked[0].Text, "The marks are: hand, P1, P2, P3.") {
		t.Errorf("it was asked %d times: %.1200s", len(asked), asked[0].Text)
	}
	blue, _, _ := perception.Place(keys, "blue")
	at, score, ok := perception.Place(keys, "P3")
	if d := math.Hypot(at[0]-blue[0], at[1]-blue[1]); !ok || score <= 0 || d > 0.05 || d < 0.005 {
		t.Errorf("P3 is %.3f m from the middle of the blue thing (%v, %v), want it on its contour", d, score, ok)
	}
	if names := seenNames(keys); !slices.Contains(names, "P3") || slices.Contains(names, "P1") {
		t.Errorf("the keys are %q, want P3 that was chosen among them", names)
	}
	// The sum of the file is kept, and one that is none is refused before there is a folder.
	sums, err := keptFiles(session.Dir())
	if want, e := fileSum(keySegmenter, k.Segmenter); err != nil || e != nil || sums[keySegmenter] != want {
		t.Errorf("kept %v (%v), want %s", sums, err, want)
	}
	for _, c.Name = range []string{"none", "words"} {
		k.Segmenter = filepath.Join(t.TempDir(), c.Name)
		if c.Name == "words" {
			if err := os.WriteFile(k.Segmenter, []byte("words"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Create(t.Context(), c, o)
		wantErr(t, err, "reward.kagi.segmenter", c.Name)
		if there(filepath.Join(c.Out, c.Name)) {
			t.Errorf("%s: there is a folder", c.Name)
		}
	}
}

// An actor's network must be its learner's.
func TestASegmenterOfAnotherSumIsRefused(t *testing.T) {
	r := &role{name: "x", segmenter: "aa"}
	r.cfg.Reward.KAGI.Segmenter = "things.onnx"
	wantErr(t, r.same(facts{Segmenter: "bb"}), "reward.kagi.segmenter things.onnx is of SHA-256 aa here, and of bb at its learner")
	if err := r.same(facts{Segmenter: "aa"}); err != nil {
		t.Error(err)
	}
	was := config.Default()
	was.Reward.KAGI.Marks, was.Reward.KAGI.Segmenter = "candidates", "there/things.onnx"
	b, err := was.YAML()
	if err != nil {
		t.Fatal(err)
	}
	r.cfg = was
	r.cfg.Reward.KAGI.Segmenter = "things.onnx"
	if err := r.fits(b); err != nil {
		t.Errorf("what is in them counts: %v", err)
	}
	r.cfg.Reward.KAGI.Segmenter = ""
	wantErr(t, r.fits(b), `reward.kagi.segmenter is "" here`)
}

// nearest is how far the nearest body is from a place, seen from above, m.
func nearest(a *arm, at [3]float64) float64 {
	d := math.Inf(1)
	for _, b := range a.world.Truth().Bodies {
		d = min(d, math.Hypot(at[0]-b.Pose.P[0], at[1]-b.Pose.P[1]))
	}
	return d
}

func seenNames(keys []perception.Keypoint) []string {
	var names []string
	for _, s := range kagi.Spots(keys) {
		names = append(names, s.Name)
	}
	return names
}

func TestNothingThatStandsOutIsToldAndStoodInFor(t *testing.T) {
	c := waypointed(t, "reach")
	c.Reward.KAGI.Marks = "candidates"
	a, obs := resetArm(t, c)
	for i := range obs.Frames { // grey all over
		obs.Frames[i].Pix = slices.Repeat([]byte{120}, len(obs.Frames[i].Pix))
	}
	var told error
	pl := &planner{fell: func(err error) { told = err }, told: func(int, int) {}}
	keys, err := a.track(withPlanner(t.Context(), pl), 0, obs)
	if gave, none := pl.resets(); gave != 0 || none != 1 || pl.spent() != "nobody was asked" {
		t.Errorf("%d resets with and %d without the model, %s; want one without, and nobody asked", gave, none, pl.spent())
	}
	if told == nil || !strings.Contains(told.Error(), "reward.kagi.marks") {
		t.Errorf("told %v; keys %v, %v", told, keys, err)
	}
}
