package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTasksBringTheirOwnValues(t *testing.T) {
	for _, tt := range []struct {
		sets    []string
		axes    string
		horizon int
		good    int
		clone   float64
	}{
		{[]string{"robot.task=group"}, "x y", 45, 15, 0},
		{[]string{"robot.task=stack"}, "x y z grip", 90, 30, 100},
		{[]string{"robot.task=almonds"}, "x y z", 75, 30, 100},
		{[]string{"robot.task=cup"}, "x y z grip", 75, 15, 0},
		{[]string{"robot.task=spatula", "robot.horizon=60"}, "x y z grip", 60, 30, 100},
		{[]string{"robot.task=stack", "learner.clone=0", "robot.horizon=45"}, "x y z grip", 45, 30, 0}, // as asked for
		{[]string{"robot.task=cover", "policy.axes=[x, z, grip]", "demos.good=20", "learner.clone=3"}, "x z grip", 90, 20, 3},
	} {
		c, err := Load("", nil, tt.sets)
		if err != nil {
			t.Errorf("%v: %v", tt.sets, err)
			continue
		}
		if got := strings.Join(c.Policy.Axes, " "); got != tt.axes || c.Robot.Horizon != tt.horizon || c.Demos.Good != tt.good || c.Learner.Clone != tt.clone {
			t.Errorf("%v: axes %s, horizon %d, %d good, clone %g; want %s, %d, %d, %g", tt.sets, got, c.Robot.Horizon, c.Demos.Good, c.Learner.Clone, tt.axes, tt.horizon, tt.good, tt.clone)
		}
	}
}

// What holds something and goes by waypoints learns from the better of what was done, unless
// somebody wants otherwise.
func TestTasksBringTheirOwnLearner(t *testing.T) {
	for _, tt := range []struct {
		sets    []string
		kind    string
		warmup  int
		updates int
		std     float64
		decay   bool
	}{
		{nil, "rlpd", 1500, 60, 0.3, false},
		{[]string{"robot.task=clutter"}, "rlpd", 1500, 60, 0.3, false},
		{[]string{"robot.task=cup"}, "rlpd", 1500, 60, 0.3, false},
		{[]string{"robot.world=xmagical", "robot.task=group"}, "rlpd", 1500, 60, 0.3, false},
		{[]string{"robot.task=stack"}, "rlpd", 1500, 60, 0.3, false},
		{[]string{"robot.task=stack", "reward.kind=kagi"}, "iql", 8000, 180, 0.1, true},
		{[]string{"robot.task=almonds", "reward.kind=kagi", "learner.updates=20"}, "iql", 8000, 20, 0.1, true},
		{[]string{"robot.task=spatula", "reward.kind=kagi", "learner.iql.decay=false", "learner.warmup=1500"}, "iql", 1500, 180, 0.1, false},
		{[]string{"robot.task=stack", "reward.kind=kagi", "learner.kind=rlpd"}, "rlpd", 1500, 60, 0.3, false},
		{[]string{"robot.task=reach", "reward.kind=kagi"}, "rlpd", 1500, 60, 0.3, false},
	} {
		c, err := Load("", nil, tt.sets)
		if err != nil {
			t.Errorf("%v: %v", tt.sets, err)
		} else if c.Learner.Kind != tt.kind || c.Learner.Warmup != tt.warmup || c.Learner.Updates != tt.updates || c.Policy.Clone.Std != tt.std || c.Learner.IQL.Decay != tt.decay {
			t.Errorf("%v: %s, %d steps before, %d updates, std %g, decay %t; want %s, %d, %d, %g, %t", tt.sets, c.Learner.Kind, c.Learner.Warmup, c.Learner.Updates, c.Policy.Clone.Std, c.Learner.IQL.Decay, tt.kind, tt.warmup, tt.updates, tt.std, tt.decay)
		}
	}
}

// A file of resolved values means the same when it is read again.
func TestFittedValuesStay(t *testing.T) {
	for _, task := range TabletopTasks() {
		c, err := Load("", nil, []string{"robot.task=" + task})
		if err != nil {
			t.Fatal(err)
		}
		again := c
		again.fitTask()
		if ch := c.Changes(again); len(ch) > 0 {
			t.Errorf("%s: %v", task, ch)
		}
	}
}

func TestDisturbanceErrorsNameTheKey(t *testing.T) {
	_, err := Load("", nil, []string{"robot.disturb.camera=1", "robot.disturb.turn=1", "robot.disturb.light=-1", "robot.disturb.distractors=9"})
	for _, want := range []string{"robot.disturb.camera", "robot.disturb.turn", "robot.disturb.light", "robot.disturb.distractors"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	_, err = Load("", nil, []string{"robot.world=xmagical", "robot.task=sweep", "robot.disturb.light=0.2"})
	if err == nil || !strings.Contains(err.Error(), "nothing to disturb") {
		t.Errorf("error %v", err)
	}
	if !slices.Contains(Keys(), "robot.disturb.light") {
		t.Error("no key robot.disturb.light")
	}
}

// By waypoints a policy sees the points, and episodes end with success where something tells
// it while they run, unless somebody says otherwise.
func TestWaypointsComeWithTheirPoints(t *testing.T) {
	for _, tt := range []struct {
		sets string
		keys bool
		sees string
		end  string
	}{
		{"robot.task=reach", false, "features", "horizon"},
		{"robot.task=reach reward.sees=points", false, "features", "horizon"},
		{"robot.task=reach reward.kind=kagi", true, "points", "success"},
		{"robot.task=stack reward.kind=kagi", true, "points", "success"},
		{"robot.task=stack reward.kind=kagi policy.sees=features", true, "features", "success"},
		{"robot.task=stack reward.kind=kagi policy.keys=false session.end=horizon", false, "features", "horizon"},
		{"robot.task=reach reward.kind=kagi reward.kagi.sparse=none", true, "points", "horizon"},
		{"robot.task=stack reward.kind=kagi reward.kagi.sparse=judge session.from=runs/a", true, "points", "horizon"},
		{"robot.kind=ros reward.kind=kagi reward.kagi.cameras=c.json reward.kagi.sparse=none session.from=runs/a", true, "points", "horizon"},
		{"robot.kind=ros reward.kind=kagi reward.kagi.cameras=c.json reward.kagi.sparse=classifier session.from=runs/a", true, "points", "success"},
	} {
		c, err := Load("", nil, strings.Fields(tt.sets))
		if err != nil {
			t.Errorf("%s: %v", tt.sets, err)
		} else if c.Policy.Keys != tt.keys || c.Policy.Sees != tt.sees || c.Session.End != tt.end {
			t.Errorf("%s: policy.keys %t, policy.sees %s, session.end %s, want %t, %s and %s", tt.sets, c.Policy.Keys, c.Policy.Sees, c.Session.End, tt.keys, tt.sees, tt.end)
		}
	}
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("reward:\n  kind: kagi\nsession:\n  end: horizon\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file, nil, []string{"policy.sees=points", "policy.keys=false"}); err == nil || !strings.Contains(err.Error(), "it would see none") {
		t.Errorf("points that are asked for and not there: %v", err)
	}
	if c, err := Load(file, nil, nil); err != nil || !c.Policy.Keys || c.Session.End != "horizon" {
		t.Errorf("a file's word: policy.keys %t, session.end %s, %v", c.Policy.Keys, c.Session.End, err)
	}
}
