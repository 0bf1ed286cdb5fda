package preference_test

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/preference"
)

// Somebody prefers the clip that ends further to the right; the fitted reward is then
// given to an episode that goes there.
func ExampleFitRLHF() {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(1, 1))
	var pairs []preference.Pair
	for range 60 {
		p := preference.Pair{Verdict: preference.Second}
		for _, c := range [2]*preference.Clip{&p.A, &p.B} {
			speed := rng.Float64()
			c.D = 2 // where it is, and something that does not matter
			for t := range 5 {
				c.Embed = append(c.Embed, float32(speed*float64(t)), float32(rng.NormFloat64()))
			}
		}
		if p.A.Frame(4)[0] > p.B.Frame(4)[0] {
			p.Verdict = preference.First
		}
		pairs = append(pairs, p)
	}
	net, report, err := preference.FitRLHF(ctx, pairs, preference.Config{Linear: true, Rate: 1e-2, Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	episode := []perception.Features{{Embed: []float32{0, 0}}, {Embed: []float32{1, 0}}, {Embed: []float32{2, 0}}}
	rewards := make([]float64, 2)
	if err := net.Score(ctx, rewards, episode); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Train, "pairs trained on,", report.Held, "held out")
	fmt.Println("further is better:", rewards[1] > rewards[0])
	// Output:
	// 48 pairs trained on, 12 held out
	// further is better: true
}
