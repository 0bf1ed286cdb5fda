package iql_test

import (
	"fmt"
	"testing"

	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/iql"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func success(t *testing.T, l *iql.Learner) float64 {
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

// TestLearnsFromMixedDemonstrations: of three demonstrations one ends at the goal
// and two 20 cm beside it. Cloning averages them; IQL finds the good ones from
// the rewards, offline, and does not lose it online.
func TestLearnsFromMixedDemonstrations(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	if slow {
		seeds = seeds[:1]
	}
	beside := [2]float64{0.16, -0.12}
	for _, head := range []iql.Head{iql.Gaussian, iql.Deterministic} {
		for _, seed := range seeds {
			t.Run(fmt.Sprintf("head %d, seed %d", head, seed), func(t *testing.T) {
				prior := policytest.Demos(120, seed, [2]float64{}, beside, beside)
				net, _, err := bc.Train(t.Context(), bc.Config{Arch: bc.Arch{View: policytest.View(), Hidden: []int{64, 64}}, Steps: 500, Seed: seed}, prior, nil)
				if err != nil {
					t.Fatal(err)
				}
				l, err := iql.New(iql.Config{
					Gamma: 0.9, Scale: 30, Finite: true, Batch: 64, CriticHidden: []int{64, 64}, Round: 50, Head: head,
					Expectile: 0.9, Beta: 1, CriticLR: 1e-3, ValueLR: 1e-3, ActorLR: 1e-3, Tau: 0.02, Decay: 1000, Seed: seed,
				}, net)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range prior {
					if err := l.Add(t.Context(), e); err != nil {
						t.Fatal(err)
					}
				}
				cloned := success(t, l)
				for range 20 {
					update(t, l)
				}
				offline := success(t, l)
				for n := range 20 {
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
				online := success(t, l)
				t.Logf("success %v cloned, %v offline, %v after 20 episodes online", cloned, offline, online)
				if cloned > 0.5 || offline < 0.8 || online < 0.8 {
					t.Errorf("success %v cloned, %v offline, %v online, want at most 0.5, then at least 0.8", cloned, offline, online)
				}
			})
		}
	}
}
