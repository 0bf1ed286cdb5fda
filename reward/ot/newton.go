package ot

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// iterate sweeps until the columns are within tol of their marginals. Where the
// sweeps still needed would cost more, it factors the dual's Hessian and steps
// with that factor for as long as it serves, across calls too.
func (s *Solver) iterate(p *Plan, tol float64, limit int) error {
	k, t := &s.k, &s.newton
	last, rest, pause := math.Inf(1), 0, newtonPause
	for {
		e := k.residual()
		if e <= tol {
			return nil
		}
		if p.Iterations >= limit {
			return &ConvergenceError{Iterations: p.Iterations, Residual: e, Tolerance: tol}
		}
		if t.ready {
			// A third is what three sweeps' worth of work should earn.
			t.ready = t.step(k, e/3, 1)
			if t.ready {
				p.Newton++
				last = math.Inf(1)
				k.settle()
				continue
			}
		}
		if !s.Plain && rest <= 0 && t.pays(k, e, e/last, tol) {
			t.factor(k)
			p.Newton++
			if t.step(k, e, 6) {
				t.ready = true
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
	h     schur
	ready bool // h is of this problem, if of an earlier iterate
	p     []float64
	c     []float64
	dy    []float64
	u     []float64 // before the step, as v and s
	v, s  []float64
}

// pays compares the sweeps left at the present rate with the cost of a factor
// and the steps with it. A sweep takes 2nm multiplications, the matrix nm²/2
// and its factor m³/6.
func (t *newton) pays(k *kernel, e, rate, tol float64) bool {
	if !(rate < 1) || rate == 0 {
		// No rate yet, or no progress: only the latter calls for a step.
		return rate >= 1 && !math.IsInf(rate, 1)
	}
	left := math.Log(tol/e) / math.Log(rate)
	n, m := float64(k.n), float64(k.m)
	return left > 1.5*(m/4+m*m/(12*n))+newtonPause
}

// factor takes the Hessian at k.
func (t *newton) factor(k *kernel) {
	n, m := k.n, k.m
	t.p, t.c = resize(t.p, n*m), resize(t.c, m)
	for i := range n {
		row := t.p[i*m : (i+1)*m]
		floats.MulTo(row, k.k[i*m:(i+1)*m], k.v)
		floats.Scale(k.u[i], row)
	}
	floats.MulTo(t.c, k.s, k.v)
	t.h.factor(t.p, k.a, t.c)
}

// step moves along the Newton direction, halving up to tries times until the
// error falls below e in proportion, and puts the state back where it does not.
func (t *newton) step(k *kernel, e float64, tries int) bool {
	n, m := k.n, k.m
	t.u, t.dy, t.v, t.s = resize(t.u, n), resize(t.dy, m), resize(t.v, m), resize(t.s, m)
	// Rows are met, so the right-hand side is the columns' error alone.
	for j, s := range k.s {
		t.dy[j] = k.b[j] - s*k.v[j]
	}
	t.h.solve(t.dy)
	copy(t.u, k.u)
	copy(t.v, k.v)
	copy(t.s, k.s)
	// Blocks of the plan may shift far as one; 100 only keeps exp in range.
	size := min(1, 100/floats.Norm(t.dy, math.Inf(1)))
	for range tries {
		for j, d := range t.dy {
			k.v[j] = t.v[j] * math.Exp(size*d)
		}
		k.rows() // meets the rows exactly, which the step does to first order
		// To first order the error falls to 1-size of itself.
		if k.residual() < (1-0.3*size)*e {
			return true
		}
		size /= 2
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
