package click_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/kagi/click"
	"github.com/rapport-rl/rapport/reward/kagi/click/clicktest"
	"github.com/rapport-rl/rapport/robot"
)

func seen(camera string, at [3]float64) click.View {
	return click.View{Camera: camera, Pixel: clicktest.Pixel(camera, at)}
}

func up(z float64) *float64 { return &z }

func TestClicksBecomePlaces(t *testing.T) {
	f := clicktest.Show(t, click.Folder(t.TempDir()))
	away := [3]float64{0.62, -0.2, 0.31}
	for name, tt := range map[string]struct {
		s    click.Sight
		want [3]float64
		off  float64 // m, by which pixels' middles may differ
	}{
		"height":          {click.Sight{Views: []click.View{seen("front", away)}, Height: up(away[2])}, away, 1e-9},
		"two views":       {click.Sight{Views: []click.View{seen("side", away), seen("front", away)}}, away, 1e-9},
		"colour":          {click.Sight{Views: []click.View{seen("front", clicktest.Ball)}, Height: up(clicktest.Ball[2]), Find: true}, clicktest.Ball, 0.006},
		"its rim":         {click.Sight{Views: []click.View{seen("front", [3]float64{0.53, 0.1, 0.05})}, Height: up(clicktest.Ball[2]), Find: true}, clicktest.Ball, 0.006},
		"colour, 2 views": {click.Sight{Views: []click.View{seen("front", clicktest.Other), seen("side", clicktest.Other)}, Find: true}, clicktest.Other, 0.006},
	} {
		p, err := f.Lift(tt.s)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := math.Hypot(math.Hypot(p.At[0]-tt.want[0], p.At[1]-tt.want[1]), p.At[2]-tt.want[2]); d > tt.off {
			t.Errorf("%s: got %v, %.4f m from %v", name, p.At, d, tt.want)
		}
		if p.Miss > 1e-9 || p.Point.Height != p.At[2] || (p.Point.Colour != nil) != tt.s.Find || (p.Point.Pixel != nil) == tt.s.Find || len(p.Seen) != 2 {
			t.Errorf("%s: got %+v", name, p)
		}
	}
}

func TestClicksThatAreNoPlaceAreRefusedWithTheReason(t *testing.T) {
	f := clicktest.Show(t, click.Folder(t.TempDir()))
	ball := seen("front", clicktest.Ball)
	for says, s := range map[string]click.Sight{
		"want one and a height":       {},
		"3 clicks":                    {Views: []click.View{ball, ball, ball}},
		"no camera is called":         {Views: []click.View{{Camera: "above"}}},
		"beside the picture":          {Views: []click.View{{Camera: "front", Pixel: [2]float64{-3, 5}}}},
		"beside the picture of":       {Views: []click.View{{Camera: "front", Pixel: [2]float64{math.NaN(), 5}}}},
		"both clicks":                 {Views: []click.View{ball, ball}},
		"enter its height":            {Views: []click.View{ball}},
		"is no number":                {Views: []click.View{ball}, Height: up(math.Inf(1))},
		"z is 0.700 m, outside":       {Views: []click.View{ball}, Height: up(0.7)},
		"outside the workspace":       {Views: []click.View{{Camera: "front", Pixel: [2]float64{1, 1}}}, Height: up(0.05)},
		"line of sight does not meet": {Views: []click.View{ball}, Height: up(1.5)},
		"click the same spot in both": {Views: []click.View{ball, seen("side", [3]float64{0.3, 0.1, 0.05})}},
		"not where you clicked":       {Views: []click.View{seen("front", [3]float64{0.35, 0.25, 0.05})}, Height: up(0.05), Find: true},
	} {
		if _, err := f.Lift(s); !errors.Is(err, click.ErrRefused) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want a refusal with %q", err, says)
		}
	}
}

// plan takes the hand to a ball that is found by its colour.
func plan() kagi.Plan {
	return kagi.Plan{Task: "to the ball", Points: []kagi.Point{{Name: "hand", Hand: true}, {Name: "ball", Camera: "front", Colour: &[3]float64{219, 18, 15}, Height: 0.05}},
		Stages: []kagi.Stage{{Point: "hand", Waypoints: []kagi.Waypoint{{At: [3]float64{0, 0, 0.1}, From: "ball"}, {From: "ball", Grip: "close"}}}}}
}

func TestPlansThatCannotBeFollowedAreRefused(t *testing.T) {
	f := clicktest.Show(t, click.Folder(t.TempDir()), "ball")
	for says, spoil := range map[string]func(d *click.Draft){
		"want 1 to 16": func(d *click.Draft) { d.Plan.Stages = nil },
		"waypoint of another point in between": func(d *click.Draft) {
			w := d.Plan.Stages[0].Waypoints
			d.Plan.Stages[0].Waypoints = append(w, w[0])
		},
		"of pictures 2, and":    func(d *click.Draft) { d.Scene = 2 },
		"in pixels of camera":   func(d *click.Draft) { d.Plan.Camera = "front" },
		"outside the workspace": func(d *click.Draft) { d.Plan.Stages[0].Waypoints[1].At[2] = 2 },
		"point ball: click: z":  func(d *click.Draft) { d.Plan.Points[1].Height = 0.7 },
		"is not seen by camera": func(d *click.Draft) { d.Plan.Points[1].Colour = &[3]float64{0, 250, 0} },
		"no camera is called":   func(d *click.Draft) { d.Plan.Points[1].Camera = "above" },
		"the policy sees": func(d *click.Draft) {
			d.Plan.Points[1].Name, d.Plan.Stages[0].Waypoints = "sphere", []kagi.Waypoint{{From: "sphere"}}
		},
		"is beside the picture":      func(d *click.Draft) { d.Plan.Points[1].Colour, d.Plan.Points[1].Pixel = nil, &[2]float64{-9, 0} },
		"stages[0].point is \"cup\"": func(d *click.Draft) { d.Plan.Stages[0].Point = "cup" },
	} {
		d := click.Draft{Scene: 1, Plan: plan()}
		spoil(&d)
		if err := f.Save(d); !errors.Is(err, click.ErrRefused) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want a refusal with %q", err, says)
		}
	}
	if _, err := f.Plan(); !errors.Is(err, click.ErrNone) {
		t.Errorf("a refused plan was kept: %v", err)
	}
}

// A session that only follows the points pays for no waypoint.
func TestWaypointsThatNothingPaysForMayComeBack(t *testing.T) {
	f := click.Folder(t.TempDir())
	if err := f.Show(click.Scene{Cameras: clicktest.Cameras(), Hand: clicktest.Hand, Box: clicktest.Box, Unpaid: true}, clicktest.Frames()); err != nil {
		t.Fatal(err)
	}
	p := plan()
	w := p.Stages[0].Waypoints
	p.Stages[0].Waypoints = append(w, w[0])
	if err := f.Save(click.Draft{Scene: 1, Plan: p}); err != nil {
		t.Error(err)
	}
}

// Who waits, who goes on, and what outlives either.
func TestPlanIsWaitedForUntilItIsSaved(t *testing.T) {
	f := click.Folder(filepath.Join(t.TempDir(), "clicks"))
	is := func(when string, wanted, waits bool) {
		t.Helper()
		got, err := f.Wanted()
		w, err2 := f.Waits()
		if got != wanted || w != waits || err != nil || err2 != nil {
			t.Errorf("%s: wanted %v, waits %v, %v %v; want %v, %v", when, got, w, err, err2, wanted, waits)
		}
	}
	is("at first", true, false)
	if _, err := f.State(); !errors.Is(err, click.ErrNone) {
		t.Errorf("nothing is shown, got %v", err)
	}
	if err := f.Again(); !errors.Is(err, click.ErrRefused) {
		t.Errorf("there is no plan to be replaced, got %v", err)
	}
	clicktest.Show(t, f)
	is("while it waits", true, true)
	far := plan()
	far.Points[1].Near = &[3]float64{0.5, -0.15, 0.05}
	if err := f.Save(click.Draft{Scene: 1, Plan: far}); !errors.Is(err, click.ErrRefused) || !strings.Contains(err.Error(), "is not seen by camera") {
		t.Errorf("the ball is 25 cm from where it is said to lie, got %v", err)
	}
	near := plan()
	near.Points[1].Near = &[3]float64{0.48, 0.12, 0.05}
	if err := f.Save(click.Draft{Scene: 1, Plan: near}); err != nil {
		t.Fatal(err)
	}
	is("once it is saved", false, false)
	got, err := f.Plan()
	if err != nil || !reflect.DeepEqual(got, near) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := f.Save(click.Draft{Scene: 1, Plan: plan()}); !errors.Is(err, click.ErrRefused) {
		t.Errorf("nobody waits, got %v", err)
	}
	if err := f.Again(); err != nil {
		t.Fatal(err)
	}
	is("once another is asked for", true, false)
	clicktest.Show(t, f)
	st, err := f.State()
	if err != nil || st.N != 2 || !st.Waits || st.Again || st.Plan == nil || len(st.Views) != 2 || st.Views[0] != (click.Size{Name: "front", W: clicktest.Side, H: clicktest.Side}) {
		t.Errorf("got %+v, %v", st, err)
	}
	is("a session that ended while it waited", true, true)
}

func TestBrokenFoldersAreTold(t *testing.T) {
	f := clicktest.Show(t, click.Folder(t.TempDir()))
	if err := os.WriteFile(filepath.Join(string(f), "scene.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := f.State(); err == nil || !strings.Contains(err.Error(), "remove the folder") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(f.PlanFile(), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Plan(); err == nil || !strings.Contains(err.Error(), "remove "+f.PlanFile()+", and it is asked for again") {
		t.Errorf("an empty plan: got %v", err)
	}
	if err := os.Remove(f.PlanFile()); err != nil {
		t.Fatal(err)
	}
	if wanted, err := f.Wanted(); err != nil || !wanted {
		t.Errorf("removed, it is asked for: %t, %v", wanted, err)
	}
	for says, change := range map[string]func(s *click.Scene, fs *[]robot.Frame){
		"want one each":   func(_ *click.Scene, fs *[]robot.Frame) { *fs = (*fs)[:1] },
		"names a folder":  func(s *click.Scene, fs *[]robot.Frame) { s.Cameras[0].Name, (*fs)[0].Camera = "a/b", "a/b" },
		"which stands in": func(s *click.Scene, _ *[]robot.Frame) { s.Cameras[1].OnHand = true },
	} {
		s, fs := click.Scene{Cameras: clicktest.Cameras(), Box: clicktest.Box}, clicktest.Frames()
		change(&s, &fs)
		if err := click.Folder(t.TempDir()).Show(s, fs); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

// Whatever a page sends, what is kept is a plan that can be followed from the scene on.
func FuzzDraft(f *testing.F) {
	b, err := json.Marshal(click.Draft{Scene: 1, Plan: plan()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"scene":1,"plan":{"points":[{"name":"a","camera":"side","pixel":[48,40],"height":0.2}],"stages":[{"point":"a","waypoints":[{"at":[0.5,0,0.1]}]}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d click.Draft
		if json.Unmarshal(b, &d) != nil {
			return
		}
		dir := clicktest.Show(t, click.Folder(t.TempDir()))
		if err := dir.Save(d); err != nil {
			if waits, err := dir.Waits(); err != nil || !waits {
				t.Fatalf("waits %v, %v after a refusal", waits, err)
			}
			return
		}
		p, err := dir.Plan()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.Stages {
			for _, w := range s.Waypoints {
				if w.From == "" && kagi.Within([]kagi.Leg{{To: [][3]float64{w.At}}}, clicktest.Box) != nil {
					t.Fatalf("kept %v, which lies outside", w.At)
				}
			}
		}
	})
}
