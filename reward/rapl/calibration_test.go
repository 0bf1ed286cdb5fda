package rapl

import (
	"math"
	"testing"
)

func logit(p float64) float64 { return math.Log(p / (1 - p)) }

// Answers of known confidence: 4 at 0.62, 3 of them right, and 2 at 0.97, one right.
func TestCalibrationOfKnownAnswers(t *testing.T) {
	var y tally
	for _, p := range []float64{0.62, 0.62, 0.62, 0.38, 0.97, 0.03} {
		y.add(&slot{margin: logit(p)}, false)
	}
	y.add(&slot{margin: 7, loss: 0.7}, true) // ties say nothing of it
	m := y.measure()
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s is %g, want %g", what, got, want)
		}
	}
	near("loss", m.Loss, 0.1)
	near("accuracy", m.Accuracy, 4./6)
	near("Brier score", m.Brier, (3*0.38*0.38+0.62*0.62+0.03*0.03+0.97*0.97)/6)
	near("ECE", m.ECE, 4./6*math.Abs(0.75-0.62)+2./6*math.Abs(0.5-0.97))
	for i, b := range y.bins {
		want := Bin{Lo: 0.5 + 0.05*float64(i), Hi: 0.55 + 0.05*float64(i)}
		switch i {
		case 2:
			want.N, want.Confidence, want.Accuracy = 4, 0.62, 0.75
		case 9:
			want.N, want.Confidence, want.Accuracy = 2, 0.97, 0.5
		}
		near("lower bound", b.Lo, want.Lo)
		near("upper bound", b.Hi, want.Hi)
		near("confidence", b.Confidence, want.Confidence)
		near("accuracy", b.Accuracy, want.Accuracy)
		if b.N != want.N {
			t.Errorf("bin %d holds %d, want %d", i, b.N, want.N)
		}
	}
}

func TestCalibrationOfNothing(t *testing.T) {
	var y tally
	y.add(&slot{margin: 1, loss: 0.2}, true)
	if m := y.measure(); m != (Measure{Loss: 0.2}) {
		t.Errorf("got %+v, want the loss alone", m)
	}
	// Certainty falls into the last bin, and does not leave it.
	y.add(&slot{margin: 1e4}, false)
	y.add(&slot{margin: 0}, false)
	if y.bins[bins-1].N != 1 || y.bins[0].N != 1 {
		t.Errorf("got %+v", y.bins)
	}
}
