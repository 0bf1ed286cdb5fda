package device

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// Portable computes in Go, with gonum's matrix products.
type Portable struct{}

// Name implements Device.
func (Portable) Name() string { return "portable (Go)" }

// Gemm implements Device.
func (Portable) Gemm(ta, tb bool, m, n, k int, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	trans := func(t bool) blas.Transpose {
		if t {
			return blas.Trans
		}
		return blas.NoTrans
	}
	impl := gonum.Implementation{}
	// Sgemv clears all of its vector, not only what it writes.
	c = c[:(m-1)*ldc+n]
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
		impl.Sgemm(trans(ta), trans(tb), m, n, k, 1, a, lda, b, ldb, beta, c, ldc)
	}
}

// Mask implements Device.
func (Portable) Mask(d, y []float32) {
	for i, v := range y[:len(d)] {
		if !(v > 0) {
			d[i] = 0
		}
	}
}

// Add implements Device.
func (Portable) Add(dst, src []float32) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] += src[i]
	}
}

// Axpy implements Device.
func (Portable) Axpy(a float32, dst, src []float32) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] += a * src[i]
	}
}

// Mul implements Device.
func (Portable) Mul(add bool, dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	if add {
		for i := range dst {
			dst[i] += a[i] * b[i]
		}
		return
	}
	for i := range dst {
		dst[i] = a[i] * b[i]
	}
}

// Lerp implements Device.
func (Portable) Lerp(tau float32, dst, src []float32) {
	src = src[:len(dst)]
	for i, d := range dst {
		dst[i] = d + tau*(src[i]-d)
	}
}

// SumSquares implements Device. It adds in four lanes.
func (Portable) SumSquares(x []float32) float64 {
	var s [4]float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		for j, v := range x[i : i+4 : i+4] {
			s[j] += float64(v) * float64(v)
		}
	}
	for ; i < len(x); i++ {
		s[0] += float64(x[i]) * float64(x[i])
	}
	return (s[0] + s[1]) + (s[2] + s[3])
}

// Pixels implements Device.
func (Portable) Pixels(dst []float32, src []byte) {
	const scale = 1. / 255
	src = src[:len(dst)]
	for i, v := range src {
		dst[i] = float32(v)*scale - 0.5
	}
}

// Bias implements Device.
func (Portable) Bias(y, b []float32) {
	for ; len(y) > 0; y = y[len(b):] {
		copy(y, b)
	}
}

// ColSum implements Device.
func (d Portable) ColSum(dst, x []float32) {
	for ; len(x) > 0; x = x[len(dst):] {
		d.Add(dst, x[:len(dst)])
	}
}

// Softmax implements Device.
func (Portable) Softmax(D int, c float32, y, x []float32) {
	for i := 0; i < len(x); i += D {
		softmax(y[i:i+D], x[i:i+D], c)
	}
}

func softmax(y, x []float32, c float32) {
	m := c * x[0]
	for _, v := range x {
		m = max(m, c*v)
	}
	var s float32
	for j, v := range x {
		e := exp32(c*v - m)
		y[j] = e
		s += e
	}
	s = 1 / s
	for j := range y {
		y[j] *= s
	}
}

// SoftmaxGrad implements Device.
func (Portable) SoftmaxGrad(D int, c float32, add bool, dx, dy, y []float32) {
	for i := 0; i < len(y); i += D {
		p, g, d := y[i:i+D], dy[i:i+D], dx[i:i+D]
		s := dot(p, g)
		for j, v := range p {
			t := c * v * (g[j] - s)
			if add {
				t += d[j]
			}
			d[j] = t
		}
	}
}

// Adam implements Device.
func (Portable) Adam(k AdamStep, data, grad, mean, square []float32) {
	grad, mean, square = grad[:len(data)], mean[:len(data)], square[:len(data)]
	for i, w := range data {
		g := k.Scale * grad[i]
		m := k.B1*mean[i] + k.R1*g
		v := k.B2*square[i] + k.R2*g*g
		mean[i], square[i] = m, v
		data[i] = w*k.Decay - k.Step*m/(sqrt32(v)+k.Eps)
	}
}

// sum adds in four lanes.
func sum(x []float32) float32 {
	var s [4]float32
	i := 0
	for ; i+4 <= len(x); i += 4 {
		for j, v := range x[i : i+4 : i+4] {
			s[j] += v
		}
	}
	for ; i < len(x); i++ {
		s[0] += x[i]
	}
	return (s[0] + s[1]) + (s[2] + s[3])
}

// dot adds in four lanes.
func dot(x, y []float32) float32 {
	y = y[:len(x)]
	var s [4]float32
	i := 0
	for ; i+4 <= len(x); i += 4 {
		p, q := x[i:i+4:i+4], y[i:i+4:i+4]
		for j, v := range p {
			s[j] += v * q[j]
		}
	}
	for ; i < len(x); i++ {
		s[0] += x[i] * y[i]
	}
	return (s[0] + s[1]) + (s[2] + s[3])
}

func sqrt32(x float32) float32 { return float32(math.Sqrt(float64(x))) }
