package nn

import "github.com/rapport-rl/rapport/internal/nn/device"

// farLinear is linear on an accelerator, all members at once. size is E, rows, in
// and out; sx is the distance between members' inputs.
func (g *Graph) farLinear(n, x, w, b *Node, size [4]int, sx int, act bool) {
	E, rows, in, out := size[0], size[1], size[2], size[3]
	sy, sw := rows*out, out*in
	n.forward = func() {
		beta := float32(0)
		if b != nil {
			beta = 1
			g.far.MemberBias(E, n.val, b.val)
		}
		g.far.Products(false, true, rows, out, in, x.val, in, sx, w.val, in, sw, beta, n.val, out, sy, E)
		if act {
			g.dev.Map(device.ReLU, n.val, n.val)
		}
	}
	n.backward = func() {
		if act {
			g.dev.Mask(n.grad, n.val)
		}
		if b != nil && b.needs {
			g.far.MemberColSum(E, b.into(), n.grad)
		}
		if w.needs {
			g.far.Products(true, false, out, in, rows, n.grad, out, sy, x.val, in, sx, w.beta(), w.grad, in, sw, E)
		}
		switch {
		case !x.needs:
		case sx == 0 && E > 1: // what all members say of one input, one after the other
			beta := x.beta()
			for e := range E {
				g.dev.Gemm(false, false, rows, in, out, n.grad[e*sy:], out, w.val[e*sw:], in, beta, x.grad, in)
				beta = 1
			}
		default:
			g.far.Products(false, false, rows, in, out, n.grad, out, sy, w.val, in, sw, x.beta(), x.grad, in, sx, E)
		}
	}
}

// farMatMul is MatMul on an accelerator, the whole stack at once. size is P, m, k
// and columns.
func (g *Graph) farMatMul(n, a, b *Node, ta, tb bool, size [4]int) {
	P, m, k, c := size[0], size[1], size[2], size[3]
	sa, sb, sc := m*k, k*c, m*c
	product := func(ta, tb bool, m, n, k int, a []float32, sa int, b []float32, sb int, beta float32, y []float32, sy int) {
		lda, ldb := k, n
		if ta {
			lda = m
		}
		if tb {
			ldb = k
		}
		g.far.Products(ta, tb, m, n, k, a, lda, sa, b, ldb, sb, beta, y, n, sy, P)
	}
	n.forward = func() { product(ta, tb, m, c, k, a.val, sa, b.val, sb, 0, n.val, sc) }
	n.backward = func() {
		if a.needs {
			if beta := a.beta(); ta {
				product(tb, true, k, m, c, b.val, sb, n.grad, sc, beta, a.grad, sa)
			} else {
				product(false, !tb, m, k, c, n.grad, sc, b.val, sb, beta, a.grad, sa)
			}
		}
		if b.needs {
			if beta := b.beta(); tb {
				product(true, ta, c, k, m, n.grad, sc, a.val, sa, beta, b.grad, sb)
			} else {
				product(!ta, false, k, c, m, a.val, sa, n.grad, sc, beta, b.grad, sb)
			}
		}
	}
}
