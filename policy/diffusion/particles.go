package diffusion

import (
	"fmt"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
)

// Particles denoises several chunks of one history together, and gives gradients
// with respect to them: what searches among chunks asks it (package sample). It is
// used by one goroutine.
type Particles struct {
	look   *Looker
	teller teller
}

// NewParticles returns rows particles of n, whose parameters must not change any
// more. They are computed on the processor: a tick's few rows are soonest done there.
func NewParticles(n *Net, rows int) (*Particles, error) {
	if rows < 1 {
		return nil, fmt.Errorf("diffusion: %d particles, want at least 1", rows)
	}
	p := &Particles{look: newLooker(n, 1, device.Default())}
	g := nn.NewGraph()
	p.teller = n.teller(rows, len(p.look.history.all.Value), g, g.InputGrad)
	return p, nil
}

// Len is how many numbers all particles have.
func (p *Particles) Len() int { return len(p.teller.x.Value) }

// See looks at one history, as Sampler.Sample does: seen (To, D), pix (To, P) or nil.
func (p *Particles) See(seen []float32, pix []byte) {
	p.look.Look(p.look.history.all.Value, seen, pix)
	p.Like(p)
}

// Like takes what o, of the same network, has seen.
func (p *Particles) Like(o *Particles) {
	all := p.look.history.all.Value
	copy(all, o.look.history.all.Value)
	for n := 0; n < len(p.teller.seen.Value); n += len(all) {
		copy(p.teller.seen.Value[n:], all)
	}
}

// Seen is the history that See looked at, (Net.Seen,), as the denoiser sees it: the trunk
// has looked at its frames. It must not be written, and changes with the next See.
func (p *Particles) Seen() []float32 { return p.look.history.all.Value }

// Predict is a Model of all particles.
func (p *Particles) Predict(out, x []float32, time float64) { p.teller.tell(out, x, time) }

// Pull writes to dx the gradient at the x of the last Predict of what has the
// gradient dout at its result.
func (p *Particles) Pull(dx, dout []float32) {
	p.teller.g.BackwardFrom(p.teller.out, dout)
	copy(dx, p.teller.x.Grad)
}

// Units are the middle and half the width (k,) of the actions that the normalised
// -1 and 1 stand for. They must not be written.
func (n *Net) Units() (middle, half []float32) { return n.actMid.Data, n.actHalf.Data }
