package nn

import (
	"fmt"
	"math/rand/v2"
)

// LoRAConfig sets up a LoRA.
type LoRAConfig struct {
	Rank  int     // r of the paper; 4
	Alpha float64 // the change is scaled by Alpha/Rank; Rank
	// Gates, above 0, is the length D of a vector u by which the change is gated (Serve):
	// W' = W + Alpha/Rank B diag(M u) A with M (Rank,D) drawn, so that one adapter has
	// a change for every u, and none for 0.
	Gates int
}

// LoRA trains a change of low rank beside weights that stay (Hu et al. 2021,
// arXiv:2106.09685, section 4.1):
//
//	W' = W + Alpha/Rank B A
//
// for W (...,out,in) with A (...,Rank,in) drawn and B (...,out,Rank) zero, so that
// it begins as the network it adapts. Convolutions count as (out, in*KH*KW).
// Networks are built with Weights in place of a Graph's Param:
//
//	lora := nn.NewLoRA("policy", net.Params(), nn.LoRAConfig{Rank: 8}, rng)
//	y := net.Apply(g, x, lora.Weights(g))
//	adam := nn.NewAdam(lora.Params(), nn.AdamConfig{LR: 1e-4})
//	lora.Merge() // once it is learned, for a network as before
type LoRA struct {
	Config LoRAConfig
	change map[*Param]change
	params []*Param
	gates  *Param // u (D,1), not trained
}

// change is the factors of a weight's, and what makes its gates.
type change struct{ a, b, m *Param }

// NewLoRA adapts the weights among params, those with two axes or more; biases and
// norms stay as they are. An axis in front of a weight's two is that of an
// ensemble, of which each member has factors of its own. Names start with name.
func NewLoRA(name string, params []*Param, c LoRAConfig, rng *rand.Rand) *LoRA {
	if c.Rank == 0 {
		c.Rank = 4
	}
	if c.Alpha == 0 {
		c.Alpha = float64(c.Rank)
	}
	if c.Rank < 1 || c.Gates < 0 {
		panic("nn: LoRA: rank is not positive")
	}
	l := &LoRA{Config: c, change: map[*Param]change{}}
	if c.Gates > 0 {
		l.gates = NewParam(name+".lora.gates", c.Gates, 1)
	}
	for i, p := range params {
		E, out, in := matrices(p.Shape)
		if out < 2 || in < 2 {
			continue
		}
		ch := change{
			a: NewParam(fmt.Sprintf("%s.lora.%d.a", name, i), E, c.Rank, in),
			b: NewParam(fmt.Sprintf("%s.lora.%d.b", name, i), E, out, c.Rank),
		}
		// The paper's code draws A as a linear layer's weight is drawn.
		for e := range E {
			n := c.Rank * in
			InitLinear(&Param{Shape: []int{c.Rank, in}, Data: ch.a.Data[e*n : (e+1)*n]}, rng)
		}
		l.params = append(l.params, ch.a, ch.b)
		if c.Gates > 0 {
			ch.m = NewParam(fmt.Sprintf("%s.lora.%d.m", name, i), c.Rank, c.Gates)
			for i := range ch.m.Data {
				ch.m.Data[i] = float32(rng.NormFloat64())
			}
			l.params = append(l.params, ch.m)
		}
		l.change[p] = ch
	}
	return l
}

// matrices reads a weight's shape as a stack of matrices (E,out,in); no matrix has
// out 0.
func matrices(shape []int) (E, out, in int) {
	switch len(shape) {
	case 2:
		return 1, shape[0], shape[1]
	case 3:
		return shape[0], shape[1], shape[2]
	case 4:
		return 1, shape[0], shape[1] * shape[2] * shape[3]
	}
	return 0, 0, 0
}

// Params lists the factors, which are what is trained, in a fixed order.
func (l *LoRA) Params() []*Param { return l.params }

// Weights returns what a network is built with instead of g.Param: its own
// parameters without gradients, and the change beside those that are adapted.
func (l *LoRA) Weights(g *Graph) func(*Param) *Node {
	made := map[*Param]*Node{}
	return func(p *Param) *Node {
		ch, ok := l.change[p]
		if !ok {
			return g.Frozen(p)
		}
		if n := made[p]; n != nil {
			return n
		}
		d := g.Reshape(l.product(g, ch, g.Param), p.Shape...)
		n := g.Add(g.Frozen(p), g.Scale(d, l.scale()))
		made[p] = n
		return n
	}
}

// product is B A, or B diag(M u) A.
func (l *LoRA) product(g *Graph, ch change, in func(*Param) *Node) *Node {
	b := in(ch.b)
	if ch.m != nil {
		b = g.Mul(b, g.Reshape(g.MatMul(in(ch.m), g.Frozen(l.gates), false, false), l.Config.Rank))
	}
	return g.MatMul(b, in(ch.a), false, false)
}

// Serve sets the vector by which the change is gated; nil: 0. Graphs that were built
// before follow it.
func (l *LoRA) Serve(u []float64) {
	if l.gates == nil || len(u) != 0 && len(u) != len(l.gates.Data) {
		panic("nn: LoRA: Serve: another number of gates")
	}
	clear(l.gates.Data)
	for i, v := range u {
		l.gates.Data[i] = float32(v)
	}
	l.gates.Push()
}

func (l *LoRA) scale() float32 { return float32(l.Config.Alpha / float64(l.Config.Rank)) }

// Merge adds the change, a gated one for what is served, to the weights and begins anew
// from there.
func (l *LoRA) Merge() {
	g := NewGraph()
	for p, ch := range l.change {
		d := l.product(g, ch, g.Frozen)
		g.ForwardTo(d)
		p.Pull()
		g.dev.Axpy(l.scale(), p.Data, d.Value)
		p.Push()
		clear(ch.b.Data)
		ch.b.Push()
	}
}
