// Package robotiq has the registers of Robotiq's two-finger gripper as its ROS
// driver publishes them (robotiq_2f_gripper_control).
//
//	pub, err := ros.Advertise[robotiq.Output](n, "/Robotiq2FGripperRobotOutput", false)
package robotiq

import "github.com/bluenviron/goroslib/v2/pkg/msg"

// Output is what the robot tells the gripper.
type Output struct {
	msg.Package `ros:"robotiq_2f_gripper_control"`
	msg.Name    `ros:"Robotiq2FGripper_robot_output"`
	Activate    uint8 `rosname:"rACT"`
	GoTo        uint8 `rosname:"rGTO"` // 1: move to the position
	Release     uint8 `rosname:"rATR"` // 1: slow emergency release
	Position    uint8 `rosname:"rPR"`  // 0 open to 255 closed
	Speed       uint8 `rosname:"rSP"`
	Force       uint8 `rosname:"rFR"`
}

// Input is what the gripper tells.
type Input struct {
	msg.Package `ros:"robotiq_2f_gripper_control"`
	msg.Name    `ros:"Robotiq2FGripper_robot_input"`
	Activated   uint8 `rosname:"gACT"`
	GoingTo     uint8 `rosname:"gGTO"`
	Status      uint8 `rosname:"gSTA"` // 3: activated
	Object      uint8 `rosname:"gOBJ"` // 1, 2: stopped by an object; 3: at the position
	Fault       uint8 `rosname:"gFLT"`
	Requested   uint8 `rosname:"gPR"`
	Position    uint8 `rosname:"gPO"`
	Current     uint8 `rosname:"gCU"` // 10 mA each
}
