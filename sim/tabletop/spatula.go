package tabletop

import (
	"math/rand/v2"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

// Spatula is KAGI's pick-and-place of a long thing: a spatula is taken by its
// handle, which points to the arm, and laid on a plate with its blade. Back: it is
// laid where it was.

// The origin of the spatula is where one takes it, 5 cm behind its blade's middle
// and 2 cm behind its blade; its handle reaches 10 cm further back.
const spatulaXML = `      <geom name="spatula" type="box" size="0.06 0.008 0.009" pos="-0.04 0 0" mass="0.02" contype="1" conaffinity="3" rgba="0.12 0.12 0.13 1"/>
      <geom type="box" size="0.034 0.03 0.004" pos="0.05 0 -0.005" mass="0.03" contype="1" conaffinity="3" rgba="0.86 0.07 0.06 1"/>`

// The plate stays where it is put: nobody shoves it about.
const plateXML = `      <geom name="plate" type="cylinder" size="0.075 0.004" contype="1" conaffinity="3" rgba="0.05 0.22 0.90 1"/>
      <geom type="cylinder" size="0.055 0.0042" rgba="0.75 0.82 0.95 1"/>`

const (
	blade   = 0.05  // from where it is taken to the blade's middle, m
	lying   = 0.009 // height of the spatula's origin on the table, m
	onPlate = lying + 0.008
)

func layoutSpatula() *layout {
	return &layout{
		objects: []object{
			{Name: "spatula", Geoms: spatulaXML},
			{Name: "plate", Geoms: plateXML, Still: true},
		},
		start: down(0.42, 0.12),
		grip:  1,
		place: func(r *rand.Rand, p []robot.Pose) {
			p[0].P = [3]float64{0.44 + uniform(r, 0.03), -0.09 + uniform(r, 0.02), lying}
			p[0].Q = turned(uniform(r, 0.08))
			p[1].P = [3]float64{0.52 + uniform(r, 0.02), 0.08 + uniform(r, 0.02), 0.004}
		},
	}
}

// ahead is the point x metres ahead of p's origin.
func ahead(p robot.Pose, x float64) [3]float64 {
	q := p.Q
	return add(p.P, [3]float64{
		x * (1 - 2*(q[2]*q[2]+q[3]*q[3])), 2 * x * (q[1]*q[2] + q[0]*q[3]), 2 * x * (q[1]*q[3] - q[0]*q[2]),
	})
}

// laid is where the blade's middle belongs, at the height of the origin.
func laid(w *World) [3]float64 {
	if w.way == Backward {
		return ahead(w.places[0], blade)
	}
	p := w.truth.Bodies[1].Pose.P
	return [3]float64{p[0], p[1], onPlate}
}

// judgeSpatula: the distance is that of the blade's middle from the plate's (or,
// back, from where it was), plus Near while the handle is held or it is not there.
// Success: let go of, within 4 cm from above and 1.5 cm in height. The reward is
// that of Stack.
func judgeSpatula(w *World, t *sim.Truth) {
	w.truth.Bodies = t.Bodies
	w.judgePlaced(t, ahead(t.Bodies[0].Pose, blade), laid(w), 0.04, 0.015, 0.016, t.Bodies[0].Pose.P)
}

func actSpatula(d *Demonstrator) robot.Command {
	return d.tour(func() []leg {
		w := d.w
		grasp := func() [3]float64 { p := w.truth.Bodies[0].Pose.P; p[2] = max(p[2], 0.008) + 0.009; return p }
		head := ahead(w.truth.Bodies[0].Pose, blade)
		off := sub(w.truth.Bodies[0].Pose.P, head)
		to := func() [3]float64 {
			p := add(laid(w), [3]float64{off[0], off[1], 0})
			p[2] += 0.009 + 0.003
			return p
		}
		return d.pickPlace(grasp, to, carry)
	})
}
