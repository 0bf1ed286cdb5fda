// Package tabletop is a simulated Franka Panda at a table of coloured boxes, as
// a robot.Backend.
//
// A policy's alignment can then be measured: the world knows where the boxes
// truly are (Truth), and simulated people may judge by it what no policy, reward
// or encoder is told. The arm is the same to its commander as the real one:
// Cartesian targets at 20 Hz, a compliant controller with the arm's torque
// limits below (robot/franka/impedance), and camera images back. Time is
// virtual: Step returns as soon as it is computed, and stamps count control
// periods from the reset.
//
// The tasks mirror those of RAPL's simulations (Tian et al. 2023, author code)
// into the base frame of an arm at the origin that faces +x, 5 cm further out so
// that a Panda with its hand pointing down keeps clear of its elbow's limit:
// x = 1.05 − x_RAPL.
//
//	w, err := tabletop.New(tabletop.Config{Task: tabletop.Group, Seed: 1})
//	defer w.Close()
//	obs, err := w.Reset(ctx)
//	for range tabletop.Group.Horizon() {
//		obs, err = w.Step(ctx, robot.Command{Delta: [6]float64{0: 0.01}})
//	}
//	fmt.Println(w.Truth().Success)
package tabletop

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/rapport-rl/rapport/sim/mujoco"
)

// Geometry of the table, m, base frame.
const (
	Line      = 0.65 // x of the goal line; the painted strip lies beyond it
	Side      = 0.05 // edge of a box
	Near      = 0.08 // a box that is so close to the line counts as there
	Keep      = 0.04 // a disliked box must stay so far from the line
	Touch     = 0.03 // a ball is reached from so close
	MaxLead   = 0.05 // the target leads the tool centre point by so much at most
	MaxTurn   = 0.3  // rad, likewise
	HandWidth = 0.08 // between the open fingers
)

// Period is the control period: 20 Hz.
const Period = 50 * time.Millisecond

// Camera asks for images of W by H pixels from one of the scene's cameras.
type Camera struct {
	Name string // front (over the table, facing the arm), wrist (on the hand) or scene (the whole arm)
	W, H int    // pixels
}

// Render says who draws.
type Render string

// The renderers. Images differ between them: one renderer per data set.
const (
	EGL    Render = "egl"    // Mesa, in memory
	Raster Render = "raster" // pure Go, for machines without Mesa
	None   Render = "none"   // no frames at all
)

// Look is what the arm looks like. Its joints, masses, limits and commands are the
// same under every look, so that what was learned by watching one can be tried on
// another.
type Look string

// The looks.
const (
	Panda  Look = "panda"  // white links, two flat fingers
	Orange Look = "orange" // thick orange links with black caps, three round fingers
)

// Looks lists the looks.
func Looks() []Look { return []Look{Panda, Orange} }

// Config describes a world. Its zero value is the task Group with two cameras.
type Config struct {
	Task Task   // default Group
	Look Look   // default Panda
	Seed uint64 // draws the seeds of the episodes

	Cameras  []Camera       // default front and wrist, 96x96
	Timestep float64        // s, of the physics; default 0.002; a divisor of Period
	Render   Render         // default EGL
	Quality  mujoco.Quality // default Lean; Video has shadows and smooth edges

	Markers []Marker // by which a camera's place is found
	Disturb Disturb  // what was not there when the policy learned
}

func (c Config) withDefaults() Config {
	if c.Task == "" {
		c.Task = Group
	}
	if c.Look == "" {
		c.Look = Panda
	}
	if c.Cameras == nil {
		c.Cameras = []Camera{{"front", 96, 96}, {"wrist", 96, 96}}
	}
	if c.Timestep == 0 {
		c.Timestep = 0.002
	}
	if c.Render == "" {
		c.Render = EGL
	}
	return c
}

// Validate joins what is wrong with c, defaults filled in.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("tabletop: "+format, args...))
	}
	if jobOf(c.Task) == nil {
		bad("task is %q, want %s", c.Task, wanted())
	}
	if c.Look != Panda && c.Look != Orange {
		bad("look is %q, want panda or orange", c.Look)
	}
	if c.Render != EGL && c.Render != Raster && c.Render != None {
		bad("render is %q, want egl, raster or none", c.Render)
	}
	n := Period.Seconds() / c.Timestep
	if !(c.Timestep > 0) || c.Timestep > 0.004 || math.Abs(n-math.Round(n)) > 1e-9 {
		bad("timestep is %g s, want a divisor of %g s up to 0.004 s", c.Timestep, Period.Seconds())
	}
	c.Disturb.validate(bad)
	for i, m := range c.Markers {
		m.validate(i, bad)
	}
	seen := map[string]bool{}
	for _, cam := range c.Cameras {
		if _, ok := viewOf(cam.Name); !ok {
			bad("camera %q does not exist, want front, wrist or scene", cam.Name)
		}
		if seen[cam.Name] {
			bad("camera %q is named twice", cam.Name)
		}
		seen[cam.Name] = true
		if cam.W < 1 || cam.H < 1 || cam.W > 4096 || cam.H > 4096 {
			bad("camera %q is %dx%d, want 1 to 4096 pixels each", cam.Name, cam.W, cam.H)
		}
	}
	return errors.Join(errs...)
}
