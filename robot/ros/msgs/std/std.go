// Package std names ROS's own messages, so that the rest of Rapport need not
// know which library defines them.
//
//	pub, err := ros.Advertise[std.PoseStamped](n, "/equilibrium_pose", false)
package std

import (
	"github.com/bluenviron/goroslib/v2/pkg/msgs/actionlib_msgs"
	"github.com/bluenviron/goroslib/v2/pkg/msgs/control_msgs"
	"github.com/bluenviron/goroslib/v2/pkg/msgs/geometry_msgs"
	"github.com/bluenviron/goroslib/v2/pkg/msgs/rosgraph_msgs"
	"github.com/bluenviron/goroslib/v2/pkg/msgs/sensor_msgs"
	"github.com/bluenviron/goroslib/v2/pkg/msgs/std_msgs"
	"github.com/bluenviron/goroslib/v2/pkg/msgs/std_srvs"
	"github.com/bluenviron/goroslib/v2/pkg/msgs/tf2_msgs"
	"github.com/bluenviron/goroslib/v2/pkg/msgs/trajectory_msgs"
)

// std_msgs and rosgraph_msgs.
type (
	Header  = std_msgs.Header
	String  = std_msgs.String
	Bool    = std_msgs.Bool
	Int32   = std_msgs.Int32
	Float64 = std_msgs.Float64
	Clock   = rosgraph_msgs.Clock
)

// sensor_msgs.
type (
	Image            = sensor_msgs.Image
	CompressedImage  = sensor_msgs.CompressedImage
	CameraInfo       = sensor_msgs.CameraInfo
	RegionOfInterest = sensor_msgs.RegionOfInterest
	JointState       = sensor_msgs.JointState
	Joy              = sensor_msgs.Joy
)

// geometry_msgs and tf2_msgs.
type (
	Point            = geometry_msgs.Point
	Vector3          = geometry_msgs.Vector3
	Quaternion       = geometry_msgs.Quaternion
	Pose             = geometry_msgs.Pose
	PoseStamped      = geometry_msgs.PoseStamped
	Twist            = geometry_msgs.Twist
	TwistStamped     = geometry_msgs.TwistStamped
	Wrench           = geometry_msgs.Wrench
	WrenchStamped    = geometry_msgs.WrenchStamped
	Transform        = geometry_msgs.Transform
	TransformStamped = geometry_msgs.TransformStamped
	TFMessage        = tf2_msgs.TFMessage
)

// std_srvs. Services are named by their requests.
type (
	EmptyReq   = std_srvs.EmptyReq
	EmptyRes   = std_srvs.EmptyRes
	TriggerReq = std_srvs.TriggerReq
	TriggerRes = std_srvs.TriggerRes
	SetBoolReq = std_srvs.SetBoolReq
	SetBoolRes = std_srvs.SetBoolRes
)

// actionlib_msgs, and the gripper's and the joints' actions of control_msgs.
type (
	GoalID                   = actionlib_msgs.GoalID
	GoalStatus               = actionlib_msgs.GoalStatus
	GoalStatusArray          = actionlib_msgs.GoalStatusArray
	GripperCommand           = control_msgs.GripperCommand
	GripperCommandGoal       = control_msgs.GripperCommandActionGoal
	GripperCommandResult     = control_msgs.GripperCommandActionResult
	GripperCommandFeedback   = control_msgs.GripperCommandActionFeedback
	JointTrajectory          = trajectory_msgs.JointTrajectory
	JointTrajectoryPoint     = trajectory_msgs.JointTrajectoryPoint
	FollowTrajectoryGoal     = control_msgs.FollowJointTrajectoryActionGoal
	FollowTrajectoryResult   = control_msgs.FollowJointTrajectoryActionResult
	FollowTrajectoryFeedback = control_msgs.FollowJointTrajectoryActionFeedback
)
