package arm

import "time"

// schedule is an absolute one of control ticks: what is late does not delay what
// comes after, and a tick that nobody waited for is counted.
type schedule struct {
	period time.Duration
	due    time.Time // the next tick
	missed uint64
}

// start makes the next tick a period from now.
func (s *schedule) start(now time.Time) { s.due = now.Add(s.period) }

// next returns the tick to wait for, which is after now, and moves on. Ticks that
// are over already are missed.
func (s *schedule) next(now time.Time) time.Time {
	if late := now.Sub(s.due); late > 0 {
		n := late/s.period + 1
		s.missed += uint64(n)
		s.due = s.due.Add(n * s.period)
	}
	t := s.due
	s.due = s.due.Add(s.period)
	return t
}
