package mujoco

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
)

func renderer(t testing.TB, m *Model, s Size, q Quality, k Kind) *Renderer {
	t.Helper()
	r, err := NewRenderer(m, s, q, k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// draw returns one image (H,W,3) of d by a renderer of its own.
func draw(t testing.TB, m *Model, d *Data, s Size, q Quality, k Kind, cam int) []byte {
	t.Helper()
	image := make([]byte, s.W*s.H*3)
	if err := renderer(t, m, s, q, k).Render(d, []int{cam}, [][]byte{image}); err != nil {
		t.Fatal(err)
	}
	return image
}

// looks runs f for every kind and quality.
func looks(t *testing.T, f func(t *testing.T, q Quality, k Kind)) {
	for _, k := range kinds() {
		for q, name := range []string{"lean", "video"} {
			t.Run(fmt.Sprintf("%v/%s", k, name), func(t *testing.T) { f(t, Quality(q), k) })
		}
	}
}

// blob is the centre and the number of the pixels in which channel c (of BGR)
// stands out.
func blob(image []byte, s Size, c int) (x, y float64, n int) {
	for i := 0; i < s.W*s.H; i++ {
		p := image[3*i : 3*i+3]
		if int(p[c]) > 2*int(p[(c+1)%3])+20 && int(p[c]) > 2*int(p[(c+2)%3])+20 {
			x, y, n = x+float64(i%s.W), y+float64(i/s.W), n+1
		}
	}
	return x / float64(n), y / float64(n), n
}

// project is where camera cam sees the world point p, in pixels.
func project(d *Data, s Size, cam int, p []float64) (x, y float64) {
	var q [3]float64
	for i := range 3 {
		for j := range 3 {
			q[i] += d.CamXMat(cam)[3*j+i] * (p[j] - d.CamXPos(cam)[j])
		}
	}
	f := float64(s.H) / 2 / math.Tan(d.Model().CamFovy()[cam]*math.Pi/360)
	return float64(s.W)/2 - f*q[0]/q[2] - 0.5, float64(s.H)/2 + f*q[1]/q[2] - 0.5
}

func TestBoxAppearsWhereTheCameraSeesIt(t *testing.T) {
	m := load(t, "push.xml")
	d := world(t, m)
	box, err := m.Body("box")
	if err != nil {
		t.Fatal(err)
	}
	looks(t, func(t *testing.T, q Quality, k Kind) {
		s := Size{99, 75} // odd, so that rows are not multiples of four bytes
		r := renderer(t, m, s, q, k)
		for _, pos := range [][2]float64{{0.5, 0.12}, {0.3, -0.2}, {0.62, -0.05}} {
			if err := d.ResetKey(0); err != nil {
				t.Fatal(err)
			}
			copy(d.QPos()[3:], pos[:])
			if err := d.Forward(); err != nil {
				t.Fatal(err)
			}
			images := [][]byte{make([]byte, s.W*s.H*3), make([]byte, s.W*s.H*3)}
			if err := r.Render(d, []int{0, 1}, images); err != nil {
				t.Fatal(err)
			}
			for cam, image := range images {
				x, y, n := blob(image, s, 2)
				wx, wy := project(d, s, cam, d.XPos(box))
				// The centre of what is seen of a box is off its true centre by less
				// than its half side, 2.5 cm, here at most 2 pixels.
				if math.Hypot(x-wx, y-wy) > 2 || n < 8 {
					t.Errorf("box at %v, camera %s: got %d red pixels around (%.1f,%.1f), want (%.1f,%.1f)", pos, m.CameraName(cam), n, x, y, wx, wy)
				}
			}
		}
	})
}

func TestCameraFollowsItsBody(t *testing.T) {
	m := load(t, "push.xml")
	d := world(t, m)
	wrist, err := m.Camera("wrist")
	if err != nil {
		t.Fatal(err)
	}
	looks(t, func(t *testing.T, q Quality, k Kind) {
		s := Size{64, 64}
		r := renderer(t, m, s, q, k)
		image := make([]byte, s.W*s.H*3)
		for _, turn := range []float64{0, 0.15} {
			if err := d.ResetKey(0); err != nil {
				t.Fatal(err)
			}
			d.QPos()[0] += turn
			if err := d.Forward(); err != nil {
				t.Fatal(err)
			}
			if err := r.Render(d, []int{wrist}, [][]byte{image}); err != nil {
				t.Fatal(err)
			}
			x, y, n := blob(image, s, 2)
			wx, wy := project(d, s, wrist, d.QPos()[3:6])
			if math.Hypot(x-wx, y-wy) > 3 || n < 8 {
				t.Errorf("turned by %v: got %d red pixels around (%.1f,%.1f), want (%.1f,%.1f)", turn, n, x, y, wx, wy)
			}
		}
	})
}

func TestImagesAreByteIdentical(t *testing.T) {
	m := load(t, "push.xml")
	s := Size{48, 40}
	looks(t, func(t *testing.T, q Quality, k Kind) {
		d := world(t, m)
		film := func(d *Data, r *Renderer) ([]byte, error) {
			if err := d.ResetKey(0); err != nil {
				return nil, err
			}
			var film []byte
			for i := range 6 {
				if err := errors.Join(drive(d, uint64(i), 20), d.Kinematics()); err != nil {
					return nil, err
				}
				images := [][]byte{make([]byte, s.W*s.H*3), make([]byte, s.W*s.H*3)}
				if err := r.Render(d, []int{1, 2}, images); err != nil {
					return nil, err
				}
				film = append(film, bytes.Join(images, nil)...)
			}
			return film, nil
		}
		first := renderer(t, m, s, q, k)
		want, err := film(d, first)
		if err != nil {
			t.Fatal(err)
		}
		again, err := film(d, first)
		if err != nil || !bytes.Equal(again, want) {
			t.Errorf("drawn again by the same renderer: got other images, error %v", err)
		}
		var wg sync.WaitGroup
		for range 3 {
			d, r := world(t, m), renderer(t, m, s, q, k)
			wg.Go(func() {
				got, err := film(d, r)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("drawn on another goroutine: got other images, error %v", err)
				}
			})
		}
		wg.Wait()
		// What a renderer gives back is used by the next, whatever that draws.
		shapes := load(t, "shapes.xml")
		between := world(t, shapes)
		if err := errors.Join(first.Close(), between.Forward()); err != nil {
			t.Fatal(err)
		}
		second := renderer(t, shapes, Size{160, 120}, 1-q, k)
		if err := errors.Join(second.Render(between, []int{0}, [][]byte{make([]byte, 160*120*3)}), second.Close()); err != nil {
			t.Fatal(err)
		}
		if got, err := film(d, renderer(t, m, s, q, k)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("drawn after another model: got other images, error %v", err)
		}
	})
}

func TestOneCallDrawsWhatManyDo(t *testing.T) {
	m := load(t, "push.xml")
	d := world(t, m)
	if err := errors.Join(d.ResetKey(0), d.Forward()); err != nil {
		t.Fatal(err)
	}
	looks(t, func(t *testing.T, q Quality, k Kind) {
		s := Size{32, 32}
		r := renderer(t, m, s, q, k)
		var all [][]byte
		cams := []int{2, 0, 1, 0}
		for range cams {
			all = append(all, make([]byte, s.W*s.H*3))
		}
		if err := r.Render(d, cams, all); err != nil {
			t.Fatal(err)
		}
		one := make([]byte, s.W*s.H*3)
		for i, cam := range cams {
			if err := r.Render(d, []int{cam}, [][]byte{one}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(all[i], one) {
				t.Errorf("camera %d differs", cam)
			}
		}
	})
}

func TestGroupsAndTransparency(t *testing.T) {
	const scene = `<mujoco><worldbody>
		<geom type="box" size=".5 .5 .1" pos="0 0 -1" rgba="1 0 0 1"/>
		<geom type="box" size=".1 .1 .1" pos="-.4 0 -1" rgba="0 0 1 1" group="%s"/>
		<geom type="box" size=".2 .2 .01" pos=".2 0 -.5" rgba="0 0 1 %s"/>
		<camera pos="0 0 1" fovy="40"/></worldbody></mujoco>`
	for _, tt := range []struct {
		name, group, alpha string
		want               string // what is seen through, or instead of, the nearer box
	}{
		{"opaque", "3", "1", "blue"},
		{"half", "3", "0.5", "both"},
		{"invisible", "4", "0", "red"},
	} {
		m := load(t, fmt.Sprintf(scene, tt.group, tt.alpha))
		d := world(t, m)
		if err := d.Forward(); err != nil {
			t.Fatal(err)
		}
		for _, k := range kinds() {
			s := Size{41, 41}
			image := draw(t, m, d, s, Lean, k, 0)
			at := func(x int) []byte { return image[(20*s.W+x)*3:][:3] }
			if p := at(14); p[2] < 100 || p[0] > 50 {
				t.Errorf("%s, %v: got BGR %v where only a geom of group %s is, want red", tt.name, k, p, tt.group)
			}
			p := at(27)
			got := map[[2]bool]string{{true, false}: "blue", {true, true}: "both", {false, true}: "red"}[[2]bool{p[0] > 50, p[2] > 50}]
			if got != tt.want {
				t.Errorf("%s, %v: got BGR %v, want %s", tt.name, k, p, tt.want)
			}
		}
	}
}

func TestRasterRefusesMeshes(t *testing.T) {
	m := load(t, `<mujoco><asset><mesh name="m" vertex="0 0 0 1 0 0 0 1 0 0 0 1"/></asset>
		<worldbody><geom name="tetra" type="mesh" mesh="m"/><camera/></worldbody></mujoco>`)
	_, err := NewRenderer(m, Size{8, 8}, Lean, Raster)
	if err == nil || !strings.Contains(err.Error(), "tetra") {
		t.Errorf("got %v, want an error that names the geom", err)
	}
}

func TestNewRendererRefusesSizes(t *testing.T) {
	m := load(t, "push.xml")
	for _, s := range []Size{{}, {0, 8}, {8, -1}, {100000, 8}} {
		if _, err := NewRenderer(m, s, Lean, Raster); err == nil {
			t.Errorf("%v: got no error", s)
		}
	}
}

func TestRendererClose(t *testing.T) {
	m := load(t, "push.xml")
	d := world(t, m)
	if err := d.Forward(); err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds() {
		r := renderer(t, m, Size{8, 8}, Lean, k)
		for range 2 {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Render(d, nil, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("%v: got %v, want ErrClosed", k, err)
		}
	}
	r := renderer(t, m, Size{8, 8}, Lean, Raster)
	if err := errors.Join(m.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if err := r.Render(d, []int{0}, [][]byte{make([]byte, 192)}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed data: got %v, want ErrClosed", err)
	}
	if _, err := NewRenderer(m, Size{8, 8}, Lean, Raster); !errors.Is(err, ErrClosed) {
		t.Errorf("closed model: got %v, want ErrClosed", err)
	}
}

func TestParseKind(t *testing.T) {
	for _, k := range []Kind{Auto, EGL, Raster} {
		if got, err := ParseKind(k.String()); got != k || err != nil {
			t.Errorf("got %v, %v, want %v", got, err, k)
		}
	}
	if _, err := ParseKind("vulkan"); err == nil {
		t.Error("got no error for an unknown renderer")
	}
}

func TestRenderingDoesNotAllocate(t *testing.T) {
	m := load(t, "push.xml")
	d := world(t, m)
	if err := d.Forward(); err != nil {
		t.Fatal(err)
	}
	s := Size{24, 24}
	for _, k := range kinds() {
		r := renderer(t, m, s, Lean, k)
		cams, images := []int{0, 1}, slices.Repeat([][]byte{make([]byte, s.W*s.H*3)}, 2)
		got := testing.AllocsPerRun(10, func() {
			if err := r.Render(d, cams, images); err != nil {
				t.Fatal(err)
			}
		})
		if got != 0 {
			t.Errorf("%v: got %v allocations per Render, want 0", k, got)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	m := load(b, "push.xml")
	d := world(b, m)
	if err := errors.Join(d.ResetKey(0), d.Forward()); err != nil {
		b.Fatal(err)
	}
	for _, k := range kinds() {
		for _, side := range []int{96, 224} {
			b.Run(fmt.Sprintf("%v/2x%d", k, side), func(b *testing.B) {
				r := renderer(b, m, Size{side, side}, Lean, k)
				images := [][]byte{make([]byte, side*side*3), make([]byte, side*side*3)}
				b.ReportAllocs()
				for b.Loop() {
					if err := r.Render(d, []int{1, 2}, images); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
