package judge

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/robot"
)

// Eyes is an Extractor that keeps the frames behind its last features, so that a Judge
// can be asked by features, as reward.Success wants. It is safe for several goroutines.
type Eyes struct {
	x    perception.Extractor
	j    *Judge
	mu   sync.Mutex
	seen []seen // the last ones
}

type seen struct {
	at     time.Time
	frames []robot.Frame
}

// kept is how many ticks Eyes looks back, 6 seconds at 10 Hz.
const kept = 60

// Behind makes Eyes of an Extractor and a Judge that has been measured.
func (j *Judge) Behind(x perception.Extractor) *Eyes { return &Eyes{x: x, j: j} }

// Extract implements perception.Extractor.
func (e *Eyes) Extract(ctx context.Context, fs []robot.Frame) (perception.Features, error) {
	f, err := e.x.Extract(ctx, fs)
	if err != nil {
		return f, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.seen) == kept {
		copy(e.seen, e.seen[1:])
		e.seen = e.seen[:kept-1]
	}
	e.seen = append(e.seen, seen{f.Stamp, fs})
	return f, nil
}

// Succeeded implements reward.Success for features of the last ticks.
func (e *Eyes) Succeeded(ctx context.Context, f perception.Features) (float64, error) {
	e.mu.Lock()
	var frames []robot.Frame
	for _, s := range e.seen {
		if s.at.Equal(f.Stamp) {
			frames = s.frames
		}
	}
	e.mu.Unlock()
	if frames == nil {
		return 0, fmt.Errorf("judge: the frames of %v are gone: %w", f.Stamp, reward.ErrUnknown)
	}
	return e.j.Look(ctx, frames)
}
