package nn

import (
	"fmt"
	"math/rand/v2"
)

// Act names the activation of a module's hidden layers.
type Act uint8

// The activations. The zero value is ReLU.
const (
	ReLU Act = iota
	Tanh
	SiLU
	GELU
	Mish
	Identity
)

// Apply adds the activation to x.
func (a Act) Apply(g *Graph, x *Node) *Node {
	switch a {
	case ReLU:
		return g.ReLU(x)
	case Tanh:
		return g.Tanh(x)
	case SiLU:
		return g.SiLU(x)
	case GELU:
		return g.GELU(x)
	case Mish:
		return g.Mish(x)
	case Identity:
		return x
	}
	panic("nn: unknown activation")
}

// MLPConfig describes an MLP.
type MLPConfig struct {
	In, Out   int
	Hidden    []int   // widths of the hidden layers
	Members   int     // of the ensemble; 0: a single network without that axis
	LayerNorm bool    // before each activation, as in RLPD (arXiv:2302.02948, section 4.2)
	Act       Act     // of the hidden layers
	OutScale  float64 // multiplies the initial output weights; 0: 1
}

// MLP is a multi-layer perceptron, or an ensemble of them side by side.
type MLP struct {
	Config MLPConfig
	layers []layer
}

type layer struct{ w, b, gain, bias *Param }

// NewMLP draws an MLP with orthogonal hidden weights of gain sqrt(2), output
// weights of gain 1 and zero biases. Names start with name.
func NewMLP(name string, c MLPConfig, rng *rand.Rand) *MLP {
	m := newMLP(name, c)
	for i, l := range m.layers {
		gain := 1.4142135623730951 // sqrt 2 keeps the scale through a ReLU
		if i == len(m.layers)-1 {
			if gain = c.OutScale; gain == 0 {
				gain = 1
			}
		}
		InitOrthogonal(l.w, gain, rng)
	}
	return m
}

func newMLP(name string, c MLPConfig) *MLP {
	if c.In < 1 || c.Out < 1 || c.Members < 0 {
		panic("nn: MLP: sizes must be positive")
	}
	m := &MLP{Config: c}
	shape := func(s ...int) []int {
		if c.Members > 0 {
			return append([]int{c.Members}, s...)
		}
		return s
	}
	in := c.In
	for i := range len(c.Hidden) + 1 {
		out, last := c.Out, i == len(c.Hidden)
		if !last {
			out = c.Hidden[i]
		}
		at := fmt.Sprintf("%s.%d", name, i)
		l := layer{w: NewParam(at+".weight", shape(out, in)...), b: NewParam(at+".bias", shape(out)...)}
		if c.LayerNorm && !last {
			l.gain = NewParam(at+".norm.weight", shape(out)...).Fill(1)
			l.bias = NewParam(at+".norm.bias", shape(out)...)
		}
		m.layers = append(m.layers, l)
		in = out
	}
	return m
}

// Params lists the trainable arrays, in a fixed order.
func (m *MLP) Params() []*Param {
	var ps []*Param
	for _, l := range m.layers {
		ps = append(ps, l.w, l.b)
		if l.gain != nil {
			ps = append(ps, l.gain, l.bias)
		}
	}
	return ps
}

// Clone returns a copy of its own, such as a target network.
func (m *MLP) Clone(name string) *MLP {
	c := newMLP(name, m.Config)
	Copy(c.Params(), m.Params())
	return c
}

// Forward applies the MLP to x: (B,In) to (B,Out), and for an ensemble (B,In) or
// (E,B,In) to (E,B,Out). Gradients reach x and the params.
func (m *MLP) Forward(g *Graph, x *Node) *Node { return m.apply(g, x, g.Param, nil, nil) }

// Frozen is Forward with params that get no gradient.
func (m *MLP) Frozen(g *Graph, x *Node) *Node { return m.apply(g, x, g.Frozen, nil, nil) }

// Apply is Forward with parameters as get brings them into the graph: g.Param,
// g.Frozen, or a LoRA's Weights.
func (m *MLP) Apply(g *Graph, x *Node, get func(*Param) *Node) *Node {
	return m.apply(g, x, get, nil, nil)
}

// Trace is Frozen that gives the hidden layers' activations, (B,n) or (E,B,n)
// each, instead of the result.
func (m *MLP) Trace(g *Graph, x *Node) []*Node {
	var hidden []*Node
	m.apply(g, x, g.Frozen, nil, func(h *Node) { hidden = append(hidden, h) })
	return hidden
}

// Blend makes the weights and biases of the linear layers rho times what they are
// and 1-rho times those of o, which has the same shape. Norms stay.
func (m *MLP) Blend(o *MLP, rho float32) {
	for i, l := range m.layers {
		Lerp([]*Param{l.w, l.b}, []*Param{o.layers[i].w, o.layers[i].b}, 1-rho)
	}
}

// FrozenSubset is Frozen for the members idx of an ensemble only, giving
// (len(idx),B,Out). idx is read at every Forward: REDQ draws it anew each step
// (arXiv:2101.05982, algorithm 1).
func (m *MLP) FrozenSubset(g *Graph, x *Node, idx []int) *Node {
	if m.Config.Members == 0 {
		panic("nn: MLP: no ensemble to select from")
	}
	return m.apply(g, x, g.Frozen, idx, nil)
}

func (m *MLP) apply(g *Graph, x *Node, get func(*Param) *Node, idx []int, seen func(hidden *Node)) *Node {
	use := func(p *Param) *Node {
		if idx != nil {
			return g.Select(get(p), idx)
		}
		return get(p)
	}
	for i, l := range m.layers {
		w, b := use(l.w), use(l.b)
		switch {
		case i == len(m.layers)-1:
			x = g.Linear(x, w, b)
		case l.gain == nil && m.Config.Act == ReLU:
			x = g.LinearReLU(x, w, b)
		case l.gain == nil:
			x = m.Config.Act.Apply(g, g.Linear(x, w, b))
		case m.Config.Act == ReLU:
			x = g.LayerNormReLU(g.Linear(x, w, b), use(l.gain), use(l.bias))
		default:
			x = m.Config.Act.Apply(g, g.LayerNorm(g.Linear(x, w, b), use(l.gain), use(l.bias)))
		}
		if seen != nil && i < len(m.layers)-1 {
			seen(x)
		}
	}
	return x
}
