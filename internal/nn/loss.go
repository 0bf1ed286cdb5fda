package nn

import (
	"slices"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// MSE is the mean of (a-b)^2 over all elements.
func (g *Graph) MSE(a, b *Node) *Node {
	return g.between(a, b, device.Loss{}, func(e float32) float32 { return e * e }, func(e float32) float32 { return 2 * e })
}

// Huber is the mean of e^2/2 where |e| = |a-b| <= delta and of
// delta*(|e|-delta/2) elsewhere (Huber 1964).
func (g *Graph) Huber(a, b *Node, delta float32) *Node {
	if !(delta > 0) {
		panic("nn: Huber: delta is not positive")
	}
	return g.between(a, b, device.Loss{Delta: delta}, func(e float32) float32 {
		if e < 0 {
			e = -e
		}
		if e <= delta {
			return e * e / 2
		}
		return delta * (e - delta/2)
	}, func(e float32) float32 { return max(-delta, min(delta, e)) })
}

func (g *Graph) between(a, b *Node, l device.Loss, f, df func(float32) float32) *Node {
	if !slices.Equal(a.Shape, b.Shape) {
		panic("nn: loss: shapes differ")
	}
	n := g.op(nil, a, b)
	if g.far != nil {
		n.forward = func() { g.far.Between(l, n.val, a.val, b.val) }
		n.backward = func() {
			var da, db []float32
			if a.needs {
				da = a.into()
			}
			if b.needs {
				db = b.into()
			}
			g.far.BetweenGrad(l, da, db, n.grad, a.val, b.val)
		}
		return n
	}
	N := len(a.Value)
	n.forward = func() {
		var s float64
		bv := b.Value[:N]
		for i, v := range a.Value {
			s += float64(f(v - bv[i]))
		}
		n.Value[0] = float32(s / float64(N))
	}
	n.backward = func() {
		c := n.Grad[0] / float32(N)
		var ga, gb []float32
		if a.needs {
			ga = a.acc()
		}
		if b.needs {
			gb = b.acc()
		}
		for i, v := range a.Value {
			d := c * df(v-b.Value[i])
			if ga != nil {
				ga[i] += d
			}
			if gb != nil {
				gb[i] -= d
			}
		}
	}
	return n
}
