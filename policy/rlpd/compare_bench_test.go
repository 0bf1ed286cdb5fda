package rlpd_test

import (
	"fmt"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/rlpd"
)

// BenchmarkVariants reports how often the plane reach succeeds after so many episodes
// online, over five seeds: go test -run '^$' -bench Variants -benchtime 1x ./policy/rlpd
//
// As in TestLearnsByPriority the clone ends 15 cm beside the goal.
func BenchmarkVariants(b *testing.B) {
	for _, v := range []struct {
		name   string
		change func(c *rlpd.Config)
	}{
		{"uniform", func(*rlpd.Config) {}},
		{"by priority", func(c *rlpd.Config) { c.Prioritised = buffer.Prioritised{Alpha: 0.6, Beta: 0.4, BetaSteps: 1200} }},
		{"DrM", func(c *rlpd.Config) { c.DrM = &rlpd.DrM{Every: 400} }},
		{"DrM with its noise", func(c *rlpd.Config) { c.DrM = &rlpd.DrM{Every: 400, Noise: 0.3} }},
	} {
		b.Run(v.name, func(b *testing.B) {
			for b.Loop() {
				rates := map[int]float64{}
				for seed := uint64(1); seed <= 5; seed++ {
					prior := policytest.Poor(seed)
					c := rlpd.Config{
						Gamma: 0.9, Scale: 30, Finite: true, Batch: 64, UTD: 2, Round: 10, Warmup: 200, Critics: 5, CriticHidden: []int{64, 64},
						CriticLR: 1e-3, ActorLR: 1e-3, AlphaLR: 1e-3, Tau: 0.02, Steps: 3, Seed: seed,
					}
					v.change(&c)
					l, err := rlpd.New(c, policytest.Clone(b, policytest.Rows(), prior, seed))
					if err != nil {
						b.Fatal(err)
					}
					policytest.Give(b, l, prior...)
					line := ""
					policytest.Practise(b, l, 60, seed, func(i int, _ policy.Stats) {
						if n := i + 1; n%15 == 0 {
							rate := policytest.Rate(b, l)
							rates[n] += rate / 5
							line += fmt.Sprintf(" %d: %.2f", n, rate)
						}
					})
					b.Logf("seed %d, success after episodes%s", seed, line)
				}
				for _, n := range []int{15, 30, 45, 60} {
					b.ReportMetric(rates[n], fmt.Sprintf("success-%d", n))
				}
			}
		})
	}
}
