package bc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/seed"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/trunk"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// Mode says how a Policy chooses.
type Mode uint8

// The modes. The zero value does not explore.
const (
	Mean   Mode = iota // the mean: for evaluation and for a cloned policy
	Sample             // drawn from the Gaussian: to explore
)

// PolicyConfig configures a Policy.
type PolicyConfig struct {
	View view.Config // must be that of the parameters
	Mode Mode
	// Seed of the noise. The noise of a step depends on Seed, the episode's
	// number and the step alone.
	Seed uint64
	// Rho correlates the noise of successive steps, in [0, 1); every step's
	// own stays standard normal. At 20 Hz white noise shakes an arm in place,
	// correlated noise moves it (Eberhard et al. 2023, "Pink noise is all you
	// need"; here the simplest such process, AR(1)).
	Rho float64
}

// Policy acts by a Net. It implements policy.Policy.
type Policy struct {
	cfg PolicyConfig

	mu      sync.Mutex // guards what follows
	act     *actor     // nil before Load
	version uint64
	next    uint64 // number of the episode that the next step 0 begins
	episode uint64
}

// actor is a Net as a graph of one row.
type actor struct {
	net    *Net
	g      *nn.Graph
	x, raw *nn.Node
	eye    *trunk.Eye // nil without cameras
	row    []float32
	pix    []byte
	action []float32
}

// NewPolicy returns a Policy that waits for Load.
func NewPolicy(c PolicyConfig) (*Policy, error) {
	if err := c.View.Validate(); err != nil {
		return nil, err
	}
	if c.Mode > Sample {
		return nil, fmt.Errorf("bc: Mode is %d, want Mean or Sample", c.Mode)
	}
	if !(c.Rho >= 0 && c.Rho < 1) {
		return nil, fmt.Errorf("bc: Rho is %v, want at least 0 and below 1", c.Rho)
	}
	return &Policy{cfg: c}, nil
}

// Load replaces the parameters, from the next Act on.
func (p *Policy) Load(ps policy.Params) error {
	p.mu.Lock()
	var like *Net
	if p.act != nil {
		like = p.act.net
	}
	p.mu.Unlock()
	n, err := decode(ps, like)
	if err != nil {
		return err
	}
	if err := n.Same(p.cfg.View); err != nil {
		return err
	}
	a := &actor{net: n, g: nn.NewGraph(), row: make([]float32, p.cfg.View.Dim()), action: make([]float32, p.cfg.View.Action.Dim())}
	a.x = a.g.Input(1, p.cfg.View.Dim())
	in := a.x
	if n.eye != nil {
		a.pix = make([]byte, p.cfg.View.Pixels())
		a.eye = n.eye.Eye(a.g, 1)
		in = a.g.Concat(a.x, n.eye.Static(a.g, a.eye))
	}
	a.raw = n.Frozen(a.g, in)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.act, p.version = a, ps.Version
	return nil
}

// Version is that of the parameters loaded last, 0 before.
func (p *Policy) Version() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.version
}

// Begin says that the next step 0 begins episode number n, as a resumed session
// must; without it episodes count up from 0.
func (p *Policy) Begin(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = n
}

// Act returns the command for in. Step 0 begins the next episode.
func (p *Policy) Act(ctx context.Context, in policy.Input) (robot.Command, error) {
	if err := ctx.Err(); err != nil {
		return robot.Command{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.act
	if a == nil {
		return robot.Command{}, errors.New("bc: no parameters loaded: Load comes before Act")
	}
	if in.Step < 0 {
		return robot.Command{}, fmt.Errorf("bc: step %d of an episode", in.Step)
	}
	if err := p.cfg.View.Row(a.row, in); err != nil {
		return robot.Command{}, fmt.Errorf("bc: act: %w", err)
	}
	if in.Step == 0 {
		p.episode = p.next
		p.next++
	}
	if a.eye != nil {
		if err := p.cfg.View.Image(a.pix, in); err != nil {
			return robot.Command{}, fmt.Errorf("bc: act: %w", err)
		}
		a.eye.Put(a.pix, 0, nil)
	}
	a.net.Normalise(a.x.Value, a.row)
	a.g.ForwardTo(a.raw)
	k := len(a.action)
	for j := range a.action {
		u := float64(a.raw.Value[j])
		if p.cfg.Mode == Sample {
			l, _ := LogStd(float64(a.raw.Value[k+j]))
			u += math.Exp(l) * p.noise(in.Step, j)
		}
		v := math.Tanh(u)
		if s := a.net.Noise; s > 0 && p.cfg.Mode == Sample {
			v = min(1, max(-1, v+s*p.noise(in.Step, k+j)))
		}
		a.action[j] = float32(v)
	}
	for j, v := range a.action {
		if d := v - v; d != d {
			return robot.Command{}, fmt.Errorf("bc: step %d: action %d is %v: the parameters diverged", in.Step, j, v)
		}
	}
	return p.cfg.View.Action.Command(a.action), nil
}

// noise is the noise of a step of the current episode along number j, the actions'
// before tanh and then those that Net.Noise adds: AR(1)
// from the start of the episode, replayed rather than remembered, so that it
// does not depend on which steps were asked before.
func (p *Policy) noise(step, j int) float64 {
	draw := func(s int) float64 {
		var src rand.PCG
		src.Seed(seed.Mix(p.cfg.Seed^seed.Mix(p.episode)), seed.Mix(uint64(s)<<8|uint64(j)))
		return rand.New(&src).NormFloat64()
	}
	rho := p.cfg.Rho
	if rho == 0 {
		return draw(step)
	}
	// What is older than this counts less than a thousandth.
	first := max(0, step-int(math.Ceil(math.Log(1e-3)/math.Log(rho))))
	e := draw(first)
	for s := first + 1; s <= step; s++ {
		e = rho*e + math.Sqrt(1-rho*rho)*draw(s)
	}
	return e
}
