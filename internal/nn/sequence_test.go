package nn

import (
	"math"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// sequenceCases are the operations of networks on sequences.
func sequenceCases() []gradCase {
	attend := func(causal bool) func(g *Graph, p []*Node) *Node {
		return func(g *Graph, p []*Node) *Node { return g.Attention(p[0], p[1], p[2], 2, causal) }
	}
	return []gradCase{
		{"film of signals", shapes([]int{2, 3, 4}, []int{2, 8}), func(g *Graph, p []*Node) *Node { return g.FiLM(p[0], p[1]) }, nil},
		{"film of rows", shapes([]int{3, 4}, []int{3, 8}), func(g *Graph, p []*Node) *Node { return g.FiLM(p[0], p[1]) }, nil},
		{"film of what is used again", shapes([]int{2, 3, 4}, []int{2, 8}), func(g *Graph, p []*Node) *Node {
			return g.Concat(g.FiLM(p[0], p[1]), p[0], g.FiLM(g.Tanh(p[0]), p[1]))
		}, nil},
		{"conv 1d", shapes([]int{2, 7, 3}, []int{4, 3, 1, 5}, []int{4}), func(g *Graph, p []*Node) *Node {
			return g.Conv1D(p[0], p[1], p[2], 1, 2)
		}, nil},
		{"conv 1d, halving", shapes([]int{2, 8, 3}, []int{4, 3, 1, 3}, []int{4}), func(g *Graph, p []*Node) *Node {
			return g.Conv1D(p[0], p[1], p[2], 2, 1)
		}, nil},
		{"transposed conv 1d, doubling", shapes([]int{2, 4, 3}, []int{3, 5, 1, 4}, []int{5}), func(g *Graph, p []*Node) *Node {
			return g.ConvT1D(p[0], p[1], p[2], 2, 1)
		}, nil},
		{"attention", shapes([]int{2, 3, 4}, []int{2, 5, 4}, []int{2, 5, 4}), attend(false), nil},
		{"causal attention", shapes([]int{2, 3, 4}, []int{2, 3, 4}, []int{2, 3, 4}), attend(true), nil},
		{"attention to itself", shapes([]int{2, 3, 4}), func(g *Graph, p []*Node) *Node {
			return g.Attention(p[0], p[0], p[0], 2, false)
		}, nil},
	}
}

// TestFiLMAndAttentionByTheBook compares with loops in float64 on both devices.
func TestFiLMAndAttentionByTheBook(t *testing.T) {
	const B, T, S, D, heads = 3, 4, 4, 6, 2
	for _, dev := range []device.Device{device.Default(), device.Portable{}} {
		rng := newRand(5)
		g := NewGraphOn(dev)
		q, k, v, film := g.Input(B, T, D), g.Input(B, S, D), g.Input(B, S, D), g.Input(B, 2*D)
		for _, n := range []*Node{q, k, v, film} {
			randomise(n.Value, rng)
		}
		y := g.FiLM(q, film)
		full, causal := g.Attention(q, k, v, heads, false), g.Attention(q, k, v, heads, true)
		g.Forward()
		at := func(n *Node, b, t, c int) float64 { return float64(n.Value[(b*n.Shape[1]+t)*D+c]) }
		for b := range B {
			for i := range T {
				for c := range D {
					f := film.Value[b*2*D:]
					if got, want := at(y, b, i, c), float64(f[c])*at(q, b, i, c)+float64(f[D+c]); math.Abs(got-want) > 1e-5 {
						t.Fatalf("%s: FiLM (%d,%d,%d) = %v, want %v", dev.Name(), b, i, c, got, want)
					}
					lo := c / (D / heads) * (D / heads)
					for _, n := range []*Node{full, causal} {
						last := S - 1
						if n == causal {
							last = i
						}
						sum, want := 0.0, 0.0
						for s := 0; s <= last; s++ {
							dot := 0.0
							for e := lo; e < lo+D/heads; e++ {
								dot += at(q, b, i, e) * at(k, b, s, e)
							}
							w := math.Exp(dot / math.Sqrt(float64(D)/heads))
							sum += w
							want += w * at(v, b, s, c)
						}
						want /= sum
						if got := at(n, b, i, c); math.Abs(got-want) > 1e-5 {
							t.Fatalf("%s: attention (%d,%d,%d) up to %d = %v, want %v", dev.Name(), b, i, c, last, got, want)
						}
					}
				}
			}
		}
	}
}

func TestSinusoidByHand(t *testing.T) {
	got := make([]float32, 6)
	Sinusoid(got, 3)
	want := []float64{math.Sin(3), math.Sin(0.03), math.Sin(0.0003), math.Cos(3), math.Cos(0.03), math.Cos(0.0003)}
	for i, v := range got {
		if math.Abs(float64(v)-want[i]) > 1e-7 {
			t.Errorf("element %d = %v, want %v", i, v, want[i])
		}
	}
}

// TestAverageByHand: step n keeps 1-(1+n)^-0.75, which is 0, 0.405396 and 0.561309
// at first, and 0.5 at most here.
func TestAverageByHand(t *testing.T) {
	src, dst := []*Param{NewParam("p", 1)}, []*Param{NewParam("p", 1)}
	a := NewAverage(dst, src, AverageConfig{Max: 0.5})
	want := 0.0
	for n, keep := range []float64{0, 0.405396, 0.5} {
		src[0].Data[0] = float32(n + 3)
		if got := a.Decay(); math.Abs(got-keep) > 1e-6 {
			t.Errorf("decay at step %d = %v, want %v", n, got, keep)
		}
		a.Step()
		want = keep*want + (1-keep)*float64(n+3)
		if got := float64(dst[0].Data[0]); math.Abs(got-want) > 1e-5 {
			t.Errorf("average after step %d = %v, want %v", n, got, want)
		}
	}
	if a.Steps() != 3 {
		t.Errorf("%d steps counted, want 3", a.Steps())
	}
	b := NewAverage(dst, src, AverageConfig{})
	b.SetSteps(2)
	if got := b.Decay(); math.Abs(got-0.561309) > 1e-6 {
		t.Errorf("decay at step 2 = %v, want 0.561309", got)
	}
	b.SetSteps(1 << 40)
	if got := b.Decay(); got != 0.9999 {
		t.Errorf("largest decay = %v, want 0.9999", got)
	}
}

func TestCosineRateByHand(t *testing.T) {
	for _, c := range []struct {
		step, warmup, total uint64
		want                float64
	}{
		{0, 10, 110, 0}, {5, 10, 110, 0.5}, {10, 10, 110, 1}, {35, 10, 110, (1 + math.Sqrt2/2) / 2}, {60, 10, 110, 0.5},
		{110, 10, 110, 0}, {200, 10, 110, 0}, {0, 0, 0, 1}, {5, 10, 0, 0.5}, {1000, 10, 0, 1},
	} {
		if got := CosineRate(c.step, c.warmup, c.total); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("rate at step %d of %d+%d = %v, want %v", c.step, c.warmup, c.total, got, c.want)
		}
	}
}

func TestMisuseOfSequencesTells(t *testing.T) {
	g := NewGraph()
	in := func(s ...int) *Node { return g.Input(s...) }
	p := func() []*Param { return []*Param{NewParam("p", 1)} }
	for _, c := range []struct {
		want string
		f    func()
	}{
		{"nn: FiLM: input has no channels", func() { g.FiLM(in(2), in(2, 4)) }},
		{"nn: FiLM: the condition is not a scale and a shift for every channel", func() { g.FiLM(in(2, 3), in(2, 3)) }},
		{"nn: Attention: operands need three axes", func() { g.Attention(in(2, 4), in(2, 4), in(2, 4), 2, false) }},
		{"nn: Attention: queries, keys and values do not fit", func() { g.Attention(in(1, 2, 4), in(1, 3, 4), in(1, 2, 4), 2, false) }},
		{"nn: Attention: channels are not divisible into heads", func() { g.Attention(in(1, 2, 4), in(1, 2, 4), in(1, 2, 4), 3, false) }},
		{"nn: Attention: causal attention wants as many keys as queries", func() { g.Attention(in(1, 2, 4), in(1, 3, 4), in(1, 3, 4), 2, true) }},
		{"nn: Conv1D: input needs three axes, and the weight four with a height of 1", func() { g.Conv1D(in(2, 3), in(2, 3, 1, 1), nil, 1, 0) }},
		{"nn: ConvT1D: input needs three axes, and the weight four with a height of 1", func() { g.ConvT1D(in(1, 2, 3), in(2, 3, 2, 1), nil, 1, 0) }},
		{"nn: Sinusoid: length is not an even number from four on", func() { Sinusoid(make([]float32, 2), 1) }},
		{"nn: Average: power or largest decay is out of range", func() { NewAverage(p(), p(), AverageConfig{Max: 2}) }},
	} {
		if got := mustPanic(t, c.f); got != c.want {
			t.Errorf("panicked with %v, want %q", got, c.want)
		}
	}
}

func TestSequencesAllocateNothing(t *testing.T) {
	for _, c := range sequenceCases() {
		rng, g := newRand(1), NewGraph()
		var nodes []*Node
		for _, s := range c.shapes {
			nodes = append(nodes, g.Param(draw(rng, s...)))
		}
		loss := g.Mean(c.build(g, nodes))
		step := func() { g.Forward(); g.Backward(loss) }
		step()
		if n := testing.AllocsPerRun(10, step); n != 0 {
			t.Errorf("%s allocates %v times a pass, want 0", c.name, n)
		}
	}
}
