package gail

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
)

// Net is the discriminator: a perceptron of hyperbolic tangents, which have the
// second derivative that a penalty on the gradient needs.
type Net struct {
	Sizes []int       `json:"sizes"` // In, hidden layers, 1
	W     [][]float64 `json:"w"`     // a layer: (out,in), row-major
	B     [][]float64 `json:"b"`     // a layer: (out,)
}

func newNet(in int, hidden []int, rng *rand.Rand) *Net {
	n := &Net{Sizes: append(append([]int{in}, hidden...), 1)}
	for l := range len(n.Sizes) - 1 {
		w := make([]float64, n.Sizes[l+1]*n.Sizes[l])
		r := math.Sqrt(6 / float64(n.Sizes[l]+n.Sizes[l+1])) // Glorot and Bengio 2010, equation 16
		for i := range w {
			w[i] = r * (2*rng.Float64() - 1)
		}
		n.W, n.B = append(n.W, w), append(n.B, make([]float64, n.Sizes[l+1]))
	}
	return n
}

// Validate reports wrong shapes and numbers that are not finite.
func (n *Net) Validate() error {
	L := len(n.Sizes) - 1
	if L < 1 || n.Sizes[L] != 1 || len(n.W) != L || len(n.B) != L {
		return fmt.Errorf("gail: layers of sizes %v with %d weights and %d biases", n.Sizes, len(n.W), len(n.B))
	}
	for l := range L {
		if n.Sizes[l] < 1 || len(n.W[l]) != n.Sizes[l]*n.Sizes[l+1] || len(n.B[l]) != n.Sizes[l+1] {
			return fmt.Errorf("gail: layer %d from %d to %d has %d weights and %d biases", l, n.Sizes[l], n.Sizes[l+1], len(n.W[l]), len(n.B[l]))
		}
		for _, x := range [2][]float64{n.W[l], n.B[l]} {
			for _, v := range x {
				if v-v != 0 {
					return fmt.Errorf("gail: layer %d has a weight of %v", l, v)
				}
			}
		}
	}
	return nil
}

// pass is a batch on its way through a Net, and back.
type pass struct {
	n int // samples
	// Of each layer l, the input first, (n,size):
	h     [][]float64 // what it gives; the last is y
	pre   [][]float64 // u_l, the derivative of y by h_l
	back  [][]float64 // δ_l, that by h_l before its tanh
	adj   [][]float64 // the derivative of the loss by h_l before its tanh
	adjBy [][]float64 // that of the penalty by u_l, and scratch

	norms  []float64 // (n,) of the gradient by the input
	y      []float64 // (n,)
	inGrad []float64 // (n,in) derivative of y by the input
}

func newPass(n int, sizes []int) *pass {
	p := &pass{n: n, norms: make([]float64, n)}
	make2 := func() (out [][]float64) {
		for _, s := range sizes {
			out = append(out, make([]float64, n*s))
		}
		return out
	}
	p.h, p.back, p.pre, p.adj, p.adjBy = make2(), make2(), make2(), make2(), make2()
	p.y, p.inGrad = p.h[len(sizes)-1], p.pre[0]
	return p
}

func general(x []float64, rows, cols int) blas64.General {
	return blas64.General{Rows: rows, Cols: cols, Stride: cols, Data: x[:rows*cols]}
}

// forward takes p.h[0] to p.y.
//
//go:norace
func (n *Net) forward(p *pass) {
	for l := range n.W {
		in, out := n.Sizes[l], n.Sizes[l+1]
		blas64.Gemm(blas.NoTrans, blas.Trans, 1, general(p.h[l], p.n, in), general(n.W[l], out, in), 0, general(p.h[l+1], p.n, out))
		for i := range p.n {
			row := p.h[l+1][i*out : (i+1)*out]
			for j := range row {
				if row[j] += n.B[l][j]; l+1 < len(n.W) {
					row[j] = math.Tanh(row[j])
				}
			}
		}
	}
}

// grad is the derivative of y by the input, after forward: with δ_L = 1,
//
//	u_l = δ_{l+1} W_l,   δ_l = u_l ⊙ (1 − h_l²)
//
// u in p.pre, δ in p.back; u_0 is the gradient, of norm p.norms.
//
//go:norace
func (n *Net) grad(p *pass) {
	L := len(n.W)
	for i := range p.back[L] {
		p.back[L][i] = 1
	}
	for l := L - 1; l >= 0; l-- {
		in, out := n.Sizes[l], n.Sizes[l+1]
		blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, general(p.back[l+1], p.n, out), general(n.W[l], out, in), 0, general(p.pre[l], p.n, in))
		if l > 0 {
			for i, u := range p.pre[l] {
				p.back[l][i] = u * (1 - p.h[l][i]*p.h[l][i])
			}
		}
	}
	in := n.Sizes[0]
	for i := range p.norms {
		p.norms[i] = floats.Norm(p.inGrad[i*in:(i+1)*in], 2)
	}
}

// slopes are gradients by a Net's weights and biases.
type slopes struct{ w, b [][]float64 }

func newSlopes(n *Net) *slopes {
	s := &slopes{}
	for l := range n.W {
		s.w, s.b = append(s.w, make([]float64, len(n.W[l]))), append(s.b, make([]float64, len(n.B[l])))
	}
	return s
}

func (s *slopes) clear() {
	for l := range s.w {
		clear(s.w[l])
		clear(s.b[l])
	}
}

// backward adds the gradient of Σ_i dy_i y_i, after forward, and that of what
// p.adj holds already by the layers before their tanh (extra).
//
//go:norace
func (n *Net) backward(p *pass, s *slopes, dy []float64, extra bool) {
	L := len(n.W)
	if !extra {
		for l := range p.adj {
			clear(p.adj[l])
		}
	}
	floats.Add(p.adj[L], dy)
	for l := L - 1; l >= 0; l-- {
		in, out := n.Sizes[l], n.Sizes[l+1]
		a := general(p.adj[l+1], p.n, out)
		blas64.Gemm(blas.Trans, blas.NoTrans, 1, a, general(p.h[l], p.n, in), 1, general(s.w[l], out, in))
		for i := range p.n {
			floats.Add(s.b[l], p.adj[l+1][i*out:(i+1)*out])
		}
		if l == 0 {
			return
		}
		// adjBy is scratch here: the derivative by h_l.
		blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, a, general(n.W[l], out, in), 0, general(p.adjBy[l], p.n, in))
		for i, d := range p.adjBy[l] {
			p.adj[l][i] += d * (1 - p.h[l][i]*p.h[l][i])
		}
	}
}

// penalty is λ mean_i max(0, ‖∇y_i‖ − k)², after grad, with its gradient added: the
// chain of grad is run backwards, from Γ_i = ∂P/∂u_0,
//
//	∂W_l += δ_{l+1}ᵀ ∂u_l,   ∂δ_{l+1} = ∂u_l W_lᵀ,
//	∂u_l = ∂δ_l ⊙ φ'(a_l),   ∂a_l = ∂δ_l ⊙ u_l ⊙ φ''(a_l),
//
// with φ” = −2 h (1 − h²), and then the ∂a_l go down as a loss would.
//
//go:norace
func (n *Net) penalty(p *pass, s *slopes, lambda, k float64, zero []float64) float64 {
	in := n.Sizes[0]
	total := 0.0
	for i, norm := range p.norms {
		over := max(0, norm-k)
		total += over * over
		g := p.adjBy[0][i*in : (i+1)*in]
		c := 0.0
		if over > 0 {
			c = 2 * lambda / float64(p.n) * over / norm
		}
		for j, u := range p.inGrad[i*in : (i+1)*in] {
			g[j] = c * u
		}
	}
	for l := range p.adj {
		clear(p.adj[l])
	}
	L := len(n.W)
	for l := range L {
		a, out := n.Sizes[l], n.Sizes[l+1]
		du := general(p.adjBy[l], p.n, a)
		blas64.Gemm(blas.Trans, blas.NoTrans, 1, general(p.back[l+1], p.n, out), du, 1, general(s.w[l], out, a))
		if l+1 == L {
			break // δ_L is 1
		}
		blas64.Gemm(blas.NoTrans, blas.Trans, 1, du, general(n.W[l], out, a), 0, general(p.adjBy[l+1], p.n, out))
		for i, d := range p.adjBy[l+1] {
			h := p.h[l+1][i]
			f := 1 - h*h
			p.adj[l+1][i] = -2 * d * p.pre[l+1][i] * h * f
			p.adjBy[l+1][i] = d * f
		}
	}
	n.backward(p, s, zero, true)
	return lambda * total / float64(p.n)
}
