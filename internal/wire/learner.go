package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/internal/store"
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

// trunked refuses a trunk that does not fit the session's cameras.
func trunked(c config.Config) error {
	if !pixels(c) {
		return nil
	}
	if err := trunkConfig(c.Policy).Validate(viewConfig(c, 0).Cameras); err != nil {
		return fmt.Errorf("wire: policy.trunk does not fit robot.cameras: %w", err)
	}
	return nil
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

// newLearner starts from the cloned policy and holds the demonstrations.
func (s *Session) newLearner(ctx context.Context, p parts) (policy.Keeper, error) {
	dir, c := s.replayDir(), s.cfg
	var err error
	if c.Session.Episodes, err = s.span(ctx); err != nil {
		return nil, err
	}
	l, err := newKeeper(c, p.clone, true, dir)
	if errors.Is(err, buffer.ErrDamaged) {
		return nil, fmt.Errorf("%w: remove %s, and the session fills it again from its episodes", err, dir)
	}
	if err != nil {
		return nil, err
	}
	for _, e := range p.demos {
		if err := l.Add(ctx, e); err != nil {
			return nil, errors.Join(err, closeKeeper(l))
		}
	}
	return l, nil
}

// pupil is a learner that has the demonstrations, before it takes what else the session has.
type pupil struct {
	l        policy.Keeper
	fresh    bool
	version  uint64 // of the checkpoint to restore; 0 of a fresh one
	state    []byte
	episodes []policy.Episode // online, without frames, as the newest reward pays them
}

// pupil begins the learner of a session that is begun or gone on with.
func (s *Session) pupil(ctx context.Context, p parts) (pu pupil, err error) {
	pu.version, pu.state, err = s.latest(ctx, kindLearner)
	pu.fresh = errors.Is(err, store.ErrNone)
	if err != nil && !pu.fresh {
		return pu, err
	}
	if err := s.clearReplay(pu.fresh); err != nil {
		return pu, err
	}
	if err := s.rescore(ctx, p.scorer, p.demos); err != nil {
		return pu, err
	}
	if pu.episodes, err = s.logged(ctx, policy.Online); err != nil {
		return pu, err
	}
	if err := s.rescore(ctx, p.scorer, pu.episodes); err != nil {
		return pu, err
	}
	pu.l, err = s.newLearner(ctx, p)
	return pu, err
}

// restore has the learner go on from its checkpoint.
func (s *Session) restore(pu pupil) error {
	if err := pu.l.Restore(bytes.NewReader(pu.state)); err != nil {
		return fmt.Errorf("wire: %s: checkpoint %d: %w", s.Dir(), pu.version, err)
	}
	return nil
}

// learner is the learner as the session left it, and the number of the episode
// to go on with. Rounds after the last checkpoint are learned again from the
// stored episodes, to the same bits (docs/adr/0001).
func (s *Session) learner(ctx context.Context, p parts) (_ policy.Keeper, _ int, err error) {
	pu, err := s.pupil(ctx, p)
	if err != nil {
		return nil, 0, err
	}
	l, v, episodes := pu.l, pu.version, pu.episodes
	defer func() {
		if err != nil {
			err = errors.Join(err, closeKeeper(l))
		}
	}()
	if err := s.rewatch(ctx, episodes, len(episodes)); err != nil {
		return nil, 0, err
	}
	if n := s.cfg.Session.Episodes; len(episodes) > n {
		return nil, 0, fmt.Errorf("wire: %s holds %d episodes, but session.episodes is %d; want at least %d", s.Dir(), len(episodes), n, len(episodes))
	}
	switch {
	case pu.fresh:
		if err := s.warm(ctx, l); err != nil {
			return nil, 0, err
		}
	case int(v) > len(episodes):
		return nil, 0, fmt.Errorf("wire: %s: the learner's checkpoint is of %d episodes, but %d are stored; go on from an earlier one with %s %s", s.Dir(), v, len(episodes), s.dropFlags(), kindLearner)
	default:
		if err := s.recall(ctx, pu, p.demos, episodes[:v]); err != nil {
			return nil, 0, err
		}
	}
	for i, e := range episodes[v:] {
		s.tell("catch up", i, len(episodes)-int(v), "")
		st, err := l.Update(ctx)
		if err != nil {
			return nil, 0, err
		}
		if err := s.give(ctx, l, e); err != nil {
			return nil, 0, err
		}
		// The process may have died between an episode and what is told of it.
		if err := s.tally(ctx, int(v)+i, e, st); err != nil {
			return nil, 0, err
		}
	}
	return l, len(episodes), nil
}

// recall has a learner of the demonstrations as it was at its checkpoint, after the online
// episodes es. PPO's is told first which of them it has learned from, so that it keeps no
// frames of these; the others take theirs back to a replay that holds all.
func (s *Session) recall(ctx context.Context, pu pupil, demos, es []policy.Episode) error {
	forgets := s.cfg.Learner.Kind == "ppo"
	if forgets {
		if err := s.restore(pu); err != nil {
			return err
		}
	}
	for _, e := range es {
		if err := s.give(ctx, pu.l, e); err != nil {
			return err
		}
	}
	// Before the priorities come back, which new rewards would make the largest.
	if err := s.relabelFolder(ctx, pu.l, demos, es); err != nil || forgets {
		return err
	}
	return s.restore(pu)
}

// replayDir is the folder of the learner's replay, empty for one in memory.
func (s *Session) replayDir() string {
	if s.cfg.Learner.Replay.Dir == "" {
		return ""
	}
	return filepath.Join(s.Dir(), "replay")
}

// clearReplay removes the replay's folder where it could hold something else than
// the learner had at its checkpoint: episodes that a fresh one has not had yet, or,
// with a capacity, not any more those that later ones pushed out. It is filled again
// from the session's episodes.
func (s *Session) clearReplay(fresh bool) error {
	dir := s.replayDir()
	if dir == "" || !fresh && s.cfg.Learner.Replay.Capacity == 0 {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("wire: empty the replay: %w", err)
	}
	return nil
}

// warm lets the learner learn what the demonstrations are worth, before the first
// episode. Its numbers are the series "warm-up", a step a round.
func (s *Session) warm(ctx context.Context, l policy.Keeper) error {
	rounds := warmups(s.cfg.Learner)
	for i := range rounds {
		s.tell("warm-up", i, rounds, "")
		st, err := l.Update(ctx)
		if err != nil {
			return err
		}
		if err := s.store.AddMetrics(ctx, "warm-up", uint64(i), st.Metrics); err != nil {
			return err
		}
	}
	s.tell("warm-up", rounds, rounds, "")
	return nil
}
