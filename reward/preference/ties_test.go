package preference_test

import (
	"math"
	"testing"

	"github.com/rapport-rl/rapport/reward/preference"
)

var allTies = []preference.Ties{preference.BradleyTerry, preference.RaoKupper, preference.Davidson}

func TestOddsSumToOneAndMirror(t *testing.T) {
	for _, m := range allTies {
		for _, k := range []float64{1.2, 5, 40} {
			for _, d := range []float64{-800, -3, 0, 0.2, 5, 900} {
				o, r := m.Odds(d, k), m.Odds(-d, k)
				if s := o.First + o.Second + o.Tie; !near(s, 1, 1e-12) {
					t.Errorf("%v: odds at %v sum to %v", m, d, s)
				}
				if !near(o.First, r.Second, 1e-12) || !near(o.Tie, r.Tie, 1e-12) {
					t.Errorf("%v: odds at %v are %v, at the opposite %v", m, d, o, r)
				}
			}
		}
	}
}

// The forms in which the papers write them, with π = e^R.
func TestOddsAreThePapers(t *testing.T) {
	const a, b, k = 2.5, 0.7, 3.0
	d := math.Log(a / b)
	rk := preference.RaoKupper.Odds(d, k)
	if want := a / (a + k*b); !near(rk.First, want, 1e-12) {
		t.Errorf("Rao-Kupper: P(A) = %v, want %v", rk.First, want)
	}
	if want := (k*k - 1) * a * b / ((a + k*b) * (b + k*a)); !near(rk.Tie, want, 1e-12) {
		t.Errorf("Rao-Kupper: P(tie) = %v, want %v", rk.Tie, want)
	}
	dv := preference.Davidson.Odds(d, k)
	if want := k * math.Sqrt(a*b) / (a + b + k*math.Sqrt(a*b)); !near(dv.Tie, want, 1e-12) {
		t.Errorf("Davidson: P(tie) = %v, want %v", dv.Tie, want)
	}
	if a, b := preference.RaoKupper.Odds(0, preference.RaoKupper.DefaultStrength()), preference.Davidson.Odds(0, preference.Davidson.DefaultStrength()); !near(a.Tie, b.Tie, 1e-12) {
		t.Errorf("default strengths call %v and %v of equals ties", a.Tie, b.Tie)
	}
}

func TestTieLossesAreLogOddsWithTheirSlopes(t *testing.T) {
	const h = 1e-6
	for _, m := range allTies {
		for _, v := range []preference.Verdict{preference.Unknown, preference.First, preference.Second, preference.Tie} {
			for _, d := range []float64{-30, -2, 0, 0.5, 30} {
				const k = 2.3
				loss, byD, byK := m.Loss(v, d, k)
				if o := m.Odds(d, k); v != preference.Tie || m != preference.BradleyTerry {
					if !near(loss, -math.Log(o.Of(v)), 1e-9) {
						t.Errorf("%v: loss of %v at %v is %v, want %v", m, v, d, loss, -math.Log(o.Of(v)))
					}
				}
				up, _, _ := m.Loss(v, d+h, k)
				down, _, _ := m.Loss(v, d-h, k)
				if want := (up - down) / (2 * h); !near(byD, want, 1e-6) {
					t.Errorf("%v: slope of %v at %v is %v, want %v", m, v, d, byD, want)
				}
				up, _, _ = m.Loss(v, d, k+h)
				down, _, _ = m.Loss(v, d, k-h)
				if want := (up - down) / (2 * h); !near(byK, want, 1e-6) {
					t.Errorf("%v: slope of %v by the strength at %v is %v, want %v", m, v, d, byK, want)
				}
			}
		}
	}
}

func TestLossesStayFinite(t *testing.T) {
	for _, m := range allTies {
		for _, v := range []preference.Verdict{preference.First, preference.Second, preference.Tie} {
			for _, d := range []float64{-5000, 5000} {
				l, byD, byK := m.Loss(v, d, 5)
				for _, x := range []float64{l, byD, byK} {
					if x-x != 0 {
						t.Errorf("%v: loss of %v at %v is %v, %v, %v", m, v, d, l, byD, byK)
					}
				}
			}
		}
	}
}
