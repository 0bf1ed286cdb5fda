// Package aligntest holds what aligners are tried on: a small diffusion policy whose
// demonstrations went two ways, and a preference for one of them.
//
//	w, err := aligntest.New(1)
//	t, err := align.Tune(w.Net, align.Config{Draw: w.Draw})
//	share := w.Share(samples)
package aligntest

import (
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/policy/view"
)

// Chunks are of two actions along one axis. The demonstrations keep to +Way or -Way,
// half of them each, whatever is seen, which only moves both ways by a tenth of it.
const (
	Way    = 0.5
	spread = 0.08
	steps  = 2000
	batch  = 128
)

// Ways is the policy and what it was trained on. Nothing changes it.
type Ways struct {
	Net  *diffusion.Net
	Draw diffusion.Draw
	// Train and Held (N, Seen) are histories as the denoiser sees them.
	Train, Held []float32
}

// Arch is the policy's: an MLP that predicts actions, over 20 steps of noise.
func Arch() diffusion.Arch {
	return diffusion.Arch{
		View:    view.Config{Place: []int{0}, Span: 1, Action: view.Action{Axes: []int{0}, Scale: 0.1}},
		Process: diffusion.Process{Predict: diffusion.Sample, Steps: 20},
		History: 1, Horizon: 2, Shape: diffusion.MLP, Embed: 16, Width: 64, Depth: 1,
	}
}

// Demo writes a demonstrated chunk for what is seen to dst.
func Demo(dst []float32, seen float32, rng *rand.Rand) {
	way := Way * float64(1-2*rng.IntN(2))
	for i := range dst {
		dst[i] = float32(way + 0.1*float64(seen) + spread*rng.NormFloat64())
	}
}

// New trains a policy: about a second of one core.
func New(seed uint64) (*Ways, error) { return train(Arch(), seed) }

// NewFlow trains one that is a flow.
func NewFlow(seed uint64) (*Ways, error) {
	a := Arch()
	a.Process.Kind = diffusion.Flow
	return train(a, seed)
}

func train(a diffusion.Arch, seed uint64) (*Ways, error) {
	rng := rand.New(rand.NewPCG(seed, 0x77617973)) // "ways"
	net, err := diffusion.NewNet(a, rng)
	if err != nil {
		return nil, err
	}
	t, err := align.Tune(net, align.Config{Draw: diffusion.Draw{Steps: 10, Eta: 1}, LR: 2e-3, ClipNorm: 10, WeightDecay: -1, Seed: seed})
	if err != nil {
		return nil, err
	}
	g := nn.NewGraph()
	m := align.NewMiss(t, g, batch)
	loss := g.Mean(m.Out)
	bars := net.Arch.Process.Bars()
	chunk, eps := make([]float32, 2), make([]float32, 2)
	adam := nn.NewAdam(t.Params(), nn.AdamConfig{LR: 2e-3})
	for i := range uint64(steps) {
		for b := range batch {
			seen := []float32{float32(2*rng.Float64() - 1)}
			Demo(chunk, seen[0], rng)
			for j := range eps {
				eps[j] = float32(rng.NormFloat64())
			}
			if a.Process.Kind == diffusion.Flow {
				bar := rng.Float64()
				m.Put(b, chunk, seen, eps, bar*float64(a.Process.Steps), bar)
				continue
			}
			k := rng.IntN(len(bars))
			m.Put(b, chunk, seen, eps, float64(k), bars[k])
		}
		g.ForwardTo(loss)
		nn.ZeroGrad(t.Params())
		g.Backward(loss)
		adam.LR = 2e-3 * nn.CosineRate(i, 20, steps)
		adam.Step()
	}
	w := &Ways{Net: t.Net(), Draw: diffusion.Draw{Steps: 10, Eta: 1}}
	for range 64 {
		w.Train = append(w.Train, float32(2*rng.Float64()-1))
		w.Held = append(w.Held, float32(2*rng.Float64()-1))
	}
	return w, nil
}

// Liked is the hidden preference, from -1 to 1: for the positive way.
func Liked(s *align.Sample) float64 {
	mean := 0.0
	for _, v := range s.Actions {
		mean += float64(v) / float64(len(s.Actions))
	}
	return math.Tanh(4 * mean)
}

// Climb is Liked as a reward that can be climbed (align.Slope).
func Climb(score []float64, grad, actions, _ []float32) {
	L := len(actions) / len(score)
	for i := range score {
		mean := 0.0
		for _, v := range actions[i*L : (i+1)*L] {
			mean += float64(v) / float64(L)
		}
		score[i] = math.Tanh(4 * mean)
		for j := range L {
			grad[i*L+j] = float32(4 * (1 - score[i]*score[i]) / float64(L))
		}
	}
}

// Share is the share of samples that go the liked way.
func Share(ss []align.Sample) float64 {
	n := 0.0
	for i := range ss {
		if Liked(&ss[i]) > 0 {
			n++
		}
	}
	return n / float64(len(ss))
}

// On is the share of samples that are within 0.25 of a way, whichever: what is left of
// the demonstrations.
func On(ss []align.Sample) float64 {
	n := 0.0
	for i := range ss {
		on := true
		for _, v := range ss[i].Actions {
			on = on && math.Abs(math.Abs(float64(v)-0.1*float64(ss[i].Seen[0]))-Way) < 0.25
		}
		if on {
			n++
		}
	}
	return n / float64(len(ss))
}

// Well is the share of samples that go the liked way and are on a way.
func Well(ss []align.Sample) float64 {
	n := 0.0
	for i := range ss {
		n += Share(ss[i:i+1]) * On(ss[i:i+1])
	}
	return n / float64(len(ss))
}

// Measure draws n chunks of t for the held-out histories and tells Share and On and the
// mean KL of their chains from the reference.
func (w *Ways) Measure(t *align.Tuned, n int, seed uint64) (share, on, kl float64, err error) {
	r, err := align.NewRecorder(t, len(w.Held))
	if err != nil {
		return 0, 0, 0, err
	}
	ss := r.New((n+len(w.Held)-1)/len(w.Held)*len(w.Held), w.Held)
	r.Draw(ss, rand.New(rand.NewPCG(seed, 1)))
	for i := range ss {
		kl += ss[i].KL / float64(len(ss))
	}
	return Share(ss), On(ss), kl, nil
}
