package ot

import "gonum.org/v1/gonum/floats"

type gradient struct {
	h    schur
	r, c []float64
	x, y []float64

	res, dir, img []float64 // conjugate gradients'
}

// Pullback carries a gradient through the plan: for a loss with ∂L/∂P = g
// (n,m), it writes ∂L/∂C (n,m) to dst, which may be g.
//
// Differentiating P = exp((f⊕g−C)/ε) under fixed marginals gives
//
//	∂L/∂C = P ∘ (x⊕y − g/ε),   x, y from   [diag(r) P; Pᵀ diag(c)] [x; y] = [(P∘g)1; (P∘g)ᵀ1]/ε
//
// (Luise, Rudi, Pontil, Ciliberto, Differential properties of Sinkhorn
// approximation, 2018, theorem 2). The rows are eliminated and the columns
// solved by Cholesky, nm²/2 + m³/6 multiplications, or where there are many by
// conjugate gradients, 2nm each; no unrolled iterations. r
// and c are the sums of P itself, so the result is as exact as P.
func (s *Solver) Pullback(dst []float64, p *Plan, g []float64) {
	n, m := p.N, p.M
	if len(dst) != n*m || len(g) != n*m {
		panic(badShape)
	}
	t := &s.grad
	t.r, t.x = resize(t.r, n), resize(t.x, n)
	t.c, t.y = resize(t.c, m), resize(t.y, m)
	fill(t.c, 0)
	fill(t.y, 0)
	inv := 1 / p.Epsilon
	for i := range n {
		row, gi := p.P[i*m:(i+1)*m], g[i*m:(i+1)*m]
		t.r[i] = floats.Sum(row)
		floats.Add(t.c, row)
		t.x[i] = floats.Dot(row, gi) * inv
		for j, v := range row {
			t.y[j] += v * gi[j] * inv
		}
	}
	// y's equation with x = (x₀ − P y)/r put in.
	for i := range n {
		floats.AddScaled(t.y, -t.x[i]/t.r[i], p.P[i*m:(i+1)*m])
	}
	if m <= directUpTo || !t.conjugate(p) {
		t.h.factor(p.P, t.r, t.c, 1e-20) // to rounding
		t.h.solve(t.y)
	}
	for i := range n {
		row, gi, di := p.P[i*m:(i+1)*m], g[i*m:(i+1)*m], dst[i*m:(i+1)*m]
		x := (t.x[i] - floats.Dot(row, t.y)) / t.r[i]
		for j, v := range row {
			di[j] = v * (x + t.y[j] - gi[j]*inv)
		}
	}
}

// Gradient writes the exact derivative of ⟨P(C),C⟩ by C (n,m) to dst. The
// envelope form, which holds P fixed, is p.P itself: exact for the regularised
// value ⟨P,C⟩ + ε Σ P (log P − 1), and for ⟨P,C⟩ in the limit of small ε.
func (s *Solver) Gradient(dst []float64, p *Plan, c []float64) {
	s.Pullback(dst, p, c)
	floats.Add(dst, p.P)
}

// The gradient is wanted to rounding; plans so far from smooth that this takes
// longer than a factor are left to that.
const (
	pullbackTo     = 1e-13
	pullbackAtMost = 300
)

// conjugate replaces t.y by H⁻¹ t.y, preconditioned by the diagonal, and says
// whether it got there; t.y stays if not.
func (t *gradient) conjugate(p *Plan) bool {
	m := p.M
	t.res, t.dir, t.img = resize(t.res, m), resize(t.dir, m), resize(t.img, m)
	s := resize(t.h.l, m) // the solution, in room that is not used meanwhile
	t.h.l = s
	fill(s, 0)
	copy(t.res, t.y)
	var rho float64
	for j, r := range t.res {
		t.dir[j] = r / t.c[j]
		rho += r * t.dir[j]
	}
	goal := rho * pullbackTo * pullbackTo
	for range pullbackAtMost {
		if rho <= goal {
			copy(t.y, s)
			return true
		}
		floats.MulTo(t.img, t.c, t.dir)
		for i, r := range t.r {
			row := p.P[i*m : (i+1)*m]
			floats.AddScaled(t.img, -floats.Dot(row, t.dir)/r, row)
		}
		curve := floats.Dot(t.dir, t.img)
		if !(curve > 0) {
			return false
		}
		alpha, next := rho/curve, 0.0
		for j, d := range t.dir {
			s[j] += alpha * d
			t.res[j] -= alpha * t.img[j]
			next += t.res[j] * t.res[j] / t.c[j]
		}
		for j, r := range t.res {
			t.dir[j] = r/t.c[j] + next/rho*t.dir[j]
		}
		rho = next
	}
	return false
}
