package ppo_test

import (
	"fmt"
	"testing"

	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/ppo"
)

// TestLearnsFromAPoorClone in the order of a session: every episode is acted by
// the parameters of the round before.
func TestLearnsFromAPoorClone(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if slow {
		seeds = seeds[:1]
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			l, err := ppo.New(ppo.Config{
				Gamma: 0.9, Scale: 3, Finite: true, Ticks: 300, Batch: 75, Warmup: 1, Clip: 0.2, ValueHidden: []int{64, 64},
				ActorLR: 5e-4, Decay: 50, Seed: seed,
			}, policytest.Clone(t, policytest.Rows(), policytest.Poor(seed), seed))
			if err != nil {
				t.Fatal(err)
			}
			before := policytest.Rate(t, l)
			policytest.Practise(t, l, 1000, seed, nil)
			after := policytest.Rate(t, l)
			t.Logf("success %v before and %v after 1000 episodes", before, after)
			if before > 0.2 || after < 0.8 {
				t.Errorf("success %v before and %v after, want at most 0.2 and at least 0.8", before, after)
			}
		})
	}
}
