package ot

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// iterate sweeps until the columns are within tol of their marginals, and takes
// a Newton step where the sweeps still needed would cost more.
func (s *Solver) iterate(p *Plan, tol float64, limit int) error {
	k := &s.k
	last, rest, pause := math.Inf(1), 0, newtonPause
	for {
		e := k.residual()
		if e <= tol {
			return nil
		}
		if p.Iterations >= limit {
			return &ConvergenceError{Iterations: p.Iterations, Residual: e, Tolerance: tol}
		}
		if !s.Plain && rest <= 0 && s.newton.pays(k, e, e/last, tol) {
			p.Newton++
			if s.newton.step(k, e) {
				last = math.Inf(1)
				k.settle()
				continue
			}
			// Too far from the solution for the quadratic model.
			pause *= 2
			rest = pause
		}
		last, rest = e, rest-1
		k.columns()
		k.rows()
		k.settle()
		p.Iterations++
	}
}

// newtonPause is how many sweeps tell the rate of convergence.
const newtonPause = 4

// newton takes second-order steps on the dual.
type newton struct {
	h      schur
	dx, dy []float64
	u, v   []float64 // before the step
	s      []float64
	p      []float64
	r, c   []float64
}

// pays compares the sweeps left at the present rate with a step's cost. A sweep
// takes 2nm multiplications, a step nm²/2 for the matrix and m³/6 for its
// factor; three steps are reckoned with.
func (t *newton) pays(k *kernel, e, rate, tol float64) bool {
	if !(rate < 1) || rate == 0 {
		// No rate yet, or no progress: only the latter calls for a step.
		return rate >= 1 && !math.IsInf(rate, 1)
	}
	left := math.Log(tol/e) / math.Log(rate)
	n, m := float64(k.n), float64(k.m)
	return left > 3*(m/4+m*m/(12*n))+newtonPause
}

// step moves along the Newton direction, halving until the error falls, and
// puts the state back where it does not.
func (t *newton) step(k *kernel, e float64) bool {
	n, m := k.n, k.m
	t.p = resize(t.p, n*m)
	t.dx, t.u, t.r = resize(t.dx, n), resize(t.u, n), resize(t.r, n)
	t.dy, t.v, t.s, t.c = resize(t.dy, m), resize(t.v, m), resize(t.s, m), resize(t.c, m)
	for i := range n {
		row := t.p[i*m : (i+1)*m]
		floats.MulTo(row, k.k[i*m:(i+1)*m], k.v)
		floats.Scale(k.u[i], row)
	}
	floats.MulTo(t.c, k.s, k.v)
	// Rows are met, so the right-hand side is the columns' error alone.
	floats.SubTo(t.dy, k.b, t.c)
	t.h.factor(t.p, k.a, t.c)
	t.h.solve(t.dy)
	copy(t.u, k.u)
	copy(t.v, k.v)
	copy(t.s, k.s)
	// Blocks of the plan may shift far as one; 100 only keeps exp in range.
	step := min(1, 100/floats.Norm(t.dy, math.Inf(1)))
	for range 6 {
		for j, d := range t.dy {
			k.v[j] = t.v[j] * math.Exp(step*d)
		}
		k.rows() // meets the rows exactly, which the step does to first order
		// To first order the error falls to 1-step of itself.
		if k.residual() < (1-0.3*step)*e {
			return true
		}
		step /= 2
	}
	copy(k.u, t.u)
	copy(k.v, t.v)
	copy(k.s, t.s)
	return false
}

// schur factors H = diag(c) − Pᵀ diag(1/r) P, where r and c are the sums of P:
// what is left of the dual's Hessian when the rows are eliminated. H is
// positive semi-definite with null vector 1, so the last unknown is fixed at 0.
type schur struct {
	m int
	l []float64 // (m,m) lower
}

func (h *schur) factor(p, r, c []float64) {
	m := len(c)
	h.m, h.l = m, resize(h.l, m*m)
	fill(h.l, 0)
	for i := range r {
		row := p[i*m : (i+1)*m]
		inv := 1 / r[i]
		// Below rounding of the diagonal: most of a plan with small ε.
		cut := 1e-20 * r[i]
		for j, x := range row {
			if x > cut {
				floats.AddScaled(h.l[j*m:j*m+j+1], -x*inv, row[:j+1])
			}
		}
	}
	for j := range m {
		h.l[j*m+j] += c[j]
	}
	for i := range m - 1 {
		li := h.l[i*m : i*m+i+1]
		for j := range i {
			li[j] = (li[j] - floats.Dot(li[:j], h.l[j*m:j*m+j])) * h.l[j*m+j]
		}
		d := li[i] - floats.Dot(li[:i], li[:i])
		// A block of the plan that touches no other has a null vector of its
		// own; its last unknown is fixed too. The diagonal holds inverses.
		if d > 1e-14*c[i] {
			li[i] = 1 / math.Sqrt(d)
		} else {
			li[i] = 0
		}
	}
}

// solve replaces b (m,), which must sum to zero, by H⁻¹b.
func (h *schur) solve(b []float64) {
	m := h.m
	for i := range m - 1 {
		b[i] = (b[i] - floats.Dot(b[:i], h.l[i*m:i*m+i])) * h.l[i*m+i]
	}
	b[m-1] = 0
	for i := m - 2; i >= 0; i-- {
		b[i] *= h.l[i*m+i]
		floats.AddScaled(b[:i], -b[i], h.l[i*m:i*m+i])
	}
}
