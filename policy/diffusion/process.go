package diffusion

import (
	"errors"
	"fmt"
	"math"
)

// Kind names a process between noise and actions.
type Kind uint8

// The kinds.
const (
	Diffusion Kind = iota // denoising diffusion (Ho et al. 2020, arXiv:2006.11239)
	Flow                  // straight lines from noise to actions (Lipman et al. 2023, arXiv:2210.02747; Liu et al. 2023, arXiv:2209.03003)
	kinds
)

// Prediction names what the network says of a noised chunk. A flow predicts its
// velocity whatever this says.
type Prediction uint8

// The predictions.
const (
	Epsilon  Prediction = iota // the noise (Ho et al. 2020, equation 14)
	Sample                     // the actions
	Velocity                   // v = sqrt(bar) eps - sqrt(1-bar) x0 (Salimans and Ho 2022, arXiv:2202.00512, appendix D)
	predictions
)

// Noise names a schedule of variances.
type Noise uint8

// The schedules.
const (
	Cosine Noise = iota // squared cosine (Nichol and Dhariwal 2021, arXiv:2102.09672, equation 17)
	Linear              // from 1e-4 to 0.02 (Ho et al. 2020, section 4)
	noises
)

// Process says how actions are noised and what the network predicts of it.
type Process struct {
	Kind    Kind
	Predict Prediction
	Noise   Noise
	// Steps is K, the steps of noise that a diffusion is trained with: 100. A
	// flow tells the network its time from 0 to 1 times this.
	Steps int
}

const maxSteps = 100_000

func (p Process) complete() Process {
	if p.Steps == 0 {
		p.Steps = 100
	}
	return p
}

// Validate reports everything that is wrong with p.
func (p Process) Validate() error {
	p = p.complete()
	var errs []error
	if p.Kind >= kinds {
		errs = append(errs, fmt.Errorf("diffusion: Process.Kind is %d, want Diffusion or Flow", p.Kind))
	}
	if p.Predict >= predictions {
		errs = append(errs, fmt.Errorf("diffusion: Process.Predict is %d, want Epsilon, Sample or Velocity", p.Predict))
	}
	if p.Noise >= noises {
		errs = append(errs, fmt.Errorf("diffusion: Process.Noise is %d, want Cosine or Linear", p.Noise))
	}
	if p.Steps < 1 || p.Steps > maxSteps {
		errs = append(errs, fmt.Errorf("diffusion: Process.Steps is %d, want 1 to %d", p.Steps, maxSteps))
	}
	return errors.Join(errs...)
}

// Betas are the K variances that are added step by step. The cosine's are
// 1 - f(k+1)/f(k) with f(k) = cos((k/K + 0.008)/1.008 pi/2)^2, at most 0.999.
func (p Process) Betas() []float64 {
	p = p.complete()
	betas := make([]float64, p.Steps)
	f := func(k int) float64 {
		c := math.Cos((float64(k)/float64(p.Steps) + 0.008) / 1.008 * math.Pi / 2)
		return c * c
	}
	for k := range betas {
		switch {
		case p.Noise == Cosine:
			betas[k] = min(0.999, 1-f(k+1)/f(k))
		case p.Steps == 1:
			betas[k] = 1e-4
		default:
			betas[k] = 1e-4 + (0.02-1e-4)*float64(k)/float64(p.Steps-1)
		}
	}
	return betas
}

// Bars are the shares of the actions' variance that are left after each step: the
// products of 1-beta (Ho et al. 2020, equation 4).
func (p Process) Bars() []float64 {
	bars := p.Betas()
	left := 1.0
	for k, b := range bars {
		left *= 1 - b
		bars[k] = left
	}
	return bars
}

// noised writes what the network is trained with for one row: the noised chunk x
// and the target, from actions x0 and noise eps. bar is that of the step, or the
// time of a flow. x may be x0.
func (p Process) noised(x, target, x0, eps []float32, bar float64) {
	if p.Kind == Flow {
		t := float32(bar)
		for i, a := range x0 {
			e := eps[i]
			x[i], target[i] = (1-t)*e+t*a, a-e // Liu et al. 2023, equation 1
		}
		return
	}
	s, n := float32(math.Sqrt(bar)), float32(math.Sqrt(1-bar))
	for i, a := range x0 {
		e := eps[i]
		switch p.Predict {
		case Epsilon:
			target[i] = e
		case Sample:
			target[i] = a
		case Velocity:
			target[i] = s*e - n*a
		}
		x[i] = s*a + n*e
	}
}

// clean is the actions that a prediction out of the noised x stands for.
func (p Process) clean(x, out float32, s, n float64) float64 {
	switch p.Predict {
	case Sample:
		return float64(out)
	case Velocity:
		return s*float64(x) - n*float64(out)
	}
	return (float64(x) - n*float64(out)) / s
}
