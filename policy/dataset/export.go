package dataset

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/dataset/lerobot"
	"github.com/rapport-rl/rapport/policy/dataset/table"
	"github.com/rapport-rl/rapport/robot"
)

// Exporter writes episodes as a LeRobot v3.0 dataset. Its columns are those that
// LeRobot's policies look for, in single precision, and ours beside them, exactly:
//
//	observation.state   x, y, z, qx, qy, qz, qw, joint_1..7, gripper_width: m, rad, base frame
//	action              delta_x.. delta_rz (m, rotation vector), gripper (0 closed, 1 open)
//	observation.images.CAMERA
//	next.reward, next.done, next.truncated, complementary_info.is_intervention
//	rapport.state       position, quaternion wxyz, joints, speeds, wrench, grip (28)
//	rapport.command     delta, grip (7)
//	rapport.reward
//
// LeRobot keeps an observation for each action, so that the observation after the
// last one is lost. Open reads all else back as it was.
type Exporter struct {
	w       *lerobot.Writer
	dir     string
	o       ExportOptions
	rewards bool
	cameras []string
	notes   []string
	err     error // of the beginning
}

// ExportOptions says what the episodes do not.
type ExportOptions struct {
	Robot string  // type of the arm; "franka" if empty
	Task  string  // what the arm was to do
	FPS   float64 // of the ticks, where the first episode's stamps tell none, or less exactly (jitter)
	// Images keeps frames as PNG among the rows, bit for bit, instead of as films of
	// a fifteenth of the size.
	Images bool
	// NoRewards leaves rewards out, as where some episodes have none: a dataset has the
	// column or not.
	NoRewards bool
}

const (
	stateWidth   = 28
	commandWidth = 7
	ourState     = "rapport.state"
	ourCommand   = "rapport.command"
	ourReward    = "rapport.reward"
	intervened   = "complementary_info.is_intervention"
)

// NewExporter begins a dataset in a folder, which must be empty or new.
func NewExporter(dir string, o ExportOptions) *Exporter {
	if o.Robot == "" {
		o.Robot = "franka"
	}
	return &Exporter{dir: dir, o: o}
}

// Notes says what the reader of the dataset should know.
func (x *Exporter) Notes() []string { return x.notes }

// Len is how many episodes were written.
func (x *Exporter) Len() int {
	if x.w == nil {
		return 0
	}
	return x.w.Len()
}

// Add writes an episode, which is whole and durable when Add returns. The first one
// says which cameras there are, and whether there are rewards.
func (x *Exporter) Add(ctx context.Context, e policy.Episode) error {
	if err := e.Validate(); err != nil {
		return fmt.Errorf("dataset: export: %w", err)
	}
	if x.w == nil {
		if x.err == nil {
			x.err = x.begin(&e)
		}
		if x.err != nil {
			return fmt.Errorf("dataset: export: %w", x.err)
		}
	}
	if x.o.NoRewards {
		e.Rewards = nil
	}
	if (e.Rewards != nil) != x.rewards {
		return fmt.Errorf("dataset: export: episode %s: some episodes have rewards and some do not; export them into folders of their own", e.ID)
	}
	odd := false
	for t := 1; t < len(e.Inputs); t++ {
		if d := e.Inputs[t].State.Stamp.Sub(e.Inputs[t-1].State.Stamp).Seconds() * x.o.FPS; math.Abs(d-1) > 0.5 {
			x.note("%s: steps %d and %d are %.3g ticks apart; the dataset has them one apart", e.ID, t-1, t, d)
			odd = true
			break
		}
	}
	if r := rateOf(&e); !odd && r > 0 && math.Abs(r/x.o.FPS-1) > drift {
		x.note("the stamps of %s tell a rate of %.4g; the dataset has %.4g", e.ID, r, x.o.FPS)
	}
	t, err := x.table(&e)
	if err != nil {
		return fmt.Errorf("dataset: export: episode %s: %w", e.ID, err)
	}
	if err := x.w.Add(ctx, t); err != nil {
		return fmt.Errorf("dataset: export: %w", err)
	}
	return nil
}

// Err is nil while more episodes can be added: one that Add refuses leaves the
// dataset as it was.
func (x *Exporter) Err() error {
	if x.w == nil {
		return x.err
	}
	return x.w.Err()
}

// Close ends the dataset.
func (x *Exporter) Close() error {
	if x.w == nil {
		return errors.New("dataset: export: no episode was written")
	}
	return x.w.Close()
}

func (x *Exporter) note(format string, args ...any) {
	if len(x.notes) < 20 {
		x.notes = append(x.notes, fmt.Sprintf(format, args...))
	}
}

func (x *Exporter) begin(e *policy.Episode) error {
	told, named := rateOf(e), x.o.FPS
	switch {
	case told == 0 && named == 0:
		return fmt.Errorf("episode %s has no times to tell the rate from; name the rate", e.ID)
	case told == 0, named > 0 && math.Abs(told/named-1) <= jitter:
	default:
		// LeRobot wants a whole number where it is one.
		x.o.FPS = told
		if r := math.Round(told); math.Abs(told-r) < 0.01*r {
			x.o.FPS = r
		} else {
			x.note("the stamps of %s tell a rate of %.6g; LeRobot wants a whole number, so name the rate", e.ID, told)
		}
		if named > 0 {
			x.note("the stamps of %s tell a rate of %.4g, and not the %.4g that was named, which would be another speed; the dataset has %.4g", e.ID, told, named, x.o.FPS)
		}
	}
	x.rewards = e.Rewards != nil && !x.o.NoRewards
	spec := lerobot.Spec{Robot: x.o.Robot, FPS: x.o.FPS, Images: x.o.Images, Columns: []table.Column{
		{Name: "observation.state", Kind: "float32", Shape: []int{15}, Names: []string{"x", "y", "z", "qx", "qy", "qz", "qw",
			"joint_1", "joint_2", "joint_3", "joint_4", "joint_5", "joint_6", "joint_7", "gripper_width"}},
		{Name: "action", Kind: "float32", Shape: []int{commandWidth}, Names: []string{"delta_x", "delta_y", "delta_z", "delta_rx", "delta_ry", "delta_rz", "gripper"}},
		{Name: ourState, Kind: "float64", Shape: []int{stateWidth}},
		{Name: ourCommand, Kind: "float64", Shape: []int{commandWidth}},
		{Name: "next.done", Kind: "bool", Shape: []int{1}},
		{Name: "next.truncated", Kind: "bool", Shape: []int{1}},
		{Name: intervened, Kind: "bool", Shape: []int{1}},
	}}
	if x.rewards {
		spec.Columns = append(spec.Columns, table.Column{Name: "next.reward", Kind: "float32", Shape: []int{1}}, table.Column{Name: ourReward, Kind: "float64", Shape: []int{1}})
	}
	for _, f := range e.Inputs[0].Frames {
		x.cameras = append(x.cameras, f.Camera)
		spec.Cameras = append(spec.Cameras, table.Camera{Name: "observation.images." + f.Camera, W: f.W, H: f.H})
		if f.W%2+f.H%2 > 0 && !x.o.Images {
			x.note("camera %s has %dx%d pixels; films have even sides, so that its last column or row is doubled", f.Camera, f.W, f.H)
		}
	}
	if len(x.cameras) == 0 {
		x.note("the episodes hold no frames, and so does the dataset")
	}
	var err error
	x.w, err = lerobot.Create(x.dir, spec)
	return err
}

// A rate that is named is that of stamps which tell another by at most jitter; one beyond that would
// be another speed. Beyond drift the reader is told.
const (
	jitter = 0.05
	drift  = 0.02
)

// rateOf is the mean rate that an episode's stamps tell, 0 for none.
func rateOf(e *policy.Episode) float64 {
	d := e.Inputs[len(e.Inputs)-1].State.Stamp.Sub(e.Inputs[0].State.Stamp).Seconds()
	if !(d > 0) {
		return 0
	}
	return float64(e.Len()) / d
}

// table is the episode's T rows.
func (x *Exporter) table(e *policy.Episode) (table.Table, error) {
	T := e.Len()
	t := table.Table{Name: e.ID, Task: x.o.Task, Len: T, Columns: map[string][]float64{}}
	put := func(name string, xs ...float64) { t.Columns[name] = append(t.Columns[name], xs...) }
	for i := range T {
		s, c := &e.Inputs[i].State, &e.Applied[i]
		put("observation.state", s.EE.P[:]...)
		put("observation.state", s.EE.Q[1], s.EE.Q[2], s.EE.Q[3], s.EE.Q[0])
		put("observation.state", append(slices.Clone(s.Q[:]), s.Grip)...)
		put("action", append(slices.Clone(c.Delta[:]), c.Grip)...)
		put(ourState, slices.Concat(s.EE.P[:], s.EE.Q[:], s.Q[:], s.DQ[:], s.Wrench[:], []float64{s.Grip})...)
		put(ourCommand, append(slices.Clone(c.Delta[:]), c.Grip)...)
		put("next.done", bit(i == T-1))
		put("next.truncated", bit(i == T-1 && !e.Terminal))
		put(intervened, bit(e.By[i] == robot.ByHuman))
		if x.rewards {
			put("next.reward", e.Rewards[i])
			put(ourReward, e.Rewards[i])
		}
		if len(x.cameras) == 0 {
			continue
		}
		var row []robot.Frame
		for _, name := range x.cameras {
			at := slices.IndexFunc(e.Inputs[i].Frames, func(f robot.Frame) bool { return f.Camera == name })
			if at < 0 {
				return t, fmt.Errorf("step %d has no frame of the camera %q, which the first episode has", i, name)
			}
			row = append(row, e.Inputs[i].Frames[at])
		}
		t.Frames = append(t.Frames, row)
	}
	return t, nil
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// ours understands the columns that an Exporter wrote, exactly.
func (g *guess) ours() bool {
	s, ok := g.in.Column(ourState)
	c, ok2 := g.in.Column(ourCommand)
	if !ok || !ok2 || s.Width() != stateWidth || c.Width() != commandWidth {
		return false
	}
	at := func(from, to int) Columns { return Columns(fmt.Sprintf("%s[%d:%d]", ourState, from, to)) }
	m := &g.m
	m.Position, m.Rotation, m.RotationAs = at(0, 3), at(3, 7), WXYZ
	m.Joints, m.Speeds, m.Wrench = at(7, 14), at(14, 21), at(21, 27)
	m.Grip, m.GripScale = Columns(ourState+"[27]"), 1
	m.Action = Action{Position: ourCommand + "[0:3]", Rotation: ourCommand + "[3:6]", RotationAs: RotVec, Scale: 1, TurnScale: 1, Grip: ourCommand + "[6]", Open: 1}
	return true
}
