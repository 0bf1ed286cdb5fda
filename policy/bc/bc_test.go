package bc_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

func look() view.Config {
	return view.Config{
		Embed: 4, Place: []int{0, 1}, Span: 0.1, Horizon: 20,
		Action: view.Action{Axes: []int{0, 1}, Scale: 0.01},
	}
}

func arch() bc.Arch { return bc.Arch{View: look(), Hidden: []int{64, 64}} }

// seen is a tick at p with the goal in the embedding, beside a number of large
// scale and one that never moves.
func seen(step int, p, goal [2]float64) policy.Input {
	in := policy.Input{Step: step, Features: perception.Features{
		Embed: []float32{float32(goal[0]), float32(goal[1]), float32(1000 + 50*p[0]), 3},
	}}
	in.State.EE.P = [3]float64{p[0], p[1], 0}
	return in
}

// towards is the demonstrator: it goes to the goal at no more than its speed.
func towards(p, goal [2]float64) robot.Command {
	var c robot.Command
	for i := range 2 {
		c.Delta[i] = min(0.01, max(-0.01, 0.3*(goal[i]-p[i])))
	}
	return c
}

func demos(n int, seed uint64) []policy.Episode {
	rng := rand.New(rand.NewPCG(seed, 0))
	var es []policy.Episode
	for i := range n {
		e := policy.Episode{ID: fmt.Sprint(i), Origin: policy.Demo}
		p := [2]float64{0.1 * rng.NormFloat64(), 0.1 * rng.NormFloat64()}
		goal := [2]float64{0.1 * rng.NormFloat64(), 0.1 * rng.NormFloat64()}
		for t := range 20 {
			c := towards(p, goal)
			e.Inputs = append(e.Inputs, seen(t, p, goal))
			e.Applied, e.By, e.Version = append(e.Applied, c), append(e.By, robot.ByHuman), append(e.Version, 0)
			p[0], p[1] = p[0]+c.Delta[0], p[1]+c.Delta[1]
		}
		e.Inputs = append(e.Inputs, seen(20, p, goal))
		es = append(es, e)
	}
	return es
}

func encoded(t testing.TB, n *bc.Net) policy.Params {
	t.Helper()
	p, err := n.Encode(3)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func fresh(t testing.TB) *bc.Net {
	t.Helper()
	n, err := bc.NewNet(arch(), rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func player(t testing.TB, c bc.PolicyConfig, ps policy.Params) *bc.Policy {
	t.Helper()
	c.View = look()
	p, err := bc.NewPolicy(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Load(ps); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCloneReachesTheGoalsOfTheDemonstrator(t *testing.T) {
	for _, tt := range []struct {
		name string
		loss bc.Loss
	}{{"squared error", bc.SquaredError}, {"likelihood", bc.Likelihood}} {
		t.Run(tt.name, func(t *testing.T) {
			var told []bc.Progress
			net, last, err := bc.Train(t.Context(), bc.Config{Arch: arch(), Loss: tt.loss, Steps: 800, HeldOut: 0.1, Seed: 5}, demos(60, 1),
				func(p bc.Progress) { told = append(told, p) })
			if err != nil {
				t.Fatal(err)
			}
			if len(told) != 8 || told[7] != last || last.Step != 800 || last.Rows != 54*20 {
				t.Errorf("progress: %d reports, last %+v; want 8 up to step 800, of 1080 rows", len(told), last)
			}
			if !(last.Best < told[0].HeldOut) || last.Best > last.HeldOut {
				t.Errorf("held-out loss: best %v, last %v, first %v", last.Best, last.HeldOut, told[0].HeldOut)
			}
			pi := player(t, bc.PolicyConfig{}, encoded(t, net))
			reached := 0
			for _, e := range demos(50, 99) { // starts and goals never seen
				in := e.Inputs[0]
				p := [2]float64{in.State.EE.P[0], in.State.EE.P[1]}
				goal := [2]float64{float64(in.Features.Embed[0]), float64(in.Features.Embed[1])}
				for step := range 20 {
					c, err := pi.Act(t.Context(), seen(step, p, goal))
					if err != nil {
						t.Fatal(err)
					}
					p[0], p[1] = p[0]+c.Delta[0], p[1]+c.Delta[1]
				}
				end := e.Inputs[20].State.EE.P
				if math.Hypot(p[0]-end[0], p[1]-end[1]) < 0.03 {
					reached++
				}
			}
			if reached < 45 {
				t.Errorf("ends within 3 cm of the demonstrator's end in %d of 50, want 45", reached)
			}
		})
	}
}

func TestTrainIsReproducible(t *testing.T) {
	c := bc.Config{Arch: arch(), Steps: 30, HeldOut: 0.2, Noise: 0.1, Seed: 5}
	run := func(c bc.Config) []byte {
		net, _, err := bc.Train(t.Context(), c, demos(10, 1), nil)
		if err != nil {
			t.Fatal(err)
		}
		return encoded(t, net).Data
	}
	a, b := run(c), run(c)
	if !bytes.Equal(a, b) {
		t.Error("two runs of one seed differ")
	}
	c.Seed++
	if bytes.Equal(a, run(c)) {
		t.Error("another seed gave the same parameters")
	}
}

func TestSquaredErrorKeepsTheDeviation(t *testing.T) {
	net, _, err := bc.Train(t.Context(), bc.Config{Arch: arch(), Steps: 50, Std: 0.2}, demos(5, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	g := nn.NewGraph()
	x := g.Input(1, look().Dim())
	raw := net.Frozen(g, x)
	for i := range x.Value {
		x.Value[i] = float32(i)
	}
	g.Forward()
	for _, s := range raw.Value[2:] {
		l, _ := bc.LogStd(float64(s))
		if got := math.Exp(l); math.Abs(got-0.2) > 1e-5 {
			t.Errorf("deviation = %v, want 0.2", got)
		}
	}
}

func TestFitNormalises(t *testing.T) {
	n := fresh(t)
	D := look().Dim()
	rng := rand.New(rand.NewPCG(1, 2))
	rows := make([]float32, 1000*D)
	for i := range rows {
		rows[i] = float32(float64(i%D) + 2*rng.NormFloat64())
		if i%D == 3 {
			rows[i] = 3 // an embedding number that never moves
		}
	}
	n.Fit(rows)
	out := make([]float32, len(rows))
	n.Normalise(out, rows)
	for j := range D {
		mean, square := 0.0, 0.0
		for i := j; i < len(out); i += D {
			mean += float64(out[i]) / 1000
			square += float64(out[i]) * float64(out[i]) / 1000
		}
		want := 1.0
		if j == 3 {
			want = 0
		}
		if math.Abs(mean) > 1e-4 || math.Abs(square-want) > 1e-3 {
			t.Errorf("number %d: mean %v and mean square %v, want 0 and %v", j, mean, square, want)
		}
	}
	// The mean deviation of the embedding is 1.5, its tenth the floor.
	rows[3] = 3.15
	n.Normalise(out[:D], rows[:D])
	if math.Abs(float64(out[3])-1) > 0.05 {
		t.Errorf("a number that never moved, off by the floor: %v, want about 1", out[3])
	}
	rows[3] = 1e6
	n.Normalise(out[:D], rows[:D])
	if out[3] != 10 {
		t.Errorf("a number far off: %v, want the rim 10", out[3])
	}
}

func TestTrainRefuses(t *testing.T) {
	good := bc.Config{Arch: arch(), Steps: 1}
	for _, tt := range []struct {
		want  string
		spoil func(c *bc.Config, es []policy.Episode) []policy.Episode
	}{
		{"no demonstrations", func(*bc.Config, []policy.Episode) []policy.Episode { return nil }},
		{"leaves none", func(c *bc.Config, es []policy.Episode) []policy.Episode { c.HeldOut = 0.5; return es[:1] }},
		{"HeldOut is 1", func(c *bc.Config, es []policy.Episode) []policy.Episode { c.HeldOut = 1; return es }},
		{"Std", func(c *bc.Config, es []policy.Episode) []policy.Episode { c.Std = 100; return es }},
		{"LR", func(c *bc.Config, es []policy.Episode) []policy.Episode { c.LR = math.NaN(); return es }},
		{"Steps", func(c *bc.Config, es []policy.Episode) []policy.Episode { c.Steps = -1; return es }},
		{"Hidden[1]", func(c *bc.Config, es []policy.Episode) []policy.Episode { c.Arch.Hidden = []int{1, 0}; return es }},
		{"sees nothing", func(c *bc.Config, es []policy.Episode) []policy.Episode { c.Arch.View = view.Config{}; return es }},
		{"episode 1: view: embedding", func(c *bc.Config, es []policy.Episode) []policy.Episode {
			es[1].Inputs[3].Features.Embed = nil
			return es
		}},
		{"episode 0: command 7", func(c *bc.Config, es []policy.Episode) []policy.Episode {
			es[0].Applied[7].Delta[1] = math.Inf(1)
			return es
		}},
	} {
		t.Run(tt.want, func(t *testing.T) {
			c := good
			es := tt.spoil(&c, demos(2, 1))
			if _, _, err := bc.Train(t.Context(), c, es, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := bc.Train(ctx, good, demos(1, 1), nil); err == nil {
		t.Error("Train went on after its context ended")
	}
}

func TestParamsRoundTrip(t *testing.T) {
	n := fresh(t)
	n.Fit(make([]float32, 3*look().Dim()))
	back, err := bc.Decode(encoded(t, n))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range n.Tensors() {
		got := back.Tensors()[i]
		if got.Name != want.Name || !slices.Equal(got.Data, want.Data) {
			t.Errorf("tensor %q came back as %q, or with other numbers", want.Name, got.Name)
		}
	}
	if err := back.Same(look()); err != nil {
		t.Error(err)
	}
}

func TestLoadRefuses(t *testing.T) {
	whole := encoded(t, fresh(t)).Data
	flip := func(at int) []byte {
		d := bytes.Clone(whole)
		d[at] ^= 0xff
		return d
	}
	other := arch()
	other.View.Action.Scale = 0.02
	scaled, err := bc.NewNet(other, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	nan := fresh(t)
	nan.Params()[0].Data[5] = float32(math.NaN())
	foreign, err := nn.Encode(nil, map[string]string{"format": "else"})
	if err != nil {
		t.Fatal(err)
	}
	loud := fresh(t)
	loud.Noise = 11
	thin, err := nn.Encode(fresh(t).Tensors()[:3], map[string]string{"format": "rapport-actor-1", "arch": `{"View":{"Embed":4,"Action":{"Axes":[0],"Scale":1}},"Hidden":[65536,65536]}`})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string
		data       []byte
	}{
		{"nothing", "version 3", nil},
		{"cut short", "cut short", whole[:len(whole)-9]},
		{"broken header", "header", flip(9)},
		{"another format", `format is "else"`, foreign},
		{"more claimed than held", "want at least", thin},
		{"NaN", "holds NaN", encoded(t, nan).Data},
		{"loud", `noise is "11"`, encoded(t, loud).Data},
		{"another view", "Action.Scale is 0.02 and 0.01", encoded(t, scaled).Data},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pi := player(t, bc.PolicyConfig{}, policy.Params{Version: 1, Data: whole})
			err := pi.Load(policy.Params{Version: 3, Data: tt.data})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
			if pi.Version() != 1 {
				t.Errorf("version = %d after a refusal, want the old one, 1", pi.Version())
			}
		})
	}
}

func TestActRefuses(t *testing.T) {
	pi, err := bc.NewPolicy(bc.PolicyConfig{View: look()})
	if err != nil {
		t.Fatal(err)
	}
	in := seen(0, [2]float64{}, [2]float64{})
	if _, err := pi.Act(t.Context(), in); err == nil || !strings.Contains(err.Error(), "Load") {
		t.Errorf("before Load: error = %v, want one naming Load", err)
	}
	if err := pi.Load(encoded(t, fresh(t))); err != nil {
		t.Fatal(err)
	}
	in.State.EE.P[0] = math.NaN()
	if _, err := pi.Act(t.Context(), in); err == nil {
		t.Error("acted on a NaN")
	}
	in.State.EE.P[0], in.Step = 0, -1
	if _, err := pi.Act(t.Context(), in); err == nil {
		t.Error("acted at a negative step")
	}
	for _, c := range []bc.PolicyConfig{{}, {View: look(), Mode: 7}, {View: look(), Rho: 1}} {
		if _, err := bc.NewPolicy(c); err == nil {
			t.Errorf("NewPolicy(%+v) took it", c)
		}
	}
}

// trace is the commands of an episode of n steps at one place.
func trace(t *testing.T, pi *bc.Policy, n int) []robot.Command {
	t.Helper()
	var cs []robot.Command
	for step := range n {
		c, err := pi.Act(t.Context(), seen(step, [2]float64{}, [2]float64{}))
		if err != nil {
			t.Fatal(err)
		}
		cs = append(cs, c)
	}
	return cs
}

func TestNoiseDependsOnSeedEpisodeAndStepAlone(t *testing.T) {
	ps := encoded(t, fresh(t))
	for _, rho := range []float64{0, 0.8} {
		t.Run(fmt.Sprintf("rho %v", rho), func(t *testing.T) {
			c := bc.PolicyConfig{Mode: bc.Sample, Seed: 1, Rho: rho}
			a := player(t, c, ps)
			first, second := trace(t, a, 12), trace(t, a, 12)
			if slices.Equal(first, second) {
				t.Error("two episodes had the same noise")
			}
			resumed := player(t, c, ps)
			resumed.Begin(1)
			if got := trace(t, resumed, 12); !slices.Equal(got, second) {
				t.Error("episode 1 of a resumed session had other noise")
			}
			// The same step asked alone, in the same episode.
			got, err := resumed.Act(t.Context(), seen(7, [2]float64{}, [2]float64{}))
			if err != nil {
				t.Fatal(err)
			}
			want := second[7]
			// The clock is the same and so is everything else.
			if got != want {
				t.Errorf("step 7 again = %v, want %v", got, want)
			}
			c.Seed = 2
			if slices.Equal(trace(t, player(t, c, ps), 12), first) {
				t.Error("another seed had the same noise")
			}
			c.Mode = bc.Mean
			mean := player(t, c, ps)
			if !slices.Equal(trace(t, mean, 12), trace(t, mean, 12)) {
				t.Error("the mean was noisy")
			}
		})
	}
}

func TestNoiseIsStandardAndCorrelated(t *testing.T) {
	n := fresh(t)
	for _, p := range n.Params() { // mean 0, and log deviation -1.5 everywhere
		clear(p.Data)
	}
	ps := encoded(t, n)
	for _, rho := range []float64{0, 0.6} {
		pi := player(t, bc.PolicyConfig{Mode: bc.Sample, Seed: 9, Rho: rho}, ps)
		var square, lag, count float64
		for range 400 {
			last := 0.0
			for step, c := range trace(t, pi, 20) {
				e := math.Atanh(c.Delta[0]/0.01) / math.Exp(-1.5)
				square += e * e
				if step > 0 {
					lag += e * last
				}
				last = e
				count++
			}
		}
		// 8000 draws of effective number 8000*(1-rho^2)/(1+rho^2): deviation
		// of the mean square at most 0.024; four of them.
		if v := square / count; math.Abs(v-1) > 0.1 {
			t.Errorf("rho %v: mean square %v, want 1", rho, v)
		}
		if r := lag / count * 20 / 19; math.Abs(r-rho) > 0.1 {
			t.Errorf("rho %v: correlation of successive steps %v", rho, r)
		}
	}
}

// TestExplorationNoiseIsThatOfTheParameters: it is added to actions that are drawn, and
// to no others.
func TestExplorationNoiseIsThatOfTheParameters(t *testing.T) {
	n := fresh(t)
	for _, p := range n.Params() { // mean 0, and as small a deviation as there is
		clear(p.Data)
	}
	n.SetStd(0.01)
	n.Noise = 0.2
	ps := encoded(t, n)
	if c := n.Clone(); c.Noise != 0 {
		t.Errorf("a clone has noise %v", c.Noise)
	}
	if back, err := bc.Decode(ps); err != nil || back.Noise != 0.2 {
		t.Errorf("noise came back as %v, %v", back.Noise, err)
	}
	for mode, want := range map[bc.Mode]float64{bc.Sample: 0.2, bc.Mean: 0} {
		pi := player(t, bc.PolicyConfig{Mode: mode, Seed: 9}, ps)
		square, count := 0.0, 0.0
		for range 200 {
			for _, c := range trace(t, pi, 20) {
				square += c.Delta[0] / 0.01 * c.Delta[0] / 0.01
				count++
			}
		}
		// 4000 draws: the deviation of the root is 0.0022, four of them.
		if got := math.Sqrt(square / count); math.Abs(got-want) > 0.01 {
			t.Errorf("mode %d: actions deviate by %v, want %v", mode, got, want)
		}
	}
	n.Noise = 9 // what is beyond the bounds is at them
	for _, c := range trace(t, player(t, bc.PolicyConfig{Mode: bc.Sample}, encoded(t, n)), 50) {
		if math.Abs(c.Delta[0]) > 0.01 {
			t.Fatalf("command %v beyond the unit of an action", c)
		}
	}
}

func TestLoadWhileActing(t *testing.T) {
	ps := encoded(t, fresh(t))
	pi := player(t, bc.PolicyConfig{Mode: bc.Sample}, ps)
	var wg sync.WaitGroup
	wg.Go(func() {
		for v := range uint64(20) {
			if err := pi.Load(policy.Params{Version: v, Data: ps.Data}); err != nil {
				t.Error(err)
			}
		}
	})
	trace(t, pi, 50)
	wg.Wait()
	if pi.Version() != 19 {
		t.Errorf("version = %d, want 19", pi.Version())
	}
}

func FuzzDecode(f *testing.F) {
	n, err := bc.NewNet(bc.Arch{View: view.Config{Embed: 1, Action: view.Action{Axes: []int{0}, Scale: 1}}, Hidden: []int{2}}, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		f.Fatal(err)
	}
	p, err := n.Encode(1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Data)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := bc.Decode(policy.Params{Data: data})
		if err != nil {
			return
		}
		again, err := n.Encode(0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bc.Decode(again); err != nil {
			t.Fatalf("what was decoded is refused when encoded again: %v", err)
		}
	})
}

func BenchmarkAct(b *testing.B) {
	n, err := bc.NewNet(bc.Arch{View: look()}, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		b.Fatal(err)
	}
	pi := player(b, bc.PolicyConfig{Mode: bc.Sample}, encoded(b, n))
	in := seen(30, [2]float64{}, [2]float64{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pi.Act(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}
