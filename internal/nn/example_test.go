package nn_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
)

// A critic learns targets; its moving average is the network that bootstraps.
func Example() {
	rng := rand.New(rand.NewPCG(1, 2))
	critic := nn.NewMLP("critic", nn.MLPConfig{In: 2, Hidden: []int{32}, Out: 1, Members: 2, LayerNorm: true}, rng)
	target := critic.Clone("target")

	g := nn.NewGraph()
	x, y := g.Input(4, 2), g.Input(2, 4, 1)
	q := critic.Forward(g, x) // (2,4,1)
	loss := g.MSE(q, y)
	pessimist := g.MinFirst(target.Frozen(g, x)) // (4,1)

	copy(x.Value, []float32{0, 0, 0, 1, 1, 0, 1, 1})
	copy(y.Value, []float32{0, 1, 1, 0, 0, 1, 1, 0}) // exclusive or, for both members
	adam := nn.NewAdam(critic.Params(), nn.AdamConfig{LR: 1e-2})
	for range 300 {
		g.Forward()
		nn.ZeroGrad(critic.Params())
		g.Backward(loss)
		adam.Step()
		nn.Lerp(target.Params(), critic.Params(), 0.1)
	}
	g.Forward()
	for _, v := range pessimist.Value {
		fmt.Print(v > 0.5, " ")
	}
	// Output: false true true false
}

// A loss with a gradient of its own, such as optimal transport's.
func ExampleGraph_Custom() {
	g := nn.NewGraph()
	x := g.InputGrad(3)
	// The largest element, whose gradient goes to where it was found.
	at := 0
	top := g.Custom([]*nn.Node{x}, nil, func(out *nn.Node) {
		at = 0
		for i, v := range x.Value {
			if v > x.Value[at] {
				at = i
			}
		}
		out.Value[0] = x.Value[at]
	}, func(out *nn.Node) {
		x.Grad[at] += out.Grad[0]
	})
	copy(x.Value, []float32{1, 5, 2})
	g.Forward()
	g.Backward(top)
	fmt.Println(top.Value, x.Grad)
	// Output: [5] [0 1 0]
}
