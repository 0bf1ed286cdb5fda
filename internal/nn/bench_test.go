package nn

import (
	"math/rand/v2"
	"testing"
)

func BenchmarkCritics(b *testing.B) {
	for _, E := range []int{2, 10} {
		b.Run(map[int]string{2: "2", 10: "10"}[E], func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 2))
			critic := NewMLP("q", MLPConfig{In: 71, Hidden: []int{256, 256}, Out: 1, Members: E, LayerNorm: true}, rng)
			g := NewGraph()
			x, target := g.Input(256, 71), g.Input(E, 256, 1)
			for i := range x.Value {
				x.Value[i] = float32(rng.NormFloat64())
			}
			loss := g.MSE(critic.Forward(g, x), target)
			adam := NewAdam(critic.Params(), AdamConfig{LR: 3e-4})
			b.ReportAllocs()
			for b.Loop() {
				g.Forward()
				ZeroGrad(critic.Params())
				g.Backward(loss)
				adam.Step()
			}
		})
	}
}

func BenchmarkEncoder(b *testing.B) {
	for _, B := range []int{1, 64} {
		rng := rand.New(rand.NewPCG(1, 2))
		net := NewConvNet("e", ConvConfig{Channels: 3, H: 84, W: 84, Layers: DrQLayers()}, rng)
		head := NewMLP("h", MLPConfig{In: net.Out[0] * net.Out[1] * net.Out[2], Out: 50}, rng)
		g := NewGraph()
		x := g.Input(B, 84, 84, 3)
		for i := range x.Value {
			x.Value[i] = float32(rng.Float64() - 0.5)
		}
		y := net.Forward(g, x)
		y = head.Forward(g, g.Reshape(y, B, head.Config.In))
		loss := g.Mean(g.Square(y))
		ps := append(net.Params(), head.Params()...)
		adam := NewAdam(ps, AdamConfig{})
		b.Run(map[int]string{1: "forward1", 64: "forward64"}[B], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.ForwardTo(y)
			}
		})
		if B == 1 {
			continue
		}
		b.Run("train64", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.Forward()
				ZeroGrad(ps)
				g.Backward(loss)
				adam.Step()
			}
		})
	}
}

// BenchmarkAct is one observation through an actor, as in the control loop.
func BenchmarkAct(b *testing.B) {
	actor := NewMLP("pi", MLPConfig{In: 64, Hidden: []int{256, 256}, Out: 14}, rand.New(rand.NewPCG(1, 2)))
	g := NewGraph()
	x := g.Input(1, 64)
	y := actor.Frozen(g, x)
	b.ReportAllocs()
	for b.Loop() {
		g.ForwardTo(y)
	}
}

func BenchmarkPixels(b *testing.B) {
	src, dst := make([]byte, 84*84*3), make([]float32, 84*84*3)
	b.ReportAllocs()
	for b.Loop() {
		Pixels(dst, src, 84, 84, 3, 2, -3)
	}
}
