package wire

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/robot"
)

// four markers at the corners of where the simulated tasks' things are.
const fourMarkers = `camera: front
markers:
  - {id: 3, centre: [0.37, 0.15, 0], size: 0.045}
  - {id: 4, centre: [0.37, -0.15, 0], size: 0.045, yaw: 0.5}
  - {id: 5, centre: [0.66, 0.15, 0], size: 0.045, yaw: -1}
  - {id: 6, corners: [[0.68, -0.13, 0], [0.68, -0.175, 0], [0.635, -0.175, 0], [0.635, -0.13, 0]]}
`

// landmarked is a configuration of Stack whose front camera has markers.
func landmarked(t *testing.T, setup string) config.Config {
	t.Helper()
	c := waypointed(t, "stack")
	c.Robot.Cameras = []config.Camera{{Name: "front", Width: 96, Height: 96}}
	path := filepath.Join(t.TempDir(), "front.yaml")
	if err := os.WriteFile(path, []byte(setup), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Robot.Markers = []string{path}
	return c
}

// opened is an arm of evaluation until the test ends.
func opened(t *testing.T, c config.Config) *arm {
	t.Helper()
	a, err := newArm(c, evaluation)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// reds are where the red cube is seen at the resets of two starts, and what people are
// told meanwhile.
func reds(t *testing.T, c config.Config) (at [2][3]float64, told []string, err error) {
	t.Helper()
	a := opened(t, c)
	ctx := withHeed(t.Context(), func(words string) { told = append(told, words) })
	for i := range at {
		a.next = i
		obs, err := a.guard.Reset(ctx)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := a.track(ctx, 0, obs)
		if err != nil {
			return at, told, err
		}
		var score float64
		if at[i], score, _ = perception.Place(keys, "red"); score == 0 {
			t.Fatalf("start %d: the red cube is not seen", i)
		}
	}
	return at, told, nil
}

// A camera that somebody ran into is found where it stands by its markers: points are
// where they were, and people are told once.
func TestMarkersTellWhereAMovedCameraStands(t *testing.T) {
	c := landmarked(t, fourMarkers)
	want, told, err := reds(t, c)
	if err != nil || len(told) != 0 {
		t.Fatalf("where nobody moved it, it says %q (%v)", told, err)
	}
	for _, d := range []config.Disturb{{Turn: 0.05}, {Camera: 0.05, Turn: 0.02, Light: 0.3, Distractors: 4}} {
		c.Robot.Disturb = d
		got, told, err := reds(t, c)
		if err != nil {
			t.Fatalf("%+v: %v", d, err)
		}
		if len(told) != 1 || !strings.Contains(told[0], "camera front") || !strings.Contains(told[0], "was moved") || !strings.Contains(told[0], "rapport calibrate") {
			t.Errorf("%+v: it is told %q, want once that the camera was moved", d, told)
		}
		unmarked := c
		unmarked.Robot.Markers = nil
		beside, _, err := reds(t, unmarked)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			was, is := off(beside[i], want[i]), off(got[i], want[i])
			t.Logf("%+v, start %d: %.1f mm beside without markers, %.1f with", d, i, 1000*was, 1000*is)
			if was < 0.015 || is > 0.004 {
				t.Errorf("%+v, start %d: the cube is seen %.1f mm beside its place, and %.1f without markers; want 4 at most, and 15 at least", d, i, 1000*is, 1000*was)
			}
		}
	}
}

func off(a, b [3]float64) float64 { return math.Hypot(a[0]-b[0], a[1]-b[1]) }

// Where markers say nothing, the camera is taken to be where it was; where one of them was
// moved, nobody knows where things are.
func TestMarkersThatDoNotTell(t *testing.T) {
	small := strings.Replace(fourMarkers, "0.045", "0.006", 3) // three of four
	c := landmarked(t, small)
	if _, told, err := reds(t, c); err != nil || len(told) != 0 {
		t.Errorf("by one marker of a camera that stands where it stood it is told %q (%v)", told, err)
	}
	c.Robot.Disturb.Turn = 0.05
	if _, _, err := reds(t, c); err == nil || !strings.Contains(err.Error(), "sees 1 of its markers") || !strings.Contains(err.Error(), "4 tell where it stands") {
		t.Errorf("by one marker of a camera that was moved: %v", err)
	}
	c = landmarked(t, small[:strings.Index(small, "  - {id: 6")]+"  - {id: 6, centre: [0.37, 0, 0], size: 0.006}\n")
	if _, told, err := reds(t, c); err != nil || len(told) != 1 || !strings.Contains(told[0], "sees none of its 4 markers") {
		t.Errorf("markers of 6 mm: it is told %q (%v), want once that none is seen", told, err)
	}

	c = landmarked(t, fourMarkers+"  - {id: 7, centre: [0.52, 0.19, 0], size: 0.045}\n")
	a := opened(t, c)
	if _, err := a.guard.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := newLandmarks(c, a.full)
	if err != nil {
		t.Fatal(err)
	}
	l.files[0].Markers[0].Centre[0] += 0.04
	cams, err := a.cameras(c)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	ctx := withHeed(t.Context(), func(words string) { said = append(said, words) })
	for range 2 {
		if err := l.correct(ctx, cams); err != nil || len(said) != 1 || !strings.Contains(said[0], "marker 3") || !strings.Contains(said[0], "put it back") {
			t.Errorf("one marker of five was moved: it is told %q (%v), want once which", said, err)
		}
	}
	l.files[0].Markers[1].Centre[1] += 0.04
	if err := l.correct(t.Context(), cams); err == nil || !strings.Contains(err.Error(), "Put them back") {
		t.Errorf("two markers that were moved by 4 cm give %v", err)
	}
}

func TestFilesOfMarkersAreChecked(t *testing.T) {
	one := fourMarkers[:strings.Index(fourMarkers, "  - {id: 4")]
	for _, tt := range []struct{ name, setup, want string }{
		{"one marker", one, "has 1 markers; want 4 at least"},
		{"another camera", strings.Replace(fourMarkers, "front", "side", 1), "robot.cameras does not have"},
		{"no such dictionary", "dictionary: 9x9_50\n" + fourMarkers, "9x9_50"},
		{"no such marker", strings.Replace(fourMarkers, "id: 5", "id: 77", 1), "marker 77"},
		{"a board", "camera: front\nboard: {columns: 6, rows: 5, square: 0.03, marker: 0.02}\n", "has 0 markers"},
		{"no square", strings.Replace(fourMarkers, "[0.68, -0.13, 0]", "[0.70, -0.13, 0]", 1), "corners of no square"},
	} {
		c := landmarked(t, tt.setup)
		a, err := newArm(c, online)
		if err == nil {
			err = a.close()
			t.Errorf("%s: an arm is made (%v), want an error with %q", tt.name, err, tt.want)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	c := landmarked(t, fourMarkers)
	c.Robot.Markers = append(c.Robot.Markers, filepath.Join(t.TempDir(), "none.yaml"))
	if _, err := newArm(c, online); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a file that is not there gives %v", err)
	}
}

// Of two sessions that practise on an arm, both know where the cameras stand once one has found them.
func TestWhereACameraStandsIsKnownOfBothWays(t *testing.T) {
	c := landmarked(t, fourMarkers)
	set(t, &c, "practice.mate=back")
	var ways []*pointer
	a := &arm{}
	err := a.trackBy(c, online, func(c config.Config) (*pointer, error) {
		p, err := newPointer(c, nil, nil, nil)
		ways = append(ways, p)
		return p, err
	})
	if err != nil || len(ways) != 2 {
		t.Fatalf("%d ways, %v", len(ways), err)
	}
	ways[0].marks.poses["front"] = found{pose: robot.Pose{P: [3]float64{1}}}
	if at := ways[1].marks.poses["front"].pose; at.P[0] != 1 {
		t.Errorf("on the way back the camera stands at %v", at.P)
	}
	if err := a.hang(); err != nil {
		t.Error(err)
	}
}

// A camera on the hand moves with it, whatever its markers say.
func TestMarkersTellNothingOfAHandsCamera(t *testing.T) {
	l := &landmarks{files: []config.Calibration{{Camera: "wrist"}}}
	if err := l.correct(t.Context(), []keypoint.Camera{{Name: "wrist", OnHand: true}}); err == nil || !strings.Contains(err.Error(), "is on the hand") {
		t.Errorf("error %v, want that the camera is on the hand", err)
	}
}
