// Package blob is the smallest world that a visual reward can be tried on: seen from
// above, a gripper pushes an object towards a goal while something large and
// colourful that means nothing drifts about. Frames are 64 by 64 pixels, drawn in pure
// Go; the latent state and the reward behind the preferences are known, and nobody who
// learns is told.
//
//	w := blob.New(blob.Config{Distractor: true}, rand.NewPCG(1, 2))
//	c := w.Clip(0.7) // pushes the object 70 % of the way
//	// c.Frames are what cameras see, c.Return() is what people judge by
package blob

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// Camera names the only camera.
const Camera = "blob"

// Shape is that of the gripper: two embodiments.
type Shape uint8

// The grippers.
const (
	Disc Shape = iota // a dark disc
	Fork              // a yellow bar with two fingers
)

// Config is a world. The zero value is usable.
type Config struct {
	Side       int // pixels; 0: 64
	Frames     int // of a clip; 0: 45
	Gripper    Shape
	Distractor bool
}

// Point is a place in the image, x to the right and y down, each 0 to 1.
type Point struct{ X, Y float64 }

func (p Point) plus(q Point) Point       { return Point{p.X + q.X, p.Y + q.Y} }
func (p Point) minus(q Point) Point      { return Point{p.X - q.X, p.Y - q.Y} }
func (p Point) times(s float64) Point    { return Point{p.X * s, p.Y * s} }
func (p Point) length() float64          { return math.Hypot(p.X, p.Y) }
func (p Point) distance(q Point) float64 { return p.minus(q).length() }

// State is the latent state behind a frame.
type State struct {
	Gripper, Object, Goal Point
	Distractor            Point
	Hue                   float64 // of the distractor, 0 to 1 around the circle
}

// Reward is what people care for, and nobody who learns may see: how near the object
// is to the goal. Neither gripper nor distractor matter.
func (s State) Reward() float64 { return -s.Object.distance(s.Goal) }

// Radii and the gripper's largest step, of the image's side.
const (
	gripperRadius = 0.06
	objectRadius  = 0.08
	goalRadius    = 0.09
	distractRad   = 0.15
	stride        = 0.06
)

// Push moves the gripper by (dx,dy), at most a stride, and what it touches with it.
func (s State) Push(dx, dy float64) State {
	d := Point{dx, dy}
	if l := d.length(); l > stride {
		d = d.times(stride / l)
	}
	s.Gripper = inside(s.Gripper.plus(d))
	const touch = gripperRadius + objectRadius
	if gap := s.Object.minus(s.Gripper); gap.length() < touch && gap.length() > 1e-9 {
		s.Object = inside(s.Gripper.plus(gap.times(touch / gap.length())))
	}
	return s
}

func inside(p Point) Point {
	return Point{min(max(p.X, 0.05), 0.95), min(max(p.Y, 0.05), 0.95)}
}

// Clip is a recorded run.
type Clip struct {
	Frames []robot.Frame // (T,), BGR
	States []State       // (T,)
}

// Rewards are those of every state (T,).
func (c Clip) Rewards() []float64 {
	r := make([]float64, len(c.States))
	for t, s := range c.States {
		r[t] = s.Reward()
	}
	return r
}

// Return is the mean reward.
func (c Clip) Return() float64 {
	var sum float64
	for _, r := range c.Rewards() {
		sum += r
	}
	return sum / float64(len(c.States))
}

// World makes clips. One goroutine uses it.
type World struct {
	cfg Config
	rng *rand.Rand
}

// New makes a world whose clips are determined by src.
func New(cfg Config, src rand.Source) *World {
	if cfg.Side == 0 {
		cfg.Side = 64
	}
	if cfg.Frames == 0 {
		cfg.Frames = 45
	}
	return &World{cfg, rand.New(src)}
}

// Start draws the beginning of a run: object on the left, goal on the right, each
// within 0.03 of its place.
func (w *World) Start() State {
	near := func(x, y float64) Point {
		return Point{x + 0.03*(2*w.rng.Float64()-1), y + 0.03*(2*w.rng.Float64()-1)}
	}
	return State{
		Gripper: near(0.12, 0.25), Object: near(0.3, 0.5), Goal: near(0.82, 0.5),
		Distractor: Point{w.rng.Float64(), w.rng.Float64()}, Hue: w.rng.Float64(),
	}
}

// Clip runs a script that pushes the object the share q, 0 to 1, of the way to the
// goal and then backs off and loiters, as a person shows a task well or badly.
func (w *World) Clip(q float64) Clip {
	s := w.Start()
	from := s.Object
	way := s.Goal.minus(from)
	heading := way.times(1 / way.length())
	drift := Point{0.03 * w.rng.NormFloat64(), 0.03 * w.rng.NormFloat64()}
	loiter := Point{w.rng.Float64(), w.rng.Float64()}
	var c Clip
	behind := false
	for t := range w.cfg.Frames {
		c.States = append(c.States, s)
		c.Frames = append(c.Frames, w.frame(s, t))
		done := s.Object.minus(from)
		var want Point
		switch {
		case done.X*heading.X+done.Y*heading.Y >= q*way.length():
			want = loiter
			// Around the object, not through it.
			if s.Object.distance(s.Gripper) < gripperRadius+objectRadius+stride {
				want = s.Gripper.plus(s.Gripper.minus(s.Object))
			}
		case !behind:
			want = s.Object.minus(heading.times(0.15))
			behind = s.Gripper.distance(want) < stride
		default:
			// A little sideways keeps the object on the line.
			want = s.Goal.plus(s.Object.minus(from.plus(heading.times(done.X*heading.X + done.Y*heading.Y))).times(2))
		}
		d := want.minus(s.Gripper)
		s = s.Push(d.X+0.004*w.rng.NormFloat64(), d.Y+0.004*w.rng.NormFloat64())
		drift = drift.times(0.9).plus(Point{0.02 * w.rng.NormFloat64(), 0.02 * w.rng.NormFloat64()})
		s.Distractor = s.Distractor.plus(drift)
		for _, x := range [2]*float64{&s.Distractor.X, &s.Distractor.Y} {
			*x = min(max(*x, 0), 1)
		}
		s.Hue = math.Mod(s.Hue+0.02+0.03*w.rng.NormFloat64()+1, 1)
	}
	return c
}

// frame is what the camera sees at tick t, 20 a second.
func (w *World) frame(s State, t int) robot.Frame {
	f := robot.Frame{Camera: Camera, Seq: uint64(t), Stamp: time.Unix(0, 0).Add(time.Duration(t) * 50 * time.Millisecond), W: w.cfg.Side, H: w.cfg.Side}
	f.Pix = make([]byte, 3*f.W*f.H)
	Draw(f.Pix, w.cfg, s)
	return f
}
