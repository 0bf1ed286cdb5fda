//go:build cgo && !purego

package bc_test

import (
	"math"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func TestLearnerOnACardIsAKeeper(t *testing.T) {
	d := cudatest.Open(t)
	policytest.TestKeeper(t, policytest.Subject{New: imitator(func(c *bc.LearnerConfig) { c.Loss, c.Device = bc.Likelihood, d })})
}

// With many latents what the head reads is more than a pass brings back by itself.
func TestWideEyeOnACard(t *testing.T) {
	d := cudatest.Open(t)
	l, err := imitator(func(c *bc.LearnerConfig) {
		c.Arch, c.Device = policytest.PixelArch(), d
		c.Arch.Trunk.Latent = 1025
	})(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range policytest.Demos(1, 1, [2]float64{}) {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	s, err := l.Update(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range s.Metrics {
		if math.IsNaN(m.Value) {
			t.Errorf("%s is %v", m.Name, m.Value)
		}
	}
}
