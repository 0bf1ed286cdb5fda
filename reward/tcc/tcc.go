// Package tcc learns an embedding in which moments of videos of one task that
// correspond are near each other, by temporal cycle-consistency (Dwibedi et al.
// 2019, arXiv:1904.07846), which XIRL learns rewards by (Zakka et al. 2021,
// arXiv:2106.03911). It asks nobody anything: that the videos show the task done
// well is all that is said. RAPL is compared with it.
//
//	head, report, err := tcc.Train(ctx, liked, tcc.Config{})
//	g, err := goal.Of(liked, &head) // XIRL's reward, or
//	s, err := rapl.New(liked, rapl.Config{Head: &head})
package tcc

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// Config are the parameters of Train. The zero value stands for the defaults
// named, XIRL's unless said otherwise.
type Config struct {
	Dim         int     // of the head's output; 0: 32
	Frames      int     // of a video in a step, spread evenly over it; 0: 40
	Videos      int     // of a step; 0: 4
	Steps       int     // 0: 1000 (XIRL: 4000, of a whole ResNet)
	Temperature float64 // τ of the soft nearest neighbours; 0: 1
	Rate        float64 // Adam's; 0: 1e-3 (XIRL: 1e-5, of a whole ResNet)
	Decay       float64 // of the weights, decoupled; 0: 1e-4
	Seed        uint64  // of the first head and the order of videos
}

func (c Config) withDefaults() Config {
	for _, f := range [...]struct {
		x *int
		v int
	}{{&c.Dim, 32}, {&c.Frames, 40}, {&c.Videos, 4}, {&c.Steps, 1000}} {
		if *f.x == 0 {
			*f.x = f.v
		}
	}
	for _, f := range [...]struct {
		x *float64
		v float64
	}{{&c.Temperature, 1}, {&c.Rate, 1e-3}, {&c.Decay, 1e-4}} {
		if *f.x == 0 {
			*f.x = f.v
		}
	}
	return c
}

func (c Config) validate() error {
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 1) }
	switch {
	case c.Dim < 1 || c.Frames < 2 || c.Videos < 2 || c.Steps < 1:
		return fmt.Errorf("tcc: dim %d, frames %d, videos %d, steps %d, want at least 1, 2, 2 and 1", c.Dim, c.Frames, c.Videos, c.Steps)
	case !positive(c.Temperature) || !positive(c.Rate) || !(c.Decay >= 0) || math.IsInf(c.Decay, 0):
		return fmt.Errorf("tcc: temperature %v, rate %v, decay %v, want positive", c.Temperature, c.Rate, c.Decay)
	}
	return nil
}

// Report tells how training went. A loss of 1/12 is that of frames that cycle back
// to the middle of the video, wherever they began.
type Report struct {
	First float64 // loss of the first step
	Last  float64 // mean loss of the last tenth of the steps
}

// Train learns a linear head from at least two videos of one task done well. The
// result is determined by the arguments. ctx is looked at between steps.
func Train(ctx context.Context, videos []rapl.Video, cfg Config) (rapl.Head, Report, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return rapl.Head{}, Report{}, err
	}
	if len(videos) < 2 {
		return rapl.Head{}, Report{}, fmt.Errorf("tcc: %d videos, want at least two that correspond: record or like more", len(videos))
	}
	d := videos[0].D
	for i, v := range videos {
		if err := v.Validate(); err != nil {
			return rapl.Head{}, Report{}, fmt.Errorf("tcc: %w", err)
		}
		if v.D != d || v.Len() < 2 {
			return rapl.Head{}, Report{}, fmt.Errorf("tcc: video %d (%s) has %d frames of %d numbers, want at least 2 of %d", i, v.Name, v.Len(), v.D, d)
		}
	}
	cfg.Videos = min(cfg.Videos, len(videos))
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x746363)) // "tcc"
	t := newTrainer(d, cfg, rng)
	t.scale(videos)
	order := make([]int, len(videos))
	for i := range order {
		order[i] = i
	}
	opt := nn.NewAdam(t.params(), nn.AdamConfig{LR: cfg.Rate, WeightDecay: cfg.Decay, ClipNorm: 10})
	var rep Report
	tail := max(1, cfg.Steps/10)
	for i := range cfg.Steps {
		if err := ctx.Err(); err != nil {
			return rapl.Head{}, rep, err
		}
		for k := range cfg.Videos { // the first of a shuffle
			j := k + rng.IntN(len(order)-k)
			order[k], order[j] = order[j], order[k]
			t.fill(k, &videos[order[k]])
		}
		loss := t.step(opt)
		if loss-loss != 0 {
			return rapl.Head{}, rep, fmt.Errorf("tcc: the loss is %v at step %d: lower the rate %g", loss, i, cfg.Rate)
		}
		if i == 0 {
			rep.First = loss
		}
		if i >= cfg.Steps-tail {
			rep.Last += loss / float64(tail)
		}
	}
	return t.head(), rep, nil
}

// Loss is that of a head, or of the raw embeddings if it is nil, between two
// videos, frames and temperature as in cfg.
func Loss(head *rapl.Head, a, b rapl.Video, cfg Config) (float64, error) {
	cfg = cfg.withDefaults()
	cfg.Videos = 2
	if err := cfg.validate(); err != nil {
		return 0, err
	}
	for _, v := range [2]*rapl.Video{&a, &b} {
		if err := v.Validate(); err != nil {
			return 0, fmt.Errorf("tcc: %w", err)
		}
	}
	in, out := a.D, a.D
	if head != nil {
		if err := head.Validate(); err != nil {
			return 0, err
		}
		in, out = head.In, head.Out
	}
	if a.D != in || b.D != in {
		return 0, fmt.Errorf("tcc: embeddings of %d and %d numbers, want %d", a.D, b.D, in)
	}
	cfg.Dim = out
	t := newTrainer(in, cfg, rand.New(rand.NewPCG(0, 0)))
	if head == nil {
		clear(t.w.Data)
		for i := range in {
			t.w.Data[i*in+i] = 1
		}
	} else {
		for i, x := range head.W {
			t.w.Data[i] = float32(x)
		}
		for i, x := range head.B {
			t.b.Data[i] = float32(x)
		}
	}
	t.w.Push()
	t.b.Push()
	t.fill(0, &a)
	t.fill(1, &b)
	t.g.ForwardTo(t.loss)
	return float64(t.loss.Value[0]), nil
}
