//go:build cgo && !purego

package ppo_test

import (
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/ppo"
)

func TestLearnerOnACardIsAKeeper(t *testing.T) {
	d := cudatest.Open(t)
	policytest.TestKeeper(t, policytest.Subject{New: func(seed uint64) (policy.Keeper, error) {
		c := small()
		c.Seed, c.Ticks, c.Keep, c.Device = seed, policytest.Ticks, 3, d
		return ppo.New(c, nil)
	}})
}
