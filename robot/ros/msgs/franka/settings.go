package franka

import "github.com/bluenviron/goroslib/v2/pkg/msg"

// The settings of /franka_control. Each answers whether it was taken; what
// holds is read from FrankaState.
type (
	// SetLoadReq tells the arm what it carries beside the hand.
	SetLoadReq struct {
		msg.Package  `ros:"franka_msgs"`
		Mass         float64    // kg
		FXCenterLoad [3]float64 `rosname:"F_x_center_load"` // in the flange frame, m
		LoadInertia  [9]float64 // kg·m², column-major 3×3
	}
	// SetLoadRes says whether it was taken.
	SetLoadRes struct {
		msg.Package `ros:"franka_msgs"`
		Success     bool
		Error       string
	}

	// SetJointImpedanceReq sets the stiffness of libfranka's joint impedance controller.
	SetJointImpedanceReq struct {
		msg.Package    `ros:"franka_msgs"`
		JointStiffness [7]float64 // N·m/rad
	}
	// SetJointImpedanceRes says whether it was taken.
	SetJointImpedanceRes struct {
		msg.Package `ros:"franka_msgs"`
		Success     bool
		Error       string
	}

	// SetCartesianImpedanceReq sets the stiffness of libfranka's Cartesian impedance controller.
	SetCartesianImpedanceReq struct {
		msg.Package        `ros:"franka_msgs"`
		CartesianStiffness [6]float64 // N/m and N·m/rad
	}
	// SetCartesianImpedanceRes says whether it was taken.
	SetCartesianImpedanceRes struct {
		msg.Package `ros:"franka_msgs"`
		Success     bool
		Error       string
	}

	// SetEEFrameReq sets the end effector in the nominal end effector's frame.
	SetEEFrameReq struct {
		msg.Package `ros:"franka_msgs"`
		NETEE       [16]float64 `rosname:"NE_T_EE"` // column-major 4×4
	}
	// SetEEFrameRes says whether it was taken.
	SetEEFrameRes struct {
		msg.Package `ros:"franka_msgs"`
		Success     bool
		Error       string
	}

	// SetKFrameReq sets the stiffness frame in the end effector's.
	SetKFrameReq struct {
		msg.Package `ros:"franka_msgs"`
		EETK        [16]float64 `rosname:"EE_T_K"` // column-major 4×4
	}
	// SetKFrameRes says whether it was taken.
	SetKFrameRes struct {
		msg.Package `ros:"franka_msgs"`
		Success     bool
		Error       string
	}

	// SetForceTorqueCollisionBehaviorReq sets what counts as a contact (lower) and what stops the arm (upper).
	SetForceTorqueCollisionBehaviorReq struct {
		msg.Package                  `ros:"franka_msgs"`
		LowerTorqueThresholdsNominal [7]float64 // N·m
		UpperTorqueThresholdsNominal [7]float64 // N·m
		LowerForceThresholdsNominal  [6]float64 // N and N·m
		UpperForceThresholdsNominal  [6]float64 // N and N·m
	}
	// SetForceTorqueCollisionBehaviorRes says whether it was taken.
	SetForceTorqueCollisionBehaviorRes struct {
		msg.Package `ros:"franka_msgs"`
		Success     bool
		Error       string
	}

	// SetFullCollisionBehaviorReq sets the same for phases of acceleration and of constant velocity.
	SetFullCollisionBehaviorReq struct {
		msg.Package                       `ros:"franka_msgs"`
		LowerTorqueThresholdsAcceleration [7]float64 // N·m
		UpperTorqueThresholdsAcceleration [7]float64 // N·m
		LowerTorqueThresholdsNominal      [7]float64 // N·m
		UpperTorqueThresholdsNominal      [7]float64 // N·m
		LowerForceThresholdsAcceleration  [6]float64 // N and N·m
		UpperForceThresholdsAcceleration  [6]float64 // N and N·m
		LowerForceThresholdsNominal       [6]float64 // N and N·m
		UpperForceThresholdsNominal       [6]float64 // N and N·m
	}
	// SetFullCollisionBehaviorRes says whether it was taken.
	SetFullCollisionBehaviorRes struct {
		msg.Package `ros:"franka_msgs"`
		Success     bool
		Error       string
	}
)

// The action /franka_control/error_recovery, which clears a reflex. Nobody
// calls it but an operator.
type (
	// ErrorRecoveryGoal is empty.
	ErrorRecoveryGoal struct {
		msg.Package `ros:"franka_msgs"`
	}
	// ErrorRecoveryResult is empty.
	ErrorRecoveryResult struct {
		msg.Package `ros:"franka_msgs"`
	}
	// ErrorRecoveryFeedback is empty.
	ErrorRecoveryFeedback struct {
		msg.Package `ros:"franka_msgs"`
	}
)
