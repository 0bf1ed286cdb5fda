package rank_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/reward/rank"
)

func Example() {
	reward, truth := []float64{-3, -1, -1, 0}, []float64{0.1, 0.2, 0.3, 0.4}
	fmt.Printf("%.3f %.3f\n", rank.Spearman(reward, truth), rank.Kendall(reward, truth))
	// Output: 0.949 0.913
}

func TestTiesShareTheMeanRank(t *testing.T) {
	for _, tt := range []struct{ x, want []float64 }{
		{[]float64{10, 30, 20}, []float64{1, 3, 2}},
		{[]float64{5, 5, 5}, []float64{2, 2, 2}},
		{[]float64{2, 1, 2, 3}, []float64{2.5, 1, 2.5, 4}},
		{[]float64{math.Inf(1), math.Inf(-1)}, []float64{2, 1}},
		{nil, []float64{}},
	} {
		if diff := cmp.Diff(tt.want, rank.Ranks(nil, tt.x)); diff != "" {
			t.Errorf("ranks of %v:\n%s", tt.x, diff)
		}
	}
}

// Without ties ρ = 1 − 6 Σ d² / (n (n² − 1)); with them the values are by hand.
func TestSpearmanAgreesWithItsClosedForm(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := 2; n < 40; n++ {
		x, y := r.Perm(n), r.Perm(n)
		d2 := 0.0
		fx, fy := make([]float64, n), make([]float64, n)
		for i := range x {
			fx[i], fy[i] = math.Exp(float64(x[i])/7), float64(y[i]*y[i]) // any rising map
			d2 += float64((x[i] - y[i]) * (x[i] - y[i]))
		}
		N := float64(n)
		if got, want := rank.Spearman(fx, fy), 1-6*d2/(N*(N*N-1)); math.Abs(got-want) > 1e-12 {
			t.Errorf("n = %d: got %v, want %v", n, got, want)
		}
	}
	// Ranks 1.5 1.5 3 against 1 2 3: Σ ab = 1.5, Σ a² = 1.5, Σ b² = 2 about their means.
	if got, want := rank.Spearman([]float64{0, 0, 1}, []float64{1, 2, 3}), 1.5/math.Sqrt(3); math.Abs(got-want) > 1e-12 {
		t.Errorf("with a tie: got %v, want %v", got, want)
	}
}

func TestKendallAgreesWithAllPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	for n := 2; n < 60; n++ {
		x, y := make([]float64, n), make([]float64, n)
		for i := range x { // few values, so many ties, of every kind
			x[i], y[i] = float64(r.IntN(1+n/3)), float64(r.IntN(1+n/2))
		}
		var s, tx, ty float64
		for i := range x {
			for j := range i {
				a, b := sign(x[i]-x[j]), sign(y[i]-y[j])
				s += a * b
				tx, ty = tx+a*a, ty+b*b
			}
		}
		got, want := rank.Kendall(x, y), s/math.Sqrt(tx*ty)
		if math.IsNaN(got) != math.IsNaN(want) || math.Abs(got-want) > 1e-12 {
			t.Errorf("n = %d: got %v, want %v", n, got, want)
		}
	}
}

func TestOrderAndItsReverse(t *testing.T) {
	x := []float64{1, 4, 9, 16, 25}
	y := slices.Clone(x)
	slices.Reverse(y)
	for _, f := range []func(x, y []float64) float64{rank.Spearman, rank.Kendall} {
		if up, down := f(x, x), f(x, y); up != 1 || down != -1 {
			t.Errorf("got %v and %v, want 1 and -1", up, down)
		}
	}
}

func TestNoOrderIsNaN(t *testing.T) {
	for _, tt := range [][2][]float64{
		{{}, {}}, {{1}, {2}}, {{1, 1, 1}, {1, 2, 3}}, {{1, 2, 3}, {4, 4, 4}}, {{1, math.NaN()}, {1, 2}},
	} {
		if s, k := rank.Spearman(tt[0], tt[1]), rank.Kendall(tt[0], tt[1]); !math.IsNaN(s) || !math.IsNaN(k) {
			t.Errorf("%v: got %v and %v, want NaN", tt, s, k)
		}
	}
}

func TestMisusePanics(t *testing.T) {
	for name, f := range map[string]func(){
		"spearman": func() { rank.Spearman([]float64{1, 2}, []float64{1}) },
		"kendall":  func() { rank.Kendall([]float64{1, 2}, []float64{1}) },
		"ranks":    func() { rank.Ranks(make([]float64, 1), []float64{1, 2}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic on other lengths", name)
				}
			}()
			f()
		}()
	}
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}
