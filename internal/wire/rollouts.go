package wire

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/tabletop"
	"github.com/rapport-rl/rapport/sim/xmagical"
)

// rover makes rollouts of mixed quality: a demonstrator of either style who may
// tremble, give up, or change his mind half-way.
type rover struct {
	hands  [2]demonstrator // before and from the change on
	change int             // tick
	stop   int             // tick from which it keeps still
	noise  [6]float64      // m and rad a tick, of a disturbance that lasts some ticks
	rng    *rand.Rand
	drift  [6]float64
	grip   float64 // that it wished last
	tick   int
	obs    robot.Observation
}

// newRover draws what the rover does from seed.
func newRover(w world, horizon int, seed uint64) (*rover, error) {
	r := &rover{rng: rand.New(rand.NewPCG(seed, 0x726f766572)), change: horizon, stop: horizon} // "rover"
	first := r.rng.IntN(2)
	var err error
	for i := range r.hands {
		if r.hands[i], err = newDemonstrator(w, (first+i)%2 == 0, seed+uint64(i)); err != nil {
			return nil, err
		}
	}
	switch r.rng.IntN(4) {
	case 0:
		r.stop = horizon/4 + r.rng.IntN(horizon/2)
	case 1:
		r.change = horizon/4 + r.rng.IntN(horizon/2)
	}
	shaky := []float64{0, 0.3, 0.6, 1.2}[r.rng.IntN(4)]
	r.noise[0], r.noise[1] = shaky*tabletop.Speed, shaky*tabletop.Speed
	if _, ok := w.(*xmagical.World); ok {
		r.noise = [6]float64{0: shaky * xmagical.Speed * xmagical.Period.Seconds(), 5: shaky * xmagical.TurnUnit}
	}
	return r, nil
}

// Act implements policy.Policy. The observation came by Watch.
func (r *rover) Act(context.Context, policy.Input) (robot.Command, error) {
	t := r.tick
	r.tick++
	// Both see the episode's beginning, by which they know a new one.
	c := [2]robot.Command{r.hands[0].Act(r.obs), r.hands[1].Act(r.obs)}
	if t >= r.stop {
		return robot.Command{Grip: r.grip}, nil // and drops nothing
	}
	out := c[0]
	if t >= r.change {
		out = c[1]
	}
	r.grip = out.Grip
	for i := range r.drift {
		if r.noise[i] == 0 {
			continue
		}
		r.drift[i] = 0.8*r.drift[i] + 0.6*r.rng.NormFloat64() // of variance 1, half of it gone in 3 ticks
		out.Delta[i] += r.noise[i] * r.drift[i]
	}
	return out, nil
}

func (*rover) Load(policy.Params) error { return nil }

// crew are who makes the rollouts of a study, in turn.
type crew struct {
	cfg   config.Config
	of    stream
	from  int             // number of the first rollout among the stream's
	eyes  eyes            // nil while there are none: the frames are kept instead
	view  view.Config     // of the clones
	clone []policy.Params // every other rollout is by one of them, if there are some
}

// collect makes n rollouts.
func (k crew) collect(ctx context.Context, n int, tell func(done int)) ([]demo, error) {
	out := make([]demo, n)
	count := counter(func(_ string, done, _ int, _ string) { tell(done) }, "", n)
	err := spread(ctx, k.cfg, k.of, n, func(ctx context.Context, a *arm, i int) error {
		var err error
		out[i], err = k.rollout(ctx, a, i)
		if err == nil {
			count("")
		}
		return err
	})
	return out, err
}

// rollout makes the i-th. One that the guard cuts off is made again, otherwise.
func (k crew) rollout(ctx context.Context, a *arm, i int) (d demo, err error) {
	at := k.from + i
	d.episode, err = uncut(ctx, a, func(try uint64) (policy.Episode, error) {
		a.next = at
		d.frames, d.truth = nil, nil
		var pi policy.Policy
		var r *rover
		if k.eyes != nil && len(k.clone) > 0 && i%2 == 1 {
			p, err := newPlayer(ctx, k.cfg, k.view, false, true)
			if err != nil {
				return policy.Episode{}, err
			}
			p.Begin(uint64(at) + try<<32)
			pi = p
		} else {
			var err error
			if r, err = newRover(a.world, k.cfg.Robot.Horizon, draw(k.cfg.Seed, people, 1<<20+int(k.of)<<16+at)+try<<32); err != nil {
				return policy.Episode{}, err
			}
			pi = r
		}
		var x perception.Extractor = blind{}
		if k.eyes != nil {
			x = k.eyes
		}
		actor := &loop.Actor{Backend: a.guard, Extractor: x, Track: a.track, Policy: pi, Horizon: k.cfg.Robot.Horizon,
			Watch: func(_ context.Context, _ int, obs robot.Observation, _ policy.Input) error {
				if r != nil {
					r.obs = obs
				}
				if k.eyes == nil {
					d.frames = append(d.frames, obs.Frames)
				}
				d.truth = append(d.truth, a.world.Truth())
				return nil
			}}
		if r == nil {
			if err := actor.Load(k.clone[i/2%len(k.clone)]); err != nil {
				return policy.Episode{}, err
			}
		}
		return actor.Episode(ctx, fmt.Sprintf("rollout-%05d", at), uint64(at))
	})
	return d, err
}

// clones are policies cloned from the rollouts for so many steps each, from hardly
// at all to well.
func clones(ctx context.Context, c config.Config, v view.Config, ds []demo, steps ...int) ([]policy.Params, error) {
	var es []policy.Episode
	for _, d := range ds {
		e := d.episode
		e.Origin = policy.Demo
		es = append(es, e)
	}
	var out []policy.Params
	for i, n := range steps {
		net, _, err := bc.Train(ctx, bc.Config{
			Arch: bc.Arch{View: v, Hidden: c.Policy.Hidden}, Steps: n, Batch: c.Policy.Clone.Batch, LR: c.Policy.Clone.Rate,
			Seed: draw(c.Seed, networks, 10+i),
		}, es, func(bc.Progress) {})
		if err != nil {
			return nil, err
		}
		p, err := net.Encode(1)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}
