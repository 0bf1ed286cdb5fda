package ros

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/bluenviron/goroslib/v2/pkg/msgs/rosgraph_msgs"
)

// clock holds what /clock says. Nothing here sleeps by it: a bag that is
// played in a loop puts it back.
type clock struct {
	simulated  atomic.Bool
	now        atomic.Pointer[time.Time]
	subscribed atomic.Bool
}

// AwaitClock waits for the first /clock where /use_sim_time is set: what publishes it may be started
// later. At ctx's deadline it is ErrNoClock. Until then Now is the zero time.
func (n *Node) AwaitClock(ctx context.Context) error {
	for n.Now().IsZero() {
		if n.ctx.Err() != nil {
			return ErrClosed
		}
		if wait(ctx, 10*time.Millisecond) != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ErrNoClock
			}
			return ctx.Err()
		}
	}
	return nil
}

// lookAtClock asks the master whose time counts.
func (n *Node) lookAtClock(ctx context.Context) error {
	var sim bool
	err := n.param(ctx, "/use_sim_time", &sim)
	if err != nil && !errors.Is(err, ErrNoParam) {
		return err
	}
	if sim && n.clock.subscribed.CompareAndSwap(false, true) {
		_, err := Subscribe(n, "/clock", func(m *rosgraph_msgs.Clock) {
			t := m.Clock
			if t.IsZero() { // ROS's zero is 1970 here
				t = time.Unix(0, 0).UTC()
			}
			n.clock.now.Store(&t)
		})
		if err != nil {
			n.clock.subscribed.Store(false)
			return err
		}
	}
	n.clock.simulated.Store(sim)
	return nil
}
