package device_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// devices are Portable, the build's own where that is another, and the card.
func devices() []device.Device {
	ds := []device.Device{device.Portable{}}
	if d := device.Default(); d.Name() != ds[0].Name() {
		ds = append(ds, d)
	}
	return append(ds, accelerated()...)
}

// sizes reach every rest that sixteen lanes leave.
var sizes = []int{1, 2, 7, 15, 16, 17, 31, 32, 33, 100, 257}

type source struct{ *rand.Rand }

func newSource() source { return source{rand.New(rand.NewPCG(1, 2))} }

func (s source) array(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(s.NormFloat64())
	}
	return x
}

// near reports the largest difference relative to the largest element.
func near(t *testing.T, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	var worst, big float64
	at := 0
	for i, w := range want {
		big = max(big, math.Abs(w))
		if d := math.Abs(float64(got[i]) - w); !(d <= worst) {
			worst, at = d, i
		}
	}
	if !(worst <= tol*max(big, 1e-3)) {
		t.Errorf("%s: element %d is %v, want %v", what, at, got[at], want[at])
	}
}

func each(t *testing.T, f func(t *testing.T, d device.Device)) {
	for _, d := range devices() {
		t.Run(d.Name(), func(t *testing.T) { f(t, d) })
	}
}

// functions are the elementwise functions and their derivatives in float64.
var functions = []struct {
	op    device.Op
	f, df func(x float64) float64
}{
	{device.ReLU, func(x float64) float64 { return max(x, 0) }, func(x float64) float64 {
		if x > 0 {
			return 1
		}
		return 0
	}},
	{device.Tanh, math.Tanh, func(x float64) float64 { c := math.Cosh(x); return 1 / (c * c) }},
	{device.Sigmoid, sigmoid, func(x float64) float64 { return sigmoid(x) * sigmoid(-x) }},
	{device.SiLU, func(x float64) float64 { return x * sigmoid(x) }, func(x float64) float64 { return sigmoid(x) * (1 + x*sigmoid(-x)) }},
	{device.GELU, func(x float64) float64 { return x * normal(x) }, func(x float64) float64 {
		return normal(x) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	}},
	{device.Mish, func(x float64) float64 { return x * math.Tanh(softplus(x)) }, func(x float64) float64 {
		t := math.Tanh(softplus(x))
		return t + x*(1-t*t)*sigmoid(x)
	}},
	{device.Softplus, softplus, sigmoid},
	{device.Exp, math.Exp, math.Exp},
	{device.Square, func(x float64) float64 { return x * x }, func(x float64) float64 { return 2 * x }},
}

func sigmoid(x float64) float64  { return 1 / (1 + math.Exp(-x)) }
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
func normal(x float64) float64   { return 0.5 * math.Erfc(-x/math.Sqrt2) }

func TestFunctionsAndTheirDerivatives(t *testing.T) {
	each(t, func(t *testing.T, d device.Device) {
		r := newSource()
		for _, c := range functions {
			for _, width := range []float64{0.01, 1, 8, 85} {
				if c.op == device.Exp && width > 80 {
					width = 80 // e^85 squared is no float32
				}
				for _, n := range sizes {
					x, dy := make([]float32, n), r.array(n)
					for i := range x {
						x[i] = float32((2*r.Float64() - 1) * width)
					}
					y, dx := make([]float32, n), r.array(n)
					d.Map(c.op, y, x)
					before := slices.Clone(dx)
					for _, add := range []bool{false, true} {
						d.MapGrad(c.op, add, dx, dy, x, y)
						for i, v := range x {
							f, df := c.f(float64(v)), c.df(float64(v))
							// 1e-6 of the value is sixteen roundings; 2e-7 is the bound of GELU's
							// series for x about 1, and it grows with x.
							if e := math.Abs(float64(y[i]) - f); !(e <= 1e-6*math.Abs(f)+2e-7*math.Abs(float64(v))+1e-37) {
								t.Fatalf("function %d of %v is %v, want %v", c.op, v, y[i], f)
							}
							want := float64(dy[i]) * df
							if add {
								want *= 2
							}
							if e := math.Abs(float64(dx[i]) - want); !(e <= 4e-6*math.Abs(want)+4e-6*math.Abs(float64(dy[i]))) {
								t.Fatalf("derivative %d at %v is %v, want %v (add %v)", c.op, v, dx[i], want, add)
							}
						}
					}
					_ = before
				}
			}
			// At their ends functions must neither overflow to NaN nor hide one.
			for _, v := range []float32{1000, -1000, float32(math.Inf(1)), float32(math.NaN())} {
				x, y := []float32{v}, []float32{0}
				d.Map(c.op, y, x)
				want := c.f(float64(v))
				if math.IsNaN(want) != math.IsNaN(float64(y[0])) || !math.IsNaN(want) && math.Abs(float64(y[0])-float64(float32(want))) > 1e-6*math.Abs(want) {
					t.Errorf("function %d of %v is %v, want %v", c.op, v, y[0], want)
				}
			}
		}
	})
}

func TestElementwise(t *testing.T) {
	each(t, func(t *testing.T, d device.Device) {
		r := newSource()
		for _, n := range sizes {
			a, b, c := r.array(n), r.array(n), r.array(n)
			run := func(what string, f func(dst []float32), want func(dst, a, b float64) float64) {
				t.Helper()
				dst := slices.Clone(c)
				f(dst)
				w := make([]float64, n)
				for i := range w {
					w[i] = want(float64(c[i]), float64(a[i]), float64(b[i]))
				}
				near(t, fmt.Sprintf("%s of %d", what, n), dst, w, 1e-6)
			}
			run("add", func(x []float32) { d.Add(x, a) }, func(x, a, _ float64) float64 { return x + a })
			run("axpy", func(x []float32) { d.Axpy(0.3, x, a) }, func(x, a, _ float64) float64 { return x + 0.3*a })
			run("mul", func(x []float32) { d.Mul(false, x, a, b) }, func(_, a, b float64) float64 { return a * b })
			run("mul and add", func(x []float32) { d.Mul(true, x, a, b) }, func(x, a, b float64) float64 { return x + a*b })
			run("lerp", func(x []float32) { d.Lerp(0.25, x, a) }, func(x, a, _ float64) float64 { return x + 0.25*(a-x) })
			run("mask", func(x []float32) { d.Mask(x, a) }, func(x, a, _ float64) float64 {
				if a > 0 {
					return x
				}
				return 0
			})
			var want float64
			for _, v := range a {
				want += float64(v) * float64(v)
			}
			if got := d.SumSquares(a); math.Abs(got-want) > 1e-12*want {
				t.Errorf("sum of %d squares is %v, want %v", n, got, want)
			}
			src, px := make([]byte, n), make([]float32, n)
			ref := make([]float64, n)
			for i := range src {
				src[i] = byte(r.IntN(256))
				ref[i] = float64(src[i])/255 - 0.5
			}
			d.Pixels(px, src)
			near(t, "pixels", px, ref, 1e-6)
		}
	})
}

func TestProducts(t *testing.T) {
	each(t, func(t *testing.T, d device.Device) {
		r := newSource()
		nan := float32(math.NaN())
		for _, s := range [][3]int{{3, 4, 5}, {1, 4, 5}, {3, 1, 5}, {1, 1, 5}, {17, 33, 70}, {64, 48, 129}} {
			m, n, k := s[0], s[1], s[2]
			for _, pad := range []int{0, 3} {
				for _, ta := range []bool{false, true} {
					for _, tb := range []bool{false, true} {
						for _, beta := range []float32{0, 1} {
							lda, ldb, ldc := k+pad, n+pad, n+pad
							ra, rb := m, k
							if ta {
								lda, ra = m+pad, k
							}
							if tb {
								ldb, rb = k+pad, n
							}
							a, b, c := r.array(ra*lda), r.array(rb*ldb), r.array(m*ldc)
							before := slices.Clone(c)
							if beta == 0 {
								for i := range m {
									for j := range n {
										c[i*ldc+j] = nan // must be overwritten
									}
								}
							}
							d.Gemm(ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc)
							want := make([]float64, len(c))
							for i := range c {
								want[i] = float64(before[i])
							}
							for i := range m {
								for j := range n {
									var s float64
									for l := range k {
										ia, ib := i*lda+l, l*ldb+j
										if ta {
											ia = l*lda + i
										}
										if tb {
											ib = j*ldb + l
										}
										s += float64(a[ia]) * float64(b[ib])
									}
									want[i*ldc+j] = s + float64(beta)*float64(before[i*ldc+j])
								}
							}
							near(t, fmt.Sprintf("product %v ta %v tb %v beta %v pad %d", s, ta, tb, beta, pad), c, want, 1e-5)
						}
					}
				}
			}
		}
	})
}

func TestRows(t *testing.T) {
	each(t, func(t *testing.T, d device.Device) {
		r := newSource()
		for _, rows := range []int{1, 3, 8, 19} {
			for _, D := range sizes {
				x, b := r.array(rows*D), r.array(D)
				y := make([]float32, rows*D)
				d.Bias(y, b)
				sums, want := slices.Clone(b), make([]float64, D)
				for j := range D {
					want[j] = float64(b[j])
					for i := range rows {
						want[j] += float64(x[i*D+j])
						if y[i*D+j] != b[j] {
							t.Fatalf("bias: row %d, column %d is %v, want %v", i, j, y[i*D+j], b[j])
						}
					}
				}
				d.ColSum(sums, x)
				near(t, "column sums", sums, want, 1e-5)

				const c = 0.7
				d.Softmax(D, c, y, x)
				p, grad := make([]float64, rows*D), make([]float64, rows*D)
				dy, dx := r.array(rows*D), r.array(rows*D)
				for i := range rows {
					var s, m float64
					for j := range D {
						p[i*D+j] = math.Exp(c * float64(x[i*D+j]))
						s += p[i*D+j]
					}
					for j := range D {
						p[i*D+j] /= s
						m += p[i*D+j] * float64(dy[i*D+j])
					}
					for j := range D {
						grad[i*D+j] = c * p[i*D+j] * (float64(dy[i*D+j]) - m)
					}
				}
				near(t, "softmax", y, p, 1e-6)
				into := slices.Clone(dx)
				d.SoftmaxGrad(D, c, false, into, dy, y)
				near(t, "softmax gradient", into, grad, 1e-5)
				copy(into, dx)
				d.SoftmaxGrad(D, c, true, into, dy, y)
				for i := range grad {
					grad[i] += float64(dx[i])
				}
				near(t, "softmax gradient, added", into, grad, 1e-5)
			}
		}
	})
}

// The functions whose results matter over many orders of magnitude keep their
// relative precision over all of them.
func TestFunctionsOverTheirRange(t *testing.T) {
	each(t, func(t *testing.T, d device.Device) {
		for _, c := range functions {
			if c.op != device.Exp && c.op != device.Tanh && c.op != device.Sigmoid && c.op != device.Softplus {
				continue
			}
			var x []float32
			for v := float32(-87); v <= 88; v += 0.00371 {
				x = append(x, v)
			}
			y := make([]float32, len(x))
			d.Map(c.op, y, x)
			for i, v := range x {
				// 6e-7 is five units in float32's last place: rounding of the reduced
				// argument, of the series, and of tanh's difference from 1.
				if got, want := float64(y[i]), c.f(float64(v)); math.Abs(want) >= 0x1p-126 && math.Abs(got-want) > 6e-7*math.Abs(want) {
					t.Errorf("function %d of %v is %v, want %v", c.op, v, got, want)
					break
				}
			}
		}
	})
}
