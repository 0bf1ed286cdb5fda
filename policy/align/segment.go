package align

import (
	"math"
	"math/rand/v2"
)

// Attenuation is the weight of frame i of a clip of frames, e^(-lambda |i - frames/2|):
// the middle counts most (InstructVideo, Yuan et al. 2023, arXiv:2312.12490, temporally
// attenuated reward). The published lambda of 1 is for 16 frames; scale it by 16/frames
// for longer clips, of which it would see the middle alone.
func Attenuation(i, frames int, lambda float64) float64 {
	return math.Exp(-lambda * math.Abs(float64(i)-float64(frames)/2))
}

// Segmental rates a clip of frames by one random frame of each of n segments of equal
// length, weighed by their Attenuation and averaged (InstructVideo, segmental video
// reward). A lambda of 0 weighs all alike. Drawing by segments has no more variance than
// drawing frames anywhere.
func Segmental(frame func(i int) float64, frames, n int, lambda float64, rng *rand.Rand) float64 {
	if n < 1 || frames < n {
		panic("align: Segmental: fewer frames than segments")
	}
	sum := 0.0
	for s := range n {
		lo, hi := s*frames/n, (s+1)*frames/n
		i := lo + rng.IntN(hi-lo)
		sum += Attenuation(i, frames, lambda) * frame(i)
	}
	return sum / float64(n)
}
