package ppo

import (
	"errors"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/policy/bc"
)

// Config configures a Learner. Zero fields take the defaults named; where none
// is, zero leaves the thing out. RAPL's values are those of Tian et al. 2024, by
// their code.
type Config struct {
	// Arch is the actor's shape when there is no cloned policy to start from.
	Arch bc.Arch
	// Std is the deviation before tanh at the start; that of the policy started
	// from, or 1 (RAPL) when there is none.
	Std float64

	Gamma float64 // discount; 0.99 (RAPL)
	// Lambda weighs the estimates of the advantage, from 0, one step and the
	// value, to 1, the return; 0.95 (RAPL).
	Lambda       float64
	Scale, Shift float64 // see buffer.Config
	Finite       bool

	// Ticks is how many transitions an update of the policy wants; whole episodes
	// are waited for until there are as many. 2250 (RAPL: 50 episodes of 45).
	Ticks  int
	Epochs int // passes over them; 10 (RAPL)
	Batch  int // rows of a gradient step; a quarter of Ticks (RAPL)
	// Keep is how many versions of the policy are remembered, to know how likely
	// an action was to the one that took it. Episodes of older ones are dropped.
	// 4: the loop acts one round behind (docs/adr/0001), several processes more.
	Keep   int
	Warmup int // updates that fit the value alone; 0

	// Clip is how far the probability of an action may move for the better, as a
	// ratio to 1; 0.1 (RAPL; 0.2 in the paper).
	Clip    float64
	Entropy float64 // weight of the policy's entropy; 0 (RAPL)
	// MaxKL ends the passes once the policy is this far from where the update
	// began, nats; 0.05, +Inf: never (RAPL).
	MaxKL float64

	ValueHidden      []int   // 256, 128, 64 (RAPL)
	ActorLR, ValueLR float64 // 1e-3 (RAPL)
	// Decay is the number of updates in which the rates fall to a tenth along a
	// cosine (RAPL's falls to nothing in 2000); 0: none.
	Decay    int
	ClipNorm float64 // largest norm of a gradient; 1 (RAPL), +Inf: no limit
	// ValueWeight is how much the value's loss counts beside the policy's in what
	// trains the trunk of a view with cameras; 1 (c1 of the paper's Atari policies,
	// table 5).
	ValueWeight float64
	// Auxiliary weighs, in what trains that trunk, the losses of heads that predict the
	// reward of the step and rebuild the row from its latents (package auxiliary);
	// 0: there are none.
	Auxiliary float64

	Seed uint64
	// Device learns; nil is the processor.
	Device device.Device
}

// RAPL is what Tian et al. 2024 (arXiv:2412.04835) tune their manipulation
// policies with, by their code, for a policy that sees and moves as a says and
// acts in 50 episodes of 45 ticks for an update.
func RAPL(a bc.Arch) Config {
	a.Hidden = []int{256, 128, 64}
	return Config{
		Arch: a, Std: 1, Gamma: 0.99, Lambda: 0.95, Ticks: 2250, Epochs: 10, Batch: 562,
		Clip: 0.1, MaxKL: math.Inf(1), ValueHidden: []int{256, 128, 64},
		ActorLR: 1e-3, ValueLR: 1e-3, Decay: 2000, ClipNorm: 1,
	}
}

// complete fills in the defaults and reports everything that is wrong.
func (c *Config) complete(cloned bool) error {
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
	if !cloned {
		def(&c.Std, 1)
	}
	def(&c.Gamma, 0.99)
	def(&c.Lambda, 0.95)
	def(&c.Scale, 1)
	num(&c.Ticks, 2250)
	num(&c.Epochs, 10)
	num(&c.Batch, max(1, c.Ticks/4))
	num(&c.Keep, 4)
	def(&c.Clip, 0.1)
	def(&c.MaxKL, 0.05)
	if c.ValueHidden == nil {
		c.ValueHidden = []int{256, 128, 64}
	}
	def(&c.ActorLR, 1e-3)
	def(&c.ValueLR, 1e-3)
	def(&c.ClipNorm, 1)
	def(&c.ValueWeight, 1)

	errs := []error{c.Arch.Validate()}
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("ppo: "+format, args...)) }
	for _, f := range []struct {
		name     string
		v, least int
	}{
		{"Ticks", c.Ticks, 1}, {"Epochs", c.Epochs, 1}, {"Batch", c.Batch, 1}, {"Keep", c.Keep, 2},
		{"Warmup", c.Warmup, 0}, {"Decay", c.Decay, 0},
	} {
		if f.v < f.least {
			wrong("%s is %d, want at least %d", f.name, f.v, f.least)
		}
	}
	if !(c.ValueWeight > 0 && finite(c.ValueWeight)) {
		wrong("ValueWeight is %v, want a positive number", c.ValueWeight)
	}
	if !(c.Auxiliary >= 0 && finite(c.Auxiliary)) {
		wrong("Auxiliary is %v, want a finite weight, 0 or more", c.Auxiliary)
	}
	if c.Batch > c.Ticks {
		wrong("Batch is %d rows of %d Ticks", c.Batch, c.Ticks)
	}
	for i, h := range c.ValueHidden {
		if h < 1 {
			wrong("ValueHidden[%d] is %d units", i, h)
		}
	}
	if c.Std != 0 && !(c.Std > minStd && c.Std < maxStd) {
		wrong("Std is %v, want between %.2g and %.2g", c.Std, minStd, maxStd)
	}
	if !(c.Gamma > 0 && c.Gamma <= 1) {
		wrong("Gamma is %v, want above 0 and at most 1", c.Gamma)
	}
	if !(c.Lambda > 0 && c.Lambda <= 1) {
		wrong("Lambda is %v, want above 0 and at most 1", c.Lambda)
	}
	if !finite(c.Scale) || !finite(c.Shift) {
		wrong("Scale and Shift are %v and %v, want finite numbers", c.Scale, c.Shift)
	}
	if c.Finite && c.Arch.View.Horizon == 0 {
		wrong("Finite wants View.Horizon, or the policy cannot know how much time is left")
	}
	if !(c.Clip > 0 && c.Clip < 1) {
		wrong("Clip is %v, want between 0 and 1", c.Clip)
	}
	if !(c.Entropy >= 0 && finite(c.Entropy)) {
		wrong("Entropy is %v, want a finite weight, 0 or more", c.Entropy)
	}
	for _, f := range []struct {
		name string
		v    float64
	}{{"ActorLR", c.ActorLR}, {"ValueLR", c.ValueLR}} {
		if !(f.v > 0 && finite(f.v)) {
			wrong("%s is %v, want a positive number", f.name, f.v)
		}
	}
	for _, f := range []struct {
		name string
		v    float64
	}{{"MaxKL", c.MaxKL}, {"ClipNorm", c.ClipNorm}} {
		if !(f.v > 0) {
			wrong("%s is %v, want a positive number, or +Inf for no limit", f.name, f.v)
		}
	}
	return errors.Join(errs...)
}

// A deviation that the head of a bc.Net can express lies between these: exp(-5)
// and exp(2).
const minStd, maxStd = 0.0068, 7.38

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
