package xmagical

import (
	"math"
	"slices"

	"github.com/jakecoffman/cp/v2"

	"github.com/rapport-rl/rapport/sim"
)

// Together is how far apart two squares may be to count as together, m.
const Together = 0.05

// trespass is what an entered zone adds to Distance besides the depth, m: more
// than the 0.15 m from which sim/person calls an end bad.
const trespass = 0.16

// Truth tells how the episode truly stands. Only simulated people, evaluation and
// tests may ask.
//
// Distance, m, is what people judge by. It is how far the squares are from being
// wholly in the goal strip: the mean in Sweep, the farthest in Group. In Group the
// gap between the squares comes on top of it, and in Avoid what the robot was
// deepest in the zone in this episode, plus 0.16 if it ever was in.
//
// Reward, of the last period: in Sweep the original's dense reward, the mean of
// y − 1 over the squares, 0 for those beyond y = 0.88; its sparse one is Score. In
// Avoid and Group −far − 0.25 |robot − square behind which it has to be|, minus 2
// for each period in the zone, or minus the gap between the squares.
//
// Success: all squares are wholly in the strip; in Avoid the zone was never
// entered, and in Group the squares are within Together of each other.
func (w *World) Truth() sim.Truth {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.truth
	t.Bodies = slices.Clone(t.Bodies)
	return t
}

// Score is the original's: the share of squares that are wholly in the goal strip.
func (w *World) Score() float64 {
	in := 0
	for _, s := range w.arena.squares {
		if w.within(s) {
			in++
		}
	}
	return float64(in) / float64(len(w.arena.squares))
}

// within tells whether a square's bounding box is in the strip.
func (w *World) within(s square) bool {
	b := s.shape.BB()
	return b.B >= w.scene.bottom && b.T <= topEdge && b.L >= -wide/2 && b.R <= wide/2
}

// lacks is how far the lower end of a square is from the strip, m.
func (w *World) lacks(s square) float64 { return max(0, w.scene.bottom-s.shape.BB().B) }

// look brings the truth up to date.
func (w *World) look() {
	t := sim.Truth{Stamp: w.stamp(), Bodies: w.truth.Bodies[:0]}
	var far, sum, dense float64
	all := true
	for i, s := range w.arena.squares {
		t.Bodies = append(t.Bodies, sim.Body{Name: squareNames[i], Pose: pose(placeOf(s.body))})
		l := w.lacks(s)
		far, sum = max(far, l), sum+l
		if y := s.body.Position().Y; y <= 0.88 {
			dense -= math.Abs(1 - y)
		}
		all = all && w.within(s)
	}
	n := float64(len(w.arena.squares))
	switch w.cfg.Task {
	case Sweep:
		t.Distance, t.Reward, t.Success = sum/n, dense/n, all
	case Avoid:
		in := w.trespassing()
		w.deep = max(w.deep, in)
		t.Distance, t.Reward = far+w.deep, -far-0.25*w.behind(0)
		if in > 0 {
			t.Reward -= 2
		}
		if w.deep > 0 {
			t.Distance += trespass
		}
		t.Success = all && w.deep == 0
	case Group:
		gap := w.gap()
		t.Distance, t.Reward = far+gap, -far-gap-0.25*w.behind(0)
		t.Success = all && gap <= Together
	}
	w.truth = t
}

// squareNames are those of Truth's bodies.
var squareNames = []string{"square1", "square2", "square3"}

// behind is how far the robot's middle is from where it would push the i-th square
// up, m.
func (w *World) behind(i int) float64 {
	return w.arena.body.Position().Distance(w.arena.squares[i].body.Position().Add(cp.Vector{Y: -w.clearance()}))
}

// clearance is how far a square's middle is from the robot's that pushes it, m.
func (w *World) clearance() float64 {
	if w.cfg.Embodiment == Gripper {
		return Side/2 + radius
	}
	return Side/2 + radius/4
}

// gap is how far apart the first two squares are, m: what their middles' distance
// has over their edge.
func (w *World) gap() float64 {
	s := w.arena.squares
	return max(0, s[0].body.Position().Distance(s[1].body.Position())-Side)
}

// trespassing is how deep the robot is in the zone, m: how far it would have to be
// moved, along an edge of the zone or of itself, to be out.
func (w *World) trespassing() float64 {
	z := w.scene.off
	if z == (zone{}) {
		return 0
	}
	box := [4]cp.Vector{{X: z.L, Y: z.B}, {X: z.R, Y: z.B}, {X: z.R, Y: z.T}, {X: z.L, Y: z.T}}
	deep := 0.0
	if w.cfg.Embodiment == Gripper {
		p := w.arena.body.Position()
		near := cp.Vector{X: min(max(p.X, z.L), z.R), Y: min(max(p.Y, z.B), z.T)}
		if near == p { // the middle is in the zone
			deep = radius + min(p.X-z.L, z.R-p.X, p.Y-z.B, z.T-p.Y)
		} else {
			deep = max(0, radius-p.Distance(near))
		}
		for _, f := range w.arena.fingers {
			for _, part := range f.parts {
				deep = max(deep, overlap(box, corners(f.body, part)))
			}
		}
		return deep
	}
	poly := w.arena.shape.Class.(*cp.PolyShape)
	var c [4]cp.Vector
	for i := range c {
		c[i] = w.arena.body.LocalToWorld(poly.Vert(i))
	}
	return overlap(box, c)
}

func corners(b *cp.Body, local []cp.Vector) (c [4]cp.Vector) {
	for i := range c {
		c[i] = b.LocalToWorld(local[i])
	}
	return c
}

// overlap is how deep two convex quadrangles are in each other: the least overlap
// of their shadows along the normals of their edges, 0 if they are apart.
func overlap(a, b [4]cp.Vector) float64 {
	least := math.Inf(1)
	for _, q := range [2]*[4]cp.Vector{&a, &b} {
		for i := range q {
			n := q[(i+1)%4].Sub(q[i]).Perp().Normalize()
			a0, a1 := shadow(&a, n)
			b0, b1 := shadow(&b, n)
			least = min(least, a1-b0, b1-a0)
		}
	}
	return max(0, least)
}

// shadow is the interval that q covers along n.
func shadow(q *[4]cp.Vector, n cp.Vector) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, v := range q {
		d := v.Dot(n)
		lo, hi = min(lo, d), max(hi, d)
	}
	return lo, hi
}
