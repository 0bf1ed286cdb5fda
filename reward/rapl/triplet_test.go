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
		{"unrolled", AlignConfig{Gamma: 20, Temperature: 5, Gradient: Unrolled, Sweeps: 3}, false},
		{"unrolled l2 tie", AlignConfig{Cost: ot.Euclidean, Gamma: 3, Temperature: 2, Gradient: Unrolled, Sweeps: 5}, true},
		{"deep", AlignConfig{Gamma: 10, Temperature: 5, Hidden: []int{4, 6}}, false},
	} {
		r := rand.New(rand.NewPCG(4, 4))
		c.cfg.Tolerance, c.cfg.MaxIter = 1e-13, 100000
		tr := Triplet{Anchor: randVideo(r, 6, 5), Better: randVideo(r, 7, 5), Worse: randVideo(r, 4, 5), Tie: c.tie}
		h := NewDeepHead(5, c.cfg.Hidden, 3, r)
		out := slot{grad: make([]float64, h.size())}
		tu := newTuner(c.cfg)
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
		var at []*float64
		for _, p := range h.parts() {
			for i := range p {
				at = append(at, &p[i])
			}
		}
		for i, g := range out.grad {
			x := at[i]
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

// The envelope's is the derivative with the plans held where they are.
func TestEnvelopeGradientAgainstDifferencesWithPlansHeld(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	cfg := AlignConfig{Gamma: 10, Temperature: 5, Gradient: Envelope, Tolerance: 1e-12, MaxIter: 100000}
	tr := Triplet{Anchor: randVideo(r, 6, 5), Better: randVideo(r, 7, 5), Worse: randVideo(r, 4, 5)}
	h := NewHead(5, 3, r)
	tu := newTuner(cfg)
	out := slot{grad: make([]float64, h.size())}
	tu.triplet(&out, &h, &tr, cfg, true)
	if out.err != nil {
		t.Fatal(out.err)
	}
	costs := func(v *Video) ([]float64, int, int) {
		var a, b pass
		a.load(tr.Anchor.Embed, 6, 5, &h)
		b.load(v.Embed, v.Len(), 5, &h)
		c := make([]float64, 6*v.Len())
		ot.Matrix(ot.Cosine, c, a.z, b.z, 3)
		return c, 6, v.Len()
	}
	var plans [2]ot.Plan
	for i, v := range []*Video{&tr.Better, &tr.Worse} {
		c, n, m := costs(v)
		if err := tu.solver.Solve(&plans[i], c, n, m); err != nil {
			t.Fatal(err)
		}
	}
	value := func() float64 {
		var r [2]float64
		for i, v := range []*Video{&tr.Better, &tr.Worse} {
			c, _, _ := costs(v)
			for k, x := range c {
				r[i] -= plans[i].P[k] * x
			}
		}
		l, _ := loss(cfg.Temperature*(r[0]-r[1]), false)
		return l
	}
	for i := range h.W {
		at, step := h.W[i], 1e-5
		h.W[i] = at + step
		hi := value()
		h.W[i] = at - step
		lo := value()
		h.W[i] = at
		if want := (hi - lo) / (2 * step); math.Abs(out.grad[i]-want) > 1e-7*(1+math.Abs(want)) {
			t.Errorf("gradient %d is %.8g, want %.8g", i, out.grad[i], want)
		}
	}
}

func TestTripletsAllocateNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for _, cfg := range []AlignConfig{{}, {Gradient: Unrolled}, {Hidden: []int{7}}} {
		cfg = cfg.withDefaults()
		tr := Triplet{Anchor: randVideo(r, 12, 5), Better: randVideo(r, 12, 5), Worse: randVideo(r, 12, 5)}
		h := NewDeepHead(5, cfg.Hidden, 3, r)
		tu := newTuner(cfg)
		out := slot{grad: make([]float64, h.size())}
		step := func() { tu.triplet(&out, &h, &tr, cfg, true) }
		step()
		if n := testing.AllocsPerRun(10, step); n > 0 || out.err != nil {
			t.Errorf("%v: %g allocations, %v", cfg.Gradient, n, out.err)
		}
	}
}
