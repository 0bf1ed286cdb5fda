package preference_test

import (
	"math"
	"testing"

	"github.com/rapport-rl/rapport/reward/preference"
)

// said is a model that is right about utilities x[0] and says what it is told.
type said struct{ odds preference.Odds }

func (s said) Utility(c preference.Clip) (float64, error) { return float64(c.Embed[0]), nil }
func (s said) Odds(a, b preference.Clip) (preference.Odds, error) {
	return s.odds, nil
}

func TestEvaluateAgainstHand(t *testing.T) {
	at := func(x float32) preference.Clip { return preference.Clip{D: 1, Embed: []float32{x}} }
	pairs := []preference.Pair{
		{A: at(3), B: at(1), Verdict: preference.First},
		{A: at(0), B: at(4), Verdict: preference.First}, // against the utilities
		{A: at(2), B: at(2), Verdict: preference.Second},
		{A: at(1), B: at(2), Verdict: preference.Tie},
		{A: at(9), B: at(2)},
	}
	got := measure(t, said{preference.Odds{First: 0.6, Second: 0.2, Tie: 0.2}}, pairs)
	want := preference.Measure{
		Loss:     -(2*math.Log(0.6) + 2*math.Log(0.2)) / 4,
		Accuracy: 0.5, Calibration: 0.75 - 0.5, DecidedGap: 2, TieGap: 1, Decided: 3, Ties: 1,
	}
	for _, x := range [][2]float64{{got.Loss, want.Loss}, {got.Accuracy, want.Accuracy}, {got.Calibration, want.Calibration}, {got.DecidedGap, want.DecidedGap}, {got.TieGap, want.TieGap}} {
		if !near(x[0], x[1], 1e-12) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if got.Decided != 3 || got.Ties != 1 {
		t.Errorf("%d decided, %d ties", got.Decided, got.Ties)
	}
	if m := measure(t, said{preference.Odds{First: 0.5, Second: 0.5}}, pairs[3:]); !near(m.Loss, math.Ln2, 1e-12) || m.Accuracy != 0 {
		t.Errorf("a tie to a model without ties: %+v", m)
	}
}

// Fitted to a person who answers by a model of ties, that model learns how often
// that person says "alike".
func TestStrengthIsLearned(t *testing.T) {
	for _, tt := range []struct {
		ties preference.Ties
		true float64
	}{{preference.RaoKupper, 3}, {preference.Davidson, 2}} {
		rng := newRand(20)
		train := asked(rng, 600, 3, taste, tt.ties, tt.true)
		net, _ := fit(t, train, preference.Config{Linear: true, Ties: tt.ties, LearnStrength: true, Rate: 1e-2, Batch: 32, Seed: 1})
		if k := net.Strength(); k < 0.7*tt.true || k > 1.4*tt.true {
			t.Errorf("%v: strength %v, want about %v", tt.ties, k, tt.true)
		}
		fresh := asked(rng, 600, 3, taste, tt.ties, tt.true)
		if m := measure(t, net, fresh); m.Calibration > 0.06 {
			t.Errorf("%v: calibration error %v", tt.ties, m.Calibration)
		}
	}
}
