package align_test

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
)

// TestFrontIsThatOfBruteForce: of a thousand batches, with ties among them, every sample
// by the definition.
func TestFrontIsThatOfBruteForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 1000 {
		n, M := 1+rng.IntN(12), 1+rng.IntN(4)
		rs := make([]float64, n*M)
		for i := range rs {
			rs[i] = float64(rng.IntN(5))
		}
		got := make([]bool, n)
		align.Front(got, rs, n)
		for i := range n {
			dominators := 0
			for j := range n {
				least, most := math.Inf(1), math.Inf(-1) // of what j has more
				for m := range M {
					least, most = min(least, rs[j*M+m]-rs[i*M+m]), max(most, rs[j*M+m]-rs[i*M+m])
				}
				if least >= 0 && most > 0 {
					dominators++
				}
			}
			if got[i] != (dominators == 0) {
				t.Fatalf("sample %d of %v by %d: on the front %v, dominated by %d", i, rs, M, got[i], dominators)
			}
		}
	}
}

func TestParetoByHand(t *testing.T) {
	first := func(s *align.Sample) float64 { return float64(s.Actions[0]) }
	second := func(s *align.Sample) float64 { return float64(s.Actions[1]) }
	rule := align.Pareto(first, second)
	b := &align.Batch{}
	for i, a := range [][]float32{{0, 4}, {4, 0}, {0, 0}, {4, 4}} { // the third is dominated by both of its group
		b.Samples = append(b.Samples, align.Sample{Actions: a, Group: i / 3})
	}
	want := func(rs ...float64) {
		t.Helper()
		if err := rule(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		for i, r := range rs {
			if got := b.Samples[i].Reward; math.Abs(got-r*4/3) > 1e-6 { // 3 of 4 are on the front
				t.Errorf("sample %d is rewarded by %v, want %v", i, got, r*4/3)
			}
		}
	}
	// Each reward has the mean 2 and the deviation 2.
	want(0, 0, 0, 2)
	b.Tastes = [][]float64{{1, 0}, {0, 1}}
	b.Samples[1].User, b.Samples[3].User = 1, 1
	want(-1, -1, 0, 1)

	b.Tastes = b.Tastes[:1]
	if err := rule(t.Context(), b); err == nil || !strings.Contains(err.Error(), "2 rewards for 1 users") {
		t.Errorf("fewer users than rewards: %v", err)
	}
	if err := align.Pareto()(t.Context(), b); err == nil || !strings.Contains(err.Error(), "want some rewards") {
		t.Errorf("no rewards: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := rule(ctx, b); err != context.Canceled {
		t.Errorf("told to stop: %v", err)
	}
}

// Two rewards that like opposite ways, the one three times as much, and both that chunks
// keep to a way.
var opposite = []func(*align.Sample) float64{
	func(s *align.Sample) float64 { return 3*aligntest.Liked(s) - 5*off(s) },
	func(s *align.Sample) float64 { return -aligntest.Liked(s) - 5*off(s) },
}

// worst is below both of them.
var worst = [2]float64{-7, -5}

// off is how far a chunk is from its way.
func off(s *align.Sample) (d float64) {
	for _, v := range s.Actions {
		d += math.Abs(math.Abs(float64(v)-0.1*float64(s.Seen[0])) - aligntest.Way)
	}
	return d
}

// compromise trains by DPPO and gives the means of both rewards, of what is drawn for
// taste, and the mean hypervolume of 16 chunks' fronts above the point low of the two.
func compromise(t *testing.T, p *align.Tuned, rewards []func(*align.Sample) float64, low [2]float64, j align.Judge, given bool, c align.RunConfig) func(taste []float64) (r [2]float64, front float64) {
	t.Helper()
	w := ways(t)
	a, err := align.NewDPPO(p, align.DPPOConfig{Given: given})
	if err != nil {
		t.Fatal(err)
	}
	c.Observations, c.Each, c.Every, c.Budget, c.Near = 8, 16, c.Rounds, math.Inf(1), math.Inf(1)
	c.Train, c.Held, c.Value = w.Train, w.Held, func([]align.Sample) float64 { return later(p) }
	r, err := align.NewRun(a, j, c)
	if err != nil {
		t.Fatal(err)
	}
	if c.Rounds > 0 { // or as it was
		if _, err := r.Go(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return func(taste []float64) (r [2]float64, front float64) {
		if err := p.Serve(taste); err != nil {
			t.Fatal(err)
		}
		ss := draw(t, w, p, 64, 16, 91)
		for i := range ss {
			for m, f := range rewards {
				r[m] += f(&ss[i]) / float64(len(ss))
			}
		}
		for i := 0; i < len(ss); i += 16 {
			front += hypervolume(ss[i:i+16], rewards, low) / 64
		}
		return r, front
	}
}

// hypervolume is what is dominated by some of ss, above the point low of the two rewards.
func hypervolume(ss []align.Sample, rewards []func(*align.Sample) float64, low [2]float64) (v float64) {
	left := append([]align.Sample(nil), ss...)
	for top := 0.0; len(left) > 0; { // by falling first reward
		k := 0
		for i := range left {
			if rewards[0](&left[i]) > rewards[0](&left[k]) {
				k = i
			}
		}
		a, b := rewards[0](&left[k])-low[0], rewards[1](&left[k])-low[1]
		if b > top && a > 0 {
			v += a * (b - top)
			top = b
		}
		left = append(left[:k], left[k+1:]...)
	}
	return v
}

// TestParetoKeepsWhatTheSumGivesUp: neither of two opposite rewards falls, where their
// sum drops the smaller one.
func TestParetoKeepsWhatTheSumGivesUp(t *testing.T) {
	w := ways(t)
	sum := align.Rated(func(s *align.Sample) float64 { return opposite[0](s) + opposite[1](s) }, 0)
	was, frontWas := compromise(t, tune(t, w, align.Config{}), opposite, worst, sum, false, align.RunConfig{})(nil)
	pareto, front := compromise(t, tune(t, w, align.Config{}), opposite, worst, align.Pareto(opposite...), true, align.RunConfig{Rounds: 30})(nil)
	summed, frontSum := compromise(t, tune(t, w, align.Config{}), opposite, worst, sum, false, align.RunConfig{Rounds: 30})(nil)
	t.Logf("rewards %.3f, of the front %.3f, of the sum %.3f; hypervolumes %.2f, %.2f and %.2f", was, pareto, summed, frontWas, front, frontSum)
	if pareto[0] < was[0] || pareto[1] < was[1] {
		t.Errorf("a reward fell from %v to %v", was, pareto)
	}
	if summed[1] > was[1]-0.3 {
		t.Errorf("the sum keeps both, %v of %v: this shows nothing", summed, was)
	}
	if front < frontWas || frontSum > frontWas {
		t.Errorf("the hypervolume is %.2f by the front and %.2f by the sum, was %.2f", front, frontSum, frontWas)
	}
}

// TestParetoMovesTheFrontOut: two rewards are the nearness of two chunks off both ways, the one three
// times as much, so that what is best for them lies on a line, away from all that was demonstrated.
// The hypervolume above the worst that the front has of each grows by a fifth at least, and neither
// reward falls; by their sum one does.
func TestParetoMovesTheFrontOut(t *testing.T) {
	w := ways(t)
	const at = 0.7
	near := func(x, y, by float64) func(*align.Sample) float64 {
		return func(s *align.Sample) float64 {
			return -by * math.Hypot(float64(s.Actions[0])-x, float64(s.Actions[1])-y)
		}
	}
	rewards := []func(*align.Sample) float64{near(at, -at, 3), near(-at, at, 1)}
	apart := 2 * math.Sqrt2 * at
	low := [2]float64{-3 * apart, -apart}
	sum := align.Rated(func(s *align.Sample) float64 { return rewards[0](s) + rewards[1](s) }, 0)
	was, frontWas := compromise(t, tune(t, w, align.Config{}), rewards, low, sum, false, align.RunConfig{})(nil)
	for seed := range uint64(4) {
		tuned := func() *align.Tuned { return tune(t, w, align.Config{Seed: seed}) }
		pareto, front := compromise(t, tuned(), rewards, low, align.Pareto(rewards...), true, align.RunConfig{Rounds: 30})(nil)
		summed, frontSum := compromise(t, tuned(), rewards, low, sum, false, align.RunConfig{Rounds: 30})(nil)
		t.Logf("seed %d: rewards %.3f, of the front %.3f, of the sum %.3f; hypervolumes %.2f, %.2f and %.2f", seed, was, pareto, summed, frontWas, front, frontSum)
		if pareto[0] < was[0] || pareto[1] < was[1] {
			t.Errorf("seed %d: a reward fell from %v to %v", seed, was, pareto)
		}
		if summed[1] > was[1]-0.3 {
			t.Errorf("seed %d: the sum keeps both, %v of %v: this shows nothing", seed, summed, was)
		}
		if front < 1.2*frontWas || frontSum > frontWas {
			t.Errorf("seed %d: the hypervolume is %.2f by the front and %.2f by the sum, was %.2f; want 1.2 times by the front", seed, front, frontSum, frontWas)
		}
	}
}

// TestTastesSteerWhatIsTraded between the rewards.
func TestTastesSteerWhatIsTraded(t *testing.T) {
	p := tune(t, ways(t), align.Config{Rank: 4, Taste: 2, LR: 1e-3})
	rewards := compromise(t, p, opposite, worst, align.Pareto(opposite...), true, align.RunConfig{Rounds: 40, Tastes: [][]float64{{1, 0}, {0, 1}}})
	one, _ := rewards([]float64{1, 0})
	other, _ := rewards([]float64{0, 1})
	was, _ := rewards(nil)
	t.Logf("rewards %.3f for the first, %.3f for the second, %.3f for nobody", one, other, was)
	if one[0] < was[0]+0.5 || other[1] < was[1]+0.2 || one[1] > other[1] || other[0] > one[0] {
		t.Errorf("rewards %v for the first's taste, %v for the second's, were %v", one, other, was)
	}
}
