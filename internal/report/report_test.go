package report_test

import (
	"bytes"
	"image"
	"image/color"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/report"
)

func TestWilson(t *testing.T) {
	// Closed form at the ends: 0 of n gives [0, z²/(n+z²)].
	for _, tt := range []struct {
		s      report.Share
		lo, hi float64
	}{
		{report.Share{Hits: 0, Of: 100}, 0, 0.036994},
		{report.Share{Hits: 100, Of: 100}, 0.963006, 1},
		{report.Share{Hits: 50, Of: 100}, 0.403832, 0.596168},
		{report.Share{}, 0, 1},
	} {
		lo, hi := tt.s.Wilson()
		if math.Abs(lo-tt.lo) > 1e-6 || math.Abs(hi-tt.hi) > 1e-6 {
			t.Errorf("%+v: [%g, %g], want [%g, %g]", tt.s, lo, hi, tt.lo, tt.hi)
		}
	}
}

func full() report.Report {
	img := image.NewRGBA(image.Rect(0, 0, 8, 8))
	img.Set(3, 3, color.White)
	r := report.Report{
		Title: "group-001", Summary: "a <b>session</b>",
		Before: report.Share{Hits: 41, Of: 100}, After: report.Share{Hits: 97, Of: 100},
		Sheets: []report.Sheet{{Caption: "before", Frames: []image.Image{img, img}}},
		Facts:  []report.Fact{{Name: "episodes", Value: "episodes/*.mcap"}},
		Config: "seed: 1\n",
		Reward: report.Reward{Name: "rapl", Rewards: []float64{-1, -0.5, -0.2}, Expert: 2,
			Plan: [][]float64{{0.3, 0, 0.03}, {0, 0.3, 0}, {0.03, 0, 0.3}}, Matched: []int{0, 1, 2}, Pairs: []image.Image{img}},
	}
	for n := range 50 {
		r.Episodes = append(r.Episodes, report.Episode{N: n, Return: float64(n) - 60, Success: n%3 == 0, Judged: true})
	}
	return r
}

func TestPageHoldsEverything(t *testing.T) {
	var b bytes.Buffer
	if err := report.Write(&b, full()); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"group-001", "41 of 100", "97 of 100", `alt="learning curve"`, `alt="transport plan"`,
		`alt="reward per step"`, `alt="before, frame 1"`, `alt="matched pair 0"`, "episodes/*.mcap", "seed: 1"} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	if strings.Contains(page, "<b>session</b>") {
		t.Error("the summary is not escaped")
	}
	for _, outside := range []string{`src="http`, `href="http`, "ZgotmplZ"} {
		if strings.Contains(page, outside) {
			t.Errorf("page holds %q", outside)
		}
	}
}

func TestEmptyPartsAreLeftOut(t *testing.T) {
	var b bytes.Buffer
	if err := report.Write(&b, report.Report{Title: "reach-002"}); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"<img", "NaN", "Learning", "explained"} {
		if strings.Contains(b.String(), gone) {
			t.Errorf("an empty report holds %q", gone)
		}
	}
}

func TestBadPlanIsAnError(t *testing.T) {
	for name, plan := range map[string][][]float64{
		"ragged": {{1, 2}, {1}},
		"empty":  {{}},
		"NaN":    {{math.NaN()}},
	} {
		if err := report.Write(&bytes.Buffer{}, report.Report{Reward: report.Reward{Plan: plan}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestInterval(t *testing.T) {
	// t(0.975, 4) = 2.776445; the deviation of 1..5 is sqrt(2.5).
	mean, half := report.Interval([]float64{1, 2, 3, 4, 5})
	if mean != 3 || math.Abs(half-2.776445*math.Sqrt(2.5)/math.Sqrt(5)) > 1e-5 {
		t.Errorf("got %g ± %g", mean, half)
	}
	if _, half := report.Interval([]float64{1}); !math.IsInf(half, 1) {
		t.Errorf("one value has the interval %g", half)
	}
}

func TestQuantileTakesTheSmallestValueThatIsEnough(t *testing.T) {
	values := []float64{3, 1, 2, 4}
	for p, want := range map[float64]float64{0: 1, 0.25: 1, 0.26: 2, 0.5: 2.5, 0.75: 3, 1: 4} {
		if got := report.Quantile(values, p); got != want {
			t.Errorf("quantile %g is %g, want %g", p, got, want)
		}
	}
	if got := report.Quantile([]float64{3, 9, 1}, 0.5); got != 3 {
		t.Errorf("the median of three is %g, want 3", got)
	}
	if !slices.Equal(values, []float64{3, 1, 2, 4}) || !math.IsNaN(report.Quantile(nil, 0.5)) {
		t.Errorf("values became %v, and the quantile of none is %g", values, report.Quantile(nil, 0.5))
	}
}
