package preference

import (
	"context"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/perception"
)

// Axes judges clips by several aspects at once, as VideoReward does motion quality
// and text alignment (VideoAlign, Liu et al. 2025, arXiv:2501.13918).
// Each aspect has networks of its own, so that none leaks into another; there a
// query token each keeps them apart. It implements Model by their weighted sum.
type Axes struct {
	Names []string
	// Weights (len(Names),) are the user's, applied at use and not while fitting.
	// They may be changed before use; all 1 at first.
	Weights []float64
	nets    []*Net
}

// FitAxes fits one ensemble for each aspect to Pair.Axes, whose order names gives.
// An aspect of a pair that nobody judged is Unknown. Ties are best explained by
// RaoKupper, VideoAlign's choice:
//
//	L = −Σ_axes Σ_i log P_k(v_i | R(A_i) − R(B_i))
func FitAxes(ctx context.Context, pairs []Pair, names []string, cfg Config) (*Axes, []Report, error) {
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("preference: no aspects named")
	}
	for i, p := range pairs {
		if len(p.Axes) != len(names) {
			return nil, nil, fmt.Errorf("preference: pair %d is judged by %d aspects, want %d", i, len(p.Axes), len(names))
		}
	}
	x := &Axes{Names: slices.Clone(names), Weights: make([]float64, len(names))}
	var reps []Report
	for j, name := range names {
		x.Weights[j] = 1
		var judged []Pair
		for _, p := range pairs {
			if p.Axes[j] != Unknown {
				p.Verdict = p.Axes[j]
				judged = append(judged, p)
			}
		}
		c := cfg
		c.Seed += uint64(j)
		n, rep, err := FitRLHF(ctx, judged, c)
		if err != nil {
			return nil, nil, fmt.Errorf("preference: aspect %s: %w", name, err)
		}
		x.nets, reps = append(x.nets, n), append(reps, rep)
	}
	return x, reps, nil
}

// Axis is the model of one aspect.
func (x *Axes) Axis(i int) *Net { return x.nets[i] }

// Utility implements Model: Σ_i Weights[i] R_i.
func (x *Axes) Utility(c Clip) (float64, error) {
	var sum float64
	for i, n := range x.nets {
		u, err := n.Utility(c)
		if err != nil {
			return 0, fmt.Errorf("preference: aspect %s: %w", x.Names[i], err)
		}
		sum += x.Weights[i] * u
	}
	return sum, nil
}

// Score implements reward.Scorer: Σ_i Weights[i] r_i, each with mean 0 and deviation 1 over
// the frames of the clips that its aspect was judged on.
func (x *Axes) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	sum, r := make([]float64, len(dst)), make([]float64, len(dst))
	for i, n := range x.nets {
		if err := n.Score(ctx, r, traj); err != nil {
			return fmt.Errorf("preference: aspect %s: %w", x.Names[i], err)
		}
		floats.AddScaled(sum, x.Weights[i], r)
	}
	copy(dst, sum)
	return nil
}

// Odds implements Model, with the mean strength of the aspects.
func (x *Axes) Odds(a, b Clip) (Odds, error) {
	ua, err := x.Utility(a)
	if err != nil {
		return Odds{}, err
	}
	ub, err := x.Utility(b)
	if err != nil {
		return Odds{}, err
	}
	var k float64
	for _, n := range x.nets {
		k += n.Strength() / float64(len(x.nets))
	}
	return x.nets[0].cfg.Ties.Odds(ua-ub, k), nil
}
