package regret_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/regret"
)

var (
	_ preference.Model = (*regret.Recorded)(nil)
	_ reward.Scorer    = (*regret.Recorded)(nil)
)

// reach is a world of which only recordings are known: something is to come from where it
// lies, near or far, to 0, by steps of a tenth (way 0) or a third of that (way 1). The
// reward is minus the distance; frames show the place and two numbers that mean nothing.
func reach(rng *rand.Rand, way int) preference.Clip {
	c := preference.Clip{D: 3}
	x, a, b := -0.1-1.1*rng.Float64(), rng.NormFloat64(), rng.NormFloat64()
	for range 13 {
		c.Embed = append(c.Embed, float32(x+0.01*rng.NormFloat64()), float32(a), float32(b+0.1*rng.NormFloat64()))
		x = min(0, x+[]float64{0.1, 0.03}[way]*(1+0.2*rng.NormFloat64()))
	}
	return c
}

// gathered is the return of a clip's frames after the first, and what the better way
// would have gathered from there.
func gathered(c preference.Clip) (got, best float64) {
	x := float64(c.Frame(0)[0])
	for t := range c.Len() - 1 {
		got += min(0, float64(c.Frame(t + 1)[0]))
		x = min(0, x+0.1)
		best += x
	}
	return got, best
}

func recordings(rng *rand.Rand) regret.Recordings {
	var r regret.Recordings
	for i := range 60 {
		r.Episodes, r.Shows = append(r.Episodes, reach(rng, i%2)), append(r.Shows, i%2)
	}
	return r
}

// judged are n comparisons of episodes by somebody who judges by explain, at odds of
// about 10.
func judged(rng *rand.Rand, r regret.Recordings, n int, explain regret.Explain) []preference.Pair {
	worth := func(c preference.Clip) float64 {
		got, best := gathered(c)
		if explain == regret.PartialReturn {
			return got
		}
		return got - best
	}
	var ps []preference.Pair
	for range n {
		i := rng.IntN(len(r.Episodes))
		j := (i + 1 + rng.IntN(len(r.Episodes)-1)) % len(r.Episodes)
		p := preference.Pair{A: r.Episodes[i], B: r.Episodes[j], Verdict: preference.Second}
		if rng.Float64() < preference.BradleyTerry.Odds(2*(worth(p.A)-worth(p.B)), 0).First {
			p.Verdict = preference.First
		}
		ps = append(ps, p)
	}
	return ps
}

// Capability 49 where only recordings are known: who judges what was made of a start is
// told from who counts rewards, and the reward that explains them is the true one.
func TestRegretIsToldFromRecordings(t *testing.T) {
	named, right := 0, 0.0
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 49))
		r := recordings(rng)
		explain := []regret.Explain{regret.PartialReturn, regret.Regret}[seed%2]
		pairs := judged(rng, r, 150, explain)
		c, err := regret.CompareRecorded(t.Context(), r, pairs, regret.Config{Folds: 2})
		if err != nil {
			t.Fatal(err)
		}
		if c.Names() == explain {
			named++
		}
		t.Logf("seed %d, %v: answers foretold %.2f by partial return, %.2f by regret, margin %.3f", seed, explain, c.PartialReturn.Accuracy, c.Regret.Accuracy, c.Margin)
		if explain == regret.PartialReturn {
			continue
		}
		m, err := regret.FitRecorded(t.Context(), r, pairs, regret.Config{Explain: explain})
		if err != nil {
			t.Fatal(err)
		}
		var is, said []float64 // of the frames of new episodes
		for i := range 20 {
			e := reach(rng, i%2)
			traj := make([]perception.Features, e.Len())
			for t := range traj {
				traj[t].Embed = e.Frame(t)
			}
			dst := make([]float64, len(traj)-1)
			if err := m.Score(t.Context(), dst, traj); err != nil {
				t.Fatal(err)
			}
			for t, x := range dst {
				is, said = append(is, float64(e.Frame(t + 1)[0])), append(said, x)
			}
		}
		right += stat.Correlation(is, said, nil) / 2
	}
	t.Logf("named %d of 4; correlation of the reward with the truth %.2f", named, right)
	if named < 4 || right < 0.9 {
		t.Errorf("named %d of 4; the reward agrees with the truth by %.2f, want 0.9", named, right)
	}
}

// A stretch of an episode is judged by what was left to be had after it, and regrets of
// stretches that follow each other are that of the whole.
func TestRegretsOfStretchesAddUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 49))
	r := recordings(rng)
	r.Gamma = 1
	m, err := regret.FitRecorded(t.Context(), r, judged(rng, r, 60, regret.Regret), regret.Config{Explain: regret.Regret})
	if err != nil {
		t.Fatal(err)
	}
	part := func(c preference.Clip, from, to int) float64 {
		c.Rest = c.Len() - to
		c.Embed = c.Embed[from*c.D : to*c.D]
		u, err := m.Utility(c)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, e := range r.Episodes[:4] {
		whole, parts := part(e, 0, 13), part(e, 0, 6)+part(e, 5, 13) // the frame between belongs to both
		if math.Abs(whole-parts) > 1e-9*(1+math.Abs(whole)) {
			t.Errorf("regret %v, of its parts %v", -whole, -parts)
		}
	}
}

func TestMistakesInRecordingsAreNamed(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 49))
	good := recordings(rng)
	pairs := judged(rng, good, 30, regret.Regret)
	narrow := preference.Clip{D: 1, Embed: []float32{1, 2}}
	for want, f := range map[string]func(r *regret.Recordings, ps *[]preference.Pair, c *regret.Config){
		"two at least":  func(r *regret.Recordings, _ *[]preference.Pair, _ *regret.Config) { r.Episodes = r.Episodes[:1] },
		"discount 2":    func(r *regret.Recordings, _ *[]preference.Pair, _ *regret.Config) { r.Gamma = 2 },
		"-1 components": func(r *regret.Recordings, _ *[]preference.Pair, _ *regret.Config) { r.Components = -1 },
		"what 1 show":   func(r *regret.Recordings, _ *[]preference.Pair, _ *regret.Config) { r.Shows = r.Shows[:1] },
		"no episode": func(r *regret.Recordings, _ *[]preference.Pair, _ *regret.Config) {
			r.Shows = append([]int{7}, r.Shows[1:]...)
		},
		"a whole one": func(r *regret.Recordings, _ *[]preference.Pair, _ *regret.Config) {
			r.Episodes = append(r.Episodes[:59:59], narrow)
		},
		"label some": func(_ *regret.Recordings, ps *[]preference.Pair, _ *regret.Config) { *ps = nil },
		"another enc": func(_ *regret.Recordings, ps *[]preference.Pair, _ *regret.Config) {
			*ps = []preference.Pair{{A: narrow, B: narrow, Verdict: 1}}
		},
		"tau -1": func(_ *regret.Recordings, _ *[]preference.Pair, c *regret.Config) { c.Tau = -1 },
		"none of 1": func(_ *regret.Recordings, ps *[]preference.Pair, _ *regret.Config) {
			*ps = []preference.Pair{{A: good.Episodes[0], B: good.Episodes[1]}}
		},
		"all frames of ": func(r *regret.Recordings, _ *[]preference.Pair, _ *regret.Config) {
			r.Shows, r.Episodes = nil, []preference.Clip{{D: 1, Embed: []float32{1, 1}}, {D: 1, Embed: []float32{1}}}
		},
	} {
		r, ps, c := good, pairs, regret.Config{Steps: 1}
		f(&r, &ps, &c)
		if _, err := regret.FitRecorded(t.Context(), r, ps, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	m, err := regret.FitRecorded(t.Context(), good, pairs, regret.Config{Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Score(t.Context(), make([]float64, 1), []perception.Features{{}, {Embed: narrow.Embed}}); err == nil || !strings.Contains(err.Error(), "another encoder") {
		t.Error(err)
	}
	if err := m.Score(t.Context(), nil, nil); err == nil {
		t.Error("nothing was scored")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := regret.FitRecorded(ctx, good, pairs, regret.Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
