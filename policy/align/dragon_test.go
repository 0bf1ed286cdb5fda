package align_test

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
)

func TestFrechetByHand(t *testing.T) {
	// Means (0,0) and (3,1), variances (2,2) and (8,8) without covariance.
	square := func(x, y, r float64) [][]float64 {
		return [][]float64{{x + r, y + r}, {x + r, y - r}, {x - r, y + r}, {x - r, y - r}}
	}
	r := math.Sqrt(1.5) // of the variance 2 of four, with n-1
	f, err := align.NewFrechet(square(0, 0, r), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := 10 + 2*(math.Sqrt2-math.Sqrt(8))*(math.Sqrt2-math.Sqrt(8))
	if got := f.Of(square(3, 1, 2*r)); math.Abs(got-want) > 1e-9 {
		t.Errorf("the distance is %v, want %v", got, want)
	}
	if got := f.Of(square(0, 0, r)); got > 1e-9 {
		t.Errorf("exemplars are %v from themselves", got)
	}
	// Points on a line and across it, whose matrices commute: (sqrt a - sqrt b)^2 of each
	// eigenvalue, 0 and 4 against 4 and 0. Without covariances they are alike.
	line := [][]float64{{1, 1}, {-1, -1}}
	across := [][]float64{{1, -1}, {-1, 1}}
	for _, c := range []struct{ shrink, want float64 }{{0, 8}, {1, 0}} {
		f, err := align.NewFrechet(line, c.shrink)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Of(across); math.Abs(got-c.want) > 1e-7 {
			t.Errorf("shrunk by %v, the distance is %v, want %v", c.shrink, got, c.want)
		}
	}
	if !math.IsNaN(f.Of(line[:1])) {
		t.Error("one chunk has a distance")
	}
	for want, e := range map[string][][]float64{"0 exemplars": nil, "exemplar 1 has 1 features": {{1, 2}, {1}}, "1 exemplars": {{1}}} {
		if _, err := align.NewFrechet(e, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := align.NewFrechet(line, 2); err == nil {
		t.Error("a shrinking by 2 is no error")
	}
}

func TestVendiByHand(t *testing.T) {
	same, far := [][]float64{{1}, {1}, {1}}, [][]float64{{0}, {1e3}, {-1e3}}
	if got := align.Vendi(same, 1); math.Abs(got-1) > 1e-9 {
		t.Errorf("three of one are %v things", got)
	}
	if got := align.Vendi(far, 1); math.Abs(got-3) > 1e-9 {
		t.Errorf("three different ones are %v things", got)
	}
	// Two that are alike by k: eigenvalues (1+k)/2 and (1-k)/2.
	k := math.Exp(-0.5)
	a, b := (1+k)/2, (1-k)/2
	if got, want := align.Vendi([][]float64{{0}, {2}}, 2), math.Exp(-a*math.Log(a)-b*math.Log(b)); math.Abs(got-want) > 1e-9 {
		t.Errorf("two are %v things, want %v", got, want)
	}
	if align.Vendi(nil, 1) != 0 {
		t.Error("nothing is something")
	}
}

// TestSetsNeverLoseValue: whatever is drawn, D+ is worth no less than what it began as,
// no single swap would raise it, and each pair is of one observation.
func TestSetsNeverLoseValue(t *testing.T) {
	w := ways(t)
	rng := rand.New(rand.NewPCG(3, 3))
	for seed := range uint64(20) {
		b := &align.Batch{Samples: draw(t, w, tune(t, w, align.Config{}), 16, 2, seed)}
		aim := [][]float64{{rng.NormFloat64(), 0}, {0, rng.NormFloat64()}, {1, 1}}
		f, err := align.NewFrechet(aim, 0.1)
		if err != nil {
			t.Fatal(err)
		}
		value := func(set [][]float64) float64 { return -f.Of(set) }
		of := func(swap int) float64 {
			var set [][]float64
			for i, p := range b.Pairs {
				if i == swap {
					p.Win = p.Lose
				}
				set = append(set, actions(&b.Samples[p.Win]))
			}
			return value(set)
		}
		began := [][]float64{}
		for i := 0; i < len(b.Samples); i += 2 {
			began = append(began, actions(&b.Samples[i]))
		}
		if err := align.Sets(actions, value)(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		ends := of(-1)
		if ends < value(began) {
			t.Errorf("a set of %v became one of %v", value(began), ends)
		}
		for i, p := range b.Pairs {
			if of(i) > ends+1e-12 {
				t.Errorf("swapping pair %d would raise the value from %v to %v", i, ends, of(i))
			}
			if b.Samples[p.Win].Group != b.Samples[p.Lose].Group || p.Tie || len(b.Pairs) != 16 {
				t.Fatalf("pair %d of %d is %+v", i, len(b.Pairs), p)
			}
		}
	}
	b := &align.Batch{Samples: draw(t, w, tune(t, w, align.Config{}), 4, 2, 1)}
	if err := align.Sets(actions, func([][]float64) float64 { return 7 })(t.Context(), b); err != nil || !b.Pairs[0].Tie {
		t.Errorf("what makes no difference is %+v (%v), want a tie", b.Pairs[0], err)
	}
	if err := align.Sets(actions, func([][]float64) float64 { return math.NaN() })(t.Context(), b); err == nil || !strings.Contains(err.Error(), "value of a set is NaN") {
		t.Errorf("a value that is none: %v", err)
	}
	b.Samples = b.Samples[1:2]
	if err := align.Sets(actions, f0)(t.Context(), b); err == nil || !strings.Contains(err.Error(), "RunConfig.Each") {
		t.Errorf("nothing to pair: %v", err)
	}
	b = &align.Batch{Samples: draw(t, w, tune(t, w, align.Config{}), 4, 2, 1)}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := align.Sets(actions, f0)(ctx, b); err != context.Canceled {
		t.Errorf("told to stop: %v", err)
	}
}

func f0([][]float64) float64 { return 0 }

// TestSetsNearExemplars: a policy whose chunks go both ways alike comes half as near, and
// nearer, to exemplars of which four of five go the liked way, and stays as diverse.
func TestSetsNearExemplars(t *testing.T) {
	for name, w := range map[string]*aligntest.Ways{"diffusion": ways(t), "flow": flows(t)} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(6, 6))
			var good [][]float64
			for i := range 500 {
				c := make([]float32, 2)
				for aligntest.Demo(c, w.Train[i%len(w.Train)], rng); (c[0] > 0) != (i%5 > 0); {
					aligntest.Demo(c, w.Train[i%len(w.Train)], rng)
				}
				good = append(good, []float64{float64(c[0]), float64(c[1])})
			}
			f, err := align.NewFrechet(good, 0.1)
			if err != nil {
				t.Fatal(err)
			}
			p := tune(t, w, align.Config{LR: 6e-4})
			dpo := align.NewDiffusionDPO
			if name == "flow" {
				dpo = align.NewFlowDPO
			}
			a, err := dpo(p, align.DiffusionDPOConfig{Keep: 1})
			if err != nil {
				t.Fatal(err)
			}
			tell := func() (far, many, share float64) {
				var set [][]float64
				ss := draw(t, w, p, 64, 4, 95)
				for i := range ss {
					set = append(set, actions(&ss[i]))
				}
				return f.Of(set), align.Vendi(set, 0.2), aligntest.Share(ss)
			}
			far, many, share := tell()
			r, err := align.NewRun(a, align.Sets(actions, func(set [][]float64) float64 { return -f.Of(set) }), align.RunConfig{
				Rounds: 50, Observations: 64, Every: 50, Near: math.Inf(1), Budget: math.Inf(1), Train: w.Train, Held: w.Held, Value: func([]align.Sample) float64 { return later(p) }})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Go(t.Context()); err != nil {
				t.Fatal(err)
			}
			nowFar, nowMany, nowShare := tell()
			t.Logf("after %d steps, distance %.4f to %.4f, diversity %.2f to %.2f, share %.3f to %.3f", p.Steps(), far, nowFar, many, nowMany, share, nowShare)
			if nowFar > far/2 || p.Steps() > 200 {
				t.Errorf("the distance went from %.4f to %.4f in %d steps, want half in 200", far, nowFar, p.Steps())
			}
			if nowMany < 0.8*many {
				t.Errorf("the diversity went from %.2f to %.2f, want 0.8 of it", many, nowMany)
			}
		})
	}
}
