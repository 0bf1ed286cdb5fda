package nn

import "slices"

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
			p.scatter(y, col, 0, p.oh, 0, N)
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
			p.gather(col, n.Grad[i*Y:(i+1)*Y], 0, p.oh, 0, N)
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
