package ppo

import (
	"context"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/critic"
)

// data is what an update learns from: M rows, the T+1 of each episode in turn.
type data struct {
	obs      []float32    // (M, D) as seen
	pix      [][]byte     // (M) of (P,) each
	rows     []float32    // (M, D) normalised
	x, was   []float32    // (M, D') what the actor and ref read when the update began; rows without cameras
	seen     [2][]float32 // which hold them with cameras
	u        []float32    // (M, k) actions before tanh; 0 in an episode's last row
	version  []uint64     // (M,) that decided; 0: none
	decided  []bool       // (M,) by a policy
	old, now []float32    // (M,) log densities when acted, and when the update began
	v        []float32    // (M,) values when the update began
	adv, ret []float32    // (M,) advantages, and what the value is fitted to
	reward   []float32    // (M,) of the step from a row, with mean 0 and deviation 1; 0 in an episode's last row
	start    []float32    // (M, 2k) heads when the update began
	order    []int        // (N,) the rows but for the last ones, shuffled
	deciding bool         // a policy decided some of them
	rewards  float64      // their mean
	fitness  float64      // share of the variance of ret that v explained
}

// tally sums what the steps of an update tell.
type tally struct {
	actors, values                          float64
	actor, grad, entropy, kl, clipped, step float64 // of policy steps
	trunk                                   float64 // gradient, of policy steps
	aside                                   float64 // loss of the auxiliary heads, of policy steps
	value                                   float64
	stopped                                 bool
}

// Update learns from the episodes that wait, if they hold Config.Ticks
// transitions, and drops them; else it only tells how many there are.
func (l *Learner) Update(ctx context.Context) (policy.Stats, error) {
	if err := ctx.Err(); err != nil {
		return policy.Stats{}, err
	}
	waiting := l.waiting()
	if !l.fitted {
		rows := l.prior
		for _, r := range waiting {
			rows = append(rows, r.obs...)
		}
		if len(rows) > 0 {
			l.actor.Fit(rows)
			l.ref.Fit(rows)
			l.fitted, l.prior = true, nil
			l.version++
			l.remember()
		}
	}
	ticks, forgotten := 0, 0
	fresh := make([]*roll, 0, len(waiting))
	for _, r := range waiting {
		if l.stale(r) {
			forgotten++
			continue
		}
		fresh = append(fresh, r)
		ticks += r.len()
	}
	ms := []policy.Metric{{Name: "waiting", Value: float64(ticks)}, {Name: "stale_episodes", Value: float64(forgotten)}}
	if ticks < l.cfg.Ticks {
		return policy.Stats{Updates: l.steps, Metrics: ms}, nil
	}
	l.rolls = slices.Clone(waiting) // those of the update before are dropped
	l.taken = waiting[len(waiting)-1].n + 1
	l.gather(fresh)
	l.observed = tally{}
	err := l.learn(ctx)
	if l.observed.actors > 0 {
		l.version++
		l.remember()
	}
	l.updates++
	if err != nil {
		return policy.Stats{}, err
	}
	return policy.Stats{Updates: l.steps, Metrics: l.tell(ms)}, nil
}

// gather fills data from rolls.
func (l *Learner) gather(rolls []*roll) {
	d, v := &l.data, l.cfg.Arch.View
	D, k := v.Dim(), v.Action.Dim()
	d.obs, d.pix, d.u, d.version, d.decided, d.order = d.obs[:0], d.pix[:0], d.u[:0], d.version[:0], d.decided[:0], d.order[:0]
	for _, r := range rolls {
		first := len(d.version)
		d.obs, d.pix = append(d.obs, r.obs...), append(d.pix, r.pix...)
		d.u, d.version, d.decided = append(d.u, r.u...), append(d.version, r.version...), append(d.decided, r.decided...)
		for t := range r.len() {
			d.order = append(d.order, first+t)
		}
		for range k {
			d.u = append(d.u, 0)
		}
		d.version, d.decided = append(d.version, 0), append(d.decided, false)
	}
	d.deciding = slices.Contains(d.decided, true)
	M := len(d.version)
	for _, a := range []*[]float32{&d.old, &d.now, &d.v, &d.adv, &d.ret, &d.reward} {
		*a = resize(*a, M)
	}
	d.rows, d.start = resize(d.rows, M*D), resize(d.start, M*2*k)
	d.x, d.was = d.rows, d.rows
	if l.sight != nil {
		d.seen = [2][]float32{resize(d.seen[0], M*l.actor.Dim()), resize(d.seen[1], M*l.actor.Dim())}
		d.x, d.was = d.seen[0], d.seen[1]
	}

	// How likely each action was to the version that took it.
	now := l.slots[l.version%uint64(l.cfg.Keep)]
	for i, n := range l.past {
		version := l.slots[i]
		if version == 0 || version != now && !slices.Contains(d.version, version) {
			continue
		}
		l.read(d.x, n)
		l.density[i].all(d.adv, d.x, d.u) // adv is free until below
		for j, was := range d.version {
			if was == version {
				d.old[j] = d.adv[j]
			}
		}
		if version == now {
			copy(d.now, d.adv)
		}
	}
	for j, decided := range d.decided {
		if !decided {
			d.old[j] = d.now[j] // of ratio 1
		}
	}

	if l.sight != nil {
		l.read(d.was, l.ref)
	}
	l.read(d.x, l.actor)
	l.values.all(d.v, d.x, nil)
	l.heads.all(d.start, d.x, nil)
	first := 0
	d.rewards = 0
	for _, r := range rolls {
		T := r.len()
		advantages(d.adv[first:first+T], r.reward, d.v[first:first+T+1], r.ends, l.cfg.Gamma, l.cfg.Lambda)
		for t := range T {
			d.ret[first+t] = d.adv[first+t] + d.v[first+t]
			d.rewards += r.reward[t] / float64(len(d.order))
			d.reward[first+t] = float32(r.reward[t])
		}
		d.reward[first+T] = 0
		first += T + 1
	}
	d.fitness = d.explained()
	d.evenRewards()
	standardise(d.adv, d.decided)
}

// read writes what n reads of the data to dst (M, D').
func (l *Learner) read(dst []float32, n *bc.Net) {
	d := &l.data
	n.Normalise(d.rows, d.obs)
	if l.sight != nil {
		l.sight.all(dst, d.rows, d.pix, n)
	}
}

// explained is the share of the variance of the returns that the values explain.
func (d *data) explained() float64 {
	n, mean, all, left := float64(len(d.order)), 0.0, 0.0, 0.0
	for _, i := range d.order {
		mean += float64(d.ret[i]) / n
	}
	rest := 0.0
	for _, i := range d.order {
		rest += float64(d.ret[i]-d.v[i]) / n
	}
	for _, i := range d.order {
		e := float64(d.ret[i]) - mean
		f := float64(d.ret[i]-d.v[i]) - rest
		all, left = all+e*e, left+f*f
	}
	if all == 0 {
		return 0
	}
	return 1 - left/all
}

// evenRewards gives the rewards of the steps mean 0 and deviation 1.
func (d *data) evenRewards() {
	n, square := float64(len(d.order)), 0.0
	for _, i := range d.order {
		e := float64(d.reward[i]) - d.rewards
		square += e * e / n
	}
	dev := math.Sqrt(square) + 1e-8 // as standardise
	for _, i := range d.order {
		d.reward[i] = float32((float64(d.reward[i]) - d.rewards) / dev)
	}
}

// learn passes over the data.
func (l *Learner) learn(ctx context.Context) error {
	c, d := &l.cfg, &l.data
	rate := 1.0
	if c.Decay > 0 {
		rate = 0.55 + 0.45*math.Cos(math.Pi*min(1, float64(l.updates)/float64(c.Decay)))
	}
	l.adam.actor.LR, l.adam.value.LR = rate*c.ActorLR, rate*c.ValueLR
	if l.sight != nil {
		l.sight.adam.LR = rate * c.ActorLR
		if l.sight.aside != nil {
			l.sight.aside.adam.LR = rate * c.ActorLR
		}
	}
	for range c.Epochs {
		l.rng.Shuffle(len(d.order), func(i, j int) { d.order[i], d.order[j] = d.order[j], d.order[i] })
		for rest := d.order; len(rest) >= c.Batch; rest = rest[c.Batch:] {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := l.step(rest[:c.Batch]); err != nil {
				return err
			}
		}
	}
	return nil
}

// step does a gradient step of the policy, unless it has gone far enough, and
// one of the value on the rows idx.
func (l *Learner) step(idx []int) error {
	l.fill(idx)
	l.steps++
	moves := false
	if l.data.deciding && l.updates >= uint64(l.cfg.Warmup) && !l.observed.stopped {
		var err error
		if moves, err = l.actorStep(); err != nil {
			return err
		}
	}
	f := l.fit
	f.g.Forward()
	loss := float64(f.loss.Value[0])
	if !finite(loss) {
		return l.diverged("the value's loss", loss)
	}
	nn.ZeroGrad(l.valueParams)
	f.g.Backward(f.loss)
	l.adam.value.Step()
	// While the policy stays, so does what it sees with.
	if moves && l.sight != nil {
		l.sight.learn(l.improve.x, f.x, l.cfg.ValueWeight)
		l.observed.trunk += l.sight.adam.Norm()
		if l.sight.aside != nil {
			l.observed.aside += float64(l.sight.aside.loss.Value[0])
		}
	}
	l.observed.values++
	l.observed.value += loss
	return nil
}

// fill copies the rows idx into the graphs.
func (l *Learner) fill(idx []int) {
	s, f, d := l.improve, l.fit, &l.data
	D, k := s.x.Shape[1], s.u.Shape[1]
	n := 0
	for i, j := range idx {
		if l.sight == nil {
			copy(s.x.Value[i*D:(i+1)*D], d.x[j*D:])
		} else {
			copy(s.was.Value[i*D:(i+1)*D], d.was[j*D:])
		}
		copy(s.u.Value[i*k:(i+1)*k], d.u[j*k:])
		copy(s.start.Value[i*2*k:(i+1)*2*k], d.start[j*2*k:])
		s.old.Value[i], s.adv.Value[i] = d.old[j], d.adv[j]
		f.y.Value[i] = d.ret[j]
		if d.decided[j] {
			n++
		}
	}
	if l.sight != nil {
		l.sight.look(s.x.Value, d, idx)
	}
	copy(f.x.Value, s.x.Value)
	s.share.Value[0] = 1 / float32(max(1, n))
	critic.Normal(s.noise.Value, l.rng)
}

// actorStep improves the policy on the rows filled in, unless it has gone far
// enough, and tells whether it did.
func (l *Learner) actorStep() (bool, error) {
	s, o := l.improve, &l.observed
	s.g.Forward()
	loss, far := float64(s.loss.Value[0]), mean(s.far.Value)
	if !finite(loss) || !finite(far) {
		return false, l.diverged("the actor's loss", loss)
	}
	o.step = far
	if far > l.cfg.MaxKL {
		o.stopped = true
		return false, nil
	}
	nn.ZeroGrad(l.actorParams)
	s.g.Backward(s.loss)
	l.adam.actor.Step()
	o.actors++
	o.actor += loss
	o.grad += l.adam.actor.Norm()
	o.entropy -= mean(s.drawn.Value)
	o.kl += mean(s.away.Value)
	for i, r := range s.ratio.Value {
		if s.adv.Value[i] != 0 && math.Abs(float64(r)-1) > l.cfg.Clip {
			o.clipped += float64(s.share.Value[0])
		}
	}
	return true, nil
}

// tell appends what an update has to say to ms.
func (l *Learner) tell(ms []policy.Metric) []policy.Metric {
	o, d := &l.observed, &l.data
	tell := func(name string, v float64) { ms = append(ms, policy.Metric{Name: name, Value: v}) }
	v := 0.0
	for _, i := range d.order {
		v += float64(d.v[i]) / float64(len(d.order))
	}
	tell("reward_mean", d.rewards)
	tell("value_loss", o.value/o.values)
	tell("v_mean", v)
	tell("v_explained", d.fitness)
	if o.actors > 0 {
		tell("actor_loss", o.actor/o.actors)
		tell("entropy", o.entropy/o.actors)
		tell("actor_grad", o.grad/o.actors)
		if l.sight != nil {
			tell("trunk_grad", o.trunk/o.actors)
			if l.sight.aside != nil {
				tell("auxiliary_loss", o.aside/o.actors)
			}
		}
		tell("kl", o.kl/o.actors)
		tell("kl_update", o.step)
		tell("clip_share", o.clipped/o.actors)
		tell("passes", o.actors*float64(l.cfg.Batch)/float64(len(d.order)))
	}
	return ms
}

func mean(xs []float32) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += float64(x)
	}
	return sum / float64(len(xs))
}

// resize gives x the length n; what it holds is lost.
func resize(x []float32, n int) []float32 {
	if cap(x) < n {
		return make([]float32, n)
	}
	return x[:n]
}
