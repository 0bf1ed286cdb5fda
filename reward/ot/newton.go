package ot

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// iterate sweeps until the columns are within tol of their marginals. Where the
// sweeps still needed would cost more, it takes Newton steps on the dual: small
// problems factor the Hessian and step with the factor for as long as it
// serves, across calls too; large ones use conjugate gradients.
func (s *Solver) iterate(p *Plan, tol float64, limit int) error {
	k, t := &s.k, &s.newton
	last, rest, pause, again := math.Inf(1), 0, newtonPause, false
	for {
		e := k.residual()
		if e <= tol {
			return nil
		}
		// Newton steps are bounded too: where the plan hangs by rounding, each may
		// earn next to nothing, for ever.
		if p.Iterations >= limit || p.Newton >= newtonAtMost {
			return &ConvergenceError{Iterations: p.Iterations, Residual: e, Tolerance: tol}
		}
		if t.ready {
			t.gap(k)
			t.h.solve(t.dy)
			// A third is what three sweeps' worth of work should earn.
			t.ready = t.step(k, e/3, 1)
			if t.ready {
				p.Newton++
				last = math.Inf(1)
				k.settle()
				continue
			}
		}
		if !s.Plain && rest <= 0 && (again || t.pays(k, e, e/last, tol)) {
			p.Newton++
			t.gap(k)
			factored := t.hard || k.m <= directUpTo
			if !factored && !t.conjugate(k) {
				t.hard, factored = true, true
				t.gap(k)
			}
			if factored {
				t.factor(k)
				t.h.solve(t.dy)
			}
			if again = t.step(k, e, 6); again {
				t.ready = factored
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

const (
	// newtonPause is how many sweeps tell the rate of convergence.
	newtonPause = 4
	// Newton converges in tens of steps, or not at all.
	newtonAtMost = 200
	// directUpTo columns a factor is cheaper than conjugate gradients: m/3
	// sweeps' worth against about thirty for the few steps it serves.
	directUpTo = 100
	// Conjugate gradients stop at a direction good to a thirtieth, which is
	// what a step far from the solution can use, or give up.
	conjugateTo, conjugateAtMost = 1. / 30, 60
)

// newton takes second-order steps on the dual.
type newton struct {
	h     schur
	ready bool // h is of this problem, if of an earlier iterate
	hard  bool // conjugate gradients gave up on this problem
	p     []float64
	c     []float64
	dy    []float64
	u     []float64 // before the step, as v and s
	v, s  []float64
	res   []float64 // conjugate gradients'
	dir   []float64
	img   []float64
}

// pays compares the sweeps left at the present rate with the cost of the steps.
// A sweep takes 2nm multiplications, the matrix nm²/2 and its factor m³/6.
func (t *newton) pays(k *kernel, e, rate, tol float64) bool {
	if !(rate < 1) || rate == 0 {
		// No rate yet, or no progress: only the latter calls for a step.
		return rate >= 1 && !math.IsInf(rate, 1)
	}
	left := math.Log(tol/e) / math.Log(rate)
	work := conjugateWork
	if n, m := float64(k.n), float64(k.m); k.m <= directUpTo {
		work = 1.5 * (m/4 + m*m/(12*n))
	}
	return left > work+newtonPause
}

// conjugateWork is about what two steps by conjugate gradients take, in sweeps.
const conjugateWork = 25.0

// gap writes the right-hand side: rows are met, so the columns' error alone.
func (t *newton) gap(k *kernel) {
	t.dy = resize(t.dy, k.m)
	for j, s := range k.s {
		t.dy[j] = k.b[j] - s*k.v[j]
	}
}

// conjugate replaces t.dy by H⁻¹ t.dy to a few digits, preconditioned by the
// diagonal, and says whether it got there. An iteration costs what a sweep does
// and there are as many as slow modes: few where the plan is smooth.
func (t *newton) conjugate(k *kernel) bool {
	m := k.m
	t.res, t.dir, t.img, t.s = resize(t.res, m), resize(t.dir, m), resize(t.img, m), resize(t.s, m)
	copy(t.res, t.dy)
	fill(t.dy, 0)
	// c, the diagonal, is s∘v.
	var rho float64
	for j, r := range t.res {
		t.dir[j] = r / (k.s[j] * k.v[j])
		rho += r * t.dir[j]
	}
	goal := rho * conjugateTo * conjugateTo
	for range conjugateAtMost {
		// H d = c∘d − v∘Kᵀ(u²/a ∘ K(v∘d)), where a is the rows' sum.
		floats.MulTo(t.s, k.v, t.dir)
		k.curve(t.img, t.s)
		var curve float64
		for j, d := range t.dir {
			t.img[j] = k.v[j] * (k.s[j]*d - t.img[j])
			curve += d * t.img[j]
		}
		if !(curve > 0) {
			return false
		}
		alpha, next := rho/curve, 0.0
		for j, d := range t.dir {
			t.dy[j] += alpha * d
			t.res[j] -= alpha * t.img[j]
			next += t.res[j] * t.res[j] / (k.s[j] * k.v[j])
		}
		if next <= goal {
			return true
		}
		for j, r := range t.res {
			t.dir[j] = r/(k.s[j]*k.v[j]) + next/rho*t.dir[j]
		}
		rho = next
	}
	return false
}

// factor takes the Hessian at k.
//
//go:norace
func (t *newton) factor(k *kernel) {
	n, m := k.n, k.m
	t.p, t.c = resize(t.p, n*m), resize(t.c, m)
	for i := range n {
		row := t.p[i*m : (i+1)*m]
		floats.MulTo(row, k.k[i*m:(i+1)*m], k.v)
		floats.Scale(k.u[i], row)
	}
	floats.MulTo(t.c, k.s, k.v)
	// The step needs no more than a few digits.
	t.h.factor(t.p, k.a, t.c, 1e-9)
}

// step moves along t.dy, halving up to tries times until the error falls below
// e in proportion, and puts the state back where it does not.
func (t *newton) step(k *kernel, e float64, tries int) bool {
	t.u, t.v, t.s = resize(t.u, k.n), resize(t.v, k.m), resize(t.s, k.m)
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

// Entries of P below cut of their row's sum are left out where they multiply
// the row, which moves H by less than cut of its diagonal.
//
//go:norace
func (h *schur) factor(p, r, c []float64, cut float64) {
	m := len(c)
	h.m, h.l = m, resize(h.l, m*m)
	fill(h.l, 0)
	for i := range r {
		row := p[i*m : (i+1)*m]
		inv := 1 / r[i]
		for j, x := range row {
			if x > cut*r[i] {
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
//
//go:norace
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
