package mujoco

/*
#include "shim.h"
*/
import "C"

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"unsafe"
)

// raster draws without OpenGL: each primitive is cast exactly, pixel by pixel
// inside its bounds, into a depth buffer, and what is seen is lit once. Lights
// are Lambert's; there is no gloss, no shadow, and a texture counts by its mean
// colour. What is drawn, and where, is MuJoCo's own list (mjv_updateScene).
//
// What is done for each pixel is marked go:norace, since the race detector made it seven
// times as slow; paint, which is not, tells it who draws.
type raster struct {
	size  Size
	over  int // samples per pixel and axis
	scene *C.mjvScene
	f     fault

	solids []solid
	clear  []int // solids that are seen through, far to near
	lamps  []lamp
	sky    sky
	means  []vec // mean colour of each texture

	depth []float32 // (over·H, over·W), m
	seen  []int32   // likewise: the solid seen there, -1: sky
	image []byte    // likewise, BGR8; not used if over is 1
}

func newRaster(m *Model, size Size, q Quality) (painter, error) {
	r := &raster{size: size, over: 1}
	if q == Video {
		r.over = 2
	}
	if err := drawable(m); err != nil {
		return nil, err
	}
	r.scene = C.mjx_make_scene(m.c, r.f.c())
	if r.scene == nil {
		return nil, r.f.err("make scene", 0)
	}
	r.textures(m)
	n := size.W * size.H * r.over * r.over
	r.depth, r.seen = make([]float32, n), make([]int32, n)
	if r.over > 1 {
		r.image = make([]byte, 3*n)
	}
	return r, nil
}

// drawable refuses models of more than primitives.
func drawable(m *Model) error {
	kinds, groups := ints(m.c.geom_type, m.c.ngeom), ints(m.c.geom_group, m.c.ngeom)
	for i, k := range kinds {
		if _, ok := shapeOf(k); !ok && groups[i] < 3 {
			return fmt.Errorf("mujoco: raster: geom %d (%q) is a mesh or height field; give it a group above 2, or draw with kind EGL", i, m.GeomName(i))
		}
	}
	if m.c.nskin > 0 {
		return fmt.Errorf("mujoco: raster: the model has a skin; draw with kind EGL")
	}
	return nil
}

func shapeOf(kind C.int) (shape, bool) {
	switch kind {
	case C.mjGEOM_PLANE:
		return plane, true
	case C.mjGEOM_SPHERE, C.mjGEOM_ELLIPSOID:
		return ellipsoid, true
	case C.mjGEOM_CAPSULE:
		return capsule, true
	case C.mjGEOM_CYLINDER:
		return cylinder, true
	case C.mjGEOM_BOX:
		return box, true
	}
	return 0, false
}

// textures takes the mean colours, and the sky.
func (r *raster) textures(m *Model) {
	n := m.c.ntex
	for i := range int(n) {
		w, h := int(ints(m.c.tex_width, n)[i]), int(ints(m.c.tex_height, n)[i])
		rgb := unsafe.Slice((*byte)(m.c.tex_rgb), int(m.c.ntexdata))[ints(m.c.tex_adr, n)[i]:][:3*w*h]
		r.means = append(r.means, mean(rgb))
		if ints(m.c.tex_type, n)[i] != C.mjTEXTURE_SKYBOX || len(r.sky.rows) > 0 {
			continue
		}
		// Six square faces, one below the other (one face for all if h is w): right,
		// left, up, down, front, back. The up face is the third.
		face := func(k int) []byte { return rgb[k%(h/w)*3*w*w:][:3*w*w] }
		r.sky.above, r.sky.low = mean(face(2)), mean(face(3))
		for y := range w {
			r.sky.rows = append(r.sky.rows, mean(face(4)[3*w*y:][:3*w]))
		}
	}
}

func mean(rgb []byte) vec {
	var sum [3]float64
	for i, b := range rgb {
		sum[i%3] += float64(b)
	}
	return vec{sum[0], sum[1], sum[2]}.by(3 / (255 * float64(len(rgb))))
}

func (r *raster) paint(d *Data, cams []int, dst [][]byte) error {
	m := d.m.c
	if C.mjx_update_scene(m, d.c, C.int(cams[0]), r.scene, r.f.c()) != C.MJX_OK {
		return r.f.err("render", d.Time())
	}
	r.collect()
	for i, cam := range cams {
		e := newEye(vecOf(d.CamXPos(cam)), frameOf(d.CamXMat(cam)), d.m.CamFovy()[cam], r.size.W*r.over, r.size.H*r.over,
			float64(m.vis._map.znear)*float64(m.stat.extent), float64(m.vis._map.zfar)*float64(m.stat.extent))
		image := dst[i]
		if r.over > 1 {
			image = r.image
		}
		r.shoot(&e, image)
		if r.over > 1 {
			shrink(dst[i], image, r.size)
		}
	}
	return nil
}

func (r *raster) close() { C.mjx_free_scene(r.scene) }

// collect reads MuJoCo's list of what is to be drawn.
func (r *raster) collect() {
	r.solids, r.lamps = r.solids[:0], r.lamps[:0]
	geoms := unsafe.Slice(r.scene.geoms, int(r.scene.ngeom))
	for i := range geoms {
		g := &geoms[i]
		shape, ok := shapeOf(g._type)
		if !ok || g.rgba[3] == 0 {
			continue
		}
		s := solid{
			shape: shape, size: vecOf(g.size[:]), pos: vecOf(g.pos[:]), frame: frameOf(g.mat[:]),
			rgb: vecOf(g.rgba[:3]), alpha: float64(g.rgba[3]), emission: float64(g.emission),
		}
		if g.texid >= 0 {
			s.rgb = s.rgb.times(r.means[g.texid])
		}
		r.solids = append(r.solids, s)
	}
	for i := range r.scene.nlight {
		l := &r.scene.lights[i]
		r.lamps = append(r.lamps, lamp{
			headlight: l.headlight != 0, directional: l.directional != 0,
			pos: vecOf(l.pos[:]), dir: vecOf(l.dir[:]), attenuation: vecOf(l.attenuation[:]),
			cosCutoff: math.Cos(float64(l.cutoff) * math.Pi / 180), exponent: float64(l.exponent),
			ambient: vecOf(l.ambient[:]), diffuse: vecOf(l.diffuse[:]),
		})
	}
}

func vecOf[F ~float32 | ~float64](x []F) vec {
	return vec{float64(x[0]), float64(x[1]), float64(x[2])}
}

// shoot draws what e sees into image (e.h,e.w,3), BGR8.
//
//go:norace
func (r *raster) shoot(e *eye, image []byte) {
	for i := range r.depth {
		r.depth[i], r.seen[i] = float32(e.far), -1
	}
	r.clear = r.clear[:0]
	for i := range r.solids {
		if r.solids[i].alpha < 1 {
			r.clear = append(r.clear, i)
			continue
		}
		r.each(e, i, func(at int, t float64) {
			r.depth[at], r.seen[at] = float32(t), int32(i)
		})
	}
	forward := e.frame.z.by(-1)
	for y := range e.h {
		for x := range e.w {
			at := y*e.w + x
			d := e.ray(x, y)
			if i := r.seen[at]; i >= 0 {
				put(image[3*at:], r.lit(e, &r.solids[i], d, forward, float64(r.depth[at])), 1)
			} else {
				put(image[3*at:], r.sky.color(d), 1)
			}
		}
	}
	slices.SortStableFunc(r.clear, func(a, b int) int { // far to near
		return cmp.Compare(r.solids[b].pos.minus(e.pos).dot(forward), r.solids[a].pos.minus(e.pos).dot(forward))
	})
	for _, i := range r.clear {
		s := &r.solids[i]
		r.each(e, i, func(at int, t float64) {
			put(image[3*at:], r.lit(e, s, e.ray(at%e.w, at/e.w), forward, t), s.alpha)
		})
	}
}

// each calls f for the pixels at which solid i is nearer than the depth buffer.
//
//go:norace
func (r *raster) each(e *eye, i int, f func(at int, t float64)) {
	s := &r.solids[i]
	x0, y0, x1, y1 := e.bounds(s)
	o := s.frame.in(e.pos.minus(s.pos))
	corner, dx, dy := s.frame.in(e.corner), s.frame.in(e.dx), s.frame.in(e.dy)
	for y := y0; y < y1; y++ {
		row := along(corner, dy, float64(y)+0.5)
		for x := x0; x < x1; x++ {
			t := s.cast(o, along(row, dx, float64(x)+0.5), e.near)
			if at := y*e.w + x; t < float64(r.depth[at]) {
				f(at, t)
			}
		}
	}
}

// lit is the colour of s at depth t along d.
//
//go:norace
func (r *raster) lit(e *eye, s *solid, d, forward vec, t float64) vec {
	p := along(e.pos, d, t)
	n := s.frame.out(s.normal(s.frame.in(p.minus(s.pos))))
	return light(s, r.lamps, p, n, forward)
}

// put lays an RGB colour over a BGR pixel.
//
//go:norace
func put(bgr []byte, rgb vec, alpha float64) {
	_ = bgr[2]
	bgr[0] = blend(bgr[0], rgb.z, alpha)
	bgr[1] = blend(bgr[1], rgb.y, alpha)
	bgr[2] = blend(bgr[2], rgb.x, alpha)
}

func blend(under byte, over, alpha float64) byte {
	v := min(max(over, 0), 1) * 255
	if alpha < 1 {
		v = alpha*v + (1-alpha)*float64(under)
	}
	return byte(v + 0.5)
}

// shrink averages squares of four pixels of src into dst, of the given size.
//
//go:norace
func shrink(dst, src []byte, size Size) {
	row := 2 * size.W * 3
	for y := range size.H {
		for x := range size.W {
			for c := range 3 {
				p := src[2*y*row+6*x+c:]
				dst[(y*size.W+x)*3+c] = byte((int(p[0]) + int(p[3]) + int(p[row]) + int(p[row+3]) + 2) / 4)
			}
		}
	}
}
