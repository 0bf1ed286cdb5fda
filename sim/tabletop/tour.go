package tabletop

import (
	"math"

	"github.com/rapport-rl/rapport/robot"
)

// leg is a stretch of a tour: the target goes straight to a place, the hand
// opened or closed meanwhile, and waits there.
type leg struct {
	at   func() [3]float64 // asked in every period, so that it may follow what moves; m
	grip float64           // 0 (closed) to 1
	wait int               // periods after the arrival
	near float64           // m; there from so close, arrive if 0
}

// arrive is from how close to its end a leg is over, m: what is left is less than
// half a stride.
const arrive = 0.004

// tour follows legs, planned at the start of an episode, in x, y and z. At the end
// of the last it stays.
func (d *Demonstrator) tour(plan func() []leg) robot.Command {
	if d.legs == nil {
		d.legs = plan()
	}
	noise := [3]float64{handNoise * d.rng.NormFloat64(), handNoise * d.rng.NormFloat64(), handNoise * d.rng.NormFloat64()}
	for {
		l := d.legs[d.stage]
		near := l.near
		if near == 0 {
			near = arrive
		}
		to, at := l.at(), d.w.target.P
		if dist(to, at) > near && d.waited == 0 {
			v := shorten(sub(to, at), d.pace)
			// Slower where it matters, as people are: the hand shakes less when it
			// hardly moves.
			s := min(1, dist(to, at)/0.03)
			for i := range v {
				v[i] += s * noise[i]
			}
			v = shorten(v, Speed)
			return robot.Command{Delta: [6]float64{v[0], v[1], v[2]}, Grip: l.grip}
		}
		if d.waited < l.wait || d.stage == len(d.legs)-1 {
			d.waited++
			return robot.Command{Grip: l.grip}
		}
		d.stage++
		d.waited = 0
	}
}

// fixed is a place that is the same in every period.
func fixed(p [3]float64) func() [3]float64 { return func() [3]float64 { return p } }

func sub(a, b [3]float64) [3]float64 { return [3]float64{a[0] - b[0], a[1] - b[1], a[2] - b[2]} }

func add(a, b [3]float64) [3]float64 { return [3]float64{a[0] + b[0], a[1] + b[1], a[2] + b[2]} }

// shorten shortens v to length n.
func shorten(v [3]float64, n float64) [3]float64 {
	if l := norm(v[0], v[1], v[2]); l > n {
		return [3]float64{v[0] * n / l, v[1] * n / l, v[2] * n / l}
	}
	return v
}

// Heights of the hand on a tour, m, and waits there, periods.
const (
	carry   = 0.11 // over the table, with what it carries
	squeeze = 5    // for fingers to close on a thing: 4 cm at 0.2 m/s
	unhand  = 4    // for them to open
)

// pickPlace takes the thing by its grasp point and sets it down such that this
// point is at to, then retreats upwards. grasp and to are asked as time goes by,
// until the thing is held.
func (d *Demonstrator) pickPlace(grasp, to func() [3]float64, height float64) []leg {
	// held is from the grasp point to the target, measured once, while both rest:
	// the hand lags behind its target when it moves.
	var over, held, goal [3]float64
	wish := [3]float64{d.aside, d.aside, 0}
	at := func() [3]float64 { return add(grasp(), wish) }
	stay := func() [3]float64 { return d.w.target.P }
	measured := false
	legs := []leg{
		{at: func() [3]float64 { p := at(); return [3]float64{p[0], p[1], carry} }, grip: 1},
		{at: at, grip: 1, wait: 1},
		{at: stay, wait: squeeze},
		{at: func() [3]float64 {
			if !measured {
				over, held, measured = d.w.target.P, sub(d.w.target.P, grasp()), true
			}
			return [3]float64{over[0], over[1], height}
		}},
		{at: func() [3]float64 {
			goal = add(to(), held)
			return [3]float64{goal[0], goal[1], height}
		}, wait: 1},
		{at: func() [3]float64 { return goal }, wait: 2},
		{at: stay, grip: 1, wait: unhand},
		{at: func() [3]float64 { return [3]float64{goal[0], goal[1], height} }, grip: 1},
	}
	if d.style == Bad {
		// Half-way it has had enough, and drops what it has.
		half := d.rng.Float64()*0.3 + 0.3
		legs[4].at = func() [3]float64 {
			g := to()
			return [3]float64{over[0] + half*(g[0]-over[0]), over[1] + half*(g[1]-over[1]), height}
		}
		legs = append(legs[:5:5], leg{at: stay, grip: 1, wait: math.MaxInt})
	}
	return legs
}
