package starc_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/reward/rank"
	"github.com/rapport-rl/rapport/reward/starc"
	"github.com/rapport-rl/rapport/reward/starc/mdp"
)

// plane is a log of points that a noisy hand moves towards the origin, in episodes.
type plane struct {
	starc.Transitions
	noise [][2]float64 // of each transition
}

func newPlane(n int) plane {
	rng := rand.New(rand.NewPCG(9, 9))
	p := plane{Transitions: starc.Transitions{N: n, D: 3}}
	var at [2]float64
	for i := range n {
		if i%25 == 0 {
			at = [2]float64{2*rng.Float64() - 1, 2*rng.Float64() - 1}
		}
		act := [2]float64{-0.1*at[0] + 0.1*rng.NormFloat64(), -0.1*at[1] + 0.1*rng.NormFloat64()}
		slip := [2]float64{0.05 * rng.NormFloat64(), 0.05 * rng.NormFloat64()}
		next := [2]float64{at[0] + act[0] + slip[0], at[1] + act[1] + slip[1]}
		// The third feature says nothing new, as embeddings do.
		p.State = append(p.State, at[0], at[1], at[0]+at[1])
		p.Next = append(p.Next, next[0], next[1], next[0]+next[1])
		p.Act = append(p.Act, act[0], act[1])
		p.Terminal = append(p.Terminal, i%50 == 49)
		p.noise = append(p.noise, slip)
		at = next
	}
	return p
}

// rewards evaluates f(s, s') at each transition.
func (p plane) rewards(f func(s, next []float64, end bool, i int) float64) []float64 {
	out := make([]float64, p.N)
	for i := range out {
		out[i] = f(p.State[3*i:3*i+3], p.Next[3*i:3*i+3], p.Terminal[i], i)
	}
	return out
}

func near(s []float64) float64 { return -math.Hypot(s[0], s[1]) }

func TestLogTakesShapingAndScaleAway(t *testing.T) {
	p := newPlane(1000)
	base := p.rewards(func(_, next []float64, _ bool, _ int) float64 { return near(next) })
	// A potential in the span of the basis, 0 after the end.
	potential := func(s []float64) float64 { return 3 + 2*s[0] - s[1] + 4*s[0]*s[0] + s[0]*s[1] }
	const discount = 0.9
	shaped := p.rewards(func(s, next []float64, end bool, i int) float64 {
		f := -potential(s)
		if !end {
			f += discount * potential(next)
		}
		return 2.5 * (base[i] + f)
	})
	for _, k := range []int{1, 10} {
		l, err := starc.NewLog(p.Transitions, starc.LogConfig{Discount: discount, Successors: k, Ridge: 1e-12})
		if err != nil {
			t.Fatal(err)
		}
		a, errA := l.Canonical(base)
		b, errB := l.Canonical(shaped)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if d := starc.Distance(a, b); d > 1e-6 {
			t.Errorf("%d successors: %v between a reward and one that is shaped and scaled", k, d)
		} else {
			t.Logf("%d successors: %.2g", k, d)
		}
	}
}

func TestLogOrdersRewardsByWhatTheyMean(t *testing.T) {
	p := newPlane(2000)
	base := func(_, next []float64, _ bool, _ int) float64 { return near(next) }
	l, err := starc.NewLog(p.Transitions, starc.LogConfig{Discount: 0.9})
	if err != nil {
		t.Fatal(err)
	}
	canon := func(f func(s, next []float64, end bool, i int) float64) starc.Canonical {
		c, err := l.Canonical(p.rewards(f))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	want := canon(base)
	var got []float64
	for _, f := range []func(s, next []float64, end bool, i int) float64{
		base,
		func(_, next []float64, _ bool, _ int) float64 { return near(next) * math.Abs(near(next)) }, // the same aim
		func(_, next []float64, _ bool, _ int) float64 { return next[0] },                           // another
		func(_, next []float64, _ bool, _ int) float64 { return -near(next) },                       // the opposite
	} {
		got = append(got, starc.Distance(want, canon(f)))
	}
	t.Logf("itself, its square, another aim, the opposite: %.3f", got)
	if rank.Spearman(got, []float64{0, 1, 2, 3}) != 1 || got[0] > 1e-9 || got[3] < 0.99 || got[1] > 0.35 {
		t.Errorf("distances %.3f, want them to rise from 0 to 1", got)
	}
	// What hangs on the dice alone, and not on what the hand does, is averaged away
	// by the successors.
	dice := p.rewards(func(_, next []float64, _ bool, i int) float64 { return near(next) + 5*p.noise[i][0] })
	one, err := starc.NewLog(p.Transitions, starc.LogConfig{Discount: 0.9, Successors: 1})
	if err != nil {
		t.Fatal(err)
	}
	d := map[*starc.Log]float64{}
	for _, l := range []*starc.Log{l, one} {
		a, errA := l.Canonical(p.rewards(base))
		b, errB := l.Canonical(dice)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		d[l] = starc.Distance(a, b)
	}
	t.Logf("with dice: %.3f with 10 successors, %.3f with one", d[l], d[one])
	if d[l] > 0.85*d[one] {
		t.Errorf("10 successors leave %.3f of the dice, one leaves %.3f", d[l], d[one])
	}
}

// A log of a process with one-hot states has V as exact as its sample is: distances
// come near the model's.
func TestLogNearsTheModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	m := mdp.Random(rng, 8, 3)
	const n = 6000
	tr := starc.Transitions{N: n, D: m.S}
	var pairs []int
	s := 0
	for range n {
		a, next := rng.IntN(m.A), 0
		for u, row := rng.Float64(), m.P[(s*m.A)*m.S:]; ; next++ {
			if u -= row[a*m.S+next]; u < 0 || next == m.S-1 {
				break
			}
		}
		tr.State, tr.Next = append(tr.State, hot(m.S, s)...), append(tr.Next, hot(m.S, next)...)
		tr.Act = append(tr.Act, hot(m.A, a)...)
		pairs = append(pairs, (s*m.A+a)*m.S+next)
		s = next
	}
	l, err := starc.NewLog(tr, starc.LogConfig{Discount: m.Discount, Successors: 40})
	if err != nil {
		t.Fatal(err)
	}
	r := m.Reward(rng)
	for i := range 4 {
		other := m.Reward(rng)
		for j := range other {
			other[j] = r[j] + float64(i)*other[j]
		}
		other = m.Alike(rng, other)
		want := distance(t, m, r, other)
		var c [2]starc.Canonical
		for k, table := range [][]float64{r, other} {
			rs := make([]float64, n)
			for j, p := range pairs {
				rs[j] = table[p]
			}
			if c[k], err = l.Canonical(rs); err != nil {
				t.Fatal(err)
			}
		}
		got := starc.Distance(c[0], c[1])
		t.Logf("model %.3f, log %.3f", want, got)
		if math.Abs(got-want) > 0.1 { // of the sample, measured 0.05 at most
			t.Errorf("the log says %.3f, the model %.3f", got, want)
		}
	}
}

func hot(n, i int) []float64 {
	x := make([]float64, n)
	x[i] = 1
	return x
}

func TestLogRefuses(t *testing.T) {
	ok := newPlane(20)
	for _, tt := range []struct {
		want string
		edit func(*starc.Transitions, *starc.LogConfig)
	}{
		{"1 transitions", func(t *starc.Transitions, _ *starc.LogConfig) { t.N = 1 }},
		{"with", func(t *starc.Transitions, _ *starc.LogConfig) { t.State = t.State[3:] }},
		{"ends", func(t *starc.Transitions, _ *starc.LogConfig) { t.Terminal = t.Terminal[1:] }},
		{"NaN", func(t *starc.Transitions, _ *starc.LogConfig) { t.Next = append([]float64{math.NaN()}, t.Next[1:]...) }},
		{"discount", func(_ *starc.Transitions, c *starc.LogConfig) { c.Discount = 1 }},
		{"basis", func(_ *starc.Transitions, c *starc.LogConfig) { c.Basis = -1 }},
		{"successors", func(_ *starc.Transitions, c *starc.LogConfig) { c.Successors = -1 }},
		{"ridge", func(_ *starc.Transitions, c *starc.LogConfig) { c.Ridge = -1 }},
	} {
		tr, c := ok.Transitions, starc.LogConfig{}
		tt.edit(&tr, &c)
		if _, err := starc.NewLog(tr, c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want an error that says %q", err, tt.want)
		}
	}
	l, err := starc.NewLog(ok.Transitions, starc.LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Canonical(make([]float64, 3)); err == nil {
		t.Error("3 rewards of 20 transitions were taken")
	}
	bad := make([]float64, 20)
	bad[4] = math.Inf(1)
	if _, err := l.Canonical(bad); err == nil {
		t.Error("an infinite reward was taken")
	}
	if l.Len() != 20 {
		t.Errorf("Len is %d", l.Len())
	}
}
