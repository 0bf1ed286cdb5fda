package policytest

import (
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
)

// Rows is a policy of the reach that is large enough to do it well.
func Rows() bc.Arch { return bc.Arch{View: View(), Hidden: []int{64, 64}} }

// Pixels is that from pixels.
func Pixels() bc.Arch {
	a := PixelArch()
	a.Hidden = []int{64, 64}
	return a
}

// Mixed are 120 demonstrations: one of three ends at the goal, two 20 cm beside it.
func Mixed(seed uint64) []policy.Episode {
	beside := [2]float64{0.16, -0.12}
	return Demos(120, seed, [2]float64{}, beside, beside)
}

// Poor are ten demonstrations that end 15 cm beside the goal.
func Poor(seed uint64) []policy.Episode { return Demos(10, seed, [2]float64{0.12, -0.09}) }

// Clone is a policy of shape a that 500 steps have cloned from prior.
func Clone(t testing.TB, a bc.Arch, prior []policy.Episode, seed uint64) *bc.Net {
	t.Helper()
	c := bc.Config{Arch: a, Steps: 500, Seed: seed}
	if len(a.View.Cameras) > 0 {
		c.Batch = 64
	}
	net, _, err := bc.Train(t.Context(), c, prior, nil)
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// Give adds episodes.
func Give(t testing.TB, l policy.Learner, es ...policy.Episode) {
	t.Helper()
	for _, e := range es {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// Learn does n rounds and gives what the last one told.
func Learn(t testing.TB, l policy.Learner, n int) (s policy.Stats) {
	t.Helper()
	for range n {
		var err error
		if s, err = l.Update(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Rate is the Success of what l has learned.
func Rate(t testing.TB, l policy.Learner) float64 {
	t.Helper()
	v, err := Success(t.Context(), newest(t, l))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Practise plays n online episodes in the order of a session: each is acted by the
// parameters of before a round, and added after it. then is called after each, if
// it is not nil.
func Practise(t testing.TB, l policy.Learner, n int, seed uint64, then func(i int, s policy.Stats)) {
	t.Helper()
	for i := range n {
		ps := newest(t, l)
		s := Learn(t, l, 1)
		e, err := Explore(t.Context(), ps, i, seed)
		if err != nil {
			t.Fatal(err)
		}
		Give(t, l, e)
		if then != nil {
			then(i, s)
		}
	}
}

func newest(t testing.TB, l policy.Learner) policy.Params {
	t.Helper()
	ps, err := l.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return ps
}
