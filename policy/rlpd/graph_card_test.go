//go:build cgo && !purego

package rlpd

import (
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/critic"
	"github.com/rapport-rl/rapport/policy/policytest"
)

// What is read of the graphs of many critics, or of many actions a row, is more than
// a pass brings back by itself.
func TestLargeGraphsOnACard(t *testing.T) {
	const B, E, best = 64, 257, 257
	read := func(on device.Device) []float32 {
		rng := rand.New(rand.NewPCG(3, 4))
		actor, err := bc.NewNet(policytest.Arch(), rng)
		if err != nil {
			t.Fatal(err)
		}
		values := nn.NewMLP("q", nn.MLPConfig{In: actor.Dim() + 2, Hidden: []int{4}, Out: 1, Members: E}, rng)
		r := newRegression(values, B, false, false, on)
		critic.Normal(r.xa.Value, rng)
		r.g.Forward()
		told := append([]float32(nil), r.q.Value...)

		next := newTarget(actor, values, B, 2, best, on)
		critic.Normal(next.x.Value, rng)
		critic.Normal(next.noise.Value, rng)
		next.idx[1] = 1
		y, reward, discount := make([]float32, B), make([]float32, B), make([]float32, B)
		critic.Normal(reward, rng)
		critic.Normal(discount, rng)
		next.into(y, reward, discount, 0.1, true)
		return append(told, y...)
	}
	got, want := read(cudatest.Open(t)), read(nil)
	for i, w := range want {
		if d := got[i] - w; !(d < 1e-3 && d > -1e-3) {
			t.Fatalf("number %d of %d is %v on the card, %v on the processor", i, len(want), got[i], w)
		}
	}
}
