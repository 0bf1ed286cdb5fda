package tabletop

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

// Almonds is KAGI's sweeping: ten almonds go into a painted zone, by a rake that is
// screwed to the hand, so that nobody has to hold it. The rake is an H seen from
// above, which sweeps either way. Back: they are brought back before the zone.

const (
	almonds   = 10
	enough    = 8    // of them for success
	zoneX     = 0.61 // middle of the zone, m
	zoneHalfX = 0.06
	zoneHalfY = 0.12
	homeX     = 0.44 // middle of where they lie at first
	homeHalfX = 0.07
	// rake is how high the tool centre point is for the rake to lean on the
	// table (moving hands hang back by some mm), and over for it to pass over almonds.
	rake = 0.029
	over = 0.075
)

// The rake's lower edge is 33 mm below the tool centre point. Its wings are 35 mm
// either way, 12 cm apart.
const rakeXML = `<geom class="touch" type="box" size="0.005 0.06 0.024" pos="0 0 0.1124" rgba="0.20 0.45 0.62 1"/>
                  <geom class="touch" type="box" size="0.019 0.003 0.012" pos="0.019 0.06 0.1244" rgba="0.20 0.45 0.62 1"/>
                  <geom class="touch" type="box" size="0.019 0.003 0.012" pos="0.019 -0.06 0.1244" rgba="0.20 0.45 0.62 1"/>
                  <geom class="touch" type="box" size="0.019 0.003 0.012" pos="-0.019 0.06 0.1244" rgba="0.20 0.45 0.62 1"/>
                  <geom class="touch" type="box" size="0.019 0.003 0.012" pos="-0.019 -0.06 0.1244" rgba="0.20 0.45 0.62 1"/>`

func layoutAlmonds() *layout {
	l := &layout{
		start: down(0.345, over),
		tool:  rakeXML,
		fixed: fmt.Sprintf(`    <geom name="goal" type="box" size="%g %g 0.0005" pos="%g 0 0.0003" rgba="0.30 0.62 0.42 1"/>`, zoneHalfX, zoneHalfY, zoneX),
		size:  buffers{300, 1200, 400000},
		place: placeAlmonds,
	}
	for i := range almonds {
		n := fmt.Sprintf("almond%d", i+1)
		l.objects = append(l.objects, object{Name: n, Damping: 3e-6, Geoms: fmt.Sprintf(
			`      <geom name="%s" type="ellipsoid" size="0.012 0.008 0.0065" mass="0.0015" condim="3" contype="1" conaffinity="3" rgba="0.55 0.27 0.10 1"/>`, n)})
	}
	return l
}

// placeAlmonds strews them over an ellipse of 10 by 5 cm about a middle of the
// episode's, 16 mm apart at least. Where no more fit it begins again.
func placeAlmonds(r *rand.Rand, p []robot.Pose) {
	x, y := homeX+uniform(r, 0.015), uniform(r, 0.05)
	for i, tries := 0, 0; i < almonds; tries++ {
		if tries == 200 {
			i, tries = 0, 0
		}
		u, v := uniform(r, 1), uniform(r, 1)
		if u*u+v*v > 1 {
			continue
		}
		at := [3]float64{x + 0.05*u, y + 0.026*v, 0.0065}
		if slices.ContainsFunc(p[:i], func(q robot.Pose) bool { return dist(q.P, at) < 0.016 }) {
			continue
		}
		p[i].P = at
		p[i].Q = turned(uniform(r, 3.1416))
		i++
	}
}

// judgeAlmonds: the distance is that of the almond from the zone (or, back, from
// where they lay) which has seven nearer ones. Success: eight of ten are there. The
// reward is
//
//	−3 mean distance of the almonds − 0.01 |a|² + [share inside] + 1 [success]
func judgeAlmonds(w *World, t *sim.Truth) {
	far := make([]float64, 0, almonds)
	mean, inside := 0.0, 0
	for _, b := range t.Bodies[:almonds] {
		d := w.fromZone(b.Pose.P)
		if d == 0 {
			inside++
		}
		mean += d / almonds
		far = append(far, d)
	}
	slices.Sort(far)
	t.Distance = far[enough-1]
	t.Success = inside >= enough
	t.Reward += float64(inside)/almonds - 3*mean
	if t.Success {
		t.Reward++
	}
}

// fromZone is how far p is from where almonds belong, m; on the floor, a metre more.
func (w *World) fromZone(p [3]float64) float64 {
	x, halfX := zoneX, zoneHalfX
	if w.way == Backward {
		x, halfX = homeX, homeHalfX
	}
	dx, dy := max(0, p[0]-x-halfX, x-halfX-p[0]), max(0, p[1]-zoneHalfY, -zoneHalfY-p[1])
	d := gap([2]float64{dx, dy}, [2]float64{})
	if p[2] < -0.05 {
		d++
	}
	return d
}

// actAlmonds puts the rake down behind the almonds and sweeps, in the bad style past
// half of them.
func actAlmonds(d *Demonstrator) robot.Command {
	return d.tour(func() []leg {
		near, far, y := d.w.heap()
		off := d.aside
		if d.style == Bad {
			off += 0.06
			if d.rng.IntN(2) == 0 {
				off -= 0.12
			}
		}
		behind, end := near-clearOf, zoneX+0.012
		if d.w.way == Backward {
			behind, end = far+clearOf, homeX
		}
		to := -0.3 * y // towards the middle, for what strays has room on both sides then
		return []leg{
			{at: fixed([3]float64{behind, y + off, over}), wait: 2},
			{at: fixed([3]float64{behind, y + off, rake}), wait: 1},
			{at: fixed([3]float64{end, y + off + to, rake}), wait: 1},
			{at: fixed([3]float64{end, y + off + to, over})},
		}
	})
}

// clearOf is how far the rake is put down from the nearest almond: a wing, half an
// almond, and room.
const clearOf = 0.038 + 0.012 + 0.006

// heap is where the almonds begin and end in x, and their middle in y.
func (w *World) heap() (near, far, y float64) {
	lo, hi := [2]float64{1, 1}, [2]float64{-1, -1}
	for _, b := range w.truth.Bodies[:almonds] {
		p := b.Pose.P
		if p[2] < 0 || gap([2]float64{p[0], p[1]}, [2]float64{0.52, 0}) > 0.22 {
			continue // lost
		}
		for k := range 2 {
			lo[k], hi[k] = min(lo[k], p[k]), max(hi[k], p[k])
		}
	}
	if lo[0] > hi[0] {
		return homeX, homeX, 0
	}
	return lo[0], hi[0], (lo[1] + hi[1]) / 2
}
