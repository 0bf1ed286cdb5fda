package nn

import (
	"fmt"
	"math/rand/v2"
)

// ConvLayer is one convolution of a ConvNet, with a square kernel.
type ConvLayer struct{ Out, Kernel, Stride, Pad int }

// ConvConfig describes a ConvNet.
type ConvConfig struct {
	Channels, H, W int // of the image
	Layers         []ConvLayer
	Act            Act // after every layer
}

// DrQLayers are the four 3x3 convolutions of DrQ's and DrQ-v2's image encoder
// (arXiv:2004.13649, appendix B).
func DrQLayers() []ConvLayer {
	return []ConvLayer{{32, 3, 2, 0}, {32, 3, 1, 0}, {32, 3, 1, 0}, {32, 3, 1, 0}}
}

// ConvNet is a stack of convolutions.
type ConvNet struct {
	Config ConvConfig
	Out    [3]int // height, width, channels of the result
	w, b   []*Param
}

// NewConvNet draws a ConvNet with orthogonal weights of gain sqrt(2) and zero
// biases. Names start with name.
func NewConvNet(name string, c ConvConfig, rng *rand.Rand) *ConvNet {
	n := newConvNet(name, c)
	for _, w := range n.w {
		InitOrthogonal(w, 1.4142135623730951, rng) // sqrt 2 keeps the scale through a ReLU
	}
	return n
}

func newConvNet(name string, c ConvConfig) *ConvNet {
	n := &ConvNet{Config: c, Out: [3]int{c.H, c.W, c.Channels}}
	for i, l := range c.Layers {
		n.w = append(n.w, NewParam(fmt.Sprintf("%s.%d.weight", name, i), l.Out, n.Out[2], l.Kernel, l.Kernel))
		n.b = append(n.b, NewParam(fmt.Sprintf("%s.%d.bias", name, i), l.Out))
		h, w := Window{l.Stride, l.Stride, l.Pad, l.Pad}.over(n.Out[0], n.Out[1], l.Kernel, l.Kernel)
		n.Out = [3]int{h, w, l.Out}
	}
	return n
}

// Params lists the trainable arrays, in a fixed order.
func (n *ConvNet) Params() []*Param {
	var ps []*Param
	for i := range n.w {
		ps = append(ps, n.w[i], n.b[i])
	}
	return ps
}

// Clone returns a copy of its own.
func (n *ConvNet) Clone(name string) *ConvNet {
	c := newConvNet(name, n.Config)
	Copy(c.Params(), n.Params())
	return c
}

// Forward applies the convolutions to x (B,H,W,Channels) and gives
// (B,Out[0],Out[1],Out[2]). Gradients reach x and the params.
func (n *ConvNet) Forward(g *Graph, x *Node) *Node { return n.apply(g, x, g.Param) }

// Frozen is Forward with params that get no gradient.
func (n *ConvNet) Frozen(g *Graph, x *Node) *Node { return n.apply(g, x, g.Frozen) }

// Static is Forward with params that never change.
func (n *ConvNet) Static(g *Graph, x *Node) *Node { return n.apply(g, x, g.Static) }

// Apply is Forward with params as get brings them into the graph.
func (n *ConvNet) Apply(g *Graph, x *Node, get func(*Param) *Node) *Node { return n.apply(g, x, get) }

func (n *ConvNet) apply(g *Graph, x *Node, get func(*Param) *Node) *Node {
	for i, l := range n.Config.Layers {
		win := Window{l.Stride, l.Stride, l.Pad, l.Pad}
		x = g.Conv(x, get(n.w[i]), get(n.b[i]), win, n.Config.Act == ReLU)
		if n.Config.Act != ReLU {
			x = n.Config.Act.Apply(g, x)
		}
	}
	return x
}
