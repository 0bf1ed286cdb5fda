package ot

import "math"

// expTable holds 2^(i/64), so that exp needs a polynomial of degree five only.
type expTable [64]float64

func (t *expTable) init() {
	if t[0] == 0 {
		for i := range t {
			t[i] = math.Exp2(float64(i) / 64)
		}
	}
}

// expRange is where exp flushes to zero and where it saturates: a little inside
// the normal numbers, so that the exponent can be put together by an addition.
const expRange = 708

// exp replaces every x by e^x. Results below e^-708 are zero and arguments
// above 708 count as 708; the relative error is under 4e-16 otherwise (Tang,
// Table-driven implementation of the exponential function, TOMS 1989, with 64
// entries). NaN is not looked for: costs are checked on the way in.
func (t *expTable) exp(x []float64) {
	const (
		shift = 0x1.8p52 // adding it rounds to an integer in the low bits
		scale = 64 * math.Log2E
		// ln2/64 in two parts: the high one has 32 bits, so that its product
		// with an integer below 2^17 is exact.
		hi = 0x1.62e42fee00000p-7
		lo = 0x1.a39ef35793c76p-39
	)
	for i, v := range x {
		if v < -expRange {
			x[i] = 0
			continue
		}
		v = min(v, expRange)
		z := v*scale + shift
		n := math.Float64bits(z) // 64 divides what shift leaves above the integer
		k := z - shift
		r := (v - k*hi) - k*lo
		r2 := r * r
		p := r + r2*(0.5+r*(1.0/6)) + r2*r2*(1.0/24+r*(1.0/120))
		y := t[n&63]
		y += y * p
		x[i] = math.Float64frombits(math.Float64bits(y) + n>>6<<52)
	}
}
