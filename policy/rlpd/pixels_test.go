package rlpd_test

import (
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/rlpd"
)

func seeing(seed uint64) rlpd.Config {
	a := policytest.PixelArch()
	a.Hidden, a.Trunk.Shift = []int{16}, 1
	return rlpd.Config{
		Arch: a, Gamma: 0.9, Finite: true, Batch: 16, UTD: 1, Round: 3, Warmup: 4,
		Critics: 3, CriticHidden: []int{16}, Noise: 0.01, Stay: 0.01, Seed: seed,
	}
}

func TestLearnerThatSeesIsAKeeper(t *testing.T) {
	policytest.TestKeeper(t, policytest.Subject{
		New: func(seed uint64) (policy.Keeper, error) { return rlpd.New(seeing(seed), nil) },
		Others: map[string]func() (policy.Keeper, error){
			"Arch.Trunk is": func() (policy.Keeper, error) {
				c := seeing(1)
				c.Arch.Trunk.Latent = 7
				return rlpd.New(c, nil)
			},
		},
	})
}

// The clone goes beside the goal, which only the picture shows; the rewards lead
// to it.
func TestLearnsFromPixels(t *testing.T) {
	l, err := rlpd.New(rlpd.Config{
		Gamma: 0.9, Scale: 30, Finite: true, Batch: 64, UTD: 2, Round: 20, Warmup: 300, Critics: 5, CriticHidden: []int{64, 64},
		CriticLR: 1e-3, ActorLR: 1e-3, AlphaLR: 1e-3, Tau: 0.02, Steps: 3, Seed: 1,
	}, policytest.Clone(t, policytest.Pixels(), policytest.Poor(1), 1))
	if err != nil {
		t.Fatal(err)
	}
	policytest.Give(t, l, policytest.Poor(1)...)
	before := policytest.Rate(t, l)
	policytest.Practise(t, l, 60, 1, func(i int, s policy.Stats) {
		if i%15 == 14 {
			t.Logf("episode %d: %v", i, s.Metrics)
		}
	})
	after := policytest.Rate(t, l)
	t.Logf("success %v before and %v after", before, after)
	if before >= 0.5 || after < 0.8 {
		t.Errorf("success %v before and %v after, want below 0.5 and at least 0.8", before, after)
	}
}

func TestStepFromPixelsAllocatesItsReportAlone(t *testing.T) {
	l := learner(t, seeing(1), policytest.Demos(2, 1, [2]float64{})...)
	update(t, l)
	update(t, l)
	if n := testing.AllocsPerRun(5, func() { update(t, l) }); n > 1 {
		t.Errorf("three steps allocate %v times, want 1 for the report", n)
	}
}
