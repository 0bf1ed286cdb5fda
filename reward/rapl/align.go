package rapl

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/ot"
)

// Triplet is a person's answer to "which of the two is more like the anchor?".
type Triplet struct {
	Anchor, Better, Worse Video
	// Tie says that the two are alike, and which is which means nothing.
	Tie bool
	// Annotator is who said so, "" where nobody cares: Align does not.
	Annotator string
}

// AlignConfig are the parameters of Align. The zero value stands for the
// defaults named, the authors' unless said otherwise.
type AlignConfig struct {
	Cost      ot.Cost
	Gamma     float64 // 0: DefaultGamma (authors: 1)
	Tolerance float64 // of the plans; 0: ot.DefaultTolerance
	MaxIter   int     // of the plans; 0: 10000
	// Temperature is τ of p = σ(τ(R(a,better) − R(a,worse))); 0: 20. With the
	// authors' 1 and the cosine cost, p stays within 0.12 and 0.88.
	Temperature float64
	Dim         int     // of the head's output; 0: 32
	Rate        float64 // Adam's; 0: 1e-3
	Batch       int     // triplets a step; 0: 10
	Epochs      int     // 0: 50
	// Steps raises Epochs until there are so many gradient steps, of which few triplets
	// have few an epoch; 0: it does not. (Ours: a head of 30 triplets had moved no
	// farther than 150 steps of Adam's rate go.)
	Steps int
	Train float64 // share of the triplets to train on; 0: 0.7
	// Gradient says how the loss is differentiated; the authors' is the first.
	Gradient Gradient
	Sweeps   int // of an Unrolled plan; 0: ot.DefaultSweeps
	// Hidden are the widths of the head's hidden layers; none: a linear head.
	Hidden []int
	// Patience ends the training after so many epochs without a lower held-out
	// loss; 0: never.
	Patience int
	// Enough ends the training after an epoch whose mean loss was below it: what is left to
	// learn is hardly anything, since no gradient of a triplet by its margin is larger than
	// its loss; 0: never. (Ours.)
	Enough float64
	// Warmup epochs come before the full rate: in the k-th of them, from 0, it is
	// k/Warmup of it. The authors' code does not learn in its first two.
	Warmup int
	// ByClip splits such that no clip, by its name, lies on both sides. Triplets
	// that straddle are left out of both.
	ByClip bool
	// ByPair splits such that triplets that compare the same two clips, by other anchors,
	// lie on one side: what is held out was not learned from then.
	ByPair bool
	// Sides are Report.Sides of the alignment that Init is of, whose held-out pairs stay
	// held out, ByPair: Init has learned from the others. New pairs make up the share.
	Sides map[string]bool
	Init  *Head  // to start from; nil: NewHead or NewDeepHead
	Seed  uint64 // of the split, the order and the first head
	// Workers compute gradients at once; 0: one. The result is the same to the
	// bit for any number.
	Workers int
}

func (c AlignConfig) withDefaults() AlignConfig {
	for _, f := range [...]struct {
		x *float64
		v float64
	}{{&c.Gamma, DefaultGamma}, {&c.Temperature, 20}, {&c.Rate, 1e-3}, {&c.Train, 0.7}} {
		if *f.x == 0 {
			*f.x = f.v
		}
	}
	for _, f := range [...]struct {
		x *int
		v int
	}{{&c.Dim, 32}, {&c.Batch, 10}, {&c.Epochs, 50}, {&c.Workers, 1}, {&c.MaxIter, defaultMaxIter}} {
		if *f.x == 0 {
			*f.x = f.v
		}
	}
	return c
}

func (c AlignConfig) validate() error {
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 1) }
	switch {
	case !positive(c.Gamma) || !positive(c.Temperature) || !positive(c.Rate):
		return fmt.Errorf("rapl: align: gamma %v, temperature %v, rate %v, want positive", c.Gamma, c.Temperature, c.Rate)
	case c.Dim < 1 || c.Batch < 1 || c.Epochs < 1 || c.Workers < 1 || c.MaxIter < 1:
		return fmt.Errorf("rapl: align: dim %d, batch %d, epochs %d, workers %d, iterations %d, want positive", c.Dim, c.Batch, c.Epochs, c.Workers, c.MaxIter)
	case !(c.Train > 0 && c.Train < 1):
		return fmt.Errorf("rapl: align: training share %v, want between 0 and 1", c.Train)
	case c.Cost > ot.Euclidean:
		return fmt.Errorf("rapl: align: no such cost: %v", c.Cost)
	case c.Gradient > Envelope:
		return fmt.Errorf("rapl: align: no such gradient: %v", c.Gradient)
	case !(c.Enough >= 0):
		return fmt.Errorf("rapl: align: enough is a loss of %v, want none or positive", c.Enough)
	case c.Steps < 0 || c.Sweeps < 0 || c.Patience < 0 || c.Warmup < 0:
		return fmt.Errorf("rapl: align: %d steps, %d sweeps, patience %d, warm-up %d, want none or positive", c.Steps, c.Sweeps, c.Patience, c.Warmup)
	}
	for _, n := range c.Hidden {
		if n < 1 {
			return fmt.Errorf("rapl: align: hidden layer of %d numbers, want positive", n)
		}
	}
	return nil
}

// Measure is how well a head explains triplets. All but Loss are of the decided
// ones, and 0 where there are none.
type Measure struct {
	Loss float64 `json:"loss"` // mean
	// Accuracy is the share in which the better clip is nearer to the anchor.
	Accuracy float64 `json:"accuracy"`
	// Brier is the mean of (1 − p)², p of what was answered (Brier 1950): 0.25 is
	// what always saying ½ gets.
	Brier float64 `json:"brier"`
	// ECE is the expected calibration error, in Bins.
	ECE float64 `json:"ece"`
}

// Epoch is a line of a Report.
type Epoch struct {
	Train Measure `json:"train"` // while training, before each step
	Held  Measure `json:"held"`  // after the epoch, on the held-out triplets
}

// Report tells how an alignment went.
type Report struct {
	Train, Held int // triplets
	Dropped     int // that a split by clip left out
	// Sides says of each pair of clips whether it was held out, ByPair, those of
	// AlignConfig.Sides among them.
	Sides  map[string]bool `json:"-"`
	Before Measure         // the first head, on the held-out triplets
	// After is the returned head's, on the held-out triplets. They chose the
	// checkpoint, so it flatters: judge on clips never seen, with Evaluate.
	After  Measure
	Bins   []Bin // of the returned head, on the held-out triplets
	Best   int   // epoch that the returned head is of, from 1; 0 is the first head
	Epochs []Epoch
}

// Align learns a head from triplets by gradient descent with Adam on
//
//	L = −log σ(τ(R(anchor,better) − R(anchor,worse))),   R(a,b) = −⟨P,C⟩
//
// P the entropic plan between a and b (arXiv 2310.07932, the Bradley-Terry
// model of section 4; the authors' code has 1 − p in place of −log p), and on
// (p − ½)² for ties, as in their later trainer. The head after the epoch with
// the lowest held-out loss is returned. Triplets are split at random: unless
// ByClip is set, two that share a clip may come to lie on both sides, and unless
// ByPair is, two that share an answer. The result
// is determined by the arguments. ctx is looked at between steps.
func Align(ctx context.Context, triplets []Triplet, cfg AlignConfig) (Head, Report, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return Head{}, Report{}, err
	}
	d, err := widths(triplets)
	if err != nil {
		return Head{}, Report{}, err
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x7261706c)) // any stream of its own
	h, err := firstHead(d, cfg, rng)
	if err != nil {
		return Head{}, Report{}, err
	}
	clips := func(i int) [3]string {
		t := &triplets[i]
		return [3]string{t.Anchor.Name, t.Better.Name, t.Worse.Name}
	}
	train, held, err := split(rng, len(triplets), cfg, clips)
	if err != nil {
		return Head{}, Report{}, err
	}
	a := newAligner(triplets, &h, cfg)
	best := h.clone()
	rep, err := descend(ctx, a, len(triplets), train, held, cfg, rng, func() { best = h.clone() })
	if err != nil {
		return Head{}, Report{}, err
	}
	if cfg.ByPair {
		rep.Sides = sides(cfg.Sides, train, held, clips)
	}
	return best, rep, nil
}

// firstHead is the one to start from.
func firstHead(d int, cfg AlignConfig, rng *rand.Rand) (Head, error) {
	if cfg.Init == nil {
		return NewDeepHead(d, cfg.Hidden, cfg.Dim, rng), nil
	}
	if err := cfg.Init.Validate(); err != nil {
		return Head{}, err
	}
	if cfg.Init.In != d {
		return Head{}, fmt.Errorf("rapl: align: first head takes embeddings of %d numbers, want %d", cfg.Init.In, d)
	}
	return cfg.Init.clone(), nil
}

// learner is what descend drives: it learns an epoch from the triplets ids at a
// share of the rate, or measures them.
type learner interface {
	epoch(ctx context.Context, ids []int, share float64) (Measure, error)
	measure(ctx context.Context, ids []int) (Measure, []Bin, error)
}

// descend trains for the epochs of cfg and tells keep of each that is the best
// so far.
func descend(ctx context.Context, l learner, n int, train, held []int, cfg AlignConfig, rng *rand.Rand, keep func()) (Report, error) {
	rep := Report{Train: len(train), Held: len(held), Dropped: n - len(train) - len(held)}
	var err error
	if rep.Before, rep.Bins, err = l.measure(ctx, held); err != nil {
		return rep, err
	}
	rep.After = rep.Before
	batches := (len(train) + cfg.Batch - 1) / cfg.Batch
	for k := range max(cfg.Epochs, (cfg.Steps+batches-1)/batches) {
		rng.Shuffle(len(train), func(i, j int) { train[i], train[j] = train[j], train[i] })
		var e Epoch
		share := 1.0
		if k < cfg.Warmup {
			share = float64(k) / float64(cfg.Warmup)
		}
		if e.Train, err = l.epoch(ctx, train, share); err != nil {
			return rep, err
		}
		var bins []Bin
		if e.Held, bins, err = l.measure(ctx, held); err != nil {
			return rep, err
		}
		rep.Epochs = append(rep.Epochs, e)
		if e.Held.Loss < rep.After.Loss {
			rep.Best, rep.After, rep.Bins = len(rep.Epochs), e.Held, bins
			keep()
		}
		if e.Train.Loss < cfg.Enough {
			break
		}
		if cfg.Patience > 0 && k+1-max(rep.Best, cfg.Warmup) >= cfg.Patience {
			break
		}
	}
	return rep, nil
}

// Evaluate measures a head, or the raw embeddings if it is nil, on triplets
// with the cost, gamma and temperature of cfg.
func Evaluate(ctx context.Context, h *Head, triplets []Triplet, cfg AlignConfig) (Measure, error) {
	m, _, err := Reliability(ctx, h, triplets, cfg)
	return m, err
}

// Reliability is Evaluate with the bins behind the calibration error.
func Reliability(ctx context.Context, h *Head, triplets []Triplet, cfg AlignConfig) (Measure, []Bin, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return Measure{}, nil, err
	}
	d, err := widths(triplets)
	if err != nil {
		return Measure{}, nil, err
	}
	if h != nil {
		if err := h.Validate(); err != nil {
			return Measure{}, nil, err
		}
		if h.In != d {
			return Measure{}, nil, fmt.Errorf("rapl: evaluate: head takes embeddings of %d numbers, want %d", h.In, d)
		}
	}
	a := newAligner(triplets, h, cfg)
	all := make([]int, len(triplets))
	for i := range all {
		all[i] = i
	}
	return a.measure(ctx, all)
}

// widths checks the triplets and returns the width of their embeddings.
func widths(ts []Triplet) (int, error) {
	if len(ts) == 0 {
		return 0, fmt.Errorf("rapl: no triplets")
	}
	d := ts[0].Anchor.D
	for i, t := range ts {
		for _, v := range [...]Video{t.Anchor, t.Better, t.Worse} {
			if err := v.Validate(); err != nil {
				return 0, fmt.Errorf("rapl: triplet %d: %w", i, err)
			}
			if v.D != d {
				return 0, fmt.Errorf("rapl: triplet %d: video %q has embeddings of %d numbers, want %d", i, v.Name, v.D, d)
			}
		}
	}
	return d, nil
}

// aligner computes losses and gradients of triplets.
type aligner struct {
	ts    []Triplet
	h     *Head
	cfg   AlignConfig
	tuns  []*tuner
	slots []slot // of a batch
	opt   adam
	sum   []float64
}

// slot holds what one triplet gives, so that the sum over a batch has one
// order whoever computed it.
type slot struct {
	loss   float64
	margin float64
	grad   []float64 // as Head.parts
	err    error
}

func newAligner(ts []Triplet, h *Head, cfg AlignConfig) *aligner {
	a := &aligner{ts: ts, h: h, cfg: cfg}
	n := 0
	if h != nil {
		n = h.size()
	}
	for range cfg.Workers {
		a.tuns = append(a.tuns, newTuner(cfg))
	}
	a.slots = make([]slot, cfg.Batch)
	for i := range a.slots {
		a.slots[i].grad = make([]float64, n)
	}
	a.sum, a.opt = make([]float64, n), newAdam(n, cfg.Rate)
	return a
}

// batch fills the first len(ids) slots.
func (a *aligner) batch(ctx context.Context, ids []int, grad bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	work := func(w int) {
		for i := w; i < len(ids); i += len(a.tuns) {
			a.tuns[w].triplet(&a.slots[i], a.h, &a.ts[ids[i]], a.cfg, grad)
		}
	}
	var wg sync.WaitGroup
	for w := 1; w < len(a.tuns); w++ {
		wg.Go(func() { work(w) })
	}
	work(0)
	wg.Wait()
	for i, id := range ids {
		if err := a.slots[i].err; err != nil {
			return fmt.Errorf("rapl: triplet %d: %w", id, err)
		}
	}
	return nil
}

func (a *aligner) measure(ctx context.Context, ids []int) (Measure, []Bin, error) {
	var t tally
	for b := range slices.Chunk(ids, a.cfg.Batch) {
		if err := a.batch(ctx, b, false); err != nil {
			return Measure{}, nil, err
		}
		for i, id := range b {
			t.add(&a.slots[i], a.ts[id].Tie)
		}
	}
	m := t.measure()
	return m, t.bins[:], nil
}

func (a *aligner) epoch(ctx context.Context, ids []int, share float64) (Measure, error) {
	var t tally
	for b := range slices.Chunk(ids, a.cfg.Batch) {
		if err := a.batch(ctx, b, true); err != nil {
			return Measure{}, err
		}
		clear(a.sum)
		for i, id := range b {
			t.add(&a.slots[i], a.ts[id].Tie)
			floats.AddScaled(a.sum, 1/float64(len(b)), a.slots[i].grad)
		}
		a.opt.step(share, a.sum, a.h.parts()...)
	}
	return t.measure(), nil
}

// adam is Kingma and Ba's (2015, algorithm 1), with its defaults.
type adam struct {
	rate   float64
	t      int
	m1, m2 []float64
}

func newAdam(n int, rate float64) adam {
	return adam{rate: rate, m1: make([]float64, n), m2: make([]float64, n)}
}

// step moves the parts of a parameter vector against its gradient g, at a share of
// the rate.
func (o *adam) step(share float64, g []float64, parts ...[]float64) {
	const b1, b2, eps = 0.9, 0.999, 1e-8
	o.t++
	c1, c2 := 1-math.Pow(b1, float64(o.t)), 1-math.Pow(b2, float64(o.t))
	i := 0
	for _, p := range parts {
		for j := range p {
			o.m1[i] = b1*o.m1[i] + (1-b1)*g[i]
			o.m2[i] = b2*o.m2[i] + (1-b2)*g[i]*g[i]
			p[j] -= share * o.rate * (o.m1[i] / c1) / (math.Sqrt(o.m2[i]/c2) + eps)
			i++
		}
	}
}
