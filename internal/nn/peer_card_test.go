//go:build peers && cgo && !purego

package nn

import (
	"fmt"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device/cuda"
	"github.com/rapport-rl/rapport/internal/pace"
)

// BenchmarkPeerCard takes the wall time of training steps on an NVIDIA card,
// forward, backward and Adam, beside PyTorch on the same one in alternating pairs,
// once as it comes and once with the whole step captured as a CUDA graph, and
// reports the median of the ratios. Float32 without TF32 on both sides.
func BenchmarkPeerCard(b *testing.B) {
	d, err := cuda.Open(cuda.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	b.Log(d.Name())
	peer := pace.Start(b, "testdata/card.py")
	for _, net := range []string{"critics", "encoder", "resnet"} {
		step := map[string]func(g *Graph) func(){"critics": paceCritics, "encoder": paceEncoder, "resnet": paceResNet}[net](NewGraphOn(d))
		for _, mode := range []string{"eager", "graph"} {
			b.Run(net+"/"+mode, func(b *testing.B) {
				pace.Compare(b, pace.Case{
					Ours: func() {
						for range 20 {
							step()
						}
						d.Sync()
					},
					Times:  20,
					Theirs: func() float64 { return peer.Ask(net + " " + mode) },
					Pairs:  11,
					Wall:   true,
				})
			})
		}
	}
	for _, n := range d.Notes() {
		b.Log(n)
	}
}

// paceResNet is a step of a ResNet-18 without its classifier (He et al. 2016,
// arXiv:1512.03385, table 1) on 32 images of 224x224, batch norms in training.
func paceResNet(g *Graph) func() {
	rng := newRand(3)
	var ps []*Param
	conv := func(x *Node, out, k, stride, pad int) *Node {
		w := NewParam(fmt.Sprint(len(ps)), out, x.Shape[3], k, k)
		InitHe(w, rng)
		gain, bias := NewParam("gain", out).Fill(1), NewParam("bias", out)
		ps = append(ps, w, gain, bias)
		y := g.Conv2D(x, g.Param(w), nil, stride, pad)
		return g.BatchNormTrain(y, g.Param(gain), g.Param(bias), NewParam("mean", out), NewParam("var", out).Fill(1), 0.1, 1e-5)
	}
	x, y := g.Input(32, 224, 224, 3), g.Input(32, 512)
	for i := range x.Value {
		x.Value[i] = rng.Float32() - 0.5
	}
	randomise(y.Value, rng)
	h := g.MaxPool(g.ReLU(conv(x, 64, 7, 2, 3)), 3, 2, 1)
	for k, stride := range []int{1, 2, 2, 2} {
		for i := range 2 {
			out := 64 << k
			if i > 0 {
				stride = 1
			}
			short := h
			if stride != 1 || h.Shape[3] != out {
				short = conv(h, out, 1, stride, 0)
			}
			h = g.ReLU(g.Add(conv(g.ReLU(conv(h, out, 3, stride, 1)), out, 3, 1, 1), short))
		}
	}
	return trains(g, g.MSE(g.MeanPixels(h), y), ps)
}
