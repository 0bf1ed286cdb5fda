package nn

import (
	"slices"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// pair describes how b is repeated over a: element (o,i) of a, of outer*inner,
// meets element o*so+i*si of b.
type pair struct{ outer, inner, so, si int }

// match finds how b is broadcast over a: the same shape; a scalar; a suffix of
// a's axes, (D) under (B,D); or a's leading axes followed by ones, (B,1) beside
// (B,D).
func match(a, b *Node) pair {
	na, nb := len(a.Value), len(b.Value)
	ra, rb := len(a.Shape), len(b.Shape)
	switch {
	case slices.Equal(a.Shape, b.Shape):
		return pair{1, na, 0, 1}
	case nb == 1:
		return pair{1, na, 0, 0}
	case rb <= ra && slices.Equal(a.Shape[ra-rb:], b.Shape):
		return pair{na / nb, nb, 0, 1}
	case rb == ra:
		k := rb
		for k > 0 && b.Shape[k-1] == 1 {
			k--
		}
		if slices.Equal(a.Shape[:k], b.Shape[:k]) {
			return pair{nb, na / nb, 1, 0}
		}
	}
	panic("nn: shapes of the operands do not match")
}

// binary adds f(a,b), with b broadcast over a; df gives both derivatives. op is
// all of them to an accelerator.
func (g *Graph) binary(a, b *Node, op device.Binary, f func(a, b float32) float32, df func(a, b float32) (da, db float32)) *Node {
	p := match(a, b)
	n := g.op(a.Shape, a, b)
	if g.far != nil {
		r := device.Repeat{Outer: p.outer, Inner: p.inner, StepOuter: p.so, StepInner: p.si}
		n.forward = func() { g.far.Binary(op, r, n.val, a.val, b.val) }
		n.backward = func() {
			var da, db []float32
			if a.needs {
				da = a.into()
			}
			if b.needs {
				db = b.into()
			}
			g.far.BinaryGrad(op, r, da, db, n.grad, a.val, b.val)
		}
		return n
	}
	n.forward = func() {
		for o := range p.outer {
			k := o * p.inner
			av, y := a.Value[k:k+p.inner], n.Value[k:k+p.inner]
			bi := o * p.so
			for i, v := range av {
				y[i] = f(v, b.Value[bi])
				bi += p.si
			}
		}
	}
	n.backward = func() {
		var ga, gb []float32
		if a.needs {
			ga = a.acc()
		}
		if b.needs {
			gb = b.acc()
		}
		for o := range p.outer {
			k := o * p.inner
			bi := o * p.so
			for i := k; i < k+p.inner; i++ {
				da, db := df(a.Value[i], b.Value[bi])
				if ga != nil {
					ga[i] += n.Grad[i] * da
				}
				if gb != nil {
					gb[bi] += n.Grad[i] * db
				}
				bi += p.si
			}
		}
	}
	return n
}

// Add is a+b. As in the other operations on two arrays, b has a's shape, or is
// a scalar, or holds a's last axes, (D) for (B,D), or has ones for a's last
// axes, (B,1) for (B,D).
func (g *Graph) Add(a, b *Node) *Node {
	if slices.Equal(a.Shape, b.Shape) {
		return g.addSame(a, b)
	}
	return g.binary(a, b, device.Sum, func(a, b float32) float32 { return a + b },
		func(_, _ float32) (float32, float32) { return 1, 1 })
}

// addSame is Add of equal shapes, the residual connection of large networks.
func (g *Graph) addSame(a, b *Node) *Node {
	n := g.op(a.Shape, a, b)
	n.forward = func() {
		if g.far != nil {
			g.far.Binary(device.Sum, device.Repeat{Outer: 1, Inner: len(n.val), StepInner: 1}, n.val, a.val, b.val)
			return
		}
		copy(n.val, a.val)
		g.dev.Add(n.val, b.val)
	}
	n.backward = func() {
		for _, x := range n.inputs {
			if x.needs {
				g.put(x.first(), x.grad, n.grad)
			}
		}
	}
	return n
}

// mulSame is Mul of equal shapes.
func (g *Graph) mulSame(a, b *Node) *Node {
	n := g.op(a.Shape, a, b)
	n.forward = func() { g.dev.Mul(false, n.val, a.val, b.val) }
	n.backward = func() {
		if a.needs {
			g.dev.Mul(!a.first(), a.grad, n.grad, b.val)
		}
		if b.needs {
			g.dev.Mul(!b.first(), b.grad, n.grad, a.val)
		}
	}
	return n
}

// Sub is a-b.
func (g *Graph) Sub(a, b *Node) *Node {
	return g.binary(a, b, device.Difference, func(a, b float32) float32 { return a - b },
		func(_, _ float32) (float32, float32) { return 1, -1 })
}

// Mul is a*b, elementwise.
func (g *Graph) Mul(a, b *Node) *Node {
	if slices.Equal(a.Shape, b.Shape) {
		return g.mulSame(a, b)
	}
	return g.binary(a, b, device.Product, func(a, b float32) float32 { return a * b },
		func(a, b float32) (float32, float32) { return b, a })
}

// Div is a/b, elementwise.
func (g *Graph) Div(a, b *Node) *Node {
	return g.binary(a, b, device.Quotient, func(a, b float32) float32 { return a / b },
		func(a, b float32) (float32, float32) { return 1 / b, -a / (b * b) })
}

// Min is the smaller of a and b; ties send the gradient to a.
func (g *Graph) Min(a, b *Node) *Node {
	return g.binary(a, b, device.Min, func(a, b float32) float32 { return min(a, b) },
		func(a, b float32) (float32, float32) {
			if a <= b {
				return 1, 0
			}
			return 0, 1
		})
}

// Max is the larger of a and b; ties send the gradient to a.
func (g *Graph) Max(a, b *Node) *Node {
	return g.binary(a, b, device.Max, func(a, b float32) float32 { return max(a, b) },
		func(a, b float32) (float32, float32) {
			if a >= b {
				return 1, 0
			}
			return 0, 1
		})
}
