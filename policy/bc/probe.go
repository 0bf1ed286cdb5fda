package bc

import (
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
)

// Probe tells of a batch of rows how undecided a Net is on them and how far it
// has come from another one.
type Probe struct {
	g         *nn.Graph
	x, noise  *nn.Node // (B, D') what n reads, (B, k)
	was       *nn.Node // (B, D') what ref reads; x itself without cameras
	logp, far *nn.Node // (B, 1), (B,)
}

// NewProbe returns a Probe of the difference from ref for B rows.
func NewProbe(n, ref *Net, B int, on device.Device) *Probe {
	p := &Probe{g: nn.NewGraphOn(on)}
	v := n.Arch.View
	k := v.Action.Dim()
	p.x, p.noise = p.g.Input(B, n.Dim()), p.g.Input(B, k)
	p.was = p.x
	if n.eye != nil {
		p.was = p.g.Input(B, n.Dim())
	}
	raw := n.Frozen(p.g, p.x)
	p.logp = p.g.Slice(Draw(p.g, raw, p.noise), k, k+1)
	p.far = KL(p.g, raw, ref.Frozen(p.g, p.was))
	p.g.Keep(p.logp, p.far)
	return p
}

// Look gives the entropy of the actions, from one draw for each of the rows x
// (B, D') that n reads, and the mean divergence from ref, nats. was is what ref
// reads of the same inputs; it differs from x where there are cameras, and is
// otherwise not looked at.
func (p *Probe) Look(x, was []float32, rng *rand.Rand) (entropy, kl float64) {
	if copy(p.x.Value, x) != len(p.x.Value) || p.was != p.x && copy(p.was.Value, was) != len(p.was.Value) {
		panic("bc: rows do not fill the probe")
	}
	for i := range p.noise.Value {
		p.noise.Value[i] = float32(rng.NormFloat64())
	}
	p.g.Forward()
	B := float64(len(p.far.Value))
	for i, v := range p.far.Value {
		entropy -= float64(p.logp.Value[i]) / B
		kl += float64(v) / B
	}
	return entropy, kl
}
