package rlpd

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
)

// valued is what the members idx of the ensemble ps say of row x and action a.
func valued(ps []*nn.Param, idx []int, x, a []float64) []float64 {
	var qs []float64
	for _, e := range idx {
		qs = append(qs, network(ps, e, append(slices.Clone(x), a...), true)[0])
	}
	return qs
}

func TestTargetsOfTheBestOfSeveralActions(t *testing.T) {
	for _, entropy := range []bool{false, true} {
		l := tiny(func(c *Config) { c.Best = 3 })
		rng := rand.New(rand.NewPCG(1, 2))
		B := l.cfg.Batch
		reward, discount, y := make([]float32, B), []float32{0.9, 0, 0.9, 0.81, 0, 0.9}, make([]float32, B)
		fill(rng, reward, l.next.x.Value, l.next.noise.Value)
		copy(l.next.idx, []int{2, 0})
		l.next.into(y, reward, discount, 0.2, entropy)
		first := 0 // rows whose best action is not the first drawn
		for i := range B {
			x := row(l.next.x.Value, i, 3)
			best, dens := math.Inf(-1), 0.0
			for j := range 3 {
				a, logp := drawn(l.actor, x, row(l.next.noise.Value, 3*i+j, 2))
				if q := slices.Min(valued(l.targetParams, l.next.idx, x, a)); q > best {
					if j > 0 {
						first++
					}
					best, dens = q, logp
				}
			}
			if entropy {
				best -= 0.2 * dens
			}
			want := float64(reward[i]) + float64(discount[i])*best
			if math.Abs(float64(y[i])-want) > 1e-4*(1+math.Abs(want)) {
				t.Errorf("entropy %v, row %d: target %v, want %v", entropy, i, y[i], want)
			}
		}
		if first == 0 {
			t.Error("the first action was the best in every row: the test tells nothing")
		}
	}
}

func TestActorClimbsTheSmallestCritic(t *testing.T) {
	l := tiny(func(c *Config) { c.Least = true })
	a := l.improve
	fill(rand.New(rand.NewPCG(5, 6)), a.x.Value, a.noise.Value)
	a.alpha.Value[0] = 0.3
	byTheBook := func() float64 {
		loss := 0.0
		for i := range l.cfg.Batch {
			x := row(a.x.Value, i, 3)
			act, logp := drawn(l.actor, x, row(a.noise.Value, i, 2))
			loss += (0.3*logp - slices.Min(valued(l.criticParams, []int{0, 1, 2, 3}, x, act))) / float64(l.cfg.Batch)
		}
		return loss
	}
	a.g.Forward()
	if got, want := float64(a.loss.Value[0]), byTheBook(); math.Abs(got-want) > 1e-4*(1+math.Abs(want)) {
		t.Fatalf("loss = %v, want %v", got, want)
	}
	nn.ZeroGrad(l.actorParams)
	a.g.Backward(a.loss)
	for _, p := range l.actorParams {
		for i := 0; i < len(p.Data); i += 3 {
			v := p.Data[i]
			up, down := v+1e-4, v-1e-4
			p.Data[i] = up
			hi := byTheBook()
			p.Data[i] = down
			want := (hi - byTheBook()) / float64(up-down)
			p.Data[i] = v
			// Kinks of the ReLUs and float32 parameters: 1 %.
			if got := float64(p.Grad[i]); math.Abs(got-want) > 1e-2*(0.1+math.Abs(want)) {
				t.Errorf("gradient of %s[%d] = %v, want %v", p.Name, i, got, want)
			}
		}
	}
}

// What was demonstrated is held against the policy's actions by one measure.
func TestFilterGoesByWhatTheActorClimbs(t *testing.T) {
	for _, least := range []bool{false, true} {
		l := tiny(func(c *Config) { c.Least, c.Clone, c.QFilter = least, 2, true })
		l.batch.Demos = l.cfg.Batch
		l.batch.Act = make([]float32, 2*l.cfg.Batch)
		l.read = make([]float32, 3*l.cfg.Batch)
		fill(rand.New(rand.NewPCG(5, 6)), l.read, l.batch.Act)
		l.fit.put(l.read, l.batch.Act)
		if err := l.actorStep(false); err != nil {
			t.Fatal(err)
		}
		apart := 0.0
		for i, got := range l.improve.qdata.Value {
			qs := valued(l.criticParams, []int{0, 1, 2, 3}, row(l.read, i, 3), row(l.batch.Act, i, 2))
			mean := 0.0
			for _, q := range qs {
				mean += q / float64(len(qs))
			}
			want := mean
			if least {
				want = slices.Min(qs)
			}
			if math.Abs(float64(got)-want) > 1e-5*(1+math.Abs(want)) {
				t.Errorf("least %v, row %d: the demonstrated action is worth %v, want %v", least, i, got, want)
			}
			apart = max(apart, mean-slices.Min(qs))
		}
		if apart < 0.01 {
			t.Error("the critics agree: the test tells nothing")
		}
	}
}

// The divergence is told without being held to.
func TestDivergenceIsTold(t *testing.T) {
	l := tiny(nil)
	a := l.improve
	fill(rand.New(rand.NewPCG(5, 6)), a.x.Value, a.noise.Value)
	a.g.Forward()
	got, want := 0.0, 0.0
	for i := range l.cfg.Batch {
		got += float64(a.kl.Value[i])
		x := row(a.x.Value, i, 3)
		raw, ref := network(l.actorParams, 0, x, false), network(l.ref.Params(), 0, x, false)
		for j := range 2 {
			s := math.Exp(-5 + 3.5*(math.Tanh(raw[2+j])+1))
			r := math.Exp(-5 + 3.5*(math.Tanh(ref[2+j])+1))
			d := raw[j] - ref[j]
			want += math.Log(r/s) + (s*s+d*d)/(2*r*r) - 0.5
		}
	}
	if math.Abs(got-want) > 1e-4*(1+want) {
		t.Errorf("divergence = %v, want %v", got, want)
	}
	for _, p := range l.actorParams {
		clear(p.Grad)
	}
	a.g.Backward(a.loss)
	free := slices.Clone(l.actorParams[0].Grad)
	held := tiny(func(c *Config) { c.Stay = 1 })
	copy(held.improve.x.Value, a.x.Value)
	copy(held.improve.noise.Value, a.noise.Value)
	held.improve.g.Forward()
	nn.ZeroGrad(held.actorParams)
	held.improve.g.Backward(held.improve.loss)
	if slices.Equal(free, held.actorParams[0].Grad) {
		t.Error("the gradient is the same with and without Stay")
	}
}
