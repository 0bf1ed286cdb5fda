package ot_test

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/ot"
)

// The derivative is of the sweeps as they are, whether they are enough or not.
func TestUnrolledGradientAgainstDifferences(t *testing.T) {
	for _, c := range []struct {
		name      string
		n, m      int
		eps       float64
		sweeps, K int
	}{
		{"one sweep", 5, 6, 0.1, 1, 1},
		{"three sweeps", 6, 4, 0.05, 3, 3},
		{"converged", 5, 5, 0.1, 200, 200},
		{"sharp", 4, 5, 0.02, 20, 20},
		{"in logarithms", 4, 5, 0.003, 4, 4},
		{"wide, in logarithms", 3, 7, 0.003, 9, 9},
		{"the default", 4, 5, 0.3, 0, ot.DefaultSweeps},
		{"row", 1, 4, 0.1, 2, 2},
		{"column", 4, 1, 0.1, 2, 2},
	} {
		r := rng(11)
		cost, g := randCost(r, c.n, c.m, 1), randCost(r, c.n, c.m, 1)
		u := ot.Unroll{Epsilon: c.eps, Sweeps: c.sweeps}
		var p ot.Plan
		solve := func() {
			if err := u.Solve(&p, cost, c.n, c.m); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		size := c.n * c.m
		want := [2][]float64{make([]float64, size), make([]float64, size)}
		for i := range size {
			want[0][i] = central(cost, i, 1e-6, func() float64 { solve(); return p.Cost })
			want[1][i] = central(cost, i, 1e-6, func() float64 { solve(); return floats.Dot(p.P, g) })
		}
		solve()
		if p.Iterations != c.K {
			t.Errorf("%s: %d sweeps, want %d", c.name, p.Iterations, c.K)
		}
		got := make([]float64, size)
		u.Gradient(got, &p, cost)
		if e := worst(got, want[0]); e > 1e-6 {
			t.Errorf("%s: gradient off by %.2g", c.name, e)
		}
		u.Pullback(got, &p, g)
		if norm := floats.Norm(want[1], math.Inf(1)); norm < 1e-8 { // the plan is the marginals
			if x := floats.Norm(got, math.Inf(1)); x > 1e-12 {
				t.Errorf("%s: pullback %g, want none", c.name, x)
			}
		} else if e := worst(got, want[1]); e > 1e-6 {
			t.Errorf("%s: pullback off by %.2g", c.name, e)
		}
	}
}

func TestUnrolledGradientTendsToTheImplicitOne(t *testing.T) {
	cost := randCost(rng(3), 7, 6, 1)
	s := ot.Solver{Epsilon: 0.05, Tolerance: 1e-13, MaxIter: 100000}
	var p, q ot.Plan
	if err := s.Solve(&p, cost, 7, 6); err != nil {
		t.Fatal(err)
	}
	exact, got := make([]float64, 42), make([]float64, 42)
	s.Gradient(exact, &p, cost)
	for _, c := range []struct {
		sweeps int
		lo, hi float64
	}{{2, 0.1, 10}, {512, 0, 1e-9}} {
		u := ot.Unroll{Epsilon: 0.05, Sweeps: c.sweeps}
		if err := u.Solve(&q, cost, 7, 6); err != nil {
			t.Fatal(err)
		}
		u.Gradient(got, &q, cost)
		if d := worst(got, exact); d < c.lo || d > c.hi {
			t.Errorf("%d sweeps: off by %g of the implicit gradient, want %g to %g", c.sweeps, d, c.lo, c.hi)
		}
	}
	if d := p.Distance(); d > 1e-12 {
		t.Errorf("marginals off by %g", d)
	}
}

func TestUnrollRefusesWhatNoPlanIsOf(t *testing.T) {
	var p ot.Plan
	if err := (&ot.Unroll{}).Solve(&p, []float64{1}, 1, 1); err == nil {
		t.Error("took no epsilon")
	}
	if err := (&ot.Unroll{Epsilon: 1}).Solve(&p, []float64{math.NaN()}, 1, 1); err == nil {
		t.Error("took NaN")
	}
	defer func() {
		if recover() == nil {
			t.Error("took a cost of another shape")
		}
	}()
	_ = (&ot.Unroll{Epsilon: 1}).Solve(&p, []float64{1}, 1, 2)
}

func TestUnrollAllocatesNothing(t *testing.T) {
	cost := randCost(rng(3), 20, 25, 1)
	u := ot.Unroll{Epsilon: 0.05, Sweeps: 10}
	var p ot.Plan
	got := make([]float64, len(cost))
	step := func() {
		if err := u.Solve(&p, cost, 20, 25); err != nil {
			t.Fatal(err)
		}
		u.Gradient(got, &p, cost)
	}
	step()
	if n := testing.AllocsPerRun(10, step); n > 0 {
		t.Errorf("%g allocations a step", n)
	}
}

// What DefaultSweeps says of itself.
func TestDefaultSweepsOfVideos(t *testing.T) {
	const n, d = 45, 64
	c := make([]float64, n*n)
	for k := range uint64(6) {
		ot.Matrix(ot.Cosine, c, walk(20, n, d), walk(k, n, d), d)
		u := ot.Unroll{Epsilon: 0.02}
		var p ot.Plan
		if err := u.Solve(&p, c, n, n); err != nil {
			t.Fatal(err)
		}
		if e := p.Distance(); e > 0.1 {
			t.Errorf("video %d: marginals off by %.2g of the mass, want a tenth", k, e)
		}
	}
}
