package tabletop

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/franka/impedance"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/mujoco"
)

// ErrClosed says that a World was used after its Close.
var ErrClosed = errors.New("tabletop: use after Close")

// World is a simulated arm at a table. It is a robot.Backend, driven by one
// goroutine at a time; worlds do not share anything. A guard's stop steps it from
// another goroutine than its episode's: that may ask for Truth, Guide and Sees, and
// have a demonstrator act, meanwhile.
type World struct {
	mu sync.Mutex // of what Step changes

	cfg    Config
	job    *job
	layout *layout
	seeds  *rand.Rand // of episodes

	model  *mujoco.Model
	data   *mujoco.Data
	id     ids
	eyes   *eyes
	studio studio
	arm    *impedance.Controller
	in     impedance.Input
	home   [7]float64 // joint positions at the start, rad

	substeps int // physics steps in a control period
	target   robot.Pose
	tick     int  // control periods since the reset
	ready    bool // reset, and no step has failed since
	driven   bool // reset, and driven since
	staged   bool // reset, and staged since
	blind    bool // no frames are drawn, where nobody sees them
	truth    sim.Truth
	way      Direction // of the present episode
	past     past      // of the present episode, in tasks with styles

	contacts []mujoco.Contact
	places   []robot.Pose
}

var _ robot.Backend = (*World)(nil)

// New builds a world. Close it.
func New(cfg Config) (*World, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	w := &World{
		cfg: cfg, job: jobOf(cfg.Task),
		// The second word only has to be some constant: it separates this
		// stream from others that are made from the same seed.
		seeds:    rand.New(rand.NewPCG(cfg.Seed, 0x7461626c65746f70)),
		arm:      impedance.New(impedance.Default()),
		substeps: int(math.Round(Period.Seconds() / cfg.Timestep)),
	}
	w.layout = w.job.layout()
	cfg.Disturb.strew(w.layout)
	home, err := solve(w.layout.start)
	if err != nil {
		return nil, err
	}
	w.home = home
	xml, err := compose(cfg, w.layout, impedance.Default().Torque)
	if err != nil {
		return nil, err
	}
	if w.model, err = mujoco.Load(xml); err != nil {
		return nil, fmt.Errorf("tabletop: %w", err)
	}
	if err := w.open(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *World) open() (err error) {
	if w.id, err = lookup(w.model, w.layout); err != nil {
		return err
	}
	if w.data, err = w.model.NewData(); err != nil {
		return fmt.Errorf("tabletop: %w", err)
	}
	w.eyes, err = newEyes(w.model, w.cfg)
	return err
}

// Config returns what the world was built from, defaults filled in.
func (w *World) Config() Config { return w.cfg }

// Close frees the world. Further calls do nothing.
func (w *World) Close() error {
	w.ready = false
	var errs []error
	if w.eyes != nil {
		errs = append(errs, w.eyes.Close())
		w.eyes = nil
	}
	errs = append(errs, w.studio.close())
	if w.data != nil {
		errs = append(errs, w.data.Close())
		w.data = nil
	}
	if w.model != nil {
		errs = append(errs, w.model.Close())
		w.model = nil
	}
	return errors.Join(errs...)
}

// Reset starts the next episode: the world's seed draws the episode's.
func (w *World) Reset(ctx context.Context) (robot.Observation, error) {
	return w.ResetSeed(ctx, w.seeds.Uint64())
}

// settle is how long the arm and the boxes come to rest before an episode.
const settle = 100 * time.Millisecond

// ResetSeed starts the episode that belongs to seed, bit for bit the same on
// every call, world and process. The stamps begin at zero again.
func (w *World) ResetSeed(ctx context.Context, seed uint64) (robot.Observation, error) {
	w.ready, w.driven, w.staged = false, false, false
	if w.data == nil {
		return robot.Observation{}, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return robot.Observation{}, err
	}
	if err := w.data.Reset(); err != nil {
		return robot.Observation{}, fmt.Errorf("tabletop: reset: %w", err)
	}
	w.put(rand.New(rand.NewPCG(seed, 0x657069736f6465)))
	if err := w.data.Forward(); err != nil {
		return robot.Observation{}, fmt.Errorf("tabletop: reset: %w", err)
	}
	w.tick, w.way, w.past = 0, Forward, past{}
	w.target = w.layout.start
	w.sense()
	w.arm.Reset(w.target, w.home, w.in.Bias)
	if err := w.run(int(math.Round(settle.Seconds()/w.cfg.Timestep)), w.layout.grip); err != nil {
		return robot.Observation{}, fmt.Errorf("tabletop: settle: %w", unstable(err))
	}
	if err := w.data.Kinematics(); err != nil {
		return robot.Observation{}, fmt.Errorf("tabletop: reset: %w", err)
	}
	w.look(robot.Command{})
	obs, err := w.observe()
	w.ready = err == nil
	return obs, err
}

// put places arm and objects for an episode.
func (w *World) put(r *rand.Rand) {
	qpos := w.data.QPos()
	for i, a := range w.id.q {
		qpos[a] = w.home[i]
	}
	for _, a := range w.id.finger {
		qpos[a] = w.layout.grip * HandWidth / 2
	}
	w.places = w.places[:0]
	for range w.layout.objects {
		w.places = append(w.places, robot.Pose{Q: [4]float64{1, 0, 0, 0}})
	}
	w.layout.place(r, w.places)
	for i, o := range w.id.objects {
		if o.mocap >= 0 {
			copy(w.data.MocapPos()[3*o.mocap:], w.places[i].P[:])
			continue
		}
		copy(qpos[o.q:], w.places[i].P[:])
		copy(qpos[o.q+3:], w.places[i].Q[:])
	}
}

// Shut has the cameras draw nothing from now on, and back: observations have no frames, which saves
// most of their time. Nothing else changes by it.
func (w *World) Shut(shut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blind = shut
}

// unstable makes a sim.ErrUnstable of what MuJoCo warns of where it gave the physics up.
func unstable(err error) error {
	var w *mujoco.WarningError
	if errors.As(err, &w) && (w.Warning == mujoco.BadQPos || w.Warning == mujoco.BadQVel || w.Warning == mujoco.BadQAcc) {
		return fmt.Errorf("%w: %w", sim.ErrUnstable, err)
	}
	return err
}

// Step moves the target by c.Delta and returns a control period later. The
// target leads the tool centre point by at most MaxLead and MaxTurn, as the
// real controller would have it; Applied tells what was left of the command,
// and ByGuard that it was not all of it. A command with a number that is none
// is refused, and the arm keeps still. Physics that gets out of hand is a sim.ErrUnstable.
func (w *World) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.data == nil {
		return robot.Observation{}, ErrClosed
	}
	if !w.ready {
		return robot.Observation{}, errors.New("tabletop: step without a reset before it, or after a failed step")
	}
	if err := ctx.Err(); err != nil {
		return robot.Observation{}, err
	}
	if err := c.Finite(); err != nil {
		return robot.Observation{}, fmt.Errorf("tabletop: %w", err)
	}
	applied, by := w.lead(c)
	w.arm.SetTarget(w.target, Period.Seconds())
	w.ready = false
	if err := w.run(w.substeps, applied.Grip); err != nil {
		return robot.Observation{}, fmt.Errorf("tabletop: step %d: %w", w.tick+1, unstable(err))
	}
	w.tick++
	if err := w.data.Kinematics(); err != nil {
		return robot.Observation{}, fmt.Errorf("tabletop: step %d: %w", w.tick, err)
	}
	w.look(applied)
	obs, err := w.observe()
	if err != nil {
		return robot.Observation{}, err
	}
	w.ready = true
	obs.Applied, obs.By = applied, by
	return obs, nil
}

// stamp is the present instant of virtual time, which is zero at a reset.
func (w *World) stamp() time.Time {
	return time.Unix(0, 0).UTC().Add(time.Duration(w.tick) * Period)
}

// observe returns what cameras and arm sense now.
func (w *World) observe() (robot.Observation, error) {
	s := robot.State{Stamp: w.stamp(), Q: w.in.Q, DQ: w.in.DQ, EE: franka.Forward(&w.in.Q)}
	// q and −q turn alike; follow the target, whose sign never jumps.
	if q, t := &s.EE.Q, w.target.Q; q[0]*t[0]+q[1]*t[1]+q[2]*t[2]+q[3]*t[3] < 0 {
		*q = [4]float64{-q[0], -q[1], -q[2], -q[3]}
	}
	for _, f := range w.id.finger {
		s.Grip += w.data.QPos()[f]
	}
	s.Wrench = w.wrench(s.EE.P)
	if w.blind {
		return robot.Observation{State: s}, nil
	}
	frames, err := w.eyes.look(w.data, w.tick, s.Stamp)
	if err != nil {
		return robot.Observation{}, fmt.Errorf("tabletop: render: %w", err)
	}
	return robot.Observation{Frames: frames, State: s}, nil
}
