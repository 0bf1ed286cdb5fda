package wire

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/sim"
)

// perWorld is how many episodes are worth a world of their own: cameras take as long
// to open as to draw a hundred pictures.
const perWorld = 3

// spread does job(arm, i) for i in [0,n), each worker with an arm of its own.
// A job depends on i alone, so the result does not depend on who did it.
func spread(ctx context.Context, c config.Config, of stream, n int, job func(ctx context.Context, a *arm, i int) error) error {
	itself := func(_ context.Context, a *arm) (*arm, error) { return a, nil }
	return spreadWith(ctx, c, of, n, itself, job)
}

// spreadWith does job(tool, i) as spread does, each worker with a tool that it made of its
// arm.
func spreadWith[T any](ctx context.Context, c config.Config, of stream, n int, begin func(ctx context.Context, a *arm) (T, error), job func(ctx context.Context, with T, i int) error) error {
	var next atomic.Int64
	workers, ctx := errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), (n+perWorld-1)/perWorld) {
		workers.Go(func() (err error) {
			a, err := newArm(c, of)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, a.close()) }()
			detach, err := deskOf(ctx).attach(ctx, a)
			defer detach()
			if err != nil {
				return err
			}
			with, err := begin(ctx, a)
			if err != nil {
				return err
			}
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				a.next = i
				if err := job(ctx, with, i); err != nil {
					return err
				}
			}
		})
	}
	return workers.Wait()
}

// outcome is how one evaluated episode ended.
type outcome struct {
	success bool    // by the truth
	ret     float64 // sum of the visual reward; 0 without a scorer

	preferred, undesired bool // by the truth, where the task has styles

	cut bool // off by the guard, which counts as a failure

	worth []float64 // to each of people.groups
}

// worths is what an episode is worth to each of the people's groups.
func worths(c config.People, episode []sim.Truth) (out []float64) {
	for _, g := range tastes(c) {
		out = append(out, g.Taste.Utility(episode))
	}
	return out
}

// trier evaluates a policy on an arm, a start after the other.
type trier struct {
	arm    *arm
	pi     player
	actor  *loop.Actor
	truths []sim.Truth // of the episode, where there are people.groups
}

// newTrier has the policy load its parameters, once for all starts of an arm: that took a
// tenth of the time of evaluating a policy of chunks.
func newTrier(ctx context.Context, c config.Config, a *arm, x perception.Extractor, r reward.Scorer, v view.Config, p policy.Params, chunks bool) (*trier, error) {
	t := &trier{arm: a}
	var err error
	if t.pi, err = newPlayer(ctx, c, v, chunks, false); err != nil {
		return nil, err
	}
	t.actor = &loop.Actor{Backend: a.guard, Extractor: x, Track: a.track, Tell: tellerOf(ctx), Policy: t.pi, Scorer: scorerOn(r, a), Horizon: c.Robot.Horizon, Pixels: len(v.Cameras) > 0, Over: overOf(c, a)}
	if err := t.actor.Load(p); err != nil {
		return nil, err
	}
	if len(c.People.Groups) > 0 {
		t.actor.Watch = func(_ context.Context, step int, _ robot.Observation, _ policy.Input) error {
			if step == 0 { // of the next start, or of the same begun again after a fault
				t.truths = nil
			}
			t.truths = append(t.truths, a.world.Truth())
			return nil
		}
	}
	lookSeldom(t.actor, a)
	return t, nil
}

// evaluate runs the parameters without exploration on the first n seeds of a stream.
// r may be nil. A start in which the policy made the guard hold the arm has failed.
func evaluate(ctx context.Context, c config.Config, of stream, x perception.Extractor, r reward.Scorer, v view.Config, p policy.Params, n int, tell func(done int, note string)) ([]outcome, error) {
	ctx = unasked(ctx) // an evaluation is not worth the asking
	ends := make([]outcome, n)
	var mu sync.Mutex
	done, hits, cuts := 0, 0, 0
	_, chunks, err := viewOf(p)
	if err != nil {
		return nil, err
	}
	begin := func(ctx context.Context, a *arm) (*trier, error) { return newTrier(ctx, c, a, x, r, v, p, chunks) }
	err = spreadWith(ctx, c, of, n, begin, func(ctx context.Context, t *trier, i int) error {
		a := t.arm
		t.pi.Begin(uint64(i))
		t.truths = nil
		cut := false
		ep, err := deskOf(ctx).again(ctx, func() (ep policy.Episode, err error) {
			ep, err = t.actor.Episode(ctx, fmt.Sprintf("evaluate-%05d", i), uint64(i))
			if cut, err = cutOff(ctx, a, err); cut {
				ep = policy.Episode{}
			}
			return ep, err
		}, func() error {
			a.next = i
			t.pi.Begin(uint64(i))
			return nil
		})
		if err != nil {
			return err
		}
		end := a.world.Truth()
		ends[i] = outcome{success: end.Success && !cut, ret: ep.Return(), preferred: end.Preferred && !cut, undesired: end.Undesired, cut: cut}
		if t.truths != nil {
			ends[i].worth = worths(c.People, t.truths)
		}
		mu.Lock()
		defer mu.Unlock()
		done++
		if ends[i].success {
			hits++
		}
		note := fmt.Sprintf("success %d/%d", hits, done)
		if cut {
			cuts++
		}
		if cuts > 0 {
			note += fmt.Sprintf(", %d cut off by the guard", cuts)
		}
		tell(done, note)
		return nil
	})
	return ends, err
}

// drivenTo says whether err is a fault that the policy made: begun anew, the same would happen
// again, as it does not after what came from elsewhere, like a stop.
func drivenTo(err error) bool {
	var f *guard.Fault
	return errors.As(err, &f) && (f.Cause == guard.OffLimits || f.Cause == guard.NonFinite || errors.Is(f, sim.ErrUnstable))
}

// cutTries are how often an episode is made before a policy counts as one that makes none: of
// the policies that were seen to be cut off, one was in a start of a hundred.
const cutTries = 10

// uncut is the first episode that the guard does not cut off of do(0), do(1) and so on,
// which explore otherwise each.
func uncut(ctx context.Context, a *arm, do func(try uint64) (policy.Episode, error)) (policy.Episode, error) {
	for try := uint64(0); ; try++ {
		ep, err := do(try)
		cut, e := cutOff(ctx, a, err)
		switch {
		case !cut:
			return ep, e
		case e != nil:
			return policy.Episode{}, errors.Join(err, e)
		case try+1 == cutTries:
			return policy.Episode{}, fmt.Errorf("the policy made the guard hold the arm in each of %d tries: %w; clone it from more demonstrations (demos.good, demos.bad) or for longer (policy.clone.steps)", cutTries, err)
		}
	}
}

// cutOff says whether the policy made the guard cut an episode off, by the fault that err
// tells, and has the simulated arm freed for the next. At a desk a person frees it.
func cutOff(ctx context.Context, a *arm, err error) (bool, error) {
	if !drivenTo(err) {
		return false, err
	}
	if d := deskOf(ctx); d != nil {
		return true, d.wait(ctx)
	}
	return true, a.guard.Acknowledge("evaluation")
}
