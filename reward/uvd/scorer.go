package uvd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// Plan is the sub-goals of a task, in their order.
type Plan struct {
	Goals  [][]float32 `json:"goals"`  // (n,)(D,)
	Starts []float64   `json:"starts"` // (n,) distance at which the phase before each begins in the demonstration
	Reach  float64     `json:"reach"`  // share of it from which the next is aimed at
	Bonus  float64     `json:"bonus"`  // for reaching the last
}

// Of makes a plan of preferred videos: of the one whose number of sub-goals is the
// most frequent, the shorter of equal ones.
func Of(videos []rapl.Video, c Config) (Plan, error) {
	c = c.withDefaults()
	if len(videos) == 0 {
		return Plan{}, errors.New("uvd: no preferred videos to split: record or label at least one")
	}
	splits := make([][]int, len(videos))
	count := map[int]int{}
	for i, v := range videos {
		if v.D != videos[0].D {
			return Plan{}, fmt.Errorf("uvd: video %d (%s) has embeddings of %d numbers, want %d: was it embedded by another encoder?", i, v.Name, v.D, videos[0].D)
		}
		s, err := Split(v.Embed, v.D, c)
		if err != nil {
			return Plan{}, fmt.Errorf("%w (video %s)", err, v.Name)
		}
		splits[i] = s
		count[len(s)]++
	}
	best := 0
	for i := range videos {
		a, b := count[len(splits[i])], count[len(splits[best])]
		if a > b || a == b && videos[i].Len() < videos[best].Len() {
			best = i
		}
	}
	v := videos[best]
	p := Plan{Reach: c.Reach, Bonus: c.Bonus}
	from := v.Embed[:v.D]
	for _, g := range splits[best] {
		goal := slices.Clone(v.Embed[g*v.D : (g+1)*v.D])
		start := distance(from, goal)
		if !(start > 0) {
			return Plan{}, fmt.Errorf("uvd: video %s: nothing changes up to frame %d, so no frame is nearer to it than another; record another", v.Name, g)
		}
		p.Goals, p.Starts = append(p.Goals, goal), append(p.Starts, start)
		from = goal
	}
	return p, nil
}

// Validate reports wrong shapes and numbers.
func (p Plan) Validate() error {
	if len(p.Goals) == 0 || len(p.Starts) != len(p.Goals) {
		return fmt.Errorf("uvd: %d sub-goals with %d distances, want one each and at least one", len(p.Goals), len(p.Starts))
	}
	for i, g := range p.Goals {
		if len(g) == 0 || len(g) != len(p.Goals[0]) {
			return fmt.Errorf("uvd: sub-goal %d has %d numbers, the first %d", i, len(g), len(p.Goals[0]))
		}
		for _, v := range g {
			if v-v != 0 {
				return fmt.Errorf("uvd: sub-goal %d has a %v", i, v)
			}
		}
		if s := p.Starts[i]; !(s > 0) || s-s != 0 {
			return fmt.Errorf("uvd: sub-goal %d begins %v away, want positive", i, s)
		}
	}
	if !(p.Reach > 0) || p.Reach >= 1 || p.Bonus-p.Bonus != 0 {
		return fmt.Errorf("uvd: reach %v and bonus %v, want a reach between 0 and 1 and a finite bonus", p.Reach, p.Bonus)
	}
	return nil
}

// Scorer implements reward.Scorer. It is safe for use by several goroutines.
type Scorer struct{ p Plan }

// New makes a Scorer. It keeps p's slices.
func New(p Plan) (*Scorer, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return &Scorer{p}, nil
}

// Dim is the width of the embeddings it is for.
func (s *Scorer) Dim() int { return len(s.p.Goals[0]) }

// Walk follows an episode from sub-goal to sub-goal.
type Walk struct {
	p    *Plan
	at   int // the sub-goal aimed at
	last []float32
	done bool
}

// Walk begins at the embedding seen after the reset. It reads x until the next Step.
func (s *Scorer) Walk(x []float32) (Walk, error) {
	if err := s.fits(x); err != nil {
		return Walk{}, err
	}
	return Walk{p: &s.p, last: x}, nil
}

// At is the sub-goal aimed at, from 0; once the last is reached it stays.
func (w *Walk) At() int { return w.at }

// Done tells whether the last sub-goal was reached.
func (w *Walk) Done() bool { return w.done }

// Step returns the reward of arriving at x (D,), kept until the next Step:
//
//	(‖φ_{t-1} − g‖ − ‖φ_t − g‖) / start of g, + Bonus on reaching the last g,
//
// and then aims at the next sub-goal if x is near enough to this one.
func (w *Walk) Step(x []float32) float64 {
	g, start := w.p.Goals[w.at], w.p.Starts[w.at]
	now := distance(x, g)
	r := (distance(w.last, g) - now) / start
	w.last = x
	if now < w.p.Reach*start {
		switch {
		case w.at+1 < len(w.p.Goals):
			w.at++
		case !w.done:
			w.done = true
			r += w.p.Bonus
		}
	}
	return r
}

func (s *Scorer) fits(x []float32) error {
	if want := len(s.p.Goals[0]); len(x) != want {
		return fmt.Errorf("uvd: embedding of %d numbers, want %d: was it made by another encoder?", len(x), want)
	}
	for i, v := range x {
		if v-v != 0 {
			return fmt.Errorf("uvd: embedding[%d] is %v", i, v)
		}
	}
	return nil
}

// Score implements reward.Scorer. A reward depends on what was seen before, never on
// what is seen later.
func (s *Scorer) Score(ctx context.Context, dst []float64, traj []perception.Features) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(dst) < 1 || len(traj) != len(dst)+1 {
		return fmt.Errorf("uvd: %d features for %d rewards, want one more and at least two", len(traj), len(dst))
	}
	w, err := s.Walk(traj[0].Embed)
	if err != nil {
		return fmt.Errorf("frame 0: %w", err)
	}
	for t := range dst {
		if err := s.fits(traj[t+1].Embed); err != nil {
			return fmt.Errorf("frame %d: %w", t+1, err)
		}
		dst[t] = w.Step(traj[t+1].Embed)
	}
	return nil
}
