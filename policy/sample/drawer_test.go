package sample

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/policy/view"
)

var eyes = view.Config{Place: []int{0, 1}, Span: 0.3, Action: view.Action{Axes: []int{0, 1}, Scale: 0.06}}

func network(t testing.TB, a diffusion.Arch) *diffusion.Net {
	t.Helper()
	a.View = eyes
	n, err := diffusion.NewNet(a, rand.New(rand.NewPCG(5, 6)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var small = diffusion.Arch{Shape: diffusion.MLP, Horizon: 4, Embed: 8, Width: 16, Depth: 1}

func TestNetworksPullAsTheyPredict(t *testing.T) {
	for _, a := range []diffusion.Arch{
		small,
		{Shape: diffusion.UNet, Horizon: 4, Embed: 8, Channels: []int{8, 16}},
		{Shape: diffusion.Transformer, Horizon: 4, Embed: 8, Width: 8, Depth: 1, Heads: 2},
	} {
		p, err := diffusion.NewParticles(network(t, a), 2)
		if err != nil {
			t.Fatal(err)
		}
		p.See([]float32{0.1, 0.2, -0.3, 0.1}, nil)
		pulls(t, p, p.Len(), 30, 5e-3) // what float32 leaves of differences
	}
}

// What a policy does with a search for nothing is what it does without.
func TestPolicyWithOneParticleIsThePolicy(t *testing.T) {
	ps, err := network(t, small).Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	act := func(make func(*diffusion.Net, diffusion.Draw) (diffusion.Drawer, error)) (out []float64) {
		pi, err := diffusion.NewPolicy(diffusion.PolicyConfig{View: eyes, Exec: 2, Seed: 3, Drawer: make})
		if err != nil {
			t.Fatal(err)
		}
		if err := pi.Load(ps); err != nil {
			t.Fatal(err)
		}
		for step := range 8 {
			in := policy.Input{Step: step}
			in.State.EE.P = [3]float64{0.01 * float64(step), 0.1}
			c, err := pi.Act(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, c.Delta[0], c.Delta[1])
		}
		return out
	}
	want := act(nil)
	for _, tt := range []struct {
		c    Config
		same bool
	}{{Config{}, true}, {Config{Kind: Best, N: 1}, true}, {Config{Kind: FK, N: 1}, true}, {Config{Kind: FK, N: 4}, false}, {Config{Kind: Guided}, true}, {Config{Kind: Best, N: 8}, false}, {Config{Kind: ReNO, N: 3}, false}} {
		got := act(func(n *diffusion.Net, d diffusion.Draw) (diffusion.Drawer, error) {
			if tt.c.Kind == ReNO {
				d.Clip = math.Inf(1) // an untrained network's actions are all clipped, and what is clipped has no slope
			}
			return New(n, d, tt.c, side{})
		})
		same := true
		for i := range got {
			same = same && got[i] == want[i]
		}
		if same != tt.same {
			t.Errorf("%v with N %d: the same commands as without is %v, want %v", tt.c.Kind, tt.c.N, same, tt.same)
		}
	}
	if _, err := New(network(t, small), diffusion.Draw{}, Config{Kind: NRG}, side{}); err == nil {
		t.Error("no error for NRG of a diffusion")
	}
}

// Parameters that are loaded anew, as after every episode, cost what those before did: only the
// first chunk of all is plain, and not the first of every episode, which may be the only one that
// is searched. What is told is of one episode.
func TestLoadedParametersAreNotMeasuredAnew(t *testing.T) {
	ps, err := network(t, small).Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []Kind{Best, FK} {
		now := time.Duration(0)
		c := Config{Kind: k, N: 8, Budget: 0.02, Pace: &Pace{}, Clock: func() time.Duration {
			now += 100 * time.Microsecond // a step of 16 is three looks at most
			return now
		}}
		pi, err := diffusion.NewPolicy(diffusion.PolicyConfig{View: eyes, Exec: 2, Drawer: func(n *diffusion.Net, d diffusion.Draw) (diffusion.Drawer, error) {
			return New(n, d, c, side{})
		}})
		if err != nil {
			t.Fatal(err)
		}
		for episode, want := range []float64{1, 0, 0} {
			if err := pi.Load(ps); err != nil {
				t.Fatal(err)
			}
			if _, err := pi.Act(t.Context(), policy.Input{}); err != nil {
				t.Fatal(err)
			}
			got := map[string]float64{}
			for _, m := range pi.Metrics() {
				got[m.Name] = m.Value
			}
			if got["sample_draws"] != 1 || got["sample_plain"] != want || got["sample_fewer"] != 0 || got["sample_late"] != 0 {
				t.Errorf("%v, episode %d: %v, want one chunk, plain %v, neither with fewer particles nor late", k, episode, got, want)
			}
		}
	}
}

// A slow moment ends no search for long, where but the first chunk of an episode is searched.
func TestASlowMomentIsForgotten(t *testing.T) {
	for _, k := range []Kind{Best, FK, Guided, ReNO} {
		now, jump := time.Duration(0), time.Duration(0)
		c := Config{Kind: k, N: 8, Scale: 1, Budget: 0.02, Clock: func() time.Duration {
			now += 50*time.Microsecond + jump
			return now
		}}
		d, err := New(network(t, small), diffusion.Draw{}, c, side{})
		if err != nil {
			t.Fatal(err)
		}
		rng, x, seen := rand.New(rand.NewPCG(1, 2)), make([]float32, 8), []float32{0, 0, 0.1, 0.1}
		lessened := func() bool {
			d.Begin()
			d.Sample(x, seen, nil, rng)
			got := map[string]float64{}
			for _, m := range d.Metrics() {
				got[m.Name] = m.Value
			}
			return got["sample_plain"]+got["sample_fewer"]+got["sample_cut"] > 0
		}
		for range 3 {
			lessened()
		}
		if lessened() {
			t.Fatalf("%v: less than the whole search in peace", k)
		}
		jump = 5 * time.Millisecond
		lessened()
		jump = 0
		n := 0
		for lessened() {
			if n++; n > 10 {
				t.Errorf("%v: not searched again within %d episodes", k, n)
				break
			}
		}
	}
}

// A search in a network reaches chunks that its reward likes better, in the view's
// units.
func TestNetworkIsSearched(t *testing.T) {
	n := network(t, small)
	n.Fit([]float32{-1, -1, 1, 1}, []float32{-0.5, -0.2, 0.5, 0.4})
	seen := []float32{0, 0, 0.1, 0.1}
	value := func(c Config) float64 {
		d, err := New(n, diffusion.Draw{}, c, side{})
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		x, v, sum := make([]float32, 8), []float64{0}, 0.0
		for range 40 {
			d.Begin()
			d.Sample(x, seen, nil, rng)
			side{}.Value(v, x, nil)
			sum += v[0] / 40
		}
		return sum
	}
	base := value(Config{})
	for _, c := range []Config{{Kind: Best}, {Kind: FK}, {Kind: Guided, Scale: 5}, {Kind: ReNO, N: 10}} {
		if got := value(c); math.IsNaN(got) || got <= base {
			t.Errorf("%v: mean reward %.3f, want more than the plain %.3f", c.Kind, got, base)
		}
	}
}

func TestDrawingDoesNotAllocate(t *testing.T) {
	for _, c := range []Config{{}, {Kind: Best}, {Kind: FK}, {Kind: Guided, Scale: 1}, {Kind: ReNO, N: 2}} {
		d, err := New(network(t, small), diffusion.Draw{Steps: 4}, c, side{})
		if err != nil {
			t.Fatal(err)
		}
		x, seen, rng := make([]float32, 8), make([]float32, 4), rand.New(rand.NewPCG(1, 2))
		if n := testing.AllocsPerRun(10, func() { d.Begin(); d.Sample(x, seen, nil, rng) }); n != 0 {
			t.Errorf("%v allocates %v times a chunk, want 0", c.Kind, n)
		}
	}
}

// BenchmarkTick reports how long a chunk takes on the default networks by a reward that
// costs nothing, and on the cup's, whose inputs are those of sessions, by a critic as
// rapport align fits it.
func BenchmarkTick(b *testing.B) {
	for _, a := range []struct {
		name string
		arch diffusion.Arch
	}{{"unet", diffusion.Arch{}}, {"mlp", diffusion.Arch{Shape: diffusion.MLP}}} {
		for _, c := range []struct {
			name string
			Config
		}{{"plain", Config{}}, {"best-4", Config{Kind: Best}}, {"fk-4", Config{Kind: FK}}, {"guided", Config{Kind: Guided, Scale: 1}}} {
			b.Run(a.name+"/"+c.name, func(b *testing.B) {
				tick(b, network(b, a.arch), c.Config, side{})
			})
		}
	}
	cup := eyes
	cup.Embed, cup.Place, cup.Fingers, cup.Horizon = 64, []int{0, 1, 2}, true, 75
	cup.Action = view.Action{Axes: []int{0, 1, 2}, MoveGrip: true, Scale: 0.0125}
	n, err := diffusion.NewNet(diffusion.Arch{View: cup, Shape: diffusion.MLP, Process: diffusion.Process{Predict: diffusion.Sample}}, rand.New(rand.NewPCG(5, 6)))
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		Config
	}{{"plain", Config{}}, {"best-8", Config{Kind: Best, N: 8}}, {"fk-8", Config{Kind: FK, N: 8}}, {"guided", Config{Kind: Guided, Scale: 2}}} {
		b.Run("cup/"+c.name, func(b *testing.B) {
			k, err := align.FitCritic(b.Context(), []align.Sample{{Seen: make([]float32, n.Seen()), X: make([]float32, n.Arch.Horizon*cup.Action.Dim()), Actions: make([]float32, n.Arch.Horizon*cup.Action.Dim()), Reward: 1, Weight: 1}}, align.CriticConfig{Steps: 1})
			if err != nil {
				b.Fatal(err)
			}
			tick(b, n, c.Config, k.Steer(n))
		})
	}
}

// tick draws chunks of n, and reports besides what one of twenty takes longer than, by the
// clock and of the processor alone, which a busy machine stretches less.
func tick(b *testing.B, n *diffusion.Net, c Config, by Reward) {
	d, err := New(n, diffusion.Draw{}, c, by)
	if err != nil {
		b.Fatal(err)
	}
	x, seen := make([]float32, n.Arch.Horizon*n.Arch.View.Action.Dim()), make([]float32, n.Arch.History*n.Arch.View.Dim())
	rng := rand.New(rand.NewPCG(1, 2))
	took, worked := make([]time.Duration, 0, 1<<16), make([]time.Duration, 0, 1<<16)
	b.ReportAllocs()
	for b.Loop() {
		began, busy := time.Now(), processor(b)
		d.Sample(x, seen, nil, rng)
		worked, took = append(worked, processor(b)-busy), append(took, time.Since(began))
	}
	p95 := func(ds []time.Duration) float64 {
		slices.Sort(ds)
		return float64(ds[len(ds)*95/100]) / 1e6
	}
	sum := time.Duration(0)
	for _, d := range worked {
		sum += d
	}
	b.ReportMetric(p95(took), "p95-ms")
	b.ReportMetric(float64(sum)/float64(len(worked))/1e6, "CPU-ms")
	b.ReportMetric(p95(worked), "p95-CPU-ms")
}

// processor is the time that this process has used.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
