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
	p := newPatches(x.Shape[1], x.Shape[2], x.Shape[3], w.Shape[2], w.Shape[3], win)
	B := x.Shape[0]
	ins := []*Node{x, w}
	if b != nil {
		ins = append(ins, b)
	}
	n := g.op([]int{B, O, p.oh, p.ow}, ins...)
	K, N, X := p.k(), p.n(), p.c*p.h*p.w
	// Late layers have few pixels; several images share a product, so that it
	// is wide enough for the matrix kernels to run at speed.
	per := min(B, max(1, (512+N-1)/N))
	direct := p.plain() && per == 1 // the image is its own patch matrix
	g.reserve(2*K*N*per + O*N*per)
	n.forward = func() {
		buf := g.scratch(2*K*N*per + O*N*per)
		col, tmp := buf[:K*N*per], buf[2*K*N*per:]
		for i := 0; i < B; i += per {
			m := min(per, B-i)
			c := col[:K*N*m]
			if direct {
				c = x.Value[i*X : (i+1)*X]
			} else {
				for j := range m {
					p.gather(c, x.Value[(i+j)*X:(i+j+1)*X], j*N, m*N)
				}
			}
			y := n.Value[i*O*N : (i+m)*O*N]
			if m > 1 {
				y = tmp[:O*N*m]
			}
			beta := float32(0)
			if b != nil {
				beta = 1
				for o, v := range b.Value {
					fill(y[o*N*m:(o+1)*N*m], v)
				}
			}
			gemm(false, false, O, m*N, K, w.Value, c, beta, y)
			if m > 1 {
				swapFirst(n.Value[i*O*N:(i+m)*O*N], y, O, m, N)
			}
		}
		if act {
			relu(n.Value, n.Value)
		}
	}
	n.backward = func() {
		if act {
			mask(n.Grad, n.Value)
		}
		if b != nil && b.needs {
			d := b.acc()
			for i := 0; i < len(n.Grad); i += N {
				d[i/N%O] += sum32(n.Grad[i : i+N])
			}
		}
		if !w.needs && !x.needs {
			return
		}
		buf := g.scratch(2*K*N*per + O*N*per)
		col, dcol, tmp := buf[:K*N*per], buf[K*N*per:2*K*N*per], buf[2*K*N*per:]
		var beta float32
		if w.needs {
			beta = w.beta()
		}
		var dx []float32
		if x.needs {
			dx = x.acc()
		}
		for i := 0; i < B; i += per {
			m := min(per, B-i)
			dy := n.Grad[i*O*N : (i+m)*O*N]
			if m > 1 {
				swapFirst(tmp[:O*N*m], dy, m, O, N)
				dy = tmp[:O*N*m]
			}
			if w.needs {
				c := col[:K*N*m]
				if direct {
					c = x.Value[i*X : (i+1)*X]
				} else {
					for j := range m {
						p.gather(c, x.Value[(i+j)*X:(i+j+1)*X], j*N, m*N)
					}
				}
				gemm(false, true, O, K, m*N, dy, c, beta, w.Grad)
				beta = 1
			}
			switch {
			case !x.needs:
			case direct:
				gemm(true, false, K, N, O, w.Value, dy, 1, dx[i*X:(i+1)*X])
			default:
				d := dcol[:K*N*m]
				gemm(true, false, K, m*N, O, w.Value, dy, 0, d)
				for j := range m {
					p.scatter(dx[(i+j)*X:(i+j+1)*X], d, j*N, m*N)
				}
			}
		}
	}
	return n
}

// ConvT is the transposed convolution, which enlarges: x (B,C,H,W) with w
// (C,O,KH,KW) and b (O), which may be nil, gives (B,O,H',W') with
// H' = (H-1)*stride - 2*pad + KH. It is the gradient of Conv with respect to its
// input, as a layer.
func (g *Graph) ConvT(x, w, b *Node, win Window) *Node {
	if len(x.Shape) != 4 || len(w.Shape) != 4 {
		panic("nn: ConvT: input and weight need four axes")
	}
	if x.Shape[1] != w.Shape[0] {
		panic("nn: ConvT: channels of input and weight differ")
	}
	B, C, O := x.Shape[0], w.Shape[0], w.Shape[1]
	if b != nil && !slices.Equal(b.Shape, []int{O}) {
		panic("nn: ConvT: bias does not fit the weight")
	}
	win = win.norm()
	H := (x.Shape[2]-1)*win.StrideH - 2*win.PadH + w.Shape[2]
	W := (x.Shape[3]-1)*win.StrideW - 2*win.PadW + w.Shape[3]
	if H < 1 || W < 1 {
		panic("nn: ConvT: nothing is left of the image")
	}
	p := newPatches(O, H, W, w.Shape[2], w.Shape[3], win)
	ins := []*Node{x, w}
	if b != nil {
		ins = append(ins, b)
	}
	n := g.op([]int{B, O, H, W}, ins...)
	K, N, X, Y := p.k(), p.n(), C*p.n(), O*H*W
	g.reserve(K * N)
	n.forward = func() {
		col := g.scratch(K * N)
		for i := range B {
			y := n.Value[i*Y : (i+1)*Y]
			if b == nil {
				clear(y)
			} else {
				for o, v := range b.Value {
					fill(y[o*H*W:(o+1)*H*W], v)
				}
			}
			gemm(true, false, K, N, C, w.Value, x.Value[i*X:(i+1)*X], 0, col)
			p.scatter(y, col, 0, N)
		}
	}
	n.backward = func() {
		if b != nil && b.needs {
			d := b.acc()
			for i := 0; i < len(n.Grad); i += H * W {
				d[i/(H*W)%O] += sum32(n.Grad[i : i+H*W])
			}
		}
		if !w.needs && !x.needs {
			return
		}
		col := g.scratch(K * N)
		var bw, bx float32
		if w.needs {
			bw = w.beta()
		}
		if x.needs {
			bx = x.beta()
		}
		for i := range B {
			p.gather(col, n.Grad[i*Y:(i+1)*Y], 0, N)
			if w.needs {
				gemm(false, true, C, K, N, x.Value[i*X:(i+1)*X], col, bw, w.Grad)
				bw = 1
			}
			if x.needs {
				gemm(false, false, C, N, K, w.Value, col, bx, x.Grad[i*X:(i+1)*X])
			}
		}
	}
	return n
}

// swapFirst turns src (a,b,n) into dst (b,a,n).
func swapFirst(dst, src []float32, a, b, n int) {
	for i := range a {
		for j := range b {
			copy(dst[(j*a+i)*n:(j*a+i+1)*n], src[(i*b+j)*n:(i*b+j+1)*n])
		}
	}
}
