package arm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// sensed is where an arm was by one of its states.
type sensed struct {
	ee    robot.Pose
	stamp time.Time
	at    time.Time // of its arrival
}

// debt is a hold that nobody knew the place for.
type debt struct {
	seq   uint32 // of the last target before it
	whose string // URI of the driver it is owed to
}

// Hold makes the measured pose the target, so that the arm stops at once; where
// the measurement is stale, the target stays what it was until the same driver's is
// fresh again, and the measured pose becomes it then, unless something was commanded
// before. It may be called from any goroutine, and while a Step waits.
func (b *Backend) Hold(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	b.hold()
	return nil
}

// hold sends where the arm is. Where nobody knows, nothing is sent until somebody does, and false
// returned: the controller has its target, which the arm is near and on its way to, and one that was
// just started is not to be told that of its forerunner.
func (b *Backend) hold() bool {
	b.judged = robot.Pose{} // no target's: what was judged before is not carried out, wherever the arm is
	if b.hand != nil {
		b.hand.stay()
	}
	if b.stand() {
		return true
	}
	b.debt = debt{b.seq, b.whose}
	if !b.paying {
		b.paying = true
		b.crew.Go(b.pay)
	}
	return false
}

// pay holds the arm once its state is fresh again, unless it was commanded since. Where a network
// broke, targets wait in the kernel and are carried out once it is back; this one follows them.
// A driver that was started again got none of them, and is another; one whose connection broke is not.
func (b *Backend) pay() {
	_, seq, _ := b.state.Get()
	for {
		_, next, _, err := b.state.Wait(context.Background(), seq) // Close ends it
		seq = next
		b.mu.Lock()
		over := err != nil || b.closed || b.debt != debt{b.seq, b.whose}
		if !over && b.stand() {
			b.judged, over = robot.Pose{}, true
		}
		b.paying = !over
		b.mu.Unlock()
		if over {
			return
		}
	}
}

// stand makes the place where the arm is its target, if that is known.
//
// Where a second node publishes states, as a bag that is played or a simulated arm, the newest may
// be its, also while the arm's driver is silent: what was looked at last is sent then, a place where
// the arm was a moment ago, if that was no longer ago than a state may be old. How far a state is from
// the target says nothing about whose it is: a person pushes an arm aside, and it must not be drawn
// back.
func (b *Backend) stand() bool {
	now := b.n.Now()
	if m, _, at, from := b.state.From(); m != nil && from == b.whose && age(now, m.Header.Stamp, at) <= b.cfg.Stale {
		if s, err := sense(m); err == nil {
			b.send(s.EE)
			return true
		}
	}
	if l := &b.sensed; l.ee != (robot.Pose{}) && age(now, l.stamp, l.at) <= b.cfg.Stale {
		b.send(l.ee)
		return true
	}
	return false
}

// looked notes where the arm is by a state that came at a time from a node, for a hold; not by
// somebody else's.
func (b *Backend) looked(s *robot.State, at time.Time, from string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if from == b.whose {
		b.sensed = sensed{s.EE, s.Stamp, at}
	}
}

// stray is how far an arm may be from its target, m: the guard leads it by 0.1 at most, and
// the controller would bring it back from further at its own speed.
const stray = 0.15

// strays says whether the arm is where its target does not lead it from.
func (b *Backend) strays(s *robot.State) error {
	b.mu.Lock()
	d := franka.Diff(s.EE, b.target)
	b.mu.Unlock()
	if off := norm(d[0], d[1], d[2]); off > stray {
		return fmt.Errorf("arm: %w: the arm is %.0f mm from its target, and would be drawn there at once; was it moved aside, or is something in its way?", robot.ErrStopped, 1000*off)
	}
	return nil
}

// fail holds the arm after an error, and asks for a Reset.
func (b *Backend) fail(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.hold()
	}
	if errors.Is(err, robot.ErrStale) {
		b.count.Lost++
	} else {
		b.ready = false
	}
	return err
}
