package align

import (
	"context"
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/checkpoint"
)

// RehearsalConfig configures a Rehearsal. Zero fields take the defaults named.
type RehearsalConfig struct {
	Chunks int // of a gradient step; 64
	Steps  int // of the gradient after each batch of the aligner's; 4
	// Tastes are those of the samples' users, where a policy serves many: a step imitates
	// what is one's, for whom it serves.
	Tastes [][]float64
}

// Rehearsal is an Aligner beside whose steps the policy imitates stored chunks, so that
// what it did well elsewhere is not lost while it learns what is liked: the loss that the
// policy was trained by (of diffusions Ho et al. 2020, arXiv:2006.11239, equation 14, of
// flows Liu et al. 2023, arXiv:2209.03003, equation 1; what keeps the likelihood of preferred samples up in DPO: Pang et
// al. 2024, arXiv:2404.19733),
//
//	L = sum_i w_i |target - out(noised x_i)|^2 / L,  of chunks of length L
type Rehearsal struct {
	a      Aligner
	ss     []Sample
	cfg    RehearsalConfig
	g      *nn.Graph
	miss   *Miss
	weight *nn.Node // (Chunks, 1)
	loss   *nn.Node
	whose  [][]int // samples of each user
}

// Rehearse has a imitate ss, by their Weights, beside what it learns.
func Rehearse(a Aligner, ss []Sample, c RehearsalConfig) (*Rehearsal, error) {
	whole(&c.Chunks, 64)
	whole(&c.Steps, 4)
	t := a.Tuned()
	if c.Chunks < 1 || c.Steps < 1 {
		return nil, fmt.Errorf("align: rehearsal: Chunks and Steps are %d and %d, want at least 1", c.Chunks, c.Steps)
	}
	if err := t.samples(&Batch{Samples: ss, Tastes: c.Tastes}); err != nil {
		return nil, fmt.Errorf("align: rehearsal: %w", err)
	}
	r := &Rehearsal{a: a, ss: ss, cfg: c, g: nn.NewGraph()}
	r.miss = NewMiss(t, r.g, c.Chunks)
	r.weight = r.g.Input(c.Chunks, 1)
	r.loss = r.g.Sum(r.g.Mul(r.miss.Out, r.weight))
	r.whose = make([][]int, max(1, len(c.Tastes)))
	for i := range ss {
		u := 0 // all are one's where there are no Tastes
		if t.cfg.Taste > 0 {
			u = ss[i].User
		}
		r.whose[u] = append(r.whose[u], i)
	}
	r.whose = slices.DeleteFunc(r.whose, func(of []int) bool { return len(of) == 0 })
	return r, nil
}

// Tuned is the policy.
func (r *Rehearsal) Tuned() *Tuned { return r.a.Tuned() }

// Step learns from b, and then imitates. Its Stats are the aligner's.
func (r *Rehearsal) Step(ctx context.Context, b *Batch) (Stats, error) {
	st, err := r.a.Step(ctx, b)
	if err != nil {
		return st, err
	}
	t := r.Tuned()
	for range r.cfg.Steps {
		if err := ctx.Err(); err != nil {
			return st, err
		}
		mine := r.whose[0]
		if t.cfg.Taste > 0 {
			mine = r.whose[t.rng.IntN(len(r.whose))]
			t.lora.Serve(r.cfg.Tastes[r.ss[mine[0]].User])
		}
		for i := range r.cfg.Chunks {
			s := &r.ss[mine[t.rng.IntN(len(mine))]]
			r.miss.look()
			r.miss.show(i, s)
			r.weight.Value[i] = float32(s.Weight / float64(r.cfg.Chunks*t.len()))
		}
		r.g.ForwardTo(r.loss)
		if err := t.Descend(r.g, r.loss); err != nil {
			return st, err
		}
	}
	return st, nil
}

// parts are what the aligner remembers, for a Run's checkpoint.
func (r *Rehearsal) parts() []checkpoint.Part { return remembered(r.a) }
