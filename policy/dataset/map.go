package dataset

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy/dataset/table"
)

// Columns says which numbers of a row are meant: a column's name, with the
// numbers that are taken of it in brackets, by place or by name; several are
// joined by "+":
//
//	obs/robot0_eef_pos              all of it
//	observation.state[0:3]          the first three
//	observation.state[6]            the seventh
//	observation.state[x,y,z]        those that the dataset calls x, y and z
//	observation.x+observation.y     one after the other
type Columns string

// Turn says how a rotation is written.
type Turn string

// The ways of writing a rotation. Euler angles turn about the fixed axes x, y and z
// in this order (scipy's "xyz", ROS' roll, pitch, yaw).
const (
	XYZW   Turn = "xyzw" // unit quaternion, as ROS, robosuite and HIL-SERL write it
	WXYZ   Turn = "wxyz" // unit quaternion, as MuJoCo and we write it
	RotVec Turn = "rotvec"
	Euler  Turn = "euler"
)

func (t Turn) width() int {
	switch t {
	case XYZW, WXYZ:
		return 4
	case RotVec, Euler:
		return 3
	}
	return 0
}

// Map says what the columns of a dataset mean. An empty field is not in the
// dataset: what it would fill stays 0.
type Map struct {
	Position   Columns `yaml:"position"`    // of the tool centre point, m (3)
	Rotation   Columns `yaml:"rotation"`    // of the tool (4 or 3)
	RotationAs Turn    `yaml:"rotation_as"` // xyzw unless said otherwise
	// Base is where the arm's base stands in the frame of Position and of absolute
	// actions, m: a simulator's world may be another frame than ours.
	Base   [3]float64 `yaml:"base"`
	Joints Columns    `yaml:"joints"` // rad (7); without Position and Rotation, the pose is the Panda's and FR3's at these
	Speeds Columns    `yaml:"speeds"` // of the joints, rad/s (7)
	Wrench Columns    `yaml:"wrench"` // N and Nm (6), or N (3)
	// Grip is one number, or one per finger; the fingers are
	// GripOffset + GripScale * sum of the absolute values apart, in metres.
	Grip       Columns `yaml:"grip"`
	GripScale  float64 `yaml:"grip_scale"` // 1 if 0; 0.08 for an opening from 0 to 1
	GripOffset float64 `yaml:"grip_offset"`

	Action Action `yaml:"action"`

	Reward    Columns `yaml:"reward"`    // (1)
	Done      Columns `yaml:"done"`      // (1) not 0: the episode is over
	Truncated Columns `yaml:"truncated"` // (1) not 0: it was cut off
	Success   Columns `yaml:"success"`   // (1) not 0: the task is done
	Human     Columns `yaml:"human"`     // (1) not 0: a person intervened

	Cameras []Camera `yaml:"cameras"`
}

// Action says what was commanded.
type Action struct {
	// Absolute: Position and Rotation are where the tool is to go. They become
	// moves of that target, of which the first starts from where the tool was. For
	// moves from where the tool is at every step, set FromState.
	Absolute  bool `yaml:"absolute"`
	FromState bool `yaml:"from_state"`

	Position   Columns `yaml:"position"`    // (3)
	Rotation   Columns `yaml:"rotation"`    // (3), for absolute ones also (4); none: no turning
	RotationAs Turn    `yaml:"rotation_as"` // rotvec unless said otherwise
	Joints     Columns `yaml:"joints"`      // absolute, rad (7): the Panda's and FR3's pose at these, in place of Position and Rotation
	// Scale is the metres of a 1 of Position, and TurnScale the radians of a 1 of
	// Rotation; 1 if 0. robosuite's OSC_POSE: 0.05 and 0.5. HIL-SERL: its ACTION_SCALE.
	Scale     float64 `yaml:"scale"`
	TurnScale float64 `yaml:"turn_scale"`
	// ToolFrame: moves are along the tool's axes, as in HIL-SERL, not the base's.
	ToolFrame bool `yaml:"tool_frame"`

	Grip Columns `yaml:"grip"` // (1)
	// Open and Closed are the numbers that mean so: -1 and 1 in robosuite, 1 and 0
	// or 1 and -1 elsewhere. What is between is partly open; with Hold, what is not
	// within a quarter of the way of either leaves the hand as it was.
	Open   float64 `yaml:"open"`
	Closed float64 `yaml:"closed"`
	Hold   bool    `yaml:"hold"`
}

// Camera says which images are taken, and how they are made ready.
type Camera struct {
	Key  string `yaml:"key"`  // in the dataset
	Name string `yaml:"name"` // here
	Flip bool   `yaml:"flip"` // the images are upside down, as in LIBERO's files
	Crop [4]int `yaml:"crop"` // x, y, width, height in pixels; all 0: the whole image
	W    int    `yaml:"width"`
	H    int    `yaml:"height"` // 0: leave the size
}

// ref is columns as they are read.
type ref struct {
	field string
	parts []part
}

type part struct {
	column string
	width  int   // of the column
	at     []int // of its numbers
}

func (r ref) width() int {
	n := 0
	for _, p := range r.parts {
		n += len(p.at)
	}
	return n
}

// row writes the numbers of step t to dst and returns it.
func (r ref) row(dst []float64, t *table.Table, step int) []float64 {
	dst = dst[:0]
	for _, p := range r.parts {
		xs := t.Row(p.column, step)
		for _, i := range p.at {
			dst = append(dst, xs[i])
		}
	}
	return dst
}

// last is row for what was observed after the last action; false if the
// file does not hold it.
func (r ref) last(dst []float64, t *table.Table) ([]float64, bool) {
	dst = dst[:0]
	for _, p := range r.parts {
		xs, ok := t.Last[p.column]
		if !ok || len(xs) != p.width {
			return nil, false
		}
		for _, i := range p.at {
			dst = append(dst, xs[i])
		}
	}
	return dst, true
}

// resolve finds columns in a dataset. widths are those that the field may have.
func resolve(field string, c Columns, in table.Info, widths ...int) (ref, error) {
	r := ref{field: field}
	if c == "" {
		return r, nil
	}
	for _, text := range strings.Split(string(c), "+") {
		name, pick, brackets := strings.Cut(strings.TrimSpace(text), "[")
		col, ok := in.Column(name)
		if !ok {
			return r, fmt.Errorf("%s: the dataset has no column %q", field, name)
		}
		p := part{column: name, width: col.Width()}
		if !brackets {
			for i := range p.width {
				p.at = append(p.at, i)
			}
		} else {
			pick, ok := strings.CutSuffix(pick, "]")
			if !ok {
				return r, fmt.Errorf("%s: %q has no closing bracket", field, text)
			}
			at, err := picked(pick, col)
			if err != nil {
				return r, fmt.Errorf("%s: %q: %w", field, text, err)
			}
			p.at = at
		}
		r.parts = append(r.parts, p)
	}
	if !slices.Contains(widths, r.width()) {
		var want []string
		for _, w := range widths {
			want = append(want, strconv.Itoa(w))
		}
		return r, fmt.Errorf("%s: %q has %d numbers, want %s; choose some as in NAME[0:%d]", field, c, r.width(), strings.Join(want, " or "), widths[0])
	}
	return r, nil
}

// picked reads what is in brackets.
func picked(pick string, col table.Column) ([]int, error) {
	n := col.Width()
	if a, b, ok := strings.Cut(pick, ":"); ok {
		from, errA := strconv.Atoi(a)
		to, errB := strconv.Atoi(b)
		if a == "" {
			from, errA = 0, nil
		}
		if b == "" {
			to, errB = n, nil
		}
		if errA != nil || errB != nil || from < 0 || to > n || from >= to {
			return nil, fmt.Errorf("want FROM:TO within its %d numbers", n)
		}
		var at []int
		for i := from; i < to; i++ {
			at = append(at, i)
		}
		return at, nil
	}
	var at []int
	for _, one := range strings.Split(pick, ",") {
		one = strings.TrimSpace(one)
		i, err := strconv.Atoi(one)
		if err != nil {
			if i = slices.Index(col.Names, one); i < 0 {
				return nil, fmt.Errorf("it has no number %q: %v", one, col)
			}
		}
		if i < 0 || i >= n {
			return nil, fmt.Errorf("it has the numbers 0 to %d", n-1)
		}
		at = append(at, i)
	}
	return at, nil
}

// plan is a Map that fits a dataset.
type plan struct {
	m                                                Map
	position, rotation, joints, speeds, wrench, grip ref
	reward, done, truncated, success, human          ref
	actPosition, actRotation, actJoints, actGrip     ref
	columns                                          []string
	cameras                                          []string
	prepare                                          map[string]Camera
}

// plan fits m to a dataset, and reports everything that does not.
func (m Map) plan(in table.Info) (*plan, error) {
	if m.RotationAs == "" {
		m.RotationAs = XYZW
	}
	if m.GripScale == 0 {
		m.GripScale = 1
	}
	a := &m.Action
	if a.RotationAs == "" {
		a.RotationAs = RotVec
	}
	if a.Scale == 0 {
		a.Scale = 1
	}
	if a.TurnScale == 0 {
		a.TurnScale = 1
	}
	p := &plan{prepare: map[string]Camera{}}
	var errs []error
	find := func(dst *ref, field string, c Columns, widths ...int) {
		r, err := resolve(field, c, in, widths...)
		if err != nil {
			errs = append(errs, err)
		}
		*dst = r
		for _, part := range r.parts {
			if !slices.Contains(p.columns, part.column) {
				p.columns = append(p.columns, part.column)
			}
		}
	}
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if m.RotationAs.width() == 0 {
		complain("rotation_as is %q, want xyzw, wxyz, rotvec or euler", m.RotationAs)
	}
	if w := a.RotationAs.width(); w == 0 || w == 4 && !a.Absolute {
		complain("action.rotation_as is %q, want rotvec or euler, or for absolute poses also xyzw or wxyz", a.RotationAs)
	}
	find(&p.position, "position", m.Position, 3)
	find(&p.rotation, "rotation", m.Rotation, m.RotationAs.width())
	find(&p.joints, "joints", m.Joints, 7)
	find(&p.speeds, "speeds", m.Speeds, 7)
	find(&p.wrench, "wrench", m.Wrench, 6, 3)
	find(&p.grip, "grip", m.Grip, 1, 2)
	find(&p.reward, "reward", m.Reward, 1)
	find(&p.done, "done", m.Done, 1)
	find(&p.truncated, "truncated", m.Truncated, 1)
	find(&p.success, "success", m.Success, 1)
	find(&p.human, "human", m.Human, 1)
	find(&p.actPosition, "action.position", a.Position, 3)
	find(&p.actRotation, "action.rotation", a.Rotation, a.RotationAs.width())
	find(&p.actJoints, "action.joints", a.Joints, 7)
	find(&p.actGrip, "action.grip", a.Grip, 1)
	if m.Joints == "" && (m.Position == "" || m.Rotation == "") {
		complain("position and rotation say where the tool is; set both, or joints")
	}
	if (m.Position == "") != (m.Rotation == "") {
		complain("position and rotation go together; set both, or only joints")
	}
	if a.Position == "" && a.Joints == "" {
		complain("action.position says where the tool was sent; set it, or action.joints")
	}
	if a.Joints != "" && (a.Position != "" || a.Rotation != "" || !a.Absolute) {
		complain("action.joints are absolute and stand in place of action.position and action.rotation; set action.absolute, or leave action.joints out")
	}
	if a.Absolute && a.ToolFrame {
		complain("action.tool_frame is of moves; leave it out with action.absolute")
	}
	if a.FromState && !a.Absolute {
		complain("action.from_state is of absolute poses; set action.absolute")
	}
	if a.Grip != "" && !(math.Abs(a.Open-a.Closed) > 0) {
		complain("action.open and action.closed are both %v; set the numbers of %q which mean so", a.Open, a.Grip)
	}
	for _, x := range []float64{m.GripScale, m.GripOffset, a.Scale, a.TurnScale, a.Open, a.Closed, m.Base[0], m.Base[1], m.Base[2]} {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			complain("a scale, offset, opening or place of the base is %v", x)
		}
	}
	for i, c := range m.Cameras {
		if !slices.ContainsFunc(in.Cameras, func(h table.Camera) bool { return h.Name == c.Key }) {
			complain("cameras[%d]: the dataset has no camera %q", i, c.Key)
		}
		if c.Name == "" || slices.ContainsFunc(m.Cameras[:i], func(o Camera) bool { return o.Name == c.Name || o.Key == c.Key }) {
			complain("cameras[%d]: camera %q is called %q, want a name of its own, and each camera once", i, c.Key, c.Name)
		}
		if err := c.vision().Validate(); err != nil {
			complain("cameras[%d]: %w", i, err)
		}
		p.cameras = append(p.cameras, c.Key)
		p.prepare[c.Key] = c
	}
	p.m = m
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return p, nil
}

func (c Camera) vision() vision.Prepare { return vision.Prepare{Crop: c.Crop, W: c.W, H: c.H} }
