package tabletop

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

// Cover is KAGI's covering: a cloth is pulled over a box by a tab in the middle of
// its hem. Back: it is pulled off again, by the tab of the opposite hem.
//
// The cloth is a sheet of beads, 7 by 7, which springs hold at their distance
// (MuJoCo 2.2.2's composite). Two of its hems are tied to a batten with a tab, as a
// roller blind's is. Fingers hold the tab by contact and friction, as they hold a
// box: no constraint appears when they close, so that a policy must learn to grasp,
// and a state is restored from positions, velocities and warm start alone. (Fingers
// that pinched bare beads bunched them, and covered the box in 2 of 20 episodes.)

const (
	clothN    = 7     // beads along an edge
	clothGap  = 0.025 // between beads, m
	bead      = 0.0115
	lidHalf   = 0.025 // of what is to be covered, m
	lidHeight = 0.03
	enfold    = 0.8  // of the lid's top for success
	tab       = 0.02 // of the tab's middle from its batten, m
	battenOff = 0.01 // of a batten from the beads of its hem, m
)

func layoutCover() *layout {
	l := &layout{
		objects: []object{
			{Name: "thing", Still: true, Geoms: fmt.Sprintf(`      <geom name="thing" type="box" size="%g %g %g" contype="1" conaffinity="3" rgba="%s"/>`, lidHalf, lidHalf, lidHeight/2, red)},
			{Name: "cloth", Root: "cB3_3", Damping: 1e-4, Geoms: fmt.Sprintf(`      <composite type="cloth" prefix="c" count="%d %d 1" spacing="%g" flatinertia="0.002">
        <joint kind="main" damping="0.0002" armature="0.000002"/>
        <geom type="sphere" size="%g" mass="0.001" contype="1" conaffinity="2" friction="0.6 0.005 0.0001" rgba="%s"/>
      </composite>`, clothN, clothN, clothGap, bead, blue)},
			batten(1), batten(-1),
		},
		start: down(0.44, 0.12),
		grip:  1,
		size:  buffers{300, 1500, 1000000},
		place: func(r *rand.Rand, p []robot.Pose) {
			p[0].P = [3]float64{0.57 + uniform(r, 0.01), uniform(r, 0.02), lidHeight / 2}
			p[1].P = [3]float64{0.40 + uniform(r, 0.01), p[0].P[1] + uniform(r, 0.01), bead}
			p[2].P = add(p[1].P, [3]float64{clothHalf + battenOff, 0, 0})
			p[3].P = add(p[1].P, [3]float64{-clothHalf - battenOff, 0, 0})
		},
	}
	for i := range clothN * clothN {
		l.beads = append(l.beads, fmt.Sprintf("cB%d_%d", i/clothN, i%clothN))
	}
	for j := range clothN {
		for k, name := range []string{"batten1", "batten2"} {
			row, x := clothN-1, -battenOff
			if k == 1 {
				row, x = 0, battenOff
			}
			l.equality += fmt.Sprintf(`    <connect body1="%s" body2="cB%d_%d" anchor="%g %g 0" solref="0.01 1"/>`+"\n", name, row, j, x, float64(j-clothN/2)*clothGap)
		}
	}
	return l
}

// batten is that of the hem which points away from the arm (1), or to it (-1).
func batten(side float64) object {
	name := "batten1"
	if side < 0 {
		name = "batten2"
	}
	return object{Name: name, At: triple([3]float64{side * (clothHalf + battenOff), 0, 0}), Geoms: fmt.Sprintf(
		`      <geom name="%s" type="box" size="0.003 0.08 0.005" mass="0.006" contype="1" conaffinity="2" rgba="0.95 0.95 0.96 1"/>
      <geom type="box" size="0.013 0.011 0.010" pos="%g 0 0" mass="0.006" contype="1" conaffinity="2" rgba="%s"/>`, name, side*(tab-0.003), yellow)}
}

// tabAt is where the tab is by which the cloth is pulled.
func (w *World) tabAt(way Direction) [3]float64 {
	if way == Backward {
		return ahead(w.truth.Bodies[3].Pose, -tab)
	}
	return ahead(w.truth.Bodies[2].Pose, tab)
}

// bead is where the i-th bead is; beads count along y first.
func (w *World) bead(i int) (p [3]float64) {
	copy(p[:], w.data.XPos(w.id.beads[i]))
	return p
}

// covered is the share of the lid's top, of 7 by 7 points, that has cloth above it,
// and the mean distance of the points from the cloth, seen from above, m.
func (w *World) covered(lid [3]float64) (share, far float64) {
	var beads [clothN * clothN][3]float64
	for i := range beads {
		beads[i] = w.bead(i)
	}
	const n = 7
	on := 0
	for k := range n * n {
		at := [2]float64{
			lid[0] + lidHalf*(2*float64(k/n)/(n-1)-1),
			lid[1] + lidHalf*(2*float64(k%n)/(n-1)-1),
		}
		if under(at, lidHeight, &beads) {
			on++
			continue
		}
		near := math.Inf(1)
		for _, b := range beads {
			near = min(near, gap(at, [2]float64{b[0], b[1]}))
		}
		far += near / (n * n)
	}
	return float64(on) / (n * n), far
}

// under says whether some of the cloth's triangles is above a point, all of it at z
// at least.
func under(at [2]float64, z float64, b *[clothN * clothN][3]float64) bool {
	for i := range clothN - 1 {
		for j := range clothN - 1 {
			k := i*clothN + j
			for _, t := range [2][3]int{{k, k + 1, k + clothN}, {k + 1, k + clothN, k + clothN + 1}} {
				p, q, r := b[t[0]], b[t[1]], b[t[2]]
				if max(p[2], q[2], r[2]) >= z && inside(at, p, q, r) {
					return true
				}
			}
		}
	}
	return false
}

// inside says whether a point is in a triangle, seen from above.
func inside(at [2]float64, p, q, r [3]float64) bool {
	side := func(a, b [3]float64) float64 {
		return (b[0]-a[0])*(at[1]-a[1]) - (b[1]-a[1])*(at[0]-a[0])
	}
	x, y, z := side(p, q), side(q, r), side(r, p)
	return x >= 0 && y >= 0 && z >= 0 || x <= 0 && y <= 0 && z <= 0
}

// judgeCover: the distance is the mean one of the lid's top from the cloth, seen
// from above, plus Near for the share that is bare. Success: a share of enfold is
// covered. Back, it is that of the cloth's middle from where it lay, plus Near for
// the share that is covered; success: within 6 cm, and nothing is covered. The
// reward is
//
//	−3 distance − 0.5 (|left − tab| + |right − tab|) − 0.01 |a|² + 1 [success]
//
// with tab the one by which the cloth is to be pulled.
func judgeCover(w *World, t *sim.Truth) {
	w.truth.Bodies = t.Bodies
	share, far := w.covered(t.Bodies[0].Pose.P)
	if w.way == Backward {
		c, home := t.Bodies[1].Pose.P, w.places[1].P
		far = gap([2]float64{c[0], c[1]}, [2]float64{home[0], home[1]})
		t.Success = share == 0 && far <= 0.06
		t.Distance = far + Near*share
	} else {
		t.Success = share >= enfold
		t.Distance = far + Near*(1-share)
	}
	t.Reward -= 3 * t.Distance
	if t.Success {
		t.Reward++
		return
	}
	for _, p := range w.pads() {
		t.Reward -= 0.5 * dist(p, w.tabAt(w.way))
	}
}

// pulled is where the tab goes: past the box's middle by half a cloth, and some for
// what lags and slides back, or to where it lay.
func (w *World) pulled() [3]float64 {
	if home := w.places[1].P; w.way == Backward {
		return [3]float64{home[0] - clothHalf - battenOff - tab, home[1], 0.03}
	}
	lid := w.truth.Bodies[0].Pose.P
	return [3]float64{lid[0] + clothHalf + battenOff + tab + 0.01, lid[1], 0.03}
}

// actCover takes the hem and pulls, in the bad style hardly half the way.
func actCover(d *Demonstrator) robot.Command {
	return d.tour(func() []leg {
		w := d.w
		forth := w.way == Forward
		at := w.tabAt(w.way)
		to := w.pulled()
		grip := [3]float64{at[0], at[1] + d.aside, at[2] + 0.006}
		lift := 0.085
		if !forth {
			lift = 0.05
		}
		if d.style == Bad {
			share := 0.25 + 0.2*d.rng.Float64()
			to[0] = at[0] + share*(to[0]-at[0])
		}
		stay := func() [3]float64 { return w.target.P }
		return []leg{
			{at: fixed([3]float64{grip[0], grip[1], 0.09}), grip: 1, wait: 1},
			{at: fixed(grip), grip: 1, wait: 1},
			{at: stay, wait: squeeze},
			{at: fixed([3]float64{grip[0], grip[1], lift})},
			{at: fixed([3]float64{to[0], to[1], lift}), wait: 1},
			{at: fixed(to), wait: 2},
			{at: stay, grip: 1, wait: unhand},
			{at: fixed([3]float64{to[0], to[1], 0.11}), grip: 1},
		}
	})
}

// clothHalf is half an edge of the cloth, m.
const clothHalf = clothGap * (clothN - 1) / 2
