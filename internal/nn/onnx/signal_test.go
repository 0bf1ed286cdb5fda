package onnx

import (
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
)

// What the Builder writes of signals and tokens, read again, computes what package
// nn does.
func TestBuiltSignalsComeBack(t *testing.T) {
	const B, C, L, T, S, D = 3, 4, 6, 5, 3, 8
	rng := rand.New(rand.NewPCG(3, 4))
	param := func(name string, shape ...int) *nn.Param {
		p := nn.NewParam(name, shape...)
		for i := range p.Data {
			p.Data[i] = float32(rng.NormFloat64())
		}
		return p
	}
	conv, deconv, bias := param("conv", C, C, 1, 5), param("deconv", C, 2, 1, 4), param("bias", C)
	two, gain, shift := param("two", 2), param("gain", C), param("shift", C)
	w, wide, wider := param("w", D, D), param("wide", D), param("wider", D)
	type nodes = []*nn.Node
	for name, tt := range map[string]struct {
		inputs [][]int // without the batch, signals as (C,1,L)
		build  func(b *Builder, x []string) string
		want   func(g *nn.Graph, x nodes) *nn.Node // signals as (B,L,C)
		out    []int
	}{
		"convolution": {[][]int{{C, 1, L}}, func(b *Builder, x []string) string { return b.Conv1D(x[0], conv, bias, 2, 2) },
			func(g *nn.Graph, x nodes) *nn.Node { return g.Conv1D(x[0], g.Param(conv), g.Param(bias), 2, 2) }, []int{C, 1, L / 2}},
		"transposed convolution": {[][]int{{C, 1, L}}, func(b *Builder, x []string) string { return b.ConvT1D(x[0], deconv, two, 2, 1) },
			func(g *nn.Graph, x nodes) *nn.Node { return g.ConvT1D(x[0], g.Param(deconv), g.Param(two), 2, 1) }, []int{2, 1, 2 * L}},
		"group norm": {[][]int{{C, 1, L}}, func(b *Builder, x []string) string { return b.GroupNorm(x[0], gain, shift, 2, L) },
			func(g *nn.Graph, x nodes) *nn.Node { return g.GroupNorm(x[0], g.Param(gain), g.Param(shift), 2) }, []int{C, 1, L}},
		"FiLM": {[][]int{{C, 1, L}, {2 * C}}, func(b *Builder, x []string) string { return b.FiLM(x[0], x[1], C) },
			func(g *nn.Graph, x nodes) *nn.Node { return g.FiLM(x[0], x[1]) }, []int{C, 1, L}},
		"attention": {[][]int{{T, D}, {S, D}, {S, D}}, func(b *Builder, x []string) string {
			return b.Attention(x[0], x[1], x[2], D, 2, T, S, false)
		}, func(g *nn.Graph, x nodes) *nn.Node { return g.Attention(x[0], x[1], x[2], 2, false) }, []int{T, D}},
		"causal attention": {[][]int{{T, D}, {T, D}}, func(b *Builder, x []string) string {
			return b.Attention(x[0], x[1], x[0], D, 4, T, T, true)
		}, func(g *nn.Graph, x nodes) *nn.Node { return g.Attention(x[0], x[1], x[0], 4, true) }, []int{T, D}},
		"rows": {[][]int{{T, D}}, func(b *Builder, x []string) string { return b.RowNorm(b.Rows(x[0], T, w, wide), T, wide, wider) },
			func(g *nn.Graph, x nodes) *nn.Node {
				return g.LayerNorm(g.Linear(x[0], g.Param(w), g.Param(wide)), g.Param(wide), g.Param(wider))
			}, []int{T, D}},
		"the same row": {[][]int{{D}}, func(b *Builder, x []string) string { return b.Same(x[0], D, two.Data) },
			func(g *nn.Graph, x nodes) *nn.Node {
				var all []float32
				for range B {
					all = append(all, two.Data...)
				}
				return g.Const(all, B, 2)
			}, []int{2}},
	} {
		t.Run(name, func(t *testing.T) {
			b, g := NewBuilder("x"), nn.NewGraph()
			var names []string
			var xs, theirs nodes
			for i, s := range tt.inputs {
				names = append(names, b.Input(string(rune('a'+i)), "", s...))
				stored, signal := append([]int{B}, s...), append([]int{B}, s...)
				if len(s) == 3 {
					stored, signal = []int{B, 1, s[2], s[0]}, []int{B, s[2], s[0]}
				}
				x := g.Input(stored...)
				for i := range x.Value {
					x.Value[i] = float32(rng.NormFloat64())
				}
				xs, theirs = append(xs, x), append(theirs, g.Reshape(x, signal...))
			}
			b.Output("y", "", tt.build(b, names), tt.out...)
			m, err := New(b.Model(), Config{})
			if err != nil {
				t.Fatal(err)
			}
			ys, err := m.Apply(g, g.Frozen, xs...)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want(g, theirs)
			g.Forward()
			if len(ys[0].Value) != len(want.Value) {
				t.Fatalf("shape %v, want %v", ys[0].Shape, want.Shape)
			}
			if e := apart(ys[0].Value, want.Value); !(e < 1e-5) {
				t.Errorf("off by %g of the largest", e)
			}
		})
	}
}
