package bc_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/robot"
)

func imitator(change func(c *bc.LearnerConfig)) func(seed uint64) (policy.Keeper, error) {
	return func(seed uint64) (policy.Keeper, error) {
		c := bc.LearnerConfig{Arch: policytest.Arch(), Batch: 16, Round: 2, Noise: 0.01, Seed: seed}
		if change != nil {
			change(&c)
		}
		return bc.NewLearner(c, nil)
	}
}

func TestLearnerIsAKeeper(t *testing.T) {
	for name, loss := range map[string]bc.Loss{"squared error": bc.SquaredError, "likelihood": bc.Likelihood} {
		t.Run(name, func(t *testing.T) {
			policytest.TestKeeper(t, policytest.Subject{
				New: imitator(func(c *bc.LearnerConfig) { c.Loss = loss }),
				Others: map[string]func() (policy.Keeper, error){
					"Arch.Hidden is [16 16] and [8]": func() (policy.Keeper, error) {
						return imitator(func(c *bc.LearnerConfig) { c.Arch.Hidden = []int{8} })(1)
					},
					"Action.Scale is 0.05 and 0.1": func() (policy.Keeper, error) {
						return imitator(func(c *bc.LearnerConfig) { c.Arch.View.Action.Scale = 0.1 })(1)
					},
				},
			})
		})
	}
}

// TestOnlyPeopleAreImitated: a policy that ends beside the goal is corrected at
// some steps of its own episodes; after that it ends at the goal.
func TestOnlyPeopleAreImitated(t *testing.T) {
	off := [2]float64{0.16, -0.12}
	prior := policytest.Demos(10, 3, off)
	net, _, err := bc.Train(t.Context(), bc.Config{Arch: bc.Arch{View: policytest.View(), Hidden: []int{64, 64}}, Steps: 400, Seed: 3}, prior, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := bc.NewLearner(bc.LearnerConfig{Round: 50, LR: 1e-3, Seed: 3}, net)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Update(t.Context()); !errors.Is(err, buffer.ErrEmpty) {
		t.Errorf("with nothing to imitate: error = %v, want ErrEmpty", err)
	}
	success := func() float64 {
		ps, err := l.Latest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		v, err := policytest.Success(t.Context(), ps)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	before := success()
	for n := range 30 {
		ps, err := l.Latest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		e, err := policytest.Explore(t.Context(), ps, n, 5)
		if err != nil {
			t.Fatal(err)
		}
		e.Rewards = nil // nobody labels them
		for i, in := range e.Inputs[:e.Len()] {
			if i%3 == n%3 { // the person shows the right way here
				for j := range 2 {
					e.Applied[i].Delta[j] = min(policytest.Speed, max(-policytest.Speed, 0.5*float64(in.Features.Embed[j])))
				}
				e.By[i] = robot.ByHuman
			}
		}
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := l.Count(), 30*5; got.Human != want || got.Demo != want || got.Online != policytest.Ticks {
		t.Errorf("count = %+v, want %d interventions and one episode of the policy's", got, want)
	}
	after := success()
	t.Logf("success %v before and %v after", before, after)
	if before > 0.2 || after < 0.8 {
		t.Errorf("success %v before and %v after, want at most 0.2 and at least 0.8", before, after)
	}
}

func TestProbeTellsEntropyAndDivergence(t *testing.T) {
	l, err := imitator(nil)(1)
	if err != nil {
		t.Fatal(err)
	}
	a := l.(*bc.Learner).Actor()
	ref := a.Clone()
	a.SetStd(0.5)
	ref.SetStd(0.25)
	p := bc.NewProbe(a, ref, 4000, nil)
	x := make([]float32, 4000*a.Arch.View.Dim())
	// Small weights: the means are about 0, and the entropy is that of tanh(0.5 e)
	// for two actions: that of the Gaussian, and E log(1 - tanh(u)^2).
	integral := 0.0
	for u := -5.0; u < 5; u += 1e-3 {
		integral += 1e-3 * math.Exp(-u*u/(2*0.25)) / (0.5 * math.Sqrt(2*math.Pi)) * -2 * math.Log(math.Cosh(u))
	}
	want := 2 * (math.Log(0.5*math.Sqrt(2*math.Pi*math.E)) + integral)
	entropy, kl := p.Look(x, nil, rand.New(rand.NewPCG(1, 2)))
	// The deviation of the mean of 4000 draws is about 0.02.
	if math.Abs(entropy-want) > 0.08 {
		t.Errorf("entropy = %v, want %v", entropy, want)
	}
	if want := 2 * (math.Log(0.25/0.5) + 0.25/(2*0.0625) - 0.5); math.Abs(kl-want) > 1e-3 {
		t.Errorf("divergence = %v, want %v", kl, want)
	}
}

func TestNewLearnerNamesTheField(t *testing.T) {
	for want, spoil := range map[string]func(c *bc.LearnerConfig){
		"sees nothing": func(c *bc.LearnerConfig) { c.Arch = bc.Arch{} },
		"Loss":         func(c *bc.LearnerConfig) { c.Loss = 9 },
		"Std":          func(c *bc.LearnerConfig) { c.Std = 99 },
		"Batch":        func(c *bc.LearnerConfig) { c.Batch = -1 },
		"Round":        func(c *bc.LearnerConfig) { c.Round = -1 },
		"LR":           func(c *bc.LearnerConfig) { c.LR = math.NaN() },
		"ClipNorm":     func(c *bc.LearnerConfig) { c.ClipNorm = -1 },
		"Noise":        func(c *bc.LearnerConfig) { c.Noise = -1 },
	} {
		if _, err := imitator(spoil)(1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want one with %q", err, want)
		}
	}
}

func TestImitationAllocatesItsReportAlone(t *testing.T) {
	l, err := imitator(func(c *bc.LearnerConfig) { c.Round = 10 })(1)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range policytest.Demos(2, 1, [2]float64{}) {
		e.ID = fmt.Sprint(i)
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	update := func() {
		if _, err := l.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	update()
	if n := testing.AllocsPerRun(5, update); n > 1 {
		t.Errorf("ten steps allocate %v times, want 1 for the report", n)
	}
}
