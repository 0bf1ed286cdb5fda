package ppo

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
)

// bookDensity is the log likelihood of the actions u before tanh under a head.
func bookDensity(mean, std, u []float64) float64 {
	logp := 0.0
	for j, v := range u {
		switch {
		case math.Tanh(v) >= 0.99:
			logp += math.Log(0.5 * math.Erfc((math.Atanh(0.99)-mean[j])/std[j]/math.Sqrt2))
		case math.Tanh(v) <= -0.99:
			logp += math.Log(0.5 * math.Erfc((math.Atanh(0.99)+mean[j])/std[j]/math.Sqrt2))
		default:
			e := (v - mean[j]) / std[j]
			logp += -e*e/2 - math.Log(std[j]*math.Sqrt(2*math.Pi))
		}
	}
	return logp
}

// of is the likelihood of one number u under the mean m and raw deviation s, by
// the graph, with its gradient.
func of(m, s, u float64) (p, dm, ds float64) {
	g := nn.NewGraph()
	raw, x := g.InputGrad(1, 2), g.Input(1, 1)
	out := g.Sum(density(g, raw, x))
	raw.Value[0], raw.Value[1], x.Value[0] = float32(m), float32(s), float32(u)
	g.Forward()
	g.Backward(out)
	return float64(out.Value[0]), float64(raw.Grad[0]), float64(raw.Grad[1])
}

func TestLikelihoodIsOneAltogether(t *testing.T) {
	for _, m := range []float64{0, 1, -2.5, 4} {
		for _, s := range []float64{-0.2, 0.2, 0.5} {
			p, _, _ := of(m, s, 5)
			q, _, _ := of(m, s, -5)
			sum := math.Exp(p) + math.Exp(q)
			const h = 1e-3
			for u := -rim + h/2; u < rim; u += h {
				p, _, _ := likelihood(m, s, u)
				sum += h * math.Exp(p)
			}
			if math.Abs(sum-1) > 1e-3 {
				t.Errorf("mean %v, deviation %v: sums to %v", m, s, sum)
			}
		}
	}
}

func TestLikelihoodAndSlopes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		m, s, u := 3*rng.NormFloat64(), 0.5*rng.NormFloat64(), 3*rng.NormFloat64()
		std := math.Exp(-5 + 3.5*(math.Tanh(s)+1))
		p, dm, ds := of(m, s, u)
		want := bookDensity([]float64{m}, []float64{std}, []float64{u})
		if math.IsInf(want, 0) { // beyond what Erfc can say
			want = p
		}
		if math.Abs(p-want) > 1e-3*(1+math.Abs(want)) {
			t.Errorf("mean %v, deviation %v: likelihood of %v is %v, want %v", m, std, u, p, want)
		}
		slope := func(f func(d float64) float64) float64 { return (f(1e-6) - f(-1e-6)) / 2e-6 }
		wantM := slope(func(d float64) float64 { p, _, _ := likelihood(m+d, s, u); return p })
		wantS := slope(func(d float64) float64 { p, _, _ := likelihood(m, s+d, u); return p })
		if math.Abs(dm-wantM) > 1e-3*(1+math.Abs(wantM)) || math.Abs(ds-wantS) > 1e-3*(1+math.Abs(wantS)) {
			t.Errorf("mean %v, raw deviation %v, action %v: slopes %v and %v, want %v and %v", m, s, u, dm, ds, wantM, wantS)
		}
	}
}

func TestLogPhiFarOut(t *testing.T) {
	// Of the continued fraction of Laplace, which is precise there.
	far := func(z float64) float64 {
		x, f := -z, 0.0
		for n := 60.0; n > 0; n-- {
			f = n / (x + f)
		}
		return -z*z/2 - half - math.Log(x+f)
	}
	for _, z := range []float64{-5, -12, -29.9, -30.1, -80, -1e4} {
		if got, want := logPhi(z), far(z); math.Abs(got-want) > 1e-5+1e-9*math.Abs(want) {
			t.Errorf("log Phi(%v) = %v, want %v", z, got, want)
		}
	}
	for z, want := range map[float64]float64{0: math.Log(0.5), 40: 0} {
		if got := logPhi(z); math.Abs(got-want) > 1e-12 {
			t.Errorf("log Phi(%v) = %v, want %v", z, got, want)
		}
	}
}
