package wire

import (
	"math"
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/kagi"
)

// A place from before a point was lost is none to measure from.
func TestSightMeasuresFromWhatIsSeenUndisturbed(t *testing.T) {
	plan := kagi.Plan{Points: []kagi.Point{{Name: "box"}}}
	at := func(x, score float64) []perception.Keypoint { return kagi.Put(nil, "box", [3]float64{x, 0, 0}, score) }
	// Undisturbed the hand hides the box from tick 1 on, while it is pushed from 0.4 m to 0.6 m.
	plain := glimpse{keys: [][]perception.Keypoint{at(0.4, 1), at(0.4, 0), at(0.4, 0)}}
	seen := glimpse{keys: [][]perception.Keypoint{at(0.41, 1), at(0.5, 1), at(0.6, 1)}, follows: math.NaN()}
	var s Sighting
	s.add(plan, plain, seen)
	if s.Points != 3 || s.Lost != 0 || len(s.Beside) != 1 || math.Abs(s.Beside[0]-0.01) > 1e-12 {
		t.Errorf("got %+v, want 0.01 m of the tick at which both see it", s)
	}
}

// A camera that was turned since it was calibrated shows points beside their places;
// boxes at the sides change nothing.
func TestPointsAreSeenBesideTheirPlacesByATurnedCamera(t *testing.T) {
	c, err := config.Load("", nil, []string{"robot.task=reach", "reward.kind=kagi", "session.end=success", "robot.render=raster", "robot.cameras=[{name: front, width: 96, height: 96}]"})
	if err != nil {
		t.Fatal(err)
	}
	ss, err := Sight(t.Context(), c, 3, []config.Disturb{{Turn: 0.03}, {Distractors: 2}}, func(string, int, int, string) {})
	if err != nil {
		t.Fatal(err)
	}
	// 0.03 rad at 1.03 m, which the front camera is from the middle of the table, and that
	// aslant.
	for i, want := range []struct{ least, most float64 }{{0.02, 0.06}, {0, 0.002}} {
		s := ss[i]
		beside := report.Quantile(s.Beside, 0.5)
		if s.Points < 50 || 10*s.Lost > s.Points || len(s.Beside) != s.Points-s.Lost || !(beside >= want.least && beside <= want.most) {
			t.Errorf("level %d: %d of %d points lost, the others %.4f m beside their places, want %g to %g m", i, s.Lost, s.Points, beside, want.least, want.most)
		}
	}
	turned, straight := ss[0].Follows, ss[1].Follows
	if len(straight) == 0 || straight[0] < 0.95 || turned[0] >= straight[0] {
		t.Errorf("the reward follows the truth by %.3f, and by %.3f seen aslant; want 0.95, and less", straight, turned)
	}
}

// A rollout whose maker, who sees nothing, runs into a distractor until the guard holds the arm ends
// there, and the others are made.
func TestSightGoesOnAfterACollision(t *testing.T) {
	c, err := config.Load("", nil, []string{"robot.task=spatula", "seed=5", "reward.kind=kagi", "session.end=success", "robot.render=raster", "robot.cameras=[{name: front, width: 96, height: 96}]"})
	if err != nil {
		t.Fatal(err)
	}
	c.Robot.Disturb.Distractors = 6
	gs, err := glimpses(t.Context(), c, 2, func(string, int, int, string) {})
	if err != nil {
		t.Fatal(err)
	}
	// The first of this seed is cut off at tick 59.
	if n := len(gs[0].keys); n < 30 || n > c.Robot.Horizon || !math.IsNaN(gs[0].follows) {
		t.Errorf("%d ticks were seen and followed by %v, want fewer than all and no correlation", n, gs[0].follows)
	}
	if len(gs[1].keys) < 30 || math.IsNaN(gs[1].follows) {
		t.Errorf("of the next, %d ticks followed by %v", len(gs[1].keys), gs[1].follows)
	}
}

// Where a thing is to be grasped, most shaky hands never move it: the reward is held
// against the true one, which tells of the way to it, too.
func TestRewardFollowsTheTruthWhereAThingIsGrasped(t *testing.T) {
	c, err := config.Load("", nil, []string{"robot.task=spatula", "reward.kind=kagi", "robot.render=raster", "robot.cameras=[{name: front, width: 96, height: 96}]"})
	if err != nil {
		t.Fatal(err)
	}
	ss, err := Sight(t.Context(), c, 8, []config.Disturb{{}}, func(string, int, int, string) {})
	if err != nil {
		t.Fatal(err)
	}
	if mean, _ := report.Interval(ss[0].Follows); len(ss[0].Follows) != 8 || !(mean >= 0.4) {
		t.Errorf("the reward follows the true one by %.2f; want 0.4 in the mean of 8", ss[0].Follows)
	}
}
