package ot_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/rapport-rl/rapport/reward/ot"
)

// Frames that fall into two groups, unevenly, with next to no noise within: what a
// head that learned to tell two things apart makes of videos. The mass that must
// cross pays a hundred times epsilon.
func TestUnevenGroupsAreSolved(t *testing.T) {
	for seed := range uint64(40) {
		r := rng(seed)
		const n, m = 24, 23
		in := func(k int) []float64 { // (k,2): near one of two opposite directions
			x := make([]float64, 2*k)
			left := 1 + r.IntN(k-1)
			for i := range k {
				at := 0.02 * r.NormFloat64()
				if i >= left {
					at += math.Pi - 0.3*r.Float64()
				}
				x[2*i], x[2*i+1] = math.Cos(at), math.Sin(at)
			}
			return x
		}
		c := make([]float64, n*m)
		ot.Matrix(ot.Cosine, c, in(n), in(m), 2)
		for _, eps := range []float64{0.02, 0.005} {
			s := ot.Solver{Epsilon: eps, MaxIter: 10000}
			var p ot.Plan
			if err := s.Solve(&p, c, n, m); err != nil {
				t.Errorf("seed %d, epsilon %g: %v (%d Newton steps)", seed, eps, err, p.Newton)
				continue
			}
			if d := p.Distance(); d > 1e-5 {
				t.Errorf("seed %d, epsilon %g: marginals off by %g", seed, eps, d)
			}
		}
	}
}

// Costs of a clip and a preferred video of the blob world under an aligned head, on
// which Newton steps alone stall: 200 of them leave a third of the mass astray.
func TestStalledNewtonStepsAreNotTheEnd(t *testing.T) {
	b, err := os.ReadFile("testdata/groups.json")
	if err != nil {
		t.Fatal(err)
	}
	var c []float64
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	s := ot.Solver{Epsilon: 0.02, MaxIter: 1000}
	var p, plain ot.Plan
	if err := s.Solve(&p, c, 24, 24); err != nil {
		t.Fatal(err)
	}
	slow := ot.Solver{Epsilon: 0.02, MaxIter: 100000, Plain: true}
	if err := slow.Solve(&plain, c, 24, 24); err != nil {
		t.Fatal(err)
	}
	if d := math.Abs(p.Cost - plain.Cost); d > 1e-5 {
		t.Errorf("cost %g, by %d sweeps %g", p.Cost, plain.Iterations, plain.Cost)
	}
}
