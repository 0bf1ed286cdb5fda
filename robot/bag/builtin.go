package bag

import "strings"

// builtin returns the definition of a type that a loop needs, where a recording
// of ROS 2 before Iron has none.
func builtin(typ string, ros2 bool) (string, bool) {
	if !ros2 {
		return "", false
	}
	parts := map[string]string{
		"std_msgs/Header":             "builtin_interfaces/Time stamp\nstring frame_id\n",
		"std_msgs/String":             "string data\n",
		"geometry_msgs/Point":         "float64 x\nfloat64 y\nfloat64 z\n",
		"geometry_msgs/Vector3":       "float64 x\nfloat64 y\nfloat64 z\n",
		"geometry_msgs/Quaternion":    "float64 x\nfloat64 y\nfloat64 z\nfloat64 w\n",
		"geometry_msgs/Pose":          "geometry_msgs/Point position\ngeometry_msgs/Quaternion orientation\n",
		"geometry_msgs/PoseStamped":   "std_msgs/Header header\ngeometry_msgs/Pose pose\n",
		"geometry_msgs/Wrench":        "geometry_msgs/Vector3 force\ngeometry_msgs/Vector3 torque\n",
		"geometry_msgs/WrenchStamped": "std_msgs/Header header\ngeometry_msgs/Wrench wrench\n",
		"sensor_msgs/JointState":      "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n",
		"sensor_msgs/CompressedImage": "std_msgs/Header header\nstring format\nuint8[] data\n",
		"sensor_msgs/Image":           "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\nuint8[] data\n",
	}
	text, ok := parts[typ]
	if !ok {
		return "", false
	}
	var b strings.Builder
	b.WriteString(text)
	for name, part := range parts {
		if name != typ {
			b.WriteString(strings.Repeat("=", 80) + "\nMSG: " + name + "\n" + part)
		}
	}
	return b.String(), true
}
