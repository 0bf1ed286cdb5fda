package tabletop_test

import (
	"context"
	"fmt"

	"github.com/rapport-rl/rapport/sim/tabletop"
)

// A simulated person pushes both boxes over the line.
func Example() {
	ctx := context.Background()
	w, err := tabletop.New(tabletop.Config{Task: tabletop.Group, Seed: 1, Render: tabletop.None})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close()
	who, err := tabletop.NewDemonstrator(w, tabletop.Good, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	obs, err := w.Reset(ctx)
	for range tabletop.Group.Horizon() {
		if err != nil {
			fmt.Println(err)
			return
		}
		obs, err = w.Step(ctx, who.Act(obs))
	}
	fmt.Println(w.Truth().Success)
	// Output: true
}
