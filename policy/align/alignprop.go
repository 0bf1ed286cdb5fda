package align

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// Slope is a reward that can be climbed: it writes to score (n,) how good chunks of
// actions (n, H, k), as the view shows them, are for what is seen (n, Seen), and to
// grad (n, H, k) the derivatives at the actions.
type Slope func(score []float64, grad, actions, seen []float32)

// AlignPropConfig configures an AlignProp. Zero fields take the defaults named.
type AlignPropConfig struct {
	Chains int // of a gradient step; 32
	// Back is how many steps from the end the gradient goes back through; 0: as many
	// as a Gaussian says, of the mean 0.16 and deviation 0.1 of a chain's steps, at least 1
	// (as the published N(42, 5) of 50, counted from the noise).
	Back int
	// Target is what rewards are to be brought to, instead of as high as can be, if
	// Aim is set.
	Aim    bool
	Target float64
	Coef   float64 // of the reward in the loss; 1
	// Start, above 0, begins chains from the samples' own chunks, noised to this share
	// of the chain, as Partial does.
	Start float64
}

// AlignProp climbs a reward by its gradient through the chain (Prabhudesai et al. 2023,
// arXiv:2310.03739, section 4): with x_k-1 = mean(x_k) + sigma z and the
// noise z kept,
//
//	L = -R(x_0),  dL/dw = sum over the last Back steps of dL/dx_k-1 dmean(x_k)/dw
//
// A step is computed anew when the gradient comes to it, so that no more than one is
// in memory. Where a policy serves many users, it climbs for the one who is served.
type AlignProp struct {
	t     *Tuned
	cfg   AlignPropConfig
	slope Slope
	g     *nn.Graph
	mean  *Mean
	first int // hop that chains begin with

	x     [][]float32 // (S+1) states (rows, L)
	seen  []float32
	grad  []float32 // (rows, L)
	score []float64
	calls uint64
	order []int
}

// NewAlignProp returns an AlignProp of t that climbs slope.
func NewAlignProp(t *Tuned, slope Slope, c AlignPropConfig) (*AlignProp, error) {
	whole(&c.Chains, 32)
	number(&c.Coef, 1)
	if slope == nil {
		return nil, errors.New("align: alignprop: no Slope: a reward without gradients is for DPPO or PRDP")
	}
	S := len(t.hops)
	if c.Chains < 1 || c.Back < 0 || c.Back > S {
		return nil, fmt.Errorf("align: alignprop: Chains and Back are %d and %d, want at least 1 and up to the %d steps of a chain", c.Chains, c.Back, S)
	}
	if !(c.Start >= 0 && c.Start <= 1) || !(c.Coef > 0) || math.IsInf(c.Coef, 0) || c.Target-c.Target != 0 {
		return nil, fmt.Errorf("align: alignprop: Start, Coef and Target are %v, %v and %v, want one from 0 to 1, a positive one and a number", c.Start, c.Coef, c.Target)
	}
	L := t.len()
	a := &AlignProp{t: t, cfg: c, slope: slope, g: nn.NewGraph(), grad: make([]float32, c.Chains*L), score: make([]float64, c.Chains), seen: make([]float32, c.Chains*t.net.Seen())}
	if c.Start > 0 {
		a.first = S - max(1, int(math.Round(c.Start*float64(S))))
	}
	a.mean = NewMean(t, a.g, c.Chains, true)
	for range S + 1 {
		a.x = append(a.x, make([]float32, c.Chains*L))
	}
	return a, nil
}

// Tuned is the policy.
func (a *AlignProp) Tuned() *Tuned { return a.t }

// Calls counts the rows that the denoiser predicted for, without those that were
// computed anew on the way back.
func (a *AlignProp) Calls() uint64 { return a.calls }

// Step draws chains for what the samples of b have seen, and climbs.
func (a *AlignProp) Step(ctx context.Context, b *Batch) (Stats, error) {
	var st Stats
	if err := a.t.samples(b); err != nil {
		return st, err
	}
	a.order = shuffled(a.order, len(b.Samples), a.t.rng)
	for at := 0; at < len(a.order); at += a.cfg.Chains {
		if err := ctx.Err(); err != nil {
			return st, err
		}
		idx := a.order[at:min(len(a.order), at+a.cfg.Chains)]
		a.begin(b, idx)
		nn.ZeroGrad(a.t.params)
		loss, reward := a.climb(b, idx, a.Draw())
		if err := a.t.move(loss); err != nil {
			return st, err
		}
		st.add(loss, a.t.adam.Norm(), 0)
		st.Reward += reward
	}
	r := st.Reward / float64(st.Steps)
	st = st.mean(&Batch{})
	st.Reward = r
	return st, nil
}

// Draw is how many steps the next gradient goes back through.
func (a *AlignProp) Draw() int {
	if a.cfg.Back > 0 {
		return min(a.cfg.Back, len(a.t.hops)-a.first)
	}
	S := float64(len(a.t.hops))
	k := int(math.Round(S * (0.16 + 0.1*a.t.rng.NormFloat64())))
	return min(max(1, k), len(a.t.hops)-a.first)
}

// begin writes the states that the chains begin with.
func (a *AlignProp) begin(b *Batch, idx []int) {
	L, C := a.t.len(), a.t.net.Seen()
	for r := range a.cfg.Chains {
		s := &b.Samples[idx[r%len(idx)]]
		copy(a.seen[r*C:(r+1)*C], s.Seen)
		x := a.x[a.first][r*L : (r+1)*L]
		keep, noise := float32(0), float32(1)
		if a.cfg.Start > 0 {
			bar := a.t.hops[a.first].Bar
			keep, noise = float32(math.Sqrt(bar)), float32(math.Sqrt(1-bar))
			if a.t.flows() {
				keep, noise = float32(bar), float32(1-bar)
			}
		}
		for j, v := range s.Chunk() {
			x[j] = keep*v + noise*float32(a.t.rng.NormFloat64())
		}
	}
}

// climb runs the chains from where begin left them, and adds to the gradients what
// comes back through the last steps. It gives the loss and the mean reward.
func (a *AlignProp) climb(b *Batch, idx []int, back int) (loss, reward float64) {
	t, L, n := a.t, a.t.len(), len(idx)
	S := len(t.hops)
	for k := a.first; k < S; k++ {
		a.step(k)
		next := a.x[k+1]
		for i, m := range a.mean.Out.Value {
			next[i] = m + float32(t.hops[k].Sigma*t.rng.NormFloat64())
		}
		a.calls += uint64(n)
	}
	actions := a.x[S]
	scaled := a.mean.x.Value // as good a place as any, written anew by every step
	t.net.Actions(scaled, actions)
	a.slope(a.score, a.grad, scaled, a.seen)
	_, unit := t.net.Units()
	for r := range a.cfg.Chains {
		slope := 0.0
		if r < n {
			w := b.Samples[idx[r]].Weight * a.cfg.Coef / float64(n)
			reward += a.score[r] / float64(n)
			if a.cfg.Aim {
				d := a.score[r] - a.cfg.Target
				loss += w * math.Abs(d)
				slope = math.Copysign(w, d)
			} else {
				loss -= w * a.score[r]
				slope = -w
			}
		}
		for j := range L {
			a.grad[r*L+j] *= float32(slope) * unit[j%len(unit)]
		}
	}
	for k := S - 1; k >= S-back; k-- {
		a.step(k)
		a.g.BackwardFrom(a.mean.Out, a.grad)
		copy(a.grad, a.mean.x.Grad)
	}
	return loss, reward
}

// step computes the means of the k-th step.
func (a *AlignProp) step(k int) {
	L, C := a.t.len(), a.t.net.Seen()
	for r := range a.cfg.Chains {
		a.mean.Put(r, a.x[k][r*L:(r+1)*L], a.seen[r*C:(r+1)*C], a.t.hops[k])
	}
	a.g.ForwardTo(a.mean.Out)
}
