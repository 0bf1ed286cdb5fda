package ot_test

import (
	"fmt"

	"github.com/rapport-rl/rapport/reward/ot"
)

// Two clips of three and two frames, embedded in the plane.
func ExampleSolver_Solve() {
	x := []float32{1, 0, 1, 1, 0, 1}
	y := []float32{1, 0, 0, 1}
	c := make([]float64, 3*2)
	ot.Matrix(ot.Cosine, c, x, y, 2)

	s := ot.Solver{Epsilon: 0.02}
	var p ot.Plan
	if err := s.Solve(&p, c, 3, 2); err != nil {
		fmt.Println(err)
		return
	}
	for i := range p.N {
		fmt.Printf("%.3f\n", p.P[i*p.M:(i+1)*p.M])
	}
	fmt.Printf("cost %.4f\n", p.Cost)
	// Output:
	// [0.333 0.000]
	// [0.167 0.167]
	// [0.000 0.333]
	// cost 0.0976
}
