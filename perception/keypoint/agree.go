package keypoint

import "math"

// agree lets the points of a thing help each other: they move nearly as a plane does
// under an affine camera, so that one whose way is another than the rest's has slipped,
// and the rest tell where to look for one that is lost.
func (t *Tracker) agree(e *sight) error {
	for k := 0; k < len(e.mine); {
		// Points of a thing come one after the other or they do not help.
		n := k + 1
		for n < len(e.mine) && t.points[e.mine[n]].group == t.points[e.mine[k]].group {
			n++
		}
		if err := t.agreeGroup(e, e.mine[k:n]); err != nil {
			return err
		}
		k = n
	}
	return nil
}

func (t *Tracker) agreeGroup(e *sight, group []int) error {
	if len(group) < 3 {
		return nil
	}
	tol := max(1.5, float64(e.side)/12)
	good := e.good[:0]
	for _, i := range group {
		if t.points[i].lost == 0 {
			good = append(good, i)
		}
	}
	var m motion
	for {
		if len(good) < 2 || 2*len(good) < len(group) && len(good) < 3 {
			return nil
		}
		m = t.fit(good)
		worst, at := 0.0, -1
		for k, i := range good {
			if d := m.off(&t.points[i]); d > worst {
				worst, at = d, k
			}
		}
		if worst <= tol || len(good) == 2 {
			break
		}
		good = append(good[:at], good[at+1:]...)
	}
	e.good = good[:0]
	for _, i := range group {
		p := &t.points[i]
		at := m.of(p.start)
		if p.lost == 0 && m.off(p) <= tol {
			continue
		}
		if !e.inside(at) {
			p.lost = max(1, p.lost)
			continue
		}
		score, near, err := p.looks(e, at)
		if err != nil {
			return err
		}
		if score < t.cfg.Keep {
			if p.lost == 0 {
				p.lose()
			}
			p.guess = at
			continue
		}
		p.speed = [2]float32{}
		if err := t.settle(e, i, at, 0.8*score, near); err != nil {
			return err
		}
	}
	return nil
}

// motion is x' = A x + b, in pixels.
type motion struct{ a, b, c, d, x, y float64 }

func (m *motion) of(p [2]float32) [2]float32 {
	x, y := float64(p[0]), float64(p[1])
	return [2]float32{float32(m.a*x + m.b*y + m.x), float32(m.c*x + m.d*y + m.y)}
}

func (m *motion) off(p *point) float64 {
	q := m.of(p.start)
	return math.Hypot(float64(q[0]-p.at[0]), float64(q[1]-p.at[1]))
}

// fit is the motion of points since Begin by least squares: affine for four and more
// that span a plane, else a similarity.
func (t *Tracker) fit(points []int) motion {
	var cx, cy, dx, dy float64
	n := float64(len(points))
	for _, i := range points {
		p := &t.points[i]
		cx, cy = cx+float64(p.start[0])/n, cy+float64(p.start[1])/n
		dx, dy = dx+float64(p.at[0])/n, dy+float64(p.at[1])/n
	}
	var xx, xy, yy, ux, uy, vx, vy float64
	for _, i := range points {
		p := &t.points[i]
		x, y := float64(p.start[0])-cx, float64(p.start[1])-cy
		u, v := float64(p.at[0])-dx, float64(p.at[1])-dy
		xx, xy, yy = xx+x*x, xy+x*y, yy+y*y
		ux, uy, vx, vy = ux+u*x, uy+u*y, vx+v*x, vy+v*y
	}
	m := motion{a: 1, d: 1}
	det := xx*yy - xy*xy
	switch {
	case len(points) >= 4 && det > 0.02*(xx+yy)*(xx+yy):
		m.a, m.b = (ux*yy-uy*xy)/det, (uy*xx-ux*xy)/det
		m.c, m.d = (vx*yy-vy*xy)/det, (vy*xx-vx*xy)/det
	case xx+yy > 0:
		s, r := (ux+vy)/(xx+yy), (vx-uy)/(xx+yy)
		m.a, m.b, m.c, m.d = s, -r, r, s
	}
	m.x, m.y = dx-m.a*cx-m.b*cy, dy-m.c*cx-m.d*cy
	return m
}
