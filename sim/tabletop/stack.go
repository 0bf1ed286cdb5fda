package tabletop

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

// Stack is one of the four tasks of KAGI (Lee et al. 2024): a cube is put on
// another. Back: it is put on the table where it was.

// cube is the edge of a cube to be stacked, m: half of what the hand opens to.
const cube = 0.04

func cubeXML(name, rgba string) string {
	return fmt.Sprintf(`      <geom class="box" name="%s" size="%g %g %g" mass="0.06" rgba="%s"/>`, name, cube/2, cube/2, cube/2, rgba)
}

func layoutStack() *layout {
	return &layout{
		objects: []object{
			{Name: "cube1", Geoms: cubeXML("cube1", red)},
			{Name: "cube2", Geoms: cubeXML("cube2", blue)},
		},
		start: down(0.44, 0.12),
		grip:  1,
		place: func(r *rand.Rand, p []robot.Pose) {
			p[0].P = [3]float64{0.48 + uniform(r, 0.03), -0.07 + uniform(r, 0.02), cube / 2}
			p[1].P = [3]float64{0.48 + uniform(r, 0.03), 0.07 + uniform(r, 0.02), cube / 2}
		},
	}
}

// onto is where cube 1 belongs: on cube 2, or where it was.
func onto(w *World) [3]float64 {
	if w.way == Backward {
		return w.places[0].P
	}
	return add(w.truth.Bodies[1].Pose.P, [3]float64{0, 0, cube})
}

// released says whether neither finger is at the thing, whose edge is wide: the
// hand has opened further, or is away.
func (w *World) released(at [3]float64, wide float64) bool {
	open := 0.0
	for _, f := range w.id.finger {
		open += w.data.QPos()[f]
	}
	p := w.pads()
	mid := [3]float64{(p[0][0] + p[1][0]) / 2, (p[0][1] + p[1][1]) / 2, (p[0][2] + p[1][2]) / 2}
	return open > wide+0.006 || dist(mid, at) > 0.04
}

// judgeStack: the distance is that of cube 1 from where it belongs, plus Near while
// it is held or not there. Success: let go of, within 1.5 cm from above (so that it
// rests on the other) and 6 mm in height; back: within 3 cm.
func judgeStack(w *World, t *sim.Truth) {
	w.truth.Bodies = t.Bodies
	c, to := t.Bodies[0].Pose.P, onto(w)
	within := 0.015
	if w.way == Backward {
		within = 0.03
	}
	w.judgePlaced(t, c, to, within, 0.006, cube, c)
}

// judgePlaced rates a thing at c which belongs at to, and which is taken at grasp,
// where it is wide across. The reward is
//
//	−3 distance − 0.5 (|left − grasp| + |right − grasp|) − 0.01 |a|² + 1 [success]
//
// with left and right the finger pads, whose term ends with success.
func (w *World) judgePlaced(t *sim.Truth, c, to [3]float64, within, high, wide float64, grasp [3]float64) {
	level := gap([2]float64{c[0], c[1]}, [2]float64{to[0], to[1]})
	t.Success = level <= within && math.Abs(c[2]-to[2]) <= high && w.released(grasp, wide)
	t.Distance = dist(c, to)
	if !t.Success {
		t.Distance += Near
	}
	t.Reward -= 3 * t.Distance
	if t.Success {
		t.Reward++
		return
	}
	for _, p := range w.pads() {
		t.Reward -= 0.5 * dist(p, grasp)
	}
}

func actStack(d *Demonstrator) robot.Command {
	return d.tour(func() []leg {
		w := d.w
		grasp := func() [3]float64 { return w.truth.Bodies[0].Pose.P }
		height := carry
		if w.way == Backward {
			height = carry + 0.02
		}
		return d.pickPlace(grasp, func() [3]float64 { return add(onto(w), [3]float64{0, 0, 0.003}) }, height)
	})
}
