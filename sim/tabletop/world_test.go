package tabletop

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/robottest"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/mujoco"
)

func TestBackend(t *testing.T) {
	for _, c := range []Config{{Task: Group}, {Task: Reach, Render: Raster}, {Task: Clutter, Render: Raster}, {Task: Stack, Render: Raster}} {
		t.Run(string(c.Task), func(t *testing.T) {
			robottest.TestBackend(t, func(t *testing.T) robot.Backend { return world(t, c) })
		})
	}
}

// For the race detector: a stop steps the world from a goroutine of its own.
func TestAWorldIsReadWhileAStopStepsIt(t *testing.T) {
	w := world(t, Config{Task: Stack, Render: None})
	obs, err := w.ResetSeed(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	who, err := NewDemonstrator(w, Good, 1)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := w.Step(t.Context(), robot.Command{Grip: 1}); err != nil {
			t.Error(err)
		}
	})
	all.Go(func() {
		if n := len(w.Truth().Bodies); n < 2 {
			t.Errorf("%d bodies", n)
		}
	})
	all.Go(func() {
		if _, err := w.Sees("front", [3]float64{0.5}, 0.01); err != nil {
			t.Error(err)
		}
	})
	all.Go(func() {
		if len(w.Guide().Keypoints) == 0 {
			t.Error("no plan")
		}
	})
	all.Go(func() {
		if c := who.Act(obs); c.Finite() != nil {
			t.Errorf("acts by %v", c)
		}
	})
	all.Wait()
}

func world(t *testing.T, c Config) *World {
	t.Helper()
	w, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func reset(t *testing.T, w *World, seed uint64) robot.Observation {
	t.Helper()
	obs, err := w.ResetSeed(context.Background(), seed)
	if err != nil {
		t.Fatal(err)
	}
	return obs
}

func step(t *testing.T, w *World, c robot.Command) robot.Observation {
	t.Helper()
	obs, err := w.Step(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return obs
}

func TestEpisodeStartsBehindTheBoxes(t *testing.T) {
	w := world(t, Config{})
	soft := franka.Panda()
	for seed := range uint64(50) {
		obs := reset(t, w, seed)
		p, b1, b2 := obs.State.EE.P, w.Truth().Bodies[0].Pose.P, w.Truth().Bodies[1].Pose.P
		if d := franka.Diff(obs.State.EE, down(0.34, 0.03)); norm(d[0], d[1], d[2]) > 0.001 || norm(d[3], d[4], d[5]) > 0.01 {
			t.Fatalf("seed %d: the hand starts at %v, want 0.34 0 0.03 pointing down", seed, obs.State.EE)
		}
		if math.Abs(b1[0]-0.40) > 0.021 || math.Abs(b1[1]) > 0.021 {
			t.Errorf("seed %d: box 1 starts at %v, want (0.40, 0) ± 0.02", seed, b1)
		}
		if math.Abs(b2[0]-b1[0]-0.12) > 0.002 || math.Abs(b2[1]-b1[1]) > 0.012 {
			t.Errorf("seed %d: box 2 starts at %v, want 0.12 beyond box 1 at %v", seed, b2, b1)
		}
		if b1[0]-p[0] < 0.035 {
			t.Errorf("seed %d: box 1 starts %g m from the fingers", seed, b1[0]-p[0])
		}
		if obs.State.Grip > 0.001 {
			t.Errorf("seed %d: the fingers start %g m apart", seed, obs.State.Grip)
		}
		for i, q := range obs.State.Q {
			if q < soft.SoftMin[i] || q > soft.SoftMax[i] {
				t.Errorf("seed %d: joint %d starts at %g rad, beyond its soft limit", seed, i+1, q)
			}
		}
		if w.Truth().Success {
			t.Errorf("seed %d: done before it begins", seed)
		}
	}
}

func TestKinematicsAgreeWithThePhysics(t *testing.T) {
	w := world(t, Config{Render: None})
	reset(t, w, 1)
	site, err := w.model.Site("tcp")
	if err != nil {
		t.Fatal(err)
	}
	for k, c := range []robot.Command{{Delta: [6]float64{2: 0.04}}, {Delta: [6]float64{1: 0.04, 5: 0.3}}, {Delta: [6]float64{0: 0.04, 3: 0.2}}} {
		obs := step(t, w, c)
		got, want := obs.State.EE.P, w.data.SiteXPos(site)
		for i := range got {
			if math.Abs(got[i]-want[i]) > 1e-6 { // the model is written with 8 digits
				t.Errorf("step %d: the hand is at %v, in MuJoCo at %v", k, got, want)
			}
		}
	}
}

func TestHandSettlesOnItsTarget(t *testing.T) {
	for _, dt := range []float64{0.001, 0.002} {
		w := world(t, Config{Render: None, Timestep: dt})
		for _, d := range [][6]float64{{1: 0.04}, {0: 0.04, 2: 0.04}, {5: 0.25}, {3: 0.2}} {
			reset(t, w, 1)
			for range 3 { // well above the boxes
				step(t, w, robot.Command{Delta: [6]float64{2: 0.04}})
			}
			step(t, w, robot.Command{Delta: d})
			for range 40 {
				step(t, w, robot.Command{})
			}
			e := franka.Diff(franka.Forward(&w.in.Q), w.target)
			// 0.2 Nm of dry friction in each joint, unfavourably added, hold
			// off up to 1.4 Nm at the hand: 0.0089 rad at 150 Nm/rad, measured.
			if norm(e[0], e[1], e[2]) > 0.001 || norm(e[3], e[4], e[5]) > 0.012 {
				t.Errorf("timestep %g, command %v: the hand rests %.2f mm and %.4f rad from its target", dt, d, 1000*norm(e[0], e[1], e[2]), norm(e[3], e[4], e[5]))
			}
		}
	}
}

func TestTargetLeadsByNoMoreThanAllowed(t *testing.T) {
	w := world(t, Config{Render: None})
	reset(t, w, 1)
	before := w.target
	ee := franka.Forward(&w.in.Q)
	obs := step(t, w, robot.Command{Delta: [6]float64{2: 1, 5: 3}, Grip: 7})
	d := franka.Diff(ee, w.target)
	if got := norm(d[0], d[1], d[2]); math.Abs(got-MaxLead) > 1e-9 {
		t.Errorf("the target leads by %g m, want %g", got, MaxLead)
	}
	if got := norm(d[3], d[4], d[5]); math.Abs(got-MaxTurn) > 1e-9 {
		t.Errorf("the target leads by %g rad, want %g", got, MaxTurn)
	}
	if obs.By != robot.ByGuard || obs.Applied.Grip != 1 {
		t.Errorf("applied %v by the %v, want a grip of 1 by the guard", obs.Applied, obs.By)
	}
	left := franka.Diff(franka.Move(before, &obs.Applied.Delta), w.target)
	for i, v := range left {
		if math.Abs(v) > 1e-9 {
			t.Errorf("the reported command misses the target by %g along axis %d", v, i)
		}
	}
}

func TestFingersFollowTheGrip(t *testing.T) {
	w := world(t, Config{Render: None})
	obs := reset(t, w, 1)
	for _, grip := range []float64{1, 0.5, 0} {
		for range 15 {
			obs = step(t, w, robot.Command{Grip: grip})
		}
		if want := grip * HandWidth; math.Abs(obs.State.Grip-want) > 0.002 {
			t.Errorf("the fingers are %g m apart, want %g", obs.State.Grip, want)
		}
	}
}

func TestPushingIsFeltAndQuasiStatic(t *testing.T) {
	w := world(t, Config{Render: None})
	obs := reset(t, w, 1)
	if norm(obs.State.Wrench[0], obs.State.Wrench[1], obs.State.Wrench[2]) != 0 {
		t.Errorf("the wrench is %v before anything is touched", obs.State.Wrench)
	}
	felt := 0.0
	for range 15 {
		obs = step(t, w, robot.Command{Delta: [6]float64{0: 0.01}})
		felt = min(felt, obs.State.Wrench[0])
	}
	// A box of 50 g with friction 0.5 resists with about 0.25 N.
	if felt > -0.1 || felt < -30 {
		t.Errorf("pushing is felt as %g N along x, want a small push back", felt)
	}
	for range 4 {
		step(t, w, robot.Command{})
	}
	at := w.Truth().Bodies[0].Pose.P
	for range 10 {
		step(t, w, robot.Command{})
	}
	if d := dist(at, w.Truth().Bodies[0].Pose.P); d > 0.001 {
		t.Errorf("the box slides on by %.1f mm after the hand has stopped", 1000*d)
	}
}

// record is a digest of everything that an episode shows, per step.
func record(w *World, seed uint64) ([]string, error) {
	ctx := context.Background()
	obs, err := w.ResetSeed(ctx, seed)
	if err != nil {
		return nil, err
	}
	all := []string{digest(obs)}
	for i := range 12 {
		c := robot.Command{Delta: [6]float64{0: 0.0125, 1: 0.004 * math.Sin(float64(i))}, Grip: 0.1}
		if obs, err = w.Step(ctx, c); err != nil {
			return nil, err
		}
		all = append(all, digest(obs))
	}
	return all, nil
}

func TestSeedReproducesAnEpisode(t *testing.T) {
	for _, task := range Tasks() {
		t.Run(string(task), func(t *testing.T) {
			w := world(t, Config{Task: task, Seed: 1})
			want, err := record(w, 42)
			if err != nil {
				t.Fatal(err)
			}
			other, err := record(w, 43)
			if err != nil {
				t.Fatal(err)
			}
			if cmp.Equal(other, want) {
				t.Error("another seed gives the same episode")
			}
			got, err := record(w, 42)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("the second time (-want +got):\n%.2000s", d)
			}
			type result struct {
				steps []string
				err   error
			}
			results := make(chan result)
			for range 3 {
				go func() {
					w, err := New(Config{Task: task, Seed: 99})
					if err != nil {
						results <- result{nil, err}
						return
					}
					defer w.Close()
					steps, err := record(w, 42)
					results <- result{steps, err}
				}()
			}
			for range 3 {
				if r := <-results; r.err != nil {
					t.Error(r.err)
				} else if d := cmp.Diff(want, r.steps); d != "" {
					t.Errorf("in another world (-want +got):\n%.2000s", d)
				}
			}
		})
	}
}

// printed is the environment variable that makes this test binary print a
// digest of an episode, as another process sees it.
const printed = "TABLETOP_PRINT_DIGEST"

func TestSeedReproducesAcrossProcesses(t *testing.T) {
	digests := func() string {
		steps, err := record(world(t, Config{}), 7)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(steps, " ")
	}
	if os.Getenv(printed) != "" {
		if _, err := os.Stdout.WriteString("digest " + digests() + "\n"); err != nil {
			t.Fatal(err)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSeedReproducesAcrossProcesses$")
	cmd.Env = append(os.Environ(), printed+"=1", "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, got, _ := strings.Cut(string(out), "digest ")
	got, _, _ = strings.Cut(got, "\n")
	if want := digests(); got != want {
		t.Errorf("another process gets %q, this one %q", got, want)
	}
}

func TestResetsFollowTheWorldsSeed(t *testing.T) {
	layouts := func(seed uint64) (all [][3]float64) {
		w := world(t, Config{Render: None, Seed: seed})
		for range 5 {
			if _, err := w.Reset(context.Background()); err != nil {
				t.Fatal(err)
			}
			all = append(all, w.Truth().Bodies[0].Pose.P)
		}
		return all
	}
	a, b, c := layouts(1), layouts(1), layouts(2)
	if !cmp.Equal(a, b) {
		t.Errorf("the same seed draws %v and %v", a, b)
	}
	if cmp.Equal(a, c) {
		t.Error("another seed draws the same episodes")
	}
	if a[0] == a[1] {
		t.Error("the second episode repeats the first")
	}
}

func TestStampsCountPeriodsFromTheReset(t *testing.T) {
	w := world(t, Config{})
	for range 2 {
		obs := reset(t, w, 1)
		for i := range 3 {
			want := time.Unix(0, 0).UTC().Add(time.Duration(i) * 50 * time.Millisecond)
			if got := obs.State.Stamp; !got.Equal(want) || got.Location() != time.UTC {
				t.Errorf("step %d is stamped %v, want %v", i, got, want)
			}
			for _, f := range obs.Frames {
				if !f.Stamp.Equal(want) || f.Seq != uint64(i) {
					t.Errorf("step %d: camera %s shows image %d of %v, want %d of %v", i, f.Camera, f.Seq, f.Stamp, i, want)
				}
			}
			obs = step(t, w, robot.Command{})
		}
	}
}

func TestUnstablePhysicsIsAnErrorUntilReset(t *testing.T) {
	w := world(t, Config{Render: None})
	reset(t, w, 1)
	w.data.QVel()[0] = math.NaN()
	_, err := w.Step(context.Background(), robot.Command{})
	var warning *mujoco.WarningError
	if !errors.As(err, &warning) || !errors.Is(err, sim.ErrUnstable) {
		t.Fatalf("error %v, want a mujoco.WarningError that is sim.ErrUnstable", err)
	}
	if _, err := w.Step(context.Background(), robot.Command{}); err == nil {
		t.Error("a step after a failed one succeeded")
	}
	reset(t, w, 1)
	step(t, w, robot.Command{})
}

func TestConfigErrorsNameTheField(t *testing.T) {
	for _, tt := range []struct {
		c    Config
		want string
	}{
		{Config{Task: "juggle"}, "juggle"},
		{Config{Render: "oil"}, "oil"},
		{Config{Timestep: 0.003}, "0.003"},
		{Config{Timestep: -1}, "-1"},
		{Config{Timestep: math.NaN()}, "NaN"},
		{Config{Cameras: []Camera{{"rear", 96, 96}}}, "rear"},
		{Config{Cameras: []Camera{{"front", 0, 96}}}, "0x96"},
		{Config{Cameras: []Camera{{"front", 96, 96}, {"front", 64, 64}}}, "twice"},
	} {
		_, err := New(tt.c)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%+v): error %v, want one that mentions %q", tt.c, err, tt.want)
		}
	}
}
