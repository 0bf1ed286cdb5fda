package onnx

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
)

// What the Builder writes, read again, computes what it was written from.
func TestBuiltNetworksComeBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, act := range []nn.Act{nn.ReLU, nn.Tanh, nn.SiLU, nn.GELU, nn.Mish, nn.Identity} {
		conv := nn.NewConvNet("c", nn.ConvConfig{Channels: 2, H: 9, W: 7, Act: act, Layers: []nn.ConvLayer{{Out: 4, Kernel: 3, Stride: 2, Pad: 1}, {Out: 3, Kernel: 2, Stride: 1}}}, rng)
		wide := conv.Out[0] * conv.Out[1] * conv.Out[2]
		head := nn.NewMLP("m", nn.MLPConfig{In: wide, Hidden: []int{8, 6}, Out: 5, LayerNorm: true, Act: act}, rng)
		for _, p := range append(conv.Params(), head.Params()...) {
			for i := range p.Data {
				p.Data[i] += 0.1 * float32(rng.NormFloat64())
			}
		}
		b := NewBuilder("both")
		x := b.Input("x", "an image", 9, 7, 2)
		h := b.Flatten(b.ChannelsLast(b.ConvNet(b.ChannelsFirst(x), conv)))
		b.Output("y", "numbers", b.MLP(h, head, 4), 4)
		m, err := New(b.Model(), Config{})
		if err != nil {
			t.Fatal(err)
		}
		g := nn.NewGraph()
		in := g.Input(3, 9, 7, 2)
		for i := range in.Value {
			in.Value[i] = float32(rng.NormFloat64())
		}
		got, err := m.Forward(g, in)
		if err != nil {
			t.Fatal(err)
		}
		want := g.Slice(head.Forward(g, g.Reshape(conv.Forward(g, in), 3, wide)), 0, 4)
		g.Forward()
		if e := apart(got.Value, want.Value); !(e < 1e-5) || !slices.Equal(got.Shape, []int{3, 4}) {
			t.Errorf("activation %d: shape %v, off by %g of the largest", act, got.Shape, e)
		}
	}
}

// Names that collide get numbers, and an array that is used twice is written once.
func TestBuilderNames(t *testing.T) {
	b := NewBuilder("names")
	w, other := nn.NewParam("w", 2, 2), nn.NewParam("w", 2, 2).Fill(1)
	bias := nn.NewParam("b", 2)
	x := b.Input("x", "", 2)
	y := b.Linear(b.Linear(b.Linear(x, w, bias), w, bias), other, bias)
	b.Output("y", "", y, 2)
	var names []string
	for _, t := range b.Model().Graph.Init {
		names = append(names, t.Name)
	}
	if want := []string{"w", "b", "w.1"}; !slices.Equal(names, want) {
		t.Errorf("arrays %v, want %v", names, want)
	}
	if _, err := New(b.Model(), Config{}); err != nil {
		t.Error(err)
	}
}

func TestBuilderRefuses(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	many := nn.NewMLP("m", nn.MLPConfig{In: 2, Out: 2, Members: 3}, rng)
	one := nn.NewMLP("m", nn.MLPConfig{In: 2, Out: 2}, rng)
	for want, f := range map[string]func(b *Builder){
		"onnx: MLP: an ensemble has no single result":  func(b *Builder) { b.MLP("x", many, 2) },
		"onnx: MLP: more outputs than the network has": func(b *Builder) { b.MLP("x", one, 3) },
		"onnx: unknown activation":                     func(b *Builder) { b.Act("x", 99) },
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("panic %v, want %q", got, want)
				}
			}()
			f(NewBuilder("b"))
		}()
	}
}

// Images may leave a file channels-last, too.
func TestChannelsLastInTheFile(t *testing.T) {
	conv := nn.NewConvNet("c", nn.ConvConfig{Channels: 2, H: 5, W: 4, Layers: []nn.ConvLayer{{Out: 3, Kernel: 2, Stride: 1}}}, rand.New(rand.NewPCG(3, 4)))
	for _, last := range []bool{false, true} {
		b := NewBuilder("image")
		if last {
			b.Output("y", "", b.ChannelsLast(b.ConvNet(b.ChannelsFirst(b.Input("x", "", 5, 4, 2)), conv)), 4, 3, 3)
		} else {
			b.Output("y", "", b.ConvNet(b.Input("x", "", 2, 5, 4), conv), 3, 4, 3)
		}
		m, err := New(b.Model(), Config{})
		if err != nil {
			t.Fatal(err)
		}
		g := nn.NewGraph()
		x := g.Input(1, 5, 4, 2)
		for i := range x.Value {
			x.Value[i] = float32(i%7) - 3
		}
		got, err := m.Forward(g, x)
		if err != nil {
			t.Fatal(err)
		}
		want := conv.Forward(g, x)
		g.Forward()
		if e := apart(got.Value, want.Value); !(e < 1e-6) || !slices.Equal(got.Shape, want.Shape) {
			t.Errorf("channels-last in the file %v: shape %v, off by %g of the largest", last, got.Shape, e)
		}
	}
}
