package wire

import (
	"context"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// seldom lets a policy see the simulated world at those ticks alone at which it looks. One that
// draws chunks of actions carries most of them out without looking, and drawing and encoding what
// nobody sees is the larger part of an evaluation.
type seldom struct {
	robot.Backend // behind the guard
	perception.Extractor
	world *tabletop.World
	looks func() bool // whether the policy looks at what the next step leads to

	shut bool // at this tick
	// Of the last tick that was looked at. What is not looked at has these as well.
	frames   []robot.Frame
	features perception.Features
}

// lookSeldom has the actor look only where its policy does, if nobody else looks: in a world that may
// be left undrawn, and without points, scores and classifiers, which go by every tick. Watch and Over
// are told the pictures of the last tick that was looked at.
func lookSeldom(x *loop.Actor, a *arm) {
	w, ok := a.world.(*tabletop.World)
	looker, chunks := x.Policy.(interface{ Looks() bool })
	if !ok || !chunks || x.Track != nil || x.Tell != nil || x.Last != nil || x.Scorer != nil {
		return
	}
	g := &seldom{Backend: x.Backend, Extractor: x.Extractor, world: w, looks: looker.Looks}
	x.Backend, x.Extractor = g, g
}

// Reset implements robot.Backend. The beginning is always seen.
func (g *seldom) Reset(ctx context.Context) (robot.Observation, error) {
	return g.see(false, func() (robot.Observation, error) { return g.Backend.Reset(ctx) })
}

// Step implements robot.Backend.
func (g *seldom) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	return g.see(!g.looks(), func() (robot.Observation, error) { return g.Backend.Step(ctx, c) })
}

// see does what leads to the next observation with the world's cameras shut, or not.
func (g *seldom) see(shut bool, do func() (robot.Observation, error)) (robot.Observation, error) {
	g.shut = shut
	g.world.Shut(shut)
	defer g.world.Shut(false) // who comes after sees
	obs, err := do()
	if err != nil {
		return obs, err
	}
	if shut {
		obs.Frames = g.frames
	}
	g.frames = obs.Frames
	return obs, nil
}

// Extract implements perception.Extractor.
func (g *seldom) Extract(ctx context.Context, frames []robot.Frame) (perception.Features, error) {
	if g.shut {
		return g.features, nil
	}
	var err error
	g.features, err = g.Extractor.Extract(ctx, frames)
	return g.features, err
}
