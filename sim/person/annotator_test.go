package person

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/sim"
)

// someone values clips by the number in their names, as "0.3".
func someone(h Habits) *Annotator {
	return &Annotator{Name: "ann", Seed: 3, Habits: h, Clock: time.Unix(0, 0).UTC(), Utility: func(c label.Clip) (float64, error) {
		var u float64
		_, err := fmt.Sscan(c.Episode, &u)
		return u, err
	}}
}

func about(id int, k label.Kind, clips ...float64) label.Query {
	q := label.Query{ID: fmt.Sprint("q", id), Kind: k}
	for _, c := range clips {
		q.Clips = append(q.Clips, label.Clip{Episode: fmt.Sprint(c)})
	}
	return q
}

func answer(t *testing.T, a interface {
	Answer(context.Context, label.Query) (label.Label, error)
}, q label.Query) label.Label {
	t.Helper()
	l, err := a.Answer(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// share of n answers to pairs of utilities l and r that are c.
func share(t *testing.T, a *Annotator, c label.Choice, n int, l, r float64) float64 {
	t.Helper()
	hits := 0
	for i := range n {
		if answer(t, a, about(i, label.Pair, l, r)).Choice == c {
			hits++
		}
	}
	return float64(hits) / float64(n)
}

func TestHabitsShowInShares(t *testing.T) {
	const n = 4000
	for _, tt := range []struct {
		name   string
		h      Habits
		choice label.Choice
		l, r   float64
		want   float64
	}{
		{"never errs", Habits{}, label.Left, 0.1, 0, 1},
		{"never errs on the right", Habits{}, label.Right, 0, 1e-9, 1},
		{"alike", Habits{}, label.Tie, 1, 1, 1},
		{"Bradley-Terry", Habits{Noise: 0.2}, label.Left, 0.3, 0, 1 / (1 + math.Exp(-1.5))},
		{"a tie before noise", Habits{Noise: 0.2, Ties: 0.4}, label.Tie, 0.3, 0, 1},
		{"no tie beyond it", Habits{Ties: 0.2}, label.Tie, 0.3, 0, 0},
		{"unsure", Habits{Unsure: 0.3}, label.Unsure, 1, 0, 0.3},
		{"left whatever is there", Habits{Bias: 0.4}, label.Left, 0, 1, 0.4},
		{"right whatever is there", Habits{Bias: -0.4}, label.Right, 1, 0, 0.4},
		{"asleep", Habits{Fatigue: 1}, label.Right, 1, 0, 0.5},
	} {
		// Four standard deviations of a binomial share; the first answer of who falls
		// asleep is awake.
		if got := share(t, someone(tt.h), tt.choice, n, tt.l, tt.r); math.Abs(got-tt.want) > 4*math.Sqrt(tt.want*(1-tt.want)/n)+1e-9 {
			t.Errorf("%s: %.4f of answers are %s, want %.4f", tt.name, got, tt.choice, tt.want)
		}
	}
}

func TestFatigueGrowsAndRestHelps(t *testing.T) {
	a := someone(Habits{Fatigue: 0.01, Recovery: time.Minute})
	wrong := func(from int) float64 {
		n := 0
		for i := range 40 {
			if answer(t, a, about(from+i, label.Pair, 1, 0)).Choice == label.Right {
				n++
			}
		}
		return float64(n) / 40
	}
	first, second := wrong(0), wrong(40)
	if a.lapse() != 0.8 || first >= second || second < 0.15 {
		t.Errorf("chance of a lapse %v after 80 questions, wrong %.2f and then %.2f; want 0.8, and more in the second half", a.lapse(), first, second)
	}
	a.Rest(2 * time.Minute)
	if got, want := a.lapse(), 0.8*math.Exp(-2); math.Abs(got-want) > 1e-12 {
		t.Errorf("after the pause %v, want %v", got, want)
	}
	a.Rest(time.Hour)
	if third := wrong(80); third >= second {
		t.Errorf("wrong %.2f after an hour, %.2f before it", third, second)
	}
}

func TestWhatWasSaidIsRemembered(t *testing.T) {
	h := Habits{Noise: 0.5, Fatigue: 0.02, Unsure: 0.1}
	ask := func(i int) label.Query { return about(i, label.Pair, 0.3, 0) }
	whole := someone(h)
	var want []label.Label
	for i := range 60 {
		if i == 30 {
			whole.Rest(3 * time.Minute)
		}
		want = append(want, answer(t, whole, ask(i)))
	}
	half := someone(h) // who is told the first 40
	for _, l := range want[:40] {
		half.Recall(l)
	}
	for i := 40; i < 60; i++ {
		if got := answer(t, half, ask(i)); got.Choice != want[i].Choice || !got.Stamp.Equal(want[i].Stamp) {
			t.Errorf("question %d: %s at %v, want %s at %v", i, got.Choice, got.Stamp, want[i].Choice, want[i].Stamp)
		}
	}
}

func TestRankingIsPlackettLuce(t *testing.T) {
	if got := answer(t, someone(Habits{}), about(0, label.Ranking, 0.2, 0.9, 0.5)).Places; !slices.Equal(got, []int{3, 1, 2}) {
		t.Errorf("places %v, want 3 1 2", got)
	}
	if got := answer(t, someone(Habits{Ties: 0.15}), about(0, label.Ranking, 0.2, 0.9, 0.8)).Places; !slices.Equal(got, []int{3, 1, 1}) {
		t.Errorf("places %v, want 3 1 1", got)
	}
	// Who finds two equal in a pair finds them equal in a ranking.
	equal := someone(Habits{})
	if got := answer(t, equal, about(0, label.Ranking, 0.2, 0.9, 0.9)).Places; !slices.Equal(got, []int{3, 1, 1}) {
		t.Errorf("places %v of equals, want 3 1 1", got)
	}
	fine := someone(Habits{Ties: 0.15})
	fine.Alike = func(_, _ label.Clip) (bool, error) { return false, nil }
	if got := answer(t, fine, about(0, label.Ranking, 0.2, 0.9, 0.8)).Places; !slices.Equal(got, []int{3, 1, 2}) {
		t.Errorf("places %v of whom nothing is alike to, want 3 1 2", got)
	}
	// The first place goes to each with exp(u/noise) over the sum.
	const n, noise = 4000, 0.5
	us := []float64{0, 0.5, 1}
	a, count := someone(Habits{Noise: noise}), make([]float64, len(us))
	for i := range n {
		for k, p := range answer(t, a, about(i, label.Ranking, us...)).Places {
			if p == 1 {
				count[k]++
			}
		}
	}
	sum := 1 + math.E + math.E*math.E
	for k, u := range us {
		want := math.Exp(u/noise) / sum
		if got := count[k] / n; math.Abs(got-want) > 4*math.Sqrt(want*(1-want)/n) {
			t.Errorf("%v is first in %.4f, want %.4f", u, got, want)
		}
	}
}

// film of one episode that nears, stands, and goes away; with a disliked box that is
// pushed, and one that shakes.
func film() Footage {
	var ts []sim.Truth
	for t, d := range []float64{0.4, 0.3, 0.2, 0.2, 0.25, 0.2} {
		b := make([]sim.Body, 2)
		b[0].Disliked, b[0].Pose.P[0] = true, 0.03*float64(t)
		b[1].Pose.P[2] = 0.001 * float64(t%2)
		ts = append(ts, sim.Truth{Distance: d, Bodies: b, Stamp: time.Unix(int64(t), 0)})
	}
	return Footage{"e": ts}
}

func TestTastesWeighNamedTruths(t *testing.T) {
	f := film()
	for _, tt := range []struct {
		name string
		w    Taste
		c    label.Clip
		want float64
	}{
		{"distance", Taste{Distance: 2}, label.Clip{Episode: "e"}, -0.4},
		{"distance of a stretch", Taste{Distance: 1}, label.Clip{Episode: "e", From: 2, To: 4}, -0.25},
		{"early", Taste{Early: 1}, label.Clip{Episode: "e", From: 0, To: 2}, -0.3},
		{"disliked", Taste{Disliked: 1}, label.Clip{Episode: "e"}, -0.15},
		// Each second difference is 2 mm of one of two bodies.
		{"rough", Taste{Rough: 1}, label.Clip{Episode: "e"}, -1},
		{"together", Taste{Distance: 1, Disliked: -1}, label.Clip{Episode: "e"}, -0.2 + 0.15},
		{"too short to be rough", Taste{Rough: 1}, label.Clip{Episode: "e", From: 0, To: 1}, 0},
	} {
		ts, err := f.Clip(tt.c)
		if got := tt.w.Utility(ts); err != nil || math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
	if got := (Taste{Distance: 1, Undesired: -0.5}).Utility([]sim.Truth{{}, {Distance: 0.16, Undesired: true}}); math.Abs(got-0.34) > 1e-12 {
		t.Errorf("what the task calls undesired is worth %v to who likes it, want 0.34", got)
	}
	if got := Nearness().Utility(nil); !math.IsInf(got, -1) {
		t.Errorf("nothing is worth %v, want -Inf", got)
	}
	for _, c := range []label.Clip{{Episode: "other"}, {Episode: "e", To: 6}, {Episode: "e", From: 6}} {
		if _, err := f.Clip(c); err == nil || !strings.Contains(err.Error(), c.Episode) {
			t.Errorf("%+v: %v, want an error that names it", c, err)
		}
	}
}

func TestCrowdMarksProgress(t *testing.T) {
	c, err := NewCrowd(1, Habits{Ties: 0.01}, []Group{{"ann", 1, Nearness()}}, film(), time.Unix(9, 0))
	if err != nil {
		t.Fatal(err)
	}
	got := answer(t, c, label.Query{ID: "q", Kind: label.Segments, Clips: []label.Clip{{Episode: "e"}}})
	want := []label.Mark{{From: 0, To: 2, Good: true}, {From: 3, To: 4}, {From: 4, To: 5, Good: true}}
	if !slices.Equal(got.Marks, want) || !got.Stamp.Equal(time.Unix(19, 0)) {
		t.Errorf("marks %v at %v, want %v ten seconds later", got.Marks, got.Stamp, want)
	}
}

// A reach changes nothing yet, and is marked by the grasp that it leads to; what comes
// after the grasp is marked by its own progress.
func TestCrowdMarksReachesByWhatTheyLeadTo(t *testing.T) {
	reach := func(end ...sim.Truth) []sim.Truth {
		return append([]sim.Truth{{Distance: 0.5}, {Distance: 0.5}, {Distance: 0.5}}, end...)
	}
	f := Footage{
		"handle": reach(sim.Truth{Distance: 0.5, Grasp: "handle"}, sim.Truth{Distance: 0.5, Grasp: "handle"}, sim.Truth{Distance: 0.4, Grasp: "handle"}),
		"rim":    reach(sim.Truth{Distance: 0.66, Undesired: true}, sim.Truth{Distance: 0.66, Undesired: true, Grasp: "rim"}, sim.Truth{Distance: 0.56, Undesired: true, Grasp: "rim"}),
		"spoilt": reach(sim.Truth{Distance: 0.66, Undesired: true}, sim.Truth{Distance: 0.66, Undesired: true}),
		"idle":   reach(),
		"held":   {{Distance: 0.5, Grasp: "rim", Undesired: true}, {Distance: 0.5, Grasp: "rim", Undesired: true}},
	}
	c, err := NewCrowd(1, Habits{Ties: 0.01}, []Group{{"ann", 1, Nearness()}}, f, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]label.Mark{
		"handle": {{To: 3, Good: true}, {From: 4, To: 5, Good: true}},
		"rim":    {{To: 4}, {From: 4, To: 5, Good: true}},
		"spoilt": {{To: 3}},
		"idle":   nil,
		"held":   nil,
	} {
		got := answer(t, c, label.Query{ID: "q", Kind: label.Segments, Clips: []label.Clip{{Episode: name}}})
		if !slices.Equal(got.Marks, want) {
			t.Errorf("%s: marks %v, want %v", name, got.Marks, want)
		}
	}
}

func TestCrowdsAnswerByTheirShares(t *testing.T) {
	f := Footage{
		"near": {{Distance: 0.9}, {Distance: 0.1}}, // good in the end
		"soon": {{Distance: 0.2}, {Distance: 0.3}}, // better on the way
	}
	groups := []Group{{"ann", 3, Nearness()}, {"ben", 1, Taste{Early: 1}}}
	c, err := NewCrowd(5, Habits{}, groups, f, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 4000
	count := map[string]int{}
	for i := range n {
		q := label.Query{ID: fmt.Sprint(i), Kind: label.Pair, Clips: []label.Clip{{Episode: "near"}, {Episode: "soon"}}}
		l := answer(t, c, q)
		count[l.Annotator]++
		if want := map[string]label.Choice{"ann": label.Left, "ben": label.Right}[l.Annotator]; l.Choice != want {
			t.Errorf("%s says %s, want %s", l.Annotator, l.Choice, want)
		}
	}
	if got := float64(count["ann"]) / n; math.Abs(got-0.75) > 4*math.Sqrt(0.75*0.25/n) {
		t.Errorf("ann answered %.3f, want 0.75", got)
	}
	c.Rest(time.Hour)
	c.Recall(label.Label{Annotator: "nobody"})
	if len(c.People()) != 2 {
		t.Error("people went away")
	}
	for name, gs := range map[string][]Group{
		"nobody": nil, "no name": {{"", 1, Nearness()}}, "no share": {{"a", 0, Nearness()}}, "twice": {groups[0], groups[0]},
	} {
		if _, err := NewCrowd(1, Habits{}, gs, f, time.Time{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestWhatCannotBeAnsweredIsAnError(t *testing.T) {
	a := someone(Habits{})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Answer(gone, about(1, label.Pair, 0, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	if _, err := a.Answer(t.Context(), about(1, label.Pair, 0)); err == nil {
		t.Error("a pair of one was answered")
	}
	for _, k := range []label.Kind{label.Pair, label.Ranking} {
		for _, clips := range [][]string{{"x", "1"}, {"1", "x"}} {
			q := label.Query{ID: "q", Kind: k, Clips: []label.Clip{{Episode: clips[0]}, {Episode: clips[1]}}}
			if _, err := a.Answer(t.Context(), q); err == nil {
				t.Errorf("a %s of %v was answered", k, clips)
			}
		}
	}
	c, err := NewCrowd(1, Habits{}, []Group{{"ann", 1, Nearness()}}, Footage{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []label.Kind{label.Segments, label.Pair} {
		q := label.Query{ID: "q", Kind: k, Clips: []label.Clip{{Episode: "e"}, {Episode: "f"}}[:map[label.Kind]int{label.Segments: 1, label.Pair: 2}[k]]}
		if _, err := c.Answer(t.Context(), q); err == nil {
			t.Errorf("a %s of unknown episodes was answered", k)
		}
	}
}
