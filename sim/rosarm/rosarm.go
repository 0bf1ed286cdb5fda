// Package rosarm is the simulated arm of sim/tabletop behind the topics, services
// and actions of a real one: franka_ros, franka_gripper and
// serl_franka_controllers, over ROS 1 and in real time.
//
// What drives a real arm can be tried on it unchanged, reflexes and refusals
// included: package robot/ros/arm, or any other program.
//
//	n, err := ros.Open(ctx, ros.Config{Name: "franka"})
//	s, err := rosarm.Start(ctx, n, rosarm.Default())
//	defer s.Close()
//
// The controller is the one of serl_franka_controllers, with its filter and its
// clipped error; the arm stops itself (robot_mode 4) above its collision
// thresholds, at its joints' limits, at jumps of velocity and where the physics got out
// of hand, and then ignores commands until error_recovery.
package rosarm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/franka/impedance"
	"github.com/rapport-rl/rapport/robot/ros"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// Names of what a real arm does not have.
const (
	ResetService = "/rapport/reset"     // std_srvs/Trigger: the next episode begins
	SeedParam    = "/rapport/seed"      // int: of that episode; it is taken once
	StopService  = "/rapport/user_stop" // std_srvs/SetBool: presses or releases the user stop
)

// Config describes the arm. Take Default and change what differs.
type Config struct {
	World    tabletop.Config
	ArmID    string  // panda or fr3: what its joints are called, and whose limits hold
	States   float64 // messages a second of franka_states and joint_states
	Jacobian float64 // messages a second of franka_jacobian, up to 1000
	FPS      float64 // images a second of each camera
	JPEG     int     // quality of the compressed images; 0: none
	// Deaf makes the arm say that it took a load and a stiffness which it did not
	// take, for tests of whoever believes it.
	Deaf bool
	Log  *slog.Logger // nil discards
}

// Default returns a Panda with two cameras at franka_ros's rates.
func Default() Config {
	return Config{ArmID: "panda", States: 30, Jacobian: 1000, FPS: 30, JPEG: 90}
}

func (c *Config) validate() error {
	var errs []error
	within := func(name string, v, lo, hi float64) {
		if !(v >= lo && v <= hi) {
			errs = append(errs, fmt.Errorf("rosarm: %s is %g, want %g to %g", name, v, lo, hi))
		}
	}
	if c.ArmID != "panda" && c.ArmID != "fr3" {
		errs = append(errs, fmt.Errorf("rosarm: arm id is %q, want panda or fr3", c.ArmID))
	}
	within("states", c.States, 1, 1000)
	within("jacobian", c.Jacobian, 1, 1000)
	within("fps", c.FPS, 1, 120)
	within("jpeg", float64(c.JPEG), 0, 100)
	return errors.Join(append(errs, c.World.Validate())...)
}

// Sim is a running arm. Its methods may be called from any goroutine.
type Sim struct {
	n      *ros.Node
	cfg    Config
	log    *slog.Logger
	limits franka.Limits
	calls  chan func()
	quit   context.CancelFunc
	wg     sync.WaitGroup
	topics []io.Closer
	over   chan struct{} // the loop has ended
	err    error         // why; after over

	// What follows is the loop's alone.
	w       *tabletop.World
	drive   func(n int, opening float64, l tabletop.Law) error // w.Drive
	law     law
	feeling feeling
	th      thresholds
	load    load
	mode    uint8
	errors  []string // set now
	last    []string // of the last stop
	state   robot.State
	in      impedance.Input
	tau     [7]float64
	opening float64 // of the fingers' target, m
	toOpen  float64 // where it goes
	fast    float64 // m/s
	seeds   *rand.Rand
	begun   time.Time // simulated time 0
	wall    time.Time // that by the wall clock, which may be set, or go on while the machine sleeps
	steps   int64     // physics steps since
	slipped uint64
	user    bool

	out    outlets
	nextAt struct{ state, jac, finger, frame float64 } // s of simulated time
	frames int
	reads  int
	grip   float64 // m, as last read
	eye    *eye
}

type load struct {
	mass    float64
	centre  [3]float64
	inertia [9]float64
}

// Start begins. The node stays the caller's.
func Start(ctx context.Context, n *ros.Node, cfg Config) (*Sim, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Sim{
		n: n, cfg: cfg, log: cfg.Log, limits: franka.Panda(), calls: make(chan func()), over: make(chan struct{}),
		th: factory(), mode: frankamsg.Move, fast: 0.1,
		seeds: rand.New(rand.NewPCG(cfg.World.Seed, 0x726f7361726d)),
	}
	if cfg.ArmID == "fr3" {
		s.limits = franka.FR3()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.law.want, s.law.have = standard(), standard()
	var err error
	if s.w, err = tabletop.New(cfg.World); err != nil {
		return nil, err
	}
	s.cfg.World, s.drive = s.w.Config(), s.w.Drive
	if err := s.begin(ctx, s.seeds.Uint64()); err != nil {
		return nil, errors.Join(err, s.w.Close())
	}
	lctx, quit := context.WithCancel(context.Background())
	s.quit = quit
	s.eye = newEye(s)
	if err := errors.Join(s.advertise(), s.eye.advertise()); err != nil {
		quit()
		return nil, errors.Join(err, s.hangUp(), s.w.Close())
	}
	s.wg.Go(func() { s.eye.run(lctx) })
	s.wg.Go(func() {
		defer close(s.over)
		s.err = s.loop(lctx)
	})
	if err := s.serve(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends the arm.
func (s *Sim) Close() error {
	s.quit()
	s.wg.Wait()
	err := s.err
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, s.hangUp(), s.w.Close())
}

func (s *Sim) hangUp() error {
	err := ros.CloseAll(s.topics)
	s.topics = nil
	return err
}

// Done is closed when the simulation has ended, by Close or by an error, which
// Close returns.
func (s *Sim) Done() <-chan struct{} { return s.over }

// do has the loop call f between two steps.
func (s *Sim) do(f func()) error {
	done := make(chan struct{})
	select {
	case s.calls <- func() { f(); close(done) }:
		<-done
		return nil
	case <-s.over:
		return errors.New("rosarm: the simulation has ended")
	}
}

// granularity is how often the loop wakes up: the physics catches up then.
const granularity = 2 * time.Millisecond

// slip is how far simulated time may be behind before it gives up catching up.
const slip = 200 * time.Millisecond

func (s *Sim) loop(ctx context.Context) error {
	t := time.NewTicker(granularity)
	defer t.Stop()
	s.begun = s.n.Now()
	s.wall = s.begun.Round(0)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-s.calls:
			f()
		case <-t.C:
			if err := s.catchUp(ctx); err != nil {
				s.log.Error("rosarm: the simulation ends", "err", err)
				return err
			}
		}
	}
}

func (s *Sim) dt() float64 { return s.cfg.World.Timestep }

// now is simulated time, s.
func (s *Sim) now() float64 { return float64(s.steps) * s.dt() }

// stamp is the instant of now on the wall clock.
func (s *Sim) stamp() time.Time {
	return s.wall.Add(s.elapsed())
}

func (s *Sim) elapsed() time.Duration { return time.Duration(s.now() * float64(time.Second)) }

func (s *Sim) catchUp(ctx context.Context) error {
	now := s.n.Now()
	owed := now.Sub(s.begun.Add(s.elapsed()))
	if off := now.Round(0).Sub(s.stamp()) - owed; off.Abs() > slip {
		s.wall = s.wall.Add(off)
		s.log.Warn("rosarm: the wall clock was set, or the machine slept; stamps go by it", "by", off)
	}
	if owed > slip {
		s.begun, s.wall = s.begun.Add(owed), s.wall.Add(owed)
		s.slipped++
		if s.slipped == 1 || s.slipped%100 == 0 {
			s.log.Warn("rosarm: slower than real time", "behind", owed, "so_far", s.slipped)
		}
		owed = granularity
	}
	for n := int(owed.Seconds() / s.dt()); n > 0; n-- {
		if err := s.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step is one step of the physics, and what is due after it.
func (s *Sim) step(ctx context.Context) error {
	way := s.fast * s.dt()
	s.opening += min(max(s.toOpen-s.opening, -way), way)
	err := s.drive(1, s.opening, func(tau *[7]float64, in *impedance.Input, dt float64) {
		s.law.torque(tau, in, dt)
		s.in, s.tau = *in, *tau
	})
	if errors.Is(err, sim.ErrUnstable) {
		err = s.anew(ctx, err)
	}
	if err != nil {
		return err
	}
	s.steps++
	s.state = s.w.Feel(s.stamp())
	errs := s.feeling.feel(&s.state, s.dt(), &s.th, &s.limits)
	switch {
	case s.mode == frankamsg.Move && s.user:
		s.halt(frankamsg.UserStopped, nil)
	case s.mode == frankamsg.Move && len(errs) > 0:
		s.halt(frankamsg.Reflex, errs)
	}
	return s.publish()
}

// anew begins an episode where the physics of one got out of hand, with the arm stopped: an
// operator is to see that it stands elsewhere before anything moves.
func (s *Sim) anew(ctx context.Context, why error) error {
	s.log.Error("rosarm: another episode begins, and the arm is stopped", "err", why)
	err := s.begin(ctx, s.seeds.Uint64())
	for try := 1; try < 3 && errors.Is(err, sim.ErrUnstable); try++ {
		err = s.begin(ctx, s.seeds.Uint64())
	}
	if err == nil {
		s.halt(frankamsg.Reflex, []string{"instability_detected"})
	}
	return err
}

func (s *Sim) halt(mode uint8, errs []string) {
	s.mode, s.errors, s.last = mode, errs, errs
	s.law.stop(s.state.Q)
	s.log.Warn("rosarm: the arm stops itself", "mode", mode, "errors", errs)
}

// recover makes the controller start where the arm is.
func (s *Sim) recover() {
	if s.user {
		return // the button is still pressed
	}
	s.mode, s.errors = frankamsg.Move, nil
	s.feeling = feeling{}
	s.law.start(s.state.Q, s.in.Bias)
}

// given takes the seed that somebody set for the next episode. It asks the master,
// so the loop does not call it.
func (s *Sim) given() (seed uint64, ok bool, err error) {
	var v int
	switch err := s.n.Param(SeedParam, &v); {
	case errors.Is(err, ros.ErrNoParam):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case v < 0:
		return 0, false, fmt.Errorf("rosarm: %s is %d, want none negative", SeedParam, v)
	}
	return uint64(v), true, s.n.DeleteParam(SeedParam)
}

// again puts the world back for the next episode.
func (s *Sim) again(ctx context.Context) error {
	seed, ok, err := s.given()
	if err != nil {
		return err
	}
	e := s.do(func() {
		if !ok {
			seed = s.seeds.Uint64()
		}
		if err = s.begin(ctx, seed); errors.Is(err, sim.ErrUnstable) {
			err = errors.Join(err, s.anew(ctx, err))
		}
	})
	return errors.Join(e, err)
}

// begin starts the episode of seed.
func (s *Sim) begin(ctx context.Context, seed uint64) error {
	obs, err := s.w.ResetSeed(ctx, seed)
	if err != nil {
		return err
	}
	s.state, s.in = obs.State, impedance.Input{}
	s.state.Stamp = s.stamp()
	s.feeling = feeling{}
	// The controller goes on from the bias that holds the arm up.
	err = s.drive(1, s.opening, func(tau *[7]float64, in *impedance.Input, dt float64) {
		s.in, *tau = *in, in.Bias
	})
	if err != nil {
		return err
	}
	s.law.start(s.state.Q, s.in.Bias)
	if s.mode != frankamsg.Move {
		s.law.stop(s.state.Q)
	}
	// The world closes the fingers, of which a gripper knows nothing: it keeps them
	// where they were told to be.
	s.opening = s.toOpen
	if math.Abs(obs.State.Grip-s.opening) > 1e-3 {
		if err := s.drive(int(fingersOpen/s.dt()), s.opening, s.law.torque); err != nil {
			return err
		}
	}
	s.state = s.w.Feel(s.stamp())
	return nil
}

// fingersOpen is how long the fingers take for their whole way, s.
const fingersOpen = 0.5

// UserStop presses or releases the user stop. A released one wants a recovery.
func (s *Sim) UserStop(pressed bool) error { return s.do(func() { s.user = pressed }) }

// Blind makes a camera publish nothing, and back.
func (s *Sim) Blind(camera string, blind bool) { s.eye.set(camera, func(v *view) { v.blind = blind }) }

// Freeze makes a camera publish its last image again and again, and back.
func (s *Sim) Freeze(camera string, frozen bool) {
	s.eye.set(camera, func(v *view) { v.frozen = frozen })
}

// Target is where the controller is told to bring the tool centre point, and where
// that is.
func (s *Sim) Target() (target, measured robot.Pose, err error) {
	err = s.do(func() { target, measured = s.law.target, s.state.EE })
	return target, measured, err
}

// Truth tells how the episode truly stands, for evaluation and tests.
func (s *Sim) Truth() (t sim.Truth, err error) {
	e := s.do(func() {
		if err = s.w.Judged(); err == nil {
			t = s.w.Truth()
			t.Stamp = s.stamp()
		}
	})
	return t, errors.Join(e, err)
}

// Slipped counts the times that the physics fell behind real time.
func (s *Sim) Slipped() (n uint64, err error) {
	err = s.do(func() { n = s.slipped })
	return n, err
}
