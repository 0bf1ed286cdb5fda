package pal

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/reward/preference"
)

func few(rng *rand.Rand) []preference.Pair {
	var ps []preference.Pair
	for i := range 8 {
		p := preference.Pair{Annotator: fmt.Sprint(i % 3), Verdict: preference.Verdict(1 + i%3)}
		for _, c := range [2]*preference.Clip{&p.A, &p.B} {
			*c = preference.Clip{D: 2, Embed: make([]float32, 2*(1+i%3))}
			for j := range c.Embed {
				c.Embed[j] = float32(rng.NormFloat64())
			}
		}
		ps = append(ps, p)
	}
	return ps
}

// kinds are the models, A and B.
var kinds = []Config{{}, {Likeness: Distance}, {Context: true}, {Likeness: Distance, Context: true}}

func TestGradientsAgainstDifferences(t *testing.T) {
	for _, c := range kinds {
		rng := rand.New(rand.NewPCG(1, 1))
		ps := few(rng)
		cfg := Config{Likeness: c.Likeness, Context: c.Context, Prototypes: 3, Dim: 4, Hidden: 5, Ties: preference.RaoKupper}.withDefaults()
		m := newModel(cfg, []string{"0", "1", "2"}, preference.NewScale(ps), rng)
		tr := newTrainer(m, ps, []int{0, 1, 2, 0, 1, 2, 0, 1})
		tr.share = 1
		tr.load([]int{0, 1, 2, 3, 4, 5, 6, 7})
		tr.g.ForwardTo(tr.whole)
		nn.ZeroGrad(tr.params)
		tr.g.Backward(tr.whole)
		for _, p := range tr.params {
			for j := range p.Data {
				const h = 4e-3
				x := p.Data[j]
				p.Data[j] = x + h
				tr.g.ForwardTo(tr.whole)
				up := float64(tr.whole.Value[0])
				p.Data[j] = x - h
				tr.g.ForwardTo(tr.whole)
				down := float64(tr.whole.Value[0])
				p.Data[j] = x
				want := (up - down) / (2 * h)
				if got := float64(p.Grad[j]); math.Abs(got-want) > 1e-2*(math.Abs(want)+0.3) { // single precision
					t.Errorf("%+v: %s[%d]: gradient %v, differences %v", c, p.Name, j, got, want)
				}
			}
		}
		// And by the weights of somebody new, in double precision.
		m.ready(ps)
		me, err := m.newMeeting(ps)
		if err != nil {
			t.Fatal(err)
		}
		w, grad := []float64{0.5, -0.3, 0.1}, make([]float64, 3)
		start := me.loss(w, grad)
		for k := range w {
			const h = 1e-5
			x := w[k]
			w[k] = x + h
			up := me.loss(w, nil)
			w[k] = x - h
			down := me.loss(w, nil)
			w[k] = x
			if want := (up - down) / (2 * h); math.Abs(grad[k]-want) > 1e-5*(1+math.Abs(want)) {
				t.Errorf("%+v: weight %d: gradient %v, differences %v", c, k, grad[k], want)
			}
		}
		if end := me.descend(w); end >= start {
			t.Errorf("%+v: descent from %v to %v", c, start, end)
		}
	}
}

// What a person's view says in use is what was trained.
func TestTrainingAndUseAgree(t *testing.T) {
	for _, c := range kinds {
		rng := rand.New(rand.NewPCG(2, 2))
		ps := few(rng)
		cfg := c.withDefaults()
		m := newModel(cfg, []string{"0", "1", "2"}, preference.NewScale(ps), rng)
		m.ready(ps)
		tr := newTrainer(m, ps, []int{0, 1, 2, 0, 1, 2, 0, 1})
		tr.load([]int{0, 1, 2, 3, 4, 5, 6, 7})
		tr.g.ForwardTo(tr.loss)
		got, err := m.Measure(ps)
		if err != nil {
			t.Fatal(err)
		}
		if want := float64(tr.loss.Value[0]); math.Abs(got.Loss-want) > 1e-4*want {
			t.Errorf("%+v: loss %v in use, %v in training", c, got.Loss, want)
		}
	}
}

func TestStepsAllocateNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	ps := few(rng)
	for _, c := range kinds {
		m := newModel(c.withDefaults(), []string{"0", "1", "2"}, preference.NewScale(ps), rng)
		tr := newTrainer(m, ps, []int{0, 1, 2, 0, 1, 2, 0, 1})
		ids := []int{0, 1, 2, 3}
		tr.step(ids)
		if n := testing.AllocsPerRun(20, func() { tr.step(ids) }); n > 0 && !raced {
			t.Errorf("%+v: a step allocates %v times", c, n)
		}
	}
}
