package device

import "math"

// function is an elementwise function and its derivative by x, from x and y.
type function struct {
	f  func(x float32) float32
	df func(x, y float32) float32
}

func of(f Op) function {
	switch f {
	case ReLU:
		return function{func(x float32) float32 { return max(x, 0) }, func(_, y float32) float32 {
			if y > 0 {
				return 1
			}
			return 0
		}}
	case Tanh:
		return function{tanh32, func(_, y float32) float32 { return 1 - y*y }}
	case Sigmoid:
		return function{sigmoid32, func(_, y float32) float32 { return y * (1 - y) }}
	case SiLU:
		return function{func(x float32) float32 { return x * sigmoid32(x) }, func(x, y float32) float32 {
			s := sigmoid32(x)
			return s + y*(1-s)
		}}
	case GELU:
		return function{func(x float32) float32 { return x * phi(x) }, func(x, _ float32) float32 {
			return phi(x) + x*exp32(-x*x/2)*float32(1/math.Sqrt(2*math.Pi))
		}}
	case Mish:
		return function{func(x float32) float32 { return x * tanh32(softplus32(x)) }, func(x, _ float32) float32 {
			t := tanh32(softplus32(x))
			return t + x*(1-t*t)*sigmoid32(x)
		}}
	case Softplus:
		return function{softplus32, func(x, _ float32) float32 { return sigmoid32(x) }}
	case Exp:
		return function{exp32, func(_, y float32) float32 { return y }}
	case Square:
		return function{func(x float32) float32 { return x * x }, func(x, _ float32) float32 { return 2 * x }}
	}
	panic("device: no such function")
}

// Map implements Device.
func (Portable) Map(f Op, y, x []float32) {
	o := of(f).f
	for i, v := range x[:len(y)] {
		y[i] = o(v)
	}
}

// MapGrad implements Device.
func (Portable) MapGrad(f Op, add bool, dx, dy, x, y []float32) {
	o := of(f).df
	dy, x, y = dy[:len(dx)], x[:len(dx)], y[:len(dx)]
	for i := range dx {
		d := dy[i] * o(x[i], y[i])
		if add {
			d += dx[i]
		}
		dx[i] = d
	}
}

// exp32 is e^x to float32 precision: x = k ln2 + r, then the Taylor series of
// e^r, whose ninth term is below 1e-9 for |r| <= ln2/2.
func exp32(x float32) float32 {
	const hi, lo = 0x1.62e4p-1, 0x1.7f7d1cf79abcap-20 // hi+lo = ln 2; k*hi is exact
	switch {
	case x > 88.72283: // ln of the largest float32
		if x > 88.722836 {
			return float32(math.Inf(1))
		}
	case x < -87.33654: // ln of the smallest normal float32: below it, zero
		return 0
	}
	k := float32(math.Floor(float64(x*math.Log2E + 0.5)))
	r := (x - k*hi) - k*lo
	return ldexp(1+expm1r(r), int(k))
}

// expm1r is e^r-1 for |r| <= ln2/2.
func expm1r(r float32) float32 {
	return r * (1 + r*(1./2+r*(1./6+r*(1./24+r*(1./120+r*(1./720+r*(1./5040)))))))
}

func ldexp(f float32, k int) float32 {
	if k == 128 { // 2^128 has no float32
		return f * 0x1p127 * 2
	}
	return f * math.Float32frombits(uint32(k+127)<<23)
}

// tanh32 is tanh x = (e^2x - 1)/(e^2x + 1), near zero from e^2x - 1 itself, so
// that small results keep their relative precision.
func tanh32(x float32) float32 {
	switch {
	case x != x:
		return x
	case x > 10: // 1 - 4e-9 rounds to 1
		return 1
	case x < -10:
		return -1
	case x < 0.17 && x > -0.17:
		m := expm1r(2 * x)
		return m / (m + 2)
	}
	return 1 - 2/(exp32(2*x)+1)
}

// sigmoid32 is 1/(1+e^-x).
func sigmoid32(x float32) float32 {
	if x >= 0 {
		return 1 / (1 + exp32(-x))
	}
	e := exp32(x)
	return e / (1 + e)
}

// softplus32 is ln(1+e^x).
func softplus32(x float32) float32 {
	if x > 20 { // e^-20 is below float32's resolution of 20
		return x
	}
	return float32(math.Log1p(float64(exp32(x))))
}

// phi is the normal distribution function.
func phi(x float32) float32 { return float32(0.5 * (1 + math.Erf(float64(x)/math.Sqrt2))) }
