package preference_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/rank"
)

// pushed is a clip of something pushed towards a goal, how far differs, before colours
// that drift, and its mean distance to the goal with the sign turned.
func pushed(rng *rand.Rand) (preference.Clip, float64) {
	const T, colours = 15, 17
	far, side := rng.Float64(), 0.3*rng.NormFloat64()
	colour := make([]float64, colours)
	for i := range colour {
		colour[i] = 1.5 * rng.NormFloat64()
	}
	c := preference.Clip{D: 3 + colours}
	var r float64
	for t := range T {
		at := float64(t+1) / T
		r -= (1 - far*at + 0.5*math.Abs(side)*at) / T
		c.Embed = append(c.Embed, float32(far*at), float32(side*at), float32(far*far*at*at))
		for i := range colour {
			colour[i] += 0.2 * rng.NormFloat64()
			c.Embed = append(c.Embed, float32(colour[i]))
		}
	}
	return c, r
}

// The committed script of RAPL's authors confuses the slots of a triplet and so trains
// its RLHF baseline on preferred against middling clips alone, never on bad ones. Here is what
// that costs a baseline that is otherwise the same.
func TestEveryPairOfATripletCounts(t *testing.T) {
	const triplets, seeds = 150, 3
	var whole, confused float64
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 9))
		type graded struct {
			clip  preference.Clip
			worth float64
		}
		var pool []graded
		for range 60 {
			c, r := pushed(rng)
			pool = append(pool, graded{c, r})
		}
		slices.SortFunc(pool, func(a, b graded) int {
			if a.worth > b.worth {
				return -1
			}
			return 1
		})
		var all, mistaken []preference.Pair
		for range triplets {
			best := pool[rng.IntN(8)].clip
			i, j := 8+rng.IntN(52), 8+rng.IntN(52)
			if i > j {
				i, j = j, i
			}
			middling, bad := pool[i].clip, pool[j].clip
			all = append(all, preference.Pair{A: middling, B: bad, Verdict: preference.First}, preference.Pair{A: best, B: bad, Verdict: preference.First})
			mistaken = append(mistaken, preference.Pair{A: best, B: middling, Verdict: preference.First})
		}
		a, _ := fit(t, all, preference.Config{Linear: true, Members: 1, Rate: 1e-2, Epochs: 100, Seed: seed})
		b, _ := fit(t, mistaken, preference.Config{Linear: true, Members: 1, Rate: 1e-2, Epochs: 100, Seed: seed})
		var want, got, less []float64
		for range 100 {
			c, r := pushed(rng)
			u, err := a.Utility(c)
			v, err2 := b.Utility(c)
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			want, got, less = append(want, r), append(got, u), append(less, v)
		}
		whole += rank.Spearman(got, want) / seeds
		confused += rank.Spearman(less, want) / seeds
	}
	t.Logf("Spearman %.3f with every pair, %.3f with the slots confused", whole, confused)
	if whole < 0.8 {
		t.Errorf("Spearman %v with every pair, want 0.8", whole)
	}
	if confused > whole-0.15 {
		t.Errorf("Spearman %v with the slots confused, %v with every pair", confused, whole)
	}
}
