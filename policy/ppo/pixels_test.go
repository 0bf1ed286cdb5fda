package ppo

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/auxiliary"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func seeing(seed uint64) Config {
	a := policytest.PixelArch()
	a.Hidden = []int{16}
	return Config{
		Arch: a, Ticks: policytest.Ticks, Batch: 6, Epochs: 2, ValueHidden: []int{16}, Keep: 3, MaxKL: math.Inf(1),
		ActorLR: 1e-4, Entropy: 0.01, Auxiliary: 0.1, Finite: true, Seed: seed,
	}
}

// watcher is a learner with n episodes of its own to learn from.
func watcher(t *testing.T, c Config, n int) *Learner {
	t.Helper()
	l, err := New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	policytest.Give(t, l, policytest.Demos(2, 1, [2]float64{})...)
	update(t, l) // fits the normalisation
	play(t, l, 0, n)
	return l
}

// The frames of what was learned from are not held by a learner that a session is gone on
// with, which learns as the session's did.
func TestRestoredLearnerHoldsWhatItLearnsFromNext(t *testing.T) {
	var es []policy.Episode
	l := watcher(t, seeing(1), 0)
	for i := range 3 {
		es = append(es, play(t, l, i, 1)...)
		if i < 2 {
			update(t, l)
		}
	}
	var was bytes.Buffer
	if err := l.Save(&was); err != nil {
		t.Fatal(err)
	}
	update(t, l)
	var want bytes.Buffer
	if err := l.Save(&want); err != nil {
		t.Fatal(err)
	}
	for _, first := range []bool{false, true} {
		m := watcher(t, seeing(1), 0)
		restore := func() {
			if err := m.Restore(bytes.NewReader(was.Bytes())); err != nil {
				t.Fatal(err)
			}
		}
		if first {
			restore()
		}
		for i, e := range es {
			policytest.Give(t, m, e)
			if first && len(m.rolls) > max(0, i-1) { // two were learned from
				t.Errorf("%d episodes are held once %d were given, of which two were learned from", len(m.rolls), i+1)
			}
		}
		if !first {
			restore()
		}
		if len(m.rolls) != 1 || m.rolls[0].id != es[2].ID {
			t.Errorf("%d episodes are held, want the one that was not learned from", len(m.rolls))
		}
		update(t, m)
		var got bytes.Buffer
		if err := m.Save(&got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("restored first %t: it learned something else", first)
		}
	}
}

// play adds n episodes of the newest parameters, numbered from first on.
func play(t *testing.T, l *Learner, first, n int) (es []policy.Episode) {
	t.Helper()
	ps, err := l.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		e, err := policytest.Explore(t.Context(), ps, first+i, 3)
		if err != nil {
			t.Fatal(err)
		}
		add(t, l, e)
		es = append(es, e)
	}
	return es
}

func TestLearnerThatSeesIsAKeeper(t *testing.T) {
	policytest.TestKeeper(t, policytest.Subject{
		New: func(seed uint64) (policy.Keeper, error) { return New(seeing(seed), nil) },
		Others: map[string]func() (policy.Keeper, error){
			"Arch.Trunk is": func() (policy.Keeper, error) {
				c := seeing(1)
				c.Arch.Trunk.Latent = 7
				return New(c, nil)
			},
			"Auxiliary heads is": func() (policy.Keeper, error) {
				c := seeing(1)
				c.Auxiliary = 0
				return New(c, nil)
			},
		},
	})
}

// TestTrunkFollowsAllLosses: the gradient that a step leaves in the trunk is that of
// the policy's loss, ValueWeight of the value's and that of the auxiliary heads, against
// differences along it.
// Rates are too small for float32, so that nothing moves.
func TestTrunkFollowsAllLosses(t *testing.T) {
	c := seeing(1)
	c.ActorLR, c.ValueLR, c.ClipNorm, c.ValueWeight, c.Entropy, c.Auxiliary = 1e-20, 1e-20, math.Inf(1), 0.3, 0.1, 0.5
	l := watcher(t, c, 1)
	wild(4, l.actor)
	stir(5, 0.3, l.valueParams)
	l.gather(l.waiting())
	for i := range l.data.old { // ratios on both sides of 1, some of them clipped
		l.data.old[i] += float32(0.3 * math.Sin(float64(i)))
	}
	idx := l.data.order[:c.Batch]
	if err := l.step(idx); err != nil {
		t.Fatal(err)
	}
	loss := func() float64 {
		l.sight.look(l.improve.x.Value, &l.data, idx)
		copy(l.fit.x.Value, l.improve.x.Value)
		l.improve.g.Forward()
		l.fit.g.Forward()
		a := l.sight.aside
		copy(a.z.Value, l.sight.latents)
		copy(a.row.Value, l.sight.rows)
		a.g.Forward()
		return float64(l.improve.loss.Value[0]) + 0.3*float64(l.fit.loss.Value[0]) + float64(a.loss.Value[0])
	}
	var old [][]float32
	norm := 0.0
	for _, p := range l.sight.params {
		old = append(old, slices.Clone(p.Data))
		for _, g := range p.Grad {
			norm += float64(g) * float64(g)
		}
	}
	norm = math.Sqrt(norm)
	at := func(eps float64) float64 {
		for i, p := range l.sight.params {
			for j, g := range p.Grad {
				p.Data[j] = old[i][j] + float32(eps*float64(g)/norm)
			}
		}
		return loss()
	}
	// float32 losses and kinks of the ReLUs and the clipped ratios: 2 %.
	if got := (at(3e-3) - at(-3e-3)) / 6e-3; math.Abs(got-norm) > 0.02*norm || norm < 1e-2 {
		t.Errorf("the losses rise by %v along a gradient of norm %v", got, norm)
	}
}

// TestRewardIsReadFromTheTrunk: a linear probe of the latents tells the reward of the
// step better where the heads taught the trunk, from the same episodes.
func TestRewardIsReadFromTheTrunk(t *testing.T) {
	probe := func(weight float64) float64 {
		c := seeing(1)
		c.Ticks, c.Batch, c.Epochs, c.ActorLR, c.Auxiliary = 40*policytest.Ticks, 60, 25, 1e-3, weight
		l := watcher(t, c, 40)
		update(t, l)
		d := &l.data
		l.read(d.x, l.actor)
		n, D := l.actor.Dim(), l.sight.D
		// Fitted to half of the steps, the rest judges.
		half := len(d.order) / 2
		a, b := mat.NewDense(half, n-D+1, nil), mat.NewVecDense(half, nil)
		row := func(i int) []float64 { return append(policytest.Row(d.x[i*n+D:(i+1)*n], 0, n-D), 1) }
		for k, i := range d.order[:half] {
			a.SetRow(k, row(i))
			b.SetVec(k, float64(d.reward[i]))
		}
		var svd mat.SVD
		svd.Factorize(a, mat.SVDThin)
		var w mat.VecDense
		svd.SolveVecTo(&w, b, svd.Rank(1e-6))
		sum := 0.0
		for _, i := range d.order[half:] {
			e := floats.Dot(w.RawVector().Data, row(i)) - float64(d.reward[i])
			sum += e * e / float64(len(d.order)-half)
		}
		return sum
	}
	without, with := probe(0), probe(auxiliary.DefaultWeight)
	t.Logf("%.3f without heads, %.3f with", without, with)
	if with > 0.8*without {
		t.Errorf("a probe for the reward errs by %.3f with the heads, by %.3f without, want 20 %% less", with, without)
	}
}

// TestFramesAreSeenByTheVersionThatActed: likelihoods are those under the trunk of
// the version that acted, and the divergence is from what learning started with.
func TestFramesAreSeenByTheVersionThatActed(t *testing.T) {
	c := seeing(1)
	c.Ticks, c.ActorLR = 3*policytest.Ticks, 1e-2
	l := watcher(t, c, 1)
	first := l.Actor()
	stir(6, 0.3, l.actor.Eye().Params())
	stir(7, 0.3, l.actorParams)
	l.version++
	l.remember()
	play(t, l, 1, 1)
	l.gather(l.waiting())
	d, T := &l.data, policytest.Ticks
	latents := func(n *bc.Net, i int) []float64 {
		g := n.Eye().Glance(1, false, nil)
		x := make([]float32, n.Arch.View.Dim())
		n.Normalise(x, d.obs[i*len(x):(i+1)*len(x)])
		x = append(x, g.Look(d.pix[i], 0, nil)...)
		return policytest.Row(x, 0, len(x))
	}
	for i := range 2 * (T + 1) {
		acted := first
		if i > T {
			acted = l.actor
		}
		if i%(T+1) == T {
			continue // what was seen last
		}
		mean, std := policytest.Head(acted, latents(acted, i))
		if got, want := float64(d.old[i]), bookDensity(mean, std, policytest.Row(d.u, i, 2)); !near(got, want) {
			t.Errorf("row %d: likelihood %v, want %v", i, got, want)
		}
	}
	idx := d.order[:c.Batch]
	l.fill(idx)
	l.improve.g.Forward()
	for i, j := range idx {
		mean, std := policytest.Head(l.actor, latents(l.actor, j))
		m, s := policytest.Head(l.ref, latents(l.ref, j))
		want := 0.0
		for k := range mean {
			e := mean[k] - m[k]
			want += math.Log(s[k]/std[k]) + (std[k]*std[k]+e*e)/(2*s[k]*s[k]) - 0.5
		}
		if got := float64(l.improve.away.Value[i]); !near(got, want) {
			t.Errorf("row %d is %v away from the reference, want %v", j, got, want)
		}
	}
}

func TestTrunkStaysWhileThePolicyStays(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(c *Config)
		stays  []bool
	}{
		"warm-up":        {func(c *Config) { c.Warmup = 1 }, []bool{true, false}},
		"no warm-up":     {func(*Config) {}, []bool{false, false}},
		"far from start": {func(c *Config) { c.MaxKL = 1e-12 }, []bool{false, false}}, // after a step
	} {
		t.Run(name, func(t *testing.T) {
			c := seeing(1)
			tt.change(&c)
			l := watcher(t, c, 0)
			eye := func() []float32 { return slices.Clone(l.actor.Eye().Params()[0].Data) }
			first := eye()
			for i, want := range tt.stays {
				before := eye()
				play(t, l, i, 1)
				update(t, l)
				if got := slices.Equal(eye(), before); got != want {
					t.Errorf("update %d: the trunk has stayed = %v, want %v", i, got, want)
				}
				if got, want := l.sight.adam.Steps(), l.adam.actor.Steps(); got != want || name == "far from start" && got != uint64(i)+1 {
					t.Errorf("update %d: %d steps of the trunk, %d of the policy", i, got, want)
				}
			}
			if !slices.Equal(l.ref.Eye().Params()[0].Data, first) {
				t.Error("the trunk that learning started from has moved")
			}
		})
	}
}

func TestStepFromPixelsAllocatesNothing(t *testing.T) {
	l := watcher(t, seeing(1), 1)
	update(t, l)
	if n := testing.AllocsPerRun(5, func() {
		if err := l.step(l.data.order[:6]); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a step allocates %v times, want 0", n)
	}
}

// TestLearnsFromPixels: the clone goes beside the goal, which only the picture
// shows; the rewards lead to it.
func TestLearnsFromPixels(t *testing.T) {
	const seed = 1
	prior := policytest.Poor(seed)
	l, err := New(Config{
		Gamma: 0.9, Scale: 3, Finite: true, Ticks: 300, Batch: 75, Warmup: 1, Clip: 0.2, ValueHidden: []int{64, 64},
		ActorLR: 5e-4, Decay: 30, Seed: seed,
	}, policytest.Clone(t, policytest.Pixels(), prior, seed))
	if err != nil {
		t.Fatal(err)
	}
	before := policytest.Rate(t, l)
	policytest.Practise(t, l, 600, seed, func(i int, s policy.Stats) {
		if i%100 == 99 {
			t.Logf("episode %d: success %v, %v", i, policytest.Rate(t, l), s.Metrics)
		}
	})
	after := policytest.Rate(t, l)
	t.Logf("success %v before and %v after", before, after)
	if before > 0.2 || after < 0.8 {
		t.Errorf("success %v before and %v after, want at most 0.2 and at least 0.8", before, after)
	}
}
