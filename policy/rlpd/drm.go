package rlpd

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/critic"
	"github.com/rapport-rl/rapport/policy/health"
)

// DrM configures what keeps networks awake (Xu et al. 2024, "DrM: mastering visual
// reinforcement learning through dormant ratio minimization", arXiv:2310.19668).
// Zero fields take the defaults named.
//
// The paper's exploration schedule is that of the noise of a policy without one of
// its own. Here the temperature explores, and Noise is added to it where it is asked
// for, while acting alone.
type DrM struct {
	// Every is the number of critic steps between perturbations; 10,000 (the
	// paper: 100,000 frames of simulation, which no arm sees in weeks).
	Every int
	// A perturbed network keeps a share of itself between Least and Most; 0.2 and
	// 0.9 (the paper: 0.6 to 1 by task). It is the smaller the more neurons are
	// dormant.
	Least, Most float64
	// Mix is the largest share of the value of the data's actions in the targets,
	// which is given to a policy that is awake; 0.6 (the paper). Negative: none.
	Mix       float64
	Expectile float64 // of that value; 0.9 (the paper: 0.7 to 0.9)
	// Noise is the largest deviation of the noise that is added to actions that
	// explore, in units of the action; 0: none (the paper: 1, which is all that the
	// arm can do). It falls with the dormant ratio, and from the awakening on not
	// below a line from Noise to Calm in Span critic steps.
	Noise float64
	Calm  float64 // a tenth of Noise (the paper)
	Span  int     // five times Every (the paper: 500,000 frames)
}

func (c *DrM) complete() error {
	def := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Every == 0 {
		c.Every = 10_000
	}
	def(&c.Least, 0.2)
	def(&c.Most, 0.9)
	def(&c.Mix, 0.6)
	c.Mix = max(0, c.Mix)
	def(&c.Expectile, 0.9)
	def(&c.Calm, 0.1*c.Noise)
	if c.Span == 0 {
		c.Span = 5 * c.Every
	}
	var errs []error
	if c.Every < 1 {
		errs = append(errs, fmt.Errorf("rlpd: DrM.Every is %d critic steps, want at least 1", c.Every))
	}
	if !(c.Least > 0 && c.Least <= c.Most && c.Most <= 1) {
		errs = append(errs, fmt.Errorf("rlpd: DrM.Least and Most are %v and %v, want them ordered, above 0 and at most 1", c.Least, c.Most))
	}
	if !(c.Mix < 1) {
		errs = append(errs, fmt.Errorf("rlpd: DrM.Mix is %v, want a share below 1", c.Mix))
	}
	if !(c.Noise >= 0 && c.Noise <= 10) {
		errs = append(errs, fmt.Errorf("rlpd: DrM.Noise is %v, want 0 to 10", c.Noise))
	}
	if !(c.Calm >= 0 && c.Calm <= c.Noise) {
		errs = append(errs, fmt.Errorf("rlpd: DrM.Calm is %v, want 0 to the %v of Noise", c.Calm, c.Noise))
	}
	if c.Span < 1 {
		errs = append(errs, fmt.Errorf("rlpd: DrM.Span is %d critic steps, want at least 1", c.Span))
	}
	if !(c.Expectile > 0 && c.Expectile < 1) {
		errs = append(errs, fmt.Errorf("rlpd: DrM.Expectile is %v, want above 0 and below 1", c.Expectile))
	}
	return errors.Join(errs...)
}

// keeps is the share of itself that a network with so many dormant neurons keeps
// when it is perturbed (section 4.2): clip(1 - 2 b, Least, Most).
func (c *DrM) keeps(dormant float64) float64 { return min(c.Most, max(c.Least, 1-2*dormant)) }

// trusts is the share of the value in the targets (section 4.3, equation 5):
//
//	lambda = Mix / (1 + exp((b - 0.2) / 0.02))
func (c *DrM) trusts(dormant float64) float64 {
	return c.Mix / (1 + math.Exp((dormant-awake)/temper))
}

// explores is the deviation of the noise at a dormant ratio b (the paper's awaken
// exploration scheduler):
//
//	sigma = Noise / (1 + exp(-(b - 0.2) / 0.1))
//
// and from the awakening on, which was awoken critic steps ago, at least that of the
// line; negative: the policy has not been awake yet.
func (c *DrM) explores(dormant float64, awoken int64) float64 {
	sigma := c.Noise / (1 + math.Exp(-(dormant-awake)/rouse))
	if awoken < 0 {
		return sigma
	}
	share := min(1, float64(awoken)/float64(c.Span))
	return max(sigma, c.Noise+(c.Calm-c.Noise)*share)
}

// A policy is awake below a dormant ratio of 0.2; 0.02 is how sharply (the paper's
// beta-hat and T).
const (
	awake  = 0.2
	temper = 0.02
	rouse  = 0.1 // how sharply the noise follows (the authors' code: a factor of 10)
)

// waker is DrM at work.
type waker struct {
	cfg     DrM
	gauge   *health.Gauge // of the actor
	dormant float64       // what it told last
	woke    uint64        // 1 more than the critic steps at which the policy first was awake; 0: not yet
	value   *nn.MLP
	params  []*nn.Param
	adam    *nn.Adam
	judge   judge
	fit     *critic.Expectile
	next    critic.Backup
}

// judge is the graph of what the targets say of the data's actions: the smallest
// of all.
type judge struct {
	g  *nn.Graph
	xa *nn.Node // (B, D'+k)
	q  *nn.Node // (B, 1)
}

func newWaker(c DrM, l *Learner, hidden []int, rng *rand.Rand) *waker {
	B := l.cfg.Batch
	w := &waker{cfg: c, gauge: health.New(l.actor.Head(), B)}
	w.value = nn.NewMLP("value", nn.MLPConfig{In: l.actor.Dim(), Hidden: hidden, Out: 1, LayerNorm: true}, rng)
	w.params = w.value.Params()
	w.adam = nn.NewAdam(w.params, l.adamOf(l.cfg.CriticLR))
	w.judge.g = nn.NewGraphOn(l.cfg.Device)
	w.judge.xa = w.judge.g.Input(B, l.target.Config.In)
	w.judge.q = w.judge.g.MinFirst(l.target.Frozen(w.judge.g, w.judge.xa))
	w.judge.g.Keep(w.judge.q)
	w.fit = critic.NewExpectile(w.value, B, c.Expectile, false, l.cfg.Device)
	w.next = critic.NewBackup(w.value, B, l.cfg.Device)
	return w
}

// measure asks the gauge of what the actor read, and notes the awakening.
func (w *waker) measure(read []float32, steps uint64) {
	w.dormant = w.gauge.Dormant(read)
	if w.cfg.Noise > 0 && w.woke == 0 && w.dormant < awake {
		w.woke = steps + 1
	}
}

// noise is the deviation of the policy's exploration after so many critic steps.
func (w *waker) noise(steps uint64) float64 {
	if w == nil || w.cfg.Noise == 0 {
		return 0
	}
	awoken := int64(-1)
	if w.woke > 0 {
		awoken = int64(steps + 1 - w.woke)
	}
	return w.cfg.explores(w.dormant, awoken)
}

// learn fits the value to the data's actions of a batch and gives the share of it
// in the targets.
func (w *waker) learn(read, act []float32) (share, loss float64) {
	critic.Pack(w.judge.xa.Value, read, act, len(act)/w.judge.xa.Shape[0])
	w.judge.g.Forward()
	copy(w.fit.X.Value, read)
	copy(w.fit.Q.Value, w.judge.q.Value)
	w.fit.G.Forward()
	nn.ZeroGrad(w.params)
	w.fit.G.Backward(w.fit.Loss)
	w.adam.Step()
	return w.cfg.trusts(w.dormant), float64(w.fit.Loss.Value[0])
}

// mix makes the targets of y (B,) the mean, weighted by share, of what they are
// and of the value of what came next, x (B, D').
func (w *waker) mix(y, reward, discount, x []float32, share float64) {
	copy(w.next.X.Value, x)
	w.next.G.Forward()
	for i := range y {
		v := float64(reward[i]) + float64(discount[i])*float64(w.next.V.Value[i])
		y[i] = float32((1-share)*float64(y[i]) + share*v)
	}
}

// perturb blends actor, critics and targets with fresh ones and begins their
// optimisers anew. While the actor waits for the critics, and up to its first step, it stays as it is.
func (l *Learner) perturb() {
	rho := float32(l.waker.cfg.keeps(l.waker.dormant))
	if l.cfg.Warmup == 0 || l.actors > 0 {
		head := l.actor.Head()
		head.Blend(nn.NewMLP("fresh", head.Config, l.rng), rho)
		l.observed.woken++
	}
	fresh := nn.NewMLP("fresh", l.critic.Config, l.rng)
	l.critic.Blend(fresh, rho)
	l.target.Blend(fresh, rho)
	alpha := l.adam.alpha
	l.adam = l.optimisers()
	l.adam.alpha = alpha
}
