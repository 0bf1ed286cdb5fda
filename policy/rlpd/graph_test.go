package rlpd

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/view"
)

// tiny has three inputs and two actions.
func tiny(change func(c *Config)) *Learner {
	c := Config{
		Arch:  bc.Arch{View: view.Config{Embed: 3, Action: view.Action{Axes: []int{0, 1}, Scale: 1}}, Hidden: []int{5}},
		Batch: 6, Critics: 4, CriticHidden: []int{7, 5}, Subset: 2, Seed: 3,
	}
	if change != nil {
		change(&c)
	}
	l, err := New(c, nil)
	if err != nil {
		panic(err)
	}
	// Give every parameter something to say, targets other than critics.
	for _, ps := range [][]*nn.Param{l.actorParams, l.criticParams, l.targetParams, l.ref.Params()} {
		for _, p := range ps {
			for i := range p.Data {
				p.Data[i] += float32(0.3 * l.rng.NormFloat64())
			}
		}
	}
	return l
}

func fill(rng *rand.Rand, xs ...[]float32) {
	for _, x := range xs {
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
	}
}

// network is an MLP in float64 by the book: member e of ps on x, with layer
// norm (epsilon 1e-5) and ReLU between layers if norm, ReLU alone otherwise.
func network(ps []*nn.Param, e int, x []float64, norm bool) []float64 {
	per := 2
	if norm {
		per = 4
	}
	at := func(p *nn.Param, i int) float64 { // of member e
		n := len(p.Data)
		if norm {
			n /= p.Shape[0]
		}
		return float64(p.Data[e*n+i])
	}
	for n := 0; n < len(ps); n += per {
		w, b := ps[n], ps[n+1]
		in, out := len(x), b.Shape[len(b.Shape)-1]
		y := make([]float64, out)
		for o := range y {
			y[o] = at(b, o)
			for i, v := range x {
				y[o] += at(w, o*in+i) * v
			}
		}
		if last := n+2 == len(ps); last {
			return y
		}
		if norm {
			mean, square := 0.0, 0.0
			for _, v := range y {
				mean += v / float64(out)
			}
			for _, v := range y {
				square += (v - mean) * (v - mean) / float64(out)
			}
			for o := range y {
				y[o] = (y[o]-mean)/math.Sqrt(square+1e-5)*at(ps[n+2], o) + at(ps[n+3], o)
			}
		}
		for o := range y {
			y[o] = max(0, y[o])
		}
		x = y
	}
	panic("unreached")
}

func row(x []float32, i, n int) []float64 {
	var r []float64
	for _, v := range x[i*n : (i+1)*n] {
		r = append(r, float64(v))
	}
	return r
}

// drawn is the action of the actor on row x with the given noise, and its log
// density.
func drawn(actor *bc.Net, x, noise []float64) (a []float64, logp float64) {
	raw := network(actor.Params(), 0, x, false)
	k := len(noise)
	for j, e := range noise {
		std := math.Exp(-5 + 3.5*(math.Tanh(raw[k+j])+1))
		u := raw[j] + std*e
		a = append(a, math.Tanh(u))
		logp += -e*e/2 - math.Log(std*math.Sqrt(2*math.Pi)) + 2*math.Log(math.Cosh(u))
	}
	return a, logp
}

func TestTargetsAreThoseOfTheBook(t *testing.T) {
	for _, entropy := range []bool{false, true} {
		l := tiny(nil)
		rng := rand.New(rand.NewPCG(1, 2))
		B := l.cfg.Batch
		reward, discount, y := make([]float32, B), []float32{0.9, 0, 0.9, 0.81, 0, 0.9}, make([]float32, B)
		fill(rng, reward, l.next.x.Value, l.next.noise.Value)
		for _, idx := range [][]int{{0, 1}, {3, 1}, {2, 0}} {
			copy(l.next.idx, idx)
			l.next.into(y, reward, discount, 0.2, entropy)
			for i := range B {
				x := row(l.next.x.Value, i, 3)
				a, logp := drawn(l.actor, x, row(l.next.noise.Value, i, 2))
				q := math.Inf(1)
				for _, e := range idx {
					q = min(q, network(l.targetParams, e, append(slices.Clone(x), a...), true)[0])
				}
				if entropy {
					q -= 0.2 * logp
				}
				want := float64(reward[i]) + float64(discount[i])*q
				if math.Abs(float64(y[i])-want) > 1e-4*(1+math.Abs(want)) {
					t.Errorf("entropy %v, critics %v, row %d: target %v, want %v", entropy, idx, i, y[i], want)
				}
				if discount[i] == 0 && y[i] != reward[i] {
					t.Errorf("row %d ends, but its target %v is not its reward %v", i, y[i], reward[i])
				}
			}
		}
	}
}

func TestCriticLossIsTheMeanSquare(t *testing.T) {
	l := tiny(nil)
	rng := rand.New(rand.NewPCG(3, 4))
	obs, act := make([]float32, 6*3), make([]float32, 6*2)
	fill(rng, obs, act, l.fit.y.Value)
	l.fit.put(obs, act)
	l.fit.g.Forward()
	want := 0.0
	for e := range l.cfg.Critics {
		for i := range l.cfg.Batch {
			q := network(l.criticParams, e, append(row(obs, i, 3), row(act, i, 2)...), true)[0]
			d := q - float64(l.fit.y.Value[i])
			want += d * d / float64(l.cfg.Critics*l.cfg.Batch)
		}
	}
	if got := float64(l.fit.loss.Value[0]); math.Abs(got-want) > 1e-5*want {
		t.Errorf("loss = %v, want %v", got, want)
	}
}

// byTheBook is the actor's loss by the book, as loss + abs*held.
func (l *Learner) byTheBook() (loss, abs, held float64) {
	a, c := l.improve, &l.cfg
	B := float64(c.Batch)
	var clone, kl float64
	for i := range c.Batch {
		x := row(a.x.Value, i, 3)
		act, logp := drawn(l.actor, x, row(a.noise.Value, i, 2))
		q := 0.0
		for e := range c.Critics {
			q += network(l.criticParams, e, append(slices.Clone(x), act...), true)[0] / float64(c.Critics)
		}
		loss += (float64(a.alpha.Value[0])*logp - q) / B
		abs += math.Abs(q) / B
		raw, ref := network(l.actorParams, 0, x, false), network(l.ref.Params(), 0, x, false)
		if a.act != nil && i < a.demos && (!c.QFilter || float64(a.qdata.Value[i]) > q) {
			for j := range 2 {
				d := math.Tanh(raw[j]) - float64(a.act.Value[2*i+j])
				clone += d * d / float64(a.demos)
			}
		}
		for j := range 2 {
			s := math.Exp(-5 + 3.5*(math.Tanh(raw[2+j])+1))
			r := math.Exp(-5 + 3.5*(math.Tanh(ref[2+j])+1))
			d := raw[j] - ref[j]
			kl += (math.Log(r/s) + (s*s+d*d)/(2*r*r) - 0.5) / B
		}
	}
	return loss, abs, c.Clone*clone + c.Stay*kl
}

func TestActorLossAndGradient(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *Config)
	}{
		{"plain", nil},
		{"cloning", func(c *Config) { c.Clone = 2 }},
		{"cloning with a filter", func(c *Config) { c.Clone, c.QFilter = 2, true }},
		{"staying", func(c *Config) { c.Stay = 0.5 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := tiny(tt.change)
			a := l.improve
			fill(rand.New(rand.NewPCG(5, 6)), a.x.Value, a.noise.Value)
			a.alpha.Value[0], a.demos = 0.3, 4
			if a.act != nil {
				fill(rand.New(rand.NewPCG(7, 8)), a.act.Value, a.qdata.Value)
			}
			a.g.Forward()
			loss, unit, held := l.byTheBook()
			want := loss + unit*held
			if got := float64(a.loss.Value[0]); math.Abs(got-want) > 1e-4*(1+math.Abs(want)) {
				t.Fatalf("loss = %v, want %v", got, want)
			}
			nn.ZeroGrad(l.actorParams)
			a.g.Backward(a.loss)
			passed := a.passed
			for _, p := range l.actorParams {
				for i := 0; i < len(p.Data); i += 3 {
					v := p.Data[i]
					const h = 1e-4
					at := func(w float32) float64 {
						p.Data[i] = w
						if a.g.Forward(); a.passed != passed {
							t.Fatal("a row crossed the filter under the difference: take another seed")
						}
						loss, _, held := l.byTheBook()
						return loss + unit*held // the unit is a constant to the gradient
					}
					up, down := v+h, v-h
					want := (at(up) - at(down)) / float64(up-down)
					p.Data[i] = v
					// Kinks of the ReLUs and float32 parameters: 1 %.
					if got := float64(p.Grad[i]); math.Abs(got-want) > 1e-2*(0.1+math.Abs(want)) {
						t.Errorf("gradient of %s[%d] = %v, want %v", p.Name, i, got, want)
					}
				}
			}
		})
	}
}

func TestActorStepLeavesTheCriticsAlone(t *testing.T) {
	l := tiny(func(c *Config) { c.Clone = 1 })
	l.batch.Demos = 3
	fill(l.rng, l.batch.Obs, l.batch.Act)
	for _, p := range l.criticParams {
		clear(p.Grad)
	}
	before := l.critic.Clone("before").Params()
	if err := l.actorStep(true); err != nil {
		t.Fatal(err)
	}
	for i, p := range l.criticParams {
		if !slices.Equal(p.Data, before[i].Data) || slices.ContainsFunc(p.Grad, func(v float32) bool { return v != 0 }) {
			t.Errorf("%s changed, or has a gradient", p.Name)
		}
	}
}

func TestSubsetsAreUniformPairs(t *testing.T) {
	l := tiny(nil)
	var count [4][4]int
	for range 12000 {
		l.choose(l.next.idx)
		count[l.next.idx[0]][l.next.idx[1]]++
	}
	for i := range count {
		for j, n := range count[i] {
			// Of twelve ordered pairs each has mean 1000, deviation 30.
			if i == j && n != 0 || i != j && math.Abs(float64(n)-1000) > 180 {
				t.Errorf("pair (%d,%d) drawn %d times of 12000", i, j, n)
			}
		}
	}
}

func TestTargetsFollowSlowly(t *testing.T) {
	l := tiny(nil)
	was := l.target.Clone("was").Params()
	nn.Lerp(l.targetParams, l.criticParams, float32(l.cfg.Tau))
	for n, p := range l.targetParams {
		for i, v := range p.Data {
			want := 0.995*float64(was[n].Data[i]) + 0.005*float64(l.criticParams[n].Data[i])
			if math.Abs(float64(v)-want) > 1e-6 {
				t.Fatalf("%s[%d] = %v, want %v", p.Name, i, v, want)
			}
		}
	}
}
