package arm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/ros"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// ages collects sensors that are too old, or were never heard.
type ages []string

func (a *ages) old(name string, age time.Duration) {
	*a = append(*a, fmt.Sprintf("%s is %d ms old", name, age.Milliseconds()))
}

func (a *ages) never(name, topic string) {
	*a = append(*a, fmt.Sprintf("%s (%s) was never heard", name, topic))
}

func (a ages) err(limit time.Duration) error {
	if len(a) == 0 {
		return nil
	}
	return fmt.Errorf("arm: %w: %s; at most %d ms are allowed", robot.ErrStale, strings.Join(a, ", "), limit.Milliseconds())
}

// ahead is by how much a stamp may be in the future: what two clocks that are kept
// in step may differ by.
const ahead = 100 * time.Millisecond

// age of a message by its stamp, or by its arrival if that is longer ago.
func age(now, stamp, at time.Time) time.Duration {
	return max(now.Sub(stamp), now.Sub(at))
}

// observe returns the newest state, which is newer than the last one, with the
// images that belong to it.
func (b *Backend) observe(ctx context.Context) (robot.Observation, error) {
	var obs robot.Observation
	if b.n.Now().IsZero() { // set since it was opened
		return obs, fmt.Errorf("arm: %w", ros.ErrNoClock)
	}
	m, at, from, err := b.fresh(ctx)
	if err != nil {
		return obs, err
	}
	if err := driven(m); err != nil {
		return obs, err
	}
	if obs.State, err = sense(m); err != nil {
		return obs, err
	}
	b.looked(&obs.State, at, from)
	b.mu.Lock()
	obs.State.EE.Q = follow(obs.State.EE.Q, b.target.Q)
	b.mu.Unlock()
	now := b.n.Now()
	var late ages
	if d := age(now, obs.State.Stamp, at); d > b.cfg.Stale {
		late.old("the arm's state", d)
	}
	// The Jacobian has no stamp; it comes as long as the controller runs.
	if j, _, at := b.jac.Get(); j == nil {
		late.never("the controller's Jacobian", JacobianTopic)
	} else if d := now.Sub(at); d > b.cfg.Stale {
		late.old("the controller's Jacobian", d)
	}
	if b.finger != nil {
		switch f, _, at := b.finger.Get(); {
		case f == nil:
			late.never("the gripper's state", FingerTopic)
		case now.Sub(at) > b.cfg.Stale:
			late.old("the gripper's state", now.Sub(at))
		default:
			obs.State.Grip = apart(f)
		}
	}
	for i, c := range b.cams {
		if names := c.several(); len(names) > 1 {
			return obs, fmt.Errorf("arm: camera %s: %w: %w", c.cfg.Name, robot.ErrStopped, twice(c.cfg.Topic, names))
		}
		b.shots[i] = c.latest(b.shots[i])
		if n := len(b.shots[i]); n == 0 {
			late.never("camera "+c.cfg.Name, c.cfg.Topic)
		} else if s := &b.shots[i][n-1]; s.stamp.Sub(now) > ahead {
			return obs, fmt.Errorf("arm: the clock of camera %s is %v ahead of this machine's; keep both in step, as with chrony", c.cfg.Name, s.stamp.Sub(now).Round(time.Millisecond))
		} else if s.stamp.Unix() <= 0 {
			late = append(late, "camera "+c.cfg.Name+" ("+c.cfg.Topic+") has no stamps, so nobody knows how old it is: have its driver set header.stamp")
		} else if age(now, s.stamp, s.at) > b.cfg.Stale {
			late.old("camera "+c.cfg.Name, age(now, s.stamp, s.at))
		}
	}
	if err := late.err(b.cfg.Stale); err != nil {
		return obs, err
	}
	if d := obs.State.Stamp.Sub(now); d > ahead {
		return obs, fmt.Errorf("arm: the arm's clock is %v ahead of this machine's; keep both in step, as with chrony", d.Round(time.Millisecond))
	}
	b.seen = obs.State.Stamp
	if err := b.look(&obs); err != nil {
		return obs, err
	}
	if b.hand != nil {
		if err := b.hand.failed(); err != nil {
			return obs, err
		}
	}
	b.stamp = obs.State.Stamp
	b.aged = b.n.Now().Sub(b.seen)
	return obs, nil
}

// driven says whether a controller drives the arm, and it has not stopped itself.
func driven(m *frankamsg.FrankaState) error {
	if err := trip(m); err != nil {
		return fmt.Errorf("arm: %w", err)
	}
	if m.RobotMode != frankamsg.Move {
		return fmt.Errorf("arm: %w: the arm is in mode %q, so no controller drives it; start the impedance controller", robot.ErrStopped, modeName(m.RobotMode))
	}
	return nil
}

// fresh waits for a state with a newer stamp than that of the last observation,
// which came at a time from a node; at most until the newest is stale.
func (b *Backend) fresh(ctx context.Context) (m *frankamsg.FrankaState, at time.Time, from string, err error) {
	if err := b.mixed(); err != nil {
		return nil, time.Time{}, "", err
	}
	wait, cancel := context.WithTimeout(ctx, b.cfg.Stale)
	defer cancel()
	for {
		var seq uint64
		if m, seq, at, from = b.state.From(); m != nil && m.Header.Stamp.After(b.stamp) {
			return m, at, from, nil
		}
		if _, _, _, err = b.state.Wait(wait, seq); err == nil {
			continue
		}
		if ctx.Err() != nil {
			return nil, at, from, ctx.Err()
		}
		var late ages
		if m, _, at = b.state.Get(); m == nil {
			late.never("the arm's state", StateTopic)
		} else {
			now := b.n.Now()
			late.old("the arm's state", age(now, m.Header.Stamp, at))
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			return nil, at, from, fmt.Errorf("%w (%w)", late.err(b.cfg.Stale), err)
		}
		return nil, at, from, late.err(b.cfg.Stale)
	}
}

// look adds to obs the images of all cameras that show the same instant.
func (b *Backend) look(obs *robot.Observation) error {
	if len(b.cams) == 0 {
		return nil
	}
	for i := range b.cams {
		b.stamps[i] = b.stamps[i][:0]
		for k := range b.shots[i] {
			b.stamps[i] = append(b.stamps[i], b.shots[i][k].stamp)
		}
	}
	pick, spread := align(b.stamps)
	if spread > b.cfg.Skew {
		last := 0
		for i := range b.stamps {
			if newest(b.stamps[i]).Before(newest(b.stamps[last])) {
				last = i
			}
		}
		return fmt.Errorf("arm: %w: camera %s is behind: no image of it is less than %d ms from the others', at most %d are allowed", robot.ErrStale, b.cams[last].cfg.Name, spread.Milliseconds(), b.cfg.Skew.Milliseconds())
	}
	obs.Frames = make([]robot.Frame, len(b.cams))
	now := b.n.Now()
	for i, c := range b.cams {
		s := &b.shots[i][pick[i]]
		if wait := now.Sub(s.at); i == 0 || wait < b.waited {
			b.waited = wait
		}
		if d := c.same.look(s.stamp, s.data()); d > b.cfg.Frozen {
			return fmt.Errorf("arm: %w: camera %s is frozen: the same pixels for %d ms, at most %d are allowed", robot.ErrStale, c.cfg.Name, d.Milliseconds(), b.cfg.Frozen.Milliseconds())
		}
		if s.stamp.Before(b.seen) {
			b.seen = s.stamp
		}
	}
	errs := make([]error, len(b.cams))
	var wg sync.WaitGroup
	for i, c := range b.cams {
		wg.Go(func() { obs.Frames[i], errs[i] = b.decode(c, &b.shots[i][pick[i]]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// apart is how far apart the fingers are, m.
func apart(fingers *std.JointState) (m float64) {
	for _, p := range fingers.Position {
		m += p
	}
	return m
}
