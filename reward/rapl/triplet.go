package rapl

import (
	"math"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/ot"
)

// tuner computes the loss of one triplet and its gradient by the head.
type tuner struct {
	solver ot.Solver
	unroll ot.Unroll
	plan   ot.Plan
	c      []float64
	side   [3]pass // anchor, better, worse
	dc     [2][]float64
}

func newTuner(cfg AlignConfig) *tuner {
	return &tuner{
		solver: ot.Solver{Epsilon: 1 / cfg.Gamma, Tolerance: cfg.Tolerance, MaxIter: cfg.MaxIter},
		unroll: ot.Unroll{Epsilon: 1 / cfg.Gamma, Sweeps: cfg.Sweeps},
	}
}

// triplet fills out, the gradient only on request.
func (t *tuner) triplet(out *slot, h *Head, tr *Triplet, cfg AlignConfig, grad bool) {
	for i, v := range [3]*Video{&tr.Anchor, &tr.Better, &tr.Worse} {
		t.side[i].load(v.Embed, v.Len(), v.D, h)
	}
	d := tr.Anchor.D
	if h != nil {
		d = h.Out
	}
	t.compare(out, d, tr.Tie, cfg, grad)
	if !grad || out.err != nil {
		return
	}
	clear(out.grad)
	for i := range t.side {
		t.side[i].backward(out.grad, h, false)
	}
}

// compare fills the loss and the margin of the three sides' embeddings of d
// numbers, and on request leaves the gradients by them in their dz.
func (t *tuner) compare(out *slot, d int, tie bool, cfg AlignConfig, grad bool) {
	// R of either pair, and its derivative by the cost matrix up to the sign.
	var r [2]float64
	for i := range r {
		a, b := &t.side[0], &t.side[i+1]
		size := a.t * b.t
		t.c = resize(t.c, size)
		ot.Matrix(cfg.Cost, t.c, a.z, b.z, d)
		if cfg.Gradient == Unrolled {
			out.err = t.unroll.Solve(&t.plan, t.c, a.t, b.t)
		} else {
			out.err = t.solver.Solve(&t.plan, t.c, a.t, b.t)
		}
		if out.err = byGamma(out.err); out.err != nil {
			return
		}
		r[i] = -t.plan.Cost
		if !grad {
			continue
		}
		t.dc[i] = resize(t.dc[i], size)
		switch cfg.Gradient {
		case Envelope:
			copy(t.dc[i], t.plan.P)
		case Unrolled:
			t.unroll.Gradient(t.dc[i], &t.plan, t.c)
		default:
			t.solver.Gradient(t.dc[i], &t.plan, t.c)
		}
	}
	out.margin = cfg.Temperature * (r[0] - r[1])
	var slope float64 // of the loss by the margin
	out.loss, slope = loss(out.margin, tie)
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
