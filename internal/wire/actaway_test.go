package wire

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/robot"
)

// idle is a policy that stays where it is.
type idle struct{}

func (idle) Act(_ context.Context, in policy.Input) (robot.Command, error) {
	return robot.Command{Grip: 1}, nil
}
func (idle) Load(policy.Params) error { return nil }
func (idle) Begin(uint64)             {}

// resets is a backend that counts how often an arm was driven to its start, and on from there.
type resets struct {
	robot.Backend
	n, steps atomic.Int64
}

func (r *resets) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	r.steps.Add(1)
	return r.Backend.Step(ctx, c)
}

func (r *resets) Reset(ctx context.Context) (robot.Observation, error) {
	r.n.Add(1)
	return r.Backend.Reset(ctx)
}

// actor is an actor beside an arm, and how often that begins an episode.
func actor(t *testing.T) (*driver, *tracks, *resets) {
	t.Helper()
	c := tiny(t)
	set(t, &c, "robot.horizon=3")
	s := begun(t, c)
	spool, err := bus.NewPublisher(s.conn, s.name, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(spool.Close)
	peers, err := s.conn.WatchPeers(s.name, gone, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(peers.Close)
	a, err := newArm(c, online)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.close() })
	tr, err := s.newTracks(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.close)
	d := &driver{s: s, r: &role{cfg: c, name: s.name, conn: s.conn, ctx: t.Context()}, spool: spool, peers: peers, params: policy.Params{Version: 1}}
	d.eyes.Extractor, d.scorer = dot{}, zero{}
	arm := &resets{Backend: a.guard}
	tr.actor = &loop.Actor{Backend: arm, Extractor: &d.eyes, Policy: idle{}, Horizon: c.Robot.Horizon, Watch: d.watch(tr)}
	return d, tr, arm
}

// dot sees one number, and zero pays nothing.
type dot struct{}

func (dot) Extract(_ context.Context, fs []robot.Frame) (perception.Features, error) {
	return perception.Features{Stamp: fs[0].Stamp, Embed: []float32{1}}, nil
}

type zero struct{}

func (zero) Score(context.Context, []float64, []perception.Features) error { return nil }

// absent is a scorer that is away so often.
type absent struct{ times int }

func (a *absent) Score(_ context.Context, dst []float64, _ []perception.Features) error {
	if a.times--; a.times >= 0 {
		return bus.ErrNoService
	}
	for i := range dst {
		dst[i] = float64(i)
	}
	return nil
}

// What the arm did stays where only the scorer is away, its recording as well.
func TestAnEpisodeWaitsForItsScorer(t *testing.T) {
	d, tr, arm := actor(t)
	d.scorer = &absent{times: 1}
	if err := d.episode(t.Context(), tr, idle{}, 0); err != nil {
		t.Fatal(err)
	}
	if n := arm.n.Load(); n != 1 {
		t.Errorf("the arm began the episode %d times", n)
	}
	e, err := d.s.store.Episode(episodeID(0))
	if err != nil || e.Return() != 0+1+2 {
		t.Errorf("a return of %g is kept, %v; want 3", e.Return(), err)
	}
}

// An arm is not driven to its start again and again while nobody sees: it waits for
// perception, and for a learner where session.orphan says so.
func TestAnArmThatNobodySeesForIsNotReset(t *testing.T) {
	d, tr, arm := actor(t)
	d.s.cfg.Session.Orphan = "hold"
	d.eyes.Extractor = bus.Extractor(d.s.conn, d.s.name)
	retries := make(chan string, 100)
	d.s.tell = func(stage string, _, _ int, _ string) { retries <- stage }
	ctx, enough := context.WithTimeout(t.Context(), time.Minute)
	defer enough()
	done := make(chan error, 1)
	go func() { done <- d.episode(ctx, tr, idle{}, 0) }()
	until := func(want string) {
		for range 3 {
			for stage := ""; stage != want; {
				select {
				case stage = <-retries:
				case <-ctx.Done():
					t.Fatalf("no %q is told", want)
				}
			}
		}
		if n := arm.n.Load(); n != 1 {
			t.Errorf("told %q: the arm began the episode %d times", want, n)
		}
	}
	until("retry")
	stop, err := bus.ServeExtractor(t.Context(), d.s.conn, d.s.name, dot{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	until("hold")
	learner, err := d.s.conn.Beat(ctx, d.s.name, "learner", beatEvery)
	if err != nil {
		t.Fatal(err)
	}
	defer learner()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := arm.n.Load(); n != 2 {
		t.Errorf("the arm began the episode %d times", n)
	}
}

// An arm whose learner is gone does not do what nobody will learn from, where episodes were done
// in another folder, too, as by the machine that was here before.
func TestAnOrphanEndsWithTheSessionsEpisodes(t *testing.T) {
	ctx := t.Context()
	d, tr, arm := actor(t) // of 4 episodes, none of them in this folder
	may := func(learned uint64, want bool) {
		t.Helper()
		d.take(policy.Params{Version: learned + 1})
		if ok, err := d.may(ctx, 1); ok != want || err != nil {
			t.Errorf("%d episodes learned, %d done here: may begin another %t (%v), want %t", learned, arm.n.Load(), ok, err, want)
		}
	}
	may(0, true)
	may(3, true)
	may(4, false)
	for n := range 2 { // which wait, and of which one may be learned already
		if err := d.episode(ctx, tr, idle{}, n); err != nil {
			t.Fatal(err)
		}
		if err := d.spool.Flush(ctx); err != nil { // else it may count here and in the queue
			t.Fatal(err)
		}
		may(0, true)
		may(3, n == 0)
		may(4, false)
	}
	if n := arm.n.Load(); n != 2 {
		t.Errorf("the arm began %d episodes, want 2", n)
	}
}

// vast sees more than a message holds.
type vast struct{}

func (vast) Extract(_ context.Context, fs []robot.Frame) (perception.Features, error) {
	return perception.Features{Stamp: fs[0].Stamp, Embed: make([]float32, bus.MaxPayload/4/4)}, nil
}

// An arm does not do what the server will not take.
func TestAnEpisodeThatIsTooLargeIsNotDriven(t *testing.T) {
	d, tr, arm := actor(t)
	d.eyes.Extractor = vast{}
	err := d.episode(t.Context(), tr, idle{}, 0)
	if !errors.Is(err, bus.ErrLarge) || !strings.Contains(err.Error(), "--max-payload") {
		t.Errorf("got %v", err)
	}
	if n := arm.steps.Load(); n > 1 { // it is held
		t.Errorf("the arm was driven for %d ticks", n)
	}
}

// led sees as much as a message holds, and at first waypoints as well.
type led struct{ *int }

func (l led) Extract(_ context.Context, fs []robot.Frame) (perception.Features, error) {
	f := perception.Features{Stamp: fs[0].Stamp, Embed: make([]float32, (bus.MaxPayload-(200<<10))/4/4)}
	if *l.int++; *l.int == 1 {
		f.Keys = kagi.Tell(nil, []kagi.Leg{{Point: "ball", To: make([][3]float64, 800)}})
	}
	return f, nil
}

// Waypoints are of an episode's first observation alone, and do not count for each.
func TestAnEpisodeWithItsWaypointsIsDriven(t *testing.T) {
	d, tr, _ := actor(t)
	d.eyes.Extractor = led{new(int)}
	if err := d.episode(t.Context(), tr, idle{}, 0); err != nil {
		t.Fatal(err)
	}
	e, err := d.s.store.Episode(episodeID(0))
	if err != nil || len(e.Inputs) != 4 || len(e.Inputs[0].Features.Keys) != 2*800 || len(e.Inputs[1].Features.Keys) != 0 {
		t.Fatalf("%d inputs are kept, %v", len(e.Inputs), err)
	}
	for i := range e.Inputs {
		e.Inputs[i].Features.Keys = e.Inputs[0].Features.Keys
	}
	if err := d.spool.Fits(e); !errors.Is(err, bus.ErrLarge) {
		t.Errorf("with waypoints in each it fits, too (%v), so that this shows nothing", err)
	}
}

// What no waiting helps ends the actor.
func TestAnActorEndsWhereNoWaitingHelps(t *testing.T) {
	bad := errors.New("no such camera")
	d, tr, _ := actor(t)
	d.scorer = failing{bad}
	if err := d.episode(t.Context(), tr, idle{}, 0); !errors.Is(err, bad) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ error }

func (f failing) Score(context.Context, []float64, []perception.Features) error { return f.error }
