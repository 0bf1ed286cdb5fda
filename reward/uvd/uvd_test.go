package uvd

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/rapl"
)

var _ reward.Scorer = (*Scorer)(nil)

const wide = 32

// path goes straight from place to place of a random embedding, each phase 40 to 70
// frames, with noise; ends are the last frames of its phases.
func path(rng *rand.Rand, phases int, noise float64) (x []float32, ends []int) {
	place := func() []float64 {
		p := make([]float64, wide)
		for i := range p {
			p[i] = rng.NormFloat64()
		}
		return p
	}
	from := place()
	n := 0
	for range phases {
		to, frames := place(), 40+rng.IntN(31)
		for f := range frames {
			a := float64(f+1) / float64(frames)
			for i := range wide {
				x = append(x, float32((1-a)*from[i]+a*to[i]+noise*rng.NormFloat64()))
			}
		}
		n += frames
		ends = append(ends, n-1)
		from = to
	}
	return x, ends
}

// The acceptance of capability card 65: of 50 paths with 3 sub-goals, 95 % are found
// within 3 frames, with at most 5 % more.
func TestSubGoalsOfPathsAreFound(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	found, want, extra := 0, 0, 0
	for range 50 {
		x, ends := path(rng, 3, 0.02)
		got, err := Split(x, wide, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if got[len(got)-1] != ends[2] {
			t.Fatalf("sub-goals %v, want the last frame %d last", got, ends[2])
		}
		want += len(ends)
		used := 0
		for _, e := range ends {
			for _, g := range got {
				if g-e <= 3 && e-g <= 3 {
					found++
					used++
					break
				}
			}
		}
		extra += len(got) - used
	}
	t.Logf("%d of %d found, %d more", found, want, extra)
	if float64(found) < 0.95*float64(want) || float64(extra) > 0.05*float64(want) {
		t.Errorf("%d of %d sub-goals found within 3 frames, %d more; want 95 %% and at most 5 %%", found, want, extra)
	}
}

func TestSwitchFiresInOrderOnAReplay(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		x, ends := path(rng, 3, 0.01)
		p, err := Of([]rapl.Video{{Name: "demo", D: wide, Embed: x}}, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Goals) != 3 {
			t.Fatalf("%d sub-goals, want 3", len(p.Goals))
		}
		s, err := New(p)
		if err != nil {
			t.Fatal(err)
		}
		// The replay has noise of its own.
		y := make([]float32, len(x))
		for i := range x {
			y[i] = x[i] + float32(0.01*rng.NormFloat64())
		}
		w, err := s.Walk(y[:wide])
		if err != nil {
			t.Fatal(err)
		}
		at, done := 0, false
		for f := 1; f < len(y)/wide; f++ {
			w.Step(y[f*wide : (f+1)*wide])
			if w.At() != at {
				if w.At() != at+1 || f > ends[at]+5 || f < ends[at]-25 {
					t.Fatalf("from sub-goal %d to %d at frame %d, want near %d", at, w.At(), f, ends[at])
				}
				at = w.At()
			}
			if w.Done() && !done {
				if done = true; at != 2 {
					t.Fatalf("done at sub-goal %d", at)
				}
			}
		}
		if !done {
			t.Fatal("the replay never reached the last sub-goal")
		}
	}
}

func TestScoreByHand(t *testing.T) {
	p := Plan{Goals: [][]float32{{10, 0}, {10, 5}}, Starts: []float64{10, 5}, Reach: 0.2, Bonus: 10}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back Plan
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	s, err := New(back)
	if err != nil {
		t.Fatal(err)
	}
	var traj []perception.Features
	for _, x := range [][]float32{{0, 0}, {4, 0}, {9, 0}, {10, 0}, {10, 5}, {10, 5}} {
		traj = append(traj, perception.Features{Embed: x})
	}
	got := make([]float64, 5)
	if err := s.Score(context.Background(), got, traj); err != nil {
		t.Fatal(err)
	}
	// (9,0) is within 2 of (10,0), so from then on (10,5) counts.
	want := []float64{0.4, 0.5, (math.Sqrt(26) - 5) / 5, 1 + 10, 0}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-6 {
			t.Errorf("reward %d is %v, want %v", i, got[i], want[i])
		}
	}
	// A prefix has the same rewards.
	head := make([]float64, 3)
	if err := s.Score(context.Background(), head, traj[:4]); err != nil {
		t.Fatal(err)
	}
	for i := range head {
		if head[i] != got[i] {
			t.Errorf("reward %d of the prefix is %v, of the whole %v", i, head[i], got[i])
		}
	}
}

func TestMonotoneAndStillClipsHaveOneSubGoal(t *testing.T) {
	line := make([]float32, 100)
	for i := range line {
		line[i] = float32(i)
	}
	for what, x := range map[string][]float32{"monotone": line, "still": make([]float32, 100), "short": line[:5], "one frame": line[:1]} {
		got, err := Split(x, 1, Config{})
		if err != nil || len(got) != 1 || got[0] != len(x)-1 {
			t.Errorf("%s: sub-goals %v, error %v, want the last frame alone", what, got, err)
		}
	}
}

// A detour without noise, without smoothing: the turn is found to the frame.
func TestTurnIsFoundToTheFrame(t *testing.T) {
	var x []float32
	for i := range 40 {
		x = append(x, float32(i), 0)
	}
	for i := range 40 {
		x = append(x, 39, float32(i+1))
	}
	// Towards (39,40) the distance falls throughout; towards (0,40) it rises first.
	for i := range 20 {
		x = append(x, float32(38-i), 40)
	}
	got, err := Split(x, 2, Config{Gap: 5, Bandwidth: -1})
	if err != nil || len(got) != 2 || got[0] != 39 || got[1] != 99 {
		t.Errorf("sub-goals %v, error %v, want 39 and 99", got, err)
	}
}

func TestKernelRegressionKeepsLinesInside(t *testing.T) {
	y := make([]float64, 200)
	for i := range y {
		y[i] = 3*float64(i) - 7
	}
	got := make([]float64, 200)
	regress(got, y, 0.08)
	for i := 30; i < 170; i++ {
		if math.Abs(got[i]-y[i]) > 1e-6 {
			t.Fatalf("at %d: %v, want %v", i, got[i], y[i])
		}
	}
}

func TestErrors(t *testing.T) {
	nan := float32(math.NaN())
	if _, err := Split([]float32{1, nan}, 1, Config{}); err == nil || !strings.Contains(err.Error(), "frame 1") {
		t.Errorf("NaN: error %v", err)
	}
	for _, c := range []Config{{Gap: -1}, {Reach: 1}, {Bonus: math.Inf(1)}, {Bandwidth: math.NaN()}} {
		if _, err := Split([]float32{1, 2}, 1, c); err == nil {
			t.Errorf("%+v split a clip", c)
		}
	}
	if _, err := Split([]float32{1, 2, 3}, 2, Config{}); err == nil {
		t.Error("half a frame was split")
	}
	for _, c := range []struct {
		videos []rapl.Video
		want   string
	}{
		{nil, "no preferred videos"},
		{[]rapl.Video{{D: 1, Embed: []float32{1, 1}}}, "nothing changes"},
		{[]rapl.Video{{D: 1, Embed: []float32{1, 2}}, {D: 2, Embed: []float32{1, 2}}}, "another encoder"},
		{[]rapl.Video{{Name: "x", D: 1}}, "video x"},
	} {
		if _, err := Of(c.videos, Config{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	for _, p := range []Plan{
		{}, {Goals: [][]float32{{1}}}, {Goals: [][]float32{{1}, {1, 2}}, Starts: []float64{1, 1}, Reach: 0.1},
		{Goals: [][]float32{{nan}}, Starts: []float64{1}, Reach: 0.1}, {Goals: [][]float32{{1}}, Starts: []float64{0}, Reach: 0.1},
		{Goals: [][]float32{{1}}, Starts: []float64{1}},
	} {
		if _, err := New(p); err == nil {
			t.Errorf("%+v made a scorer", p)
		}
	}
	s, err := New(Plan{Goals: [][]float32{{1}}, Starts: []float64{1}, Reach: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	one := perception.Features{Embed: []float32{1}}
	for _, c := range []struct {
		ctx  context.Context
		n    int
		traj []perception.Features
		want string
	}{
		{ended, 1, []perception.Features{one, one}, "canceled"},
		{context.Background(), 2, []perception.Features{one, one}, "2 features for 2"},
		{context.Background(), 1, []perception.Features{{}, one}, "frame 0"},
		{context.Background(), 1, []perception.Features{one, {Embed: []float32{nan}}}, "frame 1"},
	} {
		if err := s.Score(c.ctx, make([]float64, c.n), c.traj); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func TestStepsAllocateNothing(t *testing.T) {
	s, err := New(Plan{Goals: [][]float32{{9, 9}, {1, 2}}, Starts: []float64{1, 1}, Reach: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Walk([]float32{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{3, 4}
	if n := testing.AllocsPerRun(100, func() { w.Step(x) }); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}

// The card wants a clip of 1,000 frames within a second.
func BenchmarkSplit1000Frames(b *testing.B) {
	x, _ := path(rand.New(rand.NewPCG(1, 2)), 18, 0.02)
	x = x[:min(len(x), 1000*wide)]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Split(x, wide, Config{}); err != nil {
			b.Fatal(err)
		}
	}
}
