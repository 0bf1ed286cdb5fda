package wire

import "github.com/rapport-rl/rapport/internal/seed"

// stream tells apart what draws seeds from the run's seed, so that no two uses
// share episodes: evaluation is on seeds that neither demonstrations nor
// learning have seen.
type stream uint64

const (
	demonstrations stream = iota + 1
	online
	evaluation
	film
	people
	networks
	exploration
	trial
)

// draw returns the n-th seed of a stream: SplitMix64 (Steele, Lea, Flood 2014)
// over the run's seed, the stream and n, so that it depends on nothing else.
func draw(run uint64, of stream, n int) uint64 {
	return seed.Mix(seed.Mix(seed.Mix(run)+uint64(of)) + uint64(n))
}
