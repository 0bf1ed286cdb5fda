// Package rlpd tunes a policy by reinforcement learning with prior data: soft
// actor-critic whose batches are half demonstrations, with an ensemble of
// layer-normalised critics (Ball et al. 2023, "Efficient online reinforcement
// learning with offline data", arXiv:2302.02948, algorithm 1).
//
// It starts from a cloned policy: while the critics warm up on what that policy
// did, the actor stays, and from then on it may be held to the demonstrations
// or to where it came from (Config.Clone, Config.Stay). What it learns from is
// Episode.Rewards alone. A bc.Policy acts by what Latest returns.
//
//	l, err := rlpd.New(rlpd.Config{Warmup: 500, Seed: 1}, cloned)
//	for each labelled episode e {
//		err = l.Add(ctx, e)
//		stats, err := l.Update(ctx)
//		params, err := l.Latest(ctx) // for bc.Policy.Load
//	}
//
// Deviations from the paper: the deviation of the actor has bounds that are
// approached smoothly, rows are normalised, and gradients are clipped.
package rlpd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/critic"
	"github.com/rapport-rl/rapport/policy/health"
)

var _ policy.Keeper = (*Learner)(nil)

// Learner implements policy.Keeper. It is driven by one goroutine.
type Learner struct {
	kind   string // names it in errors and checkpoints
	cfg    Config
	replay *buffer.Buffer
	batch  *buffer.Batch

	actor, ref     *bc.Net // ref is where learning started
	critic, target *nn.MLP
	logAlpha       *nn.Param // (1)
	// The same, listed once.
	actorParams, criticParams, targetParams []*nn.Param

	fit     *regression
	next    *target
	improve *ascent
	adam    optimisers
	sight   *critic.Sight // nil without cameras
	feed    critic.Feed   // of replay into batch and read
	waker   *waker        // nil without DrM
	gauges  []gauge
	td      []float32 // (B,) of the mean over the members; nil without Prioritised
	read    []float32 // (B, D') what actor and critics read of the batch
	// What holds the critics down, if anything does.
	conserve     critic.Conserve
	conservative *critic.Conservative

	pcg      *rand.PCG
	rng      *rand.Rand
	fitted   bool   // the normalisation is set
	critics  uint64 // critic steps so far
	actors   uint64 // actor steps so far
	version  uint64 // of the actor
	online   bool   // the offline phase was ended
	observed tally
}

// gauge measures a network on what it read last.
type gauge struct {
	name string
	*health.Gauge
	x []float32
}

// optimisers holds one Adam for each part.
type optimisers struct{ critic, actor, alpha *nn.Adam }

// New returns a Learner that starts from the policy start, which it copies. A
// nil start draws a new one of c.Arch, whose normalisation is fitted to what
// was added by the first Update.
func New(c Config, start *bc.Net) (*Learner, error) {
	return build("rlpd", c, nil, start)
}

// NewConservative returns a Learner whose critics' loss has the term of
// critic.Conservative besides. It is what package calql is made of, after which
// its checkpoints and errors are named.
func NewConservative(c Config, term critic.Conserve, start *bc.Net) (*Learner, error) {
	if err := term.Complete(); err != nil {
		return nil, err
	}
	return build("calql", c, &term, start)
}

func build(kind string, c Config, term *critic.Conserve, start *bc.Net) (*Learner, error) {
	if start != nil {
		c.Arch = start.Arch
	} else if c.Residual > 0 {
		return nil, fmt.Errorf("%s: Residual is %v, but there is no policy to start from", kind, c.Residual)
	}
	if err := c.complete(c.Arch.View.Action.Dim()); err != nil {
		return nil, err
	}
	l := &Learner{kind: kind, cfg: c, fitted: start != nil, version: 1}
	l.pcg = rand.NewPCG(c.Seed, 0x726c7064) // "rlpd": another stream than cloning's of the same seed
	l.rng = rand.New(l.pcg)
	replay := c.replay()
	if term != nil {
		replay.Returns, replay.Tail = true, buffer.TailSteady
		if term.ZeroTail {
			replay.Tail = buffer.TailZero
		}
	}
	var err error
	if l.replay, err = buffer.New(replay); err != nil {
		return nil, err
	}
	l.batch = buffer.NewBatch(c.Batch, c.Arch.View)
	if c.Residual > 0 {
		if l.actor, err = start.Residual(c.Residual, l.rng); err != nil {
			return nil, errors.Join(err, l.replay.Close())
		}
	} else if start != nil {
		l.actor = start.Clone()
	} else if l.actor, err = bc.NewNet(c.Arch, l.rng); err != nil {
		return nil, errors.Join(err, l.replay.Close())
	}
	l.ref = l.actor.Clone()
	l.critic = critic.NewQOf("critic", l.actor.Dim()+c.Arch.View.Action.Dim(), c.Critics, c.CriticHidden, l.rng)
	l.target = l.critic.Clone("target")
	l.logAlpha = nn.NewParam("alpha.log", 1).Fill(float32(math.Log(c.Alpha)))

	l.actorParams, l.criticParams, l.targetParams = l.actor.Params(), l.critic.Params(), l.target.Params()

	l.fit = newRegression(l.critic, c.Batch, l.actor.Eye() != nil, l.weighed(), c.Device)
	l.next = newTarget(l.actor, l.target, c.Batch, c.Subset, c.Best, c.Device)
	l.improve = newAscent(&l.cfg, l.actor, l.ref, l.critic)
	if l.weighed() {
		l.td = make([]float32, c.Batch)
	}
	l.adam = l.optimisers()
	l.sight = critic.NewSight(l.actor, l.ref, c.Batch, l.adamOf(c.CriticLR), c.Device)
	l.feed = critic.NewFeed(l.replay, l.batch, l.actor, l.sight)
	l.feed.Demos, l.feed.Pool, l.feed.Noise = c.Demos, c.Pool, c.Noise
	l.read = l.feed.Read
	if c.DrM != nil {
		l.waker = newWaker(*c.DrM, l, c.CriticHidden, l.rng)
	}
	if c.Health {
		l.gauges = []gauge{
			{"actor", health.New(l.actor.Head(), c.Batch), l.read},
			{"critic", health.New(l.critic, c.Batch), l.fit.xa.Value},
		}
	}
	if term != nil {
		l.conserve = *term
		l.conservative = critic.NewConservative(*term, l.actor, l.critic, c.Batch, c.CriticLR, c.Device)
	}
	return l, nil
}

// optimisers returns new ones.
func (l *Learner) optimisers() optimisers {
	return optimisers{
		critic: nn.NewAdam(l.criticParams, l.adamOf(l.cfg.CriticLR)),
		actor:  nn.NewAdam(l.actorParams, l.adamOf(l.cfg.ActorLR)),
		alpha:  nn.NewAdam([]*nn.Param{l.logAlpha}, nn.AdamConfig{LR: l.cfg.AlphaLR}),
	}
}

// adamOf configures an optimiser.
func (l *Learner) adamOf(rate float64) nn.AdamConfig {
	return nn.AdamConfig{LR: rate, ClipNorm: l.cfg.ClipNorm}
}

// Add takes a labelled episode. Adding an id twice changes nothing.
func (l *Learner) Add(ctx context.Context, e policy.Episode) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := l.replay.Add(e)
	return err
}

// Relabel replaces the rewards of an episode, for a reward that has learnt
// since. It reports false for an id that is not held any more.
func (l *Learner) Relabel(ctx context.Context, id string, rewards []float64) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	return l.replay.Relabel(id, rewards)
}

// Online ends the offline phase of Config.Offline.
func (l *Learner) Online() { l.online = true }

// Offline tells whether the next critic step learns from demonstrations alone,
// because the phase is not over or because there is nothing else yet.
func (l *Learner) Offline() bool {
	return l.replay.Count().Online == 0 || !l.online && l.critics < uint64(l.cfg.Offline)
}

// Close lets the replay's folder and goroutines go. A Learner with Config.Dir or
// JPEG wants it; closing twice is harmless.
func (l *Learner) Close() error { return l.replay.Close() }

// weighed tells whether rows have weights.
func (l *Learner) weighed() bool { return l.cfg.Prioritised.Alpha > 0 }

// Count tells what is replayed.
func (l *Learner) Count() buffer.Count { return l.replay.Count() }

// Latest returns the actor's parameters, for a bc.Policy. The version counts
// the Updates that changed them, from 1.
func (l *Learner) Latest(ctx context.Context) (policy.Params, error) {
	if err := ctx.Err(); err != nil {
		return policy.Params{}, err
	}
	l.actor.Noise = l.waker.noise(l.critics)
	return l.actor.Encode(l.version)
}

// Actor returns a copy of the actor.
func (l *Learner) Actor() *bc.Net { return l.actor.Clone() }

func (l *Learner) alpha() float64 { return math.Exp(float64(l.logAlpha.Data[0])) }

// diverged says where learning broke down.
func (l *Learner) diverged(what string, v float64) error {
	return fmt.Errorf("%s: %s is %v at critic step %d: lower the learning rates or scale the rewards down, and restore the last checkpoint", l.kind, what, v, l.critics)
}
