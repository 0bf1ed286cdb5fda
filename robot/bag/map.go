package bag

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mapping says which topic is which of what a loop needs. Empty topics are not
// there.
type Mapping struct {
	Cameras []Camera // in the order of observations
	States  string   // franka_msgs/FrankaState: joints, pose, wrench
	Joints  string   // sensor_msgs/JointState, or the joints alone of a FrankaState, where there are no States
	Gripper string   // sensor_msgs/JointState of the fingers
	Target  string   // geometry_msgs/PoseStamped: the equilibrium pose of the controller
	Pose    string   // geometry_msgs/PoseStamped of the tool, where there are no States
	// Handless leaves the fingers out that may be among the joints, where there is no Gripper.
	Handless bool
}

// Camera is a camera's name and its topic.
type Camera struct{ Name, Topic string }

// slot returns the topic of what is no camera.
func (m *Mapping) slot(name string) *string {
	switch name {
	case "states":
		return &m.States
	case "joints":
		return &m.Joints
	case "gripper":
		return &m.Gripper
	case "target":
		return &m.Target
	case "pose":
		return &m.Pose
	}
	return nil
}

// Set takes one of a person's words: "wrist=/camera/color/image_raw", where the name
// is states, joints, gripper, target, pose or else that of a camera. An empty
// topic takes it out.
func (m *Mapping) Set(word string) error {
	name, topic, ok := strings.Cut(word, "=")
	if name, topic = strings.TrimSpace(name), strings.TrimSpace(topic); !ok || name == "" {
		return fmt.Errorf("bag: %q names no topic; write NAME=TOPIC, as wrist=/camera/color/image_raw", word)
	}
	if s := m.slot(name); s != nil {
		*s = topic
		if name == "gripper" {
			m.Handless = topic == ""
		}
		return nil
	}
	i := slices.IndexFunc(m.Cameras, func(c Camera) bool { return c.Name == name })
	switch {
	case topic == "" && i >= 0:
		m.Cameras = slices.Delete(m.Cameras, i, i+1)
	case topic == "":
	case i >= 0:
		m.Cameras[i].Topic = topic
	default:
		// The topic's camera gets the new name.
		m.Cameras = slices.DeleteFunc(m.Cameras, func(c Camera) bool { return c.Topic == topic })
		m.Cameras = append(m.Cameras, Camera{name, topic})
		slices.SortFunc(m.Cameras, func(a, b Camera) int { return strings.Compare(a.Name, b.Name) })
	}
	return nil
}

// Topics lists the topics of the mapping.
func (m *Mapping) Topics() []string {
	var all []string
	for _, c := range m.Cameras {
		all = append(all, c.Topic)
	}
	for _, s := range []string{m.States, m.Joints, m.Gripper, m.Target, m.Pose} {
		if s != "" {
			all = append(all, s)
		}
	}
	return all
}

// Guess says which topic is which by types and names in wide use, and why.
func Guess(info Info) (Mapping, []string) {
	var m Mapping
	var why []string
	pick := func(dst *string, what, typ string, score func(name string) int) {
		best, most, others := Topic{}, 0, []string(nil)
		for _, t := range info.Topics {
			if t.Type != typ || t.Count == 0 {
				continue
			}
			s := score(strings.ToLower(t.Name))
			if s <= 0 {
				continue
			}
			others = append(others, t.Name)
			if s > most || s == most && t.Count > best.Count {
				best, most = t, s
			}
		}
		if most == 0 {
			return
		}
		*dst = best.Name
		line := fmt.Sprintf("%s: %s, a %s", what, best.Name, typ)
		if others = slices.DeleteFunc(others, func(n string) bool { return n == best.Name }); len(others) > 0 {
			line += "; not " + strings.Join(others, ", ")
		}
		why = append(why, line)
	}
	has := func(name string, words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(name, w) })
	}
	m.Cameras = guessCameras(info, &why)
	pick(&m.States, "states", "franka_msgs/FrankaState", func(string) int { return 1 })
	fingers := func(n string) bool { return has(n, "gripper", "finger", "hand/", "robotiq") }
	pick(&m.Joints, "joints", "sensor_msgs/JointState", func(n string) int {
		switch {
		case fingers(n) || has(n, "desired", "command", "target", "goal", "gello", "leader"):
			return 0
		case n == "/joint_states":
			return 3
		case has(n, "franka", "panda", "fr3", "arm"):
			return 2
		}
		return 1
	})
	// The joint of a Robotiq's fingers is an angle, 0 where they are open.
	angled := func(n string) bool { return has(n, "robotiq") }
	for _, t := range info.Topics {
		if t.Type == "sensor_msgs/JointState" && angled(strings.ToLower(t.Name)) {
			why = append(why, fmt.Sprintf("no gripper: %s, for a Robotiq's joints are angles, and an opening in m is wanted", t.Name))
		}
	}
	pick(&m.Gripper, "gripper", "sensor_msgs/JointState", func(n string) int {
		if fingers(n) && !angled(n) && !has(n, "desired", "command", "target", "goal") {
			return 1
		}
		return 0
	})
	wish := []string{"equilibrium", "target", "desired", "command", "goal"}
	pick(&m.Target, "target", "geometry_msgs/PoseStamped", func(n string) int {
		for i, w := range wish {
			if strings.Contains(n, w) {
				return len(wish) - i
			}
		}
		return 0
	})
	pick(&m.Pose, "pose", "geometry_msgs/PoseStamped", func(n string) int {
		switch {
		case has(n, wish...):
			return 0
		case has(n, "ee_pose", "o_t_ee", "end_effector", "tcp", "tool", "current_pose", "measured", "ee_state"):
			return 2
		}
		return 0
	})
	return m, why
}

// guessCameras finds pictures in colour, one topic a camera.
func guessCameras(info Info, why *[]string) []Camera {
	type found struct {
		Camera
		rank int
	}
	var all []found
	for _, t := range info.Topics {
		rank := 0
		switch t.Type {
		case "sensor_msgs/Image":
			rank = 2
		case "sensor_msgs/CompressedImage":
			rank = 1
		}
		name := strings.ToLower(t.Name)
		if rank == 0 || t.Count == 0 {
			continue
		}
		skip := ""
		for _, w := range []string{"depth", "infra", "disparity", "mask", "confidence", "theora"} {
			if strings.Contains(name, w) {
				skip = w
			}
		}
		if skip != "" {
			*why = append(*why, fmt.Sprintf("no camera: %s, for its name has %q", t.Name, skip))
			continue
		}
		all = append(all, found{Camera{cameraName(t.Name), t.Name}, rank})
	}
	slices.SortStableFunc(all, func(a, b found) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(b.rank, a.rank))
	})
	var cams []Camera
	for _, f := range all {
		if n := len(cams); n > 0 && cams[n-1].Name == f.Name {
			*why = append(*why, fmt.Sprintf("no camera: %s, which is %s once more", f.Topic, cams[n-1].Topic))
			continue
		}
		cams = append(cams, f.Camera)
		*why = append(*why, fmt.Sprintf("camera %s: %s", f.Name, f.Topic))
	}
	return cams
}

// cameraName is what of a topic tells a camera from others: "wrist" of
// "/wrist/color/image_raw/compressed".
func cameraName(topic string) string {
	var kept []string
	for _, part := range strings.Split(strings.Trim(topic, "/"), "/") {
		switch part {
		case "image_raw", "image", "image_color", "image_rect_color", "image_rect", "image_mono", "compressed", "color", "rgb", "rgb_image", "raw", "left", "":
			continue
		}
		kept = append(kept, part)
	}
	// A namespace that all cameras of a driver share says nothing before the name.
	if len(kept) > 1 && (kept[0] == "camera" || kept[0] == "cameras") {
		kept = kept[1:]
	}
	if len(kept) == 0 {
		return "camera"
	}
	return strings.Join(kept, "_")
}
