package wire

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
)

// draw returns the n-th seed of a stream: SplitMix64 (Steele, Lea, Flood 2014)
// over the run's seed, the stream and n, so that it depends on nothing else.
func draw(seed uint64, of stream, n int) uint64 {
	return mix(mix(mix(seed)+uint64(of)) + uint64(n))
}

func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
