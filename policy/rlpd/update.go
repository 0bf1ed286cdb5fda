package rlpd

import (
	"context"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/critic"
)

// tally sums what the steps of a round tell.
type tally struct {
	critics, actors             float64
	loss, q, td, grad           float64 // of critic steps
	actor, entropy, actorGrad   float64 // of actor steps
	clone, passed, cloned, kl   float64
	looked, trunk, trunks       float64
	share, woken                float64 // of the value in targets, and the actor's perturbations, with DrM
	demos, rows, reward, target float64
	conserve, bound, held       float64 // of critic steps that were held down
	values                      critic.Look
}

// Update does Round actor steps, each after UTD critic steps. Until Warmup
// critic steps are done in all, the actor steps are left out. Batches are half
// demonstrations as Config.Demos says; while one side is empty, all comes from
// the other, and while both are it is an error wrapping buffer.ErrEmpty.
func (l *Learner) Update(ctx context.Context) (policy.Stats, error) {
	count := l.replay.Count()
	if count.Demo+count.Online == 0 {
		return policy.Stats{}, fmt.Errorf("%s: nothing to learn from: %w", l.kind, buffer.ErrEmpty)
	}
	fits := !l.fitted // the normalisation is of the parameters too
	if fits {
		rows := l.replay.Observations()
		l.actor.Fit(rows)
		l.ref.Fit(rows)
		l.fitted = true
	}
	l.observed = tally{}
	for i := range l.cfg.Round {
		for range l.cfg.UTD {
			if err := ctx.Err(); err != nil {
				return policy.Stats{}, err
			}
			if err := l.criticStep(l.feed.Share(l.Offline())); err != nil {
				return policy.Stats{}, err
			}
		}
		if l.critics < uint64(l.cfg.Warmup) {
			continue
		}
		if err := l.actorStep(i == l.cfg.Round-1); err != nil {
			return policy.Stats{}, err
		}
	}
	noise := false // which belongs to the parameters
	if w := l.waker; w != nil {
		w.measure(l.read, l.critics)
		noise = w.cfg.Noise > 0
	}
	if l.observed.actors > 0 || l.observed.woken > 0 || fits || noise {
		l.version++
	}
	return l.stats(), nil
}

// criticStep draws a batch and fits the critics to its targets.
func (l *Learner) criticStep(demos int) error {
	b := l.batch
	if err := l.feed.Draw(l.next.x.Value, demos, l.rng); err != nil {
		return fmt.Errorf("%s: %w", l.kind, err)
	}
	l.normal(l.next.noise)
	l.choose(l.next.idx)
	l.next.into(l.fit.y.Value, b.Reward, b.Discount, l.alpha(), l.cfg.EntropyBackup)
	if w := l.waker; w != nil {
		share, loss := w.learn(l.read, b.Act)
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return l.diverged("the value's loss", loss)
		}
		w.mix(l.fit.y.Value, b.Reward, b.Discount, l.next.x.Value, share)
		l.observed.share += share
	}

	l.fit.put(l.read, b.Act)
	if l.td != nil {
		copy(l.fit.w.Value, b.Weight)
	}
	l.fit.g.Forward()
	loss := float64(l.fit.loss.Value[0])
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return l.diverged("the critics' loss", loss)
	}
	nn.ZeroGrad(l.criticParams)
	l.fit.g.Backward(l.fit.loss)
	held, err := l.hold()
	if err != nil {
		return err
	}
	loss += held
	if l.td != nil {
		for i, y := range l.fit.y.Value {
			l.td[i] = l.fit.mean.Value[i] - y
		}
		if err := l.replay.SetPriorities(b, l.td); err != nil {
			return fmt.Errorf("%s: %w", l.kind, err)
		}
	}
	l.adam.critic.Step()
	l.look()
	nn.Lerp(l.targetParams, l.criticParams, float32(l.cfg.Tau))
	l.critics++
	if w := l.waker; w != nil && l.critics%uint64(w.cfg.Every) == 0 {
		w.measure(l.read, l.critics)
		l.perturb()
	}

	o := &l.observed
	o.critics++
	o.loss += loss
	o.values.Add(l.fit.q.Value, l.cfg.Critics)
	o.grad += l.adam.critic.Norm()
	o.demos += float64(b.Demos)
	B := float64(len(b.Reward))
	o.rows += B
	for i, y := range l.fit.y.Value {
		o.reward += float64(b.Reward[i]) / B
		o.target += float64(y) / B
		o.q += float64(l.fit.mean.Value[i]) / B
		o.td += math.Abs(float64(l.fit.mean.Value[i]-y)) / B
	}
	return nil
}

// look lets the trunk follow what the critics' loss says. While the actor stays,
// so does what it sees with.
func (l *Learner) look() {
	v := l.sight
	if v == nil {
		return
	}
	if l.critics < uint64(l.cfg.Warmup) {
		v.Drop()
		return
	}
	v.Take(l.fit.xa)
	v.Step()
	l.observed.trunk += v.Norm()
	l.observed.trunks++
}

// hold adds the conservative term of the batch to the gradients, if there is one
// in this phase, and gives its share of the loss.
func (l *Learner) hold() (float64, error) {
	if l.conservative == nil {
		return 0, nil
	}
	weight := l.conserve.Online
	if l.Offline() {
		weight = l.conserve.Weight
	}
	if weight == 0 {
		return 0, nil
	}
	b := l.batch
	loss := l.conservative.Add(critic.Rows{Obs: l.read, Next: l.next.x.Value, Act: b.Act, Return: b.Return}, weight, l.rng)
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, l.diverged("the conservative term", loss)
	}
	if l.sight != nil {
		l.sight.Take(l.conservative.X())
	}
	gap, bound := l.conservative.Told()
	o := &l.observed
	o.held, o.conserve, o.bound = o.held+1, o.conserve+gap, o.bound+bound
	return loss, nil
}

// actorStep improves the actor on the last batch, then the temperature. tell asks
// for the divergence from where learning started, which frames make dear.
func (l *Learner) actorStep(tell bool) error {
	a := l.improve
	copy(a.x.Value, l.read)
	tell = tell || l.sight == nil || l.cfg.Stay > 0
	if v := l.sight; v != nil && tell {
		v.Was(a.was.Value, l.batch.Obs, l.batch.Pix)
	}
	l.normal(a.noise)
	alpha := l.alpha()
	a.alpha.Value[0] = float32(alpha)
	a.demos = l.batch.Demos
	if a.act != nil {
		copy(a.act.Value, l.batch.Act)
		if l.cfg.QFilter { // the critics have moved since they saw this batch
			l.fit.g.ForwardTo(l.fit.mean)
			l.fit.judge(a.qdata.Value, l.cfg.Least)
		}
	}
	a.g.Forward()
	loss := float64(a.loss.Value[0])
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return l.diverged("the actor's loss", loss)
	}
	nn.ZeroGrad(l.actorParams)
	a.g.Backward(a.loss)
	l.adam.actor.Step()

	entropy := 0.0
	for _, p := range a.logp.Value {
		entropy -= float64(p) / float64(len(a.logp.Value))
	}
	if !l.cfg.FixedAlpha {
		// J(alpha) = alpha (entropy - target), by the logarithm of alpha
		// (Haarnoja et al. 2018, equation 18, as RLPD's code has it).
		l.logAlpha.Grad[0] = float32(alpha * (entropy - l.cfg.TargetEntropy))
		l.adam.alpha.Step()
	}
	l.actors++

	o := &l.observed
	o.actors++
	o.actor += loss
	o.entropy += entropy
	o.actorGrad += l.adam.actor.Norm()
	if a.clone != nil && a.demos > 0 {
		o.clone += float64(a.clone.Value[0])
		o.passed += float64(a.passed)
		o.cloned += float64(a.demos)
	}
	if tell {
		o.looked++
		for _, v := range a.kl.Value {
			o.kl += float64(v) / float64(len(a.kl.Value))
		}
	}
	return nil
}

// normal fills n with standard normal noise.
func (l *Learner) normal(n *nn.Node) {
	critic.Normal(n.Value, l.rng)
}

// choose draws a subset of the critics without repetition.
func (l *Learner) choose(idx []int) {
	critic.Choose(idx, l.cfg.Critics, l.rng)
}

// stats turns the tally of a round into means.
func (l *Learner) stats() policy.Stats {
	o := &l.observed
	ms := make([]policy.Metric, 0, 24)
	tell := func(name string, v float64) { ms = append(ms, policy.Metric{Name: name, Value: v}) }
	tell("critic_loss", o.loss/o.critics)
	tell("q_mean", o.q/o.critics)
	ms = o.values.Append(ms)
	tell("td_error", o.td/o.critics)
	tell("target_mean", o.target/o.critics)
	tell("reward_mean", o.reward/o.critics)
	tell("critic_grad", o.grad/o.critics)
	if o.trunks > 0 {
		tell("trunk_grad", o.trunk/o.trunks)
	}
	tell("demo_share", o.demos/o.rows)
	tell("alpha", l.alpha())
	if o.held > 0 {
		tell("conserve", o.conserve/o.held)
		tell("bound_share", o.bound/o.held)
		tell("conserve_factor", l.conservative.Factor())
	}
	if o.actors > 0 {
		tell("actor_loss", o.actor/o.actors)
		tell("entropy", o.entropy/o.actors)
		tell("actor_grad", o.actorGrad/o.actors)
		if o.cloned > 0 {
			tell("clone_loss", o.clone/o.actors)
			tell("clone_share", o.passed/o.cloned)
		}
		tell("kl", o.kl/o.looked)
	}
	if l.waker != nil {
		tell("dormant", l.waker.dormant)
		tell("value_share", o.share/o.critics)
		if l.waker.cfg.Noise > 0 {
			tell("noise", l.waker.noise(l.critics))
		}
	}
	for _, g := range l.gauges {
		ms = g.Look(g.x).Append(ms, g.name)
	}
	return policy.Stats{Updates: l.critics, Metrics: ms}
}
