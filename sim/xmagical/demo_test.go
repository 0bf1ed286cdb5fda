package xmagical_test

import (
	"fmt"
	"testing"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/person"
	"github.com/rapport-rl/rapport/sim/xmagical"
)

// demonstrate gives the truth at the end of an episode.
func demonstrate(t *testing.T, w *xmagical.World, s xmagical.Style, seed uint64) sim.Truth {
	t.Helper()
	d, err := xmagical.NewDemonstrator(w, s, seed)
	if err != nil {
		t.Fatal(err)
	}
	obs, err := w.ResetSeed(t.Context(), seed)
	if err != nil {
		t.Fatal(err)
	}
	for range w.Horizon() {
		if obs, err = w.Step(t.Context(), d.Act(obs)); err != nil {
			t.Fatal(err)
		}
		if obs.By == robot.ByGuard {
			t.Fatalf("the demonstrator asks for more than the robot can: applied %v", obs.Applied)
		}
	}
	return w.Truth()
}

func TestDemonstratorsShowWhatPeopleLikeAndWhatNot(t *testing.T) {
	const n = 6
	for _, task := range xmagical.Tasks() {
		for _, e := range xmagical.Embodiments() {
			t.Run(fmt.Sprintf("%s %s", task, e), func(t *testing.T) {
				t.Parallel()
				w := open(t, xmagical.Config{Task: task, Embodiment: e, Cameras: []xmagical.Camera{}})
				won, liked := 0, 0
				for seed := range uint64(n) {
					end := demonstrate(t, w, xmagical.Good, seed)
					if end.Success {
						won++
					}
					if person.Rate([]sim.Truth{end}) == person.Positive {
						liked++
					}
					if bad := demonstrate(t, w, xmagical.Bad, seed); bad.Success || person.Rate([]sim.Truth{bad}) != person.Negative {
						t.Errorf("seed %d: the bad style ends with distance %.3f, success %v", seed, bad.Distance, bad.Success)
					}
				}
				want := n - 1
				if task == xmagical.Sweep && e == xmagical.Gripper {
					want = n / 2 // three ways and a hundred periods are tight for it
				}
				if won < want || liked < want {
					t.Errorf("success %d, liked %d of %d, want at least %d", won, liked, n, want)
				}
			})
		}
	}
}
