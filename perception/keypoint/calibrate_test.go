package keypoint

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// plate is a picture on a rectangle in the room: origin, and its edges along columns and
// rows.
type plate struct {
	f       robot.Frame
	o, u, v [3]float64
	margin  int // white pixels of the picture on all sides that belong to it
}

// shoot renders plates on grey as c sees them, by casting nine rays a pixel, between
// those of the pixels' corners.
func shoot(c *Camera, plates ...plate) robot.Frame {
	f := robot.Frame{Camera: c.Name, W: c.W, H: c.H, Pix: make([]byte, 3*c.W*c.H)}
	corners := make([][3]float64, (c.W+1)*(c.H+1))
	for i := range corners {
		_, corners[i] = c.Ray([2]float64{float64(i%(c.W+1)) - 0.5, float64(i/(c.W+1)) - 0.5})
	}
	for y := range c.H {
		for x := range c.W {
			i := y*(c.W+1) + x
			sum := 0
			for s := range 9 {
				u, v := (float64(s%3)+0.5)/3, (float64(s/3)+0.5)/3
				var d [3]float64
				for k := range d {
					d[k] = (1-v)*((1-u)*corners[i][k]+u*corners[i+1][k]) + v*((1-u)*corners[i+c.W+1][k]+u*corners[i+c.W+2][k])
				}
				sum += meet(plates, c.Pose.P, d)
			}
			for k := range 3 {
				f.Pix[3*(y*c.W+x)+k] = byte(sum / 9)
			}
		}
	}
	return f
}

func meet(plates []plate, from, d [3]float64) int {
	best, grey := math.Inf(1), 150
	for i := range plates {
		p := &plates[i]
		n := cross(p.u, p.v)
		t := dot(n, minus(p.o, from)) / dot(n, d)
		if !(t > 0 && t < best) {
			continue
		}
		var at [3]float64
		for k := range at {
			at[k] = from[k] + t*d[k] - p.o[k]
		}
		a, b := dot(at, p.u)/dot(p.u, p.u), dot(at, p.v)/dot(p.v, p.v)
		m := float64(p.margin)
		px, py := a*float64(p.f.W), b*float64(p.f.H)
		if px < -m || py < -m || px >= float64(p.f.W)+m || py >= float64(p.f.H)+m {
			continue
		}
		best, grey = t, 235
		if px >= 0 && py >= 0 && px < float64(p.f.W) && py < float64(p.f.H) {
			grey = 20 + int(p.f.Pix[3*(int(py)*p.f.W+int(px))])*215/255
		}
	}
	return grey
}

func cross(a, b [3]float64) [3]float64 {
	return [3]float64{a[1]*b[2] - a[2]*b[1], a[2]*b[0] - a[0]*b[2], a[0]*b[1] - a[1]*b[0]}
}

func minus(a, b [3]float64) [3]float64 { return [3]float64{a[0] - b[0], a[1] - b[1], a[2] - b[2]} }

func markerPlate(t testing.TB, m Fixed) plate {
	t.Helper()
	f, err := vision.DrawMarker("4x4_50", m.ID, 60)
	if err != nil {
		t.Fatal(err)
	}
	return plate{f: f, o: m.Corners[0], u: minus(m.Corners[1], m.Corners[0]), v: minus(m.Corners[3], m.Corners[0]), margin: 12}
}

// lookAt is the pose of a camera at p that looks at at.
func lookAt(p, at [3]float64) robot.Pose {
	z := unit(minus(at, p))
	x := unit(cross(z, [3]float64{0, 0, 1}))
	y := cross(z, x)
	return franka.Matrix(&[16]float64{x[0], x[1], x[2], 0, y[0], y[1], y[2], 0, z[0], z[1], z[2], 0, p[0], p[1], p[2], 1})
}

// apartPoses is how far two poses are apart, m and rad.
func apartPoses(a, b robot.Pose) (m, rad float64) {
	d := franka.Diff(a, b)
	return math.Sqrt(d[0]*d[0] + d[1]*d[1] + d[2]*d[2]), math.Sqrt(d[3]*d[3] + d[4]*d[4] + d[5]*d[5])
}

func fixedMarkers() []Fixed {
	ms := []Fixed{
		Flat(3, [3]float64{0.42, 0.14, 0}, 0.07, 0), Flat(4, [3]float64{0.42, -0.14, 0}, 0.07, 0.4),
		Flat(5, [3]float64{0.62, 0.12, 0.06}, 0.07, -0.3), Flat(6, [3]float64{0.62, -0.12, 0}, 0.07, 1.2), Flat(7, [3]float64{0.52, 0, 0.1}, 0.07, 0),
	}
	return ms
}

// fixedPlates are those markers as they are drawn.
func fixedPlates(t testing.TB) (plates []plate) {
	t.Helper()
	for _, m := range fixedMarkers() {
		plates = append(plates, markerPlate(t, m))
	}
	return plates
}

func TestCameraIsFoundFromMarkers(t *testing.T) {
	truth := Pinhole("front", 480, 360, 1.3, lookAt([3]float64{1.1, 0.1, 0.7}, [3]float64{0.52, 0, 0.03}))
	plates := fixedPlates(t)
	f := shoot(&truth, plates...)
	for _, tt := range []struct {
		name          string
		known         *Camera
		metres, turn  float64
		focal, pixels float64
	}{
		{"known intrinsics", &truth, 0.003, 0.004, 1e-9, 0.4},
		{"unknown focal length", nil, 0.008, 0.004, 0.01, 0.4},
	} {
		got, err := FromMarkers([]robot.Frame{f}, "4x4_50", fixedMarkers(), tt.known)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		m, rad := apartPoses(got.Camera.Pose, truth.Pose)
		t.Logf("%s: %.2f mm, %.4f rad, focal %.1f of %.1f, rms %.3f px, %.3f mm", tt.name, 1000*m, rad, got.Camera.FX, truth.FX, got.Pixels, 1000*got.Metres)
		if m > tt.metres || rad > tt.turn || math.Abs(got.Camera.FX/truth.FX-1) > tt.focal || got.Pixels > tt.pixels || got.Points != 20 {
			t.Errorf("%s: off by %.2f mm and %.4f rad, focal %.1f of %.1f, rms %.3f px", tt.name, 1000*m, rad, got.Camera.FX, truth.FX, got.Pixels)
		}
		if err := got.Check(Accuracy{}); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		// What the camera is for: places on the table.
		px, _ := truth.Project([3]float64{0.5, 0.05, 0})
		if at, err := got.Camera.Lift(px, 0); err != nil || apart(at, [3]float64{0.5, 0.05, 0}) > 0.002 {
			t.Errorf("%s: lifted to %v (%v)", tt.name, at, err)
		}
	}
	wrong := fixedMarkers()
	for k := range wrong[0].Corners {
		wrong[0].Corners[k][0] += 0.05
	}
	got, err := FromMarkers([]robot.Frame{f}, "4x4_50", wrong, &truth)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Check(Accuracy{}); !errors.Is(err, ErrInaccurate) || !strings.Contains(err.Error(), "measure") {
		t.Errorf("a marker that is 5 cm elsewhere gives %v, want ErrInaccurate and a remedy", err)
	}
	if _, err := FromMarkers([]robot.Frame{f}, "4x4_50", fixedMarkers()[:2], nil); err == nil || !strings.Contains(err.Error(), "2 of the 2") {
		t.Errorf("two markers without intrinsics: %v", err)
	}
	if _, err := FromMarkers([]robot.Frame{f}, "9x9", fixedMarkers(), nil); err == nil || !strings.Contains(err.Error(), "4x4_50") {
		t.Errorf("a dictionary that is none: %v", err)
	}
	small := truth
	small.W = 320
	if _, err := FromMarkers([]robot.Frame{f}, "4x4_50", fixedMarkers(), &small); err == nil || !strings.Contains(err.Error(), "320") {
		t.Errorf("intrinsics of another size: %v", err)
	}
	if _, err := FromMarkers(nil, "4x4_50", nil, nil); err == nil {
		t.Error("calibrated without images")
	}
}

// Where a camera was moved, markers are seen beside their places, and say where it stands.
func TestACameraThatWasMovedIsFound(t *testing.T) {
	was := Pinhole("front", 480, 360, 1.3, lookAt([3]float64{1.1, 0.1, 0.7}, [3]float64{0.52, 0, 0.03}))
	plates := fixedPlates(t)
	// Cameras of the session may be smaller than the picture.
	small := was.Scaled(160, 120)
	r, err := LookAgain(small, shoot(&was, plates...), "4x4_50", fixedMarkers(), 0.003)
	if err != nil || r.Markers != 5 || r.Now == nil || r.Metres > 0.001 {
		t.Errorf("a camera that stands where it stood sees %d markers %.2f mm beside (%v), want 5 within 1", r.Markers, 1000*r.Metres, err)
	}
	is := was
	is.Pose = lookAt([3]float64{1.12, 0.08, 0.71}, [3]float64{0.50, 0.03, 0.03})
	f := shoot(&is, plates...)
	if r, err = LookAgain(small, f, "4x4_50", fixedMarkers(), 0.003); err != nil {
		t.Fatal(err)
	}
	m, rad := apartPoses(r.Now.Camera.Pose, is.Pose)
	t.Logf("seen %.1f mm beside; found to %.2f mm, %.4f rad", 1000*r.Metres, 1000*m, rad)
	if r.Metres < 0.02 || m > 0.003 || rad > 0.004 || r.Now.Metres > 0.001 {
		t.Errorf("a camera that was moved by 3 cm sees markers %.1f mm beside and is found to %.2f mm and %.4f rad", 1000*r.Metres, 1000*m, rad)
	}
	// A marker that was moved as well is left out where four others agree.
	moved := fixedMarkers()
	for k := range moved[2].Corners {
		moved[2].Corners[k][1] += 0.04
	}
	if r, err := LookAgain(small, f, "4x4_50", moved, 0.003); err != nil || r.Odd == nil || *r.Odd != moved[2].ID || r.Now.Metres > 0.001 || r.Metres < 0.02 {
		t.Errorf("with marker %d moved: %+v (%v), want it left out", moved[2].ID, r, err)
	}
	if r, err := LookAgain(small, f, "4x4_50", moved[:4], 0.003); err != nil || r.Odd != nil || r.Now.Metres < 0.003 {
		t.Errorf("of four markers one was moved: %+v (%v), want none left out and no place", r, err)
	}
	// Three tell that something is amiss, and not well where the camera is.
	if r, err := LookAgain(small, f, "4x4_50", fixedMarkers()[:3], 0.003); err != nil || r.Markers != 3 || r.Now != nil || r.Metres < 0.02 {
		t.Errorf("by three markers: %+v (%v)", r, err)
	}
	if r, err := LookAgain(small, shoot(&is), "4x4_50", fixedMarkers(), 0.003); err != nil || r != (Recheck{}) {
		t.Errorf("by none: %+v (%v)", r, err)
	}
	if _, err := LookAgain(small, f, "9x9", fixedMarkers(), 0.003); err == nil {
		t.Error("a dictionary that is none is taken")
	}
}

func TestMarkerLiesAsFlatSays(t *testing.T) {
	m := Flat(0, [3]float64{0.5, 0, 0.1}, 0.1, 0)
	want := [4][3]float64{{0.55, 0.05, 0.1}, {0.55, -0.05, 0.1}, {0.45, -0.05, 0.1}, {0.45, 0.05, 0.1}}
	for k := range want {
		if apart(m.Corners[k], want[k]) > 1e-12 {
			t.Errorf("corner %d at %v, want %v", k, m.Corners[k], want[k])
		}
	}
	if l := Flat(0, [3]float64{}, 0.1, math.Pi/2); apart(l.Corners[0], [3]float64{-0.05, 0.05, 0}) > 1e-12 {
		t.Errorf("turned left its top left is at %v", l.Corners[0])
	}
}

var chart = vision.Board{Dictionary: "4x4_50", Columns: 6, Rows: 5, Square: 0.03, Marker: 0.022}

// boardPlate is the board with its frame at pose.
func boardPlate(t *testing.T, pose robot.Pose) plate {
	t.Helper()
	f, err := chart.Draw(6*48, 5*48)
	if err != nil {
		t.Fatal(err)
	}
	corner := func(x, y float64) [3]float64 {
		return then(pose, robot.Pose{P: [3]float64{x, y, 0}, Q: [4]float64{1}}).P
	}
	w, h := 6*chart.Square, 5*chart.Square
	// A board's x and y are its picture's, so that its z goes away from who looks at it.
	o := corner(0, 0)
	return plate{f: f, o: o, u: minus(corner(w, 0), o), v: minus(corner(0, h), o), margin: 10}
}

func TestHandAndEyeAreFound(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, onHand := range []bool{true, false} {
		truth := Pinhole("cam", 480, 360, 1.3, robot.Pose{})
		truth.Distortion = [5]float64{-0.08, 0.02}
		var x, board robot.Pose
		if onHand {
			x = robot.Pose{P: [3]float64{0.06, 0.01, -0.05}, Q: franka.Exp([3]float64{0.1, -0.05, 1.5})}
			board = robot.Pose{P: [3]float64{0.43, 0.07, 0}, Q: [4]float64{0, 1, 0, 0}}
		} else {
			x = lookAt([3]float64{0.95, 0.05, 0.5}, [3]float64{0.5, 0, 0.3})
			board = robot.Pose{P: [3]float64{-0.08, 0.07, 0.02}, Q: [4]float64{0, 1, 0, 0}}
		}
		var views []View
		for range 10 {
			g := func(s float64) float64 { return s * (2*rng.Float64() - 1) }
			var tool robot.Pose
			if onHand { // above the board, looking down
				middle := [3]float64{0.52, 0, 0}
				eye := lookAt([3]float64{0.52 + g(0.14), g(0.14), 0.27 + g(0.08)}, middle)
				eye.Q = franka.Mul(eye.Q, franka.Exp([3]float64{0, 0, g(0.5)}))
				tool = then(eye, invert(x))
			} else { // the board faces the camera
				at := robot.Pose{P: [3]float64{g(0.04), g(0.03), 0.29 + g(0.08)}, Q: franka.Exp([3]float64{g(0.45), g(0.45), g(0.5)})}
				at = then(at, robot.Pose{P: [3]float64{-0.09, -0.075, 0}, Q: [4]float64{1}})
				tool = then(then(x, at), invert(board))
			}
			cam := truth
			at := board
			if onHand {
				cam.Pose = then(tool, x)
			} else {
				cam.Pose = x
				at = then(tool, board)
			}
			views = append(views, View{Frame: shoot(&cam, boardPlate(t, at)), Tool: tool})
		}
		got, err := FromBoard(views, chart, onHand, nil)
		if err != nil {
			t.Fatalf("on hand %v: %v", onHand, err)
		}
		m, rad := apartPoses(got.Camera.Pose, x)
		t.Logf("on hand %v: %d views, %d points, %.2f mm, %.4f rad, focal %.1f of %.1f, rms %.3f px, %.3f mm", onHand, got.Views, got.Points, 1000*m, rad, got.Camera.FX, truth.FX, got.Pixels, 1000*got.Metres)
		// What it is for: places are seen where they are, though a focal length a little
		// longer from a little farther, or turned with its middle aside, would do as well.
		worst := 0.0
		for _, v := range views {
			a, b := truth, got.Camera.At(v.Tool)
			a.Pose, a.OnHand = x, onHand
			a = a.At(v.Tool)
			at := board
			if !onHand {
				at = then(v.Tool, board)
			}
			for _, p := range [][3]float64{{0.03, 0.03, 0}, {0.15, 0.03, 0}, {0.09, 0.12, -0.02}} {
				p = then(at, robot.Pose{P: p, Q: [4]float64{1}}).P
				pa, _ := a.Project(p)
				if !a.Inside(pa) {
					continue
				}
				pb, _ := b.Project(p)
				worst = max(worst, math.Hypot(pa[0]-pb[0], pa[1]-pb[1]))
			}
		}
		t.Logf("places are seen up to %.2f px from where they are", worst)
		if worst > 0.7 || m > 0.006 || rad > 0.012 || got.Pixels > 0.25 || got.Metres > 0.0003 || math.Abs(got.Camera.FX/truth.FX-1) > 0.02 || got.Camera.OnHand != onHand {
			t.Errorf("on hand %v: off by %.2f mm and %.4f rad, focal %.1f of %.1f, rms %.3f px, %.3f mm", onHand, 1000*m, rad, got.Camera.FX, truth.FX, got.Pixels, 1000*got.Metres)
		}
		if err := got.Check(Accuracy{}); err != nil {
			t.Error(err)
		}
		still := append([]View(nil), views...)
		for i := range still {
			still[i].Tool.Q = views[0].Tool.Q
		}
		if _, err := FromBoard(still, chart, onHand, nil); !errors.Is(err, ErrAlike) {
			t.Errorf("poses that do not turn give %v, want ErrAlike", err)
		}
		if _, err := FromBoard(views[:3], chart, onHand, nil); err == nil || !strings.Contains(err.Error(), "3 of 3") {
			t.Errorf("three views give %v", err)
		}
		mixed := append([]View(nil), views...)
		for i := range mixed {
			mixed[i].Tool = views[(i+5)%len(views)].Tool
		}
		if got, err := FromBoard(mixed, chart, onHand, nil); err == nil && !errors.Is(got.Check(Accuracy{}), ErrInaccurate) {
			t.Errorf("poses of other images pass with %.2f px", got.Pixels)
		}
	}
}
