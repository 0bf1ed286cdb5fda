package rlpd_test

import (
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/rlpd"
)

func TestLearnerIsAKeeperWhateverItsReplay(t *testing.T) {
	policytest.TestReplay(t, policytest.Replayed{
		New: func(seed uint64, r policytest.Replay) (policytest.Replaying, error) {
			c := policyConfig(seed)
			c.Dir, c.Capacity, c.Prioritised = r.Dir, r.Capacity, r.Prioritised
			return rlpd.New(c, nil)
		},
		Others: map[string]func() (policy.Keeper, error){
			"Critics is": func() (policy.Keeper, error) {
				c := policyConfig(1)
				c.Critics = 5
				return rlpd.New(c, nil)
			},
		},
	})
}

func policyConfig(seed uint64) rlpd.Config {
	c := small()
	c.Arch, c.Seed, c.Steps = policytest.Arch(), seed, 2
	return c
}

func TestLearnerThatSeesIsAKeeperOfJPEGs(t *testing.T) {
	policytest.TestKeeper(t, policytest.Subject{
		New: func(seed uint64) (policy.Keeper, error) {
			c := seeing(seed)
			c.JPEG, c.Dir, c.Prioritised = 90, t.TempDir(), policytest.ByPriority()
			l, err := rlpd.New(c, nil)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return l, err
		},
	})
}

// TestLearnsByPriority: as TestLearnsFromAPoorClone.
func TestLearnsByPriority(t *testing.T) {
	l, err := rlpd.New(rlpd.Config{
		Gamma: 0.9, Scale: 30, Finite: true, Batch: 64, UTD: 2, Round: 20, Warmup: 300, Critics: 5, CriticHidden: []int{64, 64},
		CriticLR: 1e-3, ActorLR: 1e-3, AlphaLR: 1e-3, Tau: 0.02, Steps: 3, Seed: 1, Prioritised: buffer.Prioritised{Alpha: 0.6, Beta: 0.4, BetaSteps: 2000},
	}, policytest.Clone(t, policytest.Rows(), policytest.Poor(1), 1))
	if err != nil {
		t.Fatal(err)
	}
	policytest.Give(t, l, policytest.Poor(1)...)
	before := policytest.Rate(t, l)
	policytest.Practise(t, l, 50, 1, nil)
	after := policytest.Rate(t, l)
	t.Logf("success %v before and %v after", before, after)
	if before >= 0.5 || after < 0.9 {
		t.Errorf("success %v before and %v after, want below 0.5 and at least 0.9", before, after)
	}
}
