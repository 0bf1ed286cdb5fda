package align

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/policy/view"
)

// tiny is a Tuned of few numbers that has moved a little from its reference.
func tiny(t *testing.T, predict diffusion.Prediction, rank int) *Tuned {
	t.Helper()
	return tinyOf(t, diffusion.Process{Predict: predict, Steps: 10, Noise: diffusion.Linear}, rank)
}

// tinyFlow is a flow of as many.
func tinyFlow(t *testing.T, rank int) *Tuned {
	t.Helper()
	return tinyOf(t, diffusion.Process{Kind: diffusion.Flow}, rank)
}

func tinyOf(t *testing.T, process diffusion.Process, rank int) *Tuned {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 6))
	n, err := diffusion.NewNet(diffusion.Arch{
		View:    view.Config{Place: []int{0, 1}, Span: 1, Action: view.Action{Axes: []int{0, 1}, Scale: 0.1}},
		Process: process,
		History: 2, Horizon: 2, Shape: diffusion.MLP, Embed: 4, Width: 8, Depth: 1,
	}, rng)
	if err != nil {
		t.Fatal(err)
	}
	n.Fit([]float32{-1, -2, 1, 2}, []float32{-0.5, -2, 0.5, 2})
	// Without a bound on predictions, whose corners have no slope.
	p, err := Tune(n, Config{Rank: rank, Draw: diffusion.Draw{Steps: 5, Eta: 1, Clip: math.Inf(1)}, Floor: 0.3, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// moved moves what is trained.
func moved(p *Tuned, by float64) { shift(p.params, by) }

func shift(params []*nn.Param, by float64) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, q := range params {
		for i := range q.Data {
			q.Data[i] += float32(by * rng.NormFloat64())
		}
	}
}

// drawn is a batch of p: two groups of each chains with rewards, weights and pairs.
func drawn(t *testing.T, p *Tuned, each int) *Batch {
	t.Helper()
	rng := rand.New(rand.NewPCG(9, 10))
	r, err := NewRecorder(p, 2*each)
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]float32, 2*p.net.Seen())
	for i := range seen {
		seen[i] = float32(rng.Float64() - 0.5)
	}
	b := &Batch{Samples: r.New(2*each, seen)}
	r.Draw(b.Samples, rng)
	for i := range b.Samples {
		b.Samples[i].Reward, b.Samples[i].Weight = rng.NormFloat64(), 0.5+rng.Float64()
		b.Samples[i].Marks = []Mark{Mark(i % 3), Mark(1 + i%2)}
	}
	for i := 0; i < len(b.Samples); i += 2 {
		b.Pairs = append(b.Pairs, Pair{Win: i + 1, Lose: i})
	}
	return b
}

// agree compares gradients with the slopes of loss by central differences, along the
// gradient and in random directions.
func agree(t *testing.T, params []*nn.Param, loss func() float64, h, tolerance float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(11, 12))
	grads := make([][]float32, len(params))
	norm := nn.GradNorm(params)
	if !(norm > 1e-6) {
		t.Fatalf("the gradient is %v", norm)
	}
	for i, p := range params {
		grads[i] = append([]float32(nil), p.Grad...)
	}
	at := keep(params)
	for try := range 4 {
		way := make([][]float64, len(params))
		want, long := 0.0, 0.0
		for i := range params {
			way[i] = make([]float64, len(grads[i]))
			for j, g := range grads[i] {
				way[i][j] = float64(g) / norm
				if try > 0 {
					way[i][j] += 0.05 * rng.NormFloat64()
				}
				want += way[i][j] * float64(g)
				long += way[i][j] * way[i][j]
			}
		}
		h := h / math.Sqrt(long)
		move := func(by float64) float64 {
			for i, p := range params {
				for j := range p.Data {
					p.Data[j] = at[i][j] + float32(by*way[i][j])
				}
			}
			return loss()
		}
		got := (8*(move(h)-move(-h)) - (move(2*h) - move(-2*h))) / (12 * h)
		put(params, at)
		if math.Abs(got-want) > tolerance*math.Abs(want) {
			t.Errorf("direction %d: slope %v by differences, %v by the gradient", try, got, want)
		}
	}
}

// graph checks the gradient of a loss in a graph.
func graph(t *testing.T, p *Tuned, g *nn.Graph, loss *nn.Node, tolerance float64) {
	t.Helper()
	g.ForwardTo(loss)
	nn.ZeroGrad(p.params)
	g.Backward(loss)
	agree(t, p.params, func() float64 {
		g.ForwardTo(loss)
		return float64(loss.Value[0])
	}, 2e-3, tolerance)
}

func TestGradientsOfTheLosses(t *testing.T) {
	for _, predict := range []diffusion.Prediction{diffusion.Epsilon, diffusion.Sample, diffusion.Velocity} {
		for _, rank := range []int{0, 2} {
			name := fmt.Sprintf("predict %d rank %d ", predict, rank)
			begin := func(t *testing.T, each int) (*Tuned, *Batch) {
				p := tiny(t, predict, rank)
				moved(p, 0.02)
				b := drawn(t, p, each)
				moved(p, 0.01)
				return p, b
			}
			t.Run(name+"d3po", func(t *testing.T) {
				p, b := begin(t, 2)
				d, err := NewD3PO(p, D3POConfig{Pairs: 2, Beta: 3, Clip: 0.9})
				if err != nil {
					t.Fatal(err)
				}
				d.put(b, []int{1, 0})
				graph(t, p, d.g, d.loss, 0.01)
			})
			t.Run(name+"diffusion-dpo", func(t *testing.T) {
				p, b := begin(t, 2)
				d, err := NewDiffusionDPO(p, DiffusionDPOConfig{Pairs: 2, Times: 3, Beta: 3})
				if err != nil {
					t.Fatal(err)
				}
				d.put(b, []int{1, 0})
				graph(t, p, d.g, d.loss, 0.01)
			})
			for _, clip := range []float64{0.02, math.Inf(1)} {
				t.Run(fmt.Sprint(name, "prdp clip ", clip), func(t *testing.T) {
					p, b := begin(t, 3)
					d, err := NewPRDP(p, PRDPConfig{Each: 3, Groups: 2, Clip: clip})
					if err != nil {
						t.Fatal(err)
					}
					d.put(b, []int{1, 0})
					graph(t, p, d.g, d.loss, 0.01)
				})
			}
			t.Run(name+"dppo", func(t *testing.T) {
				p, b := begin(t, 2)
				d, err := NewDPPO(p, DPPOConfig{Chains: 4, Clip: 0.9})
				if err != nil {
					t.Fatal(err)
				}
				d.adv = Advantages(nil, b.Samples, 5)
				d.put(b, []int{2, 1, 0, 3})
				graph(t, p, d.g, d.loss, 0.01)
			})
			for _, c := range []AlignPropConfig{{Chains: 4, Back: 5}, {Chains: 4, Back: 5, Aim: true, Target: 3}, {Chains: 4, Back: 3, Start: 0.6}} {
				t.Run(fmt.Sprintf("%salignprop %+v", name, c), func(t *testing.T) {
					p, b := begin(t, 2)
					a, err := NewAlignProp(p, bumpy, c)
					if err != nil {
						t.Fatal(err)
					}
					loss := func() float64 {
						p.pcg.Seed(1, 2)
						a.begin(b, []int{0, 1, 2, 3})
						nn.ZeroGrad(p.params)
						l, _ := a.climb(b, []int{0, 1, 2, 3}, a.Draw())
						return l
					}
					loss()
					agree(t, p.params, loss, 1e-2, 1e-3)
				})
			}
		}
	}
}

// bumpy is a reward with a slope everywhere.
func bumpy(score []float64, grad, actions, seen []float32) {
	L := len(actions) / len(score)
	for i := range score {
		score[i] = 0
		for j := range L {
			v, c := float64(actions[i*L+j]), float64(seen[i*len(seen)/len(score)])
			score[i] += math.Sin(v*float64(j+1)) + c*v
			grad[i*L+j] = float32(float64(j+1)*math.Cos(v*float64(j+1)) + c)
		}
	}
}
