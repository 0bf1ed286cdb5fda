//go:build cgo && !purego

package diffusion

import (
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device"
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

// What is seen of many histories is more than a pass brings back by itself.
func TestLookerOnACard(t *testing.T) {
	a := pixelArch()
	a.Trunk.Latent = 1025
	n, err := NewNet(a, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	const rows = 8
	want, on := newLooker(n, rows, device.Default()), newLooker(n, rows, cudatest.Open(t))
	seen, pix := make([]float32, want.history.rows.Len()), make([]byte, rows*n.Arch.History*n.Arch.View.Pixels())
	for i := range pix {
		pix[i] = byte(rng.IntN(256))
	}
	w, g := make([]float32, want.history.all.Len()), make([]float32, want.history.all.Len())
	want.Look(w, seen, pix)
	on.Look(g, seen, pix)
	for i := range w {
		if d := g[i] - w[i]; !(d < 1e-4 && d > -1e-4) {
			t.Fatalf("number %d of %d is %v on the card, %v on the processor", i, len(w), g[i], w[i])
		}
	}
}
