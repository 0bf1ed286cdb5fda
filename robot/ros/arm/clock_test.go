package arm_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/arm"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/sim/rosarm"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// A simulator left /use_sim_time set: no clock is told to be wrong, and nobody waits for ever.
func TestAClockThatDoesNotGoIsToldAsSuch(t *testing.T) {
	t.Parallel()
	l := bare(t)
	n := l.node("clock")
	if err := n.SetParam("/use_sim_time", true); err != nil {
		t.Fatal(err)
	}
	refused := func(want string) {
		t.Helper()
		c := config()
		c.Wait = time.Second
		b, err := arm.Open(t.Context(), l.node("rapport"), c)
		if err == nil {
			_ = b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "rosparam set /use_sim_time false") {
			t.Errorf("a session begins with %v, want %q and the remedy", err, want)
		}
		ls, err := arm.Survey(t.Context(), l.node("doctor"), config(), 200*time.Millisecond)
		if last := ls[len(ls)-1]; err != nil || last.Err == nil || !strings.Contains(last.Err.Error(), want) {
			t.Errorf("a survey ends with %+v, %v; want %q", last, err, want)
		}
	}
	refused("nobody publishes /clock")

	p, err := ros.Advertise[std.Clock](n, "/clock", true)
	if err != nil {
		t.Fatal(err)
	}
	p.Publish(&std.Clock{Clock: time.Unix(100, 0).UTC()})
	refused("/clock stands still")

	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for at := time.Unix(100, 0).UTC(); ; at = at.Add(2 * time.Millisecond) {
			p.Publish(&std.Clock{Clock: at})
			select {
			case <-quit:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	l.start(func(c *rosarm.Config) { c.World.Render = tabletop.None })
	b := l.open(func(c *arm.Config) { c.Cameras, c.Stale, c.Wait = nil, 500*time.Millisecond, 2*time.Second })
	if _, err := b.Look(t.Context()); err != nil {
		t.Error(err)
	}
	close(quit)
	<-done
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	for err = nil; err == nil; { // one more state may have been under way
		_, err = b.Look(ctx)
	}
	if took := time.Since(began); !errors.Is(err, robot.ErrStale) || took > 8*time.Second {
		t.Errorf("error %v after %v, want stale within 2 s", err, took)
	}
}
