// Package auxiliary gives a network's trunk more to learn from than its task: heads
// that predict from its features the reward of the step and the state itself, as
// Lucy-SKG trains beside PPO (Moschopoulos, Kyriakidis, Lazaridis, Vlahavas 2023,
// arXiv:2305.15801). What tells rewards apart then is in the features before values and
// policies ask for it:
//
//	h := auxiliary.New("aux", auxiliary.Config{Width: 64, State: 12}, rng)
//	loss := g.Add(policyLoss, h.Loss(g, z, reward, state)) // z (B,64) of the trunk
//	adam := nn.NewAdam(append(trunk.Params(), h.Params()...), ...)
//
// The heads are of use while learning alone; the trunk is what is kept.
package auxiliary

import (
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
)

// DefaultWeight is how much each auxiliary loss counts beside the task's (ours; the
// paper weighs all losses alike).
const DefaultWeight = 0.1

// Config describes the heads.
type Config struct {
	Width  int   // of the trunk's features
	State  int   // numbers of the state to be rebuilt; 0: it is not
	Hidden []int // of each head; none: they are linear, so that the trunk does the work
	// Reward and Rebuild weigh the losses; 0 means DefaultWeight.
	Reward, Rebuild float64
}

// Heads predict from a trunk's features.
type Heads struct {
	cfg     Config
	reward  *nn.MLP
	rebuild *nn.MLP // nil for none
}

// New draws heads. Names of their parameters start with name.
func New(name string, c Config, rng *rand.Rand) *Heads {
	if c.Width < 1 || c.State < 0 || c.Reward < 0 || c.Rebuild < 0 {
		panic("auxiliary: widths and weights must not be negative")
	}
	if c.Reward == 0 {
		c.Reward = DefaultWeight
	}
	if c.Rebuild == 0 {
		c.Rebuild = DefaultWeight
	}
	h := &Heads{cfg: c, reward: nn.NewMLP(name+".reward", nn.MLPConfig{In: c.Width, Hidden: c.Hidden, Out: 1}, rng)}
	if c.State > 0 {
		h.rebuild = nn.NewMLP(name+".state", nn.MLPConfig{In: c.Width, Hidden: c.Hidden, Out: c.State}, rng)
	}
	return h
}

// Params lists the trainable arrays, in a fixed order.
func (h *Heads) Params() []*nn.Param {
	ps := h.reward.Params()
	if h.rebuild != nil {
		ps = append(ps, h.rebuild.Params()...)
	}
	return ps
}

// Loss is w_r mean (r̂ − r)² + w_s mean ‖ŝ − s‖²/n of features z (B,Width), rewards (B) and
// states (B,State), both best at about unit variance; state is nil where none is
// rebuilt. Gradients reach z and the heads.
func (h *Heads) Loss(g *nn.Graph, z, reward, state *nn.Node) *nn.Node {
	B := z.Shape[0]
	loss := g.Scale(g.MSE(g.Reshape(h.reward.Forward(g, z), B), reward), float32(h.cfg.Reward))
	if h.rebuild == nil {
		return loss
	}
	return g.Add(loss, g.Scale(g.MSE(h.rebuild.Forward(g, z), state), float32(h.cfg.Rebuild)))
}
