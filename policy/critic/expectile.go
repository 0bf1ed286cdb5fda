package critic

import (
	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
)

// Expectile is the graph that fits the value of states to an expectile of the
// values of the actions that the data hold, near the best of them for tau near 1
// (Kostrikov et al. 2021, arXiv:2110.06169, equation 5):
//
//	L_V = mean_i |tau - 1(u_i < 0)| u_i^2,  u_i = Q^(s_i, a_i) - V(s_i)
type Expectile struct {
	G    *nn.Graph
	X, Q *nn.Node // (B, D) what the value reads, (B,)
	V    *nn.Node // (B,)
	Loss *nn.Node
}

// NewExpectile returns the graph for B rows; deep says that the gradient by X is
// wanted too.
func NewExpectile(value *nn.MLP, B int, tau float64, deep bool, on device.Device) *Expectile {
	e := &Expectile{G: nn.NewGraphOn(on)}
	g := e.G
	e.X, e.Q = g.Input(B, value.Config.In), g.Input(B)
	if deep {
		e.X = g.InputGrad(B, value.Config.In)
	}
	e.V = g.Reshape(value.Forward(g, e.X), B)
	g.Keep(e.V)
	u := g.Sub(e.Q, e.V)
	above, below := g.Square(g.ReLU(u)), g.Square(g.ReLU(g.Neg(u)))
	e.Loss = g.Mean(g.Add(g.Scale(above, float32(tau)), g.Scale(below, float32(1-tau))))
	return e
}

// Backup is the graph of the value of what came next.
type Backup struct {
	G *nn.Graph
	X *nn.Node // (B, D) what the value reads of the next inputs
	V *nn.Node // (B, 1)
}

// NewBackup returns the graph for B rows.
func NewBackup(value *nn.MLP, B int, on device.Device) Backup {
	b := Backup{G: nn.NewGraphOn(on)}
	b.X = b.G.Input(B, value.Config.In)
	b.V = value.Frozen(b.G, b.X)
	b.G.Keep(b.V)
	return b
}
