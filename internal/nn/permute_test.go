package nn

import (
	"slices"
	"testing"
)

func TestPermuteMovesAxes(t *testing.T) {
	rng := newRand(31)
	for _, order := range [][]int{{0, 1, 2, 3}, {0, 2, 3, 1}, {0, 3, 1, 2}, {2, 0, 1, 3}, {3, 2, 1, 0}} {
		g := NewGraph()
		x := g.Input(2, 3, 4, 5)
		randomise(x.Value, rng)
		y := g.Permute(x, order...)
		g.Forward()
		i := 0
		var at [4]int // in y
		for at[0] = range y.Shape[0] {
			for at[1] = range y.Shape[1] {
				for at[2] = range y.Shape[2] {
					for at[3] = range y.Shape[3] {
						var in [4]int
						for k, a := range order {
							in[a] = at[k]
						}
						if want := x.Value[((in[0]*3+in[1])*4+in[2])*5+in[3]]; y.Value[i] != want {
							t.Fatalf("order %v at %v: %v, want %v", order, at, y.Value[i], want)
						}
						i++
					}
				}
			}
		}
		if i != len(x.Value) || slices.Max(y.Shape) != 5 {
			t.Fatalf("order %v gave shape %v", order, y.Shape)
		}
	}
}

func TestPermuteRefuses(t *testing.T) {
	g := NewGraph()
	x := g.Input(2, 3)
	for _, order := range [][]int{{0}, {0, 0}, {1, 2}, {0, 1, 2}, nil} {
		if got := mustPanic(t, func() { g.Permute(x, order...) }); got != "nn: Permute: not an order of the axes" {
			t.Errorf("order %v: %v", order, got)
		}
	}
}

func TestLayerNormEpsIsAddedToTheVariance(t *testing.T) {
	g := NewGraph()
	x := g.Input(1, 2)
	y := g.LayerNormEps(x, nil, nil, 3)
	copy(x.Value, []float32{-1, 1}) // variance 1
	g.Forward()
	if y.Value[0] != -0.5 || y.Value[1] != 0.5 {
		t.Errorf("got %v, want -0.5 and 0.5", y.Value)
	}
}
