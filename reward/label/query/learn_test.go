package query_test

import (
	"context"
	"fmt"
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

// stride is how many answers lie between two looks at what was learned.
const stride = 5

// curve is the share of held-out pairs that are told right after stride, 2 stride ...
// and most answers.
func curve(t *testing.T, w *world, seed uint64, informative bool, most int) []float64 {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 2))
	held := w.pairs(rng, 500, 0)
	var answers []query.Answer
	var out []float64
	fit := func() *query.Linear {
		l, err := query.Fit(answers, features, query.Config{Members: 40, Source: rand.NewPCG(seed, uint64(len(answers)))})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for n := 1; n <= most; n++ {
		var c query.Chooser = query.Random{Rand: rng}
		if informative {
			c = query.Informative{Belief: fit().Of(w.features)}
		}
		from := w.pairs(rng, 200, n)
		i, _, err := c.Choose(from)
		if err != nil {
			t.Fatal(err)
		}
		said, err := w.who.Answer(context.Background(), from[i])
		if err != nil {
			t.Fatal(err)
		}
		a := query.Answer{X: w.difference(from[i])}
		if said.Choice == label.Left {
			a.Left = 1
		}
		answers = append(answers, a)
		if n%stride > 0 {
			continue
		}
		right := 0
		best := fit().Weights()
		for _, q := range held {
			u := 0.0
			for k, x := range w.difference(q) {
				u += best[k] * x
			}
			left, other := q.Sides()
			if u*(w.worth(left.Episode)-w.worth(other.Episode)) > 0 {
				right++
			}
		}
		out = append(out, float64(right)/float64(len(held)))
	}
	return out
}

func (w *world) difference(q label.Query) []float64 {
	left, right := q.Sides()
	x := make([]float64, features)
	for k := range x {
		x[k] = w.clips[left.Episode][k] - w.clips[right.Episode][k]
	}
	return x
}

// reached is the number of answers after which a curve is at level, 0 for never.
func reached(curve []float64, level float64) int {
	for i, x := range curve {
		if x >= level {
			return (i + 1) * stride
		}
	}
	return 0
}

// In the mean of 10 seeds, asking what teaches most takes less than half the answers
// of asking at random to tell unseen pairs right, of a person who errs.
func TestInformationSavesQuestions(t *testing.T) {
	const seeds, mostRandom, mostInformed = 10, 250, 100
	random, informed := make([]float64, mostRandom/stride), make([]float64, mostInformed/stride)
	for seed := range uint64(seeds) {
		for i, x := range curve(t, newWorld(seed, 1), seed, false, mostRandom) {
			random[i] += x / seeds
		}
		for i, x := range curve(t, newWorld(seed, 1), seed, true, mostInformed) {
			informed[i] += x / seeds
		}
	}
	for _, level := range []float64{0.90, 0.93, 0.95} {
		r, i := reached(random, level), reached(informed, level)
		t.Logf("%.0f %% of unseen pairs after %d answers at random, %d by information", 100*level, r, i)
		if i == 0 || r > 0 && r < 2*i {
			t.Errorf("%.0f %%: %d answers at random, %d by information; want less than half", 100*level, r, i)
		}
	}
}
