package pal_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/preference/pal"
	"github.com/rapport-rl/rapport/reward/preference/vpl"
)

// BenchmarkAnnotators tells how many new answers of as many people, each of one of two
// tastes, are foretold after as many answers of each (docs/preferences.md): mean of five
// seeds, by RLHF of all, RLHF of each alone (both linear), PAL and VPL:
// go test -run "^$" -bench Annotators -benchtime 1x ./reward/preference/pal
func BenchmarkAnnotators(b *testing.B) {
	const seeds = 5
	for _, people := range []int{2, 4, 8, 16} {
		for _, n := range []int{10, 20, 40, 80} {
			b.Run(fmt.Sprintf("people=%d/answers=%d", people, n), func(b *testing.B) {
				var sum [4]float64
				for b.Loop() {
					sum = [4]float64{}
					for seed := range uint64(seeds) {
						for i, a := range annotators(b, people, n, seed) {
							sum[i] += a / seeds
						}
					}
				}
				for i, name := range []string{"all", "alone", "PAL", "VPL"} {
					b.ReportMetric(sum[i], name)
				}
			})
		}
	}
}

// annotators are the shares that are foretold in one crowd.
func annotators(b *testing.B, people, n int, seed uint64) (right [4]float64) {
	const D = 16
	rng := rand.New(rand.NewPCG(seed, 77))
	var tastes [2][]float64 // of length √2, as groups
	for g := range tastes {
		square := 0.0
		for range D {
			x := rng.NormFloat64()
			tastes[g] = append(tastes[g], x)
			square += x * x
		}
		for j := range D {
			tastes[g][j] *= math.Sqrt(2 / square)
		}
	}
	ask := func(n, u int) []preference.Pair {
		var ps []preference.Pair
		for range n {
			p := preference.Pair{Annotator: fmt.Sprintf("p%02d", u), Verdict: preference.Second}
			for _, c := range []*preference.Clip{&p.A, &p.B} {
				c.D = D
				for range D {
					c.Embed = append(c.Embed, float32(rng.NormFloat64()))
				}
			}
			if rng.Float64() < preference.BradleyTerry.Odds(sure*(utility(p.A, tastes[u%2])-utility(p.B, tastes[u%2])), 0).First {
				p.Verdict = preference.First
			}
			ps = append(ps, p)
		}
		return ps
	}
	var train, fresh []preference.Pair
	alone := map[string]preference.Model{}
	for u := range people {
		own := ask(n, u)
		train, fresh = append(train, own...), append(fresh, ask(1000/people, u)...)
		m, _, err := preference.FitRLHF(b.Context(), own, preference.Config{Linear: true, Rate: 1e-2, Seed: seed})
		if err != nil {
			b.Fatal(err)
		}
		alone[own[0].Annotator] = m
	}
	all, _, err := preference.FitRLHF(b.Context(), train, preference.Config{Linear: true, Rate: 1e-2, Seed: seed})
	if err != nil {
		b.Fatal(err)
	}
	p, _, err := pal.Fit(b.Context(), train, pal.Config{Linear: true, Seed: seed})
	if err != nil {
		b.Fatal(err)
	}
	v, _, err := vpl.Fit(b.Context(), train, vpl.Config{People: people, Seed: seed})
	if err != nil {
		b.Fatal(err)
	}
	for i, view := range []func(who string) (preference.Model, error){
		func(string) (preference.Model, error) { return all, nil },
		func(who string) (preference.Model, error) { return alone[who], nil },
		func(who string) (preference.Model, error) { return p.User(who) },
		func(who string) (preference.Model, error) { return v.User(who) },
	} {
		m, err := preference.EvaluateBy(fresh, func(p preference.Pair) (preference.Model, error) { return view(p.Annotator) })
		if err != nil {
			b.Fatal(err)
		}
		right[i] = m.Accuracy
	}
	return right
}
