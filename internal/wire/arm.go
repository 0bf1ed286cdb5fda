package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/robot/paced"
	rosarm "github.com/rapport-rl/rapport/robot/ros/arm"
	"github.com/rapport-rl/rapport/sim/mujoco"
	"github.com/rapport-rl/rapport/sim/tabletop"
	"github.com/rapport-rl/rapport/sim/xmagical"
)

// arm is an arm behind its guard. Commands go to guard; world is for simulated
// people and evaluation, which may ask for the truth.
type arm struct {
	guard *guard.Guard
	world world                // nil for a real arm
	ros   *rosarm.Backend      // nil for a simulated one
	hang  func() error         // ends what an arm needs besides its world; may be nil
	desk  atomic.Pointer[desk] // that hears of the guard's faults, if it is under one
	bad   uint64               // frames that were unfit, see perception.gate
	live  bool                 // the session learns on it
	watch func()               // ends the guard's watch; nil without one
	// teller is nil but under reward.kind truth.
	teller *teller
	// track follows the points of a plan, see pointer.go; nil without one.
	track tracking
	// onward is nil but in practice, where hidden says which point of the waypoints of
	// whose turn it is the cameras do not see; nil under other rewards.
	onward *onward
	hidden func(ctx context.Context, obs robot.Observation) error
	shaped bool // its images have the shape at which its cameras were calibrated
	// next is the number of the episode that the next Reset begins, among the
	// episodes of a stream.
	next int
}

// seeded begins the episodes of a stream of seeds one after the other. It is the
// backend behind the guard.
type seeded struct {
	world
	arm  *arm
	seed uint64
	of   stream
	way  tabletop.Direction
}

func (s *seeded) Reset(ctx context.Context) (robot.Observation, error) {
	return s.begin(ctx, draw(s.seed, s.of, s.arm.begins()))
}

// begins returns the number of the episode that a Reset begins now, and tells the desk: what
// stops the arm on the way to the start is of that one.
func (a *arm) begins() int {
	n := a.next
	a.next++
	if a.live {
		a.desk.Load().begin(episodeID(n))
	}
	return n
}

// begin begins the episode of a seed, in the configured direction.
func (s *seeded) begin(ctx context.Context, seed uint64) (robot.Observation, error) {
	if w, ok := s.world.(*tabletop.World); ok {
		return w.ResetWay(ctx, seed, s.way)
	}
	return s.ResetSeed(ctx, seed)
}

// newArm builds a world with the configured cameras and, in two dimensions, extra ones,
// which policies do not see.
func newArm(c config.Config, of stream, extra ...tabletop.Camera) (*arm, error) {
	return newArmOn(c, of, nil, extra...)
}

// newArmOn is newArm on a clock, if pacing is not nil.
func newArmOn(c config.Config, of stream, pacing *paced.Clock, extra ...tabletop.Camera) (*arm, error) {
	if !judgeable(c) {
		return nil, simulated(c)
	}
	if of != evaluation {
		c.Robot.Disturb = config.Disturb{}
	}
	w, err := newWorld(c, extra...)
	if err != nil {
		return nil, err
	}
	a := &arm{world: w}
	if err := a.follow(c, of); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	gc := guardConfig(c)
	gc.Latched = func(f *guard.Fault) { a.desk.Load().note(f) }
	sd := &seeded{world: w, arm: a, seed: c.Seed, of: of, way: wayOf(c)}
	var b robot.Backend = sd
	if of == online && c.Practice.Mate != "" {
		a.onward = &onward{reminder: c.Practice.Reminder}
		b = goesOn{sd, a.onward}
	}
	if pacing != nil {
		b = paced.New(b, period(c), *pacing)
		gc.Now = pacing.Now
	}
	if c.Reward.Kind == "truth" {
		a.teller, b = &teller{told: map[time.Time]float64{}}, truly{b, a}
	}
	a.guard, err = guard.New(b, gc)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return a, nil
}

func tabletopConfig(c config.Config) (tabletop.Config, error) {
	tc := tabletop.Config{Task: tabletop.Task(c.Robot.Task), Look: tabletop.Look(c.Robot.Look), Seed: c.Seed, Timestep: c.Robot.Timestep, Render: tabletop.Render(c.Robot.Render)}
	for _, cam := range c.Robot.Cameras {
		tc.Cameras = append(tc.Cameras, tabletop.Camera{Name: cam.Name, W: cam.Width, H: cam.Height})
	}
	var err error
	tc.Markers, err = printed(c)
	return tc, err
}

// drawn adds to the error of a world that cannot draw what helps.
func drawn(err error) error {
	if errors.Is(err, mujoco.ErrNoGL) {
		return fmt.Errorf("%w; or draw in pure Go, with --set robot.render=raster", err)
	}
	return err
}

func (a *arm) close() error {
	if a.watch != nil {
		a.watch()
	}
	err := a.guard.Close()
	if a.hang != nil {
		err = errors.Join(err, a.hang())
	}
	return err
}

func guardConfig(c config.Config) guard.Config {
	limits := franka.Panda()
	if c.Guard.Arm == "fr3" {
		limits = franka.FR3()
	}
	g := guard.Default(limits)
	g.Tick = period(c)
	g.Box = guard.Box{Min: c.Guard.Workspace.Min, Max: c.Guard.Workspace.Max}
	g.Speed, g.Turn = c.Guard.Speed, c.Guard.Turn
	g.Lease.Term = time.Duration(c.Guard.Lease * float64(time.Second))
	if flat(c) {
		loosen(&g)
	}
	return g
}

// axisNames are the names of robot.Command.Delta's entries in a configuration.
var axisNames = []string{"x", "y", "z", "rx", "ry", "rz"}

// viewConfig says what the policy sees and commands, for embeddings of d numbers.
func viewConfig(c config.Config, d int) view.Config {
	v := view.Config{
		Embed: d, Place: []int{0, 1, 2}, Horizon: c.Robot.Horizon,
		Action: view.Action{Scale: c.Policy.Scale},
	}
	v.Heading = flat(c)
	v.Keys = seenKeys(c)
	if c.Policy.Sees != "features" {
		v.Embed = 0
	}
	if pixels(c) {
		for _, cam := range c.Robot.Cameras {
			v.Cameras = append(v.Cameras, view.Camera{Name: cam.Name, W: cam.Width, H: cam.Height})
		}
	}
	// Places are seen relative to the middle of the workspace, in units of its
	// largest half-width.
	for i := range 3 {
		lo, hi := c.Guard.Workspace.Min[i], c.Guard.Workspace.Max[i]
		v.Origin[i] = (lo + hi) / 2
		v.Span = math.Max(v.Span, (hi-lo)/2)
	}
	for _, name := range c.Policy.Axes {
		if name == "grip" {
			v.Action.MoveGrip, v.Fingers = true, true
			continue
		}
		for i, n := range axisNames {
			if n != name {
				continue
			}
			v.Action.Axes = append(v.Action.Axes, i)
			if i >= 3 {
				v.Action.Turn = c.Policy.Scale
				if flat(c) {
					v.Action.Turn = xmagical.TurnUnit
				}
			}
		}
	}
	return v
}
