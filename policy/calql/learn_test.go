package calql_test

import (
	"fmt"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/calql"
	"github.com/rapport-rl/rapport/policy/critic"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/rlpd"
)

// TestLearnsFromMixedDemonstrations: of three demonstrations one ends at the goal
// and two 20 cm beside it. Cloning averages them; Cal-QL finds the good ones from
// the rewards, offline, and does not lose it at the first episodes online.
func TestLearnsFromMixedDemonstrations(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if slow {
		seeds = seeds[:1]
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			prior := policytest.Mixed(seed)
			l, err := calql.New(calql.Config{
				Config: rlpd.Config{
					Gamma: 0.9, Scale: 30, Finite: true, Batch: 96, CriticHidden: []int{64, 64}, Best: 3, Round: 20,
					CriticLR: 1e-3, ActorLR: 1e-3, AlphaLR: 1e-3, Alpha: 0.1, Tau: 0.02, Seed: seed,
				},
				Conserve: critic.Conserve{Weight: 1, Actions: 3},
			}, policytest.Clone(t, policytest.Rows(), prior, seed))
			if err != nil {
				t.Fatal(err)
			}
			policytest.Give(t, l, prior...)
			cloned := policytest.Rate(t, l)
			policytest.Learn(t, l, 60)
			offline, least := policytest.Rate(t, l), 1.0
			policytest.Practise(t, l, 12, seed, func(i int, _ policy.Stats) {
				if i < 5 {
					least = min(least, policytest.Rate(t, l))
				}
			})
			online := policytest.Rate(t, l)
			t.Logf("success %v cloned, %v offline, at least %v in the first five rounds online and %v after 12", cloned, offline, least, online)
			if cloned > 0.5 || offline < 0.8 {
				t.Errorf("success %v cloned and %v offline, want at most 0.5 and at least 0.8", cloned, offline)
			}
			if least < offline-0.15 || online < 0.85 {
				t.Errorf("success %v offline, down to %v in the first rounds online and %v after 12: want no fall by more than 0.15, then 0.85", offline, least, online)
			}
		})
	}
}
