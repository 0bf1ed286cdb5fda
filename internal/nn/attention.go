package nn

import "math"

// masked is a score whose softmax is zero beside any other.
const masked = -1e30

// Attention looks from q (B,T,D) at k and v (B,S,D): in each of the heads, which
// are runs of D/heads channels, softmax(q kᵀ/sqrt(D/heads)) v, side by side as
// (B,T,D) (Vaswani et al. 2017, arXiv:1706.03762, equation 1 and section 3.2.2,
// without the projections, which are Linears). Causal attention, for T = S, lets
// t look at no s beyond t.
func (g *Graph) Attention(q, k, v *Node, heads int, causal bool) *Node {
	if len(q.Shape) != 3 || len(k.Shape) != 3 || len(v.Shape) != 3 {
		panic("nn: Attention: operands need three axes")
	}
	B, T, D, S := q.Shape[0], q.Shape[1], q.Shape[2], k.Shape[1]
	if k.Shape[0] != B || k.Shape[2] != D || v.Shape[0] != B || v.Shape[1] != S || v.Shape[2] != D {
		panic("nn: Attention: queries, keys and values do not fit")
	}
	if heads < 1 || D%heads != 0 {
		panic("nn: Attention: channels are not divisible into heads")
	}
	if causal && T != S {
		panic("nn: Attention: causal attention wants as many keys as queries")
	}
	d := D / heads
	c := float32(1 / math.Sqrt(float64(d)))
	n := g.op(q.Shape, q, k, v)
	prob := g.alloc(B * heads * T * S)
	g.reserve(T * S)
	each := func(f func(prob []float32, qo, ko int)) { // offsets of a head in q and in k
		i := 0
		for b := range B {
			for h := range heads {
				f(prob[i:i+T*S], b*T*D+h*d, b*S*D+h*d)
				i += T * S
			}
		}
	}
	ahead := func(p []float32, qo, ko int) {
		g.dev.Gemm(false, true, T, S, d, q.val[qo:], D, k.val[ko:], D, 0, p, S)
		if causal && g.far != nil {
			g.far.Causal(S, p)
		} else if causal {
			for t := range T {
				for s := t + 1; s < S; s++ {
					p[t*S+s] = masked
				}
			}
		}
		g.dev.Softmax(S, c, p, p)
		g.dev.Gemm(false, false, T, d, S, p, S, v.val[ko:], D, 0, n.val[qo:], D)
	}
	back := func(p []float32, qo, ko int) {
		if v.needs {
			g.dev.Gemm(true, false, S, d, T, p, S, n.grad[qo:], D, 1, v.grad[ko:], D)
		}
		if !q.needs && !k.needs {
			return
		}
		dp := g.scratch(T * S)
		g.dev.Gemm(false, true, T, S, d, n.grad[qo:], D, v.val[ko:], D, 0, dp, S)
		g.dev.SoftmaxGrad(S, c, false, dp, dp, p)
		if q.needs {
			g.dev.Gemm(false, false, T, d, S, dp, S, k.val[ko:], D, 1, q.grad[qo:], D)
		}
		if k.needs {
			g.dev.Gemm(true, false, S, d, T, dp, S, q.val[qo:], D, 1, k.grad[ko:], D)
		}
	}
	n.forward = func() { each(ahead) }
	n.backward = func() {
		for _, x := range n.inputs {
			if x.needs {
				x.into()
			}
		}
		each(back)
	}
	return n
}

// Sinusoid writes the embedding of a number, such as a time or a place in a
// sequence: sines, then cosines, of t at len(dst)/2 frequencies that fall
// geometrically from 1 to 1/10000 (after Vaswani et al. 2017, section 3.5; as Ho
// et al. 2020, arXiv:2006.11239, give a diffusion step to the network).
func Sinusoid(dst []float32, t float64) {
	n := len(dst) / 2
	if n < 2 || len(dst)%2 != 0 {
		panic("nn: Sinusoid: length is not an even number from four on")
	}
	for i := range n {
		sin, cos := math.Sincos(t * math.Exp(-math.Log(10000)*float64(i)/float64(n-1)))
		dst[i], dst[n+i] = float32(sin), float32(cos)
	}
}
