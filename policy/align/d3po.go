package align

import (
	"context"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// D3POConfig configures a D3PO. Zero fields take the defaults named.
type D3POConfig struct {
	Pairs  int     // of a gradient step; 64
	Epochs int     // over a batch's pairs; 2
	Beta   float64 // how much a preference weighs against the reference; 0.1 (as published)
	Clip   float64 // of the ratio to the reference, beyond which nothing is learned; 0.1 (as published)
}

// D3PO prefers by the steps of stored chains, without a model of the reward (Yang et
// al. 2024, arXiv:2311.13231, section 4): every step of a chain counts as an action
// that the preference for the chunk is about,
//
//	L = -sum_k log S( beta clip(l_k^w) - beta clip(l_k^l) ),  l_k = log p(x_k-1|x_k) / p_ref(x_k-1|x_k)
//
// with ratios clipped to 1 +- Clip.
type D3PO struct {
	t      *Tuned
	cfg    D3POConfig
	g      *nn.Graph
	ratio  *Ratio
	weight *nn.Node // (pairs*hops, 1)
	loss   *nn.Node
}

// NewD3PO returns a D3PO of t.
func NewD3PO(t *Tuned, c D3POConfig) (*D3PO, error) {
	if err := t.dense("d3po"); err != nil {
		return nil, err
	}
	whole(&c.Pairs, 64)
	whole(&c.Epochs, 2)
	number(&c.Beta, 0.1)
	number(&c.Clip, 0.1)
	if c.Pairs < 1 || c.Epochs < 1 {
		return nil, fmt.Errorf("align: d3po: Pairs and Epochs are %d and %d, want at least 1", c.Pairs, c.Epochs)
	}
	if !(c.Beta > 0) || math.IsInf(c.Beta, 0) {
		return nil, fmt.Errorf("align: d3po: Beta is %v, want a positive number", c.Beta)
	}
	if !(c.Clip > 0 && c.Clip < 1) {
		return nil, fmt.Errorf("align: d3po: Clip is %v, want a number between 0 and 1", c.Clip)
	}
	n := c.Pairs * len(t.hops)
	d := &D3PO{t: t, cfg: c, g: nn.NewGraph()}
	d.ratio = NewRatio(t, d.g, 2*n) // of a pair and step, the winner's and then the loser's
	d.weight = d.g.Input(n, 1)
	l := d.g.Reshape(d.g.Clamp(d.ratio.Out, float32(math.Log(1-c.Clip)), float32(math.Log(1+c.Clip))), n, 2)
	margin := d.g.Scale(d.g.Sub(d.g.Slice(l, 0, 1), d.g.Slice(l, 1, 2)), float32(c.Beta))
	d.loss = d.g.Sum(d.g.Mul(d.g.Softplus(d.g.Neg(margin)), d.weight))
	return d, nil
}

// Tuned is the policy.
func (d *D3PO) Tuned() *Tuned { return d.t }

// Step learns from the pairs of b.
func (d *D3PO) Step(ctx context.Context, b *Batch) (Stats, error) {
	if err := d.t.pairs(b, "d3po"); err != nil {
		return Stats{}, err
	}
	return d.t.over(ctx, b, d, sweep{d.cfg.Epochs, len(b.Pairs), d.cfg.Pairs}, d.g, d.loss)
}

// put writes the pairs idx of b into the graph, and tells whether any of them weighs
// something. What they do not fill does not.
func (d *D3PO) put(b *Batch, idx []int) (weighs bool) {
	S := len(d.t.hops)
	clear(d.weight.Value)
	for i, p := range idx {
		p := b.Pairs[p]
		w, l := &b.Samples[p.Win], &b.Samples[p.Lose]
		weighs = weighs || b.weight(p) > 0
		for k := range S {
			row := i*S + k
			d.ratio.Put(2*row, w, k, w.Ref[k])
			d.ratio.Put(2*row+1, l, k, l.Ref[k])
			d.weight.Value[row] = float32(b.weight(p) / float64(len(idx)))
		}
	}
	return weighs
}

func (d *D3PO) user(b *Batch, item int) int { return b.Samples[b.Pairs[item].Win].User }

// clipped is the share of the steps that weigh anything and are outside the clip.
func (d *D3PO) clipped(int) float64 {
	out, all := 0.0, 0.0
	lo, hi := math.Log(1-d.cfg.Clip), math.Log(1+d.cfg.Clip)
	for i, l := range d.ratio.Out.Value {
		if d.weight.Value[i/2] == 0 {
			continue
		}
		all++
		if float64(l) < lo || float64(l) > hi {
			out++
		}
	}
	return out / max(1, all)
}
