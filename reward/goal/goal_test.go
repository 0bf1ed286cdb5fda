package goal_test

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/goal"
	"github.com/rapport-rl/rapport/reward/rapl"
)

var _ reward.Scorer = (*goal.Scorer)(nil)

// walk is a video on a line: (x, 0) for each x.
func walk(name string, xs ...float32) rapl.Video {
	v := rapl.Video{Name: name, D: 2}
	for _, x := range xs {
		v.Embed = append(v.Embed, x, 0)
	}
	return v
}

func traj(xs ...float32) []perception.Features {
	fs := []perception.Features{{Embed: []float32{99, 99}}} // after the reset, which nobody looks at
	for _, x := range xs {
		fs = append(fs, perception.Features{Embed: []float32{x, 0}})
	}
	return fs
}

func TestDistanceToTheMeanEndByHand(t *testing.T) {
	g, err := goal.Of([]rapl.Video{walk("a", 0, 2, 3), walk("b", 1, 5)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The ends 3 and 5 have the mean 4, the farthest frame 0 is 4 away.
	if want := (goal.Goal{Embed: []float64{4, 0}, Scale: 0.25}); !cmp.Equal(g, want) {
		t.Fatalf("goal %+v, want %+v", g, want)
	}
	s, err := goal.New(g)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float64, 3)
	if err := s.Score(context.Background(), got, traj(0, 3, 6)); err != nil {
		t.Fatal(err)
	}
	if want := []float64{-1, -0.25, -0.5}; !cmp.Equal(got, want) {
		t.Errorf("rewards %v, want %v", got, want)
	}
}

func TestHeadIsAppliedFirst(t *testing.T) {
	head := &rapl.Head{In: 2, Out: 1, W: []float64{0.5, 100}, B: []float64{1}}
	g, err := goal.Of([]rapl.Video{walk("a", 0, 4)}, head)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	var back goal.Goal
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	s, err := goal.New(back)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float64, 1)
	if err := s.Score(context.Background(), got, traj(2)); err != nil {
		t.Fatal(err)
	}
	// Ends at 3, began at 1; 2 maps to 2.
	if math.Abs(got[0]+0.5) > 1e-12 {
		t.Errorf("reward %v, want -0.5", got[0])
	}
}

func TestGoalErrors(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		what   string
		videos []rapl.Video
		head   *rapl.Head
		want   string
	}{
		{"none", nil, nil, "no preferred videos"},
		{"still", []rapl.Video{walk("a", 1, 1)}, nil, "nothing changes"},
		{"empty", []rapl.Video{{Name: "a", D: 2}}, nil, "at least one whole frame"},
		{"other width", []rapl.Video{walk("a", 0, 1), {Name: "b", D: 1, Embed: []float32{1}}}, nil, "another encoder"},
		{"head of another width", []rapl.Video{walk("a", 0, 1)}, &rapl.Head{In: 3, Out: 1, W: make([]float64, 3), B: make([]float64, 1)}, "want 3"},
		{"broken head", []rapl.Video{walk("a", 0, 1)}, &rapl.Head{In: 2, Out: 1}, "0 weights"},
	} {
		if _, err := goal.Of(c.videos, c.head); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.what, err, c.want)
		}
	}
	for _, g := range []goal.Goal{{}, {Embed: []float64{1}}, {Embed: []float64{math.NaN()}, Scale: 1}, {Embed: []float64{1}, Scale: 1, Head: &rapl.Head{In: 1, Out: 2, W: make([]float64, 2), B: make([]float64, 2)}}} {
		if _, err := goal.New(g); err == nil {
			t.Errorf("goal %+v made a scorer", g)
		}
	}
	s, err := goal.New(goal.Goal{Embed: []float64{1, 0}, Scale: 1})
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	for _, c := range []struct {
		ctx  context.Context
		n    int
		traj []perception.Features
		want string
	}{
		{ended, 1, traj(1), "canceled"},
		{context.Background(), 2, traj(1), "2 features for 2"},
		{context.Background(), 0, traj(), "1 features for 0"},
		{context.Background(), 1, []perception.Features{{}, {Embed: []float32{1}}}, "of 1 numbers, want 2"},
		{context.Background(), 1, traj(nan), "is NaN"},
	} {
		if err := s.Score(c.ctx, make([]float64, c.n), c.traj); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
