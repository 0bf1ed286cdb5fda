package bag

// Mapping says which topic is which of what a loop needs. Empty topics are not
// there.
type Mapping struct {
	Cameras []Camera // in the order of observations
	States  string   // franka_msgs/FrankaState: joints, pose, wrench
	Joints  string   // sensor_msgs/JointState, where there are no States
	Gripper string   // sensor_msgs/JointState of the fingers
	Target  string   // geometry_msgs/PoseStamped: the equilibrium pose of the controller
	Pose    string   // geometry_msgs/PoseStamped of the tool, where there are no States
}

// Camera is a camera's name and its topic.
type Camera struct{ Name, Topic string }
