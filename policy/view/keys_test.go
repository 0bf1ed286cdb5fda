package view_test

import (
	"math"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/view"
)

func TestTrackedPointsAreSeenInUnitsOfTheWorkspace(t *testing.T) {
	v := view.Config{Keys: []string{"ball"}, Origin: [3]float64{0.5, 0, 0.3}, Span: 0.25, Horizon: 10, Action: view.Action{Axes: []int{0}, Scale: 0.01}}
	if err := v.Validate(); err != nil {
		t.Fatal(err)
	}
	in := policy.Input{Step: 5}
	row := make([]float32, v.Dim())
	if err := v.Row(row, in); err == nil || !strings.Contains(err.Error(), "ball") {
		t.Errorf("got %v, want that there is no ball", err)
	}
	// A lost one stays where it was.
	in.Features.Keys = perception.AddPlace(perception.AddPlace(nil, "hand", [3]float64{9, 9, 9}, 1), "ball", [3]float64{0.75, -0.25, 0.3}, 0)
	if err := v.Row(row, in); err != nil {
		t.Fatal(err)
	}
	for i, want := range []float32{1, -1, 0, 0.5} {
		if math.Abs(float64(row[i]-want)) > 1e-6 {
			t.Errorf("row is %v, want 1, -1, 0 and the clock's 0.5", row)
		}
	}
	if n := testing.AllocsPerRun(20, func() { _ = v.Row(row, in) }); n > 0 {
		t.Errorf("a row allocates %v times", n)
	}
	if ds := v.Diff(view.Config{Span: 0.25, Origin: v.Origin, Horizon: 10, Action: v.Action}); len(ds) == 0 {
		t.Error("views with and without a point are the same to Diff")
	}
}
