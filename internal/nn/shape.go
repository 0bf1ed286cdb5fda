package nn

import "slices"

// Reshape gives x another shape with as many elements. It costs nothing.
func (g *Graph) Reshape(x *Node, shape ...int) *Node { return g.view(x, shape) }

// Concat joins arrays along the last axis; the other axes agree.
func (g *Graph) Concat(xs ...*Node) *Node {
	if len(xs) == 0 {
		panic("nn: Concat: nothing to join")
	}
	r := len(xs[0].Shape)
	if r == 0 {
		panic("nn: Concat: scalar")
	}
	total := 0
	for _, x := range xs {
		if len(x.Shape) != r || !slices.Equal(x.Shape[:r-1], xs[0].Shape[:r-1]) {
			panic("nn: Concat: leading axes differ")
		}
		total += x.Shape[r-1]
	}
	shape := append(slices.Clone(xs[0].Shape[:r-1]), total)
	n := g.op(shape, xs...)
	rows := len(n.Value) / total
	ins := n.inputs
	if g.far != nil {
		n.forward = func() {
			at := 0
			for _, x := range ins {
				D := x.Shape[r-1]
				g.far.Strided(false, rows, D, n.val[at:], total, x.val, D)
				at += D
			}
		}
		n.backward = func() {
			at := 0
			for _, x := range ins {
				D := x.Shape[r-1]
				if x.needs {
					g.far.Strided(!x.first(), rows, D, x.grad, D, n.grad[at:], total)
				}
				at += D
			}
		}
		return n
	}
	n.forward = func() {
		at := 0
		for _, x := range ins {
			D := x.Shape[r-1]
			for i := range rows {
				copy(n.Value[i*total+at:i*total+at+D], x.Value[i*D:(i+1)*D])
			}
			at += D
		}
	}
	n.backward = func() {
		at := 0
		for _, x := range ins {
			D := x.Shape[r-1]
			if x.needs {
				first := x.first()
				for i := range rows {
					g.put(first, x.Grad[i*D:(i+1)*D], n.Grad[i*total+at:i*total+at+D])
				}
			}
			at += D
		}
	}
	return n
}

// Slice takes elements lo up to hi of the last axis.
func (g *Graph) Slice(x *Node, lo, hi int) *Node {
	r := len(x.Shape)
	if r == 0 || lo < 0 || hi > x.Shape[r-1] || lo >= hi {
		panic("nn: Slice: bounds outside the last axis")
	}
	D, W := x.Shape[r-1], hi-lo
	n := g.op(append(slices.Clone(x.Shape[:r-1]), W), x)
	rows := len(x.Value) / D
	if g.far != nil {
		n.forward = func() { g.far.Strided(false, rows, W, n.val, W, x.val[lo:], D) }
		n.backward = func() { g.far.Strided(true, rows, W, x.into()[lo:], D, n.grad, W) }
		return n
	}
	n.forward = func() {
		for i := range rows {
			copy(n.Value[i*W:(i+1)*W], x.Value[i*D+lo:i*D+hi])
		}
	}
	n.backward = func() {
		d := x.acc()
		for i := range rows {
			g.dev.Add(d[i*D+lo:i*D+hi], n.Grad[i*W:(i+1)*W])
		}
	}
	return n
}

// Select takes rows idx of the first axis: members of an ensemble, entries of a
// batch. idx is kept and read at every Forward, so the caller may change its
// elements between passes; an index may occur several times.
func (g *Graph) Select(x *Node, idx []int) *Node {
	if len(x.Shape) == 0 || len(idx) == 0 {
		panic("nn: Select: nothing to select from or nothing selected")
	}
	n := g.op(append([]int{len(idx)}, x.Shape[1:]...), x)
	D := len(x.Value) / x.Shape[0]
	n.moving = true // with idx
	n.forward = func() {
		for i, k := range idx {
			if k < 0 || k >= x.Shape[0] {
				panic("nn: Select: index outside the first axis")
			}
			g.copy(n.val[i*D:(i+1)*D], x.val[k*D:(k+1)*D])
		}
	}
	n.backward = func() {
		d := x.into()
		for i, k := range idx {
			g.dev.Add(d[k*D:(k+1)*D], n.grad[i*D:(i+1)*D])
		}
	}
	return n
}

// Transpose swaps the last two axes of x.
func (g *Graph) Transpose(x *Node) *Node {
	r := len(x.Shape)
	if r < 2 {
		panic("nn: Transpose: fewer than two axes")
	}
	h, w := x.Shape[r-2], x.Shape[r-1]
	shape := slices.Clone(x.Shape)
	shape[r-2], shape[r-1] = w, h
	if g.far != nil {
		order := make([]int, r)
		for i := range order {
			order[i] = i
		}
		order[r-2], order[r-1] = r-1, r-2
		return g.Permute(x, order...)
	}
	n := g.op(shape, x)
	n.forward = func() {
		for o := 0; o < len(x.Value); o += h * w {
			for i := range h {
				for j := range w {
					n.Value[o+j*h+i] = x.Value[o+i*w+j]
				}
			}
		}
	}
	n.backward = func() {
		d := x.acc()
		for o := 0; o < len(x.Value); o += h * w {
			for i := range h {
				for j := range w {
					d[o+i*w+j] += n.Grad[o+j*h+i]
				}
			}
		}
	}
	return n
}
