package align

import (
	"context"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// DPPOConfig configures a DPPO. Zero fields take the defaults named.
type DPPOConfig struct {
	Chains int     // of a gradient step; 64
	Epochs int     // over a batch; 4
	Clip   float64 // of the ratio to the policy that drew; 0.1
	// Discount makes steps near the noise count less: that of the k-th before the last
	// counts Discount^k (0.95).
	Discount float64
	Bound    float64 // of advantages, in standard deviations; 5
	// Given says that Rewards are advantages already, as Pareto's are: no mean is taken
	// from them. Bound holds.
	Given bool
}

// DPPO climbs a reward by its policy gradient (Ren et al. 2024, arXiv:2409.00588,
// section 4): every step of denoising is an action of an environment whose reward
// comes with the chunk, and the loss is PPO's (Schulman et al. 2017, arXiv:1707.06347,
// equation 7) with the advantage discounted towards the noise,
//
//	L = -sum_k min( rho_k A_k, clip(rho_k, 1-c, 1+c) A_k ),  rho_k = p(x_k-1|x_k)/p_old(x_k-1|x_k),  A_k = Discount^k A
//
// The advantage A of a chunk is its reward less the mean of its group, or of the batch
// where groups have one sample, over the batch's standard deviation, by the samples' weights.
type DPPO struct {
	t       *Tuned
	cfg     DPPOConfig
	g       *nn.Graph
	ratio   *Ratio
	a, loss *nn.Node
	adv     []float64
}

// NewDPPO returns a DPPO of t.
func NewDPPO(t *Tuned, c DPPOConfig) (*DPPO, error) {
	if err := t.dense("dppo"); err != nil {
		return nil, err
	}
	whole(&c.Chains, 64)
	whole(&c.Epochs, 4)
	number(&c.Clip, 0.1)
	number(&c.Discount, 0.95)
	number(&c.Bound, 5)
	if c.Chains < 1 || c.Epochs < 1 {
		return nil, fmt.Errorf("align: dppo: Chains and Epochs are %d and %d, want at least 1", c.Chains, c.Epochs)
	}
	if !(c.Clip > 0 && c.Clip < 1) || !(c.Discount > 0 && c.Discount <= 1) || !(c.Bound > 0) {
		return nil, fmt.Errorf("align: dppo: Clip, Discount and Bound are %v, %v and %v, want one between 0 and 1, one up to 1 and a positive one", c.Clip, c.Discount, c.Bound)
	}
	n := c.Chains * len(t.hops)
	d := &DPPO{t: t, cfg: c, g: nn.NewGraph()}
	g := d.g
	d.ratio, d.a = NewRatio(t, g, n), g.Input(n, 1)
	rho := g.Exp(g.Clamp(d.ratio.Out, -20, 20)) // far outside the clip
	gain := g.Min(g.Mul(rho, d.a), g.Mul(g.Clamp(rho, float32(1-c.Clip), float32(1+c.Clip)), d.a))
	d.loss = g.Neg(g.Sum(gain))
	return d, nil
}

// Tuned is the policy.
func (d *DPPO) Tuned() *Tuned { return d.t }

// Step learns from the rewards of b.
func (d *DPPO) Step(ctx context.Context, b *Batch) (Stats, error) {
	if err := d.t.samples(b); err != nil {
		return Stats{}, err
	}
	if d.cfg.Given {
		d.adv = d.adv[:0]
		for i := range b.Samples {
			d.adv = append(d.adv, min(d.cfg.Bound, max(-d.cfg.Bound, b.Samples[i].Reward)))
		}
	} else {
		d.adv = Advantages(d.adv, b.Samples, d.cfg.Bound)
	}
	return d.t.over(ctx, b, d, sweep{d.cfg.Epochs, len(b.Samples), d.cfg.Chains}, d.g, d.loss)
}

// put writes the samples idx of b into the graph.
func (d *DPPO) put(b *Batch, idx []int) bool {
	S := len(d.t.hops)
	clear(d.a.Value)
	for i, j := range idx {
		s := &b.Samples[j]
		for k := range S {
			row := i*S + k
			d.ratio.Put(row, s, k, s.LogP[k])
			d.a.Value[row] = float32(s.Weight * d.adv[j] * math.Pow(d.cfg.Discount, float64(S-1-k)) / float64(len(idx)))
		}
	}
	return true
}

func (d *DPPO) user(b *Batch, item int) int { return b.Samples[item].User }

// clipped is the share of the steps of chains outside the clip.
func (d *DPPO) clipped(chains int) float64 {
	out, rows := 0.0, chains*len(d.t.hops)
	for _, l := range d.ratio.Out.Value[:rows] {
		if math.Abs(math.Exp(float64(l))-1) > d.cfg.Clip {
			out++
		}
	}
	return out / float64(rows)
}

// Advantages writes to dst the reward of each sample less the mean of its group, or of
// all where every group has one sample, over the standard deviation of that difference,
// within bound. Means are by Weight, so that a reward that is not trusted does not say
// what is usual. Equal rewards have no advantage.
func Advantages(dst []float64, ss []Sample, bound float64) []float64 {
	dst = dst[:0]
	sum, weight, single := 0.0, 0.0, true
	for i := range ss {
		sum += ss[i].Weight * ss[i].Reward
		weight += ss[i].Weight
		single = single && (i == 0 || ss[i].Group != ss[i-1].Group)
	}
	all := sum / max(weight, tiniest)
	square := 0.0
	for from := 0; from < len(ss); {
		to, mean, w := from, 0.0, 0.0
		for to < len(ss) && ss[to].Group == ss[from].Group {
			mean += ss[to].Weight * ss[to].Reward
			w += ss[to].Weight
			to++
		}
		mean /= max(w, tiniest)
		if single {
			mean = all
		}
		for ; from < to; from++ {
			a := ss[from].Reward - mean
			dst = append(dst, a)
			square += ss[from].Weight * a * a
		}
	}
	dev := math.Sqrt(square / max(weight, tiniest))
	for i := range dst {
		dst[i] = min(bound, max(-bound, dst[i]/(dev+1e-8)))
	}
	return dst
}

// tiniest keeps what nothing weighs from being divided by 0.
const tiniest = 1e-12
