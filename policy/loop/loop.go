// Package loop senses, acts, labels and learns: the one loop of a session,
// whatever the backend, the policy, the reward and the learner are.
//
// An Actor collects one episode at a time; Session lets a Learner learn from
// the earlier episodes while the next one is collected:
//
//	s := loop.Session{Actor: &loop.Actor{Backend: arm, Extractor: eyes, Policy: p, Scorer: rapl, Horizon: 45}, Learner: l, Episodes: 120}
//	err := s.Run(ctx)
//
// Neither sleeps nor asks the wall clock: the backend owns time.
package loop

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

// Session fine-tunes a policy in one process. Episode n is collected with the
// parameters learned from the episodes before n-1, while the learner learns
// from episode n-1: both cores work, and the result does not depend on which
// of them is faster.
type Session struct {
	Actor    *Actor
	Learner  policy.Learner
	First    int                // first episode to collect: 0, or where a resumed session goes on
	Episodes int                // the session's episodes, those before First included
	ID       func(n int) string // names episode n; nil: "online-00042"
	// Stopped, if set, is told when a latched fault (robot.ErrStopped) has cut
	// episode n off, and returns nil when the arm may move again. Then the episode
	// begins anew, while what is learned meanwhile goes on: the round learns the
	// same as without the fault.
	Stopped func(ctx context.Context, n int, fault error) error
	// Done, if set, is told each episode with what the learner said of the round
	// before it, after the learner has taken the episode.
	Done func(ctx context.Context, n int, ep policy.Episode, st policy.Stats) error
}

// Run collects and learns until the episodes are done or ctx is over.
func (s *Session) Run(ctx context.Context) error {
	for n := s.First; n < s.Episodes; n++ {
		ep, st, err := s.round(ctx, n)
		if err != nil {
			return err
		}
		if err := s.Learner.Add(ctx, ep); err != nil {
			return fmt.Errorf("loop: learn from episode %s: %w", ep.ID, err)
		}
		if s.Done == nil {
			continue
		}
		if err := s.Done(ctx, n, ep, st); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) round(ctx context.Context, n int) (ep policy.Episode, st policy.Stats, err error) {
	p, err := s.Learner.Latest(ctx)
	if err != nil {
		return ep, st, fmt.Errorf("loop: parameters: %w", err)
	}
	if err := s.Actor.Load(p); err != nil {
		return ep, st, err
	}
	var crash any
	both, bctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		defer func() {
			if crash = recover(); crash != nil {
				err = fmt.Errorf("loop: the learner panicked: %v", crash)
			}
		}()
		if st, err = s.Learner.Update(bctx); err != nil {
			err = fmt.Errorf("loop: update: %w", err)
		}
		return err
	})
	ep, err = s.episode(bctx, n)
	err = errors.Join(err, both.Wait())
	if crash != nil {
		panic(crash) // the episode's end has held the arm; now up it goes
	}
	return ep, st, err
}

// episode collects the n-th episode, as often as a fault cuts it off.
func (s *Session) episode(ctx context.Context, n int) (policy.Episode, error) {
	for {
		ep, err := s.Actor.Episode(ctx, s.id(n), uint64(n))
		if err == nil || s.Stopped == nil || !errors.Is(err, robot.ErrStopped) {
			return ep, err
		}
		if e := s.Stopped(ctx, n, err); e != nil {
			return ep, errors.Join(err, e)
		}
	}
}

func (s *Session) id(n int) string {
	if s.ID != nil {
		return s.ID(n)
	}
	return fmt.Sprintf("online-%05d", n)
}
