//go:build peers && cgo && !purego

package cuda_test

import (
	"fmt"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/nn/device/cuda"
)

// BenchmarkParts times what a convolutional network is made of on a card, the
// convolutions with cuDNN and without.
func BenchmarkParts(b *testing.B) {
	for _, without := range []bool{false, true} {
		d, err := cuda.Open(cuda.Config{NoDNN: without})
		if err != nil {
			b.Fatal(err)
		}
		run := func(name string, flop float64, f func()) {
			b.Run(fmt.Sprintf("%s/nodnn=%v", name, without), func(b *testing.B) {
				f()
				d.Sync()
				for b.Loop() {
					for range 20 {
						f()
					}
					d.Sync()
				}
				us := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / 20 / 1e3
				b.ReportMetric(us, "us")
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(flop/us/1e6, "TFLOP/s")
			})
		}
		for _, s := range []device.ConvShape{
			{B: 32, H: 224, W: 224, C: 3, O: 64, KH: 7, KW: 7, StrideH: 2, StrideW: 2, PadH: 3, PadW: 3, OH: 112, OW: 112, NeedW: true, NeedInput: true},
			{B: 32, H: 56, W: 56, C: 64, O: 64, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, OH: 56, OW: 56, NeedW: true, NeedInput: true},
			{B: 32, H: 56, W: 56, C: 64, O: 128, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1, OH: 28, OW: 28, NeedW: true, NeedInput: true},
			{B: 32, H: 28, W: 28, C: 128, O: 128, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, OH: 28, OW: 28, NeedW: true, NeedInput: true},
			{B: 32, H: 14, W: 14, C: 256, O: 256, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, OH: 14, OW: 14, NeedW: true, NeedInput: true},
			{B: 32, H: 7, W: 7, C: 512, O: 512, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, OH: 7, OW: 7, NeedW: true, NeedInput: true},
			{B: 32, H: 56, W: 56, C: 64, O: 128, KH: 1, KW: 1, StrideH: 2, StrideW: 2, OH: 28, OW: 28, NeedW: true, NeedInput: true},
			{B: 64, H: 84, W: 84, C: 3, O: 32, KH: 3, KW: 3, StrideH: 2, StrideW: 2, OH: 41, OW: 41, NeedW: true},
			{B: 64, H: 41, W: 41, C: 32, O: 32, KH: 3, KW: 3, StrideH: 1, StrideW: 1, OH: 39, OW: 39, NeedW: true, NeedInput: true},
			{B: 64, H: 1, W: 16, C: 256, O: 256, KH: 1, KW: 5, StrideH: 1, StrideW: 1, PadW: 2, OH: 1, OW: 16, NeedW: true, NeedInput: true},
		} {
			c := d.Conv(s)
			x, w, y := d.Alloc(s.B*s.H*s.W*s.C), d.Alloc(s.O*s.C*s.KH*s.KW), d.Alloc(s.B*s.OH*s.OW*s.O)
			flop := 2 * float64(len(y)) * float64(s.C*s.KH*s.KW)
			name := fmt.Sprintf("%dx%dx%dx%d-%d-%dx%d", s.B, s.H, s.W, s.C, s.O, s.KH, s.KW)
			run(name+"/forward", flop, func() { c.Forward(y, x, w, nil, nil) })
			if s.NeedInput {
				run(name+"/input", flop, func() { c.Input(false, x, y, w, nil) })
			}
			run(name+"/weight", flop, func() { c.Weight(false, w, nil, y, x, nil) })
		}
		if without {
			for _, s := range []struct{ n, C int }{{32 * 112 * 112, 64}, {32 * 56 * 56, 64}, {32 * 7 * 7, 512}} {
				n := device.Groups{B: 1, N: s.n, C: s.C, G: s.C, Eps: 1e-5, Gain: d.Alloc(s.C), Bias: d.Alloc(s.C), Mean: d.Alloc(s.C), Inv: d.Alloc(s.C)}
				x, y, g := d.Alloc(s.n*s.C), d.Alloc(s.n*s.C), d.Alloc(s.C)
				name := fmt.Sprintf("%dx%d", s.n, s.C)
				run(name+"/norm", float64(4*len(x)), func() { d.Groups(n, y, x) })
				run(name+"/norm-grad", float64(4*len(x)), func() { d.GroupsGrad(n, false, x, g, g, y, x) })
				run(name+"/relu", float64(len(x)), func() { d.Map(device.ReLU, y, x) })
				run(name+"/add", float64(len(x)), func() { d.Add(y, x) })
				run(name+"/bias", float64(len(x)), func() { d.Bias(y, g) })
				run(name+"/col-sum", float64(len(x)), func() { d.ColSum(g, x) })
			}
		}
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
