package encoder

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestLensSeesAsItsEncoder(t *testing.T) {
	d, _ := pushing(3, 2, 6, "front", "side")
	for _, colours := range []int{0, 3} {
		cfg := small("front", "side")
		cfg.Shape.Side, cfg.Shape.Colours = 32, colours
		c := trained(t, cfg, d)
		l := c.Lens()
		z := make([]float32, l.Dim())
		for i, fs := range d.Clips[0].Frames {
			f, err := c.Extract(t.Context(), fs)
			if err != nil {
				t.Fatal(err)
			}
			x, err := l.Images(fs)
			if err != nil {
				t.Fatal(err)
			}
			l.Embed(z, x)
			for k, v := range f.Embed {
				if math.Abs(float64(v-z[k])) > 1e-4 {
					t.Errorf("%d colours, tick %d: embedding[%d] is %g, want %g", colours, i, k, z[k], v)
				}
			}
		}
		if _, err := l.Images(d.Clips[0].Frames[0][:1]); err == nil {
			t.Error("a camera is missing, and nobody said so")
		}
	}
}

func TestLensGradientAgainstDifferences(t *testing.T) {
	d, _ := pushing(3, 2, 6, "front", "side")
	cfg := small("front", "side")
	cfg.Shape.Side = 32
	l := trained(t, cfg, d).Lens()
	x, err := l.Images(d.Clips[0].Frames[3])
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	w, z := make([]float32, l.Dim()), make([]float32, l.Dim())
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	value := func() float64 {
		l.Embed(z, x)
		var sum float64
		for i, v := range z {
			sum += float64(v) * float64(w[i])
		}
		return sum
	}
	off := 0
	dx := [][]float32{make([]float32, len(x[0])), make([]float32, len(x[1]))}
	for cam := range x {
		for range 30 {
			// Along a patch, so that the change is more than float32's noise.
			at := 3 * (rng.IntN(26)*32 + rng.IntN(26))
			var patch []int
			for v := range 6 {
				for u := range 18 {
					patch = append(patch, at+3*32*v+u)
				}
			}
			const step = 1e-3
			move := func(by float32) {
				for _, i := range patch {
					x[cam][i] += by
				}
			}
			mid := value()
			l.Backward(dx, w)
			got := 0.0
			for _, i := range patch {
				got += float64(dx[cam][i])
			}
			move(step)
			right := (value() - mid) / step
			move(-2 * step)
			left := (mid - value()) / step
			move(step)
			slack := 0.05 + 0.05*max(math.Abs(left), math.Abs(right))
			if got < min(left, right)-slack || got > max(left, right)+slack {
				off++
				t.Logf("camera %d, patch at %d: gradient %g, want %g to %g", cam, at/3, got, left, right)
			}
		}
	} // A ReLU whose kink lies nearer than the step parts the sides now and then.
	if off > 3 {
		t.Errorf("%d of 60 gradients are off", off)
	}
}
