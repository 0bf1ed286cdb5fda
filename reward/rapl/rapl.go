// Package rapl scores a rollout by the optimal transport of its frames to those
// of preferred videos, and aligns the embedding that they are compared in with
// people's preferences: RAPL (Tian, Xu, Tomizuka, Malik, Bajcsy, What matters
// to you? Towards visual representation alignment for robot learning, ICLR
// 2024, arXiv 2310.07932; manipulation and hardware in arXiv 2412.04835).
//
// A rollout of T frames and a preferred video of T' frames, embedded, have a
// cost C (T,T') and an entropic transport plan P (T,T') with uniform weights.
// Every frame is rewarded by what it pays, against the video that the rollout
// is nearest to:
//
//	r_t = -T Σ_t' P[t,t'] C[t,t']
//
// A Scorer implements reward.Scorer:
//
//	s, err := rapl.New(preferred, rapl.Config{})
//	err = s.Score(ctx, rewards, trajectory) // rewards (T,), trajectory (T+1,)
//
// and Align learns a head on top of a frozen encoder from triplets, Tune the
// encoder itself with it:
//
//	head, report, err := rapl.Align(ctx, triplets, rapl.AlignConfig{Seed: 1})
//	s, err := rapl.New(preferred, rapl.Config{Head: &head})
package rapl

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"gonum.org/v1/gonum/floats"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/ot"
)

// DefaultGamma is the default inverse weight of the entropy. The authors' code
// has 1, where plans are nearly uniform: for embeddings that sweep a half
// circle in 45 frames, cosine cost, a run that stops half-way is told from a
// whole one by 0.05 at 1, 0.17 at 10 and 0.19 at 50 (TestGammaTellsHalfRuns).
// It is meant for the cosine cost; with the L2 cost it is in units of the
// embedding and wants a sweep.
const DefaultGamma = 50.0

// defaultMaxIter is ten times the solver's: a label is worth a millisecond.
const defaultMaxIter = 10000

// Form says how transport becomes reward.
type Form uint8

// The forms of the reward, with o_t = -Σ_t' P[t,t'] C[t,t'].
const (
	Mean    Form = iota // T·o_t: the mean cost of the frame's matches, whatever T is
	Squared             // -10000·o_t², as in the authors' code; falls with T²
)

func (f Form) String() string {
	switch f {
	case Mean:
		return "mean"
	case Squared:
		return "squared"
	}
	return fmt.Sprintf("Form(%d)", uint8(f))
}

// MarshalText implements encoding.TextMarshaler.
func (f Form) MarshalText() ([]byte, error) {
	if f > Squared {
		return nil, fmt.Errorf("rapl: no such form: %v", f)
	}
	return []byte(f.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler: "mean" or "squared".
func (f *Form) UnmarshalText(b []byte) error {
	switch string(b) {
	case "mean":
		*f = Mean
	case "squared":
		*f = Squared
	default:
		return fmt.Errorf("rapl: form %q, want mean or squared", b)
	}
	return nil
}

// reward is form f of what one of T frames pays.
func (f Form) reward(cost float64, T int) float64 {
	if f == Squared {
		return -1e4 * cost * cost
	}
	return -float64(T) * cost
}

// Config are the parameters of a Scorer. The zero value is usable.
type Config struct {
	Cost      ot.Cost // how frames are compared; cosine by default
	Gamma     float64 // 1/ε, per unit of cost; 0 means DefaultGamma
	Tolerance float64 // of the marginals; 0 means ot.DefaultTolerance
	MaxIter   int     // sweeps of a solve; 0 means 10000
	Form      Form    // of the reward
	Head      *Head   // applied to embeddings before the cost; nil for none
}

func (c Config) solver() (*ot.Solver, error) {
	s := &ot.Solver{Epsilon: 1 / DefaultGamma, Tolerance: c.Tolerance, MaxIter: c.MaxIter}
	if c.Gamma != 0 {
		s.Epsilon = 1 / c.Gamma
	}
	if s.MaxIter == 0 {
		s.MaxIter = defaultMaxIter
	}
	switch {
	case c.Gamma < 0 || math.IsNaN(c.Gamma) || math.IsInf(c.Gamma, 0):
		return nil, fmt.Errorf("rapl: gamma is %v, want positive", c.Gamma)
	case c.Cost > ot.Euclidean:
		return nil, fmt.Errorf("rapl: no such cost: %v", c.Cost)
	case c.Form > Squared:
		return nil, fmt.Errorf("rapl: no such form: %v", c.Form)
	}
	return s, nil
}

// Scorer implements reward.Scorer against a set of preferred videos. It is safe
// for use by several goroutines.
type Scorer struct {
	cfg     Config
	dim     int // of the embeddings given
	experts []clip
	pool    sync.Pool // of *bench
}

// clip is an expert as compared: z (T,d) after the head.
type clip struct {
	name string
	t    int
	z    []float64
}

// bench is what one call of Score works with.
type bench struct {
	s          ot.Solver
	plan, best ot.Plan
	c, bestC   []float64
	z, row     []float64
}

// New makes a Scorer. The authors use four to six experts. New fails on no
// experts, on empty or differently wide ones, on embeddings that are not finite
// and on a head of another width. It keeps no reference to the videos.
func New(experts []Video, cfg Config) (*Scorer, error) {
	solver, err := cfg.solver()
	if err != nil {
		return nil, err
	}
	if len(experts) == 0 {
		return nil, fmt.Errorf("rapl: no preferred videos to compare with: record or label at least one")
	}
	s := &Scorer{cfg: cfg, dim: experts[0].D}
	if cfg.Head != nil {
		h := cfg.Head.clone()
		if err := h.Validate(); err != nil {
			return nil, err
		}
		s.cfg.Head = &h
		s.dim = h.In
	}
	for i, e := range experts {
		if err := e.Validate(); err != nil {
			return nil, fmt.Errorf("rapl: expert %d: %w", i, err)
		}
		if e.D != s.dim {
			return nil, fmt.Errorf("rapl: expert %d (%s) has embeddings of %d numbers, want %d: was it embedded by another encoder?", i, e.Name, e.D, s.dim)
		}
		z := make([]float64, e.Len()*s.width())
		embed(z, e.Embed, s.cfg.Head, make([]float64, s.cfg.Head.room(s.dim)))
		s.experts = append(s.experts, clip{name: e.Name, t: e.Len(), z: z})
	}
	s.pool.New = func() any {
		return &bench{s: ot.Solver{Epsilon: solver.Epsilon, Tolerance: solver.Tolerance, MaxIter: solver.MaxIter}}
	}
	return s, nil
}

// width is that of the embeddings as compared.
func (s *Scorer) width() int {
	if s.cfg.Head != nil {
		return s.cfg.Head.Out
	}
	return s.dim
}

// Score implements reward.Scorer. The first feature, seen right after the
// reset, is no doing of the policy and is left out: the T others are
// transported, and dst[t] rates arriving at traj[t+1]. Every call sees a whole
// trajectory; for a growing one see Live.
func (s *Scorer) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	b := s.pool.Get().(*bench)
	defer s.pool.Put(b)
	if _, err := s.nearest(ctx, b, len(dst), traj); err != nil {
		return err
	}
	m := b.best.M
	for t := range dst {
		dst[t] = s.cfg.Form.reward(floats.Dot(b.best.P[t*m:(t+1)*m], b.bestC[t*m:(t+1)*m]), len(dst))
	}
	return nil
}

// byGamma names what epsilon is here, and in a session.
func byGamma(err error) error {
	if errors.Is(err, ot.ErrEpsilon) {
		return fmt.Errorf("%w; epsilon is 1/gamma: lower gamma (reward.gamma)", err)
	}
	return err
}

// nearest leaves the plan and the cost against k* = argmax_k Σ_t o_t^k in
// b.best and b.bestC. The first of equals wins.
func (s *Scorer) nearest(ctx context.Context, b *bench, T int, traj []perception.Features) (int, error) {
	if T < 1 || len(traj) != T+1 {
		return 0, fmt.Errorf("rapl: %d features for %d rewards, want one more and at least two", len(traj), max(T, 0))
	}
	d := s.width()
	b.z, b.row = resize(b.z, T*d), resize(b.row, s.cfg.Head.room(s.dim))
	for t := range T {
		if err := s.frame(b.z[t*d:(t+1)*d], b.row, traj[t+1]); err != nil {
			return 0, fmt.Errorf("rapl: frame %d: %w", t+1, err)
		}
	}
	best := -1
	for k, e := range s.experts {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		b.c = resize(b.c, T*e.t)
		ot.Matrix(s.cfg.Cost, b.c, b.z, e.z, d)
		if err := b.s.Solve(&b.plan, b.c, T, e.t); err != nil {
			return 0, fmt.Errorf("rapl: against expert %d (%s): %w", k, e.name, byGamma(err))
		}
		if best < 0 || b.plan.Cost < b.best.Cost {
			best = k
			b.plan, b.best = b.best, b.plan
			b.c, b.bestC = b.bestC, b.c
		}
	}
	return best, nil
}

// frame writes the embedding of f as compared. row is embed's scratch.
func (s *Scorer) frame(dst, row []float64, f perception.Features) error {
	if len(f.Embed) != s.dim {
		return fmt.Errorf("embedding of %d numbers, want %d", len(f.Embed), s.dim)
	}
	for i, x := range f.Embed {
		if x-x != 0 {
			return fmt.Errorf("embedding[%d] is %v", i, x)
		}
	}
	embed(dst, f.Embed, s.cfg.Head, row)
	return nil
}

func resize(x []float64, n int) []float64 {
	if cap(x) < n {
		return make([]float64, n)
	}
	return x[:n]
}
