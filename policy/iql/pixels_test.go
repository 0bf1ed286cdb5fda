package iql

import (
	"math"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/policytest"
)

func seeing(seed uint64) Config {
	a := policytest.PixelArch()
	a.Hidden, a.Trunk.Shift = []int{16}, 1
	return Config{Arch: a, Gamma: 0.9, Finite: true, Batch: 16, Round: 3, Warmup: 4, CriticHidden: []int{16}, Noise: 0.01, Seed: seed}
}

// seer has two demonstrations to learn from.
func seer(t *testing.T, c Config) *Learner {
	t.Helper()
	l, err := New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range policytest.Demos(2, 1, [2]float64{}) {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	return l
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
		},
	})
}

// TestTrunkFollowsTheValuesLosses: the gradient that a step leaves in the trunk is
// that of the losses of value and critics together, for targets that stay, against
// differences along it. Rates are too small for float32, so that nothing moves.
func TestTrunkFollowsTheValuesLosses(t *testing.T) {
	c := seeing(1)
	c.Arch.Trunk.Shift, c.Warmup, c.Noise, c.ClipNorm = -1, 0, 0, math.Inf(1)
	c.CriticLR, c.ValueLR, c.ActorLR = 1e-20, 1e-20, 1e-20
	l := seer(t, c)
	l.actor.Fit(l.replay.Observations())
	l.factor = 1
	stir(l)
	if err := l.step(c.Batch); err != nil {
		t.Fatal(err)
	}
	loss := func() float64 {
		l.sight.Now(l.read, l.batch.Obs, l.batch.Pix, nil)
		copy(l.fitV.X.Value, l.read)
		pack(l.fitQ.xa, l.read, l.batch.Act)
		l.fitV.G.ForwardTo(l.fitV.Loss)
		l.fitQ.g.ForwardTo(l.fitQ.loss)
		return float64(l.fitV.Loss.Value[0]) + float64(l.fitQ.loss.Value[0])
	}
	ps := l.actor.Eye().Params()
	var old [][]float32
	norm := 0.0
	for _, p := range ps {
		old = append(old, slices.Clone(p.Data))
		for _, g := range p.Grad {
			norm += float64(g) * float64(g)
		}
	}
	norm = math.Sqrt(norm)
	at := func(eps float64) float64 {
		for i, p := range ps {
			for j, g := range p.Grad {
				p.Data[j] = old[i][j] + float32(eps*float64(g)/norm)
			}
		}
		return loss()
	}
	// float32 losses and kinks of the ReLUs: 2 %.
	if got := (at(3e-3) - at(-3e-3)) / 6e-3; math.Abs(got-norm) > 0.02*norm || norm < 1e-2 {
		t.Errorf("the losses rise by %v along a gradient of norm %v", got, norm)
	}
}

func TestTrunkStaysWhileTheActorStays(t *testing.T) {
	l := seer(t, seeing(1)) // three steps a round, four of them warm-up
	eye := func() []float32 { return slices.Clone(l.actor.Eye().Params()[0].Data) }
	first := eye()
	for i, want := range []bool{true, false} {
		if _, err := l.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := slices.Equal(eye(), first); got != want {
			t.Errorf("round %d: the trunk has stayed = %v, want %v", i, got, want)
		}
	}
	if got := l.ref.Eye().Params()[0].Data; !slices.Equal(got, first) {
		t.Error("the trunk that learning started from has moved")
	}
}

func TestStepFromPixelsAllocatesNothing(t *testing.T) {
	l := seer(t, seeing(1))
	for range 2 {
		if _, err := l.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(5, func() {
		if err := l.step(16); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a step allocates %v times, want 0", n)
	}
}

// TestLearnsFromPixelsOffline: of three demonstrations one ends at the goal, which
// only the picture shows, and two 20 cm beside it.
func TestLearnsFromPixelsOffline(t *testing.T) {
	const seed = 1
	prior := policytest.Mixed(seed)
	l, err := New(Config{
		Gamma: 0.9, Scale: 30, Finite: true, Batch: 64, CriticHidden: []int{64, 64}, Round: 50,
		Expectile: 0.9, Beta: 1, CriticLR: 1e-3, ValueLR: 1e-3, ActorLR: 1e-3, Tau: 0.02, Decay: 3000, Seed: seed,
	}, policytest.Clone(t, policytest.Pixels(), prior, seed))
	if err != nil {
		t.Fatal(err)
	}
	policytest.Give(t, l, prior...)
	before := policytest.Rate(t, l)
	for i := range 3 {
		t.Logf("round %d: %v", 10*i+9, policytest.Learn(t, l, 10).Metrics)
	}
	after := policytest.Rate(t, l)
	t.Logf("success %v before and %v after", before, after)
	if before >= 0.5 || after < 0.8 {
		t.Errorf("success %v before and %v after, want below 0.5 and at least 0.8", before, after)
	}
}
