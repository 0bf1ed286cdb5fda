package tcc

import (
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// trainer holds the graph of a step.
type trainer struct {
	g    *nn.Graph
	d, n int       // numbers and frames of a video
	x    *nn.Node  // (Videos*n,d), standardised
	w, b *nn.Param // (Dim,d), (Dim)
	loss *nn.Node
	mean []float32 // (d,) subtracted from embeddings
	gain []float32 // (d,) multiplied with what is left
}

// newTrainer builds the loss. With u, v the embeddings of two videos of n frames,
// of d numbers each (arXiv:1904.07846, section 3):
//
//	α_ij = softmax_j(−‖u_i − v_j‖²/(dτ)),   ṽ_i = Σ_j α_ij v_j
//	β_ik = softmax_k(−‖ṽ_i − u_k‖²/(dτ)),   μ_i = Σ_k β_ik t_k
//	L = mean_i (μ_i − t_i)²,   t_k = k/(n−1)
//
// over all ordered pairs of the step's videos: the paper's regression loss without
// the variance, XIRL's regression_mse. That squared distances are divided by d is
// from TCC's code.
func newTrainer(d int, c Config, rng *rand.Rand) *trainer {
	n, P := c.Frames, c.Videos*(c.Videos-1)
	t := &trainer{
		g: nn.NewGraph(), d: d, n: n,
		w: nn.NewParam("tcc.weight", c.Dim, d), b: nn.NewParam("tcc.bias", c.Dim),
		mean: make([]float32, d), gain: make([]float32, d),
	}
	for i := range t.gain {
		t.gain[i] = 1
	}
	nn.InitUniform(t.w, 1/math.Sqrt(float64(d)), rng)
	g := t.g
	t.x = g.Input(c.Videos*n, d)
	z := g.Reshape(g.Linear(t.x, g.Param(t.w), g.Param(t.b)), c.Videos, n, c.Dim)
	// −‖u − v‖² is 2 u·v − ‖v‖² but for what the softmax over v drops: the product
	// of (u,1) and (2v,−‖v‖²).
	ones := make([]float32, P*n)
	ramp := make([]float32, P*n)
	for i := range ones {
		ones[i], ramp[i] = 1, float32(i%n)/float32(n-1)
	}
	norm := g.Reshape(g.SumLast(g.Square(z)), c.Videos, n, 1)
	far := g.Concat(g.Scale(z, 2), g.Neg(norm)) // (Videos,n,Dim+1)
	var us, vs []int
	for i := range c.Videos {
		for j := range c.Videos {
			if i != j {
				us, vs = append(us, i), append(vs, j)
			}
		}
	}
	one := g.Const(ones, P, n, 1)
	k := 1 / float32(float64(c.Dim)*c.Temperature)
	near := func(a *nn.Node, b []int) *nn.Node { // weights (P,n,n) of b's frames for each of a
		return g.Softmax(g.Scale(g.MatMul(g.Concat(a, one), g.Select(far, b), false, true), k))
	}
	alpha := near(g.Select(z, us), vs)
	beta := near(g.MatMul(alpha, g.Select(z, vs), false, false), us)
	times := g.Const(ramp[:n], n)
	mu := g.SumLast(g.Mul(beta, times)) // (P,n)
	t.loss = g.MSE(mu, g.Const(ramp, P, n))
	return t
}

func (t *trainer) params() []*nn.Param { return []*nn.Param{t.w, t.b} }

// scale has embeddings of any size begin like those of unit variance.
func (t *trainer) scale(videos []rapl.Video) {
	N := 0
	sum, square := make([]float64, t.d), make([]float64, t.d)
	for _, v := range videos {
		for i, x := range v.Embed {
			sum[i%t.d] += float64(x)
			square[i%t.d] += float64(x) * float64(x)
		}
		N += v.Len()
	}
	for i := range sum {
		m := sum[i] / float64(N)
		sd := math.Sqrt(max(0, square[i]/float64(N)-m*m))
		t.mean[i], t.gain[i] = float32(m), 1
		if sd > 1e-6 { // what stays is left as it is
			t.gain[i] = float32(1 / sd)
		}
	}
}

// fill takes video v as the k-th of the step, n frames spread evenly over it.
func (t *trainer) fill(k int, v *rapl.Video) {
	T := v.Len()
	for i := range t.n {
		at := (i*(T-1) + (t.n-1)/2) / (t.n - 1)
		row := t.x.Value[(k*t.n+i)*t.d : (k*t.n+i+1)*t.d]
		for j, x := range v.Embed[at*t.d : (at+1)*t.d] {
			row[j] = (x - t.mean[j]) * t.gain[j]
		}
	}
}

// step does a gradient step on the videos that fill left, and returns their loss.
func (t *trainer) step(opt *nn.Adam) float64 {
	t.g.ForwardTo(t.loss)
	nn.ZeroGrad(t.params())
	t.g.Backward(t.loss)
	opt.Step()
	return float64(t.loss.Value[0])
}

// head is what was learned, of embeddings as they come.
func (t *trainer) head() rapl.Head {
	out := t.w.Shape[0]
	h := rapl.Head{In: t.d, Out: out, W: make([]float64, out*t.d), B: make([]float64, out)}
	for o := range out {
		h.B[o] = float64(t.b.Data[o])
		for j := range t.d {
			w := float64(t.w.Data[o*t.d+j]) * float64(t.gain[j])
			h.W[o*t.d+j] = w
			h.B[o] -= w * float64(t.mean[j])
		}
	}
	return h
}
