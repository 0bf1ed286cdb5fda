package combine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/bits"
	"slices"
	"sync"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
)

// Part is a component of a combined reward.
type Part struct {
	Name   string
	Scorer reward.Scorer
	// Lo and Hi are what counts as its worst and its best: they become −1 and 1 for
	// KRC, 0 and 1 for Harmonic, and what lies beyond is cut off. Both 0: it is in
	// that range by itself.
	Lo, Hi float64
}

// KRCConfig says more of a KRC Scorer. The zero value is usable.
type KRCConfig struct {
	Potential float64      // γ of the potential form; 0: the reward itself
	Log       *slog.Logger // is told of components that are dead; nil: nobody is
}

// Scorer implements reward.Scorer by combining others. It is safe for use by several
// goroutines if its parts are.
type Scorer struct {
	parts     []Part
	low       float64 // worst value of a component in the rule's range
	mix       func(parts []float64) float64
	potential float64
	log       *slog.Logger

	mu   sync.Mutex
	dead []uint64 // trajectories in which each part was zero throughout
}

// NewKRC combines one or more parts by KRC.
func NewKRC(parts []Part, c KRCConfig) (*Scorer, error) {
	if c.Potential < 0 || c.Potential > 1 || c.Potential != c.Potential {
		return nil, fmt.Errorf("combine: potential is %v, want a discount of 0 to 1", c.Potential)
	}
	return newScorer(parts, -1, KRC, c.Potential, c.Log)
}

// NewHarmonic combines two parts, of which a weighs lambda.
func NewHarmonic(lambda float64, a, b Part, log *slog.Logger) (*Scorer, error) {
	if !(lambda >= 0 && lambda <= 1) {
		return nil, fmt.Errorf("combine: lambda is %v, want 0 to 1", lambda)
	}
	return newScorer([]Part{a, b}, 0, func(p []float64) float64 { return Harmonic(lambda, p[0], p[1]) }, 0, log)
}

func newScorer(parts []Part, low float64, mix func([]float64) float64, potential float64, log *slog.Logger) (*Scorer, error) {
	if len(parts) == 0 {
		return nil, errors.New("combine: nothing to combine: name at least one reward")
	}
	for i, p := range parts {
		switch {
		case p.Scorer == nil:
			return nil, fmt.Errorf("combine: part %d (%s) has no scorer", i, p.Name)
		case p.Hi < p.Lo || p.Hi-p.Lo != p.Hi-p.Lo || math.IsInf(p.Hi-p.Lo, 0) || p.Hi == p.Lo && p.Hi != 0:
			return nil, fmt.Errorf("combine: part %d (%s) goes from %v to %v, want a lower and a higher number", i, p.Name, p.Lo, p.Hi)
		}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Scorer{parts: slices.Clone(parts), low: low, mix: mix, potential: potential, log: log, dead: make([]uint64, len(parts))}, nil
}

// Score implements reward.Scorer.
func (s *Scorer) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	n := len(s.parts)
	each := make([]float64, n*len(dst))
	row := make([]float64, len(dst))
	for i, p := range s.parts {
		if err := p.Scorer.Score(ctx, row, traj); err != nil {
			return fmt.Errorf("combine: %s: %w", p.Name, err)
		}
		alive := false
		for t, r := range row {
			if r != r {
				return fmt.Errorf("combine: %s: reward %d is %v", p.Name, t, r)
			}
			r = s.fit(p, r)
			each[t*n+i] = r
			alive = alive || math.Abs(r) > smooth
		}
		if !alive {
			s.note(i)
		}
	}
	for t := range dst {
		dst[t] = s.mix(each[t*n : (t+1)*n])
	}
	if s.potential > 0 {
		Potential(dst, s.potential)
	}
	return nil
}

// fit brings a part's reward into the rule's range.
func (s *Scorer) fit(p Part, r float64) float64 {
	if p.Lo != p.Hi {
		r = s.low + (1-s.low)*(r-p.Lo)/(p.Hi-p.Lo)
	}
	return min(1, max(s.low, r))
}

// note counts a part that was zero throughout a trajectory, which silences all others,
// and tells the 1st, 2nd, 4th, 8th ... time.
func (s *Scorer) note(i int) {
	s.mu.Lock()
	s.dead[i]++
	n := s.dead[i]
	s.mu.Unlock()
	if bits.OnesCount64(n) == 1 {
		s.log.Warn("a component of the reward is zero in every step, and silences the others", "component", s.parts[i].Name, "trajectories", n)
	}
}

// Dead tells in how many trajectories each part was zero throughout.
func (s *Scorer) Dead() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dead)
}
