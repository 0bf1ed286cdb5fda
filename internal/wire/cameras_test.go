package wire

import (
	"context"
	"math"
	"testing"

	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// The projections of the balls' true places are where the balls are drawn.
func TestSimulatedCamerasProjectToRenderedPixels(t *testing.T) {
	ctx := context.Background()
	for _, render := range []tabletop.Render{tabletop.EGL, tabletop.Raster} {
		w, err := tabletop.New(tabletop.Config{Task: tabletop.Reach, Render: render, Cameras: []tabletop.Camera{
			{Name: "front", W: 224, H: 224}, {Name: "scene", W: 320, H: 240}, {Name: "wrist", W: 160, H: 160},
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		seen := 0
		for seed := range uint64(4) {
			obs, err := w.ResetSeed(ctx, seed)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 { // so that the wrist's camera moves
				if obs, err = w.Step(ctx, robot.Command{Delta: [6]float64{0.01, 0.005, 0.004}}); err != nil {
					t.Fatal(err)
				}
			}
			cams, err := SimCameras(w)
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range obs.Frames {
				c := cams[i].At(obs.State.EE)
				for k, b := range w.Truth().Bodies {
					want, ok := ballPixel(&c, b.Pose.P)
					if !ok {
						continue
					}
					got, ok := redder(f, k == 0)
					if !ok {
						continue // behind something, or cut off by the edge
					}
					seen++
					if d := math.Hypot(got[0]-want[0], got[1]-want[1]); d > 1 {
						t.Errorf("%s, %s, seed %d: %s is drawn at %.2f and projected to %.2f", render, f.Camera, seed, b.Name, got, want)
					}
				}
			}
		}
		if seen < 12 {
			t.Errorf("%s: only %d balls were seen whole", render, seen)
		}
	}
}

// ballPixel is the centre of a ball's image, which is the mean of its outline's and not
// the projection of its centre where it is off the axis.
func ballPixel(c *keypoint.Camera, p [3]float64) (px [2]float64, ok bool) {
	const r = 0.02
	var to [3]float64
	d2 := 0.0
	for i := range to {
		to[i] = p[i] - c.Pose.P[i]
		d2 += to[i] * to[i]
	}
	// The outline lies on a circle that is r²/d nearer than the centre.
	s := 1 - r*r/d2
	radius := r * math.Sqrt(s)
	a := cross3(to, [3]float64{0, 0, 1})
	b := cross3(to, a)
	na, nb := norm3(a), norm3(b)
	lo, hi := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	for k := range 64 {
		sin, cos := math.Sincos(float64(k) * math.Pi / 32)
		var q [3]float64
		for i := range q {
			q[i] = c.Pose.P[i] + s*to[i] + radius*(cos*a[i]/na+sin*b[i]/nb)
		}
		e, ok := c.Project(q)
		if !ok || !c.Inside(e) {
			return px, false
		}
		for i := range e {
			lo[i], hi[i] = min(lo[i], e[i]), max(hi[i], e[i])
		}
	}
	return [2]float64{(lo[0] + hi[0]) / 2, (lo[1] + hi[1]) / 2}, true
}

func cross3(a, b [3]float64) [3]float64 {
	return [3]float64{a[1]*b[2] - a[2]*b[1], a[2]*b[0] - a[0]*b[2], a[0]*b[1] - a[1]*b[0]}
}

func norm3(v [3]float64) float64 { return math.Sqrt(v[0]*v[0] + v[1]*v[1] + v[2]*v[2]) }

// redder is the middle of the box around the red (or blue) pixels. It is false where
// there are few, or where the box is not square, as of a ball that is partly covered.
func redder(f robot.Frame, red bool) (px [2]float64, ok bool) {
	lo, hi := [2]int{f.W, f.H}, [2]int{-1, -1}
	for y := range f.H {
		for x := range f.W {
			p := f.Pix[3*(y*f.W+x):]
			b, g, r := int(p[0]), int(p[1]), int(p[2])
			if red && r > 60 && r > 3*g && r > 3*b || !red && b > 60 && b > 2*g && b > 3*r {
				lo[0], lo[1] = min(lo[0], x), min(lo[1], y)
				hi[0], hi[1] = max(hi[0], x), max(hi[1], y)
			}
		}
	}
	w, h := hi[0]-lo[0], hi[1]-lo[1]
	if w < 5 || w-h > 2 || h-w > 2 {
		return px, false
	}
	return [2]float64{float64(lo[0]+hi[0]) / 2, float64(lo[1]+hi[1]) / 2}, true
}

func TestViewsAreTakenWhereTheHandStands(t *testing.T) {
	var vs []robot.Pose
	add := func(x float64, times int) {
		for range times {
			vs = append(vs, robot.Pose{P: [3]float64{x}, Q: [4]float64{1}})
		}
	}
	for i := range 5 { // five stops, and the ways between
		add(float64(i)/10, 12)
		for k := 1; k < 10; k++ {
			add(float64(i)/10+float64(k)/100, 1)
		}
	}
	got := still(vs, 20)
	if len(got) != 5 {
		t.Fatalf("%d views, want the five stops", len(got))
	}
	for i, n := range got {
		if math.Abs(vs[n].P[0]-float64(i)/10) > 1e-12 {
			t.Errorf("view %d is at %g m", i, vs[n].P[0])
		}
	}
	if got := spaced(5, 2); len(got) != 2 || got[1] != 4 {
		t.Errorf("two of five are %+v", got)
	}
	if got := still(vs[:10], 20); len(got) != 10 {
		t.Errorf("of ten photographs %d are left", len(got))
	}
}
