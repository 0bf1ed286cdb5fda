// Package franka has the messages of franka_ros (franka_msgs): the arm's state,
// its errors, its settings and their recovery.
//
// Matrices are column-major. Everything is in SI units and radians; O is the
// base frame, F the flange, NE the nominal and EE the end effector, K the
// stiffness frame, as in libfranka.
//
//	states, err := ros.Watch[franka.FrankaState](n, "/franka_state_controller/franka_states")
package franka

import (
	"github.com/bluenviron/goroslib/v2/pkg/msg"
	"github.com/bluenviron/goroslib/v2/pkg/msgs/std_msgs"
)

// Modes of FrankaState.RobotMode.
const (
	Other uint8 = iota
	Idle
	Move
	Guiding
	Reflex
	UserStopped
	AutomaticErrorRecovery
)

// FrankaState is what the arm senses of itself, some 30 times a second unless
// the state controller's publish_rate says otherwise.
type FrankaState struct {
	msg.Package               `ros:"franka_msgs"`
	msg.Definitions           `ros:"uint8 ROBOT_MODE_OTHER=0,uint8 ROBOT_MODE_IDLE=1,uint8 ROBOT_MODE_MOVE=2,uint8 ROBOT_MODE_GUIDING=3,uint8 ROBOT_MODE_REFLEX=4,uint8 ROBOT_MODE_USER_STOPPED=5,uint8 ROBOT_MODE_AUTOMATIC_ERROR_RECOVERY=6"`
	Header                    std_msgs.Header
	CartesianCollision        [6]float64 // contact level per direction that reaches the collision threshold, 0 or 1
	CartesianContact          [6]float64
	Q                         [7]float64 // measured joint positions, rad
	QD                        [7]float64 // desired
	Dq                        [7]float64 // measured joint velocities, rad/s
	DqD                       [7]float64
	DdqD                      [7]float64 // desired accelerations, rad/s²
	Theta                     [7]float64 // motor positions, rad
	Dtheta                    [7]float64
	TauJ                      [7]float64 `rosname:"tau_J"`         // measured link-side torques, N·m
	DtauJ                     [7]float64 `rosname:"dtau_J"`        // N·m/s
	TauJD                     [7]float64 `rosname:"tau_J_d"`       // desired, without gravity
	KFExtHatK                 [6]float64 `rosname:"K_F_ext_hat_K"` // estimated external wrench at and in the stiffness frame, N and N·m
	Elbow                     [2]float64 // joint 3 in rad and the sign of joint 4
	ElbowD                    [2]float64
	ElbowC                    [2]float64
	DelbowC                   [2]float64
	DdelbowC                  [2]float64
	JointCollision            [7]float64 // 0 or 1
	JointContact              [7]float64
	OFExtHatK                 [6]float64 `rosname:"O_F_ext_hat_K"` // the same wrench in the base frame
	ODPEED                    [6]float64 `rosname:"O_dP_EE_d"`     // desired twist, base frame, m/s and rad/s
	ODdPO                     [3]float64 `rosname:"O_ddP_O"`       // acceleration of the base, m/s²
	ODPEEC                    [6]float64 `rosname:"O_dP_EE_c"`     // commanded twist
	ODdPEEC                   [6]float64 `rosname:"O_ddP_EE_c"`
	TauExtHatFiltered         [7]float64 // estimated external joint torques, N·m
	MEe                       float64    // kg
	FXCee                     [3]float64 `rosname:"F_x_Cee"` // centre of mass in the flange frame, m
	IEe                       [9]float64 `rosname:"I_ee"`    // kg·m², column-major 3×3
	MLoad                     float64    // as set by set_load, kg
	FXCload                   [3]float64 `rosname:"F_x_Cload"`
	ILoad                     [9]float64 `rosname:"I_load"`
	MTotal                    float64
	FXCtotal                  [3]float64  `rosname:"F_x_Ctotal"`
	ITotal                    [9]float64  `rosname:"I_total"`
	OTEE                      [16]float64 `rosname:"O_T_EE"`   // measured pose of the end effector in the base frame, column-major 4×4
	OTEED                     [16]float64 `rosname:"O_T_EE_d"` // desired
	OTEEC                     [16]float64 `rosname:"O_T_EE_c"` // commanded
	FTEE                      [16]float64 `rosname:"F_T_EE"`   // end effector in the flange frame
	FTNE                      [16]float64 `rosname:"F_T_NE"`
	NETEE                     [16]float64 `rosname:"NE_T_EE"`
	EETK                      [16]float64 `rosname:"EE_T_K"`
	Time                      float64     // since the controller's start, s
	ControlCommandSuccessRate float64     // of the last 100 commands, 0 to 1
	RobotMode                 uint8       // one of the modes above
	CurrentErrors             Errors
	LastMotionErrors          Errors
}
