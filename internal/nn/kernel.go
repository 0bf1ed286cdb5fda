package nn

import "math"

// gemm is c <- a*b + beta*c for row-major a (m,k), b (k,n), c (m,n); ta and tb
// say that a or b is stored transposed.
func (g *Graph) gemm(ta, tb bool, m, n, k int, a, b []float32, beta float32, c []float32) {
	lda, ldb := k, n
	if ta {
		lda = m
	}
	if tb {
		ldb = k
	}
	g.dev.Gemm(ta, tb, m, n, k, a, lda, b, ldb, beta, c, n)
}

// put is dst = src at the first contribution and dst += src afterwards.
func (g *Graph) put(first bool, dst, src []float32) {
	if first {
		g.copy(dst, src)
		return
	}
	g.dev.Add(dst, src)
}

// sum adds in float64, so that the order of a long sum hardly matters.
func sum(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return s
}

// axpy is dst += a*src for the few channels of one pixel, which are not worth a
// call of the device.
func axpy(a float32, dst, src []float32) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] += a * src[i]
	}
}

func sqrt32(x float32) float32 { return float32(math.Sqrt(float64(x))) }
