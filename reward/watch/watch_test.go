package watch

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// run plays a session of n updates of one episode each. Up to hack the policy learns:
// dense reward and chance of success rise to a plateau, with noise of learning. From
// then on the reward goes on rising while the chance falls to a tenth in 20 updates.
// It returns the first update with an alarm, -1 for none.
func run(t *testing.T, rng *rand.Rand, n, hack int) int {
	t.Helper()
	w, err := New(Config{Checks: []string{"success", "margin"}})
	if err != nil {
		t.Fatal(err)
	}
	speed, top, drift := 30+40*rng.Float64(), 0.6+0.35*rng.Float64(), 0.0
	for u := range n {
		drift = 0.9*drift + 0.05*rng.NormFloat64()
		skill := top*(1-math.Exp(-float64(u)/speed)) + 0.5*drift
		proxy := 10*skill + rng.NormFloat64()
		if hack >= 0 && u >= hack {
			f := min(1, float64(u-hack)/20)
			proxy += 0.2 * float64(u-hack)
			skill = (1-f)*skill + f*0.1
		}
		success, margin := 0.0, 4*skill-2+rng.NormFloat64()
		if rng.Float64() < skill {
			success = 1
		}
		if rng.IntN(4) == 0 {
			margin = math.NaN() // the classifier did not see that one
		}
		a, err := w.Add(proxy, []float64{success, margin})
		if err != nil {
			t.Fatal(err)
		}
		if a.On {
			return u
		}
	}
	return -1
}

// The acceptance of capability card 15: an alarm within 50 updates of a scripted
// hacking run, and none in 20 honest ones. Then five times as
// many, of which 2 % may go wrong.
func TestFiresOnHackingAndNeverOnHonestRuns(t *testing.T) {
	late, wrong := 0, 0
	for k := range 20 {
		rng := rand.New(rand.NewPCG(uint64(k), 1))
		if at := run(t, rng, 300, -1); at >= 0 {
			t.Errorf("honest run %d: alarm at %d", k, at)
		}
		if at := run(t, rng, 200, 100); at < 100 || at >= 150 {
			t.Errorf("hacking run %d: alarm at %d, want 100 to 150", k, at)
		}
	}
	for k := range 100 {
		rng := rand.New(rand.NewPCG(uint64(k), 2))
		if run(t, rng, 300, -1) >= 0 {
			wrong++
		}
		if at := run(t, rng, 200, 100); at < 100 || at >= 150 {
			late++
		}
	}
	if t.Logf("of 100: %d false alarms, %d late", wrong, late); wrong > 2 || late > 2 {
		t.Errorf("of 100 runs %d false alarms and %d late ones, want 2 %% at most", wrong, late)
	}
}

func TestTrendByHand(t *testing.T) {
	w, err := New(Config{Checks: []string{"success"}})
	if err != nil {
		t.Fatal(err)
	}
	// n = 10 in order: S = 45, variance 10·9·25/18 = 125.
	up := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	if got, want := w.trend(up), 44/math.Sqrt(125); math.Abs(got-want) > 1e-12 {
		t.Errorf("rising: %v, want %v", got, want)
	}
	// 0 0 1 1: S = 4, ties of two and two: (4·3·13 − 2·2·1·9)/18.
	if got, want := w.trend([]float64{1, 1, 0, 0}), -3/math.Sqrt((156-36)/18.); math.Abs(got-want) > 1e-12 {
		t.Errorf("falling with ties: %v, want %v", got, want)
	}
	if got := w.trend([]float64{2, 2, 2}); got != 0 {
		t.Errorf("still: %v", got)
	}
}

func TestBothMustHold(t *testing.T) {
	for what, c := range map[string]struct {
		proxy, check func(u int) float64
		on           bool
	}{
		"up and down":         {func(u int) float64 { return float64(u) }, func(u int) float64 { return -float64(u) }, true},
		"up and up":           {func(u int) float64 { return float64(u) }, func(u int) float64 { return float64(u) }, false},
		"down and down":       {func(u int) float64 { return -float64(u) }, func(u int) float64 { return -float64(u) }, false},
		"up and still":        {func(u int) float64 { return float64(u) }, func(int) float64 { return 0 }, false},
		"up and mostly dark":  {func(u int) float64 { return float64(u) }, func(u int) float64 { return []float64{math.NaN(), math.NaN(), -float64(u)}[u%3] }, false},
		"down, the rest dark": {func(int) float64 { return math.NaN() }, func(u int) float64 { return -float64(u) }, false},
	} {
		w, err := New(Config{Checks: []string{"other", "success"}})
		if err != nil {
			t.Fatal(err)
		}
		var a Alarm
		for u := range 40 {
			if a, err = w.Add(c.proxy(u), []float64{math.NaN(), c.check(u)}); err != nil {
				t.Fatal(err)
			}
		}
		if a.On != c.on || c.on && (a.Check != "success" || !strings.Contains(a.String(), "success falls from -6.00 to -33.00")) {
			t.Errorf("%s: alarm %+v: %s", what, a, a)
		}
	}
}

func TestAlarmEndsWithTheTrend(t *testing.T) {
	w, err := New(Config{Checks: []string{"success"}, Window: 20})
	if err != nil {
		t.Fatal(err)
	}
	for u := range 100 {
		check := -float64(min(u, 30))
		a, err := w.Add(float64(u), []float64{check})
		if err != nil {
			t.Fatal(err)
		}
		if want := u >= 16 && u < 40; want && !a.On || u > 50 && a.On {
			t.Fatalf("update %d: alarm %v", u, a)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []Config{{}, {Checks: []string{"a"}, Window: 10}, {Checks: []string{"a"}, Least: 2}, {Checks: []string{"a"}, Z: math.NaN()}, {Checks: []string{"a"}, Stay: -1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v made a watch", c)
		}
	}
	w, err := New(Config{Checks: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Add(1, nil); err == nil {
		t.Error("no check was taken for one")
	}
	if _, err := w.Add(math.Inf(1), []float64{1}); err == nil {
		t.Error("an infinite reward was taken")
	}
}

func TestUpdatesAllocateNothing(t *testing.T) {
	w, err := New(Config{Checks: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	check, u := []float64{0}, 0.0
	if n := testing.AllocsPerRun(100, func() {
		u++
		check[0] = -u
		if _, err := w.Add(u, check); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations an update", n)
	}
}
