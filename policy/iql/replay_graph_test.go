package iql

import (
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func TestCriticLossIsWeighted(t *testing.T) {
	l := tiny(t, func(c *Config) { c.Prioritised.Alpha = 0.6 })
	f := l.fitQ
	obs, act := make([]float32, 6*3), make([]float32, 6*2)
	fill(rand.New(rand.NewPCG(3, 4)), obs, act, f.y.Value)
	copy(f.w.Value, []float32{1, 0.5, 0.25, 0.9, 0, 0.1})
	pack(f.xa, obs, act)
	book := func() float64 {
		loss := 0.0
		for e := range 4 {
			for i := range 6 {
				d := policytest.Network(l.criticParams, e, append(policytest.Row(obs, i, 3), policytest.Row(act, i, 2)...), true)[0] - float64(f.y.Value[i])
				loss += float64(f.w.Value[i]) * d * d / (4 * 6)
			}
		}
		return loss
	}
	f.g.Forward()
	if got, want := float64(f.loss.Value[0]), book(); !near(got, want) {
		t.Errorf("loss = %v, want %v", got, want)
	}
	nn.ZeroGrad(l.criticParams)
	f.g.Backward(f.loss)
	slopes(t, l.criticParams, book)
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
		if err := l.step(16); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a step allocates %v times, want 0", n)
	}
	uneven := false
	for i, w := range l.fitQ.w.Value {
		uneven = uneven || w < 1
		if w != l.batch.Weight[i] {
			t.Errorf("row %d has weight %v in the loss, drawn with %v", i, w, l.batch.Weight[i])
		}
		if want := l.fitQ.mean.Value[i] - l.fitQ.y.Value[i]; l.td[i] != want {
			t.Errorf("row %d has priority by %v, want %v", i, l.td[i], want)
		}
	}
	if !uneven {
		t.Error("all weights are 1: the test tells nothing")
	}
}
