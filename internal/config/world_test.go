package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/config"
)

func TestWorldBringsItsDefaults(t *testing.T) {
	c, err := config.Load("", nil, []string{"robot.world=xmagical", "robot.task=sweep"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Robot.Horizon != 100 || c.Policy.Scale != 0.1 || c.Guard.Speed != 0.8 || c.Guard.Workspace.Min[0] != -1.1 {
		t.Errorf("horizon %d, scale %g, speed %g, workspace %v", c.Robot.Horizon, c.Policy.Scale, c.Guard.Speed, c.Guard.Workspace)
	}
	if d := cmp.Diff([]string{"x", "rz"}, c.Policy.Axes); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]config.Camera{{Name: "top", Width: 96, Height: 96}}, c.Robot.Cameras); d != "" {
		t.Error(d)
	}
	b, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.Load(write(t, string(b)), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c, again); d != "" {
		t.Errorf("read again it is another: %s", d)
	}
}

func TestWorldLeavesWhatTheUserSet(t *testing.T) {
	c, err := config.Load("", nil, []string{"robot.world=xmagical", "robot.embodiment=gripper", "robot.horizon=70", "policy.scale=0.05",
		"robot.cameras=[{name: top, width: 64, height: 64}]"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Robot.Horizon != 70 || c.Policy.Scale != 0.05 || c.Robot.Cameras[0].Width != 64 || len(c.Policy.Axes) != 3 {
		t.Errorf("horizon %d, scale %g, cameras %v, axes %v", c.Robot.Horizon, c.Policy.Scale, c.Robot.Cameras, c.Policy.Axes)
	}
	long, err := config.Load("", nil, []string{"robot.world=xmagical", "robot.embodiment=long"})
	if err != nil {
		t.Fatal(err)
	}
	if long.Robot.Horizon != 50 {
		t.Errorf("a long stick has %d ticks, want 50", long.Robot.Horizon)
	}
}

func TestWorldsKnowTheirTasks(t *testing.T) {
	for _, tt := range []struct {
		sets []string
		want string
	}{
		{[]string{"robot.task=sweep"}, `robot.task is "sweep"; want one of reach, group, clutter`},
		{[]string{"robot.world=xmagical", "robot.task=reach"}, "want one of sweep, avoid, group"},
		{[]string{"robot.world=moon"}, "want one of tabletop, xmagical"},
		{[]string{"robot.embodiment=snake"}, "want one of short, medium, long, gripper"},
		{[]string{"robot.layout=any"}, "want one of test, demo"},
		{[]string{"robot.world=xmagical", "robot.kind=ros"}, "want robot.kind sim"},
		{[]string{"robot.world=xmagical", "robot.cameras=[{name: wrist, width: 64, height: 64}]"}, "want one of top"},
	} {
		_, err := config.Load("", nil, tt.sets)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: error %v, want %q", tt.sets, err, tt.want)
		}
	}
}
