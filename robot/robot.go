// Package robot says what is sensed and what is commanded, and holds the
// Backend that a loop drives.
//
// Everything is in SI units and radians. Poses are in the arm's base frame
// (origin at the base flange, x forward, z up), quaternions are unit wxyz.
// A Backend owns time: Step returns when the next control tick is due, and
// stamps come from it alone, so that the same loop drives an arm, a simulator
// and a recording:
//
//	obs, err := b.Reset(ctx)
//	for err == nil {
//		obs, err = b.Step(ctx, robot.Command{Delta: [6]float64{0: 0.01}, Grip: 1})
//	}
package robot

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Frame is one camera image: BGR8, row-major (H,W,3), top row first. Pix is
// read-only once the frame is published; whoever wants to draw copies it.
type Frame struct {
	Camera string
	Seq    uint64 // counts images of this camera since Reset
	Stamp  time.Time
	W, H   int
	Pix    []byte // len H*W*3
}

// Squeezed says whether w by h pixels are of another shape than f, by more than whole
// pixels account for (2 %), so that f is not true to scale once it is brought to that size.
func (f Frame) Squeezed(w, h int) bool {
	return math.Abs(float64(f.W*h)/float64(f.H*w)-1) > 0.02
}

// Pose is a position in metres and a unit quaternion (w,x,y,z), base frame.
type Pose struct {
	P [3]float64
	Q [4]float64
}

// State is what the arm senses of itself at one instant.
type State struct {
	Stamp  time.Time
	Q, DQ  [7]float64 // rad, rad/s
	EE     Pose       // tool centre point
	Wrench [6]float64 // N and Nm at the tool centre point, base frame
	Grip   float64    // distance between the fingers, m
}

// Command moves the Cartesian target of the impedance controller by Delta: a
// translation in metres, then a rotation vector in radians, both in the base
// frame. Grip is the wanted opening, from 0 (closed) to 1 (open).
type Command struct {
	Delta [6]float64
	Grip  float64
}

// Finite tells the first number of c that is none.
func (c *Command) Finite() error {
	for i, v := range c.Delta {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("command delta[%d] is %g", i, v)
		}
	}
	if math.IsNaN(c.Grip) || math.IsInf(c.Grip, 0) {
		return fmt.Errorf("command grip is %g", c.Grip)
	}
	return nil
}

// Source says who decided a command.
type Source uint8

// The deciders of a command. A transition stores what was applied and who
// decided it, never the wish.
const (
	ByPolicy Source = iota
	ByHuman
	ByGuard
	ByLog
)

func (s Source) String() string {
	switch s {
	case ByPolicy:
		return "policy"
	case ByHuman:
		return "human"
	case ByGuard:
		return "guard"
	case ByLog:
		return "log"
	}
	return "unknown"
}

// Observation is what a Backend returns at a control tick.
type Observation struct {
	Frames  []Frame // in the configured order of cameras
	State   State
	Applied Command // what was applied to get here; zero after Reset
	By      Source
}

// Backend is an arm with its cameras: real, simulated or recorded. It is driven
// by one goroutine.
type Backend interface {
	// Reset brings the arm to the start of an episode.
	Reset(ctx context.Context) (Observation, error)
	// Step applies c and returns at the next control tick. io.EOF says that the
	// recording is over.
	Step(ctx context.Context, c Command) (Observation, error)
	// Close leaves the arm holding still.
	Close() error
}

var (
	// ErrStale says that a sensor's newest message is older than allowed.
	ErrStale = errors.New("robot: stale sensor")
	// ErrStopped says that the arm is held by a latched fault or a software
	// stop, until an operator clears it.
	ErrStopped = errors.New("robot: stopped")
)
