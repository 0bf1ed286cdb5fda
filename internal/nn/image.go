package nn

import (
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// SpatialSoftmax turns each channel of x (B,H,W,C) into the expected position
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
	B, H, W, C := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	n := g.op([]int{B, 2 * C}, x)
	prob := g.alloc(len(x.Value))
	n.forward = func() { g.dev.SpatialSoftmax(B, H, W, C, temperature, n.val, prob, x.val) }
	n.backward = func() { g.dev.SpatialSoftmaxGrad(B, H, W, C, temperature, x.into(), n.grad, n.val, prob) }
	return n
}

// MaxPool takes the largest pixel under a k by k window of x (B,H,W,C). Padding
// never wins.
func (g *Graph) MaxPool(x *Node, k, stride, pad int) *Node {
	if len(x.Shape) != 4 {
		panic("nn: MaxPool: input needs four axes")
	}
	if pad >= k {
		panic("nn: MaxPool: padding as large as the window")
	}
	B, H, W, C := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	win := Window{stride, stride, pad, pad}.norm()
	oh, ow := win.over(H, W, k, k)
	n := g.op([]int{B, oh, ow, C}, x)
	if g.far != nil {
		p := device.Pool{B: B, H: H, W: W, C: C, OH: oh, OW: ow, K: k, StrideH: win.StrideH, StrideW: win.StrideW, Pad: pad}
		pick := g.alloc(len(n.Value))
		n.forward = func() { g.far.MaxPool(p, n.val, pick, x.val) }
		n.backward = func() { g.far.MaxPoolGrad(p, x.into(), n.grad, pick) }
		return n
	}
	arg := make([]int32, len(n.Value))
	n.forward = func() {
		for i := range B * oh * ow {
			b, y0, x0 := i/(oh*ow), i/ow%oh*win.StrideH-pad, i%ow*win.StrideW-pad
			best, at := n.Value[i*C:(i+1)*C], arg[i*C:(i+1)*C]
			first := true
			for iy := max(0, y0); iy < min(H, y0+k); iy++ {
				for ix := max(0, x0); ix < min(W, x0+k); ix++ {
					from := ((b*H+iy)*W + ix) * C
					in := x.Value[from : from+C]
					if first {
						first = false
						copy(best, in)
						for c := range at {
							at[c] = int32(from + c)
						}
						continue
					}
					for c, v := range in {
						if v > best[c] {
							best[c], at[c] = v, int32(from+c)
						}
					}
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

// AvgPool averages k by k blocks of x (B,H,W,C), whose sides are multiples of k.
// MeanPixels is the mean of whole channels.
func (g *Graph) AvgPool(x *Node, k int) *Node {
	if len(x.Shape) != 4 || k < 1 || x.Shape[1]%k != 0 || x.Shape[2]%k != 0 {
		panic("nn: AvgPool: input is not made of k by k blocks")
	}
	W, C := x.Shape[2], x.Shape[3]
	n := g.op([]int{x.Shape[0], x.Shape[1] / k, W / k, C}, x)
	c := 1 / float32(k*k)
	if g.far != nil {
		n.forward = func() { g.far.Shrink(W, C, k, k, c, false, n.val, x.val) }
		n.backward = func() { g.far.Grow(W, C, k, k, c, !x.first(), x.grad, n.grad) }
		return n
	}
	// block is where the result of pixel i of all images begins.
	block := func(i int) int { return (i/W/k*(W/k) + i%W/k) * C }
	n.forward = func() {
		clear(n.Value)
		for i := range len(x.Value) / C {
			axpy(c, n.Value[block(i):block(i)+C], x.Value[i*C:(i+1)*C])
		}
	}
	n.backward = func() {
		d := x.acc()
		for i := range len(d) / C {
			axpy(c, d[i*C:(i+1)*C], n.Grad[block(i):block(i)+C])
		}
	}
	return n
}

// MeanPixels averages every channel of x (B,...,C) over its pixels: (B,C).
func (g *Graph) MeanPixels(x *Node) *Node {
	C := channels("MeanPixels", x)
	B := x.Shape[0]
	N := len(x.Value) / (B * C)
	inv := 1 / float32(N)
	n := g.op([]int{B, C}, x)
	if g.far != nil { // images of one line, N pixels wide
		n.forward = func() {
			g.far.Clear(n.val)
			g.far.ImageSum(B, C, inv, n.val, x.val)
		}
		n.backward = func() { g.far.Grow(N, C, 1, N, inv, !x.first(), x.grad, n.grad) }
		return n
	}
	n.forward = func() {
		clear(n.Value)
		for b := range B {
			y := n.Value[b*C : (b+1)*C]
			g.dev.ColSum(y, x.Value[b*N*C:(b+1)*N*C])
			for c := range y {
				y[c] *= inv
			}
		}
	}
	n.backward = func() {
		d := x.acc()
		for i := range B * N {
			axpy(inv, d[i*C:(i+1)*C], n.Grad[i/N*C:(i/N+1)*C])
		}
	}
	return n
}

// Upsample repeats every pixel of x (B,H,W,C) kh times down and kw times right.
func (g *Graph) Upsample(x *Node, kh, kw int) *Node {
	if len(x.Shape) != 4 || kh < 1 || kw < 1 {
		panic("nn: Upsample: input needs four axes and positive factors")
	}
	H, W, C := x.Shape[1], x.Shape[2], x.Shape[3]
	n := g.op([]int{x.Shape[0], H * kh, W * kw, C}, x)
	if g.far != nil {
		n.forward = func() { g.far.Grow(W*kw, C, kh, kw, 1, false, n.val, x.val) }
		n.backward = func() { g.far.Shrink(W*kw, C, kh, kw, 1, !x.first(), x.grad, n.grad) }
		return n
	}
	// from is where the source of pixel i of all images begins.
	from := func(i int) int { return (i/(W*kw)/kh*W + i%(W*kw)/kw) * C }
	n.forward = func() {
		for i := range len(n.Value) / C {
			copy(n.Value[i*C:(i+1)*C], x.Value[from(i):from(i)+C])
		}
	}
	n.backward = func() {
		d := x.acc()
		for i := range len(n.Grad) / C {
			axpy(1, d[from(i):from(i)+C], n.Grad[i*C:(i+1)*C])
		}
	}
	return n
}

// Pixels turns one image of bytes, row-major (H,W,C), into floats (H,W,C) of
// v/255 - 0.5, shifted by (dx,dy) pixels to the right and down with the edge
// repeated. It is the input normalisation and, with DrawShift, the augmentation
// of DrQ (Kostrikov et al. 2020, arXiv:2004.13649, section 3.1), by whole pixels.
func Pixels(dst []float32, src []byte, h, w, c, dx, dy int) {
	if len(dst) != h*w*c || len(src) != h*w*c {
		panic("nn: Pixels: image and array differ in size")
	}
	dev := device.Default()
	if dx == 0 && dy == 0 {
		dev.Pixels(dst, src)
		return
	}
	lo, hi := max(0, min(w, dx)), max(0, min(w, w+dx)) // columns that have a source
	for y := range h {
		row := src[max(0, min(h-1, y-dy))*w*c:][:w*c]
		d := dst[y*w*c : (y+1)*w*c]
		if lo < hi {
			dev.Pixels(d[lo*c:hi*c], row[(lo-dx)*c:(hi-dx)*c])
		}
		edge(d[:lo*c], row[:c])
		edge(d[hi*c:], row[(w-1)*c:])
	}
}

// edge repeats one pixel.
func edge(dst []float32, pixel []byte) {
	const scale = 1. / 255
	for i := range dst {
		dst[i] = float32(pixel[i%len(pixel)])*scale - 0.5
	}
}

// DrawShift draws a shift of at most pad pixels each way; DrQ pads by 4.
func DrawShift(pad int, rng *rand.Rand) (dx, dy int) {
	return rng.IntN(2*pad+1) - pad, rng.IntN(2*pad+1) - pad
}
