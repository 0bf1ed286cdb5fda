package preference

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
)

// small makes a trainer of two members that were told different things.
func small(t *testing.T, cfg Config) (*trainer, []int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(4, 4))
	var pairs []Pair
	said, times := make([][]Verdict, 2), make([][]float64, 2)
	ids := []int{}
	for i := range 8 {
		p := Pair{}
		for _, c := range [2]*Clip{&p.A, &p.B} {
			*c = Clip{D: 3, Embed: make([]float32, 3*(2+i%3))} // of different lengths
			for j := range c.Embed {
				c.Embed[j] = float32(rng.NormFloat64())
			}
		}
		pairs = append(pairs, p)
		for e := range said {
			said[e] = append(said[e], Verdict(rng.IntN(4)))
			times[e] = append(times[e], float64(rng.IntN(3)))
		}
		ids = append(ids, i)
	}
	cfg = cfg.withDefaults()
	n := newNet(cfg, 3, 2, rng)
	n.look(pairs)
	for _, p := range n.mlp.Params() { // away from the kinks and from evenness
		for j := range p.Data {
			p.Data[j] += float32(0.3 * rng.NormFloat64())
		}
	}
	return newTrainer(n, pairs, said, times), ids
}

func TestGradientAgainstDifferences(t *testing.T) {
	for _, cfg := range []Config{
		{Linear: true},
		{Hidden: []int{5}, Ties: RaoKupper, LearnStrength: true, Return: Mean},
		{Hidden: []int{5}, Ties: Davidson, LearnStrength: true},
	} {
		tr, ids := small(t, cfg)
		tr.load(ids, true)
		tr.g.ForwardTo(tr.loss)
		nn.ZeroGrad(tr.params)
		tr.g.Backward(tr.loss)
		at := func() float64 { // the sum in double precision
			tr.g.ForwardTo(tr.loss)
			var s float64
			for e := range tr.lost {
				s += tr.lost[e] / tr.mass[e]
			}
			return s
		}
		for _, p := range tr.params {
			for j := range p.Data {
				const h = 1e-3
				x := p.Data[j]
				p.Data[j] = x + h
				up := at()
				p.Data[j] = x - h
				down := at()
				p.Data[j] = x
				want := (up - down) / (2 * h)
				// Single precision leaves some thousandths, a kink of a ReLU in reach some more.
				if got := float64(p.Grad[j]); math.Abs(got-want) > 2e-2*(math.Abs(want)+0.1) {
					t.Errorf("%+v: %s[%d]: gradient %v, differences %v", cfg, p.Name, j, got, want)
				}
			}
		}
	}
}

// Frames beyond the end of the shorter clip are worth nothing, and a clip is worth
// the same wherever it stands.
func TestTrainingAndUseAgree(t *testing.T) {
	for _, r := range []Return{Sum, Mean} {
		tr, ids := small(t, Config{Hidden: []int{5}, Return: r})
		tr.load(ids, false)
		tr.g.ForwardTo(tr.d)
		for b, id := range ids {
			ua, ub := make([]float64, 2), make([]float64, 2)
			if err := tr.net.utilities(ua, tr.pairs[id].A); err != nil {
				t.Fatal(err)
			}
			if err := tr.net.utilities(ub, tr.pairs[id].B); err != nil {
				t.Fatal(err)
			}
			for e := range ua {
				if got, want := ua[e]-ub[e], float64(tr.d.Value[e*len(ids)+b]); math.Abs(got-want) > 1e-5 {
					t.Errorf("%v: pair %d, member %d: %v in use, %v in training", r, id, e, got, want)
				}
			}
		}
	}
}

func TestStepsAllocateNothing(t *testing.T) {
	tr, ids := small(t, Config{Hidden: []int{5}, Ties: RaoKupper, LearnStrength: true})
	lost, mass := make([]float64, 2), make([]float64, 2)
	tr.step(ids, lost, mass)
	if n := testing.AllocsPerRun(20, func() { tr.step(ids, lost, mass) }); n > 0 && !raced {
		t.Errorf("a step allocates %v times", n)
	}
}
