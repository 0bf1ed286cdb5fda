package diffusion

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/seed"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/checkpoint"
)

var _ policy.Keeper = (*Learner)(nil)

// Config configures a Learner. Zero fields take the defaults named, which are
// Diffusion Policy's (Chi et al. 2023, appendix A and published settings).
type Config struct {
	Arch        Arch
	Batch       int              // chunks of a gradient step; 64
	Round       int              // gradient steps of an Update; 1
	LR          float64          // AdamW's; 1e-4
	WeightDecay float64          // decoupled; 1e-6, negative: none
	Warmup      uint64           // steps in which LR rises from 0; 500
	Total       uint64           // steps after which a half cosine has brought LR to 0; 0: it stays
	ClipNorm    float64          // largest norm of the gradient; 10, +Inf: no limit
	Average     nn.AverageConfig // of the parameters that act
	Seed        uint64
	Device      device.Device // that learns; the processor
}

func (c *Config) complete() error {
	if c.Batch == 0 {
		c.Batch = 64
	}
	if c.Round == 0 {
		c.Round = 1
	}
	if c.Warmup == 0 {
		c.Warmup = 500
	}
	def := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.LR, 1e-4)
	def(&c.WeightDecay, 1e-6)
	def(&c.ClipNorm, 10)
	def(&c.Average.Power, 0.75)
	def(&c.Average.Max, 0.9999)
	errs := []error{c.Arch.Validate()}
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("diffusion: "+format, args...)) }
	if c.Batch < 1 || c.Round < 1 {
		bad("Batch and Round are %d and %d, want at least 1", c.Batch, c.Round)
	}
	if !(c.LR > 0) || math.IsInf(c.LR, 0) {
		bad("LR is %v, want a positive number", c.LR)
	}
	if math.IsNaN(c.WeightDecay) || c.WeightDecay >= 1 {
		bad("WeightDecay is %v, want a number below 1", c.WeightDecay)
	}
	if !(c.ClipNorm > 0) {
		bad("ClipNorm is %v, want a positive number, or +Inf for no limit", c.ClipNorm)
	}
	if c.Total != 0 && c.Total <= c.Warmup {
		bad("Total is %d steps, want more than the %d of Warmup, or 0 for no end", c.Total, c.Warmup)
	}
	if !(c.Average.Power > 0) || !(c.Average.Max > 0 && c.Average.Max <= 1) {
		bad("Average has power %v and largest decay %v, want a positive number and one up to 1", c.Average.Power, c.Average.Max)
	}
	c.Arch = c.Arch.complete()
	c.WeightDecay = max(0, c.WeightDecay)
	return errors.Join(errs...)
}

// Learner imitates demonstrations, and the commands by which a person took over.
// What the policy itself did is never imitated; rewards are not looked at and may
// be missing. It is driven by one goroutine.
type Learner struct {
	cfg    Config
	replay *buffer.Buffer
	chunks *buffer.Chunks
	people *people

	net, slow *Net // slow is the average, which acts
	fit       *fit
	adam      *nn.Adam
	average   *nn.Average

	pcg     *rand.PCG
	rng     *rand.Rand
	fitted  bool   // the ranges are set
	steps   uint64 // gradient steps so far
	version uint64 // of the average
}

// New returns a Learner that starts from the policy start, which it copies. A nil
// start draws a new one of c.Arch, whose ranges are fitted to what was added by the
// first Update.
func New(c Config, start *Net) (*Learner, error) {
	if start != nil {
		c.Arch = start.Arch
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	l := &Learner{cfg: c, people: newPeople(c.Arch.View), fitted: start != nil, version: 1}
	l.pcg = rand.NewPCG(c.Seed, seed.Mix(c.Seed^0x646966)) // "dif"
	l.rng = rand.New(l.pcg)
	var err error
	// Of what the policy did, one episode is kept: none is ever drawn.
	if l.replay, err = buffer.New(buffer.Config{View: c.Arch.View, Capacity: 1, Gamma: 1}); err != nil {
		return nil, err
	}
	if l.chunks, err = buffer.NewChunks(c.Batch, c.Arch.window(), c.Arch.View); err != nil {
		return nil, err
	}
	if start != nil {
		l.net = start.Clone()
	} else {
		l.net = newNet(c.Arch, l.rng)
	}
	l.slow = l.net.Clone()
	l.fit = newFit(l.net, c.Batch, c.Device)
	// Betas as in Diffusion Policy's settings.
	l.adam = nn.NewAdam(l.net.params, nn.AdamConfig{LR: c.LR, Beta1: 0.95, Beta2: 0.999, WeightDecay: c.WeightDecay, ClipNorm: c.ClipNorm})
	l.average = nn.NewAverage(l.slow.params, l.net.params, c.Average)
	return l, nil
}

// Add takes an episode. Adding an id twice changes nothing.
func (l *Learner) Add(ctx context.Context, e policy.Episode) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.Rewards == nil {
		e.Rewards = make([]float64, e.Len())
	}
	added, err := l.replay.Add(e)
	if err != nil || !added {
		return err
	}
	return l.people.add(e)
}

// Count tells what is imitated: its Demo side.
func (l *Learner) Count() buffer.Count { return l.replay.Count() }

// Update does Round gradient steps. With nothing to imitate it is an error
// wrapping buffer.ErrEmpty.
func (l *Learner) Update(ctx context.Context) (policy.Stats, error) {
	count := l.replay.Count()
	if count.Demo == 0 {
		return policy.Stats{}, fmt.Errorf("diffusion: nothing to imitate, neither a demonstration nor an intervention: %w", buffer.ErrEmpty)
	}
	if err := ctx.Err(); err != nil {
		return policy.Stats{}, err
	}
	if !l.fitted {
		l.net.Fit(l.people.ranges())
		nn.Copy(l.slow.ranges(), l.net.ranges())
		l.fitted = true
	}
	loss, grad := 0.0, 0.0
	for range l.cfg.Round {
		if err := ctx.Err(); err != nil {
			return policy.Stats{}, err
		}
		v, err := l.step()
		if err != nil {
			return policy.Stats{}, err
		}
		loss, grad = loss+v, grad+l.adam.Norm()
	}
	l.version++
	n := float64(l.cfg.Round)
	return policy.Stats{Updates: l.steps, Metrics: []policy.Metric{
		{Name: "denoise_loss", Value: loss / n},
		{Name: "actor_grad", Value: grad / n},
		{Name: "rate", Value: l.adam.LR},
		{Name: "decay", Value: l.average.Decay()},
		{Name: "demo_rows", Value: float64(count.Demo)},
		{Name: "human_rows", Value: float64(count.Human)},
	}}, nil
}

// step does one gradient step and gives the loss before it.
func (l *Learner) step() (float64, error) {
	if err := l.replay.SampleChunks(l.chunks, l.cfg.Batch, l.rng); err != nil {
		return 0, fmt.Errorf("diffusion: %w", err)
	}
	l.people.mask(l.chunks)
	l.fit.aim(l.chunks, l.rng)
	loss := l.fit.step()
	if !finite(loss) {
		return 0, fmt.Errorf("diffusion: the loss is %v at step %d: lower LR, and restore the last checkpoint", loss, l.steps)
	}
	// The first step of a warm-up would be none.
	l.adam.LR = l.cfg.LR * nn.CosineRate(l.steps+1, l.cfg.Warmup, l.cfg.Total)
	l.adam.Step()
	l.average.Step()
	l.steps++
	return loss, nil
}

// Latest returns the averaged parameters, for a Policy. The version counts the
// Updates, from 1.
func (l *Learner) Latest(ctx context.Context) (policy.Params, error) {
	if err := ctx.Err(); err != nil {
		return policy.Params{}, err
	}
	return l.slow.Encode(l.version)
}

// Net returns a copy of the averaged network.
func (l *Learner) Net() *Net { return l.slow.Clone() }

// learnerFormat marks a Learner's checkpoint; its number changes with the layout.
const learnerFormat = "rapport-diffusion-1"

// Save writes all that learning goes on from, but for the episodes.
func (l *Learner) Save(w io.Writer) error {
	s := checkpoint.Stage[Arch]{Arch: l.net.Arch, Fitted: l.fitted, Steps: l.steps, Version: l.version}
	if err := checkpoint.SaveStage(w, learnerFormat, s, l.pcg, l.parts()...); err != nil {
		return fmt.Errorf("diffusion: save: %w", err)
	}
	return nil
}

// Restore takes back what Save wrote. What is corrupt, or of another shape than
// configured, is an error that names what is wrong, and changes nothing.
func (l *Learner) Restore(r io.Reader) error {
	s, err := checkpoint.RestoreStage(r, learnerFormat, l.net.Arch, l.pcg, l.parts()...)
	if err != nil {
		return fmt.Errorf("diffusion: restore: %w", err)
	}
	l.fitted, l.steps, l.version = s.Fitted, s.Steps, s.Version
	l.average.SetSteps(s.Steps)
	return nil
}

func (l *Learner) parts() []checkpoint.Part {
	return []checkpoint.Part{
		{Tensors: l.net.Tensors()},
		{Name: "average", Tensors: l.slow.Tensors()},
		{Name: "actor", Adam: l.adam},
	}
}
