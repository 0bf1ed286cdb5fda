package xmagical

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// Style is how a demonstrator does a task.
type Style string

// The styles.
const (
	// Good is what people like: the task done as its comment says.
	Good Style = "good"
	// Bad is as smooth, and not what people like: in Sweep it leaves squares
	// behind, in Avoid it goes the short way, through the zone, and in Group it
	// goes round the first square and brings only the second. A long stick cannot
	// but take everything along; its bad style stops short of the strip, except in
	// Avoid.
	Bad Style = "bad"
)

// Demonstrator is a simulated person that drives the robot by script. It sees the
// truth, as a person sees the arena. Its hands are unsteady and its pace varies, so
// that no two demonstrations are alike.
type Demonstrator struct {
	w     *World
	style Style
	rng   *rand.Rand

	pace  float64 // of this episode, m/s
	aside float64 // habit of this episode: how far off the middle it pushes, m
	plan  []deed
	spent int // periods in the present deed
}

// deed is a part of a plan: it steers by speed (m/s) and rate of turning (rad/s)
// until it is done.
type deed func() (speed, rate float64, done bool)

// Rate is the quickest turn, rad/s: what the steering gear gives at most.
const Rate = 2.5

// TurnUnit is the turn of a command from which on the robot turns at Rate, rad: a
// policy whose unit of turning this is commands the rate of turning. The gear goes
// for the heading plus the turn, but sees the heading a step of physics late, so
// that it turns at turn / (2 · 12.5 ms) on the mean.
const TurnUnit = Rate * 2 * 0.0125

// NewDemonstrator returns a demonstrator for w's present and later episodes.
func NewDemonstrator(w *World, style Style, seed uint64) (*Demonstrator, error) {
	if style != Good && style != Bad {
		return nil, fmt.Errorf("xmagical: style is %q, want good or bad", style)
	}
	return &Demonstrator{w: w, style: style, rng: rand.New(rand.NewPCG(seed, 0x64656d6f))}, nil
}

// patience is after how many periods a deed is given up, as when a square has
// slipped away.
const patience = 45

// Act returns the next command, given what w's last Reset or Step returned. A
// stamp of zero starts a new episode.
func (d *Demonstrator) Act(obs robot.Observation) robot.Command {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	if obs.State.Stamp.Equal(time.Unix(0, 0)) {
		d.Begin()
	}
	speed, rate := d.Drive()
	return robot.Command{Delta: [6]float64{0: speed * Period.Seconds(), 5: rate / Rate * TurnUnit}, Grip: 1}
}

// Begin starts an episode, after w's reset.
func (d *Demonstrator) Begin() {
	d.pace = Speed * (0.94 + 0.06*d.rng.Float64())
	d.aside = 0.008 * d.rng.NormFloat64()
	d.spent = 0
	d.plan = d.intend()
}

// Drive returns the next speed ahead, m/s, and rate of turning, rad/s.
func (d *Demonstrator) Drive() (speed, rate float64) {
	noise := [2]float64{0.03 * d.rng.NormFloat64(), 0.12 * d.rng.NormFloat64()}
	for len(d.plan) > 0 {
		v, r, done := d.plan[0]()
		if d.spent++; !done && d.spent <= patience {
			return limit(v+noise[0], Speed), limit(r+noise[1], Rate)
		}
		d.plan, d.spent = d.plan[1:], 0
	}
	return 0, 0
}

func limit(v, n float64) float64 { return min(max(v, -n), n) }

// intend plans an episode.
func (d *Demonstrator) intend() []deed {
	w := d.w
	long := w.cfg.Embodiment == Long
	short := math.Inf(1) // where to stop pushing, y
	if d.style == Bad && long {
		short = 0.25 - 0.1*d.rng.Float64()
	}
	switch w.cfg.Task {
	case Sweep:
		loads := d.loads()
		if d.style == Bad {
			// The least that makes a load, and the rest is left.
			loads = []load{slices.MinFunc(loads, func(a, b load) int { return len(a.which) - len(b.which) })}
		}
		var plan []deed
		for i, l := range loads {
			if i > 0 {
				plan = append(plan, d.retreat(loads[i-1], l)...)
			}
			plan = append(plan, d.approach(l)...)
			plan = append(plan, d.push(l.x, l.which, short))
		}
		return plan
	case Avoid:
		return d.around(short)
	}
	at := func(i int) place { return placeOf(w.arena.squares[i].body) }
	if d.style == Bad && !long {
		// Round the first square, on the side that has more room.
		p, lane := at(1), at(0).X+Side/2+d.half()+0.06
		if at(0).X > 0 {
			lane = at(0).X - (lane - at(0).X)
		}
		y := (at(0).Y + p.Y) / 2
		return []deed{
			d.to(lane, at(0).Y-0.25, false), d.to(lane, y, false),
			d.push1(1, y),
		}
	}
	l := load{d: d, which: []int{0, 1}, x: func() float64 { return at(0).X }, y: at(0).Y}
	return append(d.approach(l), d.push(l.x, l.which, short))
}

// around is Avoid: to behind the square, round the zone or, in the bad style,
// straight on; then up.
func (d *Demonstrator) around(short float64) []deed {
	w := d.w
	z := w.scene.off
	sq := placeOf(w.arena.squares[0].body)
	x := func() float64 { return placeOf(w.arena.squares[0].body).X }
	l := load{d: d, which: []int{0}, x: x, y: sq.Y}
	if w.cfg.Embodiment == Long {
		if d.style == Bad {
			mid := func() float64 { return w.scene.robot.X }
			return []deed{d.push(mid, l.which, math.Inf(1))}
		}
		// As far to the square's side as the wall allows.
		to := -math.Copysign(0.22, z.L+z.R)
		lane := func() float64 { return to }
		return []deed{d.push(lane, l.which, math.Inf(1))}
	}
	plan := []deed{}
	if d.style == Good {
		side := math.Copysign(1, w.scene.robot.X)
		clear := d.half() + 0.05
		low := z.B - d.half() - 0.06
		if w.cfg.Embodiment == Gripper {
			low = z.B - radius - 0.06
			clear = 0.40
		}
		plan = append(plan, d.to(side*(z.R+clear), low, true), d.to(-side*(z.R+0.06), low, false))
	}
	return append(append(plan, d.approach(l)...), d.push(x, l.which, short))
}

// load is what is pushed up at once.
type load struct {
	d     *Demonstrator
	which []int          // squares
	x     func() float64 // where the robot's middle has to be
	y     float64        // of the squares at the start
}

// below is where the robot can turn below the load, y.
func (l load) below() float64 { return l.y - Side/2 - l.d.half() - 0.05 }

// half is how far the robot reaches from its middle when it turns, m.
func (d *Demonstrator) half() float64 {
	if d.w.cfg.Embodiment == Gripper {
		return 0.38 // with its fingers ahead
	}
	return d.w.cfg.Embodiment.width() / 2
}

// loads divides Sweep's squares into what the robot can push at once, in the order
// of the shortest way.
func (d *Demonstrator) loads() []load {
	at := make([]place, len(d.w.arena.squares))
	order := make([]int, len(at))
	for i, s := range d.w.arena.squares {
		at[i], order[i] = placeOf(s.body), i
	}
	slices.SortFunc(order, func(i, j int) int { return int(math.Copysign(1, at[i].X-at[j].X)) })
	// A square is pushed straight if its middle is before the stick.
	reach := d.w.cfg.Embodiment.width() - 0.06
	var loads []load
	for len(order) > 0 {
		n := 1
		for n < len(order) && at[order[n]].X-at[order[0]].X <= reach {
			n++
		}
		mid := (at[order[0]].X + at[order[n-1]].X) / 2
		if d.w.cfg.Embodiment == Long {
			mid = limit(mid, Size-d.half()-0.02)
		}
		loads = append(loads, load{d: d, which: slices.Clone(order[:n]), x: func() float64 { return mid }, y: at[order[0]].Y})
		order = order[n:]
	}
	best, least := loads, math.Inf(1)
	for _, p := range orders(len(loads)) {
		way, x := 0.0, d.w.scene.robot.X
		for _, i := range p {
			way, x = way+math.Abs(loads[i].x()-x), loads[i].x()
		}
		if way < least {
			least, best = way, nil
			for _, i := range p {
				best = append(best, loads[i])
			}
		}
	}
	return best
}

// orders lists the permutations of n things, n up to 3.
func orders(n int) [][]int {
	switch n {
	case 1:
		return [][]int{{0}}
	case 2:
		return [][]int{{0, 1}, {1, 0}}
	}
	return [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
}

// approach gets below a load, facing up.
func (d *Demonstrator) approach(l load) []deed {
	if d.w.cfg.Embodiment == Long {
		return nil // it cannot turn below the load, but is as wide as the arena
	}
	return []deed{
		func() (float64, float64, bool) {
			p := placeOf(d.w.arena.body)
			if math.Abs(p.X-l.x()-d.aside) < 0.03 && p.Y < l.below()+0.06 {
				return 0, 0, true
			}
			return d.steer(l.x()+d.aside, min(l.below(), p.Y), false, 0.03)
		},
		d.up(),
	}
}

// to drives to a place, backwards if asked.
func (d *Demonstrator) to(x, y float64, back bool) deed {
	return func() (float64, float64, bool) { return d.steer(x, y, back, 0.05) }
}

// steer steers to a place.
func (d *Demonstrator) steer(x, y float64, back bool, near float64) (speed, rate float64, done bool) {
	p := placeOf(d.w.arena.body)
	dx, dy := x-p.X, y-p.Y
	dist := math.Hypot(dx, dy)
	if dist < near {
		return 0, 0, true
	}
	want := math.Atan2(-dx, dy)
	if back {
		want += math.Pi
	}
	off := wrap(want - p.A)
	speed = min(d.pace, 6*dist)
	if c := math.Cos(off); math.Abs(off) > 0.7 {
		speed = 0
	} else {
		speed *= c * c * c
	}
	if back {
		speed = -speed
	}
	return speed, d.turn(off), false
}

// up turns on the spot, until pushing may do the rest.
func (d *Demonstrator) up() deed {
	return func() (float64, float64, bool) {
		off := wrap(0 - placeOf(d.w.arena.body).A)
		return 0, d.turn(off), math.Abs(off) < 0.25
	}
}

// turn is the rate at which to turn by off, rad/s: as quick as the robot can still
// stop.
func (d *Demonstrator) turn(off float64) float64 {
	brake := d.w.cfg.Dynamics.Steer / d.w.arena.body.Moment()
	r := min(Rate, 6*math.Abs(off), 0.7*math.Sqrt(2*brake*math.Abs(off)))
	return math.Copysign(r, off)
}

// retreat backs off from a load to below the next, without touching what is in
// between: past it beside it, then aside.
func (d *Demonstrator) retreat(from, to load) []deed {
	step := to.x() - from.x()
	if d.w.cfg.Embodiment == Medium {
		return []deed{d.to(from.x(), to.below()+0.02, true)}
	}
	// As far aside as the next square, which lies lower, leaves room.
	room, deep := Side/2+d.half()+0.04, to.below()-0.10
	if d.w.cfg.Embodiment == Gripper {
		room, deep = Side/2+radius+0.06, to.below()
	}
	aside := math.Copysign(max(0, math.Abs(step)-room), step)
	return []deed{
		d.to(from.x()+aside, to.y-Side/2-0.02, true),
		d.to(to.x(), max(deep, -Size+0.2), true),
	}
}

// push drives up along x until the squares are in the strip, or till y if that
// comes first.
func (d *Demonstrator) push(x func() float64, which []int, till float64) deed {
	over := 0.012
	if d.w.cfg.Embodiment == Gripper {
		over = 0.045 // its fingers drag the square along when it backs off
	}
	return func() (float64, float64, bool) {
		p := placeOf(d.w.arena.body)
		done := p.Y > till
		in := true
		for _, i := range which {
			s := d.w.arena.squares[i]
			in = in && s.shape.BB().B > d.w.scene.bottom+over
		}
		off := wrap(limit(2*(p.X-x()-d.aside), 0.3) - p.A)
		c := max(0, math.Cos(2*off))
		return d.pace * c, d.turn(off), done || in
	}
}

// push1 is getting beside the i-th square at height y, below it, and pushing it.
func (d *Demonstrator) push1(i int, y float64) deed {
	x := func() float64 { return placeOf(d.w.arena.squares[i].body).X }
	up := d.push(x, []int{i}, math.Inf(1))
	there := false
	return func() (float64, float64, bool) {
		p := placeOf(d.w.arena.body)
		if !there && math.Abs(p.X-x()) > 0.04 {
			return d.steer(x(), y, false, 0)
		}
		there = true
		return up()
	}
}

// wrap brings an angle to [-π, π].
func wrap(a float64) float64 { return math.Remainder(a, 2*math.Pi) }
