package ppo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/ppo"
)

// small is a quick Config that learns from two episodes at a time.
func small() ppo.Config {
	return ppo.Config{
		Arch: policytest.Arch(), Ticks: 2 * policytest.Ticks, Batch: 10, Epochs: 2, ValueHidden: []int{16, 16},
		MaxKL: math.Inf(1), ActorLR: 1e-4, Finite: true, Seed: 7,
	}
}

func learner(t testing.TB, c ppo.Config) *ppo.Learner {
	t.Helper()
	l, err := ppo.New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// played adds n episodes of the newest parameters, numbered from first on.
func played(t testing.TB, l *ppo.Learner, first, n int) []policy.Episode {
	t.Helper()
	ps, err := l.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var es []policy.Episode
	for i := range n {
		e, err := policytest.Explore(t.Context(), ps, first+i, 3)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		es = append(es, e)
	}
	return es
}

func update(t testing.TB, l *ppo.Learner) policy.Stats {
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

func saved(t testing.TB, l *ppo.Learner) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := l.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestLearnerIsAKeeper(t *testing.T) {
	build := func(seed uint64, change func(c *ppo.Config)) (policy.Keeper, error) {
		c := small()
		c.Seed, c.Ticks, c.Keep, c.Decay, c.Entropy = seed, policytest.Ticks, 3, 5, 0.01
		change(&c)
		return ppo.New(c, nil)
	}
	for name, ticks := range map[string]int{"an episode an update": policytest.Ticks, "two episodes an update": 2 * policytest.Ticks} {
		t.Run(name, func(t *testing.T) {
			policytest.TestKeeper(t, policytest.Subject{
				New: func(seed uint64) (policy.Keeper, error) {
					return build(seed, func(c *ppo.Config) { c.Ticks = ticks })
				},
				Others: map[string]func() (policy.Keeper, error){
					"Keep is 3 and 2": func() (policy.Keeper, error) { return build(1, func(c *ppo.Config) { c.Keep = 2 }) },
					"ValueHidden is [16 16] and [8]": func() (policy.Keeper, error) {
						return build(1, func(c *ppo.Config) { c.ValueHidden = []int{8} })
					},
					"Arch.Hidden is [16 16] and [8]": func() (policy.Keeper, error) {
						return build(1, func(c *ppo.Config) { c.Arch.Hidden = []int{8} })
					},
				},
			})
		})
	}
}

func TestUpdateWaitsForEnough(t *testing.T) {
	l := learner(t, small())
	for i, want := range []float64{15, 30, 15, 30} {
		played(t, l, i, 1)
		s := update(t, l)
		if got := metric(t, s, "waiting"); got != want {
			t.Errorf("after episode %d: %v transitions wait, want %v", i, got, want)
		}
		if got, want := s.Updates, uint64(6*((i+1)/2)); got != want { // 2 passes of 3 batches
			t.Errorf("after episode %d: %d gradient steps, want %d", i, got, want)
		}
	}
}

func TestDemonstrationsTeachNothing(t *testing.T) {
	l := learner(t, small())
	for _, e := range policytest.Demos(5, 1, [2]float64{}) {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	s := update(t, l) // fits the normalisation
	before := saved(t, l)
	if got := metric(t, s, "waiting"); got != 0 || s.Updates != 0 {
		t.Errorf("%v transitions wait after demonstrations, %d updates", got, s.Updates)
	}
	update(t, l)
	if !bytes.Equal(saved(t, l), before) {
		t.Error("an update with demonstrations alone changed the learner")
	}
}

func TestWarmupLeavesThePolicy(t *testing.T) {
	c := small()
	c.Warmup = 1
	l := learner(t, c)
	played(t, l, 0, 2)
	update(t, l)
	before := l.Actor().Params()
	same := func() bool {
		for i, p := range l.Actor().Params() {
			if !slices.Equal(p.Data, before[i].Data) {
				return false
			}
		}
		return true
	}
	if fresh := learner(t, c).Actor().Params(); !slices.Equal(fresh[0].Data, before[0].Data) {
		t.Error("the policy moved during the warm-up")
	}
	played(t, l, 2, 2)
	update(t, l)
	if same() {
		t.Error("the policy did not move after the warm-up")
	}
}

func TestRelabelReachesWhatWaits(t *testing.T) {
	l := learner(t, small())
	es := played(t, l, 0, 2)
	for _, e := range es {
		if ok, err := l.Relabel(t.Context(), e.ID, slices.Repeat([]float64{42}, e.Len())); !ok || err != nil {
			t.Fatalf("Relabel = %v, %v", ok, err)
		}
	}
	if _, err := l.Relabel(t.Context(), es[0].ID, []float64{1}); err == nil || !strings.Contains(err.Error(), "1 rewards for 15") {
		t.Errorf("error = %v, want one that counts", err)
	}
	if got := metric(t, update(t, l), "reward_mean"); math.Abs(got-42) > 1e-9 {
		t.Errorf("reward_mean = %v, want the new label 42", got)
	}
	if ok, err := l.Relabel(t.Context(), es[0].ID, es[0].Rewards); ok || err != nil {
		t.Errorf("Relabel of what was learned from = %v, %v, want false", ok, err)
	}
}

// TestGoesBackByOneUpdate: the learner itself, not only a new one, takes back a
// checkpoint from before its last update, with the episodes of then.
func TestGoesBackByOneUpdate(t *testing.T) {
	l := learner(t, small())
	played(t, l, 0, 2)
	update(t, l)
	played(t, l, 2, 2)
	before := saved(t, l)
	update(t, l)
	after := saved(t, l)
	if err := l.Restore(bytes.NewReader(before)); err != nil {
		t.Fatal(err)
	}
	update(t, l)
	if !bytes.Equal(saved(t, l), after) {
		t.Error("the update after going back has another result")
	}
}

func TestUpdateStopsWithItsContext(t *testing.T) {
	l := learner(t, small())
	played(t, l, 0, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Update(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the context's", err)
	}
}

func TestDivergenceIsAnError(t *testing.T) {
	l := learner(t, small())
	ps, err := l.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		e, err := policytest.Explore(t.Context(), ps, i, 3)
		if err != nil {
			t.Fatal(err)
		}
		for j := range e.Rewards {
			e.Rewards[j] = 1e30
		}
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Update(t.Context()); err == nil || !strings.Contains(err.Error(), "scale the rewards") {
		t.Errorf("error = %v, want the remedy", err)
	}
}

func TestUnlabelledEpisodesAreRefused(t *testing.T) {
	l := learner(t, small())
	e := policytest.Demos(1, 1, [2]float64{})[0]
	e.Origin, e.Rewards = policy.Online, nil
	if err := l.Add(t.Context(), e); err == nil || !strings.Contains(err.Error(), "label it first") {
		t.Errorf("error = %v, want the remedy", err)
	}
	e.Rewards = slices.Repeat([]float64{math.NaN()}, e.Len())
	if err := l.Add(t.Context(), e); err == nil || !strings.Contains(err.Error(), "reward 0 is NaN") {
		t.Errorf("error = %v, want the reward", err)
	}
}

func TestNewNamesTheField(t *testing.T) {
	for want, spoil := range map[string]func(c *ppo.Config){
		"ValueWeight":    func(c *ppo.Config) { c.ValueWeight = -1 },
		"sees nothing":   func(c *ppo.Config) { c.Arch = bc.Arch{} },
		"Std":            func(c *ppo.Config) { c.Std = 99 },
		"Gamma":          func(c *ppo.Config) { c.Gamma = 2 },
		"Lambda":         func(c *ppo.Config) { c.Lambda = 2 },
		"Scale":          func(c *ppo.Config) { c.Scale = math.Inf(1) },
		"View.Horizon":   func(c *ppo.Config) { c.Arch.View.Horizon = 0 },
		"Ticks":          func(c *ppo.Config) { c.Ticks = -1 },
		"Epochs":         func(c *ppo.Config) { c.Epochs = -1 },
		"Batch is 99":    func(c *ppo.Config) { c.Batch = 99 },
		"Keep":           func(c *ppo.Config) { c.Keep = 1 },
		"Warmup":         func(c *ppo.Config) { c.Warmup = -1 },
		"Clip":           func(c *ppo.Config) { c.Clip = 1 },
		"Entropy":        func(c *ppo.Config) { c.Entropy = -1 },
		"MaxKL":          func(c *ppo.Config) { c.MaxKL = -1 },
		"ValueHidden[0]": func(c *ppo.Config) { c.ValueHidden = []int{0} },
		"ActorLR":        func(c *ppo.Config) { c.ActorLR = math.NaN() },
		"Decay":          func(c *ppo.Config) { c.Decay = -1 },
		"ClipNorm":       func(c *ppo.Config) { c.ClipNorm = -1 },
	} {
		t.Run(want, func(t *testing.T) {
			c := small()
			spoil(&c)
			if _, err := ppo.New(c, nil); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error = %v, want one with %q", err, want)
			}
		})
	}
}

func TestPresetOfRAPL(t *testing.T) {
	c := ppo.RAPL(policytest.Arch())
	if got := fmt.Sprint(c.Arch.Hidden); got != "[256 128 64]" || c.Ticks != 50*45 {
		t.Errorf("hidden %s, %d ticks", got, c.Ticks)
	}
	l := learner(t, c)
	played(t, l, 0, 1)
	if got := metric(t, update(t, l), "waiting"); got != 15 {
		t.Errorf("%v transitions wait, want 15", got)
	}
}

// BenchmarkUpdate is one of the session's shapes: ten episodes of 45 ticks.
func BenchmarkUpdate(b *testing.B) {
	v := policytest.View()
	v.Embed = 64
	l := learner(b, ppo.Config{Arch: bc.Arch{View: v}, Ticks: 450, MaxKL: math.Inf(1)})
	n := 0
	for b.Loop() {
		b.StopTimer()
		ps, err := l.Latest(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for range 30 {
			e := policytest.Demos(1, uint64(n), [2]float64{})[0]
			e.ID, e.Origin = fmt.Sprint(n), policy.Online
			n++
			for i := range e.Version {
				e.Version[i] = ps.Version
			}
			for i := range e.Inputs {
				e.Inputs[i].Features.Embed = append(e.Inputs[i].Features.Embed, make([]float32, 62)...)
			}
			if err := l.Add(b.Context(), e); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		update(b, l)
	}
}
