package tabletop

import (
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/person"
)

func styledTasks() []Task { return []Task{Cup, Chips, Fork} }

// docs/tasks.md has the figures of 100 seeds.
func TestBothStylesDoTheTaskAndTheTruthTellsThemApart(t *testing.T) {
	for _, task := range styledTasks() {
		t.Run(string(task), func(t *testing.T) {
			t.Parallel()
			var clips [2][]sim.Truth
			for k, style := range []Style{Good, Bad} {
				w, d := newErrand(t, Config{Task: task}, style)
				for seed := range uint64(2) {
					obs := start(t, w, seed)
					before := w.Truth()
					if before.Success || before.Preferred || before.Undesired || before.Grasp != "" {
						t.Errorf("seed %d begins with %+v", seed, before)
					}
					ok, _ := errand(t, w, d, obs)
					end := w.Truth()
					if !ok || end.Preferred != (style == Good) || end.Undesired != (style == Bad) {
						t.Errorf("%s, seed %d ends with %+v", style, seed, end)
					}
					if end.Grasp != w.layout.parts[k].name {
						t.Errorf("%s, seed %d: taken by the %q, want %q", style, seed, end.Grasp, w.layout.parts[k].name)
					}
					clips[k] = []sim.Truth{before, end}
				}
			}
			ranked(t, clips[0], clips[1], clips[0][:1])
		})
	}
}

// ranked wants a person who never errs to prefer earlier clips to later ones, to
// like the first alone, and not to tell clips of a kind apart.
func ranked(t *testing.T, clips ...[]sim.Truth) {
	t.Helper()
	p := person.New(rand.NewPCG(1, 2), 0)
	for i, a := range clips {
		if got := p.Prefers(a, a); got != 0 {
			t.Errorf("clip %d is preferred to its like: %d", i, got)
		}
		if good := person.Rate(a) == person.Positive; good != (i == 0) {
			t.Errorf("clip %d is rated %v", i, person.Rate(a))
		}
		for j, b := range clips[i+1:] {
			if got := p.Prefers(a, b); got != 1 {
				t.Errorf("clip %d to clip %d: %d, want 1", i, i+1+j, got)
			}
		}
	}
}

// What is weighed is the past alone: every combination, by hand.
func TestPeopleRankStylesOverFailures(t *testing.T) {
	w, _ := newErrand(t, Config{Task: Cup}, Good)
	end := func(success, undesired bool, grasp string, level float64) []sim.Truth {
		w.past = past{grasp: grasp, undesired: undesired}
		x := sim.Truth{Success: success}
		w.weigh(&x, level)
		if x.Preferred && x.Undesired {
			t.Errorf("both: %+v", x)
		}
		return []sim.Truth{x}
	}
	ranked(t,
		end(true, false, "handle", 0.03),
		end(true, true, "wall", 0.001),
		end(false, false, "handle", 0.05),
		end(false, false, "", 0.18),
		end(false, true, "wall", 0.18),
	)
	if x := end(true, false, "", 0)[0]; x.Preferred || x.Distance != Dislike {
		t.Errorf("pushed there without a grasp: %+v", x)
	}
	if x := end(true, true, "handle", 0)[0]; x.Preferred || x.Distance != Dislike {
		t.Errorf("taken well after a finger was in it: %+v", x)
	}
}

// Things that are put by hand have no past: success goes by where they are.
func TestTruthOfStagedThings(t *testing.T) {
	for _, tt := range []struct {
		name    string
		task    Task
		at      func(to robot.Pose) [3]float64
		success bool
	}{
		{"cup on the coaster", Cup, func(to robot.Pose) [3]float64 { return [3]float64{to.P[0] + 0.03, to.P[1], 0} }, true},
		{"cup beside it", Cup, func(to robot.Pose) [3]float64 { return [3]float64{to.P[0] + 0.045, to.P[1], 0} }, false},
		{"cup above it", Cup, func(to robot.Pose) [3]float64 { return [3]float64{to.P[0], to.P[1], 0.02} }, false},
		{"bag in the zone", Chips, func(to robot.Pose) [3]float64 { return [3]float64{to.P[0], to.P[1] - 0.03, 0} }, true},
		{"bag outside", Chips, func(to robot.Pose) [3]float64 { return [3]float64{to.P[0], to.P[1] - 0.06, 0} }, false},
		{"fork in the bowl", Fork, func(to robot.Pose) [3]float64 { return [3]float64{to.P[0], to.P[1], forkHigh} }, true},
		{"fork before the bowl", Fork, func(to robot.Pose) [3]float64 { return [3]float64{to.P[0], to.P[1] - 0.11, forkHigh} }, false},
	} {
		w, _ := newErrand(t, Config{Task: tt.task}, Good)
		start(t, w, 1)
		thing := w.Objects()[0]
		if err := w.Stage(thing, tt.at(w.Truth().Bodies[1].Pose)); err != nil {
			t.Fatal(err)
		}
		x := w.Truth()
		if x.Success != tt.success || x.Preferred || x.Undesired {
			t.Errorf("%s: %+v", tt.name, x)
		}
	}
}

// A hand in the cup, squeezed cheeks, and a fork that was lifted and lies outside.
func TestUndesiredThingsAreSeen(t *testing.T) {
	w, _ := newErrand(t, Config{Task: Cup}, Good)
	start(t, w, 1)
	cup := w.Truth().Bodies[0].Pose.P
	for _, tt := range []struct {
		y, z float64
		want bool
	}{{cupRadius, 0.05, true}, {cupRadius, 0.085, false}, {-cupRadius - 0.07, 0.03, false}} {
		// The hand is open: its fingers are 5 cm to both sides.
		if err := w.Stage(Tool, [3]float64{cup[0], cup[1] + tt.y, tt.z}); err != nil {
			t.Fatal(err)
		}
		if got := w.Truth().Undesired; got != tt.want {
			t.Errorf("hand %.3f m aside and %.3f m high: undesired %v", tt.y, tt.z, got)
		}
	}

	w, _ = newErrand(t, Config{Task: Chips}, Good)
	start(t, w, 1)
	for _, q := range []float64{squeezed - 0.001, squeezed + 0.001} {
		w.data.QPos()[w.id.springs[1]] = q
		w.look(robot.Command{})
		if got := w.Truth().Undesired; got != (q > squeezed) {
			t.Errorf("a side is %.3f m in: undesired %v", q, got)
		}
	}

	w, _ = newErrand(t, Config{Task: Fork}, Good)
	start(t, w, 1)
	for _, lifted := range []bool{false, true} {
		w.past.lifted = lifted
		w.look(robot.Command{})
		if got := w.Truth().Undesired; got != lifted {
			t.Errorf("on the table, lifted before %v: undesired %v", lifted, got)
		}
	}
}

func TestStylesAreReproduced(t *testing.T) {
	for _, task := range styledTasks() {
		var want string
		for range 2 {
			w, d := newErrand(t, Config{Task: task}, Bad)
			_, got := errand(t, w, d, start(t, w, 5))
			if want == "" {
				want = got
			} else if got != want {
				t.Errorf("%s: two worlds end differently", task)
			}
		}
	}
	if Group.Styled() || !Fork.Styled() || Task("tea").Styled() {
		t.Error("Styled is wrong of group, fork or tea")
	}
}
