package vpl

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/reward/preference"
)

func small() (*trainer, *rand.Rand) {
	rng := rand.New(rand.NewPCG(1, 1))
	var who [][]preference.Pair
	var all []preference.Pair
	for u := range 3 {
		var ps []preference.Pair
		for i := range 4 {
			p := preference.Pair{Annotator: fmt.Sprint(u), Verdict: preference.Verdict(1 + i%3)}
			for _, c := range [2]*preference.Clip{&p.A, &p.B} {
				*c = preference.Clip{D: 2, Embed: make([]float32, 2*(1+i%3))}
				for j := range c.Embed {
					c.Embed[j] = float32(rng.NormFloat64())
				}
			}
			ps = append(ps, p)
		}
		who, all = append(who, ps), append(all, ps...)
	}
	m := newModel(Config{Hidden: 4, People: 3, Context: 3, Targets: 2, Ties: preference.Davidson}.withDefaults(), preference.NewScale(all), rng)
	for _, p := range append(m.enc.Params(), m.rew.Params()...) { // away from the ReLUs' kinks at 0
		for j := range p.Data {
			p.Data[j] += float32(0.2 * rng.NormFloat64())
		}
	}
	return newTrainer(m, who, preference.Longest(all)), rng
}

func TestGradientAgainstDifferences(t *testing.T) {
	tr, rng := small()
	tr.load(rng)
	tr.beta.Value[0] = 0.7
	tr.g.ForwardTo(tr.whole)
	nn.ZeroGrad(tr.params)
	tr.g.Backward(tr.whole)
	for _, p := range tr.params {
		for j := range p.Data {
			const h = 2e-3
			x := p.Data[j]
			p.Data[j] = x + h
			tr.g.ForwardTo(tr.whole)
			up := float64(tr.whole.Value[0])
			p.Data[j] = x - h
			tr.g.ForwardTo(tr.whole)
			down := float64(tr.whole.Value[0])
			p.Data[j] = x
			want := (up - down) / (2 * h)
			if got := float64(p.Grad[j]); math.Abs(got-want) > 2e-2*(math.Abs(want)+0.1) { // single precision, and kinks
				t.Errorf("%s[%d]: gradient %v, differences %v", p.Name, j, got, want)
			}
		}
	}
}

// The divergence in the graph is that of Gaussians.
func TestDivergenceIsThatOfGaussians(t *testing.T) {
	tr, rng := small()
	tr.load(rng)
	tr.g.ForwardTo(tr.kl)
	W, C := tr.x.Shape[1], tr.m.cfg.Context
	g := nn.NewGraph()
	x := g.Input(1, W)
	precision, weighted := tr.m.evidence(g, x, g.Frozen)
	var want float64
	for p := range tr.m.cfg.People {
		lambda, sum := []float64{1, 1}, []float64{0, 0}
		for i := range C {
			if tr.mask.Value[p*C+i] == 0 {
				continue
			}
			copy(x.Value, tr.x.Value[(p*C+i)*W:(p*C+i+1)*W])
			g.Forward()
			for j := range lambda {
				lambda[j] += float64(precision.Value[j])
				sum[j] += float64(weighted.Value[j])
			}
		}
		for j := range lambda {
			mu := sum[j] / lambda[j]
			want += (1/lambda[j] + mu*mu - 1 + math.Log(lambda[j])) / 2 / float64(tr.m.cfg.People)
		}
	}
	if got := float64(tr.kl.Value[0]); math.Abs(got-want) > 1e-4*(1+want) {
		t.Errorf("divergence %v, want %v", got, want)
	}
}

func TestStepsAllocateNothing(t *testing.T) {
	tr, rng := small()
	tr.step(rng, 1)
	if n := testing.AllocsPerRun(20, func() { tr.step(rng, 1) }); n > 0 && !raced {
		t.Errorf("a step allocates %v times", n)
	}
}
