package wire

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/judge"
	"github.com/rapport-rl/rapport/reward/kagi"
)

// renewing has a demonstration carry the waypoints and tell the success that the session goes by,
// where its file has those of an earlier session; nil where the file has them already.
func (s *Session) renewing(ctx context.Context) (func(*policy.Episode) error, error) {
	anew := s.cfg.Session.From != "" && byWaypoints(s.cfg)
	if !anew && !classified(s.cfg) && refereeOf(ctx) == nil {
		return nil, nil
	}
	ctx, err := s.telling(ctx)
	if err != nil {
		return nil, err
	}
	var w ways
	var plan kagi.Plan
	if anew {
		if w, plan, err = s.inheritedWays(); err != nil {
			return nil, err
		}
	}
	return func(e *policy.Episode) error {
		if anew {
			if err := rewayed(e, w, plan); err != nil {
				return err
			}
		}
		if anew && s.cfg.Reward.KAGI.Sparse == "none" {
			untell(e)
		}
		return errors.Join(retell(ctx, e), s.rejudge(ctx, e))
	}, nil
}

// renewingKept is renewing of a session that is looked at, whose judge answers what it kept.
// done says that no demonstration follows.
func (s *Session) renewingKept(ctx context.Context) (renew func(*policy.Episode) error, done func() error, err error) {
	done = func() error { return nil }
	if byJudge(s.cfg) {
		m, err := readJudge(s.Dir())
		if err != nil {
			return nil, done, err
		}
		kept, err := judge.Remember(noModel{}, m.Model, filepath.Join(s.Dir(), answersFile))
		if err != nil {
			return nil, done, err
		}
		done = kept.Close
		ctx = context.WithValue(ctx, refereeKey{}, &referee{judge: judge.Judge{Model: kept, Task: m.Task, Times: m.Times}, log: s.log})
	}
	if renew, err = s.renewing(ctx); err != nil {
		err = errors.Join(err, done())
	}
	return renew, done, err
}

// noModel is the model of a session that is looked at: what was not kept was no answer, and counts
// as none.
type noModel struct{}

func (noModel) Ask(context.Context, judge.Prompt) ([]byte, error) {
	return nil, errors.New("its answer is not kept")
}

// repaid gives episodes, as they are stored, the rewards that the session learns from.
func (s *Session) repaid(ctx context.Context, es []policy.Episode) (err error) {
	pay, done, err := s.paying(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	for i := range es {
		if pay == nil {
			break
		}
		if err := pay(ctx, &es[i]); err != nil {
			return err
		}
	}
	return nil
}

// paying gives an episode, as it is stored, the rewards that the session learns from: of a reward
// that was aligned anew since, and of demonstrations of an earlier session by waypoints; nil where
// the files have them already. done says that no episode follows.
func (s *Session) paying(ctx context.Context) (pay func(context.Context, *policy.Episode) error, done func() error, err error) {
	renew, done, err := s.renewingKept(ctx)
	if err != nil {
		return nil, done, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, done())
		}
	}()
	anew, err := s.store.Marked(ctx, markRealigned)
	if err != nil || renew == nil && anew == "" {
		return nil, done, err
	}
	t, err := s.newestTaste(ctx)
	if err != nil {
		return nil, done, s.unready(err)
	}
	by, err := t.scorer()
	if err != nil {
		return nil, done, err
	}
	return func(ctx context.Context, e *policy.Episode) error {
		renewed := renew != nil && e.Origin == policy.Demo
		if renewed {
			if err := renew(e); err != nil {
				return err
			}
		}
		if renewed || anew != "" {
			return rate(ctx, by, e)
		}
		return nil
	}, done, nil
}

// renewed is the trajectory of a demonstration by the keys that the session goes by.
func (s *Session) renewed(renew func(*policy.Episode) error, id string, traj []perception.Features) ([]perception.Features, error) {
	e, err := s.store.Episode(id)
	if err != nil {
		return nil, err
	}
	if len(e.Inputs) != len(traj) {
		return nil, fmt.Errorf("wire: %s is of %d observations, and %d are seen", id, len(e.Inputs), len(traj))
	}
	for t := range traj {
		e.Inputs[t].Features = traj[t]
	}
	if err := renew(&e); err != nil {
		return nil, err
	}
	return e.Trajectory(), nil
}
