package diffusion

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// small is a quick network of the given shape over the reach.
func small(s Shape) Arch {
	return Arch{View: policytest.View(), Shape: s, Horizon: 4, Embed: 8, Channels: []int{8, 16}, Width: 16, Depth: 2, Heads: 2}
}

func learner(change func(c *Config)) func(seed uint64) (policy.Keeper, error) {
	return func(seed uint64) (policy.Keeper, error) {
		c := Config{Arch: small(MLP), Batch: 8, Round: 2, Seed: seed}
		if change != nil {
			change(&c)
		}
		return New(c, nil)
	}
}

func player(ps policy.Params, seed uint64) (policytest.Counted, error) {
	pi, err := NewPolicy(PolicyConfig{View: policytest.View(), Draw: Draw{Steps: 4}, Exec: 2, Seed: seed})
	if err != nil {
		return nil, err
	}
	return pi, pi.Load(ps)
}

var shapeNames = map[string]Shape{"unet": UNet, "mlp": MLP, "transformer": Transformer}

func TestLearnerIsAKeeper(t *testing.T) {
	for name, shape := range shapeNames {
		t.Run(name, func(t *testing.T) {
			policytest.TestKeeper(t, policytest.Subject{
				New: learner(func(c *Config) { c.Arch.Shape = shape }),
				Others: map[string]func() (policy.Keeper, error){
					"Arch.Horizon is 4 and 8": func() (policy.Keeper, error) {
						return learner(func(c *Config) { c.Arch.Shape, c.Arch.Horizon = shape, 8 })(1)
					},
					"Arch.Process is {0 0 0 100} and {1 0 0 100}": func() (policy.Keeper, error) {
						return learner(func(c *Config) { c.Arch.Shape, c.Arch.Process.Kind = shape, Flow })(1)
					},
					"Action.Scale is 0.05 and 0.1": func() (policy.Keeper, error) {
						return learner(func(c *Config) { c.Arch.Shape, c.Arch.View.Action.Scale = shape, 0.1 })(1)
					},
				},
				Player:  player,
				Metrics: []string{"denoise_loss", "actor_grad", "rate", "decay"},
			})
		})
	}
}

// TestLossGradients compares the gradient of the loss at some elements of every
// array with central differences.
func TestLossGradients(t *testing.T) {
	for name, shape := range shapeNames {
		for kind, process := range map[string]Process{"noise": {}, "actions": {Predict: Sample}, "v": {Predict: Velocity}, "flow": {Kind: Flow}} {
			t.Run(name+" "+kind, func(t *testing.T) {
				a := small(shape)
				a.Process, a.Horizon, a.Channels = process, 8, []int{16, 32}
				rng := newRand(5)
				n, err := NewNet(a, rng)
				if err != nil {
					t.Fatal(err)
				}
				f := newFit(n, 3, device.Default())
				f.aim(demoChunks(t, n, 3), rng)
				f.step()
				for _, p := range n.params {
					grad := append([]float32(nil), p.Grad...)
					big := 0.0
					for _, v := range grad {
						big = max(big, math.Abs(float64(v)))
					}
					for range 3 {
						i := rng.IntN(len(grad))
						const h = 3e-3
						v := p.Data[i]
						p.Data[i] = v + h
						up := f.step()
						p.Data[i] = v - h
						down := f.step()
						p.Data[i] = v
						want := (up - down) / (2 * h)
						// The loss, about 1, is known to 1e-7, the difference to 4e-5.
						if d := math.Abs(float64(grad[i]) - want); d > 1e-4+0.01*big {
							t.Errorf("%s[%d]: gradient %v, want %v", p.Name, i, grad[i], want)
						}
					}
				}
			})
		}
	}
}

// demoChunks samples chunks of demonstrations and fits the ranges of n to them.
func demoChunks(t *testing.T, n *Net, rows int) *buffer.Chunks {
	t.Helper()
	l, err := New(Config{Batch: rows, Seed: 2}, n)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range policytest.Demos(2, 1, [2]float64{}) {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	n.Fit(l.people.ranges())
	if err := l.replay.SampleChunks(l.chunks, rows, newRand(2)); err != nil {
		t.Fatal(err)
	}
	return l.chunks
}

// TestLossIsTheMeanOverTheMask compares with sums in float64 of what the network
// says.
func TestLossIsTheMeanOverTheMask(t *testing.T) {
	n, err := NewNet(small(MLP), newRand(1))
	if err != nil {
		t.Fatal(err)
	}
	f := newFit(n, 6, device.Default())
	c := demoChunks(t, n, 6)
	for i := range c.Mask {
		c.Mask[i] = float32(i % 2)
	}
	f.aim(c, newRand(3))
	got := f.step()
	sum, count := 0.0, 0.0
	g := nn.NewGraph()
	x, emb, seen := g.Input(6, 4, 2), g.Input(6, 8), g.Input(6, 2*policytest.View().Dim())
	copy(x.Value, f.x.Value)
	copy(emb.Value, f.emb.Value)
	copy(seen.Value, f.history.all.Value)
	y := n.den.apply(net{g, g.Frozen}, x, emb, seen)
	g.Forward()
	for i, v := range y.Value {
		if c.Mask[i/2] == 1 {
			d := float64(v - f.target.Value[i])
			sum += d * d
			count++
		}
	}
	if want := sum / count; math.Abs(got-want) > 1e-5*want {
		t.Errorf("loss = %v, want %v", got, want)
	}
}

// TestOnlyPeopleAreImitated holds the masks and ranges of an episode of which
// a person decided all steps but one, where the policy did what no person would.
func TestOnlyPeopleAreImitated(t *testing.T) {
	v := view.Config{Place: []int{0}, Span: 10, Action: view.Action{Axes: []int{0}, Scale: 1}}
	e := policy.Episode{ID: "a", Origin: policy.Online}
	const T = 6
	for i := range T + 1 {
		in := policy.Input{Step: i}
		in.State.EE.P[0] = float64(i)
		e.Inputs = append(e.Inputs, in)
	}
	for i := range T {
		by, x := robot.ByHuman, float64(i)/10
		if i == 2 {
			by, x = robot.ByPolicy, -1
		}
		e.Applied, e.By, e.Version = append(e.Applied, robot.Command{Delta: [6]float64{x}}), append(e.By, by), append(e.Version, 1)
	}
	l, err := New(Config{Arch: Arch{View: v, Shape: MLP, Width: 8, Depth: 1, Horizon: 4}, Batch: 200}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Add(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for i := range 200 {
		_, at := l.chunks.At(i)
		seen[at] = true
		for h := range 4 {
			step, want := at-1+h, float32(1)
			if step < 0 || step >= T || step == 2 {
				want = 0
			}
			if got := l.chunks.Mask[i*4+h]; got != want {
				t.Fatalf("action %d around %d has mask %v, want %v", h, at, got, want)
			}
		}
	}
	if len(seen) != T-1 || seen[2] {
		t.Errorf("drew around %v, want all steps but 2", seen)
	}
	if mid, half := l.Net().actMid.Data[0], l.Net().actHalf.Data[0]; math.Abs(float64(mid)-0.25) > 1e-6 || math.Abs(float64(half)-0.25) > 1e-6 {
		t.Errorf("actions about %v by %v, want about 0.25 by 0.25", mid, half)
	}
}

// TestOneChunkIsLearned: from one demonstration every sample becomes its actions.
func TestOneChunkIsLearned(t *testing.T) {
	for name, shape := range shapeNames {
		for kind, c := range map[string]struct {
			process Process
			steps   int
		}{"diffusion": {Process{Predict: Sample}, 300}, "flow": {Process{Kind: Flow}, 700}} {
			t.Run(name+" "+kind, func(t *testing.T) {
				if slow && (shape == Transformer || c.process.Kind == Flow) {
					return // the same code as without the race detector, twice over
				}
				a := small(shape)
				a.Process, a.Width, a.Channels = c.process, 64, []int{16, 32}
				l, err := New(Config{Arch: a, Batch: 32, Round: c.steps, LR: 3e-3, Warmup: 20, Seed: 1}, nil)
				if err != nil {
					t.Fatal(err)
				}
				e := policytest.Demos(1, 1, [2]float64{})[0]
				for i := range e.Applied {
					sin, cos := math.Sincos(float64(i) / 3)
					e.Applied[i].Delta = [6]float64{policytest.Speed * sin, policytest.Speed * cos}
				}
				if err := l.Add(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				if _, err := l.Update(t.Context()); err != nil {
					t.Fatal(err)
				}
				s, err := NewSampler(l.Net(), 1, Draw{})
				if err != nil {
					t.Fatal(err)
				}
				seen, got := make([]float32, 2*policytest.View().Dim()), make([]float32, 4*2)
				square, rng := 0.0, newRand(2)
				for at := 1; at < 10; at++ {
					for h := range 2 {
						if err := a.View.Row(seen[h*a.View.Dim():(h+1)*a.View.Dim()], e.Inputs[at-1+h]); err != nil {
							t.Fatal(err)
						}
					}
					s.Sample(got, seen, nil, rng)
					want := make([]float32, 2)
					for h := range 4 {
						a.View.Action.Row(want, e.Applied[at-1+h])
						for j, v := range want {
							square += math.Pow(float64(v-got[h*2+j]), 2) / (9 * 4 * 2)
						}
					}
				}
				rms := math.Sqrt(square)
				t.Logf("error %.3f", rms)
				if rms > 0.3 {
					t.Errorf("actions are off by %.3f of their range of 2", rms)
				}
			})
		}
	}
}

func TestNothingToImitate(t *testing.T) {
	l, err := learner(nil)(1)
	if err != nil {
		t.Fatal(err)
	}
	e := policytest.Demos(1, 1, [2]float64{})[0]
	e.Origin = policy.Online // decided by a policy
	if err := l.Add(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Update(t.Context()); !errors.Is(err, buffer.ErrEmpty) {
		t.Errorf("error = %v, want ErrEmpty", err)
	}
}

func TestNewNamesTheField(t *testing.T) {
	for want, spoil := range map[string]func(c *Config){
		"sees nothing": func(c *Config) { c.Arch = Arch{} },
		"no number beside them": func(c *Config) {
			c.Arch.View = policytest.PixelView()
			c.Arch.View.Place, c.Arch.View.Horizon = nil, 0
		},
		"Strides": func(c *Config) {
			c.Arch.View, c.Arch.Trunk.Strides = policytest.PixelView(), []int{-1}
		},
		"History is 9":  func(c *Config) { c.Arch.History = 9 },
		"Horizon is -1": func(c *Config) { c.Arch.Horizon = -1 },
		"Horizon is 5 actions, want a multiple of 2": func(c *Config) { c.Arch.Shape, c.Arch.Horizon = UNet, 5 },
		"Channels[1] is 12":                          func(c *Config) { c.Arch.Shape, c.Arch.Channels = UNet, []int{8, 12} },
		"Channels has 0 levels":                      func(c *Config) { c.Arch.Shape, c.Arch.Channels = UNet, []int{} },
		"Embed is 7":                                 func(c *Config) { c.Arch.Embed = 7 },
		"Width is -1":                                func(c *Config) { c.Arch.Width = -1 },
		"Depth is 65":                                func(c *Config) { c.Arch.Depth = 65 },
		"Heads is 3":                                 func(c *Config) { c.Arch.Shape, c.Arch.Heads = Transformer, 3 },
		"Shape is 9":                                 func(c *Config) { c.Arch.Shape = 9 },
		"Process.Kind is 7":                          func(c *Config) { c.Arch.Process.Kind = 7 },
		"Batch":                                      func(c *Config) { c.Batch = -1 },
		"Round":                                      func(c *Config) { c.Round = -1 },
		"LR":                                         func(c *Config) { c.LR = math.NaN() },
		"WeightDecay":                                func(c *Config) { c.WeightDecay = 2 },
		"ClipNorm":                                   func(c *Config) { c.ClipNorm = -1 },
		"Total is 100":                               func(c *Config) { c.Total = 100 },
		"Average has power -1":                       func(c *Config) { c.Average.Power = -1 },
	} {
		if _, err := learner(spoil)(1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want one with %q", err, want)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	archs := map[string]Arch{"pixels": pixelArch()}
	for name, shape := range shapeNames {
		archs[name] = small(shape)
	}
	for name, a := range archs {
		k, err := learner(func(c *Config) { c.Arch = a })(1)
		if err != nil {
			t.Fatal(err)
		}
		l := k.(*Learner)
		for _, e := range policytest.Demos(2, 1, [2]float64{}) {
			if err := l.Add(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		step := func() {
			if _, err := l.step(); err != nil {
				t.Fatal(err)
			}
		}
		step()
		if n := testing.AllocsPerRun(10, step); n != 0 {
			t.Errorf("%s: a training step allocates %v times, want 0", name, n)
		}
		for _, d := range []Draw{{}, {Method: DDPM}} {
			s, err := NewSampler(l.Net(), 2, d)
			if err != nil {
				t.Fatal(err)
			}
			dst, seen, rng := make([]float32, len(s.noised)), make([]float32, len(s.look.history.rows.Value)), newRand(1)
			pix := make([]byte, 2*2*a.View.Pixels()) // two rows of two inputs
			draw := func() { s.Sample(dst, seen, pix, rng) }
			draw()
			if n := testing.AllocsPerRun(10, draw); n != 0 {
				t.Errorf("%s: a sample allocates %v times, want 0", name, n)
			}
		}
	}
}

// TestRateAndAverageFollowTheirSchedules over a warm-up of 4 steps and a cosine
// to step 8.
func TestRateAndAverageFollowTheirSchedules(t *testing.T) {
	k, err := learner(func(c *Config) { c.Round, c.LR, c.Warmup, c.Total = 1, 1, 4, 8 })(1)
	if err != nil {
		t.Fatal(err)
	}
	l := k.(*Learner)
	if err := l.Add(t.Context(), policytest.Demos(1, 1, [2]float64{})[0]); err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{0.25, 0.5, 0.75, 1, 0.5 + math.Sqrt2/4, 0.5} {
		if i == 1 { // the first average is the network itself
			if l.net.params[0].Data[0] != l.slow.params[0].Data[0] {
				t.Error("the average of one step is not the network")
			}
		}
		st, err := l.Update(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(st.Metrics[2].Value-want) > 1e-12 {
			t.Errorf("step %d: %s is %v, want %v", i, st.Metrics[2].Name, st.Metrics[2].Value, want)
		}
	}
}
