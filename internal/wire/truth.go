package wire

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/robot"
)

// truth stands for the simulator's own reward, for sessions that show how good a
// reward can be at best (docs/adr/0002, addendum). It knows nothing: scorerOn
// binds it to the arm whose world does.
type truth struct{}

func (truth) Score(context.Context, []float64, []perception.Features) error { return errNoTruth }

// scorerOn is s for the episodes of a. Only under reward.kind truth is that
// another one.
func scorerOn(s reward.Scorer, a *arm) reward.Scorer {
	if _, ok := s.(truth); ok && a.teller != nil {
		return a.teller
	}
	return s
}

// teller notes what the simulator says each tick is worth. An arm has one under
// reward.kind truth alone. Features reach it as those of any reward; it looks at
// their stamps.
type teller struct {
	mu   sync.Mutex // the guard's watch holds the arm while an episode is scored
	told map[time.Time]float64
}

// begin forgets the episode before.
func (w *teller) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = map[time.Time]float64{}
}

// note takes the truth of the tick that obs is of.
func (w *teller) note(obs robot.Observation, reward float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told[obs.State.Stamp] = reward
}

// Score implements reward.Scorer for the arm's last episode.
func (w *teller) Score(_ context.Context, dst []float64, traj []perception.Features) error {
	if len(traj) != len(dst)+1 {
		return fmt.Errorf("wire: %d features for %d rewards, want one more", len(traj), len(dst))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for t := range dst {
		r, ok := w.told[traj[t+1].Stamp]
		if !ok {
			return fmt.Errorf("wire: step %d at %v: no truth was told of it: %w", t, traj[t+1].Stamp, errNoTruth)
		}
		dst[t] = r
	}
	return nil
}

// truly is a backend whose arm has a teller. It is in front of what moves stamps, as a clock
// does: features have those that come out.
type truly struct {
	robot.Backend
	arm *arm
}

func (s truly) Reset(ctx context.Context) (robot.Observation, error) {
	s.arm.teller.begin()
	return s.Backend.Reset(ctx)
}

func (s truly) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	obs, err := s.Backend.Step(ctx, c)
	if err == nil {
		s.arm.teller.note(obs, s.arm.world.Truth().Reward)
	}
	return obs, err
}

// trueRewards are those of a demonstration, of which the truth was kept for the
// simulated person.
func trueRewards(d demo) []float64 {
	r := make([]float64, d.episode.Len())
	for t := range r {
		r[t] = d.truth[t+1].Reward
	}
	return r
}
