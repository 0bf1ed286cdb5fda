package rlpd

import (
	"fmt"
	"math"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/critic"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// gradients are those of the critics after one step on two given episodes, held
// down by the given term, which may be nil.
func gradients(t *testing.T, term *critic.Conserve, online bool) []float32 {
	t.Helper()
	c := Config{
		Arch:  bc.Arch{View: view.Config{Embed: 3, Action: view.Action{Axes: []int{0, 1}, Scale: 1}}, Hidden: []int{5}},
		Batch: 6, Critics: 4, CriticHidden: []int{7, 5}, Gamma: 0.9, Offline: 5, Seed: 3,
	}
	var l *Learner
	var err error
	if term == nil {
		l, err = New(c, nil)
	} else {
		l, err = NewConservative(c, *term, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if online {
		l.Online()
	}
	for n, origin := range []policy.Origin{policy.Demo, policy.Online} {
		e := policy.Episode{ID: fmt.Sprint(n), Origin: origin, Rewards: []float64{1, -2, 0.5}}
		for i := range 4 {
			in := policy.Input{}
			in.Features.Embed = []float32{float32(i), float32(n), float32(i * n)}
			e.Inputs = append(e.Inputs, in)
		}
		for i := range 3 {
			var cmd robot.Command
			cmd.Delta[0], cmd.Delta[1] = 0.3*float64(i)-0.5, 0.2*float64(n)
			e.Applied, e.By, e.Version = append(e.Applied, cmd), append(e.By, robot.ByPolicy), append(e.Version, 1)
		}
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.criticStep(3); err != nil {
		t.Fatal(err)
	}
	var g []float32
	for _, p := range l.criticParams {
		g = append(g, p.Grad...)
	}
	return g
}

// TestTermIsAddedByTheWeightOfThePhase: the gradient of a step is that of the
// targets and the weight times that of the term, which draws its actions after all
// else is drawn.
func TestTermIsAddedByTheWeightOfThePhase(t *testing.T) {
	plain := gradients(t, nil, false)
	one := gradients(t, &critic.Conserve{Weight: 1}, false)
	for _, tt := range []struct {
		name   string
		term   critic.Conserve
		online bool
		times  float64 // the term of one
	}{
		{"offline", critic.Conserve{Weight: 2.5}, false, 2.5},
		{"offline with another weight online", critic.Conserve{Weight: 0.5, Online: 3}, false, 0.5},
		{"online with the same weight", critic.Conserve{Weight: 0.5}, true, 0.5},
		{"online with another weight", critic.Conserve{Weight: 0.5, Online: 3}, true, 3},
		{"online with none", critic.Conserve{Weight: 0.5, Online: -1}, true, 0},
	} {
		size := 0.0
		for i, got := range gradients(t, &tt.term, tt.online) {
			term := float64(one[i] - plain[i])
			size += math.Abs(term)
			if want := float64(plain[i]) + tt.times*term; math.Abs(float64(got)-want) > 1e-5*(1+math.Abs(want)) {
				t.Fatalf("%s: gradient %d = %v, want %v", tt.name, i, got, want)
			}
		}
		if size < 1e-2 {
			t.Errorf("%s: the term has a gradient of %v: the test tells nothing", tt.name, size)
		}
	}
}
