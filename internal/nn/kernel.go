package nn

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// gemm is c <- a*b + beta*c for row-major a (m,k), b (k,n), c (m,n); ta and tb
// say that a or b is stored transposed.
func gemm(ta, tb bool, m, n, k int, a, b []float32, beta float32, c []float32) {
	lda, ldb := k, n
	if ta {
		lda = m
	}
	if tb {
		ldb = k
	}
	gemmLd(ta, tb, m, n, k, a, lda, b, ldb, beta, c, n)
}

// gemmLd is gemm on parts of larger matrices: lda, ldb and ldc are the distances
// between stored rows.
func gemmLd(ta, tb bool, m, n, k int, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	tA, tB := blas.NoTrans, blas.NoTrans
	if ta {
		tA = blas.Trans
	}
	if tb {
		tB = blas.Trans
	}
	impl := blas32.Implementation()
	switch { // a single row or column is a matrix-vector product, several times as fast
	case m == 1:
		inc := 1
		if ta {
			inc = lda
		}
		if tb {
			impl.Sgemv(blas.NoTrans, n, k, 1, b, ldb, a, inc, beta, c, 1)
		} else {
			impl.Sgemv(blas.Trans, k, n, 1, b, ldb, a, inc, beta, c, 1)
		}
	case n == 1:
		inc := ldb
		if tb {
			inc = 1
		}
		if ta {
			impl.Sgemv(blas.Trans, k, m, 1, a, lda, b, inc, beta, c, ldc)
		} else {
			impl.Sgemv(blas.NoTrans, m, k, 1, a, lda, b, inc, beta, c, ldc)
		}
	default:
		impl.Sgemm(tA, tB, m, n, k, 1, a, lda, b, ldb, beta, c, ldc)
	}
}

// add is dst += src.
func add(dst, src []float32) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] += src[i]
	}
}

// axpy is dst += a*src.
func axpy(a float32, dst, src []float32) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] += a * src[i]
	}
}

// put is dst = src at the first contribution and dst += src afterwards.
func put(first bool, dst, src []float32) {
	if first {
		copy(dst, src)
		return
	}
	add(dst, src)
}

func lerp(dst, src []float32, tau float32) {
	src = src[:len(dst)]
	for i, d := range dst {
		dst[i] = d + tau*(src[i]-d)
	}
}

// sum adds in float64, so that the order of a long sum hardly matters.
func sum(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return s
}

// relu is x <- max(x,0), without a branch that noise would mispredict.
func relu(dst, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		b := math.Float32bits(v)
		dst[i] = math.Float32frombits(b &^ uint32(int32(b)>>31))
	}
}

// mask is d <- d where y > 0 and 0 elsewhere, for y from relu (never negative).
func mask(d, y []float32) {
	y = y[:len(d)]
	for i, v := range y {
		b := math.Float32bits(v)
		m := uint32(int32(b|-b) >> 31) // all ones where any bit is set
		d[i] = math.Float32frombits(math.Float32bits(d[i]) & m)
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

func sqrt32(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// sumSquares adds in four float64 lanes.
func sumSquares(x []float32) float64 {
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		v := x[i : i+4 : i+4]
		a, b, c, d := float64(v[0]), float64(v[1]), float64(v[2]), float64(v[3])
		s0 += a * a
		s1 += b * b
		s2 += c * c
		s3 += d * d
	}
	for ; i < len(x); i++ {
		s0 += float64(x[i]) * float64(x[i])
	}
	return (s0 + s1) + (s2 + s3)
}
