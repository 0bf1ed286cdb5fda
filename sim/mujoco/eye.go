package mujoco

import "math"

// eye is a camera. Pixel (i,j) looks along corner + (i+½)·dx + (j+½)·dy, whose
// component along the optical axis is 1: a ray's parameter is the depth.
type eye struct {
	pos, corner, dx, dy vec
	frame               frame   // right, up, backward
	slope               float64 // pixels per unit of slope
	w, h                int
	near, far           float64 // m
}

// newEye takes fovy, the vertical field of view, in degrees.
func newEye(pos vec, f frame, fovy float64, w, h int, near, far float64) eye {
	pixel := 2 * math.Tan(fovy*math.Pi/360) / float64(h)
	e := eye{pos: pos, frame: f, slope: 1 / pixel, w: w, h: h, near: near, far: far}
	e.dx, e.dy = f.x.by(pixel), f.y.by(-pixel)
	e.corner = along(along(f.z.by(-1), e.dx, -float64(w)/2), e.dy, -float64(h)/2)
	return e
}

// ray is the direction in which pixel (x,y) looks.
func (e *eye) ray(x, y int) vec {
	return along(along(e.corner, e.dy, float64(y)+0.5), e.dx, float64(x)+0.5)
}

// bounds returns the pixels [x0,x1)×[y0,y1) that s may cover: those of the
// corners of its bounding box, or all if the box reaches behind the eye.
func (e *eye) bounds(s *solid) (x0, y0, x1, y1 int) {
	half := s.size
	switch s.shape {
	case capsule:
		half.z += half.x
	case plane:
		if half.x <= 0 || half.y <= 0 {
			return 0, 0, e.w, e.h
		}
		half.z = 0
	}
	left, top, right, bottom := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	behind := 0
	center := e.frame.in(s.pos.minus(e.pos))
	ax, ay, az := e.frame.in(s.frame.x.by(half.x)), e.frame.in(s.frame.y.by(half.y)), e.frame.in(s.frame.z.by(half.z))
	for c := range 8 {
		p := along(along(along(center, ax, float64(c&1)*2-1), ay, float64(c>>1&1)*2-1), az, float64(c>>2)*2-1)
		depth := -p.z
		if depth < e.near {
			behind++
			continue
		}
		x, y := p.x/depth*e.slope, -p.y/depth*e.slope
		left, right = min(left, x), max(right, x)
		top, bottom = min(top, y), max(bottom, y)
	}
	switch behind {
	case 0:
		cx, cy := float64(e.w)/2, float64(e.h)/2
		return clamp(left+cx, e.w), clamp(top+cy, e.h), clamp(right+cx+1, e.w), clamp(bottom+cy+1, e.h)
	case 8:
		return 0, 0, 0, 0
	}
	return 0, 0, e.w, e.h
}

func clamp(x float64, n int) int { return int(min(max(x, 0), float64(n))) }
