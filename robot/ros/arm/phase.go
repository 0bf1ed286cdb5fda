package arm

import (
	"slices"
	"time"
)

// Cameras and control ticks run beside each other: at 30 Hz and 20 Hz, ticks find the
// newest image a and a + 16.7 ms after it came, in turns, where a is what chance made it
// when the episode began. These bound it.
const (
	// soon is what an image may come later by than it mostly does, and still be there.
	soon = 1500 * time.Microsecond
	// late is what the best of several images may have waited.
	late = 4 * time.Millisecond
	// ease is by how much one tick is put off: 2% of a period of 50 ms. Ticks are never
	// brought forward, so that the arm is not told to move faster than at its rate.
	ease = time.Millisecond
	// seen is how many ticks are looked at: after four, images of 15, 20, 25, 30 and 60 Hz
	// come as they did.
	seen = 4
)

// phase puts control ticks off until they come just after images do. In an episode it
// puts them off by one period at most, which is enough for any a; of images that come at
// other rates, or at none, it then lets be.
type phase struct {
	waits [seen]time.Duration // a ring
	n     int
	left  time.Duration
}

// start is at the beginning of an episode.
func (p *phase) start(period time.Duration) { *p = phase{left: period} }

// next takes how long the images of a tick had waited, and returns by how much the ticks
// after it are put off.
func (p *phase) next(wait time.Duration) time.Duration {
	p.waits[p.n%seen] = wait
	p.n++
	if best := slices.Min(p.waits[:]); p.n < seen || p.left < ease || best >= soon && best <= late {
		return 0
	}
	for i := range p.waits {
		p.waits[i] += ease // as they would have been
	}
	p.left -= ease
	return ease
}
