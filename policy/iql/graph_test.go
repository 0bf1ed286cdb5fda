package iql

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/view"
)

// tiny has three inputs and two actions, and networks that have something to say.
func tiny(t *testing.T, change func(c *Config)) *Learner {
	t.Helper()
	c := Config{
		Arch:  bc.Arch{View: view.Config{Embed: 3, Action: view.Action{Axes: []int{0, 1}, Scale: 1}}, Hidden: []int{5}},
		Batch: 6, Critics: 4, CriticHidden: []int{7, 5}, Subset: 2, Seed: 3,
	}
	if change != nil {
		change(&c)
	}
	l, err := New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	stir(l)
	return l
}

// stir gives every parameter something to say, targets other than critics.
func stir(l *Learner) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, p := range slices.Concat(l.actorParams, l.criticParams, l.targetParams, l.valueParams) {
		for i := range p.Data {
			p.Data[i] += float32(0.3 * rng.NormFloat64())
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

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-4*(1+math.Abs(want)) }

// valueOf is V of row x by the book.
func (l *Learner) valueOf(x []float64) float64 {
	return policytest.Network(l.valueParams, -1, x, true)[0]
}

func TestDataIsJudgedByTheSmallerTargets(t *testing.T) {
	l := tiny(t, nil)
	obs, act := make([]float32, 6*3), make([]float32, 6*2)
	fill(rand.New(rand.NewPCG(1, 2)), obs, act)
	pack(l.judge.xa, obs, act)
	for _, idx := range [][]int{{0, 1}, {3, 1}, {2, 0}} {
		copy(l.judge.idx, idx)
		l.judge.g.Forward()
		for i := range 6 {
			want := math.Inf(1)
			for _, e := range idx {
				want = min(want, policytest.Network(l.targetParams, e, append(policytest.Row(obs, i, 3), policytest.Row(act, i, 2)...), true)[0])
			}
			if got := float64(l.judge.q.Value[i]); !near(got, want) {
				t.Errorf("critics %v, row %d: %v, want %v", idx, i, got, want)
			}
		}
	}
}

func TestValueLossIsTheExpectile(t *testing.T) {
	for _, tau := range []float64{0.5, 0.7, 0.95} {
		l := tiny(t, func(c *Config) { c.Expectile = tau })
		f := l.fitV
		fill(rand.New(rand.NewPCG(3, 4)), f.X.Value, f.Q.Value)
		for i := range f.Q.Value { // about the values, so that both sides are there
			f.Q.Value[i] += float32(l.valueOf(policytest.Row(f.X.Value, i, 3)))
		}
		above := 0
		book := func() float64 {
			loss := 0.0
			above = 0
			for i := range 6 {
				u := float64(f.Q.Value[i]) - l.valueOf(policytest.Row(f.X.Value, i, 3))
				w := tau
				if u < 0 {
					w = 1 - tau
				} else {
					above++
				}
				loss += w * u * u / 6
			}
			return loss
		}
		f.G.Forward()
		if got, want := float64(f.Loss.Value[0]), book(); !near(got, want) {
			t.Errorf("expectile %v: loss = %v, want %v", tau, got, want)
		}
		if above == 0 || above == 6 {
			t.Error("all rows lie on one side of the value: the test tells too little")
		}
		nn.ZeroGrad(l.valueParams)
		f.G.Backward(f.Loss)
		slopes(t, l.valueParams, book)
	}
}

// TestExpectileOfASample: what minimises the loss is the expectile, which for
// the numbers 0 and 1 in equal shares is tau itself.
func TestExpectileOfASample(t *testing.T) {
	l := tiny(t, func(c *Config) { c.Expectile, c.ValueLR = 0.9, 1e-2 })
	for i := range l.fitV.Q.Value {
		l.fitV.Q.Value[i] = float32(i % 2)
	}
	for range 2000 {
		if _, err := l.descend(l.fitV.G, l.fitV.Loss, l.valueParams, l.adam.value, "the loss"); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range l.fitV.V.Value {
		if math.Abs(float64(v)-0.9) > 0.01 {
			t.Errorf("value = %v, want 0.9", v)
		}
	}
}

func TestCriticLossIsTheMeanSquare(t *testing.T) {
	l := tiny(t, nil)
	obs, act := make([]float32, 6*3), make([]float32, 6*2)
	fill(rand.New(rand.NewPCG(3, 4)), obs, act, l.fitQ.y.Value)
	pack(l.fitQ.xa, obs, act)
	book := func() float64 {
		loss := 0.0
		for e := range 4 {
			for i := range 6 {
				d := policytest.Network(l.criticParams, e, append(policytest.Row(obs, i, 3), policytest.Row(act, i, 2)...), true)[0] - float64(l.fitQ.y.Value[i])
				loss += d * d / (4 * 6)
			}
		}
		return loss
	}
	l.fitQ.g.Forward()
	if got, want := float64(l.fitQ.loss.Value[0]), book(); !near(got, want) {
		t.Errorf("loss = %v, want %v", got, want)
	}
	nn.ZeroGrad(l.criticParams)
	l.fitQ.g.Backward(l.fitQ.loss)
	slopes(t, l.criticParams, book)
}

func TestActorLossAndGradient(t *testing.T) {
	for name, head := range map[string]Head{"Gaussian": Gaussian, "deterministic": Deterministic} {
		t.Run(name, func(t *testing.T) {
			l := tiny(t, func(c *Config) { c.Head = head })
			e := l.extract
			fill(rand.New(rand.NewPCG(5, 6)), e.x.Value, e.a.Value)
			copy(e.w.Value, []float32{0, 1, 0.3, 100, 2, 0.01})
			book := func() float64 {
				loss := 0.0
				for i := range 6 {
					w, a := float64(e.w.Value[i]), policytest.Row(e.a.Value, i, 2)
					mean, std := policytest.Head(l.actor, policytest.Row(e.x.Value, i, 3))
					if head == Gaussian {
						loss -= w * policytest.Density(mean, std, a) / 6
						continue
					}
					for j, m := range mean {
						d := math.Tanh(m) - a[j]
						loss += w * d * d / 6
					}
				}
				return loss
			}
			e.g.Forward()
			if got, want := float64(e.loss.Value[0]), book(); !near(got, want) {
				t.Fatalf("loss = %v, want %v", got, want)
			}
			nn.ZeroGrad(l.actorParams)
			e.g.Backward(e.loss)
			slopes(t, l.actorParams, book)
		})
	}
}

func TestWeightsAreCapped(t *testing.T) {
	w := make([]float32, 4)
	adv, mean, capped := weigh(w, []float32{1, 2, 3, 400}, []float32{1, 3, 1, 0}, 2, 100)
	for i, want := range []float64{1, math.Exp(-2), math.Exp(4), 100} {
		if !near(float64(w[i]), want) {
			t.Errorf("weight %d = %v, want %v", i, w[i], want)
		}
	}
	if want := (1 + math.Exp(-2) + math.Exp(4) + 100) / 4; !near(adv, 401.0/4) || !near(mean, want) || capped != 0.25 {
		t.Errorf("advantage %v, weight %v, capped %v, want %v, %v and 0.25", adv, mean, capped, 401.0/4, want)
	}
}

// TestStepIsThatOfTheBook: the order of a step is value, actor, critics, targets;
// weights and targets come from the value that has moved, judged by the target
// critics that have not.
func TestStepIsThatOfTheBook(t *testing.T) {
	l := tiny(t, func(c *Config) { c.Gamma, c.Beta, c.MaxWeight = 0.8, 2, 3 })
	e := policy.Episode{ID: "a", Origin: policy.Demo, Terminal: true}
	rng := rand.New(rand.NewPCG(9, 9))
	for range 8 {
		in := policy.Input{}
		in.Features.Embed = make([]float32, 3)
		fill(rng, in.Features.Embed)
		e.Inputs = append(e.Inputs, in)
	}
	e.Applied, e.By, e.Version = cmds(rng, 7), bys(7), make([]uint64, 7)
	for range 7 {
		e.Rewards = append(e.Rewards, rng.NormFloat64())
	}
	if err := l.Add(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	l.factor = 2.5
	was := l.target.Clone("was").Params()
	if err := l.step(6); err != nil {
		t.Fatal(err)
	}
	b, capped := l.batch, 0
	for i := range 6 {
		x, a := policytest.Row(b.Obs, i, 3), policytest.Row(b.Act, i, 2)
		q := math.Inf(1)
		for _, e := range l.judge.idx {
			q = min(q, policytest.Network(was, e, append(slices.Clone(x), a...), true)[0])
		}
		want := min(3, math.Exp(2*(q-l.valueOf(x))))
		if want == 3 {
			capped++
		}
		if got := float64(l.extract.w.Value[i]); !near(got, want) {
			t.Errorf("weight %d = %v, want %v", i, got, want)
		}
		for j, u := range policytest.Row(l.extract.a.Value, i, 2) {
			if want := max(-bc.Edge, min(bc.Edge, a[j])); !near(math.Tanh(u), want) {
				t.Errorf("action %d is imitated as %v, want %v", i, math.Tanh(u), want)
			}
		}
		y := float64(b.Reward[i]) + float64(b.Discount[i])*l.valueOf(policytest.Row(l.next.X.Value, i, 3))
		if got := float64(l.fitQ.y.Value[i]); !near(got, y) {
			t.Errorf("target %d = %v, want %v", i, got, y)
		}
		known := false
		for _, r := range e.Rewards {
			known = known || near(float64(b.Reward[i]), 2.5*r)
		}
		if !known {
			t.Errorf("reward %d is %v, none of the episode's times 2.5", i, b.Reward[i])
		}
	}
	if capped == 6 {
		t.Error("every weight is capped: the test tells too little")
	}
	for n, p := range l.targetParams {
		for i, v := range p.Data {
			if want := 0.995*float64(was[n].Data[i]) + 0.005*float64(l.criticParams[n].Data[i]); math.Abs(float64(v)-want) > 1e-6 {
				t.Fatalf("%s[%d] = %v, want %v", p.Name, i, v, want)
			}
		}
	}
}
