package nn

import (
	"math"
	"math/rand/v2"
	"slices"
)

// SpatialSoftmax turns each channel of x (B,C,H,W) into the expected position
// under a softmax of its activations over temperature: (B,2C), for each channel
// x (-1 left .. 1 right), then y (-1 top .. 1 bottom). (Finn et al. 2016,
// arXiv:1509.06113, section V-B.)
func (g *Graph) SpatialSoftmax(x *Node, temperature float32) *Node {
	if len(x.Shape) != 4 {
		panic("nn: SpatialSoftmax: input needs four axes")
	}
	if !(temperature > 0) {
		panic("nn: SpatialSoftmax: temperature is not positive")
	}
	B, C, H, W := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	N := H * W
	px, py := make([]float32, N), make([]float32, N)
	for i := range N {
		px[i], py[i] = place(i%W, W), place(i/W, H)
	}
	n := g.op([]int{B, 2 * C}, x)
	prob := make([]float32, len(x.Value))
	n.forward = func() {
		for i := range B * C {
			p := prob[i*N : (i+1)*N]
			softmax(p, x.Value[i*N:(i+1)*N], 1/temperature)
			n.Value[2*i], n.Value[2*i+1] = dot32(p, px), dot32(p, py)
		}
	}
	n.backward = func() {
		d := x.acc()
		for i := range B * C {
			ex, ey := n.Value[2*i], n.Value[2*i+1]
			gx, gy := n.Grad[2*i]/temperature, n.Grad[2*i+1]/temperature
			p, dp := prob[i*N:(i+1)*N], d[i*N:(i+1)*N]
			for j, v := range p {
				dp[j] += v * (gx*(px[j]-ex) + gy*(py[j]-ey))
			}
		}
	}
	return n
}

// place is pixel i of n on [-1,1].
func place(i, n int) float32 {
	if n == 1 {
		return 0
	}
	return 2*float32(i)/float32(n-1) - 1
}

func dot32(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1 float32
	i := 0
	for ; i+2 <= len(a); i += 2 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
	}
	if i < len(a) {
		s0 += a[i] * b[i]
	}
	return s0 + s1
}

// MaxPool takes the largest pixel under a k by k window of x (B,C,H,W). Padding
// never wins.
func (g *Graph) MaxPool(x *Node, k, stride, pad int) *Node {
	if len(x.Shape) != 4 {
		panic("nn: MaxPool: input needs four axes")
	}
	if pad >= k {
		panic("nn: MaxPool: padding as large as the window")
	}
	B, C, H, W := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	p := newPatches(C, H, W, k, k, Window{stride, stride, pad, pad})
	n := g.op([]int{B, C, p.oh, p.ow}, x)
	arg := make([]int32, len(n.Value))
	n.forward = func() {
		i := 0
		for o := 0; o < len(x.Value); o += H * W {
			for oy := range p.oh {
				y0 := oy*p.StrideH - pad
				for ox := range p.ow {
					x0 := ox*p.StrideW - pad
					best, at := float32(math.Inf(-1)), o+max(0, y0)*W+max(0, x0)
					for iy := max(0, y0); iy < min(H, y0+k); iy++ {
						for ix := max(0, x0); ix < min(W, x0+k); ix++ {
							if v := x.Value[o+iy*W+ix]; v > best {
								best, at = v, o+iy*W+ix
							}
						}
					}
					n.Value[i], arg[i] = x.Value[at], int32(at)
					i++
				}
			}
		}
	}
	n.backward = func() {
		d := x.acc()
		for i, at := range arg {
			d[at] += n.Grad[i]
		}
	}
	return n
}

// AvgPool averages k by k blocks of x (B,C,H,W), whose sides are multiples of k.
// For the mean of whole channels reshape to (B,C,H*W) and take MeanLast.
func (g *Graph) AvgPool(x *Node, k int) *Node {
	if len(x.Shape) != 4 || k < 1 || x.Shape[2]%k != 0 || x.Shape[3]%k != 0 {
		panic("nn: AvgPool: input is not made of k by k blocks")
	}
	small := slices.Clone(x.Shape)
	small[2], small[3] = small[2]/k, small[3]/k
	n := g.op(small, x)
	w := small[3]
	c := 1 / float32(k*k)
	n.forward = func() {
		clear(n.Value)
		for i := 0; i < len(x.Value); i += w * k {
			at := i / (w * k) / k * w
			for j, v := range x.Value[i : i+w*k] {
				n.Value[at+j/k] += c * v
			}
		}
	}
	n.backward = func() {
		d := x.acc()
		for i := 0; i < len(d); i += w * k {
			at := i / (w * k) / k * w
			for j := range w * k {
				d[i+j] += c * n.Grad[at+j/k]
			}
		}
	}
	return n
}

// Upsample repeats every pixel of x (B,C,H,W) kh times down and kw times right.
func (g *Graph) Upsample(x *Node, kh, kw int) *Node {
	if len(x.Shape) != 4 || kh < 1 || kw < 1 {
		panic("nn: Upsample: input needs four axes and positive factors")
	}
	H, W := x.Shape[2], x.Shape[3]
	n := g.op([]int{x.Shape[0], x.Shape[1], H * kh, W * kw}, x)
	from := func(i int) int { return i/(W*kw)/kh*W + i%(W*kw)/kw }
	n.forward = func() {
		for i := range n.Value {
			n.Value[i] = x.Value[from(i)]
		}
	}
	n.backward = func() {
		d := x.acc()
		for i, v := range n.Grad {
			d[from(i)] += v
		}
	}
	return n
}

// Pixels turns one image of bytes, row-major (H,W,C), into floats (C,H,W) of
// v/255 - 0.5, shifted by (dx,dy) pixels to the right and down with the edge
// repeated. It is the input normalisation and, with DrawShift, the augmentation
// of DrQ (Kostrikov et al. 2020, arXiv:2004.13649, section 3.1), by whole pixels.
func Pixels(dst []float32, src []byte, h, w, c, dx, dy int) {
	if len(dst) != h*w*c || len(src) != h*w*c {
		panic("nn: Pixels: image and array differ in size")
	}
	const scale = 1. / 255
	lo, hi := max(0, min(w, dx)), max(0, min(w, w+dx)) // columns that have a source
	for k := range c {
		for y := range h {
			row := src[max(0, min(h-1, y-dy))*w*c+k:]
			d := dst[(k*h+y)*w : (k*h+y+1)*w]
			left, right := float32(row[0])*scale-0.5, float32(row[(w-1)*c])*scale-0.5
			for x := range lo {
				d[x] = left
			}
			for x := hi; x < w; x++ {
				d[x] = right
			}
			j := (lo - dx) * c
			for x := lo; x < hi; x++ {
				d[x] = float32(row[j])*scale - 0.5
				j += c
			}
		}
	}
}

// DrawShift draws a shift of at most pad pixels each way; DrQ pads by 4.
func DrawShift(pad int, rng *rand.Rand) (dx, dy int) {
	return rng.IntN(2*pad+1) - pad, rng.IntN(2*pad+1) - pad
}
