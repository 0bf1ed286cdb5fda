package critic

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/view"
)

func look() view.Config {
	return view.Config{Embed: 3, Action: view.Action{Axes: []int{0, 1}, Scale: 1}}
}

func TestPackJoinsRowsAndActions(t *testing.T) {
	dst := make([]float32, 2*5)
	Pack(dst, []float32{1, 2, 3, 4, 5, 6}, []float32{-1, -2, -3, -4}, 2)
	if want := []float32{1, 2, 3, -1, -2, 4, 5, 6, -3, -4}; !slices.Equal(dst, want) {
		t.Errorf("rows = %v, want %v", dst, want)
	}
}

func TestNetworksFitTheView(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	q, v := NewQ("q", look(), 4, []int{7}, rng), NewV("v", look(), []int{7}, rng)
	if q.Config.In != 5 || q.Config.Members != 4 || !q.Config.LayerNorm {
		t.Errorf("Q is %+v", q.Config)
	}
	if v.Config.In != 3 || v.Config.Members != 0 || !v.Config.LayerNorm {
		t.Errorf("V is %+v", v.Config)
	}
}

func TestShareOfDemonstrations(t *testing.T) {
	for _, tt := range []struct {
		name  string
		c     buffer.Count
		share float64
		pool  bool
		want  int
	}{
		{"half", buffer.Count{Demo: 10, Online: 900}, 0.5, false, 32},
		{"none wanted", buffer.Count{Demo: 10, Online: 900}, 0, false, 0},
		{"by size", buffer.Count{Demo: 300, Online: 100}, 0.5, true, 48},
		{"no online rows", buffer.Count{Demo: 10}, 0, false, 64},
		{"no demonstrations", buffer.Count{Online: 10}, 0.5, true, 0},
	} {
		if got := Demos(tt.c, 64, tt.share, tt.pool); got != tt.want {
			t.Errorf("%s: %d rows of 64, want %d", tt.name, got, tt.want)
		}
	}
}

func TestLookDescribesTheEnsemble(t *testing.T) {
	var l Look
	l.Add([]float32{1, 4, 3, 8}, 2) // means 2 and 6, deviations 1 and 2
	l.Add([]float32{0, 0, 0, 0}, 2)
	want := []policy.Metric{{Name: "q_low", Value: 1}, {Name: "q_high", Value: 3}, {Name: "q_spread", Value: 0.75}}
	if got := l.Append(nil); !slices.Equal(got, want) {
		t.Errorf("metrics = %v, want %v", got, want)
	}
	if n := testing.AllocsPerRun(10, func() { l.Add([]float32{1, 4, 3, 8}, 2) }); n != 0 {
		t.Errorf("a look allocates %v times", n)
	}
}

func TestNormalIsStandard(t *testing.T) {
	x := make([]float32, 20000)
	Normal(x, rand.New(rand.NewPCG(1, 2)))
	mean, square := 0.0, 0.0
	for _, v := range x {
		mean += float64(v) / 20000
		square += float64(v) * float64(v) / 20000
	}
	// Deviations 0.007 and 0.01: five of them.
	if math.Abs(mean) > 0.035 || math.Abs(square-1) > 0.05 {
		t.Errorf("mean %v and mean square %v, want 0 and 1", mean, square)
	}
}
