package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/judge"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/vlm"
	"github.com/rapport-rl/rapport/robot"
)

// referee asks a judge of the last moments of episodes.
type referee struct {
	judge judge.Judge
	log   *slog.Logger
	// unclear counts the last moments of demonstrations and of episodes of which it could not
	// tell, in this process.
	unclear struct{ demos, episodes atomic.Int64 }
}

// look has the judge tell success. An answer that is not clear is no success, and counted; an
// error is what kept it from answering.
func (r *referee) look(ctx context.Context, frames []robot.Frame, unclear *atomic.Int64) ([]perception.Keypoint, error) {
	p, err := r.judge.Look(ctx, frames)
	if errors.Is(err, reward.ErrUnknown) && !errors.Is(err, vlm.ErrBusy) {
		r.log.Warn("the judge cannot tell: the episode is paid no success", "err", err)
		unclear.Add(1)
		p, err = 0, nil
	}
	if err != nil {
		return nil, err
	}
	return []perception.Keypoint{{Name: kagi.Success, Score: p}}, nil
}

// last is loop.Actor's Last. Where the judge does not answer nobody tells success, and the
// session goes on.
func (r *referee) last(ctx context.Context, obs robot.Observation) ([]perception.Keypoint, error) {
	ks, err := r.look(ctx, obs.Frames, &r.unclear.episodes)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		r.log.Warn("the judge did not answer: the episode is paid no success", "err", err)
	}
	return ks, nil
}

// said is what a report says of it besides.
func (r *referee) said() string {
	if r == nil {
		return ""
	}
	var out string
	for _, n := range []struct {
		of string
		n  int64
	}{{"demonstrations", r.unclear.demos.Load()}, {"episodes", r.unclear.episodes.Load()}} {
		if n.n > 0 {
			out += fmt.Sprintf("; no clear answer, which counts as no, at the end of %d %s since this start", n.n, n.of)
		}
	}
	return out
}

type refereeKey struct{}

// refereeOf is nil where no judge is asked.
func refereeOf(ctx context.Context) *referee {
	r, _ := ctx.Value(refereeKey{}).(*referee)
	return r
}

// lastOf is loop.Actor's Last.
func lastOf(ctx context.Context) func(context.Context, robot.Observation) ([]perception.Keypoint, error) {
	if r := refereeOf(ctx); r != nil {
		return r.last
	}
	return nil
}

// rejudge has a demonstration's end tell success by the judge, and nothing else tell it. A
// judge that does not answer is an error, since nothing moves yet and its answers are kept.
func (s *Session) rejudge(ctx context.Context, e *policy.Episode) error {
	r := refereeOf(ctx)
	if r == nil {
		return nil
	}
	end := len(e.Inputs) - 1
	shown, err := s.frames(*e, []int{end})
	if err != nil {
		return err
	}
	ks, err := r.look(ctx, shown[0], &r.unclear.demos)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("wire: reward.kagi.sparse is judge, which did not tell of %s: %w; no episode begins before that, and its answers so far are kept: once the endpoint answers, go on with %s", e.ID, err, GoOn(s.Dir()))
	}
	untell(e)
	f := &e.Inputs[end].Features
	f.Keys = append(f.Keys, ks...)
	return nil
}
