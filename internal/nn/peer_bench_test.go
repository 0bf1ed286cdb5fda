//go:build peers

package nn

import (
	"testing"

	"github.com/rapport-rl/rapport/internal/pace"
)

// BenchmarkPeerTorch takes the processor time of training steps, forward, backward and Adam, beside
// Debian's PyTorch in alternating pairs and reports the median of the ratios.
// One thread each.
func BenchmarkPeerTorch(b *testing.B) {
	peer := pace.Start(b, "testdata/pace.py")
	for _, net := range []string{"critics", "encoder"} {
		b.Run(net, func(b *testing.B) {
			step := map[string]func(g *Graph) func(){"critics": paceCritics, "encoder": paceEncoder}[net](NewGraph())
			pace.Compare(b, pace.Case{Ours: step, Theirs: func() float64 { return peer.Ask(net) }, Pairs: 21})
		})
	}
}

// paceCritics is a step of RLPD's ensemble of ten on a batch of 256.
func paceCritics(g *Graph) func() {
	rng := newRand(1)
	net := NewMLP("q", MLPConfig{In: 71, Hidden: []int{256, 256}, Out: 1, Members: 10, LayerNorm: true}, rng)
	x, y := g.Input(256, 71), g.Input(10, 256, 1)
	randomise(x.Value, rng)
	randomise(y.Value, rng)
	return trains(g, g.MSE(net.Forward(g, x), y), net.Params())
}

// paceEncoder is a step of DrQ's convolutions on 64 images of 84x84.
func paceEncoder(g *Graph) func() {
	rng := newRand(2)
	conv := NewConvNet("e", ConvConfig{Channels: 3, H: 84, W: 84, Layers: DrQLayers()}, rng)
	head := NewMLP("h", MLPConfig{In: conv.Out[0] * conv.Out[1] * conv.Out[2], Out: 50}, rng)
	x, y := g.Input(64, 84, 84, 3), g.Input(64, 50)
	for i := range x.Value {
		x.Value[i] = rng.Float32() - 0.5
	}
	randomise(y.Value, rng)
	h := head.Forward(g, g.Reshape(conv.Forward(g, x), 64, head.Config.In))
	return trains(g, g.MSE(h, y), append(conv.Params(), head.Params()...))
}

func trains(g *Graph, loss *Node, ps []*Param) func() {
	adam := NewAdam(ps, AdamConfig{LR: 3e-4})
	return func() {
		g.Forward()
		ZeroGrad(ps)
		g.Backward(loss)
		adam.Step()
	}
}
