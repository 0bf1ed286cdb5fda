// Package critic holds what learners with value functions share: the networks
// that value states and actions, the rows that those read, the term that keeps
// them from promising too much where the data do not go, and what is told of
// their values.
//
// The networks are built here alone, so that all learners value the same view in
// the same way:
//
//	q := critic.NewQ("critic", v, 5, []int{256, 256}, rng) // five values of an action
//	xa := g.Input(batch, q.Config.In)
//	critic.Pack(xa.Value, rows, actions)
//	values := q.Forward(g, xa) // (5, batch, 1)
package critic

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/view"
)

// NewQ draws members networks that value actions: normalised rows with actions
// (B, D+k), as Pack joins them, to (members, B, 1). They have LayerNorm before
// each activation, which bounds what they say far from the data (Ball et al.
// 2023, arXiv:2302.02948, section 4.2).
func NewQ(name string, v view.Config, members int, hidden []int, rng *rand.Rand) *nn.MLP {
	return NewQOf(name, v.Dim()+v.Action.Dim(), members, hidden, rng)
}

// NewQOf is NewQ for what has in numbers with the actions, as rows with latents
// of frames beside them.
func NewQOf(name string, in, members int, hidden []int, rng *rand.Rand) *nn.MLP {
	return nn.NewMLP(name, nn.MLPConfig{In: in, Hidden: hidden, Out: 1, Members: members, LayerNorm: true}, rng)
}

// NewV draws a network that values states: normalised rows (B, D) to (B, 1).
func NewV(name string, v view.Config, hidden []int, rng *rand.Rand) *nn.MLP {
	return NewVOf(name, v.Dim(), hidden, rng)
}

// NewVOf is NewV for what has in numbers.
func NewVOf(name string, in int, hidden []int, rng *rand.Rand) *nn.MLP {
	return nn.NewMLP(name, nn.MLPConfig{In: in, Hidden: hidden, Out: 1, LayerNorm: true}, rng)
}

// Pack writes the rows obs (B, D) with the actions act (B, k) to dst (B, D+k).
func Pack(dst, obs, act []float32, k int) {
	B := len(act) / k
	D := len(obs) / B
	if len(dst) != B*(D+k) {
		panic("critic: rows and actions do not fill the batch")
	}
	for i := range B {
		row := dst[i*(D+k) : (i+1)*(D+k)]
		copy(row, obs[i*D:(i+1)*D])
		copy(row[D:], act[i*k:(i+1)*k])
	}
}

// Demos is how many of the n rows of a batch are to be of the demonstration
// side: the share of them, or with pool as many as both sides drawn from as one
// would give. While one side is empty, all comes from the other.
func Demos(c buffer.Count, n int, share float64, pool bool) int {
	switch {
	case c.Online == 0:
		return n
	case c.Demo == 0:
		return 0
	case pool:
		share = float64(c.Demo) / float64(c.Demo+c.Online)
	}
	return int(math.Round(share * float64(n)))
}

// Normal fills x with standard normal noise.
func Normal(x []float32, rng *rand.Rand) {
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
}

// Choose draws len(idx) of so many members without repetition.
func Choose(idx []int, members int, rng *rand.Rand) {
	for i := range idx {
		idx[i] = rng.IntN(members)
		for slices.Contains(idx[:i], idx[i]) {
			idx[i] = rng.IntN(members)
		}
	}
}

// Repeat lists each of 0 .. n-1 times times, for nn.Graph.Select: rows beside
// which several actions each are valued.
func Repeat(n, times int) []int {
	idx := make([]int, 0, n*times)
	for i := range n {
		for range times {
			idx = append(idx, i)
		}
	}
	return idx
}

// Look sums up what an ensemble says of the batches it is shown.
type Look struct{ low, high, spread, batches float64 }

// Add looks at the values q (E, B) of one batch.
func (l *Look) Add(q []float32, members int) {
	B := len(q) / members
	low, high, spread := math.Inf(1), math.Inf(-1), 0.0
	for i := range B {
		mean, square := 0.0, 0.0
		for e := range members {
			mean += float64(q[e*B+i]) / float64(members)
		}
		for e := range members {
			d := float64(q[e*B+i]) - mean
			square += d * d / float64(members)
		}
		low, high, spread = min(low, mean), max(high, mean), spread+math.Sqrt(square)/float64(B)
	}
	l.low, l.high, l.spread, l.batches = l.low+low, l.high+high, l.spread+spread, l.batches+1
}

// Append appends the means over the batches: the smallest and the largest value
// of a batch, and how far the members are apart (one deviation).
func (l *Look) Append(ms []policy.Metric) []policy.Metric {
	n := max(1, l.batches)
	return append(ms,
		policy.Metric{Name: "q_low", Value: l.low / n},
		policy.Metric{Name: "q_high", Value: l.high / n},
		policy.Metric{Name: "q_spread", Value: l.spread / n})
}
