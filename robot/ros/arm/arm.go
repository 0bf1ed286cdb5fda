// Package arm is a real Franka arm with its cameras as a robot.Backend: franka_ros
// and serl_franka_controllers, over ROS 1.
//
// Step moves the target of the Cartesian impedance controller that runs beside the
// arm, waits for the next control tick of an absolute schedule, and returns the
// newest state with images that belong together. What is too old is an error
// (robot.ErrStale), and so is an arm that stopped itself (robot.ErrStopped); then
// the arm holds, and only an operator has it recover. The same topics come from
// package sim/rosarm, without an arm.
//
//	n, err := ros.Open(ctx, ros.Config{Name: "rapport"})
//	b, err := arm.Open(ctx, n, arm.Default())
//	defer b.Close()
//	obs, err := b.Reset(ctx)
//	obs, err = b.Step(ctx, robot.Command{Delta: [6]float64{0: 0.005}})
package arm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/ros"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/serl"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// ErrClosed says that a Backend was used after its Close.
var ErrClosed = errors.New("arm: use after Close")

// Backend is an arm. It is driven by one goroutine; Hold, Stats and Lenses may be
// called from any.
type Backend struct {
	n   *ros.Node
	cfg Config
	log *slog.Logger

	state  *ros.Latest[frankamsg.FrankaState]
	jac    *ros.Latest[serl.ZeroJacobian]
	joints *ros.Latest[std.JointState]
	finger *ros.Latest[std.JointState]
	pose   *ros.Publisher[std.PoseStamped]
	cams   []*camera
	tree   tree
	hand   *hand
	home   func(context.Context) error // until it was called once; nil: not wanted
	quit   context.CancelFunc          // of the hand
	topics []io.Closer
	crew   sync.WaitGroup // pay

	sched  schedule
	phase  phase
	waited time.Duration // by the newest of the last observation's images
	met    uint64        // connections to driver and controller when they were told what they have to know
	told   robot.Pose    // the target that the caller knows of
	stamp  time.Time     // of the last observation's state
	seen   time.Time     // what its latency counts from
	aged   time.Duration // how much of that was over when it was returned
	ready  bool
	shots  [][]shot
	stamps [][]time.Time

	mu     sync.Mutex
	target robot.Pose // what the controller was told
	judged robot.Pose // the target that the next command is meant to be added to
	whose  string     // URI of the driver that was told what it has to know; written by who drives alone
	sensed sensed     // its last state that was looked at
	debt   debt
	paying bool // whether pay runs
	seq    uint32
	count  Stats
	lag    meter // camera to command
	age    meter // of the same observations
	closed bool
}

var _ robot.Backend = (*Backend)(nil)

// Open finds the arm and its cameras, tells the arm its load, its collision
// thresholds and its controller's stiffness, and makes sure that they hold; it
// moves nothing. The node stays the caller's.
func Open(ctx context.Context, n *ros.Node, cfg Config) (*Backend, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Backend{n: n, cfg: cfg, log: cfg.Log, sched: schedule{period: cfg.period()}}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if err := b.open(ctx); err != nil {
		return nil, errors.Join(err, b.release())
	}
	return b, nil
}

func (b *Backend) open(ctx context.Context) error {
	if err := b.subscribe(); err != nil {
		return err
	}
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Wait)
	defer cancel()
	if err := runs(ctx, b.n); err != nil {
		return err
	}
	if rivals, unknown := shared(ctx, b.n); rivals != nil || unknown != nil {
		return errors.Join(rivals, unknown)
	}
	if many, err := doubled(ctx, b.n, &b.cfg, b.whose); err != nil || len(many) > 0 {
		return errors.Join(err, joined(many))
	}
	if err := b.await(ctx); err != nil {
		if caller.Err() != nil { // no sensor's fault
			return fmt.Errorf("arm: %w", caller.Err())
		}
		return err
	}
	if err := served(ctx, b.n, b.cfg.Again); err != nil {
		return err
	}
	if err := b.introduce(ctx); err != nil {
		return err
	}
	if err := b.pose.WaitSubscriber(ctx); err != nil {
		return fmt.Errorf("arm: nobody listens to %s: %w; start the impedance controller", PoseTopic, err)
	}
	if !b.cfg.Gripper.None {
		f, err := openHand(b.n, b.cfg.Gripper)
		if err != nil {
			return err
		}
		b.topics = append(b.topics, f)
		hctx, quit := context.WithCancel(context.Background())
		b.quit = quit
		b.hand = newHand(f, func() float64 {
			m, _, _ := b.finger.Get()
			return apart(m)
		}, b.log)
		if b.cfg.Gripper.Home {
			b.home = f.home
		}
		b.hand.done.Go(func() { b.hand.run(hctx) })
	}
	return nil
}

func (b *Backend) subscribe() (err error) {
	own := func(c io.Closer, e error) {
		if e == nil {
			b.topics = append(b.topics, c)
		} else if err == nil {
			err = fmt.Errorf("arm: %w", e)
		}
	}
	var e error
	b.state, e = ros.Watch[frankamsg.FrankaState](b.n, StateTopic)
	own(b.state, e)
	b.jac, e = ros.Watch[serl.ZeroJacobian](b.n, JacobianTopic)
	own(b.jac, e)
	b.joints, e = ros.Watch[std.JointState](b.n, JointTopic)
	own(b.joints, e)
	if !b.cfg.Gripper.None {
		b.finger, e = ros.Watch[std.JointState](b.n, FingerTopic)
		own(b.finger, e)
	}
	for _, topic := range []string{"/tf", "/tf_static"} {
		c, e := ros.Subscribe(b.n, topic, b.transforms)
		own(c, e)
	}
	b.pose, e = ros.Advertise[std.PoseStamped](b.n, PoseTopic, false)
	own(b.pose, e)
	for _, cam := range b.cfg.Cameras {
		c, e := openCamera(b.n, cam, b.cfg.Stale)
		if e != nil {
			return errors.Join(err, e)
		}
		b.cams = append(b.cams, c)
	}
	b.shots, b.stamps = make([][]shot, len(b.cams)), make([][]time.Time, len(b.cams))
	return err
}

func (b *Backend) transforms(m *std.TFMessage) {
	for i := range m.Transforms {
		t := &m.Transforms[i]
		p, q := t.Transform.Translation, t.Transform.Rotation
		b.tree.set(t.Header.FrameId, t.ChildFrameId, robot.Pose{
			P: [3]float64{p.X, p.Y, p.Z}, Q: franka.Unit([4]float64{q.W, q.X, q.Y, q.Z}),
		})
	}
}

// Step moves the target by c.Delta at once and returns at the next control tick.
// After a Hold, or where the fingers cannot open so far, Applied differs from c; a Hold
// since Target was asked, or since the last observation, leaves nothing of the motion, nor of
// the wish for the fingers. After any Hold a command without motion that asks for the grip of
// before is one more: what the Hold took back does not begin.
func (b *Backend) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	if err := b.usable(ctx); err != nil {
		return robot.Observation{}, b.fail(err) // the caller may be about to end
	}
	if err := c.Finite(); err != nil {
		return robot.Observation{}, fmt.Errorf("arm: %w", err)
	}
	if b.ready && b.renewed() {
		b.ready = false
		err := b.mixed() // who publishes beside the arm looks the same
		if err == nil {
			err = errRenewed
		}
		return robot.Observation{}, b.fail(err)
	}
	if !b.ready {
		return robot.Observation{}, errors.New("arm: Step without a Reset before it, or after a failed Step")
	}
	if m, _, _ := b.state.Get(); m != nil {
		s, err := sense(m)
		if err == nil {
			err = b.strays(&s)
		}
		if err != nil {
			return robot.Observation{}, b.fail(err)
		}
	}
	want, untouched := b.command(&c)
	b.lag.add(b.n.Now().Sub(b.seen))
	b.age.add(b.aged)
	if err := b.tick(ctx); err != nil {
		return robot.Observation{}, b.fail(err)
	}
	obs, err := b.observe(ctx)
	if errors.Is(err, robot.ErrStale) && b.cfg.Patience > 0 {
		_ = b.fail(err) // holds, and counts
		obs, err = b.settle(ctx, b.cfg.Patience)
		b.sched.start(b.n.Now())
	}
	if err != nil {
		return robot.Observation{}, b.fail(err)
	}
	if len(b.cams) > 0 {
		b.sched.due = b.sched.due.Add(b.phase.next(b.waited))
	}
	b.mu.Lock()
	got := b.target
	b.judged = got
	b.mu.Unlock()
	obs.Applied, obs.By = robot.Command{Delta: c.Delta, Grip: b.grip(&c)}, robot.ByPolicy
	if !untouched || got != want { // somebody held the arm meanwhile
		obs.Applied.Delta, obs.By = franka.Diff(b.told, got), robot.ByGuard
	}
	if obs.Applied.Grip != c.Grip {
		obs.By = robot.ByGuard
	}
	b.told = got
	return obs, nil
}

// command sends the target that c leads to, unless somebody held the arm meanwhile, and returns
// it. A panic leaves nothing locked: who holds the arm for it comes by the same lock.
func (b *Backend) command(c *robot.Command) (want robot.Pose, untouched bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	untouched = b.target == b.told && b.target == b.judged
	want = b.target
	if b.target == b.judged {
		want = franka.Move(b.target, &c.Delta)
		width := opening(clamp(c.Grip))
		if b.hand != nil && (c.Delta != [6]float64{} || !b.hand.resumes(width)) {
			b.hand.to(width)
		}
	}
	b.send(want)
	return want, untouched
}

// grip is what became of c's: what a hold left, also one that came since c was sent.
func (b *Backend) grip(c *robot.Command) float64 {
	g := clamp(c.Grip)
	if b.hand != nil {
		if width, held := b.hand.held(); held && !same(width, opening(g)) {
			return gripOf(width)
		}
	}
	return g
}

func clamp(grip float64) float64 { return min(max(grip, 0), 1) }

func (b *Backend) usable(ctx context.Context) error {
	b.mu.Lock()
	closed := b.closed
	b.mu.Unlock()
	if closed {
		return ErrClosed
	}
	select {
	case <-b.n.Done():
		return errors.New("arm: the ROS node was shut down from outside, by a newer one of its name or by rosnode kill")
	default:
	}
	return ctx.Err()
}

// send tells the controller a target. The caller holds mu.
func (b *Backend) send(p robot.Pose) {
	b.target = p
	b.seq++
	b.pose.Publish(&std.PoseStamped{
		Header: std.Header{Seq: b.seq, Stamp: b.n.Now(), FrameId: b.cfg.ArmID + "_link0"},
		Pose: std.Pose{
			Position:    std.Point{X: p.P[0], Y: p.P[1], Z: p.P[2]},
			Orientation: std.Quaternion{X: p.Q[1], Y: p.Q[2], Z: p.Q[3], W: p.Q[0]},
		},
	})
}

// tick waits for the next control tick.
func (b *Backend) tick(ctx context.Context) error {
	now := b.n.Now()
	before := b.sched.missed
	due := b.sched.next(now)
	b.mu.Lock()
	b.count.Ticks++
	b.count.Missed += b.sched.missed - before
	b.mu.Unlock()
	return pause(ctx, due.Sub(now))
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Target is what the controller was told, to which the next Step adds its command: one
// that is judged there is not carried out elsewhere.
func (b *Backend) Target() robot.Pose {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.judged = b.target
	return b.target
}

// Stats tells how the backend kept its time.
func (b *Backend) Stats() Stats {
	b.mu.Lock()
	s := b.count
	b.mu.Unlock()
	s.Latency, s.Age = b.lag.quantiles(), b.age.quantiles()
	return s
}

// Close leaves the arm holding where it is. The node stays open.
func (b *Backend) Close() error {
	if !b.end() {
		return nil
	}
	return b.release()
}

// end holds the arm, once.
func (b *Backend) end() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	if !b.hold() {
		b.pose.Cut() // what a broken network keeps is not carried out after the session's end
	}
	b.closed = true
	return true
}

func (b *Backend) release() error {
	b.ready = false
	if b.quit != nil {
		b.quit()
		b.hand.done.Wait()
	}
	all := slices.Clone(b.topics)
	for _, c := range b.cams {
		all = append(all, c.topics...)
	}
	err := ros.CloseAll(all)
	b.crew.Wait()
	return err
}
