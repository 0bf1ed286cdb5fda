package sample

import (
	"math"
	"time"

	"github.com/rapport-rl/rapport/policy"
)

const (
	// margin is what is kept free for the noise of measured costs.
	margin = 1.25
	// fade forgets what a step cost while it was not taken, so that one slow moment
	// does not end a search for ever: it halves in about 70 chunks.
	fade = 0.99
	// forget does that from one episode to the next, of which a robot may search but the first
	// chunk: it halves in three.
	forget = 0.8
	// gain is how quickly a measured cost follows; a dearer step counts at once.
	gain = 0.1
)

// Pace is what the steps of a search took, by which it keeps its budget, and what came of
// that. Searches of one Config that follow each other share one, so that parameters that
// are loaded anew are not measured anew. It is used by one goroutine.
type Pace struct {
	costs []float64 // (levels,) s of a step, 0 before any
	pull  float64   // s of a step's guidance
	each  float64   // s of an iteration of ReNO
	counts
}

// counts are what a tick's time allowed.
type counts struct {
	began                           time.Duration
	draws, fewer, plain, cuts, late uint64
	spent                           float64 // s, of the last chunk
}

// rest begins an episode.
func (p *Pace) rest() {
	p.counts = counts{}
	for i := range max(0, len(p.costs)-1) { // the plain chunk's is measured whenever nothing else is
		p.costs[i] *= forget
	}
	p.pull *= forget
	p.each *= forget
}

func (b *counts) cut() { b.cuts++ }

// count takes a chunk begun at a level.
func (b *counts) count(level int, plain bool) {
	b.draws++
	switch {
	case plain:
		b.plain++
	case level > 0:
		b.fewer++
	}
}

func (b *counts) metrics() []policy.Metric {
	return []policy.Metric{
		{Name: "sample_draws", Value: float64(b.draws)},
		{Name: "sample_fewer", Value: float64(b.fewer)},
		{Name: "sample_plain", Value: float64(b.plain)},
		{Name: "sample_cut", Value: float64(b.cuts)},
		{Name: "sample_late", Value: float64(b.late)},
		{Name: "sample_seconds", Value: b.spent},
	}
}

// timed says whether a budget is kept.
func (s *Search) timed() bool { return s.cfg.Budget > 0 }

func (s *Search) now() time.Duration {
	if !s.timed() {
		return 0
	}
	return s.cfg.Clock()
}

func (s *Search) start() { s.pace.began = s.now() }

func (s *Search) stop() {
	if !s.timed() {
		return
	}
	s.pace.spent = (s.now() - s.pace.began).Seconds()
	if s.pace.spent > s.cfg.Budget {
		s.pace.late++
	}
}

// left is what is left of the budget, in seconds.
func (s *Search) left() float64 { return s.cfg.Budget - (s.now() - s.pace.began).Seconds() }

// took takes into the cost of a step of l what the last took.
func (s *Search) took(l *level, began time.Duration) {
	if !s.timed() {
		return
	}
	d := (s.now() - began).Seconds()
	if d > *l.cost {
		*l.cost = d
	} else {
		*l.cost += gain * (d - *l.cost)
	}
}

// affordable is the level with the most particles whose whole chain fits into the
// budget by the measured cost of a step, the plain sample where none does. What was
// never measured is taken to cost as much more as it has more particles, and the first
// chunk of all is a plain one.
func (s *Search) affordable() int {
	last := len(s.levels) - 1
	if !s.timed() {
		return 0
	}
	K := float64(s.chain.Steps())
	for at, l := range s.levels[:last] {
		cost := *l.cost
		if cost == 0 {
			for _, m := range s.levels[at+1:] {
				if *m.cost > 0 {
					cost = *m.cost * float64(l.n) / float64(m.n)
					break
				}
			}
		} else {
			*l.cost *= fade // raised again by took, if it is chosen
		}
		if cost > 0 && cost*K*margin <= s.cfg.Budget {
			return at
		}
	}
	return last
}

// short says whether the steps that are left would miss the tick.
func (s *Search) short(l *level, steps int) bool {
	return s.timed() && *l.cost > 0 && s.left() < *l.cost*float64(steps)
}

// fewer moves the particles that the reward likes best at step i to the level that
// can still take the steps left.
func (s *Search) fewer(l *level, i, steps int) *level {
	to := s.levels[len(s.levels)-1]
	for _, m := range s.levels[:len(s.levels)-1] {
		cost := *m.cost
		if cost == 0 {
			cost = *l.cost * float64(m.n) / float64(l.n)
		}
		if m.n < l.n && cost*float64(steps)*margin <= s.left() {
			to = m
			break
		}
	}
	clear(l.value)
	if i > 0 { // otherwise nothing is known of any
		s.values(l, l.guess)
	}
	for j := range to.n {
		top := s.top(l)
		copy(to.x[j*s.length:(j+1)*s.length], l.x[top*s.length:(top+1)*s.length])
		s.from[j] = top
		l.value[top] = math.Inf(-1)
	}
	s.books(s.from[:to.n], s.logw, s.before, s.best, s.sum, s.prod)
	s.pace.cut()
	return to
}
