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

// TestLoRAIsGated: its change is linear in what is served, has gradients by finite
// differences, and is merged as it is served.
func TestLoRAIsGated(t *testing.T) {
	for _, n := range adaptable() {
		t.Run(n.name, func(t *testing.T) {
			rng := newRand(6)
			l := NewLoRA("l", n.params, LoRAConfig{Rank: 2, Gates: 3}, rng)
			for _, p := range l.Params() {
				for i := range p.Data {
					p.Data[i] = 0.3 * float32(rng.NormFloat64())
				}
			}
			var weight *Param // the first that is adapted
			for _, p := range n.params {
				if _, ok := l.change[p]; ok && weight == nil {
					weight = p
				}
			}
			g := NewGraph()
			x := g.Input(n.x...)
			randomise(x.Value, rng)
			get := l.Weights(g)
			loss := g.Mean(g.Square(n.apply(g, x, get)))
			change := func(u ...float64) (d []float64) {
				l.Serve(u)
				w := get(weight)
				g.ForwardTo(w)
				for i, v := range w.Value {
					d = append(d, float64(v-weight.Data[i]))
				}
				return d
			}
			a, b, mix, none := change(1, 0, -2), change(0, 3, 1), change(2, -3, -5), change()
			far := 0.0
			for i := range a {
				far = max(far, math.Abs(a[i]))
				if math.Abs(mix[i]-(2*a[i]-b[i])) > 1e-5 || none[i] != 0 {
					t.Fatalf("number %d changes by %v and %v, by their mixture %v, by nothing %v", i, a[i], b[i], mix[i], none[i])
				}
			}
			if far < 0.01 {
				t.Fatal("the factors change nothing")
			}
			l.Serve([]float64{0.5, -1, 2})
			g.Forward()
			ZeroGrad(l.Params())
			g.Backward(loss)
			for _, p := range l.Params() {
				for i := range p.Data {
					const h = 1e-2
					was := p.Data[i]
					at := func(d float32) float64 {
						p.Data[i] = was + d
						g.Forward()
						return float64(loss.Value[0])
					}
					want := (at(h) - at(-h)) / (2 * h)
					p.Data[i] = was
					if got := float64(p.Grad[i]); math.Abs(got-want) > 5e-3*(1+math.Abs(want)) {
						t.Errorf("%s[%d]: gradient %v, want %v", p.Name, i, got, want)
					}
				}
			}
			g.Forward()
			want := float64(loss.Value[0])
			l.Merge()
			if g.Forward(); math.Abs(float64(loss.Value[0])-want) > 1e-5*(1+want) {
				t.Errorf("merged, the loss is %v, want %v", loss.Value[0], want)
			}
			if mustPanic(t, func() { l.Serve([]float64{1}) }) == nil {
				t.Error("another number of gates is taken")
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
