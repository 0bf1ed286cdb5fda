// Package msgs holds the messages that Rapport speaks, a package for each that
// ROS has: std (ROS's own), franka, gripper, serl, reconfigure, controllers and
// robotiq. Services are named by their requests, NameReq, and actions by their
// goals, NameGoal.
//
//	k, err := tcpros.KindOf[franka.FrankaState]() // type, checksum, definition
package msgs
