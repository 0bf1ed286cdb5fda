//go:build cgo && !purego

package critic

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
	"github.com/rapport-rl/rapport/policy/bc"
)

// The values of a large batch are more than a pass brings back by itself.
func TestTermOfALargeBatchOnACard(t *testing.T) {
	const B, E = 256, 5
	c := Conserve{Weight: 0.7}
	if err := c.Complete(); err != nil {
		t.Fatal(err)
	}
	add := func(on device.Device) (gap, bound float64) {
		rng := rand.New(rand.NewPCG(3, 4))
		actor, err := bc.NewNet(bc.Arch{View: look(), Hidden: []int{5}}, rng)
		if err != nil {
			t.Fatal(err)
		}
		q := nn.NewMLP("q", nn.MLPConfig{In: actor.Dim() + 2, Hidden: []int{4}, Out: 1, Members: E}, rng)
		rows := Rows{Obs: make([]float32, B*actor.Dim()), Next: make([]float32, B*actor.Dim()), Act: make([]float32, B*2), Return: make([]float32, B)}
		Normal(rows.Obs, rng)
		Normal(rows.Next, rng)
		Normal(rows.Return, rng)
		term := NewConservative(c, actor, q, B, 0.01, on)
		term.Add(rows, c.Weight, rng)
		return term.Told()
	}
	gap, bound := add(cudatest.Open(t))
	wantGap, want := add(nil)
	// Sums in another order; and some values that are close to a return.
	if !(math.Abs(gap-wantGap) < 1e-4) || !(math.Abs(bound-want) < 1e-3) || want < 0.1 || want > 0.9 {
		t.Errorf("gap %v and bound %v on the card, %v and %v on the processor", gap, bound, wantGap, want)
	}
}
