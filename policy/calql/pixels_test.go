package calql_test

import (
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/calql"
	"github.com/rapport-rl/rapport/policy/critic"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/rlpd"
)

func seeing(seed uint64) calql.Config {
	c := small()
	c.Arch = policytest.PixelArch()
	c.Arch.Hidden, c.Arch.Trunk.Shift = []int{16}, 1
	c.CriticHidden, c.Seed, c.Warmup, c.Noise = []int{16}, seed, 4, 0.01
	return c
}

func TestLearnerThatSeesIsAKeeper(t *testing.T) {
	policytest.TestKeeper(t, policytest.Subject{
		New: func(seed uint64) (policy.Keeper, error) { return calql.New(seeing(seed), nil) },
		Others: map[string]func() (policy.Keeper, error){
			"Arch.Trunk is": func() (policy.Keeper, error) {
				c := seeing(1)
				c.Arch.Trunk.Latent = 7
				return calql.New(c, nil)
			},
		},
	})
}

func TestStepFromPixelsAllocatesItsReportAlone(t *testing.T) {
	l := learner(t, seeing(1), policytest.Demos(2, 1, [2]float64{})...)
	update(t, l)
	update(t, l)
	if n := testing.AllocsPerRun(5, func() { update(t, l) }); n > 1 {
		t.Errorf("three steps allocate %v times, want 1 for the report", n)
	}
}

func TestTrunkStaysWhileTheActorStays(t *testing.T) {
	l := learner(t, seeing(1), policytest.Demos(2, 1, [2]float64{})...)
	eye := func() []float32 { return l.Actor().Eye().Params()[0].Data }
	first := eye()
	for i, want := range []bool{true, false} { // three steps a round, four of them warm-up
		update(t, l)
		if got := slices.Equal(eye(), first); got != want {
			t.Errorf("round %d: the trunk has stayed = %v, want %v", i, got, want)
		}
	}
}

// TestLearnsFromPixelsOffline: of three demonstrations one ends at the goal, which
// only the picture shows, and two 20 cm beside it.
func TestLearnsFromPixelsOffline(t *testing.T) {
	const seed = 1
	prior := policytest.Mixed(seed)
	l, err := calql.New(calql.Config{
		Config: rlpd.Config{
			Gamma: 0.9, Scale: 30, Finite: true, Batch: 64, CriticHidden: []int{64, 64}, Best: 3, Round: 20,
			CriticLR: 1e-3, ActorLR: 1e-3, AlphaLR: 1e-3, Alpha: 0.1, Tau: 0.02, Seed: seed,
		},
		Conserve: critic.Conserve{Weight: 1, Actions: 3},
	}, policytest.Clone(t, policytest.Pixels(), prior, seed))
	if err != nil {
		t.Fatal(err)
	}
	policytest.Give(t, l, prior...)
	before := policytest.Rate(t, l)
	for i := range 4 {
		t.Logf("round %d: %v", 15*i+14, policytest.Learn(t, l, 15).Metrics)
	}
	after := policytest.Rate(t, l)
	t.Logf("success %v before and %v after", before, after)
	if before >= 0.5 || after < 0.8 {
		t.Errorf("success %v before and %v after, want below 0.5 and at least 0.8", before, after)
	}
}
