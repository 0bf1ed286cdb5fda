package rlpd

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
)

// The numbers are those of the paper's formulas.
func TestDormantNeuronsSteer(t *testing.T) {
	c := DrM{}
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ dormant, keeps, trusts float64 }{
		{0, 0.9, 0.6 / (1 + math.Exp(-10))},
		{0.1, 0.8, 0.6 / (1 + math.Exp(-5))},
		{0.2, 0.6, 0.3},
		{0.3, 0.4, 0.6 / (1 + math.Exp(5))},
		{0.9, 0.2, 0.6 / (1 + math.Exp(35))},
	} {
		if got := c.keeps(tt.dormant); math.Abs(got-tt.keeps) > 1e-12 {
			t.Errorf("with %v dormant a network keeps %v of itself, want %v", tt.dormant, got, tt.keeps)
		}
		if got := c.trusts(tt.dormant); math.Abs(got-tt.trusts) > 1e-9 {
			t.Errorf("with %v dormant the value has a share of %v, want %v", tt.dormant, got, tt.trusts)
		}
	}
}

func waking(seed uint64) Config {
	return Config{
		Arch: policytest.Arch(), Gamma: 0.9, Finite: true, Batch: 16, UTD: 2, Round: 3, Critics: 3, CriticHidden: []int{16},
		Health: true, DrM: &DrM{Every: 8}, Seed: seed,
	}
}

func TestWokenLearnerIsAKeeper(t *testing.T) {
	policytest.TestKeeper(t, policytest.Subject{
		New: func(seed uint64) (policy.Keeper, error) { return New(waking(seed), nil) },
	})
}

func TestLearnerThatExploresIsAKeeper(t *testing.T) {
	policytest.TestKeeper(t, policytest.Subject{
		New: func(seed uint64) (policy.Keeper, error) {
			c := waking(seed)
			c.DrM = &DrM{Every: 8, Noise: 0.5, Span: 20}
			return New(c, nil)
		},
		Metrics: []string{"noise", "dormant", "entropy", "kl", "actor_grad"},
	})
}

// The numbers are those of the paper's schedule.
func TestNoiseFollowsTheDormantNeurons(t *testing.T) {
	c := DrM{Noise: 0.5, Span: 1000}
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		dormant float64
		awoken  int64
		want    float64
	}{
		{1, -1, 0.5 / (1 + math.Exp(-8))},
		{0.2, -1, 0.25},
		{0, -1, 0.5 / (1 + math.Exp(2))},
		{0, 0, 0.5}, // the line begins
		{0.1, 500, 0.275},
		{0, 1000, 0.5 / (1 + math.Exp(2))}, // the line has ended at 0.05, below the dormant ratio's
		{0.9, 5000, 0.5 / (1 + math.Exp(-7))},
	} {
		if got := c.explores(tt.dormant, tt.awoken); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("with %v dormant, %d steps after the awakening: noise %v, want %v", tt.dormant, tt.awoken, got, tt.want)
		}
	}
}

// The noise goes with the parameters from the awakening on along the line, also
// through a checkpoint.
func TestParametersCarryTheNoise(t *testing.T) {
	build := func() *Learner {
		t.Helper()
		c := waking(1)
		c.DrM = &DrM{Every: 1000, Noise: 0.5, Calm: 0.3, Span: 24} // six critic steps a round
		l, err := New(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		policytest.Give(t, l, policytest.Demos(3, 1, [2]float64{})...)
		return l
	}
	carried := func(l *Learner) float64 {
		t.Helper()
		ps, err := l.Latest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n, err := bc.Decode(ps)
		if err != nil {
			t.Fatal(err)
		}
		return n.Noise
	}
	l := build()
	if got, want := carried(l), 0.5/(1+math.Exp(2)); math.Abs(got-want) > 1e-12 {
		t.Errorf("noise %v before the first step, want %v", got, want)
	}
	for i, want := range []float64{0.5, 0.45, 0.4, 0.35, 0.3, 0.3} {
		policytest.Learn(t, l, 1)
		if l.waker.dormant >= awake {
			t.Fatalf("%v of the neurons are dormant: the test tells nothing", l.waker.dormant)
		}
		if got := carried(l); math.Abs(got-want) > 1e-12 {
			t.Errorf("round %d: noise %v, want %v", i, got, want)
		}
		var b bytes.Buffer
		if err := l.Save(&b); err != nil {
			t.Fatal(err)
		}
		if l = build(); l.Restore(&b) != nil || math.Abs(carried(l)-want) > 1e-12 {
			t.Errorf("round %d: noise %v from the checkpoint, want %v", i, carried(l), want)
		}
	}
}

// A network half of whose neurons are dormant loses all that it may, its targets
// with it; the optimisers begin anew.
func TestPerturbationBlends(t *testing.T) {
	l, err := New(waking(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range policytest.Demos(3, 1, [2]float64{}) {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Update(t.Context()); err != nil { // six critic steps
		t.Fatal(err)
	}
	if l.adam.critic.Steps() != 6 {
		t.Fatalf("%d critic steps", l.adam.critic.Steps())
	}
	was := map[string][]float32{}
	for _, p := range append(append(append([]*nn.Param{}, l.actorParams...), l.criticParams...), l.targetParams...) {
		was[p.Name] = append([]float32{}, p.Data...)
	}
	l.waker.dormant = 0.5
	l.perturb()
	if l.adam.critic.Steps() != 0 || l.adam.actor.Steps() != 0 || l.adam.alpha.Steps() == 0 {
		t.Error("want new optimisers of actor and critics, and the temperature's as it was")
	}
	// What is kept is 0.2; the rest is fresh, of the same spread as the start was.
	w := l.criticParams[0]
	cov, own, all := 0.0, 0.0, 0.0
	for i, v := range w.Data {
		a := float64(was[w.Name][i])
		cov, own, all = cov+a*float64(v), own+a*a, all+float64(v)*float64(v)
	}
	if kept := cov / own; math.Abs(kept-0.2) > 0.1 {
		t.Errorf("the critics keep %v of themselves, want 0.2", kept)
	}
	if all/own < 0.4 || all/own > 1.2 {
		t.Errorf("the weights' square went to %v of what it was", all/own)
	}
	// Critics and targets are moved to the same place.
	for i, p := range l.criticParams {
		q := l.targetParams[i]
		for j := range p.Data {
			before := float64(was[p.Name][j] - was[q.Name][j])
			keep := 0.2
			if strings.Contains(p.Name, "norm") || strings.Contains(p.Name, "gain") || len(p.Shape) > 1 && i%4 > 1 && i < len(l.criticParams)-2 {
				keep = 1
			}
			if got := float64(p.Data[j] - q.Data[j]); math.Abs(got-keep*before) > 1e-5 {
				t.Fatalf("%s[%d] is %v from its target, was %v", p.Name, j, got, before)
			}
		}
	}
}

// A perturbation in the warm-up is of the critics alone: the policy is as it was cloned.
func TestPerturbationLeavesTheActorThatWaits(t *testing.T) {
	c := waking(1)
	c.DrM.Every, c.Warmup = 2, 7
	l, err := New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range policytest.Demos(3, 1, [2]float64{}) {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	before := l.Actor()
	for i, want := range []bool{true, false} {
		if _, err := l.Update(t.Context()); err != nil { // six critic steps
			t.Fatal(err)
		}
		if n := l.adam.critic.Steps(); n != 0 {
			t.Errorf("round %d: critics stepped %d times since they were perturbed, want 0", i, n)
		}
		same := true
		for j, p := range l.Actor().Head().Params() {
			same = same && slices.Equal(p.Data, before.Head().Params()[j].Data)
		}
		if same != want {
			t.Errorf("round %d: the actor is as it was: %v, want %v", i, same, want)
		}
	}
}

// Nor does a perturbation blend it before its own first step, which follows the last of the warm-up.
func TestPerturbationLeavesTheActorToItsFirstStep(t *testing.T) {
	for _, warmup := range []int{5, 6} { // its steps come every two
		c := waking(1)
		c.DrM.Every, c.Warmup, c.ActorLR = 2, warmup, 1e-12
		l, err := New(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range policytest.Demos(3, 1, [2]float64{}) {
			if err := l.Add(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		before := l.Actor()
		for i, want := range []float64{0, 3} {
			if _, err := l.Update(t.Context()); err != nil { // six critic steps
				t.Fatal(err)
			}
			if l.observed.woken != want || l.actors != uint64(1+3*i) {
				t.Errorf("warm-up %d, round %d: the actor was perturbed %v times in %d steps of its own, want %v", warmup, i, l.observed.woken, l.actors, want)
			}
			if i > 0 {
				continue
			}
			for j, p := range l.Actor().Head().Params() {
				for k, v := range p.Data {
					if d := v - before.Head().Params()[j].Data[k]; d > 1e-6 || d < -1e-6 {
						t.Fatalf("warm-up %d: %s[%d] is %v from what was cloned", warmup, p.Name, k, d)
					}
				}
			}
		}
	}
}

// The targets are the mean of RLPD's and the value's, by share.
func TestValueEntersTheTargets(t *testing.T) {
	l, err := New(waking(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := l.waker
	B := l.cfg.Batch
	x := make([]float32, B*l.actor.Dim())
	y, reward, discount := make([]float32, B), make([]float32, B), make([]float32, B)
	fill(l.rng, x, y, reward)
	for i := range discount {
		discount[i] = 0.9 * float32(i%2)
	}
	was := append([]float32{}, y...)
	w.mix(y, reward, discount, x, 0.25)
	for i := range y {
		v := policytest.Network(w.params, 0, policytest.Row(x, i, l.actor.Dim()), true)[0]
		want := 0.75*float64(was[i]) + 0.25*(float64(reward[i])+float64(discount[i])*v)
		if math.Abs(float64(y[i])-want) > 1e-5*(1+math.Abs(want)) {
			t.Errorf("row %d: target %v, want %v", i, y[i], want)
		}
	}
}

func TestHealthIsTold(t *testing.T) {
	l, err := New(waking(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range policytest.Demos(3, 1, [2]float64{}) {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	s, err := l.Update(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, m := range s.Metrics {
		got[m.Name] = m.Value
	}
	for _, name := range []string{"dormant", "value_share", "actor_dormant", "actor_rank", "actor_weight", "critic_dormant", "critic_rank", "critic_weight", "kl"} {
		if v, ok := got[name]; !ok || math.IsNaN(v) {
			t.Errorf("%s is %v, %v", name, v, ok)
		}
	}
	if got["critic_rank"] < 2 || got["actor_weight"] <= 0 || got["dormant"] != got["actor_dormant"] {
		t.Errorf("metrics %v", got)
	}
}

func TestDrMNamesTheField(t *testing.T) {
	for want, c := range map[string]DrM{
		"DrM.Every":     {Every: -1},
		"DrM.Least":     {Least: 0.9, Most: 0.5},
		"DrM.Mix":       {Mix: 1},
		"DrM.Expectile": {Expectile: 1},
		"DrM.Noise":     {Noise: -1},
		"DrM.Calm":      {Noise: 0.3, Calm: 0.4},
		"DrM.Span":      {Span: -1},
	} {
		cfg := waking(1)
		cfg.DrM = &c
		if _, err := New(cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
