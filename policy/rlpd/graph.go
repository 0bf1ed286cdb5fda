package rlpd

import (
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/critic"
)

// target is the graph of what a critic should say of a transition.
type target struct {
	g        *nn.Graph
	x, noise *nn.Node // (B, D') what is read of the next inputs, (B n, k)
	out      *nn.Node // (B n, k+1) next actions, their log densities
	q        *nn.Node // (B n, 1) smallest of the subset
	best     int      // n actions that the best is taken of
	idx      []int    // the subset, redrawn before each step
}

func newTarget(actor *bc.Net, values *nn.MLP, B, subset, best int, on device.Device) *target {
	t := &target{g: nn.NewGraphOn(on), best: best, idx: make([]int, subset)}
	v := actor.Arch.View
	t.x, t.noise = t.g.Input(B, actor.Dim()), t.g.Input(B*best, v.Action.Dim())
	raw, x := actor.Frozen(t.g, t.x), t.x
	if best > 1 {
		each := critic.Repeat(B, best)
		raw, x = t.g.Select(raw, each), t.g.Select(x, each)
	}
	t.out = bc.Draw(t.g, raw, t.noise)
	xa := t.g.Concat(x, t.g.Slice(t.out, 0, v.Action.Dim()))
	t.q = t.g.MinFirst(values.FrozenSubset(t.g, xa, t.idx))
	t.g.Keep(t.out, t.q)
	return t
}

// into writes the targets of REDQ and RLPD to y (B,):
//
//	y = r + discount * (min_{i in subset} Q_i(s', a') - alpha log pi(a'|s'))
//
// the entropy only if asked for (Chen et al. 2021, arXiv:2101.05982, equation 1).
// Of several a' the one with the largest minimum counts.
func (t *target) into(y, reward, discount []float32, alpha float64, entropy bool) {
	t.g.Forward()
	k := t.noise.Shape[1]
	for i, r := range reward {
		at := i * t.best
		for j := at + 1; j < (i+1)*t.best; j++ {
			if t.q.Value[j] > t.q.Value[at] {
				at = j
			}
		}
		q := float64(t.q.Value[at])
		if entropy {
			q -= alpha * float64(t.out.Value[at*(k+1)+k])
		}
		y[i] = float32(float64(r) + float64(discount[i])*q)
	}
}

// regression is the graph that fits the critics to their targets.
type regression struct {
	g     *nn.Graph
	xa, y *nn.Node // (B, D'+k) what is read, with actions, (B,)
	q     *nn.Node // (E, B)
	mean  *nn.Node // (B,) over the members
	w     *nn.Node // (B,) weights of the rows; nil: all 1
	loss  *nn.Node // mean over members and rows of w (q - y)^2
}

// newRegression makes the graph; deep says that the gradient by what is read is
// wanted too, weighed that rows have weights (Schaul et al. 2016,
// arXiv:1511.05952, algorithm 1, line 13).
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

// put fills what is read (B, D') and actions (B, k) in.
func (r *regression) put(obs, act []float32) {
	critic.Pack(r.xa.Value, obs, act, len(act)/r.xa.Shape[0])
}

// judge writes what the critics last said of the rows to q (B,): their mean, or the smallest.
func (r *regression) judge(q []float32, least bool) {
	copy(q, r.mean.Value)
	if !least {
		return
	}
	B := len(q)
	for i := range q {
		q[i] = r.q.Value[i]
		for at := i + B; at < len(r.q.Value); at += B {
			q[i] = min(q[i], r.q.Value[at])
		}
	}
}

// ascent is the graph that improves the actor:
//
//	J = mean_i [ alpha log pi(a_i|s_i) - mean_j Q_j(s_i, a_i) ]
//	  + |Q| (Clone mean_demo w_i |tanh(mean_i) - a_demo_i|^2 + Stay mean_i KL_i)
//
// with |Q| the batch's mean absolute value, seen as a constant. With Config.Least
// min_j takes the place of mean_j.
type ascent struct {
	g        *nn.Graph
	x, noise *nn.Node // (B, D') what is read, (B, k)
	was      *nn.Node // (B, D') what ref reads; x itself without cameras
	alpha    *nn.Node // (1)
	act      *nn.Node // (B, k) demonstrated actions, if cloning
	qdata    *nn.Node // (B,) what the critics say of those, as of the policy's (q), if filtering
	demos    int      // rows that are demonstrations

	logp  *nn.Node // (B,)
	q     *nn.Node // (B,) mean over the members, or the smallest
	clone *nn.Node // the weighted cloning term, nil without
	kl    *nn.Node // (B,) divergence from where learning started
	loss  *nn.Node
	// unit is |Q|; passed the demonstration rows that were cloned.
	unit   float64
	passed int
}

func newAscent(c *Config, actor, ref *bc.Net, values *nn.MLP) *ascent {
	a := &ascent{g: nn.NewGraphOn(c.Device)}
	g, v, B := a.g, actor.Arch.View, c.Batch
	k := v.Action.Dim()
	a.x, a.noise, a.alpha = g.Input(B, actor.Dim()), g.Input(B, k), g.Input(1)
	a.was = a.x
	if actor.Eye() != nil {
		a.was = g.Input(B, actor.Dim())
	}
	raw := actor.Raw(g, a.x)
	out := bc.Draw(g, raw, a.noise)
	a.logp = g.Reshape(g.Slice(out, k, k+1), B)
	over := g.MeanFirst
	if c.Least {
		over = g.MinFirst
	}
	a.q = g.Reshape(over(values.Frozen(g, g.Concat(a.x, g.Slice(out, 0, k)))), B)
	a.loss = g.Mean(g.Sub(g.Mul(a.logp, a.alpha), a.q))

	// unit comes first in the graph of those who use it.
	unit := g.Custom([]*nn.Node{g.StopGrad(a.q)}, []int{1}, func(n *nn.Node) {
		sum := 0.0
		for _, q := range a.q.Value {
			sum += math.Abs(float64(q))
		}
		a.unit = sum / float64(B)
		n.Value[0] = float32(a.unit)
	}, nil)
	if c.Clone > 0 {
		a.act, a.qdata = g.Input(B, k), g.Input(B)
		w := g.Custom([]*nn.Node{g.StopGrad(a.q), a.qdata, unit}, []int{B}, func(n *nn.Node) {
			a.weigh(n.Value, c.QFilter)
		}, nil)
		d := g.SumLast(g.Square(g.Sub(g.Tanh(g.Slice(raw, 0, k)), a.act)))
		a.clone = g.Sum(g.Mul(d, w))
		a.loss = g.Add(a.loss, g.Scale(g.Mul(a.clone, unit), float32(c.Clone)))
	}
	a.kl = bc.KL(g, raw, ref.Frozen(g, a.was))
	g.Keep(a.logp, a.kl)
	if c.Stay > 0 {
		a.loss = g.Add(a.loss, g.Scale(g.Mul(g.Mean(a.kl), unit), float32(c.Stay)))
	}
	return a
}

// weigh writes the share of every row in the cloning term: 1/demos for those
// of a demonstration, as far as the filter lets them pass.
func (a *ascent) weigh(w []float32, filter bool) {
	clear(w)
	a.passed = 0
	for i := range a.demos {
		if !filter || a.qdata.Value[i] > a.q.Value[i] {
			w[i] = 1 / float32(a.demos)
			a.passed++
		}
	}
}
