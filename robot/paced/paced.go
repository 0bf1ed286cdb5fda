// Package paced lets a backend of virtual time keep a clock: a simulation that a
// person is to steer, or that shows how a session behaves on real time.
//
//	arm := paced.New(world, 50*time.Millisecond, paced.Clock{Now: time.Now, After: time.After})
//	cfg.Now = arm.Now // of the guard in front
//	obs, err := arm.Step(ctx, c) // returns when the tick is over by the clock
//
// Stamps are of the clock, so that ages and leases are judged on real time.
package paced

import (
	"context"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// Clock is what a Backend goes by. Both parts are needed.
type Clock struct {
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// Backend is a Backend whose Step takes a tick by the clock. It is driven by one
// goroutine; Now may be called by any.
type Backend struct {
	b     robot.Backend
	tick  time.Duration
	clock Clock
	due   time.Time // end of the tick under way
	late  uint64
}

var _ robot.Backend = (*Backend)(nil)

// New paces b, whose control period is tick.
func New(b robot.Backend, tick time.Duration, c Clock) *Backend {
	return &Backend{b: b, tick: tick, clock: c}
}

// Now is the time that stamps are of.
func (p *Backend) Now() time.Time { return p.clock.Now() }

// Late counts the ticks that ended after their time.
func (p *Backend) Late() uint64 { return p.late }

// Reset begins an episode at once.
func (p *Backend) Reset(ctx context.Context) (robot.Observation, error) {
	obs, err := p.b.Reset(ctx)
	p.due = p.clock.Now()
	return p.stamp(obs), err
}

// Step applies c at once and returns when its tick is over. A commander that is
// behind the clock is not hurried afterwards: the next tick begins with its
// command.
func (p *Backend) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	began := p.clock.Now()
	obs, err := p.b.Step(ctx, c)
	if p.due = p.due.Add(p.tick); p.due.Before(began) {
		p.due = began.Add(p.tick)
	}
	if err != nil {
		return obs, err
	}
	if rest := p.due.Sub(p.clock.Now()); rest > 0 {
		select {
		case <-p.clock.After(rest):
		case <-ctx.Done():
			return p.stamp(obs), ctx.Err()
		}
	} else {
		p.late++
	}
	return p.stamp(obs), nil
}

// Close closes the backend behind.
func (p *Backend) Close() error { return p.b.Close() }

// stamp moves the stamps of obs to the clock, their distances kept.
func (p *Backend) stamp(obs robot.Observation) robot.Observation {
	by := p.clock.Now().Sub(obs.State.Stamp)
	obs.State.Stamp = obs.State.Stamp.Add(by)
	frames := make([]robot.Frame, len(obs.Frames))
	for i, f := range obs.Frames {
		f.Stamp = f.Stamp.Add(by)
		frames[i] = f
	}
	obs.Frames = frames
	return obs
}
