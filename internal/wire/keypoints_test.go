package wire

import (
	"context"
	"testing"

	"github.com/rapport-rl/rapport/internal/report"
)

// A short sequence stays within the figures of docs/keypoints.md, with room for another
// version of Mesa.
func TestTrackedPointsStayWhereTheyAre(t *testing.T) {
	rs, err := Keypoints(context.Background(), KeypointStudy{Seeds: 1, Ticks: 20, Task: "group", Troubles: []Trouble{Plain, Everything}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		p50, p95 := report.Quantile(r.Pixels, 0.5), report.Quantile(r.Pixels, 0.95)
		lost, wrong := float64(r.Lost)/float64(r.Points), float64(r.Wrong)/float64(r.Points)
		lift, both := 1000*report.Quantile(r.Lift, 0.5), 1000*report.Quantile(r.Both, 0.5)
		exact := 1000 * report.Quantile(r.Exact, 1)
		t.Logf("%s: %d points, p50 %.2f px, p95 %.2f px, lost %.3f, wrong %.3f, lifted %.1f mm, by two cameras %.1f mm", r.Trouble, r.Points, p50, p95, lost, wrong, lift, both)
		if r.Points < 300 || !(p50 < 1.2 && p95 < 10 && lost < 0.15 && wrong < 0.06) {
			t.Errorf("%s: %d points, p50 %.2f px, p95 %.2f px, lost %.3f, wrong %.3f", r.Trouble, r.Points, p50, p95, lost, wrong)
		}
		if !(lift < 5 && both < 5 && exact < 1e-6) {
			t.Errorf("%s: lifted to %.2f mm, by two cameras %.2f mm, true pixels to %g mm", r.Trouble, lift, both, exact)
		}
	}
}

func TestTheStudyOfPointsIsDrawnAsItIsConfigured(t *testing.T) {
	_, err := Keypoints(t.Context(), KeypointStudy{Seeds: 1, Ticks: 1, Task: "group", Render: "crayon", Troubles: []Trouble{Plain}}, nil)
	wantErr(t, err, `render is "crayon"`)
}
