package rlpd_test

import (
	"testing"

	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/rlpd"
)

func TestPresetsLearn(t *testing.T) {
	a := bc.Arch{View: plane(), Hidden: []int{8}}
	for name, c := range map[string]rlpd.Config{"states": rlpd.StatePaper(a), "pixels": rlpd.PixelsPaper(a), "HIL-SERL": rlpd.HILSERL(a)} {
		t.Run(name, func(t *testing.T) {
			if c.TargetEntropy != -1 {
				t.Errorf("target entropy = %v, want -1 for two actions", c.TargetEntropy)
			}
			c.Batch, c.CriticHidden, c.Seed = 8, []int{8}, 1 // as presets but quick
			s := update(t, learner(t, c, mixed(t)...))
			if got, want := s.Updates, map[string]uint64{"states": 20, "pixels": 1, "HIL-SERL": 2}[name]; got != want {
				t.Errorf("%d critic steps for one of the actor, want %d", got, want)
			}
			if !has(s, "actor_loss") {
				t.Error("the actor did not learn")
			}
		})
	}
}
