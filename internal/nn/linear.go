package nn

import "github.com/rapport-rl/rapport/internal/nn/device"

// Linear is y = x w' + b. For w (Out,In) and b (Out), x (...,In) gives
// (...,Out). For an ensemble, w (E,Out,In) and b (E,Out), x is (E,B,In), or
// (B,In) seen by every member, and gives (E,B,Out). b may be nil.
func (g *Graph) Linear(x, w, b *Node) *Node { return g.linear(x, w, b, false) }

// LinearReLU is ReLU(Linear(x,w,b)) in one pass. The node's Grad holds the
// gradient before the ReLU once Backward has gone through it.
func (g *Graph) LinearReLU(x, w, b *Node) *Node { return g.linear(x, w, b, true) }

func (g *Graph) linear(x, w, b *Node, act bool) *Node {
	if len(w.Shape) != 2 && len(w.Shape) != 3 {
		panic("nn: Linear: weight has neither two nor three axes")
	}
	if len(x.Shape) == 0 {
		panic("nn: Linear: input is a scalar")
	}
	r := len(w.Shape)
	E, out, in := 1, w.Shape[r-2], w.Shape[r-1]
	if r == 3 {
		E = w.Shape[0]
	}
	rx := len(x.Shape)
	if x.Shape[rx-1] != in {
		panic("nn: Linear: input width differs from the weight's")
	}
	if b != nil && (len(b.Shape) != r-1 || b.Shape[r-2] != out || r == 3 && b.Shape[0] != E) {
		panic("nn: Linear: bias does not fit the weight")
	}
	rows := len(x.Value) / in // of one member
	sx := 0                   // distance between members' inputs
	shape := append(append([]int{}, x.Shape[:rx-1]...), out)
	if r == 3 {
		switch {
		case rx == 2:
			shape = []int{E, rows, out}
		case rx == 3 && x.Shape[0] == E:
			rows /= E
			sx = rows * in
		default:
			panic("nn: Linear: input fits no ensemble of this size")
		}
	}
	ins := []*Node{x, w}
	if b != nil {
		ins = append(ins, b)
	}
	n := g.op(shape, ins...)
	sy, sw := rows*out, out*in
	if g.far != nil {
		g.farLinear(n, x, w, b, [4]int{E, rows, in, out}, sx, act)
		return n
	}
	n.forward = func() {
		for e := range E {
			y := n.Value[e*sy : (e+1)*sy]
			beta := float32(0)
			if b != nil {
				beta = 1
				g.dev.Bias(y, b.Value[e*out:(e+1)*out])
			}
			g.gemm(false, true, rows, out, in, x.Value[e*sx:e*sx+rows*in], w.Value[e*sw:(e+1)*sw], beta, y)
			if act {
				g.dev.Map(device.ReLU, y, y)
			}
		}
	}
	n.backward = func() {
		if act {
			g.dev.Mask(n.Grad, n.Value)
		}
		if b != nil && b.needs {
			d := b.acc()
			for e := range E {
				g.dev.ColSum(d[e*out:(e+1)*out], n.Grad[e*sy:(e+1)*sy])
			}
		}
		if w.needs {
			beta := w.beta()
			for e := range E {
				g.gemm(true, false, out, in, rows, n.Grad[e*sy:(e+1)*sy], x.Value[e*sx:e*sx+rows*in], beta, w.Grad[e*sw:(e+1)*sw])
			}
		}
		if x.needs {
			beta := x.beta()
			for e := range E {
				if sx == 0 && e > 0 {
					beta = 1
				}
				g.gemm(false, false, rows, in, out, n.Grad[e*sy:(e+1)*sy], w.Value[e*sw:(e+1)*sw], beta, x.Grad[e*sx:e*sx+rows*in])
			}
		}
	}
	return n
}

// MatMul is a*b for a (M,K) and b (K,N), or for each of a leading axis of both,
// (P,M,K) and (P,K,N); ta and tb say that the last two axes of a or b are
// swapped.
func (g *Graph) MatMul(a, b *Node, ta, tb bool) *Node {
	r := len(a.Shape)
	if r != len(b.Shape) || r != 2 && r != 3 {
		panic("nn: MatMul: operands are not both matrices or stacks of them")
	}
	P := 1
	if r == 3 {
		if P = a.Shape[0]; b.Shape[0] != P {
			panic("nn: MatMul: stacks differ in height")
		}
	}
	m, k := a.Shape[r-2], a.Shape[r-1]
	if ta {
		m, k = k, m
	}
	kb, c := b.Shape[r-2], b.Shape[r-1]
	if tb {
		kb, c = c, kb
	}
	if k != kb {
		panic("nn: MatMul: inner sizes differ")
	}
	shape := []int{m, c}
	if r == 3 {
		shape = []int{P, m, c}
	}
	n := g.op(shape, a, b)
	sa, sb, sc := m*k, k*c, m*c
	if g.far != nil {
		g.farMatMul(n, a, b, ta, tb, [4]int{P, m, k, c})
		return n
	}
	n.forward = func() {
		for p := range P {
			g.gemm(ta, tb, m, c, k, a.Value[p*sa:(p+1)*sa], b.Value[p*sb:(p+1)*sb], 0, n.Value[p*sc:(p+1)*sc])
		}
	}
	n.backward = func() {
		if a.needs {
			beta := a.beta()
			for p := range P {
				d, bv, ga := n.Grad[p*sc:(p+1)*sc], b.Value[p*sb:(p+1)*sb], a.Grad[p*sa:(p+1)*sa]
				if ta {
					g.gemm(tb, true, k, m, c, bv, d, beta, ga)
				} else {
					g.gemm(false, !tb, m, k, c, d, bv, beta, ga)
				}
			}
		}
		if b.needs {
			beta := b.beta()
			for p := range P {
				d, av, gb := n.Grad[p*sc:(p+1)*sc], a.Value[p*sa:(p+1)*sa], b.Grad[p*sb:(p+1)*sb]
				if tb {
					g.gemm(true, ta, c, k, m, d, av, beta, gb)
				} else {
					g.gemm(!ta, false, k, c, m, av, d, beta, gb)
				}
			}
		}
	}
	return n
}
