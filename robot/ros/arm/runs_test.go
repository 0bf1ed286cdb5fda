package arm

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// One launch file starts a simulator and a session: /use_sim_time is set at once, /clock comes later
// and stands still while models load.
func TestAClockIsWaitedForAsLongAsASensor(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.own(s.driver.SetParam("/use_sim_time", true))
	n := s.node("session") // knows from its beginning
	done := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		done <- runs(ctx, n)
	}()
	ends := func(within time.Duration) (err error) {
		select {
		case err = <-done:
		case <-time.After(within):
			err = context.DeadlineExceeded
		}
		return err
	}
	if err := ends(3200 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("ended without a clock: %v", err)
	}
	p, err := ros.Advertise[std.Clock](s.driver, "/clock", true)
	s.own(err)
	p.Publish(&std.Clock{Clock: time.Unix(100, 0).UTC()})
	if err := ends(1500 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("ended with a clock that stands: %v", err)
	}
	p.Publish(&std.Clock{Clock: time.Unix(101, 0).UTC()})
	s.own(ends(10 * time.Second))
	s.own(s.b.Close())
}
