package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// Holder is a Backend that can stop the arm at its present target at once, from
// any goroutine and also while a Step is in flight. Backends on real time should
// be one; the others are held by their next Step.
type Holder interface {
	Hold(ctx context.Context) error
}

// Targeted is a Backend whose controller is told a target that need not be where the arm is,
// which sags and lags behind it. A command is judged at Target and added to it; without one,
// what Step adds up is added to the measured pose of the Reset.
type Targeted interface {
	Target() robot.Pose
}

// Fault returns the latched fault, or nil.
func (g *Guard) Fault() *Fault {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fault
}

// Stop latches a fault on somebody's request, and holds the arm.
func (g *Guard) Stop(ctx context.Context, why string) (err error) {
	defer func() { err = g.holdNow(ctx) }() // even if Latched panics
	g.mu.Lock()
	defer g.mu.Unlock()
	g.latch(Stopped, why, &g.state, nil)
	return nil
}

// Held returns a channel that is closed once the arm was told to hold for the
// latched fault: by Stop itself, or by the first command after a Step that was in
// flight. Without a fault it is closed.
func (g *Guard) Held() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault == nil {
		c := make(chan struct{})
		close(c)
		return c
	}
	return g.held
}

// isHeld notes that the arm was told to hold for f.
func (g *Guard) isHeld(f *Fault) {
	if g.fault != f || f == nil {
		return
	}
	select {
	case <-g.held:
	default:
		close(g.held)
	}
}

// Acknowledge clears the latched fault in the name of an operator, who has seen
// the arm. A joint that is outside its limits is then no fault again as long as
// it does not go further out, so that it can be driven back. Where the fault left
// the target unknown (the backend failed or panicked), a Reset must follow.
func (g *Guard) Acknowledge(operator string) error {
	return g.AcknowledgeFault(operator, g.Fault())
}

// AcknowledgeFault is Acknowledge of a fault that the operator was told of: another one, that was
// latched meanwhile, stays.
func (g *Guard) AcknowledgeFault(operator string, told *Fault) error {
	if operator == "" {
		return errors.New("guard: a fault is acknowledged by a named operator only")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.fault
	if f == nil || told != f {
		return nil
	}
	g.fault, g.leases.held, g.left = nil, false, 0
	if g.cfg.Arm != nil {
		seen := g.state != robot.State{} // where all joints are at 0, some are beyond their ends
		for i := range g.excused {
			// What is no fault needs no excuse: with one, the slack would count twice.
			g.excused[i] = 0
			if over := g.beyond(&g.state, i); seen && over > slack {
				g.excused[i] = over
			}
		}
	}
	g.say(slog.LevelWarn, "guard: fault acknowledged", "operator", operator, "cause", f.Cause.String(), "detail", f.Detail)
	return nil
}

// HoldOnPanic holds the arm and latches a fault if the goroutine panics, and
// lets the panic go on. It is for the loop, and works only when deferred itself:
//
//	defer g.HoldOnPanic(ctx)
func (g *Guard) HoldOnPanic(ctx context.Context) {
	if r := recover(); r != nil {
		g.panics(r)
		_ = g.holdNow(ctx) // the panic says more
		g.said()
		panic(r)
	}
}

// Watch holds the arm when no valid command came within the lease, until ctx is
// done. It is for backends on real time; ticks come from a ticker, several times
// a term:
//
//	go g.Watch(ctx, ticker.C)
//
// The arm is then held two ticks of the ticker after the end of the term at the
// latest: one to notice the last command, one to notice the end.
func (g *Guard) Watch(ctx context.Context, ticks <-chan time.Time) {
	defer g.HoldOnPanic(ctx) // of whoever is told of the fault
	var pulse uint64
	var since time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now, ok := <-ticks:
			if !ok {
				return
			}
			if g.over(now, &pulse, &since) {
				if err := g.holdNow(ctx); err != nil {
					g.fail("guard: cannot hold the arm after a lost lease", "err", err)
				}
			}
		}
	}
}

// over reports whether the term has ended at now without a valid command, of which pulse was
// the newest that was seen, at since.
func (g *Guard) over(now time.Time, pulse *uint64, since *time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if since.IsZero() || g.pulse != *pulse {
		*pulse, *since = g.pulse, now
	}
	if g.left <= 0 || now.Sub(*since) < g.left {
		return false
	}
	g.left = 0 // until the next valid command
	if g.leases.held {
		g.leases.held = false
		g.lapse()
	}
	return true
}

// lapse accounts for a lease that ran out.
func (g *Guard) lapse() {
	g.count.Lapsed++
	if g.cfg.Lease.Latch {
		g.latch(LeaseLost, fmt.Sprintf("no valid command of %q within %v", g.leases.holder, g.cfg.Lease.Term), &g.state, nil)
	} else if tenfold(g.count.Lapsed) {
		g.say(slog.LevelWarn, "guard: lease lost, arm held", "holder", g.leases.holder, "so_far", g.count.Lapsed)
	}
}

// holdNow holds the arm from any goroutine: at once if the backend can, else by
// a Step of its own unless one is in flight, whose next one will hold.
func (g *Guard) holdNow(ctx context.Context) error {
	g.mu.Lock()
	f := g.fault
	g.mu.Unlock()
	if h, ok := g.b.(Holder); ok {
		err := h.Hold(context.WithoutCancel(ctx))
		if err == nil {
			g.mu.Lock()
			g.f.last = [6]float64{} // the target stands; a Step in flight says what it did itself
			g.isHeld(f)
			g.mu.Unlock()
		}
		return err
	}
	if !g.drive.TryLock() {
		return nil
	}
	defer g.drive.Unlock()
	g.mu.Lock()
	hold, ready := g.f.hold(), g.ready
	if !ready { // nothing was commanded since the last Reset or Close
		g.isHeld(f)
		g.mu.Unlock()
		return nil
	}
	g.mu.Unlock()
	defer g.panicked(ctx)
	ctx = context.WithoutCancel(ctx)
	obs, err := g.b.Step(ctx, hold)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.isHeld(f)
	}
	_, err = g.absorb(ctx, hold, robot.ByGuard, obs, err)
	if errors.Is(err, robot.ErrStopped) {
		return nil // latched already, and told by the next Step
	}
	return err
}

// still holds the arm after a panic of the backend, as far as it lets itself be.
func (g *Guard) still(ctx context.Context, hold robot.Command) {
	defer func() {
		if r := recover(); r != nil {
			g.fail("guard: the backend panicked again while holding", "panic", r)
		}
	}()
	ctx = context.WithoutCancel(ctx)
	var err error
	if h, ok := g.b.(Holder); ok {
		err = h.Hold(ctx)
	} else {
		_, err = g.b.Step(ctx, hold)
	}
	if err != nil {
		g.fail("guard: cannot hold the arm after a panic", "err", err)
	}
}

// latch stops the arm until an operator acknowledges. The first fault stays.
func (g *Guard) latch(c Cause, detail string, st *robot.State, err error) *Fault {
	if g.fault != nil {
		return g.fault
	}
	g.count.Faults++
	g.fault = &Fault{Cause: c, Detail: detail, Stamp: g.state.Stamp, State: *st, Recent: g.past.list(), err: err}
	g.held = make(chan struct{})
	if g.quit != nil {
		g.quit(g.fault)
	}
	if g.cfg.Latched != nil {
		g.cfg.Latched(g.fault)
	}
	g.say(slog.LevelError, "guard: arm held by a fault", "cause", c.String(), "detail", detail, "stamp", g.state.Stamp)
	return g.fault
}

// stopped returns the latched fault as an error.
func (g *Guard) stopped() error {
	if g.fault == nil {
		return nil
	}
	return g.fault
}

func (r refusal) String() string {
	return [...]string{"granted", "no lease", "expired", "out of order", "another holder's lease lasts"}[r]
}
