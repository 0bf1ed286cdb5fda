package wire

import (
	"context"
	"fmt"
	"io"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/calql"
	"github.com/rapport-rl/rapport/policy/critic"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/policy/iql"
	"github.com/rapport-rl/rapport/policy/ppo"
	"github.com/rapport-rl/rapport/policy/rlpd"
	"github.com/rapport-rl/rapport/policy/trunk"
)

// newKeeper returns the configured learner, which starts from a policy's
// parameters.
//
// finite says that the reward of an episode is that of its whole horizon and that
// the view has the clock, so that nothing is worth anything beyond it. dir is the
// folder of the replay; empty: it is in memory.
func newKeeper(c config.Config, from policy.Params, finite bool, dir string) (policy.Keeper, error) {
	l, seed := c.Learner, draw(c.Seed, networks, 3)
	on, _, err := learnOn(l)
	if err != nil {
		return nil, err
	}
	if l.Kind == "diffusion" {
		start, err := diffusion.Decode(from)
		if err != nil {
			return nil, err
		}
		dc := diffusionConfig(c, start.Arch.View)
		dc.Device = on
		return diffusion.New(dc, start)
	}
	start, err := bc.Decode(from)
	if err != nil {
		return nil, err
	}
	soft := rlpd.Config{
		Gamma: l.Gamma, Batch: l.Batch, UTD: 1, Round: l.Updates,
		Critics: l.Critics, CriticHidden: l.Hidden, CriticLR: l.Rate, ActorLR: l.Rate, AlphaLR: l.Rate,
		Steps: l.Steps, Scale: l.Scale, Alpha: l.Alpha, Finite: finite, Seed: seed,
		Dir: dir, Capacity: l.Replay.Capacity, JPEG: l.Replay.JPEG, Prioritised: priorities(l.Replay), Device: on,
		Residual: l.Residual,
	}
	switch l.Kind {
	case "rlpd":
		soft.Warmup, soft.Clone, soft.QFilter, soft.Health = l.Warmup, l.Clone, l.Clone > 0, true
		if l.DrM > 0 {
			soft.DrM = &rlpd.DrM{Every: l.DrM, Noise: l.Noise}
		}
		return rlpd.New(soft, start)
	case "calql":
		soft.Offline, soft.Clone, soft.QFilter = l.Warmup, l.Clone, l.Clone > 0
		return calql.New(calql.Config{Config: soft, Conserve: critic.Conserve{Weight: l.CalQL.Weight}}, start)
	case "iql":
		decay := 0
		if l.IQL.Decay {
			decay = l.Updates * c.Session.Episodes
		}
		head := iql.Gaussian
		if l.IQL.Head == "deterministic" {
			head = iql.Deterministic
		}
		return iql.New(iql.Config{
			Gamma: l.Gamma, Batch: l.Batch, Round: l.Updates, Offline: l.Warmup, Warmup: l.Warmup, Decay: decay,
			Critics: l.Critics, CriticHidden: l.Hidden, CriticLR: l.Rate, ValueLR: l.Rate, ActorLR: l.Rate,
			Steps: l.Steps, Scale: l.Scale, Expectile: l.IQL.Expectile, Beta: l.IQL.Beta, Head: head, Finite: finite, Seed: seed,
			Dir: dir, Capacity: l.Replay.Capacity, JPEG: l.Replay.JPEG, Prioritised: priorities(l.Replay), Device: on,
		}, start)
	case "ppo":
		return ppo.New(ppo.Config{
			Gamma: l.Gamma, Scale: l.Scale, Finite: finite, Ticks: l.PPO.Episodes * c.Robot.Horizon, Epochs: l.PPO.Epochs, Batch: l.Batch, Warmup: 1,
			Auxiliary:   l.PPO.Auxiliary,
			ValueHidden: l.Hidden, ActorLR: l.Rate, ValueLR: l.Rate, Seed: seed, Device: on,
		}, start)
	case "bc":
		return bc.NewLearner(bc.LearnerConfig{Batch: l.Batch, Round: l.Updates, LR: l.Rate, Seed: seed, Device: on}, start)
	}
	return nil, fmt.Errorf("wire: learner.kind is %q", l.Kind)
}

// priorities configures draws by priority. 0.4 is the paper's first exponent of the
// weights (Schaul et al. 2016, section 4).
func priorities(c config.Replay) buffer.Prioritised {
	if c.Priority == 0 {
		return buffer.Prioritised{}
	}
	return buffer.Prioritised{Alpha: c.Priority, Beta: 0.4}
}

// closeKeeper ends what a learner has running.
func closeKeeper(l policy.Keeper) error {
	if c, ok := l.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// warmups is how many rounds learn from the demonstrations before the first online
// episode.
func warmups(c config.Learner) int {
	if c.Kind == "bc" || c.Kind == "diffusion" || c.Kind == "ppo" { // which has seen them already, or does not look at them
		return 0
	}
	return (c.Warmup + c.Updates - 1) / c.Updates
}

// trunkConfig is what frames are seen through.
func trunkConfig(c config.Policy) trunk.Config {
	t := trunk.Config{Channels: c.Trunk.Channels, Strides: c.Trunk.Strides, Latent: c.Trunk.Latent, Shift: c.Trunk.Shift}
	if t.Shift == 0 {
		t.Shift = -1 // 0 asks the trunk for its default
	}
	return t
}

// pixels says whether the policy sees frames.
func pixels(c config.Config) bool { return c.Policy.Sees == "pixels" }

// seer has a learner see the frames of an episode as its file holds them, so that
// a session that is gone on with learns from the same.
type seer struct {
	policy.Keeper
	s *Session
	t *tracks
}

func (l seer) Add(ctx context.Context, e policy.Episode) error {
	if err := l.t.finish(e.Rewards, e.Terminal); err != nil {
		return err
	}
	if err := l.s.store.Frames(&e); err != nil {
		return err
	}
	return l.Keeper.Add(ctx, e)
}
