package nn

import "slices"

// normEps is added to the variance; 1e-5 as in Ba et al. 2016
// (arXiv:1607.06450) implementations, PyTorch's among them.
const normEps = 1e-5

// LayerNorm brings the last axis of x (...,D) to mean 0 and variance 1, then
// multiplies by gain and adds bias, both (D), or (E,D) for x (E,...,D). Both may
// be nil. (Ba et al. 2016, arXiv:1607.06450, equation 4.)
func (g *Graph) LayerNorm(x, gain, bias *Node) *Node { return g.layerNorm(x, gain, bias, false) }

// LayerNormReLU is ReLU(LayerNorm(x,gain,bias)) in one pass.
func (g *Graph) LayerNormReLU(x, gain, bias *Node) *Node { return g.layerNorm(x, gain, bias, true) }

func (g *Graph) layerNorm(x, gain, bias *Node, act bool) *Node {
	if len(x.Shape) == 0 {
		panic("nn: LayerNorm: input is a scalar")
	}
	if (gain == nil) != (bias == nil) {
		panic("nn: LayerNorm: gain and bias come together")
	}
	D := x.Shape[len(x.Shape)-1]
	rows := len(x.Value) / D
	E := 1
	ins := []*Node{x}
	if gain != nil {
		if !slices.Equal(gain.Shape, bias.Shape) || gain.Shape[len(gain.Shape)-1] != D {
			panic("nn: LayerNorm: gain and bias do not fit the input")
		}
		if len(gain.Shape) > 1 {
			if E = gain.Shape[0]; len(gain.Shape) != 2 || x.Shape[0] != E {
				panic("nn: LayerNorm: gain and bias do not fit the input")
			}
		}
		ins = append(ins, gain, bias)
	}
	n := g.op(x.Shape, ins...)
	per := rows / E // rows of one member
	xhat := make([]float32, len(x.Value))
	inv := make([]float32, rows) // 1/standard deviation of each row
	n.forward = func() {
		for r := range rows {
			xr, h, y := x.Value[r*D:(r+1)*D], xhat[r*D:(r+1)*D], n.Value[r*D:(r+1)*D]
			s := standardise(h, xr)
			inv[r] = s
			if gain == nil {
				copy(y, h)
			} else {
				e := r / per
				mulAdd(y, h, gain.Value[e*D:(e+1)*D], bias.Value[e*D:(e+1)*D])
			}
		}
		if act {
			relu(n.Value, n.Value)
		}
	}
	n.backward = func() {
		if act {
			mask(n.Grad, n.Value)
		}
		if gain != nil && gain.needs {
			gg, gb := gain.acc(), bias.acc()
			for r := range rows {
				e := r / per
				normParams(gg[e*D:(e+1)*D], gb[e*D:(e+1)*D], n.Grad[r*D:(r+1)*D], xhat[r*D:(r+1)*D])
			}
		}
		if !x.needs {
			return
		}
		first := x.first()
		for r := range rows {
			dy, h, d := n.Grad[r*D:(r+1)*D], xhat[r*D:(r+1)*D], x.Grad[r*D:(r+1)*D]
			if gain != nil {
				e := r / per
				mul(dy, gain.Value[e*D:(e+1)*D]) // nobody reads Grad after this
			}
			normInput(first, d, dy, h, inv[r])
		}
	}
	return n
}

// standardise writes (x-mean)/sqrt(variance+eps) to h and returns the
// factor.
func standardise(h, x []float32) (inv float32) {
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(x); i += 4 {
		v := x[i : i+4 : i+4]
		s0 += v[0]
		s1 += v[1]
		s2 += v[2]
		s3 += v[3]
	}
	for ; i < len(x); i++ {
		s0 += x[i]
	}
	D := float32(len(x))
	mean := (s0 + s1 + s2 + s3) / D
	s0, s1, s2, s3 = 0, 0, 0, 0
	h = h[:len(x)]
	for i = 0; i+4 <= len(x); i += 4 {
		v, w := x[i:i+4:i+4], h[i:i+4:i+4]
		a, b, c, d := v[0]-mean, v[1]-mean, v[2]-mean, v[3]-mean
		w[0], w[1], w[2], w[3] = a, b, c, d
		s0 += a * a
		s1 += b * b
		s2 += c * c
		s3 += d * d
	}
	for ; i < len(x); i++ {
		a := x[i] - mean
		h[i] = a
		s0 += a * a
	}
	inv = 1 / sqrt32((s0+s1+s2+s3)/D+normEps)
	for i := range h {
		h[i] *= inv
	}
	return inv
}

// mulAdd is y = h*a + b.
func mulAdd(y, h, a, b []float32) {
	h, a, b = h[:len(y)], a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = h[i]*a[i] + b[i]
	}
}

// mul is d *= a.
func mul(d, a []float32) {
	a = a[:len(d)]
	for i := range d {
		d[i] *= a[i]
	}
}

// normParams adds one row's part to the gradients of gain and bias.
func normParams(gain, bias, dy, h []float32) {
	bias, dy, h = bias[:len(gain)], dy[:len(gain)], h[:len(gain)]
	for i, d := range dy {
		gain[i] += d * h[i]
		bias[i] += d
	}
}

// normInput gives the gradient through the standardisation of one row:
// dx = inv*(dy - mean(dy) - h*mean(dy*h)).
func normInput(first bool, dx, dy, h []float32, inv float32) {
	dy, h = dy[:len(dx)], h[:len(dx)]
	var s0, s1, t0, t1 float32
	i := 0
	for ; i+2 <= len(dy); i += 2 {
		a, b := dy[i:i+2:i+2], h[i:i+2:i+2]
		s0 += a[0]
		s1 += a[1]
		t0 += a[0] * b[0]
		t1 += a[1] * b[1]
	}
	for ; i < len(dy); i++ {
		s0 += dy[i]
		t0 += dy[i] * h[i]
	}
	D := float32(len(dy))
	m, c := (s0+s1)/D, (t0+t1)/D
	if first {
		for i := range dx {
			dx[i] = inv * (dy[i] - m - h[i]*c)
		}
		return
	}
	for i := range dx {
		dx[i] += inv * (dy[i] - m - h[i]*c)
	}
}

// Affine multiplies each channel of x (B,C,...) by gain (C) and adds bias (C).
func (g *Graph) Affine(x, gain, bias *Node) *Node {
	if len(x.Shape) < 2 || !slices.Equal(gain.Shape, []int{x.Shape[1]}) || !slices.Equal(gain.Shape, bias.Shape) {
		panic("nn: Affine: gain and bias do not fit the channels")
	}
	C := x.Shape[1]
	N := len(x.Value) / (x.Shape[0] * C)
	n := g.op(x.Shape, x, gain, bias)
	n.forward = func() {
		for i := 0; i < len(x.Value); i += N {
			c := i / N % C
			a, b := gain.Value[c], bias.Value[c]
			y, v := n.Value[i:i+N], x.Value[i:i+N]
			for j := range y {
				y[j] = a*v[j] + b
			}
		}
	}
	n.backward = func() {
		for i := 0; i < len(x.Value); i += N {
			c := i / N % C
			if gain.needs {
				gain.acc()[c] += dot32(n.Grad[i:i+N], x.Value[i:i+N])
			}
			if bias.needs {
				bias.acc()[c] += sum32(n.Grad[i : i+N])
			}
		}
		if x.needs {
			d := x.acc()
			for i := 0; i < len(d); i += N {
				axpy(gain.Value[i/N%C], d[i:i+N], n.Grad[i:i+N])
			}
		}
	}
	return n
}

// BatchNorm normalises the channels of x (B,C,...) by stored mean and variance
// (C), as a trained network does when it is used (Ioffe and Szegedy 2015,
// arXiv:1502.03167, algorithm 2); gain and bias (C) stay trainable.
func (g *Graph) BatchNorm(x, gain, bias, mean, variance *Node, eps float32) *Node {
	a := g.Div(gain, g.Sqrt(g.AddScalar(variance, eps)))
	return g.Affine(x, a, g.Sub(bias, g.Mul(mean, a)))
}

// GroupNorm normalises groups of neighbouring channels of x (B,C,...) together,
// then applies gain and bias (C) (Wu and He 2018, arXiv:1803.08494).
func (g *Graph) GroupNorm(x, gain, bias *Node, groups int) *Node {
	if len(x.Shape) < 2 || groups < 1 || x.Shape[1]%groups != 0 {
		panic("nn: GroupNorm: channels are not divisible into groups")
	}
	B := x.Shape[0]
	h := g.LayerNorm(g.Reshape(x, B, groups, len(x.Value)/(B*groups)), nil, nil)
	return g.Affine(g.Reshape(h, x.Shape...), gain, bias)
}
