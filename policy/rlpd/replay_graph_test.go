package rlpd

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func TestCriticLossIsWeighted(t *testing.T) {
	l := tiny(func(c *Config) { c.Prioritised.Alpha = 0.6 })
	f := l.fit
	obs, act := make([]float32, 6*3), make([]float32, 6*2)
	fill(rand.New(rand.NewPCG(3, 4)), obs, act, f.y.Value)
	copy(f.w.Value, []float32{1, 0.5, 0.25, 0.9, 0, 0.1})
	f.put(obs, act)
	book := func() float64 {
		loss := 0.0
		for e := range l.cfg.Critics {
			for i := range l.cfg.Batch {
				d := network(l.criticParams, e, append(row(obs, i, 3), row(act, i, 2)...), true)[0] - float64(f.y.Value[i])
				loss += float64(f.w.Value[i]) * d * d / float64(l.cfg.Critics*l.cfg.Batch)
			}
		}
		return loss
	}
	f.g.Forward()
	if got, want := float64(f.loss.Value[0]), book(); math.Abs(got-want) > 1e-5*want {
		t.Errorf("loss = %v, want %v", got, want)
	}
	nn.ZeroGrad(l.criticParams)
	f.g.Backward(f.loss)
	for _, p := range l.criticParams {
		for i := 0; i < len(p.Data); i += 3 {
			want := policytest.Slope(p, i, book)
			// Kinks of the ReLUs and float32 parameters: 1 %.
			if got := float64(p.Grad[i]); math.Abs(got-want) > 1e-2*(0.1+math.Abs(want)) {
				t.Errorf("gradient of %s[%d] = %v, want %v", p.Name, i, got, want)
			}
		}
	}
}

// A step hands the weights of the draw to the loss, leaves the TD errors of
// before it as priorities, and allocates nothing.
func TestPrioritisedStep(t *testing.T) {
	l, err := New(Config{Arch: policytest.Arch(), Batch: 16, CriticHidden: []int{16, 16},
		Prioritised: buffer.Prioritised{Alpha: 0.6, Beta: 0.4}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range policytest.Demos(2, 1, [2]float64{}) {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	before, err := l.replay.Mark()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := l.replay.Mark()
	if err != nil {
		t.Fatal(err)
	}
	if string(before.Priorities) == string(after.Priorities) {
		t.Error("a step left the priorities as they were")
	}
	if n := testing.AllocsPerRun(10, func() {
		if err := l.criticStep(16); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a step allocates %v times, want 0", n)
	}
	uneven := false
	for i, w := range l.fit.w.Value {
		uneven = uneven || w < 1
		if w != l.batch.Weight[i] {
			t.Errorf("row %d has weight %v in the loss, drawn with %v", i, w, l.batch.Weight[i])
		}
		if want := l.fit.mean.Value[i] - l.fit.y.Value[i]; l.td[i] != want {
			t.Errorf("row %d has priority by %v, want %v", i, l.td[i], want)
		}
	}
	if !uneven {
		t.Error("all weights are 1: the test tells nothing")
	}
}
