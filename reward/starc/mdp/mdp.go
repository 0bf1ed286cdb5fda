// Package mdp makes small random decision processes and solves them exactly: what a
// measure of rewards says can then be held against what optimising the one reward
// costs by the other. Tests use it.
//
//	m := mdp.Random(rng, 16, 4)
//	pi, err := m.Optimal(reward)
//	lost, err := m.Regret(reward, proxy) // in [0,1]
package mdp

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/reward/starc"
)

// MDP is a decision process without a reward.
type MDP struct {
	starc.Model
	Start []float64 // (S) probabilities
}

// Random draws a process with states states and actions actions: from each pair a few
// successors, with probabilities from an exponential's simplex, and γ = 0.95.
func Random(rng *rand.Rand, states, actions int) *MDP {
	m := &MDP{Model: starc.Model{S: states, A: actions, P: make([]float64, states*actions*states), Discount: 0.95}, Start: make([]float64, states)}
	for i := range states * actions {
		row := m.P[i*states : (i+1)*states]
		for range 1 + rng.IntN(4) {
			row[rng.IntN(states)] += rng.ExpFloat64()
		}
		floats.Scale(1/floats.Sum(row), row)
	}
	for s := range m.Start {
		m.Start[s] = 1 / float64(states)
	}
	return m
}

// Reward draws a reward (S,A,S) of independent normal numbers.
func (m *MDP) Reward(rng *rand.Rand) []float64 {
	r := make([]float64, len(m.P))
	for i := range r {
		r[i] = rng.NormFloat64()
	}
	return r
}

// Alike returns a reward that orders all policies as r does, and looks otherwise: it is
// shaped by a random potential, spread differently over the successors, and scaled.
func (m *MDP) Alike(rng *rand.Rand, r []float64) []float64 {
	out := make([]float64, len(r))
	potential := make([]float64, m.S)
	for s := range potential {
		potential[s] = 3 * rng.NormFloat64()
	}
	scale := math.Exp(rng.NormFloat64())
	for i := range m.S * m.A {
		p := m.P[i*m.S : (i+1)*m.S]
		spread := make([]float64, m.S)
		for s := range spread {
			spread[s] = rng.NormFloat64()
		}
		floats.AddConst(-floats.Dot(p, spread), spread)
		for s := range m.S {
			out[i*m.S+s] = scale * (r[i*m.S+s] + spread[s] + m.Discount*potential[s] - potential[i/m.A])
		}
	}
	return out
}

// Optimal is the best deterministic policy (S,A) for a reward (S,A,S), by policy
// iteration.
func (m *MDP) Optimal(reward []float64) ([]float64, error) {
	r := m.Expected(nil, reward)
	pick := make([]int, m.S)
	pi := make([]float64, m.S*m.A)
	v := make([]float64, m.S)
	for range 1000 {
		clear(pi)
		for s, a := range pick {
			pi[s*m.A+a] = 1
		}
		if _, err := m.Value(v, r, pi); err != nil {
			return nil, err
		}
		stable := true
		for s := range m.S {
			q := func(a int) float64 {
				i := s*m.A + a
				return r[i] + m.Discount*floats.Dot(m.P[i*m.S:(i+1)*m.S], v)
			}
			old := pick[s]
			for a := range m.A {
				// Rounding must not make equals take turns.
				if q(a) > q(pick[s])+1e-10 {
					pick[s] = a
				}
			}
			stable = stable && pick[s] == old
		}
		if stable {
			return pi, nil
		}
	}
	return nil, fmt.Errorf("mdp: policy iteration did not end on %d states", m.S)
}

// Return is the expected discounted return of a policy from Start.
func (m *MDP) Return(reward, policy []float64) (float64, error) {
	v, err := m.Value(nil, m.Expected(nil, reward), policy)
	if err != nil {
		return 0, err
	}
	return floats.Dot(m.Start, v), nil
}

// Regret is what optimising the proxy loses of reward, as a share of what there is
// between reward's best and worst policy.
func (m *MDP) Regret(reward, proxy []float64) (float64, error) {
	worst := make([]float64, len(reward))
	floats.AddScaled(worst, -1, reward)
	var j [3]float64
	for i, aim := range [][]float64{reward, proxy, worst} {
		pi, err := m.Optimal(aim)
		if err != nil {
			return 0, err
		}
		if j[i], err = m.Return(reward, pi); err != nil {
			return 0, err
		}
	}
	return (j[0] - j[1]) / (j[0] - j[2]), nil
}
