package bc

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
	"github.com/rapport-rl/rapport/policy/trunk"
)

var _ policy.Keeper = (*Learner)(nil)

// LearnerConfig configures a Learner. Zero fields take the defaults named.
type LearnerConfig struct {
	// Arch is the actor's shape when there is no cloned policy to start from.
	Arch Arch
	Loss Loss
	// Std is the deviation before tanh of a policy that starts from nothing and
	// learns by SquaredError; 0.3.
	Std         float64
	Batch       int     // rows of a gradient step; 128
	Round       int     // gradient steps of an Update; 1
	LR          float64 // Adam's; 3e-4
	WeightDecay float64 // decoupled; 0
	ClipNorm    float64 // largest norm of the gradient; 10, +Inf: no limit
	Noise       float64 // deviation of noise on the normalised rows of a batch
	Seed        uint64
	Device      device.Device // that learns; the processor
}

func (c *LearnerConfig) complete() error {
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
	num(&c.Batch, 128)
	num(&c.Round, 1)
	def(&c.LR, 3e-4)
	def(&c.ClipNorm, 10)
	train := Config{Arch: c.Arch, Loss: c.Loss, Std: c.Std, LR: c.LR, WeightDecay: c.WeightDecay, Noise: c.Noise}
	errs := []error{train.complete()}
	c.Std = train.Std
	if c.Batch < 1 || c.Round < 1 {
		errs = append(errs, fmt.Errorf("bc: Batch and Round are %d and %d, want at least 1", c.Batch, c.Round))
	}
	if !(c.ClipNorm > 0) {
		errs = append(errs, fmt.Errorf("bc: ClipNorm is %v, want a positive number, or +Inf for no limit", c.ClipNorm))
	}
	return errors.Join(errs...)
}

// Learner goes on imitating while the policy acts: demonstrations, and the
// commands by which a person took over, in the situations that the policy got
// itself into (Ross et al. 2011, arXiv:1011.0686, algorithm 3.1, where the person
// decides when to take over as in Kelly et al. 2019, arXiv:1810.02890). What the
// policy itself did is never imitated; rewards are not looked at and may be
// missing. It is driven by one goroutine.
type Learner struct {
	cfg    LearnerConfig
	replay *buffer.Buffer
	batch  *buffer.Batch

	actor, ref *Net // ref is where learning started
	params     []*nn.Param
	fit        *step
	adam       *nn.Adam
	probe      *Probe
	was        *trunk.Glance // frames as ref sees them; nil without cameras
	wasRead    []float32     // (B, D')

	pcg     *rand.PCG
	rng     *rand.Rand
	fitted  bool   // the normalisation is set
	steps   uint64 // gradient steps so far
	version uint64 // of the actor
}

// NewLearner returns a Learner that starts from the policy start, which it
// copies. A nil start draws a new one of c.Arch, whose normalisation is fitted to
// what was added by the first Update.
func NewLearner(c LearnerConfig, start *Net) (*Learner, error) {
	if start != nil {
		c.Arch = start.Arch
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	l := &Learner{cfg: c, fitted: start != nil, version: 1}
	l.pcg = rand.NewPCG(c.Seed, seed.Mix(c.Seed^0x6263)) // "bc"
	l.rng = rand.New(l.pcg)
	var err error
	// Of what the policy did, one episode is kept: none is ever drawn.
	if l.replay, err = buffer.New(buffer.Config{View: c.Arch.View, Capacity: 1, Gamma: 1}); err != nil {
		return nil, err
	}
	l.batch = buffer.NewBatch(c.Batch, c.Arch.View)
	if start != nil {
		l.actor = start.Clone()
	} else {
		if l.actor, err = NewNet(c.Arch, l.rng); err != nil {
			return nil, err
		}
		if c.Loss == SquaredError {
			l.actor.SetStd(c.Std)
		}
	}
	l.ref, l.params = l.actor.Clone(), l.actor.trained()
	l.fit = newStep(Config{Arch: c.Arch, Loss: c.Loss, Device: c.Device}, l.actor, c.Batch)
	l.probe = NewProbe(l.actor, l.ref, c.Batch, c.Device)
	if l.ref.eye != nil {
		l.was, l.wasRead = l.ref.eye.Glance(c.Batch, false, c.Device), make([]float32, c.Batch*l.ref.Dim())
	}
	l.adam = nn.NewAdam(l.params, nn.AdamConfig{LR: c.LR, WeightDecay: c.WeightDecay, ClipNorm: c.ClipNorm})
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
	_, err := l.replay.Add(e)
	return err
}

// Count tells what is imitated: its Demo side.
func (l *Learner) Count() buffer.Count { return l.replay.Count() }

// Update does Round gradient steps on demonstrations and interventions. Without
// any it is an error wrapping buffer.ErrEmpty.
func (l *Learner) Update(ctx context.Context) (policy.Stats, error) {
	count := l.replay.Count()
	if count.Demo == 0 {
		return policy.Stats{}, fmt.Errorf("bc: nothing to imitate, neither a demonstration nor an intervention: %w", buffer.ErrEmpty)
	}
	if err := ctx.Err(); err != nil {
		return policy.Stats{}, err
	}
	if !l.fitted {
		rows := l.replay.Observations()
		l.actor.Fit(rows)
		l.ref.Fit(rows)
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
	if l.was != nil {
		trunk.Beside(l.wasRead, l.fit.x.Value, l.was.Look(l.batch.Pix, 0, nil), l.cfg.Batch)
	}
	entropy, kl := l.probe.Look(l.fit.in.Value, l.wasRead, l.rng)
	n := float64(l.cfg.Round)
	return policy.Stats{Updates: l.steps, Metrics: []policy.Metric{
		{Name: "clone_loss", Value: loss / n},
		{Name: "actor_grad", Value: grad / n},
		{Name: "entropy", Value: entropy},
		{Name: "kl", Value: kl},
		{Name: "demo_rows", Value: float64(count.Demo)},
		{Name: "human_rows", Value: float64(count.Human)},
	}}, nil
}

// step does one gradient step and gives the loss before it.
func (l *Learner) step() (float64, error) {
	if err := l.replay.Sample(l.batch, l.cfg.Batch, l.rng); err != nil {
		return 0, fmt.Errorf("bc: %w", err)
	}
	x := l.fit.x.Value
	l.actor.Normalise(x, l.batch.Obs)
	if s := l.cfg.Noise; s > 0 {
		for i := range x {
			x[i] += float32(s * l.rng.NormFloat64())
		}
	}
	if l.fit.eye != nil {
		l.fit.eye.Put(l.batch.Pix, l.actor.Arch.Trunk.Shift, l.rng)
	}
	l.fit.aim(l.fit.a.Value, l.batch.Act)
	l.fit.g.Forward()
	loss := float64(l.fit.loss.Value[0])
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, fmt.Errorf("bc: the loss is %v at step %d: lower LR, and restore the last checkpoint", loss, l.steps)
	}
	nn.ZeroGrad(l.params)
	l.fit.g.Backward(l.fit.loss)
	l.adam.Step()
	l.steps++
	return loss, nil
}

// Latest returns the parameters, for a Policy. The version counts the Updates,
// from 1.
func (l *Learner) Latest(ctx context.Context) (policy.Params, error) {
	if err := ctx.Err(); err != nil {
		return policy.Params{}, err
	}
	return l.actor.Encode(l.version)
}

// Actor returns a copy of the actor.
func (l *Learner) Actor() *Net { return l.actor.Clone() }

// learnerFormat marks a Learner's checkpoint; its number changes with the layout.
const learnerFormat = "rapport-bc-1"

// Save writes all that learning goes on from, but for the episodes.
func (l *Learner) Save(w io.Writer) error {
	s := checkpoint.Stage[Arch]{Arch: l.actor.Arch, Fitted: l.fitted, Steps: l.steps, Version: l.version}
	if err := checkpoint.SaveStage(w, learnerFormat, s, l.pcg, l.parts()...); err != nil {
		return fmt.Errorf("bc: save: %w", err)
	}
	return nil
}

// Restore takes back what Save wrote. What is corrupt, or of another shape than
// configured, is an error that names what is wrong, and changes nothing.
func (l *Learner) Restore(r io.Reader) error {
	s, err := checkpoint.RestoreStage(r, learnerFormat, l.actor.Arch, l.pcg, l.parts()...)
	if err != nil {
		return fmt.Errorf("bc: restore: %w", err)
	}
	l.fitted, l.steps, l.version = s.Fitted, s.Steps, s.Version
	return nil
}

func (l *Learner) parts() []checkpoint.Part {
	return []checkpoint.Part{
		{Tensors: l.actor.Tensors()},
		{Name: "reference", Tensors: l.ref.Tensors()},
		{Name: "actor", Adam: l.adam},
	}
}
