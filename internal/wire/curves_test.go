package wire

import (
	"strings"
	"testing"
)

func TestCurvesLearnByEveryKindOfReward(t *testing.T) {
	c := flatConfig(t, "robot.task=group", "robot.embodiment=short", "robot.horizon=30", "demos.good=3", "demos.bad=3", "reward.experts=2",
		"encoder.steps=2", "encoder.keypoints=4", "policy.hidden=[8]", "learner.hidden=[8]", "learner.batch=8", "policy.clone.steps=2", "policy.clone.batch=8")
	st := CurveStudy{Kinds: []string{"bc", "truth", "rapl"}, Labels: 6, From: "medium", Pile: 8, Ticks: 60, Every: 30, Evaluate: 2}
	var kept []Curve
	st.Keep = func(cv Curve) error { kept = append(kept, cv); return nil }
	run := func() []Curve {
		kept = nil
		cs, err := Curves(t.Context(), c, st, func(string, int, int, string) {})
		if err != nil {
			t.Fatal(err)
		}
		return cs
	}
	cs := run()
	for i, kind := range st.Kinds {
		cv := cs[i]
		want := []int{0, 30, 60}
		if kind == "bc" {
			want = want[:1]
		}
		if cv.Kind != kind || len(cv.Points) != len(want) {
			t.Fatalf("%s: %+v, want evaluations after %v ticks", kind, cv, want)
		}
		for k, p := range cv.Points {
			if p.Ticks != want[k] || p.Success < 0 || p.Success > 1 || !(p.Distance > 0) {
				t.Errorf("%s: %+v after %d ticks", kind, p, want[k])
			}
		}
	}
	if cs[1].Rho < 0.2 {
		t.Errorf("the true reward and the true distance correlate by %.2f", cs[1].Rho)
	}
	again := run()
	for i := range cs {
		for k := range cs[i].Points {
			if cs[i].Points[k] != again[i].Points[k] {
				t.Errorf("%s: %+v, and again %+v", cs[i].Kind, cs[i].Points[k], again[i].Points[k])
			}
		}
	}
	if len(kept) != len(again) {
		t.Errorf("%d of %d curves were handed on", len(kept), len(again))
	}
	st.Kinds = []string{"truth", "kagi"}
	if _, err := Curves(t.Context(), c, st, nil); err == nil || !strings.Contains(err.Error(), `kind "kagi"`) {
		t.Errorf("by waypoints, which there are none of: %v", err)
	}
	st.Labels = 1
	if _, err := Curves(t.Context(), c, st, nil); err == nil || !strings.Contains(err.Error(), "4 labels") {
		t.Errorf("one label: %v", err)
	}
	c.Robot.World = "tabletop"
	if _, err := Curves(t.Context(), c, st, nil); err == nil || !strings.Contains(err.Error(), "robot.world=xmagical") {
		t.Errorf("of the tabletop: %v", err)
	}
}
