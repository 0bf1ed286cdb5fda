package wire

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/kagi/click"
)

// clickBall clicks the ball of the pictures that are shown, and the way to it.
func clickBall(f click.Folder, names ...string) error {
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
	d := click.Draft{Scene: st.N, Plan: kagi.Plan{Task: "to the ball", Points: []kagi.Point{{Name: "hand", Hand: true}}}}
	for _, n := range names {
		at.Point.Name = n
		d.Plan.Points = append(d.Plan.Points, at.Point)
	}
	d.Plan.Stages = []kagi.Stage{{Point: "hand", Waypoints: []kagi.Waypoint{{From: names[0]}}}}
	return f.Save(d)
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
		failed = append(failed, clickBall(f, "ball"))
		return ch
	}
	o.Tell = func(stage string, done, _ int, _ string) {
		if stage == "fine-tune" && done == 1 {
			failed = append(failed, s.Clicks().Again())
		}
	}
	var err error
	if s, err = Create(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
	s.ClickAt("http://here/clicks")
	_, err = s.Run(t.Context())
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
	// What was clicked is a plan like any other.
	c.Name, c.Reward.KAGI.Plan = "two", s.Clicks().PlanFile()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := seenKeys(c); !slices.Equal(got, []string{"ball"}) {
		t.Errorf("the policy sees %q, want the ball", got)
	}
}

func TestSessionThatWaitsForClicksEnds(t *testing.T) {
	c := waypointed(t, "reach")
	c.Name, c.Reward.KAGI.Source = "one", "clicks"
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
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	f := s.Clicks()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if waits, err := f.Waits(); err != nil || !waits {
		t.Errorf("waits %v, %v: a session that goes on asks again", waits, err)
	}
}
