package heron

import (
	"context"
	"math"
	"sync"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
)

// Running normalises a reward by the mean and the standard deviation of all that it
// gave, as the authors do while policy and reward change. It
// implements reward.Scorer; what it gives depends on the order of calls.
type Running struct {
	Of reward.Scorer

	mu     sync.Mutex
	n      float64
	mean   float64
	square float64 // sum of squared differences from the mean (Welford 1962)
}

// Score implements reward.Scorer. The trajectory counts before it is normalised.
func (r *Running) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	if err := r.Of.Score(ctx, dst, traj); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range dst {
		r.n++
		d := x - r.mean
		r.mean += d / r.n
		r.square += d * (x - r.mean)
	}
	dev := math.Sqrt(r.square / r.n)
	if !(dev > 1e-9) {
		dev = 1
	}
	for i := range dst {
		dst[i] = (dst[i] - r.mean) / dev
	}
	return nil
}
