package nn

import (
	"math"
	"math/rand/v2"
)

// fans of a weight: inputs and outputs of one unit. The last axes are (Out,In)
// for two or three axes, (O,C,H,W) for four.
func fans(p *Param) (in, out int) {
	r := len(p.Shape)
	switch r {
	case 2, 3:
		return p.Shape[r-1], p.Shape[r-2]
	case 4:
		field := p.Shape[2] * p.Shape[3]
		return p.Shape[1] * field, p.Shape[0] * field
	}
	panic("nn: init: not the shape of a weight")
}

// InitUniform draws from [-a,a) and returns p.
func InitUniform(p *Param, a float64, rng *rand.Rand) *Param {
	for i := range p.Data {
		p.Data[i] = float32(a * (2*rng.Float64() - 1))
	}
	p.Push()
	return p
}

// InitNormal draws from a normal distribution of mean 0 and returns p.
func InitNormal(p *Param, std float64, rng *rand.Rand) *Param {
	for i := range p.Data {
		p.Data[i] = float32(std * rng.NormFloat64())
	}
	p.Push()
	return p
}

// InitHe draws a weight from a normal distribution of variance 2/fan-in, which
// keeps the scale through ReLUs (He et al. 2015, arXiv:1502.01852, equation 10).
func InitHe(p *Param, rng *rand.Rand) *Param {
	in, _ := fans(p)
	return InitNormal(p, math.Sqrt(2/float64(in)), rng)
}

// InitXavier draws a weight uniformly with variance 2/(fan-in + fan-out)
// (Glorot and Bengio 2010, equation 16).
func InitXavier(p *Param, rng *rand.Rand) *Param {
	in, out := fans(p)
	return InitUniform(p, math.Sqrt(6/float64(in+out)), rng)
}

// InitLinear draws a weight uniformly from +-1/sqrt(fan-in), PyTorch's default
// for linear and convolution layers.
func InitLinear(p *Param, rng *rand.Rand) *Param {
	in, _ := fans(p)
	return InitUniform(p, 1/math.Sqrt(float64(in)), rng)
}

// InitOrthogonal makes each member's (Out, everything else) matrix a multiple
// gain of one with orthonormal rows or columns, whichever are fewer (Saxe et al.
// 2014, arXiv:1312.6120). The weight is the caller's alone, and the race detector made
// this a twentieth of a session of tests.
//
//go:norace
func InitOrthogonal(p *Param, gain float64, rng *rand.Rand) *Param {
	rows, cols, members := p.Shape[0], len(p.Data)/p.Shape[0], 1
	switch len(p.Shape) {
	case 2, 4:
	case 3:
		members, rows, cols = p.Shape[0], p.Shape[1], p.Shape[2]
	default:
		panic("nn: init: not the shape of a weight")
	}
	n, d := min(rows, cols), max(rows, cols)
	v := make([][]float64, n)
	for m := range members {
		for i := range v {
			v[i] = make([]float64, d)
			for j := range v[i] {
				v[i][j] = rng.NormFloat64()
			}
			for range 2 { // Gram-Schmidt, twice for float64 accuracy
				for _, u := range v[:i] {
					var s float64
					for j := range u {
						s += u[j] * v[i][j]
					}
					for j := range u {
						v[i][j] -= s * u[j]
					}
				}
			}
			var s float64
			for _, x := range v[i] {
				s += x * x
			}
			s = 1 / math.Sqrt(s)
			for j := range v[i] {
				v[i][j] *= s
			}
		}
		w := p.Data[m*rows*cols : (m+1)*rows*cols]
		for r := range rows {
			for c := range cols {
				if rows <= cols {
					w[r*cols+c] = float32(gain * v[r][c])
				} else {
					w[r*cols+c] = float32(gain * v[c][r])
				}
			}
		}
	}
	p.Push()
	return p
}
