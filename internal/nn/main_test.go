package nn

import (
	"math"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// randomise fills x with normal numbers.
func randomise(x []float32, rng *rand.Rand) []float32 {
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// draw returns a Param of normal numbers.
func draw(rng *rand.Rand, shape ...int) *Param {
	p := NewParam("p", shape...)
	randomise(p.Data, rng)
	return p
}

// mustPanic runs f and returns what it panicked with.
func mustPanic(t *testing.T, f func()) (what any) {
	t.Helper()
	defer func() {
		if what = recover(); what == nil {
			t.Error("no panic")
		}
	}()
	f()
	return nil
}

// apart is the largest difference between a and b, relative to the largest
// element of b.
func apart(a, b []float32) float64 {
	var d, m float64
	for i := range a {
		d = max(d, math.Abs(float64(a[i])-float64(b[i])))
		m = max(m, math.Abs(float64(b[i])))
	}
	return d / max(m, 1e-30)
}
