//go:build cgo && !purego

package iql

import (
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
	"github.com/rapport-rl/rapport/policy/critic"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func TestCardAndProcessorLearnAlike(t *testing.T) {
	c := seeing(1)
	var ls []*Learner
	for i := range 2 {
		if i == 1 {
			c.Device = cudatest.Open(t)
		}
		l, err := New(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range policytest.Demos(2, 1, [2]float64{}) {
			if err := l.Add(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		ls = append(ls, l)
	}
	for range 2 {
		want, err := ls[0].Update(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := ls[1].Update(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range want.Metrics {
			// Sums in another order, some steps long.
			if g := got.Metrics[i]; g.Name != w.Name || !(max(g.Value-w.Value, w.Value-g.Value) <= 1e-3*(max(w.Value, -w.Value)+0.1)) {
				t.Errorf("%s is %v on the card, %v on the processor", w.Name, g.Value, w.Value)
			}
		}
	}
}

// The values of many critics are more than a pass brings back by itself.
func TestManyCriticsOnACard(t *testing.T) {
	const B, E = 64, 257
	read := func(on device.Device) []float32 {
		rng := rand.New(rand.NewPCG(3, 4))
		r := newRegression(nn.NewMLP("q", nn.MLPConfig{In: 3, Hidden: []int{4}, Out: 1, Members: E}, rng), B, false, false, on)
		critic.Normal(r.xa.Value, rng)
		r.g.Forward()
		return append([]float32(nil), r.q.Value...)
	}
	got, want := read(cudatest.Open(t)), read(nil)
	for i, w := range want {
		if d := got[i] - w; !(d < 1e-4 && d > -1e-4) {
			t.Fatalf("number %d is %v on the card, %v on the processor", i, got[i], w)
		}
	}
}
