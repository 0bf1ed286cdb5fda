package nn

import (
	"math"
	"slices"
)

// Sum is the sum of all elements, a scalar of shape ().
func (g *Graph) Sum(x *Node) *Node { return g.total(x, 1) }

// Mean is the mean of all elements, a scalar of shape ().
func (g *Graph) Mean(x *Node) *Node { return g.total(x, 1/float64(len(x.Value))) }

func (g *Graph) total(x *Node, c float64) *Node {
	n := g.op(nil, x)
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
		clear(n.Value)
		for e := range E {
			axpy(c, n.Value, x.Value[e*L:(e+1)*L])
		}
	}
	n.backward = func() {
		d := x.acc()
		for e := range E {
			axpy(c, d[e*L:(e+1)*L], n.Grad)
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
	n.forward = func() {
		for i := range n.Value {
			row := x.Value[i*D : (i+1)*D]
			m := slices.Max(row)
			var s float64
			for _, v := range row {
				s += float64(exp32(v - m))
			}
			n.Value[i] = m + float32(math.Log(s))
		}
	}
	n.backward = func() {
		d := x.acc()
		for i, v := range n.Grad {
			l := n.Value[i]
			for j := i * D; j < (i+1)*D; j++ {
				d[j] += v * exp32(x.Value[j]-l)
			}
		}
	}
	return n
}

// Softmax is e^x over its sum along the last axis.
func (g *Graph) Softmax(x *Node) *Node {
	r := len(x.Shape)
	if r == 0 {
		panic("nn: Softmax: scalar")
	}
	D := x.Shape[r-1]
	n := g.op(x.Shape, x)
	n.forward = func() {
		for i := 0; i < len(n.Value); i += D {
			softmax(n.Value[i:i+D], x.Value[i:i+D], 1)
		}
	}
	n.backward = func() {
		d := x.acc()
		for i := 0; i < len(d); i += D {
			y, dy := n.Value[i:i+D], n.Grad[i:i+D]
			var s float32
			for j, v := range y {
				s += v * dy[j]
			}
			for j, v := range y {
				d[i+j] += v * (dy[j] - s)
			}
		}
	}
	return n
}

// softmax writes the softmax of c*x to y.
func softmax(y, x []float32, c float32) {
	m := c * x[0]
	for _, v := range x {
		m = max(m, c*v)
	}
	var s float32
	for j, v := range x {
		e := exp32(c*v - m)
		y[j] = e
		s += e
	}
	s = 1 / s
	for j := range y {
		y[j] *= s
	}
}
