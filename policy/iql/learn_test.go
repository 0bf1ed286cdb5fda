package iql_test

import (
	"fmt"
	"testing"

	"github.com/rapport-rl/rapport/policy/iql"
	"github.com/rapport-rl/rapport/policy/policytest"
)

// TestLearnsFromMixedDemonstrations: of three demonstrations one ends at the goal
// and two 20 cm beside it. Cloning averages them; IQL finds the good ones from
// the rewards, offline, and does not lose it online.
func TestLearnsFromMixedDemonstrations(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if slow {
		seeds = seeds[:1]
	}
	for _, head := range []iql.Head{iql.Gaussian, iql.Deterministic} {
		for _, seed := range seeds {
			t.Run(fmt.Sprintf("head %d, seed %d", head, seed), func(t *testing.T) {
				prior := policytest.Mixed(seed)
				l, err := iql.New(iql.Config{
					Gamma: 0.9, Scale: 30, Finite: true, Batch: 64, CriticHidden: []int{64, 64}, Round: 50, Head: head,
					Expectile: 0.9, Beta: 1, CriticLR: 1e-3, ValueLR: 1e-3, ActorLR: 1e-3, Tau: 0.02, Decay: 1000, Seed: seed,
				}, policytest.Clone(t, policytest.Rows(), prior, seed))
				if err != nil {
					t.Fatal(err)
				}
				policytest.Give(t, l, prior...)
				cloned := policytest.Rate(t, l)
				policytest.Learn(t, l, 20)
				offline := policytest.Rate(t, l)
				policytest.Practise(t, l, 20, seed, nil)
				online := policytest.Rate(t, l)
				t.Logf("success %v cloned, %v offline, %v after 20 episodes online", cloned, offline, online)
				if cloned > 0.5 || offline < 0.8 || online < 0.8 {
					t.Errorf("success %v cloned, %v offline, %v online, want at most 0.5, then at least 0.8", cloned, offline, online)
				}
			})
		}
	}
}
