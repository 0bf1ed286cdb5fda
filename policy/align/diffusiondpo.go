package align

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// DiffusionDPOConfig configures a DiffusionDPO. Zero fields take the defaults named.
type DiffusionDPOConfig struct {
	Pairs  int // of a gradient step; 64
	Epochs int // over a batch's pairs; 4
	Times  int // of noise that a pair is looked at, in a gradient step; 4
	// Beta T of the paper, for misses that are summed over a chunk: 20, and 5 of a flow,
	// whose misses are those of a velocity.
	Beta float64
	// Keep is the weight of the winners' own miss beside the comparison, so that the
	// policy does not get worse at both of a pair; 0: none.
	Keep float64
	// Coarse is the largest share of a chunk's variance that noise leaves of it where pairs
	// are compared: 1. Which of several ways a chunk goes is decided while little is left of
	// it; at less noise the policy learns to go unlike the loser, and what it needs for going
	// the winner's way exactly is spoiled.
	Coarse float64
}

// DiffusionDPO prefers by how well chunks are denoised (Wallace et al. 2023,
// arXiv:2311.12908, equation 14): with m(x) = |target - out(noised x)|^2 of the policy
// and m_ref(x) of the frozen reference, at the same time and noise for both of a pair,
//
//	L = -log S( -beta [ (m(w) - m_ref(w)) - (m(l) - m_ref(l)) ] ) + Keep m(w)
//
// It needs chunks alone, not the chains that led to them, whoever made them.
type DiffusionDPO struct {
	t      *Tuned
	cfg    DiffusionDPOConfig
	who    string
	g      *nn.Graph
	miss   *Miss
	weight *nn.Node // (pairs*times, 1)
	loss   *nn.Node
}

// NewDiffusionDPO returns a DiffusionDPO of t.
func NewDiffusionDPO(t *Tuned, c DiffusionDPOConfig) (*DiffusionDPO, error) {
	if t.flows() {
		return nil, errors.New("align: diffusion-dpo: the policy is a flow: take FlowDPO")
	}
	return newDPO(t, c, "diffusion-dpo")
}

// NewFlowDPO returns a DiffusionDPO of a flow (Liu et al. 2025, arXiv:2501.13918,
// Flow-DPO): m is then |a - eps - v(x_t)|^2 of the velocity v at a time t from 0 to 1, and
// half of Beta counts, the same at all times, which the paper found better than
// Beta (1-t)^2.
func NewFlowDPO(t *Tuned, c DiffusionDPOConfig) (*DiffusionDPO, error) {
	if !t.flows() {
		return nil, errors.New("align: flow-dpo: the policy is a diffusion: take DiffusionDPO")
	}
	return newDPO(t, c, "flow-dpo")
}

// beta is the default of those that compare misses.
func (t *Tuned) beta() float64 {
	if t.flows() {
		return 5
	}
	return 20
}

// weigh is what counts of a beta.
func (t *Tuned) weigh(beta float64) float64 {
	if t.flows() {
		return beta / 2
	}
	return beta
}

func newDPO(t *Tuned, c DiffusionDPOConfig, who string) (*DiffusionDPO, error) {
	if err := looks(who, "Pairs", &c.Pairs, &c.Epochs, &c.Times); err != nil {
		return nil, err
	}
	number(&c.Beta, t.beta())
	number(&c.Coarse, 1)
	if !(c.Beta > 0) || math.IsInf(c.Beta, 0) || !(c.Keep >= 0) || math.IsInf(c.Keep, 0) {
		return nil, fmt.Errorf("align: %s: Beta is %v and Keep %v, want a positive number and one from 0", who, c.Beta, c.Keep)
	}
	least := 0.0
	if !t.flows() {
		least = t.bars[len(t.bars)-1]
	}
	if !(c.Coarse > least && c.Coarse <= 1) {
		return nil, fmt.Errorf("align: %s: Coarse is %v, want more than %.2g, which the most noise leaves, and at most 1", who, c.Coarse, least)
	}
	n := c.Pairs * c.Times
	d := &DiffusionDPO{t: t, cfg: c, who: who, g: nn.NewGraph()}
	g := d.g
	d.miss = NewMiss(t, g, 2*n)
	d.weight = g.Input(n, 1)
	m := g.Reshape(g.Sub(d.miss.Out, d.miss.Ref), n, 2)
	margin := g.Scale(g.Sub(g.Slice(m, 0, 1), g.Slice(m, 1, 2)), float32(t.weigh(c.Beta))) // to be negative
	loss := g.Softplus(margin)
	if c.Keep > 0 {
		loss = g.Add(loss, g.Scale(g.Slice(g.Reshape(d.miss.Out, n, 2), 0, 1), float32(c.Keep)))
	}
	d.loss = g.Sum(g.Mul(loss, d.weight))
	return d, nil
}

// Tuned is the policy.
func (d *DiffusionDPO) Tuned() *Tuned { return d.t }

// Step learns from the pairs of b.
func (d *DiffusionDPO) Step(ctx context.Context, b *Batch) (Stats, error) {
	if err := d.t.pairs(b, d.who); err != nil {
		return Stats{}, err
	}
	return d.t.over(ctx, b, d, sweep{d.cfg.Epochs, len(b.Pairs), d.cfg.Pairs}, d.g, d.loss)
}

// put noises the pairs idx of b, and tells whether any of them weighs something.
func (d *DiffusionDPO) put(b *Batch, idx []int) (weighs bool) {
	clear(d.weight.Value)
	for i, p := range idx {
		p := b.Pairs[p]
		weighs = weighs || b.weight(p) > 0
		for j := range d.cfg.Times {
			row := i*d.cfg.Times + j
			for d.miss.look(); d.miss.bar > d.cfg.Coarse; d.miss.look() {
			}
			d.miss.show(2*row, &b.Samples[p.Win])
			d.miss.show(2*row+1, &b.Samples[p.Lose])
			d.weight.Value[row] = float32(b.weight(p) / float64(len(idx)*d.cfg.Times))
		}
	}
	return weighs
}

func (d *DiffusionDPO) user(b *Batch, item int) int { return b.Samples[b.Pairs[item].Win].User }

// clipped is nothing: the loss has no clip.
func (d *DiffusionDPO) clipped(int) float64 { return 0 }
