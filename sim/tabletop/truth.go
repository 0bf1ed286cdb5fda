package tabletop

import (
	"slices"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

// Truth tells how the episode truly stands. Only simulated people, evaluation
// and tests may ask.
//
// Bodies are the task's objects in a fixed order: box1, box2 (then box3 to box6,
// disliked), ball and decoy, cube1 and cube2, almond1 to almond10, spatula and plate,
// thing, cloth and two battens, or cup and coaster, bag and zone, fork and bowl; then distractors, if there are some. What follows
// is of Reach, Group and Clutter; the other tasks' files say it of theirs.
//
// Distance, m, is what the simulated person of RAPL judges by (author code: the
// larger of the boxes' distances to the line; 0 beyond it), plus the gap
// between the two boxes, since Group asks to move them together: 0 when both
// have crossed the line touching. In Clutter each disliked box nearer than Keep
// to the line adds Near and what it is too near by, so that nobody calls such
// an end good. In Reach it is the distance of the fingers from the ball.
//
// Reward is RAPL's (author code) in the last step:
//
//	−3 max distance to the line − 3 |box1 − box2| − 0.5 (|left − box1| + |right − box1|)
//	− 0.01 |a|² − 0.5 [a box is lifted by over 5 mm] − 5 [the hand touches something]
//
// with a the command in units of 1.25 cm, left and right the finger pads and
// the hand without its fingers; Clutter adds −5 for each disliked box at the
// line; Reach is −3 distance − 0.01 |a|².
//
// Success: in Group both boxes are within Near of the line or beyond it; in
// Clutter, besides, no disliked box is within Keep of it or beyond; in Reach the
// fingers are within Touch of the ball.
func (w *World) Truth() sim.Truth {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.truth
	t.Bodies = slices.Clone(t.Bodies)
	return t
}

// look brings the truth up to date after command a.
func (w *World) look(a robot.Command) {
	t := sim.Truth{Stamp: w.stamp(), Bodies: w.truth.Bodies[:0]}
	for i, o := range w.layout.objects {
		b := sim.Body{Name: o.Name, Disliked: o.Disliked}
		copy(b.Pose.P[:], w.data.XPos(w.id.objects[i].body))
		copy(b.Pose.Q[:], w.data.XQuat(w.id.objects[i].body))
		t.Bodies = append(t.Bodies, b)
	}
	var effort float64
	for _, v := range a.Delta {
		v /= Stride
		effort += v * v
	}
	t.Reward = -0.01 * effort
	w.job.judge(w, &t)
	w.truth = t
}

func judgeReach(w *World, t *sim.Truth) {
	ee := w.pads()
	t.Distance = (dist(ee[0], t.Bodies[0].Pose.P) + dist(ee[1], t.Bodies[0].Pose.P)) / 2
	t.Success = t.Distance <= Touch
	t.Reward -= 3 * t.Distance
}

// Stride is what RAPL's reward counts as an action of 1, m: the fingers' way in
// a period at 0.25 m/s.
const Stride = 0.0125

// judgeBoxes rates Group and Clutter.
func judgeBoxes(w *World, t *sim.Truth) {
	p1, p2 := t.Bodies[0].Pose.P, t.Bodies[1].Pose.P
	far := max(0, Line-p1[0], Line-p2[0])
	apart := dist(p1, p2)
	t.Distance = far + max(0, apart-Side)
	t.Success = far <= Near
	t.Reward -= 3*far + 3*apart
	for _, p := range w.pads() {
		t.Reward -= 0.5 * dist(p, p1)
	}
	if max(p1[2], p2[2])-Side/2 > 0.005 {
		t.Reward -= 0.5
	}
	if w.bumped() {
		t.Reward -= 5
	}
	for _, b := range t.Bodies {
		if near := b.Pose.P[0] - (Line - Keep); b.Disliked && near > 0 {
			t.Distance += Near + near
			t.Reward -= 5
			t.Success = false
		}
	}
}

// pads are the positions of the finger pads, m.
func (w *World) pads() (p [2][3]float64) {
	for i, g := range w.id.pad {
		copy(p[i][:], w.data.GeomXPos(g))
	}
	return p
}

// bumped says whether the hand above the fingers touches anything.
func (w *World) bumped() bool {
	w.contacts = w.data.Contacts(w.contacts[:0])
	for i := range w.contacts {
		g := w.contacts[i].Geom
		if int(g[0]) == w.id.palm || int(g[1]) == w.id.palm {
			return true
		}
	}
	return false
}
