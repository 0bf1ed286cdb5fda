package tabletop

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// errands are the tasks that are practised both ways.
func errands() []Task { return []Task{Stack, Almonds, Spatula, Cover} }

// newErrand builds a world without eyes and a demonstrator for it.
func newErrand(tb testing.TB, c Config, style Style) (*World, *Demonstrator) {
	tb.Helper()
	if c.Render == "" {
		c.Render = None
	}
	w, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { w.Close() })
	d, err := NewDemonstrator(w, style, 7)
	if err != nil {
		tb.Fatal(err)
	}
	return w, d
}

// errand lets a demonstrator do an episode from obs on and returns how it ended.
func errand(tb testing.TB, w *World, d *Demonstrator, obs robot.Observation) (bool, string) {
	tb.Helper()
	for range w.cfg.Task.Horizon() {
		c := d.Act(obs)
		if n := norm(c.Delta[0], c.Delta[1], c.Delta[2]); n > Speed*(1+1e-12) || c.Grip < 0 || c.Grip > 1 {
			tb.Fatalf("a stride of %g m and a grip of %g", n, c.Grip)
		}
		var err error
		if obs, err = w.Step(context.Background(), c); err != nil {
			tb.Fatal(err)
		}
		if t := w.Truth(); math.IsNaN(t.Distance) || t.Distance < 0 || math.IsNaN(t.Reward) {
			tb.Fatalf("distance %g, reward %g", t.Distance, t.Reward)
		}
	}
	return w.Truth().Success, digest(obs)
}

func start(tb testing.TB, w *World, seed uint64) robot.Observation {
	tb.Helper()
	obs, err := w.ResetSeed(context.Background(), seed)
	if err != nil {
		tb.Fatal(err)
	}
	return obs
}

func turn(tb testing.TB, w *World, way Direction) robot.Observation {
	tb.Helper()
	obs, err := w.Turn(context.Background(), way)
	if err != nil {
		tb.Fatal(err)
	}
	return obs
}

// docs/tasks.md has the figures of 100 seeds; cloth and almonds take too long here.
func TestErrandsSucceedByStyleThereAndBack(t *testing.T) {
	for _, tt := range []struct {
		task  Task
		seeds int
	}{{Stack, 4}, {Almonds, 2}, {Spatula, 4}, {Cover, 1}} {
		t.Run(string(tt.task), func(t *testing.T) {
			t.Parallel()
			w, good := newErrand(t, Config{Task: tt.task}, Good)
			for seed := range uint64(tt.seeds) {
				obs := start(t, w, seed)
				if before := w.Truth(); before.Success || before.Distance < 0.08 {
					t.Errorf("seed %d begins with success %v, %.3f m away", seed, before.Success, before.Distance)
				}
				// 0.05 m is what a simulated person calls good.
				if ok, _ := errand(t, w, good, obs); !ok || w.Truth().Distance > 0.05 {
					t.Errorf("seed %d: not done, %.3f m away", seed, w.Truth().Distance)
				}
				obs = turn(t, w, Backward)
				if w.Truth().Success {
					t.Errorf("seed %d: undone before it is", seed)
				}
				if ok, _ := errand(t, w, good, obs); !ok {
					t.Errorf("seed %d: not undone, %.3f m away", seed, w.Truth().Distance)
				}
			}
		})
		t.Run(string(tt.task)+"/bad", func(t *testing.T) {
			t.Parallel()
			w, bad := newErrand(t, Config{Task: tt.task}, Bad)
			for seed := range uint64(min(tt.seeds, 2)) {
				if ok, _ := errand(t, w, bad, start(t, w, seed)); ok || w.Truth().Distance < 0.05 {
					t.Errorf("seed %d: the bad style ends with success %v, %.3f m away", seed, ok, w.Truth().Distance)
				}
			}
		})
	}
}

// Some way there and back again, without a person, is the same on every world.
func TestPracticeIsReproduced(t *testing.T) {
	for task, ways := range map[Task]int{Stack: 2, Cover: 1} { // cloth takes its time
		t.Run(string(task), func(t *testing.T) {
			t.Parallel()
			var want []string
			for range 2 {
				w, d := newErrand(t, Config{Task: task}, Good)
				var got []string
				obs := start(t, w, 3)
				for _, way := range []Direction{Backward, Forward}[:ways] {
					for range 25 {
						var err error
						if obs, err = w.Step(context.Background(), d.Act(obs)); err != nil {
							t.Fatal(err)
						}
						got = append(got, digest(obs))
					}
					obs = turn(t, w, way)
					got = append(got, digest(obs))
				}
				if want == nil {
					want = got
				} else if !slices.Equal(got, want) {
					t.Errorf("%d observations differ from those of another world", len(got))
				}
				if last := []Direction{Backward, Forward}[ways-1]; w.Direction() != last {
					t.Errorf("the last way is %v, want %v", w.Direction(), last)
				}
			}
		})
	}
}

func TestTurnLeavesThingsAndBringsTheArm(t *testing.T) {
	w, d := newErrand(t, Config{Task: Spatula}, Good)
	errand(t, w, d, start(t, w, 1))
	before := w.Truth().Bodies
	obs := turn(t, w, Backward)
	if !obs.State.Stamp.Equal(w.stamp()) || w.tick != 0 {
		t.Errorf("the stamp is %v at tick %d", obs.State.Stamp, w.tick)
	}
	for i, b := range w.Truth().Bodies {
		if far := dist(b.Pose.P, before[i].Pose.P); far > 0.004 {
			t.Errorf("%s went %.4f m", b.Name, far)
		}
	}
	if far := dist(obs.State.EE.P, Spatula.Start().P); far > 0.006 {
		t.Errorf("the hand is %.4f m from the start", far)
	}
	if start(t, w, 1); w.Direction() != Forward {
		t.Errorf("a reset goes %v", w.Direction())
	}
}

// What a person did before the way back is seen by nobody; what follows is, as if it had been.
func TestAWayBackBeginsAsThoughSomebodyHadWatched(t *testing.T) {
	const seed = 3
	ctx := context.Background()
	cfg := Config{Task: Stack, Render: Raster, Cameras: []Camera{{"front", 48, 48}}}
	w, d := newErrand(t, cfg, Good)
	got, err := w.ResetWay(ctx, seed, Backward)
	if err != nil {
		t.Fatal(err)
	}
	next, err := w.Step(ctx, d.Act(got))
	if err != nil {
		t.Fatal(err)
	}
	watched, _ := newErrand(t, cfg, Good)
	person, err := NewDemonstrator(watched, Good, seed)
	if err != nil {
		t.Fatal(err)
	}
	obs := start(t, watched, seed)
	for range Stack.Horizon() {
		if obs, err = watched.Step(ctx, person.Act(obs)); err != nil {
			t.Fatal(err)
		}
	}
	want := turn(t, watched, Backward)
	if len(got.Frames) != 1 || len(next.Frames) != 1 || next.Frames[0].Seq != 1 || !reflect.DeepEqual(got, want) {
		t.Errorf("%d frames, and %d after a step; the first as watched: %v", len(got.Frames), len(next.Frames), reflect.DeepEqual(got, want))
	}
	if obs := start(t, w, seed); len(obs.Frames) != 1 {
		t.Errorf("%d frames after a reset", len(obs.Frames))
	}
}

func TestTurnRefuses(t *testing.T) {
	w, _ := newErrand(t, Config{Task: Group}, Good)
	for _, tt := range []struct {
		want  string
		way   Direction
		begin bool
	}{{"without a reset", Forward, false}, {"no way back", Backward, true}} {
		if tt.begin {
			start(t, w, 0)
		}
		if _, err := w.Turn(context.Background(), tt.way); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

func TestGuidesLeadFromTheThingToItsPlace(t *testing.T) {
	for _, task := range errands() {
		w, _ := newErrand(t, Config{Task: task}, Good)
		start(t, w, 2)
		for _, way := range []Direction{Forward, Backward} {
			if way == Backward {
				turn(t, w, way)
			}
			g := w.Guide()
			if g.Instruction == "" || len(g.Hand) < 4 || len(g.Hand) != len(g.Steps) || len(g.Object) < 2 {
				t.Errorf("%s %v: %+v", task, way, g)
				continue
			}
			if g.Object[0] != g.Keypoints[0].P {
				t.Errorf("%s %v: the object's way begins at %v, not at %v", task, way, g.Object[0], g.Keypoints[0].P)
			}
			for _, p := range g.Hand {
				if p[0] < 0.20 || p[0] > 0.76 || math.Abs(p[1]) > 0.3 || p[2] < 0 || p[2] > 0.6 {
					t.Errorf("%s %v: the hand's way leaves the room at %v", task, way, p)
				}
			}
		}
	}
	w, _ := newErrand(t, Config{Task: Group}, Good)
	if g := w.Guide(); g.Hand != nil {
		t.Errorf("group has a guide: %+v", g)
	}
}

func TestDisturbancesAreSeenAndLeaveTheTask(t *testing.T) {
	look := func(d Disturb) (robot.Observation, *World) {
		w, _ := newErrand(t, Config{Task: Stack, Seed: 4, Render: Raster, Cameras: []Camera{{"front", 48, 48}}, Disturb: d}, Good)
		return start(t, w, 5), w
	}
	plain, was := look(Disturb{})
	for _, tt := range []struct {
		name string
		d    Disturb
	}{{"camera", Disturb{Camera: 0.05}}, {"turn", Disturb{Turn: 0.05}}, {"light", Disturb{Light: -0.4}}, {"distractors", Disturb{Distractors: 4}}} {
		obs, w := look(tt.d)
		n := 0
		for i, p := range plain.Frames[0].Pix {
			if d := int(p) - int(obs.Frames[0].Pix[i]); d > 12 || d < -12 {
				n++
			}
		}
		if n < len(plain.Frames[0].Pix)/200 {
			t.Errorf("%s: %d numbers of the image differ", tt.name, n)
		}
		if a, b := was.Truth(), w.Truth(); !slices.Equal(a.Bodies, b.Bodies[:2]) || a.Distance != b.Distance {
			t.Errorf("%s: the task is another: %+v and %+v", tt.name, a, b)
		}
		calibrated, err := was.Lens("front")
		if err != nil {
			t.Fatal(err)
		}
		l, err := w.Lens("front")
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range franka.Diff(l.Pose, calibrated.Pose) {
			if math.Abs(off) > 1e-5 {
				t.Errorf("%s: calibration has the camera at %+v, want %+v, where it was", tt.name, l.Pose, calibrated.Pose)
				break
			}
		}
	}
	_, err := New(Config{Disturb: Disturb{Camera: 1, Turn: 1, Light: 2, Distractors: -1}})
	for _, want := range []string{"1 m", "1 rad", "share of 2", "-1 distractors"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// BenchmarkErrand is the physics of a demonstrator's episodes.
func BenchmarkErrand(b *testing.B) {
	for _, task := range errands() {
		b.Run(fmt.Sprintf("%s/none", task), func(b *testing.B) {
			w, d := newErrand(b, Config{Task: task}, Good)
			b.ReportAllocs()
			before := cpu(b)
			var obs robot.Observation
			for i := 0; b.Loop(); i++ {
				var err error
				if i%task.Horizon() == 0 {
					obs, err = w.ResetSeed(context.Background(), uint64(i))
				} else {
					obs, err = w.Step(context.Background(), d.Act(obs))
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/(cpu(b)-before), "cpu/s")
		})
	}
}
