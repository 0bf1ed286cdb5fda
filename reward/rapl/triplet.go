package rapl

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/ot"
)

// tuner computes the loss of one triplet and its gradient by the head.
type tuner struct {
	solver ot.Solver
	plan   ot.Plan
	c      []float64
	side   [3]side // anchor, better, worse
	dc     [2][]float64
}

// side is one clip of the triplet: x (T,In) as given, z (T,Out) as compared,
// and the gradient of the loss by z.
type side struct {
	t        int
	x, z, dz []float64
}

// triplet fills out, the gradient only on request.
func (t *tuner) triplet(out *slot, h *Head, tr *Triplet, cfg AlignConfig, grad bool) {
	for i, v := range [3]*Video{&tr.Anchor, &tr.Better, &tr.Worse} {
		t.side[i].load(v, h)
	}
	d := tr.Anchor.D
	if h != nil {
		d = h.Out
	}
	// R of either pair, and its derivative by the cost matrix up to the sign.
	var r [2]float64
	for i := range r {
		a, b := &t.side[0], &t.side[i+1]
		size := a.t * b.t
		t.c = resize(t.c, size)
		ot.Matrix(cfg.Cost, t.c, a.z, b.z, d)
		if out.err = t.solver.Solve(&t.plan, t.c, a.t, b.t); out.err != nil {
			return
		}
		r[i] = -t.plan.Cost
		if grad {
			t.dc[i] = resize(t.dc[i], size)
			if cfg.Envelope {
				copy(t.dc[i], t.plan.P)
			} else {
				t.solver.Gradient(t.dc[i], &t.plan, t.c)
			}
		}
	}
	out.margin = cfg.Temperature * (r[0] - r[1])
	var slope float64 // of the loss by the margin
	out.loss, slope = loss(out.margin, tr.Tie)
	if !grad {
		return
	}
	for i := range t.side {
		clear(t.side[i].dz)
	}
	// R = -⟨P,C⟩: better's cost lowers the margin, worse's raises it.
	for i, sign := range [2]float64{-1, 1} {
		a, b := &t.side[0], &t.side[i+1]
		floats.Scale(sign*slope*cfg.Temperature, t.dc[i])
		ot.MatrixGrad(cfg.Cost, a.dz, b.dz, t.dc[i], a.z, b.z, d)
	}
	clear(out.grad)
	w, b := out.grad[:len(h.W)], out.grad[len(h.W):]
	for i := range t.side {
		t.side[i].backward(w, b, h)
	}
}

// loss of a margin and its derivative: −log p with p = σ(margin), or (p − ½)²
// for a tie.
func loss(margin float64, tie bool) (l, slope float64) {
	q := 1 / (1 + math.Exp(margin)) // 1 − p
	if tie {
		e := 0.5 - q
		return e * e, 2 * e * q * (1 - q)
	}
	// log(1 + e^-m), where e^-m could overflow.
	return max(-margin, 0) + math.Log1p(math.Exp(-math.Abs(margin))), -q
}

// load embeds v.
func (s *side) load(v *Video, h *Head) {
	s.t = v.Len()
	s.x = resize(s.x, len(v.Embed))
	for i, x := range v.Embed {
		s.x[i] = float64(x)
	}
	if h == nil {
		s.z = append(s.z[:0], s.x...)
		return
	}
	s.z, s.dz = resize(s.z, s.t*h.Out), resize(s.dz, s.t*h.Out)
	for t := range s.t {
		h.apply(s.z[t*h.Out:(t+1)*h.Out], s.x[t*h.In:(t+1)*h.In])
	}
}

// backward adds the head's gradient, dW = dzᵀ x and dB = Σ_t dz.
func (s *side) backward(dw, db []float64, h *Head) {
	blas64.Gemm(blas.Trans, blas.NoTrans, 1,
		blas64.General{Rows: s.t, Cols: h.Out, Stride: h.Out, Data: s.dz},
		blas64.General{Rows: s.t, Cols: h.In, Stride: h.In, Data: s.x},
		1, blas64.General{Rows: h.Out, Cols: h.In, Stride: h.In, Data: dw})
	for t := range s.t {
		floats.Add(db, s.dz[t*h.Out:(t+1)*h.Out])
	}
}
