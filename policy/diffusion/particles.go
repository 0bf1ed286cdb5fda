package diffusion

import (
	"fmt"

	"github.com/rapport-rl/rapport/internal/nn"
)

// Particles denoises several chunks of one history together, and gives gradients
// with respect to them: what searches among chunks asks it (package sample). It is
// used by one goroutine.
type Particles struct {
	net     *Net
	rows    int
	look    *nn.Graph
	history history
	g       *nn.Graph

	x, emb, seen, out *nn.Node
}

// NewParticles returns rows particles of n, whose parameters must not change any
// more. They are computed on the processor: a tick's few rows are soonest done there.
func NewParticles(n *Net, rows int) (*Particles, error) {
	if rows < 1 {
		return nil, fmt.Errorf("diffusion: %d particles, want at least 1", rows)
	}
	a := n.Arch
	p := &Particles{net: n, rows: rows, look: nn.NewGraph(), g: nn.NewGraph()}
	if n.eye != nil {
		p.history = n.history(p.look, 1, n.eye.Static)
	} else {
		p.history = n.history(p.look, 1, nil)
	}
	p.x, p.emb = p.g.InputGrad(rows, a.Horizon, a.View.Action.Dim()), p.g.Input(rows, a.Embed)
	p.seen = p.g.Input(rows, len(p.history.all.Value))
	p.out = n.den.apply(net{p.g, p.g.Static}, p.x, p.emb, p.seen)
	return p, nil
}

// Len is how many numbers all particles have.
func (p *Particles) Len() int { return len(p.x.Value) }

// See looks at one history, as Sampler.Sample does: seen (To, D), pix (To, P) or nil.
func (p *Particles) See(seen []float32, pix []byte) {
	p.net.see(p.history.rows.Value, seen)
	if p.history.eye != nil {
		p.history.eye.Put(pix, 0, nil)
	}
	p.look.Forward()
	for n := 0; n < len(p.seen.Value); n += len(p.history.all.Value) {
		copy(p.seen.Value[n:], p.history.all.Value)
	}
}

// Like takes what o, of the same network, has seen.
func (p *Particles) Like(o *Particles) {
	copy(p.history.all.Value, o.history.all.Value)
	for n := 0; n < len(p.seen.Value); n += len(p.history.all.Value) {
		copy(p.seen.Value[n:], p.history.all.Value)
	}
}

// Predict is a Model of all particles.
func (p *Particles) Predict(out, x []float32, time float64) {
	copy(p.x.Value, x)
	E := p.net.Arch.Embed
	nn.Sinusoid(p.emb.Value[:E], time)
	for i := 1; i < p.rows; i++ {
		copy(p.emb.Value[i*E:(i+1)*E], p.emb.Value[:E])
	}
	p.g.ForwardTo(p.out)
	copy(out, p.out.Value)
}

// Pull writes to dx the gradient at the x of the last Predict of what has the
// gradient dout at its result.
func (p *Particles) Pull(dx, dout []float32) {
	p.g.BackwardFrom(p.out, dout)
	copy(dx, p.x.Grad)
}

// Units are the middle and half the width (k,) of the actions that the normalised
// -1 and 1 stand for. They must not be written.
func (n *Net) Units() (middle, half []float32) { return n.actMid.Data, n.actHalf.Data }
