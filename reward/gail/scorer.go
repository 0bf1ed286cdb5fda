package gail

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/rapport-rl/rapport/perception"
)

// Model is a discriminator that was learned.
type Model struct {
	Net Net     `json:"net"`
	K   float64 `json:"k"` // the norm of the gradient that is none too large
	// Plain leaves out the pessimism: rewards are not made smaller where the
	// discriminator is steep.
	Plain bool `json:"plain,omitempty"`
}

// Validate reports a net that does not take pairs, and numbers out of range.
func (m Model) Validate() error {
	if err := m.Net.Validate(); err != nil {
		return err
	}
	if m.Net.Sizes[0]%2 != 0 || !(m.K > 0) || math.IsInf(m.K, 0) {
		return fmt.Errorf("gail: a net of %d inputs and k %v, want pairs and a positive k", m.Net.Sizes[0], m.K)
	}
	return nil
}

// Scorer implements reward.Scorer. It is safe for use by several goroutines.
type Scorer struct {
	m    Model
	d    int
	pool sync.Pool // of *pass of one pair
}

// NewScorer makes a Scorer. It keeps m's slices.
func NewScorer(m Model) (*Scorer, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	s := &Scorer{m: m, d: m.Net.Sizes[0] / 2}
	s.pool.New = func() any { return newPass(1, m.Net.Sizes) }
	return s, nil
}

// least keeps the factor above 0, which it would round to at norms of 27 over k.
const least = 1e-300

// Pessimism is the factor m in (0,1] of a reward where the discriminator's gradient
// has a norm: exp(−max(0, norm − k)²), 1 up to k.
func Pessimism(norm, k float64) float64 {
	over := max(0, norm-k)
	return max(least, math.Exp(-over*over))
}

// Score implements reward.Scorer: with y the discriminator of (s,s') and m the
// pessimism, dst[t] = −m log(1 − σ(y) + 1e-8), which is never negative. No reward
// depends on a later frame.
func (s *Scorer) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	return s.score(ctx, dst, nil, traj)
}

// Norms writes the norms of the discriminator's gradient along traj, whose Gauge
// tells how far it can be trusted there.
func (s *Scorer) Norms(ctx context.Context, dst []float64, traj []perception.Features) error {
	return s.score(ctx, nil, dst, traj)
}

func (s *Scorer) score(ctx context.Context, dst, norms []float64, traj []perception.Features) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	T := max(len(dst), len(norms))
	if T < 1 || len(traj) != T+1 {
		return fmt.Errorf("gail: %d features for %d rewards, want one more and at least two", len(traj), T)
	}
	p := s.pool.Get().(*pass)
	defer s.pool.Put(p)
	for t := range T {
		for k := range 2 {
			x := traj[t+k].Embed
			if len(x) != s.d {
				return fmt.Errorf("gail: frame %d: embedding of %d numbers, want %d", t+k, len(x), s.d)
			}
			for j, v := range x {
				if v-v != 0 {
					return fmt.Errorf("gail: frame %d: embedding[%d] is %v", t+k, j, v)
				}
				p.h[0][k*s.d+j] = float64(v)
			}
		}
		s.m.Net.forward(p)
		m := 1.0
		if norms != nil || !s.m.Plain {
			s.m.Net.grad(p)
			m = Pessimism(p.norms[0], s.m.K)
		}
		if norms != nil {
			norms[t] = p.norms[0]
			continue
		}
		if s.m.Plain {
			m = 1
		}
		dst[t] = max(0, -m*math.Log(1/(1+math.Exp(p.y[0]))+1e-8))
	}
	return nil
}
