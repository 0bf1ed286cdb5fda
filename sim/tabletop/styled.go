package tabletop

import (
	"math/rand/v2"
	"strings"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

// Cup, Chips and Fork are the tasks of RAPL's second paper (Tian et al. 2024), in
// which what people care about is not whether a thing is brought to its place but
// how: where it is taken. Good demonstrators take it as people like, Bad ones do
// not, and both bring it.

// Styled says whether people care how the task is done; the truth then tells
// Preferred, Undesired and Grasp.
func (t Task) Styled() bool {
	j := jobOf(t)
	return j != nil && j.style != nil
}

// part is a piece of an object that one may take: the geoms whose names begin so.
type part struct {
	name string
	bad  bool // to take it by this is undesired
}

// partOf is the index of the part that a geom belongs to, or -1.
func partOf(parts []part, geom string) int {
	for i, p := range parts {
		if strings.HasPrefix(geom, p.name) {
			return i
		}
	}
	return -1
}

// past is what has happened since the episode's beginning.
type past struct {
	grasp     string // part by which the thing was lifted last
	undesired bool
	lifted    bool
}

const (
	// lift is how high a thing has to be over where it lay to count as lifted, m.
	lift = 0.01
	// Dislike is what the distance of an undesired end is beyond that of a preferred
	// one, m: to simulated people the one is positive, the other negative.
	Dislike = 0.16
	// within is how near to the goal the thing counts as there, m, seen from above.
	within = 0.04
)

// touch is what the fingers press on, N: per part, and by each of them.
type touch struct {
	part   [4]float64
	finger [2]bool // whether this one touches the thing
}

// any says whether anything is touched.
func (c touch) any() bool { return c.finger[0] || c.finger[1] }

// touched reads the contacts of the last physics step.
func (w *World) touched() (c touch) {
	w.contacts = w.data.Contacts(w.contacts[:0])
	for i := range w.contacts {
		g := w.contacts[i].Geom
		for k := range 2 {
			hand, thing := int(g[k]), w.id.part[g[1-k]]
			if !w.id.hand[hand] || thing < 0 {
				continue
			}
			c.part[thing] += w.contacts[i].NormalForce
			for f, pad := range w.id.pad {
				if w.id.body[pad] == w.id.body[hand] {
					c.finger[f] = true
				}
			}
		}
	}
	return c
}

// judgeStyled rates Cup, Chips and Fork: the thing is Bodies[0], its goal Bodies[1].
//
// Success: the thing is within 4 cm of the goal's middle seen from above, at rest on
// it and upright (Cup), and no finger touches it. Preferred: besides, it was lifted by
// the part that people like, and nothing undesired happened.
//
// Distance ranks what people see, so that their comparisons mean the style: 0 if
// Preferred; Dislike (0.16 m) for any other success; without success twice Dislike
// plus the distance to the goal, and Dislike more if something undesired happened.
//
// Reward is −3 Distance − 0.5 (|left − thing| + |right − thing|) − 0.01 |a|², left
// and right the finger pads, whose term ends with success.
func judgeStyled(w *World, t *sim.Truth) {
	c := w.touched()
	at, to := t.Bodies[0].Pose, t.Bodies[1].Pose.P
	if at.P[2] > w.places[0].P[2]+lift && c.finger[0] && c.finger[1] {
		w.past.lifted = true
		best := 0
		for i := range w.layout.parts {
			if c.part[i] > c.part[best] {
				best = i
			}
		}
		w.past.grasp = w.layout.parts[best].name
		w.past.undesired = w.past.undesired || w.layout.parts[best].bad
	}
	level := gap([2]float64{at.P[0], at.P[1]}, [2]float64{to[0], to[1]})
	t.Success = level <= within && !c.any() && w.rests(at)
	w.job.style(w, t)
	w.weigh(t, level)
	if !t.Success {
		for _, p := range w.pads() {
			t.Reward -= 0.5 * dist(p, at.P)
		}
	}
}

// rests says whether the thing lies or stands as high as it may at its goal.
func (w *World) rests(at robot.Pose) bool {
	high := at.P[2] - w.places[0].P[2]
	if w.cfg.Task == Fork {
		return high < bowlRim+0.01 // it may lean on the rim
	}
	up := 1 - 2*(at.Q[1]*at.Q[1]+at.Q[2]*at.Q[2]) // cosine of its tilt
	return high < 0.008 && up > 0.9
}

// weigh sets what follows from success and past: style, distance, reward. level is
// how far the thing is from its goal seen from above, m.
func (w *World) weigh(t *sim.Truth, level float64) {
	t.Grasp, t.Undesired = w.past.grasp, w.past.undesired
	t.Preferred = t.Success && !t.Undesired && w.past.grasp == w.layout.parts[0].name
	switch {
	case t.Preferred:
		t.Distance = 0
	case t.Success:
		t.Distance = Dislike
	default:
		t.Distance = 2*Dislike + level
		if t.Undesired {
			t.Distance += Dislike
		}
	}
	t.Reward -= 3 * t.Distance
}

// bring takes the thing at the offset grasp from its origin and sets it down at
// its goal, high over the place where it would rest.
func (d *Demonstrator) bring(grasp [3]float64, high float64) robot.Command {
	return d.tour(func() []leg {
		w := d.w
		take := func() [3]float64 { return add(w.truth.Bodies[0].Pose.P, grasp) }
		to := func() [3]float64 {
			p := w.truth.Bodies[1].Pose.P
			return add([3]float64{p[0], p[1], w.places[0].P[2] + high}, grasp)
		}
		return d.pickPlace(take, to, carry)
	})
}

// placeStyled: the thing on the right, ± 2 cm, and the flat place where it belongs on the left.
func placeStyled(r *rand.Rand, p []robot.Pose) {
	p[0].P = [3]float64{0.47 + uniform(r, 0.02), -0.08 + uniform(r, 0.02), 0}
	p[1].P = [3]float64{0.47, 0.10, 0.0006}
}
