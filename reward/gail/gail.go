// Package gail rewards what a discriminator takes for the preferred videos:
// generative adversarial imitation (Ho and Ermon 2016, arXiv:1606.03476) from
// observations, on pairs of embeddings (s,s'), made locally Lipschitz by a penalty
// on its gradient (Blondé, Strasser, Kalousis 2022, arXiv:2006.16785). RAPL is
// compared with it.
//
//	t, err := gail.New(len(embed), gail.Config{})
//	err = t.Update(ctx, experts, replay, 500)
//	s, err := gail.NewScorer(t.Model())
package gail

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/rapl"
)

// Config are the parameters of a Trainer. The zero value stands for the defaults
// named, the paper's unless said otherwise.
type Config struct {
	Hidden []int   // nil: 64, 64
	Lambda float64 // weight of the penalty; 0: 10, negative: none
	K      float64 // the gradient's norm up to which there is none; 0: 1
	// Entropy is the weight of the discriminator's entropy, which is wanted; 0:
	// 1e-3, negative: none.
	Entropy float64
	// Spectral divides every weight matrix by its largest singular value (Miyato et
	// al. 2018, arXiv:1802.05957, equation 8).
	Spectral bool
	Rate     float64 // Adam's; 0: 5e-4
	Batch    int     // pairs of each side a step; 0: 64
	Seed     uint64
}

func (c Config) withDefaults() Config {
	for _, f := range [...]struct {
		x *float64
		v float64
	}{{&c.Lambda, 10}, {&c.K, 1}, {&c.Entropy, 1e-3}, {&c.Rate, 5e-4}} {
		if *f.x == 0 {
			*f.x = f.v
		}
	}
	if c.Batch == 0 {
		c.Batch = 64
	}
	if c.Hidden == nil {
		c.Hidden = []int{64, 64}
	}
	c.Lambda, c.Entropy = max(0, c.Lambda), max(0, c.Entropy)
	return c
}

func (c Config) validate(d int) error {
	bad := func(x float64) bool { return x-x != 0 }
	switch {
	case d < 1 || c.Batch < 1 || slices.ContainsFunc(c.Hidden, func(n int) bool { return n < 1 }):
		return fmt.Errorf("gail: embeddings of %d numbers, batches of %d, hidden layers %v, want positive", d, c.Batch, c.Hidden)
	case bad(c.Lambda) || bad(c.Entropy) || !(c.K > 0) || bad(c.K) || !(c.Rate > 0) || bad(c.Rate):
		return fmt.Errorf("gail: lambda %v, entropy %v, k %v, rate %v, want finite and the last two positive", c.Lambda, c.Entropy, c.K, c.Rate)
	}
	return nil
}

// Labels of real pairs are drawn from so wide about 1 (the authors' code).
const realFrom, realTo = 0.7, 1.2

// Trainer learns a discriminator, step by step as the replay grows. It is driven by
// one goroutine.
type Trainer struct {
	cfg  Config
	d    int
	raw  *Net // what Adam moves
	net  *Net // what is computed with: raw, or raw over its singular values
	rng  *rand.Rand
	side [2]*pass // real, fake
	mix  *pass
	dy   [2][]float64
	zero []float64
	s    *slopes
	opt  adam
	u    [][]float64 // left singular vectors, by power iteration
	v    [][]float64
}

// New makes a Trainer of embeddings of d numbers.
func New(d int, cfg Config) (*Trainer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(d); err != nil {
		return nil, err
	}
	t := &Trainer{cfg: cfg, d: d, rng: rand.New(rand.NewPCG(cfg.Seed, 0x6761696c))} // "gail"
	t.raw = newNet(2*d, cfg.Hidden, t.rng)
	t.net = t.raw
	for i := range t.side {
		t.side[i] = newPass(cfg.Batch, t.raw.Sizes)
		t.dy[i] = make([]float64, cfg.Batch)
	}
	t.mix, t.zero = newPass(cfg.Batch, t.raw.Sizes), make([]float64, cfg.Batch)
	t.s = newSlopes(t.raw)
	t.opt = newAdam(t.raw, cfg.Rate)
	if cfg.Spectral {
		t.net = newNet(2*d, cfg.Hidden, t.rng)
		for l, w := range t.raw.W {
			u, v := make([]float64, t.raw.Sizes[l+1]), make([]float64, len(w)/t.raw.Sizes[l+1])
			for i := range u {
				u[i] = t.rng.NormFloat64()
			}
			t.u, t.v = append(t.u, u), append(t.v, v)
		}
		for range 20 {
			t.normalise()
		}
	}
	return t, nil
}

// Told is what an Update tells, means over its last tenth.
type Told struct {
	Loss     float64 // of telling real from fake
	Penalty  float64
	Accuracy float64 // share of both sides told right
	// Gauge is the 95th percentile of the gradient's norm where the penalty is: the
	// live measure of how Lipschitz the discriminator is.
	Gauge float64
}

// Update does steps of gradient descent on experts (real) against replay (fake)
// videos. Each step draws pairs of following frames, and penalises the gradient
// between a real and a fake pair: x̂ = u x_fake + (1−u) x_real.
func (t *Trainer) Update(ctx context.Context, experts, replay []rapl.Video, steps int) (Told, error) {
	var out Told
	for _, vs := range [2][]rapl.Video{experts, replay} {
		if len(vs) == 0 {
			return out, errors.New("gail: there must be preferred videos and others, to tell them apart")
		}
		for _, v := range vs {
			if err := v.Validate(); err != nil {
				return out, fmt.Errorf("gail: %w", err)
			}
			if v.D != t.d || v.Len() < 2 {
				return out, fmt.Errorf("gail: video %s has %d frames of %d numbers, want at least 2 of %d", v.Name, v.Len(), v.D, t.d)
			}
		}
	}
	if steps < 1 {
		return out, fmt.Errorf("gail: %d steps, want at least one", steps)
	}
	tail := max(1, steps/10)
	var norms []float64
	for i := range steps {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		loss, penalty, right := t.step(experts, replay)
		if v := loss + penalty; v-v != 0 {
			return out, fmt.Errorf("gail: the loss is %v at step %d: lower the rate %g", v, i, t.cfg.Rate)
		}
		if i >= steps-tail {
			out.Loss += loss / float64(tail)
			out.Penalty += penalty / float64(tail)
			out.Accuracy += right / float64(tail)
			norms = append(norms, t.mix.norms...)
		}
	}
	out.Gauge = Gauge(norms)
	return out, nil
}

// draw fills a batch with pairs of following frames.
func (t *Trainer) draw(p *pass, vs []rapl.Video) {
	d := t.d
	for i := range p.n {
		v := &vs[t.rng.IntN(len(vs))]
		at := t.rng.IntN(v.Len()-1) * d
		row := p.h[0][2*d*i : 2*d*(i+1)]
		for j, x := range v.Embed[at : at+2*d] {
			row[j] = float64(x)
		}
	}
}

// step is one step, with the loss, the penalty and the share told right. It and the
// network's passes are marked go:norace, for a race detector doubles the time of GAIL's
// tests; Update, which is not, tells it who trains.
//
//go:norace
func (t *Trainer) step(experts, replay []rapl.Video) (loss, penalty, right float64) {
	t.s.clear()
	n := float64(t.cfg.Batch)
	for k, vs := range [2][]rapl.Video{experts, replay} {
		p := t.side[k]
		t.draw(p, vs)
		t.net.forward(p)
		for i, y := range p.y {
			label := 0.0
			if k == 0 {
				label = realFrom + (realTo-realFrom)*t.rng.Float64()
			}
			q := 1 / (1 + math.Exp(-y))
			// −l log q − (1−l) log(1−q) = softplus(y) − l y, less the entropy.
			soft := max(y, 0) + math.Log1p(math.Exp(-math.Abs(y)))
			loss += (soft - label*y) / n
			loss -= t.cfg.Entropy * (soft - q*y) / n
			t.dy[k][i] = (q - label + t.cfg.Entropy*y*q*(1-q)) / n
			if (y > 0) == (k == 0) {
				right += 1 / (2 * n)
			}
		}
		t.net.backward(p, t.s, t.dy[k], false)
	}
	in := 2 * t.d
	for i := range t.cfg.Batch {
		u := t.rng.Float64()
		row, a, b := t.mix.h[0][in*i:in*(i+1)], t.side[0].h[0][in*i:in*(i+1)], t.side[1].h[0][in*i:in*(i+1)]
		for j := range row {
			row[j] = u*b[j] + (1-u)*a[j]
		}
	}
	t.net.forward(t.mix)
	t.net.grad(t.mix)
	if t.cfg.Lambda > 0 {
		penalty = t.net.penalty(t.mix, t.s, t.cfg.Lambda, t.cfg.K, t.zero)
	}
	if t.cfg.Spectral {
		t.unscale()
	}
	t.opt.step(t.raw, t.s)
	if t.cfg.Spectral {
		t.normalise()
	}
	return loss, penalty, right
}

// normalise computes t.net from t.raw, after a step of the power iteration.
func (t *Trainer) normalise() {
	for l, w := range t.raw.W {
		out, in := t.raw.Sizes[l+1], t.raw.Sizes[l]
		u, v := t.u[l], t.v[l]
		clear(v)
		for o := range out {
			floats.AddScaled(v, u[o], w[o*in:(o+1)*in])
		}
		floats.Scale(1/max(floats.Norm(v, 2), 1e-12), v)
		for o := range out {
			u[o] = floats.Dot(w[o*in:(o+1)*in], v)
		}
		sigma := max(floats.Norm(u, 2), 1e-12)
		floats.Scale(1/sigma, u)
		floats.ScaleTo(t.net.W[l], 1/sigma, w)
		copy(t.net.B[l], t.raw.B[l])
	}
}

// unscale turns the gradient by W/σ(W) into that by W (arXiv:1802.05957, equation
// 12): (G − ⟨G,W/σ⟩ u vᵀ)/σ.
func (t *Trainer) unscale() {
	for l, g := range t.s.w {
		in := t.raw.Sizes[l]
		sigma := 0.0
		for o, u := range t.u[l] {
			sigma += u * floats.Dot(t.raw.W[l][o*in:(o+1)*in], t.v[l])
		}
		along := floats.Dot(g, t.net.W[l])
		for o, u := range t.u[l] {
			floats.AddScaled(g[o*in:(o+1)*in], -along*u, t.v[l])
		}
		floats.Scale(1/max(sigma, 1e-12), g)
	}
}

// Model is what was learned so far, a copy.
func (t *Trainer) Model() Model {
	m := Model{K: t.cfg.K, Net: Net{Sizes: slices.Clone(t.net.Sizes)}}
	for l := range t.net.W {
		m.Net.W, m.Net.B = append(m.Net.W, slices.Clone(t.net.W[l])), append(m.Net.B, slices.Clone(t.net.B[l]))
	}
	return m
}

// Gauge is the 95th percentile of gradients' norms; 0 for none.
func Gauge(norms []float64) float64 {
	if len(norms) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(norms))
	return s[min(len(s)-1, int(math.Ceil(0.95*float64(len(s))))-1)]
}

// adam is Kingma and Ba's (2015, algorithm 1), with its defaults.
type adam struct {
	rate   float64
	t      int
	m1, m2 *slopes
}

func newAdam(n *Net, rate float64) adam {
	return adam{rate: rate, m1: newSlopes(n), m2: newSlopes(n)}
}

func (o *adam) step(n *Net, s *slopes) {
	o.t++
	for l := range n.W {
		o.move(n.W[l], s.w[l], o.m1.w[l], o.m2.w[l])
		o.move(n.B[l], s.b[l], o.m1.b[l], o.m2.b[l])
	}
}

//go:norace
func (o *adam) move(p, g, m1, m2 []float64) {
	const b1, b2, eps = 0.9, 0.999, 1e-8
	c1, c2 := 1-math.Pow(b1, float64(o.t)), 1-math.Pow(b2, float64(o.t))
	for i := range p {
		m1[i] = b1*m1[i] + (1-b1)*g[i]
		m2[i] = b2*m2[i] + (1-b2)*g[i]*g[i]
		p[i] -= o.rate * (m1[i] / c1) / (math.Sqrt(m2[i]/c2) + eps)
	}
}
