package bc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/seed"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/trunk"
)

// Loss says what cloning minimises.
type Loss uint8

// The losses.
const (
	// SquaredError is the mean squared distance of tanh(mean) to the action;
	// the deviation stays Config.Std everywhere.
	SquaredError Loss = iota
	// Likelihood is the negative log likelihood of the action, which learns a
	// deviation per state: wide where demonstrators disagree.
	Likelihood
)

// Config configures Train. Zero fields take the defaults named.
type Config struct {
	Arch Arch
	Loss Loss
	// Std is the deviation before tanh of a policy cloned by SquaredError: how
	// far it explores when fine-tuning starts; 0.3.
	Std         float64
	Steps       int     // gradient steps; 2000
	Batch       int     // rows of a step; 128
	LR          float64 // Adam's, falling to a tenth along a cosine; 1e-3
	WeightDecay float64 // decoupled; 0
	// Noise is the deviation of noise on the normalised rows, in units of the
	// demonstrations' own spread, so that a few of them do not become a table
	// to look actions up in; 0: none.
	Noise float64
	// HeldOut is the share of the episodes, at least one, that is not trained
	// on; the parameters returned are then the ones that did best on them.
	// 0: train on all, return the last.
	// A view with cameras tries a batch of rows of them.
	HeldOut float64
	Every   int // steps between looks at the held-out loss, and progress; 100
	Seed    uint64
	Device  device.Device // that learns; the processor
}

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
	def(&c.Std, 0.3)
	def(&c.LR, 1e-3)
	num(&c.Steps, 2000)
	num(&c.Batch, 128)
	num(&c.Every, 100)
	errs := []error{c.Arch.Validate()}
	if c.Loss > Likelihood {
		errs = append(errs, fmt.Errorf("bc: Loss is %d, want SquaredError or Likelihood", c.Loss))
	}
	if lo, hi := math.Exp(loLogStd), math.Exp(hiLogStd); !(c.Std > lo && c.Std < hi) {
		errs = append(errs, fmt.Errorf("bc: Std is %v, want between %.2g and %.2g", c.Std, lo, hi))
	}
	if c.Steps < 0 || c.Batch < 0 || c.Every < 0 {
		errs = append(errs, fmt.Errorf("bc: Steps, Batch and Every are %d, %d, %d, want positive numbers", c.Steps, c.Batch, c.Every))
	}
	for _, f := range []struct {
		name string
		v    float64
	}{{"LR", c.LR}, {"WeightDecay", c.WeightDecay}, {"Noise", c.Noise}} {
		if !(f.v >= 0 && !math.IsInf(f.v, 0)) {
			errs = append(errs, fmt.Errorf("bc: %s is %v, want a finite number, 0 or more", f.name, f.v))
		}
	}
	if !(c.HeldOut >= 0 && c.HeldOut < 1) {
		errs = append(errs, fmt.Errorf("bc: HeldOut is %v, want a share of at least 0 and below 1", c.HeldOut))
	}
	return errors.Join(errs...)
}

// Progress is what Train tells along the way, and at the end.
type Progress struct {
	Step, Steps int
	Loss        float64 // mean since the last Progress
	HeldOut     float64 // now; NaN without held-out episodes
	Best        float64 // smallest HeldOut so far; NaN without
	Rows        int     // transitions trained on
}

// Train fits a new Net to the commands applied in the demonstrations, which
// need no rewards. progress may be nil. The same Config and demos give the same
// bits.
func Train(ctx context.Context, c Config, demos []policy.Episode, progress func(Progress)) (*Net, Progress, error) {
	if err := c.complete(); err != nil {
		return nil, Progress{}, err
	}
	rng := rand.New(rand.NewPCG(c.Seed, seed.Mix(c.Seed)))
	train, held, err := split(c, demos, rng)
	if err != nil {
		return nil, Progress{}, err
	}
	net, err := NewNet(c.Arch, rng)
	if err != nil {
		return nil, Progress{}, err
	}
	net.Fit(train.obs)
	net.Normalise(train.obs, train.obs)
	if c.Loss == SquaredError {
		net.SetStd(c.Std)
	}

	fit := newStep(c, net, c.Batch)
	params := net.trained()
	adam := nn.NewAdam(params, nn.AdamConfig{LR: c.LR, WeightDecay: c.WeightDecay, ClipNorm: 10})
	var test *step
	best := net
	if held != nil {
		net.Normalise(held.obs, held.obs)
		n := held.rows()
		if net.eye != nil { // whose graph takes a megabyte a row
			n = min(n, c.Batch)
		}
		test = newStep(c, net, n)
		test.spread(held)
		best = net.Clone()
	}
	p := Progress{Steps: c.Steps, HeldOut: math.NaN(), Best: math.NaN(), Rows: train.rows()}
	sum, n := 0.0, 0
	for s := 1; s <= c.Steps; s++ {
		if err := ctx.Err(); err != nil {
			return nil, p, fmt.Errorf("bc: train: %w", err)
		}
		fit.draw(train, c.Noise, net.Arch.Trunk.Shift, rng)
		fit.g.Forward()
		nn.ZeroGrad(params)
		fit.g.Backward(fit.loss)
		adam.LR = c.LR * (0.55 + 0.45*math.Cos(math.Pi*float64(s)/float64(c.Steps)))
		adam.Step()
		sum += float64(fit.loss.Value[0])
		n++
		if s%c.Every != 0 && s != c.Steps {
			continue
		}
		p.Step, p.Loss = s, sum/float64(n)
		sum, n = 0, 0
		if math.IsNaN(p.Loss) {
			return nil, p, fmt.Errorf("bc: train: the loss is not a number at step %d: lower LR", s)
		}
		if test != nil {
			test.g.Forward()
			p.HeldOut = float64(test.loss.Value[0])
			if !(p.HeldOut >= p.Best) {
				p.Best = p.HeldOut
				nn.Copy(best.trained(), params)
			}
		}
		if progress != nil {
			progress(p)
		}
	}
	return best, p, nil
}

// trained lists what cloning trains: head and trunk.
func (n *Net) trained() []*nn.Param {
	ps := n.Params()
	if n.eye != nil {
		ps = append(ps, n.eye.Params()...)
	}
	return ps
}

// data is transitions as rows.
type data struct {
	obs  []float32 // (N, D)
	act  []float32 // (N, k)
	pix  []byte    // (N, P) frames
	D, k int
	P    int
}

func (d *data) rows() int { return len(d.act) / d.k }

// split turns episodes into rows, and holds some episodes back.
func split(c Config, demos []policy.Episode, rng *rand.Rand) (train, held *data, err error) {
	if len(demos) == 0 {
		return nil, nil, errors.New("bc: train: no demonstrations")
	}
	keep := 0
	if c.HeldOut > 0 {
		keep = max(1, int(math.Round(c.HeldOut*float64(len(demos)))))
		if keep == len(demos) {
			return nil, nil, fmt.Errorf("bc: train: HeldOut %v of %d demonstrations leaves none to train on", c.HeldOut, len(demos))
		}
	}
	v := c.Arch.View
	train = &data{D: v.Dim(), k: v.Action.Dim(), P: v.Pixels()}
	if keep > 0 {
		held = &data{D: v.Dim(), k: v.Action.Dim(), P: v.Pixels()}
	}
	for i, at := range rng.Perm(len(demos)) {
		e, side := &demos[at], train
		if i < keep {
			side = held
		}
		if err := e.Validate(); err != nil {
			return nil, nil, fmt.Errorf("bc: train: %w", err)
		}
		for t, cmd := range e.Applied {
			obs, act := make([]float32, v.Dim()), make([]float32, v.Action.Dim())
			if err := v.Row(obs, e.Inputs[t]); err != nil {
				return nil, nil, fmt.Errorf("bc: train: episode %s: %w", e.ID, err)
			}
			lost := v.Action.Row(act, cmd)
			if bad := lost + cmd.Grip; math.IsNaN(bad) || math.IsInf(bad, 0) {
				return nil, nil, fmt.Errorf("bc: train: episode %s: command %d is not finite", e.ID, t)
			}
			side.obs, side.act = append(side.obs, obs...), append(side.act, act...)
			n := len(side.pix)
			side.pix = append(side.pix, make([]byte, side.P)...)
			if err := v.Image(side.pix[n:], e.Inputs[t]); err != nil {
				return nil, nil, fmt.Errorf("bc: train: episode %s: %w", e.ID, err)
			}
		}
	}
	return train, held, nil
}

// step is the loss of a batch of one size.
type step struct {
	g      *nn.Graph
	x, a   *nn.Node // (B, D), (B, k)
	in     *nn.Node // (B, D') what the head reads
	eye    *trunk.Eye
	pix    []byte // (B, P)
	loss   *nn.Node
	before bool // a holds atanh of the action
}

func newStep(c Config, n *Net, B int) *step {
	s := &step{g: nn.NewGraphOn(c.Device), before: c.Loss == Likelihood}
	k := c.Arch.View.Action.Dim()
	s.x, s.a = s.g.Input(B, c.Arch.View.Dim()), s.g.Input(B, k)
	s.in = s.x
	if n.eye != nil {
		s.eye, s.pix = n.eye.Eye(s.g, B), make([]byte, B*c.Arch.View.Pixels())
		s.in = s.g.Concat(s.x, n.eye.Forward(s.g, s.eye))
		s.g.Keep(s.in)
	}
	raw := n.Raw(s.g, s.in)
	if s.before {
		s.loss = s.g.Neg(s.g.Mean(LogProb(s.g, raw, s.a)))
	} else {
		s.loss = s.g.MSE(s.g.Tanh(s.g.Slice(raw, 0, k)), s.a)
	}
	return s
}

// draw fills the batch at random, with noise on the rows and shifted frames.
func (s *step) draw(d *data, noise float64, shift int, rng *rand.Rand) {
	for i := range s.x.Shape[0] {
		s.put(i, d, rng.IntN(d.rows()))
	}
	if s.eye != nil {
		s.eye.Put(s.pix, shift, rng)
	}
	if noise > 0 {
		for i := range s.x.Value {
			s.x.Value[i] += float32(noise * rng.NormFloat64())
		}
	}
}

// spread fills the batch with rows of d from all over it, with every one if there
// are as many.
func (s *step) spread(d *data) {
	B := s.x.Shape[0]
	for i := range B {
		s.put(i, d, i*d.rows()/B)
	}
	if s.eye != nil {
		s.eye.Put(s.pix, 0, nil)
	}
}

func (s *step) put(i int, d *data, at int) {
	copy(s.x.Value[i*d.D:(i+1)*d.D], d.obs[at*d.D:])
	copy(s.pix[i*d.P:(i+1)*d.P], d.pix[at*d.P:])
	s.aim(s.a.Value[i*d.k:(i+1)*d.k], d.act[at*d.k:(at+1)*d.k])
}

// aim writes the actions that are imitated to dst as the loss wants them.
func (s *step) aim(dst, act []float32) {
	if s.before {
		Unsquash(dst, act, Edge)
	} else {
		copy(dst, act)
	}
}
