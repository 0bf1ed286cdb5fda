//go:build cgo && !purego

package cuda

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// Check computes a product, a convolution with its gradients and a norm, and
// compares them with device.Portable: a card, a driver or a library that computes
// wrongly is an error.
func (d *Device) Check() error {
	var p device.Portable
	const m, n, k = 65, 48, 129
	a, b := wave(m*k, 1), wave(n*k, 2)
	got, want := make([]float32, m*n), make([]float32, m*n)
	d.Gemm(false, true, m, n, k, a, k, b, k, 0, got, n)
	p.Gemm(false, true, m, n, k, a, k, b, k, 0, want, n)
	if err := same("a product", got, want); err != nil {
		return err
	}
	// A convolution that cuDNN does and one that is a product.
	for _, o := range []int{8, 64} {
		s := device.ConvShape{B: 2, H: 9, W: 11, C: 32, OH: 9, OW: 11, O: o, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, NeedInput: true, NeedW: true}
		x, w, dy := wave(s.B*s.H*s.W*s.C, 3), wave(s.O*s.C*9, 4), wave(s.B*s.OH*s.OW*s.O, 5)
		var y, dx, dw [2][]float32
		for i, c := range []device.Conv{d.Conv(s), p.Conv(s)} {
			y[i], dx[i], dw[i] = make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(w))
			scratch := make([]float32, c.Scratch())
			c.Forward(y[i], x, w, nil, scratch)
			c.Input(false, dx[i], dy, w, scratch)
			c.Weight(false, dw[i], nil, dy, x, scratch)
		}
		for what, r := range map[string][2][]float32{"a convolution": y, "its gradient by the input": dx, "its gradient by the weights": dw} {
			if err := same(what, r[0], r[1]); err != nil {
				return err
			}
		}
	}
	const rows, D = 7, 300
	x := wave(rows*D, 6)
	var y [2][]float32
	for i, dev := range []device.Device{d, p} {
		y[i] = make([]float32, len(x))
		dev.Norm(device.Norm{D: D, Members: 1, Eps: 1e-5, Mean: make([]float32, rows), Inv: make([]float32, rows)}, y[i], x)
	}
	return same("a norm", y[0], y[1])
}

// wave is numbers between -1 and 1 that repeat late.
func wave(n int, seed float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.Sin(seed + 1.7*float64(i)*float64(1+i%5)))
	}
	return x
}

// same allows a difference of 1e-5 of the largest element, room for sums in another
// order.
func same(what string, got, want []float32) error {
	diff, big := 0.0, 0.0
	for i, w := range want {
		big = max(big, math.Abs(float64(w)))
		if e := math.Abs(float64(got[i]) - float64(w)); !(e <= diff) {
			diff = e
		}
	}
	if !(diff <= 1e-5*big) {
		return fmt.Errorf("cuda: the card computes wrongly: %s is off by %.2g of %.2g; update NVIDIA's driver and libraries, or learn on the processor with learner.device: cpu", what, diff, big)
	}
	return nil
}
