package nn

import "math"

// AverageConfig configures an Average. Zero fields take the defaults named, those
// of Diffusion Policy (Chi et al. 2023, arXiv:2303.04137, its published settings).
type AverageConfig struct {
	Power float64 // of the warm-up; 0.75
	Max   float64 // largest decay; 0.9999
}

// Average follows params by an exponential moving average that forgets quickly at
// first: step n keeps 1-(1+n)^-Power of what it was, at most Max, so that the
// first steps, which are far off, do not count for long.
type Average struct {
	cfg   AverageConfig
	dst   []*Param
	src   []*Param
	steps uint64
}

// NewAverage returns an Average that writes to dst what src was on the average.
func NewAverage(dst, src []*Param, c AverageConfig) *Average {
	if c.Power == 0 {
		c.Power = 0.75
	}
	if c.Max == 0 {
		c.Max = 0.9999
	}
	if !(c.Power > 0) || !(c.Max > 0 && c.Max <= 1) {
		panic("nn: Average: power or largest decay is out of range")
	}
	Copy(dst, src)
	return &Average{cfg: c, dst: dst, src: src}
}

// Decay is the share of the average that the next Step keeps.
func (a *Average) Decay() float64 {
	return min(a.cfg.Max, 1-math.Pow(1+float64(a.steps), -a.cfg.Power))
}

// Step takes in what src is now.
func (a *Average) Step() {
	Lerp(a.dst, a.src, float32(1-a.Decay()))
	a.steps++
}

// Steps counts the steps done; SetSteps goes on from there, as from a checkpoint.
func (a *Average) Steps() uint64     { return a.steps }
func (a *Average) SetSteps(n uint64) { a.steps = n }

// CosineRate is the share of the full learning rate at a step, counted from 0: a
// line from 0 over the warm-up, then half a cosine down to 0 at total (Loshchilov
// and Hutter 2017, arXiv:1608.03983, equation 5, without restarts). A total of 0
// stays at 1 after the warm-up.
func CosineRate(step, warmup, total uint64) float64 {
	switch {
	case step < warmup:
		return float64(step) / float64(warmup)
	case total == 0:
		return 1
	case step >= total:
		return 0
	}
	return 0.5 * (1 + math.Cos(math.Pi*float64(step-warmup)/float64(total-warmup)))
}
