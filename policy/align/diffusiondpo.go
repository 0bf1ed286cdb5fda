package align

import (
	"context"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// DiffusionDPOConfig configures a DiffusionDPO. Zero fields take the defaults named.
type DiffusionDPOConfig struct {
	Pairs  int     // of a gradient step; 64
	Epochs int     // over a batch's pairs; 4
	Times  int     // of noise that a pair is looked at, in a gradient step; 4
	Beta   float64 // beta T of the paper, for misses that are summed over a chunk; 20
}

// DiffusionDPO prefers by how well chunks are denoised (Wallace et al. 2023,
// arXiv:2311.12908, equation 14): with m(x) = |target - out(noised x)|^2 of the policy
// and m_ref(x) of the frozen reference, at the same time and noise for both of a pair,
//
//	L = -log S( -beta [ (m(w) - m_ref(w)) - (m(l) - m_ref(l)) ] )
//
// It needs chunks alone, not the chains that led to them, whoever made them.
type DiffusionDPO struct {
	t      *Tuned
	cfg    DiffusionDPOConfig
	g      *nn.Graph
	miss   *Miss
	weight *nn.Node // (pairs*times, 1)
	loss   *nn.Node
	bars   []float64
	eps    []float32
}

// NewDiffusionDPO returns a DiffusionDPO of t.
func NewDiffusionDPO(t *Tuned, c DiffusionDPOConfig) (*DiffusionDPO, error) {
	whole(&c.Pairs, 64)
	whole(&c.Epochs, 4)
	whole(&c.Times, 4)
	number(&c.Beta, 20)
	if c.Pairs < 1 || c.Epochs < 1 || c.Times < 1 {
		return nil, fmt.Errorf("align: diffusion-dpo: Pairs, Epochs and Times are %d, %d and %d, want at least 1", c.Pairs, c.Epochs, c.Times)
	}
	if !(c.Beta > 0) || math.IsInf(c.Beta, 0) {
		return nil, fmt.Errorf("align: diffusion-dpo: Beta is %v, want a positive number", c.Beta)
	}
	n := c.Pairs * c.Times
	d := &DiffusionDPO{t: t, cfg: c, g: nn.NewGraph(), bars: t.net.Arch.Process.Bars(), eps: make([]float32, t.len())}
	d.miss = NewMiss(t, d.g, 2*n)
	d.weight = d.g.Input(n, 1)
	m := d.g.Reshape(d.g.Sub(d.miss.Out, d.miss.Ref), n, 2)
	margin := d.g.Scale(d.g.Sub(d.g.Slice(m, 0, 1), d.g.Slice(m, 1, 2)), float32(c.Beta)) // to be negative
	d.loss = d.g.Sum(d.g.Mul(d.g.Softplus(margin), d.weight))
	return d, nil
}

// Tuned is the policy.
func (d *DiffusionDPO) Tuned() *Tuned { return d.t }

// Step learns from the pairs of b.
func (d *DiffusionDPO) Step(ctx context.Context, b *Batch) (Stats, error) {
	if err := d.t.pairs(b, "diffusion-dpo"); err != nil {
		return Stats{}, err
	}
	return d.t.over(ctx, b, d, sweep{d.cfg.Epochs, len(b.Pairs), d.cfg.Pairs}, d.g, d.loss)
}

// put noises the pairs idx of b, and tells whether any of them weighs something.
func (d *DiffusionDPO) put(b *Batch, idx []int) (weighs bool) {
	clear(d.weight.Value)
	for i, p := range idx {
		p := b.Pairs[p]
		w, l := &b.Samples[p.Win], &b.Samples[p.Lose]
		weighs = weighs || b.weight(p) > 0
		for j := range d.cfg.Times {
			row := i*d.cfg.Times + j
			k := d.t.rng.IntN(len(d.bars))
			for e := range d.eps {
				d.eps[e] = float32(d.t.rng.NormFloat64())
			}
			d.miss.Put(2*row, w.Chunk(), w.Seen, d.eps, float64(k), d.bars[k])
			d.miss.Put(2*row+1, l.Chunk(), l.Seen, d.eps, float64(k), d.bars[k])
			d.weight.Value[row] = float32(b.weight(p) / float64(len(idx)*d.cfg.Times))
		}
	}
	return weighs
}

// clipped is nothing: the loss has no clip.
func (d *DiffusionDPO) clipped(int) float64 { return 0 }
