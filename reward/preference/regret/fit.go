package regret

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/preference"
)

// Explain is what answers are explained by.
type Explain uint8

// The explanations.
const (
	// PartialReturn: what a clip is worth is the reward that fell to it, Σ_t r_t.
	PartialReturn Explain = iota
	// Regret: it is −regret = Σ_t A*(s_t, a_t), right for any world.
	Regret
	// Deterministic regret, −(V*(s_0) − (Σ_t γ^t r_t + γ^T V*(s_T))), counts luck as
	// merit where chance decides.
	Deterministic
)

func (e Explain) String() string {
	switch e {
	case PartialReturn:
		return "partial return"
	case Regret:
		return "regret"
	case Deterministic:
		return "deterministic regret"
	}
	return fmt.Sprintf("Explain(%d)", uint8(e))
}

// Config are the parameters of Fit. The zero value stands for the defaults named.
type Config struct {
	Explain Explain
	// Tau is the temperature of V* as a soft maximum over the library's policies, in
	// units of return; 0: 0.001, the authors'.
	Tau    float64
	Rate   float64 // Adam's; 0: 0.05
	Steps  int     // between two plans; 0: 300
	Rounds int     // plans at most, each of which adds a policy; 0: 10
	L2     float64 // penalty L2 ‖w‖²/2 beside the mean loss; 0: 1e-3, of recordings 0.1; negative: none
	Ties   preference.Ties
	// Strength is that of ties; 0: their default.
	Strength float64
	Folds    int // of Compare; 0: 5
}

func (c Config) withDefaults() Config {
	c.Tau = cmp.Or(c.Tau, 0.001)
	c.Rate = cmp.Or(c.Rate, 0.05)
	c.L2 = cmp.Or(c.L2, 1e-3)
	c.Strength = cmp.Or(c.Strength, c.Ties.DefaultStrength())
	c.Steps = cmp.Or(c.Steps, 300)
	c.Rounds = cmp.Or(c.Rounds, 10)
	c.Folds = cmp.Or(c.Folds, 5)
	return c
}

func (c Config) validate() error {
	switch {
	case !(c.Tau > 0) || !(c.Rate > 0) || math.IsInf(c.Tau+c.Rate, 1):
		return fmt.Errorf("regret: tau %v, rate %v, want positive", c.Tau, c.Rate)
	case c.Steps < 1 || c.Rounds < 1 || c.Folds < 2:
		return fmt.Errorf("regret: steps %d, rounds %d, folds %d, want positive, folds at least 2", c.Steps, c.Rounds, c.Folds)
	case math.IsNaN(c.L2) || math.IsInf(c.L2, 0):
		return fmt.Errorf("regret: l2 is %v", c.L2)
	case c.Explain > Deterministic:
		return fmt.Errorf("regret: no such explanation: %v", c.Explain)
	}
	if err := c.Ties.Valid(c.Strength); err != nil {
		return fmt.Errorf("regret: %w", err)
	}
	return nil
}

// Model explains answers by reward weights. It implements preference.Model and is
// safe for several goroutines.
type Model struct {
	Weights []float64 // (Features,) w
	world   *World
	cfg     Config
	library []successor
}

// Fit finds the weights under which answers are likeliest:
//
//	L = −mean log P(answer | u(A) − u(B)) + L2 ‖w‖²/2
//
// with u by Config.Explain. V* and Q* are soft maxima of the successor features of a
// library of policies, through which the gradient goes (as in Knox et
// al.); the policy planned for the weights of each round is added to it,
// until it is there already. The result is determined by the arguments.
func Fit(ctx context.Context, world *World, pairs []preference.Pair, cfg Config) (*Model, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := world.Validate(); err != nil {
		return nil, err
	}
	sides, said, err := answered(pairs, world.Read)
	if err != nil {
		return nil, err
	}
	m := &Model{Weights: make([]float64, world.Features), world: world, cfg: cfg}
	// The first weights are small, so that no answer is sure yet; the first policies
	// are the best for each feature, liked and disliked.
	if cfg.Explain != PartialReturn {
		for f := range world.Features {
			for _, sign := range [2]float64{1, -1} {
				w := make([]float64, world.Features)
				w[f] = sign
				if _, err := m.learn(w); err != nil {
					return nil, err
				}
			}
		}
	}
	grad := make([]float64, world.Features)
	by := [2][]float64{make([]float64, world.Features), make([]float64, world.Features)}
	opt := newAdam(world.Features, cfg.Rate)
	for range cfg.Rounds {
		if err := opt.descend(ctx, m.Weights, grad, cfg.Steps, func() { m.loss(grad, by, sides, said) }); err != nil {
			return nil, err
		}
		if cfg.Explain == PartialReturn {
			break
		}
		fresh, err := m.learn(m.Weights)
		if err != nil {
			return nil, err
		}
		if !fresh {
			break
		}
	}
	return m, nil
}

// answered are the sides of the pairs that somebody answered, as read makes them of clips,
// and the answers.
func answered[T any](pairs []preference.Pair, read func(preference.Clip) (T, error)) (sides [2][]T, said []preference.Verdict, err error) {
	if _, err := preference.Validate(pairs); err != nil {
		return sides, nil, err
	}
	for i, p := range pairs {
		if p.Verdict == preference.Unknown {
			continue
		}
		for side, c := range [2]preference.Clip{p.A, p.B} {
			x, err := read(c)
			if err != nil {
				return sides, nil, fmt.Errorf("regret: pair %d: %w", i, err)
			}
			sides[side] = append(sides[side], x)
		}
		said = append(said, p.Verdict)
	}
	if len(said) == 0 {
		return sides, nil, fmt.Errorf("regret: none of %d pairs is answered", len(pairs))
	}
	return sides, said, nil
}

// descend does steps by the gradient that loss writes to grad.
func (a *adam) descend(ctx context.Context, weights, grad []float64, steps int, loss func()) error {
	for range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		loss()
		a.step(weights, grad)
	}
	for _, x := range weights {
		if x-x != 0 {
			return fmt.Errorf("regret: a weight is %v: lower the rate", x)
		}
	}
	return nil
}

// learn plans for weights and adds the policy to the library, unless it is there.
func (m *Model) learn(weights []float64) (fresh bool, err error) {
	f, err := m.world.plan(weights)
	if err != nil {
		return false, err
	}
	for _, g := range m.library {
		if slices.Equal(f.policy, g.policy) {
			return false, nil
		}
	}
	m.library = append(m.library, f)
	return true, nil
}

// loss of the answers and its gradient, which it writes.
func (m *Model) loss(grad []float64, by [2][]float64, sides [2][][]Step, said []preference.Verdict) float64 {
	return m.cfg.loss(grad, by, m.Weights, said, func(grad []float64, i, side int) float64 { return m.worth(grad, sides[side][i]) })
}

// loss of answers and its gradient by weights, of models in which worth says what a side
// of a pair is worth, and writes the derivative.
func (c Config) loss(grad []float64, by [2][]float64, weights []float64, said []preference.Verdict, worth func(grad []float64, i, side int) float64) float64 {
	l2 := max(c.L2, 0)
	floats.ScaleTo(grad, l2, weights)
	sum := l2 / 2 * floats.Dot(weights, weights)
	n := float64(len(said))
	for i, v := range said {
		l, slope, _ := c.Ties.Loss(v, worth(by[0], i, 0)-worth(by[1], i, 1), c.Strength)
		sum += l / n
		floats.AddScaled(grad, slope/n, by[0])
		floats.AddScaled(grad, -slope/n, by[1])
	}
	return sum
}

// worth of steps, with its derivative by the weights in grad (F,).
func (m *Model) worth(grad []float64, steps []Step) float64 {
	clear(grad)
	w, F := m.world, m.world.Features
	var u float64
	add := func(c float64, phi []float64) {
		u += c * floats.Dot(phi, m.Weights)
		floats.AddScaled(grad, c, phi)
	}
	switch m.cfg.Explain {
	case PartialReturn:
		for _, s := range steps {
			add(1, w.phi(s.State, s.Action, s.Next))
		}
	case Deterministic:
		c := 1.0
		for _, s := range steps {
			add(c, w.phi(s.State, s.Action, s.Next))
			c *= w.gamma()
		}
		u += m.best(grad, c, func(f *successor) []float64 { i := steps[len(steps)-1].Next; return f.v[i*F : (i+1)*F] })
		u += m.best(grad, -1, func(f *successor) []float64 { i := steps[0].State; return f.v[i*F : (i+1)*F] })
	default:
		for _, s := range steps {
			u += m.best(grad, 1, func(f *successor) []float64 { i := s.State*w.Actions + s.Action; return f.q[i*F : (i+1)*F] })
			u += m.best(grad, -1, func(f *successor) []float64 { return f.v[s.State*F : (s.State+1)*F] })
		}
	}
	return u
}

// best is c times the soft maximum over the library of what a policy gathers, and
// adds c times its derivative to grad:
//
//	V~ = Σ_j p_j ψ_j·w,   p = softmax(ψ·w / τ),   ∂V~/∂w = Σ_j p_j (1 + (ψ_j·w − V~)/τ) ψ_j
func (m *Model) best(grad []float64, c float64, psi func(*successor) []float64) float64 {
	return m.cfg.best(grad, c, m.Weights, len(m.library), func(j int) []float64 { return psi(&m.library[j]) })
}

// best is Model.best of n policies.
func (o Config) best(grad []float64, c float64, weights []float64, n int, psi func(j int) []float64) float64 {
	top := math.Inf(-1)
	for j := range n {
		top = max(top, floats.Dot(psi(j), weights))
	}
	var sum, v float64
	for j := range n {
		x := floats.Dot(psi(j), weights)
		e := math.Exp((x - top) / o.Tau)
		sum += e
		v += e * x
	}
	v /= sum
	for j := range n {
		f := psi(j)
		x := floats.Dot(f, weights)
		p := math.Exp((x-top)/o.Tau) / sum
		floats.AddScaled(grad, c*p*(1+(x-v)/o.Tau), f)
	}
	return c * v
}

// Utility implements preference.Model.
func (m *Model) Utility(c preference.Clip) (float64, error) {
	steps, err := m.world.Read(c)
	if err != nil {
		return 0, err
	}
	return m.worth(make([]float64, m.world.Features), steps), nil
}

// Odds implements preference.Model.
func (m *Model) Odds(a, b preference.Clip) (preference.Odds, error) {
	return m.cfg.odds(m.Utility, a, b)
}

func (c Config) odds(utility func(preference.Clip) (float64, error), a, b preference.Clip) (preference.Odds, error) {
	ua, err := utility(a)
	if err != nil {
		return preference.Odds{}, err
	}
	ub, err := utility(b)
	if err != nil {
		return preference.Odds{}, err
	}
	return c.Ties.Odds(ua-ub, c.Strength), nil
}

// Policy is the best under the weights found. For partial returns that were fitted to
// answers given by regret act greedily on r instead: it is then an advantage.
func (m *Model) Policy() ([]int, error) { return m.world.Plan(m.Weights) }

// Greedy is the policy that looks one step ahead: argmax_a E[r(s, a, s')].
func (m *Model) Greedy() []int {
	w := m.world
	policy := make([]int, w.States)
	for s := range w.States {
		best := math.Inf(-1)
		for a := range w.Actions {
			var r float64
			for next, p := range w.chances(s, a) {
				if p > 0 {
					r += p * floats.Dot(w.phi(s, a, next), m.Weights)
				}
			}
			if r > best+1e-12 {
				best, policy[s] = r, a
			}
		}
	}
	return policy
}

// adam is Kingma and Ba's (2015, algorithm 1), with its defaults.
type adam struct {
	rate   float64
	t      int
	m1, m2 []float64
}

func newAdam(n int, rate float64) *adam {
	return &adam{rate: rate, m1: make([]float64, n), m2: make([]float64, n)}
}

func (o *adam) step(p, g []float64) {
	const b1, b2, eps = 0.9, 0.999, 1e-8
	o.t++
	c1, c2 := 1-math.Pow(b1, float64(o.t)), 1-math.Pow(b2, float64(o.t))
	for i := range p {
		o.m1[i] = b1*o.m1[i] + (1-b1)*g[i]
		o.m2[i] = b2*o.m2[i] + (1-b2)*g[i]*g[i]
		p[i] -= o.rate * (o.m1[i] / c1) / (math.Sqrt(o.m2[i]/c2) + eps)
	}
}
