package wire

import (
	"context"
	"fmt"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy/align"
)

// trials says how a policy does, by what people like: it does align.trials episodes at
// starts of their own, the same ones each time, and the reward that ranked the rollouts of
// r ranks these among them. nil where none are asked for.
func (a *Alignment) trials(ctx context.Context, t *align.Tuned, r rankings) (func(context.Context) (float64, error), error) {
	n := a.s.cfg.Align.Trials
	if n == 0 {
		return nil, nil
	}
	var j judgement
	if err := a.read(judgementFile, &j); err != nil {
		return nil, err
	}
	if j.By == "labels" || j.By != r.By {
		return nil, fmt.Errorf("wire: align: align.trials is %d, but the rollouts of %s were ranked by %s and its reward is of %s; rank them by its reward: %s, then %s", n, a.s.Dir(), r.By, j.By, a.Again(AlignEncoder), a.Again(AlignSynthetic))
	}
	by, err := a.scorer(ctx, j)
	if err != nil {
		return nil, err
	}
	c := a.tried()
	return func(ctx context.Context) (float64, error) {
		ps, err := t.Net().Encode(a.p.clone.Version + 1)
		if err != nil {
			return 0, err
		}
		ends, err := evaluate(ctx, c, trial, a.p.eyes, by, a.p.view, ps, n, func(done int, _ string) { a.s.tell("trials", done, n, "") })
		if err != nil {
			return 0, err
		}
		return r.worth(ends), nil
	}, nil
}

// tried is how trials go: to the horizon, as rollouts do, since a return grows with the ticks
// that it is of.
func (a *Alignment) tried() config.Config {
	c := a.s.cfg
	c.Session.End = "horizon"
	return c
}

// worth is the mean share of the ranked rollouts that episodes are better than. One that the
// guard cut off is better than none: it has no return, and 0 is the best that a reward of
// RAPL's can be.
func (r rankings) worth(ends []outcome) float64 {
	sum := 0.0
	for _, e := range ends {
		if !e.cut {
			sum += r.beaten(e.ret)
		}
	}
	return sum / float64(len(ends))
}

// beaten is the share of the ranked rollouts that an episode of that return is better
// than; those that are as good count half.
func (r rankings) beaten(ret float64) float64 {
	beaten := 0.0
	for _, x := range r.Order {
		switch {
		case ret > x.Return:
			beaten++
		case ret == x.Return:
			beaten += 0.5
		}
	}
	return beaten / float64(len(r.Order))
}
