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

// solid is one thing to draw, world frame.
type solid struct {
	shape    shape
	size     vec
	pos      vec
	frame    frame
	rgb      vec
	alpha    float64
	emission float64
}

// cast returns the depth at which the ray o + t·d, in s's own frame, enters s
// beyond near, or +Inf.
//
//go:norace
func (s *solid) cast(o, d vec, near float64) float64 {
	switch s.shape {
	case plane:
		return s.castPlane(o, d, near)
	case ellipsoid:
		inv := vec{1 / s.size.x, 1 / s.size.y, 1 / s.size.z}
		return sphere(o.times(inv), d.times(inv), 1, near)
	case box:
		return s.castBox(o, d, near)
	case cylinder:
		t := s.castSide(o, d, near)
		// The cap that faces the ray.
		end := (math.Copysign(s.size.z, -d.z) - o.z) / d.z
		if end > near && end < t && along(o, d, end).flat2() <= s.size.x*s.size.x {
			return end
		}
		return t
	case capsule:
		h := s.size.z
		ends := min(sphere(vec{o.x, o.y, o.z - h}, d, s.size.x, near), sphere(vec{o.x, o.y, o.z + h}, d, s.size.x, near))
		return min(ends, s.castSide(o, d, near))
	}
	panic("mujoco: unknown shape")
}

//go:norace
func (s *solid) castPlane(o, d vec, near float64) float64 {
	if o.z <= 0 || d.z >= 0 { // seen from below: not drawn
		return math.Inf(1)
	}
	t := -o.z / d.z
	if t <= near ||
		s.size.x > 0 && math.Abs(o.x+t*d.x) > s.size.x ||
		s.size.y > 0 && math.Abs(o.y+t*d.y) > s.size.y {
		return math.Inf(1)
	}
	return t
}

//go:norace
func (s *solid) castBox(o, d vec, near float64) float64 {
	in, out := slab(o.x, d.x, s.size.x, math.Inf(-1), math.Inf(1))
	in, out = slab(o.y, d.y, s.size.y, in, out)
	in, out = slab(o.z, d.z, s.size.z, in, out)
	if in > out || in <= near {
		return math.Inf(1)
	}
	return in
}

// slab cuts [in,out] down to where |o + t·d| <= half.
//
//go:norace
func slab(o, d, half, in, out float64) (float64, float64) {
	if d == 0 {
		if math.Abs(o) > half {
			return math.Inf(1), math.Inf(-1)
		}
		return in, out
	}
	mid, width := -o/d, math.Abs(half/d)
	return max(in, mid-width), min(out, mid+width)
}

// castSide is where the ray enters the mantle of a cylinder.
//
//go:norace
func (s *solid) castSide(o, d vec, near float64) float64 {
	a, b, c := d.flat2(), o.dotFlat(d), o.flat2()-s.size.x*s.size.x
	disc := b*b - a*c
	if disc < 0 || a == 0 {
		return math.Inf(1)
	}
	t := (-b - math.Sqrt(disc)) / a
	if t <= near || math.Abs(o.z+t*d.z) > s.size.z {
		return math.Inf(1)
	}
	return t
}

//go:norace
func sphere(o, d vec, r, near float64) float64 {
	a, b, c := d.dot(d), o.dot(d), o.dot(o)-r*r
	disc := b*b - a*c
	if disc < 0 {
		return math.Inf(1)
	}
	if t := (-b - math.Sqrt(disc)) / a; t > near {
		return t
	}
	return math.Inf(1)
}

// normal returns the outward unit normal at p, a point of s's surface, both in
// s's own frame.
//
//go:norace
func (s *solid) normal(p vec) vec {
	switch s.shape {
	case plane:
		return vec{z: 1}
	case ellipsoid:
		return vec{p.x / (s.size.x * s.size.x), p.y / (s.size.y * s.size.y), p.z / (s.size.z * s.size.z)}.unit()
	case capsule:
		p.z -= min(max(p.z, -s.size.z), s.size.z)
		return p.unit()
	case cylinder:
		if s.size.z-math.Abs(p.z) < s.size.x-math.Sqrt(p.flat2()) { // nearer to the cap
			return vec{z: math.Copysign(1, p.z)}
		}
		return vec{x: p.x, y: p.y}.unit()
	case box:
		x, y, z := math.Abs(p.x)/s.size.x, math.Abs(p.y)/s.size.y, math.Abs(p.z)/s.size.z
		switch {
		case x >= y && x >= z:
			return vec{x: math.Copysign(1, p.x)}
		case y >= z:
			return vec{y: math.Copysign(1, p.y)}
		}
		return vec{z: math.Copysign(1, p.z)}
	}
	panic("mujoco: unknown shape")
}
