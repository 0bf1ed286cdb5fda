package calql_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/calql"
	"github.com/rapport-rl/rapport/policy/critic"
	"github.com/rapport-rl/rapport/policy/policytest"
	"github.com/rapport-rl/rapport/policy/rlpd"
)

// small is a quick Config of three steps a round.
func small() calql.Config {
	return calql.Config{
		Config:   rlpd.Config{Arch: policytest.Arch(), Batch: 16, Round: 3, CriticHidden: []int{16, 16}, Best: 2, Gamma: 0.9, Seed: 7},
		Conserve: critic.Conserve{Weight: 1, Actions: 2},
	}
}

func learner(t testing.TB, c calql.Config, es ...policy.Episode) *calql.Learner {
	t.Helper()
	l, err := calql.New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func update(t testing.TB, l *calql.Learner) policy.Stats {
	t.Helper()
	s, err := l.Update(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func metric(t testing.TB, s policy.Stats, name string) float64 {
	t.Helper()
	for _, m := range s.Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	t.Fatalf("no metric %q in %v", name, s.Metrics)
	return 0
}

// mixed is demonstrations and online episodes.
func mixed() []policy.Episode {
	es := policytest.Demos(3, 1, [2]float64{})
	for i, e := range policytest.Demos(3, 2, [2]float64{0.1, 0}) {
		e.ID, e.Origin = fmt.Sprint("online", i), policy.Online
		es = append(es, e)
	}
	return es
}

func TestLearnerIsAKeeper(t *testing.T) {
	build := func(seed uint64, change func(c *calql.Config)) (policy.Keeper, error) {
		c := small()
		c.Seed, c.Offline, c.Online, c.Gap, c.Noise = seed, 6, 0.5, 2, 0.01
		change(&c)
		return calql.New(c, nil)
	}
	policytest.TestKeeper(t, policytest.Subject{
		New: func(seed uint64) (policy.Keeper, error) { return build(seed, func(*calql.Config) {}) },
		Others: map[string]func() (policy.Keeper, error){
			"Critics is 2 and 5": func() (policy.Keeper, error) { return build(1, func(c *calql.Config) { c.Critics = 5 }) },
			`format is "rapport-rlpd-3", want "rapport-calql-2"`: func() (policy.Keeper, error) {
				return rlpd.New(small().Config, nil)
			},
		},
	})
}

func TestLearnerOfAFolderByPriorityIsAKeeper(t *testing.T) {
	policytest.TestKeeper(t, policytest.Subject{New: func(seed uint64) (policy.Keeper, error) {
		c := small()
		c.Seed, c.Offline, c.Online, c.Gap = seed, 6, 0.5, 2
		c.Dir, c.Prioritised = t.TempDir(), buffer.Prioritised{Alpha: 0.6, Beta: 0.4}
		l, err := calql.New(c, nil)
		if err == nil {
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		return l, err
	}})
}

// TestReturnsAreTheFloor: rewards far above what fresh critics say bind them all,
// far below none.
func TestReturnsAreTheFloor(t *testing.T) {
	for shift, want := range map[float64]float64{100: 1, -100: 0} {
		c := small()
		c.Shift, c.Round = shift, 1
		if got := metric(t, update(t, learner(t, c, mixed()...)), "bound_share"); got != want {
			t.Errorf("rewards shifted by %v: %v of the values are bound, want %v", shift, got, want)
		}
	}
}

// TestFailuresAreNoFloor: with rewards of -1 until success, what a failure was
// paid up to its end is much more than what it is worth. Counted as its return, it
// keeps the critics from being held down at all.
func TestFailuresAreNoFloor(t *testing.T) {
	es := policytest.Demos(12, 1, [2]float64{}, [2]float64{0.16, -0.12})
	for i := range es {
		es[i].Rewards = slices.Repeat([]float64{-1}, policytest.Ticks)
		if i%2 == 0 { // a success
			es[i].Rewards[policytest.Ticks-1], es[i].Terminal = 0, true
		}
	}
	share := func(zero bool) float64 {
		c := small()
		c.Round, c.Tau, c.CriticLR, c.ZeroTail, c.Weight = 100, 0.05, 3e-3, zero, 0.1
		l := learner(t, c, es...)
		for range 4 {
			update(t, l)
		}
		return metric(t, update(t, l), "bound_share")
	}
	steady, zero := share(false), share(true)
	t.Logf("%v of the values are bound with steady tails, %v with none", steady, zero)
	if steady > 0.5*zero {
		t.Errorf("%v of the values are bound with steady tails, %v with none: want at most half", steady, zero)
	}
}

func TestWeightOfThePhase(t *testing.T) {
	c := small()
	c.Offline, c.Online = 3, -1
	l := learner(t, c, mixed()...)
	for i, want := range []bool{true, false} {
		s := update(t, l)
		if got := slices.ContainsFunc(s.Metrics, func(m policy.Metric) bool { return m.Name == "conserve" }); got != want {
			t.Errorf("round %d: held down = %v, want %v", i, got, want)
		}
	}
	l = learner(t, c, mixed()...)
	l.Online()
	if s := update(t, l); slices.ContainsFunc(s.Metrics, func(m policy.Metric) bool { return m.Name == "conserve" }) {
		t.Error("held down after Online, although the weight there is none")
	}
}

func TestNewNamesTheField(t *testing.T) {
	for want, spoil := range map[string]func(c *calql.Config){
		"sees nothing":          func(c *calql.Config) { c.Arch = bc.Arch{} },
		"calql: Gamma is 1":     func(c *calql.Config) { c.Gamma = 1 },
		"rlpd: Subset is 9":     func(c *calql.Config) { c.Subset = 9 },
		"critic: Weight is -1":  func(c *calql.Config) { c.Weight = -1 },
		"critic: Actions is -1": func(c *calql.Config) { c.Actions = -1 },
		"critic: Gap is -1":     func(c *calql.Config) { c.Gap = -1 },
	} {
		t.Run(want, func(t *testing.T) {
			c := small()
			spoil(&c)
			if _, err := calql.New(c, nil); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "calql: ") {
				t.Errorf("error = %v, want one with %q", err, want)
			}
		})
	}
	c := small()
	c.Gamma, c.ZeroTail = 1, true
	if _, err := calql.New(c, nil); err != nil {
		t.Errorf("undiscounted without tails: %v", err)
	}
}

func TestPresetsAreValid(t *testing.T) {
	for name, preset := range map[string]func(a bc.Arch) calql.Config{"Adroit": calql.Adroit, "AntMaze": calql.AntMaze, "Arm": calql.Arm} {
		c := preset(policytest.Arch())
		c.CriticHidden, c.Batch = []int{8}, 8 // quick
		if got := metric(t, update(t, learner(t, c, mixed()...)), "demo_share"); (got == 1) != (c.Offline > 0) {
			t.Errorf("%s begins with a share of demonstrations of %v, offline for %d steps", name, got, c.Offline)
		}
	}
}

// TestUpdateAllocatesItsReportAlone: one slice of metrics and what append adds.
func TestUpdateAllocatesItsReportAlone(t *testing.T) {
	c := small()
	c.Round, c.Gap = 10, 1
	l := learner(t, c, mixed()...)
	update(t, l)
	if n := testing.AllocsPerRun(5, func() { update(t, l) }); n > 5 {
		t.Errorf("a round of ten steps allocates %v times, want at most 5 for its report", n)
	}
}
