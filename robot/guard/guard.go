// Package guard stands between whoever commands an arm and the arm. A Guard
// wraps a Backend and is one; every command passes it, in simulation too, and
// nothing outside the limits reaches the backend.
//
//	g, err := guard.New(backend, guard.Default(franka.Panda()))
//	obs, err := g.Reset(ctx)
//	obs, err = g.Step(ctx, command) // obs.Applied and obs.By tell what became of it
//
// # Limits
//
// A command moves the Cartesian target of an impedance controller. The guard
// keeps that target in a box, not further than a lead ahead of the arm, within a
// speed and an acceleration; and by inverse kinematics at the measured state it
// keeps the joints within their positions, velocities and accelerations. A
// command is cut at the faces of the box, so that it slides along them, and
// otherwise shortened in its direction until all limits hold, down to a hold.
// Slowing down and the way back from outside a limit are never refused. Reset is
// the backend's own motion and is not judged.
//
// # Leases
//
// A commander may die while its last command still moves the arm. So each
// command is good for a term only. A commander in the same process needs
// nothing: its call is its lease. A commander elsewhere sends a Lease with each
// command (WithLease), and one that is expired, out of order or another
// holder's is not applied: the arm holds, and the observation says so. On
// virtual or recorded time a lease is judged at Step by the stamps of the
// states. On real time, besides that, Watch holds the arm as soon as the term is
// over without a valid command.
//
// # Faults
//
// What must not happen latches a fault (see Cause): the arm holds, and Step
// returns a *Fault, which is robot.ErrStopped, along with what it observes.
// Reset does not clear it, time does not clear it; only Acknowledge by a named
// operator does.
//
// Step, Reset and Close are for one goroutine; all other methods may be called
// from any.
package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// window is how much of the past a Fault tells.
const window = 2 * time.Second

// Guard is a Backend that limits the one it wraps.
type Guard struct {
	b      robot.Backend
	cfg    Config
	log    *slog.Logger
	drive  sync.Mutex // held during calls of the backend, never by who waits for mu
	mu     sync.Mutex // guards what follows; never held during such calls
	f      filter
	leases ledger
	past   history
	state  robot.State // the newest good one
	// ready says that the target is known: after a Reset, until a call failed.
	ready   bool
	cut     bool // a Step was cut off by its caller: whether the arm got its command is not known
	fault   *Fault
	held    chan struct{} // closed once the arm was told to hold for fault
	excused [7]float64    // rad beyond the hard limits that an operator has acknowledged
	count   Counts
	quit    context.CancelCauseFunc // ends the Reset in flight
	pulse   uint64                  // counts valid commands, for Watch
	left    time.Duration
	lines   []line // of the log, that wait
	lost    int
	saying  chan struct{} // closed once the log took them; nil if none waits
}

var _ robot.Backend = (*Guard)(nil)

// Counts tells how often the guard had to act since it was made.
type Counts struct {
	Steps   uint64 // commands seen
	Clipped uint64 // cut at the box, at the lead or at the grip's range
	Scaled  uint64 // shortened
	Held    uint64 // of which nothing was left
	Late    uint64 // not applied, since expired
	Repeats uint64 // not applied, since out of order
	Foreign uint64 // not applied, since another holder's lease lasted
	Missing uint64 // not applied, since without a lease
	Lapsed  uint64 // leases that ran out
	Faults  uint64
}

// New wraps b. The error lists all that is wrong with cfg.
func New(b robot.Backend, cfg Config) (*Guard, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Arm != nil { // the caller keeps no way into the limits
		arm := *cfg.Arm
		cfg.Arm = &arm
	}
	g := &Guard{b: b, cfg: cfg, log: cfg.Log, f: newFilter(&cfg)}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	g.leases.Leasing = cfg.Lease
	g.past.at = make([]Moment, max(1, (window+cfg.Tick-1)/cfg.Tick))
	return g, nil
}

// Reset brings the arm to the start of an episode, unless a fault is latched:
// then nothing moves and the error is that *Fault. One that is latched meanwhile ends
// the context of the backend's Reset. Leases start anew; the sequence numbers that
// were seen stay.
func (g *Guard) Reset(ctx context.Context) (robot.Observation, error) {
	g.drive.Lock()
	defer g.drive.Unlock()
	defer g.panicked(ctx)
	g.mu.Lock()
	g.ready, g.cut, g.leases.held, g.left = false, false, false, 0
	if f := g.fault; f != nil {
		g.mu.Unlock()
		return robot.Observation{}, f
	}
	on, quit := context.WithCancelCause(ctx)
	defer quit(nil)
	g.quit = quit
	g.mu.Unlock()
	obs, err := g.b.Reset(on)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.quit = nil
	if err != nil {
		g.isHeld(g.fault) // one that came meanwhile: the backend moves nothing any more
		return obs, g.failed(ctx, err)
	}
	if cause, why := g.blame(&obs, true); cause != 0 {
		f := g.latch(cause, why, &obs.State, nil)
		if what, _ := unfit(&obs.State); what == "" {
			g.state = obs.State // what an operator sees who acknowledges
		}
		return obs, f
	}
	g.state, g.ready = obs.State, true
	g.f.start(&obs.State, g.cfg.Opening)
	g.aim()
	g.isHeld(g.fault) // one that came meanwhile: the motion of the reset is over
	return obs, g.stopped()
}

// aim takes the target from a backend that has one, since a hold from beside moves it.
func (g *Guard) aim() {
	if t, ok := g.b.(Targeted); ok && g.ready {
		g.f.target = t.Target()
	}
}

// Step applies what of c is within the limits, and returns at the next tick.
// obs.Applied is what reached the arm and obs.By who decided it: robot.ByGuard
// if it is not what c asked for. While a fault is latched the arm holds and the
// error is that *Fault, with a good observation unless the backend failed too. After
// a Step that its own caller cut off, nothing but a hold passes before the next Reset.
func (g *Guard) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	g.drive.Lock()
	defer g.drive.Unlock()
	defer g.panicked(ctx)
	if obs, ok := g.halts(&c); ok {
		return g.halt(ctx, obs)
	}
	sent, by, holds, err := g.ruling(ctx, c)
	if err != nil {
		return robot.Observation{}, err
	}
	obs, err := g.b.Step(ctx, sent)
	g.mu.Lock()
	defer g.mu.Unlock()
	if holds != nil && err == nil {
		g.isHeld(holds)
	}
	return g.absorb(ctx, sent, by, obs, err)
}

// halts reports whether c holds an arm whose last Step was cut off by its caller, for which no
// target has to be known, and how that is told.
func (g *Guard) halts(c *robot.Command) (robot.Observation, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.cut || g.fault != nil || c.Delta != [6]float64{} {
		return robot.Observation{}, false
	}
	g.left = 0
	return robot.Observation{State: g.state, Applied: g.f.hold(), By: robot.ByGuard}, true
}

// halt has the arm hold. That it cannot is told and no fault, as the end that the caller came to
// is none: a backend that was cut off may take no Step before a Reset.
func (g *Guard) halt(ctx context.Context, obs robot.Observation) (robot.Observation, error) {
	ctx = context.WithoutCancel(ctx)
	if h, ok := g.b.(Holder); ok {
		return obs, h.Hold(ctx)
	}
	return g.b.Step(ctx, obs.Applied)
}

// ruling is decide, with the fault that a hold is for. What is not the guard's own (clock,
// target, who is told of a fault) is called here and may panic, which leaves nothing locked.
func (g *Guard) ruling(ctx context.Context, c robot.Command) (robot.Command, robot.Source, *Fault, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ready && g.fault == nil {
		return robot.Command{}, 0, nil, errors.New("guard: Step without a Reset before it: the arm's target is not known")
	}
	sent, by := g.decide(ctx, c)
	return sent, by, g.fault, nil
}

// decide returns what to send for the wish c, and who decided that.
func (g *Guard) decide(ctx context.Context, c robot.Command) (robot.Command, robot.Source) {
	g.count.Steps++
	g.aim()
	m := Moment{State: g.state, Wish: c, Applied: g.f.hold(), By: robot.ByGuard, Verdict: Held}
	if g.fault == nil && g.leased(ctx, &m) {
		if i := nonFinite(&c); i >= 0 {
			g.past.add(&m)
			g.latch(NonFinite, fmt.Sprintf("%s of the command is %v", part(i), value(&c, i)), &m.State, nil)
			return m.Applied, m.By
		}
		m.Applied, m.Verdict = g.f.judge(&g.state, c)
		g.tally(m.Verdict)
		if m.Verdict == 0 {
			m.By = source(ctx)
		}
	}
	g.past.add(&m)
	return m.Applied, m.By
}

// leased reports whether the command of m may be looked at.
func (g *Guard) leased(ctx context.Context, m *Moment) bool {
	now := g.now()
	l, ok := ctx.Value(leaseKey{}).(Lease)
	if local := !ok && g.leases.held && g.leases.holder == ""; !local && g.leases.lapsed(now) {
		if g.lapse(); g.fault != nil {
			return false
		}
	}
	var r refusal
	if ok {
		r = g.leases.grant(&l, now)
	} else {
		r = g.leases.local(now, source(ctx) == robot.ByHuman)
	}
	switch r {
	case granted:
		g.pulse++
		g.left = g.leases.expires.Sub(now)
		return true
	case missing:
		g.count.Missing++
	case expired:
		g.count.Late++
	case repeated:
		g.count.Repeats++
	case foreign:
		g.count.Foreign++
	}
	if n := g.count.Missing + g.count.Late + g.count.Repeats + g.count.Foreign; tenfold(n) {
		g.say(slog.LevelWarn, "guard: command not applied", "why", r.String(), "holder", l.Holder, "seq", l.Seq, "so_far", n)
	}
	return false
}

// absorb takes in what came back for the command sent.
func (g *Guard) absorb(ctx context.Context, sent robot.Command, by robot.Source, obs robot.Observation, err error) (robot.Observation, error) {
	if err != nil {
		err = g.failed(ctx, err)
		g.cut = !g.ready && g.fault == nil
		return obs, err
	}
	if obs.By != robot.ByLog {
		if obs.By = by; obs.Applied != sent {
			obs.By = robot.ByGuard // the backend has limits of its own
		}
	}
	if nonFinite(&obs.Applied) >= 0 {
		g.ready = false
		return obs, g.latch(Failed, "the backend says that it applied a command which is not finite", &obs.State, nil)
	}
	g.f.moved(&obs.Applied)
	g.aim()
	if cause, why := g.blame(&obs, false); cause != 0 {
		f := g.latch(cause, why, &obs.State, nil)
		if what, _ := unfit(&obs.State); what == "" && obs.State.Stamp.After(g.state.Stamp) {
			g.state = obs.State
		}
		return obs, f
	}
	g.state = obs.State
	return obs, g.stopped()
}

// failed turns an error of the backend into what the caller gets. The end of a
// recording and the caller's own cancellation are no faults.
func (g *Guard) failed(ctx context.Context, err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	g.ready = false // whether the arm got the command is not known
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	cause := Failed
	switch {
	case errors.Is(err, robot.ErrStale):
		cause = Stale
	case errors.Is(err, robot.ErrStopped):
		cause = Reflex
	}
	return g.latch(cause, err.Error(), &g.state, err)
}

// panicked holds the arm after a panic, which then goes on up. It is deferred itself, where
// drive is held.
func (g *Guard) panicked(ctx context.Context) {
	if r := recover(); r != nil {
		hold := g.panics(r)
		g.mu.Lock()
		g.ready = false
		g.mu.Unlock()
		g.still(ctx, hold)
		g.said()
		panic(r)
	}
}

// panics latches the panic r and returns the hold for it.
func (g *Guard) panics(r any) (hold robot.Command) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer func() {
		if again := recover(); again != nil { // nobody who is told of the fault keeps the arm from being held
			g.say(slog.LevelError, "guard: Latched panicked", "panic", again)
		}
	}()
	hold = g.f.hold()
	g.latch(Panicked, fmt.Sprint(r), &g.state, nil)
	return hold
}

// Close closes the backend, which leaves the arm holding still, and waits until the log
// has taken what was told.
func (g *Guard) Close() error {
	defer g.said()
	g.drive.Lock()
	defer g.drive.Unlock()
	g.mu.Lock()
	g.ready, g.cut, g.left = false, false, 0
	g.mu.Unlock()
	return g.b.Close()
}

// Judge tells what Step would do with c now, and does nothing: for dry runs, and
// for showing an operator what is in the way.
func (g *Guard) Judge(c robot.Command) (robot.Command, Verdict) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ready || g.fault != nil || nonFinite(&c) >= 0 {
		return g.f.hold(), Held
	}
	return g.f.judge(&g.state, c)
}

// Counts returns how often the guard had to act so far.
func (g *Guard) Counts() Counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}

// Target returns the pose that the accumulated commands ask for.
func (g *Guard) Target() robot.Pose {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.f.target
}

func (g *Guard) now() time.Time {
	if g.cfg.Now != nil {
		return g.cfg.Now()
	}
	return g.state.Stamp
}

func (g *Guard) tally(v Verdict) {
	if v&Clipped != 0 {
		g.count.Clipped++
	}
	if v&Scaled != 0 {
		g.count.Scaled++
	}
	if v&Held != 0 {
		g.count.Held++
	}
	if n := g.count.Clipped + g.count.Scaled; v != 0 && tenfold(n) {
		g.say(slog.LevelWarn, "guard: command altered", "clipped", g.count.Clipped, "scaled", g.count.Scaled, "held", g.count.Held, "of", g.count.Steps)
	}
}

// tenfold limits the rate of warnings: 1, 10, 100, ...
func tenfold(n uint64) bool {
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}

// nonFinite returns the index of the first number of c that is not finite, 6
// for the grip, or -1.
func nonFinite(c *robot.Command) int {
	for i := range 7 {
		if x := value(c, i); math.IsNaN(x) || math.IsInf(x, 0) {
			return i
		}
	}
	return -1
}

func value(c *robot.Command, i int) float64 {
	if i < 6 {
		return c.Delta[i]
	}
	return c.Grip
}

func part(i int) string {
	return [...]string{"x", "y", "z", "rx", "ry", "rz", "grip"}[i]
}
