//go:build cgo && !purego

package ot

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The loops in C must do what the ones in Go do, whatever is left over of the
// lanes.
func TestLoopsInCDoWhatTheOnesInGoDo(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	random := func(n int, scale float64) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = scale * rng.Float64()
		}
		return x
	}
	for _, size := range [][2]int{{1, 1}, {1, 7}, {3, 8}, {4, 9}, {5, 16}, {7, 31}, {8, 1}, {45, 45}, {13, 300}} {
		n, m := size[0], size[1]
		c, a, b := random(n*m, 5), random(n, 1), random(m, 1)
		state := func() *kernel {
			k := &kernel{}
			k.reset(c, a, b, make([]float64, n*m), 1)
			k.inv = 3
			copy(k.v, b)
			return k
		}
		in, want := state(), state()
		same := func(what string, got, want []float64) {
			t.Helper()
			for i := range want {
				// Sums of up to 300 positive terms in another order.
				if !(math.Abs(got[i]-want[i]) <= 1e-14*math.Abs(want[i])) {
					t.Fatalf("%dx%d: %s[%d] = %v in C, %v in Go", n, m, what, i, got[i], want[i])
				}
			}
		}
		fill(in.v, 1)
		fill(want.v, 1)
		in.coldRows()
		want.goColdRows()
		same("cold K", in.k, want.k)
		same("cold alpha", in.alpha, want.alpha)
		same("cold u", in.u, want.u)
		same("cold s", in.s, want.s)

		copy(in.v, b)
		copy(want.v, b)
		in.rows()
		want.goRows()
		same("u", in.u, want.u)
		same("s", in.s, want.s)

		got, right := make([]float64, m), make([]float64, m)
		in.curve(got, b)
		want.goCurve(right, b)
		same("curve", got, right)

		p, q := make([]float64, n*m), make([]float64, n*m)
		same("cost", []float64{in.planInto(p)}, []float64{want.goPlanInto(q)})
		same("plan", p, q)

		copy(in.alpha, a)
		copy(want.alpha, a)
		copy(in.beta, b)
		copy(want.beta, b)
		in.exponentiate()
		want.goExponentiate()
		same("K", in.k, want.k)

		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			at := rng.IntN(n * m)
			keep := c[at]
			lo, hi, ok := spanOf(c)
			if l, h, _ := goSpan(c); lo != l || hi != h || !ok {
				t.Errorf("%dx%d: span %v to %v, want %v to %v", n, m, lo, hi, l, h)
			}
			c[at] = bad
			if _, _, ok := spanOf(c); ok {
				t.Errorf("%dx%d: cost[%d] = %v was taken as finite", n, m, at, bad)
			}
			c[at] = keep
		}
	}
}
