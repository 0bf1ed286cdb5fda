package align

import (
	"errors"
	"fmt"
	"math/rand/v2"
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
	return b.check(len(t.hops), t.len(), t.net.Seen())
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
