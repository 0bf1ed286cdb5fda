// Package ot solves entropic optimal transport between two short sequences,
// such as the embedded frames of two videos, and differentiates it.
//
// The problem is, for a cost C (n,m), weights a (n,) and b (m,) of equal mass
// and ε > 0 (ε = 1/γ in the RAPL papers),
//
//	P = argmin ⟨P,C⟩ + ε Σ P (log P − 1)   subject to   P1 = a, Pᵀ1 = b
//
// whose solution is P = exp((f⊕g − C)/ε). The solver is Sinkhorn's with the
// absorption of Schmitzer (Stabilized sparse scaling algorithms, SISC 2019,
// algorithm 2): it works on the kernel, where a sweep is one dot and one axpy a
// row, and goes back to logarithms only when the scalings leave a safe range,
// so that small ε costs no stability. Where the sweeps converge slowly it takes
// Newton steps on the dual (Brauer, Clason, Lorenz, Wirth, A Sinkhorn-Newton
// method for entropic optimal transport, 2017). The fixed point is the same.
//
//	s := ot.Solver{Epsilon: 0.02}
//	var p ot.Plan
//	c := make([]float64, n*m)
//	ot.Matrix(ot.Cosine, c, x, y, d) // x (n,d), y (m,d)
//	if err := s.Solve(&p, c, n, m); err != nil { ... }
//	// p.P (n,m) is the coupling, p.Cost is ⟨P,C⟩
package ot

import (
	"errors"
	"fmt"
	"math"
)

// Defaults of a Solver, as in RAPL's published trainer: tolerance 1e-6 and at
// most 1000 iterations.
const (
	DefaultTolerance = 1e-6
	DefaultMaxIter   = 1000
)

// Solver solves transport problems one after the other. It keeps its buffers,
// so that solving allocates nothing once the shapes have been seen. The
// exported fields may be changed between calls. One goroutine uses it.
type Solver struct {
	// Epsilon is the weight of the entropy, in units of the cost; it must be
	// positive.
	Epsilon float64
	// Tolerance bounds the L1 error of the column marginals relative to the
	// transported mass; rows are met to rounding. Zero means DefaultTolerance;
	// below 1e-13 rounding keeps it from being met.
	Tolerance float64
	// MaxIter bounds the sweeps. Zero means DefaultMaxIter.
	MaxIter int
	// Scaling, in (0,1), solves with ε falling by this factor from the range of
	// the cost down to Epsilon, each stage starting from the last. Zero starts
	// at Epsilon. It helps where Epsilon is below about 1e-3 of the range.
	Scaling float64
	// Plain takes Sinkhorn sweeps only, as in the papers, and no Newton steps.
	Plain bool

	k      kernel
	uni    [2][]float64 // uniform weights
	newton newton
	grad   gradient
}

// Plan is the solution of a transport problem. Its slices are reused by the
// next Solve into the same Plan.
type Plan struct {
	N, M int
	// P (N,M) is the coupling, row-major.
	P []float64
	// F (N,) and G (M,) are the potentials in units of the cost:
	// P[i,j] = exp((F[i]+G[j]-C[i,j])/ε).
	F, G []float64
	// Cost is ⟨P,C⟩, without the entropy.
	Cost float64
	// Epsilon is the ε of the solution.
	Epsilon float64
	// Iterations counts Sinkhorn sweeps, Newton steps of the second order.
	Iterations, Newton int
	// Residual is the L1 error of the column marginals over the mass.
	Residual float64
}

// Match returns the column that gets most of row i: the frame of the other
// video that frame i is matched to. The first wins a tie.
func (p *Plan) Match(i int) int {
	row := p.P[i*p.M : (i+1)*p.M]
	best := 0
	for j, x := range row {
		if x > row[best] {
			best = j
		}
	}
	return best
}

// ConvergenceError says that the iterations ended before the tolerance was
// met. The Plan holds the last iterate.
type ConvergenceError struct {
	Iterations          int
	Residual, Tolerance float64
}

// ErrEpsilon is what errors are (errors.Is) that a larger epsilon helps against.
var ErrEpsilon = errors.New("raise epsilon")

// Is says that it is ErrEpsilon.
func (e *ConvergenceError) Is(target error) bool { return target == ErrEpsilon }

func (e *ConvergenceError) Error() string {
	return fmt.Sprintf("ot: marginal error %.2g after %d iterations, want %.2g: raise epsilon, the iterations or the tolerance",
		e.Residual, e.Iterations, e.Tolerance)
}

const badShape = "ot: shapes do not match"

// Solve solves for uniform weights 1/n and 1/m. c (n,m) is read only. It panics
// if c has another size, and fails on a cost that is not finite and with a
// *ConvergenceError.
func (s *Solver) Solve(p *Plan, c []float64, n, m int) error {
	if n <= 0 || m <= 0 {
		panic(badShape)
	}
	for i, l := range [2]int{n, m} {
		if len(s.uni[i]) != l {
			s.uni[i] = resize(s.uni[i], l)
			fill(s.uni[i], 1/float64(l))
		}
	}
	return s.SolveWeighted(p, c, s.uni[0], s.uni[1])
}

// SolveWeighted is Solve for weights a (n,) and b (m,), which must be positive
// and of equal mass.
func (s *Solver) SolveWeighted(p *Plan, c, a, b []float64) error {
	n, m := len(a), len(b)
	if n == 0 || m == 0 || len(c) != n*m {
		panic(badShape)
	}
	if err := s.check(); err != nil {
		return err
	}
	mass, err := weights(a, b)
	if err != nil {
		return err
	}
	lo, hi, err := span(c, m)
	if err != nil {
		return err
	}
	// Costs in units of ε are added to potentials as large; where a rounding of
	// these is about 1, no plan can be told.
	if width := (hi - lo) / s.Epsilon; width > 1e15 {
		return fmt.Errorf("ot: costs span %.3g times epsilon, more than float64 resolves: %w", width, ErrEpsilon)
	}
	// The plan's place holds the kernel until the end: one matrix less to move.
	p.P = resize(p.P, n*m)
	s.k.reset(c, a, b, p.P, mass)
	s.newton.ready, s.newton.hard = false, false
	p.Iterations, p.Newton = 0, 0
	err = s.anneal(p, hi-lo)
	s.k.plan(p)
	s.k.k = nil
	return err
}

// Batch solves len(plans) problems of one shape: c (B,n,m), uniform weights. It
// goes on after a failure and returns the first, naming its index.
func (s *Solver) Batch(plans []Plan, c []float64, n, m int) error {
	if len(c) != len(plans)*n*m {
		panic(badShape)
	}
	var first error
	for i := range plans {
		if err := s.Solve(&plans[i], c[i*n*m:(i+1)*n*m], n, m); err != nil && first == nil {
			first = fmt.Errorf("ot: problem %d of %d: %w", i, len(plans), err)
		}
	}
	return first
}

func (s *Solver) check() error {
	switch {
	case !(s.Epsilon > 0) || math.IsInf(s.Epsilon, 1):
		return fmt.Errorf("ot: epsilon is %v, want positive and finite", s.Epsilon)
	case !(s.Tolerance >= 0):
		return fmt.Errorf("ot: tolerance is %v, want none or positive", s.Tolerance)
	case s.MaxIter < 0:
		return fmt.Errorf("ot: at most %d iterations, want none or positive", s.MaxIter)
	}
	return nil
}

func (s *Solver) tolerance() float64 {
	if s.Tolerance == 0 {
		return DefaultTolerance
	}
	return s.Tolerance
}

func (s *Solver) limit() int {
	if s.MaxIter == 0 {
		return DefaultMaxIter
	}
	return s.MaxIter
}

// anneal runs the stages of ε scaling, or the only one. Where Newton steps from
// far off lead nowhere, which happens where frames fall into groups that hardly
// touch, it begins again with scaling, whatever was asked for.
func (s *Solver) anneal(p *Plan, width float64) error {
	err := s.stages(p, width, s.Scaling)
	if err == nil || s.Scaling != 0 || p.Newton < newtonAtMost {
		return err
	}
	p.Newton = 0
	s.newton.ready, s.newton.hard = false, false
	return s.stages(p, width, rescue)
}

// rescue is the scaling of a second try.
const rescue = 0.5

func (s *Solver) stages(p *Plan, width, scaling float64) error {
	tol, limit := s.tolerance(), s.limit()
	eps := s.Epsilon
	if scaling > 0 && scaling < 1 {
		for e := width; e > s.Epsilon; e *= scaling {
			eps = max(eps, e)
		}
	}
	s.k.cold(eps)
	for eps > s.Epsilon {
		// A stage only has to point the next one the right way.
		_ = s.iterate(p, max(tol, 1e-2), limit)
		eps = max(eps*scaling, s.Epsilon)
		s.k.warm(eps)
		s.newton.ready, s.newton.hard = false, false
	}
	return s.iterate(p, tol, limit)
}

// weights checks a and b and returns their mass.
func weights(a, b []float64) (float64, error) {
	var sum [2]float64
	for k, w := range [2][]float64{a, b} {
		for i, x := range w {
			if !(x > 0) || math.IsInf(x, 1) {
				return 0, fmt.Errorf("ot: weight %d of side %d is %v, want positive and finite", i, k, x)
			}
			sum[k] += x
		}
	}
	// 1e-9 admits weights that were summed in another order, no more.
	if math.Abs(sum[0]-sum[1]) > 1e-9*sum[0] {
		return 0, fmt.Errorf("ot: weights of mass %v and %v, want equal", sum[0], sum[1])
	}
	return sum[0], nil
}

// span returns the extremes of c, or an error where c is not finite.
func span(c []float64, m int) (lo, hi float64, err error) {
	lo, hi, ok := spanOf(c)
	if ok {
		return lo, hi, nil
	}
	for i, x := range c {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return 0, 0, fmt.Errorf("ot: cost[%d,%d] is %v, want finite", i/m, i%m, x)
		}
	}
	panic("ot: span")
}

func resize(x []float64, n int) []float64 {
	if cap(x) < n {
		return make([]float64, n)
	}
	return x[:n]
}

func fill(x []float64, v float64) {
	for i := range x {
		x[i] = v
	}
}
