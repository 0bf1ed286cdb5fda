package policytest

import (
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/bc"
)

// Network is an MLP in float64 by the book, for comparing float32 graphs with:
// member e of ps, or the only one with e < 0, on x. Between the layers are ReLUs,
// and with norm before each of them a LayerNorm of epsilon 1e-5.
func Network(ps []*nn.Param, e int, x []float64, norm bool) []float64 {
	per := 2
	if norm {
		per = 4
	}
	at := func(p *nn.Param, i int) float64 {
		if e < 0 {
			return float64(p.Data[i])
		}
		return float64(p.Data[e*(len(p.Data)/p.Shape[0])+i])
	}
	for n := 0; n < len(ps); n += per {
		w, b := ps[n], ps[n+1]
		y := make([]float64, b.Shape[len(b.Shape)-1])
		for o := range y {
			y[o] = at(b, o)
			for i, v := range x {
				y[o] += at(w, o*len(x)+i) * v
			}
		}
		if n+2 == len(ps) {
			return y
		}
		if norm {
			mean, square := 0.0, 0.0
			for _, v := range y {
				mean += v / float64(len(y))
			}
			for _, v := range y {
				square += (v - mean) * (v - mean) / float64(len(y))
			}
			for o := range y {
				y[o] = (y[o]-mean)/math.Sqrt(square+1e-5)*at(ps[n+2], o) + at(ps[n+3], o)
			}
		}
		for o := range y {
			y[o] = max(0, y[o])
		}
		x = y
	}
	panic("policytest: no last layer")
}

// Head is what a policy says of the normalised row x: the means and deviations
// before tanh.
func Head(n *bc.Net, x []float64) (mean, std []float64) {
	raw := Network(n.Params(), -1, x, n.Arch.LayerNorm)
	k := len(raw) / 2
	for _, s := range raw[k:] {
		std = append(std, math.Exp(-5+3.5*(math.Tanh(s)+1)))
	}
	return raw[:k], std
}

// Density is the log density of the action tanh(u) under a head.
func Density(mean, std, u []float64) float64 {
	logp := 0.0
	for j, v := range u {
		e := (v - mean[j]) / std[j]
		logp += -e*e/2 - math.Log(std[j]*math.Sqrt(2*math.Pi)) + 2*math.Log(math.Cosh(v))
	}
	return logp
}

// Drawn is the action of the policy on row x with the given noise, and its log
// density.
func Drawn(n *bc.Net, x, noise []float64) (a []float64, logp float64) {
	mean, std := Head(n, x)
	u := make([]float64, len(noise))
	for j, e := range noise {
		u[j] = mean[j] + std[j]*e
		a = append(a, math.Tanh(u[j]))
	}
	return a, Density(mean, std, u)
}

// Divergence is KL(n || ref) on row x.
func Divergence(n, ref *bc.Net, x []float64) float64 {
	m, s := Head(n, x)
	o, r := Head(ref, x)
	kl := 0.0
	for j := range m {
		d := m[j] - o[j]
		kl += math.Log(r[j]/s[j]) + (s[j]*s[j]+d*d)/(2*r[j]*r[j]) - 0.5
	}
	return kl
}

// Row is row i of the matrix x (N, n).
func Row(x []float32, i, n int) []float64 {
	var r []float64
	for _, v := range x[i*n : (i+1)*n] {
		r = append(r, float64(v))
	}
	return r
}

// Slope is the derivative of f along element i of p, by central differences.
func Slope(p *nn.Param, i int, f func() float64) float64 {
	v := p.Data[i]
	defer func() { p.Data[i] = v }()
	up, down := v+1e-4, v-1e-4
	p.Data[i] = up
	hi := f()
	p.Data[i] = down
	return (hi - f()) / float64(up-down)
}
