package diffusion

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

// Method names how a diffusion is run back.
type Method uint8

// The methods. A flow follows its velocity whatever this says.
const (
	DDIM Method = iota // Song et al. 2021, arXiv:2010.02502, equation 12
	DDPM               // Ho et al. 2020, algorithm 2 with the posterior of equations 6 and 7
	methods
)

// Draw says how actions are drawn. The zero value is Diffusion Policy's on a
// robot.
type Draw struct {
	Method Method
	Steps  int     // of the network: 16, or K where that is fewer
	Eta    float64 // of DDIM, 0 to 1: the share of DDPM's noise that is added on the way
	// Clip bounds the actions that every step predicts, on the normalised scale:
	// 1; +Inf: no bound.
	Clip float64
}

func (d Draw) complete(p Process) Draw {
	if d.Steps == 0 {
		d.Steps = 16
		if p.Kind == Diffusion {
			d.Steps = min(16, p.Steps)
		}
	}
	if d.Clip == 0 {
		d.Clip = 1
	}
	return d
}

// Validate reports everything that is wrong with d for the process p.
func (d Draw) Validate(p Process) error {
	p = p.complete()
	d = d.complete(p)
	var errs []error
	if d.Method >= methods {
		errs = append(errs, fmt.Errorf("diffusion: Draw.Method is %d, want DDIM or DDPM", d.Method))
	}
	most := p.Steps
	if p.Kind == Flow {
		most = maxSteps
	}
	if d.Steps < 1 || d.Steps > most {
		errs = append(errs, fmt.Errorf("diffusion: Draw.Steps is %d, want 1 to %d", d.Steps, most))
	}
	if !(d.Eta >= 0 && d.Eta <= 1) {
		errs = append(errs, fmt.Errorf("diffusion: Draw.Eta is %v, want 0 to 1", d.Eta))
	}
	if !(d.Clip > 0) {
		errs = append(errs, fmt.Errorf("diffusion: Draw.Clip is %v, want a positive number, or +Inf for no bound", d.Clip))
	}
	return errors.Join(errs...)
}

// Model writes to out what is predicted of the noised x at a time: the step of a
// diffusion, or a flow's time times Process.Steps.
type Model func(out, x []float32, time float64)

// Chain runs a process from noise to actions. It is used by one goroutine.
type Chain struct {
	p     Process
	d     Draw
	bars  []float64
	times []int // of a diffusion, falling
	out   []float32
}

// NewChain returns a Chain over n numbers.
func NewChain(p Process, d Draw, n int) (*Chain, error) {
	if err := errors.Join(p.Validate(), d.Validate(p)); err != nil {
		return nil, err
	}
	p = p.complete()
	c := &Chain{p: p, d: d.complete(p), out: make([]float32, n)}
	if p.Kind == Diffusion {
		c.bars = p.Bars()
		// Spaced evenly from the last step on, where the noise is that which a
		// chain begins with (Lin et al. 2024, arXiv:2305.08891, table 2).
		for i := range c.d.Steps {
			c.times = append(c.times, int(math.Round(float64(p.Steps)-float64(i)*float64(p.Steps)/float64(c.d.Steps)))-1)
		}
	}
	return c, nil
}

// Sample fills x with noise and turns it into actions. It does not allocate.
func (c *Chain) Sample(x []float32, m Model, rng *rand.Rand) {
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	c.Run(x, m, rng)
}

// Run is Sample from the noise that x holds.
func (c *Chain) Run(x []float32, m Model, rng *rand.Rand) {
	if len(x) != len(c.out) {
		panic("diffusion: chain over another number of elements")
	}
	if c.p.Kind == Flow {
		c.flow(x, m)
		return
	}
	for i, k := range c.times {
		m(c.out, x, float64(k))
		c.back(x, c.out, nil, c.bars[k], c.before(i), rng)
	}
}

// before is the share that the i-th step back leads to.
func (c *Chain) before(i int) float64 {
	if i+1 < len(c.times) {
		return c.bars[c.times[i+1]]
	}
	return 1
}

// step is what one step back computes with, from the share bar to the larger share
// before: x = s x0 + n eps there, and then
//
//	x <- a x0 + b x + sigma z
//
// DDIM's step a' x0 + b' eps + sigma z is of this form, since eps follows from x and
// the clipped x0.
func (c *Chain) step(bar, before float64) (s, n, a, b, sigma float64) {
	s, n = math.Sqrt(bar), math.Sqrt(1-bar)
	variance := (1 - before) / (1 - bar) * (1 - bar/before) // Ho et al. 2020, equation 7
	if c.d.Method == DDPM {
		a = math.Sqrt(before) * (1 - bar/before) / (1 - bar)
		b = math.Sqrt(bar/before) * (1 - before) / (1 - bar)
	} else {
		variance *= c.d.Eta * c.d.Eta // Song et al. 2021, equation 16
		b = math.Sqrt(max(0, 1-before-variance)) / n
		a = math.Sqrt(before) - b*s
	}
	return s, n, a, b, math.Sqrt(variance)
}

// back goes one step back from what out predicts of x; push, where it is not nil, is
// added to the actions before they are clipped.
func (c *Chain) back(x, out, push []float32, bar, before float64, rng *rand.Rand) {
	s, n, a, b, sigma := c.step(bar, before)
	for i, v := range x {
		x0 := c.p.clean(v, out[i], s, n)
		if push != nil {
			x0 += float64(push[i])
		}
		y := a*min(c.d.Clip, max(-c.d.Clip, x0)) + b*float64(v)
		if sigma > 0 {
			y += sigma * rng.NormFloat64()
		}
		x[i] = float32(y)
	}
}

// flow takes Euler's steps along the velocity (Lipman et al. 2023, equation 1).
// The end that each step aims at is clipped.
func (c *Chain) flow(x []float32, m Model) {
	for i := range c.d.Steps {
		m(c.out, x, c.Time(i))
		c.euler(x, c.out, nil, i)
	}
}

// euler takes the i-th step of a flow along out; push is as in back.
func (c *Chain) euler(x, out, push []float32, i int) {
	n := float64(c.d.Steps)
	t := float64(i) / n
	for j, v := range x {
		end := float64(v) + (1-t)*float64(out[j])
		if push != nil {
			end += float64(push[j])
		}
		end = min(c.d.Clip, max(-c.d.Clip, end))
		x[j] = float32(float64(v) + (end-float64(v))/(1-t)/n)
	}
}
