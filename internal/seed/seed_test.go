package seed_test

import (
	"math"
	"math/bits"
	"testing"

	"github.com/rapport-rl/rapport/internal/seed"
)

// TestMixIsSplitMix64: the first numbers of the reference generator from state 0,
// as its author's splitmix64.c gives them.
func TestMixIsSplitMix64(t *testing.T) {
	for i, want := range []uint64{0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f} {
		if got := seed.Mix(uint64(i) * 0x9e3779b97f4a7c15); got != want {
			t.Errorf("number %d = %#x, want %#x", i, got, want)
		}
	}
}

func TestMixSpreadsOneBit(t *testing.T) {
	flips := 0
	for x := range uint64(1000) {
		for b := range 64 {
			flips += bits.OnesCount64(seed.Mix(x) ^ seed.Mix(x^1<<b))
		}
	}
	// Deviation of the mean of 64000 draws of 64 bits: 0.016.
	if mean := float64(flips) / 64000; math.Abs(mean-32) > 0.1 {
		t.Errorf("a flipped bit flips %v bits on the average, want 32", mean)
	}
}
