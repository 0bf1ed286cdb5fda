package device_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// shape works the result's size out.
func shape(s device.ConvShape) device.ConvShape {
	if s.Transposed {
		s.OH, s.OW = (s.H-1)*s.StrideH-2*s.PadH+s.KH, (s.W-1)*s.StrideW-2*s.PadW+s.KW
	} else {
		s.OH, s.OW = (s.H+2*s.PadH-s.KH)/s.StrideH+1, (s.W+2*s.PadW-s.KW)/s.StrideW+1
	}
	return s
}

func convShapes() []device.ConvShape {
	var ss []device.ConvShape
	for _, s := range []device.ConvShape{
		{B: 1, H: 5, W: 5, C: 1, O: 1, KH: 3, KW: 3, StrideH: 1, StrideW: 1},
		{B: 3, H: 9, W: 7, C: 2, O: 4, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadH: 1, PadW: 1},
		{B: 2, H: 8, W: 9, C: 3, O: 5, KH: 3, KW: 2, StrideH: 1, StrideW: 3, PadH: 0, PadW: 1},
		{B: 2, H: 6, W: 6, C: 3, O: 5, KH: 1, KW: 1, StrideH: 1, StrideW: 1},
		{B: 2, H: 6, W: 6, C: 3, O: 5, KH: 1, KW: 1, StrideH: 2, StrideW: 2},
		{B: 1, H: 2, W: 2, C: 1, O: 1, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 3, PadW: 3},
		{B: 2, H: 1, W: 16, C: 6, O: 7, KH: 1, KW: 5, StrideH: 1, StrideW: 1, PadW: 2}, // one-dimensional
		{B: 2, H: 1, W: 15, C: 6, O: 7, KH: 1, KW: 3, StrideH: 1, StrideW: 2, PadW: 1},
		{B: 2, H: 12, W: 12, C: 16, O: 32, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1},
		{B: 2, H: 20, W: 20, C: 3, O: 16, KH: 7, KW: 7, StrideH: 2, StrideW: 2, PadH: 3, PadW: 3},
		{B: 2, H: 7, W: 7, C: 2, O: 3, KH: 2, KW: 2, StrideH: 3, StrideW: 3},
	} {
		ss = append(ss, shape(s))
		if s.PadH >= s.KH || s.PadW >= s.KW || s.StrideH > s.KH || s.StrideW > s.KW {
			continue // transposed, nothing would reach some pixels
		}
		s.Transposed = true
		ss = append(ss, shape(s))
	}
	return ss
}

// convolve is the definition: every product of a pixel of x, a weight and a
// pixel of y that belong together is told to f.
func convolve(s device.ConvShape, f func(x, w, y int)) {
	small, large := [2]int{s.OH, s.OW}, [2]int{s.H, s.W}
	if s.Transposed {
		small, large = large, small
	}
	for b := range s.B {
		for sy := range small[0] {
			for sx := range small[1] {
				for ky := range s.KH {
					for kx := range s.KW {
						ly, lx := sy*s.StrideH+ky-s.PadH, sx*s.StrideW+kx-s.PadW
						if ly < 0 || lx < 0 || ly >= large[0] || lx >= large[1] {
							continue
						}
						for c := range s.C {
							for o := range s.O {
								x, y, w := (b*s.H+ly)*s.W+lx, (b*s.OH+sy)*s.OW+sx, (o*s.C+c)*s.KH*s.KW
								if s.Transposed {
									x, y, w = (b*s.H+sy)*s.W+sx, (b*s.OH+ly)*s.OW+lx, (c*s.O+o)*s.KH*s.KW
								}
								f(x*s.C+c, w+ky*s.KW+kx, y*s.O+o)
							}
						}
					}
				}
			}
		}
	}
}

func TestConvolutions(t *testing.T) {
	each(t, func(t *testing.T, d device.Device) {
		r := newSource()
		for _, s := range convShapes() {
			for _, bias := range []bool{true, false} {
				s.Bias, s.ReLU, s.NeedInput, s.NeedW = bias, bias, true, true
				what := fmt.Sprintf("%+v", s)
				x, w, b := r.array(s.B*s.H*s.W*s.C), r.array(s.O*s.C*s.KH*s.KW), r.array(s.O)
				y, dy := r.array(s.B*s.OH*s.OW*s.O), r.array(s.B*s.OH*s.OW*s.O)
				wy, wdx, wdw, wdb := make([]float64, len(y)), make([]float64, len(x)), make([]float64, len(w)), make([]float64, len(b))
				if bias {
					for i := range wy {
						wy[i] = float64(b[i%s.O])
						wdb[i%s.O] += float64(dy[i])
					}
				}
				convolve(s, func(i, j, k int) {
					wy[k] += float64(x[i]) * float64(w[j])
					wdx[i] += float64(dy[k]) * float64(w[j])
					wdw[j] += float64(dy[k]) * float64(x[i])
				})
				if s.ReLU {
					for i, v := range wy {
						wy[i] = max(0, v)
					}
				}
				c := d.Conv(s)
				scratch := make([]float32, c.Scratch())
				var bv, dbv []float32
				if bias {
					bv, dbv = b, make([]float32, s.O)
				}
				c.Forward(y, x, w, bv, scratch)
				near(t, what+": result", y, wy, 1e-5)
				old, dw := r.array(len(x)), make([]float32, len(w))
				dx := slices.Clone(old)
				c.Input(false, dx, dy, w, scratch)
				near(t, what+": dx", dx, wdx, 1e-5)
				copy(dx, old)
				c.Input(true, dx, dy, w, scratch)
				for i, v := range old {
					wdx[i] += float64(v)
				}
				near(t, what+": dx, added", dx, wdx, 1e-5)
				for i := range dw {
					dw[i] = 99
				}
				c.Weight(false, dw, dbv, dy, x, scratch)
				near(t, what+": dw", dw, wdw, 1e-5)
				c.Weight(true, dw, dbv, dy, x, scratch)
				for i := range wdw {
					wdw[i] *= 2
				}
				near(t, what+": dw, added", dw, wdw, 1e-5)
				if bias {
					for i := range wdb {
						wdb[i] *= 2
					}
					near(t, what+": db", dbv, wdb, 1e-5)
				}
			}
		}
	})
}

// Weights that are promised to stay may be arranged once only.
func TestStaticWeightsAreReadOnce(t *testing.T) {
	r := newSource()
	s := shape(device.ConvShape{B: 1, H: 8, W: 8, C: 3, O: 32, KH: 3, KW: 3, StrideH: 1, StrideW: 1, Static: true})
	c := device.Default().Conv(s)
	x, w := r.array(8*8*3), r.array(32*27)
	first, second, scratch := make([]float32, 6*6*32), make([]float32, 6*6*32), make([]float32, c.Scratch())
	c.Forward(first, x, w, nil, scratch)
	clear(scratch) // other convolutions use it too
	c.Forward(second, x, w, nil, scratch)
	if !slices.Equal(first, second) {
		t.Error("the second pass gave another result")
	}
}

func TestConvolutionsSideBySide(t *testing.T) {
	d := device.Default()
	s := shape(device.ConvShape{B: 2, H: 16, W: 16, C: 8, O: 16, KH: 3, KW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, NeedInput: true, NeedW: true})
	run := func() []float32 {
		r := newSource()
		x, w, dy := r.array(2*16*16*8), r.array(16*8*9), r.array(2*16*16*16)
		c := d.Conv(s)
		y, dx, dw, scratch := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(w)), make([]float32, c.Scratch())
		for range 20 {
			c.Forward(y, x, w, nil, scratch)
			c.Input(false, dx, dy, w, scratch)
			c.Weight(true, dw, nil, dy, x, scratch)
		}
		return slices.Concat(y, dx, dw)
	}
	want := run()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3 {
				if !slices.Equal(run(), want) {
					t.Error("a convolution beside others gave other bits")
				}
			}
		})
	}
	wg.Wait()
}
