package dataset

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy/dataset/table"
)

func col(name string, width int, names ...string) table.Column {
	return table.Column{Name: name, Kind: "float32", Shape: []int{width}, Names: names}
}

func TestGuessKnowsNamesInWideUse(t *testing.T) {
	joints := func(prefix, suffix string, first int) (ns []string) {
		for i := range 7 {
			ns = append(ns, fmt.Sprint(prefix, first+i, suffix))
		}
		return ns
	}
	for _, tt := range []struct {
		name     string
		in       Info
		want     Map
		problems string // fields, ! for what must be set
	}{
		{"HIL-SERL", Info{Format: "LeRobot", Columns: []table.Column{
			col("action", 7, "delta_x", "delta_y", "delta_z", "delta_roll", "delta_pitch", "delta_yaw", "gripper"),
			col("next.done", 1), col("next.reward", 1), col("observation.state.gripper_pose", 1),
			col("observation.state.tcp_force", 3), col("observation.state.tcp_pose", 7), col("observation.state.tcp_vel", 6)},
			Cameras: []table.Camera{{Name: "observation.images.wrist_1"}}},
			Map{Position: "observation.state.tcp_pose[0:3]", Rotation: "observation.state.tcp_pose[3:7]", RotationAs: XYZW, Grip: "observation.state.gripper_pose", GripScale: 0.08,
				Action: Action{Position: "action[0:3]", Rotation: "action[3:6]", RotationAs: Euler, Grip: "action[6]", Open: 1},
				Reward: "next.reward", Done: "next.done", Cameras: []Camera{{Key: "observation.images.wrist_1", Name: "wrist_1"}}},
			"grip_scale rotation_as action.scale! action.grip"},
		{"LeRobot HIL-SERL arm", Info{Format: "LeRobot", Columns: []table.Column{col("action", 4, "delta_x_ee", "delta_y_ee", "delta_z_ee", "gripper"),
			col("complementary_info.is_intervention", 1), col("observation.state", 10, append(joints("joint_", ".pos", 1), "ee.x", "ee.y", "ee.z")...)}},
			Map{Joints: "observation.state[0:7]", Human: "complementary_info.is_intervention",
				Action: Action{Position: "action[0:3]", RotationAs: RotVec, Grip: "action[3]", Open: 1}},
			"action.scale! action.grip"},
		{"poses", Info{Format: "LeRobot", Columns: []table.Column{col("action", 8, "x", "y", "z", "qx", "qy", "qz", "qw", "gripper_width"),
			col("next.success", 1), col("next.truncated", 1), col("observation.state", 8, "x", "y", "z", "qw", "qx", "qy", "qz", "gripper_width")}},
			Map{Position: "observation.state[0:3]", Rotation: "observation.state[4,5,6,3]", RotationAs: XYZW, Grip: "observation.state[7]", GripScale: 1,
				Action:  Action{Absolute: true, Position: "action[0:3]", Rotation: "action[3:7]", RotationAs: XYZW, Grip: "action[7]", Open: 0.08},
				Success: "next.success", Truncated: "next.truncated"},
			"action.absolute action.grip"},
		{"angles", Info{Format: "LeRobot", Columns: []table.Column{col("action", 7, "ee.x", "ee.y", "ee.z", "ee.roll", "ee.pitch", "ee.yaw", "gripper.pos"),
			col("observation.state", 9, "ee.x", "ee.y", "ee.z", "ee.roll", "ee.pitch", "ee.yaw", "vel.x", "gripper.pos", "force_z")}},
			Map{Position: "observation.state[0:3]", Rotation: "observation.state[3:6]", RotationAs: Euler, Grip: "observation.state[7]", GripScale: 1,
				Action: Action{Absolute: true, Position: "action[0:3]", Rotation: "action[3:6]", RotationAs: Euler, Grip: "action[6]", Open: 1}},
			"grip_scale action.absolute action.grip"},
		{"joints", Info{Format: "LeRobot", Columns: []table.Column{col("action", 8, append(joints("panda_joint", "", 1), "gripper")...),
			col("observation.state", 8, append(joints("joint_", "", 0), "gripper")...)}},
			Map{Joints: "observation.state[0:7]", Grip: "observation.state[7]", GripScale: 1,
				Action: Action{Absolute: true, Joints: "action[0:7]", Grip: "action[7]", Open: 1}},
			"grip_scale action.joints action.grip"},
		{"no names", Info{Format: "LeRobot", Columns: []table.Column{col("action", 7), col("observation.state", 8)}}, Map{}, "position! action.position!"},
		{"two arms", Info{Format: "LeRobot", Columns: []table.Column{col("action", 6, "left.x", "left.y", "left.z", "right.x", "right.y", "right.z")}}, Map{}, "position! action.position!"},
		{"robosuite, absolute", Info{Format: "robomimic", Control: table.Control{Kind: "OSC_POSE", Absolute: true, Scale: 0.05, Turn: 0.5},
			Columns: []table.Column{col("actions", 7), col("obs/robot0_eef_pos", 3), col("obs/robot0_eef_quat", 4)}},
			Map{Position: "obs/robot0_eef_pos", Rotation: "obs/robot0_eef_quat", RotationAs: XYZW,
				Action: Action{Absolute: true, Position: "actions[0:3]", Rotation: "actions[3:6]", RotationAs: RotVec, Grip: "actions[6]", Open: -1, Closed: 1}},
			"base"},
		{"another controller", Info{Format: "robomimic", Control: table.Control{Kind: "JOINT_VELOCITY"},
			Columns: []table.Column{col("actions", 7), col("obs/robot0_joint_pos", 7)}}, Map{Joints: "obs/robot0_joint_pos"}, "action action.position!"},
	} {
		got, problems := Guess(tt.in)
		if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", tt.want); a != b {
			t.Errorf("%s: got\n%s, want\n%s", tt.name, a, b)
		}
		var fields []string
		for _, p := range problems {
			if p.Fatal {
				p.Field += "!"
			}
			fields = append(fields, p.Field)
		}
		if s := strings.Join(fields, " "); s != tt.problems {
			t.Errorf("%s: problems with %s, want %s", tt.name, s, tt.problems)
		}
	}
}

func TestWhatIsGivenGoesBeforeAGuess(t *testing.T) {
	guess := Map{Position: "p", Rotation: "r", RotationAs: XYZW, Joints: "q", Grip: "g", GripScale: 1, Reward: "w",
		Action: Action{Position: "a[0:3]", Rotation: "a[3:6]", RotationAs: RotVec, Scale: 0.05, TurnScale: 0.5, Grip: "a[6]", Open: -1, Closed: 1}, Cameras: []Camera{{Key: "c", Name: "c"}}}
	for _, tt := range []struct {
		name  string
		given Map
		want  func(m *Map)
	}{
		{"nothing", Map{}, func(*Map) {}},
		{"a scale", Map{Action: Action{Scale: 0.01}}, func(m *Map) { m.Action.Scale = 0.01 }},
		{"how the hand is written", Map{GripScale: 0.08, Action: Action{Open: 1, Hold: true}}, func(m *Map) { m.GripScale, m.Action.Open, m.Action.Closed, m.Action.Hold = 0.08, 1, 0, true }},
		{"another pose", Map{Position: "x", Rotation: "y", RotationAs: Euler}, func(m *Map) { m.Position, m.Rotation, m.RotationAs = "x", "y", Euler }},
		{"joints alone", Map{Joints: "j"}, func(m *Map) { m.Position, m.Rotation, m.RotationAs, m.Joints = "", "", "", "j" }},
		{"another action", Map{Action: Action{Position: "b"}}, func(m *Map) { m.Action = Action{Position: "b"} }},
		{"cameras", Map{Cameras: []Camera{{Key: "d", Name: "e"}}}, func(m *Map) { m.Cameras = []Camera{{Key: "d", Name: "e"}} }},
	} {
		want := guess
		tt.want(&want)
		if a, b := fmt.Sprintf("%+v", tt.given.over(guess)), fmt.Sprintf("%+v", want); a != b {
			t.Errorf("%s: got\n%s, want\n%s", tt.name, a, b)
		}
	}
}

func FuzzColumns(f *testing.F) {
	for _, s := range []string{"observation.state[0:3]", "a[x,y]+b", "[", "a[:]", "a[1:]+", "a[9999999999999999999]"} {
		f.Add(s)
	}
	in := Info{Columns: []table.Column{col("observation.state", 5), col("a", 2, "x", "y"), col("b", 1)}}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := resolve("position", Columns(s), in, 1, 2, 3)
		if err != nil || s == "" {
			return
		}
		if n := r.width(); n < 1 || n > 3 {
			t.Errorf("%q has %d numbers", s, n)
		}
		for _, p := range r.parts {
			for _, i := range p.at {
				if i < 0 || i >= p.width {
					t.Errorf("%q takes number %d of %d", s, i, p.width)
				}
			}
		}
	})
}
