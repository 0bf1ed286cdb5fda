package align

import (
	"context"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// RWRConfig configures an RWR. Zero fields take the defaults named.
type RWRConfig struct {
	Chunks int     // of a gradient step; 64
	Epochs int     // over a batch; 4
	Times  int     // of noise that a chunk is looked at, in a gradient step; 4
	Heat   float64 // what a difference of rewards must be to weigh e times as much; 0.5
}

// RWR imitates what the policy drew, and the more so what was rewarded (reward-weighted
// regression; of flows Liu et al. 2025, arXiv:2501.13918, Flow-RWR): with the miss m as
// in DiffusionDPO,
//
//	L = E exp(r/Heat) m(x) / E exp(r/Heat)
//
// over a batch, so that weights are 1 in the mean. It needs chunks and rewards alone, of
// flows and diffusions. Each batch tilts the policy anew: from the reference, one
// would end at p_ref exp(r/Heat), and many go on from there.
type RWR struct {
	t      *Tuned
	cfg    RWRConfig
	g      *nn.Graph
	miss   *Miss
	weight *nn.Node // (chunks*times, 1)
	loss   *nn.Node
	tilt   []float64 // of the batch's samples
}

// NewRWR returns an RWR of t.
func NewRWR(t *Tuned, c RWRConfig) (*RWR, error) {
	if err := looks("rwr", "Chunks", &c.Chunks, &c.Epochs, &c.Times); err != nil {
		return nil, err
	}
	number(&c.Heat, 0.5)
	if !(c.Heat > 0) || math.IsInf(c.Heat, 0) {
		return nil, fmt.Errorf("align: rwr: Heat is %v, want a positive number", c.Heat)
	}
	n := c.Chunks * c.Times
	r := &RWR{t: t, cfg: c, g: nn.NewGraph()}
	r.miss, r.weight = NewMiss(t, r.g, n), r.g.Input(n, 1)
	r.loss = r.g.Sum(r.g.Mul(r.miss.Out, r.weight))
	return r, nil
}

// Tuned is the policy.
func (r *RWR) Tuned() *Tuned { return r.t }

// Step learns from the rewards of b.
func (r *RWR) Step(ctx context.Context, b *Batch) (Stats, error) {
	if err := r.t.samples(b); err != nil {
		return Stats{}, err
	}
	r.tilt = Tilt(r.tilt, b.Samples, r.cfg.Heat)
	return r.t.over(ctx, b, r, sweep{r.cfg.Epochs, len(b.Samples), r.cfg.Chunks}, r.g, r.loss)
}

// put noises the samples idx of b.
func (r *RWR) put(b *Batch, idx []int) (weighs bool) {
	clear(r.weight.Value)
	for i, j := range idx {
		weighs = weighs || r.tilt[j] > 0
		for k := range r.cfg.Times {
			row := i*r.cfg.Times + k
			r.miss.look()
			r.miss.show(row, &b.Samples[j])
			r.weight.Value[row] = float32(r.tilt[j] / float64(len(idx)*r.cfg.Times))
		}
	}
	return weighs
}

func (r *RWR) user(b *Batch, item int) int { return b.Samples[item].User }

// clipped is nothing: the loss has no clip.
func (r *RWR) clipped(int) float64 { return 0 }

// Tilt writes to dst what samples weigh by their rewards: Weight exp(Reward/heat), over
// the mean of exp(Reward/heat) by Weight. What has no Weight weighs nothing.
func Tilt(dst []float64, ss []Sample, heat float64) []float64 {
	dst = dst[:0]
	top := math.Inf(-1)
	for i := range ss {
		if ss[i].Weight > 0 {
			top = max(top, ss[i].Reward)
		}
	}
	sum, weight := 0.0, 0.0
	for i := range ss {
		w := 0.0
		if ss[i].Weight > 0 {
			w = ss[i].Weight * math.Exp((ss[i].Reward-top)/heat)
		}
		sum, weight = sum+w, weight+ss[i].Weight
		dst = append(dst, w)
	}
	for i := range dst {
		dst[i] *= weight / max(sum, tiniest)
	}
	return dst
}
