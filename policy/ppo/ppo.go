// Package ppo tunes a policy by what it has just done: proximal policy
// optimisation (Schulman et al. 2017, arXiv:1707.06347), by which RAPL's
// manipulation policies were tuned (Tian et al. 2024, arXiv:2412.04835).
//
// Nothing is replayed. Episodes are waited for until there are Config.Ticks
// transitions; these are learned from in a few passes, and dropped. It takes many
// more episodes than package rlpd, and asks less of the rewards: no values of
// actions, and no guesses beyond what was done.
//
//	l, err := ppo.New(ppo.Config{Ticks: 450, Warmup: 2, Seed: 1}, cloned)
//	for each labelled episode e of l's newest parameters, or of some before {
//		err = l.Add(ctx, e)
//		stats, err := l.Update(ctx) // learns when there are enough
//		params, err := l.Latest(ctx)
//	}
//
// The loop acts with parameters one round old, so an episode may come from another
// version than the newest. The learner remembers its last versions and computes
// how likely an action was from the one that took it; episodes of versions that
// it does not remember are dropped. What a person or the guard decided is part of
// an episode's returns, but teaches the value alone. Demonstrations only set the
// normalisation of a policy that starts from nothing.
//
// That likelihood is one of independent draws: bc.PolicyConfig.Rho should be 0.
//
// From frames, policy and value share a trunk, which the losses of both train while
// the policy moves (equation 9), and with Config.Auxiliary those of heads that predict
// the reward and the row, as Lucy-SKG trains beside PPO (Moschopoulos et al. 2023,
// arXiv:2305.15801).
//
// Deviations from the paper: policy and value are networks of their own with an
// optimiser each, the value has LayerNorm, rows are normalised.
package ppo

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/critic"
)

var _ policy.Keeper = (*Learner)(nil)

// Learner implements policy.Keeper. It is driven by one goroutine.
type Learner struct {
	cfg Config
	// What was added: ids of all, rows of those that may still be learned from.
	ids   map[string]bool
	added uint64 // episodes of policies
	taken uint64 // the first so many of them were learned from, or dropped
	rolls []*roll
	prior []float32 // rows of demonstrations, until the normalisation is set

	actor, ref *bc.Net // ref is where learning started
	value      *nn.MLP
	past       []*bc.Net // versions remembered, version v at v modulo Keep
	slots      []uint64  // what past holds; 0: nothing
	// The same, listed once.
	actorParams, valueParams []*nn.Param

	density []*reader // of each of past
	heads   *reader
	values  *reader
	improve *surrogate
	fit     *regression
	adam    struct{ actor, value *nn.Adam }
	sight   *sight // nil without cameras
	data    data

	pcg      *rand.PCG
	rng      *rand.Rand
	fitted   bool   // the normalisation is set
	updates  uint64 // of the policy, those of the warm-up included
	steps    uint64 // gradient steps so far
	version  uint64 // of the actor
	observed tally
}

// New returns a Learner that starts from the policy start, which it copies. A
// nil start draws a new one of c.Arch, whose normalisation is fitted to what
// was added by the first Update.
func New(c Config, start *bc.Net) (*Learner, error) {
	if start != nil {
		c.Arch = start.Arch
	}
	if err := c.complete(start != nil); err != nil {
		return nil, err
	}
	l := &Learner{cfg: c, ids: make(map[string]bool), fitted: start != nil, version: 1}
	l.pcg = rand.NewPCG(c.Seed, 0x70706f) // "ppo"
	l.rng = rand.New(l.pcg)
	if start != nil {
		l.actor = start.Clone()
	} else {
		var err error
		if l.actor, err = bc.NewNet(c.Arch, l.rng); err != nil {
			return nil, err
		}
	}
	if c.Std != 0 {
		l.actor.SetStd(c.Std)
	}
	l.ref = l.actor.Clone()
	l.value = critic.NewVOf("value", l.actor.Dim(), c.ValueHidden, l.rng)
	l.actorParams, l.valueParams = l.actor.Params(), l.value.Params()
	l.slots = make([]uint64, c.Keep)
	for range c.Keep {
		n := l.actor.Clone()
		l.past = append(l.past, n)
		l.density = append(l.density, newDensity(n, c.Batch, c.Device))
	}
	l.remember()
	l.heads, l.values = newHeads(l.actor, c.Batch, c.Device), newValues(l.value, c.Batch, c.Device)
	l.improve = newSurrogate(l.actor, l.ref, c.Batch, c.Clip, c.Entropy, c.Device)
	l.fit = newRegression(l.value, l.actor, c.Batch, c.Device)
	l.adam.actor = nn.NewAdam(l.actorParams, nn.AdamConfig{LR: c.ActorLR, ClipNorm: c.ClipNorm})
	l.adam.value = nn.NewAdam(l.valueParams, nn.AdamConfig{LR: c.ValueLR, ClipNorm: c.ClipNorm})
	l.sight = newSight(l.actor, c.Batch, nn.AdamConfig{LR: c.ActorLR, ClipNorm: c.ClipNorm}, c.Device)
	if l.sight != nil && c.Auxiliary > 0 {
		l.sight.aside = newAside(l.sight, c.Auxiliary, nn.AdamConfig{LR: c.ActorLR, ClipNorm: c.ClipNorm}, c.Device, l.rng)
	}
	return l, nil
}

// remember keeps the actor as its version.
func (l *Learner) remember() {
	i := l.version % uint64(l.cfg.Keep)
	now := l.actor.Tensors()
	for j, t := range l.past[i].Tensors() {
		t.Set(now[j].Data)
	}
	l.slots[i] = l.version
}

// Add takes a labelled episode. Adding an id twice changes nothing.
func (l *Learner) Add(ctx context.Context, e policy.Episode) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := l.roll(e)
	if err != nil {
		return err
	}
	if l.ids[e.ID] {
		return nil
	}
	l.ids[e.ID] = true
	if e.Origin == policy.Demo {
		if !l.fitted {
			l.prior = append(l.prior, r.obs...)
		}
		return nil
	}
	r.n = l.added
	l.added++
	if r.n >= l.taken { // else it was learned from before the checkpoint restored
		l.rolls = append(l.rolls, r)
	}
	return nil
}

// Relabel replaces the rewards of an episode that was not learned from yet, for
// a reward that has learnt since. It reports false for others.
func (l *Learner) Relabel(ctx context.Context, id string, rewards []float64) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	for _, r := range l.waiting() {
		if r.id == id {
			scaled, err := l.rewards(id, r.len(), rewards)
			if err == nil {
				r.reward = scaled
			}
			return true, err
		}
	}
	return false, nil
}

// waiting are the episodes to learn from next. Those before them are of the last
// update, kept so that a checkpoint from before it can be gone back to; a new Learner
// that takes back a checkpoint keeps none.
func (l *Learner) waiting() []*roll {
	for i, r := range l.rolls {
		if r.n >= l.taken {
			return l.rolls[i:]
		}
	}
	return nil
}

// Latest returns the actor's parameters, for a bc.Policy. The version counts
// the Updates that changed them, from 1.
func (l *Learner) Latest(ctx context.Context) (policy.Params, error) {
	if err := ctx.Err(); err != nil {
		return policy.Params{}, err
	}
	return l.actor.Encode(l.version)
}

// Actor returns a copy of the actor.
func (l *Learner) Actor() *bc.Net { return l.actor.Clone() }

// diverged says where learning broke down.
func (l *Learner) diverged(what string, v float64) error {
	return fmt.Errorf("ppo: %s is %v at step %d: lower the learning rates or scale the rewards down, and restore the last checkpoint", what, v, l.steps)
}
