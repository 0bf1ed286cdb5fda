package query_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/reward/label/query"
	"github.com/rapport-rl/rapport/sim/person"
)

// world is clips of 8 features and a person who weighs them.
type world struct {
	clips map[string][]float64
	names []string
	who   *person.Annotator
	worth func(string) float64
}

const features = 8

func newWorld(seed uint64, noise float64) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &world{clips: map[string][]float64{}}
	weights := normal(rng)
	for i := range 200 {
		n := fmt.Sprintf("clip-%03d", i)
		w.clips[n], w.names = normal(rng), append(w.names, n)
	}
	w.worth = func(n string) float64 {
		u := 0.0
		for k, x := range w.clips[n] {
			u += x * weights[k]
		}
		return u
	}
	w.who = &person.Annotator{
		Name: "simulated", Seed: seed, Habits: person.Habits{Noise: noise, Took: time.Second},
		Utility: func(c label.Clip) (float64, error) { return w.worth(c.Episode), nil },
	}
	return w
}

func normal(rng *rand.Rand) []float64 {
	x := make([]float64, features)
	for k := range x {
		x[k] = rng.NormFloat64()
	}
	return x
}

func (w *world) features(c label.Clip) ([]float64, error) { return w.clips[c.Episode], nil }

func (w *world) pairs(rng *rand.Rand, n, asked int) []label.Query {
	qs := make([]label.Query, n)
	for k := range qs {
		i, j := rng.IntN(len(w.names)), rng.IntN(len(w.names)-1)
		if j >= i {
			j++
		}
		qs[k] = pairOf(fmt.Sprintf("q%d", asked), w.names[i], w.names[j])
	}
	return qs
}

// needed asks until 95 of 100 held-out pairs are told right, three times in a row,
// and returns how many answers that took.
func needed(t *testing.T, w *world, seed uint64, informative bool) int {
	t.Helper()
	const enough, most, candidates = 0.95, 400, 200
	rng := rand.New(rand.NewPCG(seed, 2))
	held := w.pairs(rng, 500, 0)
	var answers []query.Answer
	row := 0
	for n := 1; n <= most; n++ {
		l, err := query.Fit(answers, features, query.Config{Members: 40, Source: rand.NewPCG(seed, uint64(n))})
		if err != nil {
			t.Fatal(err)
		}
		right := 0
		for _, q := range held {
			a, b := q.Clips[0].Episode, q.Clips[1].Episode
			u := 0.0
			for k, x := range l.Weights() {
				u += x * (w.clips[a][k] - w.clips[b][k])
			}
			if u*(w.worth(a)-w.worth(b)) > 0 {
				right++
			}
		}
		if row++; float64(right) < enough*float64(len(held)) {
			row = 0
		}
		if row == 3 {
			return n - 3
		}
		var c query.Chooser = query.Random{Rand: rng}
		if informative {
			c = query.Informative{Belief: l.Of(w.features)}
		}
		from := w.pairs(rng, candidates, n)
		i, _, err := c.Choose(from)
		if err != nil {
			t.Fatal(err)
		}
		said, err := w.who.Answer(context.Background(), from[i])
		if err != nil {
			t.Fatal(err)
		}
		a := query.Answer{Left: 1, X: make([]float64, features)}
		if said.Choice == label.Right {
			a.Left = 0
		}
		for k := range a.X {
			a.X[k] = w.clips[from[i].Clips[0].Episode][k] - w.clips[from[i].Clips[1].Episode][k]
		}
		answers = append(answers, a)
	}
	return most
}

// Over 10 seeds, asking what teaches most takes far fewer answers than asking at
// random to tell 95 of 100 unseen pairs right, of a person who errs: a third.
func TestInformationSavesQuestions(t *testing.T) {
	random, informed := 0, 0
	var logs float64
	for seed := range uint64(10) {
		r := needed(t, newWorld(seed, 1), seed, false)
		i := needed(t, newWorld(seed, 1), seed, true)
		t.Logf("seed %d: %d at random, %d by information", seed, r, i)
		random, informed, logs = random+r, informed+i, logs+math.Log(float64(r)/float64(i))
	}
	factor := math.Exp(logs / 10)
	t.Logf("%d and %d answers in all; geometric mean of the factors %.2f", random, informed, factor)
	if factor < 2 {
		t.Errorf("information needs 1/%.2f of the questions, want at most half", factor)
	}
}
