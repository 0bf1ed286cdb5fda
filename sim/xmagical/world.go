package xmagical

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

// ErrClosed says that a World was used after its Close.
var ErrClosed = errors.New("xmagical: use after Close")

// World is the arena with its robot. It is a robot.Backend, driven by one
// goroutine at a time; worlds do not share anything. A guard's stop steps it from
// another goroutine than its episode's: that may ask for Truth, and have a
// demonstrator act, meanwhile.
type World struct {
	mu sync.Mutex // of what Step changes

	cfg   Config
	seeds *rand.Rand // of episodes

	scene  scene
	arena  *arena // nil before the first reset
	eyes   []*painter
	bytes  int // of all images
	tick   int // control periods since the reset
	deep   float64
	truth  sim.Truth
	closed bool
}

var _ robot.Backend = (*World)(nil)

// New makes a world. Close it.
func New(c Config) (*World, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	// The second word only has to be some constant: it separates this stream
	// from others that are made from the same seed.
	w := &World{cfg: c, seeds: rand.New(rand.NewPCG(c.Seed, 0x786d61676963616c))}
	for _, cam := range c.Cameras {
		w.eyes = append(w.eyes, newPainter(cam.W, cam.H))
		w.bytes += 3 * cam.W * cam.H
	}
	return w, nil
}

// Config returns what the world was made from, defaults filled in.
func (w *World) Config() Config { return w.cfg }

// Horizon is the usual length of an episode in control periods.
func (w *World) Horizon() int { return w.cfg.Horizon() }

// Close ends the world. Further calls do nothing.
func (w *World) Close() error {
	w.closed, w.arena = true, nil
	return nil
}

// Reset starts the next episode: the world's seed draws the episode's.
func (w *World) Reset(ctx context.Context) (robot.Observation, error) {
	return w.ResetSeed(ctx, w.seeds.Uint64())
}

// ResetSeed starts the episode that belongs to seed, bit for bit the same on every
// call, world and process. The stamps begin at zero again.
func (w *World) ResetSeed(ctx context.Context, seed uint64) (robot.Observation, error) {
	if w.closed {
		return robot.Observation{}, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		w.arena = nil
		return robot.Observation{}, err
	}
	w.Start(seed)
	return w.observe(), nil
}

// Start is ResetSeed without an observation, for learners that see the state.
func (w *World) Start(seed uint64) {
	if w.closed {
		panic("xmagical: Start after Close")
	}
	r := rand.New(rand.NewPCG(seed, 0x657069736f6465))
	w.scene = newScene(&w.cfg, r)
	w.build(r)
}

// build makes the arena of the scene.
func (w *World) build(r *rand.Rand) {
	d := w.cfg.Dynamics
	if w.cfg.Vary {
		u := func(lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }
		d = Dynamics{u(3.2, 5.5), u(0.7, 1.5), u(2.5, 4.5), u(1, 1.8), u(0.07, 0.15)}
	}
	w.arena = newArena(w.cfg.Embodiment, d, w.scene.bottom, w.scene.robot, w.scene.squares)
	w.tick, w.deep = 0, 0
	w.look()
}

// Step applies c for a control period: Delta[0] is the way ahead, at most Speed,
// and Delta[5] the turn from the present heading, at most Turn; Grip is how far
// the gripper's fingers are to open. Applied tells what was left of the command,
// and ByGuard that it was not all of it. A command with a number that is none is
// refused, and the robot keeps still.
func (w *World) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return robot.Observation{}, ErrClosed
	}
	if w.arena == nil {
		return robot.Observation{}, errors.New("xmagical: step without a reset before it")
	}
	if err := ctx.Err(); err != nil {
		return robot.Observation{}, err
	}
	if err := c.Finite(); err != nil {
		return robot.Observation{}, fmt.Errorf("xmagical: %w", err)
	}
	dt := Period.Seconds()
	applied := robot.Command{Grip: min(max(c.Grip, 0), 1)}
	applied.Delta[0] = min(max(c.Delta[0], -Speed*dt), Speed*dt)
	applied.Delta[5] = min(max(c.Delta[5], -Turn), Turn)
	w.advance(applied.Delta[0]/dt, applied.Delta[5], applied.Grip*reach)
	obs := w.observe()
	obs.Applied = applied
	if applied != c {
		obs.By = robot.ByGuard
	}
	return obs, nil
}

// Act is Step with an action of the original, without an observation: speed ahead
// in m/s and turn in rad, in [-1,1], and for the gripper how far to close.
func (w *World) Act(action []float64) {
	if len(action) != w.cfg.Embodiment.Actions() {
		panic("xmagical: an action of another length than Embodiment.Actions")
	}
	if w.arena == nil {
		panic("xmagical: Act without a Start before it")
	}
	fingers := 0.0
	if len(action) == 3 {
		fingers = reach - action[2]
	}
	w.advance(action[0], action[1], fingers)
}

func (w *World) advance(speed, turn, fingers float64) {
	w.arena.act(speed, turn, fingers)
	w.arena.step()
	w.tick++
	w.look()
}

// stamp is the present instant of virtual time, which is zero at a reset.
func (w *World) stamp() time.Time {
	return time.Unix(0, 0).UTC().Add(time.Duration(w.tick) * Period)
}

// observe returns what cameras and robot sense now. Q holds x, y and the heading.
func (w *World) observe() robot.Observation {
	p, v := placeOf(w.arena.body), w.arena.body.Velocity()
	s := robot.State{Stamp: w.stamp()}
	s.Q[0], s.Q[1], s.Q[2] = p.X, p.Y, p.A
	s.DQ[0], s.DQ[1], s.DQ[2] = v.X, v.Y, w.arena.body.AngularVelocity()
	s.EE = pose(p)
	s.Grip = Opening * w.arena.fingerWidth()
	return robot.Observation{Frames: w.Frames(), State: s}
}

// pose is p in space, facing along its y axis.
func pose(p place) robot.Pose {
	sin, cos := math.Sincos(p.A / 2)
	return robot.Pose{P: [3]float64{p.X, p.Y, 0}, Q: [4]float64{cos, 0, 0, sin}}
}

// Frames draws the cameras' images of now, into memory of their own.
func (w *World) Frames() []robot.Frame {
	if len(w.eyes) == 0 {
		return nil
	}
	frames := make([]robot.Frame, len(w.eyes))
	pix := make([]byte, w.bytes)
	for i, e := range w.eyes {
		n := 3 * e.w * e.h
		frames[i] = robot.Frame{Camera: w.cfg.Cameras[i].Name, Seq: uint64(w.tick), Stamp: w.stamp(), W: e.w, H: e.h, Pix: pix[:n:n]}
		pix = pix[n:]
		w.Paint(i, frames[i].Pix)
	}
	return frames
}

// Paint draws the i-th camera's image of now into dst (H,W,3), BGR.
func (w *World) Paint(i int, dst []byte) {
	w.eyes[i].paint(dst, w.arena, &w.scene)
}

// StateDim is the length of a state.
func (w *World) StateDim() int { return 4 + 4*len(w.scene.squares) + w.cfg.Embodiment.Actions() - 2 }

// AppendState appends the original's state to dst: the robot's x, y; those of each
// square; cosine and sine of the heading; the robot's distance to each square, and
// each square's to y = 1, in units of the arena's diagonal; and how far the
// gripper is open, 0 to 1. Sweep has 16 numbers, 17 with the gripper.
func (w *World) AppendState(dst []float64) []float64 {
	const diagonal = 2 * math.Sqrt2
	r := w.arena.body.Position()
	dst = append(dst, r.X, r.Y)
	for _, s := range w.arena.squares {
		p := s.body.Position()
		dst = append(dst, p.X, p.Y)
	}
	sin, cos := math.Sincos(w.arena.body.Angle())
	dst = append(dst, cos, sin)
	for _, s := range w.arena.squares {
		dst = append(dst, r.Distance(s.body.Position())/diagonal)
	}
	for _, s := range w.arena.squares {
		dst = append(dst, math.Abs(1-s.body.Position().Y)/diagonal)
	}
	if w.cfg.Embodiment == Gripper {
		dst = append(dst, w.arena.fingerWidth())
	}
	return dst
}
