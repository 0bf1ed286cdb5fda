package arm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/ros"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/reconfigure"
)

// runs waits until the clock goes on by which everything's age is judged: without, nothing is ever
// old, or everything is. A simulator's stands still while it starts.
func runs(ctx context.Context, n *ros.Node) error {
	if err := n.AwaitClock(ctx); err != nil {
		return fmt.Errorf("arm: %w", err)
	}
	for from := n.Now(); n.Now().Equal(from); {
		switch err := pause(ctx, 5*time.Millisecond); {
		case errors.Is(err, context.DeadlineExceeded):
			return errors.New("arm: /use_sim_time is set, but /clock stands still: rosparam set /use_sim_time false, or let what publishes it go on")
		case err != nil:
			return fmt.Errorf("arm: %w", err)
		}
	}
	return nil
}

// await waits until everything was heard once, and names what was not.
func (b *Backend) await(ctx context.Context) error {
	for {
		var late ages
		if m, _, _ := b.state.Get(); m == nil {
			late.never("the arm's state", StateTopic)
		}
		if m, _, _ := b.jac.Get(); m == nil {
			late.never("the controller's Jacobian", JacobianTopic)
		}
		if m, _, _ := b.joints.Get(); m == nil {
			late.never("the joints' state", JointTopic)
		}
		if b.finger != nil {
			if m, _, _ := b.finger.Get(); m == nil {
				late.never("the gripper's state", FingerTopic)
			}
		}
		for _, c := range b.cams {
			if len(c.latest(nil)) == 0 {
				late.never("camera "+c.cfg.Name, c.cfg.Topic)
			}
		}
		if len(late) == 0 {
			return nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("arm: %w: %s, after %v; start what publishes it (see rapport doctor and docs/ros-arm.md)", robot.ErrStale, strings.Join(late, ", "), b.cfg.Wait)
		}
	}
}

// errRenewed ends an episode: what drives the arm goes by its own defaults since it was started
// again, and the arm is held until a Reset told it what it has to know.
var errRenewed = fmt.Errorf("arm: %w: the arm's driver or its controller was started again in mid-episode", robot.ErrStale)

// renewed says whether the driver or the controller was started again since it was told what it
// has to know, or the state is not its. A connection that broke and was made anew looks the same, and
// is taken for it.
func (b *Backend) renewed() bool {
	_, _, _, from := b.state.From()
	return b.state.Met()+b.jac.Met() != b.met || from != b.whose
}

// introduce makes sure that this is the arm that was configured and tells it what it has to know.
func (b *Backend) introduce(ctx context.Context) error {
	met := b.state.Met() + b.jac.Met()
	_, _, _, from := b.state.From()
	if from != b.whose && slices.Contains(b.state.Linked(), b.whose) {
		return fmt.Errorf("arm: %w: %s comes from the node at %s, but the arm's driver, at %s, is silent and may be there still; end what is not the arm's: a rapport sim --ros, a bag that is played, or a driver that hangs (rosnode kill)", robot.ErrStopped, StateTopic, from, b.whose)
	}
	if err := b.agree(); err != nil {
		return err
	}
	if err := b.setUp(ctx); err != nil {
		return err
	}
	b.met = met
	if b.mu.Lock(); from != b.whose {
		b.whose, b.sensed = from, sensed{}
	}
	b.mu.Unlock()
	return nil
}

// again is introduce to what was started again, once it is heard.
func (b *Backend) again(ctx context.Context) error {
	if _, err := b.settle(ctx, b.cfg.Wait); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, b.cfg.Wait)
	defer cancel()
	_, seq, _ := b.state.Get()
	if _, _, _, err := b.state.Wait(wait, seq); err != nil { // one that the driver of before had sent is none
		return fmt.Errorf("arm: the arm's state after its driver was started again: %w", err)
	}
	b.log.Warn("the arm's driver or controller was started again: it is told load, collision thresholds and stiffness once more")
	return b.introduce(wait)
}

// asking is how long the master may take to say who serves what.
const asking = 2 * time.Second

// shared says who else commands the arm, as an error, or why nobody knows: two who do pull it
// to and fro.
func shared(ctx context.Context, n *ros.Node) (rivals, unknown error) {
	others, silent, err := n.Publishers(ctx, PoseTopic)
	if err != nil {
		return nil, fmt.Errorf("arm: who commands the arm: %w", err)
	}
	if len(others) > 0 {
		rivals = fmt.Errorf("arm: this arm is commanded by %s as well, on %s; end that first: its session, or rosnode kill", strings.Join(others, " and "), PoseTopic)
	}
	if len(silent) > 0 { // one that hangs, or that we do not reach, may go on to command it
		unknown = fmt.Errorf("arm: the master lists %s as commanding this arm, on %s, but it does not answer, so that nobody knows whether it still does; end it, have its machine reached from here by that name, or, where it is gone with its machine, run rosnode cleanup", strings.Join(silent, " and "), PoseTopic)
	}
	return rivals, unknown
}

// beside is within how long those who publish a topic were heard that do so at the same time: a
// driver that was started again takes longer, and the connection to the one before is gone by then.
const beside = time.Second

// doubled says of each topic that must have one publisher, and has several, who they are, by its
// full name; or why nobody knows. Who publishes JointTopic is not asked, since the joints' names alone
// are read there, and what merges joints from several may be remapped to it; of cameras, which a node may
// announce and never publish, the images tell. Where the arm's driver may be silent, who else publishes
// the state is taken for it only if it is whose, by its URI, that was met as the driver before.
func doubled(ctx context.Context, n *ros.Node, cfg *Config, whose string) (map[string]error, error) {
	topics := []string{StateTopic, JacobianTopic}
	if !cfg.Gripper.None {
		topics = append(topics, FingerTopic)
	}
	alive, silent, err := n.Doubled(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("arm: who publishes the arm's state: %w", err)
	}
	out := map[string]error{}
	for topic, of := range alive {
		switch mute := silent[topic]; {
		case len(of) > 1:
			out[topic] = fmt.Errorf("arm: %w", twice(topic, of))
		case topic == n.Resolve(StateTopic) && len(of) == 1 && len(mute) > 0 && !(whose != "" && strings.HasSuffix(of[0], " at "+whose)):
			out[topic] = fmt.Errorf("arm: %s publishes %s, but the master lists %s as well, which does not answer, so that nobody knows whose arm it is; end what is not the arm's, or, where it is gone with its machine, run rosnode cleanup", of[0], topic, strings.Join(mute, " and "))
		}
	}
	return out, nil
}

func twice(topic string, names []string) error {
	return fmt.Errorf("%s is published by %s at once, so that nobody knows whose it is; end all but its own: a rapport sim --ros, a bag that is played, or a driver of before (rosnode kill)",
		topic, strings.Join(names, " and "))
}

// joined are errors by topic as one, in its order; nil without any.
func joined(by map[string]error) error {
	var errs []error
	for _, topic := range slices.Sorted(maps.Keys(by)) {
		errs = append(errs, by[topic])
	}
	return errors.Join(errs...)
}

// mixed is the error of an arm beside which somebody else publishes, too, which is looked for on
// the connections alone: the master is not asked.
func (b *Backend) mixed() error {
	topic, names := StateTopic, b.state.Heard(beside)
	if len(names) < 2 {
		topic, names = JacobianTopic, b.jac.Heard(beside)
	}
	if len(names) < 2 && b.finger != nil {
		topic, names = FingerTopic, b.finger.Heard(beside)
	}
	if len(names) < 2 {
		return nil
	}
	return fmt.Errorf("arm: %w: %w", robot.ErrStopped, twice(topic, names))
}

// served waits for who puts the world back, so that a name that nobody serves is told
// before the arm goes anywhere. It is not called.
func served(ctx context.Context, n *ros.Node, again string) error {
	if again == "" {
		return nil
	}
	err := n.WaitService(ctx, again)
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("arm: put the world back by %s: %w; start what serves it, or name another service by robot.ros.again", again, err)
	}
	return err
}

// mismatch is how far the arm's own tool centre point may be from ours, m and rad.
const mismatch, mismatchRot = 0.005, 0.03

// agree checks that this is the arm that was configured, and that it means the
// same by its tool centre point as the guard, which knows a hand alone.
func (b *Backend) agree() error {
	j, _, _ := b.joints.Get()
	if want := b.cfg.ArmID + "_joint1"; !slices.Contains(j.Name, want) {
		return fmt.Errorf("arm: %s has no joint %s, but %s; set robot.ros.arm_id to what the launch file says", JointTopic, want, strings.Join(j.Name, ", "))
	}
	m, _, _ := b.state.Get()
	s, err := sense(m)
	if err != nil {
		return err
	}
	d := franka.Diff(franka.Forward(&s.Q), s.EE)
	if p, r := norm(d[0], d[1], d[2]), norm(d[3], d[4], d[5]); p > mismatch || r > mismatchRot {
		return fmt.Errorf("arm: the arm says that its tool centre point is %.1f mm and %.3f rad from where a Franka Hand's is; choose the Franka Hand as end effector in Desk, without a frame of your own", 1000*p, r)
	}
	return nil
}

// setUp tells the arm what it has to know, and makes sure that it took it.
func (b *Backend) setUp(ctx context.Context) error {
	if err := b.setLoad(ctx); err != nil {
		return err
	}
	if err := b.setCollision(ctx); err != nil {
		return err
	}
	if err := b.setStiffness(ctx); err != nil {
		return err
	}
	return b.quick(ctx)
}

// setLoad is silent where the arm has the load already, since an arm under control
// may refuse to be told.
func (b *Backend) setLoad(ctx context.Context) error {
	m, _, _ := b.state.Get()
	if b.loaded(m) {
		return nil
	}
	l := &b.cfg.Load
	res, err := ros.Call[frankamsg.SetLoadReq, frankamsg.SetLoadRes](ctx, b.n, LoadService, &frankamsg.SetLoadReq{Mass: l.Mass, FXCenterLoad: l.Centre, LoadInertia: l.Inertia})
	if err != nil {
		return fmt.Errorf("arm: load: %w", err)
	}
	if !res.Success {
		return fmt.Errorf("arm: load: the arm refuses %g kg: %s; set it in Desk, or while no controller runs", l.Mass, res.Error)
	}
	wait, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for {
		m, seq, _ := b.state.Get()
		if b.loaded(m) {
			return nil
		}
		if _, _, _, err := b.state.Wait(wait, seq); err != nil {
			return fmt.Errorf("arm: load: told %g kg at %v m, but the arm goes on with %g kg at %v m; the load must hold before anything moves: set it in Desk", l.Mass, l.Centre, m.MLoad, m.FXCload)
		}
	}
}

func (b *Backend) loaded(m *frankamsg.FrankaState) bool {
	l := &b.cfg.Load
	ok := math.Abs(m.MLoad-l.Mass) < 1e-6
	for i, v := range l.Centre {
		ok = ok && (l.Mass == 0 || math.Abs(m.FXCload[i]-v) < 1e-6)
	}
	for i, v := range l.Inertia {
		ok = ok && (l.Mass == 0 || math.Abs(m.ILoad[i]-v) < 1e-6)
	}
	return ok
}

// setCollision sets the thresholds. No message tells which hold, so what can be
// verified is that the arm took them, and that at rest it feels no contact.
func (b *Backend) setCollision(ctx context.Context) error {
	c := &b.cfg.Collision
	res, err := ros.Call[frankamsg.SetForceTorqueCollisionBehaviorReq, frankamsg.SetForceTorqueCollisionBehaviorRes](ctx, b.n, CollisionService,
		&frankamsg.SetForceTorqueCollisionBehaviorReq{
			LowerTorqueThresholdsNominal: c.Torque.Lower, UpperTorqueThresholdsNominal: c.Torque.Upper,
			LowerForceThresholdsNominal: c.Force.Lower, UpperForceThresholdsNominal: c.Force.Upper,
		})
	if err != nil {
		return fmt.Errorf("arm: collision thresholds: %w", err)
	}
	if !res.Success {
		return fmt.Errorf("arm: collision thresholds: the arm refuses them: %s; set robot.ros.collision to what it takes, while no controller runs", res.Error)
	}
	wait, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, seq, _ := b.state.Get()
	for range 2 { // the first may have been under way
		m, s, _, err := b.state.Wait(wait, seq)
		if err != nil {
			return fmt.Errorf("arm: collision thresholds: %w", err)
		}
		seq = s
		if m.RobotMode == frankamsg.Reflex {
			return fmt.Errorf("arm: %w", trip(m))
		}
		if slices.ContainsFunc(m.CartesianContact[:], on) || slices.ContainsFunc(m.JointContact[:], on) {
			err = errors.New("arm: collision thresholds: the arm feels a contact at rest; free it, set the load of its hand, or raise robot.ros.collision")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func on(v float64) bool { return v != 0 }

// setStiffness sets the controller's gains by dynamic_reconfigure, which answers
// with what then holds.
func (b *Backend) setStiffness(ctx context.Context) error {
	var req reconfigure.ReconfigureReq
	put := func(name string, v float64) {
		if v > 0 {
			req.Config.Doubles = append(req.Config.Doubles, reconfigure.DoubleParameter{Name: name, Value: v})
		}
	}
	s := &b.cfg.Stiffness
	put("translational_stiffness", s.Trans)
	put("translational_damping", s.TransDamping)
	put("rotational_stiffness", s.Rot)
	put("rotational_damping", s.RotDamping)
	for _, axis := range []string{"x", "y", "z", "neg_x", "neg_y", "neg_z"} {
		put("translational_clip_"+axis, s.Clip)
		put("rotational_clip_"+axis, s.TurnClip)
	}
	if len(req.Config.Doubles) == 0 {
		return nil
	}
	res, err := ros.Call[reconfigure.ReconfigureReq, reconfigure.ReconfigureRes](ctx, b.n, ComplianceNode+"/set_parameters", &req)
	if err != nil {
		return fmt.Errorf("arm: stiffness: %w; is serl_franka_controllers' impedance controller loaded?", err)
	}
	for _, want := range req.Config.Doubles {
		i := slices.IndexFunc(res.Config.Doubles, func(p reconfigure.DoubleParameter) bool { return p.Name == want.Name })
		if i < 0 {
			return fmt.Errorf("arm: stiffness: the controller knows no %s; is it serl_franka_controllers'?", want.Name)
		}
		if got := res.Config.Doubles[i].Value; math.Abs(got-want.Value) > 1e-9 {
			return fmt.Errorf("arm: stiffness: %s was set to %g, but is %g; set robot.ros.stiffness to what the controller takes", want.Name, want.Value, got)
		}
	}
	return nil
}

// quick refuses an arm whose states come more slowly than commands go.
func (b *Backend) quick(ctx context.Context) error {
	const n = 11 // 0.4 s at franka_ros's default of 30 a second
	wait, cancel := context.WithTimeout(ctx, n*b.cfg.Stale)
	defer cancel()
	m, seq, _ := b.state.Get()
	var gaps []time.Duration
	for len(gaps) < n {
		next, s, _, err := b.state.Wait(wait, seq)
		if err != nil {
			return fmt.Errorf("arm: %w: %d states within %v; want %g a second", robot.ErrStale, len(gaps), n*b.cfg.Stale, b.cfg.Rate)
		}
		// Those in between were dropped, not unsent.
		gaps = append(gaps, next.Header.Stamp.Sub(m.Header.Stamp)/time.Duration(s-seq))
		m, seq = next, s
	}
	if rate := usual(gaps); rate < 0.9*b.cfg.Rate {
		return fmt.Errorf("arm: the arm tells its state %.0f times a second, fewer than the %g commands; raise publish_rate of franka_state_controller, best to 100 or more", rate, b.cfg.Rate)
	}
	return nil
}

// usual is how many a second come at the median of the gaps between them. A
// publisher that was held up for once is not slow, and Stale watches over that.
func usual(gaps []time.Duration) float64 {
	slices.Sort(gaps)
	return 1 / gaps[len(gaps)/2].Seconds()
}
