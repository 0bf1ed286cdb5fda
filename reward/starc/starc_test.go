package starc_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/rank"
	"github.com/rapport-rl/rapport/reward/starc"
	"github.com/rapport-rl/rapport/reward/starc/mdp"
)

func random(seed uint64) (*rand.Rand, *mdp.MDP) {
	rng := rand.New(rand.NewPCG(seed, 20))
	return rng, mdp.Random(rng, 8+rng.IntN(25), 3+rng.IntN(2))
}

func distance(t *testing.T, m *mdp.MDP, a, b []float64) float64 {
	t.Helper()
	d, err := m.Distance(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNothingThatNoPolicyCaresForCounts(t *testing.T) {
	worst := 0.0
	for seed := range uint64(60) {
		rng, m := random(seed)
		if err := m.Validate(); err != nil {
			t.Fatal(err)
		}
		r := m.Reward(rng)
		d := distance(t, m, r, m.Alike(rng, r))
		worst = max(worst, d)
		if d >= 1e-8 {
			t.Errorf("seed %d: %v between a reward and one that is shaped, spread and scaled, want below 1e-8", seed, d)
		}
	}
	t.Logf("largest %.2g", worst)
}

func TestDistanceFollowsRegret(t *testing.T) {
	const n = 60
	var far, raw, lost []float64
	for seed := range uint64(n) {
		rng, m := random(1000 + seed)
		r, other := m.Reward(rng), m.Reward(rng)
		// From the reward itself, over unrelated ones, towards its opposite.
		share := float64(seed) / (n - 1)
		proxy := make([]float64, len(r))
		floats.AddScaled(proxy, 1-1.5*share, r)
		floats.AddScaled(proxy, share, other)
		proxy = m.Alike(rng, proxy)
		regret, err := m.Regret(r, proxy)
		if err != nil {
			t.Fatal(err)
		}
		if regret < -1e-9 || regret > 1+1e-9 {
			t.Errorf("seed %d: regret %v, want 0 to 1", seed, regret)
		}
		d := distance(t, m, r, proxy)
		if !(d >= 0 && d <= 1) {
			t.Errorf("seed %d: distance %v, want 0 to 1", seed, d)
		}
		far, lost = append(far, d), append(lost, regret)
		a, b := starc.Canonical{C: r, Size: 1}, starc.Canonical{C: proxy, Size: 1}
		raw = append(raw, starc.Distance(a, b))
	}
	got, plain := rank.Spearman(far, lost), rank.Spearman(raw, lost)
	t.Logf("Spearman with regret: %.3f, of the raw rewards' distance %.3f", got, plain)
	if got < 0.85 {
		t.Errorf("Spearman of distance and regret is %.3f, want 0.85", got)
	}
	if got < plain {
		t.Errorf("the raw rewards' distance follows regret better: %.3f to %.3f", plain, got)
	}
}

func TestNothingLeft(t *testing.T) {
	rng, m := random(7)
	r := m.Reward(rng)
	none := make([]float64, len(r))
	shaping := m.Alike(rng, none) // all of it is shaping and spread
	opposite := m.Alike(rng, r)
	floats.Scale(-1, opposite)
	for _, tt := range []struct {
		name string
		a, b []float64
		want float64
	}{
		{"both zero", none, none, 0},
		{"zero and pure shaping", none, shaping, 0},
		{"one zero", r, none, 0.5},
		{"one pure shaping", shaping, r, 0.5},
		{"opposite", r, opposite, 1},
		{"the same", r, r, 0},
	} {
		if got := distance(t, m, tt.a, tt.b); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Policy iteration against all policies of a process small enough to list them.
func TestOptimalIsTheBestOfAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	m := mdp.Random(rng, 5, 3)
	r := m.Reward(rng)
	pi, err := m.Optimal(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Return(r, pi)
	if err != nil {
		t.Fatal(err)
	}
	best := math.Inf(-1)
	for code := range 243 {
		p := make([]float64, 15)
		for s, c := 0, code; s < 5; s, c = s+1, c/3 {
			p[s*3+c%3] = 1
		}
		j, err := m.Return(r, p)
		if err != nil {
			t.Fatal(err)
		}
		best = max(best, j)
	}
	if math.Abs(got-best) > 1e-9 {
		t.Errorf("policy iteration earns %v, the best of all 243 policies %v", got, best)
	}
}

func TestModelRefuses(t *testing.T) {
	for want, m := range map[string]starc.Model{
		"want S·A·S": {S: 2, A: 1, P: []float64{1}},
		"discount":   {S: 1, A: 1, P: []float64{1}, Discount: 1},
		"sum to":     {S: 1, A: 1, P: []float64{0.5}, Discount: 0.5},
		"of -1":      {S: 2, A: 1, P: []float64{-1, 2, 0, 1}, Discount: 0.5},
	} {
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want one that says %q", err, want)
		}
	}
}
