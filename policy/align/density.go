package align

import (
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// Mean is one step back of chains in a graph, a row each: the middle of the Gaussian
// that the next state is drawn from. Rows may be at different steps.
type Mean struct {
	t                *Tuned
	x, emb, seen     *nn.Node
	ofX, ofOut, a, b *nn.Node // (rows, 1)

	Out *nn.Node // (rows, L)
}

// NewMean adds the step of rows chains to g. grads says that the gradient at the
// states is wanted.
func NewMean(t *Tuned, g *nn.Graph, rows int, grads bool) *Mean {
	arch, L := t.net.Arch, t.len()
	m := &Mean{t: t, emb: g.Input(rows, arch.Embed), seen: g.Input(rows, t.net.Seen())}
	if grads {
		m.x = g.InputGrad(rows, L)
	} else {
		m.x = g.Input(rows, L)
	}
	m.ofX, m.ofOut, m.a, m.b = g.Input(rows, 1), g.Input(rows, 1), g.Input(rows, 1), g.Input(rows, 1)
	out := t.Denoise(g, g.Reshape(m.x, rows, arch.Horizon, arch.View.Action.Dim()), m.emb, m.seen)
	x0 := g.Add(g.Mul(m.x, m.ofX), g.Mul(g.Reshape(out, rows, L), m.ofOut))
	if bound := t.hops[0].Bound; !math.IsInf(bound, 1) {
		x0 = g.Clamp(x0, float32(-bound), float32(bound))
	}
	m.Out = g.Add(g.Mul(x0, m.a), g.Mul(m.x, m.b))
	return m
}

// Put writes a state x (L,) before the step h into a row.
func (m *Mean) Put(row int, x, seen []float32, h diffusion.Hop) {
	L, E, C := m.t.len(), m.t.net.Arch.Embed, len(seen)
	copy(m.x.Value[row*L:(row+1)*L], x)
	copy(m.seen.Value[row*C:(row+1)*C], seen)
	nn.Sinusoid(m.emb.Value[row*E:(row+1)*E], h.Time)
	m.ofX.Value[row], m.ofOut.Value[row] = float32(h.OfX), float32(h.OfOut)
	m.a.Value[row], m.b.Value[row] = float32(h.A), float32(h.B)
}

// Ratio is the log-ratio of steps of chains, a row each, between the policy in a graph
// and whoever gave them the log-density against:
//
//	l = log p(x'|x) - against
type Ratio struct {
	mean                *Mean
	next, half, against *nn.Node

	Out *nn.Node // (rows, 1)
}

// NewRatio adds the ratios of rows steps to g. A flow has none.
func NewRatio(t *Tuned, g *nn.Graph, rows int) *Ratio {
	if t.flows() {
		panic("align: NewRatio: the steps of a flow have no density")
	}
	r := &Ratio{mean: NewMean(t, g, rows, false), next: g.Input(rows, t.len()), half: g.Input(rows, 1), against: g.Input(rows, 1)}
	far := g.Reshape(g.SumLast(g.Square(g.Sub(r.next, r.mean.Out))), rows, 1)
	r.Out = g.Neg(g.Add(g.Mul(far, r.half), r.against))
	return r
}

// Put writes the k-th step of s into a row; against is that of s.LogP or s.Ref.
func (r *Ratio) Put(row int, s *Sample, k int, against float64) {
	t := r.mean.t
	L, h := t.len(), t.hops[k]
	r.mean.Put(row, s.X[k*L:(k+1)*L], s.Seen, h)
	copy(r.next.Value[row*L:(row+1)*L], s.X[(k+1)*L:(k+2)*L])
	r.half.Value[row] = float32(1 / (2 * h.Sigma * h.Sigma))
	// The constants are taken from both.
	r.against.Value[row] = float32(against + float64(L)*(math.Log(h.Sigma)+math.Log(2*math.Pi)/2))
}

// Miss is by how much the policy and the reference miss what is to be predicted of
// noised chunks, a row each: |target - out|^2, in units of the prediction.
type Miss struct {
	t                    *Tuned
	x, emb, seen, target *nn.Node

	Out, Ref *nn.Node // (rows, 1)
	now, was *nn.Node // (rows, L) what is summed there

	// The time and noise that look drew last.
	time, bar float64
	eps       []float32
}

// NewMiss adds the misses of rows noised chunks to g.
func NewMiss(t *Tuned, g *nn.Graph, rows int) *Miss { return newMiss(t, g, rows, t.ref) }

// newMiss is NewMiss with another reference.
func newMiss(t *Tuned, g *nn.Graph, rows int, ref *diffusion.Net) *Miss {
	a, L := t.net.Arch, t.len()
	m := &Miss{t: t, x: g.Input(rows, a.Horizon, a.View.Action.Dim()), emb: g.Input(rows, a.Embed), seen: g.Input(rows, t.net.Seen()), target: g.Input(rows, L), eps: make([]float32, L)}
	square := func(out *nn.Node) *nn.Node { return g.Square(g.Sub(m.target, g.Reshape(out, rows, L))) }
	m.now, m.was = square(t.Denoise(g, m.x, m.emb, m.seen)), square(ref.Denoise(g, m.x, m.emb, m.seen, g.Frozen))
	m.Out, m.Ref = g.Reshape(g.SumLast(m.now), rows, 1), g.Reshape(g.SumLast(m.was), rows, 1)
	return m
}

// Put noises a chunk (L,) by eps (L,) into a row. bar is the share of its variance that
// is left at time; for a flow, see diffusion.Process.Noised.
func (m *Miss) Put(row int, chunk, seen, eps []float32, time, bar float64) {
	L, E, C := m.t.len(), m.t.net.Arch.Embed, len(seen)
	m.t.net.Arch.Process.Noised(m.x.Value[row*L:(row+1)*L], m.target.Value[row*L:(row+1)*L], chunk, eps, bar)
	copy(m.seen.Value[row*C:(row+1)*C], seen)
	nn.Sinusoid(m.emb.Value[row*E:(row+1)*E], time)
}

// look draws a time of noise and the noise, which the samples that show puts into rows
// then have in common.
func (m *Miss) look() {
	m.time, m.bar = m.t.noise()
	for i := range m.eps {
		m.eps[i] = float32(m.t.rng.NormFloat64())
	}
}

// show puts the chunk of s into a row, noised as look drew.
func (m *Miss) show(row int, s *Sample) { m.Put(row, s.Chunk(), s.Seen, m.eps, m.time, m.bar) }
