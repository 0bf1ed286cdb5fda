package nn

import (
	"math"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// Sum is the sum of all elements, a scalar of shape ().
func (g *Graph) Sum(x *Node) *Node { return g.total(x, 1) }

// Mean is the mean of all elements, a scalar of shape ().
func (g *Graph) Mean(x *Node) *Node { return g.total(x, 1/float64(len(x.Value))) }

func (g *Graph) total(x *Node, c float64) *Node {
	n := g.op(nil, x)
	if g.far != nil {
		n.forward = func() { g.far.Sum(float32(c), n.val, x.val) }
		n.backward = func() { g.far.Spread(len(x.val), float32(c), x.into(), n.grad) }
		return n
	}
	n.forward = func() { n.Value[0] = float32(c * sum(x.Value)) }
	n.backward = func() {
		v := float32(c * float64(n.Grad[0]))
		d := x.acc()
		for i := range d {
			d[i] += v
		}
	}
	return n
}

// SumLast sums over the last axis: (...,D) to (...).
func (g *Graph) SumLast(x *Node) *Node { return g.last(x, 1) }

// MeanLast averages over the last axis: (...,D) to (...).
func (g *Graph) MeanLast(x *Node) *Node {
	if len(x.Shape) == 0 {
		panic("nn: MeanLast: scalar")
	}
	return g.last(x, 1/float64(x.Shape[len(x.Shape)-1]))
}

func (g *Graph) last(x *Node, c float64) *Node {
	r := len(x.Shape)
	if r == 0 {
		panic("nn: SumLast: scalar")
	}
	D := x.Shape[r-1]
	n := g.op(x.Shape[:r-1], x)
	if g.far != nil {
		n.forward = func() { g.far.RowSum(D, float32(c), n.val, x.val) }
		n.backward = func() { g.far.Spread(D, float32(c), x.into(), n.grad) }
		return n
	}
	n.forward = func() {
		for i := range n.Value {
			n.Value[i] = float32(c * sum(x.Value[i*D:(i+1)*D]))
		}
	}
	n.backward = func() {
		d := x.acc()
		for i, v := range n.Grad {
			v *= float32(c)
			row := d[i*D : (i+1)*D]
			for j := range row {
				row[j] += v
			}
		}
	}
	return n
}

// MeanFirst averages over the first axis: (E,...) to (...).
func (g *Graph) MeanFirst(x *Node) *Node {
	if len(x.Shape) == 0 {
		panic("nn: MeanFirst: scalar")
	}
	E := x.Shape[0]
	c := 1 / float32(E)
	n := g.op(x.Shape[1:], x)
	L := len(n.Value)
	n.forward = func() {
		g.clear(n.val)
		for e := range E {
			g.dev.Axpy(c, n.val, x.val[e*L:(e+1)*L])
		}
	}
	n.backward = func() {
		d := x.into()
		for e := range E {
			g.dev.Axpy(c, d[e*L:(e+1)*L], n.grad)
		}
	}
	return n
}

// MinFirst takes the minimum over the first axis: (E,...) to (...), the
// pessimistic value of an ensemble. The gradient goes to the first of the
// smallest.
func (g *Graph) MinFirst(x *Node) *Node {
	if len(x.Shape) == 0 {
		panic("nn: MinFirst: scalar")
	}
	E := x.Shape[0]
	n := g.op(x.Shape[1:], x)
	L := len(n.Value)
	if g.far != nil {
		pick := g.alloc(L)
		n.forward = func() { g.far.MinFirst(E, n.val, pick, x.val) }
		n.backward = func() { g.far.Pick(x.into(), n.grad, pick) }
		return n
	}
	arg := make([]int, L)
	n.forward = func() {
		for i := range L {
			best, at := x.Value[i], i
			for e := 1; e < E; e++ {
				if v := x.Value[e*L+i]; v < best {
					best, at = v, e*L+i
				}
			}
			n.Value[i], arg[i] = best, at
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

// LogSumExp is ln sum e^x over the last axis: (...,D) to (...).
func (g *Graph) LogSumExp(x *Node) *Node {
	r := len(x.Shape)
	if r == 0 {
		panic("nn: LogSumExp: scalar")
	}
	D := x.Shape[r-1]
	n := g.op(x.Shape[:r-1], x)
	prob := make([]float32, len(x.Value))
	near := g.dev // of prob: an accelerator would copy each row there and back
	if g.far != nil {
		near = device.Default()
	}
	n.forward = func() {
		g.dev.Softmax(D, 1, prob, x.Value)
		for i := range n.Value {
			row, at := x.Value[i*D:(i+1)*D], 0
			for j, v := range row {
				if v > row[at] {
					at = j
				}
			}
			n.Value[i] = row[at] - float32(math.Log(float64(prob[i*D+at])))
		}
	}
	n.backward = func() {
		d := x.acc()
		for i, v := range n.Grad {
			near.Axpy(v, d[i*D:(i+1)*D], prob[i*D:(i+1)*D])
		}
	}
	return g.hosted(n)
}

// Softmax is e^x over its sum along the last axis.
func (g *Graph) Softmax(x *Node) *Node {
	r := len(x.Shape)
	if r == 0 {
		panic("nn: Softmax: scalar")
	}
	D := x.Shape[r-1]
	n := g.op(x.Shape, x)
	n.forward = func() { g.dev.Softmax(D, 1, n.val, x.val) }
	n.backward = func() { g.dev.SoftmaxGrad(D, 1, !x.first(), x.grad, n.grad, n.val) }
	return n
}
