package ot_test

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/ot"
)

// central is the central difference of f at x[i].
func central(x []float64, i int, h float64, f func() float64) float64 {
	at := x[i]
	x[i] = at + h
	hi := f()
	x[i] = at - h
	lo := f()
	x[i] = at
	return (hi - lo) / (2 * h)
}

// worst is the largest difference, relative to the largest entry of want.
func worst(got, want []float64) float64 {
	return floats.Distance(got, want, math.Inf(1)) / floats.Norm(want, math.Inf(1))
}

func TestGradientsAgainstDifferences(t *testing.T) {
	for _, c := range []struct {
		name string
		n, m int
		eps  float64
	}{
		{"square", 6, 6, 0.1},
		{"nearly uniform", 6, 6, 2},
		{"sharp", 5, 5, 0.02},
		{"wide", 3, 8, 0.1},
		{"tall", 8, 3, 0.1},
		{"row", 1, 4, 0.1},
		{"column", 4, 1, 0.1},
	} {
		r := rng(11)
		cost := randCost(r, c.n, c.m, 1)
		a, b := simplex(r, c.n), simplex(r, c.m)
		g := randCost(r, c.n, c.m, 1)
		s := ot.Solver{Epsilon: c.eps, Tolerance: 1e-13, MaxIter: 100000}
		var p ot.Plan
		solve := func() {
			if err := s.SolveWeighted(&p, cost, a, b); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		size := c.n * c.m
		want := [3][]float64{make([]float64, size), make([]float64, size), make([]float64, size)}
		for i := range size {
			want[0][i] = central(cost, i, 1e-5, func() float64 { solve(); return p.Cost })
			want[1][i] = central(cost, i, 1e-5, func() float64 { solve(); return floats.Dot(p.P, g) })
			// ⟨P,C⟩ + ε Σ P(log P − 1) is the regularised value.
			want[2][i] = central(cost, i, 1e-5, func() float64 {
				solve()
				v := p.Cost
				for _, x := range p.P {
					if x > 0 {
						v += c.eps * x * (math.Log(x) - 1)
					}
				}
				return v
			})
		}
		solve()
		got := make([]float64, size)
		s.Gradient(got, &p, cost)
		// Central differences of step 1e-5 are good to about 1e-6 here.
		if e := worst(got, want[0]); e > 1e-5 {
			t.Errorf("%s: exact gradient of the cost off by %.2g", c.name, e)
		}
		s.Pullback(got, &p, g)
		// With one row or column the plan is the marginals, whatever the cost.
		if floats.Norm(want[1], math.Inf(1)) < 1e-9 {
			if x := floats.Norm(got, math.Inf(1)); x > 1e-12 {
				t.Errorf("%s: pullback %g, want none", c.name, x)
			}
		} else if e := worst(got, want[1]); e > 1e-5 {
			t.Errorf("%s: pullback off by %.2g", c.name, e)
		}
		if e := worst(p.P, want[2]); e > 1e-5 {
			t.Errorf("%s: envelope gradient off by %.2g", c.name, e)
		}
	}
}

// Many columns are solved for by conjugate gradients.
func TestLargeGradientAgainstDifferences(t *testing.T) {
	const n, m, d = 60, 120, 8
	cost := make([]float64, n*m)
	for _, eps := range []float64{1, 0.1, 0.02} {
		ot.Matrix(ot.Cosine, cost, walk(1, n, d), walk(2, m, d), d)
		s := ot.Solver{Epsilon: eps, Tolerance: 1e-12, MaxIter: 100000}
		var p ot.Plan
		solve := func() float64 {
			if err := s.Solve(&p, cost, n, m); err != nil {
				t.Fatal(err)
			}
			return p.Cost
		}
		solve()
		got := make([]float64, n*m)
		s.Gradient(got, &p, cost)
		top := floats.Norm(got, math.Inf(1))
		r := rng(5)
		for range 20 {
			i := r.IntN(n * m)
			if want := central(cost, i, 1e-5, solve); math.Abs(got[i]-want) > 1e-4*top {
				t.Errorf("epsilon %g: gradient %d is %g, want %g", eps, i, got[i], want)
			}
		}
	}
}

func TestEnvelopeNearsTheExactGradientForSmallEpsilon(t *testing.T) {
	cost := randCost(rng(2), 6, 6, 1)
	for _, eps := range []float64{0.005, 0.002} {
		s := ot.Solver{Epsilon: eps, Tolerance: 1e-12, MaxIter: 100000, Scaling: 0.5}
		var p ot.Plan
		if err := s.Solve(&p, cost, 6, 6); err != nil {
			t.Fatal(err)
		}
		exact := make([]float64, 36)
		s.Gradient(exact, &p, cost)
		if d := worst(p.P, exact); d > 1e-3 {
			t.Errorf("epsilon %g: envelope off by %g", eps, d)
		}
	}
}

func TestMatrixAgainstDefinition(t *testing.T) {
	x := []float64{1, 0, 3, 4, 0, 0}
	y := []float64{0, 2, -3, -4}
	for _, c := range []struct {
		cost ot.Cost
		want []float64
	}{
		{ot.Cosine, []float64{1, 1.6, 0.2, 2, 1, 1}},
		{ot.Euclidean, []float64{math.Sqrt(5), math.Sqrt(32), math.Sqrt(13), 10, 2, 5}},
	} {
		got := make([]float64, 6)
		ot.Matrix(c.cost, got, x, y, 2)
		if floats.Distance(got, c.want, math.Inf(1)) > 1e-15 {
			t.Errorf("%v: got %v, want %v", c.cost, got, c.want)
		}
		x32, y32 := []float32{1, 0, 3, 4, 0, 0}, []float32{0, 2, -3, -4}
		ot.Matrix(c.cost, got, x32, y32, 2)
		if floats.Distance(got, c.want, math.Inf(1)) > 1e-15 {
			t.Errorf("%v of float32: got %v, want %v", c.cost, got, c.want)
		}
	}
}

func TestMatrixGradAgainstDifferences(t *testing.T) {
	const n, m, d = 4, 5, 3
	for _, cost := range []ot.Cost{ot.Cosine, ot.Euclidean} {
		r := rng(4)
		x, y, w := randCost(r, n, d, 1), randCost(r, m, d, 1), randCost(r, n, m, 1)
		c := make([]float64, n*m)
		loss := func() float64 {
			ot.Matrix(cost, c, x, y, d)
			return floats.Dot(c, w)
		}
		dx, dy := make([]float64, n*d), make([]float64, m*d)
		ot.MatrixGrad(cost, dx, dy, w, x, y, d)
		for i := range x {
			if want := central(x, i, 1e-6, loss); math.Abs(dx[i]-want) > 1e-8 {
				t.Errorf("%v: d/dx[%d] = %g, want %g", cost, i, dx[i], want)
			}
		}
		for i := range y {
			if want := central(y, i, 1e-6, loss); math.Abs(dy[i]-want) > 1e-8 {
				t.Errorf("%v: d/dy[%d] = %g, want %g", cost, i, dy[i], want)
			}
		}
	}
}

func TestMatrixGradIsZeroAtKinks(t *testing.T) {
	dx := make([]float64, 2)
	ot.MatrixGrad(ot.Euclidean, dx, nil, []float64{1}, []float64{1, 2}, []float64{1, 2}, 2)
	ot.MatrixGrad(ot.Cosine, dx, nil, []float64{1}, []float64{0, 0}, []float64{1, 2}, 2)
	if dx[0] != 0 || dx[1] != 0 {
		t.Errorf("got %v, want zeros", dx)
	}
}

func TestCostText(t *testing.T) {
	for _, c := range []ot.Cost{ot.Cosine, ot.Euclidean} {
		b, err := c.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got ot.Cost
		if err := got.UnmarshalText(b); err != nil || got != c {
			t.Errorf("%v came back as %v, %v", c, got, err)
		}
	}
	var c ot.Cost
	if err := c.UnmarshalText([]byte("manhattan")); err == nil {
		t.Error("took an unknown cost")
	}
	if _, err := ot.Cost(9).MarshalText(); err == nil {
		t.Error("wrote an unknown cost")
	}
}
