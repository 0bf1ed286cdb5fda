package nn

import "slices"

// Permute reorders the axes of x: axis i of the result is axis order[i] of x.
func (g *Graph) Permute(x *Node, order ...int) *Node {
	r := len(x.Shape)
	if len(order) != r {
		panic("nn: Permute: not an order of the axes")
	}
	for i, a := range slices.Sorted(slices.Values(order)) {
		if a != i {
			panic("nn: Permute: not an order of the axes")
		}
	}
	shape, step := make([]int, r), make([]int, r) // step: in x, along axis i of the result
	for i, a := range order {
		shape[i], step[i] = x.Shape[a], 1
		for _, d := range x.Shape[a+1:] {
			step[i] *= d
		}
	}
	n := g.op(shape, x)
	if g.far != nil {
		n.forward = func() { g.far.Permute(shape, step, n.val, x.val) }
		n.backward = func() { g.far.PermuteGrad(shape, step, x.into(), n.grad) }
		return n
	}
	// A run of the innermost axes that stay in place moves as one.
	run, inner := 1, r
	for inner > 0 && order[inner-1] == inner-1 {
		inner--
		run *= shape[inner]
	}
	at := make([]int, inner)
	// each calls f for every run, in the order of the result.
	each := func(f func(to, from int)) {
		clear(at)
		from := 0
		for to := 0; to < len(n.Value); to += run {
			f(to, from)
			for i := inner - 1; i >= 0; i-- {
				at[i]++
				from += step[i]
				if at[i] < shape[i] {
					break
				}
				from -= at[i] * step[i]
				at[i] = 0
			}
		}
	}
	ahead := func(to, from int) { copy(n.Value[to:to+run], x.Value[from:from+run]) }
	back := func(to, from int) {
		d := x.Grad[from : from+run]
		for i, v := range n.Grad[to : to+run] {
			d[i] += v
		}
	}
	if run == 1 {
		ahead = func(to, from int) { n.Value[to] = x.Value[from] }
		back = func(to, from int) { x.Grad[from] += n.Grad[to] }
	}
	n.forward = func() { each(ahead) }
	n.backward = func() {
		x.acc()
		each(back)
	}
	return n
}
