package wire

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/paced"
	"github.com/rapport-rl/rapport/robot/teleop"
	"github.com/rapport-rl/rapport/sim/tabletop"
	"github.com/rapport-rl/rapport/sim/xmagical"
)

// liveArm is the arm that the session learns on. On real time the guard's watch
// holds it when commands stop coming.
func (s *Session) liveArm(ctx context.Context, c config.Config) (*arm, error) {
	if real(c) {
		a, err := openArm(ctx, c, online, s.log)
		if err != nil {
			return nil, err
		}
		a.live = true
		if err := s.desk.hears(ctx); err != nil {
			return nil, errors.Join(err, a.close())
		}
		return a, nil
	}
	var clock *paced.Clock
	if c.Robot.Pace == "real" {
		clock = &paced.Clock{Now: s.now, After: s.after}
	}
	a, err := newArmOn(c, online, clock)
	if err != nil {
		return nil, err
	}
	if a.live = true; clock != nil {
		a.watch = watchLease(a, c, s.ticks)
	}
	return a, nil
}

// ownArm is a live arm under the session's desk, until done.
func (s *Session) ownArm(ctx context.Context) (a *arm, done func() error, err error) {
	return s.armOf(ctx, s.cfg)
}

// armOf is ownArm as another configuration has it.
func (s *Session) armOf(ctx context.Context, c config.Config) (a *arm, done func() error, err error) {
	if a, err = s.liveArm(ctx, c); err != nil {
		return nil, nil, err
	}
	detach, err := s.desk.attach(ctx, a)
	done = func() error { detach(); return a.close() }
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return a, done, nil
}

// looks is how often the guard's watch looks within a lease's term: with two of
// its ticks as the latest hold, a quarter of the term late.
const looks = 8

// watchLease runs the guard's watch until end is called.
func watchLease(a *arm, c config.Config, ticks func(time.Duration) (<-chan time.Time, func())) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	t, stop := ticks(guardConfig(c).Lease.Term / looks)
	var wg sync.WaitGroup
	wg.Go(func() { a.guard.Watch(ctx, t) })
	return func() {
		cancel()
		wg.Wait()
		stop()
	}
}

// override is loop.Actor's.
type override func(step int, obs robot.Observation, wish robot.Command) (robot.Command, robot.Source)

// newOverride is who may decide instead of the policy: a person, and a gate that
// holds the arm while a frame is unfit. nil without either.
func (s *Session) newOverride(ctx context.Context, a *arm) (_ override, end func(), err error) {
	end = func() {}
	var pilot *teleop.Pilot
	if s.cfg.Teleop.Input != "none" {
		hand := teleop.NewHand(teleop.HandConfig{Mapping: mapping(s.cfg.Teleop), Stale: seconds(s.cfg.Teleop.Stale), Now: s.now, Log: s.log})
		if s.cfg.Teleop.Input == "bus" {
			end, err = s.hearBus(hand)
		} else {
			end, err = s.hearJoy(ctx, hand)
		}
		if err != nil {
			return nil, nil, err
		}
		pilot = newPilot(s.cfg, hand, s.log)
	}
	gate := newGate(s.cfg)
	if pilot == nil && gate == nil {
		return nil, end, nil
	}
	return func(step int, obs robot.Observation, wish robot.Command) (robot.Command, robot.Source) {
		// The person is asked even if the gate holds, so that he is heard of.
		c, who := wish, robot.ByPolicy
		if pilot != nil {
			c, who = pilot.Decide(step, obs, wish)
		}
		if gate == nil {
			return c, who
		}
		if bad := s.judgeFrames(gate, a, obs.Frames); bad && s.cfg.Frames.Gate == "hold" {
			return teleop.Hold(step, obs, wish), robot.ByGuard
		}
		return c, who
	}, end, nil
}

// judgeFrames counts the unfit ones among frames and reports whether there are any.
func (s *Session) judgeFrames(g *vision.Gate, a *arm, frames []robot.Frame) bool {
	bad := false
	for _, f := range frames {
		if _, err := g.Check(f); err != nil {
			bad = true
			if a.bad++; tenfold(a.bad) {
				s.log.Warn("wire: unfit frame", "err", err, "so_far", a.bad, "gate", s.cfg.Frames.Gate)
			}
		}
	}
	return bad
}

// tenfold limits the rate of warnings: 1, 10, 100, ...
func tenfold(n uint64) bool {
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}

// newGate judges frames as the configuration says; nil if it does not.
func newGate(c config.Config) *vision.Gate {
	f := c.Frames
	if f.Gate == "none" {
		return nil
	}
	return &vision.Gate{Limits: vision.Limits{MinBrightness: f.Brightness, MaxBrightness: f.Glare, MinContrast: f.Contrast, MinSharpness: f.Sharpness, MaxRepeats: f.Repeats}}
}

// newPilot lets a person move what the policy may: it is to learn from it. And no quicker than
// the guard lets pass and an action of the policy can say: what the guard shortens is not the
// person's, and of what is beyond an action another one would be learned than moved the arm.
func newPilot(c config.Config, hand teleop.Source, log *slog.Logger) *teleop.Pilot {
	p := &teleop.Pilot{Source: hand, Speed: c.Teleop.Speed, Turn: c.Teleop.Turn, MaxSpeed: c.Guard.Speed, MaxTurn: c.Guard.Turn, Tick: period(c), Pause: seconds(c.Teleop.Pause)}
	lost := uint64(0)
	p.Lost = func() {
		if lost++; tenfold(lost) {
			log.Warn("wire: teleop: readings stopped while a person held the switch; the arm is held for teleop.pause, then the policy goes on: "+silenced(c.Teleop.Input), "stale_s", c.Teleop.Stale, "pause_s", c.Teleop.Pause, "so_far", lost)
		}
	}
	for _, name := range c.Policy.Axes {
		for i, n := range append(axisNames, "grip") {
			p.Free[i] = p.Free[i] || n == name
		}
	}
	unit := viewConfig(c, 1).Action
	dt := p.Tick.Seconds()
	slow := func(top *float64, free []bool, key, limit string, most, unit float64) {
		if !slices.Contains(free, true) {
			return
		}
		if u := unit / dt; u < most {
			limit, most = "policy.scale", u
		}
		if most < *top {
			log.Warn("wire: a person moves the arm more slowly than "+key+" says: no quicker than "+limit+" lets the policy", key, *top, "is_now", most)
			*top = most
		}
	}
	slow(&p.Speed, p.Free[:3], "teleop.speed", "guard.speed", p.MaxSpeed, unit.Scale)
	slow(&p.Turn, p.Free[3:6], "teleop.turn", "guard.turn", p.MaxTurn, unit.Turn)
	return p
}

// silenced is why a device may have gone silent while it was held.
func silenced(input string) string {
	if input == "joy" {
		return "the joy node repeats nothing of a stick that is still, unless its autorepeat_rate is set, to 20; or its cable or network is gone"
	}
	return "its cable or network is gone, or what reads it hangs"
}

// period is the control period of the configured arm.
func period(c config.Config) time.Duration {
	if real(c) {
		return time.Duration(float64(time.Second) / c.Robot.ROS.Rate)
	}
	if flat(c) {
		return xmagical.Period
	}
	return tabletop.Period
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// mapping is that of the configured kind of device, with what is configured
// besides.
func mapping(t config.Teleop) teleop.Mapping {
	m := teleop.Gamepad()
	switch t.Input {
	case "joy":
		m = teleop.Joystick()
		m.Deadman = t.Hold
	case "spacenav":
		m = teleop.SpaceMouse()
	}
	m.Close, m.Open, m.Dead = t.Close, t.Open, t.Dead
	copy(m.Axes[:], t.Axes)
	return m
}

// hearBus feeds a hand with the readings that come over the bus, for the arm's page.
func (s *Session) hearBus(hand *teleop.Hand) (end func(), err error) {
	tap, err := bus.NewTap(s.conn, s.armOn(), bus.TeleopTopic(), depth)
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			t, err := tap.Next(context.Background())
			if errors.Is(err, bus.ErrClosed) {
				return
			}
			if err != nil {
				continue // the tap counts what it cannot read
			}
			hand.Take(teleop.Raw{Who: t.Who, Device: t.Device, Boot: t.Boot, Seq: t.Seq, Stamp: t.Stamp, Deadman: t.Deadman, Axes: t.Axes, Buttons: t.Buttons})
		}
	})
	return func() { tap.Close(); wg.Wait() }, nil
}

// countBy counts the steps of ep that who decided.
func countBy(ep policy.Episode, who robot.Source) int {
	n := 0
	for _, by := range ep.By {
		if by == who {
			n++
		}
	}
	return n
}
