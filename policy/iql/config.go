package iql

import (
	"errors"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
)

// Head says what the actor minimises on the rows, weighted by their advantage.
type Head uint8

// The heads.
const (
	// Gaussian is the negative log likelihood of the action, which learns a
	// deviation per state.
	Gaussian Head = iota
	// Deterministic is the squared distance of tanh(mean) to the action; the
	// deviation stays what it was.
	Deterministic
)

// Config configures a Learner. Zero fields take the defaults named; where none
// is, zero leaves the thing out. IQL's own values are those of Kostrikov et al.
// 2021, appendix B, for locomotion.
type Config struct {
	// Arch is the actor's shape when there is no cloned policy to start from.
	Arch bc.Arch

	// What is replayed; see buffer.Config.
	Capacity     int
	Steps        int     // n-step returns; 1
	Gamma        float64 // 0.99 (IQL)
	Scale, Shift float64
	Finite       bool
	JPEG         int    // quality of kept frames; 0: as they are
	Dir          string // folder that holds the replay; empty: memory
	// Prioritised draws rows by their TD error, and weighs them in the critics'
	// loss. The zero value draws uniformly.
	Prioritised buffer.Prioritised
	// Spread multiplies the rewards so that the largest and the smallest return
	// of the episodes held at the first Update are this far apart (1000 in the
	// authors' code for locomotion). Advantages, and so the weights of the rows,
	// are in units of the reward: unless rewards are of a known scale, set this
	// or Scale. 0 leaves them; so do fewer than two returns.
	Spread float64

	Batch int     // rows of a gradient step; 256 (IQL)
	Demos float64 // share of demonstration rows; 0.5, negative: none
	// Pool draws from both sides as from one instead, by their sizes.
	Pool bool
	// Offline is how many steps learn from demonstrations alone, although online
	// rows may be there; 0. Learner.Online ends them early.
	Offline int
	Round   int // steps of an Update, each of value, actor and critics; 1
	Warmup  int // steps before the actor moves at all; 0

	Critics      int   // members of the ensemble; 2 (IQL)
	CriticHidden []int // of the critics and of the value; 256, 256 (IQL)
	Subset       int   // members that an action's value is the smallest of; 2 (IQL)
	Tau          float64

	// Expectile is what the value is of the actions' values, in (0, 1): 0.5 the
	// mean, near 1 the best that the data hold; 0.7 (IQL; 0.9 for its mazes).
	Expectile float64
	// Beta sharpens the weights exp(Beta advantage); 3 (IQL; 10 for its mazes).
	Beta      float64
	MaxWeight float64 // largest weight of a row; 100 (IQL)
	Head      Head

	CriticLR, ValueLR, ActorLR float64 // 3e-4 each (IQL)
	// Decay is the number of actor steps in which the actor's rate falls to a
	// tenth along a cosine (IQL's falls to nothing with the last step); 0: none.
	Decay    int
	ClipNorm float64 // largest norm of a gradient; 10, +Inf: no limit
	// Noise is the deviation of noise on the normalised rows of a batch.
	Noise float64

	Seed uint64
	// Device learns; nil is the processor.
	Device device.Device
}

// complete fills in the defaults and reports everything that is wrong.
func (c *Config) complete() error {
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
	num(&c.Round, 1)
	num(&c.Critics, 2)
	if c.CriticHidden == nil {
		c.CriticHidden = []int{256, 256}
	}
	num(&c.Subset, min(2, c.Critics))
	def(&c.Tau, 0.005)
	def(&c.Expectile, 0.7)
	def(&c.Beta, 3)
	def(&c.MaxWeight, 100)
	def(&c.CriticLR, 3e-4)
	def(&c.ValueLR, 3e-4)
	def(&c.ActorLR, 3e-4)
	def(&c.ClipNorm, 10)

	errs := []error{c.Arch.Validate(), c.replay().Validate()}
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("iql: "+format, args...)) }
	for _, f := range []struct {
		name     string
		v, least int
	}{
		{"Batch", c.Batch, 1}, {"Round", c.Round, 1}, {"Critics", c.Critics, 1}, {"Subset", c.Subset, 1},
		{"Warmup", c.Warmup, 0}, {"Offline", c.Offline, 0}, {"Decay", c.Decay, 0},
	} {
		if f.v < f.least {
			wrong("%s is %d, want at least %d", f.name, f.v, f.least)
		}
	}
	if c.Subset > c.Critics {
		wrong("Subset is %d of %d Critics", c.Subset, c.Critics)
	}
	for i, h := range c.CriticHidden {
		if h < 1 {
			wrong("CriticHidden[%d] is %d units", i, h)
		}
	}
	if !(c.Demos <= 1) {
		wrong("Demos is %v, want a share of at most 1", c.Demos)
	}
	if !(c.Tau > 0 && c.Tau <= 1) {
		wrong("Tau is %v, want above 0 and at most 1", c.Tau)
	}
	if !(c.Expectile > 0 && c.Expectile < 1) {
		wrong("Expectile is %v, want between 0 and 1", c.Expectile)
	}
	if c.Head > Deterministic {
		wrong("Head is %d, want Gaussian or Deterministic", c.Head)
	}
	for _, f := range []struct {
		name string
		v    float64
	}{{"CriticLR", c.CriticLR}, {"ValueLR", c.ValueLR}, {"ActorLR", c.ActorLR}, {"Beta", c.Beta}, {"MaxWeight", c.MaxWeight}} {
		if !(f.v > 0 && !math.IsInf(f.v, 0)) {
			wrong("%s is %v, want a positive number", f.name, f.v)
		}
	}
	for _, f := range []struct {
		name string
		v    float64
	}{{"Spread", c.Spread}, {"Noise", c.Noise}} {
		if !(f.v >= 0 && !math.IsInf(f.v, 0)) {
			wrong("%s is %v, want a finite number, 0 or more", f.name, f.v)
		}
	}
	if !(c.ClipNorm > 0) {
		wrong("ClipNorm is %v, want a positive number, or +Inf for no limit", c.ClipNorm)
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
