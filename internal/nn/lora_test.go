package nn

import (
	"math"
	"slices"
	"testing"
)

// adapted is a network of each kind of weight, with what it makes of x.
type adapted struct {
	name   string
	params []*Param
	x      []int // shape of the input
	apply  func(g *Graph, x *Node, get func(*Param) *Node) *Node
}

func adaptable() []adapted {
	mlp := NewMLP("m", MLPConfig{In: 5, Hidden: []int{7}, Out: 3, LayerNorm: true, Act: Tanh}, newRand(1))
	many := NewMLP("e", MLPConfig{In: 5, Hidden: []int{6}, Out: 2, Members: 3, Act: Tanh}, newRand(2))
	conv := NewConvNet("c", ConvConfig{Channels: 2, H: 6, W: 5, Layers: []ConvLayer{{4, 3, 1, 0}}, Act: Tanh}, newRand(3))
	return []adapted{
		{"layers", mlp.Params(), []int{4, 5}, mlp.Apply},
		{"ensemble", many.Params(), []int{4, 5}, many.Apply},
		{"convolutions", conv.Params(), []int{2, 6, 5, 2}, conv.Apply},
	}
}

func TestLoRABeginsAsTheNetworkAndMerges(t *testing.T) {
	for _, n := range adaptable() {
		t.Run(n.name, func(t *testing.T) {
			rng := newRand(4)
			l := NewLoRA("l", n.params, LoRAConfig{Rank: 2, Alpha: 6}, rng)
			in := randomise(make([]float32, size(n.x)), rng)
			run := func(get func(*Graph) func(*Param) *Node) []float32 {
				g := NewGraph()
				x := g.Input(n.x...)
				copy(x.Value, in)
				y := n.apply(g, x, get(g))
				g.Forward()
				return slices.Clone(y.Value)
			}
			plain := func(g *Graph) func(*Param) *Node { return g.Frozen }
			was := run(plain)
			if got := run(l.Weights); apart(got, was) > 1e-7 {
				t.Errorf("the adapted network begins %v away", apart(got, was))
			}
			for _, p := range l.Params() {
				randomise(p.Data, rng)
			}
			moved := run(l.Weights)
			if apart(moved, was) < 0.01 {
				t.Fatal("the factors change nothing")
			}
			if got := run(plain); apart(got, was) != 0 {
				t.Error("the network itself moved")
			}
			l.Merge()
			if got := run(plain); apart(got, moved) > 1e-5 {
				t.Errorf("merged, the network is %v away from the adapted one", apart(got, moved))
			}
			if got := run(l.Weights); apart(got, moved) > 1e-5 {
				t.Error("merging counts twice")
			}
		})
	}
}

// The gradients are those of the product, by finite differences; the weights get
// none.
func TestLoRAGradients(t *testing.T) {
	for _, n := range adaptable() {
		t.Run(n.name, func(t *testing.T) {
			rng := newRand(5)
			l := NewLoRA("l", n.params, LoRAConfig{Rank: 2}, rng)
			for _, p := range l.Params() {
				for i := range p.Data {
					p.Data[i] = 0.3 * float32(rng.NormFloat64())
				}
			}
			g := NewGraph()
			x := g.Input(n.x...)
			randomise(x.Value, rng)
			loss := g.Mean(g.Square(n.apply(g, x, l.Weights(g))))
			g.Forward()
			ZeroGrad(append(slices.Clone(n.params), l.Params()...))
			g.Backward(loss)
			for _, p := range n.params {
				for _, d := range p.Grad {
					if d != 0 {
						t.Fatalf("%s has a gradient", p.Name)
					}
				}
			}
			for _, p := range l.Params() {
				for i := range p.Data {
					const h = 1e-2
					at := func(d float32) float64 {
						was := p.Data[i]
						defer func() { p.Data[i] = was }()
						p.Data[i] += d
						g.Forward()
						return float64(loss.Value[0])
					}
					want := (at(h) - at(-h)) / (2 * h)
					if got := float64(p.Grad[i]); math.Abs(got-want) > 2e-3*(1+math.Abs(want)) {
						t.Errorf("%s[%d]: gradient %v, want %v", p.Name, i, got, want)
					}
				}
			}
		})
	}
}

func TestLoRATakesWeightsAlone(t *testing.T) {
	m := NewMLP("m", MLPConfig{In: 5, Hidden: []int{7}, Out: 3, LayerNorm: true}, newRand(1))
	l := NewLoRA("l", m.Params(), LoRAConfig{}, newRand(2))
	if got, want := Count(l.Params()), 4*(5+7)+4*(7+3); got != want {
		t.Errorf("%d numbers of factors, want %d", got, want)
	}
	if mustPanic(t, func() { NewLoRA("l", m.Params(), LoRAConfig{Rank: -1}, newRand(2)) }) == nil {
		t.Error("a negative rank passes")
	}
}

func TestLoRAStepDoesNotAllocate(t *testing.T) {
	n := adaptable()[0]
	l := NewLoRA("l", n.params, LoRAConfig{}, newRand(2))
	g := NewGraph()
	x := g.Input(n.x...)
	step := trainsStep(g, g.Mean(g.Square(n.apply(g, x, l.Weights(g)))), l.Params())
	step()
	if a := testing.AllocsPerRun(5, step); a != 0 {
		t.Errorf("a step allocates %v times", a)
	}
}

func trainsStep(g *Graph, loss *Node, ps []*Param) func() {
	adam := NewAdam(ps, AdamConfig{LR: 1e-3})
	return func() {
		g.Forward()
		ZeroGrad(ps)
		g.Backward(loss)
		adam.Step()
	}
}
