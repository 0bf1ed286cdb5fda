package wire

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// Four boxes of one colour keep their names while a hand that people dislike pushes two
// of them, hides them and has them touch.
func TestThingsOfOneColourKeepTheirNames(t *testing.T) {
	a, err := newArm(waypointed(t, "clutter"), online)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	var off []float64
	seen, all, moved := 0, 0, 0
	for seed := range 6 {
		var start [4][3]float64
		driven(t, a, false, seed, 45, func(step int, obs robot.Observation) {
			keys, err := a.track(t.Context(), step, obs)
			if err != nil {
				t.Fatal(err)
			}
			for i, name := range []string{"yellow1", "yellow2", "yellow3", "yellow4"} {
				p, score, _ := perception.Place(keys, name)
				b := a.world.Truth().Bodies[2+i].Pose.P
				if step == 0 {
					start[i] = b
				}
				if all++; score > 0 {
					seen++
				}
				off = append(off, math.Hypot(p[0]-b[0], p[1]-b[1]))
				if step == 44 && math.Hypot(b[0]-start[i][0], b[1]-start[i][1]) > 0.05 {
					moved++
				}
			}
		})
	}
	slices.Sort(off)
	if worst := off[len(off)-1]; seen < all || moved < 6 || worst > 0.025 { // half a box
		t.Errorf("seen %d of %d, %d of 24 boxes moved (want 6), off by %.4f m in the median and %.4f at most (want 0.025)", seen, all, moved, off[len(off)/2], worst)
	}
}

// Points that were clicked on six boxes, and which the page calls p1, p2 and so on, are not
// taken for one thing: the two boxes that are pushed away from the others keep theirs.
func TestClickedThingsAreFollowedEachAlone(t *testing.T) {
	c := waypointed(t, "clutter")
	set(t, &c, "robot.cameras=[{name: front, width: 224, height: 224}]")
	a, _ := resetArm(t, c)
	p, err := trackSim(c, a.world)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	const top = 0.05
	var start [6][3]float64
	click := func() {
		cams, err := SimCameras(a.world.(*tabletop.World))
		if err != nil {
			t.Fatal(err)
		}
		plan := kagi.Plan{Points: []kagi.Point{{Name: "hand", Hand: true}}, Stages: []kagi.Stage{{Point: "hand", Waypoints: []kagi.Waypoint{{From: "p1"}}}}}
		for i := range start {
			start[i] = a.world.Truth().Bodies[i].Pose.P
			px, _ := cams[0].Project([3]float64{start[i][0], start[i][1], top})
			plan.Points = append(plan.Points, kagi.Point{Name: fmt.Sprint("p", i+1), Camera: "front", Pixel: &px, Height: top})
		}
		if err := p.use(plan); err != nil {
			t.Fatal(err)
		}
	}
	var gone [2]float64
	demonstrated(t, a, 0, 45, func(step int, obs robot.Observation) {
		if step == 0 {
			click()
		}
		keys, err := p.track(t.Context(), step, obs)
		if err != nil {
			t.Fatal(err)
		}
		for i := range gone {
			at, score, _ := perception.Place(keys, fmt.Sprint("p", i+1))
			b := a.world.Truth().Bodies[i].Pose.P
			gone[i] = math.Hypot(b[0]-start[i][0], b[1]-start[i][1])
			if off := math.Hypot(at[0]-b[0], at[1]-b[1]); score == 0 || off > 0.0125 { // a quarter of a box
				t.Errorf("step %d: p%d is followed %.4f m beside its box, score %.2f, pushed by %.3f m", step, i+1, off, score, gone[i])
			}
		}
	})
	if min(gone[0], gone[1]) < 0.08 {
		t.Errorf("the boxes were pushed by %.3f m, want 0.08 each", gone)
	}
}

// A thing that the plan says to lie near somewhere, and which nobody sees at the reset, is
// asked for like any other: waypoints do not hang on where it might be.
func TestAThingThatIsNotNearIsAskedFor(t *testing.T) {
	a, obs := resetArm(t, waypointed(t, "cover"))
	p, err := trackSim(waypointed(t, "cover"), a.world)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.hidden(t.Context(), obs); err != nil {
		t.Fatalf("the tab lies there: %v", err)
	}
	for _, f := range obs.Frames {
		clear(f.Pix)
	}
	var unseen *kagi.Unseen
	if err := p.hidden(t.Context(), obs); !errors.As(err, &unseen) || unseen.Point != "tab" {
		t.Errorf("error %v, want that the tab is not seen", err)
	}
	if _, err := p.track(t.Context(), 0, obs); !errors.As(err, &unseen) || unseen.Point != "tab" {
		t.Errorf("an episode begins with error %v, want that the tab is not seen", err)
	}
	// Its place among the keys is the plan's all the same, as of something lost.
	keys, err := p.places(0, obs)
	if err != nil {
		t.Fatal(err)
	}
	if at, score, ok := perception.Place(keys, "tab"); !ok || score != 0 || at != [3]float64{0.5, 0, 0.012} {
		t.Errorf("the tab is at %v with score %v", at, score)
	}
}

// A point that lies near somewhere is sought there as the cameras see it now: where one was turned
// far, and its markers tell how, nothing is asked for that an episode would find.
func TestWhatIsNearIsSoughtByTheMarkersToo(t *testing.T) {
	setup := "camera: front\nmarkers:\n" // of which some are out of sight then, or behind the hand
	for i := range 12 {
		setup += fmt.Sprintf("  - {id: %d, centre: [%g, %g, 0], size: 0.045}\n", 3+i, 0.34+0.15*float64(i/4), 0.13*float64(i%4)-0.195)
	}
	c := landmarked(t, setup)
	c.Robot.Task, c.Robot.Disturb.Turn = "cover", 0.1
	a := opened(t, c)
	obs, err := a.guard.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pointing := func(markers ...string) *pointer {
		t.Helper()
		c.Robot.Markers = markers
		p, err := trackSim(c, a.world)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.close() })
		return p
	}
	markers := c.Robot.Markers
	var unseen *kagi.Unseen
	if err := pointing().hidden(t.Context(), obs); !errors.As(err, &unseen) {
		t.Fatalf("without markers all is seen (%v), so that this shows nothing", err)
	}
	p := pointing(markers...)
	if err := p.hidden(t.Context(), obs); err != nil {
		t.Errorf("where its markers tell how it was turned: %v", err)
	}
	if _, err := p.track(t.Context(), 0, obs); err != nil {
		t.Error(err)
	}

	// One that too few tell of is a person's.
	p = pointing(markers...)
	p.marks.files[0].Markers = p.marks.files[0].Markers[:3]
	var lost *strayed
	if err := p.hidden(t.Context(), obs); !errors.As(err, &lost) || !strings.Contains(lost.Ask(), "so that it was moved, and 4 tell") {
		t.Errorf("of three markers some are seen: error %v", err)
	}
	p = pointing(markers...)
	p.marks.full = func(string) (robot.Frame, error) { return robot.Frame{}, errors.New("no picture") }
	if err := p.hidden(t.Context(), obs); err != nil { // which nobody who puts the scene back mends
		t.Errorf("no picture: error %v", err)
	}

	// Where it stood once counts no more for one that was calibrated anew since.
	c.Robot.Disturb.Turn = 0
	a = opened(t, c)
	if obs, err = a.guard.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	p = pointing(markers...)
	p.marks.files[0].Markers = p.marks.files[0].Markers[:3]
	p.marks.poses["front"] = found{pose: robot.Pose{P: [3]float64{1.2, 0.1, 0.6}, Q: [4]float64{1}}, calibrated: robot.Pose{P: [3]float64{1, 0, 0.6}}}
	if err := p.hidden(t.Context(), obs); err != nil {
		t.Errorf("calibrated anew: %v", err)
	}
}
