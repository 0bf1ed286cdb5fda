package rapl

import (
	"fmt"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/ot"
)

// Live scores a rollout while it runs: after every frame the rewards are those
// that Score gives the prefix, to the tolerance. A new frame costs a row of
// every plan and a few steps, not a solve from nothing. One goroutine uses it.
type Live struct {
	s     *Scorer
	first bool
	ps    []*ot.Prefix
	cost  []float64 // (K,) of each expert's plan
	paid  [][]float64
	z, c  []float64
	row   []float64
}

// Live starts a rollout.
func (s *Scorer) Live() (*Live, error) {
	solver, err := s.cfg.solver()
	if err != nil {
		return nil, err
	}
	l := &Live{s: s, first: true, z: make([]float64, s.width()), row: make([]float64, s.cfg.Head.room(s.dim)), cost: make([]float64, len(s.experts)), paid: make([][]float64, len(s.experts))}
	for _, e := range s.experts {
		p, err := ot.NewPrefix(solver, e.t)
		if err != nil {
			return nil, fmt.Errorf("rapl: %w", err)
		}
		l.ps = append(l.ps, p)
	}
	return l, nil
}

// Len is the number of rewards so far.
func (l *Live) Len() int { return l.ps[0].Len() }

// Add takes the next feature. The first is the one after the reset and earns
// nothing. After an error other than a bad embedding, the rollout is of no more
// use.
func (l *Live) Add(f perception.Features) error {
	if err := l.s.frame(l.z, l.row, f); err != nil {
		if l.first {
			return fmt.Errorf("rapl: frame 0: %w", err)
		}
		return fmt.Errorf("rapl: frame %d: %w", l.Len()+1, err)
	}
	if l.first {
		l.first = false
		return nil
	}
	for k, e := range l.s.experts {
		l.c = resize(l.c, e.t)
		ot.Matrix(l.s.cfg.Cost, l.c, l.z, e.z, len(l.z))
		if err := l.ps[k].Add(l.c); err != nil {
			return fmt.Errorf("rapl: against expert %d (%s): %w", k, e.name, byGamma(err))
		}
		l.paid[k] = append(l.paid[k], 0)
		l.ps[k].Costs(l.paid[k])
		l.cost[k] = 0
		for _, x := range l.paid[k] {
			l.cost[k] += x
		}
	}
	return nil
}

// Rewards writes the rewards so far to dst (T,) and returns the expert that
// they are against. It panics if dst has another length than Len.
func (l *Live) Rewards(dst []float64) (expert int) {
	if len(dst) != l.Len() {
		panic("rapl: one reward a frame")
	}
	for k, c := range l.cost {
		if c < l.cost[expert] {
			expert = k
		}
	}
	for t, x := range l.paid[expert] {
		dst[t] = l.s.cfg.Form.reward(x, len(dst))
	}
	return expert
}

// Plan is the coupling (T,T') of the frames so far with an expert's. It is
// valid until the next Add.
func (l *Live) Plan(expert int) *ot.Plan { return l.ps[expert].Plan() }
