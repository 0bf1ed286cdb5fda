//go:build cgo && !purego

package diffusion

import (
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func TestLearnerOnACardIsAKeeper(t *testing.T) {
	d := cudatest.Open(t)
	policytest.TestKeeper(t, policytest.Subject{
		New:     learner(func(c *Config) { c.Device = d }),
		Player:  player,
		Metrics: []string{"denoise_loss", "actor_grad", "rate", "decay"},
	})
}
