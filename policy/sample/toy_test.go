package sample

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/policy/diffusion"
)

// toy knows by formula what a network would learn of chunks that go two ways: d
// numbers all about 1 or all about -1, each way half of the time, with deviation width.
type toy struct {
	d, rows int
	bars    []float64 // nil: a flow
	steps   float64
	x       []float32
	s, n    float64
}

const width = 0.3

// posterior tells the mean of the actions behind one x, the two ways' means and
// weights, and the variance within a way.
func (t *toy) posterior(mean []float64, x []float32) (w [2]float64, shrink, inner float64) {
	v := t.s*t.s*width*width + t.n*t.n
	lean := 0.0
	for _, a := range x {
		lean += float64(a) * t.s / v
	}
	w[1] = 1 / (1 + math.Exp(-2*lean))
	w[0] = 1 - w[1]
	shrink = t.s * width * width / v
	for i, a := range x {
		mean[i] = 0
		for m, mu := range []float64{-1, 1} {
			mean[i] += w[m] * (mu + shrink*(float64(a)-t.s*mu))
		}
	}
	return w, shrink, width * width * t.n * t.n / v
}

func (t *toy) at(time float64) {
	if t.bars == nil {
		t.s, t.n = time/t.steps, 1-time/t.steps
	} else {
		b := t.bars[int(time)]
		t.s, t.n = math.Sqrt(b), math.Sqrt(1-b)
	}
}

func (t *toy) Predict(out, x []float32, time float64) {
	t.at(time)
	copy(t.x, x)
	mean := make([]float64, t.d)
	for r := 0; r < len(x); r += t.d {
		t.posterior(mean, x[r:r+t.d])
		for i, m := range mean {
			eps := (float64(x[r+i]) - t.s*m) / t.n
			if out[r+i] = float32(eps); t.bars == nil {
				out[r+i] = float32(m - eps)
			}
		}
	}
}

// Pull uses that the posterior mean's slope is s/n^2 times the posterior's covariance,
// which is symmetric.
func (t *toy) Pull(dx, dout []float32) {
	mean := make([]float64, t.d)
	for r := 0; r < len(dx); r += t.d {
		x := t.x[r : r+t.d]
		w, shrink, inner := t.posterior(mean, x)
		apart, dot := 1-shrink*t.s, 0.0 // half the distance of the ways' means, in every number
		for _, g := range dout[r : r+t.d] {
			dot += float64(g)
		}
		for i := range x {
			g := float64(dout[r+i])
			cov := inner*g + 4*w[0]*w[1]*apart*apart*dot
			slope := t.s / (t.n * t.n) * cov
			eps := (g - t.s*slope) / t.n
			if dx[r+i] = float32(eps); t.bars == nil {
				dx[r+i] = float32(slope - eps)
			}
		}
	}
}

// side likes the positive way: the mean of a chunk's numbers.
type side struct{}

func (side) Value(dst []float64, chunks, _ []float32) {
	d := len(chunks) / len(dst)
	for i := range dst {
		dst[i] = 0
		for _, v := range chunks[i*d : (i+1)*d] {
			dst[i] += float64(v) / float64(d)
		}
	}
}

func (s side) Grad(dst []float64, grad, chunks, seen []float32) {
	s.Value(dst, chunks, seen)
	for i := range grad {
		grad[i] = float32(len(dst)) / float32(len(grad))
	}
}

// share is side brought to 0 to 1.
type share struct{}

func (share) Value(dst []float64, chunks, seen []float32) {
	side{}.Value(dst, chunks, seen)
	for i, v := range dst {
		dst[i] = 1 / (1 + math.Exp(-2*v))
	}
}

func (s share) Grad(dst []float64, grad, chunks, seen []float32) {
	s.Value(dst, chunks, seen)
	d := len(grad) / len(dst)
	for i := range grad {
		v := dst[i/d]
		grad[i] = float32(2 * v * (1 - v) / float64(d))
	}
}

// blind is side without a gradient.
type blind struct{ s side }

func (b blind) Value(dst []float64, chunks, seen []float32) { b.s.Value(dst, chunks, seen) }

func toyProcess(t testing.TB, p diffusion.Process, d diffusion.Draw, n int) Process {
	t.Helper()
	if d.Clip == 0 {
		d.Clip = 2
	}
	c, err := diffusion.NewChain(p, d, n)
	if err != nil {
		t.Fatal(err)
	}
	return Process{Chain: c, Len: n, Denoiser: func(rows int) (Denoiser, error) {
		m := &toy{d: n, rows: rows, steps: float64(p.Steps), x: make([]float32, rows*n)}
		if p.Kind == diffusion.Diffusion {
			m.bars = p.Bars()
		}
		return m, nil
	}}
}

var (
	ddim  = diffusion.Process{Steps: 20}
	noisy = diffusion.Draw{Steps: 20, Eta: 1}
	still = diffusion.Draw{Steps: 20}
	flow  = diffusion.Process{Kind: diffusion.Flow, Steps: 100}
)

func search(t testing.TB, p Process, c Config, r Reward) *Search {
	t.Helper()
	s, err := NewSearch(p, c, r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mean is that of the reward r over draws chunks of s.
func mean(s *Search, r Reward, draws int) float64 {
	rng := rand.New(rand.NewPCG(3, 4))
	x, v, sum := make([]float32, s.length), []float64{0}, 0.0
	for range draws {
		s.Draw(x, nil, true, rng)
		r.Value(v, x, nil)
		sum += v[0]
	}
	return sum / float64(draws)
}

// The toy's own gradient is checked first: what rests on it would fail obscurely.
func TestToyPullsAsItPredicts(t *testing.T) {
	for _, p := range []diffusion.Process{ddim, flow} {
		den, err := toyProcess(t, p, still, 3).Denoiser(2)
		if err != nil {
			t.Fatal(err)
		}
		pulls(t, den, 6, 0.4*float64(p.Steps), 5e-3)
	}
}

// pulls compares Pull with central differences.
func pulls(t *testing.T, den Denoiser, n int, time, tolerance float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	x, dout, out, dx := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], dout[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
	}
	den.Predict(out, x, time)
	den.Pull(dx, dout)
	dx = slices.Clone(dx)
	const h = 1e-3 // at 5e-3 a U-Net's group norms bend by 2%, at 1e-3 by less than float32 rounds
	for i, v := range x {
		var f [2]float64
		for side, by := range []float32{-h, h} {
			x[i] = v + by
			den.Predict(out, x, time)
			for j, g := range dout {
				f[side] += float64(g) * float64(out[j])
			}
		}
		x[i] = v
		if want := (f[1] - f[0]) / (2 * h); math.Abs(float64(dx[i])-want) > tolerance*max(1, math.Abs(want)) {
			t.Errorf("gradient %d is %v, by differences %v", i, dx[i], want)
		}
	}
}
