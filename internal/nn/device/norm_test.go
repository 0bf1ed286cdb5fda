package device_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// standardise is a norm over index sets in float64: y, and the gradients of
// sum(dy·y) by x, gain and bias. set and channel name an element's index set and
// gain.
type reference struct{ y, dx, dgain, dbias []float64 }

func standardised(x, dy, gain, bias []float64, eps float64, relu bool, sets, channels int, set, channel func(i int) int) reference {
	n := len(x)
	mean, square, count := make([]float64, sets), make([]float64, sets), make([]float64, sets)
	for i, v := range x {
		mean[set(i)] += v
		count[set(i)]++
	}
	for s := range mean {
		mean[s] /= count[s]
	}
	for i, v := range x {
		d := v - mean[set(i)]
		square[set(i)] += d * d
	}
	r := reference{make([]float64, n), make([]float64, n), make([]float64, channels), make([]float64, channels)}
	inv := make([]float64, sets)
	for s := range inv {
		inv[s] = 1 / math.Sqrt(square[s]/count[s]+eps)
	}
	a, b := make([]float64, sets), make([]float64, sets)
	t := make([]float64, n)
	for i, v := range x {
		s, c := set(i), channel(i)
		h := (v - mean[s]) * inv[s]
		r.y[i] = h*gain[c] + bias[c]
		d := dy[i]
		if relu && r.y[i] <= 0 {
			r.y[i], d = 0, 0
		}
		r.dgain[c] += d * h
		r.dbias[c] += d
		t[i] = d * gain[c]
		a[s] += t[i] / count[s]
		b[s] += t[i] * h / count[s]
	}
	for i, v := range x {
		s := set(i)
		r.dx[i] = inv[s] * (t[i] - a[s] - (v-mean[s])*inv[s]*b[s])
	}
	return r
}

func TestNormOfRows(t *testing.T) {
	each(t, func(t *testing.T, d device.Device) {
		r := newSource()
		for _, members := range []int{1, 3} {
			for _, D := range append([]int{64}, sizes...) {
				for _, relu := range []bool{false, true} {
					for _, gained := range []bool{false, true} {
						rows := 4 * members
						x, dy := r.array(rows*D), r.array(rows*D)
						for i := range x {
							x[i] = 3 + 2*x[i] // a mean worth taking off
						}
						n := device.Norm{D: D, Members: members, Eps: 1e-5, ReLU: relu, Mean: make([]float32, rows), Inv: make([]float32, rows)}
						gain, bias := r.array(members*D), r.array(members*D)
						g, b := wide(gain), wide(bias)
						if gained {
							n.Gain, n.Bias = gain, bias
						} else {
							for i := range g {
								g[i], b[i] = 1, 0
							}
						}
						want := standardised(wide(x), wide(dy), g, b, 1e-5, relu, rows, members*D,
							func(i int) int { return i / D }, func(i int) int { return i/D/4*D + i%D })
						if D < 7 { // of so few numbers, rounding is most of what the gradient leaves
							continue
						}
						what := fmt.Sprintf("D %d, members %d, relu %v, gain %v", D, members, relu, gained)
						y := make([]float32, rows*D)
						d.Norm(n, y, x)
						near(t, what+": result", y, want.y, 1e-5)
						old := r.array(rows * D)
						dx, dgain, dbias := slices.Clone(old), r.array(members*D), r.array(members*D)
						wg, wb := wide(dgain), wide(dbias)
						for i := range wg {
							wg[i] += want.dgain[i]
							wb[i] += want.dbias[i]
						}
						d.NormGrad(n, false, dx, dgain, dbias, slices.Clone(dy), y, x)
						near(t, what+": dx", dx, want.dx, 2e-5)
						near(t, what+": dgain", dgain, wg, 1e-5)
						near(t, what+": dbias", dbias, wb, 1e-5)
						copy(dx, old)
						d.NormGrad(n, true, dx, nil, nil, slices.Clone(dy), y, x)
						for i, v := range old {
							want.dx[i] += float64(v)
						}
						near(t, what+": dx, added", dx, want.dx, 2e-5)
						d.NormGrad(n, true, nil, dgain, dbias, slices.Clone(dy), y, x)
						for i := range wg {
							wg[i] += want.dgain[i]
						}
						near(t, what+": dgain alone", dgain, wg, 1e-5)
					}
				}
			}
		}
	})
}

func TestNormOfGroups(t *testing.T) {
	each(t, func(t *testing.T, d device.Device) {
		r := newSource()
		for _, s := range []struct{ B, N, C, G int }{{2, 5, 6, 3}, {1, 37, 16, 16}, {3, 9, 32, 8}, {2, 4, 33, 3}, {2, 3, 40, 1}, {1, 64, 7, 7}} {
			size := s.B * s.N * s.C
			x, dy, gain, bias := r.array(size), r.array(size), r.array(s.C), r.array(s.C)
			for i := range x {
				x[i] = 3 + 2*x[i]
			}
			n := device.Groups{B: s.B, N: s.N, C: s.C, G: s.G, Eps: 1e-5, Gain: gain, Bias: bias,
				Mean: make([]float32, s.B*s.G), Inv: make([]float32, s.B*s.G), Sums: make([]float32, 3*s.C)}
			want := standardised(wide(x), wide(dy), wide(gain), wide(bias), 1e-5, false, s.B*s.G, s.C,
				func(i int) int { return i/(s.N*s.C)*s.G + i%s.C/(s.C/s.G) }, func(i int) int { return i % s.C })
			what := fmt.Sprintf("%+v", s)
			y := make([]float32, size)
			d.Groups(n, y, x)
			near(t, what+": result", y, want.y, 1e-5)
			old := r.array(size)
			dx, dgain, dbias := slices.Clone(old), make([]float32, s.C), make([]float32, s.C)
			d.GroupsGrad(n, false, dx, dgain, dbias, dy, x)
			near(t, what+": dx", dx, want.dx, 2e-5)
			near(t, what+": dgain", dgain, want.dgain, 1e-5)
			near(t, what+": dbias", dbias, want.dbias, 1e-5)
			copy(dx, old)
			d.GroupsGrad(n, true, dx, nil, nil, dy, x)
			for i, v := range old {
				want.dx[i] += float64(v)
			}
			near(t, what+": dx, added", dx, want.dx, 2e-5)
			d.GroupsGrad(n, true, nil, dgain, dbias, dy, x)
			for i := range want.dgain {
				want.dgain[i] *= 2
			}
			near(t, what+": dgain twice", dgain, want.dgain, 1e-5)
		}
	})
}

func TestSpatialSoftmax(t *testing.T) {
	each(t, func(t *testing.T, d device.Device) {
		r := newSource()
		const T = 0.5
		for _, s := range []struct{ B, H, W, C int }{{2, 3, 4, 5}, {1, 1, 6, 16}, {2, 5, 1, 17}, {1, 8, 8, 40}} {
			N := s.H * s.W
			x, dy := r.array(s.B*N*s.C), r.array(s.B*2*s.C)
			prob, y := make([]float32, len(x)), make([]float32, len(dy))
			d.SpatialSoftmax(s.B, s.H, s.W, s.C, T, y, prob, x)
			wantY, wantDx := make([]float64, len(y)), make([]float64, len(x))
			dx := r.array(len(x))
			for i, v := range dx {
				wantDx[i] = float64(v)
			}
			at := func(i, n int) float64 {
				if n == 1 {
					return 0
				}
				return 2*float64(i)/float64(n-1) - 1
			}
			for b := range s.B {
				for c := range s.C {
					var sum, ex, ey float64
					p := make([]float64, N)
					for i := range N {
						p[i] = math.Exp(float64(x[(b*N+i)*s.C+c]) / T)
						sum += p[i]
					}
					for i := range N {
						p[i] /= sum
						ex += p[i] * at(i%s.W, s.W)
						ey += p[i] * at(i/s.W, s.H)
					}
					k := b*2*s.C + 2*c
					wantY[k], wantY[k+1] = ex, ey
					for i := range N {
						wantDx[(b*N+i)*s.C+c] += p[i] / T * (float64(dy[k])*(at(i%s.W, s.W)-ex) + float64(dy[k+1])*(at(i/s.W, s.H)-ey))
					}
				}
			}
			near(t, fmt.Sprintf("%+v: position", s), y, wantY, 1e-5)
			d.SpatialSoftmaxGrad(s.B, s.H, s.W, s.C, T, dx, dy, y, prob)
			near(t, fmt.Sprintf("%+v: gradient", s), dx, wantDx, 1e-5)
		}
	})
}

func TestAdamByItsDefinition(t *testing.T) {
	each(t, func(t *testing.T, d device.Device) {
		r := newSource()
		for _, n := range sizes {
			data, grad, mean, square := r.array(n), r.array(n), r.array(n), r.array(n)
			for i := range square {
				square[i] *= square[i]
			}
			s := device.AdamStep{Scale: 0.5, B1: 0.9, R1: 0.1, B2: 0.99, R2: 0.01, Step: 0.03, Eps: 1e-3, Decay: 0.98}
			var want [3][]float64
			for i := range n {
				g := 0.5 * float64(grad[i])
				m, v := 0.9*float64(mean[i])+0.1*g, 0.99*float64(square[i])+0.01*g*g
				want[0] = append(want[0], float64(data[i])*0.98-0.03*m/(math.Sqrt(v)+1e-3))
				want[1], want[2] = append(want[1], m), append(want[2], v)
			}
			d.Adam(s, data, grad, mean, square)
			near(t, "data", data, want[0], 1e-5)
			near(t, "mean", mean, want[1], 1e-6)
			near(t, "square", square, want[2], 1e-6)
		}
	})
}

func TestAffine(t *testing.T) {
	each(t, func(t *testing.T, d device.Device) {
		r := newSource()
		for _, D := range sizes {
			const rows = 5
			x, dy, gain, bias := r.array(rows*D), r.array(rows*D), r.array(D), r.array(D)
			y, old := make([]float32, rows*D), r.array(rows*D)
			wy, wdx, wdg, wdb := make([]float64, rows*D), make([]float64, rows*D), make([]float64, D), make([]float64, D)
			for i := range x {
				j := i % D
				wy[i] = float64(x[i])*float64(gain[j]) + float64(bias[j])
				wdx[i] = float64(dy[i]) * float64(gain[j])
				wdg[j] += float64(dy[i]) * float64(x[i])
				wdb[j] += float64(dy[i])
			}
			d.Affine(y, x, gain, bias)
			near(t, "result", y, wy, 1e-6)
			dx, dg, db := slices.Clone(old), make([]float32, D), make([]float32, D)
			d.AffineGrad(false, dx, dg, db, dy, x, gain)
			near(t, "dx", dx, wdx, 1e-6)
			near(t, "dgain", dg, wdg, 1e-5)
			near(t, "dbias", db, wdb, 1e-5)
			copy(dx, old)
			d.AffineGrad(true, dx, nil, nil, dy, x, gain)
			for i, v := range old {
				wdx[i] += float64(v)
			}
			near(t, "dx, added", dx, wdx, 1e-6)
			d.AffineGrad(true, nil, dg, db, dy, x, gain)
			for j := range wdg {
				wdg[j] *= 2
			}
			near(t, "dgain twice", dg, wdg, 1e-5)
		}
	})
}
