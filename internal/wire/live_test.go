package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

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
			a, err := newArm(c, online)
			if err != nil {
				t.Fatal(err)
			}
			defer a.close()
			obs, err := a.guard.Reset(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			p := newPilot(c, shoved{teleop.Reading{Deadman: true, Axes: tt.axes}}, slog.New(slog.NewTextHandler(&said, nil)))
			action := viewConfig(c, 1).Action
			for step := range 3 {
				command, who := p.Decide(step, obs, robot.Command{Grip: 1})
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
			decide, end, err := s.newOverride(a)
			if err != nil {
				t.Fatal(err)
			}
			defer end()
			w, err := newArm(c, online)
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			obs, err := w.guard.Reset(t.Context())
			if err != nil {
				t.Fatal(err)
			}
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

// flaky fails at a step with an error of the backend.
type flaky struct {
	robot.Backend
	n, at int
	err   error
}

func (f *flaky) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	if f.n++; f.n == f.at {
		return robot.Observation{}, f.err
	}
	return f.Backend.Step(ctx, c)
}

// Faults of configured causes go without a person, up to the cap of an hour,
// which counts those of earlier lives; then they stay.
func TestRecoveriesAreCapped(t *testing.T) {
	c := tiny(t)
	set(t, &c, "guard.recover.max_per_hour=2", "guard.recover.causes=[failed]")
	s := begun(t, c)
	now := time.Unix(1e9, 0)
	s.desk.now = func() time.Time { return now }
	fall := func(cause guard.Cause) *arm {
		t.Helper()
		at, wish := -1, robot.Command{}
		switch cause {
		case guard.Failed:
			at = 1
		case guard.NonFinite:
			wish.Delta[0] = 1 / (wish.Grip)
		}
		return felled(t, s, c, at, wish)
	}
	waits := func(want bool) {
		t.Helper()
		limit := time.Minute // where the recovery ends it
		if want {
			limit = 100 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		if err := s.desk.wait(ctx); (err != nil) != want {
			t.Errorf("wait: %v, want waiting %v", err, want)
		}
	}
	for range 2 {
		a := fall(guard.Failed)
		waits(false)
		if a.guard.Fault() != nil {
			t.Error("the guard is not told of the recovery")
		}
	}
	fall(guard.Failed)
	waits(true)
	now = now.Add(time.Hour)
	waits(false)
	fall(guard.NonFinite) // no cause of the list
	waits(true)
	all, err := s.store.Faults(t.Context())
	if err != nil || len(all) != 4 || all[2].By != automatic || !all[3].Open() || all[3].Cause != guard.NonFinite.String() {
		t.Errorf("faults: %+v, %v", all, err)
	}
	if b, err := s.store.FaultReport(t.Context(), 4); err != nil || !strings.Contains(string(b), `"wish":[null,0,0,0,0,0,0]`) {
		t.Errorf("the report of a wish that is not finite: %.200s, %v", b, err)
	}
	if err := s.store.Acknowledge(t.Context(), 4, now, "anna", ""); err != nil {
		t.Error(err)
	}
}

// letGo is an arm of a session that is held by a fault which guard.recover lets go.
func letGo(t *testing.T) (*Session, *arm) {
	t.Helper()
	c := tiny(t)
	set(t, &c, "guard.recover.max_per_hour=2", "guard.recover.causes=[failed]")
	s := begun(t, c)
	return s, felled(t, s, c, 1, robot.Command{})
}

// felled is an arm under the session's desk that a step with the wish left with a fault; the
// step of number at fails.
func felled(t *testing.T, s *Session, c config.Config, at int, wish robot.Command) *arm {
	t.Helper()
	a := fit(t, s, c, at, s.desk.note)
	if _, err := a.guard.Step(t.Context(), wish); !errors.Is(err, robot.ErrStopped) {
		t.Fatalf("got %v, want a fault", err)
	}
	return a
}

// fit is an arm under the session's desk that takes commands, until the step of number at
// fails; latched hears of its guard's faults.
func fit(t *testing.T, s *Session, c config.Config, at int, latched func(*guard.Fault)) *arm {
	t.Helper()
	a, err := newArm(c, online)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.close() })
	gc := guardConfig(c)
	gc.Latched = latched
	if a.guard, err = guard.New(&flaky{Backend: a.world, at: at, err: errors.New("no answer from the controller")}, gc); err != nil {
		t.Fatal(err)
	}
	detach, err := s.desk.attach(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(detach)
	if _, err := a.guard.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

// A stop beside a fault that goes without a person waits for one.
func TestAStopBesideAFaultWaitsForAPerson(t *testing.T) {
	s, a := letGo(t)
	anna := bus.Stop{Who: "anna\n\x1b[31m", Why: strings.Repeat("a hand is in there ", 1000)}
	r, err := s.desk.Stop(t.Context(), anna)
	if err != nil || !r.Held || !r.Already || r.Fault.Cause != guard.Stopped.String() {
		t.Errorf("got %+v, %v; want a stop of an arm that was held before", r, err)
	}
	if again, err := s.desk.Stop(t.Context(), anna); err != nil || again.Fault.ID != r.Fault.ID {
		t.Errorf("anna's stop once more: %+v, %v; want fault %d", again, err, r.Fault.ID)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.desk.wait(ctx); err == nil {
		t.Error("the session goes on, and nobody has acknowledged the stop")
	}
	open, err := s.store.OpenFaults(t.Context())
	if err != nil || len(open) != 1 || open[0].ID != r.Fault.ID || !strings.Contains(open[0].Detail, "anna") {
		t.Errorf("open: %+v, %v; want anna's stop alone", open, err)
	}
	if said := open[0].Detail; len(said) > 500 || strings.ContainsFunc(said, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("it was stopped %q, want what a terminal shows", said)
	}
	if a.guard.Fault() == nil {
		t.Error("the arm is not held")
	}
	if _, err := s.desk.Acknowledge(t.Context(), bus.Acknowledge{Fault: open[0].ID, Who: "anna"}); err != nil || a.guard.Fault() != nil {
		t.Errorf("after anna's word: %v, fault %v", err, a.guard.Fault())
	}
}

// Who puts the scene back, as a practice asked, knows nothing of another's hand in the gripper:
// each stop is acknowledged by its own number, of those who do not wait for the answer, too.
func TestEachPersonsStopIsAcknowledged(t *testing.T) {
	c := tiny(t)
	s := begun(t, c)
	a := fit(t, s, c, -1, s.desk.note)
	gone, leave := context.WithCancel(t.Context())
	leave()
	var ids []int64
	for i, by := range []struct {
		ctx context.Context
		bus.Stop
	}{
		{t.Context(), bus.Stop{Who: "practice", Why: "put the scene back"}},
		{t.Context(), bus.Stop{Who: "anna", Why: "my hand is in the gripper"}},
		{t.Context(), bus.Stop{Who: "anna", Why: "smoke"}},
		{gone, bus.Stop{Who: "ben", Why: "smoke"}},
	} {
		for range 2 { // the button is pressed once more
			r, err := s.desk.Stop(by.ctx, by.Stop)
			if err != nil || r.Fault.ID != int64(i+1) || r.Fault.Detail != "by "+by.Who+": "+by.Why || r.Already != (len(ids) > 0) {
				t.Errorf("stop by %s: %+v, %v; want fault %d", by.Who, r, err, i+1)
			}
			ids = append(ids, r.Fault.ID)
		}
	}
	ids = slices.Compact(ids)
	for i, id := range ids {
		if a.guard.Fault() == nil {
			t.Errorf("the arm may move, and nobody has acknowledged fault %d", id)
		}
		r, err := s.desk.Acknowledge(t.Context(), bus.Acknowledge{Fault: id, Who: "carl"})
		if left := len(ids) - i - 1; err != nil || r.Left != left {
			t.Errorf("acknowledging fault %d: %+v, %v; want %d left", id, r, err, left)
		}
	}
	if f := a.guard.Fault(); f != nil {
		t.Errorf("all are acknowledged, and the guard has %v", f)
	}
}

// A stop that comes while somebody acknowledges a fault of before holds the arm all the same.
func TestAStopDuringAnAcknowledgementHolds(t *testing.T) {
	s, a := letGo(t)
	fs, err := s.desk.Faults(t.Context())
	if err != nil || len(fs) != 1 {
		t.Fatal(fs, err)
	}
	s.desk.file.Lock() // as Acknowledge has it while the disk writes
	stopped := make(chan bus.Stopped, 1)
	go func() {
		r, err := s.desk.Stop(t.Context(), bus.Stop{Who: "anna", Why: "a hand is in there"})
		if err != nil {
			t.Error(err)
		}
		stopped <- r
	}()
	time.Sleep(100 * time.Millisecond) // it has told the guard, and waits for the file
	if _, err := s.desk.acknowledge(t.Context(), bus.Acknowledge{Fault: fs[0].ID, Who: "ben"}); err != nil {
		t.Fatal(err)
	}
	s.desk.file.Unlock()
	if r := <-stopped; !r.Held || r.Fault.Cause != guard.Stopped.String() {
		t.Errorf("got %+v, want a held arm", r)
	}
	if f := a.guard.Fault(); f == nil || f.Cause != guard.Stopped {
		t.Errorf("the guard has %v, want the stop", f)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.desk.wait(ctx); err == nil {
		t.Error("the session goes on with a stop that is open")
	}
}

// A fault that a guard latches while somebody acknowledges or stops is noted at once: the guard
// is locked until then, and each of them asks it.
func TestAFaultIsNotedWhileThePeopleAct(t *testing.T) {
	for name, act := range map[string]func(d *desk) error{
		"acknowledge": func(d *desk) error {
			_, err := d.Acknowledge(t.Context(), bus.Acknowledge{Fault: 99, Who: "ben"})
			if errors.Is(err, bus.ErrNone) {
				return nil
			}
			return fmt.Errorf("got %w, want ErrNone", err)
		},
		"stop": func(d *desk) error {
			_, err := d.Stop(t.Context(), bus.Stop{Who: "anna", Why: "a hand is in there"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := tiny(t)
			s := begun(t, c)
			acted := make(chan error, 1)
			a := fit(t, s, c, -1, func(f *guard.Fault) {
				if f.Cause == guard.Stopped {
					return
				}
				s.desk.file.Unlock()
				time.Sleep(300 * time.Millisecond) // act has the file, and asks the guard, which is locked
				noted := make(chan struct{})
				go func() { s.desk.note(f); close(noted) }()
				select {
				case <-noted:
				case <-time.After(5 * time.Second):
					t.Error("the desk waits for the guard, and the guard for the desk")
				}
			})
			s.desk.file.Lock() // as who stores a fault has it
			go func() { acted <- act(s.desk) }()
			for name == "stop" && a.guard.Fault() == nil {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(100 * time.Millisecond) // it waits for the file
			if err := a.guard.Acknowledge("ben"); err != nil {
				t.Error(err)
			}
			if _, err := a.guard.Step(t.Context(), robot.Command{Delta: [6]float64{math.NaN()}}); !errors.Is(err, robot.ErrStopped) {
				t.Errorf("got %v, want a fault", err)
			}
			if err := <-acted; err != nil {
				t.Error(err)
			}
			if fs, err := s.desk.Faults(t.Context()); err != nil || !slices.ContainsFunc(fs, func(f bus.Fault) bool { return f.Open && f.Cause == guard.NonFinite.String() }) {
				t.Errorf("faults: %+v, %v; want the one that was latched", fs, err)
			}
		})
	}
}

// Who waited for an acknowledgement goes on with what it was about, and says so.
func TestTheStageOfBeforeIsToldAgainOnceTheArmMayMove(t *testing.T) {
	s := begun(t, tiny(t))
	var mu sync.Mutex
	var told []string
	tell := func(stage string, done, total int, note string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprintf("%s %d/%d %.9s", stage, done, total, note))
	}
	s.desk.tell = tell
	s.tell("fine-tune", 3, 8, "success 1/3")
	for range 2 {
		r, err := s.desk.Stop(t.Context(), bus.Stop{Who: "anna", Why: "smoke"})
		if err != nil {
			t.Fatal(err)
		}
		waited := make(chan error)
		for range 2 { // as the arms of an evaluation
			go func() { waited <- s.desk.wait(t.Context()) }()
		}
		for held := 0; held < 2; time.Sleep(time.Millisecond) {
			mu.Lock()
			held = strings.Count(strings.Join(told, ";"), "held")
			mu.Unlock()
		}
		time.Sleep(20 * time.Millisecond) // their status
		if _, err := s.desk.Acknowledge(t.Context(), bus.Acknowledge{Fault: r.Fault.ID, Who: "anna"}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := <-waited; err != nil {
				t.Error(err)
			}
		}
		s.desk.mu.Lock()
		if st := s.desk.status; st.Stage != "fine-tune" || st.Done != 3 || st.Total != 8 || st.Note != "success 1/3" {
			t.Errorf("the session says %s %d/%d %s", st.Stage, st.Done, st.Total, st.Note)
		}
		s.desk.mu.Unlock()
		if last := told[len(told)-1]; last != "fine-tune 3/8 success 1" {
			t.Errorf("told %q", told)
		}
		told = nil
	}
}

// A stop after a reset has begun is of the episode that it begins.
func TestAStopOnTheWayToTheStartIsOfTheEpisodeThatBegins(t *testing.T) {
	s := begun(t, tiny(t))
	a, done, err := s.ownArm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	s.desk.tick("online-00003", 0, &robot.Observation{}, 1, a)
	a.next = 4
	if _, err := a.guard.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := s.desk.Stop(t.Context(), bus.Stop{Who: "anna", Why: "a hand is in there"})
	if err != nil || r.Fault.Episode != "online-00004" {
		t.Errorf("got %+v, %v; want a stop in online-00004", r, err)
	}
}

// What a person did in an episode that begins anew is dropped with it, and who evaluates is not
// told to be driven by the person of before.
func TestStepsOfAPersonAreThoseThatStay(t *testing.T) {
	c := tiny(t)
	s := begun(t, c)
	a, done, err := s.ownArm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.desk.handled(10) // before this process
	drive := func(episode string, steps int, resets bool) {
		if resets {
			s.desk.begin(episode)
		}
		s.desk.tick(episode, 0, &robot.Observation{}, 1, a)
		for k := range steps {
			s.desk.tick(episode, k+1, &robot.Observation{By: robot.ByHuman}, 1, a)
		}
	}
	stands := func(when, episode, by string, human, humans int) {
		t.Helper()
		s.desk.mu.Lock()
		defer s.desk.mu.Unlock()
		if st := s.desk.status; st.Episode != episode || st.By != by || st.Human != human || st.Humans != humans || !st.Moving {
			t.Errorf("%s: %q by %q, %d and %d steps by a person, moving %v; want %q by %q, %d and %d", when, st.Episode, st.By, st.Human, st.Humans, st.Moving, episode, by, human, humans)
		}
	}
	drive("online-00000", 4, true)
	drive("online-00001", 3, true)
	stands("cut off", "online-00001", "human", 3, 17)
	drive("online-00001", 2, true)
	drive("online-00001", 1, false)
	stands("begun anew twice", "online-00001", "human", 1, 15)
	beside := func() func() {
		b, err := newArm(c, evaluation)
		if err != nil {
			t.Fatal(err)
		}
		detach, err := s.desk.attach(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			detach()
			if err := b.close(); err != nil {
				t.Error(err)
			}
		}
	}
	leave := beside()
	stands("beside another arm", "online-00001", "human", 1, 15)
	leave()
	if err := done(); err != nil {
		t.Fatal(err)
	}
	defer beside()()
	stands("evaluated", "", "", 0, 15)
}

// Every cause that a configuration may name is one of the guard's, and a reproduction, at which
// nobody sits, goes on after what a policy did.
func TestNobodySitsAtAReproduction(t *testing.T) {
	c := tiny(t)
	c.Guard.Recover = config.Unattended()
	s := begun(t, c)
	for i, name := range c.Guard.Recover.Causes {
		cause := recoverable()[name]
		s.desk.note(&guard.Fault{Cause: cause, Detail: name})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.desk.wait(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		all, err := s.store.Faults(t.Context())
		if err != nil || len(all) != i+1 || all[i].By != automatic || all[i].Cause != cause.String() || cause != guard.Failed && !drivenTo(&guard.Fault{Cause: cause}) {
			t.Errorf("%s: faults %+v, %v", name, all, err)
		}
	}
}

// A stop holds the arm though the disk takes nothing; the session then ends, for
// nobody could acknowledge what is not stored.
func TestStopHoldsWithoutADisk(t *testing.T) {
	c := tiny(t)
	s, err := Create(t.Context(), c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.liveArm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	detach, err := s.desk.attach(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer detach()
	if _, err := a.guard.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := s.desk.Stop(t.Context(), bus.Stop{Who: "anna", Why: "smoke"})
	if err != nil || !r.Held || !strings.Contains(r.Fault.Detail, "not stored") {
		t.Errorf("got %+v, %v; want a held arm", r, err)
	}
	if err := s.desk.wait(t.Context()); err == nil {
		t.Error("the session goes on with a fault that is not stored")
	}
	if a.guard.Fault() == nil {
		t.Error("the arm is not held")
	}
	detach()
	if _, err := s.desk.Stop(t.Context(), bus.Stop{Who: "anna"}); err == nil {
		t.Error("a stop that holds nothing and is not stored was told as done")
	}
	_ = s.Close() // its store is closed already
}
