package diffusion

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/rapport-rl/rapport/internal/seed"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

var _ policy.Policy = (*Policy)(nil)

// PolicyConfig configures a Policy.
type PolicyConfig struct {
	View view.Config // must be that of the parameters
	Draw Draw
	// Exec is Ta, how many actions of a chunk are carried out before the next is
	// drawn: 8, or what the chunk has from the current step on where that is
	// fewer.
	Exec int
	// Seed of the noise. The noise of a chunk depends on Seed, the episode's
	// number and the step at which it is drawn alone.
	Seed uint64
	// Drawer makes what draws the chunks, for parameters that were loaded; nil:
	// NewSampler.
	Drawer func(n *Net, d Draw) (Drawer, error)
}

// Drawer draws a chunk of actions for one history, as Sampler.Sample does with one
// row. All its randomness is that of rng. One that has a method Begin() is told so
// before the first chunk of an episode, and one that has Metrics() is asked by
// Policy.Metrics.
type Drawer interface {
	Sample(dst, seen []float32, pix []byte, rng *rand.Rand)
}

// Policy draws a chunk of actions, carries out the first few and draws the next
// (receding horizon; Chi et al. 2023, section IV and figure 3). It implements
// policy.Policy.
type Policy struct {
	cfg PolicyConfig

	mu      sync.Mutex // guards what follows
	drawer  Drawer     // nil before Load
	arch    Arch
	version uint64
	next    uint64 // number of the episode that the next step 0 begins
	episode uint64
	step    int       // of the last Act, -1 before
	seen    []float32 // (To, D) the newest last
	pix     []byte    // (To, P) the frames beside it
	chunk   []float32 // (H, k) as drawn
	plan    []float32 // (Exec, k) actions of the current chunk
	left    int       // of plan that are still to be carried out
	pcg     rand.PCG
	rng     *rand.Rand
}

// NewPolicy returns a Policy that waits for Load.
func NewPolicy(c PolicyConfig) (*Policy, error) {
	if err := c.View.Validate(); err != nil {
		return nil, err
	}
	if c.Exec < 0 {
		return nil, fmt.Errorf("diffusion: Exec is %d actions, want at least 1, or 0 for 8", c.Exec)
	}
	p := &Policy{cfg: c, step: -1}
	p.rng = rand.New(&p.pcg)
	return p, nil
}

// Load replaces the parameters. The chunk that is being carried out goes on; the
// next is drawn by the new ones.
func (p *Policy) Load(ps policy.Params) error {
	n, err := Decode(ps)
	if err != nil {
		return err
	}
	if err := n.Same(p.cfg.View); err != nil {
		return err
	}
	ahead := n.Arch.Horizon - n.Arch.History + 1
	exec := p.cfg.Exec
	if exec == 0 {
		exec = min(8, ahead)
	}
	if exec > ahead {
		return fmt.Errorf("diffusion: Exec is %d actions, want at most the %d from the current step on of a chunk of %d with a history of %d",
			exec, ahead, n.Arch.Horizon, n.Arch.History)
	}
	var s Drawer
	if p.cfg.Drawer != nil {
		s, err = p.cfg.Drawer(n, p.cfg.Draw)
	} else {
		s, err = NewSampler(n, 1, p.cfg.Draw)
	}
	if err != nil {
		return err
	}
	k := p.cfg.View.Action.Dim()
	D, P := p.cfg.View.Dim(), p.cfg.View.Pixels()
	seen, pix, plan := make([]float32, n.Arch.History*D), make([]byte, n.Arch.History*P), make([]float32, exec*k)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.step >= 0 { // an episode is under way: keep what it has seen
		for i := range n.Arch.History {
			at := max(0, len(p.seen)/D-n.Arch.History+i)
			copy(seen[i*D:(i+1)*D], p.seen[at*D:])
			copy(pix[i*P:(i+1)*P], p.pix[at*P:])
		}
		rest := p.plan[len(p.plan)-p.left*k:]
		if len(rest) > len(plan) {
			rest = rest[:len(plan)]
		}
		p.left = len(rest) / k
		copy(plan[len(plan)-len(rest):], rest)
	}
	p.drawer, p.arch, p.version, p.seen, p.pix, p.plan = s, n.Arch, ps.Version, seen, pix, plan
	p.chunk = make([]float32, n.Arch.Horizon*k)
	return nil
}

// Metrics are what the Drawer tells; none of one that tells nothing.
func (p *Policy) Metrics() []policy.Metric {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d, ok := p.drawer.(interface{ Metrics() []policy.Metric }); ok {
		return d.Metrics()
	}
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

// Looks says whether a chunk will be drawn while what is observed next is in the history. Of other
// ticks the policy reads nothing that matters: any numbers and pixels do.
func (p *Policy) Looks() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.step < 0 || p.left < p.arch.History
}

// Act returns the command for in. Step 0 begins the next episode. After a step
// that was not asked for, the history begins anew and a chunk is drawn at once.
func (p *Policy) Act(ctx context.Context, in policy.Input) (robot.Command, error) {
	if err := ctx.Err(); err != nil {
		return robot.Command{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawer == nil {
		return robot.Command{}, errors.New("diffusion: no parameters loaded: Load comes before Act")
	}
	if in.Step < 0 {
		return robot.Command{}, fmt.Errorf("diffusion: step %d of an episode", in.Step)
	}
	if err := p.see(in); err != nil {
		return robot.Command{}, err
	}
	k := p.cfg.View.Action.Dim()
	if p.left == 0 {
		p.pcg.Seed(seed.Mix(p.cfg.Seed^seed.Mix(p.episode)), seed.Mix(uint64(in.Step)))
		p.drawer.Sample(p.chunk, p.seen, p.pix, p.rng)
		for i, v := range p.chunk {
			if d := v - v; d != d {
				p.step = -1
				return robot.Command{}, fmt.Errorf("diffusion: step %d: number %d of the chunk is %v: the parameters diverged", in.Step, i, v)
			}
		}
		copy(p.plan, p.chunk[(p.arch.History-1)*k:])
		p.left = len(p.plan) / k
	}
	at := len(p.plan) - p.left*k
	p.left--
	return p.cfg.View.Action.Command(p.plan[at : at+k]), nil
}

// see takes in into the history.
func (p *Policy) see(in policy.Input) error {
	D, P := p.cfg.View.Dim(), p.cfg.View.Pixels()
	copy(p.seen, p.seen[D:])
	copy(p.pix, p.pix[P:])
	newest, frames := p.seen[len(p.seen)-D:], p.pix[len(p.pix)-P:]
	if err := errors.Join(p.cfg.View.Row(newest, in), p.cfg.View.Image(frames, in)); err != nil {
		p.step = -1 // the history is spoilt
		return fmt.Errorf("diffusion: act: %w", err)
	}
	if in.Step == 0 {
		p.episode = p.next
		p.next++
		if d, ok := p.drawer.(interface{ Begin() }); ok {
			d.Begin()
		}
	}
	if in.Step == 0 || p.step < 0 || in.Step != p.step+1 {
		for i := 0; i < len(p.seen)-D; i += D {
			copy(p.seen[i:i+D], newest)
		}
		for i := 0; i < len(p.pix)-P; i += P {
			copy(p.pix[i:i+P], frames)
		}
		p.left = 0
	}
	p.step = in.Step
	return nil
}
