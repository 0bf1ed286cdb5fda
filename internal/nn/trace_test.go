package nn

import "testing"

func TestTraceShowsTheHiddenLayers(t *testing.T) {
	rng := newRand(1)
	for _, c := range []MLPConfig{
		{In: 3, Hidden: []int{4, 5}, Out: 2},
		{In: 3, Hidden: []int{4, 5}, Out: 2, Members: 2, LayerNorm: true, Act: Tanh},
	} {
		m := NewMLP("m", c, rng)
		g := NewGraph()
		x := g.Input(6, 3)
		randomise(x.Value, rng)
		hidden := m.Trace(g, x)
		y := m.Frozen(g, x)
		g.Forward()
		if len(hidden) != 2 || hidden[1].Shape[len(hidden[1].Shape)-1] != 5 {
			t.Fatalf("%d hidden layers", len(hidden))
		}
		last := m.Params()[len(m.Params())-2:]
		z := g.Linear(hidden[1], g.Frozen(last[0]), g.Frozen(last[1]))
		g.ForwardTo(z)
		if d := apart(z.Value, y.Value); d > 1e-6 {
			t.Errorf("the result of what Trace shows differs by %v", d)
		}
	}
}

func TestBlendLeavesNorms(t *testing.T) {
	c := MLPConfig{In: 3, Hidden: []int{4}, Out: 2, LayerNorm: true}
	a, b := NewMLP("a", c, newRand(1)), NewMLP("b", c, newRand(2))
	a.Params()[2].Fill(7)
	was := a.Clone("was")
	a.Blend(b, 0.75)
	for i, p := range a.Params() {
		for j, v := range p.Data {
			want := was.Params()[i].Data[j]
			if i != 2 && i != 3 {
				want = 0.75*want + 0.25*b.Params()[i].Data[j]
			}
			if d := v - want; d > 1e-6 || d < -1e-6 {
				t.Errorf("%s[%d] is %v, want %v", p.Name, j, v, want)
			}
		}
	}
}
