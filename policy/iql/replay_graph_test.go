package iql

import (
	"testing"

	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func TestCriticLossIsWeighted(t *testing.T) {
	l := tiny(t, func(c *Config) { c.Prioritised.Alpha = 0.6 })
	policytest.TestWeighedLoss(t, policytest.Weighed{
		Graph: l.fitQ.g, Loss: l.fitQ.loss, Params: l.criticParams, W: l.fitQ.w.Value, Y: l.fitQ.y.Value, Put: func(obs, act []float32) { pack(l.fitQ.xa, obs, act) },
	})
}

func TestPrioritisedStep(t *testing.T) {
	l, err := New(Config{Arch: policytest.Arch(), Batch: 16, CriticHidden: []int{16, 16},
		Prioritised: buffer.Prioritised{Alpha: 0.6, Beta: 0.4}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	policytest.TestPrioritised(t, policytest.Prioritised{
		Keeper: l, Replay: l.replay, Step: func() error { return l.step(16) },
		Batch: l.batch, W: l.fitQ.w.Value, Mean: l.fitQ.mean.Value, Y: l.fitQ.y.Value, Told: l.td,
	})
}
