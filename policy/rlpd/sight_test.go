package rlpd

import (
	"math"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/policy/critic"
	"github.com/rapport-rl/rapport/policy/policytest"
)

// TestConservativeTermTrainsTheTrunkToo: the gradient that a critic step leaves in
// the trunk is that of what the critics' loss and the term say of the latents,
// against differences along it; without the term it is another. Rates are too
// small for float32, so that nothing moves.
func TestConservativeTermTrainsTheTrunkToo(t *testing.T) {
	for _, online := range []float64{0.5, -1} { // weight of the term
		a := policytest.PixelArch()
		a.Hidden = []int{16}
		l, err := NewConservative(Config{
			Arch: a, Batch: 8, Critics: 3, CriticHidden: []int{16}, CriticLR: 1e-20, ActorLR: 1e-20, ClipNorm: math.Inf(1), Seed: 1,
		}, critic.Conserve{Weight: 2, Online: online, Actions: 2}, nil)
		if err != nil {
			t.Fatal(err)
		}
		es := policytest.Demos(4, 1, [2]float64{})
		for i, e := range es {
			if i > 1 {
				e.Origin = 1 - e.Origin
			}
			if err := l.Add(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		l.Online()
		for range 2 { // nothing is left over from the first
			if err := l.criticStep(4); err != nil {
				t.Fatal(err)
			}
		}
		D, n, k := l.sight.D, l.actor.Dim(), l.fit.xa.Shape[1]
		loss := func() float64 {
			l.sight.Now(l.read, l.batch.Obs, l.batch.Pix, nil)
			sum := 0.0
			for i := range l.cfg.Batch {
				for j := D; j < n; j++ {
					by := l.fit.xa.Grad[i*k+j]
					if online > 0 {
						by += l.conservative.X().Grad[i*n+j]
					}
					sum += float64(l.read[i*n+j]) * float64(by)
				}
			}
			return sum
		}
		ps := l.actor.Eye().Params()
		var old [][]float32
		norm := 0.0
		for _, p := range ps {
			old = append(old, slices.Clone(p.Data))
			for _, g := range p.Grad {
				norm += float64(g) * float64(g)
			}
		}
		norm = math.Sqrt(norm)
		at := func(eps float64) float64 {
			for i, p := range ps {
				for j, g := range p.Grad {
					p.Data[j] = old[i][j] + float32(eps*float64(g)/norm)
				}
			}
			return loss()
		}
		// float32 latents and kinks of the ReLUs: 2 %.
		if got := (at(1e-3) - at(-1e-3)) / 2e-3; math.Abs(got-norm) > 0.02*norm || norm == 0 {
			t.Errorf("weight %v: what the critics say rises by %v along a gradient of norm %v", online, got, norm)
		}
	}
}
