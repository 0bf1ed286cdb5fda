// Package policytest is the conformance suite that every policy.Keeper passes,
// as testing/fstest is for file systems, with a task small enough to learn in a
// test, and networks by the book to compare kernels with.
//
//	func TestLearner(t *testing.T) {
//		policytest.TestKeeper(t, policytest.Subject{New: func(seed uint64) (policy.Keeper, error) {
//			return iql.New(iql.Config{Arch: policytest.Arch(), Batch: 16, Seed: seed}, nil)
//		}})
//	}
package policytest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// The reach: a point moves over a plane by at most Speed a tick along each axis
// and should be within Near of a goal after Ticks. The goal is in the embedding,
// as a camera at the point would show it.
const (
	Ticks = 15
	Speed = 0.05 // m
	Near  = 0.08 // m
)

// View is what a policy of the reach sees.
func View() view.Config {
	return view.Config{
		Embed: 2, Place: []int{0, 1}, Span: 0.3, Horizon: Ticks,
		Action: view.Action{Axes: []int{0, 1}, Scale: Speed},
	}
}

// Arch is a quick policy of the reach.
func Arch() bc.Arch { return bc.Arch{View: View(), Hidden: []int{16, 16}} }

// Act chooses the command at place p, with the goal at goal.
type Act func(in policy.Input, p, goal [2]float64) (robot.Command, error)

// Play plays an episode with act, labels every step by minus the distance to the
// goal, and tells whether it ended near.
func Play(id string, origin policy.Origin, rng *rand.Rand, act Act) (policy.Episode, bool, error) {
	e := policy.Episode{ID: id, Origin: origin}
	place := func() [2]float64 { return [2]float64{0.6*rng.Float64() - 0.3, 0.6*rng.Float64() - 0.3} }
	p, goal := place(), place()
	see := func() {
		in := policy.Input{Step: len(e.Inputs), Features: perception.Features{Embed: []float32{float32(goal[0] - p[0]), float32(goal[1] - p[1])}}}
		in.State.EE.P = [3]float64{p[0], p[1]}
		in.Frames = []robot.Frame{picture(p, goal)}
		e.Inputs = append(e.Inputs, in)
	}
	dist := func() float64 { return math.Hypot(p[0]-goal[0], p[1]-goal[1]) }
	for range Ticks {
		see()
		c, err := act(e.Inputs[len(e.Inputs)-1], p, goal)
		if err != nil {
			return e, false, err
		}
		for i := range p {
			c.Delta[i] = min(Speed, max(-Speed, c.Delta[i]))
			p[i] += c.Delta[i]
		}
		e.Applied, e.By, e.Version = append(e.Applied, c), append(e.By, robot.ByPolicy), append(e.Version, 0)
		e.Rewards = append(e.Rewards, -dist())
	}
	see()
	return e, dist() < Near, nil
}

// Beside goes for the place that is off the goal by off, m, with shaky hands.
func Beside(off [2]float64, rng *rand.Rand) Act {
	return func(_ policy.Input, p, goal [2]float64) (robot.Command, error) {
		var c robot.Command
		for i := range p {
			c.Delta[i] = 0.5*(goal[i]+off[i]-p[i]) + 0.02*rng.NormFloat64()
		}
		return c, nil
	}
}

// Demos are n demonstrations, each of them beside the goal by one of offs in
// turn.
func Demos(n int, seed uint64, offs ...[2]float64) []policy.Episode {
	rng := rand.New(rand.NewPCG(seed, 1))
	es := make([]policy.Episode, n)
	for i := range es {
		es[i], _, _ = Play(fmt.Sprintf("demo%d", i), policy.Demo, rng, Beside(offs[i%len(offs)], rng))
	}
	return es
}

// Player acts by the parameters ps of a bc.Net, whatever it sees.
func Player(ps policy.Params, mode bc.Mode, seed uint64) (*bc.Policy, error) {
	net, err := bc.Decode(ps)
	if err != nil {
		return nil, err
	}
	pi, err := bc.NewPolicy(bc.PolicyConfig{View: net.Arch.View, Mode: mode, Seed: seed})
	if err != nil {
		return nil, err
	}
	return pi, pi.Load(ps)
}

// By acts by pi.
func By(ctx context.Context, pi policy.Policy) Act {
	return func(in policy.Input, _, _ [2]float64) (robot.Command, error) { return pi.Act(ctx, in) }
}

// Explore plays the n-th online episode of a run by draws of the parameters ps.
func Explore(ctx context.Context, ps policy.Params, n int, seed uint64) (policy.Episode, error) {
	return Subject{}.explore(ctx, ps, n, seed)
}

func (s Subject) explore(ctx context.Context, ps policy.Params, n int, seed uint64) (policy.Episode, error) {
	pi, err := s.player(ps, seed)
	if err != nil {
		return policy.Episode{}, err
	}
	pi.Begin(uint64(n))
	e, _, err := Play(fmt.Sprintf("online%d", n), policy.Online, rand.New(rand.NewPCG(seed, uint64(n)+2)), By(ctx, pi))
	e.Seq = uint64(n)
	for i := range e.Version {
		e.Version[i] = ps.Version
	}
	return e, err
}

// Success is the share of 100 episodes, the same every time, in which the mean
// of the parameters ps ends near.
func Success(ctx context.Context, ps policy.Params) (float64, error) {
	pi, err := Player(ps, bc.Mean, 0)
	if err != nil {
		return 0, err
	}
	rng := rand.New(rand.NewPCG(12345, 6))
	won := 0.0
	for i := range 100 {
		_, near, err := Play(fmt.Sprint(i), policy.Online, rng, By(ctx, pi))
		if err != nil {
			return 0, err
		}
		if near {
			won++
		}
	}
	return won / 100, nil
}
