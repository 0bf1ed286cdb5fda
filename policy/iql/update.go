package iql

import (
	"context"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/critic"
)

// tally sums what the steps of a round tell.
type tally struct {
	steps, actors               float64
	loss, q, td, grad           float64 // of the critics
	value, v, adv, weight, most float64 // of the value
	actor, actorGrad            float64 // of actor steps
	trunk, trunks               float64
	demos, rows, reward, target float64
	values                      critic.Look
}

// Update does Round steps. Batches are half demonstrations as Config.Demos says;
// while one side is empty, all comes from the other, and while both are it is an
// error wrapping buffer.ErrEmpty.
func (l *Learner) Update(ctx context.Context) (policy.Stats, error) {
	count := l.replay.Count()
	if count.Demo+count.Online == 0 {
		return policy.Stats{}, fmt.Errorf("iql: nothing to learn from: %w", buffer.ErrEmpty)
	}
	if err := ctx.Err(); err != nil {
		return policy.Stats{}, err
	}
	fits := !l.fitted // the normalisation is of the parameters too
	if fits {
		rows := l.replay.Observations()
		l.actor.Fit(rows)
		l.ref.Fit(rows)
		l.fitted = true
	}
	if l.factor == 0 {
		l.factor = l.spread()
		clear(l.returns)
	}
	l.observed = tally{}
	for range l.cfg.Round {
		if err := ctx.Err(); err != nil {
			return policy.Stats{}, err
		}
		if err := l.step(l.feed.Share(l.Offline())); err != nil {
			return policy.Stats{}, err
		}
	}
	if l.observed.actors > 0 || fits {
		l.version++
	}
	return l.stats(), nil
}

// step draws a batch and fits the value, then the actor, then the critics, and
// lets the targets follow, in the order of the authors' code.
func (l *Learner) step(demos int) error {
	b := l.batch
	if err := l.feed.Draw(l.next.X.Value, demos, l.rng); err != nil {
		return fmt.Errorf("iql: %w", err)
	}
	for i := range b.Reward {
		b.Reward[i] *= float32(l.factor)
	}
	l.choose(l.judge.idx)
	pack(l.judge.xa, l.read, b.Act)
	l.judge.g.Forward()
	if err := l.valueStep(); err != nil {
		return err
	}
	l.fitV.G.ForwardTo(l.fitV.V) // the value has moved
	adv, weight, most := weigh(l.extract.w.Value, l.judge.q.Value, l.fitV.V.Value, l.cfg.Beta, l.cfg.MaxWeight)
	if l.steps >= uint64(l.cfg.Warmup) {
		if err := l.actorStep(); err != nil {
			return err
		}
	}
	if err := l.criticStep(); err != nil {
		return err
	}
	l.look()
	nn.Lerp(l.targetParams, l.criticParams, float32(l.cfg.Tau))
	l.steps++

	o := &l.observed
	o.steps++
	o.adv, o.weight, o.most = o.adv+adv, o.weight+weight, o.most+most
	o.demos += float64(b.Demos)
	o.rows += float64(len(b.Reward))
	return nil
}

// look lets the trunk follow what the losses of value and critics say together,
// as large as they are. While the actor stays, so does what it sees with.
func (l *Learner) look() {
	v := l.sight
	if v == nil || l.steps < uint64(l.cfg.Warmup) {
		return
	}
	v.Take(l.fitV.X)
	v.Take(l.fitQ.xa)
	v.Step()
	l.observed.trunk += v.Norm()
	l.observed.trunks++
}

// valueStep fits the value to the expectile of what judge said.
func (l *Learner) valueStep() error {
	f := l.fitV
	copy(f.X.Value, l.read)
	copy(f.Q.Value, l.judge.q.Value)
	loss, err := l.descend(f.G, f.Loss, l.valueParams, l.adam.value, "the value's loss")
	if err != nil {
		return err
	}
	o, B := &l.observed, float64(l.cfg.Batch)
	o.value += loss
	for _, v := range f.V.Value {
		o.v += float64(v) / B
	}
	return nil
}

// actorStep draws the policy nearer to the rows that are worth it.
func (l *Learner) actorStep() error {
	e := l.extract
	copy(e.x.Value, l.read)
	if l.cfg.Head == Gaussian {
		bc.Unsquash(e.a.Value, l.batch.Act, bc.Edge)
	} else {
		copy(e.a.Value, l.batch.Act)
	}
	if n := float64(l.cfg.Decay); n > 0 {
		l.adam.actor.LR = l.cfg.ActorLR * (0.55 + 0.45*math.Cos(math.Pi*min(1, float64(l.actors)/n)))
	}
	loss, err := l.descend(e.g, e.loss, l.actorParams, l.adam.actor, "the actor's loss")
	if err != nil {
		return err
	}
	l.actors++
	o := &l.observed
	o.actors++
	o.actor += loss
	o.actorGrad += l.adam.actor.Norm()
	return nil
}

// criticStep fits the critics to the rewards and the value of what came next.
func (l *Learner) criticStep() error {
	f, b := l.fitQ, l.batch
	l.next.G.Forward()
	for i, r := range b.Reward {
		f.y.Value[i] = float32(float64(r) + float64(b.Discount[i])*float64(l.next.V.Value[i]))
	}
	pack(f.xa, l.read, b.Act)
	if l.td != nil {
		copy(f.w.Value, b.Weight)
	}
	loss, err := l.descend(f.g, f.loss, l.criticParams, l.adam.critic, "the critics' loss")
	if err != nil {
		return err
	}
	if l.td != nil {
		for i, y := range f.y.Value {
			l.td[i] = f.mean.Value[i] - y
		}
		if err := l.replay.SetPriorities(b, l.td); err != nil {
			return fmt.Errorf("iql: %w", err)
		}
	}
	o, B := &l.observed, float64(l.cfg.Batch)
	o.loss += loss
	o.grad += l.adam.critic.Norm()
	o.values.Add(f.q.Value, l.cfg.Critics)
	for i, y := range f.y.Value {
		o.reward += float64(b.Reward[i]) / B
		o.target += float64(y) / B
		o.q += float64(f.mean.Value[i]) / B
		o.td += math.Abs(float64(f.mean.Value[i]-y)) / B
	}
	return nil
}

// descend does one gradient step and gives the loss before it.
func (l *Learner) descend(g *nn.Graph, loss *nn.Node, params []*nn.Param, adam *nn.Adam, what string) (float64, error) {
	g.Forward()
	v := float64(loss.Value[0])
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, l.diverged(what, v)
	}
	nn.ZeroGrad(params)
	g.Backward(loss)
	adam.Step()
	return v, nil
}

// choose draws a subset of the critics without repetition.
func (l *Learner) choose(idx []int) {
	if len(idx) == l.cfg.Critics {
		for i := range idx {
			idx[i] = i
		}
		return
	}
	critic.Choose(idx, l.cfg.Critics, l.rng)
}

// stats turns the tally of a round into means.
func (l *Learner) stats() policy.Stats {
	o := &l.observed
	ms := make([]policy.Metric, 0, 24)
	tell := func(name string, v float64) { ms = append(ms, policy.Metric{Name: name, Value: v}) }
	tell("critic_loss", o.loss/o.steps)
	tell("q_mean", o.q/o.steps)
	ms = o.values.Append(ms)
	tell("td_error", o.td/o.steps)
	tell("target_mean", o.target/o.steps)
	tell("reward_mean", o.reward/o.steps)
	tell("critic_grad", o.grad/o.steps)
	if o.trunks > 0 {
		tell("trunk_grad", o.trunk/o.trunks)
	}
	tell("demo_share", o.demos/o.rows)
	tell("value_loss", o.value/o.steps)
	tell("v_mean", o.v/o.steps)
	tell("advantage", o.adv/o.steps)
	tell("weight_mean", o.weight/o.steps)
	tell("weight_capped", o.most/o.steps)
	if o.actors > 0 {
		if v := l.sight; v != nil {
			v.Was(l.was, l.batch.Obs, l.batch.Pix)
		}
		entropy, kl := l.probe.Look(l.read, l.was, l.rng)
		tell("actor_loss", o.actor/o.actors)
		tell("entropy", entropy)
		tell("actor_grad", o.actorGrad/o.actors)
		tell("kl", kl)
	}
	return policy.Stats{Updates: l.steps, Metrics: ms}
}
