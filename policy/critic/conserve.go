package critic

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/policy/bc"
)

// Conserve configures a Conservative. Zero fields take the defaults named.
type Conserve struct {
	Weight float64 // of the term in the critics' loss, alpha in the papers; wanted
	// Online is the weight once online rows are learned from; 0: as Weight,
	// negative: none.
	Online  float64
	Actions int // drawn of each of the three kinds for a row; 10 (CQL, appendix F)
	// Plain leaves the calibration out: CQL(H) instead of Cal-QL.
	Plain bool
	// Gap steers the weight, from e times Weight on, to where the term is this
	// large (CQL's Lagrange version, appendix F); 0 keeps the weight.
	Gap float64
	// ZeroTail counts nothing beyond an episode that was cut off in its returns;
	// without it they count its last reward for ever (buffer.TailSteady).
	ZeroTail bool
}

// Complete fills in the defaults and reports everything that is wrong.
func (c *Conserve) Complete() error {
	if c.Actions == 0 {
		c.Actions = 10
	}
	if c.Online == 0 {
		c.Online = c.Weight
	}
	c.Online = max(0, c.Online)
	var errs []error
	if !(c.Weight > 0 && !math.IsInf(c.Weight, 0)) {
		errs = append(errs, fmt.Errorf("critic: Weight is %v, want a positive number", c.Weight))
	}
	if math.IsInf(c.Online, 0) || math.IsNaN(c.Online) {
		errs = append(errs, fmt.Errorf("critic: Online is %v, want a finite weight", c.Online))
	}
	if c.Actions < 1 {
		errs = append(errs, fmt.Errorf("critic: Actions is %d, want at least 1", c.Actions))
	}
	if !(c.Gap >= 0 && !math.IsInf(c.Gap, 0)) {
		errs = append(errs, fmt.Errorf("critic: Gap is %v, want a finite number, 0 or more", c.Gap))
	}
	return errors.Join(errs...)
}

// Conservative is the term that CQL(H) adds to the critics' loss (Kumar et al.
// 2020, arXiv:2006.04779, equation 4, with the estimate of appendix F), calibrated
// as Cal-QL does (Nakamoto et al. 2023, arXiv:2303.05479, equation 5.1):
//
//	weight mean_{e,i} [ log sum_{a in A_i} exp(v_e(s_i, a)) / p(a) - Q_e(s_i, a_i) ]
//
// where A_i are Actions actions each of the uniform distribution, of the policy
// at the next state and of the policy at s_i, with p their density. v is Q for the
// uniform ones and max(Q, R_i), with R_i the return of the data from there on,
// for the policy's: below what the data got, the critics are not pushed further.
//
// It has a graph of its own, which adds to the gradients of the critics. From
// frames it has one by the rows too, through the values alone: actions that the
// policy drew are constants.
type Conservative struct {
	cfg          Conserve
	g            *nn.Graph
	x, next, act *nn.Node    // (B, D') both, (B, k)
	random       *nn.Node    // (B n, k)
	noise        [2]*nn.Node // (B n, k) for next, then for x
	floor        *nn.Node    // (B, 2n) returns
	weight       *nn.Node    // (1)
	policy       *nn.Node    // (E, B, 2n) values of the policy's actions
	gap          *nn.Node    // the mean above
	loss         *nn.Node

	lagrange *nn.Param // (1) logarithm of the factor that Gap steers
	adam     *nn.Adam
	bound    float64 // share of policy that was below the returns
}

// lagrangeMax bounds the factor (the authors' code).
const lagrangeMax = 1e6

// NewConservative builds the term for batches of B rows, with actions of the
// actor and a Lagrange factor of learning rate lr. It is large: critics value
// B (3 Actions + 1) rows.
func NewConservative(c Conserve, actor *bc.Net, critic *nn.MLP, B int, lr float64, on device.Device) *Conservative {
	g, v, n := nn.NewGraphOn(on), actor.Arch.View, c.Actions
	k := v.Action.Dim()
	t := &Conservative{
		cfg: c, g: g, x: g.Input(B, actor.Dim()), next: g.Input(B, actor.Dim()), act: g.Input(B, k),
		random: g.Input(B*n, k), noise: [2]*nn.Node{g.Input(B*n, k), g.Input(B*n, k)}, floor: g.Input(B, 2*n), weight: g.Input(1),
		lagrange: nn.NewParam("lagrange.log", 1).Fill(1), // the authors' code
	}
	here := t.x // as the policy sees it
	if actor.Eye() != nil {
		t.x = g.InputGrad(B, actor.Dim())
		here = g.StopGrad(t.x)
	}
	t.adam = nn.NewAdam([]*nn.Param{t.lagrange}, nn.AdamConfig{LR: lr})

	// Both policies' heads, then Actions draws of each.
	var all, dens [2]*nn.Node
	for i, x := range []*nn.Node{t.next, here} {
		out := bc.Draw(g, g.Select(actor.Frozen(g, x), Repeat(B, n)), t.noise[i])
		all[i] = g.Reshape(g.Slice(out, 0, k), B, n*k)
		dens[i] = g.Reshape(g.Slice(out, k, k+1), B, n)
	}
	// The data's action, then the random ones, of next and of here, for each row.
	rows := 3*n + 1
	acts := g.Reshape(g.Concat(t.act, g.Reshape(t.random, B, n*k), all[0], all[1]), B*rows, k)
	q := g.Reshape(critic.Forward(g, g.Concat(g.Select(t.x, Repeat(B, rows)), acts)), critic.Config.Members, B, rows)

	t.policy = g.Slice(q, n+1, rows)
	g.Keep(t.policy)
	held := t.policy
	if !c.Plain {
		held = g.Max(held, t.floor)
	}
	random := g.AddScalar(g.Slice(q, 1, n+1), float32(float64(k)*math.Ln2)) // density 2^-k
	most := g.LogSumExp(g.Concat(random, g.Sub(held, g.Concat(dens[0], dens[1]))))
	t.gap = g.Mean(g.Sub(most, g.Reshape(g.Slice(q, 0, 1), critic.Config.Members, B)))
	t.loss = g.Mul(t.gap, t.weight)
	return t
}

// Rows is what the term is evaluated on, all normalised as the actor sees it.
type Rows struct {
	Obs, Next []float32 // (B, D'), with the latents of frames if there are cameras
	Act       []float32 // (B, k)
	Return    []float32 // (B,) of the data from the row on
}

// Add draws actions, adds the gradient of the term to that of the critics, and
// gives its value. weight is that of the phase.
func (t *Conservative) Add(b Rows, weight float64, rng *rand.Rand) float64 {
	copy(t.x.Value, b.Obs)
	copy(t.next.Value, b.Next)
	copy(t.act.Value, b.Act)
	per := t.floor.Shape[1]
	for i := range t.floor.Value {
		t.floor.Value[i] = b.Return[i/per]
	}
	for i := range t.random.Value {
		t.random.Value[i] = float32(2*rng.Float64() - 1)
	}
	for _, e := range t.noise {
		Normal(e.Value, rng)
	}
	weight *= t.Factor()
	t.weight.Value[0] = float32(weight)
	t.g.Forward()
	below := 0
	for i, q := range t.policy.Value {
		if q < t.floor.Value[i%len(t.floor.Value)] {
			below++
		}
	}
	t.bound = float64(below) / float64(len(t.policy.Value))
	t.g.Backward(t.loss)
	gap := float64(t.gap.Value[0])
	if t.cfg.Gap > 0 {
		// max over the factor of factor weight (gap - Gap), by its logarithm.
		t.lagrange.Grad[0] = float32(-weight * (gap - t.cfg.Gap))
		t.adam.Step()
	}
	return weight * (gap - t.cfg.Gap)
}

// X is what the values read of the rows (B, D'); with cameras its gradient is that
// of the last Add.
func (t *Conservative) X() *nn.Node { return t.x }

// Factor is what Gap has made of the weight: 1 without a Gap.
func (t *Conservative) Factor() float64 {
	if t.cfg.Gap == 0 {
		return 1
	}
	return min(lagrangeMax, math.Exp(float64(t.lagrange.Data[0])))
}

// Told is what the last Add found: the mean in the brackets above, and the share
// of the policy's actions whose values were below the data's returns.
func (t *Conservative) Told() (gap, bound float64) { return float64(t.gap.Value[0]), t.bound }

// Tensors and Optimiser are what a checkpoint keeps.
func (t *Conservative) Tensors() []nn.Tensor { return nn.Tensors([]*nn.Param{t.lagrange}) }

// Optimiser is that of the Lagrange factor.
func (t *Conservative) Optimiser() *nn.Adam { return t.adam }
