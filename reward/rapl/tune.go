package rapl

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/perception/encoder"
)

// Scene is a clip as an encoder sees it, before it is embedded.
type Scene struct {
	Name string
	Film encoder.Film
}

// Comparison is a Triplet of scenes, by their index.
type Comparison struct {
	Anchor, Better, Worse int
	Tie                   bool
}

// TuneConfig are the parameters of Tune. The zero value stands for the defaults
// named.
type TuneConfig struct {
	AlignConfig // Rate is the head's alone
	// Encoder is Adam's rate for the encoder's weights; 0: 1e-4, a tenth of the
	// head's, so that what it has learned to see is bent, not forgotten.
	Encoder float64
	Frames  int // whose activations are in memory at once, a camera; 0: 16
	// Told hears of every epoch, where it is set, and how it went while training.
	Told func(epoch, epochs int, train Measure)
}

// Tune learns all of it, head and convolutions, by the loss of Align: the
// gradient flows from the transport plans through the head into every frame. It
// returns a new encoder, and the head that goes with it; c stays as it is. Set
// Init to a head that was aligned before with the same Seed and split, which then
// comes out again. The authors train their head alone.
//
// A batch's clips are embedded once each, whatever triplets they are in; memory
// is that of the scenes, of the embeddings of a batch, and of Frames images'
// activations.
func Tune(ctx context.Context, c *encoder.Conv, scenes []Scene, cs []Comparison, cfg TuneConfig) (*encoder.Conv, Head, Report, error) {
	fail := func(err error) (*encoder.Conv, Head, Report, error) { return nil, Head{}, Report{}, err }
	cfg.AlignConfig = cfg.AlignConfig.withDefaults()
	if cfg.Encoder == 0 {
		cfg.Encoder = 1e-4
	}
	if cfg.Frames == 0 {
		cfg.Frames = 16
	}
	if err := cfg.validate(); err != nil {
		return fail(err)
	}
	if !(cfg.Encoder > 0) || cfg.Frames < 1 {
		return fail(fmt.Errorf("rapl: tune: rate %v of the encoder and %d frames, want positive", cfg.Encoder, cfg.Frames))
	}
	if len(cs) == 0 {
		return fail(fmt.Errorf("rapl: no triplets"))
	}
	for i, x := range cs {
		for _, k := range x.clips() {
			if k < 0 || k >= len(scenes) {
				return fail(fmt.Errorf("rapl: tune: triplet %d names clip %d of %d", i, k, len(scenes)))
			}
			if scenes[k].Film.T == 0 {
				return fail(fmt.Errorf("rapl: tune: triplet %d: video %q has no frames", i, scenes[k].Name))
			}
		}
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x7261706c)) // Align's
	first := NewDeepHead(c.Dim(), cfg.Hidden, cfg.Dim, rng)
	if cfg.Init != nil { // the draws stay drawn, for the same split as Align's
		var err error
		if first, err = firstHead(c.Dim(), cfg.AlignConfig, rng); err != nil {
			return fail(err)
		}
	}
	h := first
	clips := func(i int) [3]string {
		x := cs[i]
		return [3]string{scenes[x.Anchor].Name, scenes[x.Better].Name, scenes[x.Worse].Name}
	}
	train, held, err := split(rng, len(cs), cfg.AlignConfig, clips)
	if err != nil {
		return fail(err)
	}
	t := &whole{
		pupil: c.Pupil(cfg.Frames), scenes: scenes, cs: cs, h: &h, cfg: cfg,
		tun: newTuner(cfg.AlignConfig), clip: make([]state, len(scenes)), opt: newAdam(h.size(), cfg.Rate),
		slot: slot{grad: make([]float64, h.size())}, sum: make([]float64, h.size()),
	}
	t.adam = nn.NewAdam(t.pupil.Params(), nn.AdamConfig{LR: cfg.Encoder, ClipNorm: 10})
	best, eyes := h.clone(), t.pupil.Conv()
	rep, err := descend(ctx, t, len(cs), train, held, cfg.AlignConfig, rng, func() { best, eyes = h.clone(), t.pupil.Conv() })
	if err != nil {
		return fail(err)
	}
	if cfg.ByPair {
		rep.Sides = sides(cfg.Sides, train, held, clips)
	}
	return eyes, best, rep, nil
}

func (c Comparison) clips() [3]int { return [3]int{c.Anchor, c.Better, c.Worse} }

// whole learns encoder and head together.
type whole struct {
	pupil  *encoder.Pupil
	scenes []Scene
	cs     []Comparison
	h      *Head
	cfg    TuneConfig
	tun    *tuner
	opt    adam
	adam   *nn.Adam
	slot   slot
	sum    []float64
	clip   []state
	now    []int // clips that are embedded
	epochs int
}

// state is a clip's embedding in the batch at hand, and the gradient there.
type state struct {
	z, dz []float32 // (T,D)
	fresh bool
}

// embed sees to the embeddings of the triplets ids, and clears their gradients.
func (w *whole) embed(ids []int) {
	D := w.pupil.Dim()
	for _, k := range w.now {
		w.clip[k].fresh = false
	}
	w.now = w.now[:0]
	for _, id := range ids {
		for _, k := range w.cs[id].clips() {
			s := &w.clip[k]
			if s.fresh {
				continue
			}
			n := w.scenes[k].Film.T * D
			if len(s.z) != n {
				s.z, s.dz = make([]float32, n), make([]float32, n)
			}
			clear(s.dz)
			w.pupil.Embed(s.z, w.scenes[k].Film)
			s.fresh = true
			w.now = append(w.now, k)
		}
	}
}

// triplet fills the slot, and on request adds to the gradients of head and clips.
func (w *whole) triplet(id int, weight float64, grad bool) error {
	x, D := w.cs[id], w.pupil.Dim()
	for i, k := range x.clips() {
		w.tun.side[i].load(w.clip[k].z, w.scenes[k].Film.T, D, w.h)
	}
	w.tun.compare(&w.slot, w.h.Out, x.Tie, w.cfg.AlignConfig, grad)
	if w.slot.err != nil {
		return fmt.Errorf("rapl: tune: triplet %d: %w", id, w.slot.err)
	}
	if !grad {
		return nil
	}
	clear(w.slot.grad)
	for i, k := range x.clips() {
		side := &w.tun.side[i]
		side.backward(w.slot.grad, w.h, true)
		for j, d := range side.dx {
			w.clip[k].dz[j] += float32(weight * d)
		}
	}
	floats.AddScaled(w.sum, weight, w.slot.grad)
	return nil
}

func (w *whole) measure(ctx context.Context, ids []int) (Measure, []Bin, error) {
	var t tally
	for b := range slices.Chunk(ids, w.cfg.Batch) {
		if err := ctx.Err(); err != nil {
			return Measure{}, nil, err
		}
		w.embed(b)
		for _, id := range b {
			if err := w.triplet(id, 0, false); err != nil {
				return Measure{}, nil, err
			}
			t.add(&w.slot, w.cs[id].Tie)
		}
	}
	m := t.measure()
	return m, t.bins[:], nil
}

func (w *whole) epoch(ctx context.Context, ids []int, share float64) (Measure, error) {
	var t tally
	for b := range slices.Chunk(ids, w.cfg.Batch) {
		if err := ctx.Err(); err != nil {
			return Measure{}, err
		}
		w.embed(b)
		clear(w.sum)
		for _, id := range b {
			if err := w.triplet(id, 1/float64(len(b)), true); err != nil {
				return Measure{}, err
			}
			t.add(&w.slot, w.cs[id].Tie)
		}
		nn.ZeroGrad(w.pupil.Params())
		for _, k := range w.now {
			w.pupil.Backward(w.clip[k].dz, w.scenes[k].Film)
		}
		w.opt.step(share, w.sum, w.h.parts()...)
		w.adam.LR = share * w.cfg.Encoder
		w.adam.Step()
	}
	m := t.measure()
	w.epochs++
	if w.cfg.Told != nil {
		w.cfg.Told(w.epochs, w.cfg.Epochs, m)
	}
	return m, nil
}
