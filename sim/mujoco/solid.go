package mujoco

import "math"

// shape is what the rasteriser can draw, with half sizes as MuJoCo has them.
type shape uint8

const (
	plane     shape = iota // half x, half y; not positive: infinite
	ellipsoid              // radii; spheres too
	capsule                // radius, radius, half length of the middle part
	cylinder               // radius, radius, half length
	box                    // half sides
)

type (
	vec  = [3]float64
	mat3 = [9]float64 // row-major
)

// solid is one thing to draw, world frame.
type solid struct {
	shape    shape
	size     vec
	pos      vec
	mat      mat3 // columns are the local axes
	rgba     [4]float64
	emission float64
}

// eye is a camera: its position, and its axes scaled such that pixel (i,j) looks
// along axis + (i+½)·dx + (j+½)·dy. The component of that along the optical
// axis is 1, so a ray's parameter is the depth.
type eye struct {
	pos, axis, dx, dy, right, up vec
	fx, fy                       float64 // pixels per unit of slope
	w, h                         int
	near, far                    float64 // m
}

func newEye(pos vec, mat mat3, fovy float64, w, h int, near, far float64) eye {
	e := eye{pos: pos, w: w, h: h, near: near, far: far}
	pixel := 2 * math.Tan(fovy*math.Pi/360) / float64(h)
	e.fx, e.fy = 1/pixel, 1/pixel
	for i := range 3 {
		e.right[i], e.up[i] = mat[3*i], mat[3*i+1]
		e.dx[i], e.dy[i] = pixel*e.right[i], -pixel*e.up[i]
		e.axis[i] = -mat[3*i+2] - float64(w)/2*e.dx[i] - float64(h)/2*e.dy[i]
	}
	return e
}

// forward is the optical axis.
func (e *eye) forward() vec {
	var f vec
	for i := range f {
		f[i] = e.axis[i] + float64(e.w)/2*e.dx[i] + float64(e.h)/2*e.dy[i]
	}
	return f
}

// bounds returns the pixels [x0,x1)×[y0,y1) that s may cover.
func (e *eye) bounds(s *solid) (x0, y0, x1, y1 int) {
	half := s.size
	switch s.shape {
	case capsule:
		half[2] += half[0]
	case plane:
		if half[0] <= 0 || half[1] <= 0 {
			return 0, 0, e.w, e.h
		}
		half[2] = 0
	}
	f := e.forward()
	lo, hi := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	behind := 0
	for c := range 8 {
		p := sub(s.pos, e.pos)
		for k := range 3 {
			sign := float64(c>>k&1)*2 - 1
			for i := range 3 {
				p[i] += sign * half[k] * s.mat[3*i+k]
			}
		}
		depth := dot(p, f)
		if depth < e.near {
			behind++
			continue
		}
		q := [2]float64{dot(p, e.right) / depth * e.fx, -dot(p, e.up) / depth * e.fy}
		for i := range 2 {
			lo[i], hi[i] = min(lo[i], q[i]), max(hi[i], q[i])
		}
	}
	switch behind {
	case 8:
		return 0, 0, 0, 0
	case 0:
		cx, cy := float64(e.w)/2, float64(e.h)/2
		return pixel(lo[0]+cx, e.w), pixel(lo[1]+cy, e.h), pixel(hi[0]+cx+1, e.w), pixel(hi[1]+cy+1, e.h)
	}
	return 0, 0, e.w, e.h
}

func pixel(x float64, n int) int { return int(math.Floor(min(max(x, 0), float64(n)))) }

// cast returns the depth at which the ray o + t·d, in s's own frame, enters s
// beyond near, or +Inf.
func (s *solid) cast(o, d vec, near float64) float64 {
	switch s.shape {
	case plane:
		return s.castPlane(o, d, near)
	case ellipsoid:
		for i := range 3 {
			o[i] /= s.size[i]
			d[i] /= s.size[i]
		}
		return beyond(sphere(o, d, 1), near)
	case box:
		return s.castBox(o, d, near)
	case cylinder:
		t := beyond(s.side(o, d), near)
		// The cap that faces the ray.
		z := math.Copysign(s.size[2], -d[2])
		cap := (z - o[2]) / d[2]
		x, y := o[0]+cap*d[0], o[1]+cap*d[1]
		if cap > near && cap < t && x*x+y*y <= s.size[0]*s.size[0] {
			return cap
		}
		return t
	case capsule:
		t := beyond(s.side(o, d), near)
		for _, z := range [2]float64{-s.size[2], s.size[2]} {
			t = min(t, beyond(sphere(vec{o[0], o[1], o[2] - z}, d, s.size[0]), near))
		}
		return t
	}
	panic("mujoco: unknown shape")
}

func (s *solid) castPlane(o, d vec, near float64) float64 {
	if o[2] <= 0 || d[2] >= 0 { // seen from below: not drawn
		return math.Inf(1)
	}
	t := beyond(-o[2]/d[2], near)
	for i := range 2 {
		if s.size[i] > 0 && math.Abs(o[i]+t*d[i]) > s.size[i] {
			return math.Inf(1)
		}
	}
	return t
}

func (s *solid) castBox(o, d vec, near float64) float64 {
	in, out := math.Inf(-1), math.Inf(1)
	for i := range 3 {
		if d[i] == 0 {
			if math.Abs(o[i]) > s.size[i] {
				return math.Inf(1)
			}
			continue
		}
		inv := 1 / d[i]
		mid, half := -o[i]*inv, math.Abs(s.size[i]*inv)
		in, out = max(in, mid-half), min(out, mid+half)
	}
	if in > out {
		return math.Inf(1)
	}
	return beyond(in, near)
}

// side is where the ray enters the mantle, +Inf if it does so beyond its ends.
func (s *solid) side(o, d vec) float64 {
	a := d[0]*d[0] + d[1]*d[1]
	b := o[0]*d[0] + o[1]*d[1]
	c := o[0]*o[0] + o[1]*o[1] - s.size[0]*s.size[0]
	disc := b*b - a*c
	if disc < 0 || a == 0 {
		return math.Inf(1)
	}
	t := (-b - math.Sqrt(disc)) / a
	if math.Abs(o[2]+t*d[2]) > s.size[2] {
		return math.Inf(1)
	}
	return t
}

func sphere(o, d vec, r float64) float64 {
	a, b, c := dot(d, d), dot(o, d), dot(o, o)-r*r
	disc := b*b - a*c
	if disc < 0 {
		return math.Inf(1)
	}
	return (-b - math.Sqrt(disc)) / a
}

func beyond(t, near float64) float64 {
	if t > near {
		return t
	}
	return math.Inf(1)
}

// normal returns the outward unit normal at p, a point of s's surface, both in
// s's own frame.
func (s *solid) normal(p vec) vec {
	switch s.shape {
	case plane:
		return vec{2: 1}
	case ellipsoid:
		for i := range 3 {
			p[i] /= s.size[i] * s.size[i]
		}
		return unit(p)
	case capsule:
		p[2] -= min(max(p[2], -s.size[2]), s.size[2])
		return unit(p)
	case cylinder:
		// Whichever surface p is nearer to.
		if s.size[2]-math.Abs(p[2]) < s.size[0]-math.Hypot(p[0], p[1]) {
			return vec{2: math.Copysign(1, p[2])}
		}
		p[2] = 0
		return unit(p)
	case box:
		k := 0
		for i := 1; i < 3; i++ {
			if math.Abs(p[i])*s.size[k] > math.Abs(p[k])*s.size[i] {
				k = i
			}
		}
		var n vec
		n[k] = math.Copysign(1, p[k])
		return n
	}
	panic("mujoco: unknown shape")
}

func sub(a, b vec) vec           { return vec{a[0] - b[0], a[1] - b[1], a[2] - b[2]} }
func dot(a, b vec) float64       { return a[0]*b[0] + a[1]*b[1] + a[2]*b[2] }
func scale(a vec, k float64) vec { return vec{a[0] * k, a[1] * k, a[2] * k} }

func along(o, d vec, t float64) vec { return vec{o[0] + t*d[0], o[1] + t*d[1], o[2] + t*d[2]} }

func unit(a vec) vec {
	n := math.Sqrt(dot(a, a))
	if n == 0 {
		return vec{2: 1}
	}
	return scale(a, 1/n)
}

// turn is m·a, back is mᵀ·a.
func turn(m *mat3, a vec) vec {
	return vec{
		m[0]*a[0] + m[1]*a[1] + m[2]*a[2],
		m[3]*a[0] + m[4]*a[1] + m[5]*a[2],
		m[6]*a[0] + m[7]*a[1] + m[8]*a[2],
	}
}

func back(m *mat3, a vec) vec {
	return vec{
		m[0]*a[0] + m[3]*a[1] + m[6]*a[2],
		m[1]*a[0] + m[4]*a[1] + m[7]*a[2],
		m[2]*a[0] + m[5]*a[1] + m[8]*a[2],
	}
}
