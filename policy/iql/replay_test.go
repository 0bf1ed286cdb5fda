package iql_test

import (
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/iql"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func TestLearnerIsAKeeperWhateverItsReplay(t *testing.T) {
	policytest.TestReplay(t, policytest.Replayed{
		New: func(seed uint64, r policytest.Replay) (policytest.Replaying, error) {
			c := policyConfig(seed)
			c.Dir, c.Capacity, c.Prioritised = r.Dir, r.Capacity, r.Prioritised
			return iql.New(c, nil)
		},
		Others: map[string]func() (policy.Keeper, error){
			"Critics is": func() (policy.Keeper, error) {
				c := policyConfig(1)
				c.Critics = 5
				return iql.New(c, nil)
			},
		},
	})
}

func policyConfig(seed uint64) iql.Config {
	c := small()
	c.Arch, c.Seed, c.Steps = policytest.Arch(), seed, 2
	return c
}

// TestLearnsByPriority: as TestLearnsFromMixedDemonstrations, offline.
func TestLearnsByPriority(t *testing.T) {
	prior := policytest.Mixed(1)
	l, err := iql.New(iql.Config{
		Gamma: 0.9, Scale: 30, Finite: true, Batch: 64, CriticHidden: []int{64, 64}, Round: 50,
		Expectile: 0.9, Beta: 1, CriticLR: 1e-3, ValueLR: 1e-3, ActorLR: 1e-3, Tau: 0.02, Decay: 1000, Seed: 1,
		Prioritised: buffer.Prioritised{Alpha: 0.6, Beta: 0.4, BetaSteps: 1000},
	}, policytest.Clone(t, policytest.Rows(), prior, 1))
	if err != nil {
		t.Fatal(err)
	}
	policytest.Give(t, l, prior...)
	cloned := policytest.Rate(t, l)
	policytest.Learn(t, l, 20)
	offline := policytest.Rate(t, l)
	t.Logf("success %v cloned, %v offline", cloned, offline)
	if cloned > 0.5 || offline < 0.8 {
		t.Errorf("success %v cloned, %v offline, want at most 0.5, then at least 0.8", cloned, offline)
	}
}

// TestSpreadOfAFolder: what the folder held before counts once it is added again.
func TestSpreadOfAFolder(t *testing.T) {
	c := policyConfig(1)
	c.Spread = 100
	es := policytest.Demos(3, 1, [2]float64{})
	want := metric(t, update(t, learner(t, c, es...)), "reward_mean")
	c.Dir = t.TempDir()
	l := learner(t, c, es...)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = learner(t, c, es...)
	defer l.Close()
	if got := metric(t, update(t, l), "reward_mean"); got != want {
		t.Errorf("mean reward = %v from a folder, want %v", got, want)
	}
}
