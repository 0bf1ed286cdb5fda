package ot

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestExpIsWithinItsBound(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	worst := 0.0
	x := make([]float64, 1000)
	want := make([]float64, len(x))
	for _, width := range []float64{1e-9, 1e-3, 1, 10, 707.9} {
		for range 100 {
			for i := range x {
				x[i] = (2*rng.Float64() - 1) * width
				want[i] = math.Exp(x[i])
			}
			expAll(x)
			for i := range x {
				worst = max(worst, math.Abs(x[i]-want[i])/want[i])
			}
		}
	}
	if worst > 4e-16 {
		t.Errorf("relative error %.3g, want at most 4e-16", worst)
	}
}

func TestExpAtItsEnds(t *testing.T) {
	for _, c := range []struct{ x, want float64 }{
		{0, 1}, {math.Copysign(0, -1), 1}, {-709, 0}, {-1e300, 0}, {math.Inf(-1), 0},
		{708, math.Exp(708)}, {1e9, math.Exp(708)}, {-708, math.Exp(-708)}, {1, math.E},
	} {
		x := []float64{c.x}
		expAll(x)
		if math.Abs(x[0]-c.want) > 4e-16*c.want {
			t.Errorf("exp(%g) = %g, want %g", c.x, x[0], c.want)
		}
	}
}

func BenchmarkExp(b *testing.B) {
	src, x := make([]float64, 2025), make([]float64, 2025)
	for i := range src {
		src[i] = -float64(i) / 50
	}
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			copy(x, src)
			expAll(x)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(x)), "ns/exp")
	})
	b.Run("math", func(b *testing.B) {
		for b.Loop() {
			for i, v := range src {
				x[i] = math.Exp(v)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(x)), "ns/exp")
	})
}
