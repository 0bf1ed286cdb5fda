//go:build peers

package onnx

import (
	"path/filepath"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/pace"
)

// BenchmarkPeerBackbones takes the processor time of a training step, forward,
// backward and Adam, beside Debian's PyTorch in alternating pairs, and reports the
// median of the ratios. One thread each. The networks are a ResNet-18 without its
// classifier on 16 images of 128x128, with trained batch norms and with batch norms
// joined with the convolutions on both sides, and four blocks of a ViT-S/16 on 16
// images of 96x96.
func BenchmarkPeerBackbones(b *testing.B) {
	dir := b.TempDir()
	peer := pace.Start(b, "testdata/pace.py", dir)
	peer.Until("ready")
	for _, c := range []struct {
		name string
		side int
	}{{"trained", 128}, {"frozen", 128}, {"vit", 96}} {
		name, side := c.name, c.side
		b.Run(name, func(b *testing.B) {
			m, err := Open(filepath.Join(dir, name+".onnx"), Config{TrainNorm: name == "trained"})
			if err != nil {
				b.Fatal(err)
			}
			ps := m.Params()
			g := nn.NewGraph()
			x := g.Input(16, side, side, 3)
			for i := range x.Value {
				x.Value[i] = float32(i%255)/127 - 1
			}
			y, err := m.Forward(g, x)
			if err != nil {
				b.Fatal(err)
			}
			loss := g.Mean(g.Square(y))
			adam := nn.NewAdam(ps, nn.AdamConfig{LR: 1e-5})
			pace.Compare(b, pace.Case{Ours: func() {
				g.Forward()
				nn.ZeroGrad(ps)
				g.Backward(loss)
				adam.Step()
			}, Theirs: func() float64 { return peer.Ask(name) }, Pairs: 11})
		})
	}
}
