// Package gripper has the actions of Franka's hand (franka_gripper). Widths
// are between the fingers, 0 to 0.08 m.
//
//	move, err := ros.Act[gripper.MoveGoal, gripper.MoveFeedback, gripper.MoveResult](n, "/franka_gripper/move")
package gripper

import "github.com/bluenviron/goroslib/v2/pkg/msg"

// GraspEpsilon says by how much a grasped object may be narrower (inner) or
// wider (outer) than asked.
type GraspEpsilon struct {
	msg.Package `ros:"franka_gripper"`
	Inner       float64 // m
	Outer       float64 // m
}

// GraspGoal closes the hand on an object and holds it.
type GraspGoal struct {
	msg.Package `ros:"franka_gripper"`
	Width       float64 // of the object, m
	Epsilon     GraspEpsilon
	Speed       float64 // m/s
	Force       float64 // N
}

// MoveGoal opens or closes the hand.
type MoveGoal struct {
	msg.Package `ros:"franka_gripper"`
	Width       float64 // m
	Speed       float64 // m/s
}

// HomingGoal finds the widest opening, as after a change of fingers.
type HomingGoal struct {
	msg.Package `ros:"franka_gripper"`
}

// StopGoal ends a movement.
type StopGoal struct {
	msg.Package `ros:"franka_gripper"`
}

// Results: whether it worked and, if not, why.
type (
	// GraspResult also fails where the object is not as wide as asked.
	GraspResult struct {
		msg.Package `ros:"franka_gripper"`
		Success     bool
		Error       string
	}
	// MoveResult is the end of a movement.
	MoveResult struct {
		msg.Package `ros:"franka_gripper"`
		Success     bool
		Error       string
	}
	// HomingResult is the end of homing.
	HomingResult struct {
		msg.Package `ros:"franka_gripper"`
		Success     bool
		Error       string
	}
	// StopResult is the end of a stop.
	StopResult struct {
		msg.Package `ros:"franka_gripper"`
		Success     bool
		Error       string
	}
)

// Feedback of the four actions is empty.
type (
	// GraspFeedback is empty.
	GraspFeedback struct {
		msg.Package `ros:"franka_gripper"`
	}
	// MoveFeedback is empty.
	MoveFeedback struct {
		msg.Package `ros:"franka_gripper"`
	}
	// HomingFeedback is empty.
	HomingFeedback struct {
		msg.Package `ros:"franka_gripper"`
	}
	// StopFeedback is empty.
	StopFeedback struct {
		msg.Package `ros:"franka_gripper"`
	}
)
