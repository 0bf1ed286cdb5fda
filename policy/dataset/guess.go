package dataset

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rapport-rl/rapport/policy/dataset/table"
)

// Problem is what a guess is not sure of.
type Problem struct {
	Field string // of the Map, as it is written in YAML
	What  string
	Fatal bool // nothing can be read before the field is set
}

func (p Problem) String() string { return p.Field + ": " + p.What }

// Guess says what the columns of a dataset mean, by names that are in wide use:
// robosuite's and LIBERO's in HDF5 files; HIL-SERL's, and x, y, z, qx..., roll,
// joint_1..., gripper, delta_x... as names of numbers in LeRobot's. Whatever it
// takes for granted, and what it misses, are problems.
func Guess(in Info) (Map, []Problem) {
	g := guess{in: in}
	if in.Format == "robomimic" {
		g.robomimic()
	} else {
		g.lerobot()
	}
	for _, c := range in.Cameras {
		name := c.Name
		for _, prefix := range []string{"obs/", "observation.images.", "observation.image.", "observation."} {
			name = strings.TrimPrefix(name, prefix)
		}
		for _, suffix := range []string{"_image", "_rgb"} {
			name = strings.TrimSuffix(name, suffix)
		}
		g.m.Cameras = append(g.m.Cameras, Camera{Key: c.Name, Name: name})
	}
	if g.m.Joints == "" && (g.m.Position == "" || g.m.Rotation == "") {
		g.m.Position, g.m.Rotation = "", ""
		g.lost("position", "no columns are known for the pose of the tool, nor for the joints")
	}
	if g.m.Action.Position == "" && g.m.Action.Joints == "" {
		g.lost("action.position", "no columns are known for where the tool was sent")
	}
	return g.m, g.problems
}

type guess struct {
	in       Info
	m        Map
	problems []Problem
}

func (g *guess) lost(field, format string, args ...any) {
	g.problems = append(g.problems, Problem{field, fmt.Sprintf(format, args...), true})
}

func (g *guess) note(field, format string, args ...any) {
	g.problems = append(g.problems, Problem{field, fmt.Sprintf(format, args...), false})
}

// first is the first of the names that is a column of this width.
func (g *guess) first(width int, names ...string) Columns {
	for _, n := range names {
		if c, ok := g.in.Column(n); ok && c.Width() == width {
			return Columns(n)
		}
	}
	return ""
}

func (g *guess) robomimic() {
	m := &g.m
	m.Position = g.first(3, "obs/robot0_eef_pos", "obs/ee_pos", "obs/eef_pos")
	if m.Rotation = g.first(4, "obs/robot0_eef_quat", "obs/robot0_eef_quat_site", "obs/eef_quat"); m.Rotation != "" {
		m.RotationAs = XYZW
	} else if m.Rotation = g.first(3, "obs/ee_ori"); m.Rotation != "" {
		m.RotationAs = RotVec // LIBERO
	}
	if m.Position != "" {
		g.note("base", "positions are in the simulator's world; set base to where the arm stands there, for those of its base frame")
	}
	m.Joints = g.first(7, "obs/robot0_joint_pos", "obs/joint_states")
	m.Speeds = g.first(7, "obs/robot0_joint_vel")
	if m.Grip = g.first(2, "obs/robot0_gripper_qpos", "obs/gripper_states"); m.Grip != "" {
		m.GripScale = 1 // of each finger, m
	}
	m.Reward, m.Done = g.first(1, "rewards"), g.first(1, "dones")
	if g.first(7, "actions") == "" {
		return
	}
	c := g.in.Control
	if c.Kind != "" && c.Kind != "OSC_POSE" {
		g.note("action", "the controller is %s, which has no action of seven numbers for the tool that is known here", c.Kind)
		return
	}
	m.Action = Action{Position: "actions[0:3]", Rotation: "actions[3:6]", RotationAs: RotVec, Grip: "actions[6]", Open: -1, Closed: 1, Absolute: c.Absolute}
	switch a := &m.Action; {
	case c.Absolute:
	case c.Scale > 0 && c.Turn > 0:
		a.Scale, a.TurnScale = c.Scale, c.Turn
	default:
		a.Scale, a.TurnScale = 0.05, 0.5
		g.note("action.scale", "the file does not say it; 0.05 m and 0.5 rad are taken, as of robosuite's OSC_POSE")
	}
}

// Names of numbers. A name may have a prefix that says of what, as ee.x or tcp_x.
var (
	moving   = regexp.MustCompile(`(?i)vel|speed|force|torque|accel|effort|current`)
	axis     = regexp.MustCompile(`(?i)^(?:.*[._])?([xyz])$`)
	quat     = regexp.MustCompile(`(?i)^(?:.*[._])?(?:q|quat|quaternion|rot|orientation)[._]?([xyzw])$`)
	angle    = regexp.MustCompile(`(?i)^(?:.*[._])?(roll|pitch|yaw)$`)
	vector   = regexp.MustCompile(`(?i)^(?:.*[._])?(?:r|axis_?angle_?|rotvec_?)([xyz123])$`)
	joint    = regexp.MustCompile(`(?i)^(?:.*[._])?(?:joint|q)[._]?(\d)(?:[._]?pos(?:ition)?)?$`)
	gripper  = regexp.MustCompile(`(?i)gripper|finger`)
	width    = regexp.MustCompile(`(?i)width`)
	delta    = regexp.MustCompile(`(?i)^(?:delta[._]?|d)([xyz])(?:[._].*)?$`)
	deltaRot = regexp.MustCompile(`(?i)^(?:delta[._]?|d)(?:r|rot_?)([xyz])(?:[._].*)?$`)
	deltaRPY = regexp.MustCompile(`(?i)^(?:delta[._]?|d)(roll|pitch|yaw)(?:[._].*)?$`)
)

// named finds numbers of a column by what their names match, in the order of
// keys; all of them, or none.
func named(c table.Column, re *regexp.Regexp, keys ...string) Columns {
	at := make([]int, 0, len(keys))
	for _, k := range keys {
		found := -1
		for i, n := range c.Names {
			if m := re.FindStringSubmatch(n); m != nil && strings.EqualFold(m[1], k) && !moving.MatchString(n) {
				if found >= 0 {
					return "" // of two things, as two arms
				}
				found = i
			}
		}
		if found < 0 {
			return ""
		}
		at = append(at, found)
	}
	return Columns(c.Name + places(at))
}

// places writes which numbers are meant.
func places(at []int) string {
	run := true
	var list []string
	for i, v := range at {
		run = run && v == at[0]+i
		list = append(list, strconv.Itoa(v))
	}
	if run && len(at) > 1 {
		return fmt.Sprintf("[%d:%d]", at[0], at[0]+len(at))
	}
	return "[" + strings.Join(list, ",") + "]"
}

// sevenJoints finds the joints, counted from 1 or from 0.
func sevenJoints(c table.Column) Columns {
	if j := named(c, joint, "1", "2", "3", "4", "5", "6", "7"); j != "" {
		return j
	}
	return named(c, joint, "0", "1", "2", "3", "4", "5", "6")
}

// hand finds the one number of the gripper.
func hand(c table.Column) (col Columns, name string) {
	for i, n := range c.Names {
		if gripper.MatchString(n) && !moving.MatchString(n) {
			if col != "" {
				return "", ""
			}
			col, name = Columns(c.Name+places([]int{i})), n
		}
	}
	return col, name
}

func (g *guess) lerobot() {
	m := &g.m
	if g.ours() {
		m.Reward, m.Done, m.Truncated, m.Human = g.first(1, ourReward), g.first(1, "next.done"), g.first(1, "next.truncated"), g.first(1, intervened)
		return
	}
	for _, c := range g.in.Columns {
		if !strings.HasPrefix(c.Name, "observation.") && !strings.HasPrefix(c.Name, "state") {
			continue
		}
		g.state(c)
	}
	if c, ok := g.in.Column("action"); ok {
		g.action(c)
	}
	m.Reward = g.first(1, "next.reward", "reward")
	m.Done = g.first(1, "next.done", "done")
	m.Truncated = g.first(1, "next.truncated", "truncated")
	m.Success = g.first(1, "next.success", "is_success", "success")
	m.Human = g.first(1, "complementary_info.is_intervention", "is_intervention", "intervention")
}

// state takes from a column of the observation what is not known yet.
func (g *guess) state(c table.Column) {
	m := &g.m
	parts := strings.FieldsFunc(c.Name, func(r rune) bool { return r == '.' || r == '/' })
	take := func(dst *Columns, col Columns) {
		if *dst == "" {
			*dst = col
		}
	}
	switch last := parts[len(parts)-1]; {
	case slices.Contains([]string{"tcp_pose", "ee_pose", "eef_pose"}, last) && c.Width() == 7 && m.Position == "":
		m.Position, m.Rotation, m.RotationAs = Columns(c.Name+"[0:3]"), Columns(c.Name+"[3:7]"), XYZW
		if len(c.Names) == 0 {
			g.note("rotation_as", "%s is taken as x, y, z and a quaternion xyzw, as in HIL-SERL", c.Name)
		}
		return
	case last == "gripper_pose" && c.Width() == 1:
		if m.Grip == "" {
			m.Grip, m.GripScale = Columns(c.Name), 0.08
			g.note("grip_scale", "%s is taken as 0 closed to 1 open of a hand of 0.08 m", c.Name)
		}
		return
	case slices.Contains([]string{"joint_positions", "joint_position", "joint_pos", "joints"}, last) && c.Width() == 7:
		take(&m.Joints, Columns(c.Name))
		return
	case slices.Contains([]string{"joint_velocities", "joint_velocity", "joint_vel"}, last) && c.Width() == 7:
		take(&m.Speeds, Columns(c.Name))
		return
	}
	if m.Position == "" {
		pos := named(c, axis, "x", "y", "z")
		rot, as := named(c, quat, "x", "y", "z", "w"), XYZW
		if rot == "" {
			rot, as = named(c, angle, "roll", "pitch", "yaw"), Euler
		}
		if rot == "" {
			rot, as = named(c, vector, "x", "y", "z"), RotVec
		}
		if rot == "" {
			rot = named(c, vector, "1", "2", "3")
		}
		if pos != "" && rot != "" {
			m.Position, m.Rotation, m.RotationAs = pos, rot, as
		}
	}
	take(&m.Joints, sevenJoints(c))
	if col, name := hand(c); col != "" && m.Grip == "" {
		m.Grip, m.GripScale = col, 1
		if !width.MatchString(name) {
			g.note("grip_scale", "%q is taken as metres; for an opening from 0 to 1 set 0.08", name)
		}
	}
}

func (g *guess) action(c table.Column) {
	a := &g.m.Action
	if a.Position = named(c, delta, "x", "y", "z"); a.Position != "" {
		a.RotationAs = RotVec
		if a.Rotation = named(c, deltaRot, "x", "y", "z"); a.Rotation == "" {
			if a.Rotation = named(c, deltaRPY, "roll", "pitch", "yaw"); a.Rotation != "" {
				a.RotationAs = Euler
			}
		}
		g.lost("action.scale", "%q are moves, and the dataset does not say of how many metres a 1 is", a.Position)
	} else if pos := named(c, axis, "x", "y", "z"); pos != "" {
		a.Position, a.Absolute = pos, true
		a.Rotation, a.RotationAs = named(c, quat, "x", "y", "z", "w"), XYZW
		if a.Rotation == "" {
			a.Rotation, a.RotationAs = named(c, angle, "roll", "pitch", "yaw"), Euler
		}
		if a.Rotation == "" {
			a.Rotation, a.RotationAs = named(c, vector, "x", "y", "z"), RotVec
		}
		g.note("action.absolute", "%q is taken as where the tool is sent, not as a move, since the names do not say delta", pos)
	} else if j := sevenJoints(c); j != "" {
		a.Joints, a.Absolute = j, true
		g.note("action.joints", "%q are taken as positions of the joints of a Panda or FR3, in radians", j)
	}
	if col, name := hand(c); col != "" {
		a.Grip, a.Open, a.Closed = col, 1, 0
		if g.m.Grip != "" && width.MatchString(name) {
			a.Open = 0.08
		}
		g.note("action.grip", "%q is taken as %g open, %g closed", name, a.Open, a.Closed)
	}
}

// mapped is the map that was given, with what it leaves open guessed.
func (r *Reader) mapped() (Map, error) {
	m, problems := Guess(r.info)
	given := r.o.Map
	m = given.over(m)
	var errs []error
	for _, p := range problems {
		open := false
		switch p.Field {
		case "position":
			open = m.Joints == "" && (m.Position == "" || m.Rotation == "")
		case "action.position":
			open = m.Action.Position == "" && m.Action.Joints == ""
		case "action.scale":
			open = m.Action.Scale == 0 && given.Action.Position == "" && given.Action.Joints == ""
		}
		if !p.Fatal && !given.says(p.Field) {
			r.guessed = append(r.guessed, p)
		} else if p.Fatal && open {
			errs = append(errs, errors.New(p.String()))
		}
	}
	if len(errs) > 0 {
		return m, r.explain(errors.Join(errs...))
	}
	return m, nil
}

// says reports whether m itself says what a guess was not sure of.
func (m Map) says(field string) bool {
	a := m.Action
	switch field {
	case "base":
		return m.Base != [3]float64{}
	case "rotation_as":
		return m.RotationAs != ""
	case "grip_scale":
		return m.Grip != "" || m.GripScale != 0
	case "action.scale":
		return a.Scale != 0
	case "action.grip":
		return a.Open != a.Closed
	}
	return strings.HasPrefix(field, "action") && (a.Position != "" || a.Joints != "")
}

// over is m, with what it leaves open taken from g. What belongs together is
// taken from one of them.
func (m Map) over(g Map) Map {
	or := func(dst *Columns, c Columns) {
		if *dst == "" {
			*dst = c
		}
	}
	if m.Position == "" && m.Rotation == "" && m.Joints == "" {
		as := m.RotationAs
		m.Position, m.Rotation, m.RotationAs = g.Position, g.Rotation, g.RotationAs
		if as != "" {
			m.RotationAs = as
		}
	}
	or(&m.Joints, g.Joints)
	or(&m.Speeds, g.Speeds)
	or(&m.Wrench, g.Wrench)
	if m.Grip == "" {
		m.Grip = g.Grip
		if m.GripScale == 0 && m.GripOffset == 0 {
			m.GripScale, m.GripOffset = g.GripScale, g.GripOffset
		}
	}
	or(&m.Reward, g.Reward)
	or(&m.Done, g.Done)
	or(&m.Truncated, g.Truncated)
	or(&m.Success, g.Success)
	or(&m.Human, g.Human)
	if len(m.Cameras) == 0 {
		m.Cameras = g.Cameras
	}
	a, b := &m.Action, g.Action
	if a.Position != "" || a.Joints != "" {
		return m
	}
	given := *a
	*a = b
	a.FromState = given.FromState
	a.ToolFrame = given.ToolFrame
	a.Absolute = b.Absolute || given.Absolute
	a.Hold = given.Hold
	if given.Rotation != "" {
		a.Rotation, a.RotationAs = given.Rotation, given.RotationAs
	} else if given.RotationAs != "" {
		a.RotationAs = given.RotationAs
	}
	if given.Scale != 0 {
		a.Scale = given.Scale
	}
	if given.TurnScale != 0 {
		a.TurnScale = given.TurnScale
	}
	if given.Grip != "" {
		a.Grip = given.Grip
	}
	if given.Open != given.Closed {
		a.Open, a.Closed = given.Open, given.Closed
	}
	return m
}

// explain says what there is, and how to say what it means.
func (r *Reader) explain(err error) error {
	var b strings.Builder
	fmt.Fprintf(&b, "dataset: %s: it is not plain what the columns mean:\n", r.info.Path)
	for _, line := range strings.Split(err.Error(), "\n") {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	b.WriteString("it has:\n")
	for _, c := range r.info.Columns {
		fmt.Fprintf(&b, "  %v\n", c)
	}
	for _, c := range r.info.Cameras {
		fmt.Fprintf(&b, "  %v\n", c)
	}
	for _, n := range r.info.Notes {
		fmt.Fprintf(&b, "  (%s)\n", n)
	}
	b.WriteString("say it, for example:\n")
	state, act := "observation.state", "action"
	if r.info.Format == "robomimic" {
		state, act = "obs/state", "actions"
	}
	fmt.Fprintf(&b, `  position: %[1]s[0:3]
  rotation: %[1]s[3:7]
  rotation_as: xyzw
  action: {position: "%[2]s[0:3]", rotation: "%[2]s[3:6]", scale: 0.05, turn_scale: 0.5, grip: "%[2]s[6]", open: -1, closed: 1}`, state, act)
	return errors.New(b.String())
}
