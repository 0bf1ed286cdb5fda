package ot_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/floats"
	"pgregory.net/rapid"

	"github.com/rapport-rl/rapport/reward/ot"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func randCost(r *rand.Rand, n, m int, scale float64) []float64 {
	c := make([]float64, n*m)
	for i := range c {
		c[i] = r.Float64() * scale
	}
	return c
}

func simplex(r *rand.Rand, n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = 0.1 + r.Float64()
	}
	floats.Scale(1/floats.Sum(w), w)
	return w
}

// walk is a made-up video: T embeddings (T,d) along a smooth curve, in the
// order of its seed's noise.
func walk(seed uint64, T, d int) []float64 {
	r := rng(seed)
	x := make([]float64, T*d)
	phase := 0.3 * r.NormFloat64()
	for t := range T {
		s := math.Pi * math.Pow(float64(t)/float64(T), 1+0.3*phase)
		for j := range d {
			x[t*d+j] = math.Sin(s*(1+float64(j%5)/4)+float64(j)) + 0.1*r.NormFloat64()
		}
	}
	return x
}

// sums returns the row and column sums of a plan.
func sums(p *ot.Plan) (r, c []float64) {
	r, c = make([]float64, p.N), make([]float64, p.M)
	for i := range p.N {
		row := p.P[i*p.M : (i+1)*p.M]
		r[i] = floats.Sum(row)
		floats.Add(c, row)
	}
	return r, c
}

func l1(x, y []float64) float64 { return floats.Distance(x, y, 1) }

// logDomain is the textbook: exact logarithms, one side after the other.
func logDomain(c, a, b []float64, eps float64, sweeps int) []float64 {
	n, m := len(a), len(b)
	f, g := make([]float64, n), make([]float64, m)
	for range sweeps {
		for j := range m {
			x := make([]float64, n)
			for i := range n {
				x[i] = f[i] - c[i*m+j]/eps
			}
			g[j] = math.Log(b[j]) - floats.LogSumExp(x)
		}
		for i := range n {
			x := make([]float64, m)
			for j := range m {
				x[j] = g[j] - c[i*m+j]/eps
			}
			f[i] = math.Log(a[i]) - floats.LogSumExp(x)
		}
	}
	p := make([]float64, n*m)
	for i := range n {
		for j := range m {
			p[i*m+j] = math.Exp(f[i] + g[j] - c[i*m+j]/eps)
		}
	}
	return p
}

func TestSolveAgreesWithLogDomain(t *testing.T) {
	for _, c := range []struct {
		name   string
		n, m   int
		eps    float64
		sweeps int
	}{
		{"nearly uniform", 45, 45, 1, 200},
		{"default gamma", 45, 45, 0.02, 5000},
		{"wide", 7, 31, 0.05, 3000},
		{"tall", 31, 7, 0.05, 3000},
		{"one row", 1, 5, 0.1, 10},
		{"one column", 5, 1, 0.1, 10},
		{"single", 1, 1, 0.1, 10},
	} {
		for _, plain := range []bool{false, true} {
			r := rng(3)
			cost := randCost(r, c.n, c.m, 1)
			a, b := simplex(r, c.n), simplex(r, c.m)
			s := ot.Solver{Epsilon: c.eps, Tolerance: 1e-12, MaxIter: 100000, Plain: plain}
			var p ot.Plan
			if err := s.SolveWeighted(&p, cost, a, b); err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			want := logDomain(cost, a, b, c.eps, c.sweeps)
			if d := l1(p.P, want); d > 1e-9 {
				t.Errorf("%s (plain %v): plans differ by %.3g after %d sweeps and %d steps", c.name, plain, d, p.Iterations, p.Newton)
			}
			for i := range c.n {
				for j := range c.m {
					got := math.Exp((p.F[i] + p.G[j] - cost[i*c.m+j]) / c.eps)
					if math.Abs(got-p.P[i*c.m+j]) > 1e-12 {
						t.Fatalf("%s: potentials give P[%d,%d] = %g, want %g", c.name, i, j, got, p.P[i*c.m+j])
					}
				}
			}
		}
	}
}

// Newton steps, by either solver of theirs, must only save sweeps.
func TestNewtonFindsTheSamePlan(t *testing.T) {
	for _, c := range []struct {
		name   string
		n, m   int
		eps    float64
		scaled bool
	}{
		{"factor", 45, 45, 0.02, false},
		{"factor, scaled", 45, 40, 0.005, true},
		{"conjugate gradients", 120, 150, 0.05, false},
		{"conjugate gradients, tall", 150, 110, 0.02, false},
	} {
		cost := make([]float64, c.n*c.m)
		ot.Matrix(ot.Cosine, cost, walk(1, c.n, 16), walk(2, c.m, 16), 16)
		var want, got ot.Plan
		s := ot.Solver{Epsilon: c.eps, Tolerance: 1e-11, MaxIter: 100000, Plain: true}
		if err := s.Solve(&want, cost, c.n, c.m); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		s.Plain = false
		if c.scaled {
			s.Scaling = 0.5
		}
		if err := s.Solve(&got, cost, c.n, c.m); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if d := l1(got.P, want.P); d > 1e-8 {
			t.Errorf("%s: plans differ by %.3g", c.name, d)
		}
		if want.Newton != 0 || got.Newton == 0 || got.Iterations*2 > want.Iterations {
			t.Errorf("%s: %d sweeps and %d steps, plain %d and %d: want steps to save half of the sweeps",
				c.name, got.Iterations, got.Newton, want.Iterations, want.Newton)
		}
	}
}

// assignment returns the least mean cost over all permutations.
func assignment(c []float64, n int) float64 {
	best := math.Inf(1)
	used := make([]bool, n)
	var walk func(i int, sum float64)
	walk = func(i int, sum float64) {
		if i == n {
			best = min(best, sum/float64(n))
			return
		}
		for j := range n {
			if !used[j] {
				used[j] = true
				walk(i+1, sum+c[i*n+j])
				used[j] = false
			}
		}
	}
	walk(0, 0)
	return best
}

// The entropic cost exceeds the optimum by at most ε·log(n) for uniform
// weights, since the entropy of a plan spans log(n²)−log(n).
func TestCostTendsToTheAssignment(t *testing.T) {
	for seed := range uint64(20) {
		n := 2 + int(seed)%6
		c := randCost(rng(seed), n, n, 1)
		want := assignment(c, n)
		for _, eps := range []float64{0.1, 1e-2, 1e-3, 1e-4} {
			s := ot.Solver{Epsilon: eps, Tolerance: 1e-9, MaxIter: 200000, Scaling: 0.25}
			var p ot.Plan
			if err := s.Solve(&p, c, n, n); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if over := p.Cost - want; over < -1e-8 || over > eps*math.Log(float64(n))+1e-8 {
				t.Errorf("seed %d, epsilon %g: cost %v, optimum %v: off by %g", seed, eps, p.Cost, want, over)
			}
		}
	}
}

func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, m := rapid.IntRange(1, 20).Draw(t, "n"), rapid.IntRange(1, 20).Draw(t, "m")
		eps := math.Exp(rapid.Float64Range(-4, 3).Draw(t, "log epsilon"))
		r := rng(rapid.Uint64().Draw(t, "seed"))
		c := randCost(r, n, m, 1)
		a, b := simplex(r, n), simplex(r, m)
		const tol = 1e-10
		s := ot.Solver{Epsilon: eps, Tolerance: tol, MaxIter: 100000}
		var p, q ot.Plan
		if err := s.SolveWeighted(&p, c, a, b); err != nil {
			t.Fatal(err)
		}
		row, col := sums(&p)
		if d := l1(row, a); d > 1e-13 {
			t.Errorf("row marginals off by %g", d)
		}
		if d := l1(col, b); d > tol+1e-13 || math.Abs(d-p.Residual) > 1e-13 {
			t.Errorf("column marginals off by %g, reported %g, want %g", d, p.Residual, tol)
		}
		// The transposed problem has the transposed plan.
		ct := make([]float64, n*m)
		for i := range n {
			for j := range m {
				ct[j*n+i] = c[i*m+j]
			}
		}
		if err := s.SolveWeighted(&q, ct, b, a); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			for j := range m {
				if d := math.Abs(p.P[i*m+j] - q.P[j*n+i]); d > 1e-7 {
					t.Fatalf("transposed plan differs by %g at %d,%d", d, i, j)
				}
			}
		}
		// A constant, and a term of the row or the column alone, change nothing.
		for i := range n {
			for j := range m {
				ct[i*m+j] = c[i*m+j] + 7 + float64(i) - 2*float64(j)
			}
		}
		if err := s.SolveWeighted(&q, ct, a, b); err != nil {
			t.Fatal(err)
		}
		if d := l1(p.P, q.P); d > 1e-7 {
			t.Errorf("plan moved by %g when rows and columns were shifted", d)
		}
	})
}

func TestExtremeCosts(t *testing.T) {
	for _, c := range []struct {
		name       string
		scale, eps float64
		unscaled   bool // converges without ε scaling too
	}{
		{"tiny costs", 1e-6, 0.1, true},
		{"large costs, large epsilon", 1e6, 1e5, true},
		{"large costs", 1e6, 1e4, true},
		{"kernel underflows", 1e6, 100, true},
		{"epsilon near nothing", 1, 1e-5, false},
		{"cost over epsilon 1e12", 1e6, 1e-6, false},
	} {
		for _, scaling := range []float64{0, 0.5} {
			cost := randCost(rng(5), 30, 40, c.scale)
			s := ot.Solver{Epsilon: c.eps, MaxIter: 20000, Scaling: scaling}
			var p ot.Plan
			err := s.Solve(&p, cost, 30, 40)
			var ce *ot.ConvergenceError
			if err != nil && (c.unscaled || scaling > 0 || !errors.As(err, &ce)) {
				t.Errorf("%s (scaling %g): %v", c.name, scaling, err)
			}
			row, _ := sums(&p)
			for _, x := range row {
				if !(math.Abs(x-1./30) < 1e-12) {
					t.Errorf("%s (scaling %g): row sums to %v, want 1/30", c.name, scaling, x)
					break
				}
			}
			if !(p.Cost >= 0 && p.Cost <= c.scale) {
				t.Errorf("%s: cost %v", c.name, p.Cost)
			}
			t.Logf("%s: cost %.6g, residual %.3g, %d sweeps, %d steps", c.name, p.Cost/c.scale, p.Residual, p.Iterations, p.Newton)
		}
	}
}

func TestBadInput(t *testing.T) {
	uni := []float64{0.5, 0.5}
	ok := []float64{0, 1, 1, 0}
	for _, c := range []struct {
		name    string
		eps     float64
		c, a, b []float64
		want    string
	}{
		{"NaN cost", 1, []float64{0, 1, math.NaN(), 0}, uni, uni, "cost[1,0] is NaN"},
		{"infinite cost", 1, []float64{0, math.Inf(1), 1, 0}, uni, uni, "cost[0,1] is +Inf"},
		{"no epsilon", 0, ok, uni, uni, "want positive and finite"},
		{"NaN epsilon", math.NaN(), ok, uni, uni, "want positive and finite"},
		{"zero weight", 1, ok, []float64{1, 0}, uni, "weight 1 of side 0 is 0"},
		{"NaN weight", 1, ok, uni, []float64{1, math.NaN()}, "weight 1 of side 1 is NaN"},
		{"unequal mass", 1, ok, uni, []float64{1, 1}, "mass 1 and 2"},
	} {
		s := ot.Solver{Epsilon: c.eps}
		var p ot.Plan
		if err := s.SolveWeighted(&p, c.c, c.a, c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestNotConvergedIsTyped(t *testing.T) {
	s := ot.Solver{Epsilon: 1e-3, MaxIter: 3, Tolerance: 1e-9}
	var p ot.Plan
	err := s.Solve(&p, randCost(rng(1), 20, 20, 1), 20, 20)
	var ce *ot.ConvergenceError
	if !errors.As(err, &ce) {
		t.Fatalf("got %v, want a ConvergenceError", err)
	}
	if ce.Iterations != 3 || ce.Residual != p.Residual || ce.Residual <= ce.Tolerance {
		t.Errorf("got %+v for a plan with residual %v", ce, p.Residual)
	}
}

func TestSolveAllocatesNothing(t *testing.T) {
	c := randCost(rng(1), 45, 45, 1)
	g := make([]float64, len(c))
	x := randCost(rng(2), 45, 8, 1)
	s := ot.Solver{Epsilon: 0.02, MaxIter: 10000}
	var p ot.Plan
	run := func() {
		ot.Matrix(ot.Cosine, c, x, x, 8)
		if err := s.Solve(&p, c, 45, 45); err != nil {
			t.Fatal(err)
		}
		s.Gradient(g, &p, c)
	}
	run()
	if n := testing.AllocsPerRun(10, run); n != 0 {
		t.Errorf("%v allocations a solve, want none", n)
	}
}

func TestBatchNamesTheProblem(t *testing.T) {
	c := randCost(rng(1), 3*5, 4, 1)
	c[2*20+4*1+2] = math.NaN()
	plans := make([]ot.Plan, 3)
	s := ot.Solver{Epsilon: 0.1}
	err := s.Batch(plans, c, 5, 4)
	if err == nil || !strings.Contains(err.Error(), "problem 2 of 3") || !strings.Contains(err.Error(), "cost[1,2]") {
		t.Errorf("got %v", err)
	}
	var want ot.Plan
	if err := s.Solve(&want, c[20:40], 5, 4); err != nil {
		t.Fatal(err)
	}
	if l1(want.P, plans[1].P) != 0 {
		t.Error("a batch differs from its problems solved alone")
	}
}

func FuzzSolve(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(4), 0.1, 1.0)
	f.Add(uint64(2), uint8(9), uint8(1), 1e-7, 1e9)
	f.Add(uint64(3), uint8(5), uint8(5), 1e300, 1e-300)
	f.Fuzz(func(t *testing.T, seed uint64, n, m uint8, eps, scale float64) {
		rows, cols := int(n%12)+1, int(m%12)+1
		c := randCost(rng(seed), rows, cols, scale)
		s := ot.Solver{Epsilon: eps, MaxIter: 50}
		var p ot.Plan
		err := s.Solve(&p, c, rows, cols)
		var ce *ot.ConvergenceError
		if err != nil && !errors.As(err, &ce) {
			return
		}
		for i, x := range p.P {
			if math.IsNaN(x) || x < 0 || x > 1+1e-9 {
				t.Fatalf("P[%d] = %v (epsilon %g, scale %g, %v)", i, x, eps, scale, err)
			}
		}
	})
}
