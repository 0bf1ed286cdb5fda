package xmagical_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/robottest"
	"github.com/rapport-rl/rapport/sim/xmagical"
)

func open(t testing.TB, c xmagical.Config) *xmagical.World {
	t.Helper()
	w, err := xmagical.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func TestBackend(t *testing.T) {
	for _, c := range []xmagical.Config{
		{}, {Task: xmagical.Avoid, Embodiment: xmagical.Gripper}, {Task: xmagical.Group, Embodiment: xmagical.Long, Vary: true},
	} {
		t.Run(fmt.Sprintf("%s %s", c.Task, c.Embodiment), func(t *testing.T) {
			robottest.TestBackend(t, func(t *testing.T) robot.Backend { return open(t, c) })
		})
	}
}

// For the race detector: a stop steps the world from a goroutine of its own.
func TestAWorldIsReadWhileAStopStepsIt(t *testing.T) {
	w := open(t, xmagical.Config{})
	obs, err := w.ResetSeed(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	who, err := xmagical.NewDemonstrator(w, xmagical.Good, 1)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := w.Step(t.Context(), robot.Command{Delta: [6]float64{0: 0.01}, Grip: 1}); err != nil {
			t.Error(err)
		}
	})
	all.Go(func() {
		if n := len(w.Truth().Bodies); n != 3 {
			t.Errorf("%d squares, want 3", n)
		}
	})
	all.Go(func() {
		if c := who.Act(obs); c.Finite() != nil {
			t.Errorf("acts by %v", c)
		}
	})
	all.Wait()
}

// The original: driving straight up from the demonstrations' layout brings all
// squares home with a long stick, and the middle one otherwise.
func TestStraightUpScores(t *testing.T) {
	for e, want := range map[xmagical.Embodiment]float64{xmagical.Short: 1. / 3, xmagical.Medium: 1. / 3, xmagical.Long: 1, xmagical.Gripper: 1. / 3} {
		w := open(t, xmagical.Config{Embodiment: e, Layout: xmagical.Demo})
		w.Start(1)
		a := make([]float64, e.Actions())
		a[0] = 1
		for range w.Horizon() {
			w.Act(a)
		}
		if got := w.Score(); got != want {
			t.Errorf("%s: score %g, want %g", e, got, want)
		}
		if got := w.Truth().Success; got != (want == 1) {
			t.Errorf("%s: success %v with score %g", e, got, want)
		}
	}
}

// A force of 5 N brings 1 kg to 0.8 m/s in 0.16 s, and no action to more.
func TestFreeMotionFollowsTheDrive(t *testing.T) {
	const dt = 0.0125
	for _, e := range []xmagical.Embodiment{xmagical.Short, xmagical.Medium, xmagical.Long} {
		w := open(t, xmagical.Config{Embodiment: e, Task: xmagical.Avoid, Layout: xmagical.Demo})
		w.Start(1)
		y := w.AppendState(nil)[1]
		v := 0.0
		for tick := range 6 {
			w.Act([]float64{1, 0}) // 1 is more than 0.8
			for range 10 {
				y += v * dt // the position follows the velocity of before
				v = min(xmagical.Speed, v+5*dt)
			}
			s := w.AppendState(nil)
			if math.Abs(s[1]-y) > 1e-9 {
				t.Errorf("%s: after %d periods y is %.12f, want %.12f", e, tick+1, s[1], y)
			}
		}
	}
}

func TestWallsHold(t *testing.T) {
	for _, e := range xmagical.Embodiments() {
		w := open(t, xmagical.Config{Embodiment: e, Layout: xmagical.Demo})
		w.Start(1)
		for i := range 120 {
			a := []float64{-1, 0, 0}
			if i > 60 {
				a[1] = math.Sin(float64(i))
			}
			w.Act(a[:e.Actions()])
			// A contact may be as deep as the slop of 1 cm and what a step adds.
			if s := w.AppendState(nil); math.Abs(s[0]) > xmagical.Size || s[1] < -xmagical.Size+0.05-0.025 {
				t.Fatalf("%s: at (%.3f, %.3f) after %d periods against the wall", e, s[0], s[1], i)
			}
		}
	}
}

func TestMirroredActionsMirrorFreeMotion(t *testing.T) {
	for _, e := range xmagical.Embodiments() {
		l, r := open(t, xmagical.Config{Embodiment: e, Layout: xmagical.Demo}), open(t, xmagical.Config{Embodiment: e, Layout: xmagical.Demo})
		l.Start(1)
		r.Start(1)
		near := 1e-9
		if e == xmagical.Gripper {
			near = 1e-4 // the solver takes the left finger before the right
		}
		for i := range 20 {
			v, turn := 0.3*math.Cos(float64(i)), 0.05*math.Sin(float64(2*i))
			l.Act([]float64{v, turn, 0}[:e.Actions()])
			r.Act([]float64{v, -turn, 0}[:e.Actions()])
			a, b := l.AppendState(nil), r.AppendState(nil)
			if math.Abs(a[0]+b[0]) > near || math.Abs(a[1]-b[1]) > near || math.Abs(a[8]-b[8]) > near || math.Abs(a[9]+b[9]) > near {
				t.Fatalf("%s: after %d periods %v and its mirror image %v differ", e, i+1, a[:10], b[:10])
			}
		}
	}
}

// trajectory hashes the states of an episode under a fixed stream of actions.
func trajectory(w *xmagical.World, seed uint64) string {
	h := sha256.New()
	w.Start(seed)
	n := w.Config().Embodiment.Actions()
	for i := range 60 {
		x := float64(i)
		w.Act([]float64{math.Round(80*math.Cos(x/9)) / 100, math.Round(100*math.Sin(x/4)) / 1000, math.Round(40*math.Sin(x/7)) / 100}[:n])
		for _, v := range w.AppendState(nil) {
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], math.Float64bits(v))
			h.Write(b[:])
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// The hashes are this package's own, of 2026-11: a change of the physics that
// nobody meant shows here.
func TestTrajectoriesStayTheSame(t *testing.T) {
	want := map[string]string{
		"sweep short":   "fd05f56330e3c702",
		"sweep medium":  "05202b2a0c2b93d6",
		"sweep long":    "be674c7f54246f1a",
		"sweep gripper": "d6487610a06d4719",
		"avoid short":   "3d253124e9683f76",
		"avoid medium":  "187b9ddb97f26142",
		"avoid long":    "38caea3f7355fed7",
		"avoid gripper": "8a900cd8be81f48b",
		"group short":   "54a498416cadc874",
		"group medium":  "2cab1d77961ddee2",
		"group long":    "ac20e7d441d1d667",
		"group gripper": "bc27c50ae9aa98f4",
	}
	for _, task := range xmagical.Tasks() {
		for _, e := range xmagical.Embodiments() {
			w := open(t, xmagical.Config{Task: task, Embodiment: e, Seed: 9})
			name := fmt.Sprintf("%s %s", task, e)
			if got := trajectory(w, 5); got != want[name] {
				t.Errorf("%q: %q, want %q", name, got, want[name])
			}
		}
	}
}

// An episode depends on its seed alone: not on the world, on what was before, or
// on other worlds that run beside it.
func TestSeedsReproduceEpisodes(t *testing.T) {
	c := xmagical.Config{Task: xmagical.Group, Embodiment: xmagical.Gripper, Vary: true}
	w := open(t, c)
	want := trajectory(w, 7)
	if other := trajectory(w, 8); other == want {
		t.Error("another seed gives the same episode")
	}
	if got := trajectory(w, 7); got != want {
		t.Errorf("after another episode: %s, want %s", got, want)
	}
	var wg sync.WaitGroup
	for range 4 {
		other := open(t, c)
		wg.Go(func() {
			if got := trajectory(other, 7); got != want {
				t.Errorf("in another world: %s, want %s", got, want)
			}
		})
	}
	wg.Wait()
}

func TestStateIsTheOriginals(t *testing.T) {
	for e, n := range map[xmagical.Embodiment]int{xmagical.Medium: 16, xmagical.Gripper: 17} {
		w := open(t, xmagical.Config{Embodiment: e, Layout: xmagical.Demo})
		w.Start(1)
		d := 2 * math.Sqrt2
		want := []float64{0, -0.6, -0.5, 0, 0, 0, 0.5, 0, 1, 0,
			math.Hypot(0.5, 0.6) / d, 0.6 / d, math.Hypot(0.5, 0.6) / d, 1 / d, 1 / d, 1 / d, 1}[:n]
		got := w.AppendState(nil)
		if len(got) != n || w.StateDim() != n {
			t.Fatalf("%s: %d numbers, StateDim %d, want %d", e, len(got), w.StateDim(), n)
		}
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-12 {
				t.Errorf("%s: state[%d] is %g, want %g", e, i, got[i], want[i])
			}
		}
	}
}

// The original draws a common y from (-0.1, 0.5), and x from four places without
// putting back.
func TestLayoutIsTheOriginals(t *testing.T) {
	w := open(t, xmagical.Config{})
	seen := map[float64]bool{}
	lo, hi := 1.0, -1.0
	for seed := range uint64(200) {
		w.Start(seed)
		s := w.AppendState(nil)
		lo, hi = min(lo, s[3]), max(hi, s[3])
		if s[3] != s[5] || s[3] != s[7] || s[2] == s[4] || s[2] == s[6] || s[4] == s[6] {
			t.Fatalf("seed %d: squares at %v", seed, s[2:8])
		}
		for _, x := range []float64{s[2], s[4], s[6]} {
			seen[math.Round(100*x)/100] = true
		}
	}
	if len(seen) != 4 || !seen[-0.8] || !seen[-0.32] || !seen[0.16] || !seen[0.64] {
		t.Errorf("x from %v", seen)
	}
	if lo < -0.1 || lo > -0.08 || hi > 0.5 || hi < 0.48 {
		t.Errorf("y from %.3f to %.3f, want -0.1 to 0.5", lo, hi)
	}
}

func TestCommandsAreOfTheRobotsFrame(t *testing.T) {
	w := open(t, xmagical.Config{Task: xmagical.Avoid, Layout: xmagical.Demo, Embodiment: xmagical.Short})
	if _, err := w.ResetSeed(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	var obs robot.Observation
	var err error
	for range 12 { // a quarter turn to the left takes 0.63 s and the time to speed up
		if obs, err = w.Step(t.Context(), robot.Command{Delta: [6]float64{5: xmagical.TurnUnit / 2}}); err != nil {
			t.Fatal(err)
		}
	}
	// Half the unit turns at half the rate.
	if want := 12 * 0.125 * xmagical.Rate / 2; math.Abs(obs.State.Q[2]-want) > 0.05 {
		t.Errorf("turned by %.3f rad in 1.5 s at half a unit, want %.3f", obs.State.Q[2], want)
	}
	before := obs.State.EE.P
	if obs, err = w.Step(t.Context(), robot.Command{Delta: [6]float64{0: 0.3, 1: 0.01}, Grip: 2}); err != nil {
		t.Fatal(err)
	}
	if obs.By != robot.ByGuard || obs.Applied.Delta != [6]float64{0: 0.1} || obs.Applied.Grip != 1 {
		t.Errorf("applied %v by the %v, want 0.1 m ahead by the guard", obs.Applied, obs.By)
	}
	d := [2]float64{obs.State.EE.P[0] - before[0], obs.State.EE.P[1] - before[1]}
	a := obs.State.Q[2]
	if along := -d[0]*math.Sin(a) + d[1]*math.Cos(a); along < 0.03 || math.Abs(d[0]*math.Cos(a)+d[1]*math.Sin(a)) > 0.2*along {
		t.Errorf("moved by %v with heading %.2f, want ahead", d, a)
	}
}

func TestFingersFollowTheGrip(t *testing.T) {
	w := open(t, xmagical.Config{Embodiment: xmagical.Gripper, Layout: xmagical.Demo})
	if _, err := w.ResetSeed(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, grip := range []float64{0, 1, 0.5} {
		var obs robot.Observation
		var err error
		for range 16 {
			if obs, err = w.Step(t.Context(), robot.Command{Grip: grip}); err != nil {
				t.Fatal(err)
			}
		}
		if want := grip * xmagical.Opening; math.Abs(obs.State.Grip-want) > 0.02*xmagical.Opening {
			t.Errorf("grip %g opens to %.4f m, want %.4f", grip, obs.State.Grip, want)
		}
	}
}

func TestMistakesAreTold(t *testing.T) {
	for _, tt := range []struct {
		c    xmagical.Config
		want string
	}{
		{xmagical.Config{Task: "stack"}, `task is "stack", want sweep`},
		{xmagical.Config{Embodiment: "snake"}, `embodiment is "snake", want short`},
		{xmagical.Config{Layout: "any"}, `layout is "any"`},
		{xmagical.Config{Cameras: []xmagical.Camera{{"a", 64, 64}, {"a", 64, 64}}}, `camera "a": want a name`},
		{xmagical.Config{Cameras: []xmagical.Camera{{"a", 4, 64}}}, "is 4x64, want 8 to 4096"},
		{xmagical.Config{Dynamics: xmagical.Dynamics{Slide: -1}}, "slide is -1, want a positive force"},
	} {
		if _, err := xmagical.New(tt.c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.c, err, tt.want)
		}
	}
	w := open(t, xmagical.Config{})
	if _, err := w.Step(t.Context(), robot.Command{}); err == nil || !strings.Contains(err.Error(), "without a reset") {
		t.Errorf("step before a reset: %v", err)
	}
	w.Close()
	if _, err := w.Reset(t.Context()); !errors.Is(err, xmagical.ErrClosed) {
		t.Errorf("reset after Close: %v", err)
	}
	if _, err := xmagical.NewDemonstrator(w, "odd", 1); err == nil || !strings.Contains(err.Error(), `style is "odd"`) {
		t.Errorf("an unknown style: %v", err)
	}
}
