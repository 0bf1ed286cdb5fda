package iql_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/iql"
	"github.com/rapport-rl/rapport/policy/policytest"
)

// small is a quick Config.
func small() iql.Config {
	return iql.Config{
		Arch: policytest.Arch(), Batch: 16, Round: 3, CriticHidden: []int{16, 16}, Scale: 10, Seed: 7,
	}
}

func learner(t testing.TB, c iql.Config, es ...policy.Episode) *iql.Learner {
	t.Helper()
	l, err := iql.New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func update(t testing.TB, l *iql.Learner) policy.Stats {
	t.Helper()
	s, err := l.Update(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func metric(t testing.TB, s policy.Stats, name string) float64 {
	t.Helper()
	for _, m := range s.Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	t.Fatalf("no metric %q in %v", name, s.Metrics)
	return 0
}

// mixed is demonstrations and online episodes.
func mixed() []policy.Episode {
	es := policytest.Demos(3, 1, [2]float64{})
	for i, e := range policytest.Demos(3, 2, [2]float64{0.1, 0}) {
		e.ID, e.Origin = fmt.Sprint("online", i), policy.Online
		es = append(es, e)
	}
	return es
}

func TestLearnerIsAKeeper(t *testing.T) {
	for name, change := range map[string]func(c *iql.Config){
		"Gaussian":      func(c *iql.Config) { c.Spread, c.Offline = 100, 4 },
		"deterministic": func(c *iql.Config) { c.Head, c.Critics, c.Steps, c.Decay, c.Noise = iql.Deterministic, 3, 2, 20, 0.01 },
	} {
		t.Run(name, func(t *testing.T) {
			build := func(seed uint64, more func(c *iql.Config)) (policy.Keeper, error) {
				c := small()
				c.Seed = seed
				change(&c)
				more(&c)
				return iql.New(c, nil)
			}
			policytest.TestKeeper(t, policytest.Subject{
				New: func(seed uint64) (policy.Keeper, error) { return build(seed, func(*iql.Config) {}) },
				Others: map[string]func() (policy.Keeper, error){
					" and 5": func() (policy.Keeper, error) { return build(1, func(c *iql.Config) { c.Critics = 5 }) },
					"CriticHidden is [16 16] and [8]": func() (policy.Keeper, error) {
						return build(1, func(c *iql.Config) { c.CriticHidden = []int{8} })
					},
					"Arch.Hidden is [16 16] and [8]": func() (policy.Keeper, error) {
						return build(1, func(c *iql.Config) { c.Arch.Hidden = []int{8} })
					},
				},
			})
		})
	}
}

func TestOfflinePhaseLearnsFromDemonstrationsAlone(t *testing.T) {
	c := small() // three steps a round
	c.Offline = 6
	l := learner(t, c, mixed()...)
	for i, want := range []float64{1, 1, 0.5} {
		if off := l.Offline(); off != (i < 2) {
			t.Errorf("round %d: offline = %v", i, off)
		}
		if got := metric(t, update(t, l), "demo_share"); got != want {
			t.Errorf("round %d: share of demonstrations = %v, want %v", i, got, want)
		}
	}
	l = learner(t, c, mixed()...)
	l.Online()
	if got := metric(t, update(t, l), "demo_share"); got != 0.5 {
		t.Errorf("after Online: share of demonstrations = %v, want 0.5", got)
	}
	c.Pool, c.Offline = true, 0
	if got := metric(t, update(t, learner(t, c, mixed()[2:]...)), "demo_share"); got != 0.25 {
		t.Errorf("pooled, one against three: share = %v, want 0.25", got)
	}
}

func TestWarmupLeavesTheActor(t *testing.T) {
	c := small()
	c.Warmup = 3
	l := learner(t, c, mixed()...)
	before := l.Actor().Params()
	for i, moved := range []bool{false, true} {
		update(t, l)
		same := true
		for n, p := range l.Actor().Params() {
			same = same && slices.Equal(p.Data, before[n].Data)
		}
		if same == moved {
			t.Errorf("round %d: the actor moved: %v, want %v", i, !same, moved)
		}
	}
}

func TestSpreadIsThatOfTheReturns(t *testing.T) {
	es := policytest.Demos(3, 1, [2]float64{})
	for i := range es { // returns 15, 30 and 45
		es[i].Rewards = slices.Repeat([]float64{float64(i + 1)}, policytest.Ticks)
	}
	mean := func(change func(c *iql.Config), es ...policy.Episode) float64 {
		c := small()
		c.Scale, c.Batch, c.Round = 0, 256, 40
		change(&c)
		return metric(t, update(t, learner(t, c, es...)), "reward_mean")
	}
	plain := mean(func(c *iql.Config) {}, es...)
	spread := mean(func(c *iql.Config) { c.Spread = 300 }, es...)
	if want := 10 * plain; math.Abs(spread-want) > 1e-3*want {
		t.Errorf("mean reward = %v with a spread of 300 for one of 30, want %v", spread, want)
	}
	if scaled := mean(func(c *iql.Config) { c.Spread, c.Scale = 300, 7 }, es...); math.Abs(scaled-spread) > 1e-3*spread {
		t.Errorf("mean reward = %v with a scale besides, want %v", scaled, spread)
	}
	if one := mean(func(c *iql.Config) { c.Spread = 300 }, es[1]); math.Abs(one-2) > 1e-5 {
		t.Errorf("mean reward of a single episode = %v, want it as it is, 2", one)
	}
	// New labels count until the first Update.
	c := small()
	c.Scale, c.Spread = 0, 300
	l := learner(t, c, es...)
	for i, e := range es {
		if ok, err := l.Relabel(t.Context(), e.ID, slices.Repeat([]float64{5 + 2*float64(i)}, policytest.Ticks)); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if got := metric(t, update(t, l), "reward_mean"); got < 5*5 || got > 9*5 {
		t.Errorf("mean reward = %v after relabelling, want between 25 and 45", got)
	}
}

func TestNothingToLearnFromIsAnError(t *testing.T) {
	if _, err := learner(t, small()).Update(t.Context()); !errors.Is(err, buffer.ErrEmpty) {
		t.Errorf("error = %v, want ErrEmpty", err)
	}
}

func TestDivergenceIsAnError(t *testing.T) {
	es := policytest.Demos(1, 1, [2]float64{})
	for i := range es[0].Rewards {
		es[0].Rewards[i] = 1e30
	}
	l := learner(t, small(), es...)
	for range 5 {
		if _, err := l.Update(t.Context()); err != nil {
			if !strings.Contains(err.Error(), "scale the rewards") {
				t.Errorf("error = %v, want the remedy", err)
			}
			return
		}
	}
	t.Error("rewards of 1e30 were learned from without a word")
}

func TestNewNamesTheField(t *testing.T) {
	for want, spoil := range map[string]func(c *iql.Config){
		"sees nothing":     func(c *iql.Config) { c.Arch = bc.Arch{} },
		"Gamma":            func(c *iql.Config) { c.Gamma = 2 },
		"Batch":            func(c *iql.Config) { c.Batch = -1 },
		"Round":            func(c *iql.Config) { c.Round = -1 },
		"Critics":          func(c *iql.Config) { c.Critics = -1 },
		"Subset is 4 of 2": func(c *iql.Config) { c.Subset = 4 },
		"CriticHidden[0]":  func(c *iql.Config) { c.CriticHidden = []int{0} },
		"Warmup":           func(c *iql.Config) { c.Warmup = -1 },
		"Offline":          func(c *iql.Config) { c.Offline = -1 },
		"Decay":            func(c *iql.Config) { c.Decay = -1 },
		"Demos":            func(c *iql.Config) { c.Demos = 1.5 },
		"Tau":              func(c *iql.Config) { c.Tau = 2 },
		"Expectile":        func(c *iql.Config) { c.Expectile = 1 },
		"Beta":             func(c *iql.Config) { c.Beta = math.Inf(1) },
		"MaxWeight":        func(c *iql.Config) { c.MaxWeight = -1 },
		"Head":             func(c *iql.Config) { c.Head = 9 },
		"ValueLR":          func(c *iql.Config) { c.ValueLR = math.NaN() },
		"Spread":           func(c *iql.Config) { c.Spread = -1 },
		"Noise":            func(c *iql.Config) { c.Noise = -1 },
		"ClipNorm":         func(c *iql.Config) { c.ClipNorm = -1 },
	} {
		t.Run(want, func(t *testing.T) {
			c := small()
			spoil(&c)
			if _, err := iql.New(c, nil); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error = %v, want one with %q", err, want)
			}
		})
	}
}

// TestUpdateAllocatesItsReportAlone: one slice of metrics.
func TestUpdateAllocatesItsReportAlone(t *testing.T) {
	c := small()
	c.Round = 10
	l := learner(t, c, mixed()...)
	update(t, l)
	if n := testing.AllocsPerRun(5, func() { update(t, l) }); n > 1 {
		t.Errorf("a round of ten steps allocates %v times, want 1 for its report", n)
	}
}

// BenchmarkUpdate has the shapes of a session: 64 numbers of embedding, two
// actions.
func BenchmarkUpdate(b *testing.B) {
	v := policytest.View()
	v.Embed = 64
	l, err := iql.New(iql.Config{Arch: bc.Arch{View: v}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range policytest.Demos(4, 1, [2]float64{}) {
		for i := range e.Inputs {
			e.Inputs[i].Features.Embed = append(e.Inputs[i].Features.Embed, make([]float32, 62)...)
		}
		if err := l.Add(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		update(b, l)
	}
}
