package rlpd

import (
	"errors"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
)

// Config configures a Learner. Zero fields take the defaults named; where none
// is, zero leaves the thing out. RLPD's own values are those of Ball et al.
// 2023, table 3.
type Config struct {
	// Arch is the actor's shape when there is no cloned policy to start from.
	Arch bc.Arch

	// What is replayed; see buffer.Config.
	Capacity     int
	Steps        int     // n-step returns; 1
	Gamma        float64 // 0.99 (RLPD)
	Scale, Shift float64
	Finite       bool
	JPEG         int    // quality of kept frames; 0: as they are
	Dir          string // folder that holds the replay; empty: memory
	// Prioritised draws rows by their TD error, and weighs them in the critics'
	// loss. The zero value draws uniformly.
	Prioritised buffer.Prioritised

	Batch int     // rows of a gradient step; 256 (RLPD)
	Demos float64 // share of demonstration rows; 0.5 (RLPD), negative: none
	// Pool draws from both sides as from one instead, by their sizes.
	Pool bool
	// Offline is how many critic steps, actor steps among them, learn from
	// demonstrations alone, although online rows may be there; 0. Learner.Online
	// ends them early.
	Offline int
	UTD     int // critic steps for one actor step; 4 (RLPD 20, from pixels 1)
	Round   int // actor steps of an Update, each after UTD critic steps; 1
	Warmup  int // critic steps before the actor moves at all; 0

	Critics      int   // members E of the ensemble; 5 (RLPD 10)
	CriticHidden []int // 256, 256 (RLPD)
	Subset       int   // members that a target is the smallest of; 2 (RLPD)
	// Best is how many actions of the next state a target takes the best of; 1
	// (CQL's authors' code has 10, "max target backup").
	Best int
	// Least lets the actor climb the smallest of the critics instead of their
	// mean (SAC, Haarnoja et al. 2018, section 5).
	Least bool
	Tau   float64 // of the target critics' moving average; 0.005 (RLPD)

	CriticLR, ActorLR, AlphaLR float64 // 3e-4 each (RLPD)
	ClipNorm                   float64 // largest norm of a gradient; 10, +Inf: no limit

	Alpha         float64 // first temperature; 0.1 (RLPD from pixels)
	FixedAlpha    bool    // keeps it
	TargetEntropy float64 // what the temperature steers to, nats; -k for k actions
	EntropyBackup bool    // counts entropy in the targets (RLPD from states does)

	// Clone weighs the squared distance of the actor's mean to the action on
	// demonstration rows, in units of the mean |Q| of the batch (Fujimoto and
	// Gu 2021, "A minimalist approach to offline RL", equation 5).
	Clone float64
	// QFilter clones only where the critics, by their mean or by Least, prefer the
	// demonstrated action (Nair et al. 2018, "Overcoming exploration in RL with
	// demonstrations", section IV-C).
	QFilter bool
	// Stay weighs the divergence from the policy that learning started from,
	// in units of the mean |Q| of the batch.
	Stay float64
	// Residual, if positive, keeps the policy that learning starts from as it is, and
	// learns what is added to it, so much at most before tanh; see bc.Net.Residual. It
	// wants a policy to start from.
	Residual float64
	// Noise is the deviation of noise on the normalised rows of a batch.
	Noise float64

	// DrM keeps the networks awake; nil does not.
	DrM *DrM
	// Health measures actor and critics at the end of every Update.
	Health bool

	Seed uint64
	// Device learns; nil is the processor.
	Device device.Device
}

// complete fills in the defaults for k actions and reports everything that is
// wrong.
func (c *Config) complete(k int) error {
	def := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	num := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Gamma, 0.99)
	def(&c.Demos, 0.5)
	c.Demos = max(0, c.Demos)
	num(&c.Steps, 1)
	num(&c.Batch, 256)
	num(&c.UTD, 4)
	num(&c.Round, 1)
	num(&c.Critics, 5)
	if c.CriticHidden == nil {
		c.CriticHidden = []int{256, 256}
	}
	num(&c.Subset, 2)
	num(&c.Best, 1)
	def(&c.Tau, 0.005)
	def(&c.CriticLR, 3e-4)
	def(&c.ActorLR, 3e-4)
	def(&c.AlphaLR, 3e-4)
	def(&c.ClipNorm, 10)
	def(&c.Alpha, 0.1)
	def(&c.TargetEntropy, -float64(k))

	errs := []error{c.Arch.Validate(), c.replay().Validate()}
	for _, f := range []struct {
		name string
		v    int
	}{{"Batch", c.Batch}, {"UTD", c.UTD}, {"Round", c.Round}, {"Critics", c.Critics}, {"Subset", c.Subset}, {"Best", c.Best}} {
		if f.v < 1 {
			errs = append(errs, fmt.Errorf("rlpd: %s is %d, want at least 1", f.name, f.v))
		}
	}
	if c.Subset > c.Critics {
		errs = append(errs, fmt.Errorf("rlpd: Subset is %d of %d Critics", c.Subset, c.Critics))
	}
	if c.Warmup < 0 {
		errs = append(errs, fmt.Errorf("rlpd: Warmup is %d critic steps, want 0 or more", c.Warmup))
	}
	if c.Offline < 0 {
		errs = append(errs, fmt.Errorf("rlpd: Offline is %d critic steps, want 0 or more", c.Offline))
	}
	for i, h := range c.CriticHidden {
		if h < 1 {
			errs = append(errs, fmt.Errorf("rlpd: CriticHidden[%d] is %d units", i, h))
		}
	}
	if !(c.Demos <= 1) {
		errs = append(errs, fmt.Errorf("rlpd: Demos is %v, want a share of at most 1", c.Demos))
	}
	if !(c.Tau > 0 && c.Tau <= 1) {
		errs = append(errs, fmt.Errorf("rlpd: Tau is %v, want above 0 and at most 1", c.Tau))
	}
	for _, f := range []struct {
		name string
		v    float64
	}{{"CriticLR", c.CriticLR}, {"ActorLR", c.ActorLR}, {"AlphaLR", c.AlphaLR}, {"Alpha", c.Alpha}} {
		if !(f.v > 0 && !math.IsInf(f.v, 0)) {
			errs = append(errs, fmt.Errorf("rlpd: %s is %v, want a positive number", f.name, f.v))
		}
	}
	if !(c.ClipNorm > 0) {
		errs = append(errs, fmt.Errorf("rlpd: ClipNorm is %v, want a positive number, or +Inf for no limit", c.ClipNorm))
	}
	for _, f := range []struct {
		name string
		v    float64
	}{{"Clone", c.Clone}, {"Stay", c.Stay}, {"Residual", c.Residual}, {"Noise", c.Noise}} {
		if !(f.v >= 0 && !math.IsInf(f.v, 0)) {
			errs = append(errs, fmt.Errorf("rlpd: %s is %v, want a finite number, 0 or more", f.name, f.v))
		}
	}
	if math.IsNaN(c.TargetEntropy) || math.IsInf(c.TargetEntropy, 0) {
		errs = append(errs, fmt.Errorf("rlpd: TargetEntropy is %v", c.TargetEntropy))
	}
	if c.DrM != nil {
		own := *c.DrM
		c.DrM = &own
		errs = append(errs, own.complete())
	}
	if c.QFilter && c.Clone == 0 {
		errs = append(errs, errors.New("rlpd: QFilter filters cloning, but Clone is 0"))
	}
	return errors.Join(errs...)
}

func (c *Config) replay() buffer.Config {
	return buffer.Config{
		View: c.Arch.View, Capacity: c.Capacity, Steps: c.Steps, Gamma: c.Gamma,
		Scale: c.Scale, Shift: c.Shift, Finite: c.Finite,
		JPEG: c.JPEG, Dir: c.Dir, Prioritised: c.Prioritised,
	}
}
