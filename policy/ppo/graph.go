package ppo

import (
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/policy/bc"
)

// reader is a graph that reads rows in chunks of one size.
type reader struct {
	g    *nn.Graph
	x, u *nn.Node // (B, D') what the network reads, (B, k) actions before tanh or nil
	out  *nn.Node // a row of numbers for each
}

// newDensity reads the log density of actions under a Net.
func newDensity(n *bc.Net, B int, on device.Device) *reader {
	r := &reader{g: nn.NewGraphOn(on)}
	r.x, r.u = r.g.Input(B, n.Dim()), r.g.Input(B, n.Arch.View.Action.Dim())
	r.out = density(r.g, n.Frozen(r.g, r.x), r.u)
	return r
}

// newHeads reads the head of a Net.
func newHeads(n *bc.Net, B int, on device.Device) *reader {
	r := &reader{g: nn.NewGraphOn(on)}
	r.x = r.g.Input(B, n.Dim())
	r.out = n.Frozen(r.g, r.x)
	return r
}

// newValues reads the value of states.
func newValues(value *nn.MLP, B int, on device.Device) *reader {
	r := &reader{g: nn.NewGraphOn(on)}
	r.x = r.g.Input(B, value.Config.In)
	r.out = value.Frozen(r.g, r.x)
	return r
}

// all writes what the graph says of the rows x (N, D'), with actions u (N, k) if
// it wants them, to dst (N, n).
func (r *reader) all(dst, x, u []float32) {
	B := r.x.Shape[0]
	D, n := r.x.Shape[1], len(r.out.Value)/B
	for len(dst) > 0 {
		rows := min(B, len(dst)/n)
		copy(r.x.Value, x[:rows*D])
		if r.u != nil {
			k := r.u.Shape[1]
			copy(r.u.Value, u[:rows*k])
			u = u[rows*k:]
		}
		r.g.ForwardTo(r.out)
		copy(dst[:rows*n], r.out.Value)
		dst, x = dst[rows*n:], x[rows*D:]
	}
}

// surrogate is the graph that improves the policy (Schulman et al. 2017,
// arXiv:1707.06347, equations 7 and 9):
//
//	L = - sum_i m_i min(rho_i A_i, clip(rho_i, 1-eps, 1+eps) A_i) / sum_i m_i - c H
//
// with rho the ratio of the density of an action to what it had under the policy
// that took it, m 1 for the rows that a policy decided and 0 for others, and H the
// entropy of the policy, estimated by one draw a row.
type surrogate struct {
	g        *nn.Graph
	x, u     *nn.Node // (B, D') what the policy reads, (B, k) actions before tanh
	was      *nn.Node // (B, D') what ref reads: x without cameras
	old, adv *nn.Node // (B,) log densities when acted, advantages; 0 for rows not decided
	share    *nn.Node // (1) 1/sum m
	start    *nn.Node // (B, 2k) heads when the update began
	noise    *nn.Node // (B, k)

	ratio *nn.Node // (B,)
	far   *nn.Node // (B,) divergence from where the update began
	away  *nn.Node // (B,) divergence from where learning started
	drawn *nn.Node // (B,) log densities of fresh draws
	loss  *nn.Node
}

// steep bounds the logarithm of a ratio, so that it stays a number.
const steep = 20

func newSurrogate(actor, ref *bc.Net, B int, eps, entropy float64, on device.Device) *surrogate {
	s := &surrogate{g: nn.NewGraphOn(on)}
	g, k := s.g, actor.Arch.View.Action.Dim()
	s.x = reads(g, B, actor.Dim(), actor)
	s.was = s.x
	if actor.Eye() != nil {
		s.was = g.Input(B, actor.Dim())
	}
	s.u, s.old, s.adv, s.share = g.Input(B, k), g.Input(B), g.Input(B), g.Input(1)
	s.start, s.noise = g.Input(B, 2*k), g.Input(B, k)
	raw := actor.Raw(g, s.x)
	s.ratio = g.Exp(g.Clamp(g.Sub(density(g, raw, s.u), s.old), -steep, steep))
	gain := g.Min(g.Mul(s.ratio, s.adv), g.Mul(g.Clamp(s.ratio, float32(1-eps), float32(1+eps)), s.adv))
	s.loss = g.Neg(g.Mul(g.Sum(gain), s.share))
	s.drawn = g.Reshape(g.Slice(bc.Draw(g, raw, s.noise), k, k+1), B)
	if entropy > 0 {
		s.loss = g.Add(s.loss, g.Scale(g.Mean(s.drawn), float32(entropy)))
	}
	s.far = bc.KL(g, raw, s.start)
	s.away = bc.KL(g, raw, ref.Frozen(g, s.was))
	g.Keep(s.ratio, s.drawn, s.far, s.away)
	return s
}

// regression is the graph that fits the value: mean_i (V(s_i) - R_i)^2.
type regression struct {
	g    *nn.Graph
	x, y *nn.Node // (B, D') what the value reads, (B,)
	loss *nn.Node
}

func newRegression(value *nn.MLP, actor *bc.Net, B int, on device.Device) *regression {
	r := &regression{g: nn.NewGraphOn(on)}
	r.x, r.y = reads(r.g, B, value.Config.In, actor), r.g.Input(B)
	r.loss = r.g.MSE(r.g.Reshape(value.Forward(r.g, r.x), B), r.y)
	return r
}

// reads is an input of B rows of n numbers, with a gradient where they hold what the
// actor's trunk sees.
func reads(g *nn.Graph, B, n int, actor *bc.Net) *nn.Node {
	if actor.Eye() != nil {
		return g.InputGrad(B, n)
	}
	return g.Input(B, n)
}

// standardise gives the rows of adv whose mask is set mean 0 and deviation 1,
// the others 0.
func standardise(adv []float32, mask []bool) {
	n, mean, square := 0.0, 0.0, 0.0
	for i, a := range adv {
		if mask[i] {
			n++
			mean += float64(a)
		}
	}
	mean /= max(1, n)
	for i, a := range adv {
		if mask[i] {
			square += (float64(a) - mean) * (float64(a) - mean)
		}
	}
	dev := math.Sqrt(square/max(1, n)) + 1e-8
	for i, a := range adv {
		adv[i] = 0
		if mask[i] {
			adv[i] = float32((float64(a) - mean) / dev)
		}
	}
}
