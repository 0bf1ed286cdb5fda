package arm

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// Config says what the arm and its cameras are called and what is asked of them.
// Take Default and change what differs.
type Config struct {
	ArmID string  // panda or fr3: the prefix of its joints and frames
	Rate  float64 // control ticks a second, 10 to 50

	// Stale is the age at which what a sensor said last is too old to act on.
	// Ages are by the stamps, so the machines' clocks must agree.
	Stale time.Duration
	// Skew is how far apart the stamps of the images of one observation may be.
	Skew time.Duration
	// Frozen is for how long a camera may show the very same pixels.
	Frozen time.Duration
	// Wait is how long Open and Reset wait for what is not there yet.
	Wait time.Duration
	// Patience is how long a Step holds the arm and waits for what is stale to come
	// back, before it says ErrStale.
	Patience time.Duration
	Cameras  []Camera

	Load      Load
	Collision Collision
	Stiffness Stiffness
	Gripper   Gripper

	Start       robot.Pose // of the tool centre point at the start of an episode
	Speed, Turn float64    // on the way there, m/s and rad/s
	Lift        float64    // height of that way, m; 0: straight
	// Again is a service (std_srvs/Trigger) that puts the world back once the arm
	// is at its start; empty: nobody's.
	Again string

	// Decode reads a JPEG or PNG, for compressed topics; Resize brings a frame to
	// the camera's size.
	Decode func(data []byte) (robot.Frame, error)
	Resize func(f robot.Frame, w, h int) (robot.Frame, error)
	Log    *slog.Logger // nil discards
}

// Camera is a topic of images.
type Camera struct {
	Name       string
	Topic      string // sensor_msgs/Image, or sensor_msgs/CompressedImage
	Compressed bool
	W, H       int    // pixels of a frame; 0: as they come
	Info       string // topic of sensor_msgs/CameraInfo; empty: not asked for
}

// Load is what the hand carries besides itself, as the arm is told.
type Load struct {
	Mass    float64    // kg
	Centre  [3]float64 // m, in the flange's frame
	Inertia [9]float64 // kg m², column-major
}

// Collision holds what the arm takes for a contact (Lower) and what it stops at
// (Upper).
type Collision struct {
	Torque Bounds7 // Nm at each joint
	Force  Bounds6 // N and Nm on each axis
}

// Bounds7 and Bounds6 are lower and upper thresholds.
type (
	Bounds7 struct{ Lower, Upper [7]float64 }
	Bounds6 struct{ Lower, Upper [6]float64 }
)

// Stiffness configures the impedance controller; zero leaves a value as it is.
type Stiffness struct {
	Trans, TransDamping float64 // N/m, Ns/m
	Rot, RotDamping     float64 // Nm/rad, Nm s/rad
	// Clip and TurnClip bound the error that the controller acts on, m and rad:
	// with the stiffness they are the largest force and torque.
	Clip, TurnClip float64
}

// Gripper is a Franka Hand.
type Gripper struct {
	None  bool    // there is no hand
	Home  bool    // the first reset finds the fingers' range: needed once after they were changed
	Open  bool    // a reset opens it
	Speed float64 // m/s
	Force float64 // N
}

// Default returns what suits franka_ros and serl_franka_controllers out of the
// box, with no cameras.
func Default() Config {
	c := Config{
		ArmID: "panda", Rate: 20,
		Stale: 300 * time.Millisecond, Skew: 50 * time.Millisecond, Frozen: 2 * time.Second, Wait: 10 * time.Second,
		Stiffness: Stiffness{Trans: 2000, TransDamping: 89, Rot: 150, RotDamping: 7, Clip: 0.01, TurnClip: 0.05},
		Gripper:   Gripper{Open: true, Speed: 0.1, Force: 20},
		Start:     robot.Pose{P: [3]float64{0.40, 0, 0.25}, Q: [4]float64{0, 1, 0, 0}},
		Speed:     0.10, Turn: 0.5, Lift: 0.15,
	}
	c.Collision.Torque.Lower, c.Collision.Torque.Upper = each7(20), each7(20)
	c.Collision.Force.Lower, c.Collision.Force.Upper = each6(20), each6(20)
	return c
}

func each7(v float64) (a [7]float64) {
	for i := range a {
		a[i] = v
	}
	return a
}

func each6(v float64) (a [6]float64) {
	for i := range a {
		a[i] = v
	}
	return a
}

// Validate joins what is wrong with c.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("arm: "+format, a...)) }
	within := func(name string, v, lo, hi float64) {
		if !(v >= lo && v <= hi) {
			bad("%s is %g, want %g to %g", name, v, lo, hi)
		}
	}
	if c.ArmID == "" {
		bad("arm id is empty, want panda or fr3, as the launch file says")
	}
	within("rate", c.Rate, 10, 50)
	within("stale (s)", c.Stale.Seconds(), 0.02, 5)
	within("skew (s)", c.Skew.Seconds(), 0.001, 5)
	within("frozen (s)", c.Frozen.Seconds(), 0.1, 60)
	within("wait (s)", c.Wait.Seconds(), 0.1, 300)
	within("patience (s)", c.Patience.Seconds(), 0, 300)
	within("load mass", c.Load.Mass, 0, 5)
	for _, v := range c.Load.Centre {
		within("load centre (m)", v, -0.5, 0.5)
	}
	for _, v := range c.Load.Inertia {
		within("load inertia (kg m²)", v, -1, 1)
	}
	within("reset speed", c.Speed, 0.005, 0.5)
	within("reset turn", c.Turn, 0.01, 2)
	within("reset lift", c.Lift, 0, 1)
	var names []string
	for i, cam := range c.Cameras {
		switch {
		case cam.Name == "" || cam.Topic == "":
			bad("camera %d has the name %q and the topic %q, want both", i, cam.Name, cam.Topic)
		case slices.Contains(names, cam.Name):
			bad("camera %q is named twice", cam.Name)
		case cam.Compressed && c.Decode == nil:
			bad("camera %q is compressed, but nobody decodes", cam.Name)
		case (cam.W > 0 || cam.H > 0) && c.Resize == nil:
			bad("camera %q is to be %dx%d pixels, but nobody resizes", cam.Name, cam.W, cam.H)
		}
		names = append(names, cam.Name)
	}
	for i := range 7 {
		lo, hi := c.Collision.Torque.Lower[i], c.Collision.Torque.Upper[i]
		if !(0 < lo && lo <= hi && hi <= 100) {
			bad("collision torque of joint %d is %g to %g Nm, want 0 < lower <= upper <= 100", i+1, lo, hi)
		}
	}
	for i := range 6 {
		lo, hi := c.Collision.Force.Lower[i], c.Collision.Force.Upper[i]
		if !(0 < lo && lo <= hi && hi <= 100) {
			bad("collision force of axis %d is %g to %g, want 0 < lower <= upper <= 100", i+1, lo, hi)
		}
	}
	// The ranges of the controller's own parameters: it cuts off what is beyond.
	within("stiffness", c.Stiffness.Trans, 0, 6000)
	within("damping", c.Stiffness.TransDamping, 0, 400)
	within("rotational stiffness", c.Stiffness.Rot, 0, 300)
	within("rotational damping", c.Stiffness.RotDamping, 0, 30)
	within("clip", c.Stiffness.Clip, 0, 0.1)
	within("turn clip", c.Stiffness.TurnClip, 0, 0.1)
	if !c.Gripper.None {
		within("gripper speed", c.Gripper.Speed, 0.001, 0.2)
		within("gripper force", c.Gripper.Force, 0, 70)
	}
	q := c.Start.Q
	if n := q[0]*q[0] + q[1]*q[1] + q[2]*q[2] + q[3]*q[3]; math.Abs(n-1) > 1e-6 {
		bad("start has the quaternion %v, want length 1", q)
	}
	within("start: distance from the base", norm(c.Start.P[0], c.Start.P[1], c.Start.P[2]), 0.1, 0.9)
	return errors.Join(errs...)
}

// period is the time between control ticks.
func (c *Config) period() time.Duration { return time.Duration(float64(time.Second) / c.Rate) }

// opening is the distance between the fingers at a command's grip, m.
func opening(grip float64) float64 { return grip * franka.Stroke }

// gripOf is the grip of a command for fingers so far apart, m.
func gripOf(apart float64) float64 { return clamp(apart / franka.Stroke) }
