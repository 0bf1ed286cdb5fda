// Package sample searches, within a control tick, among the chunks that a policy of
// package diffusion draws for one that a reward likes: best of N, Feynman-Kac
// steering, gradients along the chain (guidance, NRG) and of the noise (ReNO). The
// policy's parameters stay as they are.
//
//	s, err := sample.New(net, diffusion.Draw{}, sample.Config{Kind: sample.Best, N: 4, Budget: 0.05, Clock: clock}, critic)
//	s.Sample(chunk, seen, pix, rng)
//	metrics := s.Metrics()
//
// A Drawer is what diffusion.PolicyConfig.Drawer makes.
package sample

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Kind names a search.
type Kind uint8

// The kinds. The zero value is the policy's own sample.
const (
	Plain  Kind = iota
	Best        // of N samples the one that the reward likes best
	FK          // Feynman-Kac steering (Singhal et al. 2025, arXiv:2501.06848)
	Guided      // reward gradient at the predicted actions (Luo et al. 2023, BrainDiVE, arXiv:2306.03089)
	ReNO        // gradient of the noise that a chain begins with (Eyring et al. 2024, arXiv:2406.04312)
	NRG         // reward gradient along a flow (Liu et al. 2025, arXiv:2501.13918)
	kinds
)

var names = [kinds]string{"plain", "best", "fk", "guided", "reno", "nrg"}

// String is the name that a configuration gives.
func (k Kind) String() string {
	if k < kinds {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// KindOf reads what String wrote.
func KindOf(name string) (Kind, error) {
	for k, n := range names {
		if n == name {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("sample: no sampler %q: want one of %v", name, names)
}

// Reward rates chunks of actions. It is called by the goroutine that draws.
type Reward interface {
	// Value writes to dst (N,) how good chunks (N, H, k) are, actions as the view
	// shows them, for the history seen (To, D). More is better.
	Value(dst []float64, chunks, seen []float32)
}

// Gradient is a Reward that can be climbed.
type Gradient interface {
	Reward
	// Grad writes to grad (N, H, k) the derivatives of the values at chunks, and to
	// dst (N,) the values.
	Grad(dst []float64, grad, chunks, seen []float32)
}

// Insider is a Reward of histories as the denoiser sees them, frames included. A Drawer
// shows it each before asking about its chunks; what it is told of the history then, it
// knows better.
type Insider interface {
	Reward
	// See takes the history (diffusion.Net.Seen,) that is asked about until the next.
	See(history []float32)
}

// Denoiser predicts for chunks (N, H, k) on the normalised scale: diffusion.Particles.
type Denoiser interface {
	// Predict is a diffusion.Model.
	Predict(out, x []float32, time float64)
	// Pull writes to dx the gradient at the x of the last Predict of what has the
	// gradient dout at its result.
	Pull(dx, dout []float32)
}

// Config configures a search. Zero fields take the defaults named.
type Config struct {
	Kind Kind
	// N is how many particles Best and FK have (4), and how many iterations ReNO
	// (50).
	N int
	// Scale is how strongly the reward pulls: lambda of FK (2), the scale of Guided
	// and the weight of NRG (0: not at all).
	Scale float64

	Potential Potential // of FK
	Every     int       // of FK: the steps between two looks at the reward; 1
	First     int       // of FK: the first step that it looks after, from 0
	Tilted    bool      // FK draws the chunk by the particles' weights, not the one liked best
	Always    bool      // FK resamples at every look, not only below half of the particles

	// Trust bounds what Guided and NRG move the predicted actions in one step, as
	// root mean square on the normalised scale: 0.5; +Inf: no bound.
	Trust float64
	// Clip bounds NRG's (1-t)/t: 5.
	Clip float64

	LR     float64 // of ReNO: 5 (published settings)
	Chi    float64 // ReNO's weight of the noise's likelihood: 0.01; negative: none
	Norm   float64 // ReNO's bound of the gradient's norm: 0.1; +Inf: none
	Repeat bool    // ReNO at every chunk; otherwise at an episode's first alone, see Drawer.Begin

	// Budget is how many seconds a chunk may take; 0: as long as it takes.
	Budget float64
	// Clock is read around evaluations of the network where there is a Budget. What
	// is drawn then depends on it.
	Clock func() time.Duration
	// Pace is what a search of the same Config found steps to take; nil: this one
	// measures anew.
	Pace *Pace
}

func (c Config) complete() Config {
	num := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	if c.N == 0 {
		c.N = 4
		if c.Kind == ReNO {
			c.N = 50
		}
	}
	if c.Kind == FK {
		num(&c.Scale, 2)
	}
	if c.Every == 0 {
		c.Every = 1
	}
	num(&c.Trust, 0.5)
	num(&c.Clip, 5)
	num(&c.LR, 5)
	num(&c.Chi, 0.01)
	c.Chi = max(0, c.Chi)
	num(&c.Norm, 0.1)
	return c
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	c = c.complete()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("sample: "+format, args...)) }
	if c.Kind >= kinds {
		bad("Kind is %d, want one of %v", c.Kind, names)
	}
	if c.N < 1 || c.N > 1024 {
		bad("N is %d, want 1 to 1024", c.N)
	}
	if !(c.Scale >= 0) || math.IsInf(c.Scale, 0) {
		bad("Scale is %v, want a number from 0", c.Scale)
	}
	if c.Potential >= potentials {
		bad("Potential is %d, want Diff, Max, Add or Raw", c.Potential)
	}
	if c.Every < 1 || c.First < 0 {
		bad("Every and First are %d and %d steps, want at least 1 and 0", c.Every, c.First)
	}
	for _, f := range []struct {
		name string
		v    float64
	}{{"Trust", c.Trust}, {"Clip", c.Clip}, {"LR", c.LR}, {"Norm", c.Norm}} {
		if !(f.v > 0) {
			bad("%s is %v, want a positive number", f.name, f.v)
		}
	}
	if math.IsNaN(c.Chi) {
		bad("Chi is %v, want a number", c.Chi)
	}
	if !(c.Budget >= 0) || math.IsInf(c.Budget, 0) {
		bad("Budget is %v s, want a number from 0", c.Budget)
	}
	if c.Budget > 0 && c.Clock == nil {
		bad("Budget is %v s but there is no Clock: a budget is kept by one", c.Budget)
	}
	return errors.Join(errs...)
}
