package keypoint

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// overhead looks straight down from 1 m: x of the base is up in the image.
func overhead() Camera {
	c := Pinhole("top", 200, 100, 1, robot.Pose{P: [3]float64{0.5, 0, 1}})
	// Camera x right = base -y, y down = base -x, z forward = base -z.
	c.Pose.Q = franka.Matrix(&[16]float64{0, -1, 0, 0, -1, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1}).Q
	return c
}

func TestProjectionByHand(t *testing.T) {
	c := overhead()
	for _, tt := range []struct {
		p    [3]float64
		want [2]float64
	}{
		{[3]float64{0.5, 0, 0}, [2]float64{99.5, 49.5}},
		{[3]float64{0.6, 0, 0}, [2]float64{99.5, 39.5}},
		{[3]float64{0.5, 0.2, 0}, [2]float64{79.5, 49.5}},
		{[3]float64{0.5, 0.2, 0.5}, [2]float64{59.5, 49.5}},
	} {
		got, ok := c.Project(tt.p)
		if !ok || math.Hypot(got[0]-tt.want[0], got[1]-tt.want[1]) > 1e-9 {
			t.Errorf("%v is seen at %v (%v), want %v", tt.p, got, ok, tt.want)
		}
		back, err := c.Lift(tt.want, tt.p[2])
		if err != nil || apart(back, tt.p) > 1e-12 {
			t.Errorf("pixel %v at height %g is %v, want %v (%v)", tt.want, tt.p[2], back, tt.p, err)
		}
	}
	if _, ok := c.Project([3]float64{0.5, 0, 1.1}); ok {
		t.Error("a point behind the camera has a pixel")
	}
	if _, err := c.Lift([2]float64{10, 10}, 1.5); !errors.Is(err, ErrBeside) {
		t.Errorf("lifting above the camera gives %v, want ErrBeside", err)
	}
	c.Distortion = [5]float64{0.1, 0.01, 0.002, -0.003, 0.001}
	// x = 0.2, y = 0.1 at focal length 1; r² = 0.05, by the formula in the comment.
	got, _ := c.Project([3]float64{0.4, -0.2, 0})
	k := 1 + 0.1*0.05 + 0.01*0.0025 + 0.001*0.000125
	u := 0.2*k + 2*0.002*0.02 - 0.003*(0.05+0.08)
	v := 0.1*k + 0.002*(0.05+0.02) - 2*0.003*0.02
	if want := [2]float64{99.5 + 100*u, 49.5 + 100*v}; math.Hypot(got[0]-want[0], got[1]-want[1]) > 1e-9 {
		t.Errorf("distorted: %v, want %v", got, want)
	}
}

func apart(a, b [3]float64) float64 {
	return math.Sqrt((a[0]-b[0])*(a[0]-b[0]) + (a[1]-b[1])*(a[1]-b[1]) + (a[2]-b[2])*(a[2]-b[2]))
}

// anyCamera draws cameras that look at the table from afar, through lenses that do not
// fold.
func anyCamera(name string) *rapid.Generator[Camera] {
	return rapid.Custom(func(t *rapid.T) Camera { return drawCamera(t, name) }).Filter(func(c Camera) bool { return c.Validate() == nil })
}

func drawCamera(t *rapid.T, name string) Camera {
	f := func(lo, hi float64, what string) float64 { return rapid.Float64Range(lo, hi).Draw(t, what) }
	at := [3]float64{0.5, 0, 0}
	angle, height := f(-3, 3, "angle"), f(0.4, 1.2, "height")
	p := [3]float64{0.5 + 0.7*math.Cos(angle), 0.7 * math.Sin(angle), height}
	z := unit([3]float64{at[0] - p[0], at[1] - p[1], at[2] - p[2]})
	x := unit([3]float64{z[1], -z[0], 0})
	y := [3]float64{z[1]*x[2] - z[2]*x[1], z[2]*x[0] - z[0]*x[2], z[0]*x[1] - z[1]*x[0]}
	pose := franka.Matrix(&[16]float64{x[0], x[1], x[2], 0, y[0], y[1], y[2], 0, z[0], z[1], z[2], 0, p[0], p[1], p[2], 1})
	return Camera{
		Name: name, W: 640, H: 480, FX: f(400, 900, "fx"), FY: f(400, 900, "fy"), CX: f(300, 340, "cx"), CY: f(220, 260, "cy"), Pose: pose,
		Distortion: [5]float64{f(-0.2, 0.2, "k1"), f(-0.05, 0.1, "k2"), f(-0.01, 0.01, "p1"), f(-0.01, 0.01, "p2"), f(0, 0.02, "k3")},
	}
}

func unit(v [3]float64) [3]float64 {
	n := math.Sqrt(dot(v, v))
	return [3]float64{v[0] / n, v[1] / n, v[2] / n}
}

func TestPixelsAndPlacesAreThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyCamera("a").Draw(t, "a"), anyCamera("b").Draw(t, "b")
		place := rapid.Custom(func(t *rapid.T) [3]float64 {
			return [3]float64{rapid.Float64Range(0.4, 0.6).Draw(t, "x"), rapid.Float64Range(-0.1, 0.1).Draw(t, "y"), rapid.Float64Range(0, 0.1).Draw(t, "z")}
		})
		// Outside the image the lens may fold.
		p := place.Filter(func(p [3]float64) bool {
			pa, oka := a.Project(p)
			pb, okb := b.Project(p)
			return !oka || !okb || a.Inside(pa) && b.Inside(pb)
		}).Draw(t, "p")
		pa, oka := a.Project(p)
		pb, okb := b.Project(p)
		if !oka || !okb {
			t.Fatal("a point of the table is behind a camera")
		}
		if got, err := a.Lift(pa, p[2]); err != nil || apart(got, p) > 1e-8 {
			t.Fatalf("lifted %v, want %v (%v)", got, p, err)
		}
		from, d := a.Ray(pa)
		if math.Abs(dot(d, d)-1) > 1e-12 || from != a.Pose.P {
			t.Fatalf("the ray goes from %v along %v", from, d)
		}
		got, miss, err := Triangulate(&a, &b, pa, pb)
		if errors.Is(err, ErrParallel) {
			_, e := b.Ray(pb)
			if one := math.Abs(dot(d, e)); one < math.Cos(math.Pi/180*0.51) {
				t.Fatalf("sights %.3g° apart are called parallel", 180/math.Pi*math.Acos(one))
			}
			return
		}
		if err != nil || apart(got, p) > 1e-6 || miss > 1e-7 {
			t.Fatalf("triangulated %v, missing by %g, want %v (%v)", got, miss, p, err)
		}
	})
}

func TestTriangulationTellsOfSightsThatMiss(t *testing.T) {
	a := overhead()
	b := a
	b.Name, b.Pose.P = "other", [3]float64{0.8, 0, 1}
	p := [3]float64{0.6, 0.05, 0.1}
	pa, _ := a.Project(p)
	pb, _ := b.Project(p)
	pb[0] += 9 // 9 pixels of 100 at 0.9 m are 81 mm across
	got, miss, err := Triangulate(&a, &b, pa, pb)
	if err != nil || miss < 0.07 || miss > 0.09 || math.Abs(got[1]-(p[1]-0.0405)) > 0.005 {
		t.Errorf("got %v missing by %g (%v)", got, miss, err)
	}
	if _, _, err := Triangulate(&a, &a, pa, pa); !errors.Is(err, ErrParallel) {
		t.Errorf("one camera alone gives %v, want ErrParallel", err)
	}
	// Sights that part meet behind.
	pa, _ = a.Project([3]float64{0.3, 0, 0})
	pb, _ = b.Project([3]float64{1.0, 0, 0})
	if _, _, err := Triangulate(&a, &b, pa, pb); !errors.Is(err, ErrBeside) {
		t.Errorf("sights that part give %v, want ErrBeside", err)
	}
}

func TestScaledCameraSeesTheSameInSmaller(t *testing.T) {
	c := overhead()
	s := c.Scaled(100, 50)
	p := [3]float64{0.61, 0.13, 0.04}
	big, _ := c.Project(p)
	small, _ := s.Project(p)
	for i := range 2 {
		if got, want := small[i]+0.5, (big[i]+0.5)/2; math.Abs(got-want) > 1e-9 {
			t.Errorf("axis %d: %g from the corner, want %g", i, got, want)
		}
	}
}

func TestCameraOnTheHandGoesWithIt(t *testing.T) {
	c := overhead()
	c.OnHand, c.Pose.P = true, [3]float64{0.05, 0, -0.04}
	hand := robot.Pose{P: [3]float64{0.4, 0.1, 0.3}, Q: franka.Exp([3]float64{math.Pi, 0, 0})}
	got := c.At(hand)
	// The hand hangs down: its y is -y of the base, and its z is -z.
	if want := [3]float64{0.45, 0.1, 0.34}; got.OnHand || apart(got.Pose.P, want) > 1e-12 {
		t.Errorf("the camera is at %v, want %v", got.Pose.P, want)
	}
	if still := got.At(robot.Pose{P: [3]float64{1, 1, 1}, Q: [4]float64{1}}); still != got {
		t.Error("a camera in the base frame moved with the hand")
	}
}
