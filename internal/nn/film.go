package nn

import "slices"

// FiLM scales and shifts each channel of x (B,...,C) by what a condition says of
// the whole entry: y = scale∘x + shift for film (B,2C), whose rows hold the C
// scales and then the C shifts (Perez et al. 2018, arXiv:1709.07871, equation 2).
func (g *Graph) FiLM(x, film *Node) *Node {
	C := channels("FiLM", x)
	B := x.Shape[0]
	if !slices.Equal(film.Shape, []int{B, 2 * C}) {
		panic("nn: FiLM: the condition is not a scale and a shift for every channel")
	}
	n := g.op(x.Shape, x, film)
	if g.far != nil {
		n.forward = func() { g.far.FiLM(B, C, n.val, x.val, film.val) }
		n.backward = func() {
			add, dx, df := false, []float32(nil), []float32(nil)
			if x.needs {
				add, dx = !x.first(), x.grad
			}
			if film.needs {
				df = film.into()
			}
			g.far.FiLMGrad(B, C, add, dx, df, n.grad, x.val, film.val)
		}
		return n
	}
	L := len(x.Value) / B
	gain := func(of []float32, b int) []float32 { return of[b*2*C : b*2*C+C] }
	bias := func(of []float32, b int) []float32 { return of[b*2*C+C : (b+1)*2*C] }
	n.forward = func() {
		for b := range B {
			g.dev.Affine(n.Value[b*L:(b+1)*L], x.Value[b*L:(b+1)*L], gain(film.Value, b), bias(film.Value, b))
		}
	}
	n.backward = func() {
		add := false
		if x.needs {
			add = !x.first()
		}
		var df []float32
		if film.needs {
			df = film.acc()
		}
		for b := range B {
			var dx, dgain, dbias []float32
			if x.needs {
				dx = x.Grad[b*L : (b+1)*L]
			}
			if df != nil {
				dgain, dbias = gain(df, b), bias(df, b)
			}
			g.dev.AffineGrad(add, dx, dgain, dbias, n.Grad[b*L:(b+1)*L], x.Value[b*L:(b+1)*L], gain(film.Value, b))
		}
	}
	return n
}
