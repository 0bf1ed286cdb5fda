// Package align fine-tunes the policies of package diffusion, diffusions and flows, towards
// what is preferred or rewarded, and keeps them near what they were.
//
// All aligners share one shape. A Recorder draws chunks with the whole chain that led
// to them, a Judge rewards or compares them, an Aligner takes gradient steps on that
// batch, and a Run repeats it until the policy has gone as far from its frozen
// reference as a budget allows, and keeps the best policy on the way:
//
//	t, err := align.Tune(net, align.Config{Rank: 4, Draw: diffusion.Draw{Steps: 10, Eta: 1}})
//	a, err := align.NewD3PO(t, align.D3POConfig{})
//	r, err := align.NewRun(a, align.Rated(reward, 0), align.RunConfig{Train: seen, Held: held})
//	report, err := r.Go(ctx)
//	params, err := t.Net().Encode(version)
//
// The denoiser is trained, all of it or an adapter of low rank; ranges and the trunk
// that sees frames stay. Chunks and chains are on the normalised scale of the net.
package align

import (
	"context"
	"fmt"
	"slices"
)

// Sample is a chunk that was drawn, with the chain that led to it.
type Sample struct {
	// Seen (diffusion.Net.Seen,) is the history as the denoiser sees it, by a
	// diffusion.Looker.
	Seen []float32
	// X (S+1, L) are the states of the chain on the normalised scale, the noise first
	// and the chunk last, exactly as they were.
	X []float32
	// Actions (H, k) are the chunk as the view shows actions.
	Actions []float32
	// LogP and Ref (S,) are the log-densities of the steps under the policy that drew
	// them and under the frozen reference, in nats.
	LogP, Ref []float64
	// KL is that of the steps' Gaussians from the reference's, summed along the
	// chain, nats: between Gaussians of one width, in closed form. It bounds that of the
	// chunks from above (Fan et al. 2023, arXiv:2305.16381, section 4.2).
	KL float64

	Group  int     // samples of one observation have the same
	Reward float64 // more is better; not every Judge gives one
	// Weight multiplies what the sample contributes: 1 as drawn, 0 for nothing. See
	// Leverage and Doubt.
	Weight float64
	User   int // whose preference it was, of a Batch's Tastes
	// Marks (H,) say of each action whether it was good; none: nobody looked. See FDPO.
	Marks []Mark
}

// Mark says whether an action was good.
type Mark uint8

// The marks. What is Unmarked teaches nothing.
const (
	Unmarked Mark = iota
	Good
	Bad
	marks
)

// Chunk is the end of the chain (L,).
func (s *Sample) Chunk() []float32 { return s.X[len(s.X)-len(s.Actions):] }

// Pair compares two samples of a Batch. A Tie contributes nothing.
type Pair struct {
	Win, Lose int
	Tie       bool
}

// Batch is what an Aligner learns from at a time. Judges fill in Pairs and Rewards.
type Batch struct {
	Samples []Sample
	Pairs   []Pair
	// Tastes (users, Config.Taste) are those of the users, where a policy serves many.
	Tastes [][]float64
}

// weight of a pair is that of its two samples together; a tie has none.
func (b *Batch) weight(p Pair) float64 {
	if p.Tie {
		return 0
	}
	return b.Samples[p.Win].Weight * b.Samples[p.Lose].Weight
}

// check says what is wrong with b for steps of hops of chunks of L numbers.
func (b *Batch) check(hops, L, seen, horizon int) error {
	for i := range b.Samples {
		s := &b.Samples[i]
		if len(s.X) != (hops+1)*L || len(s.Seen) != seen || len(s.LogP) != hops || len(s.Ref) != hops || len(s.Actions) != L {
			return fmt.Errorf("align: sample %d has %d numbers of a chain, %d seen and %d log-densities, want %d, %d and %d: draw it with a Recorder of the same Tuned",
				i, len(s.X), len(s.Seen), len(s.LogP), (hops+1)*L, seen, hops)
		}
		if n := len(s.Marks); n != 0 && (n != horizon || slices.Max(s.Marks) >= marks) {
			return fmt.Errorf("align: sample %d has the Marks %v, want %d that are Unmarked, Good or Bad, or none", i, s.Marks, horizon)
		}
		if !(s.Weight >= 0) {
			return fmt.Errorf("align: sample %d has the Weight %v, want a number from 0", i, s.Weight)
		}
		if d := s.Reward - s.Reward; d != 0 {
			return fmt.Errorf("align: sample %d has the Reward %v", i, s.Reward)
		}
	}
	for i, p := range b.Pairs {
		if p.Win < 0 || p.Lose < 0 || p.Win >= len(b.Samples) || p.Lose >= len(b.Samples) {
			return fmt.Errorf("align: pair %d is of samples %d and %d of %d", i, p.Win, p.Lose, len(b.Samples))
		}
	}
	return nil
}

// Stats is what an Aligner tells of a batch: means over its gradient steps.
type Stats struct {
	Loss    float64
	Grad    float64 // norm before clipping
	Clipped float64 // share of what the loss's clip stopped, where it has one, or that SePPO's sign turned
	Reward  float64 // of the batch, where there is one
	Steps   int     // of the gradient
}

// Aligner fine-tunes a policy on batches. It is used by one goroutine.
type Aligner interface {
	// Step learns from a batch. What is wrong with it is an error, and so is a loss
	// that is not finite; then the policy is as before that gradient step.
	Step(ctx context.Context, b *Batch) (Stats, error)
	// Tuned is the policy.
	Tuned() *Tuned
}

// Judge fills in the rewards or the pairs of a batch whose samples were drawn.
type Judge func(ctx context.Context, b *Batch) error

// Rated is the Judge who knows a reward: it sets Reward, and compares each two samples
// of a Group that follow each other. They tie where their rewards differ by no more
// than margin.
func Rated(reward func(s *Sample) float64, margin float64) Judge {
	return func(ctx context.Context, b *Batch) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := range b.Samples {
			b.Samples[i].Reward = reward(&b.Samples[i])
		}
		b.Pairs = b.Pairs[:0]
		for i := 0; i+1 < len(b.Samples); i++ {
			x, y := &b.Samples[i], &b.Samples[i+1]
			if x.Group != y.Group {
				continue
			}
			p := Pair{Win: i, Lose: i + 1}
			if y.Reward > x.Reward {
				p.Win, p.Lose = p.Lose, p.Win
			}
			p.Tie = x.Reward-y.Reward <= margin && y.Reward-x.Reward <= margin
			b.Pairs = append(b.Pairs, p)
			i++
		}
		return nil
	}
}

// Kept is the Judge of batches that are judged already, as those of RunConfig.Bring.
func Kept(ctx context.Context, _ *Batch) error { return ctx.Err() }
