package iql

import (
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/robot"
)

func cmds(rng *rand.Rand, n int) []robot.Command {
	cs := make([]robot.Command, n)
	for i := range cs {
		for j := range 2 {
			cs[i].Delta[j] = 2*rng.Float64() - 1
		}
	}
	return cs
}

func bys(n int) []robot.Source {
	by := make([]robot.Source, n)
	for i := range by {
		by[i] = robot.ByPolicy
	}
	return by
}

func TestStepAllocatesNothing(t *testing.T) {
	l, err := New(Config{Arch: policytest.Arch(), Batch: 16, CriticHidden: []int{16, 16}, Critics: 3, Noise: 0.01}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range policytest.Demos(2, 1, [2]float64{}) {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(10, func() {
		if err := l.step(16); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a step allocates %v times, want 0", n)
	}
}

func TestActorsRateFallsToATenth(t *testing.T) {
	l, err := New(Config{Arch: policytest.Arch(), Batch: 8, CriticHidden: []int{8}, Round: 11, ActorLR: 1e-3, Decay: 10}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range policytest.Demos(2, 1, [2]float64{}) {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.adam.actor.LR; !near(got/1e-3, 0.1) {
		t.Errorf("rate after all steps = %v, want a tenth of 1e-3", got)
	}
}
