// Package goal rewards being near to how the preferred videos end, in the
// embedding: the reward of XIRL (Zakka et al. 2021, arXiv:2106.03911, section
// 4.2), and, on frozen features, the distance to a goal image that RAPL is
// compared with.
//
//	g, err := goal.Of(experts, head)
//	s, err := goal.New(g)
//	err = s.Score(ctx, rewards, traj)
package goal

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// Goal is where to get to.
type Goal struct {
	// Embed (d,) is the mean of the preferred videos' last embeddings, after the head.
	Embed []float64 `json:"embed"`
	// Scale multiplies the distance.
	Scale float64 `json:"scale"`
	// Head is applied to embeddings first; nil for none.
	Head *rapl.Head `json:"head,omitempty"`
}

// Of makes the goal of preferred videos as XIRL does: g is the mean of their last
// embeddings, and the scale is one over the largest distance from it in them, so
// that their rewards lie in -1..0 (the authors set it by hand, to about that).
func Of(experts []rapl.Video, head *rapl.Head) (Goal, error) {
	if len(experts) == 0 {
		return Goal{}, errors.New("goal: no preferred videos to end like: record or label at least one")
	}
	d := experts[0].D
	if head != nil {
		if err := head.Validate(); err != nil {
			return Goal{}, err
		}
		d = head.In
	}
	for i, v := range experts {
		if err := v.Validate(); err != nil {
			return Goal{}, fmt.Errorf("goal: %w", err)
		}
		if v.D != d {
			return Goal{}, fmt.Errorf("goal: video %d (%s) has embeddings of %d numbers, want %d: was it embedded by another encoder?", i, v.Name, v.D, d)
		}
	}
	g := Goal{Head: head}
	var z, row []float64
	for _, v := range experts {
		z, row = project(z, row, v.Embed[len(v.Embed)-d:], head)
		if g.Embed == nil {
			g.Embed = make([]float64, len(z))
		}
		floats.AddScaled(g.Embed, 1/float64(len(experts)), z)
	}
	far := 0.0
	for _, v := range experts {
		for t := range v.Len() {
			z, row = project(z, row, v.Embed[t*d:(t+1)*d], head)
			far = max(far, floats.Distance(z, g.Embed, 2))
		}
	}
	if far == 0 {
		return Goal{}, errors.New("goal: nothing changes in the preferred videos, so no frame is nearer to their end than another; record others")
	}
	g.Scale = 1 / far
	return g, nil
}

// project embeds x (d,) through head into z, with row as scratch.
func project(z, row []float64, x []float32, head *rapl.Head) ([]float64, []float64) {
	row = row[:0]
	for _, v := range x {
		row = append(row, float64(v))
	}
	if head == nil {
		return append(z[:0], row...), row
	}
	if len(z) != head.Out {
		z = make([]float64, head.Out)
	}
	head.Apply(z, row)
	return z, row
}

// Validate reports wrong shapes and numbers that are not finite.
func (g Goal) Validate() error {
	if len(g.Embed) == 0 || !(g.Scale > 0) || math.IsInf(g.Scale, 0) {
		return fmt.Errorf("goal: %d numbers and a scale of %v, want at least one and a positive scale", len(g.Embed), g.Scale)
	}
	for i, x := range g.Embed {
		if x-x != 0 {
			return fmt.Errorf("goal: embed[%d] is %v", i, x)
		}
	}
	if g.Head == nil {
		return nil
	}
	if err := g.Head.Validate(); err != nil {
		return err
	}
	if g.Head.Out != len(g.Embed) {
		return fmt.Errorf("goal: the head gives %d numbers, the goal has %d", g.Head.Out, len(g.Embed))
	}
	return nil
}

// Scorer implements reward.Scorer. It is safe for use by several goroutines.
type Scorer struct{ g Goal }

// New makes a Scorer. It keeps g's slices.
func New(g Goal) (*Scorer, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	return &Scorer{g}, nil
}

// Score implements reward.Scorer: dst[t] = -scale ‖z(traj[t+1]) - g‖. No reward
// depends on another frame.
func (s *Scorer) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(dst) < 1 || len(traj) != len(dst)+1 {
		return fmt.Errorf("goal: %d features for %d rewards, want one more and at least two", len(traj), len(dst))
	}
	want := len(s.g.Embed)
	if s.g.Head != nil {
		want = s.g.Head.In
	}
	var z, row []float64
	for t := range dst {
		x := traj[t+1].Embed
		if len(x) != want {
			return fmt.Errorf("goal: frame %d: embedding of %d numbers, want %d", t+1, len(x), want)
		}
		for i, v := range x {
			if v-v != 0 {
				return fmt.Errorf("goal: frame %d: embedding[%d] is %v", t+1, i, v)
			}
		}
		z, row = project(z, row, x, s.g.Head)
		dst[t] = -s.g.Scale * floats.Distance(z, s.g.Embed, 2)
	}
	return nil
}
