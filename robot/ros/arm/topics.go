package arm

// Names of franka_ros, franka_gripper and serl_franka_controllers, as their
// launch files leave them. Another name is a remapping there.
const (
	StateTopic    = "/franka_state_controller/franka_states" // franka_msgs/FrankaState
	JointTopic    = "/franka_state_controller/joint_states"  // sensor_msgs/JointState
	PoseTopic     = controller + "/equilibrium_pose"         // geometry_msgs/PoseStamped, xyzw
	JacobianTopic = controller + "/franka_jacobian"          // serl_franka_controllers/ZeroJacobian
	FingerTopic   = "/franka_gripper/joint_states"           // sensor_msgs/JointState, half the opening each

	RecoveryAction = "/franka_control/error_recovery"
	HomingAction   = "/franka_gripper/homing"
	StopAction     = "/franka_gripper/stop"
	MoveAction     = "/franka_gripper/move"
	GraspAction    = "/franka_gripper/grasp"

	LoadService      = "/franka_control/set_load"
	CollisionService = "/franka_control/set_force_torque_collision_behavior"
	// ComplianceNode has no slash in its middle: the controller puts its
	// namespace and the node's name together so.
	ComplianceNode = controller + "dynamic_reconfigure_compliance_param_node"

	controller = "/cartesian_impedance_controller"
)

var modes = [...]string{"other", "idle", "move", "guiding", "reflex", "user stopped", "automatic error recovery"}

func modeName(m uint8) string {
	if int(m) < len(modes) {
		return modes[m]
	}
	return "unknown"
}
