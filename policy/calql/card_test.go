//go:build cgo && !purego

package calql_test

import (
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
	"github.com/rapport-rl/rapport/policy/calql"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func TestCardAndProcessorLearnAlike(t *testing.T) {
	c := small()
	var ls []*calql.Learner
	for i := range 2 {
		if i == 1 {
			c.Device = cudatest.Open(t)
		}
		l, err := calql.New(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range policytest.Demos(2, 1, [2]float64{}) {
			if err := l.Add(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		ls = append(ls, l)
	}
	for range 2 {
		want, err := ls[0].Update(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := ls[1].Update(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range want.Metrics {
			// Sums in another order, some steps long.
			if g := got.Metrics[i]; g.Name != w.Name || !(max(g.Value-w.Value, w.Value-g.Value) <= 1e-3*(max(w.Value, -w.Value)+0.1)) {
				t.Errorf("%s is %v on the card, %v on the processor", w.Name, g.Value, w.Value)
			}
		}
	}
}
