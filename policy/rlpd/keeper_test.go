package rlpd_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/rlpd"
)

func TestLearnerIsAKeeper(t *testing.T) {
	policytest.TestKeeper(t, policytest.Subject{
		New: func(seed uint64) (policy.Keeper, error) {
			c := small()
			c.Seed, c.Steps, c.Best, c.Least, c.Offline, c.Pool = seed, 2, 2, true, 12, true
			return rlpd.New(c, nil)
		},
		Others: map[string]func() (policy.Keeper, error){
			"Critics is 3 and 4": func() (policy.Keeper, error) {
				c := small()
				c.Critics = 4
				return rlpd.New(c, nil)
			},
		},
	})
}

func TestLearnerOfAResidualIsAKeeper(t *testing.T) {
	of := func(seed uint64, bound float64) (policy.Keeper, error) {
		c := small()
		c.Seed, c.Residual = seed, bound
		start, err := bc.NewNet(c.Arch, rand.New(rand.NewPCG(seed, 1)))
		if err != nil {
			return nil, err
		}
		return rlpd.New(c, start)
	}
	policytest.TestKeeper(t, policytest.Subject{
		New: func(seed uint64) (policy.Keeper, error) { return of(seed, 0.5) },
		Others: map[string]func() (policy.Keeper, error){
			"Arch.Residual is 0.5 and 0.4": func() (policy.Keeper, error) { return of(1, 0.4) },
		},
	})
	c := small()
	c.Residual = 0.5
	if _, err := rlpd.New(c, nil); err == nil || !strings.Contains(err.Error(), "no policy to start from") {
		t.Errorf("a residual of nothing: %v", err)
	}
}

func TestOfflinePhaseLearnsFromDemonstrationsAlone(t *testing.T) {
	c := small() // six critic steps a round
	c.Offline = 12
	l := learner(t, c, mixed(t)...)
	for i, want := range []float64{1, 1, 0.5} {
		if off := l.Offline(); off != (i < 2) {
			t.Errorf("round %d: offline = %v", i, off)
		}
		if got := metric(t, update(t, l), "demo_share"); got != want {
			t.Errorf("round %d: share of demonstrations = %v, want %v", i, got, want)
		}
	}
	l = learner(t, c, mixed(t)...)
	l.Online()
	if got := metric(t, update(t, l), "demo_share"); got != 0.5 {
		t.Errorf("after Online: share of demonstrations = %v, want 0.5", got)
	}
	l = learner(t, c, mixed(t)[3:]...)
	if got := metric(t, update(t, l), "demo_share"); got != 0 {
		t.Errorf("without demonstrations: their share = %v, want 0", got)
	}
}

func TestPooledBatchesFollowTheSizes(t *testing.T) {
	c := small()
	c.Pool = true
	es := mixed(t)
	if got := metric(t, update(t, learner(t, c, es...)), "demo_share"); got != 0.5 {
		t.Errorf("of equal sides: share = %v, want 0.5", got)
	}
	if got := metric(t, update(t, learner(t, c, es[2:]...)), "demo_share"); got != 0.25 {
		t.Errorf("of one against three: share = %v, want 0.25", got)
	}
}

func TestCriticsAreDescribed(t *testing.T) {
	s := update(t, learner(t, small(), mixed(t)...))
	low, mean, high := metric(t, s, "q_low"), metric(t, s, "q_mean"), metric(t, s, "q_high")
	if !(low < mean && mean < high) || !(metric(t, s, "q_spread") > 0) {
		t.Errorf("critics are described by %v", s.Metrics)
	}
	if kl := metric(t, s, "kl"); !(kl >= 0) {
		t.Errorf("divergence = %v, want 0 or more", kl)
	}
}
