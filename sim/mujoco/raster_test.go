package mujoco

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// clutter is a scene of n random primitives over a floor.
func clutter(rng *rand.Rand, n int) string {
	var b strings.Builder
	b.WriteString(`<mujoco><compiler angle="radian"/><worldbody><geom type="plane" size="2 1.5 .1" pos="0 0 -1"/>`)
	for i := range n {
		kind := []string{"box", "sphere", "capsule", "cylinder", "ellipsoid"}[i%5]
		u := func(lo, hi float64) float64 { return lo + (hi-lo)*rng.Float64() }
		fmt.Fprintf(&b, `<geom type="%s" size="%.3f %.3f %.3f" pos="%.3f %.3f %.3f" euler="%.3f %.3f %.3f"/>`, kind,
			u(.05, .3), u(.05, .3), u(.05, .3), u(-.8, .8), u(-.8, .8), u(-.6, .6), u(-3, 3), u(-3, 3), u(-3, 3))
	}
	fmt.Fprintf(&b, `<camera pos="0.3 -2.2 0.9" xyaxes="1 0.1 0 0 0.4 0.9" fovy="50"/>
		<camera pos="0.1 0.2 2.5" fovy="70"/></worldbody></mujoco>`)
	return b.String()
}

func rasterOf(t *testing.T, m *Model, d *Data, s Size) *raster {
	t.Helper()
	r := renderer(t, m, s, Lean, Raster)
	if err := d.Forward(); err != nil {
		t.Fatal(err)
	}
	image := make([]byte, s.W*s.H*3)
	if err := r.Render(d, []int{0}, [][]byte{image}); err != nil {
		t.Fatal(err)
	}
	return r.painter.(*raster)
}

// MuJoCo's own rays know nothing of the rasteriser.
func TestCastMeetsWhatMuJoCosRaysMeet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	hits := 0
	for range 10 {
		m := load(t, clutter(rng, 15))
		d := world(t, m)
		r := rasterOf(t, m, d, Size{8, 8})
		for range 500 {
			// From a sphere around the scene, so from outside every geom.
			from := vec{rng.NormFloat64(), rng.NormFloat64(), math.Abs(rng.NormFloat64())}.unit().by(3)
			to := vec{rng.Float64() - .5, rng.Float64() - .5, rng.Float64() - .5}.by(2)
			dir := to.minus(from).unit()
			want := math.Inf(1)
			if geom, x := d.Ray([3]float64{from.x, from.y, from.z}, [3]float64{dir.x, dir.y, dir.z}); geom >= 0 {
				want = x
				hits++
			}
			got, at := math.Inf(1), -1
			for i := range r.solids {
				s := &r.solids[i]
				if x := s.cast(s.frame.in(from.minus(s.pos)), s.frame.in(dir), 0); x < got {
					got, at = x, i
				}
			}
			// The list of what is to be drawn holds single precision.
			if math.IsInf(got, 1) != math.IsInf(want, 1) || got-want > 1e-4 || want-got > 1e-4 {
				t.Errorf("ray from %v along %v: got %v, want %v", from, dir, got, want)
			}
			if at >= 0 {
				s := &r.solids[at]
				n := s.frame.out(s.normal(s.frame.in(along(from, dir, got).minus(s.pos))))
				if math.Abs(n.dot(n)-1) > 1e-5 || n.dot(dir) > 1e-3 {
					t.Errorf("shape %d: got normal %v along the ray %v, want a unit vector against it", s.shape, n, dir)
				}
			}
		}
	}
	if hits < 1000 {
		t.Errorf("got %d hits, want most rays to hit", hits)
	}
}

func TestBoundsHoldEveryPixel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	s := Size{40, 30}
	for range 10 {
		m := load(t, clutter(rng, 15))
		d := world(t, m)
		r := rasterOf(t, m, d, s)
		for cam := range 2 {
			e := newEye(vecOf(d.CamXPos(cam)), frameOf(d.CamXMat(cam)), m.CamFovy()[cam], s.W, s.H, 0.01, 50)
			for i := range r.solids {
				s := &r.solids[i]
				x0, y0, x1, y1 := e.bounds(s)
				o := s.frame.in(e.pos.minus(s.pos))
				for y := range e.h {
					for x := range e.w {
						inside := x >= x0 && x < x1 && y >= y0 && y < y1
						if !inside && !math.IsInf(s.cast(o, s.frame.in(e.ray(x, y)), e.near), 1) {
							t.Fatalf("shape %d is seen at (%d,%d), outside [%d,%d)×[%d,%d)", s.shape, x, y, x0, x1, y0, y1)
						}
					}
				}
			}
		}
	}
}

func TestLampsLight(t *testing.T) {
	white := solid{rgb: vec{1, 1, 1}}
	up := vec{z: 1}
	spot := lamp{pos: vec{z: 2}, dir: vec{z: -1}, attenuation: vec{x: 1}, cosCutoff: math.Cos(math.Pi / 4), exponent: 10, diffuse: vec{1, 1, 1}}
	for _, tt := range []struct {
		name string
		l    lamp
		p, n vec
		want float64
	}{
		{"a headlight lights what faces the eye", lamp{headlight: true, diffuse: vec{1, 1, 1}}, vec{}, up, 1},
		{"a headlight's ambient light reaches everything", lamp{headlight: true, ambient: vec{.2, .2, .2}, diffuse: vec{1, 1, 1}}, vec{}, vec{z: -1}, .2},
		{"a directional light follows Lambert", lamp{directional: true, dir: vec{x: .6, z: -.8}, diffuse: vec{1, 1, 1}}, vec{}, up, .8},
		{"a spot is full on its axis", spot, vec{}, up, 1},
		{"a spot fades off its axis", spot, vec{x: 1}, up, math.Pow(2/math.Sqrt(5), 11)},
		{"a spot ends at its cutoff", spot, vec{x: 2.1}, up, 0},
		{"a spot leaves the back dark", spot, vec{}, vec{z: -1}, 0},
	} {
		if got := light(&white, []lamp{tt.l}, tt.p, tt.n, vec{z: -1}).x; math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
