package wire

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// An arm that would begin where nobody demonstrated is refused along an axis that its policy does not
// move, before there is a folder, and told of along others.
func TestAnArmBeginsWhereItWasDemonstrated(t *testing.T) {
	c := tiny(t)
	first := filepath.Join(c.Out, "first")
	c.Policy.Axes = []string{"x", "y"}
	st, err := founded(first, c)
	if err != nil {
		t.Fatal(err)
	}
	down := franka.Mul(franka.Exp([3]float64{0, 0, 0.5}), [4]float64{0, 1, 0, 0})
	for i, at := range [][3]float64{{0.34, 0, 0.03}, {0.342, 0, 0.0301}, {0.40, 0, 0.0299}} {
		e := motionless(fmt.Sprintf("demo-%05d", i))
		e.Seq = uint64(i)
		if i == 2 { // whose place is nobody's to begin at
			e.ID, e.Origin, at[2] = episodeID(0), policy.Online, 0.25
		}
		for j := range e.Inputs {
			e.Inputs[j].State.EE = robot.Pose{P: at, Q: down}
		}
		if _, err := st.AddEpisode(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	c.Robot.Kind, c.Name, c.Session.From = "ros", "second", first
	for _, tt := range []struct {
		set       []string
		far, want string // "" for nothing
	}{
		{set: nil, want: "never moves the hand along z (policy.axes); want --set 'robot.ros.start.at=[0.342, 0, 0.03]'"},
		{set: []string{"robot.ros.start.at=[0.34, 0.1, 0.25]"}, want: "--set 'robot.ros.start.at=[0.34, 0, 0.03]'"},
		{set: []string{"robot.ros.start.at=[0.34, 0, 0.045]", "robot.ros.start.yaw=0.45"}},
		{set: []string{"robot.ros.start.at=[0.34, 0, 0.25]", "robot.ros.start.yaw=0.5", "robot.ros.start.tolerance=0.3"}},
		{set: []string{"robot.ros.start.at=[0.40, 0, 0.03]", "robot.ros.start.yaw=0.5"}, far: "but the demonstrations of " + first + " begin at [0.342, 0, 0.03] m, and the policy was not shown"},
		{set: []string{"robot.ros.start.at=[0.34, 0, 0.03]"}, far: "--set robot.ros.start.yaw=0.5 "},
		{set: []string{"robot.kind=sim"}},
	} {
		c := c
		set(t, &c, tt.set...)
		far, err := starts(c)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.set, err, tt.want)
		}
		if (far == "") != (tt.far == "") || !strings.Contains(far, tt.far) {
			t.Errorf("%v: it is told %q, want %q", tt.set, far, tt.far)
		}
		if tt.want == "" {
			continue
		}
		_, err = Create(t.Context(), c, quietly())
		wantErr(t, err, tt.want)
		if there(filepath.Join(c.Out, c.Name)) {
			t.Error("a folder is left")
		}
	}
	set(t, &c, "robot.ros.start.at=[0.40, 0, 0.03]", "robot.ros.start.yaw=0.5")
	if fs := examineSession(t.Context(), c, quietly()); fs[0].Err != nil || !strings.Contains(fs[0].Detail, "was not shown the way there") {
		t.Errorf("the doctor finds %+v", fs)
	}
}

// A reward that an arm or recordings cannot have is refused of this session and of the one that it
// begins from alike: what is wanted in its place is another session.
func TestARewardThatCannotBeHereWantsAnotherSession(t *testing.T) {
	for kind, sets := range map[string][]string{
		"bag": {"reward.kind=kagi"},
		"ros": {"reward.kind=truth"},
	} {
		c := tiny(t)
		first := filepath.Join(c.Out, "first")
		set(t, &c, sets...)
		st, err := founded(first, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		c.Name, c.Robot.Kind, c.Session.From, c.Robot.Bag.Files = "second", kind, first, []string{"a.bag"}
		wantErr(t, c.Validate(), "want rapl, and as session.from a session whose reward is so")
		c.Reward = tiny(t).Reward // as was asked for
		set(t, &c)
		_, err = Create(t.Context(), c, quietly())
		wantErr(t, err, sets[0][len("reward.kind="):]+", but robot.kind is "+kind, "want another session, whose reward may be one here")
		if err != nil && strings.Contains(err.Error(), "--set") {
			t.Errorf("%s: %v names a setting that is refused", kind, err)
		}
	}
}
