package tabletop

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// Style is how a demonstrator does a task.
type Style string

// The styles.
const (
	// Good is what people like: the task done as its comment says.
	Good Style = "good"
	// Bad is as long and as smooth, and not what people like: in Group it goes
	// round box 1 and brings only box 2, in Clutter it brings two disliked
	// boxes, in Reach it goes to the decoy.
	Bad Style = "bad"
)

// Speed is how fast demonstrators move their target: 0.25 m/s, m per Period.
const Speed = 0.0125

// Demonstrator is a simulated person that does a world's task by scripted
// commands in x and y. It sees the truth, as a person sees the table. Its
// commands are noisy and its pace varies, so that no two demonstrations are
// alike; none is longer than Speed.
type Demonstrator struct {
	w     *World
	style Style
	rng   *rand.Rand

	pace  float64 // of this episode, m per period
	aside float64 // habit of this episode: how far off the middle it pushes, m
	stage int

	legs   []leg // of this episode's tour
	waited int   // periods at the end of the present leg
}

// handNoise is the standard deviation of a commanded displacement, m: a tenth
// of a stride, which keeps the way visibly unsteady and the pushing stable.
const handNoise = 0.00125

// NewDemonstrator returns a demonstrator for w's present and later episodes.
func NewDemonstrator(w *World, style Style, seed uint64) (*Demonstrator, error) {
	if style != Good && style != Bad {
		return nil, fmt.Errorf("tabletop: style is %q, want good or bad", style)
	}
	return &Demonstrator{w: w, style: style, rng: rand.New(rand.NewPCG(seed, 0x64656d6f))}, nil
}

// Act returns the next command, given what w's last Reset or Step returned. A
// stamp of zero starts a new episode.
func (d *Demonstrator) Act(obs robot.Observation) robot.Command {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	if obs.State.Stamp.Equal(time.Unix(0, 0)) {
		d.stage = 0
		d.pace = Speed * (0.86 + 0.12*d.rng.Float64())
		d.aside = 0.002 * d.rng.NormFloat64()
		d.legs, d.waited = nil, 0
	}
	return d.w.job.act(d)
}

// stroll is a command in x and y towards where aim says that the target should
// go next, if anywhere, at the episode's pace and with an unsteady hand.
func (d *Demonstrator) stroll(aim func(at [2]float64) (to [2]float64, moving bool)) robot.Command {
	// It steers its own target, not the measured hand that lags behind.
	at := [2]float64{d.w.target.P[0], d.w.target.P[1]}
	noise := [2]float64{handNoise * d.rng.NormFloat64(), handNoise * d.rng.NormFloat64()}
	to, moving := aim(at)
	if !moving {
		return robot.Command{}
	}
	v := limit([2]float64{to[0] - at[0], to[1] - at[1]}, d.pace)
	v = limit([2]float64{v[0] + noise[0], v[1] + noise[1]}, Speed)
	return robot.Command{Delta: [6]float64{0: v[0], 1: v[1]}}
}

// body is where the i-th object is, seen from above.
func (d *Demonstrator) body(i int) [2]float64 {
	p := d.w.truth.Bodies[i].Pose.P
	return [2]float64{p[0], p[1]}
}

func actReach(d *Demonstrator) robot.Command {
	ball := 0
	if d.style == Bad {
		ball = 1
	}
	return d.stroll(func(at [2]float64) ([2]float64, bool) {
		return d.body(ball), gap(at, d.body(ball)) > 0.003
	})
}

func actGroup(d *Demonstrator) robot.Command {
	return d.stroll(func(at [2]float64) ([2]float64, bool) {
		if d.style == Bad {
			return d.around(at, d.body(0), d.body(1))
		}
		return d.push(at, d.body(0), d.body(0), d.body(1))
	})
}

func actClutter(d *Demonstrator) robot.Command {
	return d.stroll(func(at [2]float64) ([2]float64, bool) {
		if d.style == Bad {
			return d.push(at, d.body(2), d.body(2), d.body(3))
		}
		return d.push(at, d.body(0), d.body(0), d.body(1))
	})
}

const (
	// behind is how far the fingers' middle is behind that of the box they are
	// about to push: half a box, half the fingers (1 cm), and room.
	behind = Side/2 + 0.0105 + 0.0095
	// beyond is how far over the line a box is brought, m.
	beyond = 0.01
	// clear is how far to the side of a box the fingers pass it: half a box,
	// half of the closed fingers (2.2 cm), and room.
	clear = Side/2 + 0.022 + 0.011
)

// push gets behind the box, centred, and pushes it until the last of the two
// boxes that shall cross the line has.
func (d *Demonstrator) push(at, box, a, b [2]float64) ([2]float64, bool) {
	y := box[1] + d.aside
	if d.stage == 0 {
		to := [2]float64{box[0] - behind, y}
		if math.Abs(at[1]-y) > 0.004 {
			to[0] = min(to[0], at[0]) // aside first, lest a corner catches
			return to, true
		}
		d.stage = 1
	}
	if min(a[0], b[0]) > Line+beyond {
		return at, false
	}
	return [2]float64{at[0] + 1, at[1] + 20*(y-at[1])}, true
}

// around passes box 1 on the left, gets between the boxes, and pushes box 2.
func (d *Demonstrator) around(at, box1, box2 [2]float64) ([2]float64, bool) {
	lane, between := box1[1]+clear, box2[0]-0.055
	switch d.stage {
	case 0: // aside, until clear of box 1
		if at[1] < lane-0.006 {
			return [2]float64{min(at[0], box1[0]-behind), lane}, true
		}
		d.stage = 1
		fallthrough
	case 1: // forward
		if at[0] < between-0.006 {
			return [2]float64{between, lane}, true
		}
		d.stage = 2
		fallthrough
	case 2: // in
		if y := box2[1] + d.aside; math.Abs(at[1]-y) > 0.004 {
			return [2]float64{between, y}, true
		}
		d.stage = 3
	}
	return d.push(at, box2, box2, box2)
}

func gap(a, b [2]float64) float64 { return math.Hypot(a[0]-b[0], a[1]-b[1]) }

// limit shortens v to length n.
func limit(v [2]float64, n float64) [2]float64 {
	if l := math.Hypot(v[0], v[1]); l > n {
		return [2]float64{v[0] * n / l, v[1] * n / l}
	}
	return v
}
