package wire

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/robot/paced"
	"github.com/rapport-rl/rapport/robot/teleop"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

func realTicks(every time.Duration) (<-chan time.Time, func()) {
	t := time.NewTicker(every)
	return t.C, t.Stop
}

// byTheClock are options of a session on real time.
func byTheClock() Options {
	return Options{Tell: func(string, int, int, string) {}, Log: slog.New(slog.DiscardHandler), Now: time.Now, After: time.After, Tick: realTicks}
}

func set(t *testing.T, c *config.Config, sets ...string) {
	t.Helper()
	for _, s := range sets {
		key, value, _ := strings.Cut(s, "=")
		if err := c.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
}

func begun(t *testing.T, c config.Config) *Session {
	t.Helper()
	s, err := Create(t.Context(), c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A person pushes the stick while the third and the fourth episode run.
func TestPersonTakesTheArm(t *testing.T) {
	c := tiny(t)
	set(t, &c, "robot.pace=real", "robot.horizon=16", "teleop.input=bus", "session.episodes=5", "session.evaluate=1", "policy.axes=[x, y, z]")
	s := begun(t, c)
	feed, err := bus.NewFeed(s.conn, s.name, bus.TeleopTopic(), 4)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	tap, err := bus.NewTap(s.conn, s.name, bus.StatusTopic(), 64)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var deciders sync.Map
	wg.Go(func() { // the dashboard
		for {
			st, err := tap.Next(ctx)
			if err != nil {
				return
			}
			deciders.Store(st.Episode+" "+st.By, true)
		}
	})
	wg.Go(func() { // the person
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for seq := uint64(1); ctx.Err() == nil; seq++ {
			s.desk.mu.Lock()
			e := s.desk.status.Episode
			s.desk.mu.Unlock()
			feed.Publish(bus.Teleop{Who: "anna", Device: "gamepad", Boot: 1, Seq: seq, Stamp: time.Now(),
				Deadman: e == episodeID(2) || e == episodeID(3), Axes: []float64{0, 0, 0, -1}, Buttons: []bool{}})
			<-tick.C
		}
	})
	_, err = s.Run(t.Context())
	cancel()
	tap.Close()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for i := range 5 {
		ep, err := s.store.Episode(episodeID(i))
		if err != nil {
			t.Fatal(err)
		}
		n := countBy(ep, robot.ByHuman)
		if i != 2 && i != 3 {
			// The switch is let go when the next episode is seen to begin.
			if n > 3 {
				t.Errorf("episode %d: %d steps by the person, who had his hands off", i, n)
			}
		} else if n < ep.Len()/2 {
			t.Errorf("episode %d: %d of %d steps by the person", i, n, ep.Len())
		}
		rows += n
		for k, by := range ep.By {
			// 0.1 m/s upwards, for 50 ms.
			if d := ep.Applied[k].Delta; by == robot.ByHuman && (d[2] < 0.0049 || d[2] > 0.0051 || d[0] != 0 || d[1] != 0) {
				t.Errorf("episode %d, step %d: the person's command was %v", i, k, d)
			}
		}
	}
	said, err := s.store.Metric(t.Context(), "learner", "human_rows")
	if err != nil || len(said) == 0 || int(said[len(said)-1].Value) != rows {
		t.Errorf("the learner counts %v interventions, %v; want %d in the end", said, err, rows)
	}
	for _, want := range []string{episodeID(2) + " human", episodeID(0) + " policy"} {
		if _, ok := deciders.Load(want); !ok {
			t.Errorf("nobody who looked on was told of %q", want)
		}
	}
}

// shoved is a hand that pushes all it has.
type shoved struct{ teleop.Reading }

func (p shoved) Latest() (teleop.Reading, bool) { return p.Reading, true }

// What a person does counts as his and is what is learned: the guard's speed shortens none of it,
// and an action of the policy says all of it.
func TestAPersonIsNoQuickerThanWhatIsLearned(t *testing.T) {
	const dt = 0.05
	for name, tt := range map[string]struct {
		sets  []string
		axes  [6]float64
		turns bool
		want  float64 // m or rad a tick
		told  string
	}{
		"as configured":                  {nil, [6]float64{2: 1}, false, 0.1 * dt, ""},
		"a slow guard":                   {[]string{"guard.speed=0.05"}, [6]float64{2: 1}, false, 0.05 * dt, "guard.speed"},
		"a slow guard, diagonally":       {[]string{"guard.speed=0.05"}, [6]float64{1, 1, 1}, false, 0.05 * dt, "guard.speed"},
		"a guard, diagonally":            {[]string{"guard.speed=0.12"}, [6]float64{1, -1, 1}, false, 0.12 * dt, ""},
		"a small action":                 {[]string{"policy.scale=0.003"}, [6]float64{2: 1}, false, 0.003, "policy.scale"},
		"a small action, half the way":   {[]string{"policy.scale=0.003"}, [6]float64{2: 0.5}, false, 0.0015, "policy.scale"},
		"a guard that turns slowly":      {[]string{"guard.turn=0.2", "policy.scale=0.1"}, [6]float64{3: 1, 4: 1}, true, 0.2 * dt, "teleop.turn"},
		"an action that turns it little": {[]string{"policy.scale=0.005", "teleop.speed=0.05"}, [6]float64{4: 1}, true, 0.005, "teleop.turn"},
	} {
		t.Run(name, func(t *testing.T) {
			c := tiny(t)
			set(t, &c, append([]string{"policy.axes=[x, y, z, rx, ry, rz]", "policy.scale=0.016"}, tt.sets...)...)
			a, obs := resetArm(t, c)
			var said strings.Builder
			p := newPilot(c, shoved{teleop.Reading{Deadman: true, Axes: tt.axes}}, slog.New(slog.NewTextHandler(&said, nil)))
			action := viewConfig(c, 1).Action
			for step := range 3 {
				command, who := p.Decide(step, obs, robot.Command{Grip: 1})
				var err error
				if obs, err = a.guard.Step(guard.WithSource(t.Context(), who), command); err != nil {
					t.Fatal(err)
				}
				d := obs.Applied.Delta
				got := math.Hypot(math.Hypot(d[0], d[1]), d[2])
				if tt.turns {
					got = math.Hypot(math.Hypot(d[3], d[4]), d[5])
				}
				if obs.By != robot.ByHuman || math.Abs(got-tt.want) > 1e-8 {
					t.Errorf("step %d: %g by the %v, want %g by the person", step, got, obs.By, tt.want)
				}
				if lost := action.Row(make([]float32, action.Dim()), obs.Applied); lost > 1e-9 {
					t.Errorf("step %d: an action cannot say %g of it", step, lost)
				}
			}
			if text := said.String(); (text != "") != (tt.told != "") || !strings.Contains(text, tt.told) {
				t.Errorf("told %q, want %q", text, tt.told)
			}
		})
	}
}

// blot is an eye that sees nothing for a while.
func blot(frames []robot.Frame) {
	for i := range frames {
		frames[i].Pix = make([]byte, len(frames[i].Pix))
	}
}

func TestUnfitFramesAreCountedOrHold(t *testing.T) {
	for _, gate := range []string{"count", "hold"} {
		t.Run(gate, func(t *testing.T) {
			c := tiny(t)
			set(t, &c, "perception.gate="+gate)
			s := begun(t, c)
			a := &arm{}
			decide, end, err := s.newOverride(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			defer end()
			_, obs := resetArm(t, c)
			obs.Applied.Grip = 0.5
			wish := robot.Command{Delta: [6]float64{0.01}, Grip: 1}
			if got, by := decide(1, obs, wish); got != wish || by != robot.ByPolicy || a.bad != 0 {
				t.Errorf("a fit frame: %+v by the %v, %d unfit", got, by, a.bad)
			}
			obs.Frames = slices.Clone(obs.Frames)
			blot(obs.Frames)
			want, who := wish, robot.ByPolicy
			if gate == "hold" {
				want, who = robot.Command{Grip: 0.5}, robot.ByGuard
			}
			if got, by := decide(2, obs, wish); got != want || by != who || a.bad != 1 {
				t.Errorf("a black frame: %+v by the %v, %d unfit; want %+v by the %v", got, by, a.bad, want, who)
			}
		})
	}
}

// Where every frame is unfit, an arm that is to hold does not move, and the session
// goes on to its end.
func TestUnfitFramesHoldASession(t *testing.T) {
	c := tiny(t)
	set(t, &c, "perception.gate=hold", "perception.max_brightness=1", "perception.min_brightness=0", "session.episodes=1", "session.evaluate=1")
	s := begun(t, c)
	if _, err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	ep, err := s.store.Episode(episodeID(0))
	if err != nil || countBy(ep, robot.ByGuard) != ep.Len() {
		t.Errorf("the guard decided %d of %d steps, %v; want all", countBy(ep, robot.ByGuard), ep.Len(), err)
	}
	for i, a := range ep.Applied {
		if a.Delta != [6]float64{} {
			t.Fatalf("step %d moved by %v", i, a.Delta)
		}
	}
	if n := s.desk.status.Bad; n != uint64(ep.Len()) {
		t.Errorf("%d unfit frames were told, want %d", n, ep.Len())
	}
}

// witness notes when a backend is told to hold.
type witness struct {
	robot.Backend
	last atomic.Pointer[time.Time] // when the last motion came
	held chan lapse
}

// lapse is a hold, and how long after the last motion it came.
type lapse struct {
	at    time.Time
	after time.Duration
}

func (e *witness) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	now := time.Now()
	if c.Delta != [6]float64{} {
		e.last.Store(&now)
	} else if at := e.last.Swap(nil); at != nil {
		e.held <- lapse{now, now.Sub(*at)}
	}
	return e.Backend.Step(ctx, c)
}

// On real time a commander that falls silent is followed by a hold within 100 ms
// of the end of its lease. The measure is taken where the command reaches the
// simulated arm.
func TestSilenceHoldsTheArm(t *testing.T) {
	const lapses = 12
	c := tiny(t)
	w, err := tabletop.New(tabletop.Config{Task: "reach", Seed: 1, Render: "raster", Cameras: []tabletop.Camera{{Name: "front", W: 16, H: 16}}})
	if err != nil {
		t.Fatal(err)
	}
	e := &witness{Backend: w, held: make(chan lapse, 1)}
	cfg := guardConfig(c)
	cfg.Now = time.Now
	a := &arm{}
	if a.guard, err = guard.New(paced.New(e, tabletop.Period, paced.Clock{Now: time.Now, After: time.After}), cfg); err != nil {
		t.Fatal(err)
	}
	a.watch = watchLease(a, c, realTicks)
	defer a.close()
	ctx := t.Context()
	if _, err := a.guard.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	// The lease begins when the guard takes the command; the tick that it then
	// takes counts for the commander's silence.
	var late []time.Duration
	for i := range lapses {
		// One command: of two, the first one's lease may be over before a busy machine lets
		// the guard take the second.
		asked := time.Now()
		if _, err := a.guard.Step(ctx, robot.Command{Delta: [6]float64{2: 0.004 - 0.008*float64(i%2)}, Grip: 1}); err != nil {
			t.Fatal(err)
		}
		select {
		case l := <-e.held:
			late = append(late, l.after-cfg.Lease.Term)
			// A command may reach the arm long after the guard took it, but its lease is never shorter.
			if d := l.at.Sub(asked); d < cfg.Lease.Term {
				t.Errorf("held %v after the last command was given, within its lease of %v", d, cfg.Lease.Term)
			}
		case <-time.After(2 * time.Second):
			t.Fatal("2 s of silence, and nobody held the arm")
		}
	}
	slices.Sort(late)
	p50, most := late[len(late)/2], late[len(late)-1]
	t.Logf("lease of %v over, hold at the arm after: p50 %v, largest of %d %v", cfg.Lease.Term, p50.Round(time.Millisecond/10), len(late), most.Round(time.Millisecond/10))
	// In the median: a machine busy with other tests may leave this one without a core
	// for a while.
	if p50 > 100*time.Millisecond {
		t.Errorf("held %v after the lease in the median, want within 100 ms", p50)
	}
	if n := a.guard.Counts(); n.Lapsed != lapses {
		t.Errorf("%d lapsed leases, want %d", n.Lapsed, lapses)
	}
}
