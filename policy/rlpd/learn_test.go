package rlpd_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/rlpd"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// The reach: a point moves over a plane by at most 5 cm a tick along each axis
// and should be within 8 cm of a goal after 15 ticks. The goal is in the
// embedding, as a camera at the point would show it.
const (
	ticks = 15
	near  = 0.08
)

func plane() view.Config {
	return view.Config{
		Embed: 2, Place: []int{0, 1}, Span: 0.3, Horizon: ticks,
		Action: view.Action{Axes: []int{0, 1}, Scale: 0.05},
	}
}

func seen(step int, p, goal [2]float64) policy.Input {
	in := policy.Input{Step: step, Features: perception.Features{Embed: []float32{float32(goal[0] - p[0]), float32(goal[1] - p[1])}}}
	in.State.EE.P = [3]float64{p[0], p[1]}
	return in
}

// reach plays an episode with act, labels it by the distance to the goal, and
// tells whether it ended near.
func reach(t testing.TB, id string, origin policy.Origin, rng *rand.Rand, act func(in policy.Input, p, goal [2]float64) robot.Command) (policy.Episode, bool) {
	t.Helper()
	e := policy.Episode{ID: id, Origin: origin}
	place := func() [2]float64 { return [2]float64{0.6*rng.Float64() - 0.3, 0.6*rng.Float64() - 0.3} }
	p, goal := place(), place()
	dist := func() float64 { return math.Hypot(p[0]-goal[0], p[1]-goal[1]) }
	for step := range ticks {
		in := seen(step, p, goal)
		c := act(in, p, goal)
		for i := range 2 {
			p[i] += min(0.05, max(-0.05, c.Delta[i]))
		}
		e.Inputs, e.Applied = append(e.Inputs, in), append(e.Applied, c)
		e.By, e.Version = append(e.By, robot.ByPolicy), append(e.Version, 1)
		e.Rewards = append(e.Rewards, -dist())
	}
	e.Inputs = append(e.Inputs, seen(ticks, p, goal))
	return e, dist() < near
}

// poor goes for a place 15 cm beside the goal, shakily.
func poor(rng *rand.Rand) func(policy.Input, [2]float64, [2]float64) robot.Command {
	return func(_ policy.Input, p, goal [2]float64) robot.Command {
		var c robot.Command
		for i, off := range [2]float64{0.12, -0.09} {
			c.Delta[i] = min(0.05, max(-0.05, 0.5*(goal[i]+off-p[i])+0.02*rng.NormFloat64()))
		}
		return c
	}
}

func demos(t testing.TB, n int, seed uint64) []policy.Episode {
	rng := rand.New(rand.NewPCG(seed, 1))
	var es []policy.Episode
	for i := range n {
		e, _ := reach(t, fmt.Sprintf("demo%d", i), policy.Demo, rng, poor(rng))
		es = append(es, e)
	}
	return es
}

func acting(t testing.TB, mode bc.Mode, seed uint64) *bc.Policy {
	t.Helper()
	pi, err := bc.NewPolicy(bc.PolicyConfig{View: plane(), Mode: mode, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return pi
}

func load(t testing.TB, pi *bc.Policy, l policy.Learner) {
	t.Helper()
	ps, err := l.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := pi.Load(ps); err != nil {
		t.Fatal(err)
	}
}

func by(t testing.TB, ctx context.Context, pi policy.Policy) func(policy.Input, [2]float64, [2]float64) robot.Command {
	return func(in policy.Input, _, _ [2]float64) robot.Command {
		c, err := pi.Act(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// success is the share of 100 new episodes in which the mean ends near.
func success(t testing.TB, l policy.Learner) float64 {
	pi := acting(t, bc.Mean, 0)
	load(t, pi, l)
	rng := rand.New(rand.NewPCG(12345, 6))
	n := 0.0
	for i := range 100 {
		if _, ok := reach(t, fmt.Sprint(i), policy.Online, rng, by(t, t.Context(), pi)); ok {
			n++
		}
	}
	return n / 100
}

func TestLearnsFromAPoorClone(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if slow {
		seeds = seeds[:1]
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			prior := demos(t, 10, seed)
			net, _, err := bc.Train(t.Context(), bc.Config{Arch: bc.Arch{View: plane(), Hidden: []int{64, 64}}, Steps: 500, Seed: seed}, prior, nil)
			if err != nil {
				t.Fatal(err)
			}
			l, err := rlpd.New(rlpd.Config{
				Gamma: 0.9, Scale: 30, Finite: true, Batch: 64, UTD: 2, Round: 20, Warmup: 300, Critics: 5, CriticHidden: []int{64, 64},
				CriticLR: 1e-3, ActorLR: 1e-3, AlphaLR: 1e-3, Tau: 0.02, Steps: 3, Seed: seed,
			}, net)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range prior {
				if err := l.Add(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			before := success(t, l)
			pi := acting(t, bc.Sample, seed)
			rng := rand.New(rand.NewPCG(seed, 2))
			for i := range 50 {
				load(t, pi, l)
				e, _ := reach(t, fmt.Sprint(i), policy.Online, rng, by(t, t.Context(), pi))
				if err := l.Add(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				s, err := l.Update(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if i%10 == 9 {
					t.Logf("episode %d, %d critic steps: %v", i, s.Updates, s.Metrics)
				}
			}
			after := success(t, l)
			t.Logf("success %v before and %v after", before, after)
			if before >= 0.5 || after < 0.9 {
				t.Errorf("success %v before and %v after, want below 0.5 and at least 0.9", before, after)
			}
		})
	}
}

// A clone that ends 10 cm beside the goal is put right by what is added to it.
func TestLearnsAResidual(t *testing.T) {
	prior := policytest.Demos(10, 1, [2]float64{0.08, -0.06})
	l, err := rlpd.New(rlpd.Config{
		Gamma: 0.9, Scale: 30, Finite: true, Batch: 32, UTD: 1, Round: 20, Warmup: 100, Critics: 3, CriticHidden: []int{32, 32},
		CriticLR: 1e-3, ActorLR: 1e-3, AlphaLR: 1e-3, Tau: 0.02, Steps: 3, Residual: 0.5, Seed: 1,
	}, policytest.Clone(t, policytest.Rows(), prior, 1))
	if err != nil {
		t.Fatal(err)
	}
	policytest.Give(t, l, prior...)
	before := policytest.Rate(t, l)
	policytest.Practise(t, l, 15, 1, nil)
	if after := policytest.Rate(t, l); before > 0.1 || after < 0.7 {
		t.Errorf("success %v before and %v after, want at most 0.1 and at least 0.7", before, after)
	}
}
