package msgs_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"reflect"
	"slices"
	"testing"

	"github.com/bluenviron/goroslib/v2/pkg/protocommon"

	"github.com/rapport-rl/rapport/robot/ros/msgs/controllers"
	"github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/gripper"
	"github.com/rapport-rl/rapport/robot/ros/msgs/reconfigure"
	"github.com/rapport-rl/rapport/robot/ros/msgs/robotiq"
	"github.com/rapport-rl/rapport/robot/ros/msgs/serl"
	"github.com/rapport-rl/rapport/robot/ros/tcpros"
)

func kind[T any](t *testing.T) tcpros.Kind {
	t.Helper()
	k, err := tcpros.KindOf[T]()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func service[Req, Res any](t *testing.T) tcpros.Kind {
	t.Helper()
	k, err := tcpros.ServiceOf[Req, Res]()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The checksums are those that ROS's own generators give the definitions of
// franka_ros 0.10, serl_franka_controllers, ros_control of noetic,
// dynamic_reconfigure and robotiq. A request alone has a checksum too, which
// generated clients name.
func TestChecksumsAreROSs(t *testing.T) {
	for _, tt := range []struct {
		got       tcpros.Kind
		kind, md5 string
	}{
		{kind[franka.FrankaState](t), "franka_msgs/FrankaState", "431567d5df6caf4e4dd7385f25cb71ee"},
		{kind[franka.Errors](t), "franka_msgs/Errors", "082e9a670c96d8bc64b53e32777458e7"},
		{service[franka.SetLoadReq, franka.SetLoadRes](t), "franka_msgs/SetLoad", "c9a8ec436164dd9cbc1e5e137d358e0b"},
		{kind[franka.SetLoadReq](t), "franka_msgs/SetLoadReq", "0bcbb33b081d0f0b2611ae00474a91d6"},
		{kind[franka.SetJointImpedanceReq](t), "franka_msgs/SetJointImpedanceReq", "45e5482efb638f20554d876158c68e96"},
		{kind[franka.SetCartesianImpedanceReq](t), "franka_msgs/SetCartesianImpedanceReq", "591a43081c539ee56ec83a33587e68c4"},
		{kind[franka.SetEEFrameReq](t), "franka_msgs/SetEEFrameReq", "cddf0858e7d540f5bcee9d813a7550a2"},
		{kind[franka.SetKFrameReq](t), "franka_msgs/SetKFrameReq", "f8e38719bdb98c0e8ddafd6da2db480f"},
		{kind[franka.SetForceTorqueCollisionBehaviorReq](t), "franka_msgs/SetForceTorqueCollisionBehaviorReq", "af37de8897f6124b6b82b8dad5d5a876"},
		{kind[franka.SetFullCollisionBehaviorReq](t), "franka_msgs/SetFullCollisionBehaviorReq", "bc875909c147220ba1720adcd48e47ea"},
		{kind[gripper.MoveGoal](t), "franka_gripper/MoveGoal", "d16050a0fe85f1c2cb8347c99678362e"},
		{kind[gripper.GraspGoal](t), "franka_gripper/GraspGoal", "627a0f0b10ad0c919fbd62b0b3427e63"},
		{kind[gripper.GraspEpsilon](t), "franka_gripper/GraspEpsilon", "95b2c5464a6f679bd1dacaf86414f095"},
		{kind[gripper.GraspFeedback](t), "franka_gripper/GraspFeedback", "d41d8cd98f00b204e9800998ecf8427e"},
		{kind[serl.ZeroJacobian](t), "serl_franka_controllers/ZeroJacobian", "573da0494fbe019a7da2ae31329663cf"},
		{kind[reconfigure.Config](t), "dynamic_reconfigure/Config", "958f16a05573709014982821e6822580"},
		{service[reconfigure.ReconfigureReq, reconfigure.ReconfigureRes](t), "dynamic_reconfigure/Reconfigure", "bb125d226a21982a4a98760418dc2672"},
		{kind[controllers.HardwareInterfaceResources](t), "controller_manager_msgs/HardwareInterfaceResources", "f25b55cbf1d1f76e82e5ec9e83f76258"},
		{kind[controllers.ControllerState](t), "controller_manager_msgs/ControllerState", "aeb6b261d97793ab74099a3740245272"},
		{kind[controllers.ListControllersRes](t), "controller_manager_msgs/ListControllersRes", "1341feb2e63fa791f855565d0da950d8"},
		{kind[controllers.SwitchControllerReq](t), "controller_manager_msgs/SwitchControllerReq", "36d99a977432b71d4bf16ce5847949d7"},
		{kind[controllers.SwitchControllerRes](t), "controller_manager_msgs/SwitchControllerRes", "6f6da3883749771fac40d6deb24a8c02"},
		{kind[robotiq.Output](t), "robotiq_2f_gripper_control/Robotiq2FGripper_robot_output", "481503a99d995d0e403b7ee708c6862c"},
		{kind[robotiq.Input](t), "robotiq_2f_gripper_control/Robotiq2FGripper_robot_input", "17d49e32c00f4f2fb4fe664060553362"},
	} {
		if tt.got.Type != tt.kind || tt.got.MD5 != tt.md5 {
			t.Errorf("got %s %s, want %s %s", tt.got.Type, tt.got.MD5, tt.kind, tt.md5)
		}
	}
}

// Every setting answers alike, so that what generated clients check is one.
func TestSettingsAnswerAlike(t *testing.T) {
	want := kind[franka.SetLoadRes](t).MD5
	for name, got := range map[string]string{
		"SetJointImpedance":               kind[franka.SetJointImpedanceRes](t).MD5,
		"SetCartesianImpedance":           kind[franka.SetCartesianImpedanceRes](t).MD5,
		"SetEEFrame":                      kind[franka.SetEEFrameRes](t).MD5,
		"SetKFrame":                       kind[franka.SetKFrameRes](t).MD5,
		"SetForceTorqueCollisionBehavior": kind[franka.SetForceTorqueCollisionBehaviorRes](t).MD5,
		"SetFullCollisionBehavior":        kind[franka.SetFullCollisionBehaviorRes](t).MD5,
		"Grasp":                           kind[gripper.GraspResult](t).MD5,
		"Move":                            kind[gripper.MoveResult](t).MD5,
		"Homing":                          kind[gripper.HomingResult](t).MD5,
		"Stop":                            kind[gripper.StopResult](t).MD5,
	} {
		if got != want {
			t.Errorf("%s answers with checksum %s, want %s", name, got, want)
		}
	}
}

func TestErrorsHaveTheNamesThatLibfrankaGivesThem(t *testing.T) {
	e := franka.Errors{JointReflex: true, JointP2pInsufficientTorqueForPlanning: true, TauJRangeViolation: true}
	want := []string{"joint_reflex", "joint_p2p_insufficient_torque_for_planning", "tau_j_range_violation"}
	if got := e.Names(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := (franka.Errors{}).Names(); got != nil {
		t.Errorf("got %v of no errors", got)
	}
}

func TestStateSurvivesTheWire(t *testing.T) {
	var want franka.FrankaState
	want.Q = [7]float64{1, 2, 3, 4, 5, 6, 7}
	want.OTEE[15] = 1
	want.RobotMode = franka.Reflex
	want.CurrentErrors.CartesianReflex = true
	b, err := tcpros.Append(nil, &want)
	if err != nil {
		t.Fatal(err)
	}
	var got franka.FrankaState
	if err := tcpros.Decode(b, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// BenchmarkState compares the encoding of the message that comes most often
// with that of the library whose types are used.
func BenchmarkState(b *testing.B) {
	var m franka.FrankaState
	ours, err := tcpros.Append(nil, &m)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ours, _ = tcpros.Append(ours[:0], &m)
		}
	})
	b.Run("encode/library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := protocommon.MessageEncode(io.Discard, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := tcpros.Decode(ours, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
	frame := append(binary.LittleEndian.AppendUint32(nil, uint32(len(ours))), ours...)
	b.Run("decode/library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := protocommon.MessageDecode(bytes.NewReader(frame), &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
