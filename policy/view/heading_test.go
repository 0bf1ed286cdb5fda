package view_test

import (
	"math"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/view"
)

func TestHeadingIsSeenBesideThePlace(t *testing.T) {
	v := view.Config{Place: []int{0}, Span: 2, Heading: true, Fingers: true, Action: view.Action{Axes: []int{0}, Scale: 1}}
	if v.Dim() != 4 {
		t.Fatalf("%d numbers, want place, cosine, sine and fingers", v.Dim())
	}
	for _, a := range []float64{0, 0.7, -2.5, math.Pi} {
		in := policy.Input{}
		in.State.EE.P[0] = 1
		in.State.EE.Q = [4]float64{math.Cos(a / 2), 0, 0, math.Sin(a / 2)}
		in.State.Grip = 0.08
		row := make([]float32, 4)
		if err := v.Row(row, in); err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{0.5, math.Cos(a), math.Sin(a), 1} {
			if math.Abs(float64(row[i])-want) > 1e-6 {
				t.Errorf("turned by %g: number %d is %g, want %g", a, i, row[i], want)
			}
		}
	}
	other := v
	other.Heading = false
	if d := v.Diff(other); len(d) != 1 {
		t.Errorf("views with and without the heading differ in %q", d)
	}
}
