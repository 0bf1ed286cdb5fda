package rosarm

import (
	"errors"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/arm"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/serl"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// outlets are the publishers.
type outlets struct {
	state    *ros.Publisher[frankamsg.FrankaState]
	joint    *ros.Publisher[std.JointState]
	merged   *ros.Publisher[std.JointState]
	finger   *ros.Publisher[std.JointState]
	jac      *ros.Publisher[serl.ZeroJacobian]
	tf       *ros.Publisher[std.TFMessage]
	tfStatic *ros.Publisher[std.TFMessage]
}

func advertise[T any](s *Sim, topic string, latch bool, errs *[]error) *ros.Publisher[T] {
	p, err := ros.Advertise[T](s.n, topic, latch)
	if err != nil {
		*errs = append(*errs, err)
		return nil
	}
	s.topics = append(s.topics, io.Closer(p))
	return p
}

func (s *Sim) advertise() error {
	var errs []error
	s.out = outlets{
		state:    advertise[frankamsg.FrankaState](s, arm.StateTopic, false, &errs),
		joint:    advertise[std.JointState](s, arm.JointTopic, false, &errs),
		merged:   advertise[std.JointState](s, "/joint_states", false, &errs),
		finger:   advertise[std.JointState](s, arm.FingerTopic, false, &errs),
		jac:      advertise[serl.ZeroJacobian](s, arm.JacobianTopic, false, &errs),
		tf:       advertise[std.TFMessage](s, "/tf", false, &errs),
		tfStatic: advertise[std.TFMessage](s, "/tf_static", true, &errs),
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.out.tfStatic.Publish(s.fixed())
	return nil
}

// due says whether something that happens rate times a second is due at now, and
// when it is next.
func due(next *float64, now, rate float64) bool {
	if now < *next {
		return false
	}
	*next = math.Max(*next+1/rate, now)
	return true
}

// The gripper is read at 10 Hz, and what was read is published at 30.
const fingerRate, fingerReads = 30, 3

func (s *Sim) publish() error {
	now := s.now()
	if due(&s.nextAt.state, now, s.cfg.States) {
		s.out.state.Publish(s.frankaState())
		j := s.jointState()
		s.out.joint.Publish(j)
		s.out.merged.Publish(j)
		s.out.tf.Publish(s.moving())
	}
	if due(&s.nextAt.jac, now, s.cfg.Jacobian) {
		_, jac := franka.Jacobian(&s.state.Q)
		m := &serl.ZeroJacobian{}
		for c := range 7 {
			for r := range 6 {
				m.ZeroJacobian[6*c+r] = jac[r][c] // column-major
			}
		}
		s.out.jac.Publish(m)
	}
	if due(&s.nextAt.finger, now, fingerRate) {
		if s.reads%fingerReads == 0 {
			s.grip = s.state.Grip
		}
		s.reads++
		s.out.finger.Publish(&std.JointState{
			Header: std.Header{Stamp: s.stamp()}, Name: []string{s.cfg.ArmID + "_finger_joint1", s.cfg.ArmID + "_finger_joint2"},
			Position: []float64{s.grip / 2, s.grip / 2}, Velocity: []float64{0, 0}, Effort: []float64{0, 0},
		})
	}
	if due(&s.nextAt.frame, now, s.cfg.FPS) && len(s.cfg.World.Cameras) > 0 && s.cfg.World.Render != tabletop.None {
		fs, err := s.w.Look(s.frames, s.stamp())
		if err != nil {
			return err
		}
		s.frames++
		s.eye.show(fs)
	}
	return nil
}

func (s *Sim) jointState() *std.JointState {
	m := &std.JointState{Header: std.Header{Stamp: s.stamp()}, Position: s.state.Q[:], Velocity: s.state.DQ[:], Effort: s.tau[:]}
	for i := range 7 {
		m.Name = append(m.Name, s.cfg.ArmID+"_joint"+strconv.Itoa(i+1))
	}
	// The simulation goes on while the message is sent.
	m.Position, m.Velocity, m.Effort = append([]float64(nil), m.Position...), append([]float64(nil), m.Velocity...), append([]float64(nil), m.Effort...)
	return m
}

func (s *Sim) frankaState() *frankamsg.FrankaState {
	st := &s.state
	m := &frankamsg.FrankaState{
		Q: st.Q, Dq: st.DQ, QD: st.Q, DqD: st.DQ, Theta: st.Q, Dtheta: st.DQ,
		TauJ: s.tau, TauJD: s.tau, TauExtHatFiltered: s.feeling.torque,
		OTEE: columns(st.EE), OTEED: columns(s.law.now), OTEEC: columns(s.law.now),
		FTEE: columns(toolPose()), FTNE: columns(toolPose()), NETEE: columns(still()), EETK: columns(still()),
		MEe: handMass, MLoad: s.load.mass, FXCload: s.load.centre, ILoad: s.load.inertia, MTotal: handMass + s.load.mass,
		Time: s.now(), ControlCommandSuccessRate: 1, RobotMode: s.mode,
	}
	m.Header = std.Header{Stamp: s.stamp()}
	m.Elbow = [2]float64{st.Q[2], math.Copysign(1, st.Q[3])}
	w := &s.feeling.wrench
	back := franka.Conj(st.EE.Q)
	f := franka.Rotate(back, [3]float64{w[0], w[1], w[2]})
	t := franka.Rotate(back, [3]float64{w[3], w[4], w[5]})
	m.KFExtHatK = [6]float64{f[0], f[1], f[2], t[0], t[1], t[2]}
	p := st.EE.P // the torque about the base, as the arm tells it
	m.OFExtHatK = [6]float64{w[0], w[1], w[2], w[3] + p[1]*w[2] - p[2]*w[1], w[4] + p[2]*w[0] - p[0]*w[2], w[5] + p[0]*w[1] - p[1]*w[0]}
	for i := range 6 {
		m.CartesianContact[i], m.CartesianCollision[i] = flag(w[i], s.th.forceLow[i]), flag(w[i], s.th.forceHigh[i])
	}
	for i := range 7 {
		m.JointContact[i], m.JointCollision[i] = flag(s.feeling.torque[i], s.th.torqueLow[i]), flag(s.feeling.torque[i], s.th.torqueHigh[i])
	}
	raise(&m.CurrentErrors, s.errors)
	raise(&m.LastMotionErrors, s.last)
	return m
}

// handMass is that of a Franka Hand, kg.
const handMass = 0.73

func flag(v, limit float64) float64 {
	if math.Abs(v) > limit {
		return 1
	}
	return 0
}

// raise sets fields by their names in the message.
func raise(e *frankamsg.Errors, names []string) {
	for _, n := range names {
		var camel strings.Builder
		for _, w := range strings.Split(n, "_") {
			camel.WriteString(strings.ToUpper(w[:1]) + w[1:])
		}
		f := reflect.ValueOf(e).Elem().FieldByName(camel.String())
		if !f.IsValid() {
			panic("rosarm: franka_msgs/Errors has no such field")
		}
		f.SetBool(true)
	}
}

// columns is the transform of a pose, column-major.
func columns(p robot.Pose) (m [16]float64) {
	for c := range 3 {
		var e [3]float64
		e[c] = 1
		v := franka.Rotate(p.Q, e)
		m[4*c], m[4*c+1], m[4*c+2] = v[0], v[1], v[2]
	}
	m[12], m[13], m[14], m[15] = p.P[0], p.P[1], p.P[2], 1
	return m
}

func still() robot.Pose { return robot.Pose{Q: [4]float64{1, 0, 0, 0}} }

// toolLength is from the flange to between the finger tips, m.
const toolLength = 0.1034

// toolPose is the tool centre point in the flange's frame: turned by -45° about z.
func toolPose() robot.Pose {
	return robot.Pose{P: [3]float64{0, 0, toolLength}, Q: franka.Exp([3]float64{0, 0, -math.Pi / 4})}
}

// handPose is where the hand's frame is: that of the tool centre point, moved back.
func (s *Sim) handPose() robot.Pose {
	ee := s.state.EE
	back := franka.Rotate(ee.Q, [3]float64{0, 0, -toolLength})
	for i := range back {
		ee.P[i] += back[i]
	}
	return ee
}

func (s *Sim) transform(parent, child string, p robot.Pose, stamp time.Time) std.TransformStamped {
	return std.TransformStamped{
		Header: std.Header{Stamp: stamp, FrameId: parent}, ChildFrameId: child,
		Transform: std.Transform{
			Translation: std.Vector3{X: p.P[0], Y: p.P[1], Z: p.P[2]},
			Rotation:    std.Quaternion{X: p.Q[1], Y: p.Q[2], Z: p.Q[3], W: p.Q[0]},
		},
	}
}

func (s *Sim) moving() *std.TFMessage {
	return &std.TFMessage{Transforms: []std.TransformStamped{s.transform(s.cfg.ArmID+"_link0", s.cfg.ArmID+"_hand", s.handPose(), s.stamp())}}
}

// fixed are the transforms that stay: of the tool centre point and the cameras.
func (s *Sim) fixed() *std.TFMessage {
	m := &std.TFMessage{}
	add := func(parent, child string, p robot.Pose) {
		m.Transforms = append(m.Transforms, s.transform(parent, child, p, s.n.Now()))
	}
	add(s.cfg.ArmID+"_hand", s.cfg.ArmID+"_hand_tcp", robot.Pose{P: [3]float64{0, 0, toolLength}, Q: [4]float64{1, 0, 0, 0}})
	for _, c := range s.cfg.World.Cameras {
		l, _ := tabletop.LensOf(c.Name)
		parent := s.cfg.ArmID + "_link0"
		if l.OnHand {
			parent = s.cfg.ArmID + "_hand"
		}
		add(parent, opticalFrame(c.Name), l.Pose)
	}
	return m
}

func opticalFrame(camera string) string { return camera + "_color_optical_frame" }
