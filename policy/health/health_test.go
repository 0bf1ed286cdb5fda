package health_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/health"
)

func rows(B, n int) []float32 {
	rng := rand.New(rand.NewPCG(5, 0))
	x := make([]float32, B*n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

func network(members int) *nn.MLP {
	return nn.NewMLP("q", nn.MLPConfig{In: 6, Hidden: []int{8, 10}, Out: 1, Members: members}, rand.New(rand.NewPCG(1, 0)))
}

// silence makes neuron i of a layer of one member say nothing: weights and bias 0.
func silence(m *nn.MLP, layer, member, i int) {
	w, b := m.Params()[2*layer], m.Params()[2*layer+1]
	n, in := b.Shape[len(b.Shape)-1], w.Shape[len(w.Shape)-1]
	clear(w.Data[(member*n+i)*in : (member*n+i+1)*in])
	b.Data[member*n+i] = 0
}

func TestDormantCountsSilentNeurons(t *testing.T) {
	x := rows(64, 6)
	m := network(0)
	g := health.New(m, 64)
	if got := g.Look(x).Dormant; got != 0 {
		t.Fatalf("a new network has %v of its neurons dormant", got)
	}
	for k, at := range [][2]int{{0, 3}, {0, 7}, {1, 0}, {1, 9}} {
		silence(m, at[0], 0, at[1])
		if got, want := g.Dormant(x), float64(k+1)/18; math.Abs(got-want) > 1e-12 {
			t.Errorf("after %d silenced neurons %v are dormant, want %v", k+1, got, want)
		}
	}
	// One that whispers is dormant, one that speaks low is not.
	for scale, want := range map[float32]float64{0.001: 5. / 18, 0.2: 4. / 18} {
		n := network(0)
		nn.Copy(n.Params(), m.Params())
		w := n.Params()[0]
		for i := range 6 {
			w.Data[i] *= scale
		}
		if got := health.New(n, 64).Dormant(x); math.Abs(got-want) > 1e-12 {
			t.Errorf("a neuron at %v of its strength: %v dormant, want %v", scale, got, want)
		}
	}
	e := network(3)
	idle := health.New(e, 64).Dormant(x)
	silence(e, 1, 2, 4)
	if got, want := health.New(e, 64).Dormant(x), idle+1./54; math.Abs(got-want) > 1e-12 {
		t.Errorf("one of 3 x 18: %v, want %v", got, want)
	}
}

func TestRankIsThatOfTheFeatures(t *testing.T) {
	x := rows(64, 6)
	m := network(0)
	full := health.New(m, 64).Look(x).Rank
	if full < 7 || full > 10 {
		t.Errorf("ten features of a new network span %v directions", full)
	}
	// Ten copies of one neuron span one direction, two kinds two.
	w, b := m.Params()[2], m.Params()[3]
	for i := range 10 {
		from := i % 2 * 8
		copy(w.Data[i*8:(i+1)*8], w.Data[from:from+8])
		b.Data[i] = b.Data[i%2]
	}
	if got := health.New(m, 64).Look(x).Rank; got != 2 {
		t.Errorf("two kinds of neurons span %v directions", got)
	}
	clear(w.Data)
	clear(b.Data)
	if v := health.New(m, 64).Look(x); v.Rank != 0 || v.Dormant < 10./18 {
		t.Errorf("a silent layer: %+v", v)
	}
}

func TestWeightIsTheRootMeanSquare(t *testing.T) {
	m := network(2)
	for _, p := range m.Params() {
		p.Fill(-0.5)
	}
	if got := health.New(m, 4).Look(rows(4, 6)).Weight; math.Abs(got-0.5) > 1e-9 {
		t.Errorf("weights of -0.5 have a size of %v", got)
	}
}

func TestDormantDoesNotAllocate(t *testing.T) {
	g, x := health.New(network(3), 16), rows(16, 6)
	g.Dormant(x)
	if n := testing.AllocsPerRun(5, func() { g.Dormant(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
