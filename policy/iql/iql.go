// Package iql learns from recorded episodes alone, good and bad, and goes on from
// there online: implicit Q-learning (Kostrikov, Nair, Levine 2021, arXiv:2110.06169,
// algorithm 1).
//
// It never asks what an action is worth that nobody took. The value of a state is
// an expectile of the values of the actions in the data, near the best of them;
// critics are fitted to the values of what came next; and the policy imitates the
// data, each row weighed by how much better its action is than the state.
//
//	l, err := iql.New(iql.Config{Scale: 30, Round: 100, Seed: 1}, cloned)
//	err = l.Add(ctx, e) // for each recorded episode
//	for range 100 {
//		stats, err := l.Update(ctx)
//	}
//	params, err := l.Latest(ctx) // for bc.Policy.Load; then as online
//
// From frames, the losses of value and critics train the trunk that all networks
// read through (critic.Sight).
//
// Deviations from the paper: the critics and the value have LayerNorm, the policy
// is a tanh-Gaussian with a deviation per state instead of a Gaussian of one
// deviation about a bounded mean, rows are normalised, gradients are clipped, and
// there is no dropout.
package iql

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
)

var _ policy.Keeper = (*Learner)(nil)

// Learner implements policy.Keeper. It is driven by one goroutine.
type Learner struct {
	cfg     Config
	replay  *buffer.Buffer
	batch   *buffer.Batch
	returns map[string]float64 // of the episodes before the first Update, with Spread

	actor, ref     *bc.Net // ref is where learning started
	critic, target *nn.MLP
	value          *nn.MLP
	// The same, listed once.
	actorParams, criticParams, targetParams, valueParams []*nn.Param

	judge   *judge
	fitV    *critic.Expectile
	next    critic.Backup
	fitQ    *regression
	td      []float32 // (B,) of the mean over the members; nil without Prioritised
	extract *extraction
	probe   *bc.Probe
	adam    struct{ critic, value, actor *nn.Adam }
	sight   *critic.Sight // nil without cameras
	feed    critic.Feed   // of replay into batch and read
	read    []float32     // (B, D') what all networks read of the batch
	was     []float32     // (B, D') what ref reads of it; nil without cameras

	pcg      *rand.PCG
	rng      *rand.Rand
	fitted   bool    // the normalisation is set
	factor   float64 // of the rewards, by Spread; 0: not known yet
	steps    uint64
	actors   uint64 // actor steps so far
	version  uint64 // of the actor
	online   bool   // the offline phase was ended
	observed tally
}

// New returns a Learner that starts from the policy start, which it copies. A
// nil start draws a new one of c.Arch, whose normalisation is fitted to what was
// added by the first Update.
func New(c Config, start *bc.Net) (*Learner, error) {
	if start != nil {
		c.Arch = start.Arch
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	l := &Learner{cfg: c, fitted: start != nil, version: 1, returns: make(map[string]float64)}
	l.pcg = rand.NewPCG(c.Seed, 0x69716c) // "iql"
	l.rng = rand.New(l.pcg)
	var err error
	if l.replay, err = buffer.New(c.replay()); err != nil {
		return nil, err
	}
	l.batch = buffer.NewBatch(c.Batch, c.Arch.View)
	if start != nil {
		l.actor = start.Clone()
	} else if l.actor, err = bc.NewNet(c.Arch, l.rng); err != nil {
		return nil, errors.Join(err, l.replay.Close())
	}
	l.ref = l.actor.Clone()
	l.critic = critic.NewQOf("critic", l.actor.Dim()+c.Arch.View.Action.Dim(), c.Critics, c.CriticHidden, l.rng)
	l.target = l.critic.Clone("target")
	l.value = critic.NewVOf("value", l.actor.Dim(), c.CriticHidden, l.rng)
	l.actorParams, l.criticParams, l.targetParams, l.valueParams = l.actor.Params(), l.critic.Params(), l.target.Params(), l.value.Params()

	deep := l.actor.Eye() != nil
	l.judge = newJudge(l.target, c.Batch, c.Subset, c.Device)
	l.fitV = critic.NewExpectile(l.value, c.Batch, c.Expectile, deep, c.Device)
	l.next = critic.NewBackup(l.value, c.Batch, c.Device)
	l.fitQ = newRegression(l.critic, c.Batch, deep, c.Prioritised.Alpha > 0, c.Device)
	if c.Prioritised.Alpha > 0 {
		l.td = make([]float32, c.Batch)
	}
	l.extract = newExtraction(l.actor, c.Batch, c.Head, c.Device)
	l.probe = bc.NewProbe(l.actor, l.ref, c.Batch, c.Device)

	l.adam.critic = nn.NewAdam(l.criticParams, nn.AdamConfig{LR: c.CriticLR, ClipNorm: c.ClipNorm})
	l.adam.value = nn.NewAdam(l.valueParams, nn.AdamConfig{LR: c.ValueLR, ClipNorm: c.ClipNorm})
	l.adam.actor = nn.NewAdam(l.actorParams, nn.AdamConfig{LR: c.ActorLR, ClipNorm: c.ClipNorm})
	if l.sight = critic.NewSight(l.actor, l.ref, c.Batch, nn.AdamConfig{LR: c.CriticLR, ClipNorm: c.ClipNorm}, c.Device); l.sight != nil {
		l.was = make([]float32, c.Batch*l.actor.Dim())
	}
	l.feed = critic.NewFeed(l.replay, l.batch, l.actor, l.sight)
	l.feed.Demos, l.feed.Pool, l.feed.Noise = c.Demos, c.Pool, c.Noise
	l.read = l.feed.Read
	return l, nil
}

// Add takes a labelled episode. Adding an id twice changes nothing.
func (l *Learner) Add(ctx context.Context, e policy.Episode) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	added, err := l.replay.Add(e)
	// Of what Dir held before, the returns are known once it is added again.
	_, seen := l.returns[e.ID]
	if added || err == nil && l.cfg.Dir != "" && !seen {
		l.note(e.ID, e.Rewards)
	}
	return err
}

// Relabel replaces the rewards of an episode, for a reward that has learnt
// since. It reports false for an id that is not held any more. The factor of
// Config.Spread stays what the first Update made it.
func (l *Learner) Relabel(ctx context.Context, id string, rewards []float64) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	ok, err := l.replay.Relabel(id, rewards)
	if ok && err == nil {
		l.note(id, rewards)
	}
	return ok, err
}

// note keeps the return of an episode for as long as it may be asked for.
func (l *Learner) note(id string, rewards []float64) {
	if l.factor != 0 || l.cfg.Spread == 0 {
		return
	}
	scale, sum := l.cfg.Scale, 0.0
	if scale == 0 {
		scale = 1
	}
	for _, r := range rewards {
		sum += scale*r + l.cfg.Shift
	}
	l.returns[id] = sum
}

// spread is the factor that Config.Spread asks for.
func (l *Learner) spread() float64 {
	low, high := math.Inf(1), math.Inf(-1)
	for _, r := range l.returns {
		low, high = min(low, r), max(high, r)
	}
	if l.cfg.Spread == 0 || !(high > low) {
		return 1
	}
	return l.cfg.Spread / (high - low)
}

// Online ends the offline phase of Config.Offline.
func (l *Learner) Online() { l.online = true }

// Offline tells whether the next step learns from demonstrations alone, because
// the phase is not over or because there is nothing else yet.
func (l *Learner) Offline() bool {
	return l.replay.Count().Online == 0 || !l.online && l.steps < uint64(l.cfg.Offline)
}

// Close lets the replay's folder and goroutines go. A Learner with Config.Dir or
// JPEG wants it; closing twice is harmless.
func (l *Learner) Close() error { return l.replay.Close() }

// Count tells what is replayed.
func (l *Learner) Count() buffer.Count { return l.replay.Count() }

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
	return fmt.Errorf("iql: %s is %v at step %d: lower the learning rates or scale the rewards down, and restore the last checkpoint", what, v, l.steps)
}
