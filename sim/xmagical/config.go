// Package xmagical is a two-dimensional world in which a robot sweeps squares to
// a goal, as a robot.Backend, in pure Go.
//
// It is small and quick enough for learning curves over many seeds on one
// machine, and it has four bodies for the robot, so that a reward that was learnt
// of one can be tried on another. The physics are those of x-magical (Zakka et al.
// 2021, "XIRL: cross-embodiment inverse reinforcement learning", whose task is
// Sweep; MAGICAL, Toyer et al. 2020) on Chipmunk. Avoid and Group are tasks of
// RAPL (Tian et al. 2023), whose code is not public; docs/xmagical.md says what is
// the original's and what was designed here. Time is virtual, and everything is
// drawn from seeds.
//
//	w, err := xmagical.New(xmagical.Config{Task: xmagical.Sweep, Embodiment: xmagical.Long, Seed: 1})
//	defer w.Close()
//	obs, err := w.Reset(ctx)
//	for range w.Horizon() {
//		obs, err = w.Step(ctx, robot.Command{Delta: [6]float64{0: 0.1}}) // 0.8 m/s ahead
//	}
//	fmt.Println(w.Truth().Success)
//
// The frame of a Command is the robot's own: Delta[0] is the way ahead in a period
// and Delta[5] the turn, since the robot cannot go sideways. Everything else is in
// the arena's frame: origin in the middle, x right, y up, z to the viewer.
package xmagical

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Task names what has to be done.
type Task string

// The tasks.
const (
	// Sweep: push three squares into the goal strip (x-magical's SweepToTop).
	Sweep Task = "sweep"
	// Avoid: push a square into the goal strip without entering the blue zone.
	Avoid Task = "avoid"
	// Group: bring two squares together, and jointly into the goal strip.
	Group Task = "group"
)

// Tasks lists the tasks.
func Tasks() []Task { return []Task{Sweep, Avoid, Group} }

// Embodiment names the robot's body.
type Embodiment string

// The embodiments.
const (
	Short   Embodiment = "short"   // a stick, 0.3 x 0.1 m
	Medium  Embodiment = "medium"  // 0.6 x 0.1 m
	Long    Embodiment = "long"    // 1.6 x 0.1 m
	Gripper Embodiment = "gripper" // a disc of radius 0.2 m with two fingers
)

// Embodiments lists the embodiments.
func Embodiments() []Embodiment { return []Embodiment{Short, Medium, Long, Gripper} }

// width is the length of a stick, m; 0 for the gripper.
func (e Embodiment) width() float64 {
	switch e {
	case Short:
		return 1.5 * radius
	case Medium:
		return 3 * radius
	case Long:
		return 8 * radius
	}
	return 0
}

// Actions is the length of an action: 2, and 3 for the gripper.
func (e Embodiment) Actions() int {
	if e == Gripper {
		return 3
	}
	return 2
}

// Layout says where things are at the start of an episode.
type Layout string

// The layouts.
const (
	Test Layout = "test" // drawn for each episode (x-magical's TestLayout)
	Demo Layout = "demo" // always the same
)

// Geometry and physics of x-magical, SI units.
const (
	Size    = 1.1  // the arena reaches from -Size to Size
	Line    = 0.76 // y where the goal strip of Sweep and Avoid begins
	radius  = 0.2  // the robot's unit
	mass    = 1.0  // of the robot, kg
	deep    = 0.4  // of the goal strip; it reaches beyond the arena
	wide    = 2.4
	topEdge = Line + deep

	// Speed and Turn bound an action: m/s, and rad from the present heading.
	Speed = 4 * radius
	Turn  = 1.5
	// Opening is what robot.State.Grip says of open fingers, m: that of the hand
	// which the rest of the program is made for.
	Opening = 0.08
)

// Side is the edge of a square: the area of a disc of 0.6 robot units, m.
var Side = math.Sqrt(math.Pi) * 0.6 * radius

// Period is the control period: 8 Hz, in ten steps of physics.
const Period = 125 * time.Millisecond

const substeps = 10

// Camera asks for images of the whole arena from above.
type Camera struct {
	Name string // free
	W, H int    // pixels
}

// Dynamics are the forces that the original draws to randomise dynamics; zero
// fields take its defaults.
type Dynamics struct {
	Drive  float64 // largest force that moves the robot, N; 5, drawn from 3.2 to 5.5
	Steer  float64 // largest torque that turns it, Nm; 1, from 0.7 to 1.5
	Finger float64 // of a finger's motor, Nm; 4, from 2.5 to 4.5
	Slide  float64 // of a square's friction on the ground, N; 1.5, from 1.0 to 1.8
	Spin   float64 // likewise, Nm; 0.1, from 0.07 to 0.15
}

func (d Dynamics) withDefaults() Dynamics {
	def := func(v *float64, x float64) {
		if *v == 0 {
			*v = x
		}
	}
	def(&d.Drive, 5)
	def(&d.Steer, 1)
	def(&d.Finger, 4)
	def(&d.Slide, 1.5)
	def(&d.Spin, 0.1)
	return d
}

// Config describes a world. Its zero value is Sweep with a medium stick, drawn
// layouts and one camera.
type Config struct {
	Task       Task       // default Sweep
	Embodiment Embodiment // default Medium
	Layout     Layout     // default Test
	Seed       uint64     // draws the seeds of the episodes

	// Cameras default to one named top of 96x96 pixels; an empty list that is not
	// nil draws nothing.
	Cameras  []Camera
	Dynamics Dynamics
	// Vary draws Dynamics anew for each episode, from the ranges named there.
	Vary bool
}

func (c Config) withDefaults() Config {
	if c.Task == "" {
		c.Task = Sweep
	}
	if c.Embodiment == "" {
		c.Embodiment = Medium
	}
	if c.Layout == "" {
		c.Layout = Test
	}
	if c.Cameras == nil {
		c.Cameras = []Camera{{"top", 96, 96}}
	}
	c.Dynamics = c.Dynamics.withDefaults()
	return c
}

// Validate joins what is wrong with c, defaults filled in.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("xmagical: "+format, args...))
	}
	if !slices.Contains(Tasks(), c.Task) {
		bad("task is %q, want sweep, avoid or group", c.Task)
	}
	if !slices.Contains(Embodiments(), c.Embodiment) {
		bad("embodiment is %q, want short, medium, long or gripper", c.Embodiment)
	}
	if c.Layout != Test && c.Layout != Demo {
		bad("layout is %q, want test or demo", c.Layout)
	}
	d := c.Dynamics
	for i, v := range []float64{d.Drive, d.Steer, d.Finger, d.Slide, d.Spin} {
		if !(v > 0) || math.IsInf(v, 0) {
			bad("dynamics: %s is %g, want a positive force", []string{"drive", "steer", "finger", "slide", "spin"}[i], v)
		}
	}
	seen := map[string]bool{}
	for _, cam := range c.Cameras {
		if cam.Name == "" || seen[cam.Name] {
			bad("camera %q: want a name, each once", cam.Name)
		}
		seen[cam.Name] = true
		if cam.W < 8 || cam.H < 8 || cam.W > 4096 || cam.H > 4096 {
			bad("camera %q is %dx%d, want 8 to 4096 pixels each", cam.Name, cam.W, cam.H)
		}
	}
	return errors.Join(errs...)
}

// Horizon is the usual length of an episode in control periods: the original's.
func (c Config) Horizon() int {
	if c.withDefaults().Embodiment == Long {
		return 50
	}
	return 100
}
