package preference_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/reward/preference"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// draw is a clip of T frames of D normal features.
func draw(rng *rand.Rand, T, D int) preference.Clip {
	c := preference.Clip{D: D}
	for range T * D {
		c.Embed = append(c.Embed, float32(rng.NormFloat64()))
	}
	return c
}

// linear is Σ_t w·x_t.
func linear(c preference.Clip, w []float64) float64 {
	var s float64
	for t := range c.Len() {
		for j, x := range c.Frame(t) {
			s += w[j] * float64(x)
		}
	}
	return s
}

// answer draws a verdict with the odds of a model of ties.
func answer(rng *rand.Rand, o preference.Odds) preference.Verdict {
	switch u := rng.Float64(); {
	case u < o.First:
		return preference.First
	case u < o.First+o.Second:
		return preference.Second
	}
	return preference.Tie
}

// asked draws n pairs and what a person of linear taste w says of them.
func asked(rng *rand.Rand, n, T int, w []float64, ties preference.Ties, strength float64) []preference.Pair {
	var ps []preference.Pair
	for range n {
		p := preference.Pair{A: draw(rng, T, len(w)), B: draw(rng, T, len(w))}
		p.Verdict = answer(rng, ties.Odds(linear(p.A, w)-linear(p.B, w), strength))
		ps = append(ps, p)
	}
	return ps
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func near(a, b, tol float64) bool { return math.Abs(a-b) <= tol*(1+math.Abs(b)) }
