// Package starc measures how far two reward functions are apart as reasons to act:
// the STARC metrics of Skalse, Farnik, Motwani, Jenner, Gleave, Abate: STARC: A
// General Framework For Quantifying Differences Between Reward Functions, ICLR 2024
// (arXiv:2309.15257).
//
// A reward R(s,a,s') is first made canonical, which takes away all that no policy
// cares for (potential shaping, and how a reward is spread over the successors), by
// value-adjusted levelling with the value V of some fixed policy,
//
//	c(R)(s,a) = E_s'[R(s,a,s') − V(s) + γ V(s')]
//
// then brought to norm 1, which takes away its scale. The distance is half of that
// between the two: 0 for rewards that order policies alike, 1 for opposite ones, and
// both an upper and a lower bound on how much is lost by optimising the one where the
// other is meant.
//
// A Model has known dynamics and is exact; a Log estimates the same from recorded
// transitions:
//
//	l, err := starc.NewLog(transitions, starc.LogConfig{Discount: 0.97})
//	a, err := l.Canonical(rewards)
//	b, err := l.Canonical(others)
//	d := starc.Distance(a, b)
package starc

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// negligible is what the norm of a canonical reward may be, relative to the numbers
// that it is made of, to count as zero: what rounding leaves of a pure shaping.
const negligible = 1e-9

// Canonical is a reward of which only the part that policies care for is left.
type Canonical struct {
	C    []float64 // (s,a) pairs, or logged transitions
	Size float64   // largest number that C was computed from, which tells rounding from reward
}

// zero says that nothing is left: all policies are alike.
func (c Canonical) zero() bool {
	return floats.Norm(c.C, 2) <= negligible*c.Size*math.Sqrt(float64(len(c.C)))
}

// Distance is ½ ‖a/‖a‖ − b/‖b‖‖ with the L2 norm: in [0,1], 0 if both are zero and ½
// if one is. It panics if their lengths differ.
func Distance(a, b Canonical) float64 {
	if len(a.C) != len(b.C) {
		panic("starc: rewards of different transitions")
	}
	switch za, zb := a.zero(), b.zero(); {
	case za && zb:
		return 0
	case za || zb:
		return 0.5
	}
	na, nb := floats.Norm(a.C, 2), floats.Norm(b.C, 2)
	sum := 0.0
	for i := range a.C {
		d := a.C[i]/na - b.C[i]/nb
		sum += d * d
	}
	return min(1, math.Sqrt(sum)/2)
}

// Model is the dynamics of a finite decision process.
type Model struct {
	S, A     int
	P        []float64 // (S,A,S), rows of probabilities
	Discount float64   // γ, in [0,1)
}

// Validate reports wrong shapes, and rows that are no probabilities.
func (m *Model) Validate() error {
	switch {
	case m.S < 1 || m.A < 1 || len(m.P) != m.S*m.A*m.S:
		return fmt.Errorf("starc: %d states and %d actions with %d probabilities, want S·A·S", m.S, m.A, len(m.P))
	case !(m.Discount >= 0 && m.Discount < 1):
		return fmt.Errorf("starc: discount is %v, want 0 or more and below 1", m.Discount)
	}
	for i := range m.S * m.A {
		sum := 0.0
		for _, p := range m.P[i*m.S : (i+1)*m.S] {
			if !(p >= 0) {
				return fmt.Errorf("starc: state %d, action %d: a probability of %v", i/m.A, i%m.A, p)
			}
			sum += p
		}
		if math.Abs(sum-1) > 1e-9 {
			return fmt.Errorf("starc: state %d, action %d: probabilities sum to %v, want 1", i/m.A, i%m.A, sum)
		}
	}
	return nil
}

// Expected writes E_s'[R(s,a,s')] (S,A) of a reward (S,A,S) and returns it; a nil dst
// is allocated.
func (m *Model) Expected(dst, reward []float64) []float64 {
	if dst == nil {
		dst = make([]float64, m.S*m.A)
	}
	if len(dst) != m.S*m.A || len(reward) != len(m.P) {
		panic("starc: a reward is (S,A,S)")
	}
	for i := range dst {
		dst[i] = floats.Dot(m.P[i*m.S:(i+1)*m.S], reward[i*m.S:(i+1)*m.S])
	}
	return dst
}

// Value writes V (S) of a policy (S,A) under an expected reward (S,A), exactly: it
// solves (I − γ P_π) V = r_π. A nil dst is allocated, a nil policy is uniform.
func (m *Model) Value(dst, expected, policy []float64) ([]float64, error) {
	if dst == nil {
		dst = make([]float64, m.S)
	}
	if len(dst) != m.S || len(expected) != m.S*m.A || policy != nil && len(policy) != m.S*m.A {
		panic("starc: a value is (S), a policy (S,A)")
	}
	a, b := mat.NewDense(m.S, m.S, nil), mat.NewVecDense(m.S, nil)
	for s := range m.S {
		row := a.RawRowView(s)
		r := 0.0
		for u := range m.A {
			p := 1 / float64(m.A)
			if policy != nil {
				p = policy[s*m.A+u]
			}
			r += p * expected[s*m.A+u]
			floats.AddScaled(row, -m.Discount*p, m.P[(s*m.A+u)*m.S:(s*m.A+u+1)*m.S])
		}
		row[s]++
		b.SetVec(s, r)
	}
	v := mat.NewVecDense(m.S, dst)
	if err := v.SolveVec(a, b); err != nil && !errors.As(err, new(mat.Condition)) {
		return nil, fmt.Errorf("starc: value: %w", err)
	}
	return dst, nil
}

// Canonical is value-adjusted levelling of a reward (S,A,S) with the value of a policy
// (S,A), which has to be the same for rewards that are compared; nil is the uniform one.
func (m *Model) Canonical(reward, policy []float64) (Canonical, error) {
	if len(reward) != len(m.P) {
		panic("starc: a reward is (S,A,S)")
	}
	r := m.Expected(nil, reward)
	v, err := m.Value(nil, r, policy)
	if err != nil {
		return Canonical{}, err
	}
	c := Canonical{C: r, Size: max(floats.Norm(reward, math.Inf(1)), floats.Norm(v, math.Inf(1)))}
	for i := range c.C {
		c.C[i] += m.Discount*floats.Dot(m.P[i*m.S:(i+1)*m.S], v) - v[i/m.A]
	}
	return c, nil
}

// Distance is that of two rewards (S,A,S), with the value of the uniform policy.
func (m *Model) Distance(a, b []float64) (float64, error) {
	x, err := m.Canonical(a, nil)
	if err != nil {
		return 0, err
	}
	y, err := m.Canonical(b, nil)
	if err != nil {
		return 0, err
	}
	return Distance(x, y), nil
}
