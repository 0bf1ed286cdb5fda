package wire

import (
	"context"
	"fmt"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
)

// demo is a demonstration: what was recorded, and what a person who watched it
// knows of it.
type demo struct {
	episode policy.Episode
	frames  [][]robot.Frame // (T+1) ticks of all cameras
	truth   []sim.Truth     // (T+1), for simulated people alone
	liked   bool            // a recording that a person prefers
}

// collect has the scripted person demonstrate, in the good style first.
func collect(ctx context.Context, c config.Config, tell Progress) ([]demo, error) {
	n := c.Demos.Good + c.Demos.Bad
	demos := make([]demo, n)
	count := counter(tell, "demonstrations", n)
	err := spread(ctx, c, demonstrations, n, func(ctx context.Context, a *arm, i int) error {
		d := &demos[i]
		hand := &hand{}
		begin := func() (err error) {
			a.next, d.frames, d.truth = i, nil, nil
			hand.who, err = newDemonstrator(a.world, i < c.Demos.Good, draw(c.Seed, people, i))
			return err
		}
		if err := begin(); err != nil {
			return err
		}
		actor := &loop.Actor{Backend: a.guard, Extractor: blind{}, Track: a.track, Policy: hand, Horizon: c.Robot.Horizon,
			Watch: func(_ context.Context, _ int, obs robot.Observation, _ policy.Input) error {
				hand.obs = obs
				d.frames = append(d.frames, obs.Frames)
				d.truth = append(d.truth, a.world.Truth())
				return nil
			}}
		var err error
		d.episode, err = deskOf(ctx).again(ctx, func() (policy.Episode, error) {
			return actor.Episode(ctx, fmt.Sprintf("demo-%05d", i), uint64(i))
		}, begin)
		if err != nil {
			return err
		}
		d.episode.Origin = policy.Demo
		d.episode.Seed = draw(c.Seed, demonstrations, i)
		count("")
		return nil
	})
	return demos, err
}

// hand lets a demonstrator act where a policy does. It acts on what Watch saw.
type hand struct {
	who demonstrator
	obs robot.Observation
}

func (h *hand) Act(context.Context, policy.Input) (robot.Command, error) {
	return h.who.Act(h.obs), nil
}
func (h *hand) Load(policy.Params) error { return nil }

// blind is the extractor before there is an encoder.
type blind struct{}

func (blind) Extract(context.Context, []robot.Frame) (perception.Features, error) {
	return perception.Features{}, nil
}
