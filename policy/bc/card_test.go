//go:build cgo && !purego

package bc_test

import (
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func TestLearnerOnACardIsAKeeper(t *testing.T) {
	d := cudatest.Open(t)
	policytest.TestKeeper(t, policytest.Subject{New: imitator(func(c *bc.LearnerConfig) { c.Loss, c.Device = bc.Likelihood, d })})
}
