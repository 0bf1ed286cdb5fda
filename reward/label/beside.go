package label

import (
	"math/rand/v2"
	"slices"
)

// Reasons for a question about what somebody found best so far (Query.Why).
const (
	Rooted = "root"  // beside something new
	Again  = "again" // once more, beside what it beat
)

// Beside shows the clips of with among new ones, each anywhere; where nothing is new, they
// are asked about again, in their own order. why is the question's.
func Beside(rng *rand.Rand, with, fresh []Clip) (clips []Clip, why string) {
	if len(fresh) == 0 {
		return with, Again
	}
	for _, c := range with {
		fresh = slices.Insert(fresh, rng.IntN(len(fresh)+1), c)
	}
	return fresh, Rooted
}
