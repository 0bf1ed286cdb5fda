package regret

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/preference"
)

// random is a world without absorbing states; sure says that chance decides nothing.
func random(rng *rand.Rand, S, A, F int, sure bool) *World {
	w := &World{States: S, Actions: A, Features: F, P: make([]float64, S*A*S), Phi: make([]float64, S*A*S*F), Gamma: 0.9}
	for i := range S * A {
		if sure {
			w.P[i*S+rng.IntN(S)] = 1
			continue
		}
		for s := range S {
			w.P[i*S+s] = rng.Float64()
		}
		floats.Scale(1/floats.Sum(w.P[i*S:(i+1)*S]), w.P[i*S:(i+1)*S])
	}
	for i := range w.Phi {
		w.Phi[i] = rng.NormFloat64()
	}
	return w
}

// values by value iteration (Bellman 1957).
func values(w *World, weights []float64) (v, q []float64) {
	v, q = make([]float64, w.States), make([]float64, w.States*w.Actions)
	for range 500 {
		for s := range w.States {
			for a := range w.Actions {
				x := 0.0
				for next, p := range w.chances(s, a) {
					x += p * (floats.Dot(weights, w.phi(s, a, next)) + w.gamma()*v[next])
				}
				q[s*w.Actions+a] = x
			}
		}
		for s := range v {
			v[s] = floats.Max(q[s*w.Actions : (s+1)*w.Actions])
		}
	}
	return v, q
}

func TestPlansAreThoseOfValueIteration(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := random(rng, 12, 3, 4, seed%2 == 0)
		weights := []float64{rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64()}
		v, q := values(w, weights)
		policy, err := w.Plan(weights)
		if err != nil {
			t.Fatal(err)
		}
		adv, err := w.Advantages(weights)
		if err != nil {
			t.Fatal(err)
		}
		f, err := w.follow(policy)
		if err != nil {
			t.Fatal(err)
		}
		for s := range v {
			if got := floats.Dot(weights, f.v[s*4:(s+1)*4]); math.Abs(got-v[s]) > 1e-9 {
				t.Errorf("seed %d: value %v of state %d, want %v", seed, got, s, v[s])
			}
			for a := range 3 {
				if got, want := adv[s*3+a], q[s*3+a]-v[s]; math.Abs(got-want) > 1e-9 {
					t.Errorf("seed %d: advantage %v, want %v", seed, got, want)
				}
			}
		}
	}
}

// walk draws n steps by chance.
func walk(rng *rand.Rand, w *World, n int) []Step {
	s := rng.IntN(w.States)
	var steps []Step
	for range n {
		a := rng.IntN(w.Actions)
		u, next := rng.Float64(), 0
		for p := w.chances(s, a); next < w.States-1 && u >= p[next]; next++ {
			u -= p[next]
		}
		for w.chances(s, a)[next] == 0 { // rounding
			next--
		}
		steps = append(steps, Step{s, a, next})
		s = next
	}
	return steps
}

// made is a model whose library holds the best policy for its weights, and others.
func made(t *testing.T, w *World, weights []float64, cfg Config) *Model {
	t.Helper()
	m := &Model{Weights: weights, world: w, cfg: cfg.withDefaults()}
	for i := range 4 {
		x := append([]float64(nil), weights...)
		if i > 0 {
			x[i%len(x)] *= -1
		}
		if _, err := m.learn(x); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// Regret is a sum of advantages, and where chance decides nothing the deterministic
// form is the same but for the discount.
func TestRegretIsASumOfAdvantages(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, sure := range []bool{true, false} {
		w := random(rng, 8, 3, 3, sure)
		weights := []float64{1, -0.5, 0.7}
		adv, err := w.Advantages(weights)
		if err != nil {
			t.Fatal(err)
		}
		grad := make([]float64, 3)
		general, deterministic := made(t, w, weights, Config{Explain: Regret}), made(t, w, weights, Config{Explain: Deterministic})
		apart := 0.0
		for range 50 {
			steps := walk(rng, w, 5)
			sum, discounted, c := 0.0, 0.0, 1.0
			for _, s := range steps {
				a := adv[s.State*3+s.Action]
				sum, discounted = sum+a, discounted+c*a
				c *= w.gamma()
			}
			if got := general.worth(grad, steps); math.Abs(got-sum) > 1e-6 {
				t.Errorf("regret %v, want %v", -got, -sum)
			}
			apart = max(apart, math.Abs(deterministic.worth(grad, steps)-discounted))
		}
		if sure && apart > 1e-6 || !sure && apart < 0.1 {
			t.Errorf("chance decides nothing: %v; deterministic regret differs by %v", sure, apart)
		}
	}
}

func TestGradientAgainstDifferences(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	w := random(rng, 6, 2, 3, false)
	var sides [2][][]Step
	var said []preference.Verdict
	for i := range 9 {
		for side := range sides {
			sides[side] = append(sides[side], walk(rng, w, 1+i%4))
		}
		said = append(said, preference.Verdict(1+i%3))
	}
	for _, explain := range []Explain{PartialReturn, Regret, Deterministic} {
		m := made(t, w, []float64{0.3, -0.2, 0.1}, Config{Explain: explain, Tau: 0.3, Ties: preference.RaoKupper, L2: 0.1})
		grad, other := make([]float64, 3), make([]float64, 3)
		by := [2][]float64{make([]float64, 3), make([]float64, 3)}
		m.loss(grad, by, sides, said)
		for i := range m.Weights {
			const h = 1e-5
			x := m.Weights[i]
			m.Weights[i] = x + h
			up := m.loss(other, by, sides, said)
			m.Weights[i] = x - h
			down := m.loss(other, by, sides, said)
			m.Weights[i] = x
			if want := (up - down) / (2 * h); math.Abs(grad[i]-want) > 1e-7*(1+math.Abs(want)) {
				t.Errorf("%v: gradient %v, differences %v", explain, grad[i], want)
			}
		}
		if n := testing.AllocsPerRun(10, func() { m.loss(grad, by, sides, said) }); n > 0 {
			t.Errorf("%v: a gradient allocates %v times", explain, n)
		}
	}
}

func TestStepsAreReadBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	w := random(rng, 5, 2, 1, false)
	steps := walk(rng, w, 6)
	got, err := w.Read(Clip("x", steps))
	if err != nil || len(got) != len(steps) {
		t.Fatal(got, err)
	}
	for i := range got {
		if got[i] != steps[i] {
			t.Errorf("step %d is %v, want %v", i, got[i], steps[i])
		}
	}
	w.P[0], w.P[1] = 0, w.P[0]+w.P[1]
	for _, tt := range []struct {
		clip preference.Clip
		want string
	}{
		{preference.Clip{D: 2, Embed: []float32{0, 0}}, "want 3"},
		{preference.Clip{}, "at least one"},
		{Clip("", []Step{{9, 0, 0}}), "no such"},
		{preference.Clip{D: 3, Embed: []float32{0.5, 0, 0}}, "no such"},
		{Clip("", []Step{{1, 0, 2}, {3, 0, 2}}), "after arriving in 2"},
		{Clip("", []Step{{0, 0, 0}}), "never leads"},
	} {
		if _, err := w.Read(tt.clip); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	w := random(rng, 4, 2, 2, false)
	spoilt := func(f func(w *World)) *World {
		c := *w
		c.P, c.Phi = append([]float64(nil), w.P...), append([]float64(nil), w.Phi...)
		f(&c)
		return &c
	}
	pair := preference.Pair{A: Clip("", walk(rng, w, 2)), B: Clip("", walk(rng, w, 2)), Verdict: preference.First}
	good := []preference.Pair{pair}
	unknown := pair
	unknown.Verdict = preference.Unknown
	foreign := pair
	foreign.B = Clip("", []Step{{9, 0, 0}})
	for _, tt := range []struct {
		world *World
		pairs []preference.Pair
		cfg   Config
		want  string
	}{
		{&World{}, good, Config{}, "world of 0 states"},
		{spoilt(func(w *World) { w.P = nil }), good, Config{}, "0 chances"},
		{spoilt(func(w *World) { w.P[0]++ }), good, Config{}, "chances sum to 2"},
		{spoilt(func(w *World) { w.P[0] = -1 }), good, Config{}, "chance -1"},
		{spoilt(func(w *World) { w.Phi[1] = math.NaN() }), good, Config{}, "feature 1 of state 0 is NaN"},
		{spoilt(func(w *World) { w.Gamma = 1 }), good, Config{}, "discount 1"},
		{w, nil, Config{}, "label some first"},
		{w, []preference.Pair{unknown}, Config{}, "none of 1"},
		{w, []preference.Pair{foreign}, Config{}, "pair 0"},
		{w, good, Config{Tau: -1}, "tau -1"},
		{w, good, Config{Steps: -1}, "steps -1"},
		{w, good, Config{Folds: 1}, "folds 1"},
		{w, good, Config{L2: math.Inf(1)}, "l2"},
		{w, good, Config{Explain: 7}, "Explain(7)"},
		{w, good, Config{Ties: preference.RaoKupper, Strength: 1}, "tie strength 1"},
	} {
		if _, err := Fit(t.Context(), tt.world, tt.pairs, tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fit(ctx, w, good, Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := w.Plan([]float64{1}); err == nil {
		t.Error("planned for one weight of two")
	}
	if _, err := Compare(t.Context(), w, good, Config{}); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("one pair in five folds: %v", err)
	}
	m, err := Fit(t.Context(), w, good, Config{Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Odds(pair.A, foreign.B); err == nil {
		t.Error("steps of another world were judged")
	}
	if o, err := m.Odds(pair.A, pair.B); err != nil || !(o.First > 0.5) {
		t.Errorf("what was preferred has odds %v, %v", o, err)
	}
}
