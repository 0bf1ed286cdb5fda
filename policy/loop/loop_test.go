package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// rail is an arm that moves along x alone. It fails, or ends, at step bad.
type rail struct {
	x       float64
	grip    float64 // m
	n       int
	bad     int
	failure error
	applied []robot.Command
}

func (r *rail) observe(c robot.Command) robot.Observation {
	stamp := time.Unix(0, 0).Add(time.Duration(r.n) * 50 * time.Millisecond)
	s := robot.State{Stamp: stamp, Grip: r.grip}
	s.EE.P[0] = r.x
	f := robot.Frame{Camera: "front", Seq: uint64(r.n), Stamp: stamp, W: 1, H: 1, Pix: []byte{byte(r.n), 0, 0}}
	return robot.Observation{Frames: []robot.Frame{f}, State: s, Applied: c}
}

func (r *rail) Reset(context.Context) (robot.Observation, error) {
	r.x, r.n, r.applied = 0, 0, nil
	return r.observe(robot.Command{}), nil
}

func (r *rail) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	r.applied = append(r.applied, c)
	if r.failure != nil && r.n == r.bad {
		return robot.Observation{}, r.failure
	}
	// A limit: what is applied is not what was wished.
	c.Delta[0] = min(c.Delta[0], 0.1)
	r.n++
	r.x += c.Delta[0]
	return r.observe(c), ctx.Err()
}

func (r *rail) Close() error { return nil }

type eyes struct{}

func (eyes) Extract(_ context.Context, fs []robot.Frame) (perception.Features, error) {
	return perception.Features{Stamp: fs[0].Stamp, Embed: []float32{float32(fs[0].Pix[0])}}, nil
}

// stride always wishes for the same step.
type stride struct {
	step    float64
	version uint64
	act     func(policy.Input)
}

func (p *stride) Act(_ context.Context, in policy.Input) (robot.Command, error) {
	if p.act != nil {
		p.act(in)
	}
	return robot.Command{Delta: [6]float64{p.step}, Grip: 0.5}, nil
}

func (p *stride) Load(v policy.Params) error { p.version = v.Version; return nil }

// late rewards what is seen, and so can tell off-by-one errors.
type late struct{}

func (late) Score(_ context.Context, dst []float64, traj []perception.Features) error {
	if len(dst)+1 != len(traj) {
		return fmt.Errorf("%d rewards for %d features", len(dst), len(traj))
	}
	for t := range dst {
		dst[t] = float64(traj[t+1].Embed[0])
	}
	return nil
}

// counter notes the order of calls.
type counter struct {
	updates int
	eps     []policy.Episode
	seen    []int // episodes known at each update
	panics  bool
}

func (l *counter) Add(_ context.Context, e policy.Episode) error {
	l.eps = append(l.eps, e)
	return nil
}

func (l *counter) Update(context.Context) (policy.Stats, error) {
	if l.panics {
		panic("out of numbers")
	}
	l.updates++
	l.seen = append(l.seen, len(l.eps))
	return policy.Stats{Updates: uint64(l.updates)}, nil
}

func (l *counter) Latest(context.Context) (policy.Params, error) {
	return policy.Params{Version: uint64(l.updates)}, nil
}

func TestEpisodeStoresWhatWasApplied(t *testing.T) {
	a := &loop.Actor{Backend: &rail{}, Extractor: eyes{}, Policy: &stride{step: 0.3}, Scorer: late{}, Horizon: 4}
	if err := a.Load(policy.Params{Version: 7}); err != nil {
		t.Fatal(err)
	}
	ep, err := a.Episode(t.Context(), "one", 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := ep.Validate(); err != nil {
		t.Fatal(err)
	}
	if ep.ID != "one" || ep.Seq != 3 || ep.Len() != 4 || ep.Terminal {
		t.Errorf("got id %s, seq %d, %d transitions, terminal %v", ep.ID, ep.Seq, ep.Len(), ep.Terminal)
	}
	for i, c := range ep.Applied {
		if c.Delta[0] != 0.1 {
			t.Errorf("step %d stores the wish %g, not the applied 0.1", i, c.Delta[0])
		}
		if ep.Version[i] != 7 {
			t.Errorf("step %d has version %d", i, ep.Version[i])
		}
	}
	if want := []float64{1, 2, 3, 4}; !slices.Equal(ep.Rewards, want) {
		t.Errorf("rewards %v, want %v", ep.Rewards, want)
	}
	if got := ep.Inputs[4].State.EE.P[0]; math.Abs(got-0.4) > 1e-12 {
		t.Errorf("last state at %g m, want 0.4", got)
	}
}

func TestRecordingThatEndsEarlyTruncates(t *testing.T) {
	a := &loop.Actor{Backend: &rail{bad: 2, failure: io.EOF}, Extractor: eyes{}, Policy: &stride{}, Scorer: late{}, Horizon: 9}
	ep, err := a.Episode(t.Context(), "short", 0)
	if err != nil {
		t.Fatal(err)
	}
	if ep.Len() != 2 || ep.Terminal || ep.Validate() != nil {
		t.Errorf("got %d transitions, terminal %v, %v", ep.Len(), ep.Terminal, ep.Validate())
	}
}

func TestArmIsHeldWhateverEndsTheEpisode(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	broken := errors.New("cable out")
	for _, tt := range []struct {
		name string
		ctx  context.Context
		arm  *rail
		act  func(policy.Input)
		want error
	}{
		{"backend error", t.Context(), &rail{bad: 2, failure: broken}, nil, broken},
		{"cancelled", ctx, &rail{}, func(in policy.Input) {
			if in.Step == 2 {
				cancel()
			}
		}, context.Canceled},
		{"panic", t.Context(), &rail{}, func(in policy.Input) {
			if in.Step == 2 {
				panic("no numbers left")
			}
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &loop.Actor{Backend: tt.arm, Extractor: eyes{}, Policy: &stride{step: 0.05, act: tt.act}, Horizon: 9}
			var err error
			crash := func() (r any) {
				defer func() { r = recover() }()
				_, err = a.Episode(tt.ctx, "x", 0)
				return nil
			}()
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if tt.want == nil && crash == nil {
				t.Error("the panic did not go on up")
			}
			last := tt.arm.applied[len(tt.arm.applied)-1]
			if last.Delta != [6]float64{} {
				t.Errorf("the last command moves the arm: %v", last)
			}
		})
	}
}

// blind are eyes that fail.
type blind struct{ err error }

func (b blind) Extract(context.Context, []robot.Frame) (perception.Features, error) {
	return perception.Features{}, b.err
}

// What a hand holds at a reset is not let fall, nor is an open one closed on anything.
func TestHoldBeforeTheFirstStepMovesNoFinger(t *testing.T) {
	broken := errors.New("the extractor is away")
	for name, tt := range map[string]struct{ metres, want float64 }{
		"open":                     {franka.Stroke, 1},
		"half open":                {franka.Stroke / 2, 0.5},
		"closed":                   {0, 0},
		"a little wider than open": {1.01 * franka.Stroke, 1},
		"a little more than shut":  {-1e-4, 0},
	} {
		arm := &rail{grip: tt.metres}
		a := &loop.Actor{Backend: arm, Extractor: blind{broken}, Policy: &stride{step: 0.05}, Horizon: 9}
		if _, err := a.Episode(t.Context(), "x", 0); !errors.Is(err, broken) {
			t.Errorf("%s: got %v, want %v", name, err, broken)
		}
		if want := []robot.Command{{Grip: tt.want}}; !slices.Equal(arm.applied, want) {
			t.Errorf("%s: the arm was told %+v, want %+v", name, arm.applied, want)
		}
	}
}

func TestSessionLearnsFromEarlierEpisodes(t *testing.T) {
	l := &counter{}
	var versions []uint64
	s := loop.Session{
		Actor:   &loop.Actor{Backend: &rail{}, Extractor: eyes{}, Policy: &stride{step: 0.01}, Scorer: late{}, Horizon: 3},
		Learner: l, First: 2, Episodes: 6,
		Done: func(_ context.Context, n int, ep policy.Episode, st policy.Stats) error {
			versions = append(versions, ep.Version[0])
			if ep.ID != fmt.Sprintf("online-%05d", n) || ep.Seq != uint64(n) {
				t.Errorf("episode %d is called %s, %d", n, ep.ID, ep.Seq)
			}
			return nil
		},
	}
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []int{0, 1, 2, 3}; !slices.Equal(l.seen, want) {
		t.Errorf("updates saw %v episodes, want %v", l.seen, want)
	}
	if want := []uint64{0, 1, 2, 3}; !slices.Equal(versions, want) {
		t.Errorf("episodes were collected with versions %v, want %v", versions, want)
	}
}

func TestLearnerPanicEndsTheEpisodeFirst(t *testing.T) {
	arm := &rail{}
	s := loop.Session{
		Actor:   &loop.Actor{Backend: arm, Extractor: eyes{}, Policy: &stride{step: 0.01}, Horizon: 3},
		Learner: &counter{panics: true}, Episodes: 1,
	}
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "out of numbers") {
			t.Errorf("recovered %v, want the learner's panic", r)
		}
		if len(arm.applied) > 0 && len(arm.applied) < 3 && arm.applied[len(arm.applied)-1].Delta != [6]float64{} {
			t.Error("the arm was left moving")
		}
	}()
	_ = s.Run(t.Context())
}

// An episode that is over ends there, for good; the observation after the reset is
// not asked about.
func TestEpisodeEndsWhereItIsOver(t *testing.T) {
	var asked []int
	a := &loop.Actor{Backend: &rail{}, Extractor: eyes{}, Policy: &stride{step: 0.1}, Scorer: late{}, Horizon: 9,
		Over: func(_ context.Context, step int, obs robot.Observation, _ policy.Input) (bool, error) {
			asked = append(asked, step)
			return obs.State.EE.P[0] > 0.25, nil
		}}
	ep, err := a.Episode(t.Context(), "done", 0)
	if err != nil {
		t.Fatal(err)
	}
	if ep.Len() != 3 || !ep.Terminal || ep.Validate() != nil || len(ep.Rewards) != 3 {
		t.Errorf("got %d transitions, terminal %v, %v", ep.Len(), ep.Terminal, ep.Validate())
	}
	if !slices.Equal(asked, []int{1, 2, 3}) {
		t.Errorf("asked at %v", asked)
	}
	broken := errors.New("no answer")
	a.Over = func(context.Context, int, robot.Observation, policy.Input) (bool, error) { return false, broken }
	if _, err := a.Episode(t.Context(), "broken", 1); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of who is asked", err)
	}
}
