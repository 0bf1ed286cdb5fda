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
	sides [][2]embedding // (pairs,) of either clip
	said  []preference.Verdict

	shares []float64    // (K,)
	views  [2]view      // of the shares in either clip
	by     [2][]float64 // (Dim,) derivative of its worth by the ideal point
}

func (m *Model) newMeeting(pairs []preference.Pair) (*meeting, error) {
	K, D := m.cfg.Prototypes, m.cfg.Dim
	t := &meeting{m: m, shares: make([]float64, K)}
	for i := range t.views {
		t.views[i], t.by[i] = newView(D), make([]float64, D)
	}
	for _, p := range pairs {
		a, err := m.embed(p.A)
		if err != nil {
			return nil, fmt.Errorf("pal: meet: %w", err)
		}
		b, err := m.embed(p.B)
		if err != nil {
			return nil, fmt.Errorf("pal: meet: %w", err)
		}
		t.sides, t.said = append(t.sides, [2]embedding{a, b}), append(t.said, p.Verdict)
	}
	return t, nil
}

// Meet makes the view of somebody new from a few answers, by fitting the weights of
// the prototypes alone: descent from each prototype and from all of them alike, the
// best of which is kept.
func (m *Model) Meet(pairs []preference.Pair) (*User, error) {
	if _, err := preference.Validate(pairs); err != nil {
		return nil, fmt.Errorf("pal: meet: %w", err)
	}
	t, err := m.newMeeting(pairs)
	if err != nil {
		return nil, err
	}
	K := m.cfg.Prototypes
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
	m, D := t.m, t.m.cfg.Dim
	softmax(t.shares, w)
	sum := prior / 2 * floats.Dot(w, w)
	clear(grad)
	for k, s := range t.shares {
		sum -= max(m.cfg.Sparse, 0) * s * math.Log(s+tiny)
		if grad != nil {
			grad[k] = -max(m.cfg.Sparse, 0) * (math.Log(s+tiny) + s/(s+tiny))
		}
	}
	for i, sides := range t.sides {
		var worth [2]float64
		for side, e := range sides {
			v := &t.views[side]
			m.look(v, t.shares, e.points)
			worth[side] = v.worth(e)
		}
		l, slope, _ := m.cfg.Ties.Loss(t.said[i], worth[0]-worth[1], m.cfg.Strength)
		sum += l
		if grad == nil {
			continue
		}
		for side, e := range sides {
			v, by := &t.views[side], t.by[side]
			if m.cfg.Likeness == Distance { // 2 z·a − ‖a‖²
				for j := range by {
					by[j] = 2 * (e.place[j] - v.ideal[j])
				}
			} else { // s z·a/√(‖a‖² + ε)
				square := floats.Dot(v.ideal, v.ideal) + 1e-6
				along := floats.Dot(v.dir, e.place) / square
				c := m.temperature() / math.Sqrt(square)
				for j := range by {
					by[j] = c*e.place[j] - along*v.ideal[j]
				}
			}
			for k := range t.shares {
				grad[k] += slope * floats.Dot(by, e.points[k*D:(k+1)*D])
			}
			slope = -slope
		}
	}
	if grad == nil {
		return sum
	}
	// Through the softmax.
	mean := floats.Dot(t.shares, grad)
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
