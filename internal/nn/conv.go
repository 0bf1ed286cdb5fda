package nn

import "slices"

// Window places a kernel over an image: strides and zero padding in pixels,
// vertical and horizontal. A zero stride means 1.
type Window struct{ StrideH, StrideW, PadH, PadW int }

// Conv2D convolves x (B,C,H,W) with w (O,C,KH,KW), adds b (O), which may be nil,
// and gives (B,O,H',W') with H' = (H+2*pad-KH)/stride+1. As everywhere in
// learning it correlates: the kernel is not flipped.
func (g *Graph) Conv2D(x, w, b *Node, stride, pad int) *Node {
	return g.Conv(x, w, b, Window{stride, stride, pad, pad}, false)
}

// Conv2DReLU is ReLU(Conv2D(x,w,b)) in one pass. The node's Grad holds the
// gradient before the ReLU once Backward has gone through it.
func (g *Graph) Conv2DReLU(x, w, b *Node, stride, pad int) *Node {
	return g.Conv(x, w, b, Window{stride, stride, pad, pad}, true)
}

// Conv is Conv2D with a Window of its own and an optional ReLU. A signal
// (B,C,1,L) with a kernel (O,C,1,K) makes it one-dimensional.
func (g *Graph) Conv(x, w, b *Node, win Window, act bool) *Node {
	if len(x.Shape) != 4 || len(w.Shape) != 4 {
		panic("nn: Conv: input and weight need four axes")
	}
	if x.Shape[1] != w.Shape[1] {
		panic("nn: Conv: channels of input and weight differ")
	}
	O := w.Shape[0]
	if b != nil && !slices.Equal(b.Shape, []int{O}) {
		panic("nn: Conv: bias does not fit the weight")
	}
	ins := []*Node{x, w}
	if b != nil {
		ins = append(ins, b)
	}
	p := newPatches(x.Shape[1], x.Shape[2], x.Shape[3], w.Shape[2], w.Shape[3], win)
	n := g.op([]int{x.Shape[0], O, p.oh, p.ow}, ins...)
	c := &conv{patches: p, g: g, in: x, weight: w, bias: b, out: n, maps: O, act: act}
	c.tile()
	n.forward, n.backward = c.forward, c.backward
	return n
}

// conv is one convolution. It works on tiles of the patch matrix that stay in
// the second-level cache: some rows of a large image's result, or several small
// images, so that a product is still wide enough for the matrix kernels.
type conv struct {
	patches
	g                     *Graph
	in, weight, bias, out *Node
	maps                  int // channels of the result
	act                   bool
	images                int // in one tile
	rows                  int // of each result in one tile: all, if several images
}

const (
	tileBytes = 384 << 10 // of patches: a 1 MiB cache holds them and the kernels' copy
	tileWidth = 512       // columns that a product should have at least
)

func (c *conv) tile() {
	width := max(tileWidth, tileBytes/4/c.k())
	c.images = min(c.in.Shape[0], max(1, width/c.n()))
	c.rows = c.oh
	if c.images == 1 && !c.plain() {
		tiles := (c.n() + width - 1) / width
		c.rows = (c.oh + tiles - 1) / tiles
	}
	col, res := c.room()
	c.g.reserve(2*col + res)
}

// room is the size of a tile's patches and of its results.
func (c *conv) room() (col, res int) {
	n := c.images * c.rows * c.ow
	return c.k() * n, c.maps * n
}

// each calls f for every tile: m images from i on, result rows r0 up to r1.
func (c *conv) each(f func(i, m, r0, r1 int)) {
	B := c.in.Shape[0]
	for i := 0; i < B; i += c.images {
		for r := 0; r < c.oh; r += c.rows {
			f(i, min(c.images, B-i), r, min(c.oh, r+c.rows))
		}
	}
}

// patchesOf returns the patch matrix (K, images*pixels) of a tile, in buf if it
// has to be made.
func (c *conv) patchesOf(buf []float32, i, m, r0, r1 int) []float32 {
	X := c.c * c.h * c.w
	if c.plain() && c.images == 1 {
		return c.in.Value[i*X : (i+1)*X]
	}
	n := (r1 - r0) * c.ow
	for j := range m {
		c.gather(buf, c.in.Value[(i+j)*X:(i+j+1)*X], r0, r1, j*n, m*n)
	}
	return buf[:c.k()*m*n]
}

func (c *conv) forward() {
	K, N, O := c.k(), c.n(), c.maps
	size, res := c.room()
	buf := c.g.scratch(2*size + res)
	col, tmp := buf[:size], buf[2*size:]
	y := c.out.Value
	beta := float32(0)
	if c.bias != nil {
		beta = 1
	}
	c.each(func(i, m, r0, r1 int) {
		cols := m * (r1 - r0) * c.ow
		dst, ld := y[i*O*N+r0*c.ow:(i+m)*O*N], N
		if m > 1 {
			dst, ld = tmp[:O*cols], cols
		}
		if c.bias != nil {
			for o, v := range c.bias.Value {
				fill(dst[o*ld:o*ld+cols], v)
			}
		}
		gemmLd(false, false, O, cols, K, c.weight.Value, K, c.patchesOf(col, i, m, r0, r1), cols, beta, dst, ld)
		if m > 1 {
			swapFirst(y[i*O*N:(i+m)*O*N], dst, O, m, N)
		}
	})
	if c.act {
		relu(y, y)
	}
}

func (c *conv) backward() {
	K, N, O, X := c.k(), c.n(), c.maps, c.c*c.h*c.w
	dy := c.out.Grad
	if c.act {
		mask(dy, c.out.Value)
	}
	if c.bias != nil && c.bias.needs {
		d := c.bias.acc()
		for i := 0; i < len(dy); i += N {
			d[i/N%O] += sum32(dy[i : i+N])
		}
	}
	w, x := c.weight, c.in
	if !w.needs && !x.needs {
		return
	}
	size, res := c.room()
	buf := c.g.scratch(2*size + res)
	col, dcol, tmp := buf[:size], buf[size:2*size], buf[2*size:]
	var beta float32
	if w.needs {
		beta = w.beta()
	}
	var dx []float32
	if x.needs {
		dx = x.acc()
	}
	c.each(func(i, m, r0, r1 int) {
		n := (r1 - r0) * c.ow
		cols := m * n
		src, ld := dy[i*O*N+r0*c.ow:(i+m)*O*N], N
		if m > 1 {
			swapFirst(tmp[:O*cols], src, m, O, N)
			src, ld = tmp[:O*cols], cols
		}
		if w.needs {
			gemmLd(false, true, O, K, cols, src, ld, c.patchesOf(col, i, m, r0, r1), cols, beta, w.Grad, K)
			beta = 1
		}
		switch {
		case !x.needs:
		case c.plain() && c.images == 1:
			gemm(true, false, K, N, O, w.Value, src, 1, dx[i*X:(i+1)*X])
		default:
			gemmLd(true, false, K, cols, O, w.Value, K, src, ld, 0, dcol, cols)
			for j := range m {
				c.scatter(dx[(i+j)*X:(i+j+1)*X], dcol, r0, r1, j*n, cols)
			}
		}
	})
}

// swapFirst turns src (a,b,n) into dst (b,a,n).
func swapFirst(dst, src []float32, a, b, n int) {
	for i := range a {
		for j := range b {
			copy(dst[(j*a+i)*n:(j*a+i+1)*n], src[(i*b+j)*n:(i*b+j+1)*n])
		}
	}
}
