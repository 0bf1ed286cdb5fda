package xmagical_test

import (
	"fmt"

	"github.com/rapport-rl/rapport/sim/xmagical"
)

// A long stick that drives straight up sweeps everything into the goal.
func Example() {
	w, err := xmagical.New(xmagical.Config{Embodiment: xmagical.Long, Layout: xmagical.Demo})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close()
	w.Start(1)
	for range w.Horizon() {
		w.Act([]float64{0.8, 0}) // m/s ahead, rad aside
	}
	fmt.Println(w.Score(), w.Truth().Success)
	// Output: 1 true
}
