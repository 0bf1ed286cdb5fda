package rlpd

import (
	"testing"

	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func TestCriticLossIsWeighted(t *testing.T) {
	l := tiny(func(c *Config) { c.Prioritised.Alpha = 0.6 })
	policytest.TestWeighedLoss(t, policytest.Weighed{
		Graph: l.fit.g, Loss: l.fit.loss, Params: l.criticParams, W: l.fit.w.Value, Y: l.fit.y.Value, Put: l.fit.put,
	})
}

func TestPrioritisedStep(t *testing.T) {
	l, err := New(Config{Arch: policytest.Arch(), Batch: 16, CriticHidden: []int{16, 16},
		Prioritised: buffer.Prioritised{Alpha: 0.6, Beta: 0.4}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	policytest.TestPrioritised(t, policytest.Prioritised{
		Keeper: l, Replay: l.replay, Step: func() error { return l.criticStep(16) },
		Batch: l.batch, W: l.fit.w.Value, Mean: l.fit.mean.Value, Y: l.fit.y.Value, Told: l.td,
	})
}
