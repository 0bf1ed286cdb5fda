package arm

import (
	"slices"
	"time"
)

// Cameras and control ticks run beside each other: at 30 Hz and 20 Hz, ticks find the
// newest image a and a + 16.7 ms after it came, in turns, where a is what chance made it
// when the episode began, and drifts as two clocks do. These bound it.
const (
	// soon is what an image may come later by than it mostly does, and still be there.
	soon = 1500 * time.Microsecond
	// late is what the best of several images may have waited.
	late = 4 * time.Millisecond
	// slack is by how much a may leave these bounds before ticks are put off again, which
	// costs a camera's period where a is too large.
	slack = 1500 * time.Microsecond
	// ease is by how much one tick is put off: 2% of a period of 50 ms. Ticks are never
	// brought forward, so that the arm is not told to move faster than at its rate.
	ease = time.Millisecond
	// seen is how many ticks are looked at while they are put off: after four, images of
	// 15, 20, 25, 30 and 60 Hz come as they did.
	seen = 4
	// held is how many are looked at otherwise, and few is how many of the best of them
	// may be chance.
	held, few = 20, 2
)

// phase puts control ticks off until they come just after images do, and again when the
// clocks have drifted apart. It puts them off by a period, and then by ease in held ticks,
// at most, so that images that come by no rate slow the arm by no more than 0.1%.
type phase struct {
	waits  [held]time.Duration // a ring
	n      int                 // of them since start, or since it holds
	holds  bool                // nothing is put off
	period time.Duration
	left   time.Duration
}

// start is at the beginning of an episode.
func (p *phase) start(period time.Duration) { *p = phase{period: period, left: period} }

// next takes how long the images of a tick had waited, and returns by how much the ticks
// after it are put off.
func (p *phase) next(wait time.Duration) time.Duration {
	p.left = min(p.period, p.left+ease/held)
	p.waits[p.n%held] = wait
	p.n++
	if p.holds {
		if p.n < held {
			return 0
		}
		sorted := p.waits
		slices.Sort(sorted[:])
		if a := sorted[few]; a >= soon-slack/2 && a <= late+slack {
			return 0
		}
		p.holds = false
	}
	if p.n < seen {
		return 0
	}
	best := wait
	for i := range seen {
		best = min(best, p.waits[(p.n-1-i)%held])
	}
	if best >= soon && best <= late {
		p.holds, p.n = true, 0
		return 0
	}
	if p.left < ease {
		return 0
	}
	for i := range p.waits {
		p.waits[i] += ease // as they would have been
	}
	p.left -= ease
	return ease
}
