package align

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// FDPOConfig configures an FDPO. Zero fields take the defaults named.
type FDPOConfig struct {
	Segments int     // of a gradient step; 64
	Epochs   int     // over a batch's segments; 4
	Times    int     // of noise that a segment is looked at, in a gradient step; 4
	Beta     float64 // as DiffusionDPO's, of a flow halved; 20, of a flow 5
	// Keep is the weight of the good segments' own miss, without which all that is
	// marked, good and bad, can become less likely; 0: none.
	Keep float64
}

// FDPO learns from marks of parts of single chunks, without pairs (Gunjal et al. 2023,
// arXiv:2308.06394, fine-grained DPO): actions that follow each other and have the same
// Mark are a segment, and with the misses m of DiffusionDPO summed over the segment
// alone,
//
//	L = -log S( beta k ) + Keep [good] m,  k = -(m - m_ref) of a good segment, m - m_ref of a bad one
//
// What is Unmarked teaches nothing. Of a text, whose model this was, the ratio of
// likelihoods stands for -(m - m_ref).
type FDPO struct {
	t                  *Tuned
	cfg                FDPOConfig
	g                  *nn.Graph
	miss               *Miss
	mask               *nn.Node // (segments*times, L)
	sign, weight, good *nn.Node // (segments*times, 1)
	loss               *nn.Node
	segments           []segment
}

// segment is of the actions from one to another of a sample.
type segment struct {
	sample, from, to int
	mark             Mark
}

// NewFDPO returns an FDPO of t.
func NewFDPO(t *Tuned, c FDPOConfig) (*FDPO, error) {
	if err := looks("fdpo", "Segments", &c.Segments, &c.Epochs, &c.Times); err != nil {
		return nil, err
	}
	number(&c.Beta, t.beta())
	if !(c.Beta > 0) || math.IsInf(c.Beta, 0) || !(c.Keep >= 0) || math.IsInf(c.Keep, 0) {
		return nil, fmt.Errorf("align: fdpo: Beta is %v and Keep %v, want a positive number and one from 0", c.Beta, c.Keep)
	}
	n := c.Segments * c.Times
	f := &FDPO{t: t, cfg: c, g: nn.NewGraph()}
	g := f.g
	f.miss = NewMiss(t, g, n)
	f.mask, f.sign, f.weight, f.good = g.Input(n, t.len()), g.Input(n, 1), g.Input(n, 1), g.Input(n, 1)
	part := func(squares *nn.Node) *nn.Node { return g.Reshape(g.SumLast(g.Mul(squares, f.mask)), n, 1) }
	now := part(f.miss.now)
	loss := g.Softplus(g.Scale(g.Mul(g.Sub(now, part(f.miss.was)), f.sign), float32(t.weigh(c.Beta))))
	if c.Keep > 0 {
		loss = g.Add(loss, g.Scale(g.Mul(now, f.good), float32(c.Keep)))
	}
	f.loss = g.Sum(g.Mul(loss, f.weight))
	return f, nil
}

// Tuned is the policy.
func (f *FDPO) Tuned() *Tuned { return f.t }

// Step learns from the Marks of b.
func (f *FDPO) Step(ctx context.Context, b *Batch) (Stats, error) {
	if err := f.t.samples(b); err != nil {
		return Stats{}, err
	}
	if f.cut(b); len(f.segments) == 0 {
		return Stats{}, errors.New("align: fdpo: no sample has a mark: let a Judge set Sample.Marks")
	}
	return f.t.over(ctx, b, f, sweep{f.cfg.Epochs, len(f.segments), f.cfg.Segments}, f.g, f.loss)
}

// cut lists the segments of b.
func (f *FDPO) cut(b *Batch) {
	f.segments = f.segments[:0]
	for i := range b.Samples {
		ms := b.Samples[i].Marks
		for from := 0; from < len(ms); {
			to := from + 1
			for to < len(ms) && ms[to] == ms[from] {
				to++
			}
			if ms[from] != Unmarked {
				f.segments = append(f.segments, segment{i, from, to, ms[from]})
			}
			from = to
		}
	}
}

// put noises the samples of the segments idx.
func (f *FDPO) put(b *Batch, idx []int) (weighs bool) {
	clear(f.weight.Value)
	clear(f.mask.Value)
	L := f.t.len()
	k := L / f.t.net.Arch.Horizon
	for i, j := range idx {
		g := f.segments[j]
		s := &b.Samples[g.sample]
		weighs = weighs || s.Weight > 0
		for j := range f.cfg.Times {
			row := i*f.cfg.Times + j
			f.miss.look()
			f.miss.show(row, s)
			for e := g.from * k; e < g.to*k; e++ {
				f.mask.Value[row*L+e] = 1
			}
			f.sign.Value[row], f.good.Value[row] = -1, 0
			if g.mark == Good {
				f.sign.Value[row], f.good.Value[row] = 1, 1
			}
			f.weight.Value[row] = float32(s.Weight / float64(len(idx)*f.cfg.Times))
		}
	}
	return weighs
}

func (f *FDPO) user(b *Batch, item int) int { return b.Samples[f.segments[item].sample].User }

// clipped is nothing: the loss has no clip.
func (f *FDPO) clipped(int) float64 { return 0 }

// Soundness rates a chunk by how likely each of its segments is bad (Gunjal et al. 2023,
// arXiv:2308.06394, rejection sampling): the mean of log(1 - bad). The best of
// several chunks is the one with the most.
func Soundness(bad []float64) float64 {
	sum := 0.0
	for _, p := range bad {
		sum += math.Log(max(tiniest, 1-p))
	}
	return sum / float64(max(1, len(bad)))
}
