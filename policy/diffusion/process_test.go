package diffusion

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// TestSchedulesByHand: the figures follow from the definitions with a pocket
// calculator; those of the linear one are the well-known last share 4.036e-5 and
// its neighbours.
func TestSchedulesByHand(t *testing.T) {
	cosine, linear := Process{Steps: 100}, Process{Steps: 1000, Noise: Linear}
	betas, bars := cosine.Betas(), cosine.Bars()
	lb, ls := linear.Betas(), linear.Bars()
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"cosine beta 0", betas[0], 0.0006312816}, {"cosine beta 49", betas[49], 0.03059312}, {"cosine beta 98", betas[98], 0.7499393}, {"cosine beta 99, capped", betas[99], 0.999},
		{"cosine bar 49", bars[49], 0.4938436}, {"cosine bar 98", bars[98], 0.0002428572},
		{"linear beta 0", lb[0], 1e-4}, {"linear beta 999", lb[999], 0.02},
		{"linear bar 499", ls[499], 0.07858724}, {"linear bar 999", ls[999], 4.03583e-05},
	} {
		if math.Abs(c.got-c.want) > 1e-5*c.want {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
	for _, p := range []Process{cosine, linear, {Steps: 1}, {Steps: 1, Noise: Linear}} {
		left := 1.0
		for k, b := range p.Betas() {
			left *= 1 - b
			if !(b > 0 && b < 1) || math.Abs(p.Bars()[k]-left) > 1e-15 {
				t.Errorf("%+v: step %d adds %v and leaves %v", p, k, b, p.Bars()[k])
			}
		}
	}
}

// TestPredictionsTellTheActions: whatever is predicted, a perfect prediction
// gives back the actions that were noised.
func TestPredictionsTellTheActions(t *testing.T) {
	x0, eps := []float32{0.3, -0.9}, []float32{-1.2, 0.4}
	x, target := make([]float32, 2), make([]float32, 2)
	for _, c := range []struct {
		predict Prediction
		want    []float64 // target at bar 0.64: sqrt is 0.8, that of the rest 0.6
	}{
		{Epsilon, []float64{-1.2, 0.4}}, {Sample, []float64{0.3, -0.9}}, {Velocity, []float64{0.8*-1.2 - 0.6*0.3, 0.8*0.4 + 0.6*0.9}},
	} {
		p := Process{Predict: c.predict}
		p.noised(x, target, x0, eps, 0.64)
		for i := range x {
			if want := 0.8*float64(x0[i]) + 0.6*float64(eps[i]); math.Abs(float64(x[i])-want) > 1e-6 {
				t.Errorf("prediction %d: noised %v, want %v", c.predict, x[i], want)
			}
			if math.Abs(float64(target[i])-c.want[i]) > 1e-6 {
				t.Errorf("prediction %d: target %v, want %v", c.predict, target[i], c.want[i])
			}
			if got := p.clean(x[i], target[i], 0.8, 0.6); math.Abs(got-float64(x0[i])) > 1e-6 {
				t.Errorf("prediction %d gives back %v, want %v", c.predict, got, x0[i])
			}
		}
	}
	Process{Kind: Flow}.noised(x, target, x0, eps, 0.25)
	if math.Abs(float64(x[0])-(0.75*-1.2+0.25*0.3)) > 1e-6 || math.Abs(float64(target[0])-1.5) > 1e-6 {
		t.Errorf("flow: noised %v and target %v, want -0.825 and 1.5", x[0], target[0])
	}
}

// gaussian is the best prediction where actions are normal with mean mu and
// deviation s: by the conditional mean of jointly normal numbers.
func gaussian(p Process, mu, s float64) Model {
	p = p.complete()
	bars := p.Bars()
	return func(out, x []float32, time float64) {
		if p.Kind == Flow {
			t := time / float64(p.Steps)
			for i, v := range x {
				out[i] = float32(mu + (t*s*s-(1-t))/(t*t*s*s+(1-t)*(1-t))*(float64(v)-t*mu))
			}
			return
		}
		bar := bars[int(time)]
		a, n := math.Sqrt(bar), math.Sqrt(1-bar)
		for i, v := range x {
			r := (float64(v) - a*mu) / (bar*s*s + 1 - bar)
			x0, eps := mu+a*s*s*r, n*r
			switch p.Predict {
			case Epsilon:
				out[i] = float32(eps)
			case Sample:
				out[i] = float32(x0)
			case Velocity:
				out[i] = float32(a*eps - n*x0)
			}
		}
	}
}

// closed is the mean and the deviation with which a chain of few steps ends where
// every prediction is gaussian's: each step is then linear in x, so that the mean
// and the variance follow step by step, from 0 and 1. It is written down from
// equation 12 of Song et al. 2021, and for a flow from Euler's rule.
func closed(p Process, d Draw, mu, s float64) (mean, dev float64) {
	p, d = p.complete(), d.complete(p.complete())
	variance := 1.0
	move := func(a, b, sigma float64) { mean, variance = a*mean+b, a*a*variance+sigma*sigma }
	if p.Kind == Flow {
		for i := range d.Steps {
			t := float64(i) / float64(d.Steps)
			c := (t*s*s - (1 - t)) / (t*t*s*s + (1-t)*(1-t)) / float64(d.Steps)
			move(1+c, mu/float64(d.Steps)-c*t*mu, 0)
		}
		return mean, math.Sqrt(variance)
	}
	bars := p.Bars()
	eta := d.Eta
	if d.Method == DDPM {
		eta = 1
	}
	for i := range d.Steps {
		at := func(i int) float64 { return bars[int(math.Round(float64(p.Steps)*(1-float64(i)/float64(d.Steps))))-1] }
		bar, before := at(i), 1.0
		if i+1 < d.Steps {
			before = at(i + 1)
		}
		sigma := eta * math.Sqrt((1-before)/(1-bar)) * math.Sqrt(1-bar/before)
		toX0, toEps := math.Sqrt(before), math.Sqrt(1-before-sigma*sigma)
		// x0 = mu + sqrt(bar) s^2 r and eps = sqrt(1-bar) r with r linear in x.
		r := 1 / (bar*s*s + 1 - bar)
		c := toX0*math.Sqrt(bar)*s*s + toEps*math.Sqrt(1-bar)
		move(c*r, toX0*mu-c*r*math.Sqrt(bar)*mu, sigma)
	}
	return mean, math.Sqrt(variance)
}

// TestChainsDrawAGaussian: with the best prediction all chains end where the
// closed form says, and that is with the mean of the actions and, in many steps,
// with their deviation. The estimates of 40,000 numbers deviate by 0.0015 and
// 0.001, those of the 10,000 of the longest chain by twice that.
func TestChainsDrawAGaussian(t *testing.T) {
	const mu, s = 0.4, 0.3
	inf := math.Inf(1)
	for _, c := range []struct {
		name string
		p    Process
		d    Draw
		tol  float64 // of the deviation, beside that of the actions
	}{
		{"ddpm", Process{}, Draw{Method: DDPM, Steps: 100, Clip: inf}, 0.02},
		{"ddpm in 16", Process{}, Draw{Method: DDPM, Clip: inf}, 0.08},
		{"ddpm of a thousand steps", Process{Noise: Linear, Steps: 1000}, Draw{Method: DDPM, Steps: 1000, Clip: inf}, 0.01},
		{"ddim", Process{}, Draw{Steps: 100, Clip: inf}, 0.01},
		{"ddim in 16", Process{}, Draw{Clip: inf}, 0.05},
		{"ddim in 16, half of the noise", Process{}, Draw{Eta: 0.5, Clip: inf}, 0.06},
		{"ddim of actions", Process{Predict: Sample}, Draw{Clip: inf}, 0.05},
		{"ddim of velocities", Process{Predict: Velocity}, Draw{Clip: inf}, 0.05},
		{"flow", Process{Kind: Flow}, Draw{Steps: 100, Clip: inf}, 0.01},
		{"flow in 16", Process{Kind: Flow}, Draw{Clip: inf}, 0.04},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 40_000
			if c.d.Steps == 1000 {
				n = 10_000
			}
			chain, err := NewChain(c.p, c.d, n)
			if err != nil {
				t.Fatal(err)
			}
			x := make([]float32, n)
			chain.Sample(x, gaussian(c.p, mu, s), newRand(3))
			mean, square := 0.0, 0.0
			for _, v := range x {
				mean += float64(v) / float64(n)
				square += float64(v) * float64(v) / float64(n)
			}
			dev := math.Sqrt(square - mean*mean)
			wantMean, wantDev := closed(c.p, c.d, mu, s)
			if math.Abs(mean-wantMean) > 0.005 || math.Abs(dev-wantDev) > 0.004 {
				t.Errorf("mean %.4f and deviation %.4f, in closed form %.4f and %.4f", mean, dev, wantMean, wantDev)
			}
			if math.Abs(mean-mu) > 0.01 || math.Abs(dev-s) > c.tol {
				t.Errorf("mean %.4f and deviation %.4f, of the actions %v and %v", mean, dev, mu, s)
			}
		})
	}
}

// TestDDIMWithAllNoiseIsDDPM (Song et al. 2021, section 4.1), clipping included.
func TestDDIMWithAllNoiseIsDDPM(t *testing.T) {
	for _, steps := range []int{100, 16, 1} {
		for _, clip := range []float64{1, 0.35} {
			var got [2][]float32
			for i, d := range []Draw{{Method: DDPM, Steps: steps, Clip: clip}, {Eta: 1, Steps: steps, Clip: clip}} {
				chain, err := NewChain(Process{}, d, 50)
				if err != nil {
					t.Fatal(err)
				}
				got[i] = make([]float32, 50)
				chain.Sample(got[i], gaussian(Process{}, 0.2, 0.4), newRand(4))
			}
			for i, v := range got[0] {
				if math.Abs(float64(v-got[1][i])) > 1e-5 {
					t.Fatalf("%d steps, clip %v: number %d is %v by DDPM and %v by DDIM", steps, clip, i, v, got[1][i])
				}
				if math.Abs(float64(v)) > clip {
					t.Fatalf("number %d is %v, beyond the clip %v", i, v, clip)
				}
			}
		}
	}
}

func TestStepsAreSpacedFromTheLast(t *testing.T) {
	for steps, want := range map[int][]int{4: {99, 74, 49, 24}, 3: {99, 66, 32}, 1: {99}} {
		c, err := NewChain(Process{}, Draw{Steps: steps}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(c.times, want) {
			t.Errorf("%d steps at %v, want %v", steps, c.times, want)
		}
	}
}

func TestFlowEndsWithinTheClip(t *testing.T) {
	c, err := NewChain(Process{Kind: Flow}, Draw{Clip: 0.5}, 100)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 100)
	c.Sample(x, gaussian(Process{Kind: Flow}, 0.4, 0.5), newRand(1))
	if lo, hi := slices.Min(x), slices.Max(x); hi > 0.5+1e-6 || lo < -0.5-1e-6 || hi < 0.49 {
		t.Errorf("numbers from %v to %v, want within 0.5 and up to it", lo, hi)
	}
}

func TestChainNamesTheField(t *testing.T) {
	for want, c := range map[string]struct {
		p Process
		d Draw
	}{
		"Process.Kind is 9":    {Process{Kind: 9}, Draw{}},
		"Process.Predict is 9": {Process{Predict: 9}, Draw{}},
		"Process.Noise is 9":   {Process{Noise: 9}, Draw{}},
		"Process.Steps is -1":  {Process{Steps: -1}, Draw{}},
		"Draw.Method is 9":     {Process{}, Draw{Method: 9}},
		"Draw.Steps is 101":    {Process{}, Draw{Steps: 101}},
		"Draw.Eta is 2":        {Process{}, Draw{Eta: 2}},
		"Draw.Clip is -1":      {Process{}, Draw{Clip: -1}},
	} {
		if _, err := NewChain(c.p, c.d, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want one with %q", err, want)
		}
	}
	if _, err := NewChain(Process{Kind: Flow}, Draw{Steps: 300}, 1); err != nil {
		t.Errorf("a flow in 300 steps: %v", err)
	}
}
