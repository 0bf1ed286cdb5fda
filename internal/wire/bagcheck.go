package wire

import (
	"cmp"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/bag"
	"github.com/rapport-rl/rapport/robot/franka"
)

// A target that stands still for a second and more, while the tool goes this far, m, is not
// what moved it: RViz's goal of a mobile base, say, or a tracker's.
const restTicks, tooFar = 20, 0.02

// aim is what became of a target since it was first seen in a stretch.
type aim struct {
	n     int // observations
	from  [3]float64
	way   float64 // of the tool, m
	moved bool
}

func (a *aim) see(o *robot.Observation) {
	if a.n++; a.n == 1 {
		a.from = o.State.EE.P
		return
	}
	d := &o.Applied.Delta
	a.moved = a.moved || !(math.Hypot(math.Hypot(d[0], d[1]), d[2])+math.Hypot(math.Hypot(d[3], d[4]), d[5]) < 1e-6)
	p := &o.State.EE.P
	a.way = max(a.way, math.Hypot(math.Hypot(p[0]-a.from[0], p[1]-a.from[1]), p[2]-a.from[2]))
}

// How far a recorded pose may be from where the joints have a Franka Hand, m and rad, as of a
// live arm (robot/ros/arm), and in how many observations it is looked for.
const poseApart, poseTurned, poseTicks = 0.005, 0.03, 20

// poseLate is by how many ticks a pose may trail the joints.
const poseLate = 3

// tie holds the pose of a recording against its joints: that of a flange is 10.3 cm off, one in
// another frame anywhere. One observation in which they agree is enough, where agreeing is to be
// as near as the joints move while a pose is late.
type tie struct {
	n           int        // observations
	at          robot.Pose // by the joints, in the last
	fits        bool
	near, turns float64 // the least that they are apart, m, and the turn there, rad
}

func (t *tie) see(m *bag.Mapping, st *robot.State) {
	if m.States == "" && m.Pose == "" || t.fits || t.n >= poseTicks {
		return // the pose is of the joints
	}
	// Joints at zero, where no Franka can be, were not recorded.
	if st.Q == [franka.Joints]float64{} || !finite(st.Q[:]) || !finite(st.EE.P[:]) || !finite(st.EE.Q[:]) {
		return
	}
	apart := func(a, b robot.Pose) (off, turn float64) {
		d := franka.Diff(a, b)
		return norm([3]float64(d[:3])), norm([3]float64(d[3:]))
	}
	at := franka.Forward(&st.Q)
	off, turn := apart(at, st.EE)
	var went, turned float64 // since the last
	if t.n > 0 {
		went, turned = apart(at, t.at)
	}
	t.at = at
	if t.n++; t.n == 1 || off < t.near {
		t.near, t.turns = off, turn
	}
	t.fits = off <= poseApart+poseLate*went && turn <= poseTurned+poseLate*turned
}

// apart says how pose and joints of a recording disagree; nil: they do not.
func (t *tie) apart(m *bag.Mapping) error {
	if t.fits || t.n == 0 {
		return nil
	}
	return fmt.Errorf("the pose of %s is %.1f mm and %.3f rad from where its joints have the tool centre point of a Franka Hand: it is another tool's, or in another frame; take it from the joints by states=, joints=%s and pose=",
		cmp.Or(m.States, m.Pose), 1000*t.near, t.turns, cmp.Or(m.Joints, m.States))
}

// hold looks for fingers that closed and rest for a second on something, whose width is then
// taken for what they were told.
type hold struct {
	widest, last float64 // m, so far
	rest         int     // ticks
	width        float64 // of the first thing that is held; 0: none
}

func (h *hold) see(grip float64) {
	const still, thin = 0.0005, 0.005 // m
	if math.Abs(grip-h.last) > still {
		h.rest = 0
	}
	h.rest++
	h.widest, h.last = max(h.widest, grip), grip
	if h.width == 0 && h.rest > restTicks && grip > thin && grip < h.widest-thin {
		h.width = grip
	}
}
