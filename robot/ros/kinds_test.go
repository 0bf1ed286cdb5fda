package ros_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/controllers"
	"github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/gripper"
	"github.com/rapport-rl/rapport/robot/ros/msgs/reconfigure"
	"github.com/rapport-rl/rapport/robot/ros/msgs/robotiq"
	"github.com/rapport-rl/rapport/robot/ros/msgs/serl"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/robot/ros/tcpros"
)

// sample is a message with what goes with it on the wire.
type sample struct {
	kind    tcpros.Kind
	payload []byte
}

func sampleOf[T any](t *testing.T, m T) sample {
	t.Helper()
	k, err := tcpros.KindOf[T]()
	if err != nil {
		t.Fatal(err)
	}
	b, err := tcpros.Append(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	return sample{k, b}
}

// goalOf is the sample of an action's goal as its client publishes it.
func goalOf[G, F, R any](t *testing.T, uri string, goal G) sample {
	t.Helper()
	n := node(t, uri, "client")
	act := must(ros.Act[G, F, R](n, "~act"))(t)
	t.Cleanup(func() { act.Close() })
	got := make(chan ros.Raw, 1)
	must(ros.SubscribeRaw(node(t, uri, "ear"), n.Resolve("~act")+"/goal", func(r ros.Raw) { got <- r }))(t)
	if err := act.WaitServer(canceled()); err == nil {
		t.Fatal("a server is heard where none is")
	}
	for ctx := soon(t); ; {
		act.Send(&goal, nil)
		select {
		case r := <-got:
			return sample{tcpros.Kind{Type: r.Type, MD5: r.MD5, Definition: r.Definition}, r.Payload}
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the goal does not come")
		}
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// ROS's own generator takes our definitions for what they are: it computes the
// same checksums and reads the messages that we write. Bags keep definitions,
// and tools read them so.
func TestDefinitionsAreReadByROSsGenerator(t *testing.T) {
	t.Parallel()
	uri := graph(t)
	now := std.Header{Seq: 3, Stamp: time.Unix(5, 6), FrameId: "é"}
	state := franka.FrankaState{Header: now, Q: [7]float64{1, 2}, RobotMode: franka.Reflex}
	state.CurrentErrors.JointReflex = true
	samples := []sample{
		sampleOf(t, state),
		sampleOf(t, franka.SetLoadReq{Mass: 1}),
		sampleOf(t, franka.SetFullCollisionBehaviorReq{}),
		sampleOf(t, serl.ZeroJacobian{ZeroJacobian: [42]float64{41: 1}}),
		sampleOf(t, reconfigure.Config{Doubles: []reconfigure.DoubleParameter{{Name: "k", Value: 2000}}}),
		sampleOf(t, reconfigure.ConfigDescription{Groups: []reconfigure.Group{{Name: "g", Parameters: []reconfigure.ParamDescription{{Name: "k"}}}}}),
		sampleOf(t, controllers.ListControllersRes{Controller: []controllers.ControllerState{{Name: "c", ClaimedResources: []controllers.HardwareInterfaceResources{{Resources: []string{"j"}}}}}}),
		sampleOf(t, controllers.SwitchControllerReq{StartControllers: []string{"c"}, Strictness: controllers.Strict, Timeout: 1}),
		sampleOf(t, robotiq.Output{Position: 255}),
		sampleOf(t, robotiq.Input{Object: 2}),
		sampleOf(t, std.Image{Header: now, Encoding: "rgb8", Data: []byte{1, 2, 3}}),
		sampleOf(t, std.CameraInfo{Header: now, D: []float64{1}}),
		sampleOf(t, std.JointState{Header: now, Name: []string{"a"}, Position: []float64{1}}),
		sampleOf(t, std.TFMessage{Transforms: []std.TransformStamped{{Header: now}}}),
		sampleOf(t, std.GoalStatusArray{Header: now, StatusList: []std.GoalStatus{{Status: 3, Text: "x"}}}),
		goalOf[franka.ErrorRecoveryGoal, franka.ErrorRecoveryFeedback, franka.ErrorRecoveryResult](t, uri, franka.ErrorRecoveryGoal{}),
		goalOf[gripper.MoveGoal, gripper.MoveFeedback, gripper.MoveResult](t, uri, gripper.MoveGoal{Width: 0.08}),
		goalOf[gripper.GraspGoal, gripper.GraspFeedback, gripper.GraspResult](t, uri, gripper.GraspGoal{Epsilon: gripper.GraspEpsilon{Inner: 0.01}, Force: 20}),
		goalOf[std.GripperCommandGoal, std.GripperCommandFeedback, std.GripperCommandResult](t, uri, std.GripperCommandGoal{Command: std.GripperCommand{Position: 1}}),
	}
	known := map[string]string{
		"franka_msgs/ErrorRecoveryActionGoal":   "4b30be6cd12b9e72826df56b481f40e0",
		"franka_gripper/MoveActionGoal":         "f8907a1e7bb902f2e4c7db8e1cf3d24f",
		"franka_gripper/GraspActionGoal":        "7bd1a6e7f94ef15bb6dd05cb170e7909",
		"control_msgs/GripperCommandActionGoal": "aa581f648a35ed681db2ec0bf7a82bea",
	}
	var lines strings.Builder
	for _, s := range samples {
		fmt.Fprintf(&lines, "%x,%x,%x\n", s.kind.Type, s.kind.Definition, s.payload)
		if want := known[s.kind.Type]; want != "" && s.kind.MD5 != want {
			t.Errorf("%s has checksum %s, want %s", s.kind.Type, s.kind.MD5, want)
		}
		delete(known, s.kind.Type)
	}
	if len(known) > 0 {
		t.Errorf("goals of other types than %v", known)
	}
	file := filepath.Join(t.TempDir(), "kinds")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := peer(t, uri, "kinds", file)
	for _, s := range samples {
		if got, want := p.expect("kind"), fmt.Sprintf("%s %s True", s.kind.Type, s.kind.MD5); got != want {
			t.Errorf("ROS's generator says %s, want %s; the definition is\n%s", got, want, s.kind.Definition)
		}
	}
}
