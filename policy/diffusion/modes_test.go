package diffusion

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// The two ways: a point starts before an obstacle at the origin and is past it
// after 16 ticks. Half of the demonstrations pass it on the left and half on the
// right by 0.2 m, with shaky hands; their mean goes through it.
const (
	wayTicks = 16
	wayWidth = 0.2  // m
	wayNear  = 0.08 // m
)

func wayView() view.Config {
	return view.Config{Place: []int{0, 1}, Span: 0.3, Action: view.Action{Axes: []int{0, 1}, Scale: 0.06}}
}

// walk plays an episode with act, and tells on which side the origin was passed
// near where the demonstrations pass it, 1 or -1, or 0 for no such way.
func walk(id string, origin policy.Origin, p [2]float64, act func(in policy.Input) (robot.Command, error)) (policy.Episode, int, error) {
	e := policy.Episode{ID: id, Origin: origin}
	see := func() {
		in := policy.Input{Step: len(e.Inputs)}
		in.State.EE.P = [3]float64{p[0], p[1]}
		e.Inputs = append(e.Inputs, in)
	}
	side := 0
	for range wayTicks {
		see()
		c, err := act(e.Inputs[len(e.Inputs)-1])
		if err != nil {
			return e, 0, err
		}
		before := p
		p[0] += c.Delta[0]
		p[1] += c.Delta[1]
		if before[1] < 0 && p[1] >= 0 {
			at := before[0] - before[1]/(p[1]-before[1])*(p[0]-before[0])
			if math.Abs(math.Abs(at)-wayWidth) < wayNear {
				side = int(math.Copysign(1, at))
			}
		}
		e.Applied, e.By, e.Version = append(e.Applied, c), append(e.By, robot.ByPolicy), append(e.Version, 0)
	}
	see()
	return e, side, nil
}

// ways trains on 40 demonstrations and gives the shares of 200 episodes of the
// policy that pass like them on the right and on the left.
func ways(ctx context.Context, c Config, d Draw) (right, left float64, err error) {
	rng := rand.New(rand.NewPCG(c.Seed, 7))
	c.Arch.View = wayView()
	l, err := New(c, nil)
	if err != nil {
		return 0, 0, err
	}
	start := func() [2]float64 { return [2]float64{0.01 * rng.NormFloat64(), -0.3 + 0.01*rng.NormFloat64()} }
	var from [2]float64
	for i := range 40 {
		side := float64(1 - 2*(i%2))
		if i%2 == 0 { // from every start both ways, or it would tell the way
			from = start()
		}
		e, took, err := walk(fmt.Sprint(i), policy.Demo, from, func(in policy.Input) (robot.Command, error) {
			s := float64(in.Step)
			var c robot.Command
			c.Delta[0] = side*wayWidth*(math.Sin(math.Pi*(s+1)/wayTicks)-math.Sin(math.Pi*s/wayTicks)) + 0.002*rng.NormFloat64()
			c.Delta[1] = 0.6/wayTicks + 0.002*rng.NormFloat64()
			return c, nil
		})
		if err != nil || float64(took) != side {
			return 0, 0, fmt.Errorf("demonstration %d passed on %d: %w", i, took, err)
		}
		if err := l.Add(ctx, e); err != nil {
			return 0, 0, err
		}
	}
	if _, err := l.Update(ctx); err != nil {
		return 0, 0, err
	}
	ps, err := l.Latest(ctx)
	if err != nil {
		return 0, 0, err
	}
	pi, err := NewPolicy(PolicyConfig{View: wayView(), Draw: d, Exec: 4, Seed: c.Seed})
	if err != nil {
		return 0, 0, err
	}
	if err := pi.Load(ps); err != nil {
		return 0, 0, err
	}
	for range 200 {
		_, side, err := walk("x", policy.Online, start(), func(in policy.Input) (robot.Command, error) { return pi.Act(ctx, in) })
		if err != nil {
			return 0, 0, err
		}
		switch side {
		case 1:
			right += 1. / 200
		case -1:
			left += 1. / 200
		}
	}
	return right, left, nil
}

// wayCase is a quick network and process for the two ways.
type wayCase struct {
	name  string
	arch  Arch
	draw  Draw
	steps int
}

func wayCases() []wayCase {
	flow := Process{Kind: Flow}
	actions := Process{Predict: Sample} // which a small network learns in fewer steps than the noise
	mlp := func(p Process) Arch { return Arch{Shape: MLP, Process: p, Horizon: 8, Embed: 32, Width: 128, Depth: 2} }
	unet := func(p Process) Arch {
		return Arch{Shape: UNet, Process: p, Horizon: 8, Embed: 32, Channels: []int{16, 32}}
	}
	return []wayCase{
		{"mlp, ddim", mlp(actions), Draw{}, 1500},
		{"mlp, ddpm", mlp(actions), Draw{Method: DDPM, Steps: 100}, 1500},
		{"mlp, flow", mlp(flow), Draw{}, 4000},
		{"unet, ddim of noise", unet(Process{}), Draw{}, 3000},
		{"unet, flow", unet(flow), Draw{}, 1500},
		{"transformer, ddim", Arch{Shape: Transformer, Process: actions, Horizon: 8, Embed: 32, Width: 32, Depth: 2, Heads: 2}, Draw{}, 2000},
	}
}

func (c wayCase) config(seed uint64) Config {
	return Config{Arch: c.arch, Batch: 64, Round: c.steps, LR: 2e-3, Warmup: 50, Total: uint64(c.steps) + 1, Seed: seed}
}

// TestBothWaysAreTaken with one seed: each way by 40 to 60 of a hundred
// episodes. A fair coin's share of 200 deviates by 0.035. BenchmarkWays takes five
// seeds of all networks.
func TestBothWaysAreTaken(t *testing.T) {
	cases := wayCases()[:3]
	if slow {
		cases = cases[:1]
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			right, left, err := ways(t.Context(), c.config(1), c.draw)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("right %.2f, left %.2f", right, left)
			if math.Min(right, left) < 0.4 || right+left < 0.95 {
				t.Errorf("%.2f passed on the right and %.2f on the left, want both at least 0.4 and together 0.95", right, left)
			}
		})
	}
}

// BenchmarkWays reports, over five seeds, the smaller of the two shares and the
// share that passed: go test -bench Ways -benchtime 1x ./policy/diffusion
func BenchmarkWays(b *testing.B) {
	for _, c := range wayCases() {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				least, passed := 1.0, 1.0
				for seed := uint64(1); seed <= 5; seed++ {
					right, left, err := ways(b.Context(), c.config(seed), c.draw)
					if err != nil {
						b.Fatal(err)
					}
					b.Logf("seed %d: right %.3f, left %.3f", seed, right, left)
					least, passed = min(least, right, left), min(passed, right+left)
				}
				b.ReportMetric(least, "least-share")
				b.ReportMetric(passed, "least-passed")
			}
		})
	}
}
