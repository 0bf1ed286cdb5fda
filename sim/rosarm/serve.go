package rosarm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/arm"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/gripper"
	"github.com/rapport-rl/rapport/robot/ros/msgs/reconfigure"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// serve offers what is asked of an arm, and listens to its target.
func (s *Sim) serve() error {
	var errs []error
	keep := func(c io.Closer, err error) {
		if err != nil {
			errs = append(errs, err)
		} else {
			s.topics = append(s.topics, c)
		}
	}
	keep(ros.Subscribe(s.n, arm.PoseTopic, s.follow))
	keep(ros.Serve(s.n, ResetService, func(*std.TriggerReq) (*std.TriggerRes, error) {
		if err := s.again(context.Background()); err != nil {
			return &std.TriggerRes{Message: err.Error()}, nil
		}
		return &std.TriggerRes{Success: true}, nil
	}))
	keep(ros.Serve(s.n, StopService, func(r *std.SetBoolReq) (*std.SetBoolRes, error) {
		return &std.SetBoolRes{Success: true}, s.UserStop(r.Data)
	}))
	s.serveSettings(keep)
	s.serveCompliance(keep)
	s.serveActions(keep)
	return errors.Join(errs...)
}

// follow takes a new target, unless the arm has stopped itself.
func (s *Sim) follow(m *std.PoseStamped) {
	p, q := m.Pose.Position, m.Pose.Orientation
	for _, v := range []float64{p.X, p.Y, p.Z, q.X, q.Y, q.Z, q.W} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			s.log.Warn("rosarm: a target that is no pose", "pose", m.Pose)
			return
		}
	}
	_ = s.do(func() { // only after the end there is nobody to do it
		if s.mode == frankamsg.Move {
			s.law.target.P = [3]float64{p.X, p.Y, p.Z}
			s.law.target.Q = franka.Unit([4]float64{q.W, q.X, q.Y, q.Z})
		}
	})
}

// answer is how the arm's services say no: with success false, not as errors of
// the call.
func answer(err error) (bool, string) {
	if err != nil {
		return false, err.Error()
	}
	return true, ""
}

func (s *Sim) serveSettings(keep func(io.Closer, error)) {
	keep(ros.Serve(s.n, arm.LoadService, func(r *frankamsg.SetLoadReq) (*frankamsg.SetLoadRes, error) {
		var err error
		if !(r.Mass >= 0) || r.Mass > 3 {
			err = fmt.Errorf("load of %g kg, want 0 to 3", r.Mass)
		} else if !s.cfg.Deaf {
			err = s.do(func() { s.load = load{r.Mass, r.FXCenterLoad, r.LoadInertia} })
		}
		var res frankamsg.SetLoadRes
		res.Success, res.Error = answer(err)
		return &res, nil
	}))
	set := func(t thresholds) (bool, string) {
		if err := t.valid(); err != nil {
			return answer(err)
		}
		return answer(s.do(func() { s.th = t }))
	}
	keep(ros.Serve(s.n, arm.CollisionService, func(r *frankamsg.SetForceTorqueCollisionBehaviorReq) (*frankamsg.SetForceTorqueCollisionBehaviorRes, error) {
		var res frankamsg.SetForceTorqueCollisionBehaviorRes
		res.Success, res.Error = set(thresholds{
			torqueLow: r.LowerTorqueThresholdsNominal, torqueHigh: r.UpperTorqueThresholdsNominal,
			forceLow: r.LowerForceThresholdsNominal, forceHigh: r.UpperForceThresholdsNominal,
		})
		return &res, nil
	}))
	keep(ros.Serve(s.n, "/franka_control/set_full_collision_behavior", func(r *frankamsg.SetFullCollisionBehaviorReq) (*frankamsg.SetFullCollisionBehaviorRes, error) {
		var res frankamsg.SetFullCollisionBehaviorRes
		res.Success, res.Error = set(thresholds{
			torqueLow: r.LowerTorqueThresholdsNominal, torqueHigh: r.UpperTorqueThresholdsNominal,
			forceLow: r.LowerForceThresholdsNominal, forceHigh: r.UpperForceThresholdsNominal,
		})
		return &res, nil
	}))
	// These configure the arm's inner controllers, which a torque controller does
	// not use.
	keep(ros.Serve(s.n, "/franka_control/set_joint_impedance", func(*frankamsg.SetJointImpedanceReq) (*frankamsg.SetJointImpedanceRes, error) {
		return &frankamsg.SetJointImpedanceRes{Success: true}, nil
	}))
	keep(ros.Serve(s.n, "/franka_control/set_cartesian_impedance", func(*frankamsg.SetCartesianImpedanceReq) (*frankamsg.SetCartesianImpedanceRes, error) {
		return &frankamsg.SetCartesianImpedanceRes{Success: true}, nil
	}))
	const fixed = "the simulated arm has a Franka Hand and no other frames"
	keep(ros.Serve(s.n, "/franka_control/set_EE_frame", func(*frankamsg.SetEEFrameReq) (*frankamsg.SetEEFrameRes, error) {
		return &frankamsg.SetEEFrameRes{Error: fixed}, nil
	}))
	keep(ros.Serve(s.n, "/franka_control/set_K_frame", func(*frankamsg.SetKFrameReq) (*frankamsg.SetKFrameRes, error) {
		return &frankamsg.SetKFrameRes{Error: fixed}, nil
	}))
}

// knob is a parameter of the controller, with the range of its reconfigure.
type knob struct {
	name string
	max  float64
	at   func(g *gains) *float64
	neg  bool // kept with the other sign
}

func knobs() []knob {
	ks := []knob{
		{"translational_stiffness", 6000, func(g *gains) *float64 { return &g.trans }, false},
		{"translational_damping", 400, func(g *gains) *float64 { return &g.transDamping }, false},
		{"rotational_stiffness", 300, func(g *gains) *float64 { return &g.rot }, false},
		{"rotational_damping", 30, func(g *gains) *float64 { return &g.rotDamping }, false},
		{"nullspace_stiffness", 100, func(g *gains) *float64 { return &g.null }, false},
		{"joint1_nullspace_stiffness", 100, func(g *gains) *float64 { return &g.null1 }, false},
	}
	for _, kind := range []string{"translational", "rotational"} {
		for i, axis := range []string{"x", "y", "z"} {
			low := func(g *gains) *float64 { return &g.transMin[i] }
			high := func(g *gains) *float64 { return &g.transMax[i] }
			if kind == "rotational" {
				low = func(g *gains) *float64 { return &g.rotMin[i] }
				high = func(g *gains) *float64 { return &g.rotMax[i] }
			}
			ks = append(ks, knob{kind + "_clip_neg_" + axis, 0.1, low, true}, knob{kind + "_clip_" + axis, 0.1, high, false})
		}
	}
	return ks
}

// settings are the parameters as they hold.
func (s *Sim) settings() reconfigure.Config {
	var c reconfigure.Config
	for _, k := range knobs() {
		v := *k.at(&s.law.want)
		if k.neg {
			v = -v
		}
		c.Doubles = append(c.Doubles, reconfigure.DoubleParameter{Name: k.name, Value: v})
	}
	for _, off := range []string{"translational_Ki", "rotational_Ki"} {
		c.Doubles = append(c.Doubles, reconfigure.DoubleParameter{Name: off})
	}
	c.Groups = []reconfigure.GroupState{{Name: "Default", State: true}}
	return c
}

func (s *Sim) serveCompliance(keep func(io.Closer, error)) {
	updates, err := ros.Advertise[reconfigure.Config](s.n, arm.ComplianceNode+"/parameter_updates", true)
	keep(updates, err)
	if err != nil {
		return
	}
	c := s.settings()
	updates.Publish(&c)
	keep(ros.Serve(s.n, arm.ComplianceNode+"/set_parameters", func(r *reconfigure.ReconfigureReq) (*reconfigure.ReconfigureRes, error) {
		var res reconfigure.ReconfigureRes
		err := s.do(func() {
			for _, p := range r.Config.Doubles {
				for _, k := range knobs() {
					if k.name != p.Name || s.cfg.Deaf {
						continue
					}
					v := min(max(p.Value, 0), k.max)
					if k.neg {
						v = -v
					}
					*k.at(&s.law.want) = v
				}
			}
			res.Config = s.settings()
		})
		if err != nil {
			return nil, err
		}
		updates.Publish(&res.Config)
		return &res, nil
	}))
}

func (s *Sim) serveActions(keep func(io.Closer, error)) {
	keep(ros.ServeAct(s.n, arm.RecoveryAction, func(context.Context, *frankamsg.ErrorRecoveryGoal, func(*frankamsg.ErrorRecoveryFeedback)) (*frankamsg.ErrorRecoveryResult, error) {
		return &frankamsg.ErrorRecoveryResult{}, s.do(s.recover)
	}))
	keep(ros.ServeAct(s.n, arm.MoveAction, func(ctx context.Context, g *gripper.MoveGoal, _ func(*gripper.MoveFeedback)) (*gripper.MoveResult, error) {
		_, err := s.fingers(ctx, g.Width, g.Speed)
		return &gripper.MoveResult{Success: err == nil}, err
	}))
	keep(ros.ServeAct(s.n, arm.GraspAction, func(ctx context.Context, g *gripper.GraspGoal, _ func(*gripper.GraspFeedback)) (*gripper.GraspResult, error) {
		// Whatever is in between, the fingers go on pressing.
		at, err := s.fingers(ctx, g.Width, g.Speed)
		if err == nil && (at < g.Width-g.Epsilon.Inner || at > g.Width+g.Epsilon.Outer) {
			err = fmt.Errorf("the fingers rest %.3f m apart, not %.3f", at, g.Width)
		}
		return &gripper.GraspResult{Success: err == nil}, err
	}))
	keep(ros.ServeAct(s.n, arm.HomingAction, func(ctx context.Context, _ *gripper.HomingGoal, _ func(*gripper.HomingFeedback)) (*gripper.HomingResult, error) {
		_, err := s.fingers(ctx, 0, 0.05)
		if err == nil {
			_, err = s.fingers(ctx, franka.Stroke, 0.05)
		}
		return &gripper.HomingResult{Success: err == nil}, err
	}))
	keep(ros.ServeAct(s.n, arm.StopAction, func(context.Context, *gripper.StopGoal, func(*gripper.StopFeedback)) (*gripper.StopResult, error) {
		err := s.do(func() { s.toOpen = s.opening })
		return &gripper.StopResult{Success: err == nil}, err
	}))
}

// fingers brings the fingers to a width and waits until they rest, or ctx ends.
func (s *Sim) fingers(ctx context.Context, width, speed float64) (float64, error) {
	if !(width >= 0 && width <= franka.Stroke+0.001) || !(speed > 0 && speed <= 0.2) {
		return 0, fmt.Errorf("width %g m at %g m/s, want up to %g m at 0 to 0.2 m/s", width, speed, franka.Stroke)
	}
	if err := s.do(func() { s.toOpen, s.fast = width, speed }); err != nil {
		return 0, err
	}
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	var last float64
	for quiet := 0; ; {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-t.C:
		}
		var at, goal float64
		var way bool
		if err := s.do(func() { at, goal, way = s.state.Grip, s.toOpen, s.opening != s.toOpen }); err != nil {
			return 0, err
		}
		if goal != width {
			return at, errors.New("another goal came")
		}
		if quiet++; way || math.Abs(at-last) > 1e-4 {
			quiet = 0
		}
		last = at
		if quiet < 5 { // 50 ms
			continue
		}
		return at, nil
	}
}
