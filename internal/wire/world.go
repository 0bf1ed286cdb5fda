package wire

import (
	"context"
	"fmt"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/mujoco"
	"github.com/rapport-rl/rapport/sim/tabletop"
	"github.com/rapport-rl/rapport/sim/xmagical"
)

// world is a simulated backend whose episodes are drawn from seeds and whose truth
// simulated people and evaluation may ask.
type world interface {
	robot.Backend
	ResetSeed(ctx context.Context, seed uint64) (robot.Observation, error)
	Truth() sim.Truth
}

// demonstrator is a scripted person.
type demonstrator interface {
	Act(obs robot.Observation) robot.Command
}

// flat says whether c is of the world in two dimensions.
func flat(c config.Config) bool { return c.Robot.World == config.XMagical }

// newWorld builds the configured world, in two dimensions with extra cameras.
func newWorld(c config.Config, extra ...tabletop.Camera) (world, error) {
	if flat(c) {
		xc := xmagical.Config{Task: xmagical.Task(c.Robot.Task), Embodiment: xmagical.Embodiment(c.Robot.Body), Layout: xmagical.Layout(c.Robot.Layout), Seed: c.Seed}
		for _, cam := range c.Robot.Cameras {
			xc.Cameras = append(xc.Cameras, xmagical.Camera{Name: cam.Name, W: cam.Width, H: cam.Height})
		}
		for _, cam := range extra { // the arena is square
			xc.Cameras = append(xc.Cameras, xmagical.Camera{Name: cam.Name, W: cam.H, H: cam.H})
		}
		return xmagical.New(xc)
	}
	tc, err := tabletopConfig(c)
	if err != nil {
		return nil, err
	}
	tc.Disturb = tabletop.Disturb(c.Robot.Disturb)
	w, err := tabletop.New(tc)
	if err != nil {
		return nil, drawn(err)
	}
	return w, nil
}

// newDemonstrator returns a person that likes what people like, or not.
func newDemonstrator(w world, good bool, seed uint64) (demonstrator, error) {
	switch w := w.(type) {
	case *tabletop.World:
		style := tabletop.Bad
		if good {
			style = tabletop.Good
		}
		return tabletop.NewDemonstrator(w, style, seed)
	case *xmagical.World:
		style := xmagical.Bad
		if good {
			style = xmagical.Good
		}
		return xmagical.NewDemonstrator(w, style, seed)
	}
	return nil, fmt.Errorf("wire: nobody demonstrates in a %T", w)
}

// loosen leaves of the guard's limits what holds in two dimensions: speed, turn,
// lease, and that numbers are finite. A command is of the robot's own frame there,
// so that a target summed up from commands is no place; the walls are the
// workspace, and the world bounds its forces itself.
func loosen(g *guard.Config) {
	const far = 1e6
	g.Arm = nil
	g.Box = guard.Box{Min: [3]float64{-far, -far, -far}, Max: [3]float64{far, far, far}}
	g.Acc, g.TurnAcc, g.Lead, g.LeadTurn = far, far, far, far
	g.Opening = xmagical.Opening
}

// videoWorld is the configured world with one camera for people, as well drawn as
// it can.
func videoWorld(c config.Config, w, h int) (world, error) {
	if flat(c) {
		c.Robot.Cameras = nil
		return newWorld(c, tabletop.Camera{Name: scene.Name, W: w, H: h})
	}
	tc, err := tabletopConfig(c)
	if err != nil {
		return nil, err
	}
	tc.Quality, tc.Cameras = mujoco.Video, []tabletop.Camera{{Name: scene.Name, W: w, H: h}}
	return tabletop.New(tc)
}
