package tree_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/tree"
	"github.com/rapport-rl/rapport/reward/rank"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// state is a point mass on a plane on its way to the origin, in a place that looks
// like nowhere else.
type state struct {
	x, v [2]float64
	look [looks]float64
}

// Features of a frame: distance to the goal, speed, depth in a puddle, and how the
// place looks, which stays as it is during an episode.
const (
	looks = 8
	width = 3 + looks
)

// likes is the hidden reward of a frame.
var likes = [width]float64{-1, -0.3, -1}

func begin(rng *rand.Rand) state {
	var s state
	for i := range s.x {
		s.x[i] = 2*rng.Float64() - 1
	}
	for i := range s.look {
		s.look[i] = rng.NormFloat64()
	}
	return s
}

// roll lets a policy act that goes about where it wants, mostly to the goal.
func roll(_ context.Context, s state, steps int, rng *rand.Rand) ([]float32, state, error) {
	gain := 0.15 * rng.Float64()
	push := [2]float64{0.05 * rng.NormFloat64(), 0.05 * rng.NormFloat64()}
	var frames []float32
	for range steps {
		for i := range s.x {
			s.v[i] = 0.7*s.v[i] - gain*s.x[i] + push[i] + 0.01*rng.NormFloat64()
			s.x[i] += s.v[i]
		}
		puddle := max(0, 0.4-math.Hypot(s.x[0]-0.5, s.x[1]-0.2))
		frames = append(frames, float32(math.Hypot(s.x[0], s.x[1])), float32(math.Hypot(s.v[0], s.v[1])), float32(puddle))
		for _, l := range s.look {
			frames = append(frames, float32(l))
		}
	}
	return frames, s, nil
}

func truth(c preference.Clip) float64 {
	var r float64
	for t := range c.Len() {
		for j, x := range c.Frame(t) {
			r += likes[j] * float64(x)
		}
	}
	return r
}

// person answers with the odds of a Bradley-Terry model of what is shown.
func person(rng *rand.Rand) func(context.Context, preference.Pair) (preference.Verdict, error) {
	return func(_ context.Context, p preference.Pair) (preference.Verdict, error) {
		if rng.Float64() < preference.BradleyTerry.Odds(truth(p.A)-truth(p.B), 0).First {
			return preference.First, nil
		}
		return preference.Second, nil
	}
}

var shape = tree.Config{Branch: 2, Depth: 3, Steps: 10, D: width}

// Capability 51: as many labels of trees and of chains, 20 seeds, paired t-test.
func TestTreesTeachMoreThanChains(t *testing.T) {
	const labels, each = 40, 5
	var gains []float64
	var trees, chains float64
	watched, all := 0, 0
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var grown, chained []tree.Query
		for range labels / each {
			g, err := tree.Grow(t.Context(), begin(rng), roll, shape, rng)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range g.Draw(each, rng) {
				grown = append(grown, g.Query(f))
			}
		}
		chain := func() preference.Clip {
			var c preference.Clip // in the same stretches, so that the policy is the same
			s := begin(rng)
			c.D = width
			for range shape.Depth + 1 {
				frames, end, err := roll(t.Context(), s, shape.Steps, rng)
				if err != nil {
					t.Fatal(err)
				}
				c.Embed, s = append(c.Embed, frames...), end
			}
			return c
		}
		for range labels {
			chained = append(chained, tree.Query{Pair: preference.Pair{A: chain(), B: chain()}})
		}
		var fresh []preference.Clip
		var want []float64
		for range 100 {
			c := chain()
			fresh, want = append(fresh, c), append(want, truth(c))
		}
		learned := func(qs []tree.Query) float64 {
			pairs, err := tree.Ask(t.Context(), qs, person(rng))
			if err != nil {
				t.Fatal(err)
			}
			m, _, err := preference.FitRLHF(t.Context(), pairs, preference.Config{Linear: true, Members: 1, Rate: 1e-2, Epochs: 100, Seed: seed})
			if err != nil {
				t.Fatal(err)
			}
			var got []float64
			for _, c := range fresh {
				u, err := m.Utility(c)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, u)
			}
			return rank.Spearman(got, want)
		}
		a, b := learned(grown), learned(chained)
		gains = append(gains, a-b)
		trees, chains = trees+a/20, chains+b/20
		w, n := tree.Shown(grown)
		watched, all = watched+w, all+n
	}
	mean, dev := stat.MeanStdDev(gains, nil)
	p := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: 19}.Survival(mean / (dev / math.Sqrt(20)))
	t.Logf("Spearman %.3f with trees, %.3f with chains, p %.4f; %d of %d frames watched", trees, chains, p, watched, all)
	if mean < 0.05 || p >= 0.05 {
		t.Errorf("trees gain %v, p %v", mean, p)
	}
	if float64(watched) > 0.8*float64(all) {
		t.Errorf("%d of %d frames are watched", watched, all)
	}
}

func TestLeavesShareTheirBeginnings(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	steps := 0
	count := func(ctx context.Context, s state, n int, rng *rand.Rand) ([]float32, state, error) {
		steps += n
		return roll(ctx, s, n, rng)
	}
	g, err := tree.Grow(t.Context(), begin(rng), count, tree.Config{Branch: 3, Depth: 2, Steps: 4, D: width}, rng)
	if err != nil {
		t.Fatal(err)
	}
	if g.Leaves() != 9 || g.Rolled() != 4*(1+3+9) || g.Rolled() != steps {
		t.Errorf("%d leaves, %d steps of %d rolled out", g.Leaves(), g.Rolled(), steps)
	}
	forks := g.Draw(100, rng)
	if len(forks) != 9*8/2 {
		t.Errorf("%d pairs of nine leaves", len(forks))
	}
	at := map[int]int{}
	for _, f := range forks {
		a, b, from := g.Clip(f.A), g.Clip(f.B), g.Parts(f)
		at[from]++
		if a.Len() != 12 || b.Len() != 12 {
			t.Fatalf("clips of %d and %d frames", a.Len(), b.Len())
		}
		for i := range 12 {
			if same := slices.Equal(a.Frame(i), b.Frame(i)); same != (i < from) {
				t.Errorf("leaves %v part at frame %d; frame %d is the same: %v", f, from, i, same)
			}
		}
	}
	if at[4] != 27 || at[8] != 9 {
		t.Errorf("pairs by the frame they part at: %v", at)
	}
	if p := g.Parts(tree.Fork{A: 2, B: 2}); p != 12 {
		t.Errorf("a leaf parts from itself at %d", p)
	}
}

func TestPeopleSeeWhatDiffers(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	g, err := tree.Grow(t.Context(), begin(rng), roll, shape, rng)
	if err != nil {
		t.Fatal(err)
	}
	q := g.Query(tree.Fork{A: 0, B: 1})
	verdicts := []preference.Verdict{preference.Second, preference.Unknown}
	i := 0
	got, err := tree.Ask(t.Context(), []tree.Query{q, q}, func(_ context.Context, p preference.Pair) (preference.Verdict, error) {
		if p.A.Len() != 10 || !slices.Equal(p.A.Frame(0), q.Pair.A.Frame(30)) {
			t.Errorf("%d frames are shown", p.A.Len())
		}
		i++
		return verdicts[i-1], nil
	})
	if err != nil || len(got) != 1 || got[0].Verdict != preference.Second || got[0].A.Len() != 40 {
		t.Errorf("answered pairs %v, %v", len(got), err)
	}
	if w, all := tree.Shown([]tree.Query{q}); w != 20 || all != 80 {
		t.Errorf("%d frames of %d are watched", w, all)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	stuck := errors.New("stuck")
	for _, tt := range []struct {
		cfg  tree.Config
		roll tree.Roll[state]
		want string
	}{
		{tree.Config{}, roll, "0 features"},
		{tree.Config{D: 1, Branch: 1}, roll, "branch 1"},
		{tree.Config{D: 1, Branch: 9, Depth: 99}, roll, "more than"},
		{tree.Config{D: 1}, roll, "for 10 frames of 1"},
		{shape, func(context.Context, state, int, *rand.Rand) ([]float32, state, error) { return nil, state{}, stuck }, "depth 0: stuck"},
	} {
		if _, err := tree.Grow(t.Context(), state{}, tt.roll, tt.cfg, rng); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	if _, err := tree.Ask(t.Context(), nil, nil); err == nil {
		t.Error("nobody answered")
	}
	qs := []tree.Query{{}}
	if _, err := tree.Ask(t.Context(), qs, func(context.Context, preference.Pair) (preference.Verdict, error) { return 0, stuck }); !errors.Is(err, stuck) {
		t.Errorf("somebody is stuck: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tree.Ask(ctx, qs, person(rng)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
