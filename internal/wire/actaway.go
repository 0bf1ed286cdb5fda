package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/robot"
)

// anew returns when an episode that err cut off may begin again. A reset moves the arm, and a
// real one's asks for a person: none is worth it before perception sees what it did not.
func (d *driver) anew(ctx context.Context, n int, err error) error {
	for err != nil {
		if !transient(err) {
			return err
		}
		if e := d.later(ctx, n, err); e != nil {
			return e
		}
		err = d.eyes.look(ctx)
	}
	return d.wait(ctx)
}

// score labels an episode. What the arm did is not to be lost, nor done again, where the
// scorer alone is away: it is asked until it answers, with the arm held.
func (d *driver) score(ctx context.Context, n int, ep *policy.Episode) error {
	ep.Rewards = make([]float64, ep.Len())
	for {
		err := d.scorer.Score(ctx, ep.Rewards, ep.Trajectory())
		if err == nil {
			return nil
		}
		err = fmt.Errorf("wire: score episode %s: %w", ep.ID, err)
		if !transient(err) || ctx.Err() != nil {
			return err
		}
		if err := d.later(ctx, n, err); err != nil {
			return err
		}
	}
}

// later tells of a service that is away, and waits a moment for it.
func (d *driver) later(ctx context.Context, n int, err error) error {
	d.s.tell("retry", n%lifeSpan, d.total(), "a service is away: "+err.Error())
	select {
	case <-d.s.after(retryAfter):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// beholder is an extractor that keeps the frames that it failed with.
type beholder struct {
	perception.Extractor
	unseen []robot.Frame
}

func (x *beholder) Extract(ctx context.Context, fs []robot.Frame) (perception.Features, error) {
	f, err := x.Extractor.Extract(ctx, fs)
	if x.unseen = nil; err != nil {
		x.unseen = fs
	}
	return f, err
}

// look tries again what failed last, if anything did.
func (x *beholder) look(ctx context.Context) error {
	if x.unseen == nil {
		return nil
	}
	_, err := x.Extract(ctx, x.unseen)
	return err
}

// watch is t's. Before the arm is driven for the first time it refuses episodes that the server
// would not take.
func (d *driver) watch(t *tracks) func(context.Context, int, robot.Observation, policy.Input) error {
	return func(ctx context.Context, step int, obs robot.Observation, in policy.Input) error {
		if !d.fitted {
			n := d.s.cfg.Robot.Horizon
			later := in // than the first, which alone carries the waypoints
			later.Features.Keys = kagi.Untell(in.Features.Keys)
			e := policy.Episode{ID: episodeID(t.arm.next - 1), Inputs: append([]policy.Input{in}, slices.Repeat([]policy.Input{later}, n)...), Applied: make([]robot.Command, n), By: make([]robot.Source, n), Version: make([]uint64, n), Rewards: make([]float64, n)}
			if err := d.spool.Fits(e); err != nil {
				return err
			}
			d.fitted = true
		}
		return t.watch(ctx, step, obs, in)
	}
}

// transient errors are those of a service or a server that may come back.
func transient(err error) bool {
	for _, e := range []error{bus.ErrNoService, bus.ErrLost, bus.ErrBusy, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.Is(err, robot.ErrStale)
}
