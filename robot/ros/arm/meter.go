package arm

import (
	"slices"
	"sync"
	"time"
)

// Stats tells how a backend kept its time since it was opened. Quantiles are of
// the last 4096 ticks: over three minutes at 20 Hz.
type Stats struct {
	Ticks  uint64 // control ticks
	Missed uint64 // ticks that passed before the next command came
	Lost   uint64 // times that a sensor was found stale
	// Latency is from the oldest camera image of an observation, by its stamp,
	// to the command that answers it; Age is what of that was over when Step
	// had returned the observation. Without cameras both begin with the arm's state.
	Latency, Age Quantiles
}

// Quantiles are the median, the 99th percentile and the largest of a duration.
type Quantiles struct{ P50, P99, Max time.Duration }

// window is how many durations a meter remembers.
const window = 4096

// meter measures a duration again and again.
type meter struct {
	mu   sync.Mutex
	last [window]time.Duration // a ring
	n    int                   // measured so far
}

func (m *meter) add(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last[m.n%window] = d
	m.n++
}

// quantiles returns zeros before the first add.
func (m *meter) quantiles() Quantiles {
	m.mu.Lock()
	s := slices.Clone(m.last[:min(m.n, window)])
	m.mu.Unlock()
	if len(s) == 0 {
		return Quantiles{}
	}
	slices.Sort(s)
	at := func(p float64) time.Duration { return s[int(p*float64(len(s)-1))] }
	return Quantiles{P50: at(0.5), P99: at(0.99), Max: s[len(s)-1]}
}
