package iql

import (
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/critic"
)

// judge is the graph of what the target critics say of the data's actions: the
// smallest of a subset of them, Q^(s, a).
type judge struct {
	g   *nn.Graph
	xa  *nn.Node // (B, D'+k)
	q   *nn.Node // (B,)
	idx []int    // the subset, redrawn before each step
}

func newJudge(target *nn.MLP, B, subset int, on device.Device) *judge {
	j := &judge{g: nn.NewGraphOn(on), idx: make([]int, subset)}
	j.xa = j.g.Input(B, target.Config.In)
	j.q = j.g.Reshape(j.g.MinFirst(target.FrozenSubset(j.g, j.xa, j.idx)), B)
	j.g.Keep(j.q)
	return j
}

// regression is the graph that fits the critics to their targets (equation 6):
//
//	L_Q = mean_{e,i} w_i (r_i + discount_i V(s'_i) - Q_e(s_i, a_i))^2
//
// where w corrects for prioritised draws (Schaul et al. 2016, arXiv:1511.05952,
// algorithm 1, line 13), and is 1 without.
type regression struct {
	g     *nn.Graph
	xa, y *nn.Node // (B, D'+k), (B,)
	q     *nn.Node // (E, B)
	mean  *nn.Node // (B,) over the members
	w     *nn.Node // (B,) weights of the rows; nil: all 1
	loss  *nn.Node
}

// newRegression makes the graph; deep says that the gradient by what is read is
// wanted too, weighed that rows have weights.
func newRegression(values *nn.MLP, B int, deep, weighed bool, on device.Device) *regression {
	r := &regression{g: nn.NewGraphOn(on)}
	r.xa, r.y = r.g.Input(B, values.Config.In), r.g.Input(B)
	if deep {
		r.xa = r.g.InputGrad(B, values.Config.In)
	}
	r.q = r.g.Reshape(values.Forward(r.g, r.xa), values.Config.Members, B)
	r.mean = r.g.MeanFirst(r.q)
	r.g.Keep(r.q, r.mean)
	square := r.g.Square(r.g.Sub(r.q, r.y))
	if weighed {
		r.w = r.g.Input(B)
		square = r.g.Mul(square, r.w)
	}
	r.loss = r.g.Mean(square)
	return r
}

// extraction is the graph that draws the policy out of the values (equation 7):
//
//	L_pi = - mean_i w_i log pi(a_i|s_i)
//
// and with a Deterministic head mean_i w_i |tanh(mean_i) - a_i|^2.
type extraction struct {
	g    *nn.Graph
	x, a *nn.Node // (B, D') what is read, (B, k) actions as the head wants them
	w    *nn.Node // (B,)
	loss *nn.Node
}

func newExtraction(actor *bc.Net, B int, head Head, on device.Device) *extraction {
	e := &extraction{g: nn.NewGraphOn(on)}
	g, k := e.g, actor.Arch.View.Action.Dim()
	e.x, e.a, e.w = g.Input(B, actor.Dim()), g.Input(B, k), g.Input(B)
	raw := actor.Raw(g, e.x)
	if head == Deterministic {
		e.loss = g.Mean(g.Mul(g.Reshape(g.SumLast(g.Square(g.Sub(g.Tanh(g.Slice(raw, 0, k)), e.a))), B), e.w))
	} else {
		e.loss = g.Neg(g.Mean(g.Mul(bc.LogProb(g, raw, e.a), e.w)))
	}
	return e
}

// weigh writes the weights min(exp(beta (q - v)), most) to w (B,), and tells the
// mean of the advantages and of the weights, and the share of weights at most.
func weigh(w, q, v []float32, beta, most float64) (adv, mean, capped float64) {
	B := float64(len(w))
	for i := range w {
		a := float64(q[i]) - float64(v[i])
		x := math.Exp(beta * a)
		if x >= most {
			x = most
			capped += 1 / B
		}
		w[i] = float32(x)
		adv += a / B
		mean += x / B
	}
	return adv, mean, capped
}

// pack fills what is read, obs (B, D'), and actions act (B, k) into xa.
func pack(xa *nn.Node, obs, act []float32) {
	critic.Pack(xa.Value, obs, act, len(act)/xa.Shape[0])
}
