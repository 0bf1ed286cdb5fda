//go:build peers && cgo && !purego

package diffusion

import (
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device/cuda"
	"github.com/rapport-rl/rapport/internal/pace"
)

// BenchmarkPeerCardUNet is BenchmarkPeerUNet on an NVIDIA card, by wall time, beside
// PyTorch on the same one: as it comes, and with what is repeated captured as a CUDA
// graph.
func BenchmarkPeerCardUNet(b *testing.B) {
	d, err := cuda.Open(cuda.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	p := newPeer(b, d, "cuda")
	rng := newRand(1)
	for _, c := range []struct {
		name  string
		ours  func()
		times int
	}{
		{"train", func() { p.fit.step(); p.adam.Step() }, 10},
		{"draw", func() { p.chain.Sample(p.noise, p.history, nil, rng) }, 5},
	} {
		for _, mode := range []string{"", " graph"} {
			b.Run(c.name+mode, func(b *testing.B) {
				pace.Compare(b, pace.Case{
					Ours: func() {
						for range c.times {
							c.ours()
						}
						d.Sync()
					},
					Times:  c.times,
					Theirs: func() float64 { return p.Ask(c.name + mode) },
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
