package align_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/blob"
)

// cinema is a reward of the blob world's frames, learned from comparisons of single
// frames on the keypoints of an encoder that was trained without labels.
type cinema struct {
	enc         *encoder.Conv
	net         *preference.Net
	slope, base float64 // of the truth by the reward
}

func (c *cinema) embed(t *testing.T, frames []robot.Frame) preference.Clip {
	t.Helper()
	out := preference.Clip{D: c.enc.Dim()}
	for i := range frames {
		f, err := c.enc.Extract(t.Context(), frames[i:i+1])
		if err != nil {
			t.Fatal(err)
		}
		out.Embed = append(out.Embed, f.Embed...)
	}
	return out
}

func (c *cinema) rate(t *testing.T, x preference.Clip) []float64 {
	t.Helper()
	r := make([]float64, x.Len())
	if err := c.net.Frames(r, nil, x); err != nil {
		t.Fatal(err)
	}
	for i := range r {
		r[i] = c.base + c.slope*r[i]
	}
	return r
}

func newCinema(t *testing.T, seed uint64, seen []blob.Clip, rng *rand.Rand) *cinema {
	t.Helper()
	cfg := encoder.Default(blob.Camera)
	cfg.Shape = encoder.Shape{Side: 32, Channels: [2]int{8, 16}, Keypoints: 12}
	cfg.Steps, cfg.Batch, cfg.LR = 400, 8, 3e-3
	cfg.Tool, cfg.Dynamics, cfg.Clone, cfg.Seed = 0, 0, 0, seed
	var d encoder.Data
	for _, s := range seen {
		var ticks [][]robot.Frame
		for i := range s.Frames {
			ticks = append(ticks, s.Frames[i:i+1])
		}
		n := len(s.Frames)
		d.Clips = append(d.Clips, encoder.Clip{Frames: ticks, States: make([]robot.State, n), Applied: make([]robot.Command, n-1)})
	}
	c := &cinema{slope: 1}
	var err error
	if c.enc, _, err = encoder.Train(t.Context(), d, cfg, nil); err != nil {
		t.Fatal(err)
	}
	all, truth := preference.Clip{D: c.enc.Dim()}, []float64(nil)
	for _, s := range seen {
		all.Embed, truth = append(all.Embed, c.embed(t, s.Frames).Embed...), append(truth, s.Rewards()...)
	}
	var pairs []preference.Pair
	for range 600 {
		i, j := rng.IntN(len(truth)), rng.IntN(len(truth))
		p := preference.Pair{A: preference.Clip{D: all.D, Embed: all.Frame(i)}, B: preference.Clip{D: all.D, Embed: all.Frame(j)}, Verdict: preference.First}
		if truth[i] < truth[j] {
			p.Verdict = preference.Second
		}
		pairs = append(pairs, p)
	}
	if c.net, _, err = preference.FitRLHF(t.Context(), pairs, preference.Config{Seed: seed, Epochs: 60, Rate: 3e-3}); err != nil {
		t.Fatal(err)
	}
	// A Bradley-Terry reward has no unit: that of the truth is found by least squares.
	got := c.rate(t, all)
	var x, y, xx, xy float64
	n := float64(len(got))
	for i, r := range got {
		x, y, xx, xy = x+r/n, y+truth[i]/n, xx+r*r/n, xy+r*truth[i]/n
	}
	c.slope = (xy - x*y) / (xx - x*x)
	c.base = y - c.slope*x
	return c
}

// noised is a frame as a diffusion has it on its way: of a share a of noise.
func noised(f robot.Frame, a float64, rng *rand.Rand) robot.Frame {
	pix := make([]byte, len(f.Pix))
	for i, v := range f.Pix {
		pix[i] = byte(min(max(128+math.Sqrt(1-a*a)*(float64(v)-128)+a*100*rng.NormFloat64(), 0), 255))
	}
	f.Pix = pix
	return f
}

// The acceptance of capability card 64 on a learned reward of frames, of which those of
// every other clip are drowned in noise: two passes, of neighbouring steps of 50, disagree
// where the reward errs.
func TestDoubtFollowsTheErrorOfARewardOfFrames(t *testing.T) {
	const seeds, step, clean, drowned = 3, 0.02, 0.02, 0.7
	mean, other := 0.0, 0.0
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 3))
		w := blob.New(blob.Config{Frames: 16}, rand.NewPCG(seed, 1))
		shoot := func(n int) (cs []blob.Clip) {
			for range n {
				cs = append(cs, w.Clip(rng.Float64()))
			}
			return cs
		}
		c := newCinema(t, seed, shoot(50), rng)
		var doubts, errs, apart []float64
		for i, s := range shoot(50) {
			truth := s.Rewards()
			var first, second, third []robot.Frame
			for _, f := range s.Frames {
				a := [2]float64{clean, drowned}[i%2]
				first, second, third = append(first, noised(f, a, rng)), append(second, noised(f, a+step, rng)), append(third, noised(f, a, rng))
			}
			y1, y2, y3 := c.rate(t, c.embed(t, first)), c.rate(t, c.embed(t, second)), c.rate(t, c.embed(t, third))
			for i := range truth {
				doubts, errs = append(doubts, -math.Log(align.Doubt(y1[i], y2[i], 1))), append(errs, math.Abs(y1[i]-truth[i]))
				apart = append(apart, math.Abs(y3[i]-truth[i]))
			}
		}
		// Of the pass that is weighed; and of one that the doubt shares nothing with, which
		// tells how far doubt is about the frame and not about the draw.
		r, o := correlation(doubts, errs), correlation(doubts, apart)
		t.Logf("seed %d: doubt and error correlate by %.3f, that of a third pass by %.3f", seed, r, o)
		mean, other = mean+r/seeds, other+o/seeds
	}
	if other < 0.25 {
		t.Errorf("doubt correlates with the error of a third pass by %.3f in the mean, want 0.25", other)
	}
	if mean < 0.4 {
		t.Errorf("doubt and error correlate by %.3f in the mean, want 0.4", mean)
	}
}
