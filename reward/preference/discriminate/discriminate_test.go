package discriminate_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/discriminate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tastes of three groups.
var tastes = [][]float64{{1, 1, 0, 0, 0, 0}, {0, 0, 1, 1, 0, 0}, {0, 0, 0, 0, 1, 1}}

// sure is how many times the odds people answer by.
const sure = 1.3

func utility(c preference.Clip, group int) float64 {
	var s float64
	for j, x := range c.Embed {
		s += sure * tastes[group][j] * float64(x)
	}
	return s
}

func clip(rng *rand.Rand) preference.Clip {
	c := preference.Clip{D: 6}
	for range 6 {
		c.Embed = append(c.Embed, float32(rng.NormFloat64()))
	}
	return c
}

func pairs(rng *rand.Rand, n int) []preference.Pair {
	var ps []preference.Pair
	for range n {
		ps = append(ps, preference.Pair{A: clip(rng), B: clip(rng)})
	}
	return ps
}

func answer(rng *rand.Rand, a, b preference.Clip, group int) preference.Verdict {
	if rng.Float64() < preference.BradleyTerry.Odds(utility(a, group)-utility(b, group), 0).First {
		return preference.First
	}
	return preference.Second
}

// modelled fits a reward to n answers of somebody of a group.
func modelled(t *testing.T, rng *rand.Rand, n, group int) preference.Model {
	t.Helper()
	ps := pairs(rng, n)
	for i := range ps {
		ps[i].Verdict = answer(rng, ps[i].A, ps[i].B, group)
	}
	m, _, err := preference.FitRLHF(t.Context(), ps, preference.Config{Linear: true, Members: 1, Rate: 3e-2, Batch: 32, Epochs: 60, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// sorted is the share of people whose group is told right by their answers.
func sorted(rng *rand.Rand, r discriminate.Responses, ps []preference.Pair, choose func() []int) float64 {
	const people = 600
	right := 0.0
	for u := range people {
		asked := choose()
		var said []preference.Verdict
		for _, k := range asked {
			a, b := ps[k/2].A, ps[k/2].B
			if k%2 == 1 {
				a, b = b, a
			}
			said = append(said, answer(rng, a, b, u%3))
		}
		best, high := 0, 0.0
		for g, c := range discriminate.Sort(r, asked, said) {
			if c > high {
				best, high = g, c
			}
		}
		if best == u%3 {
			right += 1.0 / people
		}
	}
	return right
}

// Capability 63: which of three groups somebody is of, by few questions.
func TestChosenQuestionsTellGroupsApart(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var models []preference.Model
	for g := range tastes {
		models = append(models, modelled(t, rng, 300, g))
	}
	ps := pairs(rng, 200)
	r, err := discriminate.Ask(models, ps)
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := discriminate.Choose(r, 4, discriminate.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	four := sorted(rng, r, ps, func() []int { return chosen })
	draw := func(n int) func() []int {
		return func() []int {
			var ks []int
			for _, i := range rng.Perm(len(ps))[:n] {
				ks = append(ks, 2*i)
			}
			return ks
		}
	}
	random, twelve := sorted(rng, r, ps, draw(4)), sorted(rng, r, ps, draw(12))
	t.Logf("4 chosen %.3f, 4 random %.3f, 12 random %.3f", four, random, twelve)
	if four < 0.92 || four < twelve {
		t.Errorf("4 chosen questions tell %v right, 12 random ones %v; want 0.92 and no fewer", four, twelve)
	}
}

// Capability 63: from five groups to the three that there are, with models of single
// people.
func TestClusteringFindsTheNumberOfGroups(t *testing.T) {
	right := 0
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var people []preference.Model
		for u := range 24 {
			people = append(people, modelled(t, rng, 80, u%3))
		}
		r, err := discriminate.Ask(people, pairs(rng, 60))
		if err != nil {
			t.Fatal(err)
		}
		g, err := discriminate.Cluster(t.Context(), r, discriminate.Config{}, rng)
		if err != nil {
			t.Fatal(err)
		}
		wrong := 0
		for u := range g.Of {
			if g.Of[u] != g.Of[u%3] {
				wrong++
			}
		}
		t.Logf("seed %d: %d groups after %d rounds, %d of 24 elsewhere than their like", seed, g.Count, g.Rounds, wrong)
		if g.Count == 3 && wrong <= 1 && len(g.Stimuli) == 3 {
			right++
		}
	}
	if right < 7 {
		t.Errorf("the three groups are found in %d of 8", right)
	}
}

func TestScoreIsThatOfTheSoftmax(t *testing.T) {
	r := discriminate.Responses{Rows: 3, Items: 2, U: []float64{1, -1, 2, -2, -0.5, 0.5}}
	const T = 0.7
	for item := range 2 {
		var sum float64
		for g := range 3 {
			sum += math.Exp(r.U[g*2+item] / T)
		}
		for g := range 3 {
			want := math.Log(3 * math.Exp(r.U[g*2+item]/T) / sum)
			if got := r.Score(g, item, T); math.Abs(got-want) > 1e-12 {
				t.Errorf("group %d, item %d: %v, want %v", g, item, got, want)
			}
		}
	}
	same := discriminate.Responses{Rows: 2, Items: 2, U: []float64{900, -900, 900, -900}}
	if got := same.Score(0, 0, 1); math.Abs(got) > 1e-12 {
		t.Errorf("groups that respond alike score %v", got)
	}
}

func TestQuestionsAreAskedOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	r := discriminate.Responses{Rows: 2, Items: 20}
	for range 2 {
		for range 10 {
			x := rng.NormFloat64()
			r.U = append(r.U, x, -x)
		}
	}
	for _, random := range []float64{0, 0.5, 1} {
		asked, err := discriminate.Choose(r, 10, discriminate.Config{Random: random}, rng)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int]bool{}
		for _, k := range asked {
			if seen[k/2] {
				t.Errorf("random %v: pair %d is asked about twice", random, k/2)
			}
			seen[k/2] = true
		}
		if len(seen) != 10 {
			t.Errorf("random %v: %d pairs of 10", random, len(seen))
		}
	}
	even := discriminate.Sort(r, []int{0, 2}, []preference.Verdict{preference.Unknown, preference.Tie})
	if even[0] != 0.5 || even[1] != 0.5 {
		t.Errorf("without answers the chances are %v", even)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	good := discriminate.Responses{Rows: 1, Items: 2, U: []float64{1, -1}}
	for _, tt := range []struct {
		r    discriminate.Responses
		n    int
		cfg  discriminate.Config
		want string
	}{
		{discriminate.Responses{}, 0, discriminate.Config{}, "0 responses"},
		{discriminate.Responses{Rows: 1, Items: 2, U: []float64{1, math.NaN()}}, 0, discriminate.Config{}, "item 1 is NaN"},
		{good, 2, discriminate.Config{}, "2 questions of 1"},
		{good, 1, discriminate.Config{Temperature: -1}, "temperature -1"},
		{good, 1, discriminate.Config{Merge: 2}, "merge 2"},
		{good, 1, discriminate.Config{Stimuli: -1}, "stimuli -1"},
	} {
		if _, err := discriminate.Choose(tt.r, tt.n, tt.cfg, rng); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	if _, err := discriminate.Cluster(t.Context(), good, discriminate.Config{}, rng); err == nil || !strings.Contains(err.Error(), "1 people for 5") {
		t.Errorf("one person in five groups: %v", err)
	}
	if _, err := discriminate.Cluster(t.Context(), good, discriminate.Config{Temperature: math.NaN()}, rng); err == nil {
		t.Error("a temperature that is not a number")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := discriminate.Cluster(ctx, good, discriminate.Config{Groups: 1}, rng); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	m := modelled(t, rng, 10, 0)
	narrow := preference.Clip{D: 2, Embed: []float32{1, 2}}
	for _, p := range []preference.Pair{{A: narrow, B: narrow}, {A: clip(rng), B: narrow}} {
		if _, err := discriminate.Ask([]preference.Model{m}, []preference.Pair{p}); err == nil || !strings.Contains(err.Error(), "pair 0") {
			t.Errorf("another encoder: %v", err)
		}
	}
}
