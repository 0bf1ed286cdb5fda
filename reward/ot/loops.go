package ot

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// The loops below are the ones of loops.c in Go: what a build without cgo runs,
// and what a test compares loops.c with.

// expRange is where exp flushes to zero and where it saturates: a little inside
// the normal numbers, so that the exponent can be put together by an addition.
const expRange = 708

// goExp replaces every x by e^x. Results below e^-708 are zero and arguments
// above 708 count as 708; the relative error is under 4e-16 otherwise. NaN is
// not looked for: costs are checked on the way in.
func goExp(x []float64) {
	const (
		shift = 0x1.8p52 // adding it rounds to an integer in the low bits
		// ln2 in two parts: the high one has 32 bits, so that its product with an
		// integer below 2^11 is exact.
		hi = 0x1.62e42feep-1
		lo = 0x1.a39ef35793c76p-33
	)
	for i, v := range x {
		if v < -expRange {
			x[i] = 0
			continue
		}
		v = min(v, expRange)
		z := v*math.Log2E + shift
		k := z - shift
		r := (v - k*hi) - k*lo // |r| <= ln2/2: the fourteenth power of Taylor's series is below 5e-18
		r2 := r * r
		r4 := r2 * r2
		p0 := (r*(1./120)+1./24)*r2 + (r*(1./6) + 0.5)
		p1 := (r*(1./362880)+1./40320)*r2 + (r*(1./5040) + 1./720)
		p2 := (r*(1./6227020800)+1./479001600)*r2 + (r*(1./39916800) + 1./3628800)
		y := r2*((p2*r4+p1)*r4+p0) + r + 1
		x[i] = math.Float64frombits(math.Float64bits(y) + math.Float64bits(z)<<52)
	}
}

// goSpan returns the extremes of c, and whether all of it is finite.
func goSpan(c []float64) (lo, hi float64, finite bool) {
	const exponent = 0x7ff << 52 // all ones for infinities and NaN only
	lo, hi = c[0], c[0]
	for _, x := range c {
		if math.Float64bits(x)&exponent == exponent {
			return 0, 0, false
		}
		if x < lo {
			lo = x
		} else if x > hi {
			hi = x
		}
	}
	return lo, hi, true
}

// goColdRows makes K = exp((min of the row − C)/ε), meets the rows for v = 1
// and sums the columns.
func (k *kernel) goColdRows() {
	for i := range k.n {
		c := k.c[i*k.m : (i+1)*k.m]
		row := k.k[i*k.m : (i+1)*k.m]
		lo := c[0]
		for _, x := range c {
			if x < lo { // floats.Min would look for NaN again
				lo = x
			}
		}
		for j, x := range c {
			row[j] = (lo - x) * k.inv
		}
		k.alpha[i] = lo * k.inv
	}
	goExp(k.k)
	k.goRows()
}

// goExponentiate makes K = exp(α⊕β − C/ε).
func (k *kernel) goExponentiate() {
	for i := range k.n {
		k.arguments(k.k[i*k.m:(i+1)*k.m], i)
	}
	goExp(k.k)
}

// goRows meets the row marginals and sums the columns, in one pass over K.
func (k *kernel) goRows() {
	fill(k.s, 0)
	for i := range k.n {
		row := k.k[i*k.m : (i+1)*k.m]
		k.u[i] = k.a[i] / floats.Dot(row, k.v)
		floats.AddScaled(k.s, k.u[i], row)
	}
}

// goCurve writes Kᵀ(u²/a ∘ K v) to dst (m,).
func (k *kernel) goCurve(dst, v []float64) {
	fill(dst, 0)
	for i := range k.n {
		row := k.k[i*k.m : (i+1)*k.m]
		floats.AddScaled(dst, floats.Dot(row, v)*k.u[i]*k.u[i]/k.a[i], row)
	}
}

// goPlanInto writes u∘K∘v to dst (n,m) and returns its cost.
func (k *kernel) goPlanInto(dst []float64) (cost float64) {
	for i := range k.n {
		row := dst[i*k.m : (i+1)*k.m]
		floats.MulTo(row, k.k[i*k.m:(i+1)*k.m], k.v)
		floats.Scale(k.u[i], row)
		cost += floats.Dot(row, k.c[i*k.m:(i+1)*k.m])
	}
	return cost
}
