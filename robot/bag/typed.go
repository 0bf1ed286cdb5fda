package bag

import (
	"bytes"
	"fmt"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// Picture is a sensor_msgs/Image or CompressedImage as it was sent.
type Picture struct {
	Stamp     time.Time // of its header; zero if that has none
	Encoding  string    // "rgb8", ...; of a compressed one its format, as "jpeg" or "rgb8; jpeg compressed bgr8"
	W, H      int       // 0 if compressed
	Step      int       // bytes of a row
	BigEndian bool
	Packed    bool   // compressed
	Data      []byte // valid as long as the message
}

// Joints is a sensor_msgs/JointState: rad or m, rad/s or m/s, Nm or N.
type Joints struct {
	Stamp                      time.Time
	Names                      []string
	Position, Velocity, Effort []float64 // as long as Names, or empty
}

// Stamped is a geometry_msgs/PoseStamped.
type Stamped struct {
	Stamp time.Time
	Frame string
	Pose  robot.Pose // quaternion turned to wxyz and to unit length
}

// Franka is what a loop needs of a franka_msgs/FrankaState, of any version.
type Franka struct {
	Stamp        time.Time
	Q, DQ, Tau   [7]float64  // rad, rad/s, Nm
	EE, Target   robot.Pose  // O_T_EE, O_T_EE_d: base frame
	Wrench       [6]float64  // O_F_ext_hat_K: N and Nm, base frame
	TauExt       [7]float64  // tau_ext_hat_filtered, Nm
	Mode         int         // robot_mode
	Success      float64     // control_command_success_rate, 0 to 1
	pose, wanted [16]float64 // scratch
}

// places are the paths of the fields of those types; those that a type lacks
// have no steps.
type places struct {
	stamp, frame                              Path
	height, width, encoding, big, step, data  Path
	format                                    Path
	name, position, velocity, effort          Path
	point, turn                               Path
	q, dq, tau, ee, target, wrench, ext, mode Path
	success                                   Path
	image, packed, joints, posed, arm         bool
}

func (d *Decoder) learnPlaces() {
	p := &d.at
	have := func(dst *Path, path string, typ ...string) bool {
		found, err := d.Path(path)
		if err != nil {
			return false
		}
		t := found.typeOf(d.root)
		for _, want := range typ {
			if t == want {
				*dst = found
				return true
			}
		}
		return false
	}
	if !have(&p.stamp, "header.stamp", "time", "builtin_interfaces/Time", "builtin_interfaces/msg/Time") {
		return
	}
	have(&p.frame, "header.frame_id", "string")
	bytes := []string{"uint8[]", "byte[]", "char[]"}
	p.image = have(&p.height, "height", "uint32") && have(&p.width, "width", "uint32") && have(&p.encoding, "encoding", "string") &&
		have(&p.big, "is_bigendian", "uint8") && have(&p.step, "step", "uint32") && have(&p.data, "data", bytes...)
	p.packed = have(&p.format, "format", "string") && have(&p.data, "data", bytes...)
	p.joints = have(&p.name, "name", "string[]") && have(&p.position, "position", "float64[]") && have(&p.velocity, "velocity", "float64[]") && have(&p.effort, "effort", "float64[]")
	p.posed = have(&p.point, "pose.position", "Point", "geometry_msgs/Point", "geometry_msgs/msg/Point") && have(&p.turn, "pose.orientation", "Quaternion", "geometry_msgs/Quaternion", "geometry_msgs/msg/Quaternion")
	p.arm = have(&p.q, "q", "float64[7]") && have(&p.dq, "dq", "float64[7]") && have(&p.ee, "O_T_EE", "float64[16]")
	have(&p.tau, "tau_J", "float64[7]")
	have(&p.target, "O_T_EE_d", "float64[16]")
	have(&p.wrench, "O_F_ext_hat_K", "float64[6]")
	have(&p.ext, "tau_ext_hat_filtered", "float64[7]")
	have(&p.mode, "robot_mode", "uint8")
	have(&p.success, "control_command_success_rate", "float64")
}

// typeOf is the type of the field that a path leads to.
func (p Path) typeOf(f *field) string {
	for _, i := range p.steps {
		f = &f.msg.fields[i]
	}
	return f.text
}

// wrong is the error for a type that lacks what is asked for.
func (d *Decoder) wrong(want string) error {
	return fmt.Errorf("bag: %s is not laid out as %s", d.root.name, want)
}

// stampAt is the header's stamp, zero if it was not set.
func (v Value) stampAt(p Path) time.Time {
	if ns := v.At(p).Int(); ns != 0 {
		return unix(ns)
	}
	return time.Time{}
}

// textAt keeps old if it says the same, so that nothing is allocated.
func (v Value) textAt(p Path, old string) string {
	if b := v.At(p).Bytes(); string(b) != old {
		return string(b)
	}
	return old
}

// Picture reads a sensor_msgs/Image or CompressedImage into p.
func (d *Decoder) Picture(data []byte, p *Picture) error {
	if !d.at.image && !d.at.packed {
		return d.wrong("sensor_msgs/Image or CompressedImage")
	}
	v, err := d.Decode(data)
	if err != nil {
		return err
	}
	*p = Picture{Stamp: v.stampAt(d.at.stamp), Encoding: p.Encoding, Packed: !d.at.image, Data: v.At(d.at.data).Bytes()}
	if p.Packed {
		p.Encoding = v.textAt(d.at.format, p.Encoding)
		return nil
	}
	p.W, p.H, p.Step = int(v.At(d.at.width).Int()), int(v.At(d.at.height).Int()), int(v.At(d.at.step).Int())
	p.BigEndian = v.At(d.at.big).Int() != 0
	p.Encoding = v.textAt(d.at.encoding, p.Encoding)
	return nil
}

// Joints reads a sensor_msgs/JointState into j, whose slices it uses again.
func (d *Decoder) Joints(data []byte, j *Joints) error {
	if !d.at.joints {
		return d.wrong("sensor_msgs/JointState")
	}
	v, err := d.Decode(data)
	if err != nil {
		return err
	}
	j.Stamp = v.stampAt(d.at.stamp)
	names := v.At(d.at.name)
	n, off := names.array()
	if n > cap(j.Names) {
		j.Names = append(j.Names[:cap(j.Names)], make([]string, n-cap(j.Names))...)
	}
	j.Names = j.Names[:n]
	for i := range j.Names {
		one := Value{names.f, names.b, off, true}
		if b := one.Bytes(); !bytes.Equal(b, []byte(j.Names[i])) {
			j.Names[i] = string(b)
		}
		off, _ = v.b.skipOne(names.f, off)
	}
	j.Position = v.At(d.at.position).Floats(j.Position[:0])
	j.Velocity = v.At(d.at.velocity).Floats(j.Velocity[:0])
	j.Effort = v.At(d.at.effort).Floats(j.Effort[:0])
	return nil
}

// Pose reads a geometry_msgs/PoseStamped into p.
func (d *Decoder) Pose(data []byte, p *Stamped) error {
	if !d.at.posed {
		return d.wrong("geometry_msgs/PoseStamped")
	}
	v, err := d.Decode(data)
	if err != nil {
		return err
	}
	p.Stamp, p.Frame = v.stampAt(d.at.stamp), v.textAt(d.at.frame, p.Frame)
	point, turn := v.At(d.at.point), v.At(d.at.turn)
	for i := range 3 {
		p.Pose.P[i] = point.Index(i).Float()
		p.Pose.Q[i+1] = turn.Index(i).Float()
	}
	p.Pose.Q[0] = turn.Index(3).Float()
	p.Pose.Q = franka.Unit(p.Pose.Q)
	return nil
}

// Franka reads a franka_msgs/FrankaState into s.
func (d *Decoder) Franka(data []byte, s *Franka) error {
	if !d.at.arm {
		return d.wrong("franka_msgs/FrankaState")
	}
	v, err := d.Decode(data)
	if err != nil {
		return err
	}
	*s = Franka{Stamp: v.stampAt(d.at.stamp)}
	v.At(d.at.q).Floats(s.Q[:0])
	v.At(d.at.dq).Floats(s.DQ[:0])
	v.At(d.at.ee).Floats(s.pose[:0])
	s.EE = franka.Matrix(&s.pose)
	s.EE.Q = franka.Unit(s.EE.Q)
	// Of the rest, versions have different parts.
	if d.at.target.steps != nil {
		v.At(d.at.target).Floats(s.wanted[:0])
		s.Target = franka.Matrix(&s.wanted)
		s.Target.Q = franka.Unit(s.Target.Q)
	}
	for _, f := range []struct {
		at  Path
		dst []float64
	}{{d.at.tau, s.Tau[:0]}, {d.at.wrench, s.Wrench[:0]}, {d.at.ext, s.TauExt[:0]}} {
		if f.at.steps != nil {
			v.At(f.at).Floats(f.dst)
		}
	}
	if d.at.mode.steps != nil {
		s.Mode = int(v.At(d.at.mode).Int())
	}
	if d.at.success.steps != nil {
		s.Success = v.At(d.at.success).Float()
	}
	return nil
}
