package arm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/ros"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

const (
	arrived    = 0.015           // m from the start that counts as there: what the controller's springs give way
	arrivedRot = 0.15            // rad, likewise
	settling   = 2 * time.Second // after the way, or since the arm came nearer, for the controller's filter
	nearer     = 0.1             // of arrived and arrivedRot, that an arm comes nearer at least by that moves
	lead       = 0.10            // m of the target before the arm, from which on it waits for the arm: as the guard has it
	opened     = 0.07            // m between the fingers from which on they hold nothing; they open to 0.08
)

// Reset waits for all sensors, opens the gripper, brings the arm to the start of an
// episode, slowly and through the same controller, and has the world put back. An
// arm that has stopped itself is not moved.
func (b *Backend) Reset(ctx context.Context) (robot.Observation, error) {
	return b.start(ctx, b.reset)
}

// Turn is Reset in a world that stays as the last episode left it: nobody puts it back,
// and the hand is open before it goes up from what it may have held.
func (b *Backend) Turn(ctx context.Context) (robot.Observation, error) {
	return b.start(ctx, b.turn)
}

// start begins an episode in a way.
func (b *Backend) start(ctx context.Context, way func(context.Context) (robot.Observation, error)) (robot.Observation, error) {
	if err := b.usable(ctx); err != nil {
		return robot.Observation{}, err
	}
	b.ready = false
	rivals, unknown := shared(ctx, b.n)
	if rivals != nil {
		return robot.Observation{}, b.fail(rivals)
	}
	if unknown != nil { // a master that is gone leads nobody else to the arm; of who fell silent people are told
		b.log.Warn("arm: going on without knowing who else commands the arm", "err", unknown)
	}
	many, unknown := doubled(ctx, b.n, &b.cfg, b.whose)
	if len(many) > 0 {
		return robot.Observation{}, b.fail(fmt.Errorf("%w: %w", robot.ErrStopped, joined(many)))
	}
	if unknown != nil {
		b.log.Warn("arm: going on without knowing who else publishes the arm's state", "err", unknown)
	}
	if b.renewed() {
		b.forgive()
		if err := b.again(ctx); err != nil {
			return robot.Observation{}, b.fail(err)
		}
	}
	obs, err := way(ctx)
	if err != nil {
		return robot.Observation{}, b.fail(err)
	}
	b.ready = true
	return obs, nil
}

func (b *Backend) reset(ctx context.Context) (robot.Observation, error) {
	if err := b.leave(ctx, false); err != nil {
		return robot.Observation{}, err
	}
	if b.cfg.Again != "" {
		// What happens there is not ours to hurry: a person may be behind it.
		res, err := ros.Call[std.TriggerReq, std.TriggerRes](ctx, b.n, b.cfg.Again, &std.TriggerReq{})
		if err != nil {
			return robot.Observation{}, fmt.Errorf("arm: put the world back: %w", err)
		}
		if !res.Success {
			return robot.Observation{}, fmt.Errorf("arm: put the world back: %s: %s", b.cfg.Again, res.Message)
		}
		b.stamp = b.n.Now() // what was before does not count
	}
	return b.begin(ctx)
}

func (b *Backend) turn(ctx context.Context) (robot.Observation, error) {
	if err := b.leave(ctx, true); err != nil {
		return robot.Observation{}, err
	}
	return b.begin(ctx)
}

// leave opens the hand, if it is to, and brings the arm to its start. With release it does
// not move before the fingers rest.
func (b *Backend) leave(ctx context.Context, release bool) error {
	b.forgive()
	obs, err := b.settle(ctx, b.cfg.Wait)
	if err != nil {
		return err
	}
	if b.home != nil {
		if err := b.home(ctx); err != nil {
			return err
		}
		b.home = nil
		if obs, err = b.settle(ctx, b.cfg.Wait); err != nil {
			return err
		}
	}
	from := obs.State.EE
	if err := b.steer(ctx, from); err != nil {
		return err
	}
	b.sched.start(b.n.Now())
	if b.hand != nil && b.cfg.Gripper.Open {
		b.hand.to(franka.Stroke)
		if release {
			if err := b.rest(ctx, b.n.Now().Add(settling+goalLimit)); err != nil {
				return err
			}
		}
	}
	for _, l := range home(from, b.cfg.Start, b.cfg.Lift, b.cfg.Speed, b.cfg.Turn) {
		if err := b.walk(ctx, &l); err != nil {
			return err
		}
	}
	return b.arrive(ctx)
}

// forgive forgets a goal of before, whose failure was logged: the arm may have been away.
func (b *Backend) forgive() {
	if b.hand != nil {
		b.hand.forgive()
	}
}

// rest waits until the fingers do, where the arm is.
func (b *Backend) rest(ctx context.Context, end time.Time) error {
	for !b.hand.resting() {
		if b.n.Now().After(end) {
			return errors.New("arm: the gripper does not come to rest; is its node alive?")
		}
		if err := b.tick(ctx); err != nil {
			return err
		}
		if _, err := b.watch(ctx); err != nil {
			return err
		}
	}
	if err := b.hand.failed(); err != nil {
		return err
	}
	if f, _, _ := b.finger.Get(); apart(f) < opened {
		return fmt.Errorf("arm: the fingers are %.0f mm apart after they were told to open; free what they hold", 1000*apart(f))
	}
	return nil
}

// errLeft says that the scene may be as the arm left it, not as it was put back.
var errLeft = fmt.Errorf("arm: %w: the arm left its start while the world was put back", robot.ErrStopped)

// begin looks at the world in which an episode begins, from the start.
func (b *Backend) begin(ctx context.Context) (robot.Observation, error) {
	// Whoever put the world back may have moved the arm, and is not to be met by it.
	s, err := b.watch(ctx)
	if err == nil && !b.near(&s) {
		err = errLeft
	}
	if err == nil {
		err = b.steer(ctx, b.cfg.Start)
	}
	if err != nil {
		return robot.Observation{}, err
	}
	b.mu.Lock()
	b.told, b.judged = b.cfg.Start, b.cfg.Start
	b.mu.Unlock()
	for _, c := range b.cams {
		c.begin()
	}
	b.sched.start(b.n.Now())
	if err := pause(ctx, b.cfg.period()); err != nil {
		return robot.Observation{}, err
	}
	obs, err := b.settle(ctx, b.cfg.Wait)
	b.sched.start(b.n.Now())
	b.phase.start(b.cfg.period())
	if err == nil && !b.near(&obs.State) {
		err = errLeft
	}
	return obs, err
}

// Look returns what arm and cameras sense now, and moves nothing.
func (b *Backend) Look(ctx context.Context) (robot.Observation, error) {
	if err := b.usable(ctx); err != nil {
		return robot.Observation{}, err
	}
	return b.settle(ctx, b.cfg.Wait)
}

// settle waits for an observation with nothing stale in it, for limit of real time: /clock may stand
// still.
func (b *Backend) settle(ctx context.Context, limit time.Duration) (robot.Observation, error) {
	end, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		obs, err := b.observe(ctx)
		if !errors.Is(err, robot.ErrStale) || end.Err() != nil {
			return obs, err
		}
		if err := pause(ctx, b.cfg.period()); err != nil {
			return obs, err
		}
	}
}

// steer sends a target unless ctx has ended, which a Hold comes after: what was held stays so.
func (b *Backend) steer(ctx context.Context, p robot.Pose) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	b.send(p)
	return nil
}

// walk sends the targets of a leg, one a tick, and ends where the arm stops itself
// or is not heard. A target that is too far ahead waits for an arm that comes after it: the
// controller goes no faster than its stiffness times its clip over its damping.
func (b *Backend) walk(ctx context.Context, l *leg) error {
	var way approach
	waits := false
	for t := b.cfg.period(); ; {
		to := l.at(t)
		if err := b.steer(ctx, to); err != nil {
			return err
		}
		if err := b.tick(ctx); err != nil {
			return err
		}
		s, err := b.watch(ctx)
		if err != nil {
			return err
		}
		d := franka.Diff(s.EE, to)
		behind := norm(d[0], d[1], d[2])
		if behind <= lead {
			if t >= l.took {
				return nil
			}
			t, waits = t+b.cfg.period(), false
			continue
		}
		if !waits {
			way, waits = approach{least: math.Inf(1)}, true
		}
		if way.stuck(behind/arrived, b.n.Now()) {
			return fmt.Errorf("arm: %w: the arm does not follow on the way to its start: it is %.0f mm behind and comes no nearer; is something in its way?", robot.ErrStopped, 1000*behind)
		}
	}
}

// watch returns a new state of an arm that obeys.
func (b *Backend) watch(ctx context.Context) (robot.State, error) {
	m, at, from, err := b.fresh(ctx)
	if err != nil {
		return robot.State{}, err
	}
	if err := driven(m); err != nil {
		return robot.State{}, err
	}
	s, err := sense(m)
	if err == nil {
		b.looked(&s, at, from)
		err = b.strays(&s)
	}
	if err != nil {
		return robot.State{}, err
	}
	b.stamp = m.Header.Stamp
	return s, nil
}

// arrive waits until the arm is at its start and the fingers rest.
func (b *Backend) arrive(ctx context.Context) error {
	way := approach{least: math.Inf(1)}
	for {
		s, err := b.watch(ctx)
		if err != nil {
			return err
		}
		there := b.near(&s)
		if there && (b.hand == nil || b.hand.resting()) {
			return nil
		}
		now := b.n.Now()
		if stuck := way.stuck(b.off(&s), now); !there && stuck {
			d := franka.Diff(s.EE, b.cfg.Start)
			return fmt.Errorf("arm: the arm does not get to its start: it is %.0f mm and %.2f rad away; is something in its way?",
				1000*norm(d[0], d[1], d[2]), norm(d[3], d[4], d[5]))
		}
		if now.After(way.end.Add(goalLimit)) {
			return errors.New("arm: the gripper does not come to rest; is its node alive?")
		}
		if err := b.tick(ctx); err != nil {
			return err
		}
	}
}

// approach is the last part of an arm's way to its start.
type approach struct {
	least float64   // it was off so far
	end   time.Time // of the patience with one that comes no nearer
}

// stuck says of an arm that is off so far whether it came no nearer for a while.
func (a *approach) stuck(off float64, now time.Time) bool {
	if off < a.least-nearer {
		a.least, a.end = off, now.Add(settling)
	}
	return now.After(a.end)
}

func (b *Backend) near(s *robot.State) bool { return b.off(s) < 1 }

// off is how far the arm is from its start, in units of what counts as there.
func (b *Backend) off(s *robot.State) float64 {
	d := franka.Diff(s.EE, b.cfg.Start)
	return max(norm(d[0], d[1], d[2])/arrived, norm(d[3], d[4], d[5])/arrivedRot)
}

// Recover has the arm leave a reflex or a released user stop, for an operator who
// has looked at it; nothing else calls it. The arm holds where it is then, and a
// Reset must follow.
func (b *Backend) Recover(ctx context.Context) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	b.ready = false
	return recoverBy(ctx, b.n, b.state)
}

// Recover is Backend.Recover for whoever has a node alone.
func Recover(ctx context.Context, n *ros.Node) error {
	l, err := ros.Watch[frankamsg.FrankaState](n, StateTopic)
	if err != nil {
		return fmt.Errorf("arm: recover: %w", err)
	}
	defer l.Close()
	return recoverBy(ctx, n, l)
}

// recoverBy has the arm recover, and returns when states say so. A backend's own say
// it by the connection by which it is told of the next stop, so that a Reset does not
// find the last one there.
func recoverBy(ctx context.Context, n *ros.Node, states *ros.Latest[frankamsg.FrankaState]) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	a, err := ros.Act[frankamsg.ErrorRecoveryGoal, frankamsg.ErrorRecoveryFeedback, frankamsg.ErrorRecoveryResult](n, RecoveryAction)
	if err != nil {
		return fmt.Errorf("arm: recover: %w", err)
	}
	defer a.Close()
	if _, err := a.Do(ctx, &frankamsg.ErrorRecoveryGoal{}, nil); err != nil {
		return fmt.Errorf("arm: recover: %w", err)
	}
	wait, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	_, seq, _ := states.Get()
	var still error
	for {
		m, s, _, err := states.Wait(wait, seq)
		if err != nil {
			return fmt.Errorf("arm: the arm did not recover: %w", cmp.Or(still, err))
		}
		if still = trip(m); still == nil {
			return nil
		}
		seq = s
	}
}
