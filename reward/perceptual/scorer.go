package perceptual

import (
	"context"
	"fmt"

	"github.com/rapport-rl/rapport/perception"
)

// Validate reports wrong shapes and numbers.
func (m Model) Validate() error {
	D := len(m.Mean)
	if D == 0 || len(m.Factor) != D || len(m.Steps) < 2 {
		return fmt.Errorf("perceptual: %d means, %d factors, %d steps, want as many factors as means and two steps", D, len(m.Factor), len(m.Steps))
	}
	for _, x := range [2][]float64{m.Mean, m.Factor} {
		for i, v := range x {
			if v-v != 0 {
				return fmt.Errorf("perceptual: feature %d is standardised by %v", i, v)
			}
		}
	}
	for g, s := range m.Steps {
		if n := len(s.Index); n == 0 || len(s.Mean) != n || len(s.Std) != n {
			return fmt.Errorf("perceptual: step %d has %d features, %d means and %d deviations", g, n, len(s.Mean), len(s.Std))
		}
		for k, i := range s.Index {
			if i < 0 || i >= D || s.Mean[k]-s.Mean[k] != 0 || !(s.Std[k] > 0) || s.Std[k]-s.Std[k] != 0 {
				return fmt.Errorf("perceptual: step %d: feature %d of %d has mean %v and deviation %v", g, i, D, s.Mean[k], s.Std[k])
			}
		}
	}
	return nil
}

// Scorer implements reward.Scorer. It is safe for use by several goroutines.
type Scorer struct {
	m     Model
	total float64 // of the steps' weights
}

// New makes a Scorer. It keeps m's slices.
func New(m Model) (*Scorer, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	s := &Scorer{m: m}
	for g := 1; g < len(m.Steps); g++ {
		s.total += weight(g)
	}
	return s, nil
}

// weight is 2^(g−1) of the steps g = 2, 3, … of the paper, which counts from 1; here
// step g, from 0, has 2^g.
func weight(g int) float64 { return float64(uint64(1) << min(g, 62)) }

// Step is the reward of one step (from 0) at x (D,):
//
//	R_g = −1/n_f Σ_i (x_i − μ⁺_i)² / σ⁺_i²
//
// the mean log-likelihood under independent Gaussians but for constants (the
// paper's equation 2, printed without the minus, and without the square below).
func (s *Scorer) Step(g int, x []float32) float64 {
	st := &s.m.Steps[g]
	sum := 0.0
	for k, i := range st.Index {
		z := ((float64(x[i])-s.m.Mean[i])*s.m.Factor[i] - st.Mean[k]) / st.Std[k]
		sum += z * z
	}
	return -sum / float64(len(st.Index))
}

// At is the combined reward at x (D,): Σ_{g≥2} 2^{g−1} R_g over Σ_{g≥2} 2^{g−1}, so
// that its size does not grow with the steps. The first step, where every episode
// begins, earns nothing.
func (s *Scorer) At(x []float32) float64 {
	r := 0.0
	for g := 1; g < len(s.m.Steps); g++ {
		r += weight(g) / s.total * s.Step(g, x)
	}
	return r
}

// Score implements reward.Scorer. No reward depends on another frame.
func (s *Scorer) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(dst) < 1 || len(traj) != len(dst)+1 {
		return fmt.Errorf("perceptual: %d features for %d rewards, want one more and at least two", len(traj), len(dst))
	}
	for t := range dst {
		x := traj[t+1].Embed
		if len(x) != len(s.m.Mean) {
			return fmt.Errorf("perceptual: frame %d: embedding of %d numbers, want %d", t+1, len(x), len(s.m.Mean))
		}
		for i, v := range x {
			if v-v != 0 {
				return fmt.Errorf("perceptual: frame %d: embedding[%d] is %v", t+1, i, v)
			}
		}
		dst[t] = s.At(x)
	}
	return nil
}
