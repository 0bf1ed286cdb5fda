package align

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
)

// pairs checks a batch for an aligner by pairs.
func (t *Tuned) pairs(b *Batch, who string) error {
	if err := t.samples(b); err != nil {
		return err
	}
	if len(b.Pairs) == 0 {
		return fmt.Errorf("align: %s: the batch has no pairs: let a Judge compare its samples", who)
	}
	return nil
}

// samples checks a batch.
func (t *Tuned) samples(b *Batch) error {
	if len(b.Samples) == 0 {
		return errors.New("align: the batch has no samples")
	}
	if err := b.check(len(t.hops), t.len(), t.net.Seen(), t.net.Arch.Horizon); err != nil || t.cfg.Taste == 0 {
		return err
	}
	for i := range b.Samples {
		if u := b.Samples[i].User; u < 0 || u >= len(b.Tastes) || len(b.Tastes[u]) != t.cfg.Taste {
			return fmt.Errorf("align: sample %d is of user %d, whose taste is not among the %d Tastes with its %d numbers: set Batch.Tastes", i, u, len(b.Tastes), t.cfg.Taste)
		}
	}
	return nil
}

// groups checks that samples come in groups of size n, one after the other, and gives
// their number.
func (t *Tuned) groups(b *Batch, n int, who string) (int, error) {
	if err := t.samples(b); err != nil {
		return 0, err
	}
	for i := range b.Samples {
		if b.Samples[i].Group != b.Samples[i-i%n].Group || len(b.Samples)%n != 0 {
			return 0, fmt.Errorf("align: %s: sample %d of %d: want %d of every observation, one after the other", who, i, len(b.Samples), n)
		}
	}
	return len(b.Samples) / n, nil
}

// looks fills in and checks how an aligner by misses goes over a batch: how many items, so
// named in who's configuration, a gradient step takes, how often it goes over all, and at
// how many times of noise it looks at each.
func looks(who, name string, items, epochs, times *int) error {
	whole(items, 64)
	whole(epochs, 4)
	whole(times, 4)
	if *items < 1 || *epochs < 1 || *times < 1 {
		return fmt.Errorf("align: %s: %s, Epochs and Times are %d, %d and %d, want at least 1", who, name, *items, *epochs, *times)
	}
	return nil
}

// add counts a gradient step; mean ends the count.
func (s *Stats) add(loss, grad, clipped float64) {
	s.Steps++
	s.Loss += loss
	s.Grad += grad
	s.Clipped += clipped
}

func (s Stats) mean(b *Batch) Stats {
	n := float64(max(1, s.Steps))
	s.Loss /= n
	s.Grad /= n
	s.Clipped /= n
	for i := range b.Samples {
		s.Reward += b.Samples[i].Reward / float64(len(b.Samples))
	}
	return s
}

// filler is an aligner by one loss over a graph.
type filler interface {
	// put writes items of b, which are pairs, groups or samples, into the graph. It is
	// false if none weighs anything.
	put(b *Batch, idx []int) bool
	user(b *Batch, item int) int // whose item it is
	clipped(items int) float64   // share of what the loss's clip stopped, 0 without one
}

// sweep is how often items of a batch are gone over, and how many in a gradient step.
type sweep struct{ epochs, items, each int }

// over takes the gradient steps of a sweep over b, whose items come in another order
// in every epoch. A step is of one user's where there are Tastes. What weighs nothing
// moves nothing, not even by momentum.
func (t *Tuned) over(ctx context.Context, b *Batch, f filler, s sweep, g *nn.Graph, loss *nn.Node) (Stats, error) {
	var st Stats
	for range s.epochs {
		t.order = shuffled(t.order, s.items, t.rng)
		for rest := t.order; len(rest) > 0; {
			if err := ctx.Err(); err != nil {
				return st, err
			}
			n := min(len(rest), s.each)
			if t.cfg.Taste > 0 {
				n = together(rest, n, b, f)
				t.lora.Serve(b.Tastes[f.user(b, rest[0])])
			}
			idx := rest[:n]
			rest = rest[n:]
			if !f.put(b, idx) {
				continue
			}
			g.ForwardTo(loss)
			if err := t.Descend(g, loss); err != nil {
				return st, err
			}
			st.add(float64(loss.Value[0]), t.adam.Norm(), f.clipped(len(idx)))
		}
	}
	return st.mean(b), nil
}

// together brings up to n items of the first one's user to the front, and counts them.
func together(items []int, n int, b *Batch, f filler) int {
	k, who := 1, f.user(b, items[0])
	for i := 1; i < len(items) && k < n; i++ {
		if f.user(b, items[i]) == who {
			items[k], items[i] = items[i], items[k]
			k++
		}
	}
	return k
}

// shuffled is 0 to n-1 in some order, in idx's memory if it has enough.
func shuffled(idx []int, n int, rng *rand.Rand) []int {
	idx = idx[:0]
	for i := range n {
		idx = append(idx, i)
	}
	for i := n - 1; i > 0; i-- {
		j := rng.IntN(i + 1)
		idx[i], idx[j] = idx[j], idx[i]
	}
	return idx
}

// whole and number fill in a default.
func whole(v *int, d int) {
	if *v == 0 {
		*v = d
	}
}

func number(v *float64, d float64) {
	if *v == 0 {
		*v = d
	}
}
