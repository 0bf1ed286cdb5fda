package ppo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// tiny has three inputs and two actions, and networks that have something to say.
func tiny(t *testing.T, change func(c *Config)) *Learner {
	t.Helper()
	c := Config{
		Arch:  bc.Arch{View: view.Config{Embed: 3, Action: view.Action{Axes: []int{0, 1}, Scale: 1}}, Hidden: []int{5}},
		Ticks: 6, Batch: 6, ValueHidden: []int{7, 5}, Clip: 0.2, Seed: 3,
	}
	if change != nil {
		change(&c)
	}
	net, err := bc.NewNet(c.Arch, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := New(c, net)
	if err != nil {
		t.Fatal(err)
	}
	stir(4, 0.3, l.valueParams)
	wild(4, l.actor, l.ref)
	l.remember()
	return l
}

// wild gives every parameter of policies something to say, with deviations of
// about 0.6, under which no action is all but impossible.
func wild(seed uint64, nets ...*bc.Net) {
	for i, n := range nets {
		stir(seed+uint64(i), 0.3, n.Params())
		n.SetStd(0.6)
		stir(seed+uint64(i)+100, 0.05, n.Params())
	}
}

func stir(seed uint64, by float64, ps []*nn.Param) {
	rng := rand.New(rand.NewPCG(seed, 2))
	for _, p := range ps {
		for i := range p.Data {
			p.Data[i] += float32(by * rng.NormFloat64())
		}
	}
}

func fill(rng *rand.Rand, xs ...[]float32) {
	for _, x := range xs {
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
	}
}

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-4*(1+math.Abs(want)) }

// slopes compares the gradients of ps with those of the loss book.
func slopes(t *testing.T, ps []*nn.Param, book func() float64) {
	t.Helper()
	for _, p := range ps {
		for i := 0; i < len(p.Data); i += 3 {
			want := policytest.Slope(p, i, book)
			// Kinks of the ReLUs and float32 parameters: 1 %.
			if got := float64(p.Grad[i]); math.Abs(got-want) > 1e-2*(0.1+math.Abs(want)) {
				t.Errorf("gradient of %s[%d] = %v, want %v", p.Name, i, got, want)
			}
		}
	}
}

func TestSurrogateIsThatOfTheBook(t *testing.T) {
	for _, entropy := range []float64{0, 0.3} {
		l := tiny(t, func(c *Config) { c.Entropy = entropy })
		s := l.improve
		rng := rand.New(rand.NewPCG(5, 6))
		fill(rng, s.x.Value, s.u.Value, s.adv.Value, s.noise.Value, s.start.Value)
		s.u.Value[0], s.u.Value[3] = 5, -7 // at their bounds
		logp := func(i int) float64 {
			mean, std := policytest.Head(l.actor, policytest.Row(s.x.Value, i, 3))
			return bookDensity(mean, std, policytest.Row(s.u.Value, i, 2))
		}
		// Ratios within the bounds and on both sides, for gains and losses; the last
		// row was not decided by a policy.
		for i, r := range []float64{1.05, 1.5, 1.4, 0.5, 0.6, 1} {
			s.old.Value[i] = float32(logp(i) - math.Log(r))
		}
		for i, sign := range []float64{1, 1, -1, 1, -1, 0} {
			s.adv.Value[i] = float32(sign * math.Abs(float64(s.adv.Value[i])))
		}
		s.share.Value[0] = 1.0 / 5
		clipped := 0
		book := func() float64 {
			loss := 0.0
			clipped = 0
			for i := range 6 {
				rho, a := math.Exp(logp(i)-float64(s.old.Value[i])), float64(s.adv.Value[i])
				gain := min(rho*a, min(1.2, max(0.8, rho))*a)
				if gain != rho*a {
					clipped++
				}
				loss -= gain / 5
				_, drawn := policytest.Drawn(l.actor, policytest.Row(s.x.Value, i, 3), policytest.Row(s.noise.Value, i, 2))
				loss += entropy * drawn / 6
			}
			return loss
		}
		s.g.Forward()
		if got, want := float64(s.loss.Value[0]), book(); !near(got, want) {
			t.Fatalf("entropy %v: loss = %v, want %v", entropy, got, want)
		}
		if clipped != 2 {
			t.Errorf("%d rows are clipped, want a gain above and a loss below", clipped)
		}
		nn.ZeroGrad(l.actorParams)
		s.g.Backward(s.loss)
		slopes(t, l.actorParams, book)
		for i := range 6 {
			x := policytest.Row(s.x.Value, i, 3)
			if got, want := float64(s.away.Value[i]), policytest.Divergence(l.actor, l.ref, x); !near(got, want) {
				t.Errorf("row %d is %v away from the reference, want %v", i, got, want)
			}
		}
	}
}

func TestValueLossIsTheMeanSquare(t *testing.T) {
	l := tiny(t, nil)
	f := l.fit
	fill(rand.New(rand.NewPCG(3, 4)), f.x.Value, f.y.Value)
	book := func() float64 {
		loss := 0.0
		for i := range 6 {
			d := policytest.Network(l.valueParams, -1, policytest.Row(f.x.Value, i, 3), true)[0] - float64(f.y.Value[i])
			loss += d * d / 6
		}
		return loss
	}
	f.g.Forward()
	if got, want := float64(f.loss.Value[0]), book(); !near(got, want) {
		t.Errorf("loss = %v, want %v", got, want)
	}
	nn.ZeroGrad(l.valueParams)
	f.g.Backward(f.loss)
	slopes(t, l.valueParams, book)
}

func TestAdvantagesAreThoseOfTheBook(t *testing.T) {
	reward, v := []float64{1, -2, 3, 0.5}, []float32{2, 0.5, -1, 4, 7}
	const gamma = 0.9
	for _, lambda := range []float64{1e-9, 0.5, 0.95, 1} {
		for _, ends := range []bool{false, true} {
			adv := make([]float32, 4)
			advantages(adv, reward, v, ends, gamma, lambda)
			value := func(t int) float64 {
				if ends && t == 4 {
					return 0
				}
				return float64(v[t])
			}
			for t0 := range 4 {
				want := 0.0
				for k := 0; t0+k < 4; k++ { // equation 16
					want += math.Pow(gamma*lambda, float64(k)) * (reward[t0+k] + gamma*value(t0+k+1) - value(t0+k))
				}
				if !near(float64(adv[t0]), want) {
					t.Errorf("lambda %v, ends %v: advantage %d = %v, want %v", lambda, ends, t0, adv[t0], want)
				}
				if lambda == 1 { // the return, with what is guessed beyond a cut, less the value
					ret := math.Pow(gamma, float64(4-t0)) * value(4)
					for k := t0; k < 4; k++ {
						ret += math.Pow(gamma, float64(k-t0)) * reward[k]
					}
					if !near(float64(adv[t0]), ret-value(t0)) {
						t.Errorf("ends %v: advantage %d = %v, want the return %v less the value", ends, t0, adv[t0], ret)
					}
				}
			}
		}
	}
}

func TestStandardisedAdvantages(t *testing.T) {
	adv := []float32{1, 100, 3, 5, -50}
	standardise(adv, []bool{true, false, true, true, false})
	d := math.Sqrt(8.0 / 3)
	for i, want := range []float64{-2 / d, 0, 0, 2 / d, 0} {
		if !near(float64(adv[i]), want) {
			t.Errorf("advantage %d = %v, want %v", i, adv[i], want)
		}
	}
	standardise(adv, make([]bool, 5))
	if !slices.Equal(adv, make([]float32, 5)) {
		t.Errorf("advantages %v where nobody decided, want none", adv)
	}
}

// episode is one of T steps by the given versions in turn.
func episode(id string, T int, versions ...uint64) policy.Episode {
	rng := rand.New(rand.NewPCG(uint64(len(id)), uint64(id[0])))
	e := policy.Episode{ID: id}
	for t := range T + 1 {
		in := policy.Input{Step: t}
		in.Features.Embed = make([]float32, 3)
		fill(rng, in.Features.Embed)
		e.Inputs = append(e.Inputs, in)
	}
	for t := range T {
		var c robot.Command
		c.Delta[0], c.Delta[1] = 2*rng.Float64()-1, 1.1*(2*rng.Float64()-1)
		e.Applied, e.By = append(e.Applied, c), append(e.By, robot.ByPolicy)
		e.Version, e.Rewards = append(e.Version, versions[t%len(versions)]), append(e.Rewards, rng.NormFloat64())
	}
	return e
}

func add(t *testing.T, l *Learner, es ...policy.Episode) {
	t.Helper()
	for _, e := range es {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func update(t *testing.T, l *Learner) policy.Stats {
	t.Helper()
	s, err := l.Update(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func metric(t *testing.T, s policy.Stats, name string) float64 {
	t.Helper()
	for _, m := range s.Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	t.Fatalf("no metric %q in %v", name, s.Metrics)
	return 0
}

// TestActionsAreJudgedByTheVersionThatActed: of episodes that are one round old,
// and of one during which the parameters changed, each action's likelihood is that
// under its own version, and what a person decided has the ratio 1.
func TestActionsAreJudgedByTheVersionThatActed(t *testing.T) {
	l := tiny(t, nil)
	one := l.Actor()
	wild(9, l.actor)
	l.version++
	l.remember()
	two := l.Actor()
	mixed := episode("mixed", 5, 1, 2)
	mixed.By[2] = robot.ByHuman
	es := []policy.Episode{episode("old", 4, 1), mixed, episode("new", 3, 2)}
	add(t, l, es...)
	l.gather(l.waiting())
	d, row, differ := &l.data, 0, 0
	for _, e := range es {
		for i := range e.Len() {
			net := map[uint64]*bc.Net{1: one, 2: two}[e.Version[i]]
			if e.By[i] != robot.ByPolicy {
				net = two
			}
			book := func(n *bc.Net) float64 {
				x, u := make([]float32, 3), make([]float32, 2)
				n.Normalise(x, e.Inputs[i].Features.Embed)
				l.cfg.Arch.View.Action.Row(u, e.Applied[i])
				bc.Unsquash(u, u, edge)
				mean, std := policytest.Head(n, policytest.Row(x, 0, 3))
				return bookDensity(mean, std, policytest.Row(u, 0, 2))
			}
			if got, want := float64(d.old[row]), book(net); !near(got, want) {
				t.Errorf("episode %s, step %d of version %d: likelihood %v, want %v", e.ID, i, e.Version[i], got, want)
			}
			if !near(book(one), book(two)) {
				differ++
			}
			row++
		}
		row++ // what was seen last
	}
	if differ < 10 {
		t.Errorf("the versions differ on %d of 12 actions: the test tells too little", differ)
	}
	// The first ratios of an update are those to the version that acted.
	l.fill(d.order[:6])
	l.improve.g.Forward()
	for i, j := range d.order[:6] {
		if got, want := float64(l.improve.ratio.Value[i]), math.Exp(float64(d.now[j]-d.old[j])); math.Abs(got-want) > 1e-3*want {
			t.Errorf("ratio %d = %v, want %v", i, got, want)
		}
	}
}

func TestForgottenVersionsAreDropped(t *testing.T) {
	l := tiny(t, func(c *Config) { c.Keep, c.Ticks, c.Epochs, c.MaxKL = 2, 8, 1, math.Inf(1) })
	add(t, l, episode("a", 4, 1), episode("b", 4, 1))
	if s := update(t, l); metric(t, s, "waiting") != 8 || l.version != 2 {
		t.Fatalf("waiting %v, then version %d", s.Metrics, l.version)
	}
	add(t, l, episode("c", 4, 1), episode("d", 4, 2))
	update(t, l) // with one version back
	if l.version != 3 {
		t.Fatalf("version %d, want 3", l.version)
	}
	none, never := episode("none", 4, 0), episode("never", 4, 99)
	person := episode("person", 4, 1)
	for i := range person.By {
		person.By[i] = robot.ByHuman
	}
	add(t, l, episode("e", 8, 1), none, never, episode("mixed", 4, 3, 1), person)
	s := update(t, l)
	if got := metric(t, s, "stale_episodes"); got != 4 {
		t.Errorf("%v stale episodes, want those of versions 1, 0, 99 and of 3 with 1", got)
	}
	if got := metric(t, s, "waiting"); got != 4 || l.version != 3 {
		t.Errorf("%v transitions waited, version %d, want the person's 4 to wait", got, l.version)
	}
	before := l.Actor()
	add(t, l, func() policy.Episode { e := person; e.ID = "person again"; return e }())
	update(t, l)
	for i, p := range l.actorParams {
		if !slices.Equal(p.Data, before.Params()[i].Data) || l.version != 3 {
			t.Errorf("the policy changed by what a person did: version %d", l.version)
		}
	}
	if l.updates != 3 {
		t.Errorf("%d updates, want 3", l.updates)
	}
}

func TestPassesEndWhenThePolicyIsFar(t *testing.T) {
	for _, tt := range []struct {
		most float64
		want uint64
	}{{1e-9, 1}, {math.Inf(1), 20}} {
		l := tiny(t, func(c *Config) { c.Ticks, c.MaxKL, c.Epochs = 12, tt.most, 10 })
		add(t, l, episode("a", 12, 1))
		s := update(t, l)
		if got := l.adam.actor.Steps(); got != tt.want || l.adam.value.Steps() != 20 {
			t.Errorf("bound %v: %d steps of the policy, %d of the value, want %d and 20", tt.most, got, l.adam.value.Steps(), tt.want)
		}
		if got := metric(t, s, "passes"); !near(got, float64(tt.want)/2) {
			t.Errorf("%v passes told, want %v", got, float64(tt.want)/2)
		}
		if got := metric(t, s, "kl_update"); !(got > 1e-9) {
			t.Errorf("the policy is %v from where the update began", got)
		}
	}
}

func TestRatesFallToATenth(t *testing.T) {
	l := tiny(t, func(c *Config) { c.ActorLR, c.ValueLR, c.Decay = 1e-3, 2e-3, 2 })
	for i, want := range []float64{1, 0.55, 0.1, 0.1} {
		add(t, l, episode(fmt.Sprint("e", i), 6, l.version))
		update(t, l)
		if !near(l.adam.actor.LR/1e-3, want) || !near(l.adam.value.LR/2e-3, want) {
			t.Errorf("update %d: rates %v and %v, want %v of 1e-3 and 2e-3", i, l.adam.actor.LR, l.adam.value.LR, want)
		}
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	l := tiny(t, func(c *Config) { c.Ticks, c.Entropy = 12, 0.1 })
	add(t, l, episode("a", 12, 1))
	update(t, l)
	idx := l.data.order[:6]
	l.observed.stopped = false
	if n := testing.AllocsPerRun(10, func() {
		if err := l.step(idx); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a step allocates %v times, want 0", n)
	}
}
