package wire

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/kagi/click"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// clickBall clicks the ball of the pictures that are shown, and the way to it.
func clickBall(f click.Folder, name string) error {
	st, err := f.State()
	if err != nil {
		return err
	}
	b, err := f.Picture("front")
	if err != nil {
		return err
	}
	pic, err := vision.Decode(b)
	if err != nil {
		return err
	}
	px, ok, err := kagi.Find(pic, [3]float64{219, 18, 15})
	if err != nil || !ok {
		return errors.Join(err, errors.New("no ball is seen"))
	}
	height := 0.12
	at, err := f.Lift(click.Sight{Views: []click.View{{Camera: "front", Pixel: px}}, Height: &height, Find: true})
	if err != nil {
		return err
	}
	return saveWay(f, st.N, at.Point, name)
}

// clickSpot clicks a pixel of the front camera, to be followed as it is.
func clickSpot(f click.Folder, px [2]float64, height float64) error {
	at, err := f.Lift(click.Sight{Views: []click.View{{Camera: "front", Pixel: px}}, Height: &height})
	if err != nil {
		return err
	}
	return saveWay(f, 1, at.Point, "ball")
}

// saveWay saves a plan of the hand to a point.
func saveWay(f click.Folder, scene int, to kagi.Point, name string) error {
	to.Name = name
	return f.Save(click.Draft{Scene: scene, Plan: kagi.Plan{Task: "to the " + name, Points: []kagi.Point{{Name: "hand", Hand: true}, to},
		Stages: []kagi.Stage{{Point: "hand", Waypoints: []kagi.Waypoint{{From: name}}}}}})
}

// A session whose plan is clicked waits for it with the arm held still, takes a stop
// meanwhile, and asks again only when it is told to.
func TestSessionWaitsForThePlanThatIsClicked(t *testing.T) {
	c := waypointed(t, "reach")
	c.Name, c.Reward.KAGI.Source = "one", "clicks"
	c.Session.Episodes, c.Session.Evaluate = 2, 1
	c.Robot.Horizon, c.Demos.Good, c.Demos.Bad, c.Reward.Experts = 20, 2, 2, 1
	var said strings.Builder
	o := quietly()
	o.Log = slog.New(slog.NewTextHandler(&said, nil))
	var s *Session
	var failed []error
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	looks, asked, stopped := 0, 0, false
	o.After = func(d time.Duration) <-chan time.Time {
		ch := make(chan time.Time, 1)
		if d != clickEvery {
			return ch // of others, who wait for nothing here
		}
		ch <- time.Time{}
		f := s.Clicks()
		if looks++; looks == 1 {
			return ch // nobody has clicked yet
		}
		if !stopped {
			stopped = true
			st, err := s.desk.Stop(t.Context(), bus.Stop{Who: "anna", Why: "wait"})
			if err != nil || !st.Held {
				failed = append(failed, err, errors.New("the stop did not hold the arm"))
			}
			if _, err := s.desk.Acknowledge(t.Context(), bus.Acknowledge{Fault: st.Fault.ID, Who: "anna"}); err != nil {
				failed = append(failed, err)
			}
		}
		asked++
		if asked == 2 {
			// What the policy sees may not change under it.
			if err := clickBall(f, "sphere"); !errors.Is(err, click.ErrRefused) || !strings.Contains(err.Error(), "the policy sees") {
				failed = append(failed, errors.New("other points were taken"), err)
			}
		}
		if err := clickBall(f, "ball"); err != nil {
			failed = append(failed, err)
			cancel()
		}
		return ch
	}
	o.Tell = func(stage string, done, _ int, words string) {
		if strings.Contains(words, "http://here") {
			failed = append(failed, errors.New("everybody on the bus is told where the page is: "+words))
		}
		if stage == "fine-tune" && done == 1 {
			failed = append(failed, s.Clicks().Again())
		}
	}
	var err error
	if s, err = Create(ctx, c, o); err != nil {
		t.Fatal(err)
	}
	s.ClickAt("http://here/clicks")
	_, err = s.Run(ctx)
	if err := errors.Join(err, s.Close(), errors.Join(failed...)); err != nil {
		t.Fatal(err)
	}
	if asked != 2 {
		t.Errorf("asked %d times, want 2: at the beginning, and when another was asked for", asked)
	}
	for _, want := range []string{"http://here/clicks", s.Clicks().PlanFile()} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the session did not say %q:\n%s", want, &said)
		}
	}
	if f, err := ClicksIn(s.Dir()); err != nil || f != s.Clicks() {
		t.Errorf("a page finds the clicks in %q, %v; want %q", f, err, s.Clicks())
	}
	drawnInFilm(t, s.Dir())
	// What was clicked is a plan like any other.
	c.Name, c.Reward.KAGI.Plan = "two", s.Clicks().PlanFile()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := seenKeys(c); !slices.Equal(got, []string{"ball"}) {
		t.Errorf("the policy sees %q, want the ball", got)
	}
}

// drawnInFilm looks for the waypoint that is sought in the film of a session's replay.
func drawnInFilm(t *testing.T, dir string) {
	t.Helper()
	out := t.TempDir()
	if _, err := ReplayFiles(t.Context(), ReplayConfig{Files: []string{dir}, Out: out, Film: true}, nil, nil, quietly()); err != nil {
		t.Fatal(err)
	}
	v, err := vision.OpenVideo(filepath.Join(out, "films", "online-00001.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	f, err := v.Next()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := 0; i < len(f.Pix); i += 3 { // films change colours a little
		if f.Pix[i] > 150 && f.Pix[i+1] < 120 && f.Pix[i+2] > 180 {
			n++
		}
	}
	if n < 30 { // a disc of 5 pixels' radius has 81, under the ball's own
		t.Errorf("%d pixels of the film have the colour of the waypoint that is sought", n)
	}
}

// Whether the reward goes by the waypoints or compares the points alone.
func TestSessionThatWaitsForClicksEnds(t *testing.T) {
	for _, sees := range []string{"features", "points"} {
		c := waypointed(t, "reach")
		c.Name, c.Reward.KAGI.Source = "one", "clicks"
		if c.Reward.Sees = sees; sees != "features" {
			c.Reward.Kind = "rapl"
		}
		ctx, cancel := context.WithCancel(t.Context())
		o := quietly()
		o.After = func(d time.Duration) <-chan time.Time {
			if d == clickEvery {
				cancel()
			}
			return nil
		}
		s, err := Create(ctx, c, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = s.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want %v", sees, err, context.Canceled)
		}
		f := s.Clicks()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if waits, err := f.Waits(); err != nil || !waits {
			t.Errorf("%s: waits %v, %v: a session that goes on asks again", sees, waits, err)
		}
		if st, err := f.State(); err != nil || st.Unpaid != (sees == "points") {
			t.Errorf("%s: waypoints that come back are taken: %v, %v", sees, st.Unpaid, err)
		}
	}
}

// A session of several processes says how its plan is clicked first, on an arm as well.
func TestSeveralProcessesWantThePlanClickedFirst(t *testing.T) {
	c := waypointed(t, "reach")
	c.Reward.KAGI.Source = "clicks"
	_, err := join(t.Context(), c, "learner", quietly())
	wantErr(t, err, "(rapport clicks)", "reward.kagi.plan")
	c.Robot.Kind = "ros"
	_, err = join(t.Context(), c, "learner", quietly())
	wantErr(t, err, "(rapport run)", "runs/NAME/clicks/plan.json", "reward.kagi.plan")
	if err != nil && strings.Contains(err.Error(), "rapport clicks") {
		t.Errorf("rapport clicks refuses an arm over ROS, but is named: %v", err)
	}
}

// Over ROS the cameras are those of the file, at whatever size they were calibrated.
func TestPlanIsClickedAndFollowedOnAnArmOverROS(t *testing.T) {
	uri, _ := rig(t)
	c := soakConfig(uri)
	c.Reward.Kind, c.Reward.KAGI.Source = "kagi", "clicks"
	sim := c
	sim.Robot.Kind = "sim"
	w, err := newWorld(sim)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	cams, err := SimCameras(w.(*tabletop.World))
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	for i := range cams {
		cams[i] = cams[i].Scaled(640, 480) // the shape of the rig's images
	}
	c.Reward.KAGI.Cameras = filepath.Join(t.TempDir(), "cameras.json")
	if err := keypoint.Save(c.Reward.KAGI.Cameras, cams); err != nil {
		t.Fatal(err)
	}
	f := click.Folder(t.TempDir())
	o := quietly()
	// The rig's pictures are noise, so that a spot is clicked and followed.
	front := cams[0].Scaled(96, 96)
	spot, _ := front.Project([3]float64{0.5, 0.05, 0.1})
	var saved error
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.After = func(time.Duration) <-chan time.Time {
		if saved = clickSpot(f, spot, 0.1); saved != nil {
			cancel()
			return nil
		}
		ch := make(chan time.Time, 1)
		ch <- time.Time{}
		return ch
	}
	if err := ClickPlan(ctx, c, f, o); err != nil {
		t.Fatal(err, saved)
	}
	c.Reward.KAGI.Plan = f.PlanFile()
	a, err := openArm(t.Context(), c, online, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}()
	keys := firstKeys(t, a)
	ball, score, ok := perception.Place(keys, "ball")
	legs, err := kagi.Told(keys)
	if !ok || score <= 0 || err != nil || len(legs) != 1 || legs[0].To[0] != ball || math.Abs(ball[0]-0.5)+math.Abs(ball[1]-0.05)+math.Abs(ball[2]-0.1) > 1e-3 {
		t.Errorf("the spot is at %v (%v, %v), and the way is %+v, %v", ball, ok, score, legs, err)
	}
	c.Reward.KAGI.Cameras = "nowhere.json"
	if _, err := calibrated(c); err == nil || !strings.Contains(err.Error(), "rapport calibrate") {
		t.Errorf("no cameras: %v", err)
	}
}
