package nn

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/blas"
)

func TestMain(m *testing.M) {
	blas.Use()
	blas.SetThreads(1)
	os.Exit(m.Run())
}

func BenchmarkCritics(b *testing.B) {
	for _, E := range []int{2, 10} {
		b.Run(map[int]string{2: "2", 10: "10"}[E], func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 2))
			critic := NewMLP("q", MLPConfig{In: 71, Hidden: []int{256, 256}, Out: 1, Members: E, LayerNorm: true}, rng)
			g := NewGraph()
			x, target := g.Input(256, 71), g.Input(E, 256, 1)
			for i := range x.Value {
				x.Value[i] = float32(rng.NormFloat64())
			}
			loss := g.MSE(critic.Forward(g, x), target)
			adam := NewAdam(critic.Params(), AdamConfig{LR: 3e-4})
			b.ReportAllocs()
			for b.Loop() {
				g.Forward()
				ZeroGrad(critic.Params())
				g.Backward(loss)
				adam.Step()
			}
		})
	}
}
