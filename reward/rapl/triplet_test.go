package rapl

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/reward/ot"
)

func randVideo(r *rand.Rand, T, d int) Video {
	v := Video{D: d, Embed: make([]float32, T*d)}
	for i := range v.Embed {
		v.Embed[i] = float32(r.NormFloat64())
	}
	return v
}

func TestHeadGradientAgainstDifferences(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  AlignConfig
		tie  bool
	}{
		{"cosine", AlignConfig{Gamma: 10, Temperature: 5}, false},
		{"nearly uniform", AlignConfig{Gamma: 1, Temperature: 5}, false},
		{"sharp", AlignConfig{Gamma: 50, Temperature: 5}, false},
		{"l2", AlignConfig{Cost: ot.Euclidean, Gamma: 3, Temperature: 2}, false},
		{"tie", AlignConfig{Gamma: 10, Temperature: 5}, true},
	} {
		r := rand.New(rand.NewPCG(4, 4))
		c.cfg.Tolerance, c.cfg.MaxIter = 1e-13, 100000
		tr := Triplet{Anchor: randVideo(r, 6, 5), Better: randVideo(r, 7, 5), Worse: randVideo(r, 4, 5), Tie: c.tie}
		h := NewHead(5, 3, r)
		out := slot{grad: make([]float64, 18)}
		var tu tuner
		tu.solver = ot.Solver{Epsilon: 1 / c.cfg.Gamma, Tolerance: c.cfg.Tolerance, MaxIter: c.cfg.MaxIter}
		value := func() float64 {
			o := slot{}
			tu.triplet(&o, &h, &tr, c.cfg, false)
			if o.err != nil {
				t.Fatal(o.err)
			}
			return o.loss
		}
		tu.triplet(&out, &h, &tr, c.cfg, true)
		if out.err != nil {
			t.Fatal(out.err)
		}
		for i, g := range out.grad {
			x := &h.B[max(0, i-15)]
			if i < 15 {
				x = &h.W[i]
			}
			at, step := *x, 1e-5
			*x = at + step
			hi := value()
			*x = at - step
			lo := value()
			*x = at
			want := (hi - lo) / (2 * step)
			// The differences themselves are good to about 1e-7 of the largest.
			if math.Abs(g-want) > 1e-6*(1+math.Abs(want)) {
				t.Errorf("%s: gradient %d is %.8g, want %.8g", c.name, i, g, want)
			}
		}
	}
}

func TestLossSlopes(t *testing.T) {
	for _, tie := range []bool{false, true} {
		for _, m := range []float64{-3, -0.1, 0, 0.7, 5} {
			hi, _ := loss(m+1e-6, tie)
			lo, _ := loss(m-1e-6, tie)
			if _, got := loss(m, tie); math.Abs(got-(hi-lo)/2e-6) > 1e-8 {
				t.Errorf("slope at %g (tie %v) is %g, want %g", m, tie, got, (hi-lo)/2e-6)
			}
		}
		// Far out, nothing overflows.
		for _, m := range []float64{-1e4, 1e4} {
			if l, s := loss(m, tie); l-l != 0 || s-s != 0 || l < 0 {
				t.Errorf("loss at %g (tie %v) is %g with slope %g", m, tie, l, s)
			}
		}
	}
}
