package regret_test

import (
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/regret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ preference.Model = (*regret.Model)(nil)

// outcome is where an arm may lead.
type outcome struct {
	chance float64
	phi    []float64
}

// bets is a world in which every state but the last offers a choice of arms, each of
// which ends the episode.
func bets(features int, states [][][]outcome) *regret.World {
	n := 1 // the absorbing state, last
	for _, arms := range states {
		n++
		for _, a := range arms {
			n += len(a)
		}
	}
	A := 2
	w := &regret.World{States: n, Actions: A, Features: features, P: make([]float64, n*A*n), Phi: make([]float64, n*A*n*features)}
	end := len(states)
	for s := range n - len(states) - 1 {
		for a := range A {
			w.P[((end+s)*A+a)*n+n-1] = 1
		}
	}
	for a := range A {
		w.P[((n-1)*A+a)*n+n-1] = 1
	}
	for s, arms := range states {
		for a, os := range arms {
			for _, o := range os {
				w.P[(s*A+a)*n+end] = o.chance
				copy(w.Phi[((s*A+a)*n+end)*features:], o.phi)
				end++
			}
		}
	}
	return w
}

// ways lists the steps that each outcome of a bet is.
func ways(w *regret.World, states int) []regret.Step {
	var out []regret.Step
	for s := range states {
		for a := range w.Actions {
			for next := range w.States {
				if w.P[(s*w.Actions+a)*w.States+next] > 0 {
					out = append(out, regret.Step{State: s, Action: a, Next: next})
				}
			}
		}
	}
	return out
}

func noiseless(a, b float64) preference.Verdict {
	switch {
	case a > b+1e-9:
		return preference.First
	case a < b-1e-9:
		return preference.Second
	}
	return preference.Tie
}

// Capability 49: a safe arm against an even chance to win or lose, whose rewards are
// drawn anew. Whoever learns partial returns from answers by partial return, without
// any noise, knows only that winning is best and losing worst.
func TestRegretTellsWhetherABetIsWorthIt(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	const payoffs = 50
	right := map[regret.Explain]int{}
	actsGreedily := 0
	for range payoffs {
		lose, win := -rng.Float64(), rng.Float64()
		safe := lose + (win-lose)*rng.Float64()
		one := func(i int) []float64 { x := make([]float64, 3); x[i] = 1; return x }
		w := bets(3, [][][]outcome{{{{1, one(0)}}, {{0.5, one(1)}, {0.5, one(2)}}}})
		truth := []float64{safe, win, lose}
		best, err := w.Plan(truth)
		if err != nil {
			t.Fatal(err)
		}
		adv, err := w.Advantages(truth)
		if err != nil {
			t.Fatal(err)
		}
		steps := ways(w, 1)
		for _, explain := range []regret.Explain{regret.PartialReturn, regret.Regret} {
			var pairs []preference.Pair
			for i := range steps {
				for j := range i {
					a, b := truth[i], truth[j]
					if explain == regret.Regret {
						a, b = adv[steps[i].Action], adv[steps[j].Action]
					}
					pairs = append(pairs, preference.Pair{A: regret.Clip("", steps[i:i+1]), B: regret.Clip("", steps[j:j+1]), Verdict: noiseless(a, b)})
				}
			}
			m, err := regret.Fit(t.Context(), w, pairs, regret.Config{Explain: explain})
			if err != nil {
				t.Fatal(err)
			}
			policy, err := m.Policy()
			if err != nil {
				t.Fatal(err)
			}
			if policy[0] == best[0] {
				right[explain]++
			}
			if explain == regret.Regret {
				// Partial returns of the same answers: right if acted on greedily.
				m, err := regret.Fit(t.Context(), w, pairs, regret.Config{})
				if err != nil {
					t.Fatal(err)
				}
				if m.Greedy()[0] == best[0] {
					actsGreedily++
				}
			}
		}
	}
	t.Logf("right of %d: %v; partial return of answers by regret, greedily: %d", payoffs, right, actsGreedily)
	if got := right[regret.Regret]; got < 49 {
		t.Errorf("regret chooses right in %d of %d, want 49", got, payoffs)
	}
	if got := right[regret.PartialReturn]; got > 35 {
		t.Errorf("partial return chooses right in %d of %d, want at most 35", got, payoffs)
	}
}

// casino is a world of several bets with features drawn at random.
func casino(rng *rand.Rand, states, features int) *regret.World {
	phi := func() []float64 {
		x := make([]float64, features)
		for i := range x {
			x[i] = rng.NormFloat64()
		}
		return x
	}
	var ss [][][]outcome
	for range states {
		p := 0.2 + 0.6*rng.Float64()
		ss = append(ss, [][]outcome{{{1, phi()}}, {{p, phi()}, {1 - p, phi()}}})
	}
	return bets(features, ss)
}

// answers draws what somebody says who is explained by e.
func answers(t *testing.T, rng *rand.Rand, w *regret.World, states, n int, truth []float64, e regret.Explain) []preference.Pair {
	t.Helper()
	adv, err := w.Advantages(truth)
	if err != nil {
		t.Fatal(err)
	}
	worth := func(s regret.Step) float64 {
		if e == regret.Regret {
			return adv[s.State*w.Actions+s.Action]
		}
		var r float64
		for f := range truth {
			r += truth[f] * w.Phi[((s.State*w.Actions+s.Action)*w.States+s.Next)*w.Features+f]
		}
		return r
	}
	steps := ways(w, states)
	var pairs []preference.Pair
	for range n {
		i, j := rng.IntN(len(steps)), rng.IntN(len(steps))
		v := preference.Second
		if rng.Float64() < preference.BradleyTerry.Odds(worth(steps[i])-worth(steps[j]), 0).First {
			v = preference.First
		}
		pairs = append(pairs, preference.Pair{A: regret.Clip("", steps[i:i+1]), B: regret.Clip("", steps[j:j+1]), Verdict: v})
	}
	return pairs
}

// Capability 49: the likelihood of held-out answers names what they were given by.
func TestLikelihoodNamesTheExplanation(t *testing.T) {
	right := 0
	for i := range 10 {
		rng := rand.New(rand.NewPCG(uint64(i), 2))
		w := casino(rng, 6, 3)
		truth := []float64{2 * rng.NormFloat64(), 2 * rng.NormFloat64(), 2 * rng.NormFloat64()}
		by := regret.Explain(i % 2)
		c, err := regret.Compare(t.Context(), w, answers(t, rng, w, 6, 150, truth, by), regret.Config{Steps: 100, Folds: 3})
		if err != nil {
			t.Fatal(err)
		}
		if c.Names() == by {
			right++
		} else {
			t.Logf("world %d: %v taken for %v by %v nats", i, by, c.Names(), c.Margin)
		}
		if (c.Names() == regret.Regret) != (c.Regret.Loss < c.PartialReturn.Loss) {
			t.Errorf("world %d: %+v names %v", i, c, c.Names())
		}
	}
	t.Logf("%d of 10", right)
	if right < 9 {
		t.Errorf("%d of 10 are named, want 9", right)
	}
}
