package pal

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/preference"
)

// prior is the weight of ‖w‖²/2 beside the sum of the losses, so that few answers
// do not make a new person all of one prototype.
const prior = 0.02

// meeting is the fit of one new person's weights, everything else held.
type meeting struct {
	m     *Model
	place [][]float64 // (pairs, Dim) difference of places
	base  []float64   // (pairs,) of bases
	said  []preference.Verdict

	shares, ideal, dir, byDir []float64
}

// Meet makes the view of somebody new from a few answers, by fitting the weights of
// the prototypes alone: descent from each prototype and from all of them alike, the
// best of which is kept.
func (m *Model) Meet(pairs []preference.Pair) (*User, error) {
	if _, err := preference.Validate(pairs); err != nil {
		return nil, fmt.Errorf("pal: meet: %w", err)
	}
	K, D := m.cfg.Prototypes, m.cfg.Dim
	t := &meeting{m: m, shares: make([]float64, K), ideal: make([]float64, D), dir: make([]float64, D), byDir: make([]float64, D)}
	for _, p := range pairs {
		a, err := m.embed(p.A)
		if err != nil {
			return nil, fmt.Errorf("pal: meet: %w", err)
		}
		b, err := m.embed(p.B)
		if err != nil {
			return nil, fmt.Errorf("pal: meet: %w", err)
		}
		floats.Sub(a.place, b.place)
		t.place, t.base, t.said = append(t.place, a.place), append(t.base, a.base-b.base), append(t.said, p.Verdict)
	}
	var best []float64
	var least float64
	for start := -1; start < K; start++ {
		w := make([]float64, K)
		if start >= 0 {
			w[start] = 3
		}
		if l := t.descend(w); best == nil || l < least {
			best, least = w, l
		}
	}
	return m.user(best), nil
}

// loss of weights w, with its gradient in grad (K,) unless that is nil:
//
//	Σ_i ℓ_i + prior ‖w‖²/2 − Sparse Σ_k s_k log s_k
func (t *meeting) loss(w, grad []float64) float64 {
	m, D := t.m, len(t.dir)
	softmax(t.shares, w)
	m.direct(t.dir, t.shares)
	sum := prior / 2 * floats.Dot(w, w)
	for _, s := range t.shares {
		sum -= max(m.cfg.Sparse, 0) * s * math.Log(s+tiny)
	}
	clear(t.byDir)
	for i, p := range t.place {
		l, slope, _ := m.cfg.Ties.Loss(t.said[i], floats.Dot(t.dir, p)+t.base[i], m.cfg.Strength)
		sum += l
		floats.AddScaled(t.byDir, slope, p)
	}
	if grad == nil {
		return sum
	}
	// By the ideal point a: dir = 2a, or s a/√(a·a + ε).
	byIdeal := t.byDir
	if m.cfg.Likeness == Distance {
		floats.Scale(2, byIdeal)
	} else {
		clear(t.ideal)
		for k, s := range t.shares {
			for j := range D {
				t.ideal[j] += s * float64(m.points.Data[k*D+j])
			}
		}
		square := floats.Dot(t.ideal, t.ideal) + 1e-6
		along := floats.Dot(t.ideal, byIdeal) / square
		c := floats.Norm(t.dir, 2) / (floats.Norm(t.ideal, 2) + 1e-300)
		floats.AddScaled(byIdeal, -along, t.ideal)
		floats.Scale(c, byIdeal)
	}
	// By the shares, and through the softmax.
	var mean float64
	for k, s := range t.shares {
		grad[k] = -max(m.cfg.Sparse, 0) * (math.Log(s+tiny) + s/(s+tiny))
		for j := range D {
			grad[k] += byIdeal[j] * float64(m.points.Data[k*D+j])
		}
		mean += s * grad[k]
	}
	for k, s := range t.shares {
		grad[k] = s*(grad[k]-mean) + prior*w[k]
	}
	return sum
}

// descend moves w downhill by steps that are halved until they help, and returns
// the loss there.
func (t *meeting) descend(w []float64) float64 {
	grad, next := make([]float64, len(w)), make([]float64, len(w))
	now := t.loss(w, grad)
	step := 1.0
	for range 200 {
		slope := floats.Dot(grad, grad)
		if slope < 1e-12 {
			break
		}
		helped := false
		for range 30 {
			floats.AddScaledTo(next, w, -step, grad)
			if l := t.loss(next, nil); l <= now-step*slope/10 { // Armijo
				helped = true
				break
			}
			step /= 2
		}
		if !helped {
			break
		}
		copy(w, next)
		now = t.loss(w, grad)
		step *= 2
	}
	return now
}
