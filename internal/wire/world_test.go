package wire

import (
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/robottest"
)

func flatConfig(t *testing.T, sets ...string) config.Config {
	t.Helper()
	c, err := config.Load("", nil, append([]string{"robot.world=xmagical", "robot.cameras=[{name: top, width: 32, height: 32}]"}, sets...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFlatWorldBehindTheGuardIsABackend(t *testing.T) {
	robottest.TestBackend(t, func(t *testing.T) robot.Backend {
		a, err := newArm(flatConfig(t), online)
		if err != nil {
			t.Fatal(err)
		}
		return a.guard
	})
}

// The guard bounds what is asked for, and is not in the way of who asks for what the
// robot can do.
func TestGuardOfTheFlatWorld(t *testing.T) {
	for _, body := range []string{"short", "medium", "long", "gripper"} {
		c := flatConfig(t, "robot.embodiment="+body, "robot.task=group")
		a, err := newArm(c, demonstrations)
		if err != nil {
			t.Fatal(err)
		}
		defer a.close()
		obs, err := a.guard.Reset(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		who, err := newDemonstrator(a.world, true, 1)
		if err != nil {
			t.Fatal(err)
		}
		for range c.Robot.Horizon {
			if obs, err = a.guard.Step(t.Context(), who.Act(obs)); err != nil {
				t.Fatal(err)
			}
		}
		if n := a.guard.Counts(); n.Clipped+n.Scaled+n.Held+n.Faults > 0 || !a.world.Truth().Success {
			t.Errorf("%s: the guard counts %+v, success %v", body, n, a.world.Truth().Success)
		}
		if obs, err = a.guard.Step(t.Context(), robot.Command{Delta: [6]float64{0: 0.5}}); err != nil {
			t.Fatal(err)
		}
		if obs.By != robot.ByGuard || obs.Applied.Delta[0] > 0.1 {
			t.Errorf("%s: 4 m/s were asked for, applied %v by the %v", body, obs.Applied, obs.By)
		}
	}
}

func TestFlatWorldIsDemonstratedAndFilmed(t *testing.T) {
	c := flatConfig(t, "robot.task=avoid", "demos.good=2", "demos.bad=2", "reward.experts=2", "robot.horizon=80")
	demos, err := collect(t.Context(), c, func(string, int, int, string) {})
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range demos {
		end := d.truth[len(d.truth)-1]
		if end.Success != (i < 2) {
			t.Errorf("demonstration %d ends with success %v", i, end.Success)
		}
		if len(d.frames) != 81 || len(d.frames[0]) != 1 {
			t.Errorf("demonstration %d has %d ticks of %d frames", i, len(d.frames), len(d.frames[0]))
		}
	}
	if jpeg, err := Picture(t.Context(), c, 5, 64, 64); err != nil || len(jpeg) < 500 {
		t.Errorf("a picture of %d bytes, %v", len(jpeg), err)
	}
}
