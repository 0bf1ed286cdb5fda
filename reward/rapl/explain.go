package rapl

import (
	"context"
	"encoding/json"
	"fmt"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/perception"
)

// Explanation shows what is behind the rewards of a trajectory.
type Explanation struct {
	Expert int    `json:"expert"` // index of the nearest preferred video
	Name   string `json:"name"`
	T      int    `json:"t"`      // frames of the trajectory, without the first
	Frames int    `json:"frames"` // T', frames of the video
	// Plan and Cost (T,T'), row-major.
	Plan []float64 `json:"plan"`
	Cost []float64 `json:"cost"`
	// Match (T,) is the video's frame that gets most of each step.
	Match []int `json:"match"`
	// Rewards (T,) are those that Score gives.
	Rewards []float64 `json:"rewards"`
	// Distance is ⟨Plan,Cost⟩, to the nearest video.
	Distance float64 `json:"distance"`
}

// Encode returns e as JSON.
func (e Explanation) Encode() ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("rapl: explanation: %w", err)
	}
	return b, nil
}

// Explain scores traj (T+1,) and tells how.
func (s *Scorer) Explain(ctx context.Context, traj []perception.Features) (Explanation, error) {
	b := s.pool.Get().(*bench)
	defer s.pool.Put(b)
	T := len(traj) - 1
	k, err := s.nearest(ctx, b, T, traj)
	if err != nil {
		return Explanation{}, err
	}
	p := &b.best
	e := Explanation{
		Expert: k, Name: s.experts[k].name, T: T, Frames: p.M, Distance: p.Cost,
		Plan: append([]float64(nil), p.P...), Cost: append([]float64(nil), b.bestC...),
		Match: make([]int, T), Rewards: make([]float64, T),
	}
	for t := range T {
		e.Match[t] = p.Match(t)
		row := e.Cost[t*p.M : (t+1)*p.M]
		e.Rewards[t] = s.cfg.Form.reward(floats.Dot(p.P[t*p.M:(t+1)*p.M], row), T)
	}
	return e, nil
}
