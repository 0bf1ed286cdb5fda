package keypoint

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// at is a bench with the red thing moved by dx, dy, and the blue one still.
func at(dx, dy int, more ...thing) robot.Frame {
	r := redThing
	r.x0, r.x1, r.y0, r.y1 = r.x0+dx, r.x1+dx, r.y0+dy, r.y1+dy
	return bench(160, 120, append([]thing{r, blueThing}, more...)...)
}

func points() []perception.Keypoint {
	var ks []perception.Keypoint
	for i, p := range [][2]float64{{30, 40}, {20, 30}, {40, 30}, {20, 50}, {40, 50}} {
		ks = append(ks, perception.Keypoint{Name: "P" + string(rune('1'+i)), Camera: "top", X: p[0], Y: p[1]})
	}
	return append(ks, perception.Keypoint{Name: "Q1", Camera: "top", X: 70, Y: 60})
}

func begun(t testing.TB, f robot.Frame, ps []perception.Keypoint) *Tracker {
	t.Helper()
	tr, err := NewTracker(Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	if err := tr.Begin([]robot.Frame{f}, ps); err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestPointsGoWithTheirThing(t *testing.T) {
	ps := points()
	tr := begun(t, at(0, 0), ps)
	for i := 1; i <= 25; i++ {
		dx, dy := 3*i, -i/2 // clear of the blue thing
		ks, err := tr.Track([]robot.Frame{at(dx, dy)})
		if err != nil {
			t.Fatal(err)
		}
		for n, k := range ks {
			want := [2]float64{ps[n].X + float64(dx), ps[n].Y + float64(dy)}
			if n == 5 {
				want = [2]float64{70, 60}
			}
			if d := math.Hypot(k.X-want[0], k.Y-want[1]); d > 1.5 || k.Score == 0 || k.Name != ps[n].Name || k.Camera != "top" {
				t.Errorf("frame %d: %s at (%.1f, %.1f), score %.2f, want %v", i, k.Name, k.X, k.Y, k.Score, want)
			}
		}
	}
}

func TestDriftIsBounded(t *testing.T) {
	ps := points()
	tr := begun(t, at(0, 0), ps)
	var ks []perception.Keypoint
	for i := 1; i <= 300; i++ {
		s, c := math.Sincos(float64(i) / 7)
		var err error
		if ks, err = tr.Track([]robot.Frame{at(int(10*s)+10, int(10*c)-8)}); err != nil {
			t.Fatal(err)
		}
	}
	s, c := math.Sincos(300. / 7)
	for n, k := range ks[:5] {
		if d := math.Hypot(k.X-ps[n].X-float64(int(10*s)+10), k.Y-ps[n].Y-float64(int(10*c)-8)); d > 1.5 {
			t.Errorf("after 300 frames %s is %.2f px off", k.Name, d)
		}
	}
}

func TestCoveredPointsAreLostHeldAndFound(t *testing.T) {
	ps := points()
	tr := begun(t, at(0, 0), ps)
	cover := thing{0, 0, 62, 80, [3]byte{90, 110, 100}}
	var before []perception.Keypoint
	for i := 1; i <= 3; i++ {
		ks, err := tr.Track([]robot.Frame{at(2*i, 0)})
		if err != nil {
			t.Fatal(err)
		}
		before = ks
	}
	for i := range 4 {
		ks, err := tr.Track([]robot.Frame{at(6, 0, cover)})
		if err != nil {
			t.Fatal(err)
		}
		for n, k := range ks[:5] {
			if k.Score != 0 || k.X != before[n].X || k.Y != before[n].Y || tr.Lost(n) == 0 {
				t.Errorf("covered for %d frames %s is at (%.1f, %.1f) with score %.2f, want held at (%.1f, %.1f) and lost", i+1, k.Name, k.X, k.Y, k.Score, before[n].X, before[n].Y)
			}
		}
		if ks[5].Score == 0 {
			t.Error("Q1, which is not covered, is lost")
		}
	}
	var ks []perception.Keypoint
	for range 3 {
		var err error
		if ks, err = tr.Track([]robot.Frame{at(14, 5)}); err != nil { // it went on behind the cover
			t.Fatal(err)
		}
	}
	for n, k := range ks[:5] {
		if d := math.Hypot(k.X-ps[n].X-14, k.Y-ps[n].Y-5); k.Score == 0 || d > 1.5 || tr.Lost(n) != 0 {
			t.Errorf("uncovered, %s is %.1f px off with score %.2f", k.Name, d, k.Score)
		}
	}
}

func TestDimmerLightIsNoLoss(t *testing.T) {
	ps := points()
	tr := begun(t, at(0, 0), ps)
	f := at(2, 1)
	for i := range f.Pix {
		f.Pix[i] = byte(float64(f.Pix[i]) * 0.6)
	}
	ks, err := tr.Track([]robot.Frame{f})
	if err != nil {
		t.Fatal(err)
	}
	for n, k := range ks[:5] {
		if d := math.Hypot(k.X-ps[n].X-2, k.Y-ps[n].Y-1); k.Score == 0 || d > 1.5 {
			t.Errorf("in dim light %s is %.1f px off with score %.2f", k.Name, d, k.Score)
		}
	}
}

func TestSeveralCameras(t *testing.T) {
	a, b := at(0, 0), at(10, 10)
	b.Camera = "side"
	tr, err := NewTracker(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	ps := []perception.Keypoint{{Name: "P1", Camera: "side", X: 40, Y: 50}, {Name: "P1", Camera: "top", X: 30, Y: 40}}
	if err := tr.Begin([]robot.Frame{a, b}, ps); err != nil {
		t.Fatal(err)
	}
	a, b = at(2, 0), at(10, 13)
	b.Camera = "side"
	ks, err := tr.Track([]robot.Frame{b, a}) // in any order
	if err != nil {
		t.Fatal(err)
	}
	if math.Hypot(ks[0].X-40, ks[0].Y-53) > 1 || math.Hypot(ks[1].X-32, ks[1].Y-40) > 1 {
		t.Errorf("got %+v", ks)
	}
	if _, err := tr.Track([]robot.Frame{a}); err == nil || !strings.Contains(err.Error(), "side") {
		t.Errorf("a camera without a frame: %v", err)
	}
}

func TestMisuseOfATrackerIsTold(t *testing.T) {
	tr, err := NewTracker(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if _, err := tr.Track([]robot.Frame{at(0, 0)}); !errors.Is(err, ErrBegin) {
		t.Errorf("track before begin: %v", err)
	}
	for _, p := range []perception.Keypoint{{Name: "P1", Camera: "top", X: 200, Y: 5}, {Name: "P1", Camera: "top", X: math.NaN()}, {Name: "P1", Camera: "none"}} {
		if err := tr.Begin([]robot.Frame{at(0, 0)}, []perception.Keypoint{p}); err == nil || !strings.Contains(err.Error(), `"P1"`) {
			t.Errorf("point %+v: %v", p, err)
		}
	}
	if err := tr.Begin([]robot.Frame{at(0, 0)}, points()); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Track([]robot.Frame{bench(80, 60)}); !errors.Is(err, vision.ErrSize) {
		t.Errorf("frames of another size: %v", err)
	}
	for _, c := range []Config{{Patch: 4}, {Patch: 1000}, {Back: -1}, {Keep: 1}, {Keep: 0.9, Find: 0.5}, {Stray: math.NaN()}, {Flow: vision.FlowConfig{Window: 2}}} {
		if _, err := NewTracker(c); err == nil {
			t.Errorf("a tracker was made of %+v", c)
		}
	}
}

func TestTrackingAllocatesItsAnswerAlone(t *testing.T) {
	tr := begun(t, at(0, 0), points())
	fs := [][]robot.Frame{{at(1, 0)}, {at(0, 0)}}
	n := 0
	got := testing.AllocsPerRun(20, func() {
		if _, err := tr.Track(fs[n%2]); err != nil {
			t.Fatal(err)
		}
		n++
	})
	if got > 1 {
		t.Errorf("%g allocations a frame, want 1: the keypoints", got)
	}
}

// inner is an extractor whose embedding is the first pixel.
type inner struct{}

func (inner) Extract(_ context.Context, fs []robot.Frame) (perception.Features, error) {
	return perception.Features{Stamp: fs[0].Stamp, Embed: []float32{float32(fs[0].Pix[0])}}, nil
}

func TestExtractorTracksBesideAnother(t *testing.T) {
	tr, err := NewTracker(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	asked := 0
	x := &Extractor{Inner: inner{}, Tracker: tr, Start: func(context.Context, []robot.Frame) ([]perception.Keypoint, error) {
		asked++
		return points(), nil
	}}
	for episode := range 2 {
		for i := range 3 {
			f := at(2*i, 0)
			f.Seq = uint64(i)
			got, err := x.Extract(context.Background(), []robot.Frame{f})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Embed) != 1 || len(got.Keys) != 6 || math.Abs(got.Keys[0].X-30-float64(2*i)) > 1.5 || got.Keys[0].Score == 0 {
				t.Errorf("episode %d, frame %d: %+v", episode, i, got)
			}
		}
	}
	if asked != 2 {
		t.Errorf("asked for points %d times, want once an episode", asked)
	}
	if _, err := x.Extract(context.Background(), nil); err == nil {
		t.Error("no frames, no error")
	}
	bad := errors.New("no answer")
	x.Start = func(context.Context, []robot.Frame) ([]perception.Keypoint, error) { return nil, bad }
	if _, err := x.Extract(context.Background(), []robot.Frame{at(0, 0)}); !errors.Is(err, bad) {
		t.Errorf("a start without an answer: %v", err)
	}
	x = &Extractor{Tracker: tr}
	if got, err := x.Extract(context.Background(), []robot.Frame{at(0, 0)}); err != nil || got.Keys != nil {
		t.Errorf("without a start: %+v (%v), want no keys", got, err)
	}
}

func TestHandIsSeenByItsPose(t *testing.T) {
	c := overhead()
	wrist := c
	wrist.Name, wrist.OnHand, wrist.Pose = "wrist", true, robot.Pose{P: [3]float64{0, 0, -0.2}, Q: [4]float64{1}}
	tool := robot.Pose{P: [3]float64{0.6, 0, 0.5}, Q: franka.Exp([3]float64{math.Pi, 0, 0})}
	ks := Hand{Name: "H1"}.Keys([]Camera{c, wrist}, tool)
	if math.Hypot(ks[0].X-99.5, ks[0].Y-29.5) > 1e-9 || ks[0].Score != 1 || ks[0].Camera != "top" {
		t.Errorf("from above the tool is at %+v", ks[0])
	}
	// The wrist's camera looks along the tool's z, at whose origin the tool always is.
	if math.Hypot(ks[1].X-99.5, ks[1].Y-49.5) > 1e-9 {
		t.Errorf("from the wrist it is at %+v", ks[1])
	}
	tool.P[2] = 2
	if ks := (Hand{Name: "H1"}).Keys([]Camera{c}, tool); ks[0].Score != 0 {
		t.Errorf("behind the camera it is seen: %+v", ks[0])
	}
}
