//go:build cgo && !purego

package rlpd_test

import (
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/rlpd"
)

// What a learner computes on an accelerator it also saves, shows and goes on from.
func TestLearnerOnACardIsAKeeper(t *testing.T) {
	d := cudatest.Open(t)
	policytest.TestKeeper(t, policytest.Subject{New: func(seed uint64) (policy.Keeper, error) {
		c := small()
		c.Seed, c.Device = seed, d
		return rlpd.New(c, nil)
	}})
}

func TestCardAndProcessorLearnAlike(t *testing.T) {
	d := cudatest.Open(t)
	c := seeing(1)
	c.DrM, c.Health = &rlpd.DrM{Every: 4}, true
	l := learner(t, c, policytest.Demos(2, 1, [2]float64{})...)
	c.Device = d
	m := learner(t, c, policytest.Demos(2, 1, [2]float64{})...)
	for range 2 {
		want, got := update(t, l), update(t, m)
		for i, w := range want.Metrics {
			// Sums in another order, some steps long.
			if g := got.Metrics[i]; g.Name != w.Name || !(max(g.Value-w.Value, w.Value-g.Value) <= 1e-3*(max(w.Value, -w.Value)+0.1)) {
				t.Errorf("%s is %v on the card, %v on the processor", w.Name, g.Value, w.Value)
			}
		}
	}
}
