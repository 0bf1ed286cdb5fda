package wire

import (
	"image/color"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/kagi/click/clicktest"
	"github.com/rapport-rl/rapport/robot"
)

// A small episode: the hand goes to the first of two waypoints, and the ball is lost.
func mapped(t *testing.T) *waymap {
	t.Helper()
	legs := []kagi.Leg{{Point: "hand", To: [][3]float64{{0.5, 0, 0.3}, {0.6, 0.2, 0.3}}, Grip: []string{"", ""}}}
	var traj []perception.Features
	for i := range 4 {
		keys := kagi.Put(nil, "hand", [3]float64{0.4 + 0.04*float64(i), -0.1, 0.3}, 1)
		keys = kagi.Put(keys, "ball", clicktest.Ball, float64(1-i/3))
		if i == 0 {
			keys = kagi.Tell(keys, legs)
		}
		if i == 3 {
			keys[0].X, keys[0].Y = 0.5, 0 // there
		}
		traj = append(traj, perception.Features{Stamp: time.Unix(int64(i), 0), Keys: keys})
	}
	s, err := kagi.New(kagi.Config{Form: kagi.Furthest, Tolerance: 0.02, Top: 0.9, Gamma: 0.99})
	if err != nil {
		t.Fatal(err)
	}
	m, err := waymapOf(s, traj)
	if err != nil || m == nil {
		t.Fatal(m, err)
	}
	return m
}

func TestPlanIsDrawnWhereTheCameraSeesIt(t *testing.T) {
	m := mapped(t)
	cam := clicktest.Cameras()[0]
	f, err := vision.Resize(clicktest.Frames()[0], cell, cell)
	if err != nil {
		t.Fatal(err)
	}
	before := append([]byte(nil), f.Pix...)
	big := cam.Scaled(cell, cell)
	for _, tt := range []struct {
		what string
		t    int
		at   [3]float64
		want color.RGBA
	}{
		{"the one that is sought", 1, [3]float64{0.5, 0, 0.3}, soughtIn},
		{"the one after it", 1, [3]float64{0.6, 0.2, 0.3}, wayInk},
		{"the way between them", 1, [3]float64{0.525, 0.05, 0.3}, wayInk},
		{"one that was reached", 3, [3]float64{0.5, 0, 0.3}, spotInk}, // the hand is on it
		{"the one that is sought then", 3, [3]float64{0.6, 0.2, 0.3}, soughtIn},
		{"the hand", 1, [3]float64{0.44, -0.1, 0.3}, spotInk},
		{"where it came along", 2, [3]float64{0.42, -0.1, 0.3}, spotInk},
		{"the ball", 1, clicktest.Ball, spotInk},
		{"the ball, lost", 3, clicktest.Ball, lostInk},
	} {
		got, err := m.draw(f, cam, robot.Pose{}, tt.t)
		if err != nil {
			t.Fatal(err)
		}
		px, _ := big.Project(tt.at)
		// Lines are a pixel wide.
		near := false
		for dy := -1; dy <= 1; dy++ {
			for dx := -1; dx <= 1; dx++ {
				i := 3 * ((int(math.Round(px[1]))+dy)*cell + int(math.Round(px[0])) + dx)
				near = near || got.Pix[i] == tt.want.B && got.Pix[i+1] == tt.want.G && got.Pix[i+2] == tt.want.R
			}
		}
		if !near {
			t.Errorf("%s is not drawn at step %d, pixel %.0f %.0f", tt.what, tt.t, px[0], px[1])
		}
	}
	if string(before) != string(f.Pix) {
		t.Error("the frame itself was drawn upon")
	}
	for at, want := range map[int][]string{
		0: {"stage 1/1  hand", "seeks 1/2"},
		1: {"seeks 1/2", "away", "of 0.141 m", "phi", "dense"},
		3: {"seeks 2/2", "phi 0.500", "dense -0.550"},
	} {
		for _, w := range want {
			if got := m.says(at); !strings.Contains(got, w) {
				t.Errorf("step %d says %q, want %q", at, got, w)
			}
		}
	}
}

func TestOnlyPlansInTheBaseFrameAreDrawn(t *testing.T) {
	if m, err := waymapOf(truth{}, nil); m != nil || err != nil {
		t.Errorf("a reward without waypoints: %v, %v", m, err)
	}
	p := kagi.Plan{Camera: "front", Points: []kagi.Point{{Name: "hand", Hand: true}}, Stages: []kagi.Stage{{Point: "hand", Waypoints: []kagi.Waypoint{{}}}}}
	s, err := kagi.New(kagi.Config{Plan: &p})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := waymapOf(s, nil); m != nil || err != nil {
		t.Errorf("a plan in pixels: %v, %v", m, err)
	}
	f := clicktest.Frames()[0]
	f.Camera = "elsewhere"
	if got, err := mapped(t).over(f, clicktest.Cameras(), robot.Pose{}, 1); err != nil || got.W != cell {
		t.Errorf("a camera that nobody knows: %dx%d, %v", got.W, got.H, err)
	}
}
