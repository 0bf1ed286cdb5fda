package ppo_test

import (
	"fmt"
	"testing"

	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/ppo"
)

func success(t *testing.T, l *ppo.Learner) float64 {
	t.Helper()
	ps, err := l.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, err := policytest.Success(t.Context(), ps)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestLearnsFromAPoorClone in the order of a session: every episode is acted by
// the parameters of the round before.
func TestLearnsFromAPoorClone(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if slow {
		seeds = seeds[:1]
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			prior := policytest.Demos(10, seed, [2]float64{0.12, -0.09})
			net, _, err := bc.Train(t.Context(), bc.Config{Arch: bc.Arch{View: policytest.View(), Hidden: []int{64, 64}}, Steps: 500, Seed: seed}, prior, nil)
			if err != nil {
				t.Fatal(err)
			}
			l, err := ppo.New(ppo.Config{
				Gamma: 0.9, Scale: 3, Finite: true, Ticks: 300, Batch: 75, Warmup: 1, Clip: 0.2, ValueHidden: []int{64, 64},
				ActorLR: 5e-4, Decay: 50, Seed: seed,
			}, net)
			if err != nil {
				t.Fatal(err)
			}
			before := success(t, l)
			for n := range 1000 {
				ps, err := l.Latest(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				update(t, l)
				e, err := policytest.Explore(t.Context(), ps, n, seed)
				if err != nil {
					t.Fatal(err)
				}
				if err := l.Add(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			after := success(t, l)
			t.Logf("success %v before and %v after 1000 episodes", before, after)
			if before > 0.2 || after < 0.8 {
				t.Errorf("success %v before and %v after, want at most 0.2 and at least 0.8", before, after)
			}
		})
	}
}
