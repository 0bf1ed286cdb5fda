package wire

import (
	"context"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/rank"
	"github.com/rapport-rl/rapport/robot"
)

// Sighting is how the points of a plan, and the dense reward along it, fared in rollouts
// under a disturbance.
type Sighting struct {
	// Lost are so many of Points, the plan's but the hand at each tick, that were not seen.
	Lost, Points int
	// Beside is how far each of the others was from where it is seen undisturbed, m, where
	// it is.
	Beside []float64
	// Follows is Spearman's correlation of the dense reward and the true one in each
	// rollout in which both change. It is not that with the distance, which tells
	// nothing of the way to a thing that is to be grasped.
	Follows []float64
}

// glimpse is one rollout as a plan's cameras see it.
type glimpse struct {
	keys    [][]perception.Keypoint // (T+1) ticks, or fewer of one that the guard cut off
	follows float64
}

// Sight repeats n rollouts of mixed quality, on the first starts of evaluation, under each
// of the disturbances, and tells how c's plan sees them. Who makes them sees no picture, so
// that what is done is the same whatever disturbs the view. Of a rollout that the guard
// cuts off, what was seen until then counts.
func Sight(ctx context.Context, c config.Config, n int, ds []config.Disturb, tell Progress) ([]Sighting, error) {
	plan, err := planOf(c)
	if err != nil {
		return nil, err
	}
	c.Robot.Disturb = config.Disturb{}
	plain, err := glimpses(ctx, c, n, tell)
	if err != nil {
		return nil, err
	}
	var out []Sighting
	for _, d := range ds {
		c.Robot.Disturb = d
		gs, err := glimpses(ctx, c, n, tell)
		if err != nil {
			return nil, fmt.Errorf("wire: disturbed by %+v: %w", d, err)
		}
		var s Sighting
		for i, g := range gs {
			s.add(plan, plain[i], g)
		}
		out = append(out, s)
	}
	return out, nil
}

// add counts a rollout in.
func (s *Sighting) add(plan kagi.Plan, plain, g glimpse) {
	for _, k := range plan.Points {
		if k.Hand {
			continue
		}
		// Things that are pushed may end a tick sooner or later beside distractors.
		for t := range min(len(plain.keys), len(g.keys)) {
			s.Points++
			at, score, _ := perception.Place(g.keys[t], k.Name)
			if score == 0 {
				s.Lost++
				continue
			}
			was, score, _ := perception.Place(plain.keys[t], k.Name)
			if score == 0 { // nobody knows where it was
				continue
			}
			s.Beside = append(s.Beside, norm([3]float64{at[0] - was[0], at[1] - was[1], at[2] - was[2]}))
		}
	}
	if !math.IsNaN(g.follows) {
		s.Follows = append(s.Follows, g.follows)
	}
}

// glimpses are n rollouts, see rover.
func glimpses(ctx context.Context, c config.Config, n int, tell Progress) ([]glimpse, error) {
	ctx = unasked(ctx)
	c.Reward.KAGI.Sparse = "none" // the dense reward alone
	scorer, err := kagi.New(kagi.Config{Form: kagi.Form(c.Reward.KAGI.Form), Tolerance: c.Reward.KAGI.Tolerance, Top: c.Reward.KAGI.Top})
	if err != nil {
		return nil, err
	}
	out := make([]glimpse, n)
	count := counter(tell, "rollouts", n)
	err = spread(ctx, c, evaluation, n, func(ctx context.Context, a *arm, i int) error {
		g := &out[i]
		r, err := newRover(a.world, c.Robot.Horizon, draw(c.Seed, people, 1<<20+int(evaluation)<<16+i))
		if err != nil {
			return err
		}
		var due []float64 // (T+1) ticks, the true reward
		actor := &loop.Actor{Backend: a.guard, Extractor: blind{}, Track: a.track, Policy: r, Scorer: scorer, Horizon: c.Robot.Horizon, Over: overOf(c, a),
			Watch: func(_ context.Context, _ int, obs robot.Observation, in policy.Input) error {
				r.obs = obs
				g.keys = append(g.keys, in.Features.Keys)
				due = append(due, a.world.Truth().Reward)
				return nil
			}}
		ep, err := actor.Episode(ctx, fmt.Sprintf("sight-%05d", i), uint64(i))
		cut, err := cutOff(ctx, a, err) // as who runs into a distractor is
		if err != nil {
			return err
		}
		if g.follows = math.NaN(); !cut {
			g.follows = rank.Spearman(ep.Rewards, due[1:])
		}
		count("")
		return nil
	})
	return out, err
}
