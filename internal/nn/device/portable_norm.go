package device

// Norm implements Device.
func (d Portable) Norm(n Norm, y, x []float32) {
	D := n.D
	per := len(x) / D / n.Members
	for r := range len(x) / D {
		in, out := x[r*D:(r+1)*D], y[r*D:(r+1)*D]
		mean := sum(in) / float32(D)
		for i, v := range in {
			out[i] = v - mean
		}
		inv := 1 / sqrt32(dot(out, out)/float32(D)+n.Eps)
		n.Mean[r], n.Inv[r] = mean, inv
		if n.Gain == nil {
			for i := range out {
				out[i] *= inv
			}
		} else {
			e := r / per
			g, b := n.Gain[e*D:(e+1)*D], n.Bias[e*D:(e+1)*D]
			for i, v := range out {
				out[i] = v*inv*g[i] + b[i]
			}
		}
		if n.ReLU {
			d.Map(ReLU, out, out)
		}
	}
}

// NormGrad implements Device.
func (d Portable) NormGrad(n Norm, add bool, dx, dgain, dbias, dy, y, x []float32) {
	D := n.D
	per := len(x) / D / n.Members
	for r := range len(x) / D {
		in, g := x[r*D:(r+1)*D], dy[r*D:(r+1)*D]
		if n.ReLU {
			d.Mask(g, y[r*D:(r+1)*D])
		}
		e := r / per
		mean, inv := n.Mean[r], n.Inv[r]
		if dgain != nil {
			dg, db := dgain[e*D:(e+1)*D], dbias[e*D:(e+1)*D]
			for i, v := range g {
				dg[i] += v * (in[i] - mean) * inv
				db[i] += v
			}
		}
		if dx == nil {
			continue
		}
		// dx = inv (t - mean(t) - h mean(t∘h)) with t = gain∘dy and h standardised.
		var gain []float32
		if n.Gain != nil {
			gain = n.Gain[e*D : (e+1)*D]
		}
		var s, p float32
		for i, v := range g {
			if gain != nil {
				v *= gain[i]
			}
			s += v
			p += v * (in[i] - mean)
		}
		s, p = s/float32(D), p*inv*inv/float32(D)
		out := dx[r*D : (r+1)*D]
		for i, v := range g {
			if gain != nil {
				v *= gain[i]
			}
			v = inv * (v - s - (in[i]-mean)*p)
			if add {
				v += out[i]
			}
			out[i] = v
		}
	}
}

// Groups implements Device.
func (Portable) Groups(n Groups, y, x []float32) {
	C, w := n.C, n.C/n.G
	count := float32(n.N * w)
	for b := range n.B {
		at := b * n.N * C
		in, out := x[at:at+n.N*C], y[at:at+n.N*C]
		mean, inv := n.Mean[b*n.G:(b+1)*n.G], n.Inv[b*n.G:(b+1)*n.G]
		clear(mean)
		clear(inv)
		for i, v := range in {
			mean[i%C/w] += v
		}
		for i := range mean {
			mean[i] /= count
		}
		for i, v := range in {
			v -= mean[i%C/w]
			inv[i%C/w] += v * v
		}
		for i, v := range inv {
			inv[i] = 1 / sqrt32(v/count+n.Eps)
		}
		for i, v := range in {
			c := i % C
			out[i] = (v-mean[c/w])*inv[c/w]*n.Gain[c] + n.Bias[c]
		}
	}
}

// GroupsGrad implements Device.
func (Portable) GroupsGrad(n Groups, add bool, dx, dgain, dbias, dy, x []float32) {
	C, w := n.C, n.C/n.G
	s, p := n.Sums[:C], n.Sums[C:2*C]
	count := float32(n.N * w)
	for b := range n.B {
		at := b * n.N * C
		in, g := x[at:at+n.N*C], dy[at:at+n.N*C]
		mean, inv := n.Mean[b*n.G:(b+1)*n.G], n.Inv[b*n.G:(b+1)*n.G]
		clear(n.Sums)
		for i, v := range g {
			c := i % C
			s[c] += v
			p[c] += v * (in[i] - mean[c/w])
		}
		if dgain != nil {
			for c := range C {
				dgain[c] += p[c] * inv[c/w]
				dbias[c] += s[c]
			}
		}
		if dx == nil {
			continue
		}
		for k := range n.G {
			var a, q float32
			for c := k * w; c < (k+1)*w; c++ {
				a += n.Gain[c] * s[c]
				q += n.Gain[c] * p[c]
			}
			a, q = a/count, q*inv[k]*inv[k]/count
			for c := k * w; c < (k+1)*w; c++ {
				s[c], p[c] = a, q
			}
		}
		out := dx[at : at+n.N*C]
		for i, v := range g {
			c := i % C
			v = inv[c/w] * (v*n.Gain[c] - s[c] - (in[i]-mean[c/w])*p[c])
			if add {
				v += out[i]
			}
			out[i] = v
		}
	}
}

// place is pixel i of n on [-1,1].
func place(i, n int) float32 {
	if n == 1 {
		return 0
	}
	return 2*float32(i)/float32(n-1) - 1
}

// SpatialSoftmax implements Device.
func (Portable) SpatialSoftmax(B, H, W, C int, t float32, y, prob, x []float32) {
	N := H * W
	inv := 1 / t
	for b := range B {
		in, p := x[b*N*C:(b+1)*N*C], prob[b*N*C:(b+1)*N*C]
		out := y[b*2*C : (b+1)*2*C]
		for c := range C {
			top := in[c]
			for i := c; i < len(in); i += C {
				top = max(top, in[i])
			}
			var s, sx, sy float32
			for i := range N {
				e := exp32((in[i*C+c] - top) * inv)
				p[i*C+c] = e
				s += e
				sx += e * place(i%W, W)
				sy += e * place(i/W, H)
			}
			s = 1 / s
			for i := c; i < len(p); i += C {
				p[i] *= s
			}
			out[2*c], out[2*c+1] = sx*s, sy*s
		}
	}
}

// SpatialSoftmaxGrad implements Device.
func (Portable) SpatialSoftmaxGrad(B, H, W, C int, t float32, dx, dy, y, prob []float32) {
	N := H * W
	inv := 1 / t
	for b := range B {
		p, d := prob[b*N*C:(b+1)*N*C], dx[b*N*C:(b+1)*N*C]
		e, g := y[b*2*C:(b+1)*2*C], dy[b*2*C:(b+1)*2*C]
		for i := range N {
			px, py := place(i%W, W), place(i/W, H)
			for c := range C {
				d[i*C+c] += p[i*C+c] * inv * (g[2*c]*(px-e[2*c]) + g[2*c+1]*(py-e[2*c+1]))
			}
		}
	}
}

// Affine implements Device.
func (Portable) Affine(y, x, gain, bias []float32) {
	D := len(gain)
	for i := 0; i < len(x); i += D {
		in, out, b := x[i:i+D], y[i:i+D], bias[:D]
		for j, a := range gain {
			out[j] = in[j]*a + b[j]
		}
	}
}

// AffineGrad implements Device.
func (d Portable) AffineGrad(add bool, dx, dgain, dbias, dy, x, gain []float32) {
	D := len(gain)
	for i := 0; i < len(dy); i += D {
		if dgain != nil {
			d.Mul(true, dgain, dy[i:i+D], x[i:i+D])
			d.Add(dbias, dy[i:i+D])
		}
		if dx != nil {
			d.Mul(add, dx[i:i+D], dy[i:i+D], gain)
		}
	}
}
