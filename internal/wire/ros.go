package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/keypoint"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/robot/ros"
	rosarm "github.com/rapport-rl/rapport/robot/ros/arm"
)

// real says whether c drives an arm on real time, whose world nobody knows the
// truth of.
func real(c config.Config) bool { return c.Robot.Kind == "ros" }

// openArm opens the configured backend behind its guard.
func openArm(ctx context.Context, c config.Config, of stream, log *slog.Logger) (*arm, error) {
	if !real(c) {
		return newArm(c, of)
	}
	n, err := openNode(ctx, c, "rapport", log)
	if err != nil {
		return nil, err
	}
	a, err := openROS(ctx, n, c, of)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return a, nil
}

// openNode joins the master, which may be up to robot.ros.wait late.
func openNode(ctx context.Context, c config.Config, name string, log *slog.Logger) (*ros.Node, error) {
	wait, cancel := context.WithTimeout(ctx, time.Duration(c.Robot.ROS.Wait*float64(time.Second)))
	defer cancel()
	n, err := ros.Open(wait, ros.Config{Master: c.Robot.ROS.Master, Name: name, Log: log, Rosout: true})
	if err != nil {
		return nil, fmt.Errorf("%w, or name another master with --set robot.ros.master=http://HOST:11311", err)
	}
	return n, nil
}

// tallied counts episodes, as seeded does. A Hold goes to the arm at once.
type tallied struct {
	*rosarm.Backend
	arm *arm
}

func (b *tallied) Reset(ctx context.Context) (robot.Observation, error) {
	b.arm.begins()
	return b.Backend.Reset(ctx)
}

// trackROS is the track of an arm on ROS, of which nobody tells success; nil where no
// points are.
func (a *arm) trackROS(c config.Config) (*pointer, error) {
	if !keyed(c) {
		return nil, nil
	}
	return newPointer(c, func() ([]keypoint.Camera, error) { return a.cameras(c) }, a.full, nil)
}

// asks is what a person can mend before an episode: a point that is not seen (kagi.Unseen), or a
// camera of which nobody knows where it stands (strayed).
type asks interface{ Ask() string }

// asking is track, but that a person at the session's desk is asked for what the cameras want at a
// reset: the arm is stopped, and its fault is the error.
func (a *arm) asking(track tracking) tracking {
	if track == nil {
		return nil
	}
	return func(ctx context.Context, step int, obs robot.Observation) ([]perception.Keypoint, error) {
		keys, err := track(ctx, step, obs)
		var lost asks
		d := a.desk.Load()
		if d == nil || !errors.As(err, &lost) {
			return keys, err
		}
		if _, e := d.Stop(ctx, bus.Stop{Who: "waypoints", Why: lost.Ask() + "; then acknowledge"}); e != nil {
			return nil, errors.Join(err, e)
		}
		if f := a.guard.Fault(); f != nil {
			return nil, f
		}
		return nil, err
	}
}

func openROS(ctx context.Context, n *ros.Node, c config.Config, of stream) (*arm, error) {
	log := n.Log() // so that /rosout has it too
	b, err := rosarm.Open(ctx, n, rosConfig(c, log))
	if err != nil {
		return nil, err
	}
	a := &arm{ros: b}
	if err := a.trackBy(c, of, a.trackROS); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	a.track = a.asking(a.track)
	counted := &tallied{b, a}
	var behind robot.Backend = counted
	if of == online && c.Practice.Mate != "" {
		a.onward = &onward{reminder: c.Practice.Reminder, ask: c.Robot.ROS.Again == ""}
		behind = goesOnROS{counted, a.onward}
	}
	g := guardConfig(c)
	g.Latched = func(f *guard.Fault) { a.desk.Load().note(f) }
	g.Now, g.Log = n.Now, log
	// The backend holds at robot.ros.stale already; this is for its mistakes.
	g.FrameAge = time.Duration((c.Robot.ROS.Stale + c.Robot.ROS.Skew + 0.1) * float64(time.Second))
	if a.guard, err = guard.New(behind, g); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	// The commander may hang while the arm goes on.
	a.watch = watchLease(a, c, func(d time.Duration) (<-chan time.Time, func()) {
		t := time.NewTicker(d)
		return t.C, t.Stop
	})
	untrack := a.hang
	a.hang = func() error {
		if untrack == nil {
			return n.Close()
		}
		return errors.Join(untrack(), n.Close())
	}
	return a, nil
}

func rosConfig(c config.Config, log *slog.Logger) rosarm.Config {
	r := c.Robot.ROS
	s := func(v float64) time.Duration { return time.Duration(v * float64(time.Second)) }
	a := rosarm.Config{
		ArmID: r.ArmID, Rate: r.Rate, Stale: s(r.Stale), Skew: s(r.Skew), Frozen: s(r.Frozen), Wait: s(r.Wait), Patience: s(r.Patience),
		Load: rosarm.Load(r.Load),
		Collision: rosarm.Collision{
			Torque: rosarm.Bounds7{Lower: r.Collision.TorqueLower, Upper: r.Collision.TorqueUpper},
			Force:  rosarm.Bounds6{Lower: r.Collision.ForceLower, Upper: r.Collision.ForceUpper},
		},
		Stiffness: rosarm.Stiffness(r.Stiffness),
		Gripper:   rosarm.Gripper{None: r.Gripper.Kind == "none", Home: r.Gripper.Home, Open: r.Gripper.Open, Speed: r.Gripper.Speed, Force: r.Gripper.Force},
		// The hand points down at yaw 0, its fingers opening along y.
		Start: robot.Pose{P: r.Start.At, Q: franka.Mul(franka.Exp([3]float64{0, 0, r.Start.Yaw}), [4]float64{0, 1, 0, 0})},
		Speed: r.Start.Speed, Turn: r.Start.Turn, Lift: r.Start.Lift, Again: r.Again,
		Decode: vision.Decode, Resize: vision.Resize, Log: log,
	}
	for _, cam := range c.Robot.Cameras {
		for _, t := range r.Cameras {
			if t.Name == cam.Name {
				a.Cameras = append(a.Cameras, rosarm.Camera{Name: cam.Name, Topic: t.Topic, Compressed: t.Compressed, Info: t.Info, W: cam.Width, H: cam.Height})
			}
		}
	}
	return a
}

// pace are the metrics of how an arm on real time kept it.
func (a *arm) pace() []policy.Metric {
	st := a.ros.Stats()
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return []policy.Metric{
		{Name: "camera_to_command_p50_ms", Value: ms(st.Latency.P50)},
		{Name: "camera_to_command_p99_ms", Value: ms(st.Latency.P99)},
		{Name: "frame_age_p50_ms", Value: ms(st.Age.P50)},
		{Name: "frame_age_p99_ms", Value: ms(st.Age.P99)},
		{Name: "ticks", Value: float64(st.Ticks)},
		{Name: "missed_ticks", Value: float64(st.Missed)},
		{Name: "stale_sensors", Value: float64(st.Lost)},
	}
}

// simulated says what only a simulation can do.
func simulated(c config.Config) error {
	if logged(c) {
		return errors.New("wire: robot.kind is bag, and nothing moves in a recording: a policy can be run along one (rapport guard check), but not be tried in it; for a simulation, --set robot.kind=sim")
	}
	return errors.New("wire: robot.kind is ros, where nobody tells success and no seed begins an episode; for a simulation, --set robot.kind=sim")
}

// Recover has an arm on ROS leave a reflex or a released user stop, for an operator
// who has looked at it.
func Recover(ctx context.Context, c config.Config, o Options) error {
	n, err := openNode(ctx, c, "rapport_recover", o.Log)
	if err != nil {
		return err
	}
	return errors.Join(rosarm.Recover(ctx, n), n.Close())
}

func tellPace(s rosarm.Stats) string {
	return fmt.Sprintf("camera to command %v (p50), %v (p99); %d of %d ticks missed",
		s.Latency.P50.Round(100*time.Microsecond), s.Latency.P99.Round(100*time.Microsecond), s.Missed, s.Ticks)
}
