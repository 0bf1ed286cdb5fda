package loop

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/guard"
)

// Actor collects episodes. It is driven by one goroutine.
type Actor struct {
	Backend   robot.Backend // behind the guard
	Extractor perception.Extractor
	Policy    policy.Policy
	Scorer    reward.Scorer // nil leaves episodes unlabelled
	Horizon   int           // control ticks of an episode
	Pixels    bool          // inputs carry the frames, for policies that see pixels
	// Track, if set, is told every tick in order and returns the keypoints of its
	// features: what needs to know the arm and the episode, as an Extractor does not.
	Track func(ctx context.Context, step int, obs robot.Observation) ([]perception.Keypoint, error)
	// Tell, if set, returns further keypoints of a tick, which follow from its features
	// and those of the ticks before it; step is 0 after a reset.
	Tell func(ctx context.Context, step int, f perception.Features) ([]perception.Keypoint, error)
	// Last, if set, is asked once, at the horizon, and returns further keypoints of that
	// tick: what is too slow to be asked every tick. An episode that ends before is not
	// asked of.
	Last func(ctx context.Context, obs robot.Observation) ([]perception.Keypoint, error)
	// Watch, if set, is told every tick, the one after the reset included, before
	// the next command is chosen. Its error ends the episode.
	Watch func(ctx context.Context, step int, obs robot.Observation, in policy.Input) error
	// Over, if set, is asked every tick after the first whether the task is done. Then
	// the episode ends there, for good: nothing is to be expected after it.
	Over func(ctx context.Context, step int, obs robot.Observation, in policy.Input) (bool, error)
	// Override, if set, may decide instead of the policy: it is told what is
	// observed at a step and what the policy wishes, and returns what to do and who
	// says so. The policy is asked all the same, so that what it remembers goes on.
	Override func(step int, obs robot.Observation, wish robot.Command) (robot.Command, robot.Source)

	version uint64
}

// Load gives the policy new parameters; the version is noted with every step.
func (a *Actor) Load(p policy.Params) error {
	if err := a.Policy.Load(p); err != nil {
		return fmt.Errorf("loop: load parameters of version %d: %w", p.Version, err)
	}
	a.version = p.Version
	return nil
}

// Version is that of the parameters that act.
func (a *Actor) Version() uint64 { return a.version }

// Episode collects and labels one episode. Whatever ends it early, an error, a
// panic or ctx, the arm is told to hold still first.
func (a *Actor) Episode(ctx context.Context, id string, seq uint64) (ep policy.Episode, err error) {
	ep = policy.Episode{ID: id, Seq: seq}
	obs, err := a.Backend.Reset(ctx)
	if err != nil {
		return ep, fmt.Errorf("loop: reset: %w", err)
	}
	whole := false
	grip := min(max(obs.State.Grip/franka.Stroke, 0), 1) // a hold before the first step moves no finger
	defer func() {
		if whole {
			return
		}
		// ctx may be over, but the arm is to be held all the same.
		if _, e := a.Backend.Step(context.WithoutCancel(ctx), robot.Command{Grip: grip}); e != nil && err != nil {
			err = errors.Join(err, fmt.Errorf("loop: hold the arm: %w", e))
		}
	}()
	for t := 0; ; t++ {
		in, err := a.sense(ctx, t, obs)
		if err != nil {
			return ep, err
		}
		ep.Inputs = append(ep.Inputs, in)
		if t > 0 && a.Over != nil {
			if ep.Terminal, err = a.Over(ctx, t, obs, in); err != nil {
				return ep, fmt.Errorf("loop: step %d: over: %w", t, err)
			}
		}
		if t == a.Horizon || ep.Terminal {
			break
		}
		c, err := a.Policy.Act(ctx, in)
		if err != nil {
			return ep, fmt.Errorf("loop: step %d: act: %w", t, err)
		}
		by := ctx
		if a.Override != nil {
			var who robot.Source
			if c, who = a.Override(t, obs, c); who != robot.ByPolicy {
				by = guard.WithSource(ctx, who)
			}
		}
		obs, err = a.Backend.Step(by, c)
		if errors.Is(err, io.EOF) && t > 0 {
			break // the recording is over
		}
		if err != nil {
			return ep, fmt.Errorf("loop: step %d: %w", t, err)
		}
		grip = obs.Applied.Grip
		ep.Applied = append(ep.Applied, obs.Applied)
		ep.By = append(ep.By, obs.By)
		ep.Version = append(ep.Version, a.version)
	}
	whole = true
	return ep, a.label(ctx, &ep)
}

func (a *Actor) sense(ctx context.Context, t int, obs robot.Observation) (policy.Input, error) {
	f, err := a.Extractor.Extract(ctx, obs.Frames)
	if err != nil {
		return policy.Input{}, fmt.Errorf("loop: step %d: extract: %w", t, err)
	}
	if a.Track != nil {
		if f.Keys, err = a.Track(ctx, t, obs); err != nil {
			return policy.Input{}, fmt.Errorf("loop: step %d: track: %w", t, err)
		}
	}
	if a.Tell != nil {
		more, err := a.Tell(ctx, t, f)
		if err != nil {
			return policy.Input{}, fmt.Errorf("loop: step %d: tell: %w", t, err)
		}
		f.Keys = append(f.Keys, more...)
	}
	if t == a.Horizon && a.Last != nil {
		more, err := a.Last(ctx, obs)
		if err != nil {
			return policy.Input{}, fmt.Errorf("loop: step %d: last: %w", t, err)
		}
		f.Keys = append(f.Keys, more...)
	}
	in := policy.Input{Step: t, Features: f, State: obs.State}
	if a.Pixels {
		in.Frames = obs.Frames
	}
	if a.Watch != nil {
		if err := a.Watch(ctx, t, obs, in); err != nil {
			return in, fmt.Errorf("loop: step %d: %w", t, err)
		}
	}
	return in, nil
}

func (a *Actor) label(ctx context.Context, ep *policy.Episode) error {
	if a.Scorer == nil {
		return nil
	}
	ep.Rewards = make([]float64, ep.Len())
	if err := a.Scorer.Score(ctx, ep.Rewards, ep.Trajectory()); err != nil {
		return fmt.Errorf("loop: score episode %s: %w", ep.ID, err)
	}
	return nil
}
