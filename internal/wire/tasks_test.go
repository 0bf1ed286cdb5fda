package wire

import (
	"testing"

	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// The configuration does not know the simulator, so that this holds the two together.
func TestConfigurationKnowsTheTabletopsTasks(t *testing.T) {
	names := config.TabletopTasks()
	if len(names) != len(tabletop.Tasks()) {
		t.Fatalf("robot.task takes %v, but the tasks are %v", names, tabletop.Tasks())
	}
	for i, task := range tabletop.Tasks() {
		if names[i] != string(task) {
			t.Errorf("task %d is %s in the configuration, and %s", i, names[i], task)
		}
		c, err := config.Load("", nil, []string{"robot.task=" + string(task)})
		if err != nil {
			t.Errorf("%s: %v", task, err)
			continue
		}
		if c.Robot.Horizon != task.Horizon() {
			t.Errorf("%s: horizon %d, want %d", task, c.Robot.Horizon, task.Horizon())
		}
	}
}

func TestOnlyEvaluationIsDisturbed(t *testing.T) {
	c, err := config.Load("", nil, []string{"robot.render=raster", "robot.disturb.distractors=2"})
	if err != nil {
		t.Fatal(err)
	}
	for of, want := range map[stream]int{online: 2, evaluation: 4} {
		a, err := newArm(c, of)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(a.world.(*tabletop.World).Objects()); got != want {
			t.Errorf("stream %d has %d objects, want %d", of, got, want)
		}
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}
}
