package ot_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/ot"
)

func TestPrefixEqualsTheWholeSolve(t *testing.T) {
	const T, m, d = 45, 40, 16
	for _, eps := range []float64{1, 0.1, 0.02, 0.004} {
		x, y := walk(1, T, d), walk(2, m, d)
		c := make([]float64, T*m)
		ot.Matrix(ot.Cosine, c, x, y, d)
		s := ot.Solver{Epsilon: eps, Tolerance: 1e-10, MaxIter: 100000}
		live, err := ot.NewPrefix(&s, m)
		if err != nil {
			t.Fatal(err)
		}
		var want ot.Plan
		costs := make([]float64, 0, T)
		for n := 1; n <= T; n++ {
			if err := live.Add(c[(n-1)*m : n*m]); err != nil {
				t.Fatalf("epsilon %g, frame %d: %v", eps, n, err)
			}
			if err := s.Solve(&want, c[:n*m], n, m); err != nil {
				t.Fatal(err)
			}
			got := live.Plan()
			// Plans within 1e-10 of the marginals differ by what the
			// conditioning of the dual makes of it.
			if dist := l1(got.P, want.P); dist > 1e-6 {
				t.Errorf("epsilon %g, frame %d: plans differ by %g", eps, n, dist)
			}
			costs = costs[:n]
			live.Costs(costs)
			if math.Abs(floats.Sum(costs)-want.Cost) > 1e-7 || math.Abs(got.Cost-want.Cost) > 1e-7 {
				t.Errorf("epsilon %g, frame %d: costs sum to %v, want %v", eps, n, floats.Sum(costs), want.Cost)
			}
		}
	}
}

func TestPrefixRefusesBadFrames(t *testing.T) {
	live, err := ot.NewPrefix(&ot.Solver{Epsilon: 0.1}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := live.Add([]float64{1, 0}); err != nil {
		t.Fatal(err)
	}
	err = live.Add([]float64{1, math.NaN()})
	if err == nil || !strings.Contains(err.Error(), "frame 1") {
		t.Errorf("got %v", err)
	}
	if live.Len() != 1 {
		t.Errorf("%d frames after a refusal, want 1", live.Len())
	}
	if _, err := ot.NewPrefix(&ot.Solver{}, 2); err == nil {
		t.Error("took a solver without epsilon")
	}
}

func BenchmarkPrefix(b *testing.B) {
	const T, m, d = 45, 45, 64
	x, y := walk(1, T, d), walk(2, m, d)
	for _, eps := range []float64{0.1, 0.02} {
		s := ot.Solver{Epsilon: eps}
		b.Run(fmt.Sprintf("grow/eps=%g", eps), func(b *testing.B) {
			c := make([]float64, m)
			for b.Loop() {
				live, err := ot.NewPrefix(&s, m)
				if err != nil {
					b.Fatal(err)
				}
				for i := range T {
					ot.Matrix(ot.Cosine, c, x[i*d:(i+1)*d], y, d)
					if err := live.Add(c); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/T, "ns/frame")
		})
		b.Run(fmt.Sprintf("anew/eps=%g", eps), func(b *testing.B) {
			var p ot.Plan
			c := make([]float64, T*m)
			for b.Loop() {
				for i := 1; i <= T; i++ {
					ot.Matrix(ot.Cosine, c[:i*m], x[:i*d], y, d)
					if err := s.Solve(&p, c[:i*m], i, m); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/T, "ns/frame")
		})
	}
}

func BenchmarkSolve(b *testing.B) {
	for _, n := range []int{45, 300} {
		for _, eps := range []float64{1, 0.1, 0.02} {
			c := make([]float64, n*n)
			ot.Matrix(ot.Cosine, c, walk(1, n, 64), walk(2, n, 64), 64)
			b.Run(fmt.Sprintf("%dx%d/eps=%g", n, n, eps), func(b *testing.B) {
				s := ot.Solver{Epsilon: eps}
				var p ot.Plan
				b.ReportAllocs()
				for b.Loop() {
					if err := s.Solve(&p, c, n, n); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(p.Iterations), "sweeps")
				b.ReportMetric(float64(p.Newton), "newton")
			})
		}
	}
}

func BenchmarkGradient(b *testing.B) {
	const n, d = 45, 64
	x, y := walk(1, n, d), walk(2, n, d)
	c, g := make([]float64, n*n), make([]float64, n*n)
	dx, dy := make([]float64, n*d), make([]float64, n*d)
	ot.Matrix(ot.Cosine, c, x, y, d)
	s := ot.Solver{Epsilon: 0.02}
	var p ot.Plan
	if err := s.Solve(&p, c, n, n); err != nil {
		b.Fatal(err)
	}
	b.Run("implicit", func(b *testing.B) {
		for b.Loop() {
			s.Gradient(g, &p, c)
		}
	})
	b.Run("cost matrix", func(b *testing.B) {
		for b.Loop() {
			ot.Matrix(ot.Cosine, c, x, y, d)
		}
	})
	b.Run("cost gradient", func(b *testing.B) {
		for b.Loop() {
			ot.MatrixGrad(ot.Cosine, dx, dy, g, x, y, d)
		}
	})
}
