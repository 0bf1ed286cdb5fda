// Package serl has the message of SERL's Cartesian impedance controller
// (serl_franka_controllers).
//
//	jacobians, err := ros.Watch[serl.ZeroJacobian](n, "/cartesian_impedance_controller/franka_jacobian")
package serl

import "github.com/bluenviron/goroslib/v2/pkg/msg"

// ZeroJacobian is the end effector's Jacobian in the base frame, 6×7,
// column-major: three linear and three angular rows for each joint in turn.
type ZeroJacobian struct {
	msg.Package  `ros:"serl_franka_controllers"`
	ZeroJacobian [42]float64
}
